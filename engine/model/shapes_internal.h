// shapes_internal.h: one pass over a graph that gives every tensor a type and a shape. Behind InferShapes only.
//
// Nothing is allocated while no error is found, since a session repeats the pass at every new shape.
#ifndef SAGE_ENGINE_MODEL_SHAPES_INTERNAL_H_
#define SAGE_ENGINE_MODEL_SHAPES_INTERNAL_H_

#include <fmt/format.h>

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "model/axis_view.h"
#include "model/shapes.h"
#include "model/slot_names.h"

namespace sage {

// "[2, 16, 64]"
std::string ShapeText(const BoundTensor& tensor);
std::string ShapeText(std::span<const int64_t> shape);

class ShapeInference {
 public:
  ShapeInference(const Graph& graph, std::span<const int64_t> symbols, std::vector<BoundTensor>* out,
                 std::vector<ModelError>* errors)
      : graph_(graph), symbols_(symbols), out_(*out), errors_(errors) {}

  bool Run();

 private:
  void BindDeclared(size_t index);
  void InferNode(size_t index);

  // One function a kind; each writes its outputs by Put or reports and leaves them unknown.
  void Attention(const AttentionNode& node);  // shapes_attention.cc
  void Linear();
  void MatMul(const MatMulNode& node);
  void Norm(const sage_norm_attributes& norm);
  void Unary();
  void Binary();
  void Softmax(const sage_softmax_attributes& softmax);
  void Reduce(const ReduceNode& reduce);
  void Gather(const sage_gather_attributes& gather);
  void Concat(const sage_concat_attributes& concat);
  void Slice(const SliceNode& slice);
  void Permute(const sage_permute_attributes& permute);
  void TopK(const TopKNode& topk);
  void Rope(const sage_rope_attributes& rope);
  void Pool(const sage_pool_attributes& pool);
  void Reshape(const ReshapeNode& reshape);

  bool Has(uint32_t slot) const { return slot < node_->slots.size() && node_->slots[slot] != kNone; }
  // The tensor in a slot; null when absent, or unknown because of an earlier error (then known_ becomes false).
  const BoundTensor* In(uint32_t slot);
  // Gives the tensor of an output slot its type and shape, or compares with its declaration. Absent slot: nothing.
  void Put(uint32_t slot, const BoundTensor& tensor);
  // axis normalised to 0..rank-1, or -1 after an error.
  int32_t Axis(int32_t axis, uint32_t rank);
  bool RankIs(uint32_t slot, const BoundTensor& tensor, RankRange range);
  // The slot's tensor is [sizes...]; an axis may be 1 where its bit in may_be_one is set. Absent or unknown: true.
  bool Expect(uint32_t slot, const AxisView& view, std::span<const Extent> sizes, uint32_t may_be_one,
              const char* meaning);
  bool ExpectPlain(uint32_t slot, std::initializer_list<Extent> sizes, const char* meaning);

  template <class... Args>
  void Fail(uint32_t slot, fmt::format_string<Args...> format, Args&&... args) {
    ok_ = false;
    if (errors_ != nullptr)
      errors_->push_back({NodePath(index_, *node_, slot), fmt::format(format, std::forward<Args>(args)...)});
  }
  static constexpr uint32_t kWholeNode = UINT32_MAX;

  const Graph& graph_;
  std::span<const int64_t> symbols_;
  std::vector<BoundTensor>& out_;
  std::vector<ModelError>* errors_;
  const Node* node_ = nullptr;
  size_t index_ = 0;
  bool known_ = true;
  bool ok_ = true;
};

}  // namespace sage

#endif  // SAGE_ENGINE_MODEL_SHAPES_INTERNAL_H_
