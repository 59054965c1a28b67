// call.h: what of a call lies around cuDNN's part: tensors in the workspace that a kernel of ours fills before it, and
// the rows that one goes over behind it.
//
// Lengths, offsets and page numbers are data on the device: cuDNN believes them, so that a wrong one would have it read
// anywhere. The kernel before it writes what it is given, as far as the operands reach, and scales of fp8 from wherever
// they are; another one writes which weights dropout keeps, as sage/attention.h counts. The kernel behind it keeps
// what the ABI promises and cuDNN does not: rows without a key are 0 and their LSE -inf or the sink, padded rows are 0,
// and NaN or infinity behind a key that a row does not see does not touch it.
#ifndef SAGE_PLUGINS_CUDNN_CALL_H_
#define SAGE_PLUGINS_CUDNN_CALL_H_

#include <cstdint>

#include "common/cuda/attention_arguments.h"

namespace sage::cudnn {

// Numbers of fp8 in the workspace, f32, each at a multiple of kNumberBytes: a graph's tensors lie at those.
enum ScaleNumber : int {
  kScaleQ,
  kScaleK,
  kScaleV,
  kScaleP,
  kStoreP,    // what weights are multiplied by before they are stored: 1 / kScaleP
  kStoreO,    // likewise, of O
  kLargestP,  // put out by cuDNN; nobody reads them
  kLargestO,
  kScaleNumbers
};
constexpr int64_t kNumberBytes = 16;

// Where each part begins in the workspace, in bytes; -1: not there. cuDNN's own workspace is at 0.
struct Layout {
  int64_t lengths_q = -1, lengths_kv = -1;                                 // i32 [B]
  int64_t offsets_q = -1, offsets_k = -1, offsets_v = -1, offsets_o = -1;  // i32 or i64 [B+1], in elements
  int64_t table = -1;                                                      // i32 [B, columns]
  int64_t statistics = -1;                                                 // f32 [B,Hq,statistics_rows]
  int64_t statistics_rows = 0;
  int64_t scales = -1;  // kScaleNumbers of them
  int64_t mask = -1;    // [B,Hq,Sq,mask_row] of Q's type: 1 where dropout keeps a weight, else 0
  int64_t mask_row = 0;
  bool wide_offsets = false;
  int64_t bytes = 0;  // of all
};

// By value to both kernels. workspace: of the run, on the device.
struct Call {
  cuda::AttentionArguments a;
  cuda::AttentionExtras extras;
  Layout layout;
  char* workspace = nullptr;
  int64_t table_columns = 0;
};

// Both return a cudaError_t, 0 if what is needed was launched; stream: a cudaStream_t. Nothing is allocated, so that
// they are legal inside stream capture.
int LaunchPrepare(const Call& call, void* stream);
int LaunchFinish(const Call& call, void* stream);

// The same as a table, which tests fill with emulated ones.
struct CallKernels {
  const char* architectures = "";  // compiled for: common/cuda/architecture.h
  int (*prepare)(const Call& call, void* stream) = nullptr;
  int (*finish)(const Call& call, void* stream) = nullptr;
};

}  // namespace sage::cudnn

#endif  // SAGE_PLUGINS_CUDNN_CALL_H_
