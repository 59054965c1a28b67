// sdpa.h: one attention call as a plan of cuDNN has it: all that its graph and its engine hang on, and nothing else. So
// it is the key under which plans are kept: dtype, every stride, what is ragged, pages, masks and bounds, what is put
// out. Numbers that a plan reads when it runs (the scale, the cap) are not in it.
#ifndef SAGE_PLUGINS_CUDNN_SDPA_H_
#define SAGE_PLUGINS_CUDNN_SDPA_H_

#include <compare>
#include <cstdint>
#include <string>

#include "api.h"

namespace sage::cudnn {

// Of [B,H,S,D], in elements; D's is 1.
struct SdpaStrides {
  int64_t batch = 0, head = 0, row = 0;
  auto operator<=>(const SdpaStrides&) const = default;
};

struct Sdpa {
  DataType type = kBFloat16;    // of Q, K and V
  DataType o_type = kBFloat16;  // of O: type, but where that is fp8
  bool unified = false;         // one op of cuDNN's own instead of the composite graph
  int64_t batch = 1, heads_q = 1, heads_kv = 1, seq_q = 1, seq_kv = 1, dim_qk = 64, dim_v = 64;
  // Paged: batch is a page's and row a key's within its page.
  SdpaStrides q, k, v, o;

  bool lengths = false;         // rows and keys in use come from tensors, one number a sequence
  bool ragged_q = false;        // Q's and O's sequences begin where offsets say
  bool ragged_kv = false;       // K's and V's
  bool wide_offsets = false;    // offsets have 64 bits
  int64_t page = 0, pages = 0;  // keys of a page and pages there are; 0: not paged
  int64_t table_columns = 0;

  bool softcap = false;
  bool bias = false;
  DataType bias_type = kFloat;
  bool bias_batch = false, bias_heads = false;  // each has its own; else the axis has length 1
  SdpaStrides bias_strides;
  bool alibi = false;

  bool causal = false, bottom_right = false;
  int64_t window_left = -1, window_right = -1;  // -1: unlimited. As the ABI counts: keys besides the own one
  bool sinks = false;
  bool dropout = false;     // the weights are multiplied by a mask and a number
  bool statistics = false;  // LSE is put out, packed [B,Hq,Sq] in f32

  auto operator<=>(const Sdpa&) const = default;
  bool banded() const { return causal || window_left >= 0 || window_right >= 0; }
  bool paged() const { return page > 0; }
  int64_t mask_row() const { return (seq_kv + 7) / 8 * 8; }  // of dropout's mask, in elements: whole 16 bytes
  bool fp8() const { return type == kFp8E4M3 || type == kFp8E5M2; }
};

// The ids of what a run binds to the graph.
enum TensorUid : int64_t {
  kUidQ = 1,
  kUidK,
  kUidV,
  kUidO,
  kUidStatistics,
  kUidLengthsQ,
  kUidLengthsKv,
  kUidOffsetsQ,
  kUidOffsetsK,
  kUidOffsetsV,
  kUidOffsetsO,
  kUidTableK,
  kUidTableV,
  kUidBias,
  kUidAlibi,
  kUidSinks,
  // By value, from the CPU.
  kUidScale,
  kUidCap,
  kUidMinusInfinity,
  kUidRows,   // seq_q, where lengths are none
  kUidKeys,   // seq_kv, likewise
  kUidRight,  // keys on the right of the own one
  kUidLeft,   // keys on the left and the own one, as cuDNN counts; with fixed lengths the shift is in it
  // f32 of one element each, of fp8: what stored values of Q, K, V and P are multiplied by, what P and O are multiplied
  // by before they are stored, and the largest magnitudes of those two, put out as in cuDNN's own graphs.
  kUidScaleQ,
  kUidScaleK,
  kUidScaleV,
  kUidScaleP,
  kUidStoreP,
  kUidStoreO,
  kUidLargestP,
  kUidLargestO,
  kUidDropoutMask,    // [B,Hq,Sq,Skv] of Q's type: 1 where a weight is kept, else 0
  kUidKept,           // by value: 1 / (1 - p), what kept weights are multiplied by
  kUidVirtual = 100,  // what only the graph sees, from here on
};

// "bf16 b2 hq32 ...": everything in it, for logs, tests and the plans kept on disk. Two that differ have other texts.
std::string TextOf(const Sdpa& sdpa);

}  // namespace sage::cudnn

#endif  // SAGE_PLUGINS_CUDNN_SDPA_H_
