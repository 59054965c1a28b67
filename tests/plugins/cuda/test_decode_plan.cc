// test_decode_plan.cc: how many splits the decode kernel's keys are cut into, and that no run needs more workspace than
// its plan has.
#include <doctest/doctest.h>

#include <cstdlib>
#include <memory>
#include <random>

#include "attention_emulated.h"
#include "fake_runtime.h"

namespace sage::test {
namespace {

using cuda::AttentionArguments;
using cuda::AttentionSplits;
using cuda::ChooseSplits;
using cuda::Properties;

AttentionArguments Call(int32_t batch, int32_t heads_q, int32_t heads_k, int32_t seq_q, int32_t seq_kv, int32_t dim) {
  AttentionArguments a;
  a.batch = batch, a.heads_q = heads_q, a.heads_k = a.heads_v = heads_k, a.seq_q = seq_q, a.seq_kv = seq_kv;
  a.dim_qk = a.dim_v = dim;
  return a;
}

}  // namespace

TEST_CASE("cuda decode plan: splits fill the device and no more") {
  // Places are all taken: one.
  CHECK(ChooseSplits(396, 128, 396) == 1);
  CHECK(ChooseSplits(320, 128, 396) == 1);
  CHECK(ChooseSplits(0, 128, 396) == 1);
  // Eight heads and 8192 keys on 396 places: a wave and no more than a wave.
  const int32_t eight = ChooseSplits(8, 128, 396);
  CHECK(eight >= 16);
  CHECK(8 * eight <= 396);
  // Never fewer than two tiles of keys a split, never more than there may be.
  CHECK(ChooseSplits(1, 3, 396) == 1);
  CHECK(ChooseSplits(1, 8, 396) <= 4);
  CHECK(ChooseSplits(1, 1 << 20, 396) <= cuda::kMostSplits);
  // Longer keys are never cut into fewer where places are left.
  for (int64_t units : {1, 3, 8, 31, 64}) {
    int32_t before = 1;
    for (int64_t tiles = 2; tiles <= 2048; tiles *= 2) {
      const int32_t now = ChooseSplits(units, tiles, 396);
      CHECK(now >= before / 2);
      CHECK(now <= std::max<int64_t>(1, tiles / cuda::kLeastSplitTiles));
      before = now;
    }
    CHECK(before > 1);
  }
}

TEST_CASE("cuda decode plan: as many blocks are resident as shared memory and registers allow") {
  Properties device = cuda::FakeH200();
  CHECK(cuda::DecodeResident(Call(1, 1, 1, 1, 1, 128), device) == 3 * 132);
  CHECK(cuda::DecodeResident(Call(1, 1, 1, 1, 1, 256), device) == 2 * 132);
  device.shared_bytes_per_block = 99 << 10;  // a consumer's part
  CHECK(cuda::DecodeResident(Call(1, 1, 1, 1, 1, 128), device) == 132);
  CHECK(cuda::DecodeResident(Call(1, 1, 1, 1, 1, 256), device) == 132);
  CHECK(cuda::DecodeResident(Call(1, 1, 1, 1, 1, 256), Properties()) == 1);
}

TEST_CASE("R19 cuda decode plan: a window is cut into as many splits as its keys are worth") {
  const Properties device = cuda::FakeH200();
  AttentionArguments a = Call(1, 8, 8, 1, 1 << 17, 128);
  a.splits = cuda::PlanDecodeSplits(a, device, 0, false);
  CHECK(cuda::DecodeSplits(a, device) > 32);
  a.causal = a.bottom_right = true, a.window_left = 500;
  a.splits = cuda::PlanDecodeSplits(a, device, 0, false);
  CHECK(cuda::DecodeSplits(a, device) > 1);
  CHECK(cuda::DecodeSplits(a, device) <= 5);
}

TEST_CASE("cuda decode plan: splits that are asked for have ends of their own") {
  const Properties device = cuda::FakeH200();
  for (const int32_t asked : {1, 2, 3, 7, 64}) {
    CAPTURE(asked);
    const AttentionSplits alone = cuda::PlanDecodeSplits(Call(1, 8, 2, 1, 1000, 64), device, asked, false);
    const AttentionSplits many = cuda::PlanDecodeSplits(Call(500, 8, 2, 4, 1000, 64), device, asked, true);
    CHECK(alone.keys == many.keys);
    CHECK(alone.keys % cuda::kDecodeKeys == 0);
    AttentionArguments a = Call(1, 8, 2, 1, 1000, 64);
    a.splits = alone;
    CHECK(cuda::DecodeSplits(a, device) <= asked);
    CHECK(int64_t{cuda::DecodeSplits(a, device)} * alone.keys >= 1000);
  }
}

TEST_CASE("P13 cuda decode plan: no smaller run needs more than the workspace") {
  std::mt19937_64 random(3);
  const auto up_to = [&](int32_t most) { return 1 + static_cast<int32_t>(random() % static_cast<uint64_t>(most)); };
  for (int n = 0; n < 300; ++n) {
    Properties device = cuda::FakeH200();
    device.multiprocessors = up_to(140);
    AttentionArguments plan = Call(up_to(100), 4 * up_to(8), 4, up_to(8), up_to(20000), 32 * up_to(8));
    const int32_t asked = n % 3 == 0 ? up_to(20) : 0;
    plan.splits = cuda::PlanDecodeSplits(plan, device, asked, true);
    const uint64_t bytes = cuda::DecodeWorkspaceBytes(plan);
    CHECK(bytes >= cuda::DecodePartialsBytes(plan));
    AttentionArguments run = plan;
    run.batch = up_to(plan.batch), run.seq_q = up_to(plan.seq_q), run.seq_kv = up_to(plan.seq_kv);
    alignas(256) static unsigned char workspace[256];
    const cuda::DecodeArguments d = cuda::PlanDecode(run, device, workspace);
    REQUIRE(d.splits >= 1);
    if (d.splits == 1) continue;
    const auto begin = reinterpret_cast<uintptr_t>(workspace);
    const uint64_t end = reinterpret_cast<uintptr_t>(d.partials) - begin +
                         sizeof(float) * static_cast<uint64_t>(cuda::DecodeBlocks(d)) *
                             static_cast<uint64_t>(cuda::PartialFloats(cuda::PadDims(run.dim_qk, run.dim_v).v));
    CHECK(end <= bytes);
    CHECK(reinterpret_cast<uintptr_t>(d.tickets) - begin + cuda::DecodeTicketBytes(d) <=
          reinterpret_cast<uintptr_t>(d.partials) - begin);
  }
}

TEST_CASE("P13 cuda decode plan: a smaller batch is cut into more splits within the plan's workspace") {
  Properties device = cuda::FakeH200();
  device.multiprocessors = 3;  // nine blocks
  AttentionCase whole(SAGE_BF16, {.batch = 6, .heads_q = 4, .heads_k = 2, .seq_kv = 700, .dim_qk = 32}, 3);
  AttentionArguments plan = ArgumentsOf(whole);
  CHECK(cuda::PlanDecodeSplits(plan, device, 0, false).partials == 0);
  plan.splits = cuda::PlanDecodeSplits(plan, device, 0, true);
  const uint64_t bytes = cuda::DecodeWorkspaceBytes(plan);
  REQUIRE(bytes > 0);
  const std::unique_ptr<void, decltype(&std::free)> workspace(std::aligned_alloc(256, (bytes + 255) / 256 * 256),
                                                              std::free);
  AttentionCase one(SAGE_BF16, {.batch = 1, .heads_q = 4, .heads_k = 2, .seq_kv = 700, .dim_qk = 32}, 3);
  AttentionArguments run = ArgumentsOf(one);
  run.splits = plan.splits;
  CHECK(cuda::DecodeSplits(run, device) > 1);
  CHECK(LaunchDecodeEmulated(run, device, workspace.get(), 5) == "");
  AttentionCase reference = one;
  CHECK(EmulatedDisagreement(Kernel::kPortable, reference, 5) == "");
  for (uint64_t i = 0; i < one.O().size(); ++i)
    CHECK(one.O().Get(i) == doctest::Approx(reference.O().Get(i)).epsilon(0.02));
}

}  // namespace sage::test
