// attention_int8_plan.h: on the host: what the kernels in 8 bits are given, and how much workspace they share. Without
// CUDA, so that tests plan as the plugin does. Which instantiation takes a call: ForPortable.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_INT8_PLAN_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_INT8_PLAN_H_

#include "attention_int8_tile.h"
#include "attention_portable_plan.h"

namespace sage::cuda {

// Rows that share a scale: those of a thread, or all of a block, which is what the former is measured against.
enum class Int8Scales { kThread, kBlock };

// Null, or why the kernels do not take the call on a device with so much memory.
const char* Int8Refusal(const AttentionArguments& a, uint64_t device_bytes);

// Of a call that was not refused. No smaller for larger sizes of sequences and batch.
uint64_t Int8WorkspaceBytes(const AttentionArguments& a);

// workspace: Int8WorkspaceBytes of it, a multiple of 16.
Int8Arguments PlanInt8(const AttentionArguments& a, void* workspace, Int8Scales scales = Int8Scales::kThread);

// Bytes that the passes ahead of attention move.
double Int8AheadBytes(const AttentionArguments& a);

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_INT8_PLAN_H_
