// gemm_harness.h: LINEAR and MATMUL on every instruction set that has matrix kernels of its own, within a bound that
// follows from how they sum.
#ifndef SAGE_TESTS_PLUGINS_CPU_GEMM_HARNESS_H_
#define SAGE_TESTS_PLUGINS_CPU_GEMM_HARNESS_H_

#include "ops_harness.h"

namespace sage::test {

// Those of Isas(), and where the machine has them the ones that only these kinds and attention know. SAGE_TEST_ISA:
// only that one, in a program that others test too.
inline const std::vector<std::string>& GemmIsas() {
  static const std::vector<std::string> isas = [] {
#ifdef SAGE_TEST_ISA
    std::vector<std::string> found;
    const std::vector<std::string> others = {"isa=" SAGE_TEST_ISA};
#else
    std::vector<std::string> found = Isas();
    const std::vector<std::string> others = {"isa=avx512bf16", "isa=amx"};
#endif
    for (const std::string& isa : others) {
      TestHost host;
      const Instance instance(Cpu(), host, isa.c_str());
      if (instance.status() == SAGE_OK)
        found.push_back(isa);
      else
        MESSAGE("skipped: ", isa, ": ", instance.message());
    }
    return found;
  }();
  return isas;
}

// What the sums of a case may be off by, element by element: of k products in blocks of 128, u times the sum of their
// magnitudes, times the chain. Slots before the output are operands.
class GemmBound {
 public:
  GemmBound(const OpCase& c, size_t output, int64_t k) : output_(output), k_(static_cast<double>(k)), exact_(Exact(c)) {
    OpCase magnitudes = c;
    for (size_t slot = 0; slot < output; ++slot) {
      OwnedTensor& tensor = magnitudes.slots[slot];
      if (!tensor.present()) continue;
      tensor = Widened(tensor);
      tensor.FillBy([&](uint64_t i) { return std::fabs(tensor.Get(i)); });
    }
    magnitudes.slots[output] = Widened(c.slots[output]);
    magnitudes.attributes = [](TestOp&) {};
    sums_ = Exact(magnitudes).slots[output];
    for (const OwnedTensor& tensor : c.slots)
      is_double_ = is_double_ || (tensor.present() && tensor.dtype() == SAGE_F64);
  }

  // Fails the test at the first element outside.
  void Expect(const OwnedTensor& got, const std::string& what) const {
    const double unit = (is_double_ ? 0x1p-53 : 0x1p-24) * (std::min(k_, 128.0) + k_ / 128.0 + 4.0);
    for (uint64_t i = 0; i < got.size(); ++i) {
      const double want = exact_.slots[output_].Get(i);
      if (std::isnan(want) ? std::isnan(got.Get(i)) : got.Get(i) == want) continue;
      if (std::fabs(want) > Largest(SAGE_F32) && !is_double_ && got.Get(i) == std::copysign(HUGE_VAL, want)) continue;
      const double allowed =
          1.2 * unit * sums_.Get(i) + HalfUnit(got.dtype()) * std::fabs(want) * 1.01 + Smallest(got.dtype());
      if (!(std::fabs(got.Get(i) - want) <= allowed)) {
        FAIL_CHECK("element ", i, ": got ", got.Get(i), ", exact ", want, ", allowed ", allowed, " ", what);
        return;
      }
    }
  }

 private:
  size_t output_;
  double k_;
  OpCase exact_;
  OwnedTensor sums_;
  bool is_double_ = false;
};

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CPU_GEMM_HARNESS_H_
