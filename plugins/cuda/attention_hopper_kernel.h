// attention_hopper_kernel.h: exact attention, forward, for sm_90a.
//
// A block is three or four warpgroups that stay for the whole launch and take one tile of queries after the other. One
// thread of the first copies Q, K and V into shared memory by TMA; the others compute 64 rows each by wgmma.
//
//   producer   | Q  K3 V3 K2 V2 | K1 V1 ... Q' K3' ...   places: K and V apart, Q; each with barriers "full" and
//   "empty" consumer 0 | QK3 softmax3  QK2+PV3  softmax2 ... consumer 1 |     QK3  softmax3  QK2+PV3 ... ping-pong: one
//   computes products while others are at softmax
//
// A consumer also overlaps its own work: the products of weights and V of one tile of keys run during the softmax of
// the next. Keys are walked from the last tile to the first, since tiles on the edge of what may be seen are there
// first.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_KERNEL_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_KERNEL_H_

#include "attention_hopper_epilogue.h"
#include "attention_hopper_producer.h"

namespace sage::cuda::hopper {

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
  if (OnAnEdge(tile, tile.first_row + group * kGroupRows, key, S::kKeys)) Mask(tile, row, key + lane % 4 * 2, s);
  Softmax(p.exponent_scale, s, state);
}

// A place may be written again once each warp has said that it has read it.
SAGE_DEVICE void Release(uint32_t empty, int lane) {
  if (lane == 0) prim::MbarrierArrive(empty);
}

// Of K or V: to all blocks whose copies come here.
template <class S>
SAGE_DEVICE void ReleaseKeys(const HopperParameters& p, uint32_t empty, int lane) {
  if (Together<S>(p) == 1) return Release(empty, lane);
  prim::SyncWarp();
  if (lane < p.cluster) prim::MbarrierArriveAt(empty, static_cast<uint32_t>(lane));
}

// The warpgroups take turns in a ring, by a named barrier each: who has the turn begins its products and passes it on.
// All have equally many turns, as a tile's keys are the same for all.
template <class S>
struct Turns {
  static constexpr uint32_t kPair = 2 * kGroupThreads;  // who passes the turn and who takes it
  uint32_t own, next;

  SAGE_DEVICE explicit Turns(int group) : own(1 + static_cast<uint32_t>(group)), next(own % S::kConsumers + 1) {
    if (group == S::kConsumers - 1) Pass();  // the first turn is the first group's
  }
  SAGE_DEVICE void Take() const { prim::NamedSync(own, kPair); }
  SAGE_DEVICE void Pass() const { prim::NamedArrive(next, kPair); }
  SAGE_DEVICE uint32_t barrier_of_group() const { return own + S::kConsumers; }
};

template <class S>
SAGE_DEVICE void Consume(const HopperParameters& p, const Places<S>& shared, int group) {
  const int thread = static_cast<int>(prim::ThreadX()) % kGroupThreads, lane = thread % 32;
  const Turns<S> turns(group);
  Cursor keys, q;
  SAGE_NO_UNROLL
  for (;;) {
    prim::MbarrierWait(shared.q_full(q.stage), q.parity);
    const int index = *shared.tile(q.stage);
    if (index < 0) break;
    const Tile tile = OwnTile<S>(p, index);
    const Span blocks = BlocksOf(tile, S::kRows, S::kKeys);
    const int row = tile.first_row + group * kGroupRows + thread / 32 * 16 + lane / 4;
    RowState state = {{kMinusInfinity, kMinusInfinity}, {0, 0}, {1, 1}};
    float o[S::kDim / 2];
    SAGE_UNROLL
    for (int i = 0; i < S::kDim / 2; ++i) o[i] = 0;
    if (blocks.begin < blocks.end) {
      const uint64_t queries =
          prim::MatrixDescriptor(shared.q(q.stage) + static_cast<uint32_t>(group) * kGroupRows * 128, 16);
      float s[S::kKeys / 2];
      uint32_t weights[S::kKeys / 16][4];
      prim::MbarrierWait(shared.k_full(keys.stage), keys.parity);
      turns.Take();
      BeginScores<S>(queries, prim::MatrixDescriptor(shared.k(keys.stage), 16), s);
      turns.Pass();
      prim::WgmmaWait<0>();
      prim::Pin(s);
      ReleaseKeys<S>(p, shared.k_empty(keys.stage), lane);
      Weigh<S>(p, tile, group, row, lane, blocks.end - 1, s, &state);
      PackWeights<typename S::Element>(s, weights);
      SAGE_NO_UNROLL
      for (int block = blocks.end - 2; block >= blocks.begin; --block) {
        const Cursor before = keys;
        keys.Next(S::kStages);
        prim::MbarrierWait(shared.k_full(keys.stage), keys.parity);
        turns.Take();
        BeginScores<S>(queries, prim::MatrixDescriptor(shared.k(keys.stage), 16), s);
        prim::MbarrierWait(shared.v_full(before.stage), before.parity);
        BeginValues<S>(weights, prim::MatrixDescriptor(shared.v(before.stage), S::kChunkBytesKv), o);
        turns.Pass();
        prim::WgmmaWait<1>();
        prim::Pin(s);
        ReleaseKeys<S>(p, shared.k_empty(keys.stage), lane);
        Weigh<S>(p, tile, group, row, lane, block, s, &state);  // while the values are summed
        prim::WgmmaWait<0>();
        prim::Pin(o);
        ReleaseKeys<S>(p, shared.v_empty(before.stage), lane);
        Shrink(state, o);
        PackWeights<typename S::Element>(s, weights);
      }
      prim::SyncWarp();
      // Q is read for the last time, and the tile's number too.
      if (!LeavesFromQ<S>(p)) Release(shared.q_empty(q.stage), lane);
      prim::MbarrierWait(shared.v_full(keys.stage), keys.parity);
      BeginValues<S>(weights, prim::MatrixDescriptor(shared.v(keys.stage), S::kChunkBytesKv), o);
      prim::WgmmaWait<0>();
      prim::Pin(o);
      ReleaseKeys<S>(p, shared.v_empty(keys.stage), lane);
      keys.Next(S::kStages);
    } else {
      prim::SyncWarp();
      if (!LeavesFromQ<S>(p)) Release(shared.q_empty(q.stage), lane);
    }
    const Tile again = S::kAsksAgain ? OwnTile<S>(p, prim::Fresh(index)) : tile;
    Finish<S>(p, shared, again, q.stage, group, turns.barrier_of_group(), row, thread, o, state);
    if (LeavesFromQ<S>(p)) Release(shared.q_empty(q.stage), lane);
    q.Next(QTiles<S>(p));
  }
  if (group == 0) turns.Take();  // the turn that is left over
  AwaitStores(thread);           // a block's memory ends with it
}

// --- the block -------------------------------------------------------------------------------------------------------

template <class S>
SAGE_DEVICE void Forward(const HopperParameters& p) {
  const Places<S> shared = {(prim::SharedAddress(prim::Shared()) + 1023) & ~1023u};
  const uint32_t thread = prim::ThreadX();
  if (thread == 0) {
    for (uint32_t q_tile = 0; q_tile < S::kQTiles; ++q_tile) {
      prim::MbarrierInit(shared.q_full(q_tile), 1);
      prim::MbarrierInit(shared.q_empty(q_tile), S::kConsumerWarps);
    }
    for (uint32_t stage = 0; stage < S::kStages; ++stage) {
      prim::MbarrierInit(shared.k_full(stage), 1);
      prim::MbarrierInit(shared.k_empty(stage), S::kConsumerWarps * Together<S>(p));
      prim::MbarrierInit(shared.v_full(stage), 1);
      prim::MbarrierInit(shared.v_empty(stage), S::kConsumerWarps * Together<S>(p));
    }
    prim::MbarrierInitFence();
  }
  if (Together<S>(p) > 1)
    prim::ClusterSync();  // the other's barriers are there, too
  else
    prim::SyncThreads();
  const int group = static_cast<int>(prim::Shuffle(thread / kGroupThreads, 0));
  if (group == 0) {
    prim::RegistersDown<S::kProducerRegisters>();
    if (thread == 0) {
      prim::TmaPrefetchMap(p.q_map);
      prim::TmaPrefetchMap(p.k_map);
      prim::TmaPrefetchMap(p.v_map);
      if (p.by_tma) prim::TmaPrefetchMap(p.o_map);
      Produce<S>(p, shared);
    }
  } else {
    prim::RegistersUp<S::kConsumerRegisters>();
    Consume<S>(p, shared, group - 1);
  }
  if (Together<S>(p) > 1) prim::ClusterSync();  // nobody's memory ends while another block still arrives there
}

}  // namespace sage::cuda::hopper

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_KERNEL_H_
