// graph_latency.cc: how long one tick of each SAGE graph takes, JSON in to JSON out, beside the legacy formula in the
// same binary and the same minutes; how much of it is the engine's own work, without the text, by the trace's clock;
// how many heap allocations a tick costs; how long a process takes to its first result.
//
// It writes one JSON document with every sample. Not a test: nothing here passes or fails but the check that each
// mode's output is a decision and that ATTENTION at gamma 0 agrees with LEGACY, without which no row is printed.
#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "machine_info.h"
#include "sage/sage.h"
#include "support/heap_count.h"
#include "text_form.h"

extern char** environ;

namespace {

using Json = nlohmann::ordered_json;

constexpr int kWarmUp = 300, kSamples = 1000, kTicks = 50;
constexpr int kWarmAgain = 5;  // ticks after each trace that was read, the last of them measured

[[noreturn]] void Die(const std::string& message) {
  fmt::print(stderr, "graph_latency: {}\n", message);
  std::exit(1);
}

struct Error : sage_error {
  Error() : sage_error{} { struct_size = sizeof(sage_error); }
};

void Require(sage_status status, const Error& error, const std::string& what) {
  if (status != SAGE_OK) Die(what + ": " + error.message);
}

uint64_t Now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000000000ull + static_cast<uint64_t>(t.tv_nsec);
}

// {"f32": base64} of n numbers in [-1,1).
std::string Vector(std::mt19937& random, size_t n) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes(4 * n, '\0'), text;
  for (size_t i = 0; i < n; ++i) {
    const float value = std::uniform_real_distribution<float>(-1, 1)(random);
    std::memcpy(bytes.data() + 4 * i, &value, 4);
  }
  for (size_t i = 0; i < bytes.size(); i += 3) {
    uint32_t word = 0;
    const size_t left = std::min<size_t>(3, bytes.size() - i);
    for (size_t k = 0; k < 3; ++k) word = word << 8 | (k < left ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (size_t k = 0; k < 4; ++k) text += k <= left ? digits[(word >> (18 - 6 * k)) & 63u] : '=';
  }
  return "{\"f32\":\"" + text + "\"}";
}

double Unit(std::mt19937& random) {
  return std::round(std::uniform_real_distribution<double>(0, 1)(random) * 1e4) / 1e4;
}

std::string Numbers(std::mt19937& random, size_t n) {
  std::string text = "[";
  for (size_t i = 0; i < n; ++i) text += fmt::format("{}{}", i == 0 ? "" : ",", Unit(random));
  return text + "]";
}

struct Case {
  std::string name, model;  // model: JSON with %MODE% and %GAMMA%
  bool experts = false;     // set the expert table
  std::function<std::string(std::mt19937&, int)> tick;
};

std::string ExpertModel() {
  return R"({"name":"bench-expert","policy":{"flash_threshold":512},"graph_type":"ExpertGraph","graph":{"attention":{"mode":"%MODE%","gamma":%GAMMA%,
"d_model":768,"query_heads":12,"kv_heads":4,"head_dim":64,"weights":"SEEDED","weight_seed":7},"num_experts":128,"top_k":8}})";
}
std::string MetabolicModel() {
  return R"({"name":"bench-metabolic","policy":{"flash_threshold":512},"graph_type":"MetabolicGraph","graph":{"attention":{"mode":"%MODE%","gamma":%GAMMA%,
"d_model":256,"query_heads":8,"kv_heads":8,"head_dim":32},"max_targets":64}})";
}
std::string FusionModel() {
  return R"({"name":"bench-fusion","policy":{"flash_threshold":512},"graph_type":"FusionGraph","graph":{"attention":{"mode":"%MODE%","gamma":%GAMMA%,
"d_model":256,"query_heads":8,"kv_heads":8,"head_dim":32},"max_sensors":8}})";
}

std::string ExpertTick(std::mt19937& random, int n) {
  return fmt::format(R"({{"ts":{},"context_embedding":{},"router_logits":{},"trust":{}}})", n, Vector(random, 768),
                     Numbers(random, 128), Numbers(random, 128));
}
std::string MetabolicTick(std::mt19937& random, int n, int targets) {
  std::string text =
      fmt::format(R"({{"ts":{},"state":"WAKE","state_embedding":{},"targets":[)", n, Vector(random, 256));
  for (int i = 0; i < targets; ++i)
    text += fmt::format(R"({}{{"id":"t{}","salience":{},"embedding":{}}})", i == 0 ? "" : ",", i, Unit(random),
                        Vector(random, 256));
  return text + "]}";
}
std::string FusionTick(std::mt19937& random, int n) {
  std::string text = fmt::format(R"({{"ts":{},"goal":{},"sensors":[)", n, Vector(random, 256));
  for (int i = 0; i < 8; ++i)
    text += fmt::format(R"({}{{"id":"s{}","goal_relevance":{},"salience":{},"trust":{},"window":[{},{}]}})",
                        i == 0 ? "" : ",", i, Unit(random), Unit(random) * 0.85, Unit(random), Vector(random, 256),
                        Vector(random, 256));
  return text + "]}";
}

std::string Replace(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  return at == std::string::npos ? text : text.replace(at, from.size(), to);
}

struct Graph {
  sage_model* model = nullptr;
  sage_session* session = nullptr;
  std::vector<char> decision = std::vector<char>(1 << 20);
  std::vector<uint32_t> samples;
  std::vector<uint32_t> decide, nodes;  // of a traced session: the tick without its text, and the op graph in it
  std::vector<char> trace = std::vector<char>(1 << 20);
  uint64_t allocations = 0;

  Graph(sage_engine* engine, const Case& c, const char* mode, const char* gamma, bool traced = false) {
    const auto bytes = sage::ModelToBinary(Replace(Replace(c.model, "%MODE%", mode), "%GAMMA%", gamma));
    if (!bytes.ok()) Die(c.name + ": " + bytes.status().message());
    Error error;
    Require(sage_model_load_buffer(engine, bytes->data(), bytes->size(), nullptr, &model, &error), error, c.name);
    sage_options* options = nullptr;
    if (traced) {
      Require(sage_options_create(&options, &error), error, c.name);
      Require(sage_options_set(options, "trace", "true", &error), error, c.name);
    }
    Require(sage_session_create(model, options, &session, &error), error, c.name);
    sage_options_destroy(options);
    if (c.experts) {
      std::mt19937 random(3);
      std::vector<float> table(128 * 768);
      for (float& x : table) x = std::uniform_real_distribution<float>(-1, 1)(random);
      const int64_t shape[2] = {128, 768};
      Require(
          sage_session_set_input(session, 0, SAGE_F32, 2, shape, table.data(), table.size() * sizeof(float), &error),
          error, c.name);
    }
  }
  ~Graph() {
    sage_session_destroy(session);
    sage_model_destroy(model);
  }
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  uint64_t Tick(const std::string& text) {
    Error error;
    uint64_t needed = 0;
    const uint64_t begin = Now();
    const sage_status status = sage_session_tick(session, text.data(), text.size(), &error);
    const sage_status read = sage_session_decision(session, decision.data(), decision.size(), &needed, &error);
    const uint64_t duration = Now() - begin;
    Require(status, error, "tick");
    Require(read, error, "decision");
    return duration;
  }
};

// Of the last tick, from its trace.
void TakeTrace(Graph* graph) {
  Error error;
  uint64_t needed = 0;
  Require(sage_session_trace(graph->session, graph->trace.data(), graph->trace.size(), &needed, &error), error,
          "trace");
  const auto trace = nlohmann::json::parse(graph->trace.data());
  uint64_t nodes = 0;
  for (const auto& node : trace["nodes"]) nodes += node["ns"].is_null() ? 0 : node["ns"].get<uint64_t>();
  graph->decide.push_back(static_cast<uint32_t>(trace["program"]["ns"]["decide"].get<uint64_t>()));
  graph->nodes.push_back(static_cast<uint32_t>(nodes));
}

double Percentile(std::vector<uint32_t> sorted, double p) {
  std::sort(sorted.begin(), sorted.end());
  const auto rank = static_cast<size_t>(std::ceil(p / 100 * static_cast<double>(sorted.size())));
  return static_cast<double>(sorted[std::min(sorted.size() - 1, rank == 0 ? 0 : rank - 1)]);
}

// The largest difference between two decisions' numbers, in the order they stand.
void Collect(const nlohmann::json& value, std::vector<double>* numbers) {
  if (value.is_number())
    numbers->push_back(value.get<double>());
  else if (value.is_structured())
    for (const auto& item : value) Collect(item, numbers);
}

bool AgreesWithLegacy(const Graph& a, const Graph& b, bool expert) {
  const auto x = nlohmann::json::parse(a.decision.data()), y = nlohmann::json::parse(b.decision.data());
  if (expert) return x["decisions"][0]["ids"] == y["decisions"][0]["ids"];
  const char* part = x["decisions"].contains("weights") ? "weights" : nullptr;
  std::vector<double> p, q;
  Collect(part != nullptr ? x["decisions"][part] : x["decisions"], &p);
  Collect(part != nullptr ? y["decisions"][part] : y["decisions"], &q);
  if (p.size() != q.size()) return false;
  for (size_t i = 0; i < p.size(); ++i)
    if (std::fabs(p[i] - q[i]) > 1e-9 * std::max(1.0, std::fabs(q[i]))) return false;
  return true;
}

Json Figures(const std::vector<uint32_t>& samples) {
  Json row;
  row["p50_ns"] = Percentile(samples, 50);
  row["p90_ns"] = Percentile(samples, 90);
  row["p99_ns"] = Percentile(samples, 99);
  row["min_ns"] = Percentile(samples, 0);
  row["samples_ns"] = samples;
  return row;
}

// traced: null where there is nothing but the tick as a whole.
Json Row(const std::string& name, const char* mode, const Graph& graph, const Graph* traced) {
  Json row;
  row["name"] = name;
  row["mode"] = mode;
  row["heap_allocations_per_tick"] = static_cast<double>(graph.allocations) / kSamples;
  row.update(Figures(graph.samples));
  if (traced != nullptr) {
    row["without_text"] = Figures(traced->decide);
    row["op_graph"] = Figures(traced->nodes);
  }
  return row;
}

void Measure(sage_engine* engine, const Case& c, Json* rows) {
  std::mt19937 random(11);
  std::vector<std::string> ticks;
  // One time for all of them: a pass over the ticks may be repeated, since time may stand still but not run backwards.
  for (int i = 0; i < kTicks; ++i) ticks.push_back(c.tick(random, 0));

  {  // Without agreement there is no row.
    Graph zero(engine, c, "ATTENTION", "0"), legacy(engine, c, "LEGACY", "0");
    zero.Tick(ticks[0]), legacy.Tick(ticks[0]);
    if (!AgreesWithLegacy(zero, legacy, c.experts))
      Die(c.name + ": ATTENTION at gamma 0 differs from LEGACY; no figures");
  }
  Graph attention(engine, c, "ATTENTION", "1"), legacy(engine, c, "LEGACY", "1");
  // A session of its own, since its clock costs something: a few readings a tick and two a node.
  Graph traced(engine, c, "ATTENTION", "1", true);
  for (int i = 0; i < kWarmUp; ++i)
    for (Graph* graph : {&attention, &legacy, &traced}) graph->Tick(ticks[static_cast<size_t>(i) % kTicks]);
  attention.samples.reserve(kSamples), legacy.samples.reserve(kSamples);
  for (int i = 0; i < kSamples; ++i) {
    const std::string& tick = ticks[static_cast<size_t>(i) % kTicks];
    for (Graph* graph : {&attention, &legacy}) {
      const uint64_t before = sage::test::HeapAllocations();
      const uint64_t duration = graph->Tick(tick);
      graph->allocations += sage::test::HeapAllocations() - before;
      graph->samples.push_back(static_cast<uint32_t>(std::min<uint64_t>(duration, UINT32_MAX)));
    }
  }
  // Not in turn with the others: reading a trace would cool their caches.
  for (int i = 0; i < kSamples; ++i) {
    for (int warm = 0; warm < kWarmAgain; ++warm) traced.Tick(ticks[static_cast<size_t>(i) % kTicks]);
    TakeTrace(&traced);
  }
  rows->push_back(Row(c.name, "ATTENTION", attention, &traced));
  rows->push_back(Row(c.name, "LEGACY", legacy, nullptr));
  fmt::print(
      stderr,
      "{:<20} p50 {:7.2f} us  p99 {:7.2f} us  without text {:7.2f}, {:7.2f} us  op graph {:7.2f}, {:7.2f} us  legacy "
      "{:7.2f}, {:7.2f} us  allocations {}\n",
      c.name, Percentile(attention.samples, 50) / 1e3, Percentile(attention.samples, 99) / 1e3,
      Percentile(traced.decide, 50) / 1e3, Percentile(traced.decide, 99) / 1e3, Percentile(traced.nodes, 50) / 1e3,
      Percentile(traced.nodes, 99) / 1e3, Percentile(legacy.samples, 50) / 1e3, Percentile(legacy.samples, 99) / 1e3,
      attention.allocations);
}

// Wall time of whole processes: start, load libsage and its plugins, read the model, answer one tick, end.
Json FirstResult(const std::string& tool, const std::string& model, const std::string& ticks) {
  std::vector<uint32_t> samples;
  for (int i = 0; i < 45; ++i) {
    const char* arguments[] = {tool.c_str(), "run", model.c_str(), "--ticks", ticks.c_str(), nullptr};
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    pid_t child = 0;
    const uint64_t begin = Now();
    if (posix_spawn(&child, tool.c_str(), &actions, nullptr, const_cast<char**>(arguments), environ) != 0)
      Die(tool + ": cannot be started");
    int status = 0;
    waitpid(child, &status, 0);
    const uint64_t duration = Now() - begin;
    posix_spawn_file_actions_destroy(&actions);
    if (status != 0) Die(tool + ": the run failed");
    if (i >= 5) samples.push_back(static_cast<uint32_t>(duration));
  }
  Json row;
  row["name"] = "process start to first expert decision, and exit";
  row["p50_ns"] = Percentile(samples, 50), row["p99_ns"] = Percentile(samples, 99),
  row["min_ns"] = Percentile(samples, 0);
  row["samples_ns"] = samples;
  fmt::print(stderr, "{:<28} p50 {:.2f} ms\n", "first result", Percentile(samples, 50) / 1e6);
  return row;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 6) {
    fmt::print(stderr, "usage: graph_latency TOOL EXPERT_MODEL EXPERT_TICKS COMMIT OUT.json\n");
    return 2;
  }
  Error error;
  sage_engine* engine = nullptr;
  Require(sage_engine_create(nullptr, &engine, &error), error, "engine");
  Json document;
  document["what"] = "one tick of each SAGE graph, JSON in to JSON out, beside the legacy formula";
  document["commit"] = argv[4];
  document["machine"] = sage::bench::MachineInfo();
  document["settings"] = {{"warm_up", kWarmUp},
                          {"samples", kSamples},
                          {"shapes",
                           "expert: d 768, 12 query heads over 4 of 64, K cached; ATP and fusion: d 256, 8 heads of "
                           "32; two rows a sensor; f32, every embedding present, as base64"},
                          {"without_text",
                           "policy, tensors, op graph and selection, without reading the tick's JSON and writing the "
                           "record's; op_graph: its nodes alone; both by the trace, in a session of its own"},
                          {"threads", "default: one a processor"},
                          {"order", "ATTENTION and LEGACY in turn, tick by tick"}};
  Json rows = Json::array();
  Measure(engine, {"expert top-8 of 128", ExpertModel(), true, ExpertTick}, &rows);
  Measure(engine,
          {"ATP, 5 targets", MetabolicModel(), false, [](std::mt19937& r, int n) { return MetabolicTick(r, n, 5); }},
          &rows);
  Measure(engine,
          {"ATP, 64 targets", MetabolicModel(), false, [](std::mt19937& r, int n) { return MetabolicTick(r, n, 64); }},
          &rows);
  Measure(engine, {"fusion of 8 sensors", FusionModel(), false, FusionTick}, &rows);
  document["rows"] = rows;
  document["first_result"] = FirstResult(argv[1], argv[2], argv[3]);
  document["machine"]["load_after"] = sage::bench::MachineInfo()["load"];
  sage_engine_destroy(engine);
  std::ofstream out(argv[5]);
  out << document.dump() << "\n";
  if (!out) Die(std::string(argv[5]) + ": cannot be written");
  return 0;
}
