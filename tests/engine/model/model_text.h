// model_text.h: models written as JSON inside a test, and what the engine says about them.
#ifndef SAGE_TESTS_ENGINE_MODEL_MODEL_TEXT_H_
#define SAGE_TESTS_ENGINE_MODEL_MODEL_TEXT_H_

#include <doctest/doctest.h>

#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "model/model.h"
#include "model/verify.h"
#include "text_form.h"

namespace sage::test {

// An op graph's JSON. Each argument is the inside of the array of that name.
struct GraphText {
  std::string symbols, tensors, nodes, inputs, outputs, head;
  std::string Json() const {
    return "{" + head + "\"graph_type\": \"OpGraph\", \"graph\": {\"symbols\": [" + symbols + "], \"tensors\": [" +
           tensors + "], \"nodes\": [" + nodes + "], \"inputs\": [" + inputs + "], \"outputs\": [" + outputs + "]}}";
  }
};

// {"name": .., "dtype": .., "shape": [..]}; a dimension that starts with a letter is a symbol.
inline std::string TensorText(const std::string& name, const std::string& dtype, const std::vector<std::string>& shape,
                              const std::string& more = "") {
  std::string dims;
  for (const std::string& dim : shape) {
    const bool symbol = !dim.empty() && dim[0] >= 'a';
    dims +=
        (dims.empty() ? "" : ", ") + std::string(symbol ? "{\"symbol\": \"" + dim + "\"}" : "{\"size\": " + dim + "}");
  }
  return "{\"name\": \"" + name + "\", \"dtype\": \"" + dtype + "\", \"shape\": [" + dims + "]" + more + "}";
}

inline std::string NodeText(const std::string& name, const std::string& kind, const std::string& op,
                            const std::string& policy = "") {
  return "{\"name\": \"" + name + "\", \"op_type\": \"" + kind + "\", \"op\": {" + op + "}" +
         (policy.empty() ? "" : ", \"policy\": {" + policy + "}") + "}";
}

inline std::vector<uint8_t> Compile(const std::string& json) {
  auto bytes = ModelToBinary(json);
  if (!bytes.ok()) FAIL(bytes.status().message());
  return *bytes;
}

// The message, or "" when the model is fine.
inline std::string ErrorOf(const std::vector<uint8_t>& bytes, const std::string& folder = "") {
  auto model = Model::LoadBuffer(bytes, folder, {});
  return model.ok() ? "" : model.status().message();
}
inline std::string ErrorOf(const std::string& json, const std::string& folder = "") {
  return ErrorOf(Compile(json), folder);
}

inline std::shared_ptr<const Model> LoadText(const std::string& json, const std::string& folder = "") {
  auto model = Model::LoadBuffer(Compile(json), folder, {});
  if (!model.ok()) FAIL(model.status().message());
  return *model;
}
inline std::shared_ptr<const Graph> LoadGraph(const std::string& json, const std::string& folder = "") {
  return std::get<std::shared_ptr<const Graph>>(LoadText(json, folder)->content());
}

inline std::vector<uint8_t> ReadBytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) FAIL("cannot read " << path);
  return {std::istreambuf_iterator<char>(in), {}};
}
inline std::string ReadText(const std::string& path) {
  const auto bytes = ReadBytes(path);
  return {bytes.begin(), bytes.end()};
}

inline bool Contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
// The message must have the part; when not, the test prints both.
#define CHECK_CONTAINS(text, part)                                                                 \
  do {                                                                                             \
    const std::string text_ = (text), part_ = (part);                                              \
    CHECK_MESSAGE(::sage::test::Contains(text_, part_), "\"", text_, "\" has no \"", part_, "\""); \
  } while (false)

}  // namespace sage::test

#endif  // SAGE_TESTS_ENGINE_MODEL_MODEL_TEXT_H_
