// text_form.cc: FlatBuffers' parser with a strict reader in front of it, so that it only ever sees well-formed JSON.
#include "text_form.h"

#include <flatbuffers/idl.h>
#include <flatbuffers/util.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "schemas/model_generated.h"
#include "schemas/model_text.h"

namespace sage::tool {
namespace {

constexpr size_t kIdentifierAt = 4, kIdentifierSize = 4;
constexpr int kMaxDepth = 32;

bool IsBinary(std::string_view content) {
  return content.size() >= kIdentifierAt + kIdentifierSize &&
         content.substr(kIdentifierAt, kIdentifierSize) == fb::ModelIdentifier();
}

flatbuffers::IDLOptions Options(bool defaults) {
  flatbuffers::IDLOptions options;
  options.strict_json = true;
  options.skip_unexpected_fields_in_json = false;
  options.output_default_scalars_in_json = defaults;
  options.indent_step = 2;
  return options;
}

// "(12): error: unknown field: gama, did you ..." -> "line 12: unknown field: gama"
std::string Readable(std::string message) {
  const size_t open = message.find('('), colon = message.find("): error: ");
  if (open == std::string::npos || colon == std::string::npos) return message;
  return fmt::format("line {}: {}", message.substr(open + 1, colon - open - 1), message.substr(colon + 10));
}

Result<std::vector<uint8_t>> Finished(const flatbuffers::Parser& parser) {
  const uint8_t* begin = parser.builder_.GetBufferPointer();
  return std::vector<uint8_t>(begin, begin + parser.builder_.GetSize());
}

Result<std::vector<uint8_t>> FromJson(std::string_view content) {
  try {
    const auto bounded = [](int depth, nlohmann::json::parse_event_t, nlohmann::json&) -> bool {
      if (depth > kMaxDepth) throw std::length_error(fmt::format("nested deeper than {} levels", kMaxDepth));
      return true;
    };
    const nlohmann::json checked = nlohmann::json::parse(content, bounded);
    if (!checked.is_object()) return Status(SAGE_E_BAD_DATA, "a model in JSON is one object");
    // The parser would quietly build a model of nothing from it.
    if (checked.empty()) return Status(SAGE_E_BAD_DATA, "an empty object; a model needs \"graph_type\" and \"graph\"");
  } catch (const nlohmann::json::parse_error& error) {
    const auto end = content.begin() + static_cast<std::ptrdiff_t>(std::min(content.size(), error.byte));
    return Status(SAGE_E_BAD_DATA,
                  fmt::format("not JSON: line {}: {}", 1 + std::count(content.begin(), end, '\n'),
                              std::string_view(error.what()).substr(std::string_view(error.what()).find(']') + 2)));
  } catch (const std::length_error& error) {
    return Status(SAGE_E_BAD_DATA, fmt::format("not a model: {}", error.what()));
  }
  flatbuffers::Parser parser(Options(false));
  if (!parser.Parse(kModelSchemaText))
    return Status(SAGE_E_INTERNAL, "the schema built in does not parse: " + parser.error_);
  if (!parser.ParseJson(std::string(content).c_str())) return Status(SAGE_E_BAD_DATA, Readable(parser.error_));
  return Finished(parser);
}

// A schema with data behind it. Its own schema is used to read the data; that it is ours is proved by what comes out.
Result<std::vector<uint8_t>> FromFlatBuffersText(std::string_view content) {
  flatbuffers::Parser parser(Options(false));
  // No include paths: a model is one file and reads no other.
  if (!parser.Parse(std::string(content).c_str(), nullptr))
    return Status(SAGE_E_BAD_DATA,
                  fmt::format("neither a model (bytes 4 to 7 are not SAG1), nor JSON, nor FlatBuffers text: {}",
                              Readable(parser.error_)));
  if (parser.builder_.GetSize() == 0)
    return Status(SAGE_E_BAD_DATA,
                  "this is a FlatBuffers schema, not a model; a model is data of that schema, such as "
                  "examples/models/expert.json");
  if (parser.file_identifier_ != fb::ModelIdentifier())
    return Status(SAGE_E_BAD_DATA,
                  fmt::format("FlatBuffers text of another schema: its file_identifier is \"{}\", a model's is \"{}\"",
                              parser.file_identifier_, fb::ModelIdentifier()));
  return Finished(parser);
}

// The verifier lets an unknown union type pass, the text generator would look it up.
bool UnionsKnown(const fb::Model& model) {
  if (model.graph_type() <= fb::Graph::NONE || model.graph_type() > fb::Graph::MAX) return false;
  const fb::OpGraph* graph = model.graph_as_OpGraph();
  if (graph == nullptr) return true;
  const auto known = fb::EnumValuesOp();
  for (const fb::Node* node : *graph->nodes())
    if (node->op_type() == fb::Op::NONE ||
        std::find(std::begin(known), std::end(known), node->op_type()) == std::end(known))
      return false;
  return true;
}

}  // namespace

Result<std::vector<uint8_t>> ModelToBinary(std::string_view content) {
  if (IsBinary(content)) return std::vector<uint8_t>(content.begin(), content.end());
  const auto first = std::find_if(content.begin(), content.end(), [](unsigned char c) { return std::isspace(c) == 0; });
  if (first == content.end()) return Status(SAGE_E_BAD_DATA, "an empty file, not a model");
  if (content.find('\0') != std::string_view::npos)
    return Status(SAGE_E_BAD_DATA, "not a model: bytes 4 to 7 are not SAG1, and it is not text");
  return *first == '{' ? FromJson(content) : FromFlatBuffersText(content);
}

Result<std::string> ModelToJson(std::span<const uint8_t> binary, bool defaults) {
  // The verifier wants aligned memory; the caller's may lie anywhere.
  std::vector<uint64_t> aligned((binary.size() + 7) / 8);
  if (!binary.empty()) std::memcpy(aligned.data(), binary.data(), binary.size());
  const auto* bytes = reinterpret_cast<const uint8_t*>(aligned.data());
  flatbuffers::Verifier verifier(bytes, binary.size(), 16, 65536);
  if (binary.size() < kIdentifierAt + kIdentifierSize || !fb::VerifyModelBuffer(verifier) ||
      !UnionsKnown(*fb::GetModel(bytes)))
    return Status(SAGE_E_BAD_DATA, "damaged, or not a model; sage-engine validate says where");
  flatbuffers::Parser parser(Options(defaults));
  if (!parser.Parse(kModelSchemaText))
    return Status(SAGE_E_INTERNAL, "the schema built in does not parse: " + parser.error_);
  std::string text;
  if (!flatbuffers::GenerateText(parser, bytes, &text)) return Status(SAGE_E_BAD_DATA, "holds text that is not UTF-8");
  return text;
}

}  // namespace sage::tool
