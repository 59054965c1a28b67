// attention_hopper_epilogue.h: how a tile's results leave a warpgroup.
//
// By TMA: each thread writes its part of O to a slab in shared memory, as 16-bit words swizzled as TMA reads them; then
// one thread has the 64 rows stored, and the warpgroup goes on with the next tile while they leave. The map clips rows
// past the last query. Whatever is wrong with a row is put right in the slab, so that nothing is written twice.
//
// Two proxies meet there: what threads wrote is seen by TMA after each of them has fenced, and all have met.
//
// The slab is memory of its own, which is written again once the store before has read it; or, where there is no room,
// the tile's own Q, which then is given back when the store has read it.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_EPILOGUE_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_EPILOGUE_H_

#include "attention_hopper_output.h"

namespace sage::cuda::hopper {

// Whether Q's place is still in use after the last product with Q.
template <class S>
SAGE_DEVICE bool LeavesFromQ(const HopperParameters& p) {
  return !S::kRoomy && p.by_tma;
}

// The stores that this thread began have read the slab.
SAGE_DEVICE void AwaitStores(int thread) {
  if (thread == 0) prim::TmaStoreWaitRead<0>();
  prim::SyncWarp();
}

// By all 128 threads of a warpgroup; barrier: a named one of its own. row: of this thread's element 0, within the line.
template <class S>
SAGE_DEVICE void Finish(const HopperParameters& p, const Places<S>& shared, const Tile& tile, uint32_t q_tile,
                        int group, uint32_t barrier, int row, int thread, const float (&o)[S::kDim / 2],
                        const RowState& state) {
  const uint32_t slab = S::kRoomy ? shared.o() : shared.q(q_tile);
  if (p.by_tma) {
    if (S::kRoomy) AwaitStores(thread);
    prim::NamedSync(barrier, kGroupThreads);  // nobody reads the slab any more, be it as the last O or as this Q
  }
  WriteOut<S>(p, tile, slab, row, thread % 32, o, state);
  if (!p.by_tma) return;
  prim::FenceAsyncShared();
  prim::NamedSync(barrier, kGroupThreads);
  if (thread == 0) {
    const int first = tile.first_row + group * kGroupRows;
    SAGE_UNROLL
    for (int c = 0; c < S::kChunks; ++c) {
      const int32_t box[5] = {c * 64, 0, tile.Query(first), tile.first_head >> p.pack_shift, tile.s.b};
      const uint32_t from = slab + static_cast<uint32_t>(c) * S::kChunkBytesQ + static_cast<uint32_t>(group) * 8192;
      if (c * 64 < p.a.dim_v) prim::TmaStore(p.o_map, from, box);
    }
    prim::TmaStoreCommit();
  }
  prim::SyncWarp();
  if (!S::kRoomy) AwaitStores(thread);
}

}  // namespace sage::cuda::hopper

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_EPILOGUE_H_
