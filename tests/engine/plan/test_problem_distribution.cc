// `data=` of a problem string: Q, K and V have the shape that their distribution promises, whatever the layout, and a
// line that cannot have it is refused.
#include <doctest/doctest.h>

#include <cmath>
#include <string>
#include <vector>

#include "plan/elements.h"
#include "plan/problem.h"
#include "sage/support/check_op.h"

namespace {

using sage::ParseProblem;

constexpr uint64_t kBudget = 1ull << 28;

struct Made {
  explicit Made(const std::string& line) : problem(std::move(ParseProblem(line).value())) {
    REQUIRE(sage::MakeProblemTensors(problem.get(), kBudget, &data).ok());
  }
  double At(uint32_t slot, int64_t b, int64_t h, int64_t row, int64_t c) const {
    const sage_tensor& t = problem->tensors[slot];
    const int64_t at = b * t.stride[0] + h * t.stride[1] + row * t.stride[2] + c * t.stride[3];
    return sage::LoadElement(static_cast<const unsigned char*>(t.data) + at * sage::support::DtypeSize(t.dtype),
                             t.dtype);
  }
  std::vector<double> Values(uint32_t slot) const {
    const sage_tensor& t = problem->tensors[slot];
    std::vector<double> values;
    for (int64_t b = 0; b < t.shape[0]; ++b)
      for (int64_t h = 0; h < t.shape[1]; ++h)
        for (int64_t i = 0; i < t.shape[2]; ++i)
          for (int64_t c = 0; c < t.shape[3]; ++c) values.push_back(At(slot, b, h, i, c));
    return values;
  }
  // Mean and standard deviation of a channel over the rows from `first` on.
  std::pair<double, double> Channel(uint32_t slot, int64_t h, int64_t c, int64_t first = 0) const {
    const int64_t rows = problem->tensors[slot].shape[2];
    double sum = 0, squares = 0;
    for (int64_t i = first; i < rows; ++i) sum += At(slot, 0, h, i, c), squares += std::pow(At(slot, 0, h, i, c), 2);
    const auto count = static_cast<double>(rows - first);
    return {sum / count, std::sqrt(squares / count - sum / count * sum / count)};
  }
  // The logit of key j, at the scale 1/sqrt(d), over the queries of a head.
  double MeanLogit(int64_t h, int64_t head_k, int64_t j) const {
    const int64_t queries = problem->tensors[SAGE_ATTN_Q].shape[2], d = problem->tensors[SAGE_ATTN_Q].shape[3];
    double sum = 0;
    for (int64_t i = 0; i < queries; ++i)
      for (int64_t c = 0; c < d; ++c) sum += At(SAGE_ATTN_Q, 0, h, i, c) * At(SAGE_ATTN_K, 0, head_k, j, c);
    return sum / static_cast<double>(queries) / std::sqrt(static_cast<double>(d));
  }

  std::unique_ptr<sage::Problem> problem;
  sage::ProblemData data;
};

const std::string kLine = "b1.hq4.hkv2.sq256.skv512.d64.f32";

TEST_CASE("R21 data=kbias: four channels of K stand off zero and Q is larger there; the rest is as it was") {
  const Made normal(kLine), biased(kLine + ":data=kbias");
  const struct {
    int64_t channel;
    double bias;
  } channels[] = {{3, 12}, {17, -12}, {40, 9}, {59, -15}};
  for (const auto& [channel, bias] : channels) {
    CHECK(biased.Channel(SAGE_ATTN_K, 1, channel).first == doctest::Approx(bias).epsilon(0.02));
    CHECK(biased.At(SAGE_ATTN_Q, 0, 3, 7, channel) == doctest::Approx(1.5 * normal.At(SAGE_ATTN_Q, 0, 3, 7, channel)));
  }
  CHECK(biased.At(SAGE_ATTN_K, 0, 0, 5, 4) == normal.At(SAGE_ATTN_K, 0, 0, 5, 4));
  CHECK(biased.At(SAGE_ATTN_Q, 0, 0, 5, 4) == normal.At(SAGE_ATTN_Q, 0, 0, 5, 4));
  CHECK(biased.Values(SAGE_ATTN_V) == normal.Values(SAGE_ATTN_V));
  // The same places of another length.
  const Made wide("b1.hq1.sq4.skv256.d128.f32:data=kbias");
  CHECK(wide.Channel(SAGE_ATTN_K, 0, 34).first == doctest::Approx(-12).epsilon(0.03));
  CHECK(std::fabs(wide.Channel(SAGE_ATTN_K, 0, 17).first) < 0.5);
}

TEST_CASE("R21 data=sink: key 0 stands out for every query and its V is small") {
  const Made made(kLine + ":data=sink"), normal(kLine);
  for (const int64_t h : {0, 1, 2, 3}) {
    CHECK(made.MeanLogit(h, h / 2, 0) == doctest::Approx(8).epsilon(0.15));
    CHECK(std::fabs(made.MeanLogit(h, h / 2, 1)) < 2);
    CHECK(std::fabs(made.MeanLogit(h, 1 - h / 2, 0)) < 4);  // the other head's direction
  }
  double largest = 0;
  for (int64_t c = 0; c < 64; ++c) {
    CHECK(made.At(SAGE_ATTN_V, 0, 1, 0, c) == doctest::Approx(0.05 * normal.At(SAGE_ATTN_V, 0, 1, 0, c)));
    largest = std::max(largest, std::fabs(made.At(SAGE_ATTN_V, 0, 1, 1, c)));
  }
  CHECK(largest > 1);
}

TEST_CASE("R21 data=vspread: channels of V differ in size and stand off zero; Q and K are as they were") {
  const Made made(kLine + ":data=vspread"), normal(kLine);
  double least = INFINITY, most = 0, off = 0, logarithms = 0;
  for (int64_t c = 0; c < 64; ++c) {
    const auto [mean, size] = made.Channel(SAGE_ATTN_V, 0, c);
    least = std::min(least, size), most = std::max(most, size);
    off += std::pow(mean / size, 2) / 64, logarithms += std::pow(std::log(size), 2) / 64;
  }
  CHECK(most / least > 50);
  CHECK(std::sqrt(logarithms) == doctest::Approx(1.2).epsilon(0.25));
  CHECK(std::sqrt(off) == doctest::Approx(2).epsilon(0.25));
  CHECK(made.Values(SAGE_ATTN_Q) == normal.Values(SAGE_ATTN_Q));
  CHECK(made.Values(SAGE_ATTN_K) == normal.Values(SAGE_ATTN_K));
}

TEST_CASE("R21 data=all: biases and sink and sizes together and one token in a hundred three times as large") {
  const Made made("b1.hq1.sq64.skv4096.d64.f32:data=all"), biased("b1.hq1.sq64.skv4096.d64.f32:data=kbias");
  int large = 0;
  for (int64_t j = 1; j < 4096; ++j) {  // key 0 is the sink
    const double times = made.At(SAGE_ATTN_K, 0, 0, j, 5) / biased.At(SAGE_ATTN_K, 0, 0, j, 5);
    const bool is_large = times == doctest::Approx(3);
    large += is_large ? 1 : 0;
    if (!is_large) CHECK(times == doctest::Approx(1));
    CHECK(made.At(SAGE_ATTN_K, 0, 0, j, 3) == biased.At(SAGE_ATTN_K, 0, 0, j, 3));
  }
  CHECK((large > 15 && large < 80));
  CHECK(made.MeanLogit(0, 0, 0) > 5);
  CHECK(made.Channel(SAGE_ATTN_V, 0, 9, 1).second != doctest::Approx(biased.Channel(SAGE_ATTN_V, 0, 9, 1).second));
}

TEST_CASE("R21 data= is the same in every layout and from every line and another seed has others") {
  for (const char* data : {"kbias", "sink", "vspread", "all"}) {
    CAPTURE(data);
    const std::string line = "b2.hq4.hkv2.sq9.skv16.d8.f32:data=" + std::string(data);
    const Made plain(line), again(line), strided(line + ",layout=strided"), other(line + ",seed=1");
    for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V}) {
      CHECK(plain.Values(slot) == again.Values(slot));
      CHECK(plain.Values(slot) == strided.Values(slot));
      CHECK(plain.Values(slot) != other.Values(slot));
      for (const double value : plain.Values(slot)) CHECK(std::isfinite(value));
    }
  }
  const Made normal(kLine), named(kLine + ":data=normal");
  CHECK(normal.data.buffers == named.data.buffers);
}

TEST_CASE("data= is printed by the line that makes the tensors again, where it is not the default") {
  const std::string line = "b1.hq2.hkv2.sq4.skv4.d8.f32:causal=tl,data=sink,seed=3";
  CHECK(sage::ProblemLine(*ParseProblem(line).value()) == line);
  CHECK(sage::ProblemString(ParseProblem(line).value()->op) == "b1.hq2.hkv2.sq4.skv4.d8.f32:causal=tl");
  CHECK(sage::ProblemLine(*ParseProblem("hq2.sq4.d8.f32:data=normal").value()) == "b1.hq2.hkv2.sq4.skv4.d8.f32");
  CHECK(sage::ProblemLine(*ParseProblem("hq2.sq4.d8.f32:data=all").value()) == "b1.hq2.hkv2.sq4.skv4.d8.f32:data=all");
}

TEST_CASE("data= that a line cannot have is refused by name") {
  const struct {
    const char *line, *named;
  } cases[] = {{"hq2.sq4.d8.f32:data=wild", "normal|kbias|sink|vspread|all"},
               {"hq2.sq4.d8.f32:data", "'data'"},
               {"hq2.sq4.d8.f32:varlen,data=sink", "'data=sink': expected neither varlen"},
               {"hq2.sq4.d8.f32:page=2,data=sink", "nor pages"},
               {"hq2.sq4.d8.f32:append=1,data=sink", "nor an append"},
               {"hq2.sq4.d8.i8:o=f32,scale_q=tensor,scale_k=tensor,scale_v=tensor,data=all", "in floats"},
               {"hq2.sq4.d8.f32:kv=i8,scale_k=token,scale_v=token,data=vspread", "in floats"},
               {"hq2.sq4.d3.f32:data=kbias", "d of 4 or more"},
               {"hq2.sq4.d3.f32:data=all", "d of 4 or more"}};
  for (const auto& [line, named] : cases) {
    CAPTURE(line);
    auto problem = ParseProblem(line);
    REQUIRE_FALSE(problem.ok());
    CAPTURE(problem.status().message());
    CHECK(problem.status().message().find(named) != std::string::npos);
  }
  // What has no key, no query or a single channel has a distribution all the same.
  for (const char* line : {"hq2.sq4.skv0.d8.f32:data=all", "hq2.sq0.skv4.d8.f32:data=all", "hq1.sq1.d1.f32:data=sink",
                           "b2.hq6.hkv2.hv1.sq3.skv5.d4.dv9.bf16:layout=bshd,data=all"})
    (void)Made(line);
}

}  // namespace
