// bench.cc: the verb `bench`: time one attention problem on every backend that serves it, or a model. The answer is
// checked before anything is timed; backends take turns, so that a slow minute of the machine hurts all of them alike.
#include <fcntl.h>
#include <fmt/format.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>

#include "common.h"
#include "plan/elements.h"
#include "plan/problem.h"
#include "report/roofline.h"
#include "sage/support/check_op.h"
#include "tensor_argument.h"
#include "tick_stream.h"
#include "verbs.h"

namespace sage::tool {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kMaxProblemBytes = 8ull << 30;
constexpr double kMaxCheckNs = 5e9;  // what the float64 reference may take before only some rows are checked

struct BenchFlags {
  EngineFlags engine;
  SessionFlags session;
  std::string attention, model, ticks, format = "text";
  std::vector<std::string> backends, inputs;
  double min_time = 0.5;
  bool json = false;
};

struct Row {
  std::string problem, backend, dtype, note;
  uint64_t threads = 1;
  std::vector<double> samples;
  double flops = 0, bytes = 0, max_abs_err = NAN, rel_err = NAN;
};

double Now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

double Percentile(std::vector<double> samples, double p) {
  if (samples.empty()) return NAN;
  std::sort(samples.begin(), samples.end());
  const auto rank = static_cast<size_t>(std::ceil(p / 100 * static_cast<double>(samples.size())));
  return samples[std::min(samples.size() - 1, rank == 0 ? 0 : rank - 1)];
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

// The part of a problem that is checked: all of it, or where the reference would take too long the query rows whose
// positions stay what they were (the first ones, or for BOTTOM_RIGHT the last ones).
struct CheckedPart {
  std::vector<sage_tensor> tensors;
  std::vector<const sage_tensor*> slots;
  sage_op op{};
  std::vector<unsigned char> output;
  std::vector<double> values;  // of O
};

void SelectRows(const Problem& problem, int64_t rows, CheckedPart* part) {
  part->tensors = problem.tensors;
  part->slots.assign(problem.tensors.size(), nullptr);
  const int64_t sq = problem.tensors[SAGE_ATTN_Q].shape[2];
  const bool last = problem.attributes.attention.alignment == SAGE_ALIGN_BOTTOM_RIGHT;
  for (uint32_t slot = 0; slot < part->tensors.size(); ++slot) {
    if (!problem.Has(slot)) continue;
    sage_tensor& t = part->tensors[slot];
    part->slots[slot] = &t;
    const bool by_query = slot == SAGE_ATTN_Q || slot == SAGE_ATTN_O || slot == SAGE_ATTN_LSE ||
                          slot == SAGE_ATTN_BIAS || slot == SAGE_ATTN_MASK || slot == SAGE_ATTN_BIT_MASK ||
                          slot == SAGE_ATTN_WEIGHTS || slot == SAGE_ATTN_SCORES;
    if (!by_query || rows >= sq) continue;
    if (last) t.data = static_cast<unsigned char*>(t.data) + (sq - rows) * t.stride[2] * support::DtypeSize(t.dtype);
    t.shape[2] = rows;
  }
  part->op = problem.op;
  part->op.slots = part->slots.data();
}

std::vector<double> Values(const sage_tensor& t) {
  int64_t count = 1;
  for (uint32_t axis = 0; axis < t.rank; ++axis) count *= t.shape[axis];
  std::vector<double> values(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    int64_t rest = i, offset = 0;
    for (uint32_t axis = t.rank; axis-- > 0;) offset += rest % t.shape[axis] * t.stride[axis], rest /= t.shape[axis];
    values[static_cast<size_t>(i)] =
        LoadElement(static_cast<const unsigned char*>(t.data) + offset * support::DtypeSize(t.dtype), t.dtype);
  }
  return values;
}

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

// Rounds of one run each until min_time a backend and at least 30 samples (or 20 times min_time) have passed.
template <class RunOne>
void TimeInTurns(std::vector<Row>* rows, double min_time, RunOne&& run_one) {
  for (size_t i = 0; i < rows->size(); ++i) run_one(i), run_one(i);  // warm-up
  const double limit = min_time * 1e9 * static_cast<double>(rows->size());
  const double begin = Now();
  while (!Interrupted()) {
    for (size_t i = 0; i < rows->size(); ++i) {
      const double start = Now();
      run_one(i);
      (*rows)[i].samples.push_back(Now() - start);
    }
    const double spent = Now() - begin;
    if ((spent >= limit && rows->front().samples.size() >= 30) || spent >= 20 * limit) break;
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
  if (names.empty())
    for (uint32_t i = 0; i < sage_engine_backend_count(engine); ++i)
      names.emplace_back(sage_engine_backend_name(engine, i));
  const bool sliceable = problem.tensors[SAGE_ATTN_Q].rank == 4 && !problem.Has(SAGE_ATTN_SEQUSED_Q) &&
                         !problem.Has(SAGE_ATTN_BLOCK_MASK) && !problem.Has(SAGE_ATTN_CSR_INDPTR) &&
                         !problem.Has(SAGE_ATTN_K_NEW);
  PlanPtr reference = MakePlan(engine, flags, "reference", problem.op);
  const double reference_ns = PriceOf(reference, "reference");
  const bool too_slow = reference_ns > kMaxCheckNs;
  const int64_t sq = problem.tensors[SAGE_ATTN_Q].rank == 4 ? problem.tensors[SAGE_ATTN_Q].shape[2] : 0;
  const int64_t checked_rows =
      too_slow && sliceable
          ? std::clamp<int64_t>(static_cast<int64_t>(static_cast<double>(sq) * kMaxCheckNs / reference_ns), 1, sq)
          : sq;
  CheckedPart part;
  SelectRows(problem, checked_rows, &part);
  {
    Runner oracle(MakePlan(engine, flags, "reference", part.op));
    oracle.Run(part.slots);
    part.values = Values(part.tensors[SAGE_ATTN_O]);
  }

  const sage_tensor& q = problem.tensors[SAGE_ATTN_Q];
  const int64_t batch = q.rank == 4 ? q.shape[0] : 1;
  const double flops = 2.0 * static_cast<double>(batch) * static_cast<double>(q.shape[1]) * VisiblePairs(problem) *
                       static_cast<double>(q.shape[q.rank - 1] + problem.tensors[SAGE_ATTN_O].shape[q.rank - 1]);
  double bytes = 0;
  for (uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V, SAGE_ATTN_O})
    bytes += TensorBytes(problem.tensors[slot]);

  std::vector<Row> rows;
  std::vector<std::unique_ptr<Runner>> runners;
  for (const std::string& name : names) {
    Row row;
    row.problem = ProblemString(problem.op), row.backend = name, row.dtype = support::DtypeName(q.dtype),
    row.threads = Threads(engine);
    row.flops = flops, row.bytes = bytes;
    if (name == "reference" && too_slow && flags.backends.empty()) continue;  // minutes a run; ask for it by name
    PlanPtr plan;
    try {
      plan = MakePlan(engine, flags, name, problem.op);
    } catch (const Failure& failure) {
      // A NO is an answer; a backend named by the caller has to be there and able.
      if (!flags.backends.empty() || failure.code != kExitNoBackend) throw;
      fmt::print(stderr, "sage-engine: {} left out: {}\n", name, failure.message);
      continue;
    }
    auto runner = std::make_unique<Runner>(std::move(plan));
    // Fresh outputs, so that a backend that writes nothing is not taken for one that is right.
    std::fill(data.buffers[SAGE_ATTN_O].begin(), data.buffers[SAGE_ATTN_O].end(), static_cast<unsigned char>(0xA5));
    runner->Run(problem.pointers);
    const std::vector<double> got = Values(part.tensors[SAGE_ATTN_O]);
    double worst = 0, difference2 = 0, norm2 = 0;
    for (size_t i = 0; i < got.size(); ++i) {
      if (std::isnan(got[i]) != std::isnan(part.values[i])) worst = INFINITY;
      const double difference = std::isnan(got[i]) ? 0 : std::fabs(got[i] - part.values[i]);
      worst = std::max(worst, difference), difference2 += difference * difference,
      norm2 += part.values[i] * part.values[i];
    }
    row.max_abs_err = worst;
    row.rel_err = norm2 > 0 ? std::sqrt(difference2 / norm2) : std::sqrt(difference2);
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
  TimeInTurns(&rows, flags.min_time, [&](size_t i) { runners[i]->Run(problem.pointers); });
  return rows;
}

std::vector<Row> BenchModel(sage_engine* engine, const BenchFlags& flags) {
  const ModelPtr model = LoadModel(engine, flags.model);
  const OptionsPtr options = flags.session.Create(flags.engine);
  Error error;
  sage_session* raw = nullptr;
  Require(sage_session_create(model.get(), options.get(), &raw, &error), error, flags.model);
  const SessionPtr session(raw);
  std::vector<Row> rows(1);
  Row& row = rows[0];
  row.problem = flags.model, row.backend = flags.session.backend.empty() ? "chosen" : flags.session.backend,
  row.threads = Threads(engine), row.dtype = "model";
  for (const std::string& argument : flags.inputs) {
    const NamedTensor input = ParseTensorArgument(argument);
    uint32_t found = UINT32_MAX;
    for (uint32_t i = 0; i < sage_model_io_count(model.get(), SAGE_INPUT); ++i) {
      const char* name = nullptr;
      Require(sage_model_io_info(model.get(), SAGE_INPUT, i, &name, nullptr, nullptr, nullptr, &error), error);
      if (input.name == name) found = i;
    }
    if (found == UINT32_MAX)
      throw Failure(kExitUsage, fmt::format("--input {}: the model has no input of that name", input.name));
    row.bytes += static_cast<double>(input.tensor.bytes.size());
    Require(
        sage_session_set_input(raw, found, input.tensor.dtype, static_cast<uint32_t>(input.tensor.shape.size()),
                               input.tensor.shape.data(), input.tensor.bytes.data(), input.tensor.bytes.size(), &error),
        error, "--input " + input.name);
  }
  if (sage_model_kind(model.get()) == SAGE_MODEL_OP_GRAPH) {
    Require(sage_session_run(raw, &error), error, flags.model);
    TimeInTurns(&rows, flags.min_time, [&](size_t) { Require(sage_session_run(raw, &error), error); });
    return rows;
  }
  if (flags.ticks.empty())
    throw Failure(kExitUsage, fmt::format("{}: a SAGE graph is timed over --ticks FILE", flags.model));
  const int descriptor = open(flags.ticks.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) throw Failure(kExitBadFile, fmt::format("{}: {}", flags.ticks, std::strerror(errno)));
  LineReader reader(descriptor);
  std::string_view line;
  while (reader.Next(&line) == LineReader::Kind::kLine) {
    const double begin = Now();
    const sage_status status = sage_session_tick(raw, line.data(), line.size(), &error);
    row.samples.push_back(Now() - begin);
    Require(status, error, flags.ticks);
  }
  close(descriptor);
  if (row.samples.empty()) throw Failure(kExitBadFile, flags.ticks + ": no ticks in it");
  return rows;
}

Json ToJson(const Row& row) {
  const double median = Percentile(row.samples, 50);
  Json json;
  json["problem"] = row.problem, json["backend"] = row.backend, json["threads"] = row.threads,
  json["dtype"] = row.dtype;
  json["median_ns"] = median, json["p90_ns"] = Percentile(row.samples, 90),
  json["p99_ns"] = Percentile(row.samples, 99);
  json["min_ns"] = Percentile(row.samples, 0), json["samples"] = row.samples.size();
  json["flops"] = row.flops, json["gflops"] = row.flops / median, json["bytes"] = row.bytes,
  json["gbps"] = row.bytes / median;
  json["max_abs_err"] = std::isnan(row.max_abs_err) ? Json() : Json(row.max_abs_err);
  json["rel_err"] = std::isnan(row.rel_err) ? Json() : Json(row.rel_err);
  if (!row.note.empty()) json["note"] = row.note;
  return json;
}

void PrintText(const std::vector<Row>& rows, const Roofline& roofline) {
  fmt::print("{}\n\n", rows[0].problem);
  fmt::print(
      "| backend | threads | median | p99 | min | GFLOP/s | GB/s | max abs error | rel error "
      "|\n|---|--:|--:|--:|--:|--:|--:|--:|--:|\n");
  for (const Row& row : rows) {
    const double median = Percentile(row.samples, 50);
    fmt::print("| {} | {} | {} | {} | {} | {:.1f} | {:.2f} | {:.2g} | {:.2g} |{}\n", row.backend, row.threads,
               Duration(median), Duration(Percentile(row.samples, 99)), Duration(Percentile(row.samples, 0)),
               row.flops / median, row.bytes / median, row.max_abs_err, row.rel_err,
               row.note.empty() ? "" : " " + row.note);
  }
  fmt::print(
      "\nThis machine, one thread, in the same run: {:.0f} GFLOP/s of fp32 multiply-adds, {:.1f} GB/s read from "
      "memory.\n",
      roofline.fma_gflops, roofline.stream_gbps);
}

void PrintCsv(const std::vector<Row>& rows) {
  fmt::print(
      "problem,backend,threads,dtype,median_ns,p90_ns,p99_ns,min_ns,flops,gflops,bytes,gbps,max_abs_err,rel_err\n");
  for (const Row& row : rows) {
    const double median = Percentile(row.samples, 50);
    fmt::print("\"{}\",{},{},{},{},{},{},{},{},{},{},{},{},{}\n", row.problem, row.backend, row.threads, row.dtype,
               median, Percentile(row.samples, 90), Percentile(row.samples, 99), Percentile(row.samples, 0), row.flops,
               row.flops / median, row.bytes, row.bytes / median, row.max_abs_err, row.rel_err);
  }
}

int Bench(const BenchFlags& flags) {
  if (flags.attention.empty() == flags.model.empty())
    throw Failure(kExitUsage, "bench needs a model, or --attn PROBLEM (grammar: docs/problem-string.md)");
  const EnginePtr engine = flags.engine.Create();
  const std::vector<Row> rows =
      flags.attention.empty() ? BenchModel(engine.get(), flags) : BenchAttention(engine.get(), flags);
  const Roofline roofline = MeasureRoofline();
  if (flags.json || flags.format == "json") {
    Json report;
    report["rows"] = Json::array();
    for (const Row& row : rows) report["rows"].push_back(ToJson(row));
    report["roofline"] = {{"fma_gflops", roofline.fma_gflops}, {"stream_gbps", roofline.stream_gbps}, {"threads", 1}};
    fmt::print("{}\n", report.dump());
  } else if (flags.format == "csv") {
    PrintCsv(rows);
  } else {
    PrintText(rows, roofline);
  }
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
  verb->add_option("--format", flags->format, "text (a Markdown table), csv or json")
      ->capture_default_str()
      ->check(CLI::IsMember({"text", "csv", "json"}));
  verb->add_flag("--json", flags->json, "the same as --format json");
  flags->session.AddTo(verb);
  flags->engine.AddTo(verb);
  verb->callback([flags, action] { *action = [flags] { return Bench(*flags); }; });
}

}  // namespace sage::tool
