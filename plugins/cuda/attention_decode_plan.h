// attention_decode_plan.h: on the host: whether the decode kernel takes a call, into how many splits the keys are cut,
// and what the workspace holds. Without CUDA, so that tests choose as the plugin does.
//
// A plan is made for the largest shapes; a run may have smaller ones and chooses anew, but never needs more partial
// results than the plan's workspace holds. Lengths are data on the device: they decide there what of a split is left.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_DECODE_PLAN_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_DECODE_PLAN_H_

#include "attention_decode_tile.h"
#include "attention_portable_plan.h"
#include "common/cuda/runtime.h"

namespace sage::cuda {

// Rows of queries and heads of one head of K that the kernel is for: four tiles, each of which reads the keys.
constexpr int32_t kMostDecodeRows = 64;

// Null, or why the decode kernel does not take the call; the portable one does.
const char* DecodeRefusal(const AttentionArguments& a);

// Blocks that a device holds at once, at most by registers and by shared memory.
int64_t DecodeResident(const AttentionArguments& a, const Properties& device);

// The number of splits that ends first: units tiles of rows, each with `tiles` tiles of keys, on a device that holds
// `resident` blocks. 1 where units alone fill it.
int32_t ChooseSplits(int64_t units, int64_t tiles, int64_t resident);

// What a plan of this call fixes. asked: the option, 0: auto. smaller: runs may have smaller shapes.
AttentionSplits PlanDecodeSplits(const AttentionArguments& a, const Properties& device, int32_t asked, bool smaller);

// Of a call with its plan's splits: scratch of a run, and how much of it are partial results.
uint64_t DecodeWorkspaceBytes(const AttentionArguments& a);
uint64_t DecodePartialsBytes(const AttentionArguments& a);

// Of a run, whose sizes may be smaller than those that its splits were planned for.
int32_t DecodeSplits(const AttentionArguments& a, const Properties& device);

// What the kernel is given. workspace: DecodeWorkspaceBytes of the plan, aligned to 256; of it DecodeTicketBytes have
// to be zero where tickets is not null.
DecodeArguments PlanDecode(const AttentionArguments& a, const Properties& device, void* workspace);
uint64_t DecodeTicketBytes(const DecodeArguments& d);

inline int64_t DecodeBlocks(const DecodeArguments& d) { return PortableBlocks(d.p) * d.splits; }

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_DECODE_PLAN_H_
