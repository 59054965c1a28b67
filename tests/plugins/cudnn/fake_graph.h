// fake_graph.h: an operation graph as the fake cuDNN keeps it once its descriptors are finalized: tensors, operations,
// what must hold of them, and their text. It knows no descriptors and no memory.
#ifndef SAGE_TESTS_PLUGINS_CUDNN_FAKE_GRAPH_H_
#define SAGE_TESTS_PLUGINS_CUDNN_FAKE_GRAPH_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cudnn/api.h"

namespace sage::cudnn::fake {

// Statuses of a finer kind than api.h needs, as the header numbers them.
inline constexpr int kNotInitialized = 1001, kSerializationVersion = 1003, kNullPointer = 2002,
                     kMisalignedPointer = 2003, kNotFinalized = 2004, kOutOfBound = 2005, kSizeInsufficient = 2006,
                     kShapeMismatch = 2008, kDuplicatedEntries = 2009, kWrongAttributeType = 2010,
                     kWrongDescriptorType = 2012, kWrongArchitecture = 3007, kNoNativeGraph = 3013;

// A status and its sentence.
struct Answer {
  int status = kSuccess;
  std::string text;
  bool ok() const { return status == kSuccess; }
};

struct Tensor {
  int64_t uid = 0, alignment = 0;
  int type = kFloat;
  std::vector<int64_t> dims, strides;  // elements; of a ragged tensor the batch's stride is not used
  bool is_virtual = false, by_value = false;
  std::shared_ptr<const Tensor> ragged;  // where each batch begins, in elements: dims[0] + 1 of them

  bool operator==(const Tensor& other) const;
  size_t rank() const { return dims.size(); }
};
using TensorPointer = std::shared_ptr<const Tensor>;

int64_t ElementSize(int type);                           // bytes; 0: none that the fake knows
const char* TypeName(int type);                          // "bf16"
std::string DimsText(const std::vector<int64_t>& dims);  // "(2,4,8,64)"
// Of rank 4, loaded of pages: whether it is (b,h,d,s) rather than (b,h,s,d), which its strides tell.
bool IsTransposedLoad(const Tensor& y);
// About a tensor alone.
Answer CheckTensor(const Tensor& tensor);

// An operation. Its operands lie under the attributes that gave them, kOperationMatmulA and so on.
struct Operation {
  int kind = 0;  // kOperationMatmul, ...
  int mode = 0;  // of POINTWISE and REDUCTION
  int math_type = kFloat;
  int64_t axis = -1;  // of GEN_INDEX; others may have one, which means nothing
  bool pads = false;  // of MATMUL: results past the rows and columns in use are padding_value
  double padding_value = 0;
  std::map<int, TensorPointer> operands;

  const Tensor* At(int attribute) const {
    const auto found = operands.find(attribute);
    return found == operands.end() ? nullptr : found->second.get();
  }
};
// Types and shapes of an operation's operands.
Answer CheckOperation(const Operation& operation);
// Which attributes of an operation of this kind are what it makes.
bool IsOutput(int kind, int attribute);

struct Graph {
  std::vector<Operation> operations;
  std::map<int64_t, TensorPointer> tensors;  // by uid, offsets of ragged ones included
  std::string text;
};
// Fills tensors and text. What operations read is bound memory or was made before; what they make is made once.
// version: the library's, for operations that are younger.
Answer CheckGraph(size_t version, Graph* graph);
std::string TextOf(const Graph& graph);

}  // namespace sage::cudnn::fake

#endif  // SAGE_TESTS_PLUGINS_CUDNN_FAKE_GRAPH_H_
