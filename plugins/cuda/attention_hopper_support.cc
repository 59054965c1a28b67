// attention_hopper_support.cc: every refusal of the Hopper kernel, with its reason. What is refused here is for the
// portable kernel.
#include "attention_hopper_host.h"

namespace sage::cuda {

const char* HopperRefusal(const AttentionArguments& a) {
  if (a.type != AttentionType::kBf16 && a.type != AttentionType::kF16) return "Hopper kernel: f16 and bf16 only";
  if (a.dim_qk > 256 || a.dim_v > 256) return "Hopper kernel: head dimensions up to 256 only";
  if (a.dim_qk < 8 || a.dim_v < 8 || a.dim_qk % 8 != 0 || a.dim_v % 8 != 0)
    return "Hopper kernel: head dimensions that are multiples of 8 only";
  if (a.weights != nullptr || a.scores != nullptr) return "Hopper kernel: no weights or scores out";
  if (a.softcap > 0) return "Hopper kernel: no softcap";
  if (a.alibi != nullptr || a.bias != nullptr) return "Hopper kernel: no bias, no ALiBi";
  if (a.sinks != nullptr) return "Hopper kernel: no sinks";
  if (a.mask != nullptr || a.bit_mask != nullptr || a.block_mask != nullptr)
    return "Hopper kernel: causal and window are its only masks";
  if (a.q_strides.column != 1 || a.k_strides.column != 1 || a.v_strides.column != 1 || a.o_strides.column != 1)
    return "Hopper kernel: rows of Q, K, V and O must be contiguous";
  if (a.block_table != nullptr && a.page_shift < 3) return "Hopper kernel: pages of at least 8 keys only";
  if (a.block_table != nullptr && a.pages < 1 && a.seq_kv > 0) return "Hopper kernel: there are no pages";
  constexpr int64_t kMost = 1 << 26;
  if (a.seq_q > kMost || a.seq_kv > kMost || a.total_q > kMost || a.total_k > kMost)
    return "Hopper kernel: sequences of up to 2^26 rows only";
  constexpr int kLeastRows = 128;  // of a tile
  if ((int64_t{a.seq_q} + kLeastRows) / kLeastRows * a.heads_q * a.batch > 1 << 28)
    return "Hopper kernel: more tiles than it can count";
  const AttentionStrides& o = a.o_strides;
  if (o.row % 2 != 0 || o.head % 2 != 0 || o.batch % 2 != 0)
    return "Hopper kernel: O is written in pairs: its strides must be multiples of 4 bytes";
  if (HopperHasNoQueries(a)) return nullptr;
  TensorMapShape shapes[3];
  HopperMapShapes(a, ChooseHopper(a, 1), shapes);  // of any number of multiprocessors: boxes differ, strides do not
  for (TensorMapShape& shape : shapes) {
    shape.address = nullptr;  // known in a run
    if (const char* refusal = HopperMapRefusal(shape)) return refusal;
  }
  return nullptr;
}

}  // namespace sage::cuda
