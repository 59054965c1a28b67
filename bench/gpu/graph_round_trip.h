// graph_round_trip.h: a whole model's answer, from numbers on the CPU to numbers on the CPU, by a session with
// graph_capture=on.
#ifndef SAGE_BENCH_GPU_GRAPH_ROUND_TRIP_H_
#define SAGE_BENCH_GPU_GRAPH_ROUND_TRIP_H_

#include <nlohmann/json.hpp>

#include "device.h"
#include "sage_arms.h"

namespace sage::bench {

// order: {"model": JSON file, "folder": of its weights, "options": {session's}, "input": [numbers], "warmup",
// "samples"}. The model has one f32 input and two outputs, f32 and i32. Result:
//   {"host_ns": [set input, run, get outputs], "device_ns": [a run on a lent stream, by events] or "device_missing":
//   why,
//    "values", "indices", "nodes": {name: backend}, "counters": of the trace}
Result<nlohmann::ordered_json> MeasureGraph(Device& device, Engines& engines, const nlohmann::json& order);

}  // namespace sage::bench

#endif  // SAGE_BENCH_GPU_GRAPH_ROUND_TRIP_H_
