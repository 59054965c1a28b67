// attention_portable.h: the forward kernel for every target from sm_80 on, in bf16 and fp16, by mma.sync.
//
// FlashAttention-2's order of things. A block has one tile of packed queries (attention_portable_tile.h) and walks the
// keys from the last to the first; V's copy runs under Q K^T, the next K's under the softmax and P V. A warp owns whole
// rows, so that the softmax needs no more than its four lanes of a row; P goes from the accumulators of the first
// product into the operands of the second without leaving the registers.
//
// Template parameters are the padded dimensions, the type and the loader of keys. All else is a branch that every
// thread takes alike, and masks are looked at in tiles at an edge only.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_PORTABLE_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_PORTABLE_H_

#include "attention_plain.h"
#include "attention_softmax.h"

namespace sage::cuda {

// Which keys a tile of queries has to look at, in tiles of keys: last down to first.
struct KeyTiles {
  int32_t first, last;
  int32_t first_query, last_query;  // of those in use
};

template <class Tile>
SAGE_DEVICE KeyTiles KeyTilesOf(const PortableArguments& p, const Sequence& s, int32_t first_row) {
  KeyTiles k{};
  k.first_query = first_row / p.group;
  k.last_query = Least((first_row + Tile::kRows - 1) / p.group, s.q_len - 1);
  const int32_t first = Most(0, k.first_query + s.shift - s.left);
  const int32_t end = Least(s.kv_len, k.last_query + s.shift + s.right + 1);
  k.first = first / Tile::kKeys;
  k.last = k.last_query < k.first_query || end <= first ? k.first - 1 : (end - 1) / Tile::kKeys;
  return k;
}

// The tile of keys at or before n that the block mask leaves anything of; by the whole block.
template <class Tile>
SAGE_DEVICE int32_t KeptTile(const PortableArguments& p, int32_t b, int32_t first_head, int32_t first_row, int32_t n) {
  const AttentionArguments& a = p.a;
  if (a.block_mask == nullptr) return n;
  const Sequence s = ReadSequence(a, b);
  const KeyTiles k = KeyTilesOf<Tile>(p, s, first_row);
  SAGE_NO_UNROLL
  for (; n >= k.first; --n) {
    const int32_t row0 = k.first_query / a.mask_block_q, rows = k.last_query / a.mask_block_q - row0 + 1;
    const int32_t column0 = n * Tile::kKeys / a.mask_block_kv;
    const int32_t columns = Least((n + 1) * Tile::kKeys, s.kv_len) - 1;
    const int32_t width = columns / a.mask_block_kv - column0 + 1;
    bool kept = false;
    SAGE_NO_UNROLL
    for (int32_t at = static_cast<int32_t>(prim::ThreadX()); at < rows * width * p.group; at += Tile::kThreads)
      kept |= TileKept(a, s.b, first_head + at / (rows * width), row0 + at / width % rows, column0 + at % width);
    if (prim::SyncThreadsOr(kept)) break;
  }
  return n;
}

// Where a thread is in its tile. Asked for at each step: kept, what follows from it would take the accumulators' room.
struct ThreadPlace {
  int32_t lane, warp_row;
};
template <class Tile>
SAGE_DEVICE ThreadPlace Place() {
  const int32_t thread = prim::Fresh(static_cast<int32_t>(prim::ThreadX()));
  return {thread % 32, thread / 32 * 16 * Tile::kRowTiles};
}

// Rows that came out not finite, once more and alone. Cold: behind calls and with nothing alive in registers.
template <class T, bool kAppends = false>
SAGE_DEVICE_COLD void Repair(const AttentionArguments& a, int32_t b, int32_t h, int32_t i) {
  const Sequence s = ReadSequence(a, b);
  PlainRow<T, kAppends>(a, s, h, i).Attend(true);
}

template <class T, int32_t kDimQk, int32_t kDimV, bool kPaged>
SAGE_DEVICE void AttendPortable(const PortableArguments& p) {
  using Tile = PortableTile<kDimQk, kDimV>;
  constexpr int32_t kRowTiles = Tile::kRowTiles, kKeyTiles = Tile::kKeys / 8, kColumnTiles = kDimV / 8;
  const AttentionArguments& a = p.a;

  // --- which tile this is; the last queries first, they have the most keys where it is causal ------------------------
  const int32_t block = static_cast<int32_t>(prim::BlockX()), groups = a.heads_q / p.group;
  const int32_t first_row = (p.tiles - 1 - block % p.tiles) * Tile::kRows;
  const int32_t first_head = block / p.tiles % groups * p.group;
  const Sequence s = ReadSequence(a, block / p.tiles / groups);
  if (first_row / p.group >= s.q_rows) return;
  const int32_t head_k = first_head / (a.heads_q / a.heads_k), head_v = first_head / (a.heads_q / a.heads_v);
  const KeyTiles keys = KeyTilesOf<Tile>(p, s, first_row);

  const uint32_t shared_q = prim::SharedAddress(prim::Shared());
  const uint32_t shared_k = shared_q + Tile::kQBytes, shared_v = shared_k + Tile::kKBytes;
  const auto load_k = [&](int32_t n) {
    LoadTile<T, kDimQk, Tile::kKeys, Tile::kThreads>(
        shared_k, a.k, a.k_strides.column, a.dim_qk, p.k_vectors, [&](int32_t row) {
          const int32_t j = n * Tile::kKeys + row;
          return j < s.kv_len ? KeyOffset<kPaged>(a.k_strides, a, s, head_k, j) : kNoPage;
        });
  };
  const auto load_v = [&](int32_t n) {
    LoadTile<T, kDimV, Tile::kKeys, Tile::kThreads>(
        shared_v, a.v, a.v_strides.column, a.dim_v, p.v_vectors, [&](int32_t row) {
          const int32_t j = n * Tile::kKeys + row;
          return j < s.kv_len ? KeyOffset<kPaged>(a.v_strides, a, s, head_v, j) : kNoPage;
        });
  };

  float out[kRowTiles][kColumnTiles][4] = {};
  float largest[kRowTiles][2], sum[kRowTiles][2] = {};  // largest: in units of `scores`; sum: this lane's share
  SAGE_UNROLL
  for (int32_t t = 0; t < kRowTiles; ++t) largest[t][0] = largest[t][1] = -kInfinity;
  const bool modified = HasModifiers(a), masked = HasMask(a);
  const float to_log2 = modified ? kLog2E : static_cast<float>(a.scale) * kLog2E;

  // Keys that every row of the tile sees, as far as lengths and positions go.
  const int32_t first_for_all = keys.last_query + s.shift - s.left;
  const int32_t last_for_all = Least(s.kv_len - 1, keys.first_query + s.shift + s.right);

  int32_t n = KeptTile<Tile>(p, s.b, first_head, first_row, keys.last);
  LoadTile<T, kDimQk, Tile::kRows, Tile::kThreads>(
      shared_q, a.q, a.q_strides.column, a.dim_qk, p.q_vectors, [&](int32_t row) {
        const PackedRow at = Unpack(p, first_head, first_row + row);
        return at.i < s.q_len ? QueryOffset(a.q_strides, a, s, at.h, at.i) : kNoPage;
      });
  if (n >= keys.first) load_k(n);
  prim::CopyAsyncCommit();

  SAGE_NO_UNROLL
  while (n >= keys.first) {
    float scores[kRowTiles][kKeyTiles][4] = {};
    prim::CopyAsyncWait<0>();  // K, and Q at first
    prim::SyncThreads();
    load_v(n);
    prim::CopyAsyncCommit();

    // --- Q K^T -------------------------------------------------------------------------------------------------------
    const ThreadPlace now = Place<Tile>();
    SAGE_UNROLL
    for (int32_t depth = 0; depth < kDimQk / 16; ++depth) {
      uint32_t q[kRowTiles][4];
      SAGE_UNROLL
      for (int32_t t = 0; t < kRowTiles; ++t)
        prim::LoadMatrix4(
            q[t], shared_q + Swizzled<kDimQk>(now.warp_row + 16 * t + now.lane % 16, 2 * depth + now.lane / 16));
      SAGE_UNROLL
      for (int32_t i = 0; i < kKeyTiles; i += 2) {
        uint32_t k[4];
        prim::LoadMatrix4(
            k, shared_k + Swizzled<kDimQk>(8 * i + now.lane / 16 * 8 + now.lane % 8, 2 * depth + now.lane / 8 % 2));
        SAGE_UNROLL
        for (int32_t t = 0; t < kRowTiles; ++t) {
          prim::Mma16816<T>(scores[t][i], q[t], k[0], k[1]);
          prim::Mma16816<T>(scores[t][i + 1], q[t], k[2], k[3]);
        }
      }
    }

    const int32_t next = KeptTile<Tile>(p, s.b, first_head, first_row, n - 1);
    prim::CopyAsyncWait<0>();  // V
    prim::SyncThreads();       // and everybody is done with K
    if (next >= keys.first) load_k(next);
    prim::CopyAsyncCommit();

    // --- scores to weights, and P V ----------------------------------------------------------------------------------
    const ThreadPlace place = Place<Tile>();
    const int32_t thread_row = first_row + place.warp_row + place.lane / 4;
    const int32_t first_key = n * Tile::kKeys, thread_key = first_key + 2 * (place.lane % 4);
    const bool edge = first_key + Tile::kKeys - 1 > last_for_all || first_key < first_for_all;
    if (modified || masked || edge) {
      const Sequence again = ReadSequence(a, prim::Fresh(s.b));
      if (modified) ModifyScores<T, kRowTiles, kKeyTiles>(p, again, first_head, thread_row, thread_key, scores);
      if (masked || edge) MaskScores<kRowTiles, kKeyTiles>(p, again, first_head, thread_row, thread_key, scores);
    }
    WeighScores<kRowTiles, kKeyTiles, kColumnTiles>(to_log2, scores, largest, sum, out);
    AddValues<T, kDimV, kRowTiles, kKeyTiles>(shared_v, Place<Tile>().lane, scores, out);
    n = next;
  }
  prim::CopyAsyncWait<0>();  // Q, where there was no key

  // --- O and LSE -----------------------------------------------------------------------------------------------------
  const Sequence again = ReadSequence(a, prim::Fresh(s.b));
  const auto [lane, warp_row] = Place<Tile>();
  const int32_t thread_row = first_row + warp_row + lane / 4;
  uint32_t broken[kRowTiles][2];
  SAGE_UNROLL
  for (int32_t t = 0; t < kRowTiles; ++t) {
    SAGE_UNROLL
    for (int32_t half = 0; half < 2; ++half) {
      const PackedRow at = Unpack(p, first_head, thread_row + 16 * t + 8 * half);
      float total = sum[t][half];
      total += prim::ShuffleXor(total, 1);
      total += prim::ShuffleXor(total, 2);
      float base = largest[t][half] * to_log2, factor = 1;
      if (at.i >= again.q_len) total = 0;
      if (total == 0) base = -kInfinity, factor = 0;
      if (a.sinks != nullptr && at.i < again.q_rows) {
        const float sink = static_cast<const float*>(a.sinks)[at.h * a.sinks_stride] * kLog2E;
        const float larger = prim::Max(base, sink);
        if (larger != -kInfinity) {
          factor = prim::Exp2(base - larger);
          total = total * factor + prim::Exp2(sink - larger);
          base = larger;
        }
      }
      if (total != 0) factor /= total;
      bool bad = false;
      if (at.i < again.q_rows) {
        T* const o = static_cast<T*>(a.o) + QueryOffset(a.o_strides, a, again, at.h, at.i);
        float probe = 0;  // NaN as soon as one element is not finite
        SAGE_UNROLL
        for (int32_t i = 0; i < kColumnTiles; ++i) {
          const int32_t d = 8 * i + 2 * (lane % 4);
          float x = out[t][i][2 * half], y = out[t][i][2 * half + 1];
          x = factor == 0 ? 0.0f : x * factor, y = factor == 0 ? 0.0f : y * factor;
          probe += x * 0.0f + y * 0.0f;
          if (d >= a.dim_v) continue;
          if (p.o_pairs) {
            *reinterpret_cast<uint32_t*>(o + d) = prim::Pack<T>(x, y);
          } else {
            o[d * a.o_strides.column] = prim::FromFloat<T>(x);
            if (d + 1 < a.dim_v) o[(d + 1) * a.o_strides.column] = prim::FromFloat<T>(y);
          }
        }
        bad = p.repair && probe != 0.0f;
        if (a.lse != nullptr && lane % 4 == 0)
          static_cast<float*>(a.lse)[QueryOffset(a.lse_strides, a, again, at.h, at.i)] =
              total == 0 ? -kInfinity : (base + prim::Log2(total)) * kLn2;
      }
      broken[t][half] = prim::Ballot(bad);
    }
  }
  SAGE_UNROLL
  for (int32_t t = 0; t < kRowTiles; ++t) {
    SAGE_UNROLL
    for (int32_t half = 0; half < 2; ++half) {
      if (broken[t][half] == 0) continue;
      prim::SyncWarp();  // what the others wrote is written over
      SAGE_NO_UNROLL
      for (int32_t row = 0; row < 8; ++row) {
        if ((broken[t][half] >> (4 * row) & 15) == 0) continue;
        const PackedRow at = Unpack(p, first_head, first_row + warp_row + 16 * t + 8 * half + row);
        Repair<T>(a, again.b, at.h, at.i);
      }
    }
  }
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_PORTABLE_H_
