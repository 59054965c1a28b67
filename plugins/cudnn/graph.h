// graph.h: an operation graph of cuDNN while it is written down: tensors and the ops between them, kept alive.
#ifndef SAGE_PLUGINS_CUDNN_GRAPH_H_
#define SAGE_PLUGINS_CUDNN_GRAPH_H_

#include <array>
#include <cstdint>
#include <vector>

#include "descriptor.h"

namespace sage::cudnn {

using Dims = std::array<int64_t, 4>;

// Row-major.
constexpr Dims PackedStrides(const Dims& dims) { return {dims[1] * dims[2] * dims[3], dims[2] * dims[3], dims[3], 1}; }

// After the first error every call does nothing and returns null: Finish tells. Not thread-safe. The library outlives
// it.
class Graph {
 public:
  explicit Graph(const Library& library) : make_(library) {}

  // In device memory, bound by uid when it runs. offsets (optional): where each batch begins, in elements.
  Descriptor Tensor(int64_t uid, DataType type, const Dims& dims, const Dims& strides, Descriptor offsets = nullptr);
  // One number of the CPU, read when it runs.
  Descriptor Value(int64_t uid, DataType type);
  // Between two ops; exists in no memory.
  Descriptor Virtual(DataType type, const Dims& dims) { return Virtual(type, dims, PackedStrides(dims)); }
  Descriptor Virtual(DataType type, const Dims& dims, const Dims& strides);

  // c = a b in f32. Lengths (optional): of each batch, rows of a, columns of b, and terms of the sums that are in use.
  void Matmul(Descriptor a, Descriptor b, Descriptor c, Descriptor rows, Descriptor columns, Descriptor inner);
  // y = mode(x, b), math in `math`. kSelect: x where t, else b. kIndex: the place along axis.
  void Pointwise(PointwiseMode mode, DataType math, Descriptor x, Descriptor b, Descriptor y, Descriptor t = nullptr,
                 int64_t axis = -1);
  void Reduce(ReductionOperator how, Descriptor x, Descriptor y);  // over the axes where y has length 1
  void LoadPages(Descriptor container, Descriptor lengths, Descriptor table, Descriptor y);
  // An op of another kind.
  Object& Op(DescriptorType type);
  void FinishOp(Object& op, const char* doing);

  Maker& make() { return make_; }

  // The graph descriptor, finalized. handle may be null, where a device is described otherwise. Null after an error.
  Descriptor Finish(Handle handle);
  const Failure& failure() const { return make_.failure(); }

 private:
  Descriptor Keep(Object object);
  Descriptor Described(int64_t uid, DataType type, const Dims& dims, const Dims& strides, bool is_virtual,
                       bool by_value, Descriptor offsets);

  Maker make_;
  std::vector<Object> kept_;
  std::vector<Descriptor> ops_;
  int64_t next_virtual_ = 0;
};

}  // namespace sage::cudnn

#endif  // SAGE_PLUGINS_CUDNN_GRAPH_H_
