// expert_program.cc: a tick of router logits and trust in, selected experts with scores and gates out.
//
// Reading, running and writing only: the formulas are in expert.cc, the table and its cached K in expert_table.cc.
#include <algorithm>
#include <limits>
#include <utility>

#include "sage/expert.h"
#include "sage/expert_table.h"
#include "sage/number.h"
#include "sage/rows.h"
#include "sage/sage_program.h"

namespace sage {
namespace {

constexpr std::string_view kTickKeys[] = {"ts",
                                          "tick",
                                          "seed",
                                          "router_logits",
                                          "context",
                                          "context_embedding",
                                          "trust",
                                          "evidence",
                                          "available",
                                          "experts_revision",
                                          "loaded",
                                          "clusters",
                                          "quality_delta",
                                          "k"};
constexpr double kAny = std::numeric_limits<double>::max();
constexpr int64_t kMaxInteger = std::numeric_limits<int64_t>::max();

size_t Index(int64_t n) { return static_cast<size_t>(n); }

class ExpertProgram final : public SageProgram {
 public:
  ExpertProgram(std::shared_ptr<Engine> engine, std::shared_ptr<const Model> model, const SessionOptions& options,
                const ExpertParams& params)
      : SageProgram(std::move(engine), std::move(model), options, params.attention, "ExpertGraph", params.seed),
        params_(params),
        n_(params.num_experts),
        table_(params) {
    tick_keys_ = kTickKeys;
  }

  Status Prepare() {
    const auto rows = static_cast<uint64_t>(params_.max_batch), n = static_cast<uint64_t>(n_);
    const auto width = static_cast<uint64_t>(std::max(attention_.d_model, QueryWidth(attention_)));
    const auto groups = static_cast<uint64_t>(attention_.kv_heads);
    uint64_t a = 0, b = 0;
    if (__builtin_mul_overflow(rows * (groups + 5), n, &a) || __builtin_mul_overflow(rows + 2, width, &b))
      a = UINT64_MAX;
    SAGE_RETURN_IF_ERROR(Budget(a, "max_batch rows of experts"));
    SAGE_RETURN_IF_ERROR(Budget(b, "max_batch contexts"));
    const size_t cells = rows * n, experts = n;
    router_.resize(cells), trust_.resize(cells * groups), available_.resize(cells), evidence_.resize(cells);
    groups_.resize(rows), contexts_.resize(rows), availables_.resize(rows);
    context_embedding_.resize(rows * static_cast<size_t>(attention_.d_model));
    loaded_.resize(experts), clusters_.resize(experts), quality_delta_.resize(experts);
    a_.resize(cells), scores_.resize(experts), legacy_scores_.resize(experts), line_.resize(experts);
    gates_.resize(2 * experts), row_.resize(width + 1), order_.reserve(experts), taken_.reserve(experts);
    places_.reserve(2 * experts);
    selection_.Reserve(n_), legacy_selection_.Reserve(n_);
    if (!Attends()) return Status();
    LoweringForm form;
    form.content = false;
    form.queries = {"rows", params_.max_batch};
    form.keys = {nullptr, n_};
    form.bias_by_head = form.bias_by_query = true;
    form.prior_heads = attention_.kv_heads;
    SAGE_ASSIGN_OR_RETURN(prior_, AddUnit("prior", form));
    if (!(attention_.gamma > 0)) return Status();
    form.content = form.keys_projected = true;
    SAGE_ASSIGN_OR_RETURN(content_, AddUnit("content", form));
    if (attention_.weights != WeightSource::kIdentity) {
      SAGE_ASSIGN_OR_RETURN(LoweredAttention lowered, LowerKeyProjection(attention_, model_->policy(), "key_projection",
                                                                         GraphSize{}, n_, options_.max_memory));
      SAGE_ASSIGN_OR_RETURN(projection_, AddUnit("key_projection", std::move(lowered)));
    }
    return Status();
  }

  uint32_t InputCount() const override { return 1; }

  Status SetInput(uint32_t index, sage_dtype dtype, std::span<const int64_t> shape, const void* data,
                  uint64_t bytes) override {
    if (index != 0) {
      return Status(SAGE_E_NOT_FOUND,
                    "ExpertGraph has one input, \"experts\" (0); " + std::to_string(index) + " was asked for");
    }
    SAGE_RETURN_IF_ERROR(table_.Check(dtype, shape, data, bytes));
    if (shape.size() == 3 && content_ != nullptr && content_by_row_ == nullptr) SAGE_RETURN_IF_ERROR(PrepareByRow());
    table_.Set(dtype, shape, data);
    return Status();
  }

 protected:
  bool ReadTick(const JsonNode& root) override {
    const Place top;
    const JsonReader& json = reader_.json();
    const JsonNode* router = reader_.Require(root, top, "router_logits");
    if (router == nullptr || !reader_.Array(*router, top / "router_logits", "router_logits")) return false;
    batched_ = router->size > 0 && json.at(json.IndexOf(*router) + 1).type == JsonType::kArray;
    rows_ = batched_ ? router->size : 1;
    if (rows_ > params_.max_batch) {
      return reader_.Fail("SAGE_E_LIMIT", top / "router_logits",
                          "the tick has " + std::to_string(rows_) + " rows; the model's max_batch is " +
                              std::to_string(params_.max_batch));
    }
    const auto cells = [&](auto& all, int64_t row) { return std::span(all).subspan(Index(row * n_), Index(n_)); };
    if (!Rows(root, "router_logits", [&](const JsonNode& node, const Place& place, int64_t row) {
          return reader_.Numbers(node, place, "router_logits", -kAny, kAny, cells(router_, row));
        })) {
      return false;
    }
    const auto given = [&](const char* key) { return reader_.Find(root, key) != nullptr; };
    has_available_ = given("available"), has_evidence_ = given("evidence"), has_context_ = given("context_embedding");
    for (int64_t row = 0; row < rows_; ++row) {
      contexts_[Index(row)] = params_.context;
      groups_[Index(row)] = 1;
      std::fill_n(trust_.begin() + row * attention_.kv_heads * n_, n_, 0.5);
    }
    const auto d = Index(attention_.d_model);
    const bool read =
        Rows(root, "context",
             [&](const JsonNode& node, const Place& place, int64_t row) {
               return reader_.String(node, place, "context", &contexts_[Index(row)]);
             }) &&
        Rows(root, "context_embedding",
             [&](const JsonNode& node, const Place& place, int64_t row) {
               return reader_.Vector(node, place, "context_embedding", LargestFinite(attention_.dtype),
                                     std::span(context_embedding_).subspan(Index(row) * d, d));
             }) &&
        Rows(root, "trust",
             [&](const JsonNode& node, const Place& place, int64_t row) { return ReadTrust(node, place, row); }) &&
        Rows(root, "evidence",
             [&](const JsonNode& node, const Place& place, int64_t row) {
               return reader_.Integers(node, place, "evidence", 0, kMaxInteger, cells(evidence_, row));
             }) &&
        Rows(root, "available", [&](const JsonNode& node, const Place& place, int64_t row) {
          return reader_.Bools(node, place, "available", cells(available_, row));
        });
    if (!read) return false;
    if (table_.by_row() && rows_ != table_.batch()) {
      return reader_.Fail("SAGE_E_DIMENSION", top / "router_logits",
                          "the tick has " + std::to_string(rows_) +
                              " rows; the expert table that is set has one for each of " +
                              std::to_string(table_.batch()));
    }
    revision_ = 0, k_ = params_.top_k;
    if (const JsonNode* node = reader_.Find(root, "experts_revision")) {
      if (!reader_.Integer(*node, top / "experts_revision", "experts_revision", -kMaxInteger, kMaxInteger,
                           &revision_)) {
        return false;
      }
    }
    if (const JsonNode* node = reader_.Find(root, "k")) {
      if (!reader_.Integer(*node, top / "k", "k", 1, kMaxInteger, &k_)) return false;
    }
    return ReadLoaded(root);
  }

  Status Decide() override {
    AttentionUnit* unit = nullptr;
    if (Attends()) SAGE_RETURN_IF_ERROR(Attend(&unit));
    WriteHead(nullptr);
    out_.EndArray();
    out_.Key("decisions");
    out_.BeginArray();
    Comparison comparison;
    for (int64_t row = 0; row < rows_; ++row) {
      const ExpertRow inputs = Row(row);
      clock_.Enter(PhaseClock::kDecide);
      Select(inputs, row, unit);
      if (attention_.mode == GraphMode::kCompare) comparison.Widen(CompareWithLegacy());
      availables_[Index(row)] = selection_.available;
      if (selection_.clamped) flags_ |= kClamped;
      if (selection_.available == 0) {
        if ((flags_ & kAllExcluded) == 0) reason_.append(reason_.empty() ? "" : "; ").append("no expert is available");
        flags_ |= kAllExcluded;
      }
      clock_.Enter(PhaseClock::kWrite);
      WriteRow(inputs, row, unit);
    }
    out_.EndArray();
    out_.Key("budget");
    out_.BeginObject();
    out_.Member("k", k_);
    out_.Key("available");
    if (batched_) out_.BeginArray();
    for (int64_t row = 0; row < rows_; ++row) out_.Integer(availables_[Index(row)]);
    if (batched_) out_.EndArray();
    out_.EndObject();
    WriteTail(attention_.mode == GraphMode::kCompare ? &comparison : nullptr);
    return Status();
  }

  void Commit() override {}
  void WriteState(JsonWriter& out) const override { out.BeginObject(), out.EndObject(); }
  bool ReadState(TickReader& reader, const JsonNode& state) override {
    return reader.CheckKeys(state, Place() / "state", {});
  }
  void CommitState() override {}

  void ExplainMore(JsonWriter& out) const override {
    out.Member("num_experts", n_);
    out.Member("top_k", params_.top_k);
    out.Member("max_batch", params_.max_batch);
    out.Member("selection", params_.selection == Selection::kBlend ? "BLEND" : "TRUST_FIRST");
    table_.WriteCache(out);
  }
  void TraceMore(JsonWriter& out) const override { table_.WriteCache(out); }

 private:
  // TRUST_FIRST chooses by trust alone, LEGACY by its formula: neither has an attention to run.
  bool Attends() const { return attention_.mode != GraphMode::kLegacy && params_.selection == Selection::kBlend; }

  // Reads `key`, if it is there: its one value, or in a tick of B rows its B elements.
  template <class Read>
  bool Rows(const JsonNode& root, const char* key, Read read) {
    const JsonNode* node = reader_.Find(root, key);
    const Place place = Place() / key;
    if (node == nullptr) return true;
    if (!batched_) return read(*node, place, 0);
    if (!reader_.Array(*node, place, key)) return false;
    if (node->size != rows_) {
      return reader_.Fail("SAGE_E_DIMENSION", place,
                          std::string(key) + " has " + std::to_string(node->size) + " rows; router_logits has " +
                              std::to_string(rows_));
    }
    const JsonReader& json = reader_.json();
    uint32_t at = json.IndexOf(*node) + 1;
    for (int64_t row = 0; row < rows_; ++row, at = json.at(at).next) {
      if (!read(json.at(at), place[Index(row)], row)) return false;
    }
    return true;
  }

  bool ReadTrust(const JsonNode& node, const Place& place, int64_t row) {
    const JsonReader& json = reader_.json();
    const auto into = [&](int64_t group) {
      return std::span(trust_).subspan(Index((row * attention_.kv_heads + group) * n_), Index(n_));
    };
    if (!reader_.Array(node, place, "trust")) return false;
    const bool grouped = node.size > 0 && json.at(json.IndexOf(node) + 1).type == JsonType::kArray;
    if (!grouped) return reader_.Numbers(node, place, "trust", 0, 1, into(0));
    if (node.size != attention_.kv_heads) {
      return reader_.Fail("SAGE_E_DIMENSION", place,
                          "trust has " + std::to_string(node.size) + " groups; the model has " +
                              std::to_string(attention_.kv_heads) + " key-value heads, or give one row for all");
    }
    groups_[Index(row)] = attention_.kv_heads;
    uint32_t at = json.IndexOf(node) + 1;
    for (int64_t group = 0; group < attention_.kv_heads; ++group, at = json.at(at).next) {
      if (!reader_.Numbers(json.at(at), place[Index(group)], "trust", 0, 1, into(group))) return false;
    }
    return true;
  }

  bool ReadLoaded(const JsonNode& root) {
    const Place top;
    const JsonReader& json = reader_.json();
    const JsonNode* clusters = reader_.Find(root, "clusters");
    has_clusters_ = clusters != nullptr;
    if (has_clusters_ && !reader_.Integers(*clusters, top / "clusters", "clusters", -1, kMaxInteger, clusters_)) {
      return false;
    }
    const JsonNode* delta = reader_.Find(root, "quality_delta");
    has_delta_ = delta != nullptr;
    if (has_delta_ && !reader_.Numbers(*delta, top / "quality_delta", "quality_delta", -kAny, kAny, quality_delta_)) {
      return false;
    }
    const JsonNode* loaded = reader_.Find(root, "loaded");
    has_loaded_ = loaded != nullptr;
    if (!has_loaded_) return true;
    const Place place = top / "loaded";
    if (!reader_.Array(*loaded, place, "loaded")) return false;
    std::fill(loaded_.begin(), loaded_.end(), uint8_t{0});
    uint32_t at = json.IndexOf(*loaded) + 1;
    for (size_t i = 0; i < loaded->size; ++i, at = json.at(at).next) {
      int64_t id = 0;
      if (!reader_.Integer(json.at(at), place[i], "expert id", 0, n_ - 1, &id)) return false;
      if (loaded_[Index(id)] != 0) {
        return reader_.Fail("SAGE_E_DUPLICATE", place[i], "the expert " + std::to_string(id) + " is there twice");
      }
      loaded_[Index(id)] = 1;
    }
    return true;
  }

  ExpertRow Row(int64_t row) const {
    const auto cells = [&](const auto& all) { return std::span(all).subspan(Index(row * n_), Index(n_)); };
    ExpertRow out;
    out.router = cells(router_);
    out.groups = groups_[Index(row)];
    out.trust = std::span(trust_).subspan(Index(row * attention_.kv_heads * n_), Index(out.groups * n_));
    if (has_available_) out.available = cells(available_);
    if (has_evidence_) out.evidence = cells(evidence_);
    return out;
  }

  Status PrepareByRow() {
    LoweringForm form;
    form.batch = {"rows", params_.max_batch};
    form.keys = {nullptr, n_};
    form.bias_by_head = true;
    form.keys_projected = true;
    AttentionUnit* projection = nullptr;
    if (attention_.weights != WeightSource::kIdentity) {
      SAGE_ASSIGN_OR_RETURN(LoweredAttention lowered,
                            LowerKeyProjection(attention_, model_->policy(), "key_projection_by_row", form.batch, n_,
                                               options_.max_memory));
      SAGE_ASSIGN_OR_RETURN(projection, AddUnit("key_projection_by_row", std::move(lowered)));
    }
    SAGE_ASSIGN_OR_RETURN(content_by_row_, AddUnit("content_by_row", form));
    projection_by_row_ = projection;
    return Status();
  }

  Status Attend(AttentionUnit** used) {
    const bool content = content_ != nullptr && has_context_ && !table_.empty();
    if (!has_context_ || table_.empty()) flags_ |= kContentAbsent;
    AttentionUnit* unit = !content ? prior_ : table_.by_row() ? content_by_row_ : content_;
    *used = unit;
    const bool by_row = content && table_.by_row();
    if (content) {
      SAGE_RETURN_IF_ERROR(table_.EnsureKeys(revision_, unit, table_.by_row() ? projection_by_row_ : projection_));
    }
    SAGE_RETURN_IF_ERROR(unit->Open(by_row ? rows_ : 1, by_row ? 1 : rows_, n_, !content));
    const int64_t share = attention_.query_heads / unit->lowered().heads;
    const auto d = Index(attention_.d_model);
    for (int64_t row = 0; row < rows_; ++row) {
      const int64_t batch = by_row ? row : 0, query = by_row ? 0 : row;
      const ExpertRow inputs = Row(row);
      int64_t group = -1;  // whose bias line_ holds: heads of one group share it
      for (int64_t head = 0; head < unit->lowered().heads; ++head) {
        if (const int64_t of_head = TrustGroup(params_, inputs, head * share); of_head != group) {
          group = of_head;
          ExpertBias(params_, inputs, head * share, line_);
        }
        unit->StoreBias(batch, head, query, line_);
      }
      if (!content) continue;
      const auto q = std::span(row_).first(Index(unit->lowered().q_width));
      ProjectQuery(attention_, std::span(context_embedding_).subspan(Index(row) * d, d), q);
      unit->StoreQuery(batch, query, q);
    }
    SAGE_RETURN_IF_ERROR(RunUnit(unit));
    for (int64_t row = 0; row < rows_; ++row) {
      MeanOverHeads(unit, row);
      SAGE_RETURN_IF_ERROR(CheckFinite(Means(row)));
    }
    return Status();
  }

  double WeightOf(const AttentionUnit* unit, int64_t row, int64_t head, int64_t n) const {
    const bool by_row = unit == content_by_row_;
    const int64_t share = attention_.query_heads / unit->lowered().heads;
    return unit->Weight(by_row ? row : 0, head / share, by_row ? 0 : row, n);
  }

  std::span<double> Means(int64_t row) { return std::span(a_).subspan(Index(row * n_), Index(n_)); }

  // a_n = sum_h w_h P_h,n, of one row: once a tick, after the run.
  void MeanOverHeads(const AttentionUnit* unit, int64_t row) {
    const int64_t heads = attention_.query_heads, share = heads / unit->lowered().heads;
    const bool by_row = unit == content_by_row_;
    const double even = 1.0 / static_cast<double>(heads);
    const std::span<double> means = Means(row);
    std::fill(means.begin(), means.end(), 0.0);
    for (int64_t head = 0; head < heads; ++head) {
      if (head % share == 0) unit->Weights(by_row ? row : 0, head / share, by_row ? 0 : row, line_);
      const double weight = params_.head_weights.empty() ? even : params_.head_weights[Index(head)];
      AddScaled(weight, line_, means);
    }
  }

  void Select(const ExpertRow& inputs, int64_t row, const AttentionUnit* unit) {
    const int64_t k = std::min(k_, n_ + 1);  // more than N is more than any number of available ones
    if (params_.selection == Selection::kTrustFirst) {
      SelectTrustFirst(params_, inputs, k, moment_.seed, static_cast<uint64_t>(moment_.tick),
                       static_cast<uint32_t>(row), &order_, scores_, &selection_);
    } else {
      if (unit != nullptr) {
        AttentionScores(params_, inputs, Means(row), scores_);
      } else {
        LegacyScores(params_, inputs, scores_);
      }
      SelectByScore(inputs, scores_, k, &order_, &selection_);
    }
    if (attention_.mode == GraphMode::kCompare) {
      LegacyScores(params_, inputs, legacy_scores_);
      SelectByScore(inputs, legacy_scores_, k, &order_, &legacy_selection_);
    }
  }

  // Of the selections before any substitution: what is loaded is not a question of the formula.
  Comparison CompareWithLegacy() {
    const auto n = Index(n_);
    const std::span<double> mine(gates_.data(), n), theirs(gates_.data() + n, n);
    std::fill(gates_.begin(), gates_.end(), 0.0);
    for (size_t i = 0; i < selection_.ids.size(); ++i) mine[Index(selection_.ids[i])] = selection_.gates[i];
    size_t common = 0;
    for (size_t i = 0; i < legacy_selection_.ids.size(); ++i) {
      const int64_t id = legacy_selection_.ids[i];
      theirs[Index(id)] = legacy_selection_.gates[i];
      common += std::find(selection_.ids.begin(), selection_.ids.end(), id) != selection_.ids.end() ? 1 : 0;
    }
    Comparison comparison = CompareShares(mine, theirs, 1, &places_);
    comparison.rank_overlap =
        selection_.ids.empty() ? 1 : static_cast<double>(common) / static_cast<double>(selection_.ids.size());
    return comparison;
  }

  void WriteRow(const ExpertRow& inputs, int64_t row, const AttentionUnit* unit) {
    LoadedExperts loaded;
    loaded.given = has_loaded_;
    loaded.loaded = loaded_;
    if (has_clusters_) loaded.clusters = clusters_;
    if (has_delta_) loaded.quality_delta = quality_delta_;
    Substitute(params_, inputs, loaded, scores_, &taken_, &selection_);
    if (!selection_.substitutions.empty()) flags_ |= kSubstituted;

    const auto list = [&](const char* key, auto value) {
      out_.Key(key);
      out_.BeginArray();
      for (size_t i = 0; i < selection_.ids.size(); ++i) value(i);
      out_.EndArray();
    };
    out_.BeginObject();
    out_.Member("context", contexts_[Index(row)]);
    list("ids", [&](size_t i) { out_.Integer(selection_.ids[i]); });
    list("scores", [&](size_t i) { out_.Number(selection_.scores[i]); });
    list("router_scores", [&](size_t i) { out_.Number(inputs.router[Index(selection_.ids[i])]); });
    list("trust_scores", [&](size_t i) { out_.Number(MeanTrust(inputs, selection_.ids[i])); });
    list("gates", [&](size_t i) { out_.Number(selection_.gates[i]); });
    out_.Key("substitutions");
    out_.BeginArray();
    for (const Substitution& substitution : selection_.substitutions) {
      out_.BeginObject();
      out_.Member("from", substitution.from);
      out_.Member("to", substitution.to);
      out_.EndObject();
    }
    out_.EndArray();
    out_.Member("hits", selection_.hits);
    out_.Member("misses", selection_.misses);
    if (params_.selection == Selection::kTrustFirst) out_.Member("chosen_by", ChosenByName(selection_.chosen_by));
    if (params_.return_weights && unit != nullptr) {
      out_.Key("weights");
      out_.BeginArray();
      for (int64_t head = 0; head < attention_.query_heads; ++head) {
        out_.BeginArray();
        for (int64_t n = 0; n < n_; ++n) out_.Number(selection_.available == 0 ? 0 : WeightOf(unit, row, head, n));
        out_.EndArray();
      }
      out_.EndArray();
    }
    out_.EndObject();
  }

  const ExpertParams& params_;
  const int64_t n_;
  AttentionUnit *prior_ = nullptr, *content_ = nullptr, *content_by_row_ = nullptr;
  AttentionUnit *projection_ = nullptr, *projection_by_row_ = nullptr;

  ExpertTable table_;

  // The tick being decided.
  bool batched_ = false, has_available_ = false, has_evidence_ = false, has_context_ = false;
  bool has_loaded_ = false, has_clusters_ = false, has_delta_ = false;
  int64_t rows_ = 1, revision_ = 0, k_ = 0;
  std::vector<double> router_, trust_, context_embedding_, quality_delta_;
  std::vector<int64_t> groups_, evidence_, clusters_, availables_;
  std::vector<uint8_t> available_, loaded_, taken_;
  std::vector<std::string_view> contexts_;

  std::vector<double> a_, scores_, legacy_scores_, line_, gates_, row_;
  std::vector<int64_t> order_;
  std::vector<uint32_t> places_;
  ExpertSelection selection_, legacy_selection_;
};

}  // namespace

Result<std::unique_ptr<Program>> MakeExpertProgram(std::shared_ptr<Engine> engine, std::shared_ptr<const Model> model,
                                                   const SessionOptions& options) {
  const auto& params = std::get<ExpertParams>(model->content());
  auto program = std::make_unique<ExpertProgram>(std::move(engine), model, options, params);
  SAGE_RETURN_IF_ERROR(program->Prepare());
  return std::unique_ptr<Program>(std::move(program));
}

}  // namespace sage
