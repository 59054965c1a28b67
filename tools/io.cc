// io.cc: see io.h.
#include "io.h"

#include <fmt/format.h>

#include <vector>

#include "common.h"
#include "tensor_argument.h"

namespace sage::tool {

uint32_t IndexOf(sage_model* model, uint32_t direction, const std::string& name, const char* flag) {
  std::vector<std::string> names;
  for (uint32_t i = 0; i < sage_model_io_count(model, direction); ++i) {
    const char* own = nullptr;
    Error error;
    Require(sage_model_io_info(model, direction, i, &own, nullptr, nullptr, nullptr, &error), error);
    if (name == own) return i;
    names.emplace_back(own);
  }
  throw Failure(kExitUsage, fmt::format("{} {}: the model has no {} of that name{}. It has: {}", flag, name,
                                        direction == SAGE_INPUT ? "input" : "output", DidYouMean(name, names),
                                        names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "))));
}

uint64_t SetInputs(sage_model* model, sage_session* session, std::span<const std::string> arguments) {
  uint64_t bytes = 0;
  for (const std::string& argument : arguments) {
    const NamedTensor input = ParseTensorArgument(argument);
    const uint32_t index = IndexOf(model, SAGE_INPUT, input.name, "--input");
    Error error;
    Require(
        sage_session_set_input(session, index, input.tensor.dtype, static_cast<uint32_t>(input.tensor.shape.size()),
                               input.tensor.shape.data(), input.tensor.bytes.data(), input.tensor.bytes.size(), &error),
        error, "--input " + input.name);
    bytes += input.tensor.bytes.size();
  }
  return bytes;
}

SessionPtr OpenSession(sage_model* model, const sage_options* options, const std::string& what,
                       std::span<const std::string> inputs) {
  Error error;
  sage_session* raw = nullptr;
  Require(sage_session_create(model, options, &raw, &error), error, what);
  SessionPtr session(raw);
  SetInputs(model, raw, inputs);
  return session;
}

HostTensor GetOutput(sage_session* session, uint32_t index) {
  Error error;
  HostTensor tensor;
  uint32_t rank = 0;
  int64_t shape[SAGE_MAX_RANK] = {};
  uint64_t bytes = 0;
  Require(sage_session_output_info(session, index, &tensor.dtype, &rank, shape, &bytes, &error), error);
  tensor.shape.assign(shape, shape + rank);
  tensor.bytes.resize(bytes);
  Require(sage_session_get_output(session, index, tensor.bytes.data(), bytes, &error), error);
  return tensor;
}

}  // namespace sage::tool
