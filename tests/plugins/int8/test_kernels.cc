// test_kernels.cc: every table of kernels that this machine runs: the exact product against sums in 64 bits, and what
// attention is made of against the scalar table, bit for bit.
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "kernel_testing.h"

namespace sage::test {
namespace {

using int8::CodeForm;
using int8::Int8Kernels;
using int8::kPanel;
using int8::kScalarKernels;
using int8::kWeightBlock;
using int8::PaddedKeys;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

// What `product` says of a random problem, and where it is wrong; empty if nowhere.
std::string ProductFault(const Int8Kernels& kernels, Draw& draw, int64_t rows, int64_t panels, int64_t depth) {
  const CodeForm& form = kernels.form;
  const std::vector<int8_t> left = draw.Codes(rows * depth), right = draw.Codes(panels * kPanel * depth);
  // Rows further apart than they are long, at any address; nothing behind the last one's codes.
  const int64_t row_bytes = int8::RowBytes(form, depth) + draw.Between(0, 5) * form.unit;
  const int64_t codes_bytes = int8::PaddedDepth(form, depth) * form.unit;
  const FencedBytes rows_at(static_cast<size_t>((rows - 1) * row_bytes + codes_bytes));
  std::vector<char> line(static_cast<size_t>(int8::RowBytes(form, depth)));
  for (int64_t r = 0; r < rows; ++r) {
    int8::LayRow(form, left.data() + r * depth, depth, 1, 0, line.data());
    std::memcpy(rows_at.data() + r * row_bytes, line.data(), static_cast<size_t>(codes_bytes));
  }
  const int64_t panel_bytes = int8::PanelBytes(form, depth);
  const FencedBytes panels_at(static_cast<size_t>(panels * panel_bytes));
  LayKeys(form, right, std::vector<float>(static_cast<size_t>(panels * kPanel), 1.0f), depth, panels_at.data());
  constexpr int32_t kUntouched = 0x5a5a5a5a;
  const int64_t columns = panels * kPanel, ldy = columns + draw.Between(0, 3);
  std::vector<int32_t> y(static_cast<size_t>(rows * ldy), kUntouched);
  kernels.product(rows, rows_at.data(), row_bytes, panels_at.data(), panel_bytes, panels, depth, y.data(), ldy);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t n = 0; n < ldy; ++n) {
      int64_t want = n < columns ? 0 : kUntouched;
      for (int64_t k = 0; k < depth && n < columns; ++k)
        want += int64_t{left[static_cast<size_t>(r * depth + k)]} * right[static_cast<size_t>(n * depth + k)];
      const int64_t got = y[static_cast<size_t>(r * ldy + n)];
      if (got != want)
        return "row " + std::to_string(r) + ", column " + std::to_string(n) + " is " + std::to_string(got) + ", not " +
               std::to_string(want);
    }
  return "";
}

// Rows of Q with their scales, some of them NaN; keys likewise.
struct ScoresProblem {
  ScoresProblem(Draw& draw, int64_t num_rows, int64_t num_keys, int64_t length)
      : rows(num_rows), keys(num_keys), depth(length), q(draw.Codes(rows * depth)), k(draw.Codes(keys * depth)) {
    for (int64_t r = 0; r < rows; ++r) {
      scales_q.push_back(draw.Chance(8) ? kNan : std::fabs(draw.Normal()));
      constants.push_back(draw.Chance(3) ? 0 : draw.Normal());
    }
    for (int64_t i = 0; i < keys; ++i)
      scales_k.push_back(draw.Chance(8) ? kNan : draw.Chance(8) ? 0 : std::fabs(draw.Normal()));
  }
  // Both sides as a table wants them, and what `use` does with them.
  template <class Use>
  void Laid(const Int8Kernels& kernels, const Use& use) const {
    const CodeForm& form = kernels.form;
    const int64_t row_bytes = int8::RowBytes(form, depth);
    const FencedBytes left(static_cast<size_t>(rows * row_bytes)),
        right(static_cast<size_t>(keys / kPanel * int8::PanelBytes(form, depth)));
    for (int64_t r = 0; r < rows; ++r)
      int8::LayRow(form, q.data() + r * depth, depth, scales_q[static_cast<size_t>(r)],
                   constants[static_cast<size_t>(r)], left.data() + r * row_bytes);
    LayKeys(form, k, scales_k, depth, right.data());
    const Task task(kernels);
    use(left.data(), row_bytes, right.data());
  }
  // Scores of lanes [begin, end), the rest of each row as it was; `together` rows a call.
  std::vector<float> By(const Int8Kernels& kernels, int64_t begin, int64_t end, int64_t together) const {
    std::vector<float> s(static_cast<size_t>(rows * keys), 42.0f);
    Laid(kernels, [&](const char* left, int64_t row_bytes, const char* right) {
      for (int64_t r = 0; r < rows; r += together)
        kernels.attention.scores(static_cast<int32_t>(std::min(together, rows - r)), left + r * row_bytes,
                                 row_bytes / kernels.form.unit, right, keys, depth, begin, end, s.data() + r * keys,
                                 keys);
    });
    return s;
  }
  // The keys' scales are those of columns.
  std::vector<float> ScaledBy(const Int8Kernels& kernels, const std::vector<float>& bias) const {
    std::vector<float> y(static_cast<size_t>(rows * keys), 42.0f);
    Laid(kernels, [&](const char* left, int64_t row_bytes, const char* right) {
      kernels.scaled_product(rows, left, row_bytes, right, int8::PanelBytes(kernels.form, depth), keys / kPanel, depth,
                             scales_k.data(), bias.data(), y.data(), keys);
    });
    return y;
  }
  int64_t rows, keys, depth;
  std::vector<int8_t> q, k;
  std::vector<float> scales_q, scales_k, constants;
};

// Weights of rows that see [begin, end), fewer of them where masks hide keys, and V of a tile.
struct ValuesProblem {
  ValuesProblem(Draw& draw, int64_t num_rows, int64_t num_keys, int64_t num_channels)
      : rows(num_rows), keys(num_keys), channels(num_channels), v(draw.Codes(keys * channels)) {
    begin = draw.Between(0, keys - 1), end = draw.Between(begin + 1, keys);
    const bool finite = draw.Chance(2);
    for (int64_t i = 0; i < keys; ++i) {
      const bool nan = !finite && draw.Chance(6);
      tokens.push_back(nan ? kNan : draw.Chance(10) ? 0 : std::fabs(draw.Normal()));
      if (nan) std::fill_n(v.begin() + i * channels, channels, int8_t{0});
    }
    for (int64_t i = 0; i < channels; ++i) scales.push_back(std::fabs(draw.Normal()));
    for (int64_t r = 0; r < rows; ++r) {
      // Near 1, any, tiny, or none at all; of NaN tokens some are seen, by some rows.
      const int64_t kind = draw.Between(0, 4);
      const bool sees_nan = draw.Chance(3);
      alpha.push_back(draw.Chance(3) ? 1.0f : std::fabs(draw.Normal()));
      for (int64_t i = 0; i < PaddedKeys(keys); ++i) {
        const bool seen = i >= begin && i < end && !draw.Chance(4) &&
                          (sees_nan || !std::isnan(tokens[static_cast<size_t>(std::min(i, keys - 1))]));
        p.push_back(!seen || kind == 4 ? -0.0f
                    : kind == 0        ? std::exp2(-std::fabs(draw.Normal()))
                    : kind == 1        ? std::exp2(-40 * std::fabs(draw.Normal()))
                    : kind == 2        ? std::exp2(-125 - std::fabs(draw.Normal()))
                                       : 1.0f);
      }
      for (int64_t i = 0; i < Padded(); ++i) o.push_back(draw.Chance(4) ? 0 : draw.Normal());
    }
  }
  int64_t Padded() const { return (channels + kPanel - 1) / kPanel * kPanel; }
  std::vector<float> By(const Int8Kernels& kernels, int64_t together) const {
    const CodeForm& form = kernels.form;
    const FencedBytes tile(static_cast<size_t>(int8::ValueTileBytes(form, keys, channels)));
    int8::LayValues(form, v.data(), channels, keys, channels, tokens.data(), scales.data(), tile.data());
    std::vector<float> out = o;
    const Task task(kernels);
    for (int64_t r = 0; r < rows; r += together)
      kernels.attention.accumulate(static_cast<int32_t>(std::min(together, rows - r)), p.data() + r * PaddedKeys(keys),
                                   PaddedKeys(keys), tile.data(), PaddedKeys(keys), begin, end, Padded(),
                                   alpha.data() + r, out.data() + r * Padded(), Padded());
    return out;
  }
  int64_t rows, keys, channels, begin, end;
  std::vector<int8_t> v;
  std::vector<float> tokens, scales, p, alpha, o;
};

// Where two rows of floats differ as bits; -1: nowhere.
int64_t FirstDifference(const std::vector<float>& x, const std::vector<float>& y) {
  if (x.size() != y.size()) return 0;
  for (size_t i = 0; i < x.size(); ++i)
    if (!SameBits(x[i], y[i])) return static_cast<int64_t>(i);
  return -1;
}

}  // namespace

TEST_CASE("R7 R21 int8 products are exact: every table gives the sums of 64-bit arithmetic") {
  for (const Int8Kernels* kernels : Tables()) {
    CAPTURE(kernels->name);
    Draw draw(1);
    for (const int64_t depth : {1,  2,  3,  4,  5,  7,   8,   9,   15,  16,  17,  31,  32,   33,  63,
                                64, 65, 80, 96, 97, 127, 128, 129, 200, 255, 256, 257, 1023, 1024}) {
      CAPTURE(depth);
      for (int repetition = 0; repetition < 6; ++repetition) {
        const int64_t rows = draw.Between(1, depth > 300 ? 5 : 40), panels = draw.Between(1, 5);
        CAPTURE(rows);
        CAPTURE(panels);
        CHECK(ProductFault(*kernels, draw, rows, panels, depth) == "");
      }
    }
    for (int64_t rows = 1; rows <= 35; ++rows) {
      CAPTURE(rows);
      for (const int64_t panels : {1, 2, 3}) CHECK(ProductFault(*kernels, draw, rows, panels, 70) == "");
    }
  }
}

TEST_CASE("R7 R21 int8 products of the largest codes stay exact: nothing saturates") {
  for (const Int8Kernels* kernels : Tables()) {
    CAPTURE(kernels->name);
    for (const int left : {127, -127, -128})
      for (const int right : {127, -127, -128})
        for (const int64_t depth : {2, 8, 64, 1024}) {
          const std::vector<int8_t> a(static_cast<size_t>(depth), static_cast<int8_t>(left)),
              b(static_cast<size_t>(depth * kPanel), static_cast<int8_t>(right));
          std::vector<char> row(static_cast<size_t>(int8::RowBytes(kernels->form, depth))),
              panel(static_cast<size_t>(int8::PanelBytes(kernels->form, depth)) + 64);
          char* const at = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(panel.data()) + 63) / 64 * 64);
          int8::LayRow(kernels->form, a.data(), depth, 1, 0, row.data());
          LayKeys(kernels->form, b, std::vector<float>(kPanel, 1.0f), depth, at);
          int32_t y[kPanel] = {};
          kernels->product(1, row.data(), static_cast<int64_t>(row.size()), at, 0, 1, depth, y, kPanel);
          for (const int32_t sum : y) REQUIRE(sum == left * right * static_cast<int32_t>(depth));
        }
  }
}

TEST_CASE("R7 R21 int8 scores have the bits of the scalar table: any shape and range and NaN scales") {
  for (const Int8Kernels* kernels : Tables()) {
    CAPTURE(kernels->name);
    for (uint64_t seed = 1; seed <= 150; ++seed) {
      CAPTURE(seed);
      Draw draw(seed);
      const int64_t rows = draw.Between(1, kernels->attention.row_group), keys = draw.Between(1, 9) * kPanel;
      const int64_t depth = draw.Chance(10) ? draw.Between(200, 1024) : draw.Between(1, 140);
      const ScoresProblem problem(draw, rows, keys, depth);
      const int64_t begin = draw.Between(0, keys / kPanel - 1) * kPanel;
      const int64_t end = draw.Between(begin / kPanel, keys / kPanel) * kPanel;
      CAPTURE(rows);
      CAPTURE(depth);
      const std::vector<float> want = problem.By(kScalarKernels, begin, end, 1);
      CHECK(FirstDifference(problem.By(*kernels, begin, end, rows), want) == -1);
      CHECK(FirstDifference(problem.By(*kernels, begin, end, draw.Between(1, rows)), want) == -1);
    }
  }
}

TEST_CASE("R7 R21 int8 scaled products have the bits of the scalar table: sums and scales and bias") {
  for (const Int8Kernels* kernels : Tables()) {
    CAPTURE(kernels->name);
    for (uint64_t seed = 1; seed <= 60; ++seed) {
      CAPTURE(seed);
      Draw draw(seed + 5000);
      const int64_t rows = draw.Between(1, 40), panels = draw.Between(1, 4), depth = draw.Between(1, 300);
      const ScoresProblem problem(draw, rows, panels * kPanel, depth);
      std::vector<float> bias;
      for (int64_t i = 0; i < panels * kPanel; ++i) bias.push_back(draw.Normal());
      CHECK(FirstDifference(problem.ScaledBy(*kernels, bias), problem.ScaledBy(kScalarKernels, bias)) == -1);
    }
  }
}

TEST_CASE("R7 R21 int8 outputs have the bits of the scalar table: partial blocks and NaN tokens and empty rows") {
  for (const Int8Kernels* kernels : Tables()) {
    CAPTURE(kernels->name);
    for (uint64_t seed = 1; seed <= 200; ++seed) {
      CAPTURE(seed);
      Draw draw(seed + 1000);
      const int64_t rows = draw.Between(1, kernels->attention.row_group), keys = draw.Between(1, 330);
      const ValuesProblem problem(draw, rows, keys, draw.Between(1, 100));
      CAPTURE(rows);
      CAPTURE(problem.channels);
      CAPTURE(problem.begin);
      CAPTURE(problem.end);
      const std::vector<float> want = problem.By(kScalarKernels, 1);
      CHECK(FirstDifference(problem.By(*kernels, rows), want) == -1);
      CHECK(FirstDifference(problem.By(*kernels, draw.Between(1, rows)), want) == -1);
    }
  }
}

TEST_CASE("R7 int8 outputs near float64: what the scalar table adds up is what the contract says") {
  for (uint64_t seed = 1; seed <= 100; ++seed) {
    CAPTURE(seed);
    Draw draw(seed + 2000);
    ValuesProblem problem(draw, 3, draw.Between(1, 200), draw.Between(1, 40));
    for (float& token : problem.tokens) token = std::isnan(token) ? 0.25f : token;
    const std::vector<float> got = problem.By(kScalarKernels, 3);
    for (int64_t r = 0; r < 3; ++r)
      for (int64_t c = 0; c < problem.channels; ++c) {
        double want = static_cast<double>(problem.o[static_cast<size_t>(r * problem.Padded() + c)]) *
                      problem.alpha[static_cast<size_t>(r)];
        // A weight's code is off by half a step of its block's largest; a step is 1/255 of that.
        double room = 1e-6 * (1 + std::fabs(want)), part = 0;
        for (int64_t k = 0; k < problem.keys; ++k) {
          const auto key = static_cast<size_t>(k);
          const double weight = static_cast<double>(problem.p[static_cast<size_t>(r * PaddedKeys(problem.keys) + k)]) *
                                problem.tokens[key];
          part += weight * problem.v[static_cast<size_t>(k * problem.channels + c)];
          double largest = 0;
          for (int64_t i = k / kWeightBlock * kWeightBlock;
               i < std::min((k / kWeightBlock + 1) * kWeightBlock, problem.keys); ++i)
            largest = std::max(largest,
                               static_cast<double>(problem.p[static_cast<size_t>(r * PaddedKeys(problem.keys) + i)]) *
                                   problem.tokens[static_cast<size_t>(i)]);
          room += 0.5005 / 255 * largest * std::abs(problem.v[static_cast<size_t>(k * problem.channels + c)]) *
                  problem.scales[static_cast<size_t>(c)];
        }
        want += part * problem.scales[static_cast<size_t>(c)];
        REQUIRE(std::fabs(static_cast<double>(got[static_cast<size_t>(r * problem.Padded() + c)]) - want) <= room);
      }
  }
}

TEST_CASE("R7 R21 int8 softmax steps have the bits of the scalar table") {
  for (const Int8Kernels* kernels : Tables()) {
    CAPTURE(kernels->name);
    const cpu::AttentionKernels<float>&table = kernels->attention, &scalar = kScalarKernels.attention;
    for (uint64_t seed = 1; seed <= 100; ++seed) {
      CAPTURE(seed);
      Draw draw(seed + 3000);
      const int64_t keys = draw.Between(1, 20) * kPanel;
      std::vector<float> s(static_cast<size_t>(keys)), bias = s;
      const float spread = draw.Chance(3) ? 100.0f : 3.0f;
      for (float& x : s) x = draw.Chance(30) ? kNan : draw.Chance(20) ? -kInf : spread * draw.Normal();
      for (float& x : bias) x = draw.Chance(9) ? -kInf : draw.Normal();
      std::vector<uint64_t> keep(static_cast<size_t>(keys / 64 + 1));
      for (uint64_t& word : keep) word = draw.Bits();
      cpu::ScoreRow<float> row{};
      row.begin = draw.Between(0, keys / kPanel - 1) * kPanel, row.end = keys;
      row.low = draw.Between(0, keys), row.high = draw.Between(row.low, keys);
      row.factor = 0.125f, row.softcap = draw.Chance(3) ? 20.0f : 0;
      row.alibi_slope = draw.Chance(3) ? 0.25f : 0, row.alibi_origin = static_cast<float>(draw.Between(-50, 300));
      row.bias = draw.Chance(2) ? bias.data() : nullptr, row.keep = draw.Chance(2) ? keep.data() : nullptr;
      struct State {
        std::vector<float> s;
        float best = 0, maximum = -1.5f, sum = 0.75f, alpha = 0, plain_maximum = -kInf, plain_sum = 0, plain_alpha = 0,
              merged_maximum = 0.5f, merged_sum = 2;
        std::vector<float> plain, o;
      };
      const auto run = [&](const cpu::AttentionKernels<float>& by) {
        State state;
        state.s = state.plain = s;
        state.o.assign(static_cast<size_t>(keys), 0.5f);
        state.best = by.prepare(row, state.s.data());
        by.online_prepared(state.best, row.begin, row.end, state.s.data(), &state.maximum, &state.sum, &state.alpha);
        by.online_plain(1, 0.125f, row.begin, row.end, state.plain.data(), keys, &state.plain_maximum, &state.plain_sum,
                        &state.plain_alpha);
        by.merge(keys, state.maximum, state.sum, s.data(), &state.merged_maximum, &state.merged_sum, state.o.data());
        return state;
      };
      const State got = run(table), want = run(scalar);
      CHECK(FirstDifference(got.s, want.s) == -1);
      CHECK(FirstDifference(got.plain, want.plain) == -1);
      CHECK(FirstDifference(got.o, want.o) == -1);
      CHECK(FirstDifference({got.best, got.maximum, got.sum, got.alpha, got.plain_maximum, got.plain_sum,
                             got.plain_alpha, got.merged_maximum, got.merged_sum},
                            {want.best, want.maximum, want.sum, want.alpha, want.plain_maximum, want.plain_sum,
                             want.plain_alpha, want.merged_maximum, want.merged_sum}) == -1);
    }
  }
}

TEST_CASE("R7 R21 int8 rows are quantised to the bits of the scalar table") {
  for (const Int8Kernels* kernels : Tables()) {
    CAPTURE(kernels->name);
    for (uint64_t seed = 1; seed <= 100; ++seed) {
      CAPTURE(seed);
      Draw draw(seed + 4000);
      const auto n = static_cast<size_t>(draw.Between(1, 12) * kPanel);
      std::vector<float> x(n), less(n), times(n);
      const bool bad = draw.Chance(3);
      for (float& value : x) value = bad && draw.Chance(20) ? (draw.Chance(2) ? kNan : -kInf) : draw.Normal();
      for (float& value : less) value = draw.Normal();
      for (float& value : times) value = std::fabs(draw.Normal());
      const float *taken = draw.Chance(2) ? less.data() : nullptr, *factors = draw.Chance(2) ? times.data() : nullptr;
      std::vector<float> got(n), want(n);
      const auto count = static_cast<int64_t>(n);
      const float largest = kernels->prepare_row(x.data(), taken, factors, count, got.data());
      CHECK(SameBits(largest, kScalarKernels.prepare_row(x.data(), taken, factors, count, want.data())));
      CHECK(FirstDifference(got, want) == -1);
      CHECK(SameBits(kernels->dot_rows(x.data(), times.data(), count),
                     kScalarKernels.dot_rows(x.data(), times.data(), count)));
      std::vector<float> sums = less, expected = less;
      const bool magnitudes = draw.Chance(2);
      kernels->add_row(times.data(), magnitudes ? 1 : 0, count, sums.data());
      kernels->add_row(less.data(), magnitudes ? 1 : 0, count, sums.data());
      for (size_t i = 0; i < n; ++i) expected[i] = expected[i] + times[i] + (magnitudes ? std::fabs(less[i]) : less[i]);
      CHECK(FirstDifference(sums, expected) == -1);
      if (!(largest < kInf)) continue;
      std::vector<int8_t> codes(n), others(n);
      kernels->encode_row(got.data(), 127.0f / largest, count, codes.data());
      kScalarKernels.encode_row(got.data(), 127.0f / largest, count, others.data());
      CHECK(codes == others);
      for (size_t i = 0; i < n; ++i)
        REQUIRE(std::fabs(static_cast<float>(codes[i]) - got[i] * (127.0f / largest)) <= 0.5f);
    }
  }
}

TEST_CASE("R5 scales that are none are seen wherever they lie") {
  const float bad[] = {0, -0.0f, -1, -kInf, kInf, kNan, -kNan};
  const float good[] = {1, 0x1p-149f, std::numeric_limits<float>::max()};
  for (const Int8Kernels* kernels : Tables()) {
    CAPTURE(kernels->name);
    CHECK(kernels->all_positive(nullptr, 0) == 1);
    for (const size_t n : {16u, 32u, 80u}) {
      std::vector<float> x(n);
      for (size_t i = 0; i < n; ++i) x[i] = good[i % std::size(good)];
      CHECK(kernels->all_positive(x.data(), static_cast<int64_t>(n)) == 1);
      for (size_t i = 0; i < n; ++i)
        for (const float value : bad) {
          std::vector<float> y = x;
          y[i] = value;
          CAPTURE(value);
          CHECK(kernels->all_positive(y.data(), static_cast<int64_t>(n)) == 0);
        }
    }
  }
}

}  // namespace sage::test
