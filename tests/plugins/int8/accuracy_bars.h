// accuracy_bars.h: how far each mode may be from exact attention, over five distributions.
#ifndef SAGE_TESTS_PLUGINS_INT8_ACCURACY_BARS_H_
#define SAGE_TESTS_PLUGINS_INT8_ACCURACY_BARS_H_

#include <doctest/doctest.h>

#include "distributions.h"
#include "int8_testing.h"

namespace sage::test {
struct Bars {
  double cosine, relative_l1, relative_l1_at_32;
};

inline void MeetsBars(const char* mode, const Bars& bars, const std::vector<int64_t>& lengths) {
  Oracle oracle;
  // One instruction set: all give the same bits, but for V in bf16 or f32, which other tests hold to the same.
  Int8Backend backend("auto", mode);
  for (const Distribution which : {Distribution::kIid, Distribution::kKeyBias, Distribution::kSink,
                                   Distribution::kValueSpread, Distribution::kAll})
    for (const int64_t d : {32, 64, 128})
      for (const int64_t length : lengths) {
        AttentionCase got = DrawDistribution(which, 128, length, d, 1000 + static_cast<uint64_t>(length + d));
        std::string failure;
        const AttentionCase want = Expected(got, oracle.instance, &failure);
        REQUIRE(failure == "");
        REQUIRE(Failure(got.Run(backend.instance)) == "");
        const Distance distance = DistanceOf(got.O(), want.O());
        CAPTURE(kDistributionNames[static_cast<int>(which)]);
        CAPTURE(d);
        CAPTURE(length);
        CHECK(distance.cosine >= bars.cosine);
        CHECK(distance.relative_l1 <= (d == 32 ? bars.relative_l1_at_32 : bars.relative_l1));
      }
}

constexpr Bars kQk8Pv16{0.9999, 0.012, 0.012}, kFull{0.9998, 0.02, 0.025};

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_INT8_ACCURACY_BARS_H_
