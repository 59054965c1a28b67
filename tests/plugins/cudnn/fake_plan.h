// fake_plan.h: an execution plan of the fake cuDNN, and its text: what a cache on disk keeps and another process loads.
#ifndef SAGE_TESTS_PLUGINS_CUDNN_FAKE_PLAN_H_
#define SAGE_TESTS_PLUGINS_CUDNN_FAKE_PLAN_H_

#include <memory>
#include <string>

#include "fake_cudnn.h"
#include "fake_graph.h"

namespace sage::cudnn::fake {

struct Plan {
  std::shared_ptr<const Graph> graph;
  Engine engine;
  std::string json;
};

// Decides as State has it: the engine's own status, then the judge. Thread-safe.
Answer MakePlan(const std::shared_ptr<const Graph>& graph, const Engine& engine, const std::string& device,
                std::shared_ptr<const Plan>* out);

// A plan from the text of one that this process made, which stands for one that any process made: texts of another
// version (kSerializationVersion), of another device (kWrongArchitecture) or that are damaged are refused. Thread-safe.
Answer LoadPlan(const std::string& json, const std::string& device, std::shared_ptr<const Plan>* out);

// The text of a device and back.
std::string DeviceJson(const std::string& device);
Answer ReadDeviceJson(const std::string& json, std::string* device);

}  // namespace sage::cudnn::fake

#endif  // SAGE_TESTS_PLUGINS_CUDNN_FAKE_PLAN_H_
