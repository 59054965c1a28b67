// ops_harness.h: one op on the cpu table, every instruction set this machine has, against the oracle in float64.
//
// The oracle runs on the same values widened to f64, so it gives the exact result: what cpu computes in double and
// rounds once must lie within half a unit of its own type, which no careless path survives.
#ifndef SAGE_TESTS_PLUGINS_CPU_OPS_HARNESS_H_
#define SAGE_TESTS_PLUGINS_CPU_OPS_HARNESS_H_

#include <doctest/doctest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "support/run_op.h"

extern "C" const sage_plugin* cpu_plugin_query(uint32_t host_major, uint32_t host_minor);
extern "C" const sage_plugin* reference_plugin_query(uint32_t host_major, uint32_t host_minor);

namespace sage::test {

inline const sage_plugin* Cpu() { return cpu_plugin_query(SAGE_ABI_MAJOR, SAGE_ABI_MINOR); }
inline const sage_plugin* Oracle() { return reference_plugin_query(SAGE_ABI_MAJOR, SAGE_ABI_MINOR); }

// The instruction sets that can be forced here; what is absent is said.
inline const std::vector<std::string>& Isas() {
  static const std::vector<std::string> isas = [] {
    std::vector<std::string> found;
    for (const char* isa : {"isa=scalar", "isa=avx2", "isa=avx512", "isa=neon"}) {
      TestHost host;
      const Instance instance(Cpu(), host, isa);
      if (instance.status() == SAGE_OK)
        found.emplace_back(isa);
      else
        MESSAGE("skipped: ", std::string(isa), ": ", instance.message());
    }
    return found;
  }();
  return isas;
}

using Shape = std::vector<int64_t>;
constexpr sage_dtype kFloats[] = {SAGE_F32, SAGE_F64, SAGE_BF16, SAGE_F16};

class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
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
    const uint32_t skew = Chance(3) ? static_cast<uint32_t>(Between(1, 7)) : 0;
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
};

struct OpCase {
  uint32_t kind = 0;
  std::function<void(TestOp&)> attributes = [](TestOp&) {};
  std::vector<OwnedTensor> slots;  // a default one is absent
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

// Every instruction set, one worker and three: like the oracle, the same bits for both. scale: of the quantities that
// cancel in a result, where they are larger than it.
inline void ExpectExact(const OpCase& c, double scale = 0.0) {
  const OpCase exact = Exact(c);
  const std::string what = Describe(c);
  for (const std::string& isa : Isas()) {
    std::vector<OwnedTensor> first(c.slots.size());
    for (const uint32_t workers : {1u, 3u}) {
      TestHost host(workers, Threads::kSimulated);
      Instance cpu(Cpu(), host, isa.c_str());
      OpCase mine = c;
      const RunResult result = RunCase(cpu, mine);
      REQUIRE_MESSAGE(result.status == SAGE_OK, isa, " ", result.message, " ", what);
      for (size_t s = 0; s < c.slots.size(); ++s) {
        if (!c.IsOutput(s) || !c.slots[s].present()) continue;
        const OwnedTensor &got = mine.slots[s], &want = exact.slots[s];
        uint64_t wrong = 0;
        for (uint64_t i = 0, n = got.size(); i < n; ++i)
          if (!Rounded(got.dtype(), got.Get(i), want.Get(i), scale) && wrong++ == 0)
            FAIL_CHECK(isa, " slot ", s, " element ", i, ": got ", got.Get(i), ", exact ", want.Get(i), " ", what);
        CHECK_MESSAGE(wrong == 0, wrong, " elements are wrong");
        CHECK_MESSAGE(PaddingUntouched(got), isa, " wrote between the elements ", what);
        if (workers == 1)
          first[s] = got;
        else
          CHECK_MESSAGE(BitwiseEqual(first[s], got), isa, " threads differ ", what);
      }
    }
  }
}

// Real threads, 1 2 3 8: the same bits.
inline void ExpectSameBitsForThreads(const OpCase& c, const std::vector<std::string>& isas = Isas()) {
  for (const std::string& isa : isas) {
    std::vector<OwnedTensor> first;
    for (const uint32_t workers : {1u, 2u, 3u, 8u}) {
      TestHost host(workers);
      Instance cpu(Cpu(), host, isa.c_str());
      OpCase mine = c;
      const RunResult result = RunCase(cpu, mine);
      REQUIRE_MESSAGE(result.status == SAGE_OK, isa, " ", result.message);
      if (workers == 1) {
        first = mine.slots;
        continue;
      }
      CHECK_MESSAGE(host.parallel_calls() > 0, "the case is too small to reach the pool: ", Describe(c));
      for (size_t s = 0; s < c.slots.size(); ++s)
        if (c.slots[s].present()) CHECK_MESSAGE(BitwiseEqual(first[s], mine.slots[s]), isa, " ", workers, " threads");
    }
  }
}

// A NO with a reason that names what is wrong.
inline void ExpectRefused(OpCase& c, const std::string& part) {
  TestHost host;
  Instance cpu(Cpu(), host);
  const RunResult result = RunCase(cpu, c);
  CHECK(result.status == SAGE_E_UNSUPPORTED);
  CHECK_MESSAGE(result.message.find(part) != std::string::npos, result.message);
}

// A run that fails with a sentence.
inline void ExpectRunError(OpCase& c, const std::string& part) {
  for (const std::string& isa : Isas()) {
    TestHost host(2, Threads::kSimulated);
    Instance cpu(Cpu(), host, isa.c_str());
    const RunResult result = RunCase(cpu, c);
    CHECK(result.status == SAGE_E_INVALID_ARGUMENT);
    CHECK_MESSAGE(result.message.find(part) != std::string::npos, result.message);
  }
}

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CPU_OPS_HARNESS_H_
