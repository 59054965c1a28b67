// test_plans_slow.cc: the whole product of what test_plans.cc draws from, a device a case, and the workspace of plans
// beside what their engines declare.
#include <doctest/doctest.h>

#include "plan_calls.h"

namespace sage::cudnn {
namespace {

// Every pair of features over every head dimension and number of queries.
void CheckPairs(const char* name) {
  std::string why;
  const Library* const library = LibraryWithoutDevice(&why);
  if (library == nullptr) {
    MESSAGE("left out: ", why);
    return;
  }
  DescribedDevice device;
  REQUIRE_MESSAGE(DescribedDevice::Make(*library, name, &device, &why), why);
  const auto& features = test::Features();
  uint64_t asked = 0, described = 0;
  for (size_t one = 0; one < features.size(); ++one)
    for (size_t other = one + 1; other < features.size(); ++other)
      for (const test::Extent& dims : test::kDims)
        for (const test::Extent& sequence : test::kSequences) {
          const auto outcome =
              test::AskFor(*library, device, test::CallOf(features[one], features[other], dims, sequence));
          ++asked, described += outcome.described;
          CHECK_MESSAGE((!outcome.described || outcome.has_engine), outcome.text, ": ", outcome.reason);
        }
  MESSAGE(std::string(name), ": ", described, " of ", asked, " are let through");
  CHECK(described > asked / 2);
}

// Plans of calls drawn by seed: built, and none needs more than was declared.
void CheckWorkspaces(const char* name, uint64_t seed, int count) {
  std::string why;
  const Library* const library = LibraryWithoutDevice(&why);
  if (library == nullptr) {
    MESSAGE("left out: ", why);
    return;
  }
  DescribedDevice device;
  REQUIRE_MESSAGE(DescribedDevice::Make(*library, name, &device, &why), why);
  const auto& features = test::Features();
  std::mt19937_64 random(seed);
  for (int built = 0; built < count;) {
    const size_t one = random() % features.size(), other = random() % features.size();
    const test::AttentionCall call =
        test::CallOf(features[one], features[other], test::kDims[random() % 5], test::kSequences[random() % 3]);
    cuda::AttentionArguments arguments;
    uint64_t bits = 0;
    Sdpa sdpa;
    if (!test::Read(test::Laid(call), &arguments, &bits).empty()) continue;
    if (!DescribeSdpa(arguments, bits, device.installed(), &sdpa, &why)) continue;
    ++built;
    CAPTURE(TextOf(sdpa));
    const int64_t declared = Engines::Find(*library, device.target(), sdpa).workspace_bytes();
    Failure failure;
    const auto plan = Plan::Build(*library, device.target(), sdpa, &failure);
    CHECK_MESSAGE(plan != nullptr, failure.text);
    if (plan != nullptr) CHECK(plan->workspace_bytes() <= declared);
  }
}

}  // namespace

TEST_CASE("P5 cudnn plans: all pairs on sm_80") { CheckPairs("a100"); }
TEST_CASE("P5 cudnn plans: all pairs on sm_87") { CheckPairs("orin"); }
TEST_CASE("P5 cudnn plans: all pairs on sm_89") { CheckPairs("rtx4090"); }
TEST_CASE("P5 cudnn plans: all pairs on sm_90") { CheckPairs("h200"); }
TEST_CASE("P5 cudnn plans: all pairs on sm_100") { CheckPairs("b200"); }
TEST_CASE("P5 cudnn plans: all pairs on sm_110") { CheckPairs("thor"); }
TEST_CASE("P5 cudnn plans: all pairs on sm_120") { CheckPairs("rtx5090"); }
TEST_CASE("P5 cudnn plans: all pairs on sm_121") { CheckPairs("gb10"); }

TEST_CASE("P7 cudnn plans: workspaces on Ampere and Ada are as declared") {
  CheckWorkspaces("a100", 1, 7), CheckWorkspaces("rtx4090", 2, 7);
}
TEST_CASE("P7 cudnn plans: workspaces on Hopper are as declared") { CheckWorkspaces("h200", 3, 14); }
TEST_CASE("P7 cudnn plans: workspaces on Blackwell are as declared") {
  CheckWorkspaces("b200", 4, 7), CheckWorkspaces("rtx5090", 5, 7);
}

}  // namespace sage::cudnn
