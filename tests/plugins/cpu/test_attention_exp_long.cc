// test_attention_exp_long.cc: every float there is.
#include <doctest/doctest.h>

#include "exp_error.h"

namespace sage::test {

TEST_CASE("N11 e^x of every instruction set: all 1.1e9 floats from 0 to -104") {
  const std::vector<NamedKernels> tables = ExpTables();
  const std::vector<double> worst = ExpErrors(tables, 1);
  for (size_t t = 0; t < tables.size(); ++t) {
    CAPTURE(tables[t].isa);
    CHECK(worst[t] <= 1);
    MESSAGE(tables[t].isa, ": ", worst[t], " of what rounding allows");
  }
}

}  // namespace sage::test
