// attention_decode_tile.h: what the decode kernel is given, how its shared memory is divided, and which keys a block
// and each of its warps have.
//
// A block has 16 packed rows (attention_portable_tile.h) and one split of the keys that any of them sees. The split is
// cut into tiles of 64 keys at positions that are multiples of 64, a tile into slices of 16, one a warp: each warp
// walks its slices alone, with copies, scores and sums of its own, and meets the others at the end.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_DECODE_TILE_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_DECODE_TILE_H_

#include "attention_portable.h"

namespace sage::cuda {

constexpr int32_t kDecodeRows = 16;  // of a block: what mma.sync multiplies at once
constexpr int32_t kDecodeKeys = 64;  // of a tile
constexpr int32_t kDecodeWarps = 4;  // of a block
// A split of fewer is not worth its start: two slices a warp.
constexpr int32_t kLeastSplitTiles = 2;

// By value to the kernel; PlanDecode makes it.
struct DecodeArguments {
  PortableArguments p;     // tiles: of 16 rows
  int32_t splits = 1;      // blocks along the keys
  int32_t split_keys = 0;  // a multiple of 64: splits end there; 0: what a tile of rows sees is divided evenly
  // One a sequence, group of heads and tile of rows, zero before the launch: how many of its splits are done. Null, as
  // partials, where there is one split.
  uint32_t* tickets = nullptr;
  float* partials = nullptr;  // PartialFloats of each block
};

// A partial result: O of 16 rows, not yet divided by its sum, then of each row the power of two that it is relative to
// and the sum.
constexpr int32_t PartialFloats(int32_t dim_v) { return kDecodeRows * (dim_v + 2); }

template <int32_t kDimQk, int32_t kDimV>
struct DecodeTile {
  static constexpr int32_t kLargest = kDimQk > kDimV ? kDimQk : kDimV;
  static constexpr int32_t kRows = kDecodeRows, kKeys = kDecodeKeys;
  static constexpr int32_t kWarps = kDecodeWarps, kThreads = 32 * kWarps, kSlice = kKeys / kWarps;
  static_assert(kSlice == 16);  // what P V multiplies at once
  // Slices of K and of V in turn go round a ring of each warp's own. So much is on its way that two or three blocks
  // fill a memory's latency, and one block fits the 99 KiB of the consumers' parts.
  static constexpr uint32_t kSlotBytes = kSlice * kLargest * 2;
  static constexpr uint32_t kRings = (kLargest <= 128 ? 64u : 96u) << 10;
  static constexpr int32_t kSlots = kRings / (kWarps * kSlotBytes) < 8 ? kRings / (kWarps * kSlotBytes) : 8;
  static constexpr int32_t kBlocks = kLargest <= 128 ? 3 : 2;  // of a processor, as far as registers go
  static constexpr int32_t kPartial = PartialFloats(kDimV);
  // At the end each warp's O lies there; rows are 8 floats apart in the banks.
  static constexpr int32_t kPartRow = kDimV + 8, kPart = kRows * (kPartRow + 2);
  static constexpr uint32_t kRingBytes = kSlots * kSlotBytes, kPartBytes = kWarps * kPart * 4;
  static constexpr uint32_t kSharedBytes = kWarps * kRingBytes > kPartBytes ? kWarps* kRingBytes : kPartBytes;
};

// The tiles of keys of one split; last < first: none.
struct KeySplit {
  int32_t first, last;
  int32_t from, to;  // the first and the last split that have any; 0, 0 where no key is seen
};
SAGE_DEVICE KeySplit SplitKeys(const DecodeArguments& d, const KeyTiles& keys, int32_t split) {
  if (keys.last < keys.first) return {0, -1, 0, 0};
  if (d.split_keys > 0) {
    const int32_t each = d.split_keys / kDecodeKeys, first = split * each;
    return {Most(keys.first, first), Least(keys.last, first + each - 1), keys.first / each, keys.last / each};
  }
  const int32_t tiles = keys.last - keys.first + 1;
  const int32_t each = Most(kLeastSplitTiles, (tiles + d.splits - 1) / d.splits), first = keys.first + split * each;
  return {first, Least(keys.last, first + each - 1), 0, (tiles - 1) / each};
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_DECODE_TILE_H_
