// doctor.cc: the verb `doctor`: why it does not work, or that it does. Looks at the machine, the search path and every
// backend, and runs a small attention on each against the reference.
#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>

#include "common.h"
#include "output.h"
#include "report/backend_list.h"
#include "report/tuned_tiles.h"
#include "verbs.h"

namespace sage::tool {
namespace {

using Json = nlohmann::ordered_json;

struct DoctorFlags {
  EngineFlags engine;
  bool json = false;
};

std::string FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// What the processor has and the operating system saves and restores; a kernel may be entered only for both.
Json InstructionSets() {
  Json sets = Json::object();
#if defined(__x86_64__)
  __builtin_cpu_init();  // reads XGETBV as well: "supports" means usable
  sets["avx2"] = __builtin_cpu_supports("avx2") != 0;
  sets["fma"] = __builtin_cpu_supports("fma") != 0;
  sets["avx512f"] = __builtin_cpu_supports("avx512f") != 0;
  sets["avx512bw"] = __builtin_cpu_supports("avx512bw") != 0;
  sets["avx512vl"] = __builtin_cpu_supports("avx512vl") != 0;
  sets["avx512vnni"] = __builtin_cpu_supports("avx512vnni") != 0;
  sets["avx512bf16"] = __builtin_cpu_supports("avx512bf16") != 0;
#elif defined(__aarch64__)
  sets["neon"] = true;
#endif
  return sets;
}

Json Machine() {
  Json machine;
  utsname name{};
  if (uname(&name) == 0) machine["system"] = fmt::format("{} {} {}", name.sysname, name.release, name.machine);
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);)
    if (line.rfind("model name", 0) == 0) {
      machine["processor"] = line.substr(line.find(':') + 2);
      break;
    }
  machine["processors"] = sysconf(_SC_NPROCESSORS_ONLN);
  machine["memory_bytes"] = static_cast<double>(sysconf(_SC_PHYS_PAGES)) * static_cast<double>(sysconf(_SC_PAGESIZE));
  machine["instruction_sets"] = InstructionSets();
  const std::string memory_limit = FirstLine("/sys/fs/cgroup/memory.max"),
                    cpu_limit = FirstLine("/sys/fs/cgroup/cpu.max");
  machine["cgroup_memory"] = memory_limit.empty() ? "no limit found" : memory_limit;
  machine["cgroup_cpu"] = cpu_limit.empty() ? "no limit found" : cpu_limit;
  const std::string driver = FirstLine("/proc/driver/nvidia/version");
  machine["nvidia_driver"] = driver.empty() ? "none (no /proc/driver/nvidia/version)" : driver;
  return machine;
}

// One causal grouped-query attention on the named backend against the reference: the largest difference.
Json SelfTest(sage_engine* engine, const std::string& backend) {
  constexpr int64_t kHeadsQ = 4, kHeadsKv = 2, kSeq = 67, kDim = 32;
  std::vector<float> q(kHeadsQ * kSeq * kDim), k(kHeadsKv * kSeq * kDim), v(kHeadsKv * kSeq * kDim);
  uint32_t state = 1;
  for (auto* tensor : {&q, &k, &v})
    for (float& x : *tensor)
      state = state * 1664525u + 1013904223u, x = static_cast<float>(state >> 8) / 8388608.0f - 1;
  const auto run = [&](const std::string& name, std::vector<float>* out) {
    out->assign(q.size(), 0);
    const int64_t q_shape[4] = {1, kHeadsQ, kSeq, kDim}, kv_shape[4] = {1, kHeadsKv, kSeq, kDim};
    sage_tensor tq, tk, tv, to;
    sage_tensor_init(&tq, SAGE_F32, 4, q_shape, q.data());
    sage_tensor_init(&tk, SAGE_F32, 4, kv_shape, k.data());
    sage_tensor_init(&tv, SAGE_F32, 4, kv_shape, v.data());
    sage_tensor_init(&to, SAGE_F32, 4, q_shape, out->data());
    const sage_tensor* slots[4] = {&tq, &tk, &tv, &to};
    sage_attention_attributes attributes{};
    attributes.struct_size = sizeof attributes;
    attributes.features = SAGE_ATTN_F_CAUSAL;
    attributes.alignment = SAGE_ALIGN_TOP_LEFT;
    sage_op op{};
    op.struct_size = sizeof op, op.kind = SAGE_OP_ATTENTION, op.attributes = &attributes, op.num_slots = 4,
    op.slots = slots;
    Error error;
    sage_options* raw_options = nullptr;
    Require(sage_options_create(&raw_options, &error), error);
    const OptionsPtr options(raw_options);
    Require(sage_options_set(raw_options, "backend", name.c_str(), &error), error);
    sage_attention_plan* raw_plan = nullptr;
    Require(sage_attention_plan_create(engine, &op, raw_options, &raw_plan, &error), error);
    const PlanPtr plan(raw_plan);
    sage_attention_context* raw_context = nullptr;
    Require(sage_attention_context_create(raw_plan, &raw_context, &error), error);
    const ContextPtr context(raw_context);
    Require(sage_attention_run(raw_context, slots, 4, nullptr, &error), error);
  };
  Json result;
  result["backend"] = backend;
  try {
    std::vector<float> expected, got;
    run("reference", &expected);
    run(backend, &got);
    double worst = 0;
    for (size_t i = 0; i < got.size(); ++i)
      worst = std::max(worst, std::fabs(static_cast<double>(got[i]) - static_cast<double>(expected[i])));
    result["max_abs_error"] = worst;
    result["ok"] = worst < 1e-4;
  } catch (const Failure& failure) {
    // A backend that does not do attention is not broken: its refusal is its answer.
    result["ok"] = failure.code == kExitNoBackend;
    // The last line is the backend's own sentence.
    result["note"] = failure.message.substr(failure.message.rfind('\n') + 1);
  }
  return result;
}

int Doctor(const DoctorFlags& flags) {
  Json report;
  report["version"] = sage_version();
  report["build"] = sage_build_info();
  report["abi"] = fmt::format("{}.{}", sage_abi_version() >> 16, sage_abi_version() & 0xffffu);
  report["machine"] = Machine();
  const EnginePtr engine = flags.engine.Create();
  report["engine"] = Json::parse(TextOf(sage_engine_describe, engine.get()));
  report["tuned_tiles"] = TunedTiles(flags.engine, report["engine"]);
  report["self_test"] = Json::array();
  bool healthy = true;
  for (uint32_t i = 0; i < sage_engine_backend_count(engine.get()); ++i) {
    report["self_test"].push_back(SelfTest(engine.get(), sage_engine_backend_name(engine.get(), i)));
    healthy = healthy && report["self_test"].back()["ok"].get<bool>();
  }
  report["healthy"] = healthy;
  if (flags.json) {
    fmt::print("{}\n", JsonText(report, 2));
    return healthy ? kExitOk : kExitWrongAnswer;
  }
  const Json& machine = report["machine"];
  fmt::print("sage-engine {} (ABI {}; {})\n\nmachine\n", report["version"].get<std::string>(),
             report["abi"].get<std::string>(), report["build"].get<std::string>());
  fmt::print("  {}\n  {}, {} processors, {} of memory\n", machine.value("system", "?"),
             machine.value("processor", "unknown processor"), machine["processors"].get<int64_t>(),
             Bytes(machine["memory_bytes"].get<double>()));
  std::string sets;
  for (const auto& [name, usable] : machine["instruction_sets"].items())
    sets += fmt::format(" {}{}", usable.get<bool>() ? "" : "no-", name);
  fmt::print("  instruction sets:{}\n  cgroup: memory {}, cpu {}\n  NVIDIA driver: {}\n", sets,
             machine["cgroup_memory"].get<std::string>(), machine["cgroup_cpu"].get<std::string>(),
             machine["nvidia_driver"].get<std::string>());
  fmt::print("\nbackends\n");
  PrintBackends(stdout, JsonText(report["engine"]));
  fmt::print("\n");
  PrintTunedChoices(report["tuned_tiles"]);
  fmt::print("\nself-test (causal attention, 4/2 heads, against the reference)\n");
  for (const Json& test : report["self_test"]) {
    fmt::print("  {:<12} {}", test["backend"].get<std::string>(), test["ok"].get<bool>() ? "ok" : "WRONG");
    if (test.contains("max_abs_error")) fmt::print(", largest difference {:.2g}", test["max_abs_error"].get<double>());
    if (test.contains("note")) fmt::print(" - {}", test["note"].get<std::string>());
    fmt::print("\n");
  }
  fmt::print("\n{}\n", healthy ? "All is well." : "Something is wrong; see above.");
  return healthy ? kExitOk : kExitWrongAnswer;
}

}  // namespace

void AddDoctor(CLI::App& app, Action* action) {
  auto flags = std::make_shared<DoctorFlags>();
  CLI::App* verb = app.add_subcommand("doctor", "why it does not work: machine, search path, backends, self-test");
  verb->add_flag("--json", flags->json, "all of it as JSON");
  flags->engine.AddTo(verb);
  verb->callback([flags, action] { *action = [flags] { return Doctor(*flags); }; });
}

}  // namespace sage::tool
