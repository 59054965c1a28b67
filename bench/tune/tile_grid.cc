// tile_grid.cc: attention with the tiles that the cpu backend chooses beside every fixed choice of a grid: is the
// automatic one at least 0.9 of the best? One head, not causal; of sequences longer than 1152 that many queries, as the
// tiles of a longer one do the same again. All choices of a problem take turns; the least time of each counts.
//
// It writes one JSON document with every time. Not a test: it says what it found, and exits 1 where the bar is missed.
#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "machine_info.h"
#include "sage/sage.h"

namespace {

using Json = nlohmann::ordered_json;

constexpr double kBar = 0.9;
constexpr int64_t kMostQueries = 1152;
constexpr int kLeastRounds = 6, kMostRounds = 40;
constexpr double kWindowNs = 200e3, kProblemNs = 0.8e9;

[[noreturn]] void Die(const std::string& message) {
  fmt::print(stderr, "tile_grid: {}\n", message);
  std::exit(2);
}

struct Error : sage_error {
  Error() : sage_error{} { struct_size = sizeof(sage_error); }
};

void Require(sage_status status, const Error& error, const std::string& what) {
  if (status != SAGE_OK) Die(what + ": " + error.message);
}

double Now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

using Options = std::unique_ptr<sage_options, void (*)(sage_options*)>;
Options MakeOptions(const std::vector<std::pair<std::string, std::string>>& pairs) {
  Error error;
  sage_options* raw = nullptr;
  Require(sage_options_create(&raw, &error), error, "options");
  Options options(raw, sage_options_destroy);
  for (const auto& [key, value] : pairs) Require(sage_options_set(raw, key.c_str(), value.c_str(), &error), error, key);
  return options;
}

struct Tensor {
  Tensor(sage_dtype dtype, int64_t length, int64_t dim, uint32_t seed)
      : data(static_cast<size_t>(length * dim * (dtype == SAGE_F32 ? 4 : 2))) {
    // Numbers of magnitude [0.5, 1), made as bits.
    for (size_t i = 0; i < static_cast<size_t>(length * dim); ++i) {
      seed = seed * 1664525u + 1013904223u;
      const uint32_t bits = (seed & 0x80000000u) | 126u << 23 | (seed >> 8 & 0x7fffffu);
      const auto narrow = static_cast<uint16_t>(bits >> 16);
      if (dtype == SAGE_F32)
        std::copy_n(reinterpret_cast<const char*>(&bits), 4, &data[4 * i]);
      else
        std::copy_n(reinterpret_cast<const char*>(&narrow), 2, &data[2 * i]);
    }
    const int64_t shape[4] = {1, 1, length, dim};
    sage_tensor_init(&tensor, dtype, 4, shape, data.data());
  }
  std::vector<char> data;
  sage_tensor tensor{};
};

// One choice of tiles for one problem. rows 0: the automatic one.
struct Choice {
  int64_t rows, keys;
  std::unique_ptr<sage_attention_plan, void (*)(sage_attention_plan*)> plan{nullptr, sage_attention_plan_destroy};
  std::unique_ptr<sage_attention_context, void (*)(sage_attention_context*)> context{nullptr,
                                                                                     sage_attention_context_destroy};
  int repeats = 1;
  double least_ns = HUGE_VAL;
};

void Run(Choice& choice, const sage_tensor* const* slots) {
  Error error;
  Require(sage_attention_run(choice.context.get(), slots, 4, nullptr, &error), error, "run");
}

void Measure(std::vector<Choice>& choices, const sage_tensor* const* slots) {
  for (Choice& choice : choices) {
    Run(choice, slots);
    const double begin = Now();
    Run(choice, slots);
    choice.repeats = static_cast<int>(std::ceil(kWindowNs / std::max(Now() - begin, 1e3)));
  }
  const double begin = Now();
  for (int round = 0; round < kMostRounds && (round < kLeastRounds || Now() - begin < kProblemNs); ++round)
    for (size_t step = 0; step < choices.size(); ++step) {
      Choice& choice = choices[round % 2 == 0 ? step : choices.size() - 1 - step];
      const double start = Now();
      for (int repeat = 0; repeat < choice.repeats; ++repeat) Run(choice, slots);
      choice.least_ns = std::min(choice.least_ns, (Now() - start) / choice.repeats);
    }
}

std::string ReasonOf(const sage_attention_plan* plan) {
  size_t size = 0;
  Error error;
  Require(sage_attention_plan_explain(plan, nullptr, 0, &size, &error), error, "explain");
  std::string text(size, '\0');
  Require(sage_attention_plan_explain(plan, text.data(), text.size(), &size, &error), error, "explain");
  for (const Json& verdict : Json::parse(text.c_str()).value("verdicts", Json::array()))
    if (verdict.value("backend", "") == "cpu") return verdict.value("reason", "");
  return "";
}

Json Problem(sage_engine* engine, sage_dtype dtype, int64_t dim, int64_t length) {
  const int64_t queries = std::min(length, kMostQueries);
  Tensor q(dtype, queries, dim, 1), k(dtype, length, dim, 2), v(dtype, length, dim, 3), o(dtype, queries, dim, 4);
  const sage_tensor* slots[4] = {&q.tensor, &k.tensor, &v.tensor, &o.tensor};
  sage_attention_attributes attributes{};
  attributes.struct_size = sizeof attributes;
  sage_op op{};
  op.struct_size = sizeof op, op.kind = SAGE_OP_ATTENTION, op.attributes = &attributes, op.num_slots = 4;
  op.slots = slots;
  std::vector<Choice> choices;
  choices.push_back({.rows = 0, .keys = 0});
  for (const int64_t rows : {48, 96, 144, 192, 288, 384})
    for (const int64_t keys : {64, 128, 256, 512})
      if (keys <= length && rows <= queries + 47) choices.push_back({.rows = rows, .keys = keys});
  for (Choice& choice : choices) {
    const Options options = MakeOptions({{"backend", "cpu"},
                                         {"algorithm", "flash"},
                                         {"block_q", std::to_string(choice.rows)},
                                         {"block_kv", std::to_string(choice.keys)}});
    Error error;
    sage_attention_plan* plan = nullptr;
    Require(sage_attention_plan_create(engine, &op, options.get(), &plan, &error), error, "plan");
    choice.plan.reset(plan);
    sage_attention_context* context = nullptr;
    Require(sage_attention_context_create(plan, &context, &error), error, "context");
    choice.context.reset(context);
  }
  Measure(choices, slots);
  const auto best = std::min_element(choices.begin() + 1, choices.end(),
                                     [](const Choice& a, const Choice& b) { return a.least_ns < b.least_ns; });
  Json row;
  row["dtype"] = dtype == SAGE_F32 ? "f32" : "bf16";
  row["dim"] = dim, row["keys"] = length, row["queries"] = queries;
  row["automatic"] = ReasonOf(choices[0].plan.get());
  row["automatic_ns"] = std::round(choices[0].least_ns);
  row["best_rows"] = best->rows, row["best_keys"] = best->keys, row["best_ns"] = std::round(best->least_ns);
  row["automatic_over_best"] = best->least_ns / choices[0].least_ns;
  for (auto choice = choices.begin() + 1; choice != choices.end(); ++choice)
    row["fixed_ns"][fmt::format("{}x{}", choice->rows, choice->keys)] = std::round(choice->least_ns);
  return row;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (arguments.size() != 4 || (arguments[1] != "f32" && arguments[1] != "bf16"))
    Die("usage: tile_grid THREADS f32|bf16 COMMIT OUT.json");
  const Options options = MakeOptions({{"threads", arguments[0]}, {"cpu.tune", "off"}});
  Error error;
  sage_engine* raw = nullptr;
  Require(sage_engine_create(options.get(), &raw, &error), error, "engine");
  const std::unique_ptr<sage_engine, void (*)(sage_engine*)> engine(raw, sage_engine_destroy);
  Json report;
  report["commit"] = arguments[2], report["machine"] = sage::bench::MachineInfo();
  report["threads"] = std::stoi(arguments[0]), report["bar"] = kBar;
  double worst = HUGE_VAL, logs = 0;
  for (const int64_t dim : {32, 64, 128, 256})
    for (const int64_t length : {256, 512, 1024, 2048, 4096, 8192}) {
      Json row = Problem(engine.get(), arguments[1] == "f32" ? SAGE_F32 : SAGE_BF16, dim, length);
      const double ratio = row["automatic_over_best"];
      worst = std::min(worst, ratio), logs += std::log(ratio);
      fmt::print("{} d{} S{}: automatic {:.0f} us, best fixed {:.0f} us ({}x{}), {:.3f}{}\n",
                 row["dtype"].get<std::string>(), dim, length, row["automatic_ns"].get<double>() / 1e3,
                 row["best_ns"].get<double>() / 1e3, row["best_rows"].get<int64_t>(), row["best_keys"].get<int64_t>(),
                 ratio, ratio < kBar ? "  BELOW THE BAR" : "");
      report["rows"].push_back(std::move(row));
    }
  report["worst"] = worst, report["mean"] = std::exp(logs / static_cast<double>(report["rows"].size()));
  std::ofstream out(arguments[3]);
  out << report.dump(1) << '\n';
  if (!out.flush()) Die(arguments[3] + " could not be written");
  fmt::print("automatic over best fixed: {:.3f} at worst, {:.3f} in the mean\n", worst, report["mean"].get<double>());
  return worst >= kBar ? 0 : 1;
}
