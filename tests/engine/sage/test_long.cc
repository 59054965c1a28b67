// A day at 10 Hz, 8e5 ticks, through the metabolic and the fusion graph: not one allocation, the memory of the process
// does not grow, the history keeps its bound.
#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "engine/sage/program_fixture.h"
#include "support/heap_count.h"

namespace {

using namespace sage;
using namespace sage::testing;

int64_t ResidentBytes() {
  std::ifstream file("/proc/self/statm");
  int64_t total = 0, resident = 0;
  file >> total >> resident;
  return resident * sysconf(_SC_PAGESIZE);
}

TEST_CASE("G13 8e5 ticks without growth") {
  auto metabolic = Make(SmallMetabolic(1)), fusion = Make(SmallFusion(1));
  char tick[256];
  uint64_t allocations = 0;
  int64_t resident = 0;
  bool good = true;
  constexpr int kTicks = 400000, kWarm = 20000;
  for (int i = 0; i < kTicks; ++i) {
    if (i == kWarm) resident = ResidentBytes(), allocations = sage::test::HeapAllocations();
    int length = std::snprintf(tick, sizeof tick,
                               R"({"ts":%d.1,"targets":[{"id":"a","salience":0.%02d},{"id":"b","salience":0.%d}]})",
                               1000000 + i, i * 7 % 100, i % 10);
    good = metabolic->Tick({tick, static_cast<size_t>(length)}).ok() && good;
    length = std::snprintf(tick, sizeof tick,
                           R"({"ts":%d.1,"sensors":[{"id":"a","salience":0.%02d,"window":[[1,2,3,4,5,6,7,%d]]}]})",
                           1000000 + i, i * 7 % 100, i % 10);
    good = fusion->Tick({tick, static_cast<size_t>(length)}).ok() && good;
  }
  allocations = sage::test::HeapAllocations() - allocations;
  CHECK(good);
  CHECK(allocations == 0);
  CHECK(ResidentBytes() - resident < 1 << 20);
  std::string snapshot;
  REQUIRE(metabolic->Snapshot(&snapshot).ok());
  CHECK(Num(snapshot, "line") == kTicks);
  CHECK(Has(snapshot, "state.history.1023"));
  CHECK_FALSE(Has(snapshot, "state.history.1024"));
}

}  // namespace
