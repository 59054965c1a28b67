// toy_table.h: a plugin's table whose every answer a test can set: for the border round plugins and the rule of choice.
#ifndef SAGE_TESTS_SUPPORT_TOY_TABLE_H_
#define SAGE_TESTS_SUPPORT_TOY_TABLE_H_

#include <cstring>
#include <string>

#include "sage/plugin.h"
#include "sage/support/refuse.h"

// The instance and the plan of a toy: what it will answer. A host passes it back to every entry.
struct sage_instance {
  sage_answer answer{};
  sage_status ask_status = SAGE_OK, plan_status = SAGE_OK, run_status = SAGE_OK;
  uint64_t plan_workspace = 0;
  bool throws = false, overrun_answer = false, no_plan = false;
  bool refuse_flash = false, refuse_blocks = false;  // NO to an op that wishes for them
  uint64_t run_writes = 0;                           // bytes written into the workspace
  int asked = 0, plans = 0, runs = 0, destroyed = 0;
  uint32_t last_requirements = 0;
};
struct sage_plan {
  sage_instance* of;
};

namespace sage::test {

// A toy's instance is the test's own object: create finds it in the options line, "at=<address>".
struct Toy : sage_instance {
  explicit Toy(double cost_ns = 1000) { SayYes(cost_ns); }
  void SayYes(double cost_ns, uint32_t accuracy = SAGE_ACCURACY_EXACT) {
    answer = {};
    answer.struct_size = sizeof answer;
    answer.verdict = SAGE_YES;
    answer.cost_ns = cost_ns;
    answer.cost_source = SAGE_COST_RULE;
    answer.accuracy = accuracy;
    std::strcpy(answer.reason, "it can");
  }
  void SayNo(const char* reason) { sage_refuse(&answer, 0, "%s", reason); }
  std::string Options() const { return "at=" + std::to_string(reinterpret_cast<uintptr_t>(this)); }
};

inline sage_plugin ToyTable(const char* name) {
  sage_plugin table{};
  table.struct_size = sizeof table;
  table.abi_major = SAGE_ABI_MAJOR;
  table.name = name;
  table.version = "1.0.0";
  table.build = "test";
  table.kinds = ~uint64_t{0};
  table.features = ~uint64_t{0};
  table.device_type = SAGE_CPU;
  table.probe = [](const sage_host*, int32_t, uint32_t* count, sage_answer* out, sage_error*) -> sage_status {
    *count = 1;
    out->verdict = SAGE_YES;
    std::strcpy(out->reason, "always");
    return SAGE_OK;
  };
  table.create = [](const sage_host*, int32_t, const char* options, sage_instance** out,
                    sage_error* err) -> sage_status {
    if (options == nullptr || std::strncmp(options, "at=", 3) != 0)
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "at=<address> is expected");
    *out = static_cast<Toy*>(reinterpret_cast<sage_instance*>(std::stoull(options + 3)));
    return SAGE_OK;
  };
  table.destroy = [](sage_instance* instance) { ++instance->destroyed; };
  table.ask = [](sage_instance* instance, const sage_op* op, sage_answer* out, sage_error* err) -> sage_status {
    ++instance->asked;
    instance->last_requirements = op->requirements;
    if (instance->throws) throw 1;
    const auto* attributes = static_cast<const sage_attention_attributes*>(op->attributes);
    if (op->kind == SAGE_OP_ATTENTION && attributes != nullptr) {
      if (instance->refuse_flash && attributes->algorithm == SAGE_ALGORITHM_FLASH) {
        sage_refuse(out, 0, "has no flash");
        return SAGE_OK;
      }
      if (instance->refuse_blocks && (attributes->block_q != 0 || attributes->block_kv != 0)) {
        sage_refuse(out, 0, "has no tiles");
        return SAGE_OK;
      }
    }
    std::memcpy(out, &instance->answer, sizeof(sage_answer) + (instance->overrun_answer ? 8 : 0));
    if (instance->ask_status != SAGE_OK) return sage_fail(err, instance->ask_status, "the question was too hard");
    return SAGE_OK;
  };
  table.plan = [](sage_instance* instance, const sage_op*, const sage_plan*, sage_plan** out, sage_plan_info* info,
                  sage_error* err) -> sage_status {
    if (instance->throws) throw 1;
    if (instance->plan_status != SAGE_OK) return sage_fail(err, instance->plan_status, "no plan today");
    info->workspace_bytes = instance->plan_workspace;
    info->prepack_bytes = 0;
    if (!instance->no_plan) *out = new sage_plan{instance}, ++instance->plans;
    return SAGE_OK;
  };
  table.plan_destroy = [](sage_plan* plan) {
    --plan->of->plans;
    delete plan;
  };
  table.run = [](const sage_plan* plan, const sage_run_args* args, sage_error* err) -> sage_status {
    ++plan->of->runs;
    if (plan->of->throws) throw 1;
    if (plan->of->run_writes > 0) std::memset(args->workspace, 0, plan->of->run_writes);
    if (plan->of->run_status != SAGE_OK) return sage_fail(err, plan->of->run_status, "stumbled");
    return SAGE_OK;
  };
  return table;
}

}  // namespace sage::test

#endif  // SAGE_TESTS_SUPPORT_TOY_TABLE_H_
