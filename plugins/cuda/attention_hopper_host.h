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

// [d, rows, heads, batch]: a box is 64 columns of box_rows rows. The stride of an axis of size 1 is nobody's business.
inline TensorMapShape HopperMapShape(const void* address, const AttentionStrides& strides, bool bf16, int64_t dim,
                                     int64_t rows, int64_t heads, int64_t batch, int box_rows) {
  TensorMapShape shape;
  shape.address = address;
  shape.rank = 4;
  shape.bf16 = bf16;
  const int64_t size[4] = {dim, rows, heads, batch};
  const int64_t stride[4] = {1, strides.row, strides.head, strides.batch};
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
  shapes[0] = HopperMapShape(a.q, a.q_strides, bf16, a.dim_qk, packed_q ? a.total_q : a.seq_q, a.heads_q,
                             packed_q ? 1 : a.batch, kHopperTileRows);
  shapes[1] = shapes[2] = shapes[0];
  if (HopperHasNoKeys(a)) return;
  shapes[1] = HopperMapShape(a.k, a.k_strides, bf16, a.dim_qk, rows, a.heads_k, batch, box);
  shapes[2] = HopperMapShape(a.v, a.v_strides, bf16, a.dim_v, rows, a.heads_v, batch, box);
}

// Keys of a tile: what fits shared memory beside two stages.
constexpr int HopperKeys(int dim) { return dim == 256 ? 64 : 128; }

// encode(shape, map): null, or why not. The call is one that HopperRefusal has not refused, with queries.
template <class Encode>
const char* MakeHopperParameters(const AttentionArguments& a, uint32_t* next_tile, const Encode& encode,
                                 HopperParameters* out) {
  constexpr double kPowersOfTwo = 1.4426950408889634074;
  const int keys = HopperKeys(HopperDim(a));
  HopperParameters& p = *out;
  TensorMapShape shapes[3];
  HopperMapShapes(a, keys, shapes);
  if (reinterpret_cast<uintptr_t>(a.o) % 4 != 0) return "Hopper kernel: O lies at no multiple of 4 bytes";
  for (const TensorMapShape& shape : shapes)
    if (reinterpret_cast<uintptr_t>(shape.address) % 16 != 0)
      return "Hopper kernel: Q, K or V lies at no multiple of 16 bytes";
  TensorMap* const maps[3] = {&p.q_map, &p.k_map, &p.v_map};
  for (int i = 0; i < 3; ++i)
    if (const char* failure = encode(shapes[i], maps[i])) return failure;
  p.a = a;
  p.scale_first = a.scale > 0 ? 0 : 1;
  p.scale = static_cast<float>(a.scale);
  p.exponent_scale = static_cast<float>(a.scale > 0 ? a.scale * kPowersOfTwo : kPowersOfTwo);
  p.box_rows = shapes[1].box[1];
  p.tiles_m = (a.seq_q + kHopperTileRows - 1) / kHopperTileRows;
  p.tiles = p.tiles_m * a.heads_q * a.batch;
  // Whole groups of the query heads that share a head of K.
  const int64_t head_bytes = 2 * (int64_t{a.dim_qk} + a.dim_v) * (a.seq_kv > 0 ? a.seq_kv : 1);
  const int64_t groups = kHopperSectionBytes / head_bytes;
  const int64_t most = int64_t{a.heads_q} * a.batch, heads = (groups > 0 ? groups : 1) * (a.heads_q / a.heads_k);
  p.heads_per_section = static_cast<int>(heads < most ? heads : most);
  p.next_tile = next_tile;
  return nullptr;
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_HOST_H_
