// gate.cc: see the header.
#include "sage/gate.h"

#include <fmt/format.h>

#include <algorithm>

namespace sage {
namespace {

constexpr uint32_t kQ15 = 32768;  // 1.0
constexpr uint32_t kKnownFlags = SAGE_GATE_SKIP | SAGE_GATE_FORCE_SAFE | SAGE_GATE_SPIKE;

void Default(uint32_t* value, uint32_t otherwise) {
  if (*value == 0) *value = otherwise;
}

void Default(sage_gate_tier* tier, uint32_t layers, uint32_t sequence, uint32_t window) {
  Default(&tier->layers, layers);
  Default(&tier->sequence, sequence);
  Default(&tier->window, window);
}

// Of what it was; 64 bits, since the difference times 2^15 leaves 32.
uint32_t DropRatio(uint32_t before, uint32_t now) {
  if (now >= before) return 0;
  return static_cast<uint32_t>(uint64_t{before - now} * kQ15 / before);
}

struct Ruling {
  uint32_t verdict, tier;
};

Ruling Rule(const sage_gate_packet& packet, const sage_gate_policy& policy, uint32_t drop) {
  const bool spikes = (packet.flags & SAGE_GATE_SPIKE) != 0;
  if ((packet.flags & SAGE_GATE_SKIP) != 0) return {SAGE_GATE_SKIPPED, 3};
  if ((packet.flags & SAGE_GATE_FORCE_SAFE) != 0) return {SAGE_GATE_FORCED, 2};
  if (spikes && packet.spike_fired == 0) return {SAGE_GATE_QUIET, 3};
  if (spikes && packet.spike_rate_q15 > policy.spike_rate_q15_max) return {SAGE_GATE_STORM, 2};
  if (packet.lambda < policy.lambda_min) return {SAGE_GATE_QUARANTINE, 2};
  if (drop > policy.drop_ratio_q15_max) return {SAGE_GATE_FLUSH_KV, 1};
  if (packet.boundary_edges > policy.boundary_edges_max ||
      packet.boundary_concentration_q15 > policy.boundary_concentration_q15_max ||
      packet.partition_count > policy.partitions_max)
    return {SAGE_GATE_REDUCE_SCOPE, 1};
  return {SAGE_GATE_ALLOW, 0};
}

Status CheckQ15(const char* name, uint32_t value) {
  if (value < kQ15) return {};
  return Status(SAGE_E_INVALID_ARGUMENT, fmt::format("gate: {} is {}, 0 to 32767 (1.0) is expected", name, value));
}

}  // namespace

sage_gate_policy WithGateDefaults(const sage_gate_policy& policy) {
  sage_gate_policy out = policy;
  out.struct_size = sizeof out;
  Default(&out.lambda_min, 30);
  Default(&out.drop_ratio_q15_max, 12288);
  Default(&out.boundary_edges_max, 20);
  Default(&out.boundary_concentration_q15_max, 20480);
  Default(&out.partitions_max, 10);
  Default(&out.spike_rate_q15_max, 16384);
  Default(&out.normal, 4, 64, 16);
  Default(&out.reduced, 2, 32, 8);
  Default(&out.safe, 1, 8, 4);
  return out;
}

Result<sage_gate_decision> DecideGate(const sage_gate_packet& packet, const sage_gate_policy& given) {
  if (const uint32_t unknown = packet.flags & ~kKnownFlags; unknown != 0)
    return Status(SAGE_E_UNKNOWN_FIELD, fmt::format("gate: flag bits 0x{:x} are newer than this library", unknown));
  SAGE_RETURN_IF_ERROR(CheckQ15("boundary_concentration_q15", packet.boundary_concentration_q15));
  SAGE_RETURN_IF_ERROR(CheckQ15("spike_rate_q15", packet.spike_rate_q15));
  const sage_gate_policy policy = WithGateDefaults(given);
  sage_gate_decision out{};
  out.struct_size = sizeof out;
  out.drop_ratio_q15 = DropRatio(packet.lambda_prev, packet.lambda);
  const auto [verdict, tier] = Rule(packet, policy, out.drop_ratio_q15);
  out.verdict = verdict, out.tier = tier;
  if (tier == 3) return out;
  const sage_gate_tier& run = tier == 0 ? policy.normal : tier == 1 ? policy.reduced : policy.safe;
  out.layers = run.layers, out.sequence = run.sequence, out.window = run.window;
  return out;
}

Status ApplyGate(const sage_gate_decision& decision, sage_attention_attributes* attributes) {
  if (decision.tier > 2 || decision.window == 0)
    return Status(SAGE_E_INVALID_ARGUMENT, "gate: the decision is to run nothing; do not call attention");
  if (attributes->alignment != SAGE_ALIGN_TOP_LEFT && attributes->alignment != SAGE_ALIGN_BOTTOM_RIGHT)
    return Status(SAGE_E_INVALID_ARGUMENT,
                  fmt::format("gate: a window uses positions, so attributes.alignment must be SAGE_ALIGN_TOP_LEFT or "
                              "SAGE_ALIGN_BOTTOM_RIGHT; it is {}",
                              attributes->alignment));
  const int64_t left = int64_t{decision.window} - 1;
  const bool had = (attributes->features & SAGE_ATTN_F_WINDOW_LEFT) != 0;
  attributes->window_left = had ? std::min(attributes->window_left, left) : left;
  attributes->features |= SAGE_ATTN_F_CAUSAL | SAGE_ATTN_F_WINDOW_LEFT;
  return {};
}

}  // namespace sage
