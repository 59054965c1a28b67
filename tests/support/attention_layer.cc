// attention_layer.cc: heads are split and merged by layout BSE, so no node copies.
#include "support/attention_layer.h"

#include <fmt/format.h>

#include "model/verify.h"
#include "sage/support/check_op.h"

namespace sage {
namespace {

class Builder {
 public:
  explicit Builder(sage_dtype dtype) : dtype_(dtype) {}

  int32_t Tensor(std::string name) {
    graph_->tensors.emplace_back().name = std::move(name);
    return static_cast<int32_t>(graph_->tensors.size() - 1);
  }
  int32_t Declared(std::string name, std::vector<Dim> shape) {
    const int32_t index = Tensor(std::move(name));
    graph_->tensors.back().dtype = dtype_;
    graph_->tensors.back().shape = std::move(shape);
    return index;
  }
  int32_t Linear(const std::string& name, int32_t x, const LayerProjection& projection, int64_t out, int64_t in,
                 const std::string& result) {
    const int32_t weight = Declared(name + ".weight", {{out, kNone}, {in, kNone}});
    graph_->tensors.back().constant = projection.weight;
    int32_t bias = kNone;
    if (projection.bias) {
      bias = Declared(name + ".bias", {{out, kNone}});
      graph_->tensors.back().constant = *projection.bias;
    }
    const int32_t y = Tensor(result);
    sage_linear_attributes attributes{};
    attributes.struct_size = sizeof attributes;
    graph_->nodes.push_back({name, SAGE_OP_LINEAR, {x, weight, bias, y, kNone, kNone}, attributes, {}});
    return y;
  }
  Graph& graph() { return *graph_; }
  std::shared_ptr<Graph> Take() { return std::move(graph_); }

 private:
  sage_dtype dtype_;
  std::shared_ptr<Graph> graph_ = std::make_shared<Graph>();
};

}  // namespace

Result<std::shared_ptr<const Graph>> BuildAttentionLayer(const AttentionLayer& layer) {
  const auto bad = [](std::string message) { return Status(SAGE_E_INVALID_ARGUMENT, std::move(message)); };
  if (layer.d_model <= 0 || layer.query_heads <= 0 || layer.kv_heads <= 0)
    return bad(fmt::format("d_model {}, query_heads {} and kv_heads {} must be above 0", layer.d_model,
                           layer.query_heads, layer.kv_heads));
  if (layer.query_heads % layer.kv_heads != 0)
    return bad(fmt::format("kv_heads {} does not divide query_heads {}", layer.kv_heads, layer.query_heads));
  if (layer.head_dim == 0 && layer.d_model % layer.query_heads != 0)
    return bad(
        fmt::format("query_heads {} does not divide d_model {}: give head_dim", layer.query_heads, layer.d_model));
  if (!support::IsFloat(layer.dtype)) return bad("dtype must be F64, F32, F16 or BF16");
  const int64_t width = layer.head_dim == 0 ? layer.d_model / layer.query_heads : layer.head_dim;
  int64_t q_width = 0;
  if (width <= 0 || __builtin_mul_overflow(layer.query_heads, width, &q_width))
    return bad(fmt::format("head_dim {} is out of range", width));
  const int64_t kv_width = layer.kv_heads * width;

  Builder builder(layer.dtype);
  Graph& graph = builder.graph();
  graph.symbols = {{"batch", layer.max_batch}, {"queries", layer.max_queries}};
  if (layer.cross) graph.symbols.push_back({"keys", layer.max_keys});
  const int32_t x = builder.Declared("x", {{0, 0}, {0, 1}, {layer.d_model, kNone}});
  const int32_t context = layer.cross ? builder.Declared("context", {{0, 0}, {0, 2}, {layer.d_model, kNone}}) : x;
  const int32_t q = builder.Linear("q_proj", x, layer.q, q_width, layer.d_model, "q");
  const int32_t k = builder.Linear("k_proj", context, layer.k, kv_width, layer.d_model, "k");
  const int32_t v = builder.Linear("v_proj", context, layer.v, kv_width, layer.d_model, "v");

  AttentionNode attention;
  attention.layout = Layout::kBSE;
  attention.query_heads = layer.query_heads;
  attention.kv_heads = attention.value_heads = layer.kv_heads;
  attention.attributes.struct_size = sizeof attention.attributes;
  if (layer.causal) {
    attention.attributes.features |= SAGE_ATTN_F_CAUSAL;
    attention.attributes.alignment = layer.alignment;
  }
  if (layer.scale) {
    attention.attributes.features |= SAGE_ATTN_F_SCALE;
    attention.attributes.scale = *layer.scale;
  }
  const int32_t heads = builder.Tensor("heads");
  std::vector<int32_t> slots(SAGE_ATTN_NUM_SLOTS, kNone);
  slots[SAGE_ATTN_Q] = q;
  slots[SAGE_ATTN_K] = k;
  slots[SAGE_ATTN_V] = v;
  slots[SAGE_ATTN_O] = heads;
  graph.nodes.push_back({"attention", SAGE_OP_ATTENTION, std::move(slots), attention, {}});
  const int32_t y = builder.Linear("o_proj", heads, layer.o, layer.d_model, q_width, "y");
  graph.inputs = {x};
  if (layer.cross) graph.inputs.push_back(context);
  graph.outputs = {y};

  std::vector<ModelError> errors;
  CheckGraph(graph, &errors);
  if (!errors.empty()) return bad(ErrorText(errors, 4));
  return std::shared_ptr<const Graph>(builder.Take());
}

Result<std::shared_ptr<const Graph>> BuildGqaExpertAttention(AttentionLayer layer) {
  layer.query_heads = 12;
  layer.kv_heads = 4;
  layer.head_dim = 0;
  return BuildAttentionLayer(layer);
}

}  // namespace sage
