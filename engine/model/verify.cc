// verify.cc: CheckGraph: names, producers and order first; then shapes and, node by node, the rules of the op itself.
#include "model/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <map>
#include <string_view>
#include <unordered_map>

#include "model/names.h"
#include "model/shapes.h"
#include "model/slot_names.h"
#include "sage/support/check_op.h"

namespace sage {
namespace {

// A hostile file may be wrong in a million places; a person reads the first few.
constexpr size_t kMaxErrors = 256;

class GraphChecker {
 public:
  GraphChecker(const Graph& graph, std::vector<ModelError>* errors) : graph_(graph), errors_(*errors) {}

  void Check() {
    const size_t before = errors_.size();
    CheckSymbols();
    CheckTensors();
    CheckInputs();
    CheckNodes();
    CheckOutputs();
    if (errors_.size() == before) CheckShapes();
  }

 private:
  template <class... Args>
  void Fail(std::string path, fmt::format_string<Args...> format, Args&&... args) {
    if (errors_.size() < kMaxErrors)
      errors_.push_back({std::move(path), fmt::format(format, std::forward<Args>(args)...)});
  }
  bool Full() const { return errors_.size() >= kMaxErrors; }

  void CheckName(const std::string& path, const std::string& name, std::unordered_map<std::string_view, size_t>* seen,
                 size_t index) {
    if (const char* fault = NameFault(name)) return Fail(path, "the name {}", fault);
    if (const auto [at, added] = seen->emplace(name, index); !added)
      Fail(path, "the name \"{}\" is taken by number {}; names are unique", name, at->second);
  }

  bool IsTensor(int32_t index) const { return index >= 0 && static_cast<size_t>(index) < graph_.tensors.size(); }

  void CheckSymbols() {
    if (graph_.symbols.size() > 64) Fail("symbols", "there are {}, at most 64 are possible", graph_.symbols.size());
    std::unordered_map<std::string_view, size_t> seen;
    for (size_t i = 0; i < graph_.symbols.size() && !Full(); ++i) {
      const std::string path = fmt::format("symbols[{}]", i);
      CheckName(path, graph_.symbols[i].name, &seen, i);
      if (graph_.symbols[i].max <= 0)
        Fail(path + "." + graph_.symbols[i].name, "max is {}; it must be the largest size that will be given, above 0",
             graph_.symbols[i].max);
    }
  }

  // open_allowed: one size of -1 may stand (Reshape).
  void CheckDims(const std::string& path, const std::vector<Dim>& dims, bool open_allowed) {
    if (dims.size() > SAGE_MAX_RANK) return Fail(path, "has {} dimensions, at most {}", dims.size(), SAGE_MAX_RANK);
    int open = 0;
    for (size_t d = 0; d < dims.size(); ++d) {
      const Dim& dim = dims[d];
      if (dim.symbol != kNone) {
        if (dim.symbol < 0 || static_cast<size_t>(dim.symbol) >= graph_.symbols.size())
          Fail(path, "dimension {} names symbol number {}, which does not exist", d, dim.symbol);
      } else if (dim.size == -1 && open_allowed) {
        if (++open == 2) Fail(path, "has two sizes of -1; at most one can be found from the others");
      } else if (dim.size < 0) {
        Fail(path, "dimension {} is {}; sizes are >= 0", d, dim.size);
      }
    }
  }

  void CheckTensors() {
    std::unordered_map<std::string_view, size_t> seen;
    for (size_t i = 0; i < graph_.tensors.size() && !Full(); ++i) {
      const GraphTensor& tensor = graph_.tensors[i];
      const std::string path = fmt::format("tensors[{}].{}", i, tensor.name);
      CheckName(path, tensor.name, &seen, i);
      if (tensor.dtype && support::DtypeSize(*tensor.dtype) == 0)
        Fail(path, "dtype 0x{:08x} is not known", *tensor.dtype);
      if (tensor.shape) CheckDims(path, *tensor.shape, false);
      if (tensor.constant) CheckConstant(path, tensor);
    }
  }

  void CheckConstant(const std::string& path, const GraphTensor& tensor) {
    if (!tensor.dtype || !tensor.shape) return Fail(path, "is a constant: it needs a dtype and a shape");
    int64_t sizes[SAGE_MAX_RANK] = {};
    if (tensor.shape->size() > SAGE_MAX_RANK) return;
    for (size_t d = 0; d < tensor.shape->size(); ++d) {
      if ((*tensor.shape)[d].symbol != kNone)
        return Fail(path, "is a constant: dimension {} cannot be a symbol, give its size", d);
      sizes[d] = (*tensor.shape)[d].size;
    }
    const auto elements = ElementCount(std::span(sizes, tensor.shape->size()));
    if (!elements.ok()) return Fail(path, "{}", elements.status().message());
    uint64_t bytes = 0;
    if (__builtin_mul_overflow(static_cast<uint64_t>(*elements), uint64_t{support::DtypeSize(*tensor.dtype)}, &bytes) ||
        bytes != tensor.constant->bytes)
      return Fail(path, "has {} bytes of data, its shape needs {} elements of {}", tensor.constant->bytes, *elements,
                  support::DtypeName(*tensor.dtype));
    if (bytes > 0 && tensor.constant->data == nullptr) Fail(path, "is a constant without data");
  }

  // What writes each tensor: nothing, kInput, kConstant, or a node's number.
  static constexpr int64_t kNothing = -3, kInput = -2, kConstant = -1;

  void CheckInputs() {
    writer_.assign(graph_.tensors.size(), kNothing);
    for (size_t i = 0; i < graph_.tensors.size(); ++i) {
      if (graph_.tensors[i].constant) writer_[i] = kConstant;
    }
    for (size_t i = 0; i < graph_.inputs.size() && !Full(); ++i) {
      const std::string path = fmt::format("inputs[{}]", i);
      if (!IsTensor(graph_.inputs[i])) {
        Fail(path, "names no tensor");
        continue;
      }
      const auto index = static_cast<size_t>(graph_.inputs[i]);
      const GraphTensor& tensor = graph_.tensors[index];
      if (writer_[index] == kInput) Fail(path, "\"{}\" is listed twice", tensor.name);
      if (writer_[index] == kConstant)
        Fail(path, "\"{}\" is a constant; a constant cannot be given by the caller", tensor.name);
      if (!tensor.dtype || !tensor.shape)
        Fail(path, "\"{}\" needs a dtype and a shape in tensors: only what a node writes may leave them out",
             tensor.name);
      writer_[index] = kInput;
    }
  }

  void CheckNodes() {
    if (graph_.nodes.empty()) Fail("nodes", "there are none; a graph needs at least one");
    std::unordered_map<std::string_view, size_t> seen;
    // Where each tensor is written, to tell "never" from "later".
    std::vector<int64_t> written(graph_.tensors.size(), -1);
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      const Node& node = graph_.nodes[n];
      for (uint32_t s = 0; s < node.slots.size(); ++s) {
        if (IsTensor(node.slots[s]) && NodeSlotIsOutput(node.kind, s))
          written[static_cast<size_t>(node.slots[s])] = static_cast<int64_t>(n);
      }
    }
    for (size_t n = 0; n < graph_.nodes.size() && !Full(); ++n) {
      const Node& node = graph_.nodes[n];
      CheckName(NodePath(n, node), node.name, &seen, n);
      if (NodeKindName(node.kind) == nullptr || !AttributesFit(node)) {
        Fail(NodePath(n, node), "kind {} is not known, or its attributes are another kind's", node.kind);
        continue;
      }
      if (node.slots.size() > std::min(NodeSlotCount(node.kind), 4096u)) {
        Fail(NodePath(n, node), "has {} slots, {} has at most {}", node.slots.size(), NodeKindName(node.kind),
             std::min(NodeSlotCount(node.kind), 4096u));
        continue;
      }
      const uint32_t required = RequiredSlots(node.kind);
      for (uint32_t s = 0; s < 32; ++s) {
        if (((required >> s) & 1u) != 0 && (s >= node.slots.size() || node.slots[s] == kNone))
          Fail(NodePath(n, node, s), "is missing");
      }
      for (uint32_t s = 0; s < node.slots.size(); ++s) CheckSlot(n, node, s, written);
      for (uint32_t s = 0; s < node.slots.size(); ++s) {
        if (IsTensor(node.slots[s]) && NodeSlotIsOutput(node.kind, s))
          writer_[static_cast<size_t>(node.slots[s])] = static_cast<int64_t>(n);
      }
      CheckAttributes(n, node);
    }
  }

  void CheckSlot(size_t n, const Node& node, uint32_t slot, const std::vector<int64_t>& written) {
    const int32_t tensor = node.slots[slot];
    if (tensor == kNone) {
      if (node.kind == SAGE_OP_CONCAT && slot > 1) Fail(NodePath(n, node, slot), "is missing");
      return;
    }
    if (!IsTensor(tensor)) return Fail(NodePath(n, node, slot), "names tensor number {}, which does not exist", tensor);
    const auto index = static_cast<size_t>(tensor);
    const std::string& name = graph_.tensors[index].name;
    const int64_t writer = writer_[index];
    if (NodeSlotIsOutput(node.kind, slot)) {
      if (writer == kInput)
        return Fail(NodePath(n, node, slot), "\"{}\" is an input of the graph and cannot be written", name);
      if (writer == kConstant) return Fail(NodePath(n, node, slot), "\"{}\" is a constant and cannot be written", name);
      if (writer != kNothing)
        return Fail(NodePath(n, node, slot), "\"{}\" is already written by {}", name,
                    NodePath(static_cast<size_t>(writer), graph_.nodes[static_cast<size_t>(writer)]));
      for (uint32_t s = 0; s < slot; ++s) {
        if (node.slots[s] == tensor && NodeSlotIsOutput(node.kind, s))
          return Fail(NodePath(n, node, slot), "\"{}\" is already written by {}", name, SlotName(node.kind, s));
      }
      return;
    }
    if (writer != kNothing) return;
    const int64_t later = written[index];
    if (later == static_cast<int64_t>(n))
      Fail(NodePath(n, node, slot), "\"{}\" is written by this node itself", name);
    else if (later >= 0)
      Fail(NodePath(n, node, slot), "\"{}\" is only written further down, by {}; move that above this node", name,
           NodePath(static_cast<size_t>(later), graph_.nodes[static_cast<size_t>(later)]));
    else
      Fail(NodePath(n, node, slot), "\"{}\" has no value: no input, no constant, and no node writes it", name);
  }

  static bool AttributesFit(const Node& node) {
    // The variant's alternatives stand in the order of the kinds, Reshape last.
    const size_t expected = node.kind == kKindReshape ? std::variant_size_v<NodeAttributes> - 1 : node.kind - 1;
    return node.attributes.index() == expected;
  }

  void CheckAttributes(size_t n, const Node& node) {
    const auto finite = [&](const char* field, double value) {
      if (!std::isfinite(value)) Fail(NodePath(n, node) + "." + field, "is {}; it must be a finite number", value);
    };
    if (const auto* attention = std::get_if<AttentionNode>(&node.attributes))
      return CheckAttention(n, node, *attention);
    if (const auto* norm = std::get_if<sage_norm_attributes>(&node.attributes)) return finite("epsilon", norm->epsilon);
    if (const auto* unary = std::get_if<sage_unary_attributes>(&node.attributes)) return finite("alpha", unary->alpha);
    if (const auto* rope = std::get_if<sage_rope_attributes>(&node.attributes)) return finite("base", rope->base);
    if (const auto* slice = std::get_if<SliceNode>(&node.attributes)) {
      if (slice->step == 0) Fail(NodePath(n, node) + ".step", "is 0; use a positive or a negative number");
    }
    if (const auto* topk = std::get_if<TopKNode>(&node.attributes)) {
      if (topk->k <= 0) Fail(NodePath(n, node) + ".k", "is {}; it must be above 0", topk->k);
    }
    if (const auto* reshape = std::get_if<ReshapeNode>(&node.attributes))
      CheckDims(NodePath(n, node) + ".shape", reshape->shape, true);
  }

  void CheckAttention(size_t n, const Node& node, const AttentionNode& attention) {
    const std::string path = NodePath(n, node);
    const sage_attention_attributes& a = attention.attributes;
    const auto has = [&](uint32_t slot) { return slot < node.slots.size() && node.slots[slot] != kNone; };
    for (const auto& [field, value] :
         {std::pair{"scale", a.scale}, {"softcap", a.softcap}, {"dropout_p", a.dropout_p}}) {
      if (!std::isfinite(value)) Fail(path + "." + field, "is {}; it must be a finite number", value);
    }
    if (attention.layout > Layout::kTHD)
      Fail(path + ".layout", "is {}, which is not known", static_cast<int>(attention.layout));
    if (a.dropout_p < 0 || a.dropout_p >= 1)
      Fail(path + ".dropout_p", "is {}; a probability below 1 is needed, and 0 at inference", a.dropout_p);
    else if (a.dropout_p > 0 && !has(SAGE_ATTN_PHILOX))
      Fail(path + ".dropout_p",
           "is {}: dropout belongs to training and must be 0 at inference; to repeat a training pass exactly give "
           "philox "
           "(seed and offset) as well",
           a.dropout_p);
    constexpr uint64_t kPositions = SAGE_ATTN_F_CAUSAL | SAGE_ATTN_F_WINDOW_LEFT | SAGE_ATTN_F_WINDOW_RIGHT;
    if (((a.features & kPositions) != 0 || has(SAGE_ATTN_ALIBI)) && a.alignment == 0)
      Fail(path + ".align",
           "is missing: causal, windows and alibi need TOP_LEFT (query i stands at key i) or BOTTOM_RIGHT (the last "
           "query "
           "stands at the last key)");
    if (attention.layout == Layout::kBSE) {
      if (attention.query_heads <= 0) Fail(path + ".query_heads", "is missing: layout BSE needs it");
      if (attention.kv_heads <= 0) Fail(path + ".kv_heads", "is missing: layout BSE needs it");
      if (attention.value_heads <= 0)
        Fail(path + ".value_heads", "is {}; layout BSE needs it above 0", attention.value_heads);
      if (attention.query_heads > 0 && attention.kv_heads > 0 && attention.query_heads % attention.kv_heads != 0)
        Fail(path + ".kv_heads", "is {}, which does not divide the {} query heads", attention.kv_heads,
             attention.query_heads);
    }
    if (!has(SAGE_ATTN_K_NEW)) return;
    for (const uint32_t slot : {SAGE_ATTN_K, SAGE_ATTN_V}) {
      if (has(slot) && IsTensor(node.slots[slot]) && writer_[static_cast<size_t>(node.slots[slot])] != kInput)
        Fail(NodePath(n, node, slot), "is written in place by k_new and v_new: it must be an input of the graph");
    }
  }

  void CheckOutputs() {
    if (graph_.outputs.empty()) Fail("outputs", "there are none; a graph needs at least one");
    std::map<int32_t, size_t> seen;
    for (size_t i = 0; i < graph_.outputs.size() && !Full(); ++i) {
      const std::string path = fmt::format("outputs[{}]", i);
      if (!IsTensor(graph_.outputs[i])) {
        Fail(path, "names no tensor");
        continue;
      }
      const auto index = static_cast<size_t>(graph_.outputs[i]);
      if (!seen.emplace(graph_.outputs[i], i).second) Fail(path, "\"{}\" is listed twice", graph_.tensors[index].name);
      if (writer_[index] == kNothing) Fail(path, "\"{}\" has no value: no node writes it", graph_.tensors[index].name);
    }
  }

  // At the largest sizes everything must fit. At half of them too, since a size that fits only by chance (512 where a
  // symbol's maximum is 512) fails at every other one; kinds that may rightly need a least size are not judged there.
  void CheckShapes() {
    std::vector<int64_t> sizes;
    for (const Symbol& symbol : graph_.symbols) sizes.push_back(symbol.max);
    std::vector<BoundTensor> shapes;
    const size_t before = errors_.size();
    if (!InferShapes(graph_, sizes, &shapes, &errors_)) return Truncate(before);
    for (size_t n = 0; n < graph_.nodes.size() && !Full(); ++n) CheckOneOp(n, shapes);
    if (errors_.size() != before || sizes.empty()) return;

    for (int64_t& size : sizes) size = (size + 1) / 2;
    std::vector<ModelError> found;
    if (InferShapes(graph_, sizes, &shapes, &found)) return;
    for (const ModelError& error : found) {
      if (!NeedsLeastSize(error.path) && !Full())
        errors_.push_back({error.path, error.message + " (at half of each symbol's max)"});
    }
  }

  bool NeedsLeastSize(const std::string& path) const {
    size_t index = 0;
    if (std::sscanf(path.c_str(), "nodes[%zu]", &index) != 1) return false;
    for (size_t n = 0; n < graph_.nodes.size(); ++n) {
      const Node& node = graph_.nodes[n];
      if ((node.file_index == kNone ? n : static_cast<size_t>(node.file_index)) != index) continue;
      return node.kind == kKindReshape || node.kind == SAGE_OP_TOPK || node.kind == SAGE_OP_POOL ||
             node.kind == SAGE_OP_SLICE;
    }
    return false;
  }

  void Truncate(size_t before) {
    if (errors_.size() > std::max(kMaxErrors, before)) errors_.resize(std::max(kMaxErrors, before));
  }

  void CheckOneOp(size_t n, const std::vector<BoundTensor>& shapes) {
    const Node& node = graph_.nodes[n];
    if (node.kind == kKindReshape) return;
    std::vector<sage_tensor>& tensors = described_;
    tensors.resize(shapes.size());
    for (const int32_t index : node.slots) {
      if (index == kNone) continue;
      const auto i = static_cast<size_t>(index);
      sage_tensor_init(&tensors[i], shapes[i].dtype, shapes[i].rank, shapes[i].shape, nullptr);
      FillRowMajor(&tensors[i]);
    }
    if (Status status = BuildOp(node, tensors, 0, &built_); !status.ok())
      return Fail(NodePath(n, node), "{}", status.message());
    support::OpView view;
    std::string why;
    sage_status code = support::TakeInOp(&built_.op, &view, &why);
    if (code == SAGE_OK) code = support::CheckOp(view, &why);
    uint64_t features = 0;
    if (code == SAGE_OK && node.kind == SAGE_OP_ATTENTION)
      code = support::DeriveAttentionFeatures(view, &features, &why);
    if (code != SAGE_OK) Fail(NodePath(n, node), "{}", why);
  }

  const Graph& graph_;
  std::vector<ModelError>& errors_;
  std::vector<int64_t> writer_;
  std::vector<sage_tensor> described_;
  BuiltOp built_;
};

}  // namespace

void CheckGraph(const Graph& graph, std::vector<ModelError>* errors) { GraphChecker(graph, errors).Check(); }

std::string ErrorText(const std::vector<ModelError>& errors, size_t limit) {
  std::string text;
  for (size_t i = 0; i < errors.size() && i < limit; ++i) {
    if (i > 0) text += '\n';
    text += errors[i].path.empty() ? errors[i].message : errors[i].path + ": " + errors[i].message;
  }
  if (errors.size() > limit) text += fmt::format("\n... and {} more", errors.size() - limit);
  return text;
}

}  // namespace sage
