// run.cc: the verb `run`: inputs to outputs for an op graph, a tick stream to decisions for a SAGE graph.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>

#include "common.h"
#include "io.h"
#include "isolate.h"
#include "live/live.h"
#include "npy.h"
#include "output.h"
#include "report/accuracy_table.h"
#include "report/progress.h"
#include "report/summary.h"
#include "sage/support/check_op.h"
#include "tensor_argument.h"
#include "tick_stream.h"
#include "trust.h"
#include "verbs.h"

namespace sage::tool {
namespace {

struct RunFlags {
  EngineFlags engine;
  SessionFlags session;
  std::string model, ticks, trace;
  std::vector<std::string> inputs, outputs, expects;
  double atol = 1e-5, rtol = 1e-5;
  StreamFlags stream;
  TrustFlags trust;
  LiveFlags live;
  bool isolate = false, json = false, summary = false, accuracy_report = false;
};

// max |a - b| and whether |a - b| <= atol + rtol * |b| everywhere; NaN equals NaN.
struct Comparison {
  double worst = 0;
  int64_t wrong = 0, first = -1;
};
Comparison Compare(const HostTensor& got, const HostTensor& expected, double atol, double rtol) {
  Comparison result;
  for (int64_t i = 0; i < got.elements(); ++i) {
    const double a = ElementAsDouble(got, i), b = ElementAsDouble(expected, i);
    if ((std::isnan(a) && std::isnan(b)) || a == b) continue;
    const double difference = std::fabs(a - b);
    if (!(difference <= atol + rtol * std::fabs(b))) {
      if (result.first < 0) result.first = i;
      ++result.wrong;
    }
    if (!(difference <= result.worst)) result.worst = difference;
  }
  return result;
}

void PrintOutput(const std::string& name, const HostTensor& tensor) {
  const int64_t count = tensor.elements();
  fmt::print("{} [{}] {}", name, fmt::join(tensor.shape, ", "), support::DtypeName(tensor.dtype));
  double low = INFINITY, high = -INFINITY, sum = 0;
  int64_t not_finite = 0;
  for (int64_t i = 0; i < count; ++i) {
    const double value = ElementAsDouble(tensor, i);
    if (!std::isfinite(value)) {
      ++not_finite;
      continue;
    }
    low = std::min(low, value), high = std::max(high, value), sum += value;
  }
  if (count > not_finite)
    fmt::print("  min {:.6g}  max {:.6g}  mean {:.6g}", low, high, sum / static_cast<double>(count - not_finite));
  if (not_finite > 0) fmt::print("  not finite: {}", not_finite);
  fmt::print("\n");
  const int64_t shown = std::min<int64_t>(count, 8);
  for (int64_t i = 0; i < shown; ++i) fmt::print("{}{:.9g}", i == 0 ? "  " : " ", ElementAsDouble(tensor, i));
  if (count > 0) fmt::print("{}\n", count > shown ? " ..." : "");
}

nlohmann::ordered_json OutputJson(const HostTensor& tensor) {
  nlohmann::ordered_json json;
  json["dtype"] = support::DtypeName(tensor.dtype);
  json["shape"] = tensor.shape;
  nlohmann::ordered_json values = nlohmann::ordered_json::array();
  for (int64_t i = 0; i < tensor.elements(); ++i) {
    const double value = ElementAsDouble(tensor, i);
    if (std::isfinite(value))
      values.push_back(value);
    else
      values.push_back(std::isnan(value) ? "nan" : value > 0 ? "inf" : "-inf");
  }
  json["values"] = std::move(values);
  return json;
}

// On stderr, beside the data. A stream without a good last tick has no report: that is said and is no failure.
void PrintReport(sage_session* session, const char* of_what) {
  Error error;
  uint64_t needed = 0;
  if (sage_session_accuracy(session, nullptr, 0, &needed, &error) != SAGE_OK) {
    fmt::print(stderr, "sage-engine: accuracy: {}\n", error.message);
    return;
  }
  fmt::print(stderr, "accuracy {}, against `reference` in double on the same stored inputs\n", of_what);
  PrintAccuracy(stderr, nlohmann::ordered_json::parse(TextOf(sage_session_accuracy, session)), nullptr);
}

int RunOpGraph(const RunFlags& flags, sage_model* model, sage_session* session) {
  if (!flags.ticks.empty() || flags.live.on)
    throw Failure(kExitUsage, fmt::format("{}: an op graph takes --input, not {}", flags.model,
                                          flags.live.on ? "--live" : "--ticks"));
  SetInputs(model, session, flags.inputs);
  Error error;
  Require(sage_session_run(session, &error), error, flags.model);
  int code = kExitOk;
  for (const std::string& argument : flags.outputs) {
    const NamedFile file = ParseFileArgument(argument, "--output");
    WriteNpy(file.path, GetOutput(session, IndexOf(model, SAGE_OUTPUT, file.name, "--output")));
  }
  for (const std::string& argument : flags.expects) {
    const NamedFile file = ParseFileArgument(argument, "--expect");
    const HostTensor got = GetOutput(session, IndexOf(model, SAGE_OUTPUT, file.name, "--expect"));
    const HostTensor expected = ReadNpy(file.path);
    if (got.shape != expected.shape) {
      fmt::print(stderr, "sage-engine: {}: shape [{}], expected [{}]\n", file.name, fmt::join(got.shape, ", "),
                 fmt::join(expected.shape, ", "));
      code = kExitWrongAnswer;
      continue;
    }
    const Comparison comparison = Compare(got, expected, flags.atol, flags.rtol);
    if (comparison.wrong > 0) code = kExitWrongAnswer;
    fmt::print(stderr, "sage-engine: {}: {}, largest difference {:.3g}", file.name,
               comparison.wrong == 0 ? "as expected" : "WRONG", comparison.worst);
    if (comparison.wrong > 0)
      fmt::print(stderr, ", {} of {} elements off, the first at {}", comparison.wrong, got.elements(),
                 comparison.first);
    fmt::print(stderr, "\n");
  }
  if (flags.json) {
    nlohmann::ordered_json json;
    for (uint32_t i = 0; i < sage_model_io_count(model, SAGE_OUTPUT); ++i) {
      const char* name = nullptr;
      Require(sage_model_io_info(model, SAGE_OUTPUT, i, &name, nullptr, nullptr, nullptr, &error), error);
      json["outputs"][name] = OutputJson(GetOutput(session, i));
    }
    if (flags.accuracy_report) json["accuracy"] = nlohmann::ordered_json::parse(TextOf(sage_session_accuracy, session));
    fmt::print("{}\n", JsonText(json));
  } else {
    for (uint32_t i = 0; i < sage_model_io_count(model, SAGE_OUTPUT); ++i) {
      const char* name = nullptr;
      Require(sage_model_io_info(model, SAGE_OUTPUT, i, &name, nullptr, nullptr, nullptr, &error), error);
      PrintOutput(name, GetOutput(session, i));
    }
    if (flags.accuracy_report) PrintReport(session, "of the run");
  }
  return code;
}

int RunTicks(const RunFlags& flags, TickStream* stream, Summary* summary) {
  TrustSource trust(flags.trust);
  const int descriptor = OpenToRead(flags.ticks);
  LineReader reader(descriptor);
  Progress progress("of the ticks", static_cast<double>(SizeOfFile(descriptor)), true);
  const std::string place = Shown(flags.ticks);
  uint64_t line_number = 0;
  int code = kExitOk;
  std::string_view line;
  std::string with_trust;
  while (!Interrupted()) {
    const LineReader::Kind kind = reader.Next(&line);
    if (kind == LineReader::Kind::kEnd) break;
    if (kind == LineReader::Kind::kFailed)
      throw Failure(kExitBadFile, fmt::format("{}: {}", place, std::strerror(errno)));
    ++line_number;
    // A line beyond the limit is a bad tick like any other: its beginning alone is too long already, which is what the
    // engine says, and the stream goes on behind it.
    if (trust.active() && kind == LineReader::Kind::kLine) line = trust.Fill(line, &with_trust);
    const std::string_view record = stream->Tick(line);
    PrintLine(record);
    if (stream->bad()) {
      progress.Clear();
      fmt::print(stderr, "sage-engine: {}:{}: {}\n", place, line_number, stream->error());
      if (flags.stream.strict) {
        code = kExitBadFile;
        break;
      }
    } else {
      summary->Add(record);
    }
    stream->SnapshotIfDue();
    progress.Show(static_cast<double>(reader.bytes()));
  }
  progress.Clear();
  CloseRead(descriptor);
  if (stream->bad_ticks() > 0)
    fmt::print(stderr, "sage-engine: {}: {} of {} ticks were bad; see their records\n", place, stream->bad_ticks(),
               line_number);
  return Interrupted() ? kExitInterrupted : code;
}

int RunSageGraph(const RunFlags& flags, sage_model* model, sage_session* session) {
  if (!flags.outputs.empty() || !flags.expects.empty())
    throw Failure(kExitUsage,
                  fmt::format("{}: a SAGE graph writes decisions to stdout; --output and --expect are for op graphs",
                              flags.model));
  if (flags.ticks.empty() == !flags.live.on)
    throw Failure(kExitUsage,
                  fmt::format("{}: a SAGE graph needs one of --ticks FILE (- for stdin) and --live", flags.model));
  if (flags.stream.snapshot_every > 0 && flags.stream.snapshot.empty())
    throw Failure(kExitUsage, "--snapshot-every: say where to with --snapshot FILE");
  if (!flags.stream.snapshot.empty()) RequireWritable(flags.stream.snapshot);  // not after an hour of ticks
  SetInputs(model, session, flags.inputs);
  const nlohmann::json explain = nlohmann::json::parse(TextOf(sage_session_explain, session), nullptr, false);
  TickStream stream(session, flags.stream, explain.is_object() ? explain.value("max_latency_ms", 0.0) : 0.0);
  stream.Restore();
  Summary summary(sage_model_kind(model));
  const int code =
      flags.live.on ? RunLive(flags.live, sage_model_kind(model), ReadModelBytes(flags.model).bytes, &stream, &summary)
                    : RunTicks(flags, &stream, &summary);
  stream.SnapshotAtEnd();
  if (flags.summary) summary.Print(stderr, TextOf(sage_session_explain, session), stream);
  if (flags.accuracy_report) PrintReport(session, "of the last tick");
  return code;
}

int Run(const RunFlags& flags) {
  const EnginePtr engine = flags.engine.Create();
  const ModelPtr model = LoadModel(engine.get(), flags.model);
  std::vector<std::pair<std::string, std::string>> more;
  if (!flags.trace.empty() || flags.isolate) more.emplace_back("trace", "on");
  if (flags.accuracy_report) more.emplace_back("accuracy_report", "on");
  const OptionsPtr options = flags.session.Create(flags.engine, more);
  Error error;
  sage_session* raw = nullptr;
  Require(sage_session_create(model.get(), options.get(), &raw, &error), error, flags.model);
  const SessionPtr session(raw);
  const int code = sage_model_kind(model.get()) == SAGE_MODEL_OP_GRAPH
                       ? RunOpGraph(flags, model.get(), session.get())
                       : RunSageGraph(flags, model.get(), session.get());
  if (!flags.trace.empty()) WriteFileAtomically(flags.trace, TextOf(sage_session_trace, session.get()) + "\n");
  return code;
}

}  // namespace

void AddRun(CLI::App& app, Action* action) {
  auto flags = std::make_shared<RunFlags>();
  CLI::App* verb = app.add_subcommand("run", "inputs to outputs, or a tick stream to decisions");
  verb->add_option("model", flags->model, "the model: binary (.fbs), JSON, or - for stdin")->required();
  verb->add_option("--input,-i", flags->inputs, "NAME=@file.npy or NAME=2x8x64xf32:random,seed=1")
      ->allow_extra_args(false);
  verb->add_option("--output,-o", flags->outputs, "NAME=@file.npy: write this output there")->allow_extra_args(false);
  verb->add_option("--expect", flags->expects, "NAME=@file.npy: compare; exit 1 if it differs")
      ->allow_extra_args(false);
  verb->add_option("--atol", flags->atol, "absolute tolerance of --expect")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  verb->add_option("--rtol", flags->rtol, "relative tolerance of --expect")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  verb->add_option("--ticks", flags->ticks, "tick stream of a SAGE graph, one JSON object a line; - is stdin");
  verb->add_option("--snapshot", flags->stream.snapshot, "write the state here at the end");
  verb->add_option("--snapshot-every", flags->stream.snapshot_every, "and every so many ticks");
  verb->add_option("--restore", flags->stream.restore, "begin with the state of this snapshot");
  verb->add_flag("--restore-anyway", flags->stream.restore_anyway, "also a snapshot of another model of the same kind");
  verb->add_flag("--timing", flags->stream.timing, "add duration_ms and late to each decision");
  verb->add_flag("--strict", flags->stream.strict, "stop at the first bad tick, with exit code 3");
  verb->add_flag("--summary", flags->summary, "a readable table of the last decision at the end, on stderr");
  verb->add_flag("--accuracy-report", flags->accuracy_report,
                 "how exact each attention was, measured against the reference: a table on stderr, or in --json");
  flags->trust.AddTo(verb);
  flags->live.AddTo(verb);
  verb->add_option("--trace", flags->trace, "write the last run's trace (Chrome, Perfetto) here");
  verb->add_flag("--isolate", flags->isolate,
                 "run in a child process; a crash is reported with signal, node and plugin");
  verb->add_flag("--json", flags->json, "outputs as JSON on stdout");
  flags->session.AddTo(verb);
  flags->engine.AddTo(verb);
  verb->callback([flags, action] {
    *action = [flags] { return flags->isolate ? Isolated([flags] { return Run(*flags); }) : Run(*flags); };
  });
}

}  // namespace sage::tool
