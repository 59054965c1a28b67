// io.cc: see io.h.
#include "io.h"

#include <fmt/format.h>

#include <vector>

#include "common.h"

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
