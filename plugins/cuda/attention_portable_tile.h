// attention_portable_tile.h: tiles of the portable kernel in shared memory: their sizes, where a row's 16 bytes lie,
// and how they are filled.
//
// Rows of a Q tile are packed: query i and head h of a group that shares one head of K and one of V are row
// i * group + h, so that few queries of many heads fill a tile, and K and V are read once for the group.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_PORTABLE_TILE_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_PORTABLE_TILE_H_

#include "common/cuda/kernels/attention_sequence.h"

namespace sage::cuda {

// By value to the kernel; PlanPortable makes it.
struct PortableArguments {
  AttentionArguments a;
  int32_t group = 1;  // heads of a tile
  int32_t tiles = 1;  // of a sequence and group
  // Rows that come out not finite are done once more and alone. Tests of finite numbers turn it off: it would hide what
  // they are there to find.
  bool repair = true;
  // Whether rows may be moved by 16 bytes at a time, and O by 4; else element by element.
  bool q_vectors = false, k_vectors = false, v_vectors = false, o_pairs = false;
};

// kDimQk, kDimV: what the dimensions are padded to, with zeros. Sizes are such that two blocks fit a processor at 128,
// all fit the 99 KiB of the consumers' parts, and the accumulators fit the registers.
template <int32_t kDimQk, int32_t kDimV>
struct PortableTile {
  static constexpr int32_t kLargest = kDimQk > kDimV ? kDimQk : kDimV;
  static constexpr int32_t kRowTiles = kLargest <= 128 ? 2 : 1;  // of 16 rows, a warp's
  static constexpr int32_t kWarps = kLargest <= 128 ? 4 : 8;
  static constexpr int32_t kThreads = 32 * kWarps;
  static constexpr int32_t kBlocks = kWarps == 4 ? 2 : 1;  // of a processor: up to 255 registers a thread
  static constexpr int32_t kRows = 16 * kRowTiles * kWarps;
  // As many as fit without a spill on every target.
  static constexpr int32_t kKeys = kLargest < 128 ? 64 : 32;
  static constexpr uint32_t kQBytes = kRows * kDimQk * 2, kKBytes = kKeys * kDimQk * 2, kVBytes = kKeys * kDimV * 2;
  static constexpr uint32_t kSharedBytes = kQBytes + kKBytes + kVBytes;
};

// Byte offset of 16-byte chunk c of row r, of kDim elements of 16 bits. Eight rows of one chunk, which ldmatrix reads
// at once, lie in eight different eighths of the banks: rows of whole 128 bytes turn by the row, rows of 64 more by
// every second, rows of 32 or 96 more by every fourth.
template <int32_t kDim>
SAGE_DEVICE uint32_t Swizzled(int32_t r, int32_t c) {
  constexpr int32_t kChunks = kDim / 8;
  static_assert(kChunks % 2 == 0);
  const int32_t turned = kChunks % 8 == 0 ? c ^ (r & 7) : kChunks % 4 == 0 ? c ^ (r >> 1 & 3) : c ^ (r >> 2 & 1);
  return static_cast<uint32_t>(r * kChunks + turned) * 16;
}

// Eight elements from anywhere, zeros from `count` on.
template <class T>
SAGE_DEVICE void CopyElements(uint32_t to, const T* from, int64_t stride, int32_t count) {
  struct alignas(16) Chunk {
    uint32_t words[4];
  } chunk;
  SAGE_UNROLL
  for (int32_t e = 0; e < 4; ++e) {
    const uint32_t low = 2 * e < count ? from[2 * e * stride].bits : 0u;
    const uint32_t high = 2 * e + 1 < count ? from[(2 * e + 1) * stride].bits : 0u;
    chunk.words[e] = low | high << 16;
  }
  *reinterpret_cast<Chunk*>(prim::SharedPointer(to)) = chunk;
}

// kTileRows rows of kDim columns. offset(row): of its first element in `base`, or kNoPage for a row of zeros.
template <class T, int32_t kDim, int32_t kTileRows, int32_t kThreads, class Offset>
SAGE_DEVICE void LoadTile(uint32_t to, const void* base, int64_t column_stride, int32_t dim, bool vectors,
                          Offset&& offset) {
  constexpr int32_t kChunks = kDim / 8;
  const T* const elements = static_cast<const T*>(base);
  static_assert(kTileRows * kChunks % kThreads == 0);
  const int32_t thread = prim::Fresh(static_cast<int32_t>(prim::ThreadX()));
  SAGE_UNROLL_BY_4
  for (int32_t turn = 0; turn < kTileRows * kChunks / kThreads; ++turn) {
    const int32_t n = turn * kThreads + thread;
    const int32_t row = n / kChunks, chunk = n % kChunks, left = dim - 8 * chunk;
    const int64_t at = left > 0 ? offset(row) : kNoPage;
    const uint32_t address = to + Swizzled<kDim>(row, chunk);
    if (vectors)
      prim::CopyAsync16(address, at == kNoPage ? elements : elements + at + 8 * chunk, at != kNoPage);
    else
      CopyElements(address, at == kNoPage ? elements : elements + at + 8 * chunk * column_stride, column_stride,
                   at == kNoPage ? 0 : left);
  }
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_PORTABLE_TILE_H_
