// attention_hopper_host.h: from the arguments of a call to what the Hopper kernel is given. Shared by the launch on a
// device and the one in the emulation, which differ in how a tensor map is encoded.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_HOST_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_HOST_H_

#include "attention_hopper.h"
#include "attention_hopper_parameters.h"

namespace sage::cuda {

constexpr int kHopperTileRows = 128;
constexpr int64_t kHopperSectionBytes = int64_t{32} << 20;  // of K and V, about half of an H200's L2 cache

// The row length that the kernel is compiled for: 64, 128 or 256.
inline int HopperDim(const AttentionArguments& a) {
  const int32_t longest = a.dim_qk > a.dim_v ? a.dim_qk : a.dim_v;
  return longest <= 64 ? 64 : longest <= 128 ? 128 : 256;
}

inline HopperOperand HopperOperandOf(const void* address, const AttentionStrides& strides, bool packed) {
  return {address, packed ? 0 : strides.batch, strides.head, strides.row};
}

// [d, rows, heads, batch]: a box is 64 columns of box_rows rows. The stride of an axis of size 1 is nobody's business.
inline TensorMapShape HopperMapShape(const HopperOperand& operand, bool bf16, int64_t dim, int64_t rows, int64_t heads,
                                     int64_t batch, int box_rows) {
  TensorMapShape shape;
  shape.address = operand.address;
  shape.rank = 4;
  shape.bf16 = bf16;
  const int64_t size[4] = {dim, rows, heads, batch};
  const int64_t stride[4] = {1, operand.row, operand.head, operand.batch};
  for (int axis = 0; axis < 4; ++axis) {
    shape.size[axis] = size[axis];
    shape.stride[axis] = size[axis] == 1 ? 2 * dim : 2 * stride[axis];
    shape.box[axis] = axis == 0 ? 64 : axis == 1 ? box_rows : 1;
  }
  return shape;
}

inline bool HopperHasNoKeys(const AttentionArguments& a) {
  return (a.cu_seqlens_k != nullptr ? a.total_k : a.seq_kv) < 1;
}
inline bool HopperHasNoQueries(const AttentionArguments& a) {
  return a.batch < 1 || a.heads_q < 1 || a.seq_q < 1 || (a.cu_seqlens_q != nullptr && a.total_q < 1);
}

// The three operands. A call without keys has no K and V to describe: Q's map stands in for them and is not used.
inline void HopperMapShapes(const AttentionArguments& a, int keys, TensorMapShape (&shapes)[3]) {
  const bool bf16 = a.type == AttentionType::kBf16, packed_q = a.cu_seqlens_q != nullptr;
  const bool packed_k = a.cu_seqlens_k != nullptr, paged = a.block_table != nullptr;
  const int64_t page = int64_t{1} << a.page_shift;
  const int64_t rows = paged ? page : packed_k ? a.total_k : a.seq_kv;
  const int64_t batch = paged ? a.pages : packed_k ? 1 : a.batch;
  const int box = paged && page < keys ? static_cast<int>(page) : keys;
  shapes[0] = HopperMapShape(HopperOperandOf(a.q, a.q_strides, packed_q), bf16, a.dim_qk,
                             packed_q ? a.total_q : a.seq_q, a.heads_q, packed_q ? 1 : a.batch, kHopperTileRows);
  shapes[1] = shapes[2] = shapes[0];
  if (HopperHasNoKeys(a)) return;
  shapes[1] = HopperMapShape(HopperOperandOf(a.k, a.k_strides, packed_k), bf16, a.dim_qk, rows, a.heads_k, batch, box);
  shapes[2] = HopperMapShape(HopperOperandOf(a.v, a.v_strides, packed_k), bf16, a.dim_v, rows, a.heads_v, batch, box);
}

// Keys of a tile: what fits shared memory beside two stages.
constexpr int HopperKeys(int dim) { return dim == 256 ? 64 : 128; }

// encode(shape, map): null, or why not. The call is one that HopperRefusal has not refused, with queries.
template <class Encode>
const char* MakeHopperParameters(const AttentionArguments& a, uint32_t* next_tile, const Encode& encode,
                                 HopperParameters* out) {
  constexpr double kLog2E = 1.4426950408889634074;
  const int keys = HopperKeys(HopperDim(a));
  const bool packed_q = a.cu_seqlens_q != nullptr, packed_k = a.cu_seqlens_k != nullptr;
  HopperParameters& p = *out;
  TensorMapShape shapes[3];
  HopperMapShapes(a, keys, shapes);
  TensorMap* const maps[3] = {&p.q_map, &p.k_map, &p.v_map};
  for (int i = 0; i < 3; ++i)
    if (const char* failure = encode(shapes[i], maps[i])) return failure;
  p.q = HopperOperandOf(a.q, a.q_strides, packed_q);
  p.k = HopperOperandOf(a.k, a.k_strides, packed_k);
  p.v = HopperOperandOf(a.v, a.v_strides, packed_k);
  p.o = a.o;
  p.o_batch = packed_q ? 0 : a.o_strides.batch, p.o_head = a.o_strides.head, p.o_row = a.o_strides.row;
  p.lse = static_cast<float*>(a.lse);
  p.lse_batch = packed_q ? 0 : a.lse_strides.batch, p.lse_head = a.lse_strides.head, p.lse_row = a.lse_strides.row;
  p.scale_first = a.scale > 0 ? 0 : 1;
  p.scale = static_cast<float>(a.scale);
  p.exponent_scale = static_cast<float>(a.scale > 0 ? a.scale * kLog2E : kLog2E);
  p.batch = a.batch, p.heads_q = a.heads_q;
  p.heads_per_k = a.heads_q / a.heads_k, p.heads_per_v = a.heads_q / a.heads_v;
  p.seq_q = packed_q ? a.total_q : a.seq_q;
  p.seq_kv = packed_k ? a.total_k : a.seq_kv;
  p.dim_qk = a.dim_qk, p.dim_v = a.dim_v;
  const auto side = [](int64_t window) {
    return window < 0 || window > kHopperUnlimited ? kHopperUnlimited : static_cast<int>(window);
  };
  p.window_left = side(a.window_left);
  p.window_right = a.causal ? 0 : side(a.window_right);
  p.bottom_right = a.bottom_right ? 1 : 0;
  p.starts_q = a.cu_seqlens_q, p.starts_k = a.cu_seqlens_k;
  p.used_q = a.seqused_q, p.used_k = a.seqused_k, p.appended = a.appended;
  p.pages = a.block_table, p.pages_batch = a.block_table_stride;
  p.page_shift = a.page_shift, p.page_count = a.pages;
  p.box_rows = shapes[1].box[1];
  p.tiles_m = (a.seq_q + kHopperTileRows - 1) / kHopperTileRows;
  p.tiles = p.tiles_m * a.heads_q * a.batch;
  // Whole groups of the query heads that share a head of K.
  const int64_t head_bytes = 2 * (int64_t{a.dim_qk} + a.dim_v) * (a.seq_kv > 0 ? a.seq_kv : 1);
  const int64_t groups = kHopperSectionBytes / head_bytes;
  const int64_t most = int64_t{a.heads_q} * a.batch, heads = (groups > 0 ? groups : 1) * p.heads_per_k;
  p.heads_per_section = static_cast<int>(heads < most ? heads : most);
  p.next_tile = next_tile;
  return nullptr;
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_HOST_H_
