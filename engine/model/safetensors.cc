// safetensors.cc: parsed by the engine's strict JSON reader, then checked number by number.
#include "model/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <tuple>

#include "json.h"
#include "model/shapes.h"
#include "sage/support/check_op.h"

namespace sage {
namespace {

constexpr uint64_t kMaxHeader = 100'000'000;  // the format's own limit

struct DtypeRow {
  std::string_view name;
  sage_dtype dtype;  // 0 = not ours
  uint32_t bytes;
};
constexpr DtypeRow kDtypes[] = {{"F64", SAGE_F64, 8},
                                {"F32", SAGE_F32, 4},
                                {"F16", SAGE_F16, 2},
                                {"BF16", SAGE_BF16, 2},
                                {"I64", SAGE_I64, 8},
                                {"I32", SAGE_I32, 4},
                                {"I16", SAGE_I16, 2},
                                {"I8", SAGE_I8, 1},
                                {"U64", SAGE_U64, 8},
                                {"U32", 0, 4},
                                {"U16", 0, 2},
                                {"U8", SAGE_U8, 1},
                                {"BOOL", SAGE_BOOL, 1},
                                {"F8_E4M3", SAGE_F8_E4M3FN, 1},
                                {"F8_E5M2", SAGE_F8_E5M2, 1}};

const DtypeRow* FindDtype(std::string_view name) {
  for (const DtypeRow& row : kDtypes) {
    if (row.name == name) return &row;
  }
  return nullptr;
}

Status Bad(std::string message) { return Status(SAGE_E_BAD_DATA, std::move(message)); }

Status ReadEntry(const JsonReader& json, const JsonNode& value, uint64_t data_begin, uint64_t data_bytes,
                 SafetensorsEntry* out) {
  if (value.type != JsonType::kObject) return Bad("must be an object with dtype, shape and data_offsets");
  const JsonNode* dtype = json.Find(value, "dtype");
  const JsonNode* shape = json.Find(value, "shape");
  const JsonNode* offsets = json.Find(value, "data_offsets");
  if (dtype == nullptr || dtype->type != JsonType::kString) return Bad("dtype is missing or no string");
  if (shape == nullptr || shape->type != JsonType::kArray) return Bad("shape is missing or no array");
  if (offsets == nullptr || offsets->type != JsonType::kArray || offsets->size != 2)
    return Bad("data_offsets is missing or no array of two numbers");
  out->dtype_name = json.Text(*dtype);
  const DtypeRow* row = FindDtype(out->dtype_name);
  out->dtype = row == nullptr ? 0 : row->dtype;

  uint32_t index = json.IndexOf(*shape) + 1;
  for (uint32_t i = 0; i < shape->size; ++i, index = json.at(index).next) {
    const JsonNode& size = json.at(index);
    if (size.type != JsonType::kNumber || !size.integral || size.integer < 0)
      return Bad("shape has an element that is no whole number >= 0");
    out->shape.push_back(size.integer);
  }
  uint64_t range[2] = {};
  index = json.IndexOf(*offsets) + 1;
  for (uint64_t& bound : range) {
    const JsonNode& number = json.at(index);
    if (number.type != JsonType::kNumber || !number.integral || number.integer < 0)
      return Bad("data_offsets has an element that is no whole number >= 0");
    bound = static_cast<uint64_t>(number.integer);
    index = number.next;
  }
  if (range[0] > range[1] || range[1] > data_bytes)
    return Bad(fmt::format("data_offsets [{}, {}] do not lie in the {} bytes of data: the file is cut short or damaged",
                           range[0], range[1], data_bytes));
  out->offset = data_begin + range[0];
  out->bytes = range[1] - range[0];
  if (row == nullptr) return {};  // its length cannot be judged, and nobody can use it
  SAGE_ASSIGN_OR_RETURN(const int64_t elements, ElementCount(out->shape));
  uint64_t expected = 0;
  if (__builtin_mul_overflow(static_cast<uint64_t>(elements), uint64_t{row->bytes}, &expected) ||
      expected != out->bytes)
    return Bad(fmt::format("{} elements of {} need {} bytes, data_offsets give {}", elements, out->dtype_name, expected,
                           out->bytes));
  return {};
}

}  // namespace

sage_dtype SafetensorsDtype(std::string_view name) {
  const DtypeRow* row = FindDtype(name);
  return row == nullptr ? 0 : row->dtype;
}

Result<SafetensorsHeader> ParseSafetensors(std::span<const uint8_t> file) {
  if (file.size() < 8) return Bad(fmt::format("is {} bytes, too short for a safetensors file", file.size()));
  uint64_t length = 0;
  for (size_t i = 0; i < 8; ++i) length |= uint64_t{file[i]} << (8 * i);
  if (length > kMaxHeader || length > file.size() - 8)
    return Bad(
        fmt::format("its first 8 bytes say a header of {} bytes, the file has {} after them: no safetensors file, "
                    "or cut short",
                    length, file.size() - 8));
  const uint64_t data_begin = 8 + length, data_bytes = file.size() - data_begin;
  JsonReader json;
  const std::string_view text(reinterpret_cast<const char*>(file.data()) + 8, length);
  if (Status status = json.Parse(text); !status.ok())
    return Bad(fmt::format("header, byte {}: {}", 8 + json.error_offset(), status.message()));
  const JsonNode& root = json.root();
  if (root.type != JsonType::kObject) return Bad("the header is no JSON object");

  SafetensorsHeader header;
  std::vector<std::tuple<uint64_t, uint64_t, std::string_view>> ranges;
  uint32_t index = json.IndexOf(root) + 1;
  for (uint32_t i = 0; i < root.size; ++i) {
    const JsonNode& key = json.at(index);
    const JsonNode& value = json.at(key.next);
    index = value.next;
    if (json.Text(key) == "__metadata__") continue;
    SafetensorsEntry entry;
    const std::string name(json.Text(key));
    if (Status status = ReadEntry(json, value, data_begin, data_bytes, &entry); !status.ok())
      return Bad(fmt::format("entry \"{}\": {}", name, status.message()));
    const auto at = header.emplace(name, std::move(entry)).first;
    ranges.emplace_back(at->second.offset, at->second.bytes, at->first);
  }
  std::sort(ranges.begin(), ranges.end());
  uint64_t end = data_begin;
  for (const auto& [offset, bytes, name] : ranges) {
    if (offset != end)
      return Bad(fmt::format(
          "entry \"{}\" {} at byte {}, expected {}", name,
          offset < end ? "overlaps the one before it: it starts" : "leaves a hole before it: it starts", offset, end));
    end = offset + bytes;
  }
  if (end != file.size()) return Bad(fmt::format("has {} bytes that no entry of the header names", file.size() - end));
  return header;
}

}  // namespace sage
