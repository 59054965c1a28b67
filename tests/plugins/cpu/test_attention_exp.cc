// test_attention_exp.cc: the exponential of every instruction set against e^x, and against one another's bits where
// they share arithmetic.
#include <doctest/doctest.h>

#include "exp_error.h"

namespace sage::test {

TEST_CASE("N11 e^x of every instruction set: a sample of all floats from 0 to -104") {
  const std::vector<NamedKernels> tables = ExpTables();
  const std::vector<double> worst = ExpErrors(tables, 1009);
  for (size_t t = 0; t < tables.size(); ++t) {
    CAPTURE(tables[t].isa);
    CHECK(worst[t] <= 1);
    CHECK(worst[t] > 0.05);  // nobody's series is that good: the comparison would not be one
  }
}

TEST_CASE("e^x of what is not a number, of nothing visible, of zero") {
  for (const NamedKernels& table : ExpTables()) {
    CAPTURE(table.isa);
    std::vector<float> s(16, -HUGE_VALF);
    s[1] = 0, s[2] = NAN, s[3] = -0.0f, s[4] = -1e30f, s[5] = -200;
    table.kernels->exponentiate(0.0f, 0, 16, s.data());
    CHECK(s[0] == 0);
    CHECK(std::signbit(s[0]));  // hidden, not merely small
    CHECK(s[1] == 1);
    CHECK(std::isnan(s[2]));
    CHECK(s[3] == 1);
    CHECK(s[4] == 0);
    CHECK(!std::signbit(s[4]));
    CHECK(s[5] == 0);
  }
}

}  // namespace sage::test
