// session_border.cc: what comes in and goes out: checks of shapes and layouts, and the session's own buffers.
#include <fmt/format.h>

#include <cstring>

#include "run/extent.h"
#include "run/session_impl.h"
#include "sage/support/check_op.h"

namespace sage {
namespace {

std::string DimText(const Graph& graph, const Dim& dim) {
  if (dim.symbol == kNone) return std::to_string(dim.size);
  const Symbol& symbol = graph.symbols[static_cast<size_t>(dim.symbol)];
  return fmt::format("{} (0 to {})", symbol.name, symbol.max);
}

std::string ShapeText(std::span<const int64_t> shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

std::string DeclaredText(const Graph& graph, std::span<const Dim> dims) {
  std::vector<std::string> texts;
  for (const Dim& dim : dims) texts.push_back(DimText(graph, dim));
  return fmt::format("[{}]", fmt::join(texts, ", "));
}

// A tensor from outside is one whose elements can be addressed at all.
Status CheckOutside(const sage_tensor& tensor, const std::string& what) {
  if (tensor.device_type != SAGE_CPU && tensor.device_type != SAGE_CUDA_HOST) {
    return Status(
        SAGE_E_UNSUPPORTED,
        fmt::format("{}: memory of device type {} was bound; a session's inputs and outputs lie in the CPU's (device "
                    "type {}, or {} where it is page-locked): copy it first",
                    what, tensor.device_type, SAGE_CPU, SAGE_CUDA_HOST));
  }
  if ((tensor.flags & ~SAGE_TENSOR_READ_ONLY) != 0) {
    return Status(SAGE_E_INVALID_ARGUMENT,
                  fmt::format("{}: flags {} were given, a bound tensor has SAGE_TENSOR_READ_ONLY (2) or none", what,
                              tensor.flags));
  }
  Extent extent;
  if (!ExtentOf(tensor, &extent)) {
    return Status(SAGE_E_INVALID_ARGUMENT, fmt::format("{}: its strides reach beyond the address space", what));
  }
  return {};
}

}  // namespace

std::string Session::Impl::InputName(uint32_t index) const {
  return fmt::format("input {} \"{}\"", index, TensorOf(graph->inputs[index]).name);
}

std::string Session::Impl::OutputName(uint32_t index) const {
  return fmt::format("output {} \"{}\"", index, TensorOf(graph->outputs[index]).name);
}

Status Session::Impl::CheckInput(uint32_t index, sage_dtype dtype, std::span<const int64_t> shape) const {
  if (index >= inputs.size()) {
    return Status(SAGE_E_NOT_FOUND, fmt::format("input {} was given, the model has {}", index, inputs.size()));
  }
  const GraphTensor& tensor = TensorOf(graph->inputs[index]);
  if (dtype != *tensor.dtype) {
    return Status(SAGE_E_INVALID_ARGUMENT, fmt::format("{}: {} was given, the model wants {}", InputName(index),
                                                       support::DtypeName(dtype), support::DtypeName(*tensor.dtype)));
  }
  bool fits = shape.size() == tensor.shape->size();
  for (size_t i = 0; fits && i < shape.size(); ++i) {
    const Dim& dim = (*tensor.shape)[i];
    fits = dim.symbol == kNone ? shape[i] == dim.size
                               : shape[i] >= 0 && shape[i] <= graph->symbols[static_cast<size_t>(dim.symbol)].max;
  }
  if (!fits) {
    return Status(SAGE_E_INVALID_ARGUMENT, fmt::format("{}: shape {} was given, the model wants {}", InputName(index),
                                                       ShapeText(shape), DeclaredText(*graph, *tensor.shape)));
  }
  return {};
}

Status Session::Impl::ReserveInput(uint32_t index, std::span<const int64_t> shape, bool* moved) {
  InputState& input = inputs[index];
  if (on_devices) SAGE_RETURN_IF_ERROR(AwaitDevices());  // a lent stream may still read what is about to be written
  SAGE_ASSIGN_OR_RETURN(const int64_t count, ElementCount(shape));
  const sage_dtype dtype = *TensorOf(graph->inputs[index]).dtype;
  uint64_t bytes = 0;
  if (__builtin_mul_overflow(static_cast<uint64_t>(count), support::DtypeSize(dtype), &bytes)) {
    return Status(SAGE_E_OUT_OF_MEMORY, InputName(index) + ": larger than 2^64 bytes");
  }
  const bool same = input.set && !input.bound && input.own.data() != nullptr &&
                    std::equal(shape.begin(), shape.end(), input.tensor.shape);
  *moved = !same;
  if (input.set) GiveUp(input.tensor);
  if (same) return {};
  if (bytes > input.own.bytes()) {
    input.set = input.bound = false;  // whatever happens next, the old contents are gone
    dirty = true;
    // Doubling, so that a sequence that grows by one each run settles; never beyond what the model can use.
    const Status grown = input.own.Reserve(std::max(bytes, std::min(2 * input.own.bytes(), 2 * bytes)));
    if (!grown.ok()) return grown.At(InputName(index));
  }
  sage_tensor_init(&input.tensor, dtype, static_cast<uint32_t>(shape.size()), shape.data(), input.own.data());
  input.set = true, input.bound = false;
  dirty = true;
  return {};
}

Status Session::Impl::BindInput(uint32_t index, const sage_tensor& tensor) {
  SAGE_RETURN_IF_ERROR(CheckInput(index, tensor.dtype, {tensor.shape, tensor.rank}));
  SAGE_RETURN_IF_ERROR(CheckOutside(tensor, InputName(index)));
  if ((tensor.flags & SAGE_TENSOR_READ_ONLY) != 0 && inputs[index].writer != nullptr) {
    return Status(SAGE_E_INVALID_ARGUMENT,
                  fmt::format("{}: the memory given is read-only, and node \"{}\" appends to it", InputName(index),
                              inputs[index].writer->name));
  }
  if (inputs[index].set) GiveUp(inputs[index].tensor);
  inputs[index].tensor = tensor;
  inputs[index].tensor.flags = 0;
  inputs[index].tensor.device_type = SAGE_CPU;
  inputs[index].locked = tensor.device_type == SAGE_CUDA_HOST;
  inputs[index].set = inputs[index].bound = true;
  dirty = true;
  return {};
}

Status Session::Impl::BindOutput(uint32_t index, const sage_tensor& tensor) {
  if (index >= outputs.size()) {
    return Status(SAGE_E_NOT_FOUND, fmt::format("output {} was given, the model has {}", index, outputs.size()));
  }
  SAGE_RETURN_IF_ERROR(CheckOutside(tensor, OutputName(index)));
  if (tensor.flags != 0) {
    return Status(SAGE_E_INVALID_ARGUMENT, OutputName(index) + ": is written, and the memory given is read-only");
  }
  const auto planned = static_cast<size_t>(graph->outputs[index]);
  // Symbols do not change a tensor's dtype or rank.
  const sage_tensor& description = current->tensors[planned].description;
  if (tensor.dtype != description.dtype || tensor.rank != description.rank) {
    return Status(SAGE_E_INVALID_ARGUMENT, fmt::format("{}: {} of rank {} was bound, it is {} of rank {}",
                                                       OutputName(index), support::DtypeName(tensor.dtype), tensor.rank,
                                                       support::DtypeName(description.dtype), description.rank));
  }
  for (uint32_t i = 0; i < tensor.rank; ++i) {
    if (tensor.stride[i] == 0 && tensor.shape[i] > 1) {
      return Status(SAGE_E_INVALID_ARGUMENT,
                    fmt::format("{}: stride 0 on axis {} of length {}: an output's elements must not share memory",
                                OutputName(index), i, tensor.shape[i]));
    }
  }
  if (outputs[index].bound) GiveUp(outputs[index].caller);
  outputs[index].stale = true;
  outputs[index].caller = tensor;
  outputs[index].caller.device_type = SAGE_CPU;
  outputs[index].locked = tensor.device_type == SAGE_CUDA_HOST;
  outputs[index].bound = true;
  dirty = true;
  return {};
}

void Session::Impl::GiveUp(const sage_tensor& memory) {
  for (OutputState& output : outputs) output.stale |= ran && MayOverlap(output.result, memory);
}

// What is written in place, an output or a cache, must not lie where something else is read.
Status Session::Impl::CheckOverlaps() const {
  for (uint32_t i = 0; i < outputs.size(); ++i) {
    const auto tensor = static_cast<size_t>(graph->outputs[i]);
    if (!outputs[i].bound) continue;
    sage_tensor written = outputs[i].caller;
    std::copy(std::begin(actual[tensor].shape), std::end(actual[tensor].shape), written.shape);
    for (uint32_t j = 0; j < inputs.size(); ++j) {
      const bool itself = graph->inputs[j] == graph->outputs[i] && inputs[j].tensor.data == written.data;
      if (!itself && inputs[j].set && MayOverlap(written, inputs[j].tensor)) {
        return Status(SAGE_E_INVALID_ARGUMENT,
                      fmt::format("{} and {} overlap in memory; bind them apart", OutputName(i), InputName(j)));
      }
    }
    for (uint32_t j = 0; j < i; ++j) {
      if (!outputs[j].bound) continue;
      sage_tensor other = outputs[j].caller;
      const auto other_tensor = static_cast<size_t>(graph->outputs[j]);
      std::copy(std::begin(actual[other_tensor].shape), std::end(actual[other_tensor].shape), other.shape);
      if (MayOverlap(written, other)) {
        return Status(SAGE_E_INVALID_ARGUMENT,
                      fmt::format("{} and {} overlap in memory; bind them apart", OutputName(j), OutputName(i)));
      }
    }
  }
  for (uint32_t i = 0; i < inputs.size(); ++i) {
    Extent written;
    if (inputs[i].writer == nullptr || !inputs[i].bound || !ExtentOf(inputs[i].tensor, &written)) continue;
    for (uint32_t j = 0; j < inputs.size(); ++j) {
      Extent read;
      if (j == i || !inputs[j].bound || !ExtentOf(inputs[j].tensor, &read)) continue;
      if (SurelyOverlap(inputs[i].tensor, written, inputs[j].tensor, read)) {
        return Status(
            SAGE_E_INVALID_ARGUMENT,
            fmt::format("{} is appended to and overlaps {} in memory; bind them apart", InputName(i), InputName(j)));
      }
    }
  }
  return {};
}

}  // namespace sage
