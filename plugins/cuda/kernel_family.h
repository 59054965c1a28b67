// kernel_family.h: what the backend knows of a family of attention kernels: what it serves, how fast, how to launch it.
//
// A family says by itself what of sizes and strides it cannot do; everything that holds for all of them (dtypes that
// differ, memory that is elsewhere) is in support.cc. Tests put families of their own here: emulated ones, or none.
#ifndef SAGE_PLUGINS_CUDA_KERNEL_FAMILY_H_
#define SAGE_PLUGINS_CUDA_KERNEL_FAMILY_H_

#include <cstdint>
#include <span>
#include <string_view>

#include "common/cuda/attention_arguments.h"
#include "common/cuda/runtime.h"
#include "sage/ops.h"

namespace sage::cuda {

constexpr uint32_t TypeBit(AttentionType type) { return 1u << static_cast<uint32_t>(type); }

// How a launch went: a cudaError_t, or, where a family can say more than that, a sentence that lasts for ever.
struct Launched {
  int code = kSuccess;
  const char* why = nullptr;
  bool ok() const { return code == kSuccess && why == nullptr; }
};

// How a launch would use the device, for its price. Estimates; without them a launch is one that fills it.
struct Spread {
  double blocks = 0;           // of the launch
  double resident = 1;         // blocks that a multiprocessor holds at once
  double bytes_in_flight = 0;  // that a block has asked of memory at any time
  double padding = 1;          // rows multiplied for each row that there is
  double key_reads = 1;        // times that K and V are read; from the second on out of the L2 cache
  double extra_ns = 0;         // besides the launch
};

struct KernelFamily {
  const char* name = nullptr;      // as the option kernels= and explain have it
  std::string_view architectures;  // compiled for: common/cuda/architecture.h
  uint64_t features = 0;           // SAGE_ATTN_F_* served
  uint32_t types = 0;              // TypeBit of each
  // Class of 16-bit types: EXACT, NATIVE in their own arithmetic, LOSSY in less. f32 and f64 are EXACT in any family.
  uint32_t accuracy = SAGE_ACCURACY_EXACT;
  bool tensor_cores = false;  // whose peak its price is a share of
  bool qk_in_8_bits = false;  // Q K^T at the rate of 8-bit integers, P V at that of 16 bits
  double efficiency = 0;      // that share, reached on large problems
  double least_ns = 4000;     // of a run with next to nothing to do: its launches, and its waits for memory
  uint32_t align = 1;         // bytes that every operand's address must be a multiple of, in a run

  bool waits = false;         // its kernel waits for the grid before it by itself: AttentionArguments::dependent
  bool fuses_append = false;  // launch writes K_NEW and V_NEW into the cache; else append is called before it
  int32_t splits = 0;         // what the option of that name asks of split; 0: auto

  // Parts of its kernel that can be left out to compare, named from bit 0 on, and those that are, unless the option
  // hopper_stages says otherwise: AttentionArguments::stages_off.
  std::span<const char* const> stages;
  uint32_t stages_off = 0;

  // Null: it can. Else why not, of sizes and strides. Of pointers only which are null counts.
  const char* (*refuse)(const AttentionArguments& arguments, const Properties& device) = nullptr;
  // (optional) What a plan of these sizes fixes for its runs, where keys are split; smaller: runs may have smaller
  // sizes.
  AttentionSplits (*split)(const AttentionArguments& arguments, const Properties& device, int32_t asked,
                           bool smaller) = nullptr;
  Spread (*spread)(const AttentionArguments& arguments, const Properties& device) = nullptr;  // (optional)
  // (optional) Bytes that kernels ahead of attention itself read and write.
  double (*ahead_bytes)(const AttentionArguments& arguments) = nullptr;
  // (optional, both) Scratch of one run, and how much of it are partial results of split keys.
  uint64_t (*workspace_bytes)(const AttentionArguments& arguments, const Properties& device) = nullptr;
  uint64_t (*partials_bytes)(const AttentionArguments& arguments) = nullptr;
  // Copies K_NEW and V_NEW to their places on stream; of families that serve APPEND_KV.
  Launched (*append)(const AttentionArguments& arguments, void* stream) = nullptr;
  // Enqueues on stream (cudaStream_t). Called with the device current. Allocates nothing.
  Launched (*launch)(const AttentionArguments& arguments, const Properties& device, void* workspace,
                     void* stream) = nullptr;
};

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_KERNEL_FAMILY_H_
