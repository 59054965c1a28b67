// model.h: a checked file and its weights; immutable, shared by sessions.
#ifndef SAGE_ENGINE_MODEL_MODEL_H_
#define SAGE_ENGINE_MODEL_MODEL_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "model/graph.h"
#include "model/sage_params.h"
#include "status.h"

namespace sage {

// One thing wrong with a file, and where: "nodes[3].attn0.k", "tensor \"kk\" does not exist; did you mean \"k\"?".
struct ModelError {
  std::string path;
  std::string message;
};

struct ModelOptions {
  bool copy_weights = false;  // read instead of map: safe against a file that is cut short later
  uint64_t max_weight_bytes = UINT64_MAX;
};

class Model {
 public:
  using Content = std::variant<std::shared_ptr<const Graph>, ExpertParams, MetabolicParams, FusionParams>;

  // Reads, copies, verifies and maps. On failure the message holds the first errors; Check gives them all.
  static Result<std::shared_ptr<const Model>> Load(const std::string& path, const ModelOptions& options);
  // bytes are copied. weights_folder: where relative weight paths begin; empty = a model without weight files.
  static Result<std::shared_ptr<const Model>> LoadBuffer(std::span<const uint8_t> bytes,
                                                         const std::string& weights_folder,
                                                         const ModelOptions& options);
  // All errors of a file; empty = it is valid. A Status only when the file could not be read at all.
  static Result<std::vector<ModelError>> Check(const std::string& path, const ModelOptions& options);
  static std::vector<ModelError> CheckBuffer(std::span<const uint8_t> bytes, const std::string& weights_folder,
                                             const ModelOptions& options);

  // Of a program's own making: no file behind it.
  explicit Model(Content content) : content_(std::move(content)) {}
  Model() = default;

  uint32_t kind() const { return static_cast<uint32_t>(content_.index()) + 1; }  // SAGE_MODEL_*
  const Content& content() const { return content_; }
  const AttentionPolicy& policy() const { return policy_; }
  const std::string& name() const { return name_; }
  const std::string& description() const { return description_; }
  // SHA-256 of the file's bytes, lower-case hex; empty for a model without a file. Snapshots are tied to it.
  const std::string& sha256() const { return sha256_; }

 private:
  friend class ModelReader;
  Content content_;
  AttentionPolicy policy_;
  std::string name_, description_, sha256_;
};

}  // namespace sage

#endif  // SAGE_ENGINE_MODEL_MODEL_H_
