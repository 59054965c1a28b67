// sage_program.cc: one tick after another, for every SAGE graph.
#include "sage/sage_program.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "sage/metabolic.h"
#include "sage/support/check_op.h"

namespace sage {
namespace {

constexpr int64_t kSnapshotVersion = 1;
constexpr double kAny = std::numeric_limits<double>::max();
constexpr int64_t kMaxInteger = std::numeric_limits<int64_t>::max();
// Scratch beyond this is no plan but a mistake in the model file.
constexpr uint64_t kMaxScratchBytes = uint64_t{1} << 36;
constexpr size_t kReservedRecord = 1 << 14;

const char* ModeName(GraphMode mode) {
  return mode == GraphMode::kAttention ? "ATTENTION" : mode == GraphMode::kLegacy ? "LEGACY" : "COMPARE";
}

const char* WeightSourceName(WeightSource source) {
  return source == WeightSource::kIdentity ? "IDENTITY" : source == WeightSource::kSeeded ? "SEEDED" : "FILE";
}

}  // namespace

void Comparison::Widen(const Comparison& other) {
  max_abs_diff = std::max(max_abs_diff, other.max_abs_diff);
  rank_overlap = std::min(rank_overlap, other.rank_overlap);
  total_variation = std::max(total_variation, other.total_variation);
}

Comparison CompareShares(std::span<const double> a, std::span<const double> b, double total,
                         std::vector<uint32_t>* order) {
  Comparison out;
  const size_t n = a.size();
  if (n == 0) return out;
  double apart = 0, sum_a = 0, sum_b = 0;
  for (size_t i = 0; i < n; ++i) {
    const double difference = std::fabs(a[i] - b[i]);
    out.max_abs_diff = std::max(out.max_abs_diff, difference);
    apart += difference;
    sum_a += a[i];
    sum_b += b[i];
  }
  // What one of them leaves unspent is an item of its own.
  if (total > 0) out.total_variation = 0.5 * (apart + std::fabs(sum_a - sum_b)) / total;
  order->resize(2 * n);
  const std::span<uint32_t> first(order->data(), n), second(order->data() + n, n);
  RankBySalience(a, first);
  RankBySalience(b, second);
  size_t same = 0;
  for (size_t i = 0; i < n; ++i) same += first[i] == second[i] ? 1 : 0;
  out.rank_overlap = static_cast<double>(same) / static_cast<double>(n);
  return out;
}

SageProgram::SageProgram(std::shared_ptr<Engine> engine, std::shared_ptr<const Model> model,
                         const SessionOptions& options, const SageAttention& attention, const char* graph_name,
                         uint64_t seed)
    : engine_(std::move(engine)),
      model_(std::move(model)),
      options_(options),
      attention_(attention),
      clock_(options.trace),
      graph_name_(graph_name),
      model_seed_(seed) {
  out_.Reserve(kReservedRecord);
}

Status SageProgram::Budget(uint64_t elements, const char* what) {
  uint64_t bytes = 0;
  const uint64_t limit = std::min(options_.max_memory, kMaxScratchBytes);
  if (__builtin_mul_overflow(elements, sizeof(double), &bytes) ||
      __builtin_add_overflow(scratch_bytes_, bytes, &scratch_bytes_) || scratch_bytes_ > limit) {
    return Status(SAGE_E_OUT_OF_MEMORY, std::string(what) + " of this model need more than " + std::to_string(limit) +
                                            " bytes; make its bounds smaller, or raise max_memory");
  }
  return Status();
}

Result<AttentionUnit*> SageProgram::AddUnit(const char* name, LoweringForm form) {
  form.name = name;
  SAGE_ASSIGN_OR_RETURN(LoweredAttention lowered,
                        LowerAttention(attention_, model_->policy(), form, options_.max_memory));
  return AddUnit(name, std::move(lowered));
}

Result<AttentionUnit*> SageProgram::AddUnit(const char* name, LoweredAttention lowered) {
  auto unit = AttentionUnit::Create(name, engine_, std::move(lowered), options_);
  if (!unit.ok()) return unit.status();
  units_.push_back(std::move(*unit));
  return units_.back().get();
}

Status SageProgram::RunUnit(AttentionUnit* unit) {
  last_unit_ = unit;
  SAGE_RETURN_IF_ERROR(unit->Run());
  backend_ = unit->Backend();
  for (const AccuracyReport& report : unit->session().accuracy_reports()) {
    accuracy_.push_back(report);
    accuracy_.back().session = unit->name();
  }
  const std::string& fallback = unit->session().FallbackReason();
  if (!fallback.empty()) {
    flags_ |= kFallback;
    reason_ = fallback;
  }
  return Status();
}

Status SageProgram::CheckFinite(std::span<const double> weights) const {
  for (const double weight : weights) {
    if (!std::isfinite(weight)) {
      return Status(SAGE_E_BAD_DATA, std::string("the embeddings of this tick overflow ") +
                                         support::DtypeName(attention_.dtype) +
                                         " inside the attention; scale them down, or give the model a wider dtype");
    }
  }
  return Status();
}

Status SageProgram::Tick(std::string_view json) {
  clock_.Begin();
  const Status status = TakeTick(json);
  clock_.End();
  return status;
}

Status SageProgram::TakeTick(std::string_view json) {
  ++lines_;
  ts_read_.reset();
  accuracy_.clear();
  decided_ = false;
  if (!reader_.Parse(json) || !reader_.CheckKeys(reader_.json().root(), Place(), tick_keys_) ||
      !ReadMoment(reader_.json().root())) {
    return Refuse();
  }
  reader_.SetSubject({});
  if (!ReadTick(reader_.json().root())) return Refuse();
  flags_ = 0;
  reason_.clear();
  backend_ = "none";
  last_unit_ = nullptr;
  out_.Clear();
  clock_.Enter(PhaseClock::kDecide);
  const Status decided = Decide();
  if (!decided.ok()) return RefuseRun(decided);
  Commit();
  last_ = moment_;
  decided_ = true;
  return Status();
}

bool SageProgram::ReadMoment(const JsonNode& root) {
  const JsonNode* ts = reader_.Require(root, Place(), "ts");
  double seconds = 0;
  if (ts == nullptr || !reader_.Number(*ts, Place() / "ts", "ts", -kAny, kAny, &seconds)) return false;
  ts_read_ = seconds;
  if (last_.has_value() && seconds < last_->ts) {
    return reader_.Fail("SAGE_E_TIME", Place() / "ts",
                        "ts is " + NumberText(seconds) + ", before the previous tick's " + NumberText(last_->ts) +
                            "; time does not run backwards");
  }
  moment_.ts = seconds;
  moment_.seed = model_seed_;
  if (const JsonNode* tick = reader_.Find(root, "tick")) {
    if (!reader_.Integer(*tick, Place() / "tick", "tick", 0, kMaxInteger, &moment_.tick)) return false;
    if (last_.has_value() && moment_.tick <= last_->tick) {
      return reader_.Fail("SAGE_E_TIME", Place() / "tick",
                          "tick is " + std::to_string(moment_.tick) + ", not above the previous tick's " +
                              std::to_string(last_->tick) + "; it counts the random draws and must rise");
    }
  } else if (last_.has_value() && last_->tick == kMaxInteger) {
    return reader_.Fail("SAGE_E_TIME", Place() / "tick", "the counter of ticks is at its end");
  } else {
    moment_.tick = last_.has_value() ? last_->tick + 1 : 0;
  }
  if (const JsonNode* seed = reader_.Find(root, "seed")) {
    int64_t value = 0;
    if (!reader_.Integer(*seed, Place() / "seed", "seed", 0, kMaxInteger, &value)) return false;
    moment_.seed = static_cast<uint64_t>(value);
  }
  return true;
}

Status SageProgram::Refuse() {
  const TickFault& fault = reader_.fault();
  WriteError(fault.code, fault.at, fault.message);
  return Status(SAGE_E_BAD_DATA, fault.at.empty() ? fault.message : fault.at + ": " + fault.message);
}

Status SageProgram::RefuseRun(const Status& status) {
  WriteError(StatusName(status.code()), "", status.message());
  return status;
}

void SageProgram::WriteError(std::string_view code, std::string_view at, std::string_view message) {
  out_.Clear();
  out_.BeginObject();
  out_.Key("ts");
  ts_read_.has_value() ? out_.Number(*ts_read_) : out_.Null();
  out_.Member("line", lines_);
  out_.Key("error");
  out_.BeginObject();
  out_.Member("code", code);
  out_.Member("at", at);
  out_.Member("message", message);
  out_.EndObject();
  out_.EndObject();
}

void SageProgram::WriteHead(const char* state) {
  clock_.Enter(PhaseClock::kWrite);
  out_.BeginObject();
  out_.Member("ts", moment_.ts);
  out_.Member("tick", moment_.tick);
  out_.Key("state");
  state == nullptr ? out_.Null() : out_.String(state);
  out_.Key("transitions");
  out_.BeginArray();
}

void SageProgram::WriteTail(const Comparison* compare) {
  out_.Member("backend", backend_);
  if (compare != nullptr) {
    out_.Key("compare");
    out_.BeginObject();
    out_.Member("max_abs_diff", compare->max_abs_diff);
    out_.Member("rank_overlap", compare->rank_overlap);
    out_.Member("total_variation", compare->total_variation);
    out_.EndObject();
  }
  constexpr const char* kFlags[] = {"content_absent", "fallback",     "k_clamped", "gate_ignored",
                                    "all_dropped",    "all_excluded", "interrupt", "substituted"};
  out_.Key("flags");
  out_.BeginArray();
  for (uint32_t i = 0; i < 8; ++i) {
    if ((flags_ >> i & 1u) != 0) out_.String(kFlags[i]);
  }
  out_.EndArray();
  if (!reason_.empty()) out_.Member("reason", std::string_view(reason_));
  out_.EndObject();
}

Status SageProgram::Snapshot(std::string* out) const {
  JsonWriter json;
  json.BeginObject();
  json.Member("sage_snapshot", kSnapshotVersion);
  json.Member("graph", graph_name_);
  json.Member("model_sha256", std::string_view(model_->sha256()));
  json.Member("line", lines_);
  json.Key("ts");
  last_.has_value() ? json.Number(last_->ts) : json.Null();
  json.Key("tick");
  last_.has_value() ? json.Integer(last_->tick) : json.Null();
  json.Key("state");
  WriteState(json);
  json.EndObject();
  out->assign(json.text());
  return Status();
}

Status SageProgram::Restore(std::string_view text) {
  TickReader reader;
  constexpr std::string_view kKeys[] = {"sage_snapshot", "graph", "model_sha256", "line", "ts", "tick", "state"};
  std::string_view graph, sha256;
  int64_t version = 0, line = 0;
  std::optional<Moment> last;
  const auto read = [&] {
    if (!reader.Parse(text)) return false;
    const JsonNode& root = reader.json().root();
    const auto required = [&](const char* key) { return reader.Require(root, Place(), key); };
    const JsonNode* node = required("sage_snapshot");
    // The version comes first: of a newer snapshot nothing else is judged.
    if (node == nullptr || !reader.Integer(*node, Place() / "sage_snapshot", "version", 1, kMaxInteger, &version)) {
      return false;
    }
    if (version > kSnapshotVersion) {
      return reader.Fail("SAGE_E_UNSUPPORTED", Place() / "sage_snapshot",
                         "this snapshot is of version " + std::to_string(version) + "; this build reads up to " +
                             std::to_string(kSnapshotVersion) + ", so a newer sage-engine is needed");
    }
    if (!reader.CheckKeys(root, Place(), kKeys)) return false;
    if ((node = required("graph")) == nullptr || !reader.String(*node, Place() / "graph", "graph", &graph)) {
      return false;
    }
    if (graph != graph_name_) {
      return reader.Fail("SAGE_E_RANGE", Place() / "graph",
                         "this is a snapshot of \"" + std::string(graph) + "\"; the model is a " + graph_name_);
    }
    if ((node = required("model_sha256")) == nullptr ||
        !reader.String(*node, Place() / "model_sha256", "model_sha256", &sha256)) {
      return false;
    }
    if (sha256 != model_->sha256()) {
      return reader.Fail(
          "SAGE_E_RANGE", Place() / "model_sha256",
          "the snapshot belongs to the model " + std::string(sha256) + "; this one is " + model_->sha256());
    }
    if ((node = required("line")) == nullptr ||
        !reader.Integer(*node, Place() / "line", "line", 0, kMaxInteger, &line)) {
      return false;
    }
    const JsonNode* ts = required("ts");
    const JsonNode* tick = ts == nullptr ? nullptr : required("tick");
    if (tick == nullptr) return false;
    if (ts->type != JsonType::kNull || tick->type != JsonType::kNull) {
      last.emplace();
      if (!reader.Number(*ts, Place() / "ts", "ts", -kAny, kAny, &last->ts) ||
          !reader.Integer(*tick, Place() / "tick", "tick", 0, kMaxInteger, &last->tick)) {
        return false;
      }
    }
    node = required("state");
    return node != nullptr && reader.Object(*node, Place() / "state", "state") && ReadState(reader, *node);
  };
  if (!read()) {
    const TickFault& fault = reader.fault();
    return Status(SAGE_E_BAD_DATA, "snapshot: " + (fault.at.empty() ? "" : fault.at + ": ") + fault.message);
  }
  CommitState();
  last_ = last;
  lines_ = static_cast<uint64_t>(line);
  return Status();
}

Status SageProgram::Explain(JsonWriter& out) {
  out.BeginObject();
  out.Member("graph", graph_name_);
  out.Member("mode", ModeName(attention_.mode));
  out.Member("weights", WeightSourceName(attention_.weights));
  out.Member("gamma", attention_.gamma);
  out.Member("scale", attention_.scale);
  out.Member("d_model", attention_.d_model);
  out.Member("query_heads", attention_.query_heads);
  out.Member("kv_heads", attention_.kv_heads);
  out.Member("head_dim", attention_.head_dim);
  out.Member("dtype", support::DtypeName(attention_.dtype));
  ExplainMore(out);
  // One list of nodes and one of warnings, as for any model; what is the session's stays with the session.
  std::vector<std::string> plans;
  plans.reserve(units_.size());  // the readers' strings lie in them
  std::vector<JsonReader> readers(units_.size());
  for (const auto& unit : units_) {
    JsonWriter plan;
    SAGE_RETURN_IF_ERROR(unit->session().Explain(plan));
    plans.emplace_back(plan.text());
    SAGE_RETURN_IF_ERROR(readers[plans.size() - 1].Parse(plans.back()));
  }
  for (const char* list : {"nodes", "warnings"}) {
    out.Key(list);
    out.BeginArray();
    for (size_t i = 0; i < readers.size(); ++i) {
      const JsonNode* items = readers[i].Find(readers[i].root(), list);
      if (items == nullptr) continue;
      uint32_t at = readers[i].IndexOf(*items) + 1;
      for (uint32_t k = 0; k < items->size; ++k, at = readers[i].at(at).next) {
        const JsonNode& item = readers[i].at(at);
        out.Raw(std::string_view(plans[i]).substr(item.offset, item.end - item.offset));
      }
    }
    out.EndArray();
  }
  out.Key("sessions");
  out.BeginArray();
  for (size_t i = 0; i < readers.size(); ++i) {
    const JsonReader& json = readers[i];
    out.BeginObject();
    out.Member("name", std::string_view(units_[i]->name()));
    for (uint32_t at = 1; at < json.root().next; at = json.at(at + 1).next) {
      const std::string_view key = json.Text(json.at(at));
      const JsonNode& value = json.at(at + 1);
      if (key == "nodes" || key == "warnings" || key == "name") continue;
      out.Key(key);
      out.Raw(std::string_view(plans[i]).substr(value.offset, value.end - value.offset));
    }
    out.EndObject();
  }
  out.EndArray();
  out.EndObject();
  return Status();
}

Status SageProgram::WriteTrace(JsonWriter& out) const {
  JsonWriter session;
  if (last_unit_ != nullptr) SAGE_RETURN_IF_ERROR(last_unit_->session().WriteTrace(session));
  // The session's object stays one a trace viewer reads; what the program adds is one more member of it.
  std::string_view body = last_unit_ != nullptr ? session.text() : std::string_view("{\"traceEvents\":[]}");
  if (body.ends_with('}')) body.remove_suffix(1);
  JsonWriter program;
  program.BeginObject();
  program.Member("graph", graph_name_);
  program.Member("session", last_unit_ != nullptr ? last_unit_->name().c_str() : "none");
  program.Member("backend", backend_);
  program.Member("lines", lines_);
  clock_.Write(program);
  TraceMore(program);
  program.EndObject();
  std::string text(body);
  text += ",\"program\":";
  text += program.text();
  text += '}';
  out.Raw(text);
  return Status();
}

Status SageProgram::WriteAccuracyReport(JsonWriter& out) const {
  if (!options_.accuracy_report) return NoAccuracyReport();
  if (!decided_) {
    return Status(SAGE_E_INVALID_ARGUMENT,
                  "there is no accuracy to report: there was no tick yet, or the last one was a bad one");
  }
  WriteAccuracy(out, accuracy_, "the last tick was decided without attention");
  return Status();
}

void SageProgram::Cancel() {
  for (const auto& unit : units_) unit->session().Cancel();
}

Status SageProgram::SetInput(uint32_t index, sage_dtype, std::span<const int64_t>, const void*, uint64_t) {
  return Status(SAGE_E_NOT_FOUND, std::string(graph_name_) + " has no input " + std::to_string(index) +
                                      "; everything it takes comes with the ticks");
}

}  // namespace sage
