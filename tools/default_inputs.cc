// default_inputs.cc: see the header. What no flag says is read from the model's text form.
#include "default_inputs.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "exit_code.h"
#include "tensor_argument.h"

namespace sage::tool {
namespace {

using Json = nlohmann::json;

constexpr int64_t kLongest = 256;

std::string Lower(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(),
                 [](unsigned char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; });
  return text;
}

// The tensors that hold scales: "scale_x" and the like of LINEAR, "quant_q": {"scale"} and the like of Attention.
std::set<std::string> ScalesOf(const Json& graph) {
  std::set<std::string> scales;
  for (const Json& node : graph.value("nodes", Json::array())) {
    const Json op = node.value("op", Json::object());
    for (const auto& [key, value] : op.items()) {
      if (key.starts_with("scale_") && value.is_string()) scales.insert(value.get<std::string>());
      if (key.starts_with("quant_") && value.is_object()) scales.insert(value.value("scale", ""));
    }
  }
  return scales;
}

std::string ContentFor(const std::string& name, const std::string& dtype, bool scale, size_t seed) {
  if (scale) return "value=0.01";
  if (dtype == "bool") return "value=1";
  if (dtype == "i8") return fmt::format("random,seed={},times=127", seed);
  if (dtype == "i16") return fmt::format("random,seed={},times=32767", seed);
  if (dtype.starts_with("f") || dtype == "bf16") return fmt::format("random,seed={}", seed);
  throw Failure(kExitUsage, fmt::format("input \"{}\" is {}: lengths and indices cannot be made up; give them, as in "
                                        "--input {}=@file.npy or --input {}=2x{}:value=64",
                                        name, dtype, name, name, dtype));
}

}  // namespace

std::vector<std::string> WithDefaultInputs(const std::string& model_json, std::span<const std::string> given) {
  std::vector<std::string> all(given.begin(), given.end());
  const Json model = Json::parse(model_json, nullptr, false);
  const Json graph = model.is_object() ? model.value("graph", Json::object()) : Json::object();
  if (!graph.contains("inputs") || !graph.contains("tensors")) return all;
  std::map<std::string, const Json*> tensors;
  for (const Json& tensor : graph["tensors"]) tensors[tensor.value("name", "")] = &tensor;

  std::map<std::string, int64_t> sizes;
  for (const Json& symbol : graph.value("symbols", Json::array()))
    sizes[symbol.value("name", "")] = std::min<int64_t>(symbol.value("max", kLongest), kLongest);
  std::set<std::string> done;
  for (const std::string& argument : given) {
    const NamedTensor input = ParseTensorArgument(argument);
    done.insert(input.name);
    const auto declared = tensors.find(input.name);
    if (declared == tensors.end()) continue;  // SetInputs says so
    const Json dims = declared->second->value("shape", Json::array());
    for (size_t axis = 0; axis < std::min(dims.size(), input.tensor.shape.size()); ++axis)
      if (dims[axis].contains("symbol")) sizes[dims[axis].value("symbol", "")] = input.tensor.shape[axis];
  }

  const std::set<std::string> scales = ScalesOf(graph);
  for (size_t i = 0; i < graph["inputs"].size(); ++i) {
    const std::string name = graph["inputs"][i].get<std::string>();
    const auto declared = tensors.find(name);
    if (done.contains(name) || declared == tensors.end()) continue;
    const std::string dtype = Lower(declared->second->value("dtype", "F32"));
    std::string shape;
    for (const Json& dim : declared->second->value("shape", Json::array()))
      shape +=
          fmt::format("{}x", dim.contains("symbol") ? sizes[dim.value("symbol", "")] : dim.value("size", int64_t{0}));
    all.push_back(fmt::format("{}={}{}:{}", name, shape, dtype, ContentFor(name, dtype, scales.contains(name), i + 1)));
  }
  return all;
}

}  // namespace sage::tool
