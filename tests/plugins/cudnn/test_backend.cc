// test_backend.cc: the whole backend on a machine without a device: its table, its reading of slots, its graphs as a
// cuDNN computes them that takes them at their word, and the kernels around it, against the float64 oracle.
#include <doctest/doctest.h>

#include <fstream>
#include <limits>
#include <map>

#include "../cuda/attention_op.h"
#include "backend_testing.h"
#include "sdpa_mixtures.h"
#include "support/temporary_folder.h"

namespace sage::cudnn {
namespace {

using test::AttentionCase;
using test::Instance;
using test::TestHost;
using test::Threads;

// Refusals by their first words, so that a draw that is refused too often is seen.
void CheckMixtures(sage_dtype dtype, const char* options, uint64_t first, uint64_t count) {
  BeginFake();
  TestHost host(1, Threads::kSimulated);
  Instance device(FakeTable(), host, options);
  REQUIRE_MESSAGE(device.status() == SAGE_OK, device.message());
  uint64_t served = 0;
  std::map<std::string, int> refused;
  for (uint64_t seed = first; seed < first + count; ++seed) {
    CAPTURE(seed);
    AttentionCase call = test::SdpaMixture(seed).Draw(dtype);
    const std::string text = Disagreement(call, device);
    const size_t rule = text.find("cuDNN 9.19.0: ");
    if (rule != std::string::npos) {
      ++refused[text.substr(rule, 60)];
      continue;
    }
    CHECK(text == "");
    ++served;
  }
  for (const auto& [why, times] : refused) MESSAGE(times, " of ", count, " refused: ", why);
  CHECK(served > count / 2);
}

}  // namespace

TEST_CASE("P1 P2 P3 P4 P7 cudnn: mixtures through the table agree with the oracle in bf16") {
  CheckMixtures(SAGE_BF16, nullptr, 1, 120);
}
TEST_CASE("P1 P2 P3 P4 P5 P7 cudnn: mixtures through the table agree with the oracle in f16") {
  CheckMixtures(SAGE_F16, nullptr, 1001, 120);
}

TEST_CASE("P7 cudnn: the unified op agrees with the oracle where it applies") {
  BeginFake();
  TestHost host(1, Threads::kSimulated);
  Instance device(FakeTable(), host, "graph=unified");
  uint64_t served = 0;
  for (uint64_t seed = 2001; seed < 2301 && served < 40; ++seed) {
    CAPTURE(seed);
    AttentionCase call = test::SdpaMixture(seed).Draw(SAGE_BF16);
    const std::string text = Disagreement(call, device);
    if (text.find("cuDNN 9.19.0: ") != std::string::npos) continue;
    CHECK(text == "");
    ++served;
  }
  CHECK(served == 40);
  CHECK(fake::The().last_graph.find("sdpa") != std::string::npos);
}

TEST_CASE("P12 cudnn: an answer says what its price is from and a file goes before what is shipped") {
  BeginFake();
  TestHost host(1, Threads::kSimulated);
  cuda::AttentionOp op;
  for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_O}) op.Set(slot, SAGE_BF16, {1, 64, 8192, 128});
  for (const uint32_t slot : {SAGE_ATTN_K, SAGE_ATTN_V}) op.Set(slot, SAGE_BF16, {1, 8, 8192, 128});
  const auto ask = [&](const std::string& options) {
    Instance device(FakeTable(), host, options.c_str());
    REQUIRE_MESSAGE(device.status() == SAGE_OK, device.message());
    sage_answer answer{};
    answer.struct_size = sizeof answer;
    CHECK(FakeTable()->ask(device.handle(), op.op(), &answer, nullptr) == SAGE_OK);
    return answer;
  };
  const sage_answer shipped = ask("");
  CHECK(std::string(shipped.reason) == "cuDNN 9.19.0, a composite graph, on NVIDIA H200, priced by a published rate");
  const test::Folder folder;
  const std::string path = folder.path + "/rates.txt";
  std::ofstream(path) << "cudnn 90 128 prefill none 8192 0.323 measured\n";  // 0.646 is shipped
  const sage_answer mine = ask("rates=" + path);
  CHECK(std::string(mine.reason).ends_with(", priced by rates of " + path));
  CHECK(mine.cost_ns - 10000 == doctest::Approx(2 * (shipped.cost_ns - 10000)).epsilon(1e-9));
}

TEST_CASE("P2 cudnn: NaN and infinity behind keys that a row does not see do not touch it") {
  BeginFake();
  TestHost host(1, Threads::kSimulated);
  Instance device(FakeTable(), host);
  for (const double poison : {std::numeric_limits<double>::quiet_NaN(), std::numeric_limits<double>::infinity()}) {
    CAPTURE(poison);
    AttentionCase causal(SAGE_BF16, {.batch = 2, .heads_q = 4, .heads_k = 2, .seq_q = 20, .seq_kv = 30, .dim_qk = 16},
                         5);
    causal.Causal(SAGE_ALIGN_BOTTOM_RIGHT).WithLse();
    causal.V().Set({0, 1, 22, 3}, poison);
    CHECK(Disagreement(causal, device) == "");
    // What a cache has in it beyond the length.
    AttentionCase padded(SAGE_F16, {.batch = 2, .heads_q = 2, .heads_k = 1, .seq_q = 3, .seq_kv = 30, .dim_qk = 16}, 6);
    padded.WithLse().Integers(SAGE_ATTN_SEQUSED_K, {2}, {11, 30});
    for (int64_t j = 11; j < 30; ++j) padded.K().Set({0, 0, j, 1}, poison), padded.V().Set({0, 0, j, 0}, poison);
    CHECK(Disagreement(padded, device) == "");
  }
}

TEST_CASE("P7 cudnn: rows without a key are 0 and their LSE is -inf or the sink") {
  BeginFake();
  TestHost host(1, Threads::kSimulated);
  Instance device(FakeTable(), host);
  for (const bool sinks : {false, true}) {
    AttentionCase call(SAGE_BF16, {.batch = 3, .heads_q = 2, .heads_k = 2, .seq_q = 9, .seq_kv = 12, .dim_qk = 16}, 7);
    call.Integers(SAGE_ATTN_SEQUSED_K, {3}, {0, 4, 12});
    call.Integers(SAGE_ATTN_SEQUSED_Q, {3}, {9, 9, 2});
    call.Causal(SAGE_ALIGN_BOTTOM_RIGHT).WithLse();
    if (sinks) call[SAGE_ATTN_SINKS] = test::OwnedTensor(SAGE_F32, {2}).FillValues({0.5, -1});
    CHECK(Disagreement(call, device) == "");
    CHECK(call.O().At({0, 0, 3, 3}) == 0);
    CHECK(call.O().At({2, 1, 5, 3}) == 0);
  }
}

}  // namespace sage::cudnn
