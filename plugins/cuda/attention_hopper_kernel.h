// attention_hopper_kernel.h: exact attention, forward, for sm_90a.
//
// A block is three warpgroups that stay for the whole launch and take one tile of 128 queries after the other. One
// thread of the first copies Q, K and V into shared memory by TMA; the other two compute 64 rows each by wgmma.
//
//   producer   | Q  K3 V3 K2 V2 | K1 V1 ...          stages: K and V apart, each with a barrier "full" and one "empty"
//   consumer 0 | QK3 softmax3  QK2+PV3  softmax2 ...
//   consumer 1 |     QK3  softmax3  QK2+PV3 ...      ping-pong: one computes products while the other is at its softmax
//
// A consumer also overlaps its own work: the products of weights and V of one tile of keys run during the softmax of
// the next. Keys are walked from the last tile to the first, since tiles on the edge of what may be seen are there
// first.
//
// Shared memory: each operand lies as columns of 64 (128 bytes), swizzled, rows one after another: what TMA writes and
// wgmma reads. 8 rows are 1024 bytes, to which every operand is aligned.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_KERNEL_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_KERNEL_H_

#include "attention_hopper_output.h"

namespace sage::cuda::hopper {

// T: Bf16 or F16. kDim: of a row of Q, K and V, less is padded with zeros. kKeys: keys of a tile.
template <class T, int kDim_, int kKeys_>
struct Shape {
  using Element = T;
  static constexpr int kDim = kDim_, kKeys = kKeys_, kStages = 2;
  static constexpr int kChunks = kDim / 64;
  static constexpr uint32_t kChunkBytesQ = kTileRows * 128, kChunkBytesKv = kKeys * 128;
  static constexpr uint32_t kBytesQ = kChunks * kChunkBytesQ, kBytesKv = kChunks * kChunkBytesKv;
  // q, k[kStages], v[kStages], barriers, the number of the tile at hand. 1024 to align the first.
  static constexpr uint32_t kOffsetK = kBytesQ, kOffsetV = kOffsetK + kStages * kBytesKv;
  static constexpr uint32_t kOffsetBarriers = kOffsetV + kStages * kBytesKv;
  static constexpr uint32_t kBarriers = 2 + 4 * kStages;
  static constexpr uint32_t kOffsetTile = kOffsetBarriers + 8 * kBarriers;
  static constexpr uint32_t kSharedBytes = 1024 + kOffsetTile + 16;
  // Registers a thread after the warpgroups have traded: 128 * 40 + 256 * 232 <= 65536.
  static constexpr int kProducerRegisters = 40, kConsumerRegisters = 232;
};

// Addresses in shared memory.
template <class S>
struct Places {
  uint32_t base;

  SAGE_DEVICE uint32_t q() const { return base; }
  SAGE_DEVICE uint32_t k(uint32_t stage) const { return base + S::kOffsetK + stage * S::kBytesKv; }
  SAGE_DEVICE uint32_t v(uint32_t stage) const { return base + S::kOffsetV + stage * S::kBytesKv; }
  SAGE_DEVICE uint32_t q_full() const { return base + S::kOffsetBarriers; }
  SAGE_DEVICE uint32_t q_empty() const { return q_full() + 8; }
  SAGE_DEVICE uint32_t k_full(uint32_t stage) const { return q_full() + 16 + 8 * stage; }
  SAGE_DEVICE uint32_t k_empty(uint32_t stage) const { return k_full(stage) + 8 * S::kStages; }
  SAGE_DEVICE uint32_t v_full(uint32_t stage) const { return k_full(stage) + 16 * S::kStages; }
  SAGE_DEVICE uint32_t v_empty(uint32_t stage) const { return k_full(stage) + 24 * S::kStages; }
  // The tile at hand, -1 when there is none left; written before Q is filled, so q_full and q_empty guard it too.
  SAGE_DEVICE volatile int* tile() const {
    return reinterpret_cast<volatile int*>(prim::SharedPointer(base + S::kOffsetTile));
  }
};

// Which stage comes next, and the parity of its phase.
template <class S>
struct Cursor {
  uint32_t stage = 0, parity = 0;
  SAGE_DEVICE void Next() {
    if (++stage == S::kStages) stage = 0, parity ^= 1;
  }
};

// --- the producer ----------------------------------------------------------------------------------------------------

// Rows [kKeys * block, ...) of K or V. Pages that hold no key in use are named by a number past the last page: TMA
// writes zeros for them and the table is not read there.
template <class S>
SAGE_DEVICE void LoadKeys(const HopperParameters& p, const TensorMap& map, const Tile& tile, int head, int block,
                          uint32_t to, uint32_t full) {
  prim::MbarrierArriveExpect(full, S::kBytesKv);
  const int first = block * S::kKeys;
  SAGE_NO_UNROLL
  for (int row = 0; row < S::kKeys; row += p.box_rows) {
    const int key = first + row;
    int at = static_cast<int>(tile.s.k_begin) + key, batch = p.a.cu_seqlens_k != nullptr ? 0 : tile.s.b;
    if (p.a.block_table != nullptr) {
      const int32_t* const pages = p.a.block_table + tile.s.b * p.a.block_table_stride;
      batch = key < tile.s.kv_len ? pages[key >> p.a.page_shift] : p.a.pages;
      at = key & ((1 << p.a.page_shift) - 1);
    }
    SAGE_UNROLL
    for (int c = 0; c < S::kChunks; ++c) {
      const int32_t box[4] = {c * 64, at, head, batch};
      prim::TmaLoad(to + static_cast<uint32_t>(c) * S::kChunkBytesKv + static_cast<uint32_t>(row) * 128, map, full,
                    box);
    }
  }
}

template <class S>
SAGE_DEVICE int NextTile(const HopperParameters& p, int index) {
  const int grid = static_cast<int>(prim::GridX());
  if (p.next_tile == nullptr) return index + grid;
  return grid + static_cast<int>(prim::AtomicAdd(p.next_tile, 1));
}

template <class S>
SAGE_DEVICE void Produce(const HopperParameters& p, const Places<S>& shared) {
  Cursor<S> cursor;
  uint32_t q_parity = 0;
  int index = static_cast<int>(prim::BlockX());
  SAGE_NO_UNROLL
  for (; index < p.tiles; index = NextTile<S>(p, index)) {
    const Tile tile = TileAt(p, index);
    if (tile.first_row() >= tile.s.q_rows) continue;  // of a sequence shorter than the longest
    const Span blocks = BlocksOf(tile, S::kKeys);
    prim::MbarrierWait(shared.q_empty(), q_parity ^ 1);
    q_parity ^= 1;
    *shared.tile() = index;
    prim::MbarrierArriveExpect(shared.q_full(), S::kBytesQ);
    SAGE_UNROLL
    for (int c = 0; c < S::kChunks; ++c) {
      const int32_t box[4] = {c * 64, static_cast<int>(tile.s.q_begin) + tile.first_row(), tile.head,
                              p.a.cu_seqlens_q != nullptr ? 0 : tile.s.b};
      prim::TmaLoad(shared.q() + static_cast<uint32_t>(c) * S::kChunkBytesQ, p.q_map, shared.q_full(), box);
    }
    SAGE_NO_UNROLL
    for (int block = blocks.end - 1; block >= blocks.begin; --block) {
      prim::MbarrierWait(shared.k_empty(cursor.stage), cursor.parity ^ 1);
      LoadKeys<S>(p, p.k_map, tile, tile.head / (p.a.heads_q / p.a.heads_k), block, shared.k(cursor.stage),
                  shared.k_full(cursor.stage));
      prim::MbarrierWait(shared.v_empty(cursor.stage), cursor.parity ^ 1);
      LoadKeys<S>(p, p.v_map, tile, tile.head / (p.a.heads_q / p.a.heads_v), block, shared.v(cursor.stage),
                  shared.v_full(cursor.stage));
      cursor.Next();
    }
  }
  prim::MbarrierWait(shared.q_empty(), q_parity ^ 1);
  *shared.tile() = -1;
  prim::MbarrierArrive(shared.q_full());
}

// --- the consumers ---------------------------------------------------------------------------------------------------

// Begins S = Q K^T for 64 rows; the descriptors are of the first column.
template <class S>
SAGE_DEVICE void BeginScores(uint64_t q, uint64_t k, float (&s)[S::kKeys / 2]) {
  prim::Pin(s);
  prim::WgmmaFence();
  SAGE_UNROLL
  for (int step = 0; step < S::kDim / 16; ++step) {
    const uint32_t chunk = static_cast<uint32_t>(step) / 4, within = static_cast<uint32_t>(step) % 4 * 32;
    prim::Wgmma<typename S::Element, S::kKeys>::Shared(s, prim::Advanced(q, chunk * S::kChunkBytesQ + within),
                                                       prim::Advanced(k, chunk * S::kChunkBytesKv + within), step > 0);
  }
  prim::WgmmaCommit();
}

// Begins O += P V. 16 keys are 16 rows of 128 bytes of V.
template <class S>
SAGE_DEVICE void BeginValues(const uint32_t (&weights)[S::kKeys / 16][4], uint64_t v, float (&o)[S::kDim / 2]) {
  prim::Pin(o);
  prim::WgmmaFence();
  SAGE_UNROLL
  for (int step = 0; step < S::kKeys / 16; ++step)
    prim::Wgmma<typename S::Element, S::kDim>::Registers(o, weights[step],
                                                         prim::Advanced(v, static_cast<uint32_t>(step) * 16 * 128));
  prim::WgmmaCommit();
}

template <class S>
SAGE_DEVICE void Weigh(const HopperParameters& p, const Tile& tile, int group, int row, int lane, int block,
                       float (&s)[S::kKeys / 2], RowState* state) {
  const int key = block * S::kKeys;
  if (p.scale_first) {
    SAGE_UNROLL
    for (int i = 0; i < S::kKeys / 2; ++i) s[i] *= p.scale;
  }
  if (OnAnEdge(tile, tile.first_row() + group * kGroupRows, key, S::kKeys)) Mask(tile, row, key + lane % 4 * 2, s);
  Softmax(p.exponent_scale, s, state);
}

// A stage may be written again once each warp has said that it has read it.
SAGE_DEVICE void Release(uint32_t empty, int lane) {
  if (lane == 0) prim::MbarrierArrive(empty);
}

template <class S>
SAGE_DEVICE void Consume(const HopperParameters& p, const Places<S>& shared, int group) {
  const int thread = static_cast<int>(prim::ThreadX()) % kGroupThreads, lane = thread % 32;
  const uint32_t own_turn = 1 + static_cast<uint32_t>(group), other_turn = 3 - own_turn;
  constexpr uint32_t kBoth = kConsumers * kGroupThreads;
  const uint64_t q = prim::MatrixDescriptor(shared.q() + static_cast<uint32_t>(group) * kGroupRows * 128, 16);
  Cursor<S> cursor;
  uint32_t q_parity = 0;
  if (group == 1) prim::NamedArrive(other_turn, kBoth);  // the first turn is the other group's
  SAGE_NO_UNROLL
  for (;;) {
    prim::MbarrierWait(shared.q_full(), q_parity);
    q_parity ^= 1;
    const int index = *shared.tile();
    if (index < 0) break;
    const Tile tile = TileAt(p, index);
    const Span blocks = BlocksOf(tile, S::kKeys);
    const int row = tile.first_row() + group * kGroupRows + thread / 32 * 16 + lane / 4;
    RowState state = {{kMinusInfinity, kMinusInfinity}, {0, 0}, {1, 1}};
    float o[S::kDim / 2];
    SAGE_UNROLL
    for (int i = 0; i < S::kDim / 2; ++i) o[i] = 0;
    if (blocks.begin < blocks.end) {
      float s[S::kKeys / 2];
      uint32_t weights[S::kKeys / 16][4];
      prim::MbarrierWait(shared.k_full(cursor.stage), cursor.parity);
      prim::NamedSync(own_turn, kBoth);
      BeginScores<S>(q, prim::MatrixDescriptor(shared.k(cursor.stage), 16), s);
      prim::NamedArrive(other_turn, kBoth);
      prim::WgmmaWait<0>();
      prim::Pin(s);
      Release(shared.k_empty(cursor.stage), lane);
      Weigh<S>(p, tile, group, row, lane, blocks.end - 1, s, &state);
      PackWeights<typename S::Element>(s, weights);
      SAGE_NO_UNROLL
      for (int block = blocks.end - 2; block >= blocks.begin; --block) {
        const Cursor<S> before = cursor;
        cursor.Next();
        prim::MbarrierWait(shared.k_full(cursor.stage), cursor.parity);
        prim::NamedSync(own_turn, kBoth);
        BeginScores<S>(q, prim::MatrixDescriptor(shared.k(cursor.stage), 16), s);
        prim::MbarrierWait(shared.v_full(before.stage), before.parity);
        BeginValues<S>(weights, prim::MatrixDescriptor(shared.v(before.stage), S::kChunkBytesKv), o);
        prim::NamedArrive(other_turn, kBoth);
        prim::WgmmaWait<1>();
        prim::Pin(s);
        Release(shared.k_empty(cursor.stage), lane);
        Weigh<S>(p, tile, group, row, lane, block, s, &state);  // while the values are summed
        prim::WgmmaWait<0>();
        prim::Pin(o);
        Release(shared.v_empty(before.stage), lane);
        Shrink(state, o);
        PackWeights<typename S::Element>(s, weights);
      }
      prim::SyncWarp();
      Release(shared.q_empty(), lane);  // read for the last time, and the tile's number too
      prim::MbarrierWait(shared.v_full(cursor.stage), cursor.parity);
      BeginValues<S>(weights, prim::MatrixDescriptor(shared.v(cursor.stage), S::kChunkBytesKv), o);
      prim::WgmmaWait<0>();
      prim::Pin(o);
      Release(shared.v_empty(cursor.stage), lane);
      cursor.Next();
    } else {
      prim::SyncWarp();
      Release(shared.q_empty(), lane);
    }
    WriteOut<typename S::Element, S::kDim>(p, tile, row, lane, o, state);
  }
  if (group == 0) prim::NamedSync(own_turn, kBoth);  // takes the turn that is left over
}

// --- the block -------------------------------------------------------------------------------------------------------

template <class S>
SAGE_DEVICE void Forward(const HopperParameters& p) {
  const Places<S> shared = {(prim::SharedAddress(prim::Shared()) + 1023) & ~1023u};
  const uint32_t thread = prim::ThreadX();
  if (thread == 0) {
    prim::MbarrierInit(shared.q_full(), 1);
    prim::MbarrierInit(shared.q_empty(), kConsumerWarps);
    for (uint32_t stage = 0; stage < S::kStages; ++stage) {
      prim::MbarrierInit(shared.k_full(stage), 1);
      prim::MbarrierInit(shared.k_empty(stage), kConsumerWarps);
      prim::MbarrierInit(shared.v_full(stage), 1);
      prim::MbarrierInit(shared.v_empty(stage), kConsumerWarps);
    }
    prim::MbarrierInitFence();
  }
  prim::SyncThreads();
  const int group = static_cast<int>(prim::Shuffle(thread / kGroupThreads, 0));
  if (group == 0) {
    prim::RegistersDown<S::kProducerRegisters>();
    if (thread == 0) {
      prim::TmaPrefetchMap(p.q_map);
      prim::TmaPrefetchMap(p.k_map);
      prim::TmaPrefetchMap(p.v_map);
      Produce<S>(p, shared);
    }
  } else {
    prim::RegistersUp<S::kConsumerRegisters>();
    Consume<S>(p, shared, group - 1);
  }
}

}  // namespace sage::cuda::hopper

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_KERNEL_H_
