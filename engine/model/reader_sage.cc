// reader_sage.cc: the three SAGE graphs: defaults filled in, so that nothing is absent any more.
#include <algorithm>
#include <cmath>

#include "model/reader.h"
#include "model/verify.h"

namespace sage {

void ModelReader::ReadAttention(const fb::GraphAttention* attention, int64_t d_model, int64_t query_heads,
                                int64_t kv_heads, SageAttention* out) {
  const std::string path = "graph.attention";
  const bool has = attention != nullptr;
  out->d_model = has && attention->d_model() ? *attention->d_model() : d_model;
  out->query_heads = has && attention->query_heads() ? *attention->query_heads() : query_heads;
  out->kv_heads = has && attention->kv_heads() ? *attention->kv_heads() : kv_heads;
  if (has && attention->head_dim()) {
    out->head_dim = *attention->head_dim();
  } else if (out->query_heads > 0 && out->d_model % out->query_heads == 0) {
    out->head_dim = out->d_model / out->query_heads;
  } else {
    Fail(path + ".head_dim", "is absent, and {} query heads do not divide d_model {}", out->query_heads, out->d_model);
  }
  if (!has) {
    out->gamma = 1;
    out->scale = 1;
    return;
  }
  out->mode = attention->use_flash_attention() ? GraphMode::kAttention : GraphMode::kLegacy;
  ReadEnum(attention->mode(), path + ".mode", &out->mode);
  ReadEnum(attention->weights(), path + ".weights", &out->weights);
  out->weight_seed = attention->weight_seed();
  if (Known(attention->dtype(), path + ".dtype")) out->dtype = DtypeOf(attention->dtype());
  // Random projections are noise: they join in only when asked to.
  out->gamma = attention->gamma() ? *attention->gamma() : out->weights == WeightSource::kSeeded ? 0.0 : 1.0;
  const bool cosine = out->weights == WeightSource::kIdentity;
  out->scale = attention->scale() ? *attention->scale()
               : cosine           ? 1.0
                                  : 1.0 / std::sqrt(static_cast<double>(std::max<int64_t>(out->head_dim, 1)));
  const int64_t q_out = HeadsWidth(out->query_heads, out->head_dim), kv_out = HeadsWidth(out->kv_heads, out->head_dim);
  ReadProjection(attention->q_proj(), path + ".q_proj", *out, q_out, out->d_model, &out->q_proj);
  ReadProjection(attention->k_proj(), path + ".k_proj", *out, kv_out, out->d_model, &out->k_proj);
  ReadProjection(attention->v_proj(), path + ".v_proj", *out, kv_out, out->d_model, &out->v_proj);
  ReadProjection(attention->o_proj(), path + ".o_proj", *out, out->d_model, q_out, &out->o_proj);
}

void ModelReader::ReadProjection(const fb::Projection* projection, const std::string& path,
                                 const SageAttention& attention, int64_t rows, int64_t columns,
                                 std::optional<ProjectionWeights>* out) {
  if (projection == nullptr) return;
  // A RAW file says no type; then it is the graph's. A safetensors file says its own.
  const auto read = [&](const fb::Weight& weight, const std::string& at, std::vector<int64_t> shape) {
    const bool raw = weight.key() == nullptr;
    return ReadWeight(weight, at, raw ? std::optional(attention.dtype) : std::nullopt, std::move(shape));
  };
  ProjectionWeights weights;
  auto weight = read(*projection->weight(), path + ".weight", {rows, columns});
  if (!weight) return;
  weights.weight = std::move(weight->constant);
  weights.weight_dtype = weight->dtype;
  if (projection->bias() != nullptr) {
    auto bias = read(*projection->bias(), path + ".bias", {rows});
    if (!bias) return;
    weights.bias = std::move(bias->constant);
    weights.bias_dtype = bias->dtype;
  }
  *out = std::move(weights);
}

ExpertParams ModelReader::ReadExpert(const fb::ExpertGraph& graph) {
  ExpertParams out;
  const size_t before = errors_.size();
  ReadAttention(graph.attention(), 768, 12, 4, &out.attention);
  out.num_experts = graph.num_experts();
  out.top_k = graph.top_k();
  out.max_batch = graph.max_batch();
  out.alpha = graph.alpha();
  out.lambda = graph.lambda();
  ReadEnum(graph.trust_link(), "graph.trust_link", &out.trust_link);
  const int64_t heads = std::clamp<int64_t>(out.attention.query_heads, 1, 1024);
  if (graph.head_weights() == nullptr) {
    out.head_weights.assign(static_cast<size_t>(heads), 1.0 / static_cast<double>(heads));
  } else if (graph.head_weights()->size() > 1024) {
    Fail("graph.head_weights", "has {} numbers, at most 1024", graph.head_weights()->size());
  } else {
    for (uint32_t i = 0; i < graph.head_weights()->size(); ++i)
      out.head_weights.push_back(DoubleAt(*graph.head_weights(), i));
  }
  if (graph.context() != nullptr) out.context = Name(graph.context(), "graph.context");
  ReadEnum(graph.selection(), "graph.selection", &out.selection);
  out.epsilon = graph.epsilon();
  out.min_evidence = graph.min_evidence();
  out.min_trust = graph.min_trust();
  out.substitution_trust = graph.substitution_trust();
  out.return_weights = graph.return_weights();
  out.seed = graph.seed();
  if (errors_.size() == before) CheckSageParams(out, &errors_);
  return out;
}

MetabolicParams ModelReader::ReadMetabolic(const fb::MetabolicGraph& graph) {
  MetabolicParams out;
  const size_t before = errors_.size();
  ReadAttention(graph.attention(), 256, 8, 8, &out.attention);
  out.max_targets = graph.max_targets();
  out.total_atp = graph.total_atp();
  ReadEnum(graph.initial_state(), "graph.initial_state", &out.initial_state);
  out.wake_spread = graph.wake_spread();
  out.enable_causal_focus = graph.enable_causal_focus();
  out.focus_primary = graph.focus_primary();
  out.focus_secondary = graph.focus_secondary();
  out.rest_consolidation = graph.rest_consolidation();
  out.rest_split = graph.rest_split();
  out.dream_bias = graph.dream_bias();
  out.dream_dropout = graph.dream_dropout();
  if (Known(graph.crisis(), "graph.crisis")) out.crisis_soft = graph.crisis() == fb::CrisisKind::SOFT;
  out.crisis_temperature = graph.crisis_temperature();
  if (const fb::Transitions* t = graph.transitions()) {
    TransitionParams& to = out.transitions;
    to.crisis_enter_salience = t->crisis_enter_salience();
    to.crisis_exit_salience = t->crisis_exit_salience();
    to.focus_enter_salience = t->focus_enter_salience();
    to.focus_exit_salience = t->focus_exit_salience();
    to.focus_max_seconds = t->focus_max_seconds();
    to.rest_enter_salience = t->rest_enter_salience();
    to.wake_to_rest_seconds = t->wake_to_rest_seconds();
    to.rest_exit_salience = t->rest_exit_salience();
    to.rest_to_dream_seconds = t->rest_to_dream_seconds();
    to.dream_probability = t->dream_probability();
    to.dream_exit_salience = t->dream_exit_salience();
    to.dream_max_seconds = t->dream_max_seconds();
    to.legacy = t->legacy();
  }
  out.history = graph.history();
  out.seed = graph.seed();
  if (errors_.size() == before) CheckSageParams(out, &errors_);
  return out;
}

FusionParams ModelReader::ReadFusion(const fb::FusionGraph& graph) {
  FusionParams out;
  const size_t before = errors_.size();
  ReadAttention(graph.attention(), 256, 8, 8, &out.attention);
  out.max_sensors = graph.max_sensors();
  out.max_rows = graph.max_rows();
  out.goal_weight = graph.goal_weight();
  out.salience_weight = graph.salience_weight();
  out.memory_weight = graph.memory_weight();
  out.trust_weight = graph.trust_weight();
  out.max_active = graph.max_active();
  if (Known(graph.gate(), "graph.gate")) out.gate_hard = graph.gate() == fb::SalienceGate::HARD;
  out.gate_salience = graph.gate_salience();
  out.age_rate = graph.age_rate();
  out.interrupt_salience = graph.interrupt_salience();
  out.interrupt_hold_ticks = graph.interrupt_hold_ticks();
  if (const fb::Snarc* s = graph.snarc())
    out.snarc = {s->surprise(), s->novelty(), s->arousal(), s->reward(), s->conflict()};
  if (errors_.size() == before) CheckSageParams(out, &errors_);
  return out;
}

}  // namespace sage
