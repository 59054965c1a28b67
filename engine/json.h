// json.h: strict JSON in and out without heap allocations after warm-up.
//
// Why not a library: a tick stream must not allocate per tick, numbers must be written in the shortest form that reads
// back equal, and an error must name the byte it stands at. The reader keeps its nodes in one vector that is reused.
// The tool, which has no such bounds, uses nlohmann-json.
#ifndef SAGE_ENGINE_JSON_H_
#define SAGE_ENGINE_JSON_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "status.h"

namespace sage {

// Appends to a string it owns; Clear keeps the capacity. Commas and escapes are its business, nesting the caller's.
class JsonWriter {
 public:
  void Clear();
  void Reserve(size_t bytes) { text_.reserve(bytes); }
  std::string_view text() const { return text_; }

  void BeginObject();
  void EndObject();
  void BeginArray();
  void EndArray();
  void Key(std::string_view key);
  void String(std::string_view utf8);  // invalid UTF-8 bytes become U+FFFD
  void Number(double value);           // shortest form that reads back equal; not finite: null
  void Integer(int64_t value);
  void Unsigned(uint64_t value);
  void Bool(bool value);
  void Null();
  void Raw(std::string_view json);  // one complete value made elsewhere

  // Key and value in one call.
  void Member(std::string_view key, std::string_view value) { Key(key), String(value); }
  void Member(std::string_view key, const char* value) { Key(key), String(value); }
  void Member(std::string_view key, double value) { Key(key), Number(value); }
  void Member(std::string_view key, bool value) { Key(key), Bool(value); }
  void Member(std::string_view key, int64_t value) { Key(key), Integer(value); }
  void Member(std::string_view key, uint64_t value) { Key(key), Unsigned(value); }
  void Member(std::string_view key, int32_t value) { Key(key), Integer(value); }
  void Member(std::string_view key, uint32_t value) { Key(key), Unsigned(value); }

 private:
  void Separate();
  std::string text_;
  bool comma_ = false;  // the next value or key needs one before it
};

enum class JsonType : uint8_t { kNull, kBool, kNumber, kString, kArray, kObject };

// A document's values in the order they stand, depth first. `next` is the index after the value and all inside it, so a
// container's children are index+1, then each child's next. In an object keys (kString) and values alternate.
struct JsonNode {
  JsonType type = JsonType::kNull;
  bool boolean = false;
  bool integral = false;  // a number written without '.', 'e' or '-0' that fits `integer`
  uint32_t offset = 0;    // first byte in the input
  uint32_t end = 0;       // the byte after the last
  uint32_t next = 0;
  uint32_t size = 0;  // elements, members, or the string's bytes
  double number = 0;
  int64_t integer = 0;
  const char* text = nullptr;  // strings: unescaped UTF-8, not NUL-terminated; where it needed no unescaping, the input
};

class JsonReader {
 public:
  static constexpr uint32_t kMaxDepth = 32;

  // Strict: one value, UTF-8, no duplicate keys in one object, no NaN or Infinity, numbers in double's range.
  // On failure the message says what and `error_offset` where. Input of 4 GiB or more is refused.
  // Strings are valid until the next Parse and as long as `json`, which most of them lie in, stays as it is.
  Status Parse(std::string_view json);
  uint64_t error_offset() const { return error_offset_; }

  const JsonNode& root() const { return nodes_[0]; }
  const JsonNode& at(uint32_t index) const { return nodes_[index]; }
  uint32_t IndexOf(const JsonNode& node) const { return static_cast<uint32_t>(&node - nodes_.data()); }
  std::string_view Text(const JsonNode& node) const { return {node.text, node.size}; }
  // The member's value, or null.
  const JsonNode* Find(const JsonNode& object, std::string_view key) const;

 private:
  struct Parser;
  std::vector<JsonNode> nodes_ = std::vector<JsonNode>(1);  // never empty: root() of a failed parse is a null
  std::vector<char> strings_;     // what had escapes; as large as the input before parsing, so it never moves
  std::vector<uint32_t> sorted_;  // scratch: an object's keys, to find a duplicate in n log n
  uint64_t error_offset_ = 0;
};

}  // namespace sage

#endif  // SAGE_ENGINE_JSON_H_
