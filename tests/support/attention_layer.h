// attention_layer.h: an attention layer as an op graph of weights in memory: projections in, attention, projection out.
//
// The graph that a MultiHeadAttention node of a file becomes, for tests with weights too large to write down in one.
#ifndef SAGE_TESTS_SUPPORT_ATTENTION_LAYER_H_
#define SAGE_TESTS_SUPPORT_ATTENTION_LAYER_H_

#include <cstdint>
#include <memory>
#include <optional>

#include "model/graph.h"
#include "status.h"

namespace sage {

// A projection y = x W^T + b, row-major, in the layer's dtype.
struct LayerProjection {
  Constant weight;               // [out, in]
  std::optional<Constant> bias;  // [out]
};

struct AttentionLayer {
  int64_t d_model = 0;
  int64_t query_heads = 0;
  int64_t kv_heads = 0;         // divides query_heads
  int64_t head_dim = 0;         // 0 = d_model / query_heads, which must then divide
  sage_dtype dtype = SAGE_F32;  // F64, F32, F16 or BF16
  bool causal = false;
  uint32_t alignment = SAGE_ALIGN_TOP_LEFT;              // of causal, where the sequences differ
  std::optional<double> scale;                           // absent = 1/sqrt(head_dim)
  bool cross = false;                                    // keys and values come from a second input, "context"
  int64_t max_batch = 1, max_queries = 0, max_keys = 0;  // > 0; max_keys only with cross
  LayerProjection q, k, v, o;  // [Hq*D, d_model] [Hkv*D, d_model] [Hkv*D, d_model] [d_model, Hq*D]
};

// Inputs: x [batch, queries, d_model] and, if cross, context [batch, keys, d_model]; output: y, shaped as x. The graph
// has passed CheckGraph.
Result<std::shared_ptr<const Graph>> BuildAttentionLayer(const AttentionLayer& layer);

// Grouped-query attention over experts: 12 query heads over 4 groups, head_dim = d_model / 12, as BuildAttentionLayer
// with the layer's other fields kept.
Result<std::shared_ptr<const Graph>> BuildGqaExpertAttention(AttentionLayer layer);

}  // namespace sage

#endif  // SAGE_TESTS_SUPPORT_ATTENTION_LAYER_H_
