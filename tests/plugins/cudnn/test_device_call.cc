// test_device_call.cc: what test_cudnn_gpu and cudnn_acceptance do on a device (device_call.h), over the fake runtime
// and the fake cuDNN: so that what they say of a device is not a fault of their own.
#include <doctest/doctest.h>

#include <cmath>

#include "../cpu/attention_testing.h"
#include "attention_calls.h"
#include "backend_testing.h"
#include "device_call.h"

namespace sage::test {
namespace {

AttentionCase Small(bool lse) {
  AttentionCall call;
  call.seq_q = 5, call.seq_kv = 19, call.dim_qk = call.dim_v = 16, call.causal = call.lengths = true, call.lse = lse;
  AttentionCase attention = Laid(call);
  FillOperands(attention, 3);
  attention.O().Fill(7);
  return attention;
}

std::unique_ptr<OnDevice> Make(const char* options) {
  cudnn::BeginFake();
  std::string why;
  auto on = OnDevice::Make(cudnn::FakeTable(), 0, options, &why);
  REQUIRE_MESSAGE(on != nullptr, why);
  return on;
}

}  // namespace

TEST_CASE("P5 cudnn device call: runs come back and are measured against the oracle") {
  Oracle oracle;
  for (const char* options : {"capture=stream", "capture=native"}) {
    const auto on = Make(options);
    const AttentionCase attention = Small(true);
    std::string failure;
    const AttentionCase want = Expected(attention, oracle.instance, &failure);
    REQUIRE(failure == "");
    DeviceCall call(*on, attention);
    REQUIRE(call.Plan() == "");
    AttentionCase first, again;
    CHECK(call.Run() == "");
    CHECK(call.Fetch(&first) == "");
    CHECK(first.O().bytes() != attention.O().bytes());
    const Distance distance = DistanceOf(first, want);
    CHECK(distance.o <= 1);
    CHECK(distance.lse <= 1);
    // The fake runtime's recordings do nothing when they are launched: outputs are as they were set before, so that a
    // replay which does nothing is not taken for one with the same bits.
    CHECK(call.Replay() == "");
    CHECK(call.Fetch(&again) == "");
    CHECK(again.O().bytes() == attention.O().bytes());
    CHECK(again[SAGE_ATTN_LSE].bytes() == attention[SAGE_ATTN_LSE].bytes());
    CHECK(call.Run() == "");
    CHECK(call.Fetch(&again) == "");
    CHECK(again.O().bytes() == first.O().bytes());
    CHECK(again[SAGE_ATTN_LSE].bytes() == first[SAGE_ATTN_LSE].bytes());
    double median = 0;
    CHECK(call.TimeEnqueue(9, &median) == "");
    CHECK(median > 0);
  }
}

TEST_CASE("P5 cudnn device call: what is wrong is far from the oracle") {
  Oracle oracle;
  std::string failure;
  const AttentionCase attention = Small(true);
  const AttentionCase want = Expected(attention, oracle.instance, &failure);
  AttentionCase got = want;
  CHECK(DistanceOf(got, want).o == 0);
  CHECK(DistanceOf(got, want).lse == 0);
  got.O().Put(3, want.O().Get(3) + 0.1);
  CHECK(DistanceOf(got, want).o > 1);
  got = want;
  got.O().Put(3, std::nan(""));
  CHECK(DistanceOf(got, want).o > 1e9);
  got = want;
  got[SAGE_ATTN_LSE].Put(0, want[SAGE_ATTN_LSE].Get(0) + 0.001);
  CHECK(DistanceOf(got, want).lse > 1);
}

TEST_CASE("G7 cudnn device call: refusals and options that are wrong are sentences") {
  const auto on = Make("graph=unified");
  DeviceCall call(*on, Small(false));
  CHECK(call.Plan().rfind("refused: ", 0) == 0);
  std::string why;
  CHECK(OnDevice::Make(cudnn::FakeTable(), 0, "graph=round", &why) == nullptr);
  CHECK(why.find("graph is \"round\"") != std::string::npos);
  CHECK(LoadPlugin("/no/such/plugin.so", &why) == nullptr);
  CHECK(why.find("/no/such/plugin.so") != std::string::npos);
}

}  // namespace sage::test
