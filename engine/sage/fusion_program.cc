// fusion_program.cc: a tick of sensors with windows of observations in, one fused vector and the sensors' weights out.
#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

#include "sage/fusion.h"
#include "sage/number.h"
#include "sage/sage_program.h"
#include "sage/snarc.h"

namespace sage {
namespace {

constexpr std::string_view kTickKeys[] = {"ts", "tick", "seed", "goal", "sensors"};
constexpr std::string_view kSensorKeys[] = {"id",     "window",         "age",      "salience", "snarc", "trust",
                                            "memory", "goal_relevance", "inhibited"};
constexpr std::string_view kSnarcKeys[] = {"surprise", "novelty", "arousal", "reward", "conflict"};
constexpr std::string_view kStateKeys[] = {"interrupt", "hold"};
constexpr double kDefaultLatencyMs = 10;

class FusionProgram final : public SageProgram {
 public:
  FusionProgram(std::shared_ptr<Engine> engine, std::shared_ptr<const Model> model, const SessionOptions& options,
                const FusionParams& params)
      : SageProgram(std::move(engine), std::move(model), options, params.attention, "FusionGraph", 0), params_(params) {
    tick_keys_ = kTickKeys;
    max_latency_ms_ =
        options_.policy.max_latency_ms.value_or(model_->policy().max_latency_ms.value_or(kDefaultLatencyMs));
  }

  Status Prepare() {
    const auto sensors = static_cast<uint64_t>(params_.max_sensors), rows = static_cast<uint64_t>(params_.max_rows);
    const auto width =
        static_cast<uint64_t>(std::max({attention_.d_model, QueryWidth(attention_), KeyWidth(attention_)}));
    uint64_t elements = 0;
    if (__builtin_mul_overflow(rows + sensors + 3, width + 16, &elements)) elements = UINT64_MAX;
    SAGE_RETURN_IF_ERROR(Budget(elements, "max_rows observations"));
    const size_t n = sensors, d = static_cast<size_t>(attention_.d_model);
    ids_.reserve(n), sensors_.reserve(n), scores_.reserve(n), order_.reserve(n), places_.reserve(2 * n);
    part_.Reserve(params_.max_sensors);
    weights_.resize(n), legacy_.resize(n), fused_.resize(d), goal_.resize(d), row_.resize(width + 1);
    ages_.resize(rows), bias_.resize(rows), age_ticks_.resize(rows), windows_.resize(rows * d);
    if (attention_.mode == GraphMode::kLegacy) return Status();
    LoweringForm form;
    form.keys = {"rows", params_.max_rows};
    form.values = true;
    form.content = false;
    SAGE_ASSIGN_OR_RETURN(prior_, AddUnit("prior", form));
    if (!(attention_.gamma > 0)) return Status();
    form.content = true;
    SAGE_ASSIGN_OR_RETURN(content_, AddUnit("content", form));
    return Status();
  }

 protected:
  bool ReadTick(const JsonNode& root) override {
    const Place top, list = top / "sensors";
    has_goal_ = false;
    if (const JsonNode* goal = reader_.Find(root, "goal")) {
      if (!reader_.Vector(*goal, top / "goal", "goal", LargestFinite(attention_.dtype), goal_)) return false;
      has_goal_ = true;
    }
    const JsonNode* sensors = reader_.Require(root, top, "sensors");
    if (sensors == nullptr || !reader_.Array(*sensors, list, "sensors")) return false;
    if (sensors->size > params_.max_sensors) {
      return reader_.Fail("SAGE_E_LIMIT", list,
                          "the tick has " + std::to_string(sensors->size) + " sensors; the model's max_sensors is " +
                              std::to_string(params_.max_sensors));
    }
    ids_.clear(), sensors_.clear();
    rows_ = 0;
    uint32_t at = reader_.json().IndexOf(*sensors) + 1;
    for (size_t i = 0; i < sensors->size; ++i, at = reader_.json().at(at).next) {
      reader_.SetSubject({});
      if (!ReadSensor(reader_.json().at(at), list[i])) return false;
    }
    reader_.SetSubject({});
    return reader_.Unique(ids_, list, "id", "id");
  }

  Status Decide() override {
    const size_t n = ids_.size();
    scores_.clear();
    for (const Sensor& sensor : sensors_) scores_.push_back(SensorScore(params_, sensor));
    InterruptState held{-1, hold_};
    for (size_t i = 0; i < n && !interrupt_.empty(); ++i) {
      if (ids_[i] == interrupt_) held.sensor = static_cast<int64_t>(i);
    }
    Participate(params_, sensors_, scores_, held, &order_, &part_);
    const std::span<double> weights(weights_.data(), n), legacy(legacy_.data(), n);
    std::fill(weights.begin(), weights.end(), 0.0);
    std::fill(legacy.begin(), legacy.end(), 0.0);
    std::fill(fused_.begin(), fused_.end(), 0.0);
    const bool legacy_mode = attention_.mode == GraphMode::kLegacy;
    if (!part_.all_excluded) {
      RowBias(params_, sensors_, scores_, part_, std::span(ages_.data(), rows_), std::span(bias_.data(), rows_));
      LegacyWeights(scores_, part_, legacy);
      if (legacy_mode) {
        FuseLegacy();
      } else {
        SAGE_RETURN_IF_ERROR(Attend(weights));
      }
    }
    Comparison comparison;
    if (attention_.mode == GraphMode::kCompare) comparison = CompareShares(weights, legacy, 1, &places_);
    Justify();
    Write(legacy_mode ? std::span<const double>(legacy) : weights);
    WriteTail(attention_.mode == GraphMode::kCompare ? &comparison : nullptr);
    return Status();
  }

  void Commit() override {
    hold_ = part_.interrupt.sensor >= 0 ? part_.interrupt.hold : 0;
    if (hold_ > 0) {
      interrupt_.assign(ids_[static_cast<size_t>(part_.interrupt.sensor)]);
    } else {
      interrupt_.clear();
    }
  }

  void WriteState(JsonWriter& out) const override {
    out.BeginObject();
    out.Key("interrupt");
    hold_ > 0 ? out.String(interrupt_) : out.Null();
    out.Member("hold", hold_);
    out.EndObject();
  }

  bool ReadState(TickReader& reader, const JsonNode& state) override {
    const Place top = Place() / "state";
    restored_interrupt_.clear();
    int64_t hold = 0;
    if (!reader.CheckKeys(state, top, kStateKeys)) return false;
    const JsonNode* node = reader.Require(state, top, "hold");
    if (node == nullptr || !reader.Integer(*node, top / "hold", "hold", 0, UINT32_MAX, &hold)) return false;
    if ((node = reader.Require(state, top, "interrupt")) == nullptr) return false;
    std::string_view id;
    if (node->type != JsonType::kNull && !reader.String(*node, top / "interrupt", "interrupt", &id)) return false;
    if ((node->type == JsonType::kNull) != (hold == 0)) {
      return reader.Fail("SAGE_E_RANGE", top / "hold", "hold is above 0 exactly while an interrupt is named");
    }
    restored_interrupt_.assign(id);
    restored_hold_ = static_cast<uint32_t>(hold);
    return true;
  }

  void CommitState() override {
    interrupt_ = restored_interrupt_;
    hold_ = restored_hold_;
  }

  void ExplainMore(JsonWriter& out) const override {
    out.Member("max_sensors", params_.max_sensors);
    out.Member("max_rows", params_.max_rows);
    out.Member("max_latency_ms", max_latency_ms_);
  }

 private:
  bool ReadSensor(const JsonNode& object, const Place& place) {
    if (!reader_.Object(object, place, "sensor") || !reader_.CheckKeys(object, place, kSensorKeys)) return false;
    std::string_view id;
    const JsonNode* node = reader_.Require(object, place, "id");
    if (node == nullptr || !reader_.String(*node, place / "id", "id", &id)) return false;
    reader_.SetSubject(id);
    Sensor sensor;
    const auto share = [&](const char* key, double* out) {
      const JsonNode* value = reader_.Find(object, key);
      return value == nullptr || reader_.Number(*value, place / key, key, 0, 1, out);
    };
    if (!share("salience", &sensor.salience) || !share("trust", &sensor.trust) || !share("memory", &sensor.memory) ||
        !share("goal_relevance", &sensor.goal_relevance)) {
      return false;
    }
    if ((node = reader_.Find(object, "snarc")) != nullptr) {
      if (reader_.Find(object, "salience") != nullptr) {
        return reader_.Fail("SAGE_E_CONFLICT", place / "snarc",
                            "salience and snarc are both given; snarc makes the salience, so give one of them");
      }
      if (!ReadSnarc(*node, place / "snarc", &sensor.salience)) return false;
    }
    if ((node = reader_.Find(object, "inhibited")) != nullptr &&
        !reader_.Bool(*node, place / "inhibited", "inhibited", &sensor.inhibited)) {
      return false;
    }
    sensor.first_row = static_cast<uint32_t>(rows_);
    if (!ReadWindow(object, place, &sensor)) return false;
    ids_.push_back(id), sensors_.push_back(sensor);
    return true;
  }

  bool ReadSnarc(const JsonNode& object, const Place& place, double* salience) {
    if (!reader_.Object(object, place, "snarc") || !reader_.CheckKeys(object, place, kSnarcKeys)) return false;
    Snarc snarc;
    const std::pair<const char*, double*> fields[] = {{"surprise", &snarc.surprise},
                                                      {"novelty", &snarc.novelty},
                                                      {"arousal", &snarc.arousal},
                                                      {"reward", &snarc.reward},
                                                      {"conflict", &snarc.conflict}};
    for (const auto& [key, value] : fields) {
      const JsonNode* node = reader_.Require(object, place, key);
      if (node == nullptr || !reader_.Number(*node, place / key, key, 0, 1, value)) return false;
    }
    *salience = SnarcSalience(params_.snarc, snarc);
    return true;
  }

  bool ReadWindow(const JsonNode& object, const Place& place, Sensor* sensor) {
    const auto d = static_cast<size_t>(attention_.d_model);
    const JsonNode* window = reader_.Find(object, "window");
    if (window != nullptr) {
      if (!reader_.Array(*window, place / "window", "window")) return false;
      if (window->size > static_cast<uint64_t>(params_.max_rows) - rows_) {
        return reader_.Fail("SAGE_E_LIMIT", place / "window",
                            "the tick has " + std::to_string(rows_ + window->size) +
                                " observations up to here; the model's max_rows is " +
                                std::to_string(params_.max_rows));
      }
      sensor->rows = window->size;
      uint32_t at = reader_.json().IndexOf(*window) + 1;
      for (size_t t = 0; t < window->size; ++t, at = reader_.json().at(at).next) {
        if (!reader_.Vector(reader_.json().at(at), (place / "window")[t], "observation",
                            LargestFinite(attention_.dtype), std::span(windows_).subspan((rows_ + t) * d, d))) {
          return false;
        }
      }
    }
    const auto ticks = std::span(age_ticks_).subspan(rows_, sensor->rows);
    for (size_t t = 0; t < ticks.size(); ++t) ticks[t] = static_cast<int64_t>(ticks.size() - 1 - t);
    if (const JsonNode* age = reader_.Find(object, "age")) {
      if (!reader_.Integers(*age, place / "age", "age", 0, std::numeric_limits<int64_t>::max(), ticks)) return false;
    }
    for (size_t t = 0; t < ticks.size(); ++t) ages_[rows_ + t] = static_cast<double>(ticks[t]);
    rows_ += sensor->rows;
    return true;
  }

  // The weights as they are, over the raw observations: without attention there are no projections to speak of.
  void FuseLegacy() {
    const auto d = static_cast<size_t>(attention_.d_model);
    for (size_t i = 0; i < sensors_.size(); ++i) {
      if (!(legacy_[i] > 0)) continue;
      const Sensor& sensor = sensors_[i];
      double top = -std::numeric_limits<double>::infinity(), sum = 0;
      for (size_t t = 0; t < sensor.rows; ++t) top = std::max(top, bias_[sensor.first_row + t]);
      for (size_t t = 0; t < sensor.rows; ++t) sum += std::exp(bias_[sensor.first_row + t] - top);
      for (size_t t = 0; t < sensor.rows; ++t) {
        const size_t row = sensor.first_row + t;
        const double weight = legacy_[i] * std::exp(bias_[row] - top) / sum;
        for (size_t j = 0; j < d; ++j) fused_[j] += weight * windows_[row * d + j];
      }
    }
  }

  Status Attend(std::span<double> weights) {
    if (!has_goal_) flags_ |= kContentAbsent;
    const bool content = content_ != nullptr && has_goal_;
    AttentionUnit* unit = content ? content_ : prior_;
    const LoweredAttention& lowered = unit->lowered();
    const auto d = static_cast<size_t>(attention_.d_model);
    SAGE_RETURN_IF_ERROR(unit->Open(1, 1, static_cast<int64_t>(rows_)));
    unit->StoreBias(0, 0, 0, std::span(bias_.data(), rows_));
    const auto window = [&](size_t row) { return std::span<const double>(windows_).subspan(row * d, d); };
    if (content) {
      const auto q = std::span(row_).first(static_cast<size_t>(lowered.q_width));
      ProjectQuery(attention_, goal_, q);
      unit->StoreQuery(0, 0, q);
      const auto k = std::span(row_).first(static_cast<size_t>(lowered.k_width));
      for (size_t row = 0; row < rows_; ++row) {
        ProjectKey(attention_, window(row), k);
        unit->StoreKey(0, static_cast<int64_t>(row), k);
      }
    }
    if (lowered.v >= 0) {
      const auto v = std::span(row_).first(static_cast<size_t>(lowered.v_width));
      for (size_t row = 0; row < rows_; ++row) {
        if (v.size() == d) {
          unit->StoreValue(0, static_cast<int64_t>(row), window(row));
          continue;
        }
        std::copy_n(window(row).begin(), d, v.begin());
        v[d] = 1;  // the column of a projection's bias
        unit->StoreValue(0, static_cast<int64_t>(row), v);
      }
    }
    SAGE_RETURN_IF_ERROR(RunUnit(unit));
    for (size_t i = 0; i < sensors_.size(); ++i) {
      for (size_t t = 0; t < sensors_[i].rows && part_.why[i] == Excluded::kNo; ++t) {
        weights[i] += unit->MeanWeight(0, 0, static_cast<int64_t>(sensors_[i].first_row + t));
      }
    }
    unit->Fused(0, 0, fused_);
    SAGE_RETURN_IF_ERROR(CheckFinite(weights));
    return CheckFinite(fused_);
  }

  // Flags, and the sentence for those that need one.
  void Justify() {
    const auto say = [&](std::string_view a) { reason_.append(a); };
    const auto join = [&] {
      if (!reason_.empty()) say("; ");
    };
    if (part_.gate_ignored) flags_ |= kGateIgnored;
    if (part_.all_excluded) {
      flags_ |= kAllExcluded;
      join();
      say(ids_.empty() ? "there is no sensor" : "every sensor is inhibited or has an empty window");
    }
    if (part_.interrupt.sensor < 0) return;
    const auto i = static_cast<size_t>(part_.interrupt.sensor);
    flags_ |= kInterrupted;
    join();
    char digits[32];
    const auto number = [&](auto value) {
      const auto end = std::to_chars(digits, digits + sizeof digits, value);
      return std::string_view(digits, static_cast<size_t>(end.ptr - digits));
    };
    if (part_.interrupt_is_new) {
      say("salience of \""), say(ids_[i]), say("\" is "), say(number(sensors_[i].salience));
      say(", at or above interrupt_salience "), say(number(params_.interrupt_salience));
    } else {
      say("the interrupt of \""), say(ids_[i]), say("\" is held, for "), say(number(part_.interrupt.hold));
      say(" more ticks after this one");
    }
  }

  void Write(std::span<const double> weights) {
    const size_t n = ids_.size();
    WriteHead(nullptr);
    out_.EndArray();
    out_.Key("decisions");
    out_.BeginObject();
    out_.Key("fused");
    out_.BeginArray();
    for (const double value : fused_) out_.Number(value);
    out_.EndArray();
    out_.Key("weights");
    out_.BeginObject();
    for (size_t i = 0; i < n; ++i) out_.Member(ids_[i], weights[i]);
    out_.EndObject();
    out_.Key("scores");
    out_.BeginObject();
    for (size_t i = 0; i < n; ++i) out_.Member(ids_[i], scores_[i]);
    out_.EndObject();
    out_.Key("active");
    out_.BeginArray();
    for (size_t i = 0; i < n; ++i) {
      if (part_.why[i] == Excluded::kNo) out_.String(ids_[i]);
    }
    out_.EndArray();
    out_.Key("inhibited");
    out_.BeginArray();
    for (size_t i = 0; i < n; ++i) {
      if (part_.why[i] == Excluded::kNo) continue;
      out_.BeginObject();
      out_.Member("id", ids_[i]);
      out_.Member("why", ExcludedName(part_.why[i]));
      out_.EndObject();
    }
    out_.EndArray();
    out_.Key("interrupt");
    part_.interrupt.sensor >= 0 ? out_.String(ids_[static_cast<size_t>(part_.interrupt.sensor)]) : out_.Null();
    out_.EndObject();
    out_.Key("budget");
    out_.BeginObject();
    out_.Member("max_active", params_.max_active);
    out_.Member("active", part_.active);
    out_.Member("max_latency_ms", max_latency_ms_);
    out_.EndObject();
  }

  const FusionParams& params_;
  double max_latency_ms_ = kDefaultLatencyMs;
  AttentionUnit *prior_ = nullptr, *content_ = nullptr;

  std::string interrupt_, restored_interrupt_;  // id of the sensor that holds it, while hold > 0
  uint32_t hold_ = 0, restored_hold_ = 0;

  // The tick being decided.
  bool has_goal_ = false;
  size_t rows_ = 0;
  std::vector<std::string_view> ids_;
  std::vector<Sensor> sensors_;
  std::vector<double> goal_, windows_, ages_, bias_, scores_, weights_, legacy_, fused_, row_;
  std::vector<int64_t> age_ticks_;
  std::vector<uint32_t> order_, places_;
  Participation part_;
};

}  // namespace

Result<std::unique_ptr<Program>> MakeFusionProgram(std::shared_ptr<Engine> engine, std::shared_ptr<const Model> model,
                                                   const SessionOptions& options) {
  const auto& params = std::get<FusionParams>(model->content());
  auto program = std::make_unique<FusionProgram>(std::move(engine), model, options, params);
  SAGE_RETURN_IF_ERROR(program->Prepare());
  return std::unique_ptr<Program>(std::move(program));
}

}  // namespace sage
