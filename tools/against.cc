// against.cc: see the header. Both runs go through sage.h, in one engine; the exact one insists on `reference`, which
// computes everything in double.
#include "against.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <map>
#include <nlohmann/json.hpp>

#include "default_inputs.h"
#include "io.h"
#include "output.h"
#include "report/decision_diff.h"
#include "report/progress.h"
#include "sage/support/check_op.h"
#include "text_form.h"
#include "tick_stream.h"

namespace sage::tool {
namespace {

using Json = nlohmann::ordered_json;

// CLI::Range lets NaN through.
CLI::Validator FiniteIn(double low, double high) {
  const std::string range = fmt::format("a number from {} to {}", low, high);
  return CLI::Validator(
      [low, high, range](std::string& text) {
        double value = NAN;
        const bool number = CLI::detail::lexical_cast(text, value);
        return number && value >= low && value <= high ? std::string() : fmt::format("{} is not {}", text, range);
      },
      low < 0 ? fmt::format("FLOAT in [{} - {}]", low, high) : std::string("NONNEGATIVE"), "bound");
}

struct Verdict {
  std::vector<std::string> beyond;  // each a sentence with its place
  void Judge(const std::string& place, const Json& output, const AccuracyBounds& bounds) {
    for (const std::string& what : Beyond(output, bounds)) beyond.push_back(place + ": " + what);
  }
};

void JudgeNodes(const Json& report, const AccuracyBounds& bounds, Verdict* verdict) {
  for (const Json& node : report.value("nodes", Json::array())) {
    const std::string place = PlaceOf(node);
    // What cannot be measured cannot be trusted either.
    if (!node.value("measured", false)) verdict->beyond.push_back(place + ": not measured: " + node.value("note", ""));
    for (const Json& output : node.value("outputs", Json::array()))
      verdict->Judge(place + " " + output.value("output", "?"), output, bounds);
  }
}

OptionsPtr ChosenOptions(const EngineFlags& engine, const SessionFlags& session) {
  OptionsPtr options = session.Create(engine);
  Error error;
  Require(sage_options_set(options.get(), "accuracy_report", "on", &error), error);
  return options;
}

OptionsPtr ExactOptions(const EngineFlags& engine) {
  OptionsPtr options = SessionFlags{}.Create(engine);
  Error error;
  // Last, so that no --option of the other run's is left over.
  for (const auto& [key, value] : {std::pair{"backend", "reference"},
                                   {"accuracy", "exact"},
                                   {"verify", "off"},
                                   {"accuracy_report", "off"},
                                   {"strict", "false"}})
    Require(sage_options_set(options.get(), key, value, &error), error);
  return options;
}

// The model's outputs: [{"name", "dtype", "shape", and the numbers}].
Json CompareOutputs(sage_model* model, sage_session* chosen, sage_session* exact) {
  Json outputs = Json::array();
  for (uint32_t i = 0; i < sage_model_io_count(model, SAGE_OUTPUT); ++i) {
    Error error;
    const char* name = nullptr;
    Require(sage_model_io_info(model, SAGE_OUTPUT, i, &name, nullptr, nullptr, nullptr, &error), error);
    HostTensor a = GetOutput(chosen, i), b = GetOutput(exact, i);
    const auto described = [](HostTensor& host) {
      sage_tensor tensor;
      sage_tensor_init(&tensor, host.dtype, static_cast<uint32_t>(host.shape.size()), host.shape.data(),
                       host.bytes.data());
      return tensor;
    };
    Json output = {{"name", name}, {"dtype", support::DtypeName(a.dtype)}, {"shape", a.shape}};
    output.update(DistanceJson(DistanceOf(described(a), described(b))));
    outputs.push_back(std::move(output));
  }
  return outputs;
}

// Per node and output the worst of many ticks: each report as a whole where its relative L1 is the largest so far, a
// node that could not be measured above all.
class WorstOfTicks {
 public:
  void Add(uint64_t line, const Json& report) {
    for (const Json& node : report.value("nodes", Json::array())) {
      const std::string place = PlaceOf(node);
      const auto known = nodes_.find(place);
      if (known == nodes_.end()) order_.push_back(place);
      if (known != nodes_.end() && !(Error(node) > Error(known->second))) continue;
      nodes_[place] = node;
      nodes_[place]["line"] = line;
    }
    if (report.contains("note")) note_ = report.value("note", "");
  }
  Json Report() const {
    Json report = {{"against", "reference"}};
    if (order_.empty()) report["note"] = note_;
    report["nodes"] = Json::array();
    for (const std::string& place : order_) report["nodes"].push_back(nodes_.at(place));
    return report;
  }

 private:
  static double Error(const Json& node) {
    if (!node.value("measured", false)) return INFINITY;
    double worst = 0;
    for (const Json& output : node.value("outputs", Json::array())) {
      if (output.value("non_finite", int64_t{0}) > 0 || !output["rel_l1"].is_number()) return INFINITY;
      worst = std::max(worst, output["rel_l1"].get<double>());
    }
    return worst;
  }
  std::map<std::string, Json> nodes_;
  std::vector<std::string> order_;
  std::string note_ = "there was no good tick";
};

Json RunTicks(const AgainstFlags& flags, sage_session* chosen, sage_session* exact, DecisionDiff* decisions) {
  TickStream own(chosen, {}, 0), other(exact, {}, 0);
  const int descriptor = OpenToRead(flags.ticks);
  LineReader reader(descriptor);
  Progress progress("of the ticks", static_cast<double>(SizeOfFile(descriptor)));
  WorstOfTicks worst;
  std::string_view line;
  for (uint64_t number = 1; !Interrupted(); ++number) {
    const LineReader::Kind kind = reader.Next(&line);
    if (kind == LineReader::Kind::kEnd) break;
    if (kind == LineReader::Kind::kFailed)
      throw Failure(kExitBadFile, fmt::format("{}: {}", Shown(flags.ticks), std::strerror(errno)));
    const std::string record(own.Tick(line));
    const std::string_view exact_record = other.Tick(line);
    decisions->Add(number, record, own.bad(), exact_record, other.bad());
    if (!own.bad()) worst.Add(number, Json::parse(TextOf(sage_session_accuracy, chosen)));
    progress.Show(static_cast<double>(reader.bytes()));
  }
  CloseRead(descriptor);
  return worst.Report();
}

void PrintDecisions(const Json& decisions) {
  fmt::print("  decisions: {} of {} ticks decide something else", decisions["changed"].get<uint64_t>(),
             decisions["ticks"].get<uint64_t>());
  if (decisions["bad"].get<uint64_t>() > 0) fmt::print(", {} bad ones left out", decisions["bad"].get<uint64_t>());
  const Json& rel_l1 = decisions["rel_l1"];
  fmt::print("; in the others the numbers differ by rel. L1 {}, at most {:.3g}",
             rel_l1.is_number() ? fmt::format("{:.3g}", rel_l1.get<double>()) : std::string("inf"),
             decisions["max_abs_difference"].get<double>());
  if (decisions["max_abs_difference_line"].is_number())
    fmt::print(" in line {}", decisions["max_abs_difference_line"].get<uint64_t>());
  fmt::print("\n");
  for (const Json& change : decisions["changes"])
    fmt::print("    line {}: {}: {}, exact {}\n", change["line"].get<uint64_t>(), change.value("at", ""),
               change.value("got", ""), change.value("exact", ""));
  if (const uint64_t changed = decisions["changed"].get<uint64_t>(); changed > decisions["changes"].size())
    fmt::print("    and {} more\n", changed - decisions["changes"].size());
}

void Print(const Json& report, const AgainstFlags& flags, bool made_up) {
  fmt::print("{}: against exact (`reference`, which computes in double)\n", report.value("file", "?"));
  for (const Json& input : report.value("inputs", Json::array()))
    fmt::print("  --input {}\n", input.get<std::string>());
  if (made_up) fmt::print("  inputs were made up; only your own data (--input NAME=@FILE) say what is lost on it\n");
  PrintAccuracy(stdout, report["accuracy"], &flags.bounds);
  if (report.contains("outputs")) PrintOutputs(stdout, report["outputs"], flags.bounds);
  if (report.contains("decisions")) PrintDecisions(report["decisions"]);
  fmt::print("  bounds: cosine >= {:.8g}, relative L1 <= {:.4g}", flags.bounds.min_cosine, flags.bounds.max_rel_l1);
  if (flags.bounds.max_rmse) fmt::print(", RMSE <= {:.4g}", *flags.bounds.max_rmse);
  if (flags.bounds.max_abs_error) fmt::print(", largest error <= {:.4g}", *flags.bounds.max_abs_error);
  if (report.contains("decisions")) fmt::print(", at most {} changed decisions", flags.max_changed);
  fmt::print("\n");
  for (const Json& beyond : report["beyond"]) fmt::print("  beyond: {}\n", beyond.get<std::string>());
  fmt::print("{}\n", report.value("verdict", "?"));
}

}  // namespace

void AgainstFlags::AddTo(CLI::App* app) {
  app->add_option("--against", against, "also run the model and compare with an exact run: exit 1 beyond the bounds")
      ->check(CLI::IsMember({"exact"}));
  app->add_option("--input,-i", inputs,
                  "--against: NAME=@file.npy or NAME=2x8x64xf32:random,seed=1; default: made-up ones")
      ->allow_extra_args(false);
  app->add_option("--ticks", ticks, "--against: tick stream of a SAGE graph, one JSON object a line; - is stdin");
  app->add_option("--min-cosine", bounds.min_cosine, "--against: the least cosine similarity of any output")
      ->capture_default_str()
      ->check(FiniteIn(-1, 1));
  app->add_option("--max-rel-l1", bounds.max_rel_l1, "--against: the most relative L1 of any output")
      ->capture_default_str()
      ->check(FiniteIn(0, 1e300));
  app->add_option("--max-rmse", bounds.max_rmse, "--against: the most root mean square error; default: not judged")
      ->check(FiniteIn(0, 1e300));
  app->add_option("--max-abs-error", bounds.max_abs_error, "--against: the largest error; default: not judged")
      ->check(FiniteIn(0, 1e300));
  app->add_option("--max-changed", max_changed, "--against: ticks whose decision may be another")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
}

void AgainstFlags::Check(const CLI::App& app, size_t count) const {
  if (against.empty()) {
    for (const char* name :
         {"--input", "--ticks", "--min-cosine", "--max-rel-l1", "--max-rmse", "--max-abs-error", "--max-changed"})
      if (app.count(name) > 0)
        throw Failure(kExitUsage, fmt::format("{}: is of --against exact, which was not given", name));
    return;
  }
  if (count != 1) throw Failure(kExitUsage, fmt::format("--against: takes one model at a time, {} were given", count));
}

int RunAgainstExact(const AgainstFlags& flags, const EngineFlags& engine_flags, const SessionFlags& session_flags,
                    sage_engine* engine, const ModelBytes& model, const std::string& path, bool json) {
  Error error;
  sage_model* raw = nullptr;
  Require(sage_model_load_buffer(engine, model.bytes.data(), model.bytes.size(), model.weights_folder.c_str(), &raw,
                                 &error),
          error, Shown(path));
  const ModelPtr loaded(raw);
  const bool op_graph = sage_model_kind(raw) == SAGE_MODEL_OP_GRAPH;
  if (op_graph && !flags.ticks.empty())
    throw Failure(kExitUsage, fmt::format("{}: an op graph takes --input, not --ticks", Shown(path)));
  if (!op_graph && flags.ticks.empty())
    throw Failure(kExitUsage,
                  fmt::format("{}: a SAGE graph is compared over a stream: --ticks FILE (- for stdin)", Shown(path)));
  if (flags.ticks == "-" && path == "-") throw Failure(kExitUsage, "the model and --ticks cannot both come from stdin");

  std::vector<std::string> inputs = flags.inputs;
  if (op_graph) {
    const Result<std::string> text = ModelToJson(model.bytes, false);
    if (!text.ok()) throw Failure(kExitBadFile, fmt::format("{}: {}", Shown(path), text.status().message()));
    inputs = WithDefaultInputs(*text, flags.inputs);
  }
  const bool made_up = inputs.size() > flags.inputs.size();
  const SessionPtr chosen = OpenSession(raw, ChosenOptions(engine_flags, session_flags).get(), Shown(path), inputs);
  const SessionPtr exact = OpenSession(raw, ExactOptions(engine_flags).get(), Shown(path), inputs);

  Json report = {{"file", Shown(path)}, {"valid", true}, {"against", flags.against}, {"inputs", inputs}};
  Verdict verdict;
  if (op_graph) {
    const Busy busy("running " + path + " twice");
    Require(sage_session_run(chosen.get(), &error), error, Shown(path));
    Require(sage_session_run(exact.get(), &error), error, Shown(path) + ", the exact run");
    report["accuracy"] = Json::parse(TextOf(sage_session_accuracy, chosen.get()));
    report["outputs"] = CompareOutputs(raw, chosen.get(), exact.get());
    for (const Json& output : report["outputs"])
      verdict.Judge("output " + output.value("name", "?"), output, flags.bounds);
  } else {
    DecisionDiff decisions;
    report["accuracy"] = RunTicks(flags, chosen.get(), exact.get(), &decisions);
    if (Interrupted()) return kExitInterrupted;
    report["decisions"] = decisions.ToJson();
    if (decisions.ticks() == 0) verdict.beyond.push_back("no tick was decided: there is nothing to judge by");
    if (decisions.changed() > flags.max_changed)
      verdict.beyond.push_back(fmt::format("decisions: {} changed, {} may", decisions.changed(), flags.max_changed));
    if (!(decisions.rel_l1() <= flags.bounds.max_rel_l1))
      verdict.beyond.push_back(
          fmt::format("decisions: relative L1 {:.4g} is above {:.4g}", decisions.rel_l1(), flags.bounds.max_rel_l1));
  }
  JudgeNodes(report["accuracy"], flags.bounds, &verdict);
  report["bounds"] = flags.bounds.ToJson();
  if (!op_graph) report["bounds"]["max_changed"] = flags.max_changed;
  report["beyond"] = verdict.beyond;
  report["verdict"] = verdict.beyond.empty() ? "within" : "beyond";
  if (json)
    fmt::print("{}\n", JsonText(report));
  else
    Print(report, flags, made_up);
  return verdict.beyond.empty() ? kExitOk : kExitWrongAnswer;
}

}  // namespace sage::tool
