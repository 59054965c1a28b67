// graph_builder.h: op graphs by hand, for tests of the session.
#ifndef SAGE_TESTS_ENGINE_RUN_GRAPH_BUILDER_H_
#define SAGE_TESTS_ENGINE_RUN_GRAPH_BUILDER_H_

#include <cstring>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "engine.h"
#include "model/graph.h"
#include "run/session.h"

namespace sage::test {

inline Dim Fixed(int64_t size) { return {size, kNone}; }

class GraphBuilder {
 public:
  Dim Symbol(const std::string& name, int64_t max) {
    graph_->symbols.push_back({name, max});
    return {0, static_cast<int32_t>(graph_->symbols.size()) - 1};
  }
  int32_t Input(const std::string& name, sage_dtype dtype, std::vector<Dim> shape) {
    const int32_t tensor = Add(name);
    graph_->tensors.back().dtype = dtype;
    graph_->tensors.back().shape = std::move(shape);
    graph_->inputs.push_back(tensor);
    return tensor;
  }
  int32_t Constant(const std::string& name, std::vector<Dim> shape, const std::vector<float>& values) {
    const int32_t tensor = Add(name);
    auto bytes = std::make_shared<std::vector<float>>(values);
    graph_->tensors.back().dtype = SAGE_F32;
    graph_->tensors.back().shape = std::move(shape);
    graph_->tensors.back().constant = sage::Constant{bytes->data(), bytes->size() * sizeof(float), bytes};
    return tensor;
  }
  int32_t Unary(const std::string& name, int32_t x, uint32_t function = SAGE_FN_RELU) {
    sage_unary_attributes attributes{sizeof(sage_unary_attributes), function, 1.0};
    return Put(name, SAGE_OP_UNARY, {x}, attributes);
  }
  int32_t Binary(const std::string& name, int32_t a, int32_t b, uint32_t function = SAGE_BINARY_ADD) {
    return Put(name, SAGE_OP_BINARY, {a, b}, sage_binary_attributes{sizeof(sage_binary_attributes), function});
  }
  int32_t Linear(const std::string& name, int32_t x, int32_t w) {
    const int32_t y = Add(name + ".out");
    Node(name, SAGE_OP_LINEAR, {x, w, kNone, y, kNone, kNone},
         sage_linear_attributes{sizeof(sage_linear_attributes), 0});
    return y;
  }
  int32_t Reshape(const std::string& name, int32_t x, std::vector<Dim> shape) {
    return Put(name, kKindReshape, {x}, ReshapeNode{std::move(shape)});
  }
  int32_t Permute(const std::string& name, int32_t x, const std::vector<int32_t>& axes) {
    sage_permute_attributes attributes{};
    attributes.struct_size = sizeof attributes;
    for (size_t i = 0; i < axes.size(); ++i) attributes.axes[i] = axes[i];
    return Put(name, SAGE_OP_PERMUTE, {x}, attributes);
  }
  int32_t Concat(const std::string& name, const std::vector<int32_t>& inputs, int32_t axis) {
    const int32_t y = Add(name + ".out");
    std::vector<int32_t> slots = {y};
    slots.insert(slots.end(), inputs.begin(), inputs.end());
    Node(name, SAGE_OP_CONCAT, slots, sage_concat_attributes{sizeof(sage_concat_attributes), axis});
    return y;
  }
  // [B,H,S,D] unless the attributes say otherwise; extra: (slot, tensor).
  int32_t Attention(const std::string& name, int32_t q, int32_t k, int32_t v, AttentionNode attributes = {},
                    const std::vector<std::pair<uint32_t, int32_t>>& extra = {}) {
    const int32_t y = Add(name + ".out");
    std::vector<int32_t> slots(SAGE_ATTN_NUM_SLOTS, kNone);
    slots[SAGE_ATTN_Q] = q, slots[SAGE_ATTN_K] = k, slots[SAGE_ATTN_V] = v, slots[SAGE_ATTN_O] = y;
    for (const auto& [slot, tensor] : extra) slots[slot] = tensor;
    attributes.attributes.struct_size = sizeof attributes.attributes;
    Node(name, SAGE_OP_ATTENTION, slots, attributes);
    return y;
  }
  int32_t Add(const std::string& name) {
    graph_->tensors.push_back({name, {}, {}, {}});
    return static_cast<int32_t>(graph_->tensors.size()) - 1;
  }
  void Output(int32_t tensor) { graph_->outputs.push_back(tensor); }
  sage::Node& last_node() { return graph_->nodes.back(); }
  Graph& graph() { return *graph_; }
  std::shared_ptr<const Graph> Share() const { return graph_; }

 private:
  int32_t Put(const std::string& name, uint32_t kind, std::vector<int32_t> slots, NodeAttributes attributes) {
    const int32_t y = Add(name + ".out");
    slots.push_back(y);
    Node(name, kind, slots, std::move(attributes));
    return y;
  }
  void Node(const std::string& name, uint32_t kind, const std::vector<int32_t>& slots, NodeAttributes attributes) {
    sage::Node node;
    node.name = name, node.kind = kind, node.slots = slots, node.attributes = std::move(attributes);
    graph_->nodes.push_back(std::move(node));
  }
  std::shared_ptr<Graph> graph_ = std::make_shared<Graph>();
};

inline std::vector<float> Random(size_t count, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(generator);
  return values;
}

inline Status Set(Session& session, uint32_t index, std::vector<int64_t> shape, const std::vector<float>& values) {
  return session.SetInput(index, SAGE_F32, shape, values.data(), values.size() * sizeof(float));
}

// A float output, row-major.
inline std::vector<float> Get(const Session& session, uint32_t index) {
  const Result<sage_tensor> output = session.Output(index);
  if (!output.ok()) return {};
  size_t count = 1;
  for (uint32_t i = 0; i < output->rank; ++i) count *= static_cast<size_t>(output->shape[i]);
  std::vector<float> values(count);
  const Status status = session.GetOutput(index, values.data(), count * sizeof(float));
  return status.ok() ? values : std::vector<float>{};
}

// `reference` only: no folder is searched.
inline std::shared_ptr<Engine> PlainEngine(std::vector<std::pair<std::string, std::string>> more = {}) {
  Options options;
  options.values["plugin_environment"] = "false";
  options.values["plugin_folders"] = "false";
  options.values["log_level"] = "error";
  for (auto& [key, value] : more) options.values[key] = value;
  return *Engine::Create(options);
}

}  // namespace sage::test

#endif  // SAGE_TESTS_ENGINE_RUN_GRAPH_BUILDER_H_
