// problem_distribution.cc: see problem_distribution.h.
#include "plan/problem_distribution.h"

#include <array>
#include <cmath>
#include <vector>

#include "plan/elements.h"
#include "plan/problem_random.h"
#include "sage/support/check_op.h"

namespace sage {
namespace {

// Purposes of streams, behind those of slots and of index tensors.
enum : uint64_t { kOutliersOfQ = 2000, kOutliersOfK, kDirections, kSizes };

struct Row {
  unsigned char* first;
  int64_t step;  // bytes from a channel to the next
  sage_dtype dtype;

  // x := x * times + plus, rounded once before it is stored; fused by hand, so that no compiler decides whether it is.
  void Change(int64_t channel, double times, double plus) const {
    unsigned char* const element = first + channel * step;
    StoreElement(element, dtype, std::fma(LoadElement(element, dtype), times, plus));
  }
};

Row RowOf(const sage_tensor& t, int64_t b, int64_t head, int64_t row) {
  const int64_t size = support::DtypeSize(t.dtype);
  return {static_cast<unsigned char*>(t.data) + (b * t.stride[0] + head * t.stride[1] + row * t.stride[2]) * size,
          t.stride[3] * size, t.dtype};
}

// Calls visit(batch entry, head, row) for every row of a [B,H,S,D].
template <class Visit>
void ForRows(const sage_tensor& t, Visit&& visit) {
  for (int64_t b = 0; b < t.shape[0]; ++b)
    for (int64_t head = 0; head < t.shape[1]; ++head)
      for (int64_t row = 0; row < t.shape[2]; ++row) visit(b, head, RowOf(t, b, head, row));
}

// e^x for |x| below 8, by the same multiplications everywhere.
double Exponential(double x) {
  const double part = x / 64;  // exact
  double sum = 1;
  for (int power = 14; power > 0; --power) sum = std::fma(sum, part / power, 1.0);
  for (int i = 0; i < 6; ++i) sum *= sum;
  return sum;
}

std::array<int64_t, 4> BiasedChannels(int64_t d) { return {3 * d / 64, 17 * d / 64, 40 * d / 64, 59 * d / 64}; }

void BiasKeys(const sage_tensor& q, const sage_tensor& k) {
  constexpr double kBiases[] = {12, -12, 9, -15};
  const std::array<int64_t, 4> channels = BiasedChannels(q.shape[3]);
  ForRows(k, [&](int64_t, int64_t, const Row& row) {
    for (size_t i = 0; i < channels.size(); ++i) row.Change(channels[i], 1, kBiases[i]);
  });
  ForRows(q, [&](int64_t, int64_t, const Row& row) {
    for (const int64_t channel : channels) row.Change(channel, 1.5, 0);
  });
}

void EnlargeTokens(const sage_tensor& tensor, bool but_biased, Random random) {
  const std::array<int64_t, 4> biased = BiasedChannels(tensor.shape[3]);
  ForRows(tensor, [&](int64_t, int64_t, const Row& row) {
    if (random.Uniform() >= 0.01) return;
    for (int64_t c = 0; c < tensor.shape[3]; ++c) {
      const bool left = but_biased && (c == biased[0] || c == biased[1] || c == biased[2] || c == biased[3]);
      if (!left) row.Change(c, 3, 0);
    }
  });
}

void AddSink(const sage_tensor& q, const sage_tensor& k, const sage_tensor& v, Random random) {
  if (k.shape[2] == 0) return;
  const int64_t d = k.shape[3], heads_k = k.shape[1], group = q.shape[1] / heads_k;
  std::vector<double> direction(static_cast<size_t>(d));
  for (int64_t b = 0; b < k.shape[0]; ++b) {
    for (int64_t head = 0; head < heads_k; ++head) {
      double square = 0;
      for (double& x : direction) x = random.Normal(), square = std::fma(x, x, square);
      const double length = std::sqrt(square);
      for (double& x : direction) x /= length;
      const auto lean = [&](const Row& row, double by) {
        for (int64_t c = 0; c < d; ++c) row.Change(c, 1, by * direction[static_cast<size_t>(c)]);
      };
      lean(RowOf(k, b, head, 0), 16);
      for (int64_t h = head * group; h < (head + 1) * group; ++h)
        for (int64_t i = 0; i < q.shape[2]; ++i) lean(RowOf(q, b, h, i), 4);
    }
    for (int64_t head = 0; head < v.shape[1]; ++head)
      for (int64_t c = 0; c < v.shape[3]; ++c) RowOf(v, b, head, 0).Change(c, 0.05, 0);
  }
}

void SpreadValues(const sage_tensor& v, Random random) {
  std::vector<double> sizes(static_cast<size_t>(v.shape[3])), offsets(sizes.size());
  for (int64_t b = 0; b < v.shape[0]; ++b) {
    for (int64_t head = 0; head < v.shape[1]; ++head) {
      for (size_t c = 0; c < sizes.size(); ++c) {
        sizes[c] = Exponential(1.2 * random.Normal());
        offsets[c] = 2 * random.Normal() * sizes[c];
      }
      for (int64_t j = 0; j < v.shape[2]; ++j)
        for (size_t c = 0; c < sizes.size(); ++c)
          RowOf(v, b, head, j).Change(static_cast<int64_t>(c), sizes[c], offsets[c]);
    }
  }
}

}  // namespace

void ApplyDistribution(const Problem& problem) {
  const Distribution which = problem.distribution;
  const sage_tensor &q = problem.tensors[SAGE_ATTN_Q], &k = problem.tensors[SAGE_ATTN_K];
  const sage_tensor& v = problem.tensors[SAGE_ATTN_V];
  const bool all = which == Distribution::kAll;
  if (all || which == Distribution::kKeyBias) BiasKeys(q, k);
  if (all) {
    EnlargeTokens(k, true, StreamOf(problem.seed, kOutliersOfK));
    EnlargeTokens(q, false, StreamOf(problem.seed, kOutliersOfQ));
  }
  if (all || which == Distribution::kSink) AddSink(q, k, v, StreamOf(problem.seed, kDirections));
  if (all || which == Distribution::kValueSpread) SpreadValues(v, StreamOf(problem.seed, kSizes));
}

}  // namespace sage
