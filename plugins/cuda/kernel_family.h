// kernel_family.h: what the backend knows of a family of attention kernels: what it serves, how fast, how to launch it.
//
// A family says by itself what of sizes and strides it cannot do; everything that holds for all of them (dtypes that
// differ, memory that is elsewhere) is in support.cc. Tests put families of their own here: emulated ones, or none.
#ifndef SAGE_PLUGINS_CUDA_KERNEL_FAMILY_H_
#define SAGE_PLUGINS_CUDA_KERNEL_FAMILY_H_

#include <cstdint>
#include <string_view>

#include "attention_arguments.h"
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

  // Null: it can. Else why not, of sizes and strides. Of pointers only which are null counts.
  const char* (*refuse)(const AttentionArguments& arguments, const Properties& device) = nullptr;
  // (optional) Bytes that kernels ahead of attention itself read and write.
  double (*ahead_bytes)(const AttentionArguments& arguments) = nullptr;
  // Scratch of one run, and how much of it are partial results of split keys.
  uint64_t (*workspace_bytes)(const AttentionArguments& arguments, const Properties& device) = nullptr;
  // Enqueues on stream (cudaStream_t). Called with the device current. Allocates nothing.
  Launched (*launch)(const AttentionArguments& arguments, const Properties& device, void* workspace,
                     void* stream) = nullptr;
};

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_KERNEL_FAMILY_H_
