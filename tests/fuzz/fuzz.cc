// fuzz.cc: see fuzz.h. The JSON is not parsed into a tree: where its values begin and end is all a change needs, and
// what is found stays right for a text that is no longer JSON.
#include "fuzz/fuzz.h"

#include <algorithm>
#include <cstddef>

namespace sage::fuzz {
namespace {

// A value of a JSON text; in an object `key` is where its key's quote stands, else begin.
struct Value {
  size_t begin, end, key;
  bool member;
};

class Scanner {
 public:
  Scanner(std::string_view text, std::vector<Value>* values) : text_(text), values_(*values) {}
  void Scan() { (void)One(0, 0, false); }

 private:
  void Space() {
    while (at_ < text_.size() && std::string_view(" \t\r\n").find(text_[at_]) != std::string_view::npos) ++at_;
  }
  bool Is(char c) const { return at_ < text_.size() && text_[at_] == c; }
  bool String() {
    if (!Is('"')) return false;
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\\') {
        ++at_;
      } else if (text_[at_] == '"') {
        ++at_;
        return true;
      }
    }
    return false;
  }
  bool Container(char close, int depth) {
    const bool object = close == '}';
    ++at_;
    for (Space(); !Is(close); Space()) {
      const size_t key = at_;
      if (object) {
        if (!String()) return false;
        Space();
        if (!Is(':')) return false;
        ++at_;
      }
      if (!One(depth + 1, key, object)) return false;
      Space();
      if (Is(',')) ++at_;
    }
    ++at_;
    return true;
  }
  bool One(int depth, size_t key, bool member) {
    if (depth > 40) return false;
    Space();
    const size_t begin = at_, number = values_.size();
    values_.push_back({begin, begin, member ? key : begin, member});
    bool whole = true;
    if (Is('{')) {
      whole = Container('}', depth);
    } else if (Is('[')) {
      whole = Container(']', depth);
    } else if (Is('"')) {
      whole = String();
    } else {
      while (at_ < text_.size() && std::string_view(",]} \t\r\n").find(text_[at_]) == std::string_view::npos) ++at_;
      whole = at_ > begin;
    }
    values_[number].end = std::min(at_, text_.size());
    return whole;
  }

  std::string_view text_;
  std::vector<Value>& values_;
  size_t at_ = 0;
};

std::string Number(Random& random) {
  const int64_t value = random.Of(HardIntegers());
  return std::to_string(random.OneIn(2) ? value : static_cast<int64_t>(random.Below(20)) - 2);
}

}  // namespace

uint64_t Random::Bits() {
  uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

std::span<const int64_t> HardIntegers() {
  static constexpr int64_t kAll[] = {0,
                                     1,
                                     -1,
                                     2,
                                     3,
                                     7,
                                     8,
                                     9,
                                     -2,
                                     15,
                                     64,
                                     65,
                                     255,
                                     256,
                                     257,
                                     1023,
                                     4095,
                                     4096,
                                     4097,
                                     65535,
                                     65536,
                                     65537,
                                     (1 << 20) + 1,
                                     INT32_MAX,
                                     INT32_MIN,
                                     int64_t{INT32_MAX} + 1,
                                     UINT32_MAX,
                                     int64_t{UINT32_MAX} + 1,
                                     int64_t{1} << 40,
                                     (int64_t{1} << 50) + 1,
                                     int64_t{1} << 56,
                                     int64_t{1} << 61,
                                     int64_t{1} << 62,
                                     INT64_MAX / 8,
                                     INT64_MAX - 1,
                                     INT64_MAX,
                                     INT64_MIN,
                                     INT64_MIN + 1};
  return kAll;
}

std::span<const std::string> HardTokens() {
  static const std::vector<std::string> kAll = [] {
    std::vector<std::string> all = {"null",
                                    "true",
                                    "false",
                                    "-0",
                                    "0.0",
                                    "1e308",
                                    "-1e308",
                                    "1e400",
                                    "-1e400",
                                    "1e-400",
                                    "4.9e-324",
                                    "0.5",
                                    "1.0000000000000002",
                                    "1e15",
                                    "9223372036854775808",
                                    "18446744073709551615",
                                    "18446744073709551616",
                                    "1e19",
                                    "NaN",
                                    "Infinity",
                                    "-Infinity",
                                    "nan",
                                    "+1",
                                    "01",
                                    ".5",
                                    "5.",
                                    "1e",
                                    "--1",
                                    "0x10",
                                    "1.7976931348623159e308",
                                    "\"\"",
                                    "\"x\"",
                                    "\"nan\"",
                                    "\"-inf\"",
                                    "\"1\"",
                                    "\"\\u0000\"",
                                    "\"a\\u0000b\"",
                                    "\"\\ud800\"",
                                    "\"\\udc00\\ud800\"",
                                    "\"\\ud83d\\ude00\"",
                                    "\"\xff\xfe\"",
                                    "\"\xed\xa0\x80\"",
                                    "\"\xc0\x80\"",
                                    "\"\\x\"",
                                    "\"../../etc/passwd\"",
                                    "\"/dev/zero\"",
                                    "[]",
                                    "{}",
                                    "[[]]",
                                    "[null]",
                                    "[1,2,3]",
                                    "[[1],[2]]",
                                    "{\"\":1}",
                                    "{\"f32\":\"AAAA\"}",
                                    "{\"f32\":\"AACAPw==\"}",
                                    "{\"f32\":\"====\"}",
                                    "{\"a\":1,\"a\":2}",
                                    "",
                                    "\"",
                                    "[",
                                    "{",
                                    ",",
                                    "]"};
    for (const int64_t value : HardIntegers()) all.push_back(std::to_string(value));
    all.push_back("\"" + std::string(257, 'n') + "\"");
    all.push_back("\"" + std::string(70000, 'n') + "\"");
    all.push_back(std::string(40, '[') + std::string(40, ']'));
    all.push_back(std::string(5000, '['));
    all.push_back("0." + std::string(2000, '3'));
    all.push_back(std::string(400, '9'));
    return all;
  }();
  return kAll;
}

void ChangeBytes(Random& random, std::string* bytes) {
  for (size_t k = 1 + random.Below(8); k > 0; --k) {
    if (bytes->empty()) bytes->push_back('x');
    const size_t at = random.Below(bytes->size());
    const auto byte = static_cast<char>(random.OneIn(3) ? "\0\"\\{}[],:eE-+.\x7f\x80\xff"[random.Below(17)]
                                                        : static_cast<char>(random.Below(256)));
    switch (random.Below(5)) {
      case 0:
        bytes->insert(at, 1, byte);
        break;
      case 1:
        bytes->erase(at, 1 + random.Below(4));
        break;
      case 2:
        bytes->insert(random.Below(bytes->size()), bytes->substr(at, 1 + random.Below(40)));
        break;
      default:
        (*bytes)[at] = byte;
    }
  }
  if (random.OneIn(8)) bytes->resize(random.Below(bytes->size() + 1));
}

std::string ChangeJson(Random& random, std::string_view json, std::span<const std::string> words) {
  std::string text(json);
  std::vector<Value> values;
  for (size_t k = 1 + random.Below(3); k > 0; --k) {
    values.clear();
    Scanner(text, &values).Scan();
    const Value value = values[random.Below(values.size())];
    const size_t length = value.end - value.begin;
    const std::string whole = text.substr(value.key, value.end - value.key);  // with its key
    switch (random.Below(12)) {
      case 0:
      case 1:
      case 2:
        text.replace(value.begin, length, random.Of(HardTokens()));
        break;
      case 3:
      case 4:
        text.replace(value.begin, length, Number(random));
        break;
      case 5:
        text.replace(value.begin, length, "\"" + random.Of(words) + "\"");
        break;
      case 6: {  // a value of another place
        const Value other = values[random.Below(values.size())];
        text.replace(value.begin, length, text.substr(other.begin, other.end - other.begin));
        break;
      }
      case 7: {  // lost, with a comma
        size_t end = value.end, begin = value.key;
        const size_t comma = text.find_first_not_of(" \t\r\n", end);
        if (comma != std::string::npos && text[comma] == ',') {
          end = comma + 1;
        } else {
          while (begin > 0 && std::string_view(" \t\r\n").find(text[begin - 1]) != std::string_view::npos) --begin;
          if (begin > 0 && text[begin - 1] == ',') --begin;
        }
        text.erase(begin, end - begin);
        break;
      }
      case 8: {  // repeated
        std::string copies;
        for (size_t n = random.OneIn(30) ? 3000 : 1 + random.Below(3); n > 0; --n) {
          copies += "," + whole;
          if (copies.size() > (size_t{1} << 20)) break;
        }
        text.insert(value.end, copies);
        break;
      }
      case 9:  // under another key
        if (value.member)
          text.replace(value.key, text.find(':', value.key) - value.key, "\"" + random.Of(words) + "\"");
        break;
      case 10:  // a member more
        text.insert(value.key,
                    value.member ? "\"" + random.Of(words) + "\":" + Number(random) + "," : Number(random) + ",");
        break;
      default:
        if (random.OneIn(3))
          ChangeBytes(random, &text);
        else
          text.replace(value.begin, length, random.Of(HardTokens()));
    }
    if (text.empty()) return text;
  }
  return text;
}

}  // namespace sage::fuzz
