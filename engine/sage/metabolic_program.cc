// metabolic_program.cc: a tick of saliences in, ATP by target out, and the state of the machine in between.
#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "options.h"
#include "sage/metabolic.h"
#include "sage/number.h"
#include "sage/random.h"
#include "sage/sage_program.h"
#include "sage/state_machine.h"

namespace sage {
namespace {

constexpr std::string_view kTickKeys[] = {"ts", "tick", "seed", "targets", "state", "state_embedding", "atp"};
constexpr std::string_view kTargetKeys[] = {"id", "salience", "embedding"};
constexpr std::string_view kStateKeys[] = {"name", "since", "history"};
constexpr std::string_view kTransitionKeys[] = {"from", "to", "trigger", "ts", "salience"};
constexpr std::string_view kStates[] = {"AUTO", "WAKE", "FOCUS", "REST", "DREAM", "CRISIS"};
constexpr const char* kConsolidation = "memory_consolidation";
constexpr const char* kMonitoring = "minimal_monitoring";
constexpr double kAny = std::numeric_limits<double>::max();

void WriteTransition(const Transition& transition, JsonWriter& out) {
  out.BeginObject();
  out.Member("from", MetabolicStateName(transition.from));
  out.Member("to", MetabolicStateName(transition.to));
  out.Member("trigger", TriggerName(transition.trigger));
  out.Member("ts", transition.ts);
  out.Member("salience", transition.salience);
  out.EndObject();
}

class MetabolicProgram final : public SageProgram {
 public:
  MetabolicProgram(std::shared_ptr<Engine> engine, std::shared_ptr<const Model> model, const SessionOptions& options,
                   const MetabolicParams& params)
      : SageProgram(std::move(engine), std::move(model), options, params.attention, "MetabolicGraph", params.seed),
        params_(params),
        state_(params.initial_state),
        history_(params.history),
        restored_history_(0) {
    tick_keys_ = kTickKeys;
  }

  Status Prepare() {
    const auto targets = static_cast<uint64_t>(params_.max_targets);
    const auto width = static_cast<uint64_t>(std::max(attention_.d_model, QueryWidth(attention_)));
    uint64_t embeddings = 0;
    if (__builtin_mul_overflow(targets + 3, width + 16, &embeddings)) embeddings = UINT64_MAX;
    SAGE_RETURN_IF_ERROR(Budget(embeddings, "max_targets embeddings"));
    const size_t n = targets, d = static_cast<size_t>(attention_.d_model);
    ids_.reserve(n), salience_.reserve(n), has_embedding_.reserve(n);
    shares_.resize(n), atp_.resize(n + 2), legacy_.resize(n + 2), logits_.resize(n), line_.resize(n), order_.resize(n);
    ranked_.resize(n), places_.reserve(2 * (n + 2));
    if (attention_.mode == GraphMode::kLegacy) return Status();
    const bool content = attention_.gamma > 0;
    state_embedding_.resize(d), query_.resize(d);
    row_.resize(width + 1);
    if (content) embeddings_.resize(n * d);

    LoweringForm form;
    form.keys = {"targets", params_.max_targets};
    LoweringForm causal = form;
    causal.queries = form.keys;
    causal.causal = true;
    form.content = causal.content = false;
    SAGE_ASSIGN_OR_RETURN(prior_, AddUnit("prior", form));
    if (params_.enable_causal_focus) {
      SAGE_ASSIGN_OR_RETURN(prior_causal_, AddUnit("prior_causal", causal));
    }
    if (!content) return Status();
    form.content = causal.content = true;
    SAGE_ASSIGN_OR_RETURN(content_, AddUnit("content", form));
    if (params_.enable_causal_focus) {
      SAGE_ASSIGN_OR_RETURN(content_causal_, AddUnit("content_causal", causal));
    }
    return Status();
  }

 protected:
  bool ReadTick(const JsonNode& root) override {
    const Place top;
    const double limit = LargestFinite(attention_.dtype);
    forced_.reset();
    if (const JsonNode* state = reader_.Find(root, "state")) {
      std::string_view name;
      if (!reader_.String(*state, top / "state", "state", &name) || !ReadStateName(name, top / "state")) return false;
    }
    total_ = params_.total_atp;
    if (const JsonNode* atp = reader_.Find(root, "atp")) {
      if (!reader_.Number(*atp, top / "atp", "atp", 0, kAny, &total_)) return false;
    }
    const bool keep = content_ != nullptr;
    state_embedding_.resize(static_cast<size_t>(attention_.d_model));
    has_state_ = false;
    if (const JsonNode* embedding = reader_.Find(root, "state_embedding")) {
      if (!reader_.Vector(*embedding, top / "state_embedding", "state_embedding", limit, state_embedding_))
        return false;
      has_state_ = true;
    }
    const JsonNode* targets = reader_.Require(root, top, "targets");
    const Place list = top / "targets";
    if (targets == nullptr || !reader_.Array(*targets, list, "targets")) return false;
    if (targets->size > params_.max_targets) {
      return reader_.Fail("SAGE_E_LIMIT", list,
                          "the tick has " + std::to_string(targets->size) + " targets; the model's max_targets is " +
                              std::to_string(params_.max_targets));
    }
    ids_.clear(), salience_.clear(), has_embedding_.clear();
    const auto d = static_cast<size_t>(attention_.d_model);
    query_.resize(d);
    uint32_t at = reader_.json().IndexOf(*targets) + 1;
    for (size_t i = 0; i < targets->size; ++i, at = reader_.json().at(at).next) {
      const JsonNode& target = reader_.json().at(at);
      const Place place = list[i];
      reader_.SetSubject({});
      if (!reader_.Object(target, place, "target") || !reader_.CheckKeys(target, place, kTargetKeys)) return false;
      std::string_view id;
      const JsonNode* node = reader_.Require(target, place, "id");
      if (node == nullptr || !reader_.String(*node, place / "id", "id", &id)) return false;
      reader_.SetSubject(id);
      if (params_.rest_split && (id == kConsolidation || id == kMonitoring)) {
        return reader_.Fail("SAGE_E_RANGE", place / "id",
                            Quoted(id) + " is the name of REST's own entry; call the target otherwise");
      }
      double salience = 0;
      node = reader_.Require(target, place, "salience");
      if (node == nullptr || !reader_.Number(*node, place / "salience", "salience", 0, 1, &salience)) return false;
      const JsonNode* embedding = reader_.Find(target, "embedding");
      if (embedding != nullptr) {
        // Checked even where it is not used, so that a log does not turn bad with another mode.
        const std::span<double> into = keep ? std::span(embeddings_).subspan(i * d, d) : std::span(query_);
        if (!reader_.Vector(*embedding, place / "embedding", "embedding", limit, into)) return false;
      }
      ids_.push_back(id), salience_.push_back(salience), has_embedding_.push_back(embedding != nullptr ? 1 : 0);
    }
    reader_.SetSubject({});
    return reader_.Unique(ids_, list, "id", "id");
  }

  Status Decide() override {
    const double strongest = salience_.empty() ? 0 : *std::max_element(salience_.begin(), salience_.end());
    const double since = since_.value_or(moment_.ts);
    moved_.reset();
    if (!forced_.has_value()) {
      moved_ = NextTransition(params_.transitions, state_, moment_.ts - since, strongest, moment_.ts, moment_.seed,
                              static_cast<uint64_t>(moment_.tick));
    } else if (*forced_ != state_) {
      moved_ = Transition{state_, *forced_, Trigger::kForced, moment_.ts, strongest};
    }
    next_state_ = moved_.has_value() ? moved_->to : state_;
    next_since_ = moved_.has_value() ? moment_.ts : since;

    // What attention shares out, and to whom: REST has two entries of its own, split among targets only on request.
    const size_t n = ids_.size();
    const bool legacy_mode = attention_.mode == GraphMode::kLegacy;
    const bool rest = next_state_ == MetabolicState::kRest;
    const bool split = rest && params_.rest_split && n > 0 && !legacy_mode;
    const double consolidation = total_ * params_.rest_consolidation;
    const std::span<double> atp(atp_.data(), n), legacy(legacy_.data(), n);
    if (n > 0 && (!rest || split) && !legacy_mode) {
      SAGE_RETURN_IF_ERROR(Attend());
      AtpFromShares(split ? total_ - consolidation : total_, std::span(shares_.data(), n), atp);
    }
    if (n > 0 && !rest && attention_.mode != GraphMode::kAttention) {
      LegacyAtp(params_, next_state_, total_, salience_, moment_.seed, static_cast<uint64_t>(moment_.tick),
                std::span(order_.data(), n), legacy);
    }
    const std::span<const double> shown = legacy_mode ? legacy : atp;

    Comparison comparison;
    if (attention_.mode == GraphMode::kCompare && split) {
      atp_[n] = legacy_[n] = consolidation;
      atp_[n + 1] = 0, legacy_[n + 1] = total_ - consolidation;
      std::fill(legacy.begin(), legacy.end(), 0.0);
      comparison = CompareShares(std::span(atp_.data(), n + 2), std::span(legacy_.data(), n + 2), total_, &places_);
    } else if (attention_.mode == GraphMode::kCompare && !rest) {
      comparison = CompareShares(atp, legacy, total_, &places_);
    }

    WriteHead(MetabolicStateName(next_state_));
    if (moved_.has_value()) WriteTransition(*moved_, out_);
    out_.EndArray();
    out_.Key("decisions");
    out_.BeginObject();
    if (rest) {
      out_.Member(kConsolidation, consolidation);
      if (!split) out_.Member(kMonitoring, total_ - consolidation);
    }
    if (!rest || split) {
      for (size_t i = 0; i < n; ++i) out_.Member(ids_[i], shown[i]);
    }
    out_.EndObject();
    double spent = rest || (n > 0 && !legacy_mode) ? total_ : 0;
    if (legacy_mode && !rest) spent = std::accumulate(legacy.begin(), legacy.end(), 0.0);
    out_.Key("budget");
    out_.BeginObject();
    out_.Member("atp", total_);
    out_.Member("spent", spent);
    out_.EndObject();
    WriteTail(attention_.mode == GraphMode::kCompare ? &comparison : nullptr);
    return Status();
  }

  void Commit() override {
    state_ = next_state_;
    since_ = next_since_;
    if (moved_.has_value()) history_.Add(*moved_);
  }

  void WriteState(JsonWriter& out) const override {
    out.BeginObject();
    out.Member("name", MetabolicStateName(state_));
    out.Key("since");
    since_.has_value() ? out.Number(*since_) : out.Null();
    out.Key("history");
    out.BeginArray();
    for (size_t i = 0; i < history_.size(); ++i) WriteTransition(history_.at(i), out);
    out.EndArray();
    out.EndObject();
  }

  bool ReadState(TickReader& reader, const JsonNode& state) override {
    const Place top = Place() / "state";
    const JsonReader& json = reader.json();
    if (!reader.CheckKeys(state, top, kStateKeys)) return false;
    const auto read_name = [&](const JsonNode& object, const Place& place, const char* key, MetabolicState* out) {
      std::string_view name;
      const JsonNode* node = reader.Require(object, place, key);
      if (node == nullptr || !reader.String(*node, place / key, key, &name)) return false;
      return ParseMetabolicState(name, out) ||
             reader.Fail("SAGE_E_RANGE", place / key, "there is no state " + Quoted(name));
    };
    if (!read_name(state, top, "name", &restored_state_)) return false;
    restored_since_.reset();
    const JsonNode* since = reader.Require(state, top, "since");
    if (since == nullptr) return false;
    if (since->type != JsonType::kNull) {
      restored_since_.emplace();
      if (!reader.Number(*since, top / "since", "since", -kAny, kAny, &*restored_since_)) return false;
    }
    const JsonNode* history = reader.Require(state, top, "history");
    if (history == nullptr || !reader.Array(*history, top / "history", "history")) return false;
    restored_history_ = TransitionHistory(params_.history);
    uint32_t at = json.IndexOf(*history) + 1;
    for (size_t i = 0; i < history->size; ++i, at = json.at(at).next) {
      const Place place = (top / "history")[i];
      const JsonNode& item = json.at(at);
      Transition transition;
      if (!reader.Object(item, place, "transition") || !reader.CheckKeys(item, place, kTransitionKeys) ||
          !read_name(item, place, "from", &transition.from) || !read_name(item, place, "to", &transition.to)) {
        return false;
      }
      std::string_view trigger;
      const JsonNode* node = reader.Require(item, place, "trigger");
      if (node == nullptr || !reader.String(*node, place / "trigger", "trigger", &trigger)) return false;
      if (!ParseTrigger(trigger.data(), trigger.size(), &transition.trigger)) {
        return reader.Fail("SAGE_E_RANGE", place / "trigger", "there is no trigger " + Quoted(trigger));
      }
      node = reader.Require(item, place, "ts");
      if (node == nullptr || !reader.Number(*node, place / "ts", "ts", -kAny, kAny, &transition.ts)) return false;
      node = reader.Require(item, place, "salience");
      if (node == nullptr || !reader.Number(*node, place / "salience", "salience", 0, 1, &transition.salience)) {
        return false;
      }
      restored_history_.Add(transition);
    }
    return true;
  }

  void CommitState() override {
    state_ = restored_state_;
    since_ = restored_since_;
    history_ = std::move(restored_history_);
    restored_history_ = TransitionHistory(0);
  }

  void ExplainMore(JsonWriter& out) const override {
    out.Member("max_targets", params_.max_targets);
    out.Member("state", MetabolicStateName(state_));
    out.Member("enable_causal_focus", params_.enable_causal_focus);
  }

  void TraceMore(JsonWriter& out) const override { out.Member("history", static_cast<uint64_t>(history_.size())); }

 private:
  bool ReadStateName(std::string_view name, const Place& place) {
    MetabolicState state{};
    if (ParseMetabolicState(name, &state)) {
      forced_ = state;
      return true;
    }
    const bool automatic = name.size() == 4 && std::equal(name.begin(), name.end(), "AUTO", [](char a, char b) {
                             return a == b || a == static_cast<char>(b - 'A' + 'a');
                           });
    if (automatic) return true;
    std::string upper(name);
    for (char& c : upper) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
    const std::string nearest = NearestName(upper, kStates);
    return reader_.Fail("SAGE_E_RANGE", place,
                        "there is no state " + Quoted(name) +
                            "; the states are AUTO, WAKE, FOCUS, REST, DREAM and CRISIS" +
                            (nearest.empty() ? "" : "; did you mean " + nearest + "?"));
  }

  std::span<const double> Embedding(size_t target) const {
    const auto d = static_cast<size_t>(attention_.d_model);
    if (has_embedding_[target] == 0) return {};
    return std::span(embeddings_).subspan(target * d, d);
  }

  void StoreQueryRow(AttentionUnit* unit, int64_t query, std::span<const double> embedding) {
    const auto row = std::span(row_).first(static_cast<size_t>(unit->lowered().q_width));
    ProjectQuery(attention_, embedding, row);
    unit->StoreQuery(0, query, row);
  }

  // Fills shares_ for next_state_. N >= 1.
  Status Attend() {
    const size_t n = ids_.size();
    const bool all_targets = std::find(has_embedding_.begin(), has_embedding_.end(), 0) == has_embedding_.end();
    const bool any_target = std::find(has_embedding_.begin(), has_embedding_.end(), 1) != has_embedding_.end();
    if (!has_state_ || !all_targets) flags_ |= kContentAbsent;
    const bool content = content_ != nullptr && has_state_ && any_target;
    const bool causal = next_state_ == MetabolicState::kFocus && params_.enable_causal_focus;
    AttentionUnit* unit = causal ? (content ? content_causal_ : prior_causal_) : (content ? content_ : prior_);

    const std::span<uint32_t> order(order_.data(), n);
    const std::span<double> logits(logits_.data(), n), ranked(ranked_.data(), n), shares(shares_.data(), n);
    std::iota(order.begin(), order.end(), 0u);
    PriorLogits(params_, next_state_, salience_, order, logits);
    if (!causal) std::iota(order.begin(), order.end(), 0u);
    for (size_t i = 0; i < n; ++i) ranked[i] = logits[order[i]];

    const auto rows = static_cast<int64_t>(n);
    SAGE_RETURN_IF_ERROR(unit->Open(1, causal ? rows : 1, rows));
    unit->StoreBias(0, 0, 0, ranked);
    if (content) {
      for (size_t i = 0; i < n; ++i) {
        const auto row = std::span(row_).first(static_cast<size_t>(unit->lowered().k_width));
        ProjectKey(attention_, Embedding(order[i]), row);
        unit->StoreKey(0, static_cast<int64_t>(i), row);
        if (!causal) continue;
        // A target is asked for in the light of the state: its query is the sum of both.
        std::copy(state_embedding_.begin(), state_embedding_.end(), query_.begin());
        const auto target = Embedding(order[i]);
        for (size_t j = 0; j < target.size(); ++j) query_[j] += target[j];
        StoreQueryRow(unit, static_cast<int64_t>(i), query_);
      }
      if (!causal) StoreQueryRow(unit, 0, state_embedding_);
    }
    SAGE_RETURN_IF_ERROR(RunUnit(unit));

    if (causal) {
      CausalShares(
          ranked, order,
          [&](size_t query, size_t key) {
            return unit->MeanWeight(0, static_cast<int64_t>(query), static_cast<int64_t>(key));
          },
          shares);
    } else {
      for (size_t i = 0; i < n; ++i) shares[i] = unit->MeanWeight(0, 0, static_cast<int64_t>(i));
    }
    SAGE_RETURN_IF_ERROR(CheckFinite(shares));
    if (next_state_ == MetabolicState::kDream) {
      for (size_t i = 0; i < n; ++i) {
        line_[i] =
            Uniform(moment_.seed, static_cast<uint64_t>(moment_.tick), RandomStream::kDreamDrop, HashId(ids_[i]));
      }
      if (DropShares(params_.dream_dropout, std::span(line_.data(), n), shares)) flags_ |= kAllDropped;
    }
    return Status();
  }

  const MetabolicParams& params_;
  AttentionUnit *prior_ = nullptr, *prior_causal_ = nullptr, *content_ = nullptr, *content_causal_ = nullptr;

  MetabolicState state_;
  std::optional<double> since_;  // when state_ was entered; unset before the first tick
  TransitionHistory history_;

  // The tick being decided.
  std::optional<MetabolicState> forced_;
  double total_ = 0;
  bool has_state_ = false;
  std::vector<std::string_view> ids_;
  std::vector<double> salience_, embeddings_, state_embedding_;
  std::vector<uint8_t> has_embedding_;
  std::optional<Transition> moved_;
  MetabolicState next_state_{};
  double next_since_ = 0;

  MetabolicState restored_state_{};
  std::optional<double> restored_since_;
  TransitionHistory restored_history_;

  std::vector<double> shares_, atp_, legacy_, logits_, ranked_, line_, row_, query_;
  std::vector<uint32_t> order_, places_;
};

}  // namespace

Result<std::unique_ptr<Program>> MakeMetabolicProgram(std::shared_ptr<Engine> engine,
                                                      std::shared_ptr<const Model> model,
                                                      const SessionOptions& options) {
  const auto& params = std::get<MetabolicParams>(model->content());
  auto program = std::make_unique<MetabolicProgram>(std::move(engine), model, options, params);
  SAGE_RETURN_IF_ERROR(program->Prepare());
  return std::unique_ptr<Program>(std::move(program));
}

}  // namespace sage
