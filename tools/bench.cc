// bench.cc: the verb `bench`: time one attention problem on every backend that serves it, or a model. The answer is
// checked before anything is timed; backends take turns, so that a slow minute of the machine hurts all of them alike.
#include <fmt/format.h>
#include <time.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>

#include "common.h"
#include "crossover.h"
#include "files.h"
#include "io.h"
#include "plan/problem.h"
#include "report/answer_check.h"
#include "report/bench_report.h"
#include "report/progress.h"
#include "report/roofline.h"
#include "sage/support/check_op.h"
#include "tick_stream.h"
#include "verbs.h"

namespace sage::tool {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kMaxProblemBytes = 8ull << 30;
constexpr size_t kSamples = 30;  // a backend at least, unless that takes very long

struct BenchFlags {
  EngineFlags engine;
  SessionFlags session;
  std::string attention, model, ticks, format = "text";
  std::vector<std::string> backends, inputs;
  std::string html, crossover;
  double min_time = 0.5, check_time = 5;
  int warmup = 2;
  size_t min_samples = kSamples, max_samples = 0;
  bool json = false, raw = false;
};

using Row = BenchRow;

double Now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

// Pairs (query, key) that are computed: causal and window bounds are not counted as work, masks are.
double VisiblePairs(const Problem& problem) {
  const sage_attention_attributes& a = problem.attributes.attention;
  const sage_tensor& q = problem.tensors[SAGE_ATTN_Q];
  if (q.rank != 4)
    return static_cast<double>(q.shape[0]) * static_cast<double>(problem.tensors[SAGE_ATTN_K].shape[0]) / 2;
  const int64_t sq = q.shape[2], skv = problem.tensors[SAGE_ATTN_K].shape[2];
  const int64_t shift = a.alignment == SAGE_ALIGN_BOTTOM_RIGHT ? skv - sq : 0;
  double pairs = 0;
  for (int64_t i = 0; i < sq; ++i) {
    int64_t first = 0, last = skv - 1;
    if ((a.features & SAGE_ATTN_F_CAUSAL) != 0) last = std::min(last, i + shift);
    if ((a.features & SAGE_ATTN_F_WINDOW_LEFT) != 0) first = std::max(first, i + shift - a.window_left);
    if ((a.features & SAGE_ATTN_F_WINDOW_RIGHT) != 0) last = std::min(last, i + shift + a.window_right);
    pairs += static_cast<double>(std::max<int64_t>(0, last - first + 1));
  }
  return pairs;
}

double TensorBytes(const sage_tensor& t) {
  double bytes = support::DtypeSize(t.dtype);
  for (uint32_t axis = 0; axis < t.rank; ++axis) bytes *= static_cast<double>(t.shape[axis]);
  return bytes;
}

PlanPtr MakePlan(sage_engine* engine, const BenchFlags& flags, const std::string& backend, const sage_op& op) {
  SessionFlags session = flags.session;
  session.backend = backend;
  session.verify.clear();
  const OptionsPtr options = session.Create(flags.engine);
  Error error;
  sage_attention_plan* raw = nullptr;
  Require(sage_attention_plan_create(engine, &op, options.get(), &raw, &error), error);
  return PlanPtr(raw);
}

struct Runner {
  PlanPtr plan;
  ContextPtr context;
  explicit Runner(PlanPtr made) : plan(std::move(made)) {
    Error error;
    sage_attention_context* raw = nullptr;
    Require(sage_attention_context_create(plan.get(), &raw, &error), error);
    context.reset(raw);
  }
  void Run(const std::vector<const sage_tensor*>& slots) {
    Error error;
    Require(sage_attention_run(context.get(), slots.data(), static_cast<uint32_t>(slots.size()), nullptr, &error),
            error);
  }
};

// What one backend's explain says the run costs, in ns.
double PriceOf(const PlanPtr& plan, const std::string& backend) {
  const Json explain = Json::parse(TextOf(sage_attention_plan_explain, plan.get()));
  for (const Json& verdict : explain.value("verdicts", Json::array()))
    if (verdict.value("backend", "") == backend) return verdict.value("cost_ns", 0.0);
  return 0;
}

uint64_t Threads(sage_engine* engine) {
  return Json::parse(TextOf(sage_engine_describe, engine)).value("threads", uint64_t{1});
}

// Rounds of one run each until min_time a backend and at least min_samples (or 20 times min_time) have passed, or
// max_samples were taken. Ctrl-C ends it with what there is by then.
template <class RunOne>
void TimeInTurns(std::vector<Row>* rows, const BenchFlags& flags, RunOne&& run_one) {
  const double limit = flags.min_time * 1e9 * static_cast<double>(rows->size());
  Progress progress("measuring", limit);
  try {
    for (size_t i = 0; i < rows->size(); ++i)
      for (int run = 0; run < flags.warmup && !Interrupted(); ++run) run_one(i);
    const double begin = Now();
    while (!Interrupted()) {
      for (size_t i = 0; i < rows->size(); ++i) {
        const double start = Now();
        run_one(i);
        (*rows)[i].samples.push_back(Now() - start);
      }
      const double spent = Now() - begin;
      progress.Show(spent);
      const size_t taken = rows->front().samples.size();
      if ((spent >= limit && taken >= flags.min_samples) || spent >= 20 * limit || taken == flags.max_samples) break;
    }
  } catch (const Failure& failure) {
    if (failure.code != kExitInterrupted) throw;
  }
}

std::vector<Row> BenchAttention(sage_engine* engine, const BenchFlags& flags) {
  Result<std::unique_ptr<Problem>> parsed = ParseProblem(flags.attention);
  if (!parsed.ok()) throw Failure(kExitUsage, fmt::format("--attn {}: {}", flags.attention, parsed.status().message()));
  Problem& problem = **parsed;
  if (problem.op.kind != SAGE_OP_ATTENTION)
    throw Failure(kExitUsage, "--attn names another kind of op; only attention is timed by itself");
  ProblemData data;
  if (const Status made = MakeProblemTensors(&problem, kMaxProblemBytes, &data); !made.ok())
    throw Failure(ExitCodeOf(made.code()), made.message());

  std::vector<std::string> names = flags.backends;
  if (names.empty() && !flags.session.backend.empty()) names.push_back(flags.session.backend);
  const bool named = !names.empty();
  if (names.empty())
    for (uint32_t i = 0; i < sage_engine_backend_count(engine); ++i)
      names.emplace_back(sage_engine_backend_name(engine, i));
  const bool sliceable = problem.tensors[SAGE_ATTN_Q].rank == 4 && !problem.Has(SAGE_ATTN_SEQUSED_Q) &&
                         !problem.Has(SAGE_ATTN_BLOCK_MASK) && !problem.Has(SAGE_ATTN_CSR_INDPTR) &&
                         !problem.Has(SAGE_ATTN_K_NEW);
  PlanPtr reference = MakePlan(engine, flags, "reference", problem.op);
  const double reference_ns = PriceOf(reference, "reference");
  const bool too_slow = reference_ns > flags.check_time * 1e9;
  const int64_t sq = problem.tensors[SAGE_ATTN_Q].rank == 4 ? problem.tensors[SAGE_ATTN_Q].shape[2] : 0;
  const int64_t checked_rows =
      too_slow && sliceable
          ? std::clamp<int64_t>(static_cast<int64_t>(static_cast<double>(sq) * flags.check_time * 1e9 / reference_ns),
                                1, sq)
          : sq;
  const std::vector<std::unique_ptr<RowsOfProblem>> parts = RowsToCheck(problem, checked_rows);
  for (const auto& part : parts) {
    Runner oracle(MakePlan(engine, flags, "reference", part->op));
    oracle.Run(part->slots);
    part->expected = ElementValues(part->tensors[SAGE_ATTN_O]);
  }

  const sage_tensor& q = problem.tensors[SAGE_ATTN_Q];
  const int64_t batch = q.rank == 4 ? q.shape[0] : 1;
  const double flops = 2.0 * static_cast<double>(batch) * static_cast<double>(q.shape[1]) * VisiblePairs(problem) *
                       static_cast<double>(q.shape[q.rank - 1] + problem.tensors[SAGE_ATTN_O].shape[q.rank - 1]);
  double bytes = 0;
  for (uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V, SAGE_ATTN_O})
    bytes += TensorBytes(problem.tensors[slot]);
  const double kv_bytes = TensorBytes(problem.tensors[SAGE_ATTN_K]) + TensorBytes(problem.tensors[SAGE_ATTN_V]);

  std::vector<Row> rows;
  std::vector<std::unique_ptr<Runner>> runners;
  for (const std::string& name : names) {
    Row row;
    row.problem = ProblemLine(problem), row.backend = name, row.dtype = support::DtypeName(q.dtype),
    row.threads = Threads(engine);
    row.flops = flops, row.bytes = bytes, row.kv_bytes = kv_bytes;
    if (name == "reference" && too_slow && !named) continue;  // minutes a run; ask for it by name
    PlanPtr plan;
    try {
      plan = MakePlan(engine, flags, name, problem.op);
    } catch (const Failure& failure) {
      // A NO is an answer; a backend named by the caller has to be there and able.
      if (named || failure.code != kExitNoBackend) throw;
      const size_t line = failure.message.rfind('\n');  // the last line is the backend's own sentence
      fmt::print(stderr, "sage-engine: left out: {}\n",
                 line == std::string::npos ? name + ": " + failure.message : failure.message.substr(line + 1));
      continue;
    }
    auto runner = std::make_unique<Runner>(std::move(plan));
    // Fresh outputs, so that a backend that writes nothing is not taken for one that is right.
    std::fill(data.buffers[SAGE_ATTN_O].begin(), data.buffers[SAGE_ATTN_O].end(), static_cast<unsigned char>(0xA5));
    runner->Run(problem.pointers);
    const Difference off = DifferenceOf(parts);
    row.max_abs_err = off.max_abs, row.rel_err = off.relative;
    const double bound = q.dtype == SAGE_F64 ? 1e-10 : q.dtype == SAGE_F32 ? 1e-4 : 2e-2;
    if (!(row.rel_err <= bound) && flags.session.accuracy != "lossy")
      throw Failure(kExitWrongAnswer,
                    fmt::format("{} on {}: wrong answer, relative error {:.3g} (at most {:.0e}); nothing was timed",
                                name, row.problem, row.rel_err, bound));
    if (checked_rows < sq) row.note = fmt::format("{} of {} query rows checked", checked_rows, sq);
    rows.push_back(std::move(row));
    runners.push_back(std::move(runner));
  }
  if (rows.empty()) throw Failure(kExitNoBackend, "no backend serves " + flags.attention);
  TimeInTurns(&rows, flags, [&](size_t i) { runners[i]->Run(problem.pointers); });
  return rows;
}

SessionPtr MakeSession(sage_model* model, const BenchFlags& flags, const SessionFlags& session) {
  const OptionsPtr options = session.Create(flags.engine);
  return OpenSession(model, options.get(), Shown(flags.model), {});
}

// The first run of the model again on the reference, where that is a matter of seconds, and what differs.
void CheckModel(sage_model* model, sage_session* session, const BenchFlags& flags, Row* row) {
  SessionFlags on_reference;
  on_reference.backend = "reference";
  const SessionPtr oracle = MakeSession(model, flags, on_reference);
  SetInputs(model, oracle.get(), flags.inputs);
  const Json explain = Json::parse(TextOf(sage_session_explain, oracle.get()), nullptr, false);
  if (explain.is_object() && explain.value("cost_ns", 0.0) > flags.check_time * 1e9) {
    row->note = "not checked: the reference would take too long";
    return;
  }
  const Json mine = Json::parse(TextOf(sage_session_explain, session), nullptr, false);
  for (const Json& node : mine.is_object() ? mine.value("nodes", Json::array()) : Json::array())
    row->flops += node.value("flops", 0.0);
  Error error;
  Require(sage_session_run(oracle.get(), &error), error, "reference");
  double worst = 0, difference2 = 0, norm2 = 0;
  for (uint32_t i = 0; i < sage_model_io_count(model, SAGE_OUTPUT); ++i) {
    const HostTensor got = GetOutput(session, i), expected = GetOutput(oracle.get(), i);
    row->bytes += static_cast<double>(got.bytes.size());
    row->dtype = support::DtypeName(got.dtype);
    for (int64_t at = 0; at < got.elements(); ++at) {
      const double a = ElementAsDouble(got, at), b = ElementAsDouble(expected, at);
      if ((std::isnan(a) && std::isnan(b)) || a == b) {
        norm2 += std::isfinite(b) ? b * b : 0;
        continue;
      }
      const double difference = std::fabs(a - b);
      worst = std::isnan(difference) ? INFINITY : std::max(worst, difference);
      difference2 += difference * difference, norm2 += b * b;
    }
  }
  row->max_abs_err = worst;
  row->rel_err = std::sqrt(norm2 > 0 ? difference2 / norm2 : difference2);
  const bool narrow = row->dtype == "f16" || row->dtype == "bf16";
  if (!(row->rel_err <= (narrow ? 2e-2 : 1e-4)) && flags.session.accuracy != "lossy")
    throw Failure(kExitWrongAnswer, fmt::format("{}: wrong answer, relative error {:.3g} against the reference; "
                                                "nothing was timed",
                                                Shown(flags.model), row->rel_err));
}

std::vector<Row> BenchModel(sage_engine* engine, const BenchFlags& flags) {
  const ModelPtr model = LoadModel(engine, flags.model);
  const SessionPtr owner = MakeSession(model.get(), flags, flags.session);
  sage_session* raw = owner.get();
  Error error;
  std::vector<Row> rows(1);
  Row& row = rows[0];
  row.problem = flags.model, row.backend = flags.session.backend.empty() ? "chosen" : flags.session.backend,
  row.threads = Threads(engine), row.dtype = "model";
  row.bytes = static_cast<double>(SetInputs(model.get(), raw, flags.inputs));
  if (sage_model_kind(model.get()) == SAGE_MODEL_OP_GRAPH) {
    Require(sage_session_run(raw, &error), error, flags.model);
    CheckModel(model.get(), raw, flags, &row);
    TimeInTurns(&rows, flags, [&](size_t) { Require(sage_session_run(raw, &error), error); });
    return rows;
  }
  if (flags.ticks.empty())
    throw Failure(kExitUsage, fmt::format("{}: a SAGE graph is timed over --ticks FILE", flags.model));
  const int descriptor = OpenToRead(flags.ticks);
  LineReader reader(descriptor);
  Progress progress("of the ticks", static_cast<double>(SizeOfFile(descriptor)));
  std::string_view line;
  LineReader::Kind kind = LineReader::Kind::kEnd;
  uint64_t number = 0;
  while ((kind = reader.Next(&line)) != LineReader::Kind::kEnd) {
    if (kind == LineReader::Kind::kFailed)
      throw Failure(kExitBadFile, fmt::format("{}: {}", Shown(flags.ticks), std::strerror(errno)));
    const double begin = Now();
    const sage_status status = sage_session_tick(raw, line.data(), line.size(), &error);
    const double spent = Now() - begin;
    Require(status, error, fmt::format("{}:{}", Shown(flags.ticks), ++number));
    if (number > static_cast<uint64_t>(flags.warmup)) row.samples.push_back(spent);
    progress.Show(static_cast<double>(reader.bytes()));
  }
  CloseRead(descriptor);
  if (row.samples.empty() && number > 0 && !Interrupted())
    throw Failure(kExitUsage, fmt::format("{}: {} ticks, all of them warm-up; lower --warmup", flags.ticks, number));
  if (number == 0 && !Interrupted()) throw Failure(kExitBadFile, Shown(flags.ticks) + ": no ticks in it");
  return rows;
}

int Bench(const BenchFlags& flags) {
  if (flags.attention.empty() == flags.model.empty())
    throw Failure(kExitUsage, "bench needs a model, or --attn PROBLEM (grammar: docs/problem-string.md)");
  if (flags.model.empty() && (!flags.inputs.empty() || !flags.ticks.empty()))
    throw Failure(kExitUsage, "bench: --input and --ticks are of a model; a problem has its shapes in its line");
  if (!flags.crossover.empty())
    return Crossover(flags.engine, flags.session, flags.attention, flags.crossover, flags.min_time,
                     flags.json ? "json" : flags.format);
  if (!flags.html.empty()) RequireWritable(flags.html);
  const EnginePtr engine = flags.engine.Create();
  const std::vector<Row> rows =
      flags.attention.empty() ? BenchModel(engine.get(), flags) : BenchAttention(engine.get(), flags);
  const Roofline roofline = MeasureRoofline(rows[0].threads, rows[0].kv_bytes);
  // The table first: a page that cannot be written does not cost the figures.
  fmt::print("{}", BenchReport(flags.json ? "json" : flags.format, rows, roofline, flags.raw));
  if (!flags.html.empty()) WriteFileAtomically(flags.html, BenchReport("html", rows, roofline));
  return Interrupted() ? kExitInterrupted : kExitOk;
}

}  // namespace

void AddBench(CLI::App& app, Action* action) {
  auto flags = std::make_shared<BenchFlags>();
  CLI::App* verb = app.add_subcommand("bench", "check, then time, an attention problem on every backend, or a model");
  verb->add_option("model", flags->model, "a model: an op graph with --input, a SAGE graph with --ticks");
  verb->add_option("--attn", flags->attention, "a problem, such as b1.hq8.hkv2.sq512.skv512.d64.f32:causal=tl");
  verb->add_option("--backends", flags->backends, "these only, comma separated; default: all that can")->delimiter(',');
  verb->add_option("--input,-i", flags->inputs, "NAME=2x8x64xf32:random,seed=1")->allow_extra_args(false);
  verb->add_option("--ticks", flags->ticks, "tick stream of a SAGE graph");
  verb->add_option("--min-time", flags->min_time, "seconds a backend, at least")
      ->capture_default_str()
      ->check(CLI::Range(0.001, 3600.0));
  verb->add_option("--format", flags->format, "text and md (a Markdown table), html (one file), csv, json")
      ->capture_default_str()
      ->check(CLI::IsMember({"text", "md", "html", "csv", "json"}));
  verb->add_option("--html", flags->html, "write the html form to this file as well")->type_name("FILE");
  verb->add_option("--min-samples", flags->min_samples,
                   "timed runs a backend, at least; 20 times --min-time ends it all the same")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000000));
  verb->add_option("--max-samples", flags->max_samples, "timed runs a backend, at most; default: as --min-time allows")
      ->check(CLI::Range(1, 10000000));
  verb->add_option("--check-time", flags->check_time,
                   "seconds the reference may take before only some rows are checked")
      ->capture_default_str()
      ->check(CLI::Range(0.001, 3600.0));
  verb->add_flag("--raw", flags->raw, "json: every sample, in the order they were taken");
  verb->add_option("--warmup", flags->warmup, "runs, or ticks, that come first and are not counted")
      ->capture_default_str()
      ->check(CLI::Range(0, 1000000));
  verb->add_option("--crossover", flags->crossover,
                   "of --attn: flash and materialised over these lengths, 64..4096 (doubling) or 64,300,1000")
      ->type_name("LENGTHS");
  verb->add_flag("--json", flags->json, "the same as --format json");
  flags->session.AddTo(verb);
  flags->engine.AddTo(verb);
  verb->callback([flags, action] { *action = [flags] { return Bench(*flags); }; });
}

}  // namespace sage::tool
