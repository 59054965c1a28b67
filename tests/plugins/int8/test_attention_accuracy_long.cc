// test_attention_accuracy_long.cc: the bars of test_attention_accuracy.cc over long rows.
#include <doctest/doctest.h>

#include "accuracy_bars.h"

namespace sage::test {

TEST_CASE("R5 modes qk8_pv16 and full meet their bars on five distributions of 4096 keys") {
  MeetsBars("qk8_pv16", kQk8Pv16, {4096});
  MeetsBars("full", kFull, {4096});
}

}  // namespace sage::test
