// plugin_table.cc: the plugin's table, driven as the engine drives it: ask, plan, run.
#include "plugin_table.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "plan/elements.h"
#include "sage/ops.h"
#include "sage/support/check_op.h"
#include "sage_arms.h"
#include "support/run_op.h"

namespace sage::bench {
namespace {

using nlohmann::ordered_json;

constexpr uint32_t kLinearX = 0, kLinearY = 3;  // slots, sage/ops.h

Result<ordered_json> MeasureCopy(Device& device, const nlohmann::json& order, const Pool& pool) {
  SAGE_ASSIGN_OR_RETURN(const ordered_json facts, device.Facts());
  const uint64_t bytes = std::min(order.at("copy_bytes").get<uint64_t>(), facts.at("free_bytes").get<uint64_t>() / 4);
  SAGE_ASSIGN_OR_RETURN(const DeviceMemory from, Take(device, bytes));
  SAGE_ASSIGN_OR_RETURN(const DeviceMemory to, Take(device, bytes));
  SAGE_RETURN_IF_ERROR(FillFromPool(device, pool, 2, 0, from.data(), bytes));
  const Work copy = [&](int64_t) { return device.Copy(to.data(), from.data(), bytes); };
  SAGE_ASSIGN_OR_RETURN(const std::vector<double> times,
                        device.Time(copy, order.at("warmup").get<int64_t>(), order.at("samples").get<int64_t>()));
  return ordered_json{{"bytes", 2 * bytes}, {"samples_ns", times}};
}

Result<ordered_json> MeasureLinear(Device& device, const sage_plugin& plugin, const nlohmann::json& order,
                                   const Pool& pool) {
  SAGE_ASSIGN_OR_RETURN(const auto problem, ParseProblem(order.at("linear").get<std::string>()));
  std::vector<DeviceMemory> memory;
  for (uint32_t slot = 0; slot < problem->pointers.size(); ++slot) {
    if (!problem->Has(slot)) continue;
    sage_tensor& tensor = problem->tensors[slot];
    int64_t begin = 0;
    uint64_t bytes = 0;
    TensorExtent(tensor, &begin, &bytes);
    SAGE_ASSIGN_OR_RETURN(DeviceMemory taken, Take(device, bytes));
    if (slot == kLinearY) {
      SAGE_RETURN_IF_ERROR(device.Fill(taken.data(), 0xFF, bytes));
    } else {
      const char* const name = slot == kLinearX ? "x" : "w";
      SAGE_RETURN_IF_ERROR(FillFromPool(device, pool, support::DtypeSize(tensor.dtype),
                                        order.at("starts").at(name).get<uint64_t>(), taken.data(), bytes));
    }
    tensor.device_type = device.type(), tensor.device_id = 0, tensor.data = taken.data();
    memory.push_back(std::move(taken));
  }
  problem->Link();

  test::TestHost host(1, test::Threads::kSimulated);
  test::Instance instance(&plugin, host);
  if (instance.status() != SAGE_OK) return Status(instance.status(), instance.message());
  sage_answer answer{};
  answer.struct_size = sizeof answer;
  Error error;
  SAGE_RETURN_IF_ERROR(error.Of(plugin.ask(instance.handle(), &problem->op, &answer, &error)));
  if (answer.verdict != SAGE_YES) return Status(SAGE_E_UNSUPPORTED, answer.reason);
  sage_plan* plan = nullptr;
  sage_plan_info info{};
  info.struct_size = sizeof info;
  SAGE_RETURN_IF_ERROR(error.Of(plugin.plan(instance.handle(), &problem->op, nullptr, &plan, &info, &error)));
  const std::unique_ptr<sage_plan, void (*)(sage_plan*)> owner(plan, plugin.plan_destroy);
  SAGE_ASSIGN_OR_RETURN(const DeviceMemory workspace, Take(device, info.workspace_bytes));
  sage_run_args args{};
  args.struct_size = sizeof args;
  args.num_slots = problem->op.num_slots, args.slots = problem->op.slots;
  args.workspace = workspace.data(), args.workspace_bytes = info.workspace_bytes, args.stream = device.stream();
  const Work run = [&](int64_t) { return error.Of(plugin.run(plan, &args, &error)); };
  SAGE_ASSIGN_OR_RETURN(const std::vector<double> times,
                        device.Time(run, order.at("warmup").get<int64_t>(), order.at("samples").get<int64_t>()));

  const sage_tensor& y = problem->tensors[kLinearY];
  const uint64_t size = support::DtypeSize(y.dtype);
  const auto columns = order.at("columns").get<uint64_t>();
  ordered_json values = ordered_json::array();
  std::vector<char> row(columns * size);
  for (const int64_t r : order.at("rows").get<std::vector<int64_t>>()) {
    const char* const from = static_cast<const char*>(y.data) + static_cast<uint64_t>(r * y.stride[0]) * size;
    SAGE_RETURN_IF_ERROR(device.Copy(row.data(), from, row.size()));
    SAGE_RETURN_IF_ERROR(device.Wait());
    ordered_json line = ordered_json::array();
    for (uint64_t c = 0; c < columns; ++c) line.push_back(LoadElement(&row[c * size], y.dtype));
    values.push_back(std::move(line));
  }
  return ordered_json{{"path", answer.reason}, {"samples_ns", times}, {"values", std::move(values)}};
}

}  // namespace

Result<const sage_plugin*> LoadPlugin(const std::string& path) {
  void* const library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) return Status(SAGE_E_NOT_FOUND, dlerror());
  void* const symbol = dlsym(library, SAGE_PLUGIN_QUERY_SYMBOL);
  sage_plugin_query_fn query = nullptr;
  std::memcpy(&query, &symbol, sizeof query);
  const sage_plugin* const table = query == nullptr ? nullptr : query(SAGE_ABI_MAJOR, SAGE_ABI_MINOR);
  if (table == nullptr) return Status(SAGE_E_ABI_MISMATCH, path + ": no plugin for this ABI");
  return table;
}

Result<std::string> Probe(const sage_plugin& plugin) {
  test::TestHost host(1, test::Threads::kSimulated);
  sage_answer answer{};
  answer.struct_size = sizeof answer;
  uint32_t count = 0;
  Error error;
  SAGE_RETURN_IF_ERROR(error.Of(plugin.probe(host.table(), 0, &count, &answer, &error)));
  if (answer.verdict != SAGE_YES) return Status(SAGE_E_UNSUPPORTED, answer.reason);
  return std::string(answer.reason);
}

Result<ordered_json> MeasureRoofline(Device& device, const sage_plugin& plugin, const nlohmann::json& order) {
  SAGE_ASSIGN_OR_RETURN(const Pool pool, LoadPool(device, order.at("pool").get<std::string>()));
  SAGE_ASSIGN_OR_RETURN(ordered_json copy, MeasureCopy(device, order, pool));
  auto linear = MeasureLinear(device, plugin, order, pool);
  return ordered_json{
      {"copy", std::move(copy)},
      {"linear", linear.ok() ? std::move(*linear) : ordered_json{{"missing", linear.status().message()}}}};
}

}  // namespace sage::bench
