// graph_testing.h: graphs written down in a test, through the library's functions alone, so that the fake cuDNN is not
// tested by the plugin's own builder. Statuses are kept: the first that is not kSuccess, with its sentence.
#ifndef SAGE_TESTS_PLUGINS_CUDNN_GRAPH_TESTING_H_
#define SAGE_TESTS_PLUGINS_CUDNN_GRAPH_TESTING_H_

#include <cstdint>
#include <string>
#include <vector>

#include "fake_cudnn.h"

namespace sage::cudnn::fake {

using Dims = std::vector<int64_t>;

inline Dims Packed(const Dims& dims) {
  Dims strides(dims.size());
  int64_t step = 1;
  for (size_t i = dims.size(); i-- > 0;) strides[i] = step, step *= dims[i];
  return strides;
}

class Graphs {
 public:
  explicit Graphs(const Library& library) : library_(library) { Note(library_.Create(&handle_)); }
  Graphs(const Graphs&) = delete;
  Graphs& operator=(const Graphs&) = delete;
  ~Graphs() {
    for (const Descriptor made : made_) (void)library_.BackendDestroyDescriptor(made);
    if (handle_ != nullptr) (void)library_.Destroy(handle_);
  }

  const Library& library() const { return library_; }
  Handle handle() const { return handle_; }
  int status() const { return status_; }
  const std::string& text() const { return text_; }

  Descriptor Make(int type) {
    Descriptor made = nullptr;
    Note(library_.BackendCreateDescriptor(type, &made));
    if (made != nullptr) made_.push_back(made);
    return made;
  }
  template <class T>
  void Set(Descriptor at, int attribute, int type, const std::vector<T>& values) {
    Note(library_.BackendSetAttribute(at, attribute, type, static_cast<int64_t>(values.size()), values.data()));
  }
  void Flag(Descriptor at, int attribute, bool value) {
    Note(library_.BackendSetAttribute(at, attribute, kTypeBoolean, 1, &value));
  }
  void Refer(Descriptor at, int attribute, Descriptor to) {
    if (to != nullptr) Set<Descriptor>(at, attribute, kTypeDescriptor, {to});
  }
  Descriptor Finalize(Descriptor made) {
    Note(library_.BackendFinalize(made));
    return made;
  }

  enum Kind { kBound, kVirtual, kByValue };
  Descriptor Tensor(int64_t uid, int type, const Dims& dims, const Dims& strides, Kind kind = kBound,
                    Descriptor offsets = nullptr) {
    const Descriptor tensor = Make(kTensor);
    Set<int64_t>(tensor, kTensorByteAlignment, kTypeInt64, {8});
    Set<int>(tensor, kTensorDataType, kTypeDataType, {type});
    Set<int64_t>(tensor, kTensorDimensions, kTypeInt64, dims);
    Set<int64_t>(tensor, kTensorStrides, kTypeInt64, strides);
    Set<int64_t>(tensor, kTensorUniqueId, kTypeInt64, {uid});
    Flag(tensor, kTensorIsVirtual, kind == kVirtual);
    Flag(tensor, kTensorIsByValue, kind == kByValue);
    Refer(tensor, kTensorRaggedOffset, offsets);
    return Finalize(tensor);
  }
  Descriptor Tensor(int64_t uid, int type, const Dims& dims) { return Tensor(uid, type, dims, Packed(dims)); }
  Descriptor Virtual(int type, const Dims& dims) { return Tensor(next_++, type, dims, Packed(dims), kVirtual); }
  Descriptor Scalar(int64_t uid, int type) { return Tensor(uid, type, {1, 1, 1, 1}, {1, 1, 1, 1}, kByValue); }

  void Pointwise(int mode, Descriptor x, Descriptor b, Descriptor y, Descriptor t = nullptr, int64_t axis = -1) {
    const Descriptor how = Make(kPointwise), op = Make(kOperationPointwise);
    Set<int>(how, kPointwiseModeAttribute, kTypePointwiseMode, {mode});
    Set<int>(how, kPointwiseMathType, kTypeDataType, {kFloat});
    if (axis >= 0) Set<int64_t>(how, kPointwiseAxis, kTypeInt64, {axis});
    Refer(op, kOperationPointwiseDescriptor, Finalize(how));
    Refer(op, kOperationPointwiseX, x);
    Refer(op, kOperationPointwiseB, b);
    Refer(op, kOperationPointwiseT, t);
    Refer(op, kOperationPointwiseY, y);
    operations_.push_back(Finalize(op));
  }
  void Matmul(Descriptor a, Descriptor b, Descriptor c, Descriptor rows = nullptr, Descriptor columns = nullptr,
              Descriptor inner = nullptr) {
    const Descriptor how = Make(kMatmul), op = Make(kOperationMatmul);
    Set<int>(how, kMatmulMathType, kTypeDataType, {kFloat});
    Refer(op, kOperationMatmulDescriptor, Finalize(how));
    Refer(op, kOperationMatmulA, a);
    Refer(op, kOperationMatmulB, b);
    Refer(op, kOperationMatmulC, c);
    Refer(op, kOperationMatmulRows, rows);
    Refer(op, kOperationMatmulColumns, columns);
    Refer(op, kOperationMatmulInner, inner);
    operations_.push_back(Finalize(op));
  }
  void Reduce(int reduction, Descriptor x, Descriptor y) {
    const Descriptor how = Make(kReduction), op = Make(kOperationReduction);
    Set<int>(how, kReductionOperator, kTypeReductionOperator, {reduction});
    Set<int>(how, kReductionMathType, kTypeDataType, {kFloat});
    Refer(op, kOperationReductionDescriptor, Finalize(how));
    Refer(op, kOperationReductionX, x);
    Refer(op, kOperationReductionY, y);
    operations_.push_back(Finalize(op));
  }
  void PagedLoad(Descriptor container, Descriptor table, Descriptor lengths, Descriptor y) {
    const Descriptor op = Make(kOperationPagedCacheLoad);
    Refer(op, kPagedLoadContainer, container);
    Refer(op, kPagedLoadTable, table);
    Refer(op, kPagedLoadLengths, lengths);
    Refer(op, kPagedLoadY, y);
    operations_.push_back(Finalize(op));
  }
  void Add(Descriptor operation) { operations_.push_back(operation); }

  // Of the operations so far.
  Descriptor Graph() {
    const Descriptor graph = Make(kOperationGraph);
    Set<Handle>(graph, kGraphHandle, kTypeHandle, {handle_});
    Set<Descriptor>(graph, kGraphOperations, kTypeDescriptor, operations_);
    return Finalize(graph);
  }
  // Of the first engine configuration that the mode has.
  Descriptor Plan(Descriptor graph, int mode = kHeuristicA) {
    const Descriptor heuristics = Make(kEngineHeuristics), config = Make(kEngineConfig), plan = Make(kExecutionPlan);
    Refer(heuristics, kHeuristicsGraph, graph);
    Set<int>(heuristics, kHeuristicsMode, kTypeHeuristicMode, {mode});
    Finalize(heuristics);
    int64_t count = 0;
    Descriptor results[] = {config};
    Note(library_.BackendGetAttribute(heuristics, kHeuristicsResults, kTypeDescriptor, 1, &count, results));
    Set<Handle>(plan, kPlanHandle, kTypeHandle, {handle_});
    Refer(plan, kPlanEngineConfig, config);
    return Finalize(plan);
  }
  Descriptor Pack(const std::vector<std::pair<int64_t, void*>>& bound, void* workspace) {
    const Descriptor pack = Make(kVariantPack);
    std::vector<int64_t> uids;
    std::vector<void*> pointers;
    for (const auto& [uid, pointer] : bound) uids.push_back(uid), pointers.push_back(pointer);
    Set(pack, kVariantPackUniqueIds, kTypeInt64, uids);
    Set(pack, kVariantPackPointers, kTypeVoidPointer, pointers);
    Set<void*>(pack, kVariantPackWorkspace, kTypeVoidPointer, {workspace});
    return Finalize(pack);
  }
  // Graph, plan, pack, run: the status of what failed first.
  int Run(const std::vector<std::pair<int64_t, void*>>& bound) {
    const Descriptor plan = Plan(Graph()), pack = Pack(bound, workspace_);
    if (status_ == kSuccess) Note(library_.BackendExecute(handle_, plan, pack));
    return status_;
  }
  void* workspace() { return workspace_; }

  void Note(int status) {
    if (status == kSuccess || status_ != kSuccess) return;
    char said[512] = "";
    library_.GetLastErrorString(said, sizeof said);
    status_ = status, text_ = said;
  }
  // The first failure, forgotten.
  int Take() {
    const int status = status_;
    status_ = kSuccess;
    return status;
  }

 private:
  const Library library_;
  Handle handle_ = nullptr;
  std::vector<Descriptor> made_, operations_;
  int64_t next_ = 1000;  // uids of virtual tensors
  int status_ = kSuccess;
  std::string text_;
  alignas(16) char workspace_[256];
};

}  // namespace sage::cudnn::fake

#endif  // SAGE_TESTS_PLUGINS_CUDNN_GRAPH_TESTING_H_
