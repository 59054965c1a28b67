// attention_int8_tile.h: what the kernels that multiply Q and K in 8 bits hand each other through the workspace, and
// their tiles in shared memory.
//
// Rows are kept in blocks of 128: packed queries (attention_portable_tile.h) of one group of heads, keys of one head of
// K. Codes lie row after row, kDimQk bytes each, so that a tile is one piece of memory whatever strides and pages the
// operands have. A scale is shared by the rows whose products one thread of the attention kernel holds: of queries
// those of a warp with one lane / 4, of keys those of a tile with one key % 8 / 2. So a thread has one scale of either
// side for a whole tile, and they are multiplied into the exponent for nothing.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_INT8_TILE_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_INT8_TILE_H_

#include "attention_portable_tile.h"

namespace sage::cuda {

constexpr int32_t kInt8Rows = 128;        // of a block
constexpr int32_t kInt8QueryScales = 64;  // of a block of queries at most
constexpr int32_t kInt8KeyScales = 16;    // likewise of keys
constexpr int32_t kInt8KeyGroups = 4;     // scales of a tile of keys

// By value to the kernels; PlanInt8 makes it.
struct Int8Arguments {
  PortableArguments p;
  int32_t q_blocks = 0, k_blocks = 0;  // of all sequences, of one group of heads and of one head of K
  int32_t key_tiles = 0;               // blocks of keys that a sequence has at most
  int32_t chunk_keys = 0, chunks = 0;  // of which the sums over keys are added up one by one
  bool one_scale = false;              // of a block of queries, and of the same number of keys
  float* sums = nullptr;               // [batch,heads_k,chunks,dim_qk]
  int8_t* q_codes = nullptr;           // [groups,q_blocks,128,kDimQk]
  int8_t* k_codes = nullptr;           // [heads_k,k_blocks,128,kDimQk]
  float* q_scales = nullptr;           // [groups,q_blocks,kQueryScales]
  float* k_scales = nullptr;           // [heads_k,k_blocks,kKeyScales]
  float* q_shifts = nullptr;           // [groups,q_blocks,128]: a row's product with the mean of K
};

// The portable kernel's, with a byte for each element of Q and K.
template <int32_t kDimQk, int32_t kDimV>
struct Int8Tile : PortableTile<kDimQk, kDimV> {
  using Portable = PortableTile<kDimQk, kDimV>;
  using Portable::kKeys, Portable::kRows, Portable::kRowTiles, Portable::kWarps;
  static constexpr uint32_t kQBytes = kRows * kDimQk, kKBytes = kKeys * kDimQk;
  static constexpr uint32_t kSharedBytes = kQBytes + kKBytes + Portable::kVBytes;
  // Scales of a block, and the rows that share one.
  static constexpr int32_t kQueryScales = 8 * kWarps, kQueryRows = 2 * kRowTiles;
  static constexpr int32_t kKeyScales = kInt8Rows / kKeys * kInt8KeyGroups, kKeyRows = kKeys / kInt8KeyGroups;
  static_assert(kRows == kInt8Rows && kQueryScales <= kInt8QueryScales && kKeyScales <= kInt8KeyScales);
};

// The first block of a sequence. Packed sequences begin anywhere: each skips what is left of the block before.
SAGE_DEVICE int32_t FirstQueryBlock(const Int8Arguments& x, const Sequence& s) {
  if (x.p.a.cu_seqlens_q == nullptr) return s.b * x.p.tiles;
  return static_cast<int32_t>(int64_t{s.q_begin} * x.p.group / kInt8Rows) + s.b;
}
SAGE_DEVICE int32_t FirstKeyBlock(const Int8Arguments& x, const Sequence& s) {
  return x.p.a.cu_seqlens_k == nullptr ? s.b * x.key_tiles : s.k_begin / kInt8Rows + s.b;
}

// kTileRows rows of codes into shared memory.
template <int32_t kDimQk, int32_t kTileRows, int32_t kThreads>
SAGE_DEVICE void LoadCodes(uint32_t to, const int8_t* from) {
  constexpr int32_t kChunks = kDimQk / 16;
  const int32_t thread = prim::Fresh(static_cast<int32_t>(prim::ThreadX()));
  SAGE_UNROLL_BY_4
  for (int32_t n = thread; n < kTileRows * kChunks; n += kThreads)
    prim::CopyAsync16(to + Swizzled<kDimQk / 2>(n / kChunks, n % kChunks), from + 16 * n, true);
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_INT8_TILE_H_
