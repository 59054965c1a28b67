// lossy_gates.h: how far attention of class LOSSY may be from the float64 oracle. The whole output is judged, not each
// element: 8 bits are off by a little everywhere, and what is wrong is off by much.
#ifndef SAGE_TESTS_PLUGINS_CUDA_LOSSY_GATES_H_
#define SAGE_TESTS_PLUGINS_CUDA_LOSSY_GATES_H_

#include <string>
#include <vector>

#include "../cpu/attention_testing.h"
#include "support/distance.h"

namespace sage::test {

struct LossyOff {
  Distance o;
  double lse = 0;    // the largest of a row, in gates: a tenth, and a hundredth of the largest LSE
  bool same = true;  // NaN and infinities are where they are expected
};

inline LossyOff LossyOffBy(const AttentionCase& got, const AttentionCase& want) {
  LossyOff off;
  // Pairs of numbers that are both finite; the rest has to be alike.
  const auto finite = [&](uint32_t slot, std::vector<double>* x, std::vector<double>* y) {
    for (uint64_t i = 0; got[slot].present() && i < got[slot].size(); ++i) {
      const double a = got[slot].Get(i), b = want[slot].Get(i);
      if (std::isfinite(a) && std::isfinite(b))
        x->push_back(a), y->push_back(b);
      else
        off.same &= a == b || (std::isnan(a) && std::isnan(b));
    }
    return static_cast<int64_t>(x->size());
  };
  std::vector<double> x, y;
  if (const int64_t count = finite(SAGE_ATTN_O, &x, &y); count > 0)
    off.o = DistanceOf(OwnedTensor(SAGE_F64, {count}).FillValues(x), OwnedTensor(SAGE_F64, {count}).FillValues(y));
  x.clear(), y.clear();
  const double gate = 0.1 + 0.01 * LargestMagnitude(want[SAGE_ATTN_LSE]);
  for (int64_t i = 0, count = finite(SAGE_ATTN_LSE, &x, &y); i < count; ++i)
    off.lse = std::max(off.lse, std::fabs(x[static_cast<size_t>(i)] - y[static_cast<size_t>(i)]) / gate);
  return off;
}

// Empty, or what is beyond.
inline std::string LossyDisagreement(const AttentionCase& got, const AttentionCase& want) {
  const LossyOff off = LossyOffBy(got, want);
  std::string text;
  if (!off.same) text += "NaN or infinity where there is none, or none where there is; ";
  if (!(off.o.cosine >= 0.999)) text += "O has cosine " + std::to_string(off.o.cosine) + "; ";
  if (!(off.o.relative_l1 < 0.05)) text += "O has relative L1 " + std::to_string(off.o.relative_l1) + "; ";
  if (!(off.lse < 1)) text += "LSE is off by " + std::to_string(off.lse) + " gates; ";
  return text;
}

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CUDA_LOSSY_GATES_H_
