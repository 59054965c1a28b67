// attention_decode.h: attention of few queries over many keys, for every target from sm_80 on, in bf16 and fp16: each
// block streams one split of the keys past 16 packed rows, and the block that is done last merges the splits.
//
// Products are made by mma.sync even for one row: 16 keys cost a warp fewer instructions so than 16 dot products by
// lanes and shuffles, though 15 of 16 rows may be empty; the memory is what it waits for. A warp copies, multiplies and
// sums alone, so that nothing in the loop waits for another warp. One launch: partial results go through the workspace,
// and a ticket tells the last block of a tile of rows, which adds them in the order of their keys.
//
// It is no kernel for long queries: a tile of rows reads the keys once more, if out of the L2 cache.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_DECODE_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_DECODE_H_

#include "attention_append.h"
#include "attention_decode_merge.h"

namespace sage::cuda {

// Asked for again where it is used: kept, what follows from it would take the accumulators' room.
struct ThreadOfBlock {
  int32_t warp, lane;
};
SAGE_DEVICE ThreadOfBlock FreshThread() {
  const int32_t thread = prim::Fresh(static_cast<int32_t>(prim::ThreadX()));
  return {thread / 32, thread % 32};
}

// A warp's slices of its block's split: slice n begins at key first + n * kDecodeKeys. Keys outside [begin, end), which
// no row of the tile sees, are zeros and are not read.
struct WarpKeys {
  int32_t first, count;
  int32_t begin, end;
};
template <class Tile>
SAGE_DEVICE WarpKeys KeysOfWarp(const Sequence& s, const KeyTiles& tiles, const KeySplit& split, int32_t warp) {
  WarpKeys k{};
  k.begin = Most(0, tiles.first_query + s.shift - s.left);
  k.end = Least(s.kv_len, tiles.last_query + s.shift + s.right + 1);
  int32_t first = split.first, last = split.last;
  if (first * Tile::kKeys + (warp + 1) * Tile::kSlice <= k.begin) ++first;
  if (last * Tile::kKeys + warp * Tile::kSlice >= k.end) --last;
  k.first = first * Tile::kKeys + warp * Tile::kSlice;
  k.count = Most(0, last - first + 1);
  return k;
}

// Copies slices into shared memory, each of K before that of V and both in order.
template <class T, bool kPaged>
class SliceLoader {
 public:
  SAGE_DEVICE SliceLoader(const PortableArguments& p, const Sequence& s, const WarpKeys& keys, int32_t first_head)
      : p_(p), s_(s), keys_(keys), first_head_(first_head) {
    if constexpr (kPaged) ahead_ = Pages(0);
  }

  // Slice n, where there is one, in any case as a group of copies of its own.
  template <bool kValues, int32_t kDim>
  SAGE_DEVICE void Load(uint32_t to, int32_t n) {
    if (n < keys_.count) {
      // Page numbers are read two slices at a time, one lane a key, and one such pair ahead of the copies.
      if (kPaged && !kValues && n % 2 == 0) staged_ = ahead_, ahead_ = Pages(n + 2);
      Copy<kValues, kDim>(to, n);
    }
    prim::CopyAsyncCommit();
  }

 private:
  // Of the keys of slices n and n + 1, or -1.
  SAGE_DEVICE int32_t Pages(int32_t n) const {
    const AttentionArguments& a = p_.a;
    const int32_t lane = FreshThread().lane;
    const int32_t j = keys_.first + (n + lane / 16) * kDecodeKeys + lane % 16;
    if (j < keys_.begin || j >= Least(keys_.end, s_.kv_old)) return -1;
    const int32_t page = a.block_table[s_.b * a.block_table_stride + (j >> a.page_shift)];
    return page < a.pages ? page : -1;
  }

  template <bool kValues, int32_t kDim>
  SAGE_DEVICE void Copy(uint32_t to, int32_t n) const {
    const AttentionArguments& a = p_.a;
    constexpr int32_t kChunks = kDim / 8;
    const AttentionStrides &strides = kValues ? a.v_strides : a.k_strides,
                           &fresh = kValues ? a.v_new_strides : a.k_new_strides;
    const int32_t head = first_head_ / (a.heads_q / (kValues ? a.heads_v : a.heads_k));
    const int32_t dim = kValues ? a.dim_v : a.dim_qk;
    const bool vectors = kValues ? p_.v_vectors : p_.k_vectors;
    const T* const cache = static_cast<const T*>(kValues ? a.v : a.k);
    const int32_t lane = FreshThread().lane;
    SAGE_UNROLL_BY_4
    for (int32_t turn = 0; turn < kChunks / 2; ++turn) {
      const int32_t row = (turn * 32 + lane) / kChunks, chunk = (turn * 32 + lane) % kChunks;
      const int32_t j = keys_.first + n * kDecodeKeys + row, left = dim - 8 * chunk;
      bool there = j >= keys_.begin && j < keys_.end && left > 0;
      const T* from = cache;
      int64_t step = strides.column;
      if constexpr (kPaged) {
        const int32_t page = prim::Shuffle(staged_, static_cast<uint32_t>(n % 2 * 16 + row));
        there = there && (page >= 0 || j >= s_.kv_old);
        if (there && j < s_.kv_old)
          from += page * strides.batch + head * strides.head + (j & ((1 << a.page_shift) - 1)) * strides.row;
      } else {
        if (there && j < s_.kv_old) from += KeyOffset<false>(strides, a, s_, head, j);
      }
      if (there && j >= s_.kv_old) {
        from = static_cast<const T*>(kValues ? a.v_new : a.k_new) + QueryOffset(fresh, a, s_, head, j - s_.kv_old);
        step = fresh.column;
      }
      const uint32_t address = to + Swizzled<kDim>(row, chunk);
      if (vectors)
        prim::CopyAsync16(address, there ? from + 8 * chunk : from, there);
      else
        CopyElements(address, there ? from + 8 * chunk * step : from, step, there ? left : 0);
    }
  }

  const PortableArguments& p_;
  const Sequence& s_;
  const WarpKeys& keys_;
  const int32_t first_head_;
  int32_t staged_ = -1, ahead_ = -1;
};

// Q as the first operand of mma.sync, straight from memory: fragment `depth` holds columns 16 depth on of all 16 rows.
template <class T, int32_t kDimQk>
SAGE_DEVICE void LoadQueries(const PortableArguments& p, const Sequence& s, int32_t first_head, int32_t first_row,
                             uint32_t (&q)[kDimQk / 16][4]) {
  const AttentionArguments& a = p.a;
  const int32_t lane = static_cast<int32_t>(prim::ThreadX() % 32);
  SAGE_UNROLL
  for (int32_t half = 0; half < 2; ++half) {
    const PackedRow at = Unpack(p, first_head, first_row + lane / 4 + 8 * half);
    const bool used = at.i < s.q_len;
    const T* const row = static_cast<const T*>(a.q) + (used ? QueryOffset(a.q_strides, a, s, at.h, at.i) : 0);
    SAGE_UNROLL
    for (int32_t n = 0; n < kDimQk / 8; ++n) {
      const int32_t column = 8 * n + 2 * (lane % 4), left = used ? a.dim_qk - column : 0;
      uint32_t pair = 0;
      if (p.q_vectors) {
        if (left > 0) pair = *reinterpret_cast<const uint32_t*>(row + column);
      } else {
        if (left > 0) pair = row[column * a.q_strides.column].bits;
        if (left > 1) pair |= static_cast<uint32_t>(row[(column + 1) * a.q_strides.column].bits) << 16;
      }
      q[n / 2][n % 2 * 2 + half] = pair;
    }
  }
}

// A block's share of K_NEW and V_NEW, of the heads that begin with its group of heads: each row is one block's.
SAGE_DEVICE void AppendShare(const AttentionArguments& a, const Sequence& s, int32_t first_head, int32_t share,
                             int32_t shares) {
  const int32_t per_k = a.heads_q / a.heads_k, per_v = a.heads_q / a.heads_v;
  SAGE_NO_UNROLL
  for (int32_t i = share * kDecodeWarps + FreshThread().warp; i < s.kv_len - s.kv_old; i += shares * kDecodeWarps) {
    if (first_head % per_k == 0) AppendRow<uint16_t, false>(a, s, first_head / per_k, i);
    if (first_head % per_v == 0) AppendRow<uint16_t, true>(a, s, first_head / per_v, i);
  }
}

// Which rows and which keys a block has. Asked for again behind the loop: kept, it would take the accumulators' room.
struct DecodeBlock {
  int32_t tile, split, pair;  // pair: of a sequence and a group of heads
  int32_t first_row, first_head;
  int32_t rows;  // of the tile that there are
  Sequence s;
};
SAGE_DEVICE DecodeBlock PlaceBlock(const DecodeArguments& d) {
  const PortableArguments& p = d.p;
  // Tiles of the same keys side by side, for the L2 cache.
  const int32_t block = prim::Fresh(static_cast<int32_t>(prim::BlockX())), groups = p.a.heads_q / p.group;
  DecodeBlock at{};
  at.tile = block % p.tiles, at.split = block / p.tiles % d.splits, at.pair = block / p.tiles / d.splits;
  at.first_row = at.tile * kDecodeRows, at.first_head = at.pair % groups * p.group;
  at.s = ReadSequence(p.a, at.pair / groups);
  at.rows = Least(kDecodeRows, at.s.q_rows * p.group - at.first_row);
  return at;
}

template <class T, int32_t kDimQk, int32_t kDimV, bool kPaged>
SAGE_DEVICE void AttendDecode(const DecodeArguments& d) {
  using Tile = DecodeTile<kDimQk, kDimV>;
  constexpr int32_t kKeyTiles = Tile::kSlice / 8, kColumnTiles = kDimV / 8;
  const PortableArguments& p = d.p;
  const AttentionArguments& a = p.a;

  const DecodeBlock at = PlaceBlock(d);
  const Sequence& s = at.s;
  if (a.k_new != nullptr && at.tile == 0) AppendShare(a, s, at.first_head, at.split, d.splits);
  if (at.rows <= 0) return;
  const KeyTiles tiles = KeyTilesOf<Tile>(p, s, at.first_row);
  const KeySplit mine = SplitKeys(d, tiles, at.split);
  if (at.split < mine.from || at.split > mine.to) return;

  const WarpKeys keys = KeysOfWarp<Tile>(s, tiles, mine, FreshThread().warp);

  // --- the loop: a slice of K, then of V, leaves the ring; the one that is next but as many enters it ----------------
  const auto ring_of_warp = [] {
    return prim::SharedAddress(prim::Shared()) + static_cast<uint32_t>(FreshThread().warp) * Tile::kRingBytes;
  };
  uint32_t slot = ring_of_warp();
  SliceLoader<T, kPaged> loader(p, s, keys, at.first_head);
  const auto load_k = [&](uint32_t to, int32_t n) { loader.template Load<false, kDimQk>(to, n); };
  const auto load_v = [&](uint32_t to, int32_t n) { loader.template Load<true, kDimV>(to, n); };
  constexpr int32_t kPairs = Tile::kSlots / 2;
  constexpr bool kOdd = Tile::kSlots % 2 == 1;  // then V of a slice enters where K has left
  SAGE_NO_UNROLL
  for (int32_t n = 0; n < kPairs; ++n) {
    load_k(slot + static_cast<uint32_t>(2 * n) * Tile::kSlotBytes, n);
    load_v(slot + static_cast<uint32_t>(2 * n + 1) * Tile::kSlotBytes, n);
  }
  if constexpr (kOdd) load_k(slot + (Tile::kSlots - 1) * Tile::kSlotBytes, kPairs);
  const auto next_slot = [&] {
    slot += Tile::kSlotBytes;
    if (const uint32_t ring = ring_of_warp(); slot == ring + Tile::kRingBytes) slot = ring;
  };

  uint32_t q[kDimQk / 16][4];
  LoadQueries<T, kDimQk>(p, s, at.first_head, at.first_row, q);
  float out[1][kColumnTiles][4] = {};
  float largest[1][2] = {{-kInfinity, -kInfinity}}, sum[1][2] = {};
  const bool modified = HasModifiers(a), masked = HasMask(a);
  const float to_log2 = modified ? kLog2E : static_cast<float>(a.scale) * kLog2E;
  // Keys that every row of the tile sees, as far as lengths and positions go.
  const int32_t first_for_all = tiles.last_query + s.shift - s.left;
  const int32_t last_for_all = Least(s.kv_len - 1, tiles.first_query + s.shift + s.right);

  SAGE_NO_UNROLL
  for (int32_t n = 0; n < keys.count; ++n) {
    float scores[1][kKeyTiles][4] = {};
    prim::CopyAsyncWait<Tile::kSlots - 1>();  // K
    prim::SyncWarp();
    const int32_t lane = FreshThread().lane;
    SAGE_UNROLL
    for (int32_t depth = 0; depth < kDimQk / 16; ++depth) {
      uint32_t k[4];
      prim::LoadMatrix4(k, slot + Swizzled<kDimQk>(lane / 16 * 8 + lane % 8, 2 * depth + lane / 8 % 2));
      prim::Mma16816<T>(scores[0][0], q[depth], k[0], k[1]);
      prim::Mma16816<T>(scores[0][1], q[depth], k[2], k[3]);
    }
    prim::SyncWarp();  // every lane is done with K
    if constexpr (kOdd)
      load_v(slot, n + kPairs);
    else
      load_k(slot, n + kPairs);
    next_slot();

    const int32_t first_key = keys.first + n * Tile::kKeys;
    const bool edge = first_key + Tile::kSlice - 1 > last_for_all || first_key < first_for_all;
    if (modified || masked || edge) {
      const DecodeBlock again = PlaceBlock(d);
      const int32_t row = again.first_row + FreshThread().lane / 4,
                    thread_key = first_key + 2 * (FreshThread().lane % 4);
      if (modified) ModifyScores<T, 1, kKeyTiles>(p, again.s, again.first_head, row, thread_key, scores);
      if (masked || edge) MaskScores<1, kKeyTiles>(p, again.s, again.first_head, row, thread_key, scores);
    }
    WeighScores<1, kKeyTiles, kColumnTiles>(to_log2, scores, largest, sum, out);

    prim::CopyAsyncWait<Tile::kSlots - 1>();  // V
    prim::SyncWarp();
    AddValues<T, kDimV, 1, kKeyTiles>(slot, FreshThread().lane, scores, out);
    prim::SyncWarp();  // every lane is done with V
    if constexpr (kOdd)
      load_k(slot, n + kPairs + 1);
    else
      load_v(slot, n + kPairs);
    next_slot();
  }

  // --- the four warps' parts through shared memory -------------------------------------------------------------------
  prim::SyncThreads();  // all rings are done with
  float* const parts = reinterpret_cast<float*>(prim::Shared());
  const auto [warp, lane] = FreshThread();
  SAGE_UNROLL
  for (int32_t half = 0; half < 2; ++half) {
    const int32_t row = lane / 4 + 8 * half;
    float total = sum[0][half];
    total += prim::ShuffleXor(total, 1);
    total += prim::ShuffleXor(total, 2);
    float* const part = parts + warp * Tile::kPart;
    SAGE_UNROLL
    for (int32_t i = 0; i < kColumnTiles; ++i) {
      part[row * Tile::kPartRow + 8 * i + 2 * (lane % 4)] = out[0][i][2 * half];
      part[row * Tile::kPartRow + 8 * i + 2 * (lane % 4) + 1] = out[0][i][2 * half + 1];
    }
    if (lane % 4 == 0) {
      float* const sums = part + Tile::kRows * Tile::kPartRow + 2 * row;
      sums[0] = largest[0][half], sums[1] = total;
    }
  }
  prim::SyncThreads();
  const auto merged_warps = [&](int32_t row) {
    return MergeParts<kDimV>(
        Tile::kWarps,
        [&](int32_t part) {
          const float* const sums = parts + part * Tile::kPart + Tile::kRows * Tile::kPartRow + 2 * row;
          return RowSum{sums[0], sums[1]};
        },
        [&](int32_t part, int32_t column) { return parts[part * Tile::kPart + row * Tile::kPartRow + column]; });
  };
  const DecodeBlock place = PlaceBlock(d);
  const KeySplit done = SplitKeys(d, KeyTilesOf<Tile>(p, place.s, place.first_row), place.split);
  const auto write_row = [&](int32_t row, const MergedRow<kDimV>& merged) {
    WriteRow<T, kDimV>(p, place.s, Unpack(p, place.first_head, place.first_row + row), merged);
  };
  if (done.from == done.to) {
    SAGE_NO_UNROLL
    for (int32_t row = warp; row < place.rows; row += Tile::kWarps) {
      write_row(row, merged_warps(row));
    }
    return;
  }

  // --- the splits' parts through the workspace -----------------------------------------------------------------------
  const int64_t unit = int64_t{place.pair} * p.tiles + place.tile;
  float* const partials = d.partials + unit * d.splits * Tile::kPartial;
  float* const partial = partials + place.split * Tile::kPartial;
  SAGE_NO_UNROLL
  for (int32_t row = warp; row < place.rows; row += Tile::kWarps) {
    const MergedRow<kDimV> merged = merged_warps(row);
    SAGE_UNROLL
    for (int32_t n = 0; n < kDimV / 32; ++n) partial[row * kDimV + lane + 32 * n] = merged.out[n];
    if (lane == 0) {
      float* const sums = partial + Tile::kRows * kDimV + 2 * row;
      sums[0] = merged.sum.base, sums[1] = merged.sum.total;
    }
  }
  prim::ThreadFence();  // what this thread wrote, before the ticket
  prim::SyncThreads();  // and what the others wrote
  bool last = false;
  if (prim::ThreadX() == Tile::kThreads - 32)  // of the warp that wrote the fewest rows: it is here first
    last = prim::AtomicAdd(d.tickets + unit, 1) == static_cast<uint32_t>(done.to - done.from);
  if (!prim::SyncThreadsOr(last)) return;
  prim::ThreadFence();
  SAGE_NO_UNROLL
  for (int32_t row = warp; row < place.rows; row += Tile::kWarps) {
    const float* const first = partials + done.from * Tile::kPartial;
    const MergedRow<kDimV> merged = MergeParts<kDimV>(
        done.to - done.from + 1,
        [&](int32_t part) {
          const float* const sums = first + part * Tile::kPartial + Tile::kRows * kDimV + 2 * row;
          return RowSum{prim::LoadFromAll(sums), prim::LoadFromAll(sums + 1)};
        },
        [&](int32_t part, int32_t column) {
          return prim::LoadFromAll(first + part * Tile::kPartial + row * kDimV + column);
        });
    write_row(row, merged);
  }
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_DECODE_H_
