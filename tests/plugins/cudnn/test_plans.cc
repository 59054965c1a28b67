// test_plans.cc: what the cuDNN that is installed says to our graphs, for devices that are only described: engines for
// whatever support.cc lets through, plans, their texts, and plans kept from one process to the next.
//
// Skipped, with the reason in a message, where cuDNN or what it needs is not installed.
#include <doctest/doctest.h>

#include <cctype>
#include <filesystem>
#include <fstream>
#include <memory>
#include <set>

#include "plan_cache.h"
#include "plan_calls.h"
#include "support/temporary_folder.h"

namespace sage::cudnn {
namespace {

using test::AttentionCall;

// A case's library, or null after saying why there is nothing to test.
const Library* Installed9() {
  std::string why;
  const Library* const library = LibraryWithoutDevice(&why);
  if (library == nullptr) MESSAGE("left out: ", why);
  return library;
}

DescribedDevice Device(const Library& library, const std::string& name) {
  DescribedDevice device;
  std::string why;
  REQUIRE_MESSAGE(DescribedDevice::Make(library, name, &device, &why), why);
  return device;
}

Sdpa Described(const DescribedDevice& device, const AttentionCall& call) {
  cuda::AttentionArguments arguments;
  cuda::AttentionExtras extras;
  uint64_t features = 0;
  REQUIRE(test::Read(test::Laid(call), &arguments, &features, &extras) == "");
  Sdpa sdpa;
  std::string why;
  REQUIRE_MESSAGE(DescribeSdpa(arguments, features, device.installed(), &sdpa, &why, extras), why);
  return sdpa;
}

}  // namespace

TEST_CASE("P5 cudnn plans: each feature alone has an engine on every device") {
  const Library* const library = Installed9();
  if (library == nullptr) return;
  std::mt19937_64 random(20260119);
  for (const std::string& name : DescribedDeviceNames()) {
    const DescribedDevice device = Device(*library, name);
    uint64_t described = 0;
    for (const test::Feature& feature : test::Features())
      for (const test::Extent& sequence : test::kSequences)
        for (const uint64_t first = random() % 5; const uint64_t dims : {first, (first + 2) % 5}) {
          const auto outcome =
              test::AskFor(*library, device, test::CallOf(feature, test::Features()[0], test::kDims[dims], sequence));
          described += outcome.described;
          CAPTURE(std::string(feature.name));
          CHECK_MESSAGE((!outcome.described || outcome.has_engine), outcome.text, ": ", outcome.reason);
        }
    CHECK(described > 80);  // of 132
  }
}

TEST_CASE("P5 cudnn plans: pairs of features have an engine wherever they are let through") {
  const Library* const library = Installed9();
  if (library == nullptr) return;
  std::mt19937_64 random(17);
  const auto& features = test::Features();
  for (const std::string& name : DescribedDeviceNames()) {
    const DescribedDevice device = Device(*library, name);
    uint64_t described = 0;
    for (int n = 0; n < 60; ++n) {
      const size_t one = random() % features.size(), other = random() % features.size();
      const AttentionCall call =
          test::CallOf(features[one], features[other], test::kDims[random() % 5], test::kSequences[random() % 3]);
      const auto outcome = test::AskFor(*library, device, call);
      described += outcome.described;
      CHECK_MESSAGE((!outcome.described || outcome.has_engine), outcome.text, ": ", outcome.reason);
    }
    CHECK(described > 20);
  }
}

TEST_CASE("P5 S15 cudnn plans: fp8 and dropout with each feature have an engine wherever they are let through") {
  const Library* const library = Installed9();
  if (library == nullptr) return;
  std::mt19937_64 random(29);
  for (const std::string& name : DescribedDeviceNames()) {
    const DescribedDevice device = Device(*library, name);
    uint64_t fp8 = 0, dropout = 0;
    for (const test::Feature& feature : test::Features())
      for (const bool drops : {false, true}) {
        AttentionCall call =
            test::CallOf(feature, test::Features()[0], test::kDims[random() % 5], test::kSequences[1 + random() % 2]);
        call.dropout = drops;
        if (!drops) call.dtype = random() % 2 == 0 ? SAGE_F8_E4M3FN : SAGE_F8_E5M2;
        const auto outcome = test::AskFor(*library, device, call);
        // 9.19 has no engine of fp8 for sm_121, which is its own word and no rule of ours.
        if (outcome.described && !drops && device.installed().sm == 121) continue;
        (drops ? dropout : fp8) += outcome.described;
        CAPTURE(std::string(feature.name));
        CHECK_MESSAGE((!outcome.described || outcome.has_engine), outcome.text, ": ", outcome.reason);
      }
    CHECK(dropout > 10);  // of 22
    const int sm = device.installed().sm;
    if (sm >= 90 && sm != 121) CHECK(fp8 > 4);
    if (sm < 90) CHECK(fp8 == 0);
  }
}

TEST_CASE("P5 cudnn plans: the unified op has an engine where lengths and pages are its only masks") {
  const Library* const library = Installed9();
  if (library == nullptr) return;
  for (const std::string& name : DescribedDeviceNames()) {
    const DescribedDevice device = Device(*library, name);
    for (const int64_t page : {0, 16, 64})
      for (const bool lengths : {false, true})
        for (const test::Extent& sequence : test::kSequences) {
          AttentionCall call;
          call.seq_q = sequence.first, call.seq_kv = sequence.second, call.page = page, call.lengths = lengths;
          Sdpa sdpa = Described(device, call);
          sdpa.unified = true;
          const Engines engines = Engines::Find(*library, device.target(), sdpa);
          CHECK_MESSAGE(engines.failure().ok(), name, ": ", TextOf(sdpa), ": ", engines.failure().text);
        }
  }
}

TEST_CASE("P7 cudnn plans: a plan within the workspace declared is built and read back from its text") {
  const Library* const library = Installed9();
  if (library == nullptr) return;
  const DescribedDevice hopper = Device(*library, "h200"), ampere = Device(*library, "a100");
  AttentionCall causal, decode, pages, fp8, dropout;
  causal.causal = causal.lse = true;
  decode.seq_q = 1, decode.seq_kv = 4096;
  pages.page = 16, pages.softcap = true;
  fp8.dtype = SAGE_F8_E4M3FN, fp8.lse = fp8.lengths = true;
  dropout.dropout = dropout.causal = true, dropout.seq_kv = 1003;
  for (const AttentionCall& call : {causal, decode, pages, fp8, dropout}) {
    const Sdpa sdpa = Described(hopper, call);
    CAPTURE(TextOf(sdpa));
    Failure failure;
    const auto built = Plan::Build(*library, hopper.target(), sdpa, &failure);
    REQUIRE_MESSAGE(built != nullptr, failure.text);
    CHECK(built->engine() >= 0);
    // The engine that cuDNN prefers splits the keys and keeps parts; one that needs less than declared is slower.
    if (sdpa.seq_q == 1) CHECK(built->workspace_bytes() > 0);
    CHECK(built->workspace_bytes() <= Engines::Find(*library, hopper.target(), sdpa).workspace_bytes());
    const std::string text = built->Text(&failure);
    REQUIRE_MESSAGE(failure.ok(), failure.text);
    CHECK(text.size() > 1000);
    const auto read = Plan::FromText(*library, hopper.target(), text, &failure);
    REQUIRE_MESSAGE(read != nullptr, failure.text);
    CHECK(read->workspace_bytes() == built->workspace_bytes());
    CHECK(read->Text(&failure) == text);  // engine, kernel and all
    // Another device's plan is refused in words, not believed.
    CHECK(Plan::FromText(*library, ampere.target(), text, &failure) == nullptr);
    CHECK((failure.outcome() == Outcome::kUnsupported));
    CHECK(!failure.text.empty());
  }
}

TEST_CASE("P7 cudnn plans: a folder of plans is filled once and then read and damage is told") {
  const Library* const library = Installed9();
  if (library == nullptr) return;
  const DescribedDevice device = Device(*library, "h200");
  const test::Folder folder;
  const Sdpa sdpa = Described(device, {});
  const PlanCache::Settings settings{.folder = folder.path, .machine = "a machine of this test"};
  Failure failure;
  int64_t workspace = 0;
  const auto ask = [&](PlanCache& cache) {
    REQUIRE_MESSAGE(cache.Check(sdpa, &workspace, &failure), failure.text);
    const auto plan = cache.Get(sdpa, &failure);
    REQUIRE_MESSAGE(plan != nullptr, failure.text);
    CHECK(plan->workspace_bytes() <= workspace);
    CHECK(cache.Get(sdpa, &failure) == plan);
  };
  PlanCache first(*library, device.target(), settings);
  ask(first);
  CHECK(first.counters().built == 1);
  CHECK(first.counters().read == 0);
  CHECK(first.TakeNote() == "");
  PlanCache second(*library, device.target(), settings);
  ask(second);
  CHECK(second.counters().built == 0);
  CHECK(second.counters().read == 1);
  CHECK(second.TakeNote() == "");
  // Another driver's is not looked at, nor overwritten.
  PlanCache other(*library, device.target(), PlanCache::Settings{.folder = folder.path, .machine = "another machine"});
  ask(other);
  CHECK(other.counters().built == 1);

  std::set<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path))
    if (entry.path().extension() == ".plan") files.insert(entry.path());
  REQUIRE(files.size() == 2);
  for (const auto& file : files) {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(-200, std::ios::end);
    const auto at = stream.tellg();
    const auto was = static_cast<char>(stream.get());
    stream.seekp(at);
    stream.put(std::isdigit(static_cast<unsigned char>(was)) != 0 ? 'x' : '7');
  }
  PlanCache third(*library, device.target(), settings);
  ask(third);
  CHECK(third.counters().built == 1);
  CHECK(third.counters().read == 0);
  const std::string note = third.TakeNote();
  CHECK_MESSAGE(note.find("is ignored: it is damaged") != std::string::npos, note);
  PlanCache fourth(*library, device.target(), settings);  // the damaged one was replaced
  ask(fourth);
  CHECK(fourth.counters().read == 1);
}

TEST_CASE("G7 cudnn plans: what cuDNN has no engine for is a refusal in its own words and is asked once") {
  const Library* const library = Installed9();
  if (library == nullptr) return;
  const DescribedDevice device = Device(*library, "h200");
  Sdpa sdpa = Described(device, {});
  sdpa.dim_qk = sdpa.dim_v = 63;  // support.cc never lets it through
  PlanCache cache(*library, device.target(), PlanCache::Settings{});
  for (int n = 0; n < 3; ++n) {
    Failure failure;
    int64_t workspace = 0;
    CHECK(!cache.Check(sdpa, &workspace, &failure));
    CHECK((failure.outcome() == Outcome::kUnsupported));
    CHECK_MESSAGE(failure.text.find("engine 2, 1: Embedding dim per head for q and k is not a multiple of 8") !=
                      std::string::npos,
                  failure.text);
    CHECK(cache.Get(sdpa, &failure) == nullptr);
  }
  CHECK(cache.counters().checked == 1);
  CHECK(cache.counters().refused == 1);
}

}  // namespace sage::cudnn
