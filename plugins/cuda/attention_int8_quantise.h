// attention_int8_quantise.h: what runs before attention in 8 bits: the mean of K over the keys in use of each sequence,
// head and channel, then codes and scales of Q, and of K less that mean.
//
// A channel of K that stands off from zero would set every scale and leave few codes to what differs between keys. Its
// mean adds one number to all scores of a row, q . mean: the softmax does not see it, everything else does, so it is
// computed here from q as it is and kept for each row. It need not be the mean to be right, only the same for all:
// what is not finite is left out of it. Sums are added up in one order, by chunks of keys, so that they have the same
// bits in every run.
//
// Rows that share a scale (attention_int8_tile.h) have NaN for one where any of their elements is not finite: the rows
// of scores that it touches come out as NaN and are made again from the operands.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_INT8_QUANTISE_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_INT8_QUANTISE_H_

#include "attention_int8_tile.h"
#include "attention_portable_score.h"

namespace sage::cuda {

constexpr int32_t kSumThreads = 256, kQuantiseThreads = 128;
// Partial sums of a thread's eight columns for every row of threads: kSumThreads * 8.
constexpr uint32_t kSumSharedBytes = kSumThreads * 8 * sizeof(float);
// The smallest normal number: below it a quotient would be lost, and a scale of zero has no inverse.
constexpr float kLeastScale = 0x1p-126f;

inline int64_t SumBlocks(const Int8Arguments& x) { return int64_t{x.p.a.batch} * x.p.a.heads_k * x.chunks; }
inline int64_t QuantiseBlocks(const Int8Arguments& x) {
  const AttentionArguments& a = x.p.a;
  return a.batch * (int64_t{a.heads_k} * x.key_tiles + int64_t{a.heads_q / x.p.group} * x.p.tiles);
}

SAGE_DEVICE int64_t AnyKeyOffset(const AttentionArguments& a, const Sequence& s, int32_t head, int32_t j) {
  return a.block_table != nullptr ? KeyOffset<true>(a.k_strides, a, s, head, j)
                                  : KeyOffset<false>(a.k_strides, a, s, head, j);
}

// Eight elements, zeros from `count` on.
template <class T>
SAGE_DEVICE void LoadEight(const T* from, int64_t stride, int32_t count, bool vectors, float (&to)[8]) {
  struct alignas(16) Eight {
    T elements[8];
  } eight;
  if (vectors) {
    eight = *reinterpret_cast<const Eight*>(from);
  } else {
    SAGE_UNROLL
    for (int32_t e = 0; e < 8; ++e) eight.elements[e] = e < count ? from[e * stride] : T{0};
  }
  SAGE_UNROLL
  for (int32_t e = 0; e < 8; ++e) to[e] = prim::ToFloat(eight.elements[e]);
}

// Adds up one chunk of keys.
template <class T>
SAGE_DEVICE void SumKeys(const Int8Arguments& x) {
  const AttentionArguments& a = x.p.a;
  const int32_t block = static_cast<int32_t>(prim::BlockX()), thread = static_cast<int32_t>(prim::ThreadX());
  const int32_t chunk = block % x.chunks, head = block / x.chunks % a.heads_k;
  const Sequence s = ReadSequence(a, block / x.chunks / a.heads_k);
  const int32_t begin = Least(chunk * x.chunk_keys, s.kv_len), end = Least(begin + x.chunk_keys, s.kv_len);
  // Threads of a row take eight columns each, rows of threads every `rows`-th key.
  const int32_t columns = Most((a.dim_qk + 7) / 8, 1), rows = kSumThreads / columns;
  const int32_t row = thread / columns, column = thread % columns * 8;
  float sums[8] = {};
  if (row < rows && column < a.dim_qk) {
    SAGE_UNROLL_BY_4
    for (int32_t j = begin + row; j < end; j += rows) {
      const int64_t at = AnyKeyOffset(a, s, head, j);
      if (at == kNoPage) continue;
      float k[8];
      LoadEight(static_cast<const T*>(a.k) + at + column * a.k_strides.column, a.k_strides.column, a.dim_qk - column,
                x.p.k_vectors, k);
      SAGE_UNROLL
      for (int32_t e = 0; e < 8; ++e) sums[e] += k[e] * 0.0f == 0.0f ? k[e] : 0.0f;
    }
  }
  float* const parts = reinterpret_cast<float*>(prim::Shared());  // [rows, 8 columns]
  if (row < rows) {
    SAGE_UNROLL
    for (int32_t e = 0; e < 8; ++e) parts[row * 8 * columns + column + e] = sums[e];
  }
  prim::SyncThreads();
  if (thread >= a.dim_qk) return;
  float sum = 0;
  for (int32_t r = 0; r < rows; ++r) sum += parts[r * 8 * columns + thread];
  x.sums[int64_t{block} * a.dim_qk + thread] = sum;
}

// A block of rows in shared memory: 16-bit elements as they are, then the mean of K, then each scale's largest.
template <class T, int32_t kDimQk, int32_t kDimV>
struct QuantiseBlock {
  using Tile = Int8Tile<kDimQk, kDimV>;
  static constexpr uint32_t kRowsBytes = kInt8Rows * kDimQk * 2, kMeanBytes = kDimQk * 4;
  static constexpr uint32_t kSharedBytes = kRowsBytes + kMeanBytes + kInt8QueryScales * 4;
  static constexpr int32_t kWarps = kQuantiseThreads / 32;

  const Int8Arguments& x;
  uint32_t rows = prim::SharedAddress(prim::Shared());
  float* mean = reinterpret_cast<float*>(prim::SharedPointer(rows + kRowsBytes));
  float* largest = mean + kDimQk;
  int32_t warp = static_cast<int32_t>(prim::ThreadX()) / 32, lane = static_cast<int32_t>(prim::ThreadX()) % 32;

  SAGE_DEVICE void LoadMean(const Sequence& s, int32_t head) const {
    const AttentionArguments& a = x.p.a;
    const float* const sums = x.sums + (int64_t{s.b} * a.heads_k + head) * x.chunks * a.dim_qk;
    for (int32_t d = static_cast<int32_t>(prim::ThreadX()); d < kDimQk; d += kQuantiseThreads) {
      float sum = 0;
      for (int32_t chunk = 0; d < a.dim_qk && chunk < x.chunks; ++chunk) sum += sums[chunk * a.dim_qk + d];
      const float value = sum / static_cast<float>(Most(s.kv_len, 1));
      mean[d] = value * 0.0f == 0.0f ? value : 0.0f;  // sums of large numbers overflow
    }
  }

  // Four elements of a row from column 4 lane + 128 turn on; none where the row has no more.
  static constexpr int32_t kTurns = (kDimQk + 127) / 128;
  SAGE_DEVICE int32_t Column(int32_t turn) const { return 4 * lane + 128 * turn; }
  SAGE_DEVICE void Load(int32_t row, int32_t column, float (&to)[4]) const {
    struct alignas(8) Four {
      T elements[4];
    };
    const uint32_t at = rows + Swizzled<kDimQk>(row, column / 8) + 2 * static_cast<uint32_t>(column % 8);
    const Four four = *reinterpret_cast<const Four*>(prim::SharedPointer(at));
    SAGE_UNROLL
    for (int32_t e = 0; e < 4; ++e) to[e] = prim::ToFloat(four.elements[e]);
  }

  // kGroups scales over kGroupRows rows each, row_of(group, n) of the block. smoothed: less the mean. Rows from `count`
  // on are not in use: zeros, and no scale's business. codes, scales: this block's.
  template <int32_t kGroups, int32_t kGroupRows, bool kSmoothed, class RowOf>
  SAGE_DEVICE void Quantise(int32_t count, int8_t* codes, float* scales, RowOf&& row_of) const {
    const auto numbers = [&](int32_t row, int32_t column, float(&to)[4]) {
      Load(row, column, to);
      SAGE_UNROLL
      for (int32_t e = 0; e < 4; ++e) to[e] = row >= count ? 0.0f : kSmoothed ? to[e] - mean[column + e] : to[e];
    };
    for (int32_t group = warp; group < kGroups; group += kWarps) {
      float most = 0, probe = 0;  // NaN as soon as one number is not finite
      SAGE_UNROLL_BY_4
      for (int32_t n = 0; n < kGroupRows; ++n) {
        SAGE_UNROLL
        for (int32_t turn = 0; turn < kTurns; ++turn) {
          if (Column(turn) >= kDimQk) continue;
          float number[4];
          numbers(row_of(group, n), Column(turn), number);
          SAGE_UNROLL
          for (int32_t e = 0; e < 4; ++e) {
            most = prim::Max(most, prim::Max(number[e], -number[e]));
            probe += number[e] * 0.0f;
          }
        }
      }
      SAGE_UNROLL
      for (uint32_t lanes = 16; lanes > 0; lanes /= 2) most = prim::Max(most, prim::ShuffleXor(most, lanes));
      if (prim::Any(probe != 0.0f)) most = __builtin_nanf("");
      if (lane == 0) largest[group] = most;
    }
    prim::SyncThreads();
    for (int32_t group = warp; group < kGroups; group += kWarps) {
      float most = largest[group];
      const bool finite = most * 0.0f == 0.0f;
      if (x.one_scale) {
        for (int32_t other = 0; other < kGroups; ++other) most = prim::Max(most, largest[other]);
      }
      const float scale = prim::Max(most * (1.0f / 127.0f), kLeastScale), inverse = 1.0f / scale;
      SAGE_UNROLL_BY_4
      for (int32_t n = 0; n < kGroupRows; ++n) {
        const int32_t row = row_of(group, n);
        SAGE_UNROLL
        for (int32_t turn = 0; turn < kTurns; ++turn) {
          if (Column(turn) >= kDimQk) continue;
          float number[4];
          numbers(row, Column(turn), number);
          uint32_t word = 0;
          SAGE_UNROLL
          for (uint32_t e = 0; e < 4; ++e) {
            const int32_t code = finite ? prim::RoundToInt(number[e] * inverse) : 0;
            word |= (static_cast<uint32_t>(code) & 255u) << 8 * e;
          }
          *reinterpret_cast<uint32_t*>(codes + row * kDimQk + Column(turn)) = word;
        }
      }
      if (lane == 0) scales[group] = finite ? scale : __builtin_nanf("");
    }
  }

  SAGE_DEVICE void Keys(int32_t block) const {
    const AttentionArguments& a = x.p.a;
    const int32_t first = block % x.key_tiles * kInt8Rows, head = block / x.key_tiles % a.heads_k;
    const Sequence s = ReadSequence(a, block / x.key_tiles / a.heads_k);
    if (first >= s.kv_len) return;
    LoadTile<T, kDimQk, kInt8Rows, kQuantiseThreads>(
        rows, a.k, a.k_strides.column, a.dim_qk, x.p.k_vectors,
        [&](int32_t row) { return first + row < s.kv_len ? AnyKeyOffset(a, s, head, first + row) : kNoPage; });
    prim::CopyAsyncCommit();
    LoadMean(s, head);
    prim::CopyAsyncWait<0>();
    prim::SyncThreads();
    const int64_t at = int64_t{head} * x.k_blocks + FirstKeyBlock(x, s) + first / kInt8Rows;
    Quantise<Tile::kKeyScales, Tile::kKeyRows, true>(s.kv_len - first, x.k_codes + at * kInt8Rows * kDimQk,
                                                     x.k_scales + at * Tile::kKeyScales, [](int32_t group, int32_t n) {
                                                       return group / kInt8KeyGroups * Tile::kKeys + 8 * (n / 2) +
                                                              2 * (group % kInt8KeyGroups) + n % 2;
                                                     });
  }

  SAGE_DEVICE void Queries(int32_t block) const {
    const AttentionArguments& a = x.p.a;
    const int32_t groups = a.heads_q / x.p.group;
    const int32_t first = block % x.p.tiles * kInt8Rows, group_index = block / x.p.tiles % groups;
    const int32_t first_head = group_index * x.p.group;
    const Sequence s = ReadSequence(a, block / x.p.tiles / groups);
    const int32_t count = s.q_len * x.p.group - first;  // packed rows in use
    if (count <= 0) return;
    LoadTile<T, kDimQk, kInt8Rows, kQuantiseThreads>(
        rows, a.q, a.q_strides.column, a.dim_qk, x.p.q_vectors, [&](int32_t row) {
          const PackedRow at = Unpack(x.p, first_head, first + row);
          return row < count ? QueryOffset(a.q_strides, a, s, at.h, at.i) : kNoPage;
        });
    prim::CopyAsyncCommit();
    LoadMean(s, first_head / (a.heads_q / a.heads_k));
    prim::CopyAsyncWait<0>();
    prim::SyncThreads();
    const int64_t at = int64_t{group_index} * x.q_blocks + FirstQueryBlock(x, s) + first / kInt8Rows;
    Quantise<Tile::kQueryScales, Tile::kQueryRows, false>(
        count, x.q_codes + at * kInt8Rows * kDimQk, x.q_scales + at * Tile::kQueryScales,
        [](int32_t group, int32_t n) { return group / 8 * 8 * Tile::kQueryRows + 8 * n + group % 8; });
    for (int32_t row = warp; row < Least(count, kInt8Rows); row += kWarps) {
      float sum = 0;
      SAGE_UNROLL
      for (int32_t turn = 0; turn < kTurns; ++turn) {
        if (Column(turn) >= kDimQk) continue;
        float q[4];
        Load(row, Column(turn), q);
        SAGE_UNROLL
        for (int32_t e = 0; e < 4; ++e) sum = prim::Fma(q[e], mean[Column(turn) + e], sum);
      }
      SAGE_UNROLL
      for (uint32_t lanes = 16; lanes > 0; lanes /= 2) sum += prim::ShuffleXor(sum, lanes);
      if (lane == 0) x.q_shifts[at * kInt8Rows + row] = sum;
    }
  }
};

// A block of keys or, behind those, of queries.
template <class T, int32_t kDimQk, int32_t kDimV>
SAGE_DEVICE void Quantise(const Int8Arguments& x) {
  const QuantiseBlock<T, kDimQk, kDimV> quantise{x};
  const int32_t block = static_cast<int32_t>(prim::BlockX()), keys = x.p.a.batch * x.p.a.heads_k * x.key_tiles;
  if (block < keys)
    quantise.Keys(block);
  else
    quantise.Queries(block - keys);
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_INT8_QUANTISE_H_
