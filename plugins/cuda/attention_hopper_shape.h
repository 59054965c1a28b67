// attention_hopper_shape.h: what is fixed when the Hopper kernel is compiled: the sizes of its tiles, and where in
// shared memory everything lies.
//
// Each operand lies as columns of 64 (128 bytes), swizzled, rows one after another: what TMA writes and wgmma reads. 8
// rows are 1024 bytes, to which every operand is aligned.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_SHAPE_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_SHAPE_H_

#include "attention_hopper_tiles.h"

namespace sage::cuda::hopper {

// T: Bf16 or F16. kDim: of a row of Q, K and V, less is padded with zeros. kKeys: keys of a tile. kConsumers:
// warpgroups that compute, with 64 rows each.
template <class T, int kDim_, int kKeys_, int kConsumers_ = 2>
struct Shape {
  static_assert(kConsumers_ == 2 || kConsumers_ == 3);
  using Element = T;
  static constexpr int kDim = kDim_, kKeys = kKeys_, kConsumers = kConsumers_, kStages = 2;
  static constexpr int kRows = kConsumers * kGroupRows, kThreads = (1 + kConsumers) * kGroupThreads;
  static constexpr int kConsumerWarps = kConsumers * 4;
  static constexpr int kChunks = kDim / 64;
  static constexpr uint32_t kChunkBytesQ = kRows * 128, kChunkBytesKv = kKeys * 128;
  static constexpr uint32_t kBytesQ = kChunks * kChunkBytesQ, kBytesKv = kChunks * kChunkBytesKv;

  // Of shared memory a block may have 227 KiB, of which 1 is for aligning the rest and for barriers. Where it is not
  // enough for two tiles of Q and one of O, there is one of Q, and O leaves from its place.
  static constexpr uint32_t kMostBytes = 226 * 1024;
  static constexpr bool kRoomy = 3 * kBytesQ + 2 * kStages * kBytesKv <= kMostBytes;
  static constexpr uint32_t kQTiles = kRoomy ? 2 : 1;

  // q[kQTiles], k[kStages], v[kStages], o where there is room, barriers, the number of the tile in each place of Q.
  static constexpr uint32_t kOffsetK = kQTiles * kBytesQ, kOffsetV = kOffsetK + kStages * kBytesKv;
  static constexpr uint32_t kOffsetO = kRoomy ? kOffsetV + kStages * kBytesKv : 0;
  static constexpr uint32_t kOffsetBarriers = (kRoomy ? kOffsetO + kBytesQ : kOffsetV + kStages * kBytesKv);
  static constexpr uint32_t kBarriers = 2 * kQTiles + 4 * kStages;
  static constexpr uint32_t kOffsetTile = kOffsetBarriers + 8 * kBarriers;
  static constexpr uint32_t kSharedBytes = 1024 + kOffsetTile + 4 * kQTiles;
  static_assert(kSharedBytes <= 227 * 1024);

  // Registers a thread after the warpgroups have traded: 128 * 40 + 256 * 232 <= 65536, 128 * 32 + 384 * 160 = 65536.
  static constexpr int kProducerRegisters = kConsumers == 3 ? 32 : 40;
  static constexpr int kConsumerRegisters = kConsumers == 3 ? 160 : 232;
  // Of 32 there are none for a page table, and of 160 none to keep what only a tile's end needs to know of it.
  static constexpr bool kPages = kConsumers == 2 && kKeys != 176;
  // Whether two blocks may share copies: p.cluster.
  static constexpr bool kPairs = kKeys == 176 || kDim == 256;
  static constexpr bool kAsksAgain = kConsumers == 3;
};

// Addresses in shared memory. q_tile: which place of Q; stage: of K or V.
template <class S>
struct Places {
  uint32_t base;

  SAGE_DEVICE uint32_t q(uint32_t q_tile) const { return base + q_tile * S::kBytesQ; }
  SAGE_DEVICE uint32_t k(uint32_t stage) const { return base + S::kOffsetK + stage * S::kBytesKv; }
  SAGE_DEVICE uint32_t v(uint32_t stage) const { return base + S::kOffsetV + stage * S::kBytesKv; }
  // Laid out as Q is: the rows of a warpgroup lie where its rows of Q do.
  SAGE_DEVICE uint32_t o() const { return base + S::kOffsetO; }
  SAGE_DEVICE uint32_t q_full(uint32_t q_tile) const { return base + S::kOffsetBarriers + 8 * q_tile; }
  SAGE_DEVICE uint32_t q_empty(uint32_t q_tile) const { return q_full(q_tile) + 8 * S::kQTiles; }
  SAGE_DEVICE uint32_t k_full(uint32_t stage) const { return q_full(0) + 16 * S::kQTiles + 8 * stage; }
  SAGE_DEVICE uint32_t k_empty(uint32_t stage) const { return k_full(stage) + 8 * S::kStages; }
  SAGE_DEVICE uint32_t v_full(uint32_t stage) const { return k_full(stage) + 16 * S::kStages; }
  SAGE_DEVICE uint32_t v_empty(uint32_t stage) const { return k_full(stage) + 24 * S::kStages; }
  // The tile whose Q is there, -1 when there is none left; written before Q is filled, so q_full and q_empty guard it
  // too.
  SAGE_DEVICE volatile int* tile(uint32_t q_tile) const {
    return reinterpret_cast<volatile int*>(prim::SharedPointer(base + S::kOffsetTile + 4 * q_tile));
  }
};

// Which of several places comes next, and the parity of its phase.
struct Cursor {
  uint32_t stage = 0, parity = 0;
  SAGE_DEVICE void Next(uint32_t stages) {
    if (++stage == stages) stage = 0, parity ^= 1;
  }
};

template <class S>
SAGE_DEVICE uint32_t QTiles(const HopperParameters& p) {
  return S::kQTiles == 1 ? 1 : static_cast<uint32_t>(p.q_tiles);
}

// Blocks that share copies of K and V.
template <class S>
SAGE_DEVICE uint32_t Together(const HopperParameters& p) {
  return S::kPairs ? static_cast<uint32_t>(p.cluster) : 1;
}

// The tile of this block.
template <class S>
SAGE_DEVICE Tile OwnTile(const HopperParameters& p, int index) {
  const int together = static_cast<int>(Together<S>(p));
  Tile tile = TileAt(p, index, S::kRows * together);
  if (together > 1) tile.first_row += static_cast<int>(prim::ClusterRank()) * S::kRows;
  return tile;
}

}  // namespace sage::cuda::hopper

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_SHAPE_H_
