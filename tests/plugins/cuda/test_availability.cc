// test_availability.cc: every way a device can be missing, each with its sentence: what is there, what is needed, what
// to do.
#include <doctest/doctest.h>

#include "common/cuda/architecture.h"
#include "common/cuda/availability.h"
#include "fake_runtime.h"

namespace sage::cuda {
namespace {

constexpr char kList[] = "80 90a-real";

struct Found {
  bool yes = false;
  uint32_t count = 99;
  Properties properties;
  std::string why;
};

Found Find(FakeRuntime& runtime, int device = 0, const char* list = kList) {
  Found found;
  found.yes = FindDevice(runtime, device, list, &found.count, &found.properties, &found.why);
  CHECK_MESSAGE(runtime.pending_error() == kSuccess, "an error was left to the next who asks");
  return found;
}

bool Has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("G7 cuda: without a driver the sentence says so and nothing else is asked") {
  FakeRuntime runtime;
  runtime.driver_version = 0;
  runtime.count_code = kInsufficientDriver;
  const Found found = Find(runtime);
  CHECK(!found.yes);
  CHECK(found.count == 0);
  CHECK(
      found.why ==
      "no NVIDIA driver was found (libcuda.so.1); this build needs one for CUDA 13.0 or newer (580 or newer): install "
      "it");
  CHECK(runtime.calls == std::vector<std::string>{"DriverVersion"});

  // Some runtimes fail that call instead of answering 0.
  runtime.fail["DriverVersion"] = kInsufficientDriver;
  CHECK(Has(Find(runtime).why, "no NVIDIA driver was found"));
}

TEST_CASE("G7 cuda: a driver that is too old is named with both versions") {
  FakeRuntime runtime;
  runtime.driver_version = 12040;
  runtime.built_for = 13020;
  const Found found = Find(runtime);
  CHECK(!found.yes);
  CHECK(found.why ==
        "the NVIDIA driver serves CUDA 12.4, which is too old: this build needs one for CUDA 13.0 or newer (580 or "
        "newer): "
        "update the driver");
  // An older minor of the same major serves every build of that major.
  runtime.driver_version = 13000;
  CHECK(Find(runtime).yes);
  // What the runtime itself finds too old is that.
  runtime.count_code = kInsufficientDriver;
  CHECK(Has(Find(runtime).why, "too old"));
}

TEST_CASE("G7 cuda: a driver without a device and one that does not start") {
  FakeRuntime runtime;
  runtime.count_code = kNoDevice;
  CHECK(Has(Find(runtime).why, "serves CUDA 13.0, but shows no device"));
  CHECK(Has(Find(runtime).why, "CUDA_VISIBLE_DEVICES"));
  runtime.count_code = kSuccess;
  runtime.devices.clear();
  CHECK(Has(Find(runtime).why, "shows no device"));
  runtime.count_code = 803;
  CHECK(Has(Find(runtime).why, "does not start: cudaErrorOther (803)"));
  runtime.count_code = kSuccess;
  runtime.devices = {FakeH200()};
  runtime.fail["GetProperties"] = 999;
  CHECK(Has(Find(runtime).why, "device 0 did not say what it is: cudaErrorOther (999)"));
  runtime.fail.clear();
  runtime.fail["DriverVersion"] = 3;
  CHECK(Has(Find(runtime).why, "did not say its version: cudaErrorOther (3)"));
}

TEST_CASE("G7 cuda: the device asked for is one of those there") {
  FakeRuntime runtime;
  runtime.devices.push_back(FakeH200());
  const Found second = Find(runtime, 1);
  CHECK(second.yes);
  CHECK(second.count == 2);
  CHECK(second.properties.multiprocessors == 132);
  for (const int device : {-1, 2, 1000}) {
    const Found none = Find(runtime, device);
    CHECK(!none.yes);
    CHECK(none.count == 2);
    CHECK(none.why == "device " + std::to_string(device) + " was asked for; the driver shows 2, numbered from 0");
  }
}

TEST_CASE("G7 cuda: a device without code in this build is named with what there is") {
  FakeRuntime runtime;
  runtime.devices[0].name = "Tesla V100";
  runtime.devices[0].major = 7;
  CHECK(Find(runtime).why ==
        "Tesla V100 is sm_70; this build has code for sm_80, sm_90a, PTX 80: its kernels need sm_80 or newer");
  runtime.devices[0].name = "NVIDIA B200";
  runtime.devices[0].major = 10;
  const Found found = Find(runtime, 0, "80-real 90a-real");
  CHECK(!found.yes);
  CHECK(found.why ==
        "NVIDIA B200 is sm_100; this build has code for sm_80, sm_90a: build the plugin with it in "
        "SAGE_CUDA_ARCHITECTURES");
  CHECK(Find(runtime, 0, "80").yes);
  CHECK(runtime.calls.back() == "GetProperties");  // and no context was made
}

TEST_CASE("cuda: which machine code runs where") {
  CHECK(CodeFor("80-real", 8, 0) == Code::kMachine);
  CHECK(CodeFor("80-real", 8, 9) == Code::kMachine);
  CHECK(CodeFor("80-real", 9, 0) == Code::kNone);
  CHECK(CodeFor("86-real", 8, 0) == Code::kNone);
  CHECK(CodeFor("80", 9, 0) == Code::kPtx);
  CHECK(CodeFor("120-virtual", 12, 1) == Code::kPtx);
  CHECK(CodeFor("120-virtual", 10, 0) == Code::kNone);
  CHECK(CodeFor("90a-real", 9, 0) == Code::kMachine);
  CHECK(CodeFor("90a", 10, 0) == Code::kNone);  // 90a's PTX is for 90 alone, too
  CHECK(CodeFor("100-real", 10, 3) == Code::kMachine);
  CHECK(CodeFor("120-real", 12, 1) == Code::kMachine);
  // The embedded ones run their own machine code, or PTX.
  CHECK(CodeFor("80-real", 8, 7) == Code::kNone);
  CHECK(CodeFor("87-real", 8, 7) == Code::kMachine);
  CHECK(CodeFor("87-real", 8, 9) == Code::kNone);
  CHECK(CodeFor("80", 8, 7) == Code::kPtx);
  // The list of a release, and words that are none.
  CHECK(CodeFor("80-real 90-real 100-real 120", 13, 0) == Code::kPtx);
  CHECK(CodeFor("80-real  90-real", 9, 0) == Code::kMachine);
  CHECK(CodeFor("", 8, 0) == Code::kNone);
  CHECK(CodeFor("eighty 8 80-imaginary -real a 8000", 8, 0) == Code::kNone);
  CHECK(ListText("") == "no architecture");
  CHECK(ListText("80-real 120") == "sm_80, sm_120, PTX 120");
  CHECK(ListText("120-virtual") == "PTX 120");
}

}  // namespace sage::cuda
