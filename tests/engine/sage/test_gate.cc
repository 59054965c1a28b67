// The gate: each verdict, their order, the defaults, the edges of every limit, and what reaches an attention.
#include "sage/gate.h"

#include <doctest/doctest.h>

#include <functional>
#include <vector>

using namespace sage;

namespace {

sage_gate_packet Calm() {
  sage_gate_packet packet{};
  packet.struct_size = sizeof packet;
  packet.lambda = packet.lambda_prev = 100;
  packet.boundary_edges = 5, packet.boundary_concentration_q15 = 8192, packet.partition_count = 3;
  return packet;
}

sage_gate_decision Decide(const std::function<void(sage_gate_packet&)>& change, const sage_gate_policy& policy = {}) {
  sage_gate_packet packet = Calm();
  change(packet);
  const Result<sage_gate_decision> made = DecideGate(packet, policy);
  REQUIRE_MESSAGE(made.ok(), made.status().message());
  return *made;
}

}  // namespace

TEST_CASE("R18 gate: each verdict with its tier: layers, newest tokens, window") {
  const struct {
    const char* what;
    std::function<void(sage_gate_packet&)> change;
    uint32_t verdict, tier, layers, sequence, window;
  } cases[] = {
      {"calm", [](auto&) {}, SAGE_GATE_ALLOW, 0, 4, 64, 16},
      {"skip", [](auto& p) { p.flags = SAGE_GATE_SKIP; }, SAGE_GATE_SKIPPED, 3, 0, 0, 0},
      {"safe", [](auto& p) { p.flags = SAGE_GATE_FORCE_SAFE; }, SAGE_GATE_FORCED, 2, 1, 8, 4},
      {"quiet", [](auto& p) { p.flags = SAGE_GATE_SPIKE; }, SAGE_GATE_QUIET, 3, 0, 0, 0},
      {"spike", [](auto& p) { p.flags = SAGE_GATE_SPIKE, p.spike_fired = 1, p.spike_rate_q15 = 100; }, SAGE_GATE_ALLOW,
       0, 4, 64, 16},
      {"storm", [](auto& p) { p.flags = SAGE_GATE_SPIKE, p.spike_fired = 1, p.spike_rate_q15 = 20000; },
       SAGE_GATE_STORM, 2, 1, 8, 4},
      {"a storm nobody meant", [](auto& p) { p.spike_rate_q15 = 20000; }, SAGE_GATE_ALLOW, 0, 4, 64, 16},
      {"lambda below the least", [](auto& p) { p.lambda = 29; }, SAGE_GATE_QUARANTINE, 2, 1, 8, 4},
      {"lambda at the least, steady", [](auto& p) { p.lambda = p.lambda_prev = 30; }, SAGE_GATE_ALLOW, 0, 4, 64, 16},
      {"lambda fell", [](auto& p) { p.lambda = 40; }, SAGE_GATE_FLUSH_KV, 1, 2, 32, 8},
      {"many edges", [](auto& p) { p.boundary_edges = 21; }, SAGE_GATE_REDUCE_SCOPE, 1, 2, 32, 8},
      {"as many as may be", [](auto& p) { p.boundary_edges = 20; }, SAGE_GATE_ALLOW, 0, 4, 64, 16},
      {"concentrated", [](auto& p) { p.boundary_concentration_q15 = 20481; }, SAGE_GATE_REDUCE_SCOPE, 1, 2, 32, 8},
      {"many parts", [](auto& p) { p.partition_count = 11; }, SAGE_GATE_REDUCE_SCOPE, 1, 2, 32, 8},
      {"lambda rose", [](auto& p) { p.lambda_prev = 10; }, SAGE_GATE_ALLOW, 0, 4, 64, 16},
      {"nothing before", [](auto& p) { p.lambda_prev = 0; }, SAGE_GATE_ALLOW, 0, 4, 64, 16},
  };
  for (const auto& c : cases) {
    INFO(std::string(c.what));
    const sage_gate_decision got = Decide(c.change);
    CHECK(got.verdict == c.verdict);
    CHECK(got.tier == c.tier);
    CHECK(got.layers == c.layers);
    CHECK(got.sequence == c.sequence);
    CHECK(got.window == c.window);
  }
}

TEST_CASE("R18 gate: the order of the rules: each one taken away shows the next") {
  sage_gate_packet packet = Calm();
  packet.flags = SAGE_GATE_SKIP | SAGE_GATE_FORCE_SAFE | SAGE_GATE_SPIKE;
  packet.lambda = 10, packet.boundary_edges = 100, packet.spike_rate_q15 = 32767;
  std::vector<uint32_t> seen;
  const std::function<void()> steps[] = {[&] { packet.flags &= ~SAGE_GATE_SKIP; },
                                         [&] { packet.flags &= ~SAGE_GATE_FORCE_SAFE; },
                                         [&] { packet.spike_fired = 1; },
                                         [&] { packet.spike_rate_q15 = 16384; },
                                         [&] { packet.lambda = 30; },
                                         [&] { packet.lambda_prev = 31; },
                                         [&] { packet.boundary_edges = 0; },
                                         [] {}};
  for (const auto& step : steps) {
    seen.push_back(DecideGate(packet, {})->verdict);
    step();
  }
  CHECK(seen == std::vector<uint32_t>{SAGE_GATE_SKIPPED, SAGE_GATE_FORCED, SAGE_GATE_QUIET, SAGE_GATE_STORM,
                                      SAGE_GATE_QUARANTINE, SAGE_GATE_FLUSH_KV, SAGE_GATE_REDUCE_SCOPE,
                                      SAGE_GATE_ALLOW});
}

TEST_CASE("R18 gate: the drop is a part of what was, in q15, without overflow; its limit is not above it") {
  CHECK(Decide([](auto& p) { p.lambda = 75; }).drop_ratio_q15 == 8192);
  CHECK(Decide([](auto& p) { p.lambda = 75; }).verdict == SAGE_GATE_ALLOW);
  CHECK(Decide([](auto& p) { p.lambda_prev = 8000, p.lambda = 5000; }).drop_ratio_q15 == 12288);
  CHECK(Decide([](auto& p) { p.lambda_prev = 8000, p.lambda = 5000; }).verdict == SAGE_GATE_ALLOW);
  CHECK(Decide([](auto& p) { p.lambda_prev = 8000, p.lambda = 4999; }).verdict == SAGE_GATE_FLUSH_KV);
  CHECK(Decide([](auto& p) { p.lambda_prev = UINT32_MAX, p.lambda = 30; }).drop_ratio_q15 == 32767);
  CHECK(Decide([](auto& p) { p.lambda_prev = 7, p.lambda = 9; }).drop_ratio_q15 == 0);
}

TEST_CASE("R18 gate: a policy of one's own; what it leaves at 0 keeps its default; bad packets are refused") {
  sage_gate_policy policy{};
  policy.lambda_min = 200, policy.safe.window = 2;
  const sage_gate_decision got = Decide([](auto&) {}, policy);
  CHECK(got.verdict == SAGE_GATE_QUARANTINE);
  CHECK(got.window == 2);
  CHECK(got.sequence == 8);
  sage_gate_packet packet = Calm();
  packet.flags = 8;
  CHECK(DecideGate(packet, {}).status().code() == SAGE_E_UNKNOWN_FIELD);
  packet = Calm();
  packet.boundary_concentration_q15 = 32768;
  CHECK(DecideGate(packet, {}).status().code() == SAGE_E_INVALID_ARGUMENT);
  packet = Calm();
  packet.spike_rate_q15 = 40000;
  CHECK(DecideGate(packet, {}).status().code() == SAGE_E_INVALID_ARGUMENT);
}

TEST_CASE("R18 gate: the window reaches the attributes, never widens one, and needs an alignment") {
  sage_attention_attributes a{};
  a.struct_size = sizeof a;
  const sage_gate_decision reduced = Decide([](auto& p) { p.boundary_edges = 21; });
  CHECK(ApplyGate(reduced, &a).code() == SAGE_E_INVALID_ARGUMENT);
  CHECK(a.features == 0);
  a.alignment = SAGE_ALIGN_BOTTOM_RIGHT;
  REQUIRE(ApplyGate(reduced, &a).ok());
  CHECK(a.features == (SAGE_ATTN_F_CAUSAL | SAGE_ATTN_F_WINDOW_LEFT));
  CHECK(a.window_left == 7);
  a.window_left = 3;
  REQUIRE(ApplyGate(reduced, &a).ok());
  CHECK(a.window_left == 3);
  CHECK(ApplyGate(Decide([](auto& p) { p.flags = SAGE_GATE_SKIP; }), &a).code() == SAGE_E_INVALID_ARGUMENT);
}
