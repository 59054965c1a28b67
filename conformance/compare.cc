// compare.cc: how far may an output be from the float64 oracle?
//
// The gate is relative to what the arithmetic of the dtype can do on this very input: an error of one rounding in a
// logit of size s moves a weight by s roundings, so the gate grows with the largest logit possible (Cauchy-Schwarz).
// Faults that matter (a wrong mask, a lost key, a stale maximum) are orders of magnitude above it.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "conformance/groups.h"
#include "plan/elements.h"
#include "sage/support/check_op.h"

namespace sage::conformance {
namespace {

double LargestFinite(const sage_tensor& tensor) {
  double largest = 0;
  ForEachElement(tensor, support::DtypeSize(tensor.dtype), [&](int64_t offset) {
    const double value = std::fabs(LoadElement(static_cast<const unsigned char*>(tensor.data) + offset, tensor.dtype));
    if (std::isfinite(value)) largest = std::max(largest, value);
  });
  return largest;
}

// The largest Euclidean norm of a line along the last axis.
double LargestNorm(const sage_tensor& tensor) {
  double largest = 0, sum = 0;
  int64_t position = 0;
  const int64_t length = tensor.shape[tensor.rank - 1];
  ForEachElement(tensor, support::DtypeSize(tensor.dtype), [&](int64_t offset) {
    const double value = LoadElement(static_cast<const unsigned char*>(tensor.data) + offset, tensor.dtype);
    if (std::isfinite(value)) sum += value * value;
    if (++position == length) largest = std::max(largest, sum), sum = 0, position = 0;
  });
  return std::sqrt(largest);
}

// What a rounding of this dtype, and of a computation in this class, may cost.
double BaseGate(sage_dtype dtype, uint32_t accuracy) {
  double gate = 5e-2;
  if (dtype == SAGE_F64) gate = 1e-12;
  if (dtype == SAGE_F32) gate = 5e-6;
  if (dtype == SAGE_F16) gate = 2e-3;
  if (dtype == SAGE_BF16) gate = 1.5e-2;
  return accuracy == SAGE_ACCURACY_LOSSY ? std::max(gate, 5e-2) : gate;
}

double Unit(sage_dtype dtype) { return dtype == SAGE_F64 ? 0x1p-53 : 0x1p-24; }

double LargestLogit(const Problem& problem) {
  const sage_attention_attributes& a = problem.attributes.attention;
  const sage_tensor& q = problem.tensors[SAGE_ATTN_Q];
  const auto dim = static_cast<double>(q.shape[q.rank - 1]);
  const double scale = (a.features & SAGE_ATTN_F_SCALE) != 0 ? std::fabs(a.scale) : 1 / std::sqrt(dim);
  double logit = scale * LargestNorm(q) * LargestNorm(problem.tensors[SAGE_ATTN_K]);
  if (problem.Has(SAGE_ATTN_K_NEW))
    logit = std::max(logit, scale * LargestNorm(q) * LargestNorm(problem.tensors[SAGE_ATTN_K_NEW]));
  if (problem.Has(SAGE_ATTN_BIAS)) logit += LargestFinite(problem.tensors[SAGE_ATTN_BIAS]);
  if (problem.Has(SAGE_ATTN_ALIBI)) logit += 4096 * 0.5;
  return logit;
}

std::string CompareSlot(const Problem& problem, uint32_t slot, const sage_tensor& given, double gate) {
  const sage_tensor& expected = problem.tensors[slot];
  const bool exact =
      !support::IsFloat(expected.dtype) && expected.dtype != SAGE_F8_E4M3FN && expected.dtype != SAGE_F8_E5M2;
  double worst = 0, worst_given = 0, worst_expected = 0;
  int64_t worst_place = 0;
  std::vector<int64_t> places;  // the two may have different strides
  ForEachElement(given, support::DtypeSize(given.dtype), [&](int64_t offset) { places.push_back(offset); });
  size_t next = 0;
  ForEachElement(expected, support::DtypeSize(expected.dtype), [&](int64_t offset) {
    const double ours = LoadElement(static_cast<const unsigned char*>(given.data) + places[next++], expected.dtype);
    const double theirs = LoadElement(static_cast<const unsigned char*>(expected.data) + offset, expected.dtype);
    double error = std::fabs(ours - theirs);
    if (ours == theirs || (std::isnan(ours) && std::isnan(theirs))) error = 0;
    if (std::isnan(error)) error = HUGE_VAL;
    if (error > worst) worst = error, worst_given = ours, worst_expected = theirs, worst_place = offset;
  });
  const double limit = exact ? gate < 1e-2 ? 0 : 1 : gate;
  if (worst <= limit) return "";
  return fmt::format("{} at byte {} is {}, the oracle says {} (difference {:.3g}, allowed {:.3g})",
                     support::SlotName(problem.op.kind, slot), worst_place, worst_given, worst_expected, worst, limit);
}

}  // namespace

std::string CompareOutputs(const Problem& problem, const std::vector<sage_tensor>& given, uint32_t accuracy) {
  const uint32_t kind = problem.op.kind;
  const bool attention = kind == SAGE_OP_ATTENTION;
  const sage_dtype input = problem.tensors[attention || kind != SAGE_OP_CONCAT ? 0 : 1].dtype;
  double factor = 1;
  if (attention) factor += LargestLogit(problem) * Unit(input) / BaseGate(input, accuracy) * 8;
  for (uint32_t slot = 0; slot < problem.pointers.size(); ++slot) {
    if (!problem.Has(slot)) continue;
    const bool in_out = slot < 64 && (problem.op.aliases >> slot & 1u) != 0;
    if (in_out) {  // an append is a copy
      if (std::string why = CompareSlot(problem, slot, given[slot], 0); !why.empty()) return why;
      continue;
    }
    if (!support::SlotIsOutput(kind, slot)) continue;
    const sage_tensor& expected = problem.tensors[slot];
    double size = LargestFinite(expected);
    if (attention && slot == SAGE_ATTN_O) size = std::max(size, LargestFinite(problem.tensors[SAGE_ATTN_V]));
    if (attention && (slot == SAGE_ATTN_LSE || slot == SAGE_ATTN_SCORES)) size = std::max(size, LargestLogit(problem));
    double gate = std::max(BaseGate(input, accuracy), BaseGate(expected.dtype, accuracy)) * factor;
    if (!attention && support::IsFloat(expected.dtype)) {
      // Sums of products: an error grows with the operands, not with a result in which they cancel.
      double operands = 1;
      if (kind == SAGE_OP_LINEAR || kind == SAGE_OP_MATMUL) {
        const sage_tensor& x = problem.tensors[0];
        operands = LargestFinite(x) * LargestFinite(problem.tensors[1]) *
                   std::sqrt(static_cast<double>(x.shape[x.rank - 1]) + 1);
      }
      size = std::max({size, operands, 1.0});
      gate *= 2;
    }
    if (std::string why = CompareSlot(problem, slot, given[slot], gate * std::max(size, 1e-30)); !why.empty())
      return why;
  }
  return "";
}

}  // namespace sage::conformance
