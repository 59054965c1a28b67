// arms.cc: see arms.h.
#include "arms.h"

#include <fmt/format.h>
#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "plan/elements.h"
#include "plan/problem.h"
#include "sage/support/check_op.h"

namespace sage::tool {
namespace {

constexpr uint64_t kMaxProblemBytes = 8ull << 30;
constexpr int64_t kMaxLength = int64_t{1} << 30;

double Now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

int64_t ReadLength(const std::string& text, const std::string& whole, const char* flag) {
  int64_t value = 0;
  const bool digits = !text.empty() && text.size() <= 10 && text.find_first_not_of("0123456789") == std::string::npos;
  if (digits) value = std::strtoll(text.c_str(), nullptr, 10);
  if (value < 1 || value > kMaxLength)
    throw Failure(kExitUsage, fmt::format("{} {}: lengths are expected, as 128..8192 (each twice the one before) or "
                                          "128,1000,4096",
                                          flag, whole));
  return value;
}

struct Prepared {
  PlanPtr plan;
  ContextPtr context;
};

Prepared Prepare(sage_engine* engine, const EngineFlags& engine_flags, const SessionFlags& session,
                 CountedMemory* counted, const sage_op& op, const char* algorithm, Arm* arm) {
  SessionFlags flags = session;
  flags.verify.clear();
  // Without bands round it the workspace is what the report says to the byte.
  const OptionsPtr options =
      flags.Create(engine_flags, {{"algorithm", algorithm}, {"strict", "true"}, {"guard", "off"}});
  Prepared out;
  Error error;
  sage_attention_plan* plan = nullptr;
  Require(sage_attention_plan_create(engine, &op, options.get(), &plan, &error), error);
  out.plan.reset(plan);
  arm->backend = sage_attention_plan_backend(plan);
  arm->memory.struct_size = sizeof arm->memory;
  Require(sage_attention_plan_memory(plan, &arm->memory, &error), error);
  const int64_t before = counted->live;
  sage_attention_context* context = nullptr;
  Require(sage_attention_context_create(plan, &context, &error), error);
  out.context.reset(context);
  arm->allocated = counted->live - before;
  if (arm->allocated != static_cast<int64_t>(arm->memory.scratch_bytes))
    throw Failure(
        kExitWrongAnswer,
        fmt::format("{} on {}: a context allocated {} bytes, its plan says that it needs {}; please report this",
                    algorithm, arm->backend, arm->allocated, arm->memory.scratch_bytes));
  return out;
}

std::vector<double> Values(const sage_tensor& tensor) {
  std::vector<double> values;
  int64_t count = 1;
  for (uint32_t axis = 0; axis < tensor.rank; ++axis) count *= tensor.shape[axis];
  values.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) {
    int64_t rest = i, offset = 0;
    for (uint32_t axis = tensor.rank; axis-- > 0;)
      offset += rest % tensor.shape[axis] * tensor.stride[axis], rest /= tensor.shape[axis];
    values.push_back(LoadElement(
        static_cast<const unsigned char*>(tensor.data) + offset * support::DtypeSize(tensor.dtype), tensor.dtype));
  }
  return values;
}

double RelativeError(const std::vector<double>& got, const std::vector<double>& expected) {
  double difference2 = 0, norm2 = 0;
  for (size_t i = 0; i < got.size(); ++i) {
    if (std::isnan(got[i]) != std::isnan(expected[i])) return std::numeric_limits<double>::infinity();
    if (std::isnan(got[i])) continue;
    difference2 += (got[i] - expected[i]) * (got[i] - expected[i]), norm2 += expected[i] * expected[i];
  }
  return norm2 > 0 ? std::sqrt(difference2 / norm2) : std::sqrt(difference2);
}

}  // namespace

void CountedMemory::LendTo(sage_options* options) {
  const auto alloc = [](void* self, uint64_t bytes, uint64_t align) -> void* {
    void* out = nullptr;
    if (posix_memalign(&out, std::max<uint64_t>(align, sizeof(void*)), bytes) != 0) return nullptr;
    static_cast<CountedMemory*>(self)->live += static_cast<int64_t>(bytes);
    return out;
  };
  const auto release = [](void* self, void* memory, uint64_t bytes) {
    static_cast<CountedMemory*>(self)->live -= static_cast<int64_t>(bytes);
    std::free(memory);
  };
  Error error;
  Require(sage_options_set_allocator(options, alloc, release, this, &error), error);
}

std::vector<int64_t> ParseLengths(const std::string& text, const char* flag) {
  std::vector<int64_t> lengths;
  if (const size_t dots = text.find(".."); dots != std::string::npos) {
    const int64_t first = ReadLength(text.substr(0, dots), text, flag);
    const int64_t last = ReadLength(text.substr(dots + 2), text, flag);
    for (int64_t length = first; length <= last; length *= 2) lengths.push_back(length);
  } else {
    for (size_t begin = 0; begin <= text.size();) {
      const size_t end = std::min(text.find(',', begin), text.size());
      lengths.push_back(ReadLength(text.substr(begin, end - begin), text, flag));
      begin = end + 1;
    }
  }
  if (lengths.empty() || lengths.size() > 64)
    throw Failure(kExitUsage, fmt::format("{} {}: {} lengths, 1 to 64 are expected", flag, text, lengths.size()));
  return lengths;
}

std::string WithLength(const std::string& line, int64_t length) {
  const size_t colon = std::min(line.find(':'), line.size());
  std::string queries, keys, out;
  std::vector<std::string> fields;
  for (size_t begin = 0; begin <= colon;) {
    const size_t end = std::min(line.find('.', begin), colon);
    fields.push_back(line.substr(begin, end - begin));
    begin = end + 1;
  }
  for (const std::string& field : fields) {
    if (field.starts_with("skv")) keys = field.substr(3);
    if (field.starts_with("sq")) queries = field.substr(2);
  }
  const bool square = keys.empty() || keys == queries;
  for (const std::string& field : fields) {
    if (!out.empty()) out += '.';
    if (field.starts_with("skv"))
      out += fmt::format("skv{}", length);
    else if (field.starts_with("sq") && square)
      out += fmt::format("sq{}", length);
    else
      out += field;
  }
  return out + line.substr(colon);
}

ArmPair MeasureArms(sage_engine* engine, const EngineFlags& engine_flags, const SessionFlags& session,
                    CountedMemory* counted, const std::string& line, double seconds) {
  Result<std::unique_ptr<Problem>> parsed = ParseProblem(line);
  if (!parsed.ok()) throw Failure(kExitUsage, fmt::format("--attn {}: {}", line, parsed.status().message()));
  Problem& problem = **parsed;
  if (problem.op.kind != SAGE_OP_ATTENTION) throw Failure(kExitUsage, "--attn names another kind of op");
  problem.attributes.attention.algorithm = SAGE_ALGORITHM_AUTO;  // both are measured
  ArmPair pair;
  pair.problem = ProblemLine(problem);
  const sage_tensor& k = problem.tensors[SAGE_ATTN_K];
  pair.length = k.shape[k.rank == 4 ? 2 : 0];
  Prepared arms[] = {Prepare(engine, engine_flags, session, counted, problem.op, "materialised", &pair.standard),
                     Prepare(engine, engine_flags, session, counted, problem.op, "flash", &pair.flash)};
  if (seconds <= 0) return pair;

  ProblemData data;
  if (const Status made = MakeProblemTensors(&problem, kMaxProblemBytes, &data); !made.ok())
    throw Failure(ExitCodeOf(made.code()), made.message());
  std::vector<double> outputs[2];
  double best[2] = {INFINITY, INFINITY};
  const double begin = Now();
  for (int round = 0; round == 0 || (Now() - begin < seconds * 1e9 && round < 10000 && !Interrupted()); ++round) {
    for (size_t arm = 0; arm < 2; ++arm) {
      Error error;
      if (round == 0)  // an arm that writes nothing is not to be right by the other's result
        std::fill(data.buffers[SAGE_ATTN_O].begin(), data.buffers[SAGE_ATTN_O].end(), static_cast<unsigned char>(0xA5));
      const double start = Now();
      Require(sage_attention_run(arms[arm].context.get(), problem.pointers.data(),
                                 static_cast<uint32_t>(problem.pointers.size()), nullptr, &error),
              error);
      best[arm] = std::min(best[arm], Now() - start);
      if (round == 0) outputs[arm] = Values(problem.tensors[SAGE_ATTN_O]);
    }
  }
  pair.standard.ns = best[0], pair.flash.ns = best[1];
  pair.rel_err = RelativeError(outputs[1], outputs[0]);
  const sage_dtype dtype = problem.tensors[SAGE_ATTN_O].dtype;
  const double bound = dtype == SAGE_F64 ? 1e-10 : dtype == SAGE_F32 ? 1e-4 : 2e-2;
  if (!(pair.rel_err <= bound) && session.accuracy != "lossy")
    throw Failure(kExitWrongAnswer, fmt::format("{}: flash and materialised differ by {:.3g} (at most {:.0e})",
                                                pair.problem, pair.rel_err, bound));
  return pair;
}

}  // namespace sage::tool
