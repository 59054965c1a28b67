// sage_params.h: the parameters of the three SAGE graphs as plain structs, with the schema's defaults.
//
// Filled from a model file by the reader, or by hand in a test. Ranges are checked by the model's verifier
// (CheckSageParams), so policy code may rely on them.
#ifndef SAGE_ENGINE_MODEL_SAGE_PARAMS_H_
#define SAGE_ENGINE_MODEL_SAGE_PARAMS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "model/graph.h"

namespace sage {

enum class GraphMode : uint8_t { kAttention = 0, kLegacy = 1, kCompare = 2 };
enum class WeightSource : uint8_t { kIdentity = 0, kSeeded = 1, kFile = 2 };

// A projection from a file: weight [out, in] and, optionally, bias [out]; any float dtype, bytes as in Constant.
struct ProjectionWeights {
  Constant weight;
  sage_dtype weight_dtype = SAGE_F32;
  std::optional<Constant> bias;
  sage_dtype bias_dtype = SAGE_F32;
};

// What the three graphs share; every field is resolved (no "absent" left), so what explain prints is what runs.
struct SageAttention {
  GraphMode mode = GraphMode::kAttention;
  int64_t d_model = 0, query_heads = 0, kv_heads = 0, head_dim = 0;
  double gamma = 1;  // gain of the content, >= 0
  double scale = 1;
  WeightSource weights = WeightSource::kIdentity;
  uint64_t weight_seed = 0;
  std::optional<ProjectionWeights> q_proj, k_proj, v_proj, o_proj;  // FILE
  sage_dtype dtype = SAGE_F32;
};

// heads x head_dim. A file's numbers are multiplied before they are judged: those beyond any model's give a width that
// nothing fits, not an overflow.
inline int64_t HeadsWidth(int64_t heads, int64_t head_dim) {
  int64_t width = 0;
  return __builtin_mul_overflow(heads, head_dim, &width) ? INT64_MAX : width;
}

enum class TrustLink : uint8_t { kLinear = 0, kLog = 1, kLogit = 2 };
enum class Selection : uint8_t { kBlend = 0, kTrustFirst = 1 };

struct ExpertParams {
  SageAttention attention;
  int64_t num_experts = 128, top_k = 8, max_batch = 1;
  double alpha = 0.3, lambda = 1;
  TrustLink trust_link = TrustLink::kLinear;
  std::vector<double> head_weights;  // query_heads of them, summing to 1
  std::string context = "general";
  Selection selection = Selection::kBlend;
  double epsilon = 0.2;
  uint32_t min_evidence = 3;
  double min_trust = 0.3, substitution_trust = 0.6;
  bool return_weights = false;
  uint64_t seed = 0;
};

enum class MetabolicState : uint8_t { kWake = 0, kFocus = 1, kRest = 2, kDream = 3, kCrisis = 4 };
const char* MetabolicStateName(MetabolicState state);  // "WAKE" ...

struct TransitionParams {
  double crisis_enter_salience = 0.95, crisis_exit_salience = 0.8;
  double focus_enter_salience = 0.8, focus_exit_salience = 0.6, focus_max_seconds = 300;
  double rest_enter_salience = 0.3, wake_to_rest_seconds = 60, rest_exit_salience = 0.5, rest_to_dream_seconds = 120;
  double dream_probability = 0.1, dream_exit_salience = 0.4, dream_max_seconds = 60;
  bool legacy = false;
};

struct MetabolicParams {
  SageAttention attention;
  int64_t max_targets = 64;
  double total_atp = 100;
  MetabolicState initial_state = MetabolicState::kWake;
  double wake_spread = 0.5;
  bool enable_causal_focus = true;
  double focus_primary = 0.8, focus_secondary = 0.15;
  double rest_consolidation = 0.7;
  bool rest_split = false;
  double dream_bias = 0.2, dream_dropout = 0.5;
  bool crisis_soft = false;
  double crisis_temperature = 0.1;
  TransitionParams transitions;
  uint32_t history = 1024;
  uint64_t seed = 0;
};

struct SnarcWeights {
  double surprise = 0.2, novelty = 0.2, arousal = 0.2, reward = 0.2, conflict = 0.2;
};

struct FusionParams {
  SageAttention attention;
  int64_t max_sensors = 8, max_rows = 1024;
  double goal_weight = 0.4, salience_weight = 0.3, memory_weight = 0.2, trust_weight = 0.1;
  int64_t max_active = 3;  // 0 = all
  bool gate_hard = false;
  double gate_salience = 0.5, age_rate = 0, interrupt_salience = 0.9;
  uint32_t interrupt_hold_ticks = 0;
  SnarcWeights snarc;
};

}  // namespace sage

#endif  // SAGE_ENGINE_MODEL_SAGE_PARAMS_H_
