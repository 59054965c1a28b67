// graph.h: the checked op graph, the one form everything else becomes: model files are read into it, the SAGE graphs
// lower to it, plans are made from it.
//
// Plain data. It holds no FlatBuffers types (a program may build one by hand) and no backend types beyond the ABI's
// attribute structs. What makes one legal is CheckGraph (verify.h); everything after it may rely on that.
#ifndef SAGE_ENGINE_MODEL_GRAPH_H_
#define SAGE_ENGINE_MODEL_GRAPH_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "model/policy.h"
#include "sage/ops.h"

namespace sage {

inline constexpr int32_t kNone = -1;          // no tensor in this slot; no symbol in this dimension
inline constexpr uint32_t kKindReshape = 64;  // not an op of the ABI: the engine does it by strides, else by a copy

// What a Permute's axes hold beyond the length that the file gave; zeros do as well.
inline constexpr int32_t kNoAxis = INT32_MIN;

// A dimension whose size comes with each run.
struct Symbol {
  std::string name;
  int64_t max = 0;  // > 0, elements; memory is planned for it
};

// One dimension: a size, or a symbol's index. In Reshape a size of -1 is what the others leave over.
struct Dim {
  int64_t size = 0;
  int32_t symbol = kNone;
};

// A constant's bytes: row-major, little-endian, at any alignment. `owner` keeps them alive (a mapping, a vector).
struct Constant {
  const void* data = nullptr;
  uint64_t bytes = 0;
  std::shared_ptr<const void> owner;
};

struct GraphTensor {
  std::string name;
  // Unset for a tensor that a node writes and nobody declared: shape inference finds both.
  std::optional<sage_dtype> dtype;
  std::optional<std::vector<Dim>> shape;
  std::optional<Constant> constant;
};

// How the tensors of an attention node are laid out; the numbers are the schema's.
enum class Layout : uint8_t { kBHSD = 0, kBSHD = 1, kBSE = 2, kTHD = 3 };

// What an attention node says besides sage_attention_attributes: how its graph tensors become the ABI's slots.
struct AttentionNode {
  sage_attention_attributes attributes{};  // features: only the four bits a caller sets
  Layout layout = Layout::kBHSD;
  int64_t query_heads = 0, kv_heads = 0, value_heads = 0;  // BSE only, all > 0 then
};

struct MatMulNode {
  bool transpose_a = false, transpose_b = false;  // done by strides
};

struct ReduceNode {
  uint32_t function = SAGE_REDUCE_SUM;
  std::vector<int32_t> axes;  // as written, may be negative; empty = all
  bool keep_dims = false;
};

// NumPy's x[start:end:step] along one axis; negative starts and ends count from the end.
struct SliceNode {
  int32_t axis = 0;
  int64_t start = 0;
  std::optional<int64_t> end;
  int64_t step = 1;
};

struct ReshapeNode {
  std::vector<Dim> shape;
};

struct TopKNode {
  sage_topk_attributes attributes{};  // axis as written, may be negative
  int64_t k = 0;
};

// Axes inside the ABI structs below are as written in the file (may be negative) until BuildOp normalises them.
using NodeAttributes = std::variant<AttentionNode, sage_linear_attributes, MatMulNode, sage_norm_attributes,
                                    sage_unary_attributes, sage_binary_attributes, sage_softmax_attributes, ReduceNode,
                                    sage_gather_attributes, sage_concat_attributes, SliceNode, sage_permute_attributes,
                                    TopKNode, sage_rope_attributes, sage_pool_attributes, ReshapeNode>;

struct Node {
  std::string name;
  uint32_t kind = 0;           // SAGE_OP_* or kKindReshape
  std::vector<int32_t> slots;  // tensor index by ABI slot number (Reshape: 0 X, 1 Y), kNone where absent
  NodeAttributes attributes;
  AttentionPolicy policy;  // the node's own; ResolvePolicy lays it over the model's
  // Its number in the file, for messages; kNone = its place in the graph. They differ behind a layer, which is one node
  // there and five here.
  int32_t file_index = kNone;
};

struct Graph {
  std::vector<Symbol> symbols;
  std::vector<GraphTensor> tensors;
  std::vector<Node> nodes;      // in an order in which they can run
  std::vector<int32_t> inputs;  // tensor indices, in the order of the API's input numbers
  std::vector<int32_t> outputs;
  AttentionPolicy policy;  // for every node that does not say otherwise
};

// A tensor's type and shape once every symbol has a number. symbols: bit i of dim_symbols[d] is set when dimension d
// depends on symbol i (so at most 64 symbols a graph).
struct BoundTensor {
  sage_dtype dtype = 0;
  uint32_t rank = 0;
  int64_t shape[SAGE_MAX_RANK] = {};
  uint64_t dim_symbols[SAGE_MAX_RANK] = {};
};

}  // namespace sage

#endif  // SAGE_ENGINE_MODEL_GRAPH_H_
