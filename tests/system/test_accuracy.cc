// test_accuracy.cc: sage_session_accuracy through the installed header: op graphs, the three SAGE graphs tick by tick,
// and every way to ask too early.
#include <cmath>
#include <cstring>

#include "c_api.h"

using namespace sage::test;

namespace {

json AccuracyOf(sage_session* session) { return json::parse(TextOf(sage_session_accuracy, session)); }

const Settings kOn = {{"accuracy_report", "on"}};

// Status and words of a session that has no report.
void Refused(sage_session* session, const char* words) {
  Error error;
  uint64_t needed = 77;
  CHECK(sage_session_accuracy(session, nullptr, 0, &needed, &error) == SAGE_E_INVALID_ARGUMENT);
  CHECK_MESSAGE(error.Says(words), error.message);
}

}  // namespace

TEST_CASE("R5 sage_session_accuracy: an op graph's attention, in the dtype it is stored in") {
  const ApiEngine engine = MakeEngine();
  AttentionModel attention;
  attention.dtype = "BF16";
  attention.keys = 300;
  const ApiModel model = MakeModel(engine.get(), attention.Json());
  for (const char* accuracy : {"exact", "native"}) {
    const ApiSession session = MakeSession(model.get(), {{"accuracy_report", "on"}, {"accuracy", accuracy}});
    Refused(session.get(), "no run yet");
    std::mt19937 random(3);
    for (uint32_t i = 0; i < 3; ++i) {
      const int64_t shape[] = {1, 2, i == 0 ? 8 : 300, 16};
      std::vector<uint16_t> values(static_cast<size_t>(2 * 16 * shape[2]));
      // bf16 of about -1 to 1: sign, an exponent of 125 or 126, any fraction.
      for (uint16_t& value : values) value = static_cast<uint16_t>((random() & 0x80ff) | 0x3e80);
      REQUIRE(sage_session_set_input(session.get(), i, SAGE_BF16, 4, shape, values.data(), values.size() * 2,
                                     nullptr) == SAGE_OK);
    }
    REQUIRE(sage_session_run(session.get(), nullptr) == SAGE_OK);
    const json report = AccuracyOf(session.get());
    REQUIRE(report["nodes"].size() == 1);
    const json& node = report["nodes"][0];
    CHECK(node["measured"] == true);
    CHECK(node["dtypes"]["O"] == "bf16");
    const json& o = node["outputs"][0];
    CHECK(o["elements"] == 256);
    CHECK(o["rel_l1"].get<double>() > 1e-5);  // of the rounding to bf16, if of nothing else
    CHECK(o["rel_l1"].get<double>() < 0.01);
    CHECK(o["cosine"].get<double>() > 0.9999);
    CHECK(o["max_abs_error_at"].size() == 4);
    CHECK(report["summary"]["worst"][0]["rel_l1"]["value"] == o["rel_l1"]);
    // A run that fails takes the report with it; the next one brings another.
    REQUIRE(sage_session_bind(session.get(), SAGE_INPUT, 0, nullptr, nullptr) == SAGE_OK);
    CHECK(sage_session_run(session.get(), nullptr) != SAGE_OK);
    Refused(session.get(), "the last one failed");
  }
  const ApiSession off = MakeSession(model.get());
  Refused(off.get(), "accuracy_report = on");
}

TEST_CASE("R5 sage_session_accuracy: bad words of the option are refused with the good ones") {
  const ApiEngine engine = MakeEngine({{"plugin_folders", "false"}});
  const ApiModel model = MakeModel(engine.get(), AttentionModel().Json());
  for (const auto& [key, value, words] : {std::array{"accuracy_report", "last", "expected true or false"},
                                          {"accuracy_report", "", "expected true or false"},
                                          {"accuracy_reports", "on", "did you mean 'accuracy_report'?"}}) {
    ApiSession session;
    Error error;
    CHECK(sage_session_create(model.get(), ApiOptions(Settings{{key, value}}).get(), session.out(), &error) ==
          SAGE_E_INVALID_ARGUMENT);
    CHECK_MESSAGE(error.Says(words), error.message);
  }
}

TEST_CASE("R5 sage_session_accuracy: every attention of the last tick of each SAGE graph") {
  const json attention = {{"d_model", 8}, {"query_heads", 4}, {"kv_heads", 2}, {"head_dim", 2}};
  const json vector = {1, 0.5, -2, 0, 0, 1, 0, 3};
  const struct {
    const char* kind;
    json graph, tick;
  } graphs[] = {
      {"ExpertGraph", {{"num_experts", 4}, {"top_k", 2}}, {{"router_logits", {1, 0.5, 2, 0}}}},
      {"MetabolicGraph",
       json::object(),
       {{"state", "FOCUS"}, {"targets", {{{"id", "a"}, {"salience", 0.9}}, {{"id", "b"}, {"salience", 0.2}}}}}},
      {"FusionGraph",
       json::object(),
       {{"goal", vector}, {"sensors", {{{"id", "a"}, {"salience", 0.5}, {"window", {vector}}}}}}},
  };
  const ApiEngine engine = MakeEngine();
  for (const auto& given : graphs) {
    CAPTURE(given.kind);
    json graph = given.graph;
    graph["attention"] = attention;
    const ApiModel model = MakeModel(engine.get(), {{"graph_type", given.kind}, {"graph", graph}});
    const ApiSession session = MakeSession(model.get(), kOn), off = MakeSession(model.get());
    Refused(session.get(), "no tick yet");
    for (int ts = 0; ts < 3; ++ts) {
      json tick = given.tick;
      tick["ts"] = ts;
      const json record = Tick(session.get(), tick);
      CHECK(record == Tick(off.get(), tick));  // measuring changes no decision
      const json report = AccuracyOf(session.get());
      REQUIRE(report["nodes"].size() == 1);  // of this tick alone
      const json& node = report["nodes"][0];
      CHECK(node["backend"] == record["backend"]);
      CHECK(node["session"].get<std::string>().size() > 3);
      CHECK(node["measured"] == true);
      bool weights = false;
      for (const json& output : node["outputs"]) {
        weights = weights || output["output"] == "WEIGHTS";
        CHECK(output["rel_l1"].get<double>() < 1e-5);
      }
      CHECK(weights);
    }
    // A bad tick has no accuracy; the next good one has.
    Error error;
    CHECK(sage_session_tick(session.get(), "{}", 2, &error) == SAGE_E_BAD_DATA);
    Refused(session.get(), "the last one was a bad one");
    json tick = given.tick;
    tick["ts"] = 9;
    Tick(session.get(), tick);
    CHECK(AccuracyOf(session.get())["nodes"].size() == 1);
    Tick(off.get(), tick);
    Refused(off.get(), "accuracy_report = on");
  }
}

TEST_CASE("R5 sage_session_accuracy: a tick without attention says so") {
  const ApiEngine engine = MakeEngine({{"plugin_folders", "false"}});
  const ApiModel model = MakeModel(engine.get(), {{"graph_type", "MetabolicGraph"}, {"graph", json::object()}});
  const ApiSession session = MakeSession(model.get(), kOn);
  Tick(session.get(), {{"ts", 0}, {"state", "REST"}, {"targets", json::array()}});
  const json report = AccuracyOf(session.get());
  CHECK(report["nodes"].empty());
  CHECK(report["note"] == "the last tick was decided without attention");
  CHECK(report["summary"]["measured"] == 0);
}
