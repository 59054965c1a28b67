// op_case.h: one op with its tensors, made by seed in any layout, and its exact results by the oracle.
//
// The oracle runs on the same values widened to f64, so it gives the exact result: what is computed in double and
// rounded once must lie within half a unit of its own type, which no careless path survives. For the tests of every
// backend.
#ifndef SAGE_TESTS_PLUGINS_CPU_OP_CASE_H_
#define SAGE_TESTS_PLUGINS_CPU_OP_CASE_H_

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "support/run_op.h"

extern "C" const sage_plugin* reference_plugin_query(uint32_t host_major, uint32_t host_minor);

namespace sage::test {

inline const sage_plugin* Oracle() { return reference_plugin_query(SAGE_ABI_MAJOR, SAGE_ABI_MINOR); }

using Shape = std::vector<int64_t>;
constexpr sage_dtype kFloats[] = {SAGE_F32, SAGE_F64, SAGE_BF16, SAGE_F16};

class Random {
 public:
  // aligned: every element's address is a multiple of its size, as a device wants it.
  explicit Random(uint64_t seed, bool aligned = false) : engine_(seed), aligned_(aligned) {}
  int64_t Between(int64_t low, int64_t high) {
    return low + static_cast<int64_t>(engine_() % static_cast<uint64_t>(high - low + 1));
  }
  bool Chance(int64_t one_in) { return Between(1, one_in) == 1; }
  sage_dtype Float() { return kFloats[Between(0, 3)]; }
  uint64_t Seed() { return engine_(); }
  Shape AnyShape(uint32_t low_rank, uint32_t high_rank, int64_t longest) {
    Shape shape(static_cast<size_t>(Between(low_rank, high_rank)));
    for (int64_t& length : shape) length = Chance(12) ? 0 : Chance(4) ? 1 : Between(1, longest);
    if (!shape.empty() && Chance(3)) shape.back() = Between(1, longest * 12);
    return shape;
  }
  // Any memory layout: row-major, axes in another order, gaps, walked backwards, off its alignment. Inputs also repeat.
  OwnedTensor Tensor(sage_dtype dtype, const Shape& shape, bool output = false) {
    const uint32_t unit = aligned_ ? support::DtypeSize(dtype) : 1;
    const uint32_t skew = Chance(3) ? unit * static_cast<uint32_t>(Between(1, 7)) : 0;
    Shape strides(shape.size());
    std::vector<size_t> order(shape.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    const bool plain = Chance(3);
    if (!plain && Chance(2)) std::shuffle(order.begin(), order.end(), engine_);
    int64_t step = 1;
    for (size_t i = order.size(); i-- > 0;) {
      if (!plain && Chance(4)) step += Between(1, 2);
      strides[order[i]] = step;
      step *= std::max<int64_t>(1, shape[order[i]]);
      if (!plain && Chance(6)) strides[order[i]] = -strides[order[i]];
      if (!plain && !output && Chance(8)) strides[order[i]] = 0;
    }
    OwnedTensor tensor(dtype, shape, strides, skew);
    if (!output) tensor.FillNormal(Seed());
    return tensor;
  }

 private:
  std::mt19937_64 engine_;
  bool aligned_;
};

struct OpCase {
  uint32_t kind = 0;
  std::function<void(TestOp&)> attributes = [](TestOp&) {};
  std::vector<OwnedTensor> slots;  // a default one is absent
  double scale = 0;                // of what cancels in a result, where that is larger than it
  bool IsOutput(size_t slot) const { return support::SlotIsOutput(kind, static_cast<uint32_t>(slot)); }
};

inline std::string Describe(const OpCase& c) {
  std::string text = support::KindName(c.kind);
  for (const OwnedTensor& tensor : c.slots) {
    text += " ";
    if (!tensor.present()) {
      text += "-";
      continue;
    }
    text += support::DtypeName(tensor.dtype());
    for (uint32_t i = 0; i < tensor.rank(); ++i)
      text += (i ? "," : "[") + std::to_string(tensor.dim(i)) + ":" + std::to_string(tensor.tensor()->stride[i]);
    text += "]";
  }
  return text;
}

inline RunResult RunCase(Instance& instance, OpCase& c) {
  TestOp op(c.kind);
  c.attributes(op);
  for (size_t s = 0; s < c.slots.size(); ++s)
    if (c.slots[s].present()) op.Slot(static_cast<uint32_t>(s), c.slots[s]);
  return RunOp(instance, op);
}

inline OwnedTensor Widened(const OwnedTensor& tensor) {
  if (!tensor.present()) return tensor;
  Shape shape(tensor.rank());
  for (uint32_t i = 0; i < tensor.rank(); ++i) shape[i] = tensor.dim(i);
  OwnedTensor wide(support::IsFloat(tensor.dtype()) ? SAGE_F64 : tensor.dtype(), shape);
  for (uint64_t i = 0, n = tensor.size(); i < n; ++i) wide.Put(i, tensor.Get(i));
  return wide;
}

// The exact outputs, f64 in place of every float.
inline OpCase Exact(const OpCase& c) {
  OpCase wide = c;
  for (size_t s = 0; s < wide.slots.size(); ++s)
    if (c.kind != SAGE_OP_ROPE || (s != 2 && s != 3)) wide.slots[s] = Widened(wide.slots[s]);  // COS and SIN are f32
  TestHost host;
  Instance oracle(Oracle(), host);
  const RunResult result = RunCase(oracle, wide);
  REQUIRE_MESSAGE(result.status == SAGE_OK, "oracle: ", result.message, " ", Describe(c));
  return wide;
}

inline double HalfUnit(sage_dtype dtype) {
  return dtype == SAGE_F64 ? 0x1p-53 : dtype == SAGE_F32 ? 0x1p-24 : dtype == SAGE_F16 ? 0x1p-11 : 0x1p-8;
}
inline double Smallest(sage_dtype dtype) {
  return dtype == SAGE_F64 ? 0x1p-1074 : dtype == SAGE_F32 ? 0x1p-149 : dtype == SAGE_F16 ? 0x1p-24 : 0x1p-133;
}
inline double Largest(sage_dtype dtype) {
  return dtype == SAGE_F64   ? 0x1.fffffffffffffp1023
         : dtype == SAGE_F16 ? 65504.0
         : dtype == SAGE_F32 ? 0x1.fffffep127
                             : 0x1.fep127;
}

// One rounding of `exact`, and 1e-12 of `scale` for the double arithmetic before it.
inline bool Rounded(sage_dtype dtype, double got, double exact, double scale) {
  if (std::isnan(exact)) return std::isnan(got);
  if (got == exact) return true;
  if (std::isinf(got)) return (got > 0) == (exact > 0) && std::fabs(exact) >= Largest(dtype);
  const double allowed =
      HalfUnit(dtype) * std::fabs(exact) * 1.000001 + 0.5 * Smallest(dtype) + 1e-12 * std::max(std::fabs(exact), scale);
  return std::fabs(got - exact) <= allowed;
}

// Bytes between and around the elements of an output are still zero.
inline bool PaddingUntouched(OwnedTensor tensor) {
  for (uint64_t i = 0, n = tensor.size(); i < n; ++i) tensor.Put(i, 0.0);
  return std::all_of(tensor.bytes().begin(), tensor.bytes().end(), [](unsigned char byte) { return byte == 0; });
}

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CPU_OP_CASE_H_
