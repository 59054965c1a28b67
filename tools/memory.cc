// memory.cc: the verb `memory`: what an attention problem or a model needs, known before it runs, and, with --sweep, a
// table in which the scratch is what an allocator saw. The ratios that are quoted under one name have a column each.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>

#include "arms.h"
#include "io.h"
#include "output.h"
#include "plan/problem.h"
#include "report/progress.h"
#include "verbs.h"

namespace sage::tool {
namespace {

using Json = nlohmann::ordered_json;

struct MemoryFlags {
  EngineFlags engine;
  SessionFlags session;
  std::string attention, model, sweep, format = "text";
  std::vector<std::string> inputs;
  double min_time = 0.2;
  bool json = false, no_time = false;
};

// The seeds' case: double precision, one head of 64, tiles of 64.
constexpr const char* kSweepProblem = "b1.hq1.sq512.d64.f64";
constexpr int64_t kBlock = 64;  // what N/block divides by where the line names no tile

constexpr struct {
  const char* key;
  const char* text;
} kParts[] = {{"q_bytes", "Q"},
              {"k_bytes", "K"},
              {"v_bytes", "V"},
              {"o_bytes", "O"},
              {"other_bytes", "masks, bias, lengths and the rest"},
              {"scratch_bytes", "scratch, allocated by a context"},
              {"working_set_bytes", "  of it, what does not grow with the keys"},
              {"packed_kv_bytes", "  of it, packed K and V"},
              {"partials_bytes", "  of it, partial results of split keys"},
              {"prepack_bytes", "constants packed by the plan"},
              {"total_bytes", "total: tensors and scratch"},
              {"scores_bytes", "one score matrix"},
              {"scores_avoided_bytes", "  of it, not in the scratch"},
              {"total_with_scores_bytes", "total where the matrix is kept"}};
constexpr struct {
  const char* key;
  const char* text;
} kRatios[] = {{"scores_over_scratch", "score matrix / scratch"},
               {"totals_ratio", "total with the matrix / total"},
               {"keys_over_block_kv", "N / block, tiles of a row"}};

Json ToJson(const sage_attention_memory& m) {
  return {{"q_bytes", m.q_bytes},
          {"k_bytes", m.k_bytes},
          {"v_bytes", m.v_bytes},
          {"o_bytes", m.o_bytes},
          {"other_bytes", m.other_bytes},
          {"scratch_bytes", m.scratch_bytes},
          {"working_set_bytes", m.working_set_bytes},
          {"packed_kv_bytes", m.packed_kv_bytes},
          {"partials_bytes", m.partials_bytes},
          {"prepack_bytes", m.prepack_bytes},
          {"total_bytes", m.total_bytes},
          {"scores_bytes", m.scores_bytes},
          {"scores_avoided_bytes", m.scores_avoided_bytes},
          {"total_with_scores_bytes", m.total_with_scores_bytes},
          {"scores_over_scratch", m.scores_over_scratch},
          {"totals_ratio", m.totals_ratio},
          {"keys_over_block_kv", m.keys_over_block_kv}};
}

void PrintReport(const std::string& format, const Json& memory) {
  const bool md = format == "md";
  if (md) fmt::print("| what | bytes |\n|---|---:|\n");
  for (const auto& part : kParts) {
    const double bytes = memory.value(part.key, 0.0);
    if (md)
      fmt::print("| {} | {:.0f} |\n", part.text, bytes);
    else
      fmt::print("  {:<44} {:>16.0f}  {}\n", part.text, bytes, bytes >= 1024 ? Bytes(bytes) : "");
  }
  for (const auto& ratio : kRatios) {
    const bool known = memory.contains(ratio.key) && memory[ratio.key].is_number() && memory[ratio.key] != 0.0;
    const std::string text = known ? fmt::format("{:.4g}", memory[ratio.key].get<double>()) : "-";
    if (md)
      fmt::print("| {} | {} |\n", ratio.text, text);
    else
      fmt::print("  {:<44} {:>16}\n", ratio.text, text);
  }
}

// One problem, as its own line has it.
int Describe(sage_engine* engine, const MemoryFlags& flags) {
  Result<std::unique_ptr<Problem>> parsed = ParseProblem(flags.attention);
  if (!parsed.ok()) throw Failure(kExitUsage, fmt::format("--attn {}: {}", flags.attention, parsed.status().message()));
  const OptionsPtr options = flags.session.Create(flags.engine);
  Error error;
  sage_attention_plan* raw = nullptr;
  Require(sage_attention_plan_create(engine, &(*parsed)->op, options.get(), &raw, &error), error);
  const PlanPtr plan(raw);
  sage_attention_memory memory{};
  memory.struct_size = sizeof memory;
  Require(sage_attention_plan_memory(raw, &memory, &error), error);
  const Json report = {{"problem", ProblemString((*parsed)->op)},
                       {"backend", sage_attention_plan_backend(raw)},
                       {"memory", ToJson(memory)}};
  if (flags.format == "json") {
    fmt::print("{}\n", report.dump());
    return kExitOk;
  }
  fmt::print("{}{} on {}\n", flags.format == "md" ? "## " : "", report["problem"].get<std::string>(),
             report["backend"].get<std::string>());
  if (flags.format == "md") fmt::print("\n");
  PrintReport(flags.format, report["memory"]);
  return kExitOk;
}

Json ArmJson(const Arm& arm) {
  Json out = {{"backend", arm.backend}, {"allocated_bytes", arm.allocated}, {"memory", ToJson(arm.memory)}};
  out["ns"] = arm.ns > 0 ? Json(arm.ns) : Json();
  return out;
}

int64_t BlockOf(const ArmPair& pair) {
  const double tiles = pair.flash.memory.keys_over_block_kv;
  return tiles > 0 ? static_cast<int64_t>(static_cast<double>(pair.length) / tiles + 0.5) : kBlock;
}

void PrintTable(const MemoryFlags& flags, const std::vector<ArmPair>& rows) {
  const bool md = flags.format == "md";
  std::vector<std::string> head = {"N",       "score matrix",   "scratch, standard", "scratch, flash",
                                   "Q+K+V+O", "matrix/scratch", "totals ratio",      "N/block"};
  if (!flags.no_time) head.insert(head.end(), {"standard", "flash", "standard/flash"});
  const auto line = [&](const std::vector<std::string>& cells) {
    if (md) return fmt::print("| {} |\n", fmt::join(cells, " | "));
    for (size_t i = 0; i < cells.size(); ++i) fmt::print("{:>{}}", cells[i], i == 0 ? size_t{6} : head[i].size() + 3);
    fmt::print("\n");
  };
  fmt::print("{}{}\n{}", md ? "" : "problem: ", md ? "`" + rows.front().problem + "` and longer" : rows.front().problem,
             md ? "\n" : "");
  line(head);
  if (md) line(std::vector<std::string>(head.size(), "---:"));
  for (const ArmPair& row : rows) {
    const sage_attention_memory& m = row.flash.memory;
    std::vector<std::string> cells = {
        std::to_string(row.length),
        Bytes(static_cast<double>(m.scores_bytes)),
        Bytes(static_cast<double>(row.standard.allocated)),
        Bytes(static_cast<double>(row.flash.allocated)),
        Bytes(static_cast<double>(m.q_bytes + m.k_bytes + m.v_bytes + m.o_bytes)),
        fmt::format("{:.4g}", m.scores_over_scratch),
        fmt::format("{:.4g}", m.totals_ratio),
        fmt::format("{:.4g}", static_cast<double>(row.length) / static_cast<double>(BlockOf(row)))};
    if (!flags.no_time)
      cells.insert(cells.end(), {Duration(row.standard.ns), Duration(row.flash.ns),
                                 fmt::format("{:.3g}", row.standard.ns / row.flash.ns)});
    line(cells);
  }
}

int Sweep(sage_engine* engine, const MemoryFlags& flags, CountedMemory* counted) {
  const std::string line = flags.attention.empty() ? kSweepProblem : flags.attention;
  const std::vector<int64_t> lengths = ParseLengths(flags.sweep, "--sweep");
  std::vector<ArmPair> rows;
  Progress progress("measuring", static_cast<double>(lengths.size()));
  for (const int64_t length : lengths) {
    if (Interrupted()) break;
    rows.push_back(MeasureArms(engine, flags.engine, flags.session, counted, WithLength(line, length),
                               flags.no_time ? 0 : flags.min_time));
    progress.Show(static_cast<double>(rows.size()));
  }
  progress.Clear();
  if (rows.empty()) return kExitInterrupted;
  if (flags.format != "json") {
    PrintTable(flags, rows);
    return Interrupted() ? kExitInterrupted : kExitOk;
  }
  Json out = {{"rows", Json::array()}};
  for (const ArmPair& row : rows)
    out["rows"].push_back({{"problem", row.problem},
                           {"n", row.length},
                           {"n_over_block", static_cast<double>(row.length) / static_cast<double>(BlockOf(row))},
                           {"standard", ArmJson(row.standard)},
                           {"flash", ArmJson(row.flash)},
                           {"rel_err", flags.no_time ? Json() : Json(row.rel_err)}});
  fmt::print("{}\n", out.dump());
  return Interrupted() ? kExitInterrupted : kExitOk;
}

int DescribeModel(sage_engine* engine, const MemoryFlags& flags) {
  const ModelPtr model = LoadModel(engine, flags.model);
  const OptionsPtr options = flags.session.Create(flags.engine);
  const SessionPtr session = OpenSession(model.get(), options.get(), flags.model, flags.inputs);
  const Json explain = Json::parse(TextOf(sage_session_explain, session.get()));
  Json out = {{"attention", Json::array()}};
  for (const auto& [key, value] : explain.items())
    if (key.ends_with("_bytes")) out[key] = value;
  for (const Json& node : explain.value("nodes", Json::array()))
    if (node.contains("memory"))
      out["attention"].push_back({{"name", node.value("name", "?")},
                                  {"problem", node.value("problem", "")},
                                  {"backend", node.value("chosen", Json())},
                                  {"memory", node["memory"]}});
  if (flags.format == "json") {
    fmt::print("{}\n", out.dump());
    return kExitOk;
  }
  const bool md = flags.format == "md";
  if (md) fmt::print("| of the whole model | bytes |\n|---|---:|\n");
  for (const auto& [key, value] : out.items()) {
    if (!key.ends_with("_bytes") || !value.is_number()) continue;
    if (md)
      fmt::print("| {} | {:.0f} |\n", key, value.get<double>());
    else
      fmt::print("{:<22} {:>16.0f}  {}\n", key, value.get<double>(), Bytes(value.get<double>()));
  }
  if (out["attention"].empty()) fmt::print("\nno attention in this model runs on a backend\n");
  for (const Json& node : out["attention"]) {
    fmt::print("\n{}{}  {} on {}\n{}", md ? "## " : "", node["name"].get<std::string>(),
               node["problem"].get<std::string>(),
               node["backend"].is_string() ? node["backend"].get<std::string>() : "?", md ? "\n" : "");
    PrintReport(flags.format, node["memory"]);
  }
  return kExitOk;
}

int Memory(MemoryFlags& flags) {
  if (flags.json) flags.format = "json";
  if (flags.model.empty() == flags.attention.empty() && flags.sweep.empty())
    throw Failure(kExitUsage, "memory: a model, or a problem by --attn, or --sweep with or without a problem");
  if (!flags.model.empty() && (!flags.sweep.empty() || !flags.attention.empty()))
    throw Failure(kExitUsage, "memory: --attn and --sweep are of a problem, not of a model");
  if (flags.model.empty() && !flags.inputs.empty())
    throw Failure(kExitUsage, "memory: --input is of a model; a problem has its shapes in its line");
  CountedMemory counted;  // outlives the engine
  const EnginePtr engine = flags.engine.Create([&counted](sage_options* options) { counted.LendTo(options); });
  if (!flags.model.empty()) return DescribeModel(engine.get(), flags);
  return flags.sweep.empty() ? Describe(engine.get(), flags) : Sweep(engine.get(), flags, &counted);
}

}  // namespace

void AddMemory(CLI::App& app, Action* action) {
  auto flags = std::make_shared<MemoryFlags>();
  CLI::App* verb = app.add_subcommand("memory", "what a problem or a model needs: scratch, scores avoided, totals");
  verb->add_option("model", flags->model, "a model: every attention of it, at its largest shapes or those of --input");
  verb->add_option("--attn", flags->attention, "a problem, such as b1.hq8.hkv2.sq512.skv512.d64.f32:causal=tl");
  verb->add_option("--sweep", flags->sweep,
                   "a measured table over lengths, 128..8192 (doubling) or 128,1000,4096: both algorithms, allocated "
                   "and timed; default problem: " +
                       std::string(kSweepProblem))
      ->type_name("LENGTHS");
  verb->add_option("--input,-i", flags->inputs, "NAME=2x8x64xf32:value=0: of a model, the shape to plan")
      ->allow_extra_args(false);
  verb->add_option("--min-time", flags->min_time, "seconds of timing a length; both algorithms run once at least")
      ->capture_default_str()
      ->check(CLI::Range(0.001, 3600.0));
  verb->add_flag("--no-time", flags->no_time, "allocate only, run nothing");
  verb->add_option("--format", flags->format, "text, md, json")
      ->capture_default_str()
      ->check(CLI::IsMember({"text", "md", "json"}));
  verb->add_flag("--json", flags->json, "the same as --format json");
  flags->session.AddTo(verb);
  flags->engine.AddTo(verb);
  verb->callback([flags, action] { *action = [flags] { return Memory(*flags); }; });
}

}  // namespace sage::tool
