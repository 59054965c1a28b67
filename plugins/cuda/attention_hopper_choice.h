// attention_hopper_choice.h: which variant of the Hopper kernel a call gets. All of it is decided here, from sizes
// alone, so that whoever has a device can leave out one stage at a time (the option hopper_stages) and compare.
//
// The gains that the limits below weigh are estimates: no device has measured them yet (bench/results/OPEN.md).
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_CHOICE_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_CHOICE_H_

#include <bit>
#include <cstdint>

#include "common/cuda/attention_arguments.h"

namespace sage::cuda {

// What can be left out: bits of AttentionArguments::stages_off, by these names in the option.
enum HopperStage : uint32_t {
  kHopperTwoQ = 1,          // the next tile's Q is copied while this one is computed
  kHopperStore = 2,         // O leaves by TMA
  kHopperRows192 = 4,       // three warpgroups compute, at rows up to 64
  kHopperKeys176 = 8,       // tiles of 176 keys, at rows up to 128 where nothing is masked
  kHopperPackedHeads = 16,  // heads that share K fill a tile of few queries
  kHopperPairs = 32,        // two blocks share each copy of K and V
};
constexpr const char* kHopperStageNames[] = {"two_q", "store", "rows_192", "keys_176", "packed_heads", "pairs"};
// Off unless it is asked for: it gives up that tiles are taken by whoever is free, for less traffic to the L2 cache.
constexpr uint32_t kHopperStagesOff = kHopperPairs;

struct HopperVariant {
  int dim = 64;        // of rows, as compiled: 64, 128 or 256
  int rows = 128;      // of a tile: 128, or 192 at dim 64
  int keys = 128;      // of a tile: 128, 176 at dim 128, 64 at dim 256
  int pack_shift = 0;  // 2^pack_shift query heads are packed into a tile's rows
  int q_tiles = 2;     // Q's places, where shared memory has room for two
  int cluster = 1;     // blocks that share copies of K and V: 1 or 2
  bool by_tma = true;  // O is stored by TMA, if its address and strides allow it
};

constexpr int64_t HopperRounded(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// The row length that the kernel is compiled for.
inline int HopperDim(const AttentionArguments& a) {
  const int32_t longest = a.dim_qk > a.dim_v ? a.dim_qk : a.dim_v;
  return longest <= 64 ? 64 : longest <= 128 ? 128 : 256;
}

// Heads are packed by powers of two, so that each warpgroup's 64 rows are whole queries: the largest that divides the
// heads which share a head of K, and a head of V. Where a tile of one head alone is less than 0.9 as full.
inline int HopperPackShift(const AttentionArguments& a) {
  constexpr int kMost = 6, kRows = 128;
  if (a.heads_k < 1 || a.heads_v < 1) return 0;
  const auto share = static_cast<uint32_t>(a.heads_q / a.heads_k | a.heads_q / a.heads_v);
  const int shift = share == 0 ? 0 : std::countr_zero(share) < kMost ? std::countr_zero(share) : kMost;
  const int64_t alone = HopperRounded(a.seq_q, kRows) << shift,
                packed = HopperRounded(int64_t{a.seq_q} << shift, kRows);
  return packed * 10 < alone * 9 ? shift : 0;
}

// As long as no multiprocessor is idle for it, and padding costs no more than a sixteenth. Not of pages, for whose
// table its thread that copies has no registers.
inline bool HopperTakesRows192(const AttentionArguments& a, int multiprocessors) {
  if (a.block_table != nullptr) return false;
  const int64_t padded = HopperRounded(a.seq_q, 192);
  return padded / 192 * a.heads_q * a.batch >= multiprocessors && padded * 16 <= HopperRounded(a.seq_q, 128) * 17;
}

// As long as padding costs no more than a thirty-second. Under a mask longer tiles compute more that is not seen.
inline bool HopperTakesKeys176(const AttentionArguments& a) {
  if (a.causal || a.window_left >= 0 || a.window_right >= 0 || a.block_table != nullptr) return false;
  return HopperRounded(a.seq_kv, 176) * 32 <= HopperRounded(a.seq_kv, 128) * 33;
}

// Two blocks work on neighbouring tiles of one head and walk the same keys: so nothing is masked, there is an even
// number of tiles, and no sequence is shorter than the others. Where pairs fill the device, and a copy is worth its
// waiting for another block: at rows past 64.
inline bool HopperTakesPairs(const AttentionArguments& a, const HopperVariant& v, int multiprocessors) {
  if (a.causal || a.window_left >= 0 || a.window_right >= 0 || a.block_table != nullptr) return false;
  if (a.cu_seqlens_q != nullptr || a.seqused_q != nullptr || v.pack_shift != 0) return false;
  if (v.keys != 176 && v.dim != 256) return false;
  const int64_t tiles = HopperRounded(a.seq_q, v.rows) / v.rows;
  return tiles % 2 == 0 && multiprocessors % 2 == 0 && tiles * a.heads_q * a.batch >= multiprocessors;
}

// Pure. multiprocessors: of the device.
inline HopperVariant ChooseHopper(const AttentionArguments& a, int multiprocessors) {
  const auto on = [&a](HopperStage stage) { return (a.stages_off & stage) == 0; };
  HopperVariant v;
  v.dim = HopperDim(a);
  if (on(kHopperPackedHeads)) v.pack_shift = HopperPackShift(a);
  if (v.dim == 64 && v.pack_shift == 0 && on(kHopperRows192) && HopperTakesRows192(a, multiprocessors)) v.rows = 192;
  if (v.dim == 256) v.keys = 64;  // two stages of 128 would not fit
  if (v.dim == 128 && on(kHopperKeys176) && HopperTakesKeys176(a)) v.keys = 176;
  if (on(kHopperPairs) && HopperTakesPairs(a, v, multiprocessors)) v.cluster = 2;
  v.q_tiles = on(kHopperTwoQ) ? 2 : 1;
  // A box may not be written across the end of a packed sequence.
  v.by_tma = on(kHopperStore) && a.cu_seqlens_q == nullptr;
  return v;
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_CHOICE_H_
