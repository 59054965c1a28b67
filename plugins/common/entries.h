// entries.h: the entries of the table, once for every backend written in C++.
//
// A backend gives two functions, Probe and Create, and the lines of the table that name it; CpuTable sets the rest, or,
// for a backend of another device, DeviceTable:
//
//   constexpr sage_plugin kTable = sage::plugins::CpuTable<Probe, Create>({.name = "cpu", .version = ..., ...});
//
// sage_instance and sage_plan are defined in entries.cc, for all backends alike: two definitions in one program, where
// backends are linked in, would be one name for two things.
#ifndef SAGE_PLUGINS_COMMON_ENTRIES_H_
#define SAGE_PLUGINS_COMMON_ENTRIES_H_

#include <memory>

#include "common/backend.h"

namespace sage::plugins {

// Can it run on this machine? Fills *answer. Cheap, keeps nothing.
using ProbeFn = void (*)(sage_answer* answer);
// options: "key=value" lines, never null. On failure err has the sentence. host outlives the backend.
using CreateFn = sage_status (*)(const sage_host& host, const char* options, std::unique_ptr<Backend>* out,
                                 sage_error* err);

// The same for a backend of devices. count: how many of them there are, set in any case.
using ProbeDeviceFn = void (*)(int32_t device_id, uint32_t* count, sage_answer* answer);
using CreateOnDeviceFn = sage_status (*)(const sage_host& host, int32_t device_id, const char* options,
                                         std::unique_ptr<Backend>* out, sage_error* err);

// The entries, as sage/plugin.h has them; probe and create for the one CPU, whose id is 0, or for devices.
sage_status ProbeCpu(ProbeFn probe, int32_t device_id, uint32_t* count, sage_answer* out, sage_error* err);
sage_status CreateOnCpu(CreateFn create, const sage_host* host, int32_t device_id, const char* options,
                        sage_instance** out, sage_error* err);
sage_status ProbeDevice(ProbeDeviceFn probe, int32_t device_id, uint32_t* count, sage_answer* out, sage_error* err);
sage_status CreateOnDevice(CreateOnDeviceFn create, const sage_host* host, int32_t device_id, const char* options,
                           sage_instance** out, sage_error* err);
void Destroy(sage_instance* instance);
sage_status DeviceOf(sage_instance* instance, const sage_device_table** out, sage_error* err);
sage_status Ask(sage_instance* instance, const sage_op* op, sage_answer* out, sage_error* err);
sage_status MakePlan(sage_instance* instance, const sage_op* op, const sage_plan* like, sage_plan** out,
                     sage_plan_info* info, sage_error* err);
void DestroyPlan(sage_plan* plan);
sage_status Run(const sage_plan* plan, const sage_run_args* args, sage_error* err);

// For a Create without options: an error where there are any. name opens the sentence: "openblas".
sage_status ExpectNoOptions(const char* name, const char* options, sage_error* err);

// True where *answer has become NO: a stream, memory of a device, or a requirement that is newer than this build.
bool RefuseOffCpu(const OpView& view, sage_answer* answer);

// What is the same in every table.
constexpr sage_plugin CommonTable(sage_plugin table) {
  table.struct_size = static_cast<uint32_t>(sizeof table);
  table.abi_major = SAGE_ABI_MAJOR;
  table.abi_minor = SAGE_ABI_MINOR;
  table.abi_minor_min = 0;
  table.destroy = Destroy;
  table.ask = Ask;
  table.plan = MakePlan;
  table.plan_destroy = DestroyPlan;
  table.run = Run;
  return table;
}

// table: name, version, build, kinds and, where there are any, foreign_threads and features.
template <ProbeFn kProbe, CreateFn kCreate>
constexpr sage_plugin CpuTable(sage_plugin table) {
  table = CommonTable(table);
  table.device_type = SAGE_CPU;
  table.probe = [](const sage_host*, int32_t device_id, uint32_t* count, sage_answer* out, sage_error* err) {
    return ProbeCpu(kProbe, device_id, count, out, err);
  };
  table.create = [](const sage_host* host, int32_t device_id, const char* options, sage_instance** out,
                    sage_error* err) { return CreateOnCpu(kCreate, host, device_id, options, out, err); };
  return table;
}

// table: as for CpuTable, and device_type.
template <ProbeDeviceFn kProbe, CreateOnDeviceFn kCreate>
constexpr sage_plugin DeviceTable(sage_plugin table) {
  table = CommonTable(table);
  table.probe = [](const sage_host*, int32_t device_id, uint32_t* count, sage_answer* out, sage_error* err) {
    return ProbeDevice(kProbe, device_id, count, out, err);
  };
  table.create = [](const sage_host* host, int32_t device_id, const char* options, sage_instance** out,
                    sage_error* err) { return CreateOnDevice(kCreate, host, device_id, options, out, err); };
  table.device = DeviceOf;
  return table;
}

// What the query answers: one table for every minor of its major.
inline const sage_plugin* TableFor(const sage_plugin& table, uint32_t host_major, uint32_t) {
  return host_major == table.abi_major ? &table : nullptr;
}

}  // namespace sage::plugins

#endif  // SAGE_PLUGINS_COMMON_ENTRIES_H_
