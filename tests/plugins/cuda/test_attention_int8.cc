// test_attention_int8.cc: attention whose Q K^T is in 8 bits, its kernels' own text, against the float64 oracle: how far
// it is from exact on distributions that trouble 8 bits, and mixtures of everything that it takes.
#include <doctest/doctest.h>

#include <cstdio>
#include <vector>

#include "../cpu/attention_testing.h"
#include "../int8/distributions.h"
#include "attention_emulated.h"
#include "attention_mixtures.h"
#include "int8_emulated.h"
#include "support/distance.h"

namespace sage::test {
namespace {

// The kernels over the case's own memory. Of finite operands no row is made again: it would hide what is looked for.
std::string Run(AttentionCase& attention, Int8Run run) {
  run.repair = false;
  for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V})
    for (const double value : attention[slot].Values()) run.repair |= !std::isfinite(value);
  const cuda::AttentionArguments a = ArgumentsOf(attention);
  // Full of NaN, and not a byte more than was asked for.
  std::vector<unsigned char> workspace(cuda::Int8WorkspaceBytes(a), 0xff);
  return LaunchEmulatedInt8(a, workspace.data(), run);
}

AttentionCase Exact(const AttentionCase& from) {
  static Oracle oracle;
  std::string failure;
  AttentionCase want = Expected(from, oracle.instance, &failure);
  REQUIRE(failure == "");
  return want;
}

// Of finite numbers alone: where either is NaN or infinite, both have to be the same.
struct Off {
  Distance o;
  double lse = 0;  // the largest of a row
  bool same_infinities = true;
};
Off OffBy(const AttentionCase& got, const AttentionCase& want) {
  Off off;
  off.o = DistanceOf(got.O(), want.O());
  for (uint64_t i = 0; got[SAGE_ATTN_LSE].present() && i < got[SAGE_ATTN_LSE].size(); ++i) {
    const double x = got[SAGE_ATTN_LSE].Get(i), y = want[SAGE_ATTN_LSE].Get(i);
    if (x == y) continue;
    off.same_infinities &= std::isfinite(x) && std::isfinite(y);
    off.lse = std::max(off.lse, std::fabs(x - y));
  }
  return off;
}

TEST_CASE("stats") {
  for (sage_dtype dtype : {SAGE_BF16, SAGE_F16})
    for (uint64_t seed = 1; seed < 151; ++seed) {
      AttentionCase attention = AttentionMixture(seed).Draw(dtype, seed % 4 == 0 ? 256 : 128, false);
      const AttentionCase want = Exact(attention);
      const std::string text = Run(attention, {.seed = seed});
      const Off off = OffBy(attention, want);
      std::printf("%3d cos %.6f l1 %.4f lse %.4f %d scale %g softcap %g %s\n", (int)seed, off.o.cosine,
                  off.o.relative_l1, off.lse, off.same_infinities, attention.attributes.scale,
                  attention.attributes.softcap, text.c_str());
    }
}

}  // namespace
}  // namespace sage::test
