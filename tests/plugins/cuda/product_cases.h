// product_cases.h: LINEAR and MATMUL as cases for a device, real or emulated, and the oracle's answer to them in
// float64 within a bound that follows from how they sum.
#ifndef SAGE_TESTS_PLUGINS_CUDA_PRODUCT_CASES_H_
#define SAGE_TESTS_PLUGINS_CUDA_PRODUCT_CASES_H_

#include <cmath>
#include <string>
#include <vector>

#include "../cpu/ops_harness.h"

namespace sage::test {

constexpr uint32_t kX = 0, kW = 1, kBias = 2, kY = 3, kScaleX = 4, kScaleW = 5;

inline OpCase Linear(OwnedTensor x, OwnedTensor w, OwnedTensor bias, OwnedTensor y,
                     uint32_t activation = SAGE_FN_IDENTITY, uint32_t dynamic = 0,
                     uint32_t accuracy = SAGE_ACCURACY_AUTO) {
  OpCase c{SAGE_OP_LINEAR,
           [=](TestOp& op) {
             op.Attributes(sage_linear_attributes{0, activation}).DynamicAxes(dynamic).Accuracy(accuracy);
           },
           {}};
  c.slots = {std::move(x), std::move(w), std::move(bias), std::move(y)};
  return c;
}
inline OpCase Matmul(OwnedTensor a, OwnedTensor b, OwnedTensor y, uint32_t dynamic = 0,
                     uint32_t accuracy = SAGE_ACCURACY_AUTO) {
  OpCase c{SAGE_OP_MATMUL, [=](TestOp& op) { op.DynamicAxes(dynamic).Accuracy(accuracy); }, {}};
  c.slots = {std::move(a), std::move(b), std::move(y)};
  return c;
}
// Contiguous, of one type.
inline OpCase PlainLinear(sage_dtype dtype, int64_t m, int64_t n, int64_t k, uint64_t seed = 1,
                          uint32_t activation = SAGE_FN_IDENTITY, uint32_t dynamic = 0,
                          uint32_t accuracy = SAGE_ACCURACY_AUTO) {
  return Linear(OwnedTensor(dtype, {m, k}).FillNormal(seed), OwnedTensor(dtype, {n, k}).FillNormal(seed + 1),
                OwnedTensor(dtype, {n}).FillNormal(seed + 2), OwnedTensor(dtype, {m, n}), activation, dynamic,
                accuracy);
}

// The oracle's outputs; scales stay f32, which is what they have to be. magnitudes: of the absolute values, without an
// activation.
inline OwnedTensor OracleOf(const OpCase& c, bool magnitudes) {
  OpCase wide = c;
  const size_t output = c.kind == SAGE_OP_LINEAR ? kY : 2;
  for (size_t slot = 0; slot < wide.slots.size(); ++slot) {
    OwnedTensor& tensor = wide.slots[slot];
    if (!tensor.present()) continue;
    tensor.description().flags = 0;
    if (slot != kScaleX && slot != kScaleW) tensor = Widened(tensor);
  }
  if (magnitudes) {
    std::vector<int64_t> shape;
    for (uint32_t axis = 0; axis < c.slots[output].rank(); ++axis) shape.push_back(c.slots[output].dim(axis));
    wide.slots[output] = OwnedTensor(SAGE_F64, shape);
    wide.attributes = [](TestOp&) {};
    for (size_t slot = 0; slot < wide.slots.size(); ++slot)
      if (slot != output && wide.slots[slot].present())
        wide.slots[slot].FillBy([&](uint64_t i) { return std::fabs(wide.slots[slot].Get(i)); });
  }
  TestHost host;
  Instance oracle(Oracle(), host);
  const RunResult result = RunCase(oracle, wide);
  REQUIRE_MESSAGE(result.status == SAGE_OK, "oracle: ", result.message, " ", Describe(c));
  return wide.slots[output];
}

// Empty, or the first element of got that is further from the exact one than k sums of f32 or f64 and one rounding are,
// and slack.
inline std::string DifferenceOf(const OpCase& c, const OwnedTensor& got, int64_t k, double slack = 0) {
  const OwnedTensor exact = OracleOf(c, false), sums = OracleOf(c, true);
  bool wide = false;
  for (const OwnedTensor& tensor : c.slots) wide = wide || (tensor.present() && tensor.dtype() == SAGE_F64);
  const auto integer = [&](size_t slot) {
    return c.slots[slot].dtype() == SAGE_I8 || c.slots[slot].dtype() == SAGE_I16;
  };
  const double unit = wide || (integer(kX) && integer(kW)) ? 0x1p-53 : 0x1p-24;
  const bool whole = got.dtype() == SAGE_I32;
  for (uint64_t i = 0; i < got.size(); ++i) {
    const double want = exact.Get(i), is = got.Get(i);
    if (std::isnan(want) ? std::isnan(is) : is == want) continue;
    if (!whole && std::fabs(want) > Largest(got.dtype()) && is == std::copysign(HUGE_VAL, want)) continue;
    const double rounding = whole ? 0 : HalfUnit(got.dtype()) * std::fabs(want) * 1.01 + Smallest(got.dtype());
    const double allowed =
        1.2 * unit * (static_cast<double>(k) + 8) * sums.Get(i) + 8 * unit * std::fabs(want) + rounding + slack;
    if (!(std::fabs(is - want) <= allowed))
      return "element " + std::to_string(i) + ": got " + std::to_string(is) + ", exact " + std::to_string(want) +
             ", allowed " + std::to_string(allowed) + " " + Describe(c);
  }
  return PaddingUntouched(got) ? "" : "wrote between the elements " + Describe(c);
}

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CUDA_PRODUCT_CASES_H_
