// reader_layer.cc: an attention layer of a file as the nodes it stands for.
//
// Nothing behind the reader knows of layers: what is checked, planned, explained and run is projections and an
// attention.
#include "model/reader.h"

namespace sage {

void ModelReader::ReadLayer(const fb::MultiHeadAttention& op, const std::string& path, const Node& prototype) {
  const std::string& name = prototype.name;
  const auto inner = [&](const char* what) {
    std::string tensor = name + "." + what;
    while (tensors_.count(tensor) != 0) tensor += "_";
    return AddTensor(tensor);
  };
  const auto begin = [&](const char* what, uint32_t kind, uint32_t slots) {
    Node node = prototype;
    node.name = name + "." + what;
    node.kind = kind;
    node.slots.assign(slots, kNone);
    return node;
  };
  constexpr uint32_t kX = 0, kWeight = 1, kBias = 2, kOut = 3, kLinearSlots = 6;
  const auto linear = [&](const char* what, const FbString* weight, const FbString* bias) {
    Node node = begin(what, SAGE_OP_LINEAR, kLinearSlots);
    sage_linear_attributes attributes{};
    attributes.struct_size = sizeof attributes;
    node.attributes = attributes;
    Slot(&node, kWeight, weight);
    Slot(&node, kBias, bias);
    return node;
  };
  const auto project = [&](const char* what, const FbString* x, const FbString* weight, const FbString* bias,
                           const char* result) {
    Node node = linear(what, weight, bias);
    Slot(&node, kX, x);
    const int32_t tensor = inner(result);
    node.slots[kOut] = tensor;
    graph_->nodes.push_back(std::move(node));
    return tensor;
  };
  const FbString* context = op.context() == nullptr ? op.x() : op.context();
  const int32_t q = project("q_proj", op.x(), op.q_weight(), op.q_bias(), "q");
  const int32_t k = project("k_proj", context, op.k_weight(), op.k_bias(), "k");
  const int32_t v = project("v_proj", context, op.v_weight(), op.v_bias(), "v");

  Node attention = begin("attention", SAGE_OP_ATTENTION, SAGE_ATTN_NUM_SLOTS);
  attention.slots[SAGE_ATTN_Q] = q;
  attention.slots[SAGE_ATTN_K] = k;
  attention.slots[SAGE_ATTN_V] = v;
  const int32_t heads = inner("heads");
  attention.slots[SAGE_ATTN_O] = heads;
  Slot(&attention, SAGE_ATTN_MASK, op.mask());
  Slot(&attention, SAGE_ATTN_WEIGHTS, op.weights());
  AttentionNode how;
  how.layout = Layout::kBSE;
  if (op.query_heads() == 0) Fail(path + ".query_heads", "is missing; it must be above 0");
  how.query_heads = op.query_heads();
  how.kv_heads = how.value_heads = op.kv_heads() == 0 ? op.query_heads() : op.kv_heads();
  sage_attention_attributes& a = how.attributes;
  a = {};
  a.struct_size = sizeof a;
  ReadScaleAndVisibility(op, path, &a);
  attention.attributes = how;
  graph_->nodes.push_back(std::move(attention));

  Node out = linear("o_proj", op.o_weight(), op.o_bias());
  out.slots[kX] = heads;
  Slot(&out, kOut, op.out());
  graph_->nodes.push_back(std::move(out));
}

}  // namespace sage
