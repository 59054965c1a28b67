// test_sage_goals.cc: what was asked of the three SAGE graphs, through the installed header: the keys of SAGE's
// configuration, the three performance tests' tasks before and after, and weights that can be read.
//
// Times are printed, never judged: the bench measures them (bench/), a shared machine would make a test lie.
#include <chrono>
#include <cmath>
#include <functional>
#include <numeric>

#include "c_api.h"

using namespace sage::test;

namespace {

std::mt19937& Dice() {
  static thread_local std::mt19937 random(2024);
  return random;
}
std::vector<double> Draw(size_t count, double low, double high) {
  std::uniform_real_distribution<double> uniform(low, high);
  std::vector<double> out(count);
  for (double& value : out) value = uniform(Dice());
  return out;
}
double Sum(const json& values) {
  double sum = 0;
  for (const json& value : values) sum += value.get<double>();
  return sum;
}

struct Program {
  ApiEngine engine = MakeEngine();
  ApiModel model;
  ApiSession session;
  Program(const char* kind, const json& graph, const json& policy = json::object()) {
    json text = {{"graph_type", kind}, {"graph", graph}};
    if (!policy.empty()) text["policy"] = policy;
    model = MakeModel(engine.get(), text);
    session = MakeSession(model.get());
  }
  json Run(const json& tick) { return Tick(session.get(), tick); }
  json Explain() { return ExplainOf(session.get()); }
  void Experts(const std::vector<float>& table, int64_t experts) {
    const int64_t shape[] = {experts, static_cast<int64_t>(table.size()) / experts};
    Error error;
    REQUIRE_MESSAGE(sage_session_set_input(session.get(), 0, SAGE_F32, 2, shape, table.data(),
                                           table.size() * sizeof(float), &error) == SAGE_OK,
                    error.message);
  }
};

// Microseconds of the middle one of some calls.
double MedianMicroseconds(int calls, const std::function<void(int)>& call) {
  std::vector<double> times;
  for (int i = 0; i < calls; ++i) {
    const auto start = std::chrono::steady_clock::now();
    call(i);
    times.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count());
  }
  std::nth_element(times.begin(), times.begin() + calls / 2, times.end());
  return times[static_cast<size_t>(calls / 2)];
}

json Targets(size_t count) {
  json targets = json::array();
  const auto salience = Draw(count, 0.05, 1);
  for (size_t i = 0; i < count; ++i) targets.push_back({{"id", "t" + std::to_string(i)}, {"salience", salience[i]}});
  return targets;
}

json Sensors(size_t count, size_t rows, size_t width) {
  json sensors = json::array();
  for (size_t i = 0; i < count; ++i) {
    json window = json::array();
    for (size_t row = 0; row < rows; ++row) window.push_back(Draw(width, -1, 1));
    const auto values = Draw(4, 0.2, 0.8);
    sensors.push_back({{"id", "s" + std::to_string(i)},
                       {"window", window},
                       {"salience", values[0]},
                       {"trust", values[1]},
                       {"memory", values[2]},
                       {"goal_relevance", values[3]}});
  }
  return sensors;
}

}  // namespace

TEST_CASE(
    "G6 expert_selection: use_flash_attention, gqa_query_heads and gqa_kv_heads change what is selected and how") {
  const auto table = Draw(16 * 24, -1, 1);
  const std::vector<float> experts(table.begin(), table.end());
  const json tick = {{"ts", 0}, {"router_logits", Draw(16, -1, 1)}, {"context_embedding", Draw(24, -1, 1)}};
  const auto run = [&](json attention, const json& more = json::object()) {
    attention["d_model"] = 24;
    Program program("ExpertGraph",
                    {{"attention", attention}, {"num_experts", 16}, {"top_k", 4}, {"return_weights", true}});
    program.Experts(experts, 16);
    json asked = tick;
    asked.update(more);
    return program.Run(asked);
  };
  const json base = run({{"query_heads", 12}, {"kv_heads", 4}});
  CHECK(base["backend"] != "none");
  CHECK(base["decisions"][0]["weights"].size() == 12);

  const json legacy = run({{"query_heads", 12}, {"kv_heads", 4}, {"use_flash_attention", false}});
  CHECK(legacy["backend"] == "none");
  CHECK(legacy["decisions"][0]["scores"] != base["decisions"][0]["scores"]);
  CHECK(legacy["decisions"][0]["ids"].size() == 4);  // the same kind of answer
  // An explicit mode wins over the key.
  CHECK(
      run({{"query_heads", 12}, {"kv_heads", 4}, {"use_flash_attention", false}, {"mode", "ATTENTION"}})["decisions"] ==
      base["decisions"]);

  const json fewer = run({{"query_heads", 4}, {"kv_heads", 4}});
  CHECK(fewer["decisions"][0]["weights"].size() == 4);
  CHECK(fewer["decisions"][0]["scores"] != base["decisions"][0]["scores"]);

  const json shared = run({{"query_heads", 12}, {"kv_heads", 2}});
  CHECK(shared["decisions"][0]["weights"].size() == 12);
  CHECK(shared["decisions"][0]["scores"] != base["decisions"][0]["scores"]);
  // Trust by group has a row a KV head: 4 rows fit 4 heads and not 2.
  json rows = json::array();
  for (int row = 0; row < 4; ++row) rows.push_back(Draw(16, 0, 1));
  CHECK(run({{"query_heads", 12}, {"kv_heads", 4}}, {{"trust", rows}})["decisions"] != base["decisions"]);
  Program narrow("ExpertGraph",
                 {{"attention", {{"d_model", 24}, {"query_heads", 12}, {"kv_heads", 2}}}, {"num_experts", 16}});
  json wrong = tick;
  wrong["trust"] = rows;
  const std::string text = wrong.dump();
  CHECK(sage_session_tick(narrow.session.get(), text.data(), text.size(), nullptr) == SAGE_E_BAD_DATA);
}

TEST_CASE("G6 metabolic: use_flash_attention and enable_causal_focus change the allocation") {
  const json tick = {
      {"ts", 0},
      {"state", "FOCUS"},
      {"targets",
       {{{"id", "a"}, {"salience", 0.9}}, {{"id", "b"}, {"salience", 0.6}}, {{"id", "c"}, {"salience", 0.3}}}}};
  const auto run = [&](const json& graph) { return Program("MetabolicGraph", graph).Run(tick); };
  const json causal = run({{"enable_causal_focus", true}}), plain = run({{"enable_causal_focus", false}});
  CHECK(causal["decisions"]["a"].get<double>() == doctest::Approx(88.07).epsilon(1e-4));
  CHECK(plain["decisions"]["a"].get<double>() == doctest::Approx(80).epsilon(1e-9));
  CHECK(run(json::object())["decisions"] == causal["decisions"]);  // the default is the original's
  const json legacy = run({{"attention", {{"use_flash_attention", false}}}});
  CHECK(legacy["backend"] == "none");
  CHECK(legacy["decisions"]["a"] == 80.0);
  CHECK(causal["backend"] != "none");
}

TEST_CASE(
    "G6 sensor_fusion: use_flash_attention, n_heads and max_latency_ms change the result, the plan and its budget") {
  json tick = {{"ts", 0}, {"goal", Draw(16, -1, 1)}, {"sensors", Sensors(3, 2, 16)}};
  const auto program = [](json attention, const json& policy = json::object()) {
    attention["d_model"] = 16;
    return std::make_unique<Program>("FusionGraph", json{{"attention", attention}}, policy);
  };
  const json eight = program({{"query_heads", 8}, {"kv_heads", 8}})->Run(tick);
  const json two = program({{"query_heads", 2}, {"kv_heads", 2}})->Run(tick);
  CHECK(eight["decisions"]["weights"] != two["decisions"]["weights"]);
  CHECK(eight["decisions"]["scores"] == two["decisions"]["scores"]);  // heads are content's, not the score's
  const json legacy = program({{"query_heads", 8}, {"kv_heads", 8}, {"use_flash_attention", false}})->Run(tick);
  CHECK(legacy["backend"] == "none");
  CHECK(legacy["decisions"]["weights"] != eight["decisions"]["weights"]);

  const auto budget = [&](const json& policy) {
    const auto made = program({{"query_heads", 8}, {"kv_heads", 8}}, policy);
    const json record = made->Run(tick), explain = made->Explain();
    return std::tuple(record["budget"]["max_latency_ms"].get<double>(), explain["warnings"].size(),
                      record["decisions"]);
  };
  const auto [standard, none, decisions] = budget(json::object());
  CHECK(standard == 10);  // the key's own value is the default
  CHECK(none == 0);
  const auto [tight, warnings, same] = budget({{"max_latency_ms", 1e-6}});
  CHECK(tight == 1e-6);
  CHECK(warnings > 0);
  CHECK(same == decisions);  // a budget warns; it never changes a result
}

TEST_CASE(
    "G3 S6 a kernel that cannot do what was wished falls back aloud: flag, reason, log line, the same kind of result") {
  std::string log;
  ApiOptions options(Settings{{"log_level", "warning"}});
  REQUIRE(sage_options_set_log(
              options.get(),
              [](void* user, int32_t, const char* text, uint64_t length) {
                static_cast<std::string*>(user)->append(text, length).push_back('\n');
              },
              &log, nullptr) == SAGE_OK);
  const ApiEngine engine = MakeEngine(options.get());
  if (!HasBackend(engine.get(), "cpu")) {
    MESSAGE("skipped: the cpu plugin is not built");
    return;
  }
  const ApiModel model = MakeModel(
      engine.get(),
      {{"graph_type", "ExpertGraph"},
       {"graph", {{"attention", {{"d_model", 8}, {"query_heads", 4}, {"kv_heads", 2}}}, {"num_experts", 6}}}});
  const json tick = {{"ts", 0}, {"router_logits", Draw(6, -1, 1)}, {"trust", Draw(6, 0, 1)}, {"k", 3}};
  const ApiSession plain = MakeSession(model.get());
  const json expected = Tick(plain.get(), tick);
  CHECK(std::string(expected["flags"].dump()).find("fallback") == std::string::npos);
  CHECK(log.empty());
  // The graphs ask for weights, which no flash kernel has to give.
  const ApiSession wishing = MakeSession(model.get(), {{"algorithm", "flash"}});
  const json record = Tick(wishing.get(), tick);
  CHECK(std::string(record["flags"].dump()).find("\"fallback\"") != std::string::npos);
  CHECK(record["reason"].get<std::string>().find("algorithm flash") != std::string::npos);
  CHECK(record["decisions"] == expected["decisions"]);
  CHECK(record["backend"] == expected["backend"]);
  CHECK_MESSAGE(log.find("algorithm flash") != std::string::npos, log);
}

TEST_CASE("G7 top 8 of 128 by the weighted sum and by attention: one kind of answer, the same at gamma 0, both timed") {
  const auto values = Draw(128 * 768, -1, 1);
  const std::vector<float> experts(values.begin(), values.end());
  json ticks = json::array();
  for (int i = 0; i < 20; ++i)
    ticks.push_back({{"ts", i},
                     {"router_logits", Draw(128, -2, 2)},
                     {"trust", Draw(128, 0, 1)},
                     {"context_embedding", Draw(768, -1, 1)}});
  const auto make = [&](const json& attention) {
    auto program = std::make_unique<Program>("ExpertGraph", json{{"attention", attention}});
    program->Experts(experts, 128);
    return program;
  };
  const auto before = make({{"mode", "LEGACY"}}), equal = make({{"gamma", 0}}), after = make({{"gamma", 1}});
  int moved = 0;
  for (const json& tick : ticks) {
    const json a = before->Run(tick), b = equal->Run(tick), c = after->Run(tick);
    for (const json* record : {&a, &b, &c}) {
      const json& row = (*record)["decisions"][0];
      REQUIRE(row["ids"].size() == 8);
      CHECK(row["scores"].size() == 8);
      CHECK(Sum(row["gates"]) == doctest::Approx(1));
      for (size_t i = 1; i < 8; ++i) CHECK(row["scores"][i - 1].get<double>() >= row["scores"][i].get<double>());
    }
    CHECK(a["decisions"][0]["ids"] == b["decisions"][0]["ids"]);
    moved += a["decisions"][0]["ids"] != c["decisions"][0]["ids"] ||
             a["decisions"][0]["gates"] != c["decisions"][0]["gates"];
  }
  CHECK(moved > 0);  // content counts at gamma 1
  const auto time = [&](Program& program) {
    return MedianMicroseconds(41, [&](int i) {
      json tick = ticks[static_cast<size_t>(i % 20)];
      tick["ts"] = 100 + i;
      program.Run(tick);
    });
  };
  MESSAGE("top 8 of 128, tick text to record: " << time(*before) << " us by the weighted sum, " << time(*after)
                                                << " us by attention (target 5000)");
}

TEST_CASE("G8 the allocation keeps its distribution by state, both ways timed") {
  const json attention = {{"d_model", 8}, {"query_heads", 2}, {"kv_heads", 2}, {"gamma", 0}};
  json legacy_attention = attention;
  legacy_attention["mode"] = "LEGACY";
  const json graph = {{"attention", attention}, {"enable_causal_focus", false}, {"wake_spread", 0}};
  json legacy_graph = graph;
  legacy_graph["attention"] = legacy_attention;
  Program attended("MetabolicGraph", graph), legacy("MetabolicGraph", legacy_graph);
  int tick_number = 0;
  json last;
  for (const char* state : {"WAKE", "FOCUS", "REST", "CRISIS"}) {
    INFO(std::string(state));
    double worst = 0, concentration[2] = {0, 0};
    for (const size_t count : {3u, 5u, 17u, 64u}) {
      json tick = {{"ts", tick_number++}, {"state", state}, {"targets", Targets(count)}};
      const json a = attended.Run(tick), b = legacy.Run(tick);
      REQUIRE(a["decisions"].size() == b["decisions"].size());
      for (const auto& [id, atp] : b["decisions"].items()) {
        worst = std::max(worst, std::fabs(atp.get<double>() - a["decisions"][id].get<double>()));
        concentration[0] += std::pow(a["decisions"][id].get<double>() / 100, 2);
        concentration[1] += std::pow(atp.get<double>() / 100, 2);
      }
      CHECK(Sum(a["decisions"]) == doctest::Approx(100).epsilon(1e-9));
      if (std::string(state) == "WAKE") last = tick;
    }
    // wake_spread 0 is the legacy rule of WAKE: strictly in proportion to salience.
    CHECK(worst < 1e-9);
    CHECK(concentration[0] == doctest::Approx(concentration[1]).epsilon(1e-9));
  }
  const auto time = [&](Program& program) {
    return MedianMicroseconds(41, [&](int i) {
      last["ts"] = 1000 + i;
      program.Run(last);
    });
  };
  MESSAGE("ATP for 64 targets, tick text to record: " << time(legacy) << " us by the formula, " << time(attended)
                                                      << " us by attention");
}

TEST_CASE("G9 eight sensors of width 256, from the tick's text to the fused state, planned within 10 ms") {
  Program program("FusionGraph", json::object());  // the defaults: 8 sensors, d 256, 8 heads of 32
  const json explain = program.Explain();
  CHECK(explain["d_model"] == 256);
  CHECK(explain["query_heads"] == 8);
  CHECK(explain["head_dim"] == 32);
  json tick = {{"ts", 0}, {"goal", Draw(256, -1, 1)}, {"sensors", Sensors(8, 4, 256)}};
  const json record = program.Run(tick);
  CHECK(record["decisions"]["fused"].size() == 256);
  CHECK(record["decisions"]["weights"].size() == 8);
  CHECK(Sum(record["decisions"]["weights"]) == doctest::Approx(1));
  CHECK(record["decisions"]["active"].size() == 3);
  CHECK(record["decisions"]["inhibited"].size() == 5);
  CHECK(record["budget"]["max_latency_ms"] == 10);
  if (HasBackend(program.engine.get(), "cpu")) CHECK(program.Explain()["warnings"].empty());  // priced below the budget
  const double taken = MedianMicroseconds(21, [&](int i) {
    tick["ts"] = 1 + i;
    program.Run(tick);
  });
  MESSAGE("fusion of 8 sensors, tick text to record: " << taken << " us (target 10000)");
}

TEST_CASE("G11 weights can be read and explain the answer: per head in experts, per sensor, and of any attention") {
  const auto values = Draw(10 * 8, -1, 1);
  const json attention = {{"d_model", 8}, {"query_heads", 4}, {"kv_heads", 2}, {"dtype", "F64"}};
  const std::vector<double> router = Draw(10, -1, 1);
  const json tick = {
      {"ts", 0}, {"router_logits", router}, {"context_embedding", Draw(8, -1, 1)}, {"trust", Draw(10, 0, 1)}};
  const auto run = [&](bool weights) {
    Program program(
        "ExpertGraph",
        {{"attention", attention}, {"num_experts", 10}, {"top_k", 10}, {"alpha", 0.4}, {"return_weights", weights}});
    const int64_t shape[] = {10, 8};
    REQUIRE(sage_session_set_input(program.session.get(), 0, SAGE_F64, 2, shape, values.data(), sizeof(double) * 80,
                                   nullptr) == SAGE_OK);
    return program.Run(tick)["decisions"][0];
  };
  CHECK_FALSE(run(false).contains("weights"));
  const json row = run(true);
  REQUIRE(row["weights"].size() == 4);
  for (const json& head : row["weights"]) CHECK(Sum(head) == doctest::Approx(1));
  // The scores follow from the weights by the documented formula, so the weights do explain them.
  for (size_t i = 0; i < 10; ++i) {
    const auto expert = row["ids"][i].get<size_t>();
    double mean = 0;
    for (const json& head : row["weights"]) mean += head[expert].get<double>() / 4;
    CHECK(row["scores"][i].get<double>() ==
          doctest::Approx(0.4 * router[expert] + 0.6 * std::log(10 * mean)).epsilon(1e-9));
  }

  Program fusion("FusionGraph", {{"attention", {{"d_model", 4}, {"query_heads", 1}, {"kv_heads", 1}}}});
  const json fused = fusion.Run({{"ts", 0}, {"goal", Draw(4, -1, 1)}, {"sensors", Sensors(3, 1, 4)}});
  CHECK(Sum(fused["decisions"]["weights"]) == doctest::Approx(1));

  // An op graph's weights, times V, are its output.
  const ApiEngine engine = MakeEngine();
  AttentionModel model;
  model.rows = 3, model.keys = 5, model.dim = 4;
  model.node = {{"weights", "w"}};
  json text = model.Json();
  text["graph"]["outputs"] = {"o", "w"};
  const ApiModel loaded = MakeModel(engine.get(), text);
  const ApiSession session = MakeSession(loaded.get());
  std::vector<float> data[3];
  for (uint32_t input = 0; input < 3; ++input) {
    const int64_t shape[] = {1, 2, input == 0 ? 3 : 5, 4};
    const auto drawn = Draw(static_cast<size_t>(2 * shape[2] * 4), -1, 1);
    data[input].assign(drawn.begin(), drawn.end());
    REQUIRE(sage_session_set_input(session.get(), input, SAGE_F32, 4, shape, data[input].data(), data[input].size() * 4,
                                   nullptr) == SAGE_OK);
  }
  REQUIRE(sage_session_run(session.get(), nullptr) == SAGE_OK);
  std::vector<float> o(2 * 3 * 4), w(2 * 3 * 5);
  REQUIRE(sage_session_get_output(session.get(), 0, o.data(), o.size() * 4, nullptr) == SAGE_OK);
  REQUIRE(sage_session_get_output(session.get(), 1, w.data(), w.size() * 4, nullptr) == SAGE_OK);
  for (size_t h = 0; h < 2; ++h)
    for (size_t i = 0; i < 3; ++i) {
      float sum = 0;
      for (size_t j = 0; j < 5; ++j) sum += w[(h * 3 + i) * 5 + j];
      CHECK(sum == doctest::Approx(1));
      for (size_t c = 0; c < 4; ++c) {
        float expected = 0;
        for (size_t j = 0; j < 5; ++j) expected += w[(h * 3 + i) * 5 + j] * data[2][(h * 5 + j) * 4 + c];
        CHECK(o[(h * 3 + i) * 4 + c] == doctest::Approx(expected).epsilon(1e-5));
      }
    }
}
