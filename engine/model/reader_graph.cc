// reader_graph.cc: an op graph: symbols, tensors with their constants, and names resolved to numbers.
#include <algorithm>
#include <map>
#include <set>

#include "model/constant_data.h"
#include "model/names.h"
#include "model/reader.h"
#include "model/shapes.h"
#include "model/slot_names.h"
#include "model/verify.h"
#include "sage/support/check_op.h"

namespace sage {
namespace {

constexpr uint32_t kMaxValues = 4096;  // elements written into the model file itself
constexpr uint32_t kMaxInputs = 4096;

template <class Map>
std::vector<std::string_view> KeysOf(const Map& map) {
  std::vector<std::string_view> keys;
  for (const auto& [key, value] : map) keys.push_back(key);
  std::sort(keys.begin(), keys.end());  // the hint must not depend on a hash
  return keys;
}

}  // namespace

std::shared_ptr<const Graph> ModelReader::ReadOpGraph(const fb::OpGraph& graph) {
  graph_ = std::make_shared<Graph>();
  ReadSymbols(graph);
  ReadTensors(graph);
  ReadNodes(graph);
  ResolveInputs();
  ReadNames(graph.inputs(), "inputs", &graph_->inputs);
  ReadNames(graph.outputs(), "outputs", &graph_->outputs);
  if (errors_.empty()) AddDefaultPositions();
  // What is already reported at a place is not reported again as its consequence.
  std::set<std::string> reported = std::move(silenced_);
  for (const ModelError& error : errors_) reported.insert(error.path);
  std::vector<ModelError> found;
  CheckGraph(*graph_, &found);
  for (ModelError& error : found) {
    if (reported.count(error.path) == 0 && !Full()) errors_.push_back(std::move(error));
  }
  return graph_;
}

void ModelReader::ReadSymbols(const fb::OpGraph& graph) {
  if (graph.symbols() == nullptr) return;
  if (graph.symbols()->size() > 64)
    return Fail("symbols", "there are {}, at most 64 are possible", graph.symbols()->size());
  for (uint32_t i = 0; i < graph.symbols()->size(); ++i) {
    const fb::Symbol& symbol = *graph.symbols()->Get(i);
    const std::string path = fmt::format("symbols[{}]", i);
    Symbol to;
    to.name = Name(symbol.name(), path);
    to.max = static_cast<int64_t>(std::min<uint64_t>(symbol.max(), INT64_MAX));
    if (symbol.max() > uint64_t{1} << 48)
      Fail(fmt::format("{}.{}", path, to.name), "max is {}; no machine holds that many elements", symbol.max());
    symbols_.emplace(to.name, static_cast<int32_t>(i));
    graph_->symbols.push_back(std::move(to));
  }
}

bool ModelReader::ReadDims(const flatbuffers::Vector<flatbuffers::Offset<fb::Dim>>* dims, const std::string& path,
                           std::vector<Dim>* out) {
  if (dims->size() > SAGE_MAX_RANK) {
    Fail(path, "has {} dimensions, at most {}", dims->size(), SAGE_MAX_RANK);
    return false;
  }
  bool good = true;
  for (uint32_t d = 0; d < dims->size(); ++d) {
    const fb::Dim& dim = *dims->Get(d);
    Dim to{dim.size(), kNone};
    if (dim.symbol() != nullptr) {
      const std::string name = Name(dim.symbol(), fmt::format("{}[{}].symbol", path, d));
      const auto found = symbols_.find(name);
      if (dim.size() != 0) {
        Fail(fmt::format("{}[{}]", path, d), "has both a size and a symbol; one of them is meant");
        good = false;
      }
      if (found == symbols_.end()) {
        if (!name.empty())
          Fail(fmt::format("{}[{}]", path, d), "symbol \"{}\" does not exist{}", name,
               DidYouMean(name, KeysOf(symbols_)));
        good = false;
        continue;
      }
      to = {0, found->second};
    }
    out->push_back(to);
  }
  return good;
}

void ModelReader::ReadTensors(const fb::OpGraph& graph) {
  for (uint32_t i = 0; i < graph.tensors()->size() && !Full(); ++i) {
    const fb::Tensor& tensor = *graph.tensors()->Get(i);
    GraphTensor to;
    to.name = Name(tensor.name(), fmt::format("tensors[{}]", i));
    ReadTensor(tensor, fmt::format("tensors[{}].{}", i, to.name), &to);
    tensors_.emplace(to.name, static_cast<int32_t>(i));
    graph_->tensors.push_back(std::move(to));
  }
}

void ModelReader::ReadTensor(const fb::Tensor& tensor, const std::string& path, GraphTensor* out) {
  if (tensor.dtype() && Known(*tensor.dtype(), path + ".dtype")) out->dtype = DtypeOf(*tensor.dtype());
  if (tensor.shape() != nullptr) {
    std::vector<Dim> dims;
    if (ReadDims(tensor.shape(), path + ".shape", &dims)) out->shape = std::move(dims);
  }
  if (tensor.weight() != nullptr && tensor.values() != nullptr)
    return Fail(path, "has both weight and values; one of them is meant");
  if (tensor.values() != nullptr) {
    ReadValues(*tensor.values(), path, out);
    // Even after an error something stands there, so that its users are not reported as well.
    if (!out->constant) out->constant.emplace();
    return;
  }
  if (tensor.weight() == nullptr) return;

  std::optional<std::vector<int64_t>> shape;
  if (out->shape) {
    shape.emplace();
    for (const Dim& dim : *out->shape) {
      if (dim.symbol != kNone)
        return Fail(path + ".shape", "names a symbol, but the tensor is a constant: give its size");
      shape->push_back(dim.size);
    }
  }
  auto array = ReadWeight(*tensor.weight(), path, out->dtype, std::move(shape));
  if (!array) {
    out->constant.emplace();
    return;
  }
  out->dtype = array->dtype;
  out->shape.emplace();
  for (const int64_t size : array->shape) out->shape->push_back({size, kNone});
  out->constant = std::move(array->constant);
}

void ModelReader::ReadValues(const flatbuffers::Vector<double>& values, const std::string& path, GraphTensor* out) {
  if (values.size() > kMaxValues)
    return Fail(path, "has {} values; at most {} are written here, more belong in a weight file", values.size(),
                kMaxValues);
  if (values.size() > values_left_) return Fail(path, "shares its values with other tensors: the file is damaged");
  values_left_ -= values.size();
  if (!out->dtype || !out->shape) return Fail(path, "has values, and needs a dtype and a shape beside them");
  int64_t elements = 1;
  for (const Dim& dim : *out->shape) {
    if (dim.symbol != kNone || dim.size < 0 || __builtin_mul_overflow(elements, dim.size, &elements))
      return Fail(path, "has values, and needs a shape of fixed sizes");
  }
  if (elements != values.size()) return Fail(path, "has {} values, its shape needs {}", values.size(), elements);
  auto bytes = std::make_shared<std::vector<uint8_t>>();
  for (uint32_t i = 0; i < values.size(); ++i) {
    const double value = DoubleAt(values, i);
    if (const char* fault = AppendValue(*out->dtype, value, bytes.get()))
      return Fail(path, "values[{}] is {}, which {} of {}", i, value, fault, support::DtypeName(*out->dtype));
  }
  out->constant = Constant{bytes->data(), bytes->size(), bytes};
}

int32_t ModelReader::AddTensor(const std::string& name) {
  const auto found = tensors_.find(name);
  if (found != tensors_.end()) return found->second;
  const auto index = static_cast<int32_t>(graph_->tensors.size());
  graph_->tensors.emplace_back().name = name;
  tensors_.emplace(name, index);
  return index;
}

void ModelReader::Slot(Node* node, uint32_t slot, const FbString* name) {
  if (name == nullptr || Full()) return;
  const auto index = static_cast<uint32_t>(graph_->nodes.size());  // of the node now being read
  const std::string_view text = View(name);
  if (node->slots.size() <= slot) node->slots.resize(slot + 1, kNone);
  if (const char* fault = NameFault(text)) return Fail(NodePath(index, *node, slot), "the name {}", fault);
  if (NodeSlotIsOutput(node->kind, slot))
    node->slots[slot] = AddTensor(std::string(text));
  else
    references_.push_back({index, slot, name});
}

void ModelReader::ReadNodes(const fb::OpGraph& graph) {
  for (uint32_t i = 0; i < graph.nodes()->size() && !Full(); ++i) {
    const fb::Node& node = *graph.nodes()->Get(i);
    Node to;
    to.name = Name(node.name(), fmt::format("nodes[{}]", i));
    const std::string path = fmt::format("nodes[{}].{}", i, to.name);
    if (graph_->nodes.size() != i) to.file_index = static_cast<int32_t>(i);
    ReadPolicy(node.policy(), path + ".policy", true, &to.policy);
    if (const auto* layer = node.op_as_MultiHeadAttention()) {
      to.file_index = static_cast<int32_t>(i);
      ReadLayer(*layer, path, to);
      continue;
    }
    ReadOp(node, path, &to);
    graph_->nodes.push_back(std::move(to));
  }
}

void ModelReader::ResolveInputs() {
  std::vector<std::string_view> known;
  for (const Reference& reference : references_) {
    if (Full()) return;
    Node& node = graph_->nodes[reference.node];
    const auto found = tensors_.find(std::string(View(reference.name)));
    if (found != tensors_.end()) {
      node.slots[reference.slot] = found->second;
      continue;
    }
    if (known.empty()) known = KeysOf(tensors_);
    Fail(NodePath(reference.node, node, reference.slot), "tensor \"{}\" does not exist{}", View(reference.name),
         hints_left_ > 0 ? DidYouMean(View(reference.name), known) : "");
    hints_left_ -= hints_left_ > 0 ? 1 : 0;
  }
}

void ModelReader::ReadNames(const flatbuffers::Vector<flatbuffers::Offset<FbString>>* names, const char* what,
                            std::vector<int32_t>* out) {
  if (names->size() > kMaxInputs) return Fail(what, "has {} names, at most {}", names->size(), kMaxInputs);
  for (uint32_t i = 0; i < names->size() && !Full(); ++i) {
    const std::string path = fmt::format("{}[{}]", what, i);
    const std::string name = Name(names->Get(i), path);
    const auto found = tensors_.find(name);
    if (found != tensors_.end()) {
      out->push_back(found->second);
      continue;
    }
    out->push_back(kNone);
    if (!name.empty()) {
      Fail(path, "tensor \"{}\" does not exist{}", name, hints_left_ > 0 ? DidYouMean(name, KeysOf(tensors_)) : "");
      hints_left_ -= hints_left_ > 0 ? 1 : 0;
    }
  }
}

// Rope without positions means 0, 1, 2 ...: the ABI has no such default, so they become a constant as long as the
// longest sequence, which every batch entry shares.
void ModelReader::AddDefaultPositions() {
  constexpr uint32_t kX = 0, kPositions = 1;
  constexpr int64_t kMostRows = int64_t{1} << 24;  // over all nodes: a small file must not ask for much memory
  std::map<int64_t, int32_t> made;                 // by length; nodes of one length share
  int64_t total = 0;
  std::vector<BoundTensor> shapes;
  for (size_t n = 0; n < graph_->nodes.size(); ++n) {
    Node& node = graph_->nodes[n];
    if (node.kind != SAGE_OP_ROPE || node.slots[kPositions] != kNone || node.slots[kX] == kNone) continue;
    if (shapes.empty()) {
      std::vector<int64_t> sizes;
      for (const Symbol& symbol : graph_->symbols) sizes.push_back(symbol.max);
      std::vector<ModelError> ignored;  // CheckGraph reports them
      InferShapes(*graph_, sizes, &shapes, &ignored);
    }
    const BoundTensor& x = shapes[static_cast<size_t>(node.slots[kX])];
    if (x.dtype == 0 || (x.rank != 3 && x.rank != 4)) continue;
    const int64_t rows = x.shape[x.rank == 3 ? 0 : 2];
    if (const auto same = made.find(rows); same != made.end()) {
      node.slots[kPositions] = same->second;
      continue;
    }
    total += std::min(rows, kMostRows + 1);
    if (total > kMostRows) {
      Fail(NodePath(n, node, kPositions), "is missing, and x has {} rows: above {} positions must be given", rows,
           kMostRows);
      return;
    }
    auto positions = std::make_shared<std::vector<int32_t>>(static_cast<size_t>(rows));
    for (size_t i = 0; i < positions->size(); ++i) (*positions)[i] = static_cast<int32_t>(i);
    std::string name = node.name + ".positions";
    while (tensors_.count(name) != 0) name += "_";
    node.slots[kPositions] = AddTensor(name);
    GraphTensor& tensor = graph_->tensors.back();
    tensor.dtype = SAGE_I32;
    tensor.shape = std::vector<Dim>{{rows, kNone}};
    tensor.constant = Constant{positions->data(), positions->size() * sizeof(int32_t), positions};
    made.emplace(rows, node.slots[kPositions]);
  }
}

}  // namespace sage
