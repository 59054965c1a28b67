// shapes.h: every tensor's type and shape once the symbols have numbers, and how a node becomes the ABI's op.
#ifndef SAGE_ENGINE_MODEL_SHAPES_H_
#define SAGE_ENGINE_MODEL_SHAPES_H_

#include <span>
#include <string>
#include <vector>

#include "model/graph.h"
#include "model/model.h"
#include "status.h"

namespace sage {

// Infers all tensors of a graph that CheckGraph has passed, for the given symbol values (one a symbol, 0 <= value <=
// max). Appends an error with its path for every contradiction and goes on where it can; returns false if there was
// one. Products are checked. *out has one entry a tensor; its capacity is reused, so a second call of the same graph
// allocates nothing.
bool InferShapes(const Graph& graph, std::span<const int64_t> symbols, std::vector<BoundTensor>* out,
                 std::vector<ModelError>* errors);

// One ABI op made from a node and its tensors. Owns what sage_op points to; not movable.
struct BuiltOp {
  sage_op op{};
  std::vector<sage_tensor> tensors;            // by ABI slot
  std::vector<const sage_tensor*> slots;       // null where absent
  alignas(8) unsigned char attributes[256]{};  // the kind's struct
  BuiltOp() = default;
  BuiltOp(const BuiltOp&) = delete;
  BuiltOp& operator=(const BuiltOp&) = delete;
};

// tensors[i] describes graph tensor i as it lies in memory (dtype, shape, strides, data, CONSTANT flag). Layouts,
// transposes and broadcasts become strides here, negative axes become positive. dynamic_axes: SAGE_AXIS_* to allow.
// Not for Reshape. A second call with the same BuiltOp allocates nothing.
Status BuildOp(const Node& node, std::span<const sage_tensor> tensors, uint32_t dynamic_axes, BuiltOp* out);

// Which SAGE_AXIS_* of the node depend on a symbol, and which symbols appear at an axis that may not be dynamic there
// (those must be planned at their exact size). shapes: as inferred at the maxima.
struct DynamicAxes {
  uint32_t axes = 0;
  uint64_t exact_symbols = 0;
};
DynamicAxes FindDynamicAxes(const Graph& graph, const Node& node, std::span<const BoundTensor> shapes);

// Row-major strides in elements.
void FillRowMajor(sage_tensor* tensor);
// Elements, or an error when the product overflows int64 or a size is negative.
Result<int64_t> ElementCount(std::span<const int64_t> shape);

}  // namespace sage

#endif  // SAGE_ENGINE_MODEL_SHAPES_H_
