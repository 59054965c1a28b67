// attention_portable_score.h: what is done to a tile of dot products in registers before the softmax.
//
// One loop a feature, each behind a branch that all threads take alike, so that a call pays for what it uses and the
// registers hold one loop's addresses at a time.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_PORTABLE_SCORE_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_PORTABLE_SCORE_H_

#include "attention_portable_tile.h"
#include "common/cuda/kernels/attention_score.h"

namespace sage::cuda {

// A warp's scores: fragment n of row tile t holds keys 8 n + 2 (lane % 4) and the next one, of rows lane / 4 (first
// two) and lane / 4 + 8.
template <int32_t kRowTiles, int32_t kKeyTiles>
using ScoreFragments = float[kRowTiles][kKeyTiles][4];

constexpr float kLog2E = 1.4426950408889634f, kLn2 = 0.6931471805599453f;
constexpr float kInfinity = __builtin_huge_valf();

// The query and head of a packed row.
struct PackedRow {
  int32_t i, h;
};
SAGE_DEVICE PackedRow Unpack(const PortableArguments& p, int32_t first_head, int32_t row) {
  return {row / p.group, first_head + row % p.group};
}

// score = of_row(i, h)(score, key) for the scores of fragment n in a row tile's half.
template <class OfRow>
SAGE_DEVICE void OfHalf(const PackedRow& row, int32_t half, int32_t first_key, float (&fragment)[4], OfRow&& of_row) {
  const auto f = of_row(row.i, row.h);
  SAGE_UNROLL
  for (int32_t e = 0; e < 2; ++e) fragment[2 * half + e] = f(fragment[2 * half + e], first_key + e);
}

// The same for all of a thread's scores. first_row: the packed row of fragment 0; first_key likewise.
template <int32_t kRowTiles, int32_t kKeyTiles, class OfRow>
SAGE_DEVICE void ForEachScore(const PortableArguments& p, int32_t first_head, int32_t first_row, int32_t first_key,
                              ScoreFragments<kRowTiles, kKeyTiles>& scores, OfRow&& of_row) {
  SAGE_UNROLL
  for (int32_t t = 0; t < kRowTiles; ++t) {
    SAGE_UNROLL
    for (int32_t half = 0; half < 2; ++half) {
      const PackedRow row = Unpack(p, first_head, first_row + 16 * t + 8 * half);
      SAGE_UNROLL
      for (int32_t n = 0; n < kKeyTiles; ++n) OfHalf(row, half, first_key + 8 * n, scores[t][n], of_row);
    }
  }
}

// The same where of_row reads memory. Unrolled, the loads of a whole tile would be in flight and spill the
// accumulators; registers have no index; so the fragments go round, and the code is there once for the one in front.
template <int32_t kRowTiles, int32_t kKeyTiles, class OfRow>
SAGE_DEVICE void ForEachScoreInTurn(const PortableArguments& p, int32_t first_head, int32_t first_row,
                                    int32_t first_key, ScoreFragments<kRowTiles, kKeyTiles>& scores, OfRow&& of_row) {
  SAGE_UNROLL
  for (int32_t t = 0; t < kRowTiles; ++t) {
    SAGE_NO_UNROLL
    for (int32_t n = 0; n < kKeyTiles; ++n) {
      float front[4] = {scores[t][0][0], scores[t][0][1], scores[t][0][2], scores[t][0][3]};
      SAGE_UNROLL
      for (int32_t half = 0; half < 2; ++half)
        OfHalf(Unpack(p, first_head, first_row + 16 * t + 8 * half), half, first_key + 8 * n, front, of_row);
      SAGE_UNROLL
      for (int32_t i = 0; i < kKeyTiles; ++i) {
        SAGE_UNROLL
        for (int32_t e = 0; e < 4; ++e)
          scores[t][i][e] = i + 1 < kKeyTiles ? scores[t][Least(i + 1, kKeyTiles - 1)][e] : front[e];
      }
    }
  }
}

// tanh(x) as 1 - 2 / (1 + e^2x): within 1e-7 of 1, which is what a cap multiplies.
SAGE_DEVICE float CapTanh(float x) { return 1.0f - prim::Divide(2.0f, 1.0f + prim::Exp2(2.0f * kLog2E * x)); }

// Dot products become scores as sage/attention.h has them.
template <class T, int32_t kRowTiles, int32_t kKeyTiles>
SAGE_DEVICE void ModifyScores(const PortableArguments& p, const Sequence& s, int32_t first_head, int32_t first_row,
                              int32_t first_key, ScoreFragments<kRowTiles, kKeyTiles>& scores) {
  const AttentionArguments& a = p.a;
  const auto for_each = [&](auto&& of_row) {
    ForEachScore<kRowTiles, kKeyTiles>(p, first_head, first_row, first_key, scores, of_row);
  };
  const auto in_turn = [&](auto&& of_row) {
    ForEachScoreInTurn<kRowTiles, kKeyTiles>(p, first_head, first_row, first_key, scores, of_row);
  };
  const float scale = static_cast<float>(a.scale);
  if (a.softcap > 0) {
    const float cap = static_cast<float>(a.softcap), inner = static_cast<float>(a.scale / a.softcap);
    for_each([&](int32_t, int32_t) { return [=](float x, int32_t) { return cap * CapTanh(inner * x); }; });
  } else {
    for_each([&](int32_t, int32_t) { return [=](float x, int32_t) { return scale * x; }; });
  }
  if (a.bias != nullptr) {
    const auto add = [&](auto load) {
      in_turn([&](int32_t i, int32_t h) {
        const int64_t row = ScoreOffset(a.bias_strides, s.b, h, i, 0);
        const int32_t keys = i < s.q_len ? s.kv_len : 0;
        return [=, &a](float x, int32_t j) { return j < keys ? x + load(row + j * a.bias_strides.column) : x; };
      });
    };
    if (a.bias_type == AttentionType::kF32)
      add([&](int64_t at) { return static_cast<const float*>(a.bias)[at]; });
    else
      add([&](int64_t at) { return prim::ToFloat(static_cast<const T*>(a.bias)[at]); });
  }
  if (a.alibi != nullptr) {
    for_each([&](int32_t i, int32_t h) {
      const float slope = static_cast<const float*>(a.alibi)[h * a.alibi_stride];
      const int32_t position = i + s.shift;
      return [=](float x, int32_t j) {
        const int32_t distance = position - j;
        return x - slope * static_cast<float>(distance < 0 ? -distance : distance);
      };
    });
  }
}

// Keys that a row does not see become -inf.
template <int32_t kRowTiles, int32_t kKeyTiles>
SAGE_DEVICE void MaskScores(const PortableArguments& p, const Sequence& s, int32_t first_head, int32_t first_row,
                            int32_t first_key, ScoreFragments<kRowTiles, kKeyTiles>& scores) {
  const AttentionArguments& a = p.a;
  const auto for_each = [&](auto&& of_row) {
    ForEachScore<kRowTiles, kKeyTiles>(p, first_head, first_row, first_key, scores, of_row);
  };
  const auto in_turn = [&](auto&& of_row) {
    ForEachScoreInTurn<kRowTiles, kKeyTiles>(p, first_head, first_row, first_key, scores, of_row);
  };
  for_each([&](int32_t i, int32_t) {
    const int32_t position = i + s.shift, last = Least(s.kv_len - 1, position + s.right), first = position - s.left;
    return [=](float x, int32_t j) { return j >= first && j <= last ? x : -kInfinity; };
  });
  if (a.mask != nullptr) {
    in_turn([&](int32_t i, int32_t h) {
      const uint8_t* const row = a.mask + ScoreOffset(a.mask_strides, s.b, h, i, 0);
      const int32_t keys = i < s.q_len ? s.kv_len : 0;
      return [=, &a](float x, int32_t j) { return j < keys && row[j * a.mask_strides.column] != 0 ? x : -kInfinity; };
    });
  }
  if (a.bit_mask != nullptr) {
    in_turn([&](int32_t i, int32_t h) {
      const uint8_t* const row = a.bit_mask + ScoreOffset(a.bit_mask_strides, s.b, h, i, 0);
      const int32_t keys = i < s.q_len ? s.kv_len : 0;
      return [=, &a](float x, int32_t j) {
        return j < keys && (row[(j >> 3) * a.bit_mask_strides.column] >> (j & 7) & 1) != 0 ? x : -kInfinity;
      };
    });
  }
  if (a.block_mask != nullptr) {
    in_turn([&](int32_t i, int32_t h) {
      const uint8_t* const row = a.block_mask + ScoreOffset(a.block_mask_strides, s.b, h, i / a.mask_block_q, 0);
      const int32_t keys = i < s.q_len ? s.kv_len : 0;
      return [=, &a](float x, int32_t j) {
        return j < keys && row[j / a.mask_block_kv * a.block_mask_strides.column] != 0 ? x : -kInfinity;
      };
    });
  }
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_PORTABLE_SCORE_H_
