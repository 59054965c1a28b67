// reader.cc: is it a model at all, and what stands round its graph: requirements, weight files, policy.
#include "model/reader.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>

#include "model/names.h"
#include "model/sha256.h"
#include "model/verify.h"
#include "sage/support/check_op.h"

namespace sage {
namespace {

// Meanings a file may require and this build has. None yet: the first release is the base line.
constexpr std::array<std::string_view, 0> kKnownRequirements{};

// The first bytes as text without comments and blanks: enough to tell JSON and schemas from the rest.
std::string TextHead(std::span<const uint8_t> bytes) {
  std::string text(reinterpret_cast<const char*>(bytes.data()), std::min<size_t>(bytes.size(), 65536));
  std::string head;
  for (size_t i = 0; i < text.size();) {
    if (text.compare(i, 2, "//") == 0) {
      i = std::min(text.find('\n', i), text.size());
    } else if (text.compare(i, 2, "/*") == 0) {
      const size_t end = text.find("*/", i + 2);
      i = end == std::string::npos ? text.size() : end + 2;
    } else {
      head += text[i++];
    }
  }
  const size_t first = head.find_first_not_of(" \t\r\n\xEF\xBB\xBF");
  return first == std::string::npos ? "" : head.substr(first);
}

bool IsText(std::span<const uint8_t> bytes) {
  return std::all_of(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(std::min<size_t>(bytes.size(), 4096)),
                     [](uint8_t c) { return c >= 0x20 || c == '\t' || c == '\n' || c == '\r'; });
}

bool StartsWithWord(std::string_view text, std::string_view word) {
  return text.substr(0, word.size()) == word && text.size() > word.size() &&
         (text[word.size()] == ' ' || text[word.size()] == '\t' || text[word.size()] == '\n' ||
          text[word.size()] == '\r');
}

}  // namespace

sage_dtype DtypeOf(fb::DType dtype) {
  switch (dtype) {
    case fb::DType::F32:
      return SAGE_F32;
    case fb::DType::F16:
      return SAGE_F16;
    case fb::DType::BF16:
      return SAGE_BF16;
    case fb::DType::F64:
      return SAGE_F64;
    case fb::DType::I8:
      return SAGE_I8;
    case fb::DType::I16:
      return SAGE_I16;
    case fb::DType::I32:
      return SAGE_I32;
    case fb::DType::I64:
      return SAGE_I64;
    case fb::DType::U8:
      return SAGE_U8;
    case fb::DType::U64:
      return SAGE_U64;
    case fb::DType::BOOL:
      return SAGE_BOOL;
    case fb::DType::F8_E4M3:
      return SAGE_F8_E4M3FN;
    case fb::DType::F8_E5M2:
      return SAGE_F8_E5M2;
  }
  return 0;
}

std::string ModelReader::NotAModel(std::span<const uint8_t> bytes) {
  if (bytes.empty()) return "the file is empty";
  const std::string_view all(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (all.size() >= 8 && all.substr(4, 4) == fb::ModelIdentifier()) return "";
  if (IsText(bytes)) {
    const std::string head = TextHead(bytes);
    if (head.substr(0, 1) == "{")
      return "this is JSON, not a binary model; `sage-engine convert IN.json OUT.fbs` makes one of it (the tool reads "
             "both)";
    for (const char* word : {"namespace", "table", "enum", "struct", "union", "include", "attribute", "root_type",
                             "file_identifier", "file_extension", "rpc_service"}) {
      if (StartsWithWord(head, word))
        return "this is a FlatBuffers schema, not a model: a model is compiled from data, `sage-engine convert IN.json "
               "OUT.fbs`";
    }
    return "this is text, not a model: a model is a FlatBuffer with \"SAG1\" in bytes 4 to 7";
  }
  if (all.size() > 9 && all[8] == '{') return "this is a safetensors file: weights, not a model";
  if (all.size() < 8) return fmt::format("the file has {} bytes, too few for a model: it is cut short", all.size());
  const std::string_view identifier = all.substr(4, 4);
  const bool printable = std::all_of(identifier.begin(), identifier.end(), [](char c) { return c > 0x20 && c < 0x7F; });
  if (printable && identifier.substr(0, 3) == "SAG")
    return fmt::format("this is a model of format {}, this build reads SAG1: a newer sage-engine is needed",
                       identifier);
  if (printable) return fmt::format("bytes 4 to 7 are \"{}\", a model has \"SAG1\" there", identifier);
  return "this is not a model: bytes 4 to 7 of a model are \"SAG1\"";
}

void ModelReader::Read(std::span<const uint8_t> bytes, const std::string* folder, const std::string& default_name,
                       const ModelOptions& options, Model* out, std::vector<ModelError>* errors) {
  if (bytes.size() > kMaxFileBytes) {
    errors->push_back(
        {"", fmt::format("the file has {} bytes, a model has at most {}: weights belong in safetensors files "
                         "beside it",
                         bytes.size(), kMaxFileBytes)});
    return;
  }
  if (std::string what = NotAModel(bytes); !what.empty()) {
    errors->push_back({"", std::move(what)});
    return;
  }
  flatbuffers::Verifier verifier(bytes.data(), bytes.size(), kMaxDepth, kMaxTables);
  if (!fb::VerifyModelBuffer(verifier)) {
    errors->push_back(
        {"", fmt::format("the file is damaged or cut short: its {} bytes are no complete FlatBuffer of this "
                         "format",
                         bytes.size())});
    return;
  }
  ModelReader reader(bytes, folder, options, errors);
  reader.ReadModel(*fb::GetModel(bytes.data()), default_name, out);
  if (errors->empty()) out->sha256_ = Sha256Hex(bytes);
}

std::string ModelReader::Name(const FbString* name, const std::string& path) {
  const std::string_view text = View(name);
  if (const char* fault = NameFault(text)) {
    Fail(path, "the name {}", fault);
    return "";
  }
  return std::string(text);
}

void ModelReader::ReadModel(const fb::Model& model, const std::string& default_name, Model* out) {
  // Before anything else: a file that needs what we do not have must not be judged by rules that may have changed.
  if (model.requires_() != nullptr) {
    for (uint32_t i = 0; i < model.requires_()->size() && !Full(); ++i) {
      const std::string_view name = View(model.requires_()->Get(i));
      const char* const fault = NameFault(name);
      if (fault != nullptr)
        Fail(fmt::format("requires[{}]", i), "the name {}", fault);
      else if (std::find(std::begin(kKnownRequirements), std::end(kKnownRequirements), name) ==
               std::end(kKnownRequirements))
        Fail(fmt::format("requires[{}]", i),
             "the model requires \"{}\", which this build does not have; a newer sage-engine is needed", name);
    }
    if (!errors_.empty()) return;
  }
  out->name_ = default_name;
  if (model.name() != nullptr) out->name_ = Name(model.name(), "name");
  if (model.description() != nullptr) {
    if (model.description()->size() > 65536)
      Fail("description", "is {} bytes, at most 65536", model.description()->size());
    else
      out->description_ = View(model.description());
  }
  if (model.metadata() != nullptr) {
    std::set<std::string> keys;
    for (uint32_t i = 0; i < model.metadata()->size() && !Full(); ++i) {
      const std::string path = fmt::format("metadata[{}]", i);
      const std::string key = Name(model.metadata()->Get(i)->key(), path);
      if (!key.empty() && !keys.insert(key).second) Fail(path, "the key \"{}\" is there twice", key);
    }
  }
  ReadPolicy(model.policy(), "policy", false, &out->policy_);
  ReadWeightFiles(model);
  switch (model.graph_type()) {
    case fb::Graph::OpGraph: {
      auto graph = ReadOpGraph(*model.graph_as_OpGraph());
      if (graph_ != nullptr) graph_->policy = out->policy_;
      out->content_ = std::move(graph);
      break;
    }
    case fb::Graph::ExpertGraph:
      out->content_ = ReadExpert(*model.graph_as_ExpertGraph());
      break;
    case fb::Graph::MetabolicGraph:
      out->content_ = ReadMetabolic(*model.graph_as_MetabolicGraph());
      break;
    case fb::Graph::FusionGraph:
      out->content_ = ReadFusion(*model.graph_as_FusionGraph());
      if (!out->policy_.max_latency_ms) out->policy_.max_latency_ms = 10;
      break;
    default:
      return Fail("graph", "kind {} of graph is not known to this build; a newer sage-engine is needed",
                  static_cast<int>(model.graph_type()));
  }
  // Replays of a tick stream must choose and compute alike.
  if (model.graph_type() != fb::Graph::OpGraph && !out->policy_.deterministic) out->policy_.deterministic = true;
}

void ModelReader::ReadWeightFiles(const fb::Model& model) {
  if (model.weight_files() == nullptr) return;
  std::set<std::string> seen;
  for (uint32_t i = 0; i < model.weight_files()->size() && !Full(); ++i) {
    const fb::WeightFile& file = *model.weight_files()->Get(i);
    const std::string path = fmt::format("weight_files[{}]", i);
    WeightFileSpec spec;
    spec.path = View(file.path()).substr(0, 4096);
    const auto fail = [&](const Status& status) {
      Fail(fmt::format("{}.{}", path, spec.path), "{}", status.message());
      weights_.Forget(spec.path);
    };
    if (Status status = CheckWeightPath(spec.path); !status.ok()) {
      Fail(path, "{}", status.message());
      weights_.Forget(spec.path);
      continue;
    }
    if (!seen.insert(spec.path).second) {
      Fail(path, "\"{}\" is listed twice", spec.path);
      continue;
    }
    if (!Known(file.format(), path + ".format")) {
      weights_.Forget(spec.path);
      continue;
    }
    spec.safetensors = file.format() == fb::WeightFormat::SAFETENSORS;
    spec.size = file.size();
    if (file.sha256() != nullptr) {
      spec.sha256 = View(file.sha256()).substr(0, 65);
      const bool hex = std::all_of(spec.sha256.begin(), spec.sha256.end(), [](char c) {
        return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
      });
      if (spec.sha256.size() != 64 || !hex) {
        fail(Status(SAGE_E_BAD_DATA, "sha256 must be 64 hexadecimal digits"));
        continue;
      }
    }
    if (folder_ == nullptr) {
      fail(Status(SAGE_E_NOT_FOUND,
                  "cannot be opened: the model was given as bytes, without the folder where its weights lie"));
      continue;
    }
    if (Status status = weights_.Open(*folder_, spec); !status.ok()) fail(status);
  }
}

void ModelReader::ReadPolicy(const fb::AttentionPolicy* policy, const std::string& path, bool of_node,
                             AttentionPolicy* out) {
  if (policy == nullptr) return;
  const auto number = [](auto value) -> std::optional<uint32_t> {
    return value.has_value() ? std::optional<uint32_t>(static_cast<uint32_t>(*value)) : std::nullopt;
  };
  ReadEnum(policy->algorithm(), path + ".algorithm", &out->algorithm);
  ReadEnum(policy->accuracy(), path + ".accuracy", &out->accuracy);
  ReadEnum(policy->preset(), path + ".preset", &out->preset);
  out->flash_threshold = number(policy->flash_threshold());
  constexpr uint32_t kLargestTile = 65536;
  const auto tile = [&](const char* field, flatbuffers::Optional<uint32_t> value, std::optional<uint32_t>* to) {
    if (value.has_value() && *value > kLargestTile)
      return Fail(path + field, "is {}; at most {}", *value, kLargestTile);
    *to = number(value);
  };
  tile(".block_q", policy->block_q(), &out->block_q);
  tile(".block_kv", policy->block_kv(), &out->block_kv);
  const auto flag = [](flatbuffers::Optional<bool> value) {
    return value.has_value() ? std::optional<bool>(*value) : std::nullopt;
  };
  out->use_simd = flag(policy->use_simd());
  out->deterministic = flag(policy->deterministic());
  out->stream_capture = flag(policy->stream_capture());
  out->strict = flag(policy->strict());
  const auto backend = [&](const std::string& field, const FbString* name) {
    const std::string_view text = View(name);
    if (IsBackendName(text)) return true;
    Fail(field, "must be a backend's name, 1 to 32 of a-z, 0-9 and _, such as \"cpu\"; never a path");
    return false;
  };
  if (policy->backend() != nullptr && backend(path + ".backend", policy->backend()))
    out->backend = View(policy->backend());
  if (policy->backend_order() != nullptr) {
    if (policy->backend_order()->size() > 64) Fail(path + ".backend_order", "has more than 64 names");
    for (uint32_t i = 0; i < std::min(policy->backend_order()->size(), 64u); ++i) {
      const FbString* name = policy->backend_order()->Get(i);
      if (backend(fmt::format("{}.backend_order[{}]", path, i), name)) out->backend_order.emplace_back(View(name));
    }
  }
  if (policy->max_latency_ms()) {
    const double value = *policy->max_latency_ms();
    if (value >= 0 && std::isfinite(value))
      out->max_latency_ms = value;
    else
      Fail(path + ".max_latency_ms", "is {}; it must be a finite number >= 0", value);
  }
  if (policy->max_memory()) {
    if (of_node)
      Fail(path + ".max_memory", "belongs into the model's policy: memory is planned for the graph, not for a node");
    else if (*policy->max_memory() == 0)
      Fail(path + ".max_memory", "is 0; leave it out for no limit");
    else
      out->max_memory = *policy->max_memory();
  }
}

std::optional<WeightArray> ModelReader::ReadWeight(const fb::Weight& weight, const std::string& path,
                                                   std::optional<sage_dtype> dtype,
                                                   std::optional<std::vector<int64_t>> shape) {
  WeightRequest request;
  if ((weight.file() != nullptr && weight.file()->size() > 4095) ||
      (weight.key() != nullptr && weight.key()->size() > 4096)) {
    Fail(path, "names a file or key of more than 4096 bytes");
    return std::nullopt;
  }
  request.file = View(weight.file());
  request.key = View(weight.key());
  request.offset = weight.offset();
  request.dtype = dtype;
  request.shape = std::move(shape);
  bool unknown = false;
  auto found = weights_.Find(request, &unknown);
  if (found.ok()) return std::move(*found);
  if (unknown)
    silenced_.insert(path);
  else
    Fail(path, "{}", found.status().message());
  return std::nullopt;
}

}  // namespace sage
