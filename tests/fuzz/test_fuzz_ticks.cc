// Ticks and snapshots of each SAGE graph, changed by structure, through the public API: every one is answered by a
// record, a bad one leaves the state as it was, and the stream goes on.
#include <doctest/doctest.h>

#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>

#include "fuzz/fuzz.h"
#include "sage/sage.h"
#include "support/error_slot.h"
#include "text_form.h"

using namespace sage;
using namespace sage::fuzz;
using sage::test::Error;
using Json = nlohmann::ordered_json;

namespace {

// A session on a model written as JSON; handles go in any order.
class Stream {
 public:
  explicit Stream(const std::string& json, const char* cpu = "true") {
    Error error;
    sage_options* options = nullptr;
    REQUIRE(sage_options_create(&options, &error) == SAGE_OK);
    for (const auto& [key, value] :
         {std::pair{"threads", "1"}, {"plugin_environment", "false"}, {"plugin_folders", cpu}})
      REQUIRE(sage_options_set(options, key, value, &error) == SAGE_OK);
    REQUIRE(sage_engine_create(options, &engine_, &error) == SAGE_OK);
    sage_options_destroy(options);
    const auto bytes = ModelToBinary(json);
    REQUIRE(bytes.ok());
    const sage_status loaded = sage_model_load_buffer(engine_, bytes->data(), bytes->size(), nullptr, &model_, &error);
    CAPTURE(std::string(error.message));
    REQUIRE(loaded == SAGE_OK);
    REQUIRE(sage_session_create(model_, nullptr, &session_, &error) == SAGE_OK);
  }
  ~Stream() {
    sage_session_destroy(session_);
    sage_model_destroy(model_);
    sage_engine_destroy(engine_);
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  sage_session* session() { return session_; }

  sage_status Tick(const std::string& tick, std::string* record) {
    // Exactly these bytes: the tick has no NUL.
    const auto exact = std::make_unique<char[]>(tick.size());
    std::copy(tick.begin(), tick.end(), exact.get());
    Error error;
    const sage_status status = sage_session_tick(session_, exact.get(), tick.size(), &error);
    if (status != SAGE_OK) CHECK(std::string(error.message).size() > 5);
    *record = Decision();
    return status;
  }
  std::string Decision() {
    Error error;
    uint64_t needed = 0;
    REQUIRE(sage_session_decision(session_, nullptr, 0, &needed, &error) == SAGE_OK);
    std::string record(needed, '\0');
    REQUIRE(sage_session_decision(session_, record.data(), record.size(), &needed, &error) == SAGE_OK);
    record.resize(needed - 1);
    return record;
  }
  std::string Snapshot() {
    Error error;
    uint64_t needed = 0;
    REQUIRE(sage_session_snapshot(session_, nullptr, 0, &needed, &error) == SAGE_OK);
    std::string bytes(needed, '\0');
    REQUIRE(sage_session_snapshot(session_, bytes.data(), bytes.size(), &needed, &error) == SAGE_OK);
    return bytes;
  }
  sage_status Restore(const std::string& bytes) {
    const auto exact = std::make_unique<char[]>(bytes.size());
    std::copy(bytes.begin(), bytes.end(), exact.get());
    Error error;
    const sage_status status = sage_session_restore(session_, exact.get(), bytes.size(), &error);
    if (status != SAGE_OK) CHECK(std::string(error.message).size() > 5);
    return status;
  }

 private:
  sage_engine* engine_ = nullptr;
  sage_model* model_ = nullptr;
  sage_session* session_ = nullptr;
};

struct Kind {
  std::string name, model;
  std::vector<std::string> ticks, words;
};

const std::string kAttention =
    R"("attention":{"d_model":4,"query_heads":2,"kv_heads":1,"head_dim":2,"gamma":0.5,"mode":"COMPARE"})";

std::vector<Kind> Kinds() {
  const std::string row = "[0.1,-0.2,0.3,0.4]";
  return {
      {"expert",
       "{\"graph_type\":\"ExpertGraph\",\"graph\":{" + kAttention +
           ",\"num_experts\":4,\"top_k\":2,\"max_batch\":3,\"return_weights\":true}}",
       {R"({"ts":1,"router_logits":[1,2,3,4],"context":"disk","context_embedding":[1,0,-1,0.5],"trust":[0.5,0,1,0.25],)"
        R"("evidence":[1,2,3,4],"available":[true,false,true,true],"experts_revision":1,"loaded":[0,2],"clusters":[0,0,1,-1],)"
        R"("quality_delta":[0,0.1,-0.1,0],"k":3,"seed":4})",
        R"({"ts":1,"router_logits":[[1,2,3,4],[4,3,2,1]],"trust":[[0.5,0.5,0.5,0.5],[1,0,1,0]],"context":["a","b"],)"
        R"("context_embedding":[{"f32":"AACAPwAAAAAAAIC/AAAAPw=="},[1,2,3,4]]})",
        R"({"ts":1,"tick":9,"router_logits":[0,0,0,0],"trust":[[0.5,0.5,0.5,0.5]],"x_mine":{"a":[1,2]}})"},
       {"ts", "tick", "seed", "router_logits", "context", "context_embedding", "trust", "evidence", "available",
        "loaded", "clusters", "quality_delta", "k", "experts_revision", "f32", "x_", "general"}},
      {"metabolic",
       "{\"graph_type\":\"MetabolicGraph\",\"graph\":{" + kAttention +
           ",\"max_targets\":5,\"history\":3,\"rest_split\":true}}",
       {R"({"ts":1,"state":"AUTO","atp":50,"state_embedding":)" + row +
            R"(,"targets":[{"id":"a","salience":0.9,"embedding":)" + row +
            R"(},{"id":"b","salience":0.2},{"id":"c","salience":0}]})",
        R"({"ts":2,"state":"dream","seed":3,"targets":[{"id":"a","salience":1},{"id":"b","salience":1}]})",
        R"({"ts":3,"state":"FOCUS","targets":[{"id":"a","salience":0.5,"embedding":{"f32":"AACAPwAAAAAAAIC/AAAAPw=="}}],)"
        R"("state_embedding":[0,0,0,0]})",
        R"({"ts":4,"state":"REST","targets":[{"id":"z","salience":0.5}]})",
        R"({"ts":5,"state":"CRISIS","targets":[]})"},
       {"ts",
        "tick",
        "seed",
        "targets",
        "state",
        "state_embedding",
        "atp",
        "id",
        "salience",
        "embedding",
        "WAKE",
        "FOCUS",
        "REST",
        "DREAM",
        "CRISIS",
        "AUTO",
        "memory_consolidation",
        "minimal_monitoring",
        "x_",
        "history",
        "since",
        "name",
        "from",
        "to",
        "trigger"}},
      {"fusion",
       "{\"graph_type\":\"FusionGraph\",\"graph\":{" + kAttention +
           ",\"max_sensors\":4,\"max_rows\":6,\"interrupt_hold_ticks\":2,\"gate\":\"HARD\",\"age_rate\":0.5}}",
       {R"({"ts":1,"goal":)" + row +
            R"(,"sensors":[{"id":"v","salience":0.6,"trust":0.9,"memory":0.5,"goal_relevance":0.9,"window":[)" + row +
            "," + row +
            R"(],"age":[5,0]},{"id":"w","snarc":{"surprise":1,"novelty":0,"arousal":0.5,"reward":0,"conflict":1},)"
            R"("window":[{"f32":"AACAPwAAAAAAAIC/AAAAPw=="}]},{"id":"x","inhibited":true,"window":[]}]})",
        R"({"ts":2,"sensors":[{"id":"v","salience":0.95,"window":[[1,2,3,4]]}]})", R"({"ts":3,"sensors":[]})"},
       {"ts",     "tick",     "goal",   "sensors",        "id",        "window",   "age",     "salience",
        "snarc",  "trust",    "memory", "goal_relevance", "inhibited", "surprise", "novelty", "arousal",
        "reward", "conflict", "f32",    "interrupt",      "hold"}}};
}

// No number of a record is NaN or infinite (JSON has no word for them, the writer makes them null), so null stands only
// where the page of records says so.
size_t Nulls(const Json& json, const std::string& key) {
  if (json.is_null()) return key == "state" || key == "interrupt" ? 0 : 1;
  size_t count = 0;
  if (json.is_object())
    for (const auto& [name, value] : json.items()) count += Nulls(value, name);
  if (json.is_array())
    for (const Json& value : json) count += Nulls(value, key);
  return count;
}

}  // namespace

TEST_CASE("fuzz: changed ticks are decided or refused with a record; a refused one leaves the state as it was") {
  for (const Kind& kind : Kinds()) {
    CAPTURE(kind.name);
    auto stream = std::make_unique<Stream>(kind.model);
    std::string record;
    for (const std::string& tick : kind.ticks) {
      const sage_status status = stream->Tick(tick, &record);
      CAPTURE(record);
      REQUIRE(status == SAGE_OK);
    }
    const std::string begin = stream->Snapshot();
    Random random(3);
    size_t good = 0;
    constexpr size_t kCases = size_t{2500} * SAGE_FUZZ_ROUNDS;
    for (size_t i = 0; i < kCases; ++i) {
      if (i % 50 == 0) REQUIRE(stream->Restore(begin) == SAGE_OK);  // a tick may have moved time to its end
      Json before = Json::parse(stream->Snapshot());
      std::string seed = random.Pick(kind.ticks);
      seed.replace(seed.find(':') + 1, 1, std::to_string(10 + i % 50));  // ts rises
      const std::string tick = ChangeJson(random, seed, kind.words);
      CAPTURE(tick.substr(0, 2000));
      const sage_status status = stream->Tick(tick, &record);
      CAPTURE(record.substr(0, 2000));
      const Json json = Json::parse(record, nullptr, false);
      REQUIRE(json.is_object());
      if (status == SAGE_OK) {
        ++good;
        CHECK(Nulls(json, "") == 0);
        CHECK_FALSE(json.contains("error"));
        continue;
      }
      CHECK(status == SAGE_E_BAD_DATA);
      CHECK(json["error"]["message"].get<std::string>().size() > 5);
      Json after = Json::parse(stream->Snapshot());
      before.erase("line"), after.erase("line");
      CHECK(before == after);
    }
    CHECK(good > kCases / 20);
    CHECK(good < kCases * 9 / 10);
  }
}

TEST_CASE("fuzz: changed snapshots are taken or refused; a refused one changes nothing, a taken one can go on") {
  for (const Kind& kind : Kinds()) {
    CAPTURE(kind.name);
    Stream stream(kind.model);
    std::string record;
    for (const std::string& tick : kind.ticks) REQUIRE(stream.Tick(tick, &record) == SAGE_OK);
    const std::string whole = stream.Snapshot();
    Random random(4);
    size_t taken = 0;
    constexpr size_t kCases = size_t{2000} * SAGE_FUZZ_ROUNDS;
    for (size_t i = 0; i < kCases; ++i) {
      const std::string before = stream.Snapshot();
      std::string changed = ChangeJson(random, whole, kind.words);
      if (random.OneIn(4)) ChangeBytes(random, &changed);
      CAPTURE(changed.substr(0, 2000));
      if (stream.Restore(changed) != SAGE_OK) {
        CHECK(stream.Snapshot() == before);
        continue;
      }
      ++taken;
      (void)stream.Tick(kind.ticks.back(), &record);
      CHECK(Json::parse(record, nullptr, false).is_object());
      REQUIRE(stream.Restore(whole) == SAGE_OK);
    }
    CHECK(taken > 0);
    CHECK(taken < kCases / 2);
    for (size_t size = 0; size < whole.size(); ++size) CHECK(stream.Restore(whole.substr(0, size)) != SAGE_OK);
  }
}
