// reader.h: a verified FlatBuffer read into plain structs; behind Model::Load, LoadBuffer and Check.
//
// FlatBuffers' own verifier runs first and proves that no offset leaves the file; what the numbers and names mean is
// proved here (names, enums, nulls, weights) and in verify.h (the graph).
#ifndef SAGE_ENGINE_MODEL_READER_H_
#define SAGE_ENGINE_MODEL_READER_H_

#include <fmt/format.h>

#include <cstring>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "model/model.h"
#include "model/weights.h"
#include "schemas/model_generated.h"

namespace sage {

class ModelReader {
 public:
  static constexpr size_t kMaxFileBytes = size_t{64} << 20;
  static constexpr uint32_t kMaxDepth = 16, kMaxTables = 65536;

  // bytes: the whole file, in memory nobody else writes. folder: where weight paths begin; null = no weight files.
  // Errors are appended; out is complete when there are none. default_name: for a model that has no name of its own.
  static void Read(std::span<const uint8_t> bytes, const std::string* folder, const std::string& default_name,
                   const ModelOptions& options, Model* out, std::vector<ModelError>* errors);

 private:
  using FbString = flatbuffers::String;

  ModelReader(std::span<const uint8_t> bytes, const std::string* folder, const ModelOptions& options,
              std::vector<ModelError>* errors)
      : bytes_(bytes),
        folder_(folder),
        weights_(options),
        errors_(*errors),
        values_left_(bytes.size() / sizeof(double)) {}

  // What the bytes are if they are no model: empty when bytes 4-7 are right.
  static std::string NotAModel(std::span<const uint8_t> bytes);
  void ReadModel(const fb::Model& model, const std::string& default_name, Model* out);
  void ReadWeightFiles(const fb::Model& model);
  void ReadPolicy(const fb::AttentionPolicy* policy, const std::string& path, bool of_node, AttentionPolicy* out);

  // reader_graph.cc
  std::shared_ptr<const Graph> ReadOpGraph(const fb::OpGraph& graph);
  void ReadSymbols(const fb::OpGraph& graph);
  void ReadTensors(const fb::OpGraph& graph);
  void ReadTensor(const fb::Tensor& tensor, const std::string& path, GraphTensor* out);
  bool ReadDims(const flatbuffers::Vector<flatbuffers::Offset<fb::Dim>>* dims, const std::string& path,
                std::vector<Dim>* out);
  void ReadValues(const flatbuffers::Vector<double>& values, const std::string& path, GraphTensor* out);
  void ReadNodes(const fb::OpGraph& graph);
  void ReadNames(const flatbuffers::Vector<flatbuffers::Offset<FbString>>* names, const char* what,
                 std::vector<int32_t>* out);
  void ResolveInputs();
  void AddDefaultPositions();
  // reader_layer.cc
  void ReadLayer(const fb::MultiHeadAttention& op, const std::string& path, const Node& prototype);
  // reader_nodes.cc
  void ReadOp(const fb::Node& node, const std::string& path, Node* out);
  void ReadAttention(const fb::Attention& op, const std::string& path, Node* out);
  // A bound of a window, if the file has one.
  void ReadWindow(flatbuffers::Optional<uint64_t> value, const std::string& path, uint64_t feature, int64_t* to,
                  uint64_t* features);
  // What an Attention and a MultiHeadAttention say alike: scale, causal, alignment, window.
  template <class Op>
  void ReadScaleAndVisibility(const Op& op, const std::string& path, sage_attention_attributes* out) {
    if (op.scale()) {
      out->features |= SAGE_ATTN_F_SCALE;
      out->scale = *op.scale();
    }
    if (op.causal()) out->features |= SAGE_ATTN_F_CAUSAL;
    ReadEnum(op.align(), path + ".align", &out->alignment);
    ReadWindow(op.window_left(), path + ".window_left", SAGE_ATTN_F_WINDOW_LEFT, &out->window_left, &out->features);
    ReadWindow(op.window_right(), path + ".window_right", SAGE_ATTN_F_WINDOW_RIGHT, &out->window_right, &out->features);
  }
  // Notes that slot of the node now being read names a tensor. null = absent.
  void Slot(Node* node, uint32_t slot, const FbString* name);
  int32_t AddTensor(const std::string& name);

  // reader_sage.cc
  ExpertParams ReadExpert(const fb::ExpertGraph& graph);
  MetabolicParams ReadMetabolic(const fb::MetabolicGraph& graph);
  FusionParams ReadFusion(const fb::FusionGraph& graph);
  void ReadAttention(const fb::GraphAttention* attention, int64_t d_model, int64_t query_heads, int64_t kv_heads,
                     SageAttention* out);
  void ReadProjection(const fb::Projection* projection, const std::string& path, const SageAttention& attention,
                      int64_t rows, int64_t columns, std::optional<ProjectionWeights>* out);

  std::optional<WeightArray> ReadWeight(const fb::Weight& weight, const std::string& path,
                                        std::optional<sage_dtype> dtype, std::optional<std::vector<int64_t>> shape);

  template <class... Args>
  void Fail(std::string path, fmt::format_string<Args...> format, Args&&... args) {
    if (!Full()) errors_.push_back({std::move(path), fmt::format(format, std::forward<Args>(args)...)});
  }
  // A hostile file may be wrong in a million places; a person reads the first few.
  bool Full() const { return errors_.size() >= 256; }
  // The name, or empty after an error.
  std::string Name(const FbString* name, const std::string& path);
  // An enum's number is a value this build knows; else false after an error. Enumerators are contiguous.
  template <class Enum>
  bool Known(Enum value, const std::string& path) {
    if (value >= Enum::MIN && value <= Enum::MAX) return true;
    Fail(path, "is {}, a value this build does not know; it knows {} to {}", static_cast<int>(value),
         static_cast<int>(Enum::MIN), static_cast<int>(Enum::MAX));
    return false;
  }
  // *out = the value of the same number, if this build knows it; left alone where a file says none.
  template <class Enum, class Ours>
  bool ReadEnum(Enum value, const std::string& path, Ours* out) {
    if (!Known(value, path)) return false;
    *out = static_cast<Ours>(value);
    return true;
  }
  template <class Enum, class Out>
  void ReadEnum(const flatbuffers::Optional<Enum>& value, const std::string& path, Out* out) {
    if (value) ReadEnum(*value, path, out);
  }
  template <class Enum, class Ours>
  void ReadEnum(const flatbuffers::Optional<Enum>& value, const std::string& path, std::optional<Ours>* out) {
    if (value && Known(*value, path)) *out = static_cast<Ours>(*value);
  }
  static std::string_view View(const FbString* text) {
    return text == nullptr ? std::string_view() : std::string_view(text->c_str(), text->size());
  }

  struct Reference {  // an input slot that waits until all tensors are known
    uint32_t node, slot;
    const FbString* name;
  };

  std::span<const uint8_t> bytes_;
  const std::string* folder_;
  Weights weights_;
  std::vector<ModelError>& errors_;
  uint64_t values_left_;  // shared vectors could make a small file a large graph
  uint32_t hints_left_ = 32;
  std::shared_ptr<Graph> graph_;
  std::unordered_map<std::string, int32_t> symbols_, tensors_;
  std::vector<Reference> references_;
  std::set<std::string> silenced_;  // places whose cause is reported elsewhere
};

// Element i of a file's vector of doubles. FlatBuffers' verifier aligns a vector's length, not its elements, so in a
// damaged file they may lie anywhere: copied, never dereferenced.
inline double DoubleAt(const flatbuffers::Vector<double>& values, uint32_t i) {
  double value = 0;
  std::memcpy(&value, values.Data() + size_t{i} * sizeof value, sizeof value);
  return flatbuffers::EndianScalar(value);
}

// The ABI's number of a type of the file; 0 when unknown.
sage_dtype DtypeOf(fb::DType dtype);

}  // namespace sage

#endif  // SAGE_ENGINE_MODEL_READER_H_
