// The engine's JSON reader against another one: what it takes nlohmann-json takes with the same values, what it refuses
// is refused there too, but for the rules that are its own (depth, keys once, numbers in range). Read in place, cut at
// the exact byte, so that a sanitizer sees one byte too far.
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>

#include "fuzz/fuzz.h"
#include "json.h"

using namespace sage;
using namespace sage::fuzz;
using Json = nlohmann::ordered_json;

namespace {

const std::string kSeeds[] = {
    R"({"ts":1.25,"tick":7,"targets":[{"id":"a","salience":0.5,"embedding":[1,-2.5e-3,0.1]},{"id":"b\u00e9","salience":1}]})",
    R"([0,-0,0.0,1e5,1E-5,123456789012345678,1.7976931348623157e308,4.9e-324,[true,false,null],{"":{}}])",
    R"({"a\\\"\/\b\f\n\r\t":"\ud83d\ude00 \u0041","b":[[[[[[]]]]]],"long":"0123456789abcdef0123456789abcdef\n0123456789"})",
    "\"only a string\"",
    "[0.1,0.2,0.30000000000000004,2.2250738585072011e-308,9007199254740993,0.1e1]",
    R"({"router_logits":[0.12345678901234567,-1,2,3,4,5,6,7,8,9],"x":"äöü€𝄞"})"};

bool Same(const JsonReader& reader, const JsonNode& node, const Json& json) {
  switch (node.type) {
    case JsonType::kNull:
      return json.is_null();
    case JsonType::kBool:
      return json.is_boolean() && json.get<bool>() == node.boolean;
    case JsonType::kNumber: {
      if (!json.is_number()) return false;
      if (node.integral && json.is_number_integer() && !json.is_number_unsigned() &&
          json.get<int64_t>() != node.integer)
        return false;
      const double other = json.get<double>();
      return std::memcmp(&other, &node.number, sizeof other) == 0 || (other == 0 && node.number == 0);
    }
    case JsonType::kString:
      return json.is_string() && json.get_ref<const std::string&>() == reader.Text(node);
    case JsonType::kArray: {
      if (!json.is_array() || json.size() != node.size) return false;
      uint32_t at = reader.IndexOf(node) + 1;
      for (const Json& item : json) {
        if (!Same(reader, reader.at(at), item)) return false;
        at = reader.at(at).next;
      }
      return at == node.next;
    }
    case JsonType::kObject: {
      if (!json.is_object() || json.size() != node.size) return false;
      uint32_t at = reader.IndexOf(node) + 1;
      for (const auto& [key, value] : json.items()) {
        if (reader.Text(reader.at(at)) != key || !Same(reader, reader.at(at + 1), value)) return false;
        if (reader.Find(node, key) != &reader.at(at + 1)) return false;
        at = reader.at(at + 1).next;
      }
      return at == node.next;
    }
  }
  return false;
}

// Its own rules, which another reader does not have.
bool OwnRule(const std::string& message) {
  for (const char* rule : {"nested deeper", "is there twice", "range", "too large", "too small"}) {
    if (message.find(rule) != std::string::npos) return true;
  }
  return false;
}

// True when taken.
bool Answer(JsonReader& reader, const std::string& text) {
  CAPTURE(text.substr(0, 400));
  // Exactly these bytes and none behind them.
  const auto exact = std::make_unique<char[]>(text.size());
  std::memcpy(exact.get(), text.data(), text.size());
  const Status status = reader.Parse({exact.get(), text.size()});
  const Json other = Json::parse(text, nullptr, false);
  // The other one skips a byte order mark, and takes a NUL for the end.
  const bool laxer = text.starts_with("\xef\xbb\xbf") || text.find('\0') != std::string::npos;
  if (!status.ok()) {
    CHECK(status.code() == SAGE_E_BAD_DATA);
    CHECK(reader.error_offset() <= text.size());
    CHECK(reader.root().type == JsonType::kNull);
    if (!other.is_discarded() && !laxer && !OwnRule(status.message())) FAIL(status.message());
    return false;
  }
  CHECK_FALSE(laxer);
  CHECK_FALSE(other.is_discarded());
  if (!other.is_discarded()) CHECK(Same(reader, reader.root(), other));
  return true;
}

}  // namespace

TEST_CASE("fuzz: the JSON reader agrees with another on texts changed by structure and by byte") {
  const std::vector<std::string> words = {"ts", "a", "id", "", "targets", "\\u0061", "\\n"};
  JsonReader reader;  // one for all: what a text leaves behind must not be seen by the next
  Random random(1);
  size_t taken = 0;
  constexpr size_t kCases = size_t{20000} * SAGE_FUZZ_ROUNDS;
  for (size_t i = 0; i < kCases; ++i) {
    std::string text = ChangeJson(random, random.Pick(kSeeds), words);
    if (random.OneIn(3)) ChangeBytes(random, &text);
    taken += Answer(reader, text) ? 1 : 0;
  }
  CHECK(taken > kCases / 10);
  CHECK(taken < kCases * 9 / 10);
}

TEST_CASE("fuzz: the JSON reader on every truncation and every byte of each seed") {
  JsonReader reader;
  for (const std::string& seed : kSeeds) {
    CHECK(Answer(reader, seed));
    for (size_t size = 0; size < seed.size(); ++size) CHECK_FALSE(Answer(reader, seed.substr(0, size)));
    for (size_t at = 0; at < seed.size(); ++at) {
      for (int byte = 0; byte<256; byte += SAGE_FUZZ_ROUNDS> 1 ? 1 : 7) {
        std::string text = seed;
        text[at] = static_cast<char>(byte);
        Answer(reader, text);
      }
    }
  }
}

TEST_CASE("fuzz: numbers of every form have the value that another reader gives them") {
  JsonReader reader;
  Random random(2);
  const auto digits = [&](size_t most) {
    std::string out;
    for (size_t n = random.Below(most) + 1; n > 0; --n) out += static_cast<char>('0' + random.Below(10));
    return out;
  };
  for (size_t i = 0; i < size_t{30000} * SAGE_FUZZ_ROUNDS; ++i) {
    std::string text = random.OneIn(2) ? "-" : "";
    text += random.OneIn(4) ? "0" : digits(random.OneIn(5) ? 40 : 17);
    if (random.OneIn(2)) text += "." + digits(random.OneIn(8) ? 400 : 20);
    if (random.OneIn(3))
      text += std::string(random.OneIn(2) ? "e" : "E") +
              (random.OneIn(3)   ? "-"
               : random.OneIn(2) ? "+"
                                 : "") +
              digits(random.OneIn(4) ? 6 : 3);
    if (random.OneIn(20)) ChangeBytes(random, &text);
    Answer(reader, text);
  }
}
