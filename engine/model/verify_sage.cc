// verify_sage.cc: ranges and relations of the SAGE parameters. Every comparison is written so that NaN fails it.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "model/verify.h"
#include "sage/support/check_op.h"

namespace sage {
namespace {

constexpr int64_t kMaxSeeded = int64_t{1} << 28;

class Checker {
 public:
  explicit Checker(std::vector<ModelError>* errors) : errors_(*errors) {}

  template <class... Args>
  void Fail(std::string field, fmt::format_string<Args...> format, Args&&... args) {
    errors_.push_back({"graph." + field, fmt::format(format, std::forward<Args>(args)...)});
  }
  void Share(const char* field, double value) {
    if (!(value >= 0 && value <= 1)) Fail(field, "is {}; it must be in [0, 1]", value);
  }
  void NotNegative(const char* field, double value) {
    if (!(value >= 0 && std::isfinite(value))) Fail(field, "is {}; it must be a finite number >= 0", value);
  }
  void Positive(const char* field, double value) {
    if (!(value > 0 && std::isfinite(value))) Fail(field, "is {}; it must be a finite number above 0", value);
  }
  void Count(const char* field, int64_t value, int64_t least, int64_t most) {
    if (value < least || value > most) Fail(field, "is {}; it must be {} to {}", value, least, most);
  }

  void Attention(const SageAttention& a, bool fusion) {
    Count("attention.d_model", a.d_model, 1, 65536);
    Count("attention.query_heads", a.query_heads, 1, 1024);
    Count("attention.kv_heads", a.kv_heads, 1, 1024);
    Count("attention.head_dim", a.head_dim, 1, 65536);
    if (a.kv_heads > 0 && a.query_heads % a.kv_heads != 0)
      Fail("attention.kv_heads", "is {}, which does not divide the {} query heads", a.kv_heads, a.query_heads);
    NotNegative("attention.gamma", a.gamma);
    if (!std::isfinite(a.scale)) Fail("attention.scale", "is {}; it must be a finite number", a.scale);
    if (!support::IsFloat(a.dtype)) Fail("attention.dtype", "must be F64, F32, F16 or BF16");
    if (a.mode > GraphMode::kCompare) Fail("attention.mode", "is {}, which is not known", static_cast<int>(a.mode));
    if (a.weights > WeightSource::kFile)
      Fail("attention.weights", "is {}, which is not known", static_cast<int>(a.weights));
    if (a.weights == WeightSource::kIdentity && HeadsWidth(a.query_heads, a.head_dim) != a.d_model)
      Fail("attention.head_dim",
           "is {}: with IDENTITY weights the heads are slices of the input, so {} query heads x head_dim must be "
           "d_model {}",
           a.head_dim, a.query_heads, a.d_model);
    const int64_t q_out = HeadsWidth(a.query_heads, a.head_dim), kv_out = HeadsWidth(a.kv_heads, a.head_dim);
    // Each number is a draw of Philox: a few bytes must not ask for hours of them.
    int64_t seeded = 0;
    if (a.weights == WeightSource::kSeeded &&
        (__builtin_mul_overflow(std::max(q_out, kv_out), a.d_model, &seeded) || seeded > kMaxSeeded))
      Fail("attention.weights",
           "is SEEDED, which makes at most {} numbers a projection; this one has {} x {}: use FILE", kMaxSeeded,
           std::max(q_out, kv_out), a.d_model);
    Projection("attention.q_proj", a, a.q_proj, true, q_out, a.d_model);
    Projection("attention.k_proj", a, a.k_proj, true, kv_out, a.d_model);
    Projection("attention.v_proj", a, a.v_proj, fusion, kv_out, a.d_model);
    Projection("attention.o_proj", a, a.o_proj, fusion, a.d_model, q_out);
  }

 private:
  void Projection(const char* field, const SageAttention& a, const std::optional<ProjectionWeights>& weights,
                  bool needed, int64_t out, int64_t in) {
    const bool from_file = a.weights == WeightSource::kFile;
    if (!weights) {
      if (from_file && needed) Fail(field, "is missing: weights is FILE");
      return;
    }
    if (!from_file) return Fail(field, "is given, but weights is not FILE: one of the two is meant");
    if (!needed) return Fail(field, "is given, but this graph has no such projection");
    Bytes(fmt::format("{}.weight", field), weights->weight_dtype, weights->weight, HeadsWidth(out, in));
    if (weights->bias) Bytes(fmt::format("{}.bias", field), weights->bias_dtype, *weights->bias, out);
  }
  void Bytes(const std::string& field, sage_dtype dtype, const Constant& constant, int64_t elements) {
    if (!support::IsFloat(dtype))
      return Fail(field, "is {}; it must be F64, F32, F16 or BF16", support::DtypeName(dtype));
    uint64_t needed = 0;
    if (__builtin_mul_overflow(static_cast<uint64_t>(elements), uint64_t{support::DtypeSize(dtype)}, &needed) ||
        constant.bytes != needed || (needed > 0 && constant.data == nullptr))
      Fail(field, "has {} bytes, {} elements of {} need {}", constant.bytes, elements, support::DtypeName(dtype),
           needed);
  }

  std::vector<ModelError>& errors_;
};

}  // namespace

void CheckSageParams(const ExpertParams& params, std::vector<ModelError>* errors) {
  Checker check(errors);
  check.Attention(params.attention, false);
  check.Count("num_experts", params.num_experts, 1, 1 << 20);
  check.Count("top_k", params.top_k, 1, 1 << 20);  // above num_experts: clamped at run, and said so
  check.Count("max_batch", params.max_batch, 1, 65536);
  check.Share("alpha", params.alpha);
  check.NotNegative("lambda", params.lambda);
  if (params.trust_link > TrustLink::kLogit) check.Fail("trust_link", "is not known");
  if (params.selection > Selection::kTrustFirst) check.Fail("selection", "is not known");
  if (static_cast<int64_t>(params.head_weights.size()) != params.attention.query_heads) {
    check.Fail("head_weights", "has {} numbers, one a query head ({}) is needed", params.head_weights.size(),
               params.attention.query_heads);
  } else {
    double sum = 0;
    bool good = true;
    for (const double weight : params.head_weights) {
      good &= weight >= 0 && std::isfinite(weight);
      sum += weight;
    }
    if (!good) check.Fail("head_weights", "must be finite numbers >= 0");
    if (good && !(std::abs(sum - 1) <= 1e-6)) check.Fail("head_weights", "sum to {}; they must sum to 1", sum);
  }
  check.Share("epsilon", params.epsilon);
  check.Share("min_trust", params.min_trust);
  check.Share("substitution_trust", params.substitution_trust);
}

void CheckSageParams(const MetabolicParams& params, std::vector<ModelError>* errors) {
  Checker check(errors);
  check.Attention(params.attention, false);
  check.Count("max_targets", params.max_targets, 1, 1 << 20);
  check.NotNegative("total_atp", params.total_atp);
  if (params.initial_state > MetabolicState::kCrisis) check.Fail("initial_state", "is not known");
  check.Share("wake_spread", params.wake_spread);
  check.Share("focus_primary", params.focus_primary);
  check.Share("focus_secondary", params.focus_secondary);
  if (params.focus_primary + params.focus_secondary > 1 + 1e-12)
    check.Fail("focus_secondary", "is {}: with focus_primary {} it is more than everything", params.focus_secondary,
               params.focus_primary);
  check.Share("rest_consolidation", params.rest_consolidation);
  check.Share("dream_bias", params.dream_bias);
  check.Share("dream_dropout", params.dream_dropout);
  check.Positive("crisis_temperature", params.crisis_temperature);
  const TransitionParams& t = params.transitions;
  check.NotNegative("transitions.crisis_enter_salience", t.crisis_enter_salience);
  check.NotNegative("transitions.crisis_exit_salience", t.crisis_exit_salience);
  check.NotNegative("transitions.focus_enter_salience", t.focus_enter_salience);
  check.NotNegative("transitions.focus_exit_salience", t.focus_exit_salience);
  check.NotNegative("transitions.focus_max_seconds", t.focus_max_seconds);
  check.NotNegative("transitions.rest_enter_salience", t.rest_enter_salience);
  check.NotNegative("transitions.wake_to_rest_seconds", t.wake_to_rest_seconds);
  check.NotNegative("transitions.rest_exit_salience", t.rest_exit_salience);
  check.NotNegative("transitions.rest_to_dream_seconds", t.rest_to_dream_seconds);
  check.Share("transitions.dream_probability", t.dream_probability);
  check.NotNegative("transitions.dream_exit_salience", t.dream_exit_salience);
  check.NotNegative("transitions.dream_max_seconds", t.dream_max_seconds);
  check.Count("history", params.history, 0, 1 << 20);
}

void CheckSageParams(const FusionParams& params, std::vector<ModelError>* errors) {
  Checker check(errors);
  check.Attention(params.attention, true);
  check.Count("max_sensors", params.max_sensors, 1, 65536);
  check.Count("max_rows", params.max_rows, 1, 1 << 24);
  check.NotNegative("goal_weight", params.goal_weight);
  check.NotNegative("salience_weight", params.salience_weight);
  check.NotNegative("memory_weight", params.memory_weight);
  check.NotNegative("trust_weight", params.trust_weight);
  check.Count("max_active", params.max_active, 0, 65536);
  check.Share("gate_salience", params.gate_salience);
  check.NotNegative("age_rate", params.age_rate);
  check.NotNegative("interrupt_salience", params.interrupt_salience);
  check.Count("interrupt_hold_ticks", params.interrupt_hold_ticks, 0, INT32_MAX);
  check.NotNegative("snarc.surprise", params.snarc.surprise);
  check.NotNegative("snarc.novelty", params.snarc.novelty);
  check.NotNegative("snarc.arousal", params.snarc.arousal);
  check.NotNegative("snarc.reward", params.snarc.reward);
  check.NotNegative("snarc.conflict", params.snarc.conflict);
}

}  // namespace sage
