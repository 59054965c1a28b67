// attention_hopper_host.h: from the arguments of a call to what the Hopper kernel is given. Shared by the launch on a
// device and the one in the emulation, which differ in how a tensor map is encoded.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_HOST_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_HOST_H_

#include "attention_hopper.h"
#include "attention_hopper_choice.h"
#include "attention_hopper_parameters.h"

namespace sage::cuda {

constexpr int kHopperGroupRows = 64;                        // of a warpgroup
constexpr int64_t kHopperSectionBytes = int64_t{32} << 20;  // of K and V, about half of an H200's L2 cache

// The innermost axis first, strides in elements. The stride of an axis of size 1 is nobody's business.
template <int kRank>
TensorMapShape HopperMapShape(const void* address, bool bf16, const int64_t (&size)[kRank],
                              const int64_t (&stride)[kRank], const int32_t (&box)[kRank]) {
  TensorMapShape shape;
  shape.address = address;
  shape.rank = kRank;
  shape.bf16 = bf16;
  for (int axis = 0; axis < kRank; ++axis) {
    shape.size[axis] = size[axis];
    shape.stride[axis] = 2 * (size[axis] == 1 ? size[0] : stride[axis]);
    shape.box[axis] = box[axis];
  }
  return shape;
}

// Q or O as [d, heads of a pack, rows, packs, batch]: rows of a box are pairs of a query and a head, the head first.
inline TensorMapShape HopperQueryMap(const AttentionArguments& a, const void* address, const AttentionStrides& strides,
                                     int64_t dim, int pack_shift, int box_rows) {
  const bool packed = a.cu_seqlens_q != nullptr;
  const int32_t pack = 1 << pack_shift;
  return HopperMapShape<5>(address, a.type == AttentionType::kBf16,
                           {dim, pack, packed ? a.total_q : a.seq_q, a.heads_q >> pack_shift, packed ? 1 : a.batch},
                           {1, strides.head, strides.row, strides.head << pack_shift, strides.batch},
                           {64, pack, box_rows / pack, 1, 1});
}

// K or V as [d, rows, heads, batch or pages]. keys: that one block copies of a tile.
inline TensorMapShape HopperKeyMap(const AttentionArguments& a, const void* address, const AttentionStrides& strides,
                                   int64_t dim, int64_t heads, int keys) {
  const bool packed = a.cu_seqlens_k != nullptr, paged = a.block_table != nullptr;
  const int64_t page = int64_t{1} << a.page_shift;
  return HopperMapShape<4>(address, a.type == AttentionType::kBf16,
                           {dim,
                            paged    ? page
                            : packed ? a.total_k
                                     : a.seq_kv,
                            heads,
                            paged    ? a.pages
                            : packed ? 1
                                     : a.batch},
                           {1, strides.row, strides.head, strides.batch},
                           {64, paged && page < keys ? static_cast<int32_t>(page) : keys, 1, 1});
}

inline bool HopperHasNoKeys(const AttentionArguments& a) {
  return (a.cu_seqlens_k != nullptr ? a.total_k : a.seq_kv) < 1;
}
inline bool HopperHasNoQueries(const AttentionArguments& a) {
  return a.batch < 1 || a.heads_q < 1 || a.seq_q < 1 || (a.cu_seqlens_q != nullptr && a.total_q < 1);
}

// The operands that are read. A call without keys has no K and V to describe: Q's map stands in for them and is not
// used.
inline void HopperMapShapes(const AttentionArguments& a, const HopperVariant& v, TensorMapShape (&shapes)[3]) {
  shapes[0] = HopperQueryMap(a, a.q, a.q_strides, a.dim_qk, v.pack_shift, v.rows);
  shapes[1] = shapes[2] = shapes[0];
  if (HopperHasNoKeys(a)) return;
  shapes[1] = HopperKeyMap(a, a.k, a.k_strides, a.dim_qk, a.heads_k, v.keys / v.cluster);
  shapes[2] = HopperKeyMap(a, a.v, a.v_strides, a.dim_v, a.heads_v, v.keys / v.cluster);
}

// Null, or what TMA cannot do with it: what its hardware asks for, and no axis that repeats.
inline const char* HopperMapRefusal(const TensorMapShape& shape) {
  for (int axis = 1; axis < shape.rank; ++axis)
    if (shape.size[axis] > 1 && shape.stride[axis] <= 0)
      return "Hopper kernel: Q, K or V has a stride that is zero or negative, which TMA cannot follow";
  if (TensorMapRefusal(shape) != nullptr)
    return "Hopper kernel: TMA needs strides of Q, K and V that are multiples of 16 bytes";
  return nullptr;
}

// encode(shape, map): null, or why not. The call is one that HopperRefusal has not refused, with queries.
template <class Encode>
const char* MakeHopperParameters(const AttentionArguments& a, const HopperVariant& v, uint32_t* next_tile,
                                 const Encode& encode, HopperParameters* out) {
  constexpr double kPowersOfTwo = 1.4426950408889634074;
  HopperParameters& p = *out;
  TensorMapShape shapes[3];
  HopperMapShapes(a, v, shapes);
  if (reinterpret_cast<uintptr_t>(a.o) % 4 != 0) return "Hopper kernel: O lies at no multiple of 4 bytes";
  for (const TensorMapShape& shape : shapes)
    if (reinterpret_cast<uintptr_t>(shape.address) % 16 != 0)
      return "Hopper kernel: Q, K or V lies at no multiple of 16 bytes";
  TensorMap* const maps[3] = {&p.q_map, &p.k_map, &p.v_map};
  for (int i = 0; i < 3; ++i)
    if (const char* failure = encode(shapes[i], maps[i])) return failure;
  const TensorMapShape o = HopperQueryMap(a, a.o, a.o_strides, a.dim_v, v.pack_shift, kHopperGroupRows);
  p.by_tma = v.by_tma && HopperMapRefusal(o) == nullptr ? 1 : 0;
  p.o_map = p.q_map;
  if (p.by_tma)
    if (const char* failure = encode(o, &p.o_map)) return failure;
  p.a = a;
  p.scale_first = a.scale > 0 ? 0 : 1;
  p.scale = static_cast<float>(a.scale);
  p.exponent_scale = static_cast<float>(a.scale > 0 ? a.scale * kPowersOfTwo : kPowersOfTwo);
  p.box_rows = shapes[1].box[1];
  p.pack_shift = v.pack_shift;
  p.q_tiles = v.q_tiles;
  p.cluster = v.cluster;
  p.lines = a.heads_q >> v.pack_shift;
  const int64_t together = int64_t{v.rows} * v.cluster;
  p.tiles_m = static_cast<int>(HopperRounded(int64_t{a.seq_q} << v.pack_shift, together) / together);
  p.tiles = p.tiles_m * p.lines * a.batch;
  // Whole groups of the query heads that share a head of K.
  const int64_t head_bytes = 2 * (int64_t{a.dim_qk} + a.dim_v) * (a.seq_kv > 0 ? a.seq_kv : 1);
  const int64_t groups = kHopperSectionBytes / head_bytes;
  const int64_t most = int64_t{p.lines} * a.batch;
  const int64_t lines = (groups > 0 ? groups : 1) * (a.heads_q / a.heads_k) >> v.pack_shift;
  p.lines_per_section = static_cast<int>(lines < most ? lines : most);
  p.next_tile = v.cluster > 1 ? nullptr : next_tile;
  return nullptr;
}

// Of the launch: no more than the device holds at once, in whole clusters.
inline int HopperBlocks(const HopperParameters& p, int multiprocessors) {
  const int clusters = multiprocessors / p.cluster;
  return (p.tiles < clusters ? p.tiles : clusters) * p.cluster;
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_HOST_H_
