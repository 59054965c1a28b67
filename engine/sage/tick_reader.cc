// tick_reader.cc: the checks behind a tick, and their sentences.
#include "sage/tick_reader.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <numeric>

#include "bytes16.h"
#include "options.h"
#include "sage/base64.h"

namespace sage {
namespace {

std::string RangeText(double low, double high) {
  constexpr double kAny = std::numeric_limits<double>::max();
  const bool below = low > -kAny, above = high < kAny;
  if (below && above) return "lie in [" + NumberText(low) + ", " + NumberText(high) + "]";
  return below ? "be at least " + NumberText(low) : "be at most " + NumberText(high);
}

// Whether every |value| <= limit; false where one is NaN.
bool AllWithin(std::span<const double> values, double limit) {
  Bytes16 outside{};
  size_t i = 0;
  for (; i + 2 <= values.size(); i += 2) {
    const auto pair = Load16<Doubles16>(&values[i]);
    outside |= ~(Mask16(pair <= limit) & Mask16(pair >= -limit));
  }
  return !AnyBit(outside) && (i == values.size() || std::fabs(values[i]) <= limit);
}

}  // namespace

std::string Place::Text() const {
  std::string text;
  for (uint32_t i = 0; i < count_; ++i) {
    if (steps_[i].field == nullptr) {
      text += '[' + std::to_string(steps_[i].index) + ']';
    } else {
      if (!text.empty()) text += '.';
      text += steps_[i].field;
    }
  }
  return text;
}

const char* JsonTypeText(JsonType type) {
  switch (type) {
    case JsonType::kNull:
      return "null";
    case JsonType::kBool:
      return "a bool";
    case JsonType::kNumber:
      return "a number";
    case JsonType::kString:
      return "a string";
    case JsonType::kArray:
      return "an array";
    case JsonType::kObject:
      return "an object";
  }
  return "?";
}

std::string Quoted(std::string_view text) {
  constexpr size_t kShown = 64;
  std::string out(1, '"');
  out += text.substr(0, kShown);
  out += text.size() <= kShown ? "\"" : "...\"";
  return out;
}

std::string NumberText(double value) {
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, value);
  return std::string(digits, end.ptr);
}

bool TickReader::Fail(const char* code, const Place& place, std::string message) {
  fault_.code = code;
  fault_.at = place.Text();
  fault_.message = std::move(message);
  return false;
}

std::string TickReader::Of(const char* what) const {
  return subject_.data() == nullptr ? std::string(what) : std::string(what) + " of " + Quoted(subject_);
}

bool TickReader::Parse(std::string_view json) {
  subject_ = {};
  if (json.size() > kMaxBytes) {
    return Fail("SAGE_E_LIMIT", Place(),
                "the tick has " + std::to_string(json.size()) + " bytes; " + std::to_string(kMaxBytes) +
                    " is the most for one line");
  }
  const Status status = json_.Parse(json);
  if (!status.ok()) {
    const size_t colon = status.message().find(": ");
    Fail("SAGE_E_SYNTAX", Place(), colon == std::string::npos ? status.message() : status.message().substr(colon + 2));
    fault_.at = "byte " + std::to_string(json_.error_offset());
    return false;
  }
  if (json_.root().type != JsonType::kObject) {
    return Fail("SAGE_E_TYPE", Place(),
                std::string("a tick is one JSON object; this is ") + JsonTypeText(json_.root().type));
  }
  return true;
}

bool TickReader::CheckKeys(const JsonNode& object, const Place& place, std::span<const std::string_view> known) {
  for (uint32_t i = json_.IndexOf(object) + 1; i < object.next; i = json_.at(i + 1).next) {
    const std::string_view key = json_.Text(json_.at(i));
    if (key.starts_with("x_") || std::find(known.begin(), known.end(), key) != known.end()) continue;
    const std::string nearest = NearestName(key, known);
    Fail("SAGE_E_UNKNOWN_FIELD", place, "");
    if (!fault_.at.empty()) fault_.at += '.';
    fault_.at += key;
    fault_.message = "there is no key " + Quoted(key) + " here" +
                     (nearest.empty() ? "; keys of your own begin with \"x_\"" : "; did you mean \"" + nearest + "\"?");
    return false;
  }
  return true;
}

const JsonNode* TickReader::Require(const JsonNode& object, const Place& place, const char* key) {
  const JsonNode* found = json_.Find(object, key);
  if (found == nullptr) Fail("SAGE_E_MISSING", place / key, Of(key) + " is missing; it is required");
  return found;
}

bool TickReader::Array(const JsonNode& node, const Place& place, const char* what) {
  if (node.type == JsonType::kArray) return true;
  return Fail("SAGE_E_TYPE", place, Of(what) + " must be an array, not " + JsonTypeText(node.type));
}

bool TickReader::Object(const JsonNode& node, const Place& place, const char* what) {
  if (node.type == JsonType::kObject) return true;
  return Fail("SAGE_E_TYPE", place, Of(what) + " must be an object, not " + JsonTypeText(node.type));
}

bool TickReader::String(const JsonNode& node, const Place& place, const char* what, std::string_view* out) {
  if (node.type != JsonType::kString) {
    return Fail("SAGE_E_TYPE", place, Of(what) + " must be a string, not " + JsonTypeText(node.type));
  }
  *out = json_.Text(node);
  return true;
}

bool TickReader::Bool(const JsonNode& node, const Place& place, const char* what, bool* out) {
  if (node.type != JsonType::kBool) {
    return Fail("SAGE_E_TYPE", place, Of(what) + " must be true or false, not " + JsonTypeText(node.type));
  }
  *out = node.boolean;
  return true;
}

bool TickReader::Number(const JsonNode& node, const Place& place, const char* what, double low, double high,
                        double* out) {
  if (node.type != JsonType::kNumber) {
    return Fail("SAGE_E_TYPE", place, Of(what) + " must be a number, not " + JsonTypeText(node.type));
  }
  if (!(node.number >= low && node.number <= high)) {
    return Fail("SAGE_E_RANGE", place,
                Of(what) + " is " + NumberText(node.number) + "; it must " + RangeText(low, high));
  }
  *out = node.number;
  return true;
}

bool TickReader::Integer(const JsonNode& node, const Place& place, const char* what, int64_t low, int64_t high,
                         int64_t* out) {
  if (node.type != JsonType::kNumber) {
    return Fail("SAGE_E_TYPE", place, Of(what) + " must be an integer, not " + JsonTypeText(node.type));
  }
  if (!node.integral) {
    return Fail("SAGE_E_TYPE", place,
                Of(what) + " is " + NumberText(node.number) + "; it must be an integer below 2^63, without '.' or 'e'");
  }
  if (node.integer < low || node.integer > high) {
    return Fail("SAGE_E_RANGE", place,
                Of(what) + " is " + std::to_string(node.integer) + "; it must " +
                    (high == std::numeric_limits<int64_t>::max()
                         ? "be at least " + std::to_string(low)
                         : "lie in [" + std::to_string(low) + ", " + std::to_string(high) + "]"));
  }
  *out = node.integer;
  return true;
}

bool TickReader::Elements(const JsonNode& node, const Place& place, const char* what, size_t expected) {
  if (!Array(node, place, what)) return false;
  if (node.size == expected) return true;
  return Fail("SAGE_E_DIMENSION", place,
              Of(what) + " has " + std::to_string(node.size) + " values; the model needs " + std::to_string(expected));
}

bool TickReader::Vector(const JsonNode& node, const Place& place, const char* what, double limit,
                        std::span<double> out) {
  if (node.type != JsonType::kObject) return Numbers(node, place, what, -limit, limit, out);
  constexpr std::string_view kForm[] = {"f32"};
  if (!CheckKeys(node, place, kForm)) return false;
  const JsonNode* text = Require(node, place, "f32");
  std::string_view base64;
  if (text == nullptr || !String(*text, place / "f32", what, &base64)) return false;
  const size_t bytes = Base64Bytes(base64);
  if (bytes != out.size() * sizeof(float) && IsBase64(base64)) {
    return Fail("SAGE_E_DIMENSION", place / "f32",
                Of(what) + " holds " + std::to_string(bytes) + " bytes; the model needs " + std::to_string(out.size()) +
                    " floats of 4 bytes");
  }
  if (bytes != out.size() * sizeof(float) || !Base64ToFloats(base64, out)) {
    return Fail("SAGE_E_SYNTAX", place / "f32", Of(what) + " is not base64 (RFC 4648, with padding)");
  }
  // All of them first, without a branch: nearly always that is all there is to do.
  for (size_t i = AllWithin(out, limit) ? out.size() : 0; i < out.size(); ++i) {
    if (!(std::fabs(out[i]) <= limit)) {
      return Fail("SAGE_E_RANGE", place[i],
                  Of(what) + " holds " + (std::isnan(out[i]) ? "NaN" : NumberText(out[i])) + "; its values must " +
                      RangeText(-limit, limit));
    }
  }
  return true;
}

bool TickReader::Numbers(const JsonNode& node, const Place& place, const char* what, double low, double high,
                         std::span<double> out) {
  if (!Elements(node, place, what, out.size())) return false;
  uint32_t at = json_.IndexOf(node) + 1;
  for (size_t i = 0; i < out.size(); at = json_.at(at).next, ++i) {
    const JsonNode& element = json_.at(at);
    out[i] = element.number;
    if (element.type == JsonType::kNumber && element.number >= low && element.number <= high) continue;
    return Number(element, place[i], what, low, high, &out[i]);  // says what is wrong, and where
  }
  return true;
}

bool TickReader::Integers(const JsonNode& node, const Place& place, const char* what, int64_t low, int64_t high,
                          std::span<int64_t> out) {
  if (!Elements(node, place, what, out.size())) return false;
  uint32_t at = json_.IndexOf(node) + 1;
  for (size_t i = 0; i < out.size(); at = json_.at(at).next, ++i) {
    if (!Integer(json_.at(at), place[i], what, low, high, &out[i])) return false;
  }
  return true;
}

bool TickReader::Bools(const JsonNode& node, const Place& place, const char* what, std::span<uint8_t> out) {
  if (!Elements(node, place, what, out.size())) return false;
  uint32_t at = json_.IndexOf(node) + 1;
  for (size_t i = 0; i < out.size(); at = json_.at(at).next, ++i) {
    bool value = false;
    if (!Bool(json_.at(at), place[i], what, &value)) return false;
    out[i] = value ? 1 : 0;
  }
  return true;
}

bool TickReader::Unique(std::span<const std::string_view> ids, const Place& list, const char* field, const char* what) {
  order_.resize(ids.size());
  std::iota(order_.begin(), order_.end(), 0u);
  std::sort(order_.begin(), order_.end(),
            [&](uint32_t a, uint32_t b) { return ids[a] != ids[b] ? ids[a] < ids[b] : a < b; });
  for (size_t i = 1; i < order_.size(); ++i) {
    const size_t first = order_[i - 1], second = order_[i];
    if (ids[first] == ids[second]) {
      return Fail("SAGE_E_DUPLICATE", list[second] / field,
                  std::string("the ") + what + " " + Quoted(ids[second]) + " is there twice, first as number " +
                      std::to_string(first));
    }
  }
  return true;
}

}  // namespace sage
