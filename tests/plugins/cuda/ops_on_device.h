// ops_on_device.h: one op (../cpu/op_case.h) run on a device, real or emulated, and held against the oracle in float64.
//
// f64 is computed in double and must be within 1e-12 of the exact result; everything else in float, some units of
// float's, and rounded to its own type once.
#ifndef SAGE_TESTS_PLUGINS_CUDA_OPS_ON_DEVICE_H_
#define SAGE_TESTS_PLUGINS_CUDA_OPS_ON_DEVICE_H_

#include <cmath>
#include <functional>
#include <string>

#include "../cpu/op_cases.h"

namespace sage::test {

// Runs the case on the device; its outputs then have what the device wrote.
using DeviceRun = std::function<RunResult(OpCase&)>;

// Units of float that a result in float may be off by, beside its own rounding. Functions whose derivative makes much
// of a rounding of their argument get more.
inline double UnitsOf(const OpCase& c, uint32_t function) {
  const bool steep = c.kind == SAGE_OP_UNARY && (function == SAGE_FN_GELU || function == SAGE_FN_GELU_TANH);
  return steep ? 300 : 16;
}

inline bool IsNear(sage_dtype dtype, double got, double exact, double scale, double units) {
  if (std::isnan(exact)) return std::isnan(got);
  if (got == exact) return true;
  if (std::isinf(got)) return (got > 0) == (exact > 0) && std::fabs(exact) >= Largest(dtype) * (1 - 0x1p-20);
  const double relative = dtype == SAGE_F64 ? 1e-12 : units * 0x1p-24;
  const double least = dtype == SAGE_F64 ? 0x1p-1074 : 200 * 0x1p-149;  // where floats have few bits left
  const double allowed = HalfUnit(dtype) * std::fabs(exact) * 1.000001 + 0.5 * Smallest(dtype) + least +
                         relative * std::max(std::fabs(exact), scale);
  return std::fabs(got - exact) <= allowed;
}

// Empty, or what is wrong with it. moves: every bit is the oracle's.
inline std::string WrongOnDevice(const OpCase& c, const DeviceRun& run, double units = 16, bool moves = false) {
  const OpCase exact = Exact(c);
  OpCase mine = c;
  const RunResult result = run(mine);
  const std::string what = " " + Describe(c);
  if (result.status != SAGE_OK) return result.message + what;
  if (result.answer.accuracy != SAGE_ACCURACY_EXACT) return "it is not of class EXACT" + what;
  for (size_t s = 0; s < c.slots.size(); ++s) {
    if (!c.slots[s].present()) continue;
    const OwnedTensor &got = mine.slots[s], &want = exact.slots[s];
    if (!c.IsOutput(s)) {
      if (!BitwiseEqual(got, c.slots[s])) return "slot " + std::to_string(s) + " was written" + what;
      continue;
    }
    for (uint64_t i = 0, n = got.size(); i < n; ++i) {
      const double value = got.Get(i), correct = want.Get(i);
      const bool same = value == correct || (std::isnan(value) && std::isnan(correct));
      if (moves || !support::IsFloat(got.dtype()) ? same : IsNear(got.dtype(), value, correct, c.scale, units))
        continue;
      return "slot " + std::to_string(s) + " element " + std::to_string(i) + ": got " + std::to_string(value) +
             ", exact " + std::to_string(correct) + what;
    }
    if (!PaddingUntouched(got)) return "slot " + std::to_string(s) + " is written between its elements" + what;
  }
  return "";
}

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CUDA_OPS_ON_DEVICE_H_
