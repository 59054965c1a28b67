// json_writer.cc: text appended to one string that is kept; the shortest digits that read back equal.
#include <charconv>
#include <cmath>
#include <cstring>

#include "json.h"
#include "utf8.h"

namespace sage {

void JsonWriter::Clear() {
  text_.clear();
  comma_ = false;
}

void JsonWriter::Separate() {
  if (comma_) text_.push_back(',');
  comma_ = true;
}

void JsonWriter::BeginObject() {
  Separate();
  text_.push_back('{');
  comma_ = false;
}

void JsonWriter::EndObject() {
  text_.push_back('}');
  comma_ = true;
}

void JsonWriter::BeginArray() {
  Separate();
  text_.push_back('[');
  comma_ = false;
}

void JsonWriter::EndArray() {
  text_.push_back(']');
  comma_ = true;
}

void JsonWriter::Key(std::string_view key) {
  String(key);
  text_.push_back(':');
  comma_ = false;
}

void JsonWriter::String(std::string_view utf8) {
  static constexpr char kHex[] = "0123456789abcdef";
  Separate();
  text_.push_back('"');
  const auto plain = [](char c) { return c >= 0x20 && c < 0x7f && c != '"' && c != '\\'; };
  for (size_t i = 0; i < utf8.size();) {
    size_t run = i;
    while (run < utf8.size() && plain(utf8[run])) ++run;
    text_.append(utf8.substr(i, run - i));
    i = run;
    if (i == utf8.size()) break;
    const char c = utf8[i];
    const size_t length = Utf8Length(utf8.substr(i));
    if (length == 0) {
      text_.append("\xef\xbf\xbd");
      i += 1;
      continue;
    }
    if (length == 1 && (c == '"' || c == '\\')) {
      text_.push_back('\\');
      text_.push_back(c);
    } else if (length == 1 && static_cast<unsigned char>(c) < 0x20) {
      const char* shorthand = std::strchr("\bb\ff\nn\rr\tt", c);
      text_.push_back('\\');
      if (c != 0 && shorthand != nullptr) {
        text_.push_back(shorthand[1]);
      } else {
        text_.append("u00");
        text_.push_back(kHex[(c >> 4) & 15]);
        text_.push_back(kHex[c & 15]);
      }
    } else {
      text_.append(utf8.substr(i, length));
    }
    i += length;
  }
  text_.push_back('"');
}

void JsonWriter::Number(double value) {
  if (!std::isfinite(value)) return Null();
  Separate();
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, value);
  text_.append(digits, static_cast<size_t>(end.ptr - digits));
}

void JsonWriter::Integer(int64_t value) {
  Separate();
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof digits, value);
  text_.append(digits, static_cast<size_t>(end.ptr - digits));
}

void JsonWriter::Unsigned(uint64_t value) {
  Separate();
  char digits[24];
  const auto end = std::to_chars(digits, digits + sizeof digits, value);
  text_.append(digits, static_cast<size_t>(end.ptr - digits));
}

void JsonWriter::Bool(bool value) { Raw(value ? "true" : "false"); }

void JsonWriter::Null() { Raw("null"); }

void JsonWriter::Raw(std::string_view json) {
  Separate();
  text_.append(json);
}

}  // namespace sage
