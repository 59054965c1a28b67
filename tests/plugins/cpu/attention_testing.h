// attention_testing.h: the cpu backend under every instruction set that this machine has, and the float64 oracle beside
// it.
#ifndef SAGE_TESTS_PLUGINS_CPU_ATTENTION_TESTING_H_
#define SAGE_TESTS_PLUGINS_CPU_ATTENTION_TESTING_H_

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "cpu_features.h"
#include "support/attention_case.h"

extern "C" const sage_plugin* cpu_plugin_query(uint32_t host_major, uint32_t host_minor);
extern "C" const sage_plugin* reference_plugin_query(uint32_t host_major, uint32_t host_minor);

namespace sage::test {

// The machine's instruction sets, scalar first. One that is missing is not tested: cpu_features says so in a case of
// its own. SAGE_TEST_ISA: only that one, in a program that others test too.
inline std::vector<std::string> Isas() {
  std::vector<std::string> names;
#ifdef SAGE_TEST_ISA
  const std::string only = SAGE_TEST_ISA;
#else
  const std::string only;
#endif
  for (const cpu::Isa isa : {cpu::Isa::kScalar, cpu::Isa::kAvx2, cpu::Isa::kAvx512, cpu::Isa::kAvx512Bf16,
                             cpu::Isa::kAmx, cpu::Isa::kNeon}) {
    if (!cpu::Runs(isa, cpu::DetectCpu().best) || (!only.empty() && only != cpu::IsaName(isa))) continue;
    names.push_back(cpu::IsaName(isa));
  }
  return names;
}

struct CpuBackend {
  explicit CpuBackend(const std::string& isa = "auto", uint32_t workers = 1, Threads threads = Threads::kSimulated)
      : host(workers, threads),
        instance(cpu_plugin_query(SAGE_ABI_MAJOR, SAGE_ABI_MINOR), host, ("isa=" + isa).c_str()) {}
  TestHost host;
  Instance instance;
};

struct Oracle {
  Oracle() : host(1, Threads::kSimulated), instance(reference_plugin_query(SAGE_ABI_MAJOR, SAGE_ABI_MINOR), host) {}
  TestHost host;
  Instance instance;
};

// What went wrong, empty if nothing did.
inline std::string Failure(const RunResult& result) {
  return result.status == SAGE_OK ? "" : result.message.empty() ? "failed without a message" : result.message;
}

inline std::string RunOn(CpuBackend& cpu, AttentionCase& attention) { return Failure(attention.Run(cpu.instance)); }

// Output values of two calls, element by element in shape order, equal as bits.
inline bool SameBits(const OwnedTensor& a, const OwnedTensor& b) {
  if (a.size() != b.size()) return false;
  for (uint64_t i = 0; i < a.size(); ++i) {
    const double x = a.Get(i), y = b.Get(i);
    if (std::isnan(x) && std::isnan(y)) continue;
    if (x != y || std::signbit(x) != std::signbit(y)) return false;
  }
  return true;
}

// Rows [begin, begin + count) of an axis as a tensor of its own.
inline OwnedTensor Part(const OwnedTensor& from, uint32_t axis, int64_t begin, int64_t count) {
  std::vector<int64_t> shape;
  for (uint32_t i = 0; i < from.rank(); ++i) shape.push_back(from.dim(i));
  shape[axis] = count;
  OwnedTensor to(from.dtype(), shape);
  std::vector<int64_t> index(shape.size());
  for (uint64_t linear = 0; linear < to.size(); ++linear) {
    uint64_t rest = linear;
    for (size_t i = shape.size(); i-- > 0;) {
      index[i] = static_cast<int64_t>(rest % static_cast<uint64_t>(shape[i]));
      rest /= static_cast<uint64_t>(shape[i]);
    }
    index[axis] += begin;
    to.Put(linear, from.At(index));
  }
  return to;
}

// The same question in f64: every float tensor's values, contiguous.
inline AttentionCase AsDouble(const AttentionCase& from) {
  AttentionCase to = from;
  for (OwnedTensor& tensor : to.slots) {
    if (!tensor.present() || !support::IsFloat(tensor.dtype())) continue;
    std::vector<int64_t> shape;
    for (uint32_t axis = 0; axis < tensor.rank(); ++axis) shape.push_back(tensor.dim(axis));
    tensor = OwnedTensor(SAGE_F64, shape).FillValues(tensor.Values());
  }
  to.attributes.algorithm = SAGE_ALGORITHM_AUTO;
  to.attributes.block_q = to.attributes.block_kv = 0;
  return to;
}

inline double LargestMagnitude(const OwnedTensor& tensor) {
  double largest = 0;
  for (const double value : tensor.Values())
    if (std::isfinite(value)) largest = std::max(largest, std::fabs(value));
  return largest;
}

// Half a unit in the last place of 1, what one rounding may do.
inline double HalfUlp(sage_dtype dtype) {
  return dtype == SAGE_F64 ? 0x1p-53 : dtype == SAGE_F32 ? 0x1p-24 : dtype == SAGE_F16 ? 0x1p-11 : 0x1p-8;
}

// The largest of |got - want| - rounding of want, as a multiple of unit; NaN and Inf must be where they are expected.
inline double ErrorIn(const OwnedTensor& got, const OwnedTensor& want, double unit) {
  double largest = 0;
  for (uint64_t i = 0, n = got.size(); i < n; ++i) {
    const double x = got.Get(i), y = want.Get(i);
    if (x == y || (std::isnan(x) && std::isnan(y))) continue;
    const double error =
        (std::fabs(x - y) - HalfUlp(got.dtype()) * std::fabs(y) - 1e-7 * (got.dtype() == SAGE_F16)) / unit;
    if (!(error <= largest)) largest = std::isnan(error) ? HUGE_VAL : error;
  }
  return largest;
}

// The same call in f64 by the oracle; *failure gets what went wrong.
inline AttentionCase Expected(const AttentionCase& from, Instance& oracle, std::string* failure) {
  AttentionCase want = AsDouble(from);
  *failure = Failure(want.Run(oracle));
  return want;
}

// What rounding the weights to a tensor's own 16-bit type may do, as a multiple of the largest |V|.
constexpr double kNativeGate = 0x1p-9;

// Runs got and compares; empty if all outputs agree with want. gate: of O, as a multiple of the largest |V|.
inline std::string DisagreementWith(const AttentionCase& want, AttentionCase& got, Instance& cpu, double gate = 0) {
  const RunResult result = got.Run(cpu);
  if (result.status != SAGE_OK) return "cpu: " + Failure(result);
  const bool wide = got.Q().dtype() == SAGE_F64;
  if (gate == 0) gate = wide ? 1e-12 : 5e-6;
  const double gate_o = result.answer.accuracy == SAGE_ACCURACY_NATIVE ? std::max(gate, kNativeGate) : gate;
  std::string text;
  const auto check = [&](uint32_t slot, double unit, const char* name) {
    if (!got[slot].present()) return;
    const double error = ErrorIn(got[slot], want[slot], unit);
    if (!(error <= 1)) text += std::string(name) + " is off by " + std::to_string(error) + " gates; ";
  };
  check(SAGE_ATTN_O, gate_o * std::max(1.0, LargestMagnitude(want[SAGE_ATTN_V])), "O");
  check(SAGE_ATTN_LSE, gate * std::max(4.0, LargestMagnitude(want[SAGE_ATTN_LSE])), "LSE");
  check(SAGE_ATTN_WEIGHTS, gate, "WEIGHTS");
  if (got[SAGE_ATTN_SCORES].present())
    check(SAGE_ATTN_SCORES, gate * std::max(4.0, LargestMagnitude(want[SAGE_ATTN_SCORES])), "SCORES");
  check(SAGE_ATTN_K, 1e-300, "K after the append");
  check(SAGE_ATTN_V, 1e-300, "V after the append");
  return text.empty() ? text : text + result.answer.reason;
}

inline std::string Disagreement(AttentionCase& got, Instance& cpu, Instance& oracle, double gate = 0) {
  std::string failure;
  const AttentionCase want = Expected(got, oracle, &failure);
  return failure.empty() ? DisagreementWith(want, got, cpu, gate) : "oracle: " + failure;
}

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CPU_ATTENTION_TESTING_H_
