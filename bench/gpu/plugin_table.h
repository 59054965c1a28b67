// plugin_table.h: a plugin asked directly, without the engine: whether it can run here, and one op of its on the
// device. For what libsage has no one-shot call for: the roofline's LINEAR.
#ifndef SAGE_BENCH_GPU_PLUGIN_TABLE_H_
#define SAGE_BENCH_GPU_PLUGIN_TABLE_H_

#include <nlohmann/json.hpp>
#include <string>

#include "device.h"
#include "problem_sets.h"
#include "sage/plugin.h"

namespace sage::bench {

// Opened once and never closed. SAGE_E_NOT_FOUND with the loader's words.
Result<const sage_plugin*> LoadPlugin(const std::string& path);
// What probe says where it says yes; its sentence as the error where it says no.
Result<std::string> Probe(const sage_plugin& plugin);

// A GiB (less on a small device) copied within the device, and one GEMM of bf16 by the plugin's LINEAR:
//   order: {"copy_bytes", "pool": file, "linear": problem, "starts": {"x", "w"}, "rows", "columns", "warmup",
//   "samples"}
//   {"copy": {"bytes": moved by a copy, read and written, "samples_ns"},
//    "linear": {"path", "samples_ns", "values": the first `columns` of those rows of Y} or {"missing": why}}
Result<nlohmann::ordered_json> MeasureRoofline(Device& device, const sage_plugin& plugin, const nlohmann::json& order);

}  // namespace sage::bench

#endif  // SAGE_BENCH_GPU_PLUGIN_TABLE_H_
