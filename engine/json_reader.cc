// json_reader.cc: a recursive descent over RFC 8259, nothing beside it. Depth is bounded, so the stack is too.
//
// Not a DOM to be edited and not a stream: one pass fills a flat vector of nodes, and every refusal names its byte. A
// tick of embeddings is mostly long strings and short numbers: both have a way of their own through here.
#include <algorithm>
#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>

#include "bytes16.h"
#include "json.h"
#include "utf8.h"

namespace sage {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }

// Whether the bytes of one block are all plain: printable ASCII, neither quote nor backslash.
constexpr size_t kBlock = 64;
inline bool AllPlain(const char* s) {
  Bytes16 stop{};
  for (size_t i = 0; i < kBlock; i += 16) {
    const auto c = Load16<Bytes16>(s + i);
    // As signed bytes 0x80 and above are negative: below a space as well.
    stop |= Mask16(reinterpret_cast<SignedBytes16>(c) < 0x20) | Mask16(c == '"') | Mask16(c == '\\');
  }
  return !AnyBit(stop);
}

// How many of the n bytes at s, from the first on, are plain: what a string is made of, embeddings in base64 above all.
// Long runs go by blocks, what is left by eight bytes a step: in each test below a byte's high bit is set where it is
// what is looked for; a borrow can set a wrong bit only above a right one, and only the lowest is used.
size_t PlainRun(const char* s, size_t n) {
  static_assert(std::endian::native == std::endian::little);
  constexpr uint64_t kOnes = 0x0101010101010101u, kHigh = 0x80 * kOnes;
  size_t at = 0;
  while (n - at >= kBlock && AllPlain(s + at)) at += kBlock;
  for (; n - at >= 8; at += 8) {
    uint64_t word = 0;
    std::memcpy(&word, s + at, 8);
    const uint64_t quote = word ^ '"' * kOnes, backslash = word ^ '\\' * kOnes;
    const uint64_t stop =
        (word | ((word - 0x20 * kOnes) & ~word) | ((quote - kOnes) & ~quote) | ((backslash - kOnes) & ~backslash)) &
        kHigh;
    if (stop != 0) return at + static_cast<size_t>(std::countr_zero(stop)) / 8;
  }
  for (; at < n; ++at) {
    const auto c = static_cast<unsigned char>(s[at]);
    if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\') break;
  }
  return at;
}

// The powers of ten that a double holds exactly.
constexpr double kPowersOfTen[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                   1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

}  // namespace

// Returns false at the first fault; `what` and `where` then say which. Messages are made only there.
struct JsonReader::Parser {
  JsonReader& reader;
  std::string_view in;
  size_t at = 0;
  size_t used = 0;  // bytes of reader.strings_
  std::string what;
  size_t where = 0;

  bool Fail(size_t offset, std::string message) {
    where = offset;
    what = std::move(message);
    return false;
  }

  std::string Here() const {
    if (at >= in.size()) return "the end of the text";
    const auto c = static_cast<unsigned char>(in[at]);
    if (c > 0x20 && c < 0x7f) return std::string("'") + static_cast<char>(c) + "'";
    static constexpr char kHex[] = "0123456789abcdef";
    return std::string("byte 0x") + kHex[c >> 4] + kHex[c & 15];
  }

  void SkipSpace() {
    while (at < in.size() && (in[at] == ' ' || in[at] == '\t' || in[at] == '\n' || in[at] == '\r')) ++at;
  }

  uint32_t Open(JsonType type) {
    JsonNode& node = reader.nodes_.emplace_back();
    node.type = type;
    node.offset = static_cast<uint32_t>(at);
    return static_cast<uint32_t>(reader.nodes_.size() - 1);
  }

  void Close(uint32_t index) {
    reader.nodes_[index].next = static_cast<uint32_t>(reader.nodes_.size());
    reader.nodes_[index].end = static_cast<uint32_t>(at);
  }

  bool Value(uint32_t depth) {
    SkipSpace();
    if (at >= in.size()) return Fail(at, "a value is missing at the end of the text");
    switch (in[at]) {
      case '{':
        return Object(depth);
      case '[':
        return Array(depth);
      case '"':
        return String();
      case 't':
        return Word("true", JsonType::kBool, true);
      case 'f':
        return Word("false", JsonType::kBool, false);
      case 'n':
        return Word("null", JsonType::kNull, false);
      default:
        if (in[at] == '-' || IsDigit(in[at])) return Number();
        return Fail(at, "expected a value, found " + Here() + " (NaN and Infinity are not JSON)");
    }
  }

  bool Word(std::string_view word, JsonType type, bool boolean) {
    if (in.substr(at, word.size()) != word) return Fail(at, "expected true, false or null");
    const uint32_t index = Open(type);
    reader.nodes_[index].boolean = boolean;
    at += word.size();
    Close(index);
    return true;
  }

  // Every integer of this many digits is a double: 10^15 < 2^53.
  static constexpr size_t kExactDigits = 15;

  // Most numbers of a tick: no exponent, at most 15 digits, the leading zero included. Anything else, a fault above
  // all, is false, with nothing changed.
  bool ShortNumber(uint32_t index) {
    const char *p = in.data() + at, *const end = in.data() + in.size();
    const bool negative = *p == '-';
    if (negative) ++p;
    const char* const first = p;
    uint64_t digits = 0;
    const auto take = [&] {
      for (; p < end && IsDigit(*p); ++p) {
        digits = digits * 10 + static_cast<uint64_t>(*p - '0');  // wraps only beyond what is accepted below
      }
    };
    take();
    const auto before = static_cast<size_t>(p - first);
    if (before == 0 || (before > 1 && *first == '0')) return false;
    size_t after = 0;
    if (p < end && *p == '.') {
      const char* const point = p++;
      take();
      after = static_cast<size_t>(p - point) - 1;
      if (after == 0) return false;
    }
    if (before + after > kExactDigits || (p < end && (*p == 'e' || *p == 'E'))) return false;
    JsonNode& node = reader.nodes_[index];
    // Both are exact doubles, so the one rounding of their quotient is the right one.
    const double magnitude = static_cast<double>(digits) / kPowersOfTen[after];
    node.number = negative ? -magnitude : magnitude;
    node.integral = p - first == static_cast<ptrdiff_t>(before) && !(negative && digits == 0);
    if (node.integral) node.integer = negative ? -static_cast<int64_t>(digits) : static_cast<int64_t>(digits);
    at = static_cast<size_t>(p - in.data());
    Close(index);
    return true;
  }

  bool Number() {
    const size_t begin = at;
    const uint32_t index = Open(JsonType::kNumber);
    if (ShortNumber(index)) return true;
    const bool negative = in[at] == '-';
    if (negative) ++at;
    if (at >= in.size() || !IsDigit(in[at])) return Fail(at, "expected a digit, found " + Here());
    const size_t first = at;
    if (in[at] == '0' && at + 1 < in.size() && IsDigit(in[at + 1])) {
      return Fail(begin, "a number does not begin with a superfluous 0");
    }
    bool zero = true, plain = true;
    // `leading` is the decimal exponent of the first digit that is not 0: it tells an overflow from an underflow.
    int64_t leading = 0;
    // digits: all of them as an integer, while they are few enough for it; scale: the power of ten behind them.
    uint64_t digits = 0;
    int64_t scale = 0;
    size_t count = 0;  // digits from the first that is not 0
    const auto digit = [&](char c) {
      if (zero && c == '0') return;
      zero = false;
      if (++count <= kExactDigits) digits = digits * 10 + static_cast<uint64_t>(c - '0');
    };
    while (at < in.size() && IsDigit(in[at])) {
      digit(in[at]);
      if (!zero) ++leading;
      ++at;
    }
    const bool only_zero = zero && at == first + 1;
    if (at < in.size() && in[at] == '.') {
      plain = false;
      ++at;
      if (at >= in.size() || !IsDigit(in[at])) return Fail(at, "expected a digit after '.', found " + Here());
      while (at < in.size() && IsDigit(in[at])) {
        if (zero && in[at] == '0') --leading;
        digit(in[at]);
        --scale;
        ++at;
      }
    }
    if (at < in.size() && (in[at] == 'e' || in[at] == 'E')) {
      plain = false;
      ++at;
      const bool down = at < in.size() && in[at] == '-';
      if (at < in.size() && (in[at] == '+' || in[at] == '-')) ++at;
      if (at >= in.size() || !IsDigit(in[at])) return Fail(at, "expected a digit in the exponent, found " + Here());
      int64_t exponent = 0;
      for (; at < in.size() && IsDigit(in[at]); ++at) {
        if (exponent < (int64_t{1} << 40)) exponent = exponent * 10 + (in[at] - '0');
      }
      leading += down ? -exponent : exponent;
      scale += down ? -exponent : exponent;
    }
    const char* from = in.data() + begin;
    const char* to = in.data() + at;
    JsonNode& node = reader.nodes_[index];
    // Both factors are exact doubles, so the one rounding of their product or quotient is the right one (Clinger 1990).
    // The integer is exact by the count of its digits. What is longer goes the long way.
    if (count <= kExactDigits && scale >= -22 && scale <= 22) {
      const auto whole = static_cast<double>(digits);
      const double magnitude = scale < 0 ? whole / kPowersOfTen[-scale] : whole * kPowersOfTen[scale];
      node.number = negative ? -magnitude : magnitude;
      node.integral = plain && !(negative && only_zero);
      if (node.integral) node.integer = negative ? -static_cast<int64_t>(digits) : static_cast<int64_t>(digits);
      Close(index);
      return true;
    }
    const auto read = std::from_chars(from, to, node.number);
    if (read.ec != std::errc() || !std::isfinite(node.number)) {
      if (!zero && leading > 0) return Fail(begin, "the number is outside the range of a double");
      node.number = negative ? -0.0 : 0.0;
    }
    if (plain && !(negative && only_zero)) {
      node.integral = std::from_chars(from, to, node.integer).ec == std::errc();
      if (!node.integral) node.integer = 0;
    }
    Close(index);
    return true;
  }

  bool Hex4(uint32_t* out) {
    uint32_t code = 0;
    for (int i = 0; i < 4; ++i, ++at) {
      const char c = at < in.size() ? in[at] : '\0';
      uint32_t digit = 0;
      if (IsDigit(c)) {
        digit = static_cast<uint32_t>(c - '0');
      } else if (c >= 'a' && c <= 'f') {
        digit = static_cast<uint32_t>(c - 'a') + 10;
      } else if (c >= 'A' && c <= 'F') {
        digit = static_cast<uint32_t>(c - 'A') + 10;
      } else {
        return Fail(at, "\\u needs four hexadecimal digits, found " + Here());
      }
      code = code << 4 | digit;
    }
    *out = code;
    return true;
  }

  void Put(uint32_t code) {
    char* out = reader.strings_.data();
    const auto put = [&](uint32_t byte) { out[used++] = static_cast<char>(static_cast<unsigned char>(byte)); };
    if (code < 0x80) {
      put(code);
    } else if (code < 0x800) {
      put(0xc0 | code >> 6), put(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
      put(0xe0 | code >> 12), put(0x80 | (code >> 6 & 0x3f)), put(0x80 | (code & 0x3f));
    } else {
      put(0xf0 | code >> 18), put(0x80 | (code >> 12 & 0x3f)), put(0x80 | (code >> 6 & 0x3f)),
          put(0x80 | (code & 0x3f));
    }
  }

  bool Escape() {
    const size_t begin = at++;
    if (at >= in.size()) return Fail(begin, "the text ends inside an escape");
    static constexpr char kFrom[] = "\"\\/bfnrt", kTo[] = "\"\\/\b\f\n\r\t";
    const char c = in[at++];
    if (c != 'u') {
      const char* found = c == '\0' ? nullptr : std::strchr(kFrom, c);
      if (found == nullptr)
        return Fail(begin, "there is no such escape; JSON has \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u");
      Put(static_cast<unsigned char>(kTo[found - kFrom]));
      return true;
    }
    uint32_t code = 0, low = 0;
    if (!Hex4(&code)) return false;
    if (code >= 0xdc00 && code <= 0xdfff) return Fail(begin, "a low surrogate stands alone");
    if (code >= 0xd800 && code <= 0xdbff) {
      if (in.substr(at, 2) != "\\u") return Fail(begin, "a high surrogate stands alone");
      at += 2;
      if (!Hex4(&low)) return false;
      if (low < 0xdc00 || low > 0xdfff) return Fail(begin, "a high surrogate stands alone");
      code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    Put(code);
    return true;
  }

  bool String() {
    const size_t begin = at;
    const uint32_t index = Open(JsonType::kString);
    ++at;
    const size_t run = PlainRun(in.data() + at, in.size() - at);
    // Nothing to unescape: the text is where it stands.
    std::string_view text = in.substr(at, run);
    at += run;
    if (at >= in.size() || in[at] != '"') {
      const size_t first = used;
      std::memcpy(reader.strings_.data() + used, text.data(), run);
      used += run;
      if (!Unescape(begin)) return false;
      text = {reader.strings_.data() + first, used - first};
    }
    ++at;
    reader.nodes_[index].text = text.data();
    reader.nodes_[index].size = static_cast<uint32_t>(text.size());
    Close(index);
    return true;
  }

  // From the first byte of a string that is not plain to its closing quote, into strings_.
  bool Unescape(size_t begin) {
    while (true) {
      if (at >= in.size()) return Fail(begin, "the string that begins here has no end");
      const auto c = static_cast<unsigned char>(in[at]);
      if (c == '"') return true;
      if (c == '\\') {
        if (!Escape()) return false;
      } else if (c < 0x20) {
        return Fail(at, "a control character stands in a string; write it as an escape");
      } else {
        const size_t length = Utf8Length(in.substr(at));
        if (length == 0) return Fail(at, "the text is not UTF-8");
        Copy(length);
      }
      Copy(PlainRun(in.data() + at, in.size() - at));
    }
  }

  void Copy(size_t bytes) {
    std::memcpy(reader.strings_.data() + used, in.data() + at, bytes);
    used += bytes;
    at += bytes;
  }

  // Items between brackets, with commas; item() reads one.
  template <class Item>
  bool Items(JsonType type, char close, uint32_t depth, uint32_t* index, Item item) {
    if (depth >= kMaxDepth) return Fail(at, "nested deeper than " + std::to_string(kMaxDepth) + " levels");
    *index = Open(type);
    uint32_t count = 0;
    ++at;
    SkipSpace();
    bool more = at >= in.size() || in[at] != close;
    while (more) {
      if (!item()) return false;
      ++count;
      SkipSpace();
      more = at < in.size() && in[at] == ',';
      if (more) ++at;
    }
    if (at >= in.size() || in[at] != close) {
      return Fail(at, std::string("expected ',' or '") + close + "', found " + Here());
    }
    ++at;
    reader.nodes_[*index].size = count;
    Close(*index);
    return true;
  }

  bool Array(uint32_t depth) {
    uint32_t index = 0;
    return Items(JsonType::kArray, ']', depth, &index, [&] { return Value(depth + 1); });
  }

  bool Object(uint32_t depth) {
    uint32_t index = 0;
    const auto member = [&] {
      SkipSpace();
      if (at >= in.size() || in[at] != '"') return Fail(at, "expected a key in quotes, found " + Here());
      if (!String()) return false;
      SkipSpace();
      if (at >= in.size() || in[at] != ':') return Fail(at, "expected ':' after the key, found " + Here());
      ++at;
      return Value(depth + 1);
    };
    return Items(JsonType::kObject, '}', depth, &index, member) && Unique(index);
  }

  bool Twice(uint32_t key) {
    const JsonNode& node = reader.nodes_[key];
    return Fail(node.offset, "the key \"" + std::string(reader.Text(node)) + "\" is there twice");
  }

  static constexpr size_t kFewKeys = 16;  // below it comparing each with each is cheaper than sorting

  // An object says each key once: what a second one means is the reader's guess, and two readers guess differently.
  bool Unique(uint32_t object) {
    const std::vector<JsonNode>& nodes = reader.nodes_;
    std::vector<uint32_t>& keys = reader.sorted_;
    keys.clear();
    for (uint32_t i = object + 1; i < nodes[object].next; i = nodes[i + 1].next) keys.push_back(i);
    const auto text = [&](uint32_t i) { return std::string_view(nodes[i].text, nodes[i].size); };
    if (keys.size() <= kFewKeys) {
      for (size_t i = 1; i < keys.size(); ++i) {
        for (size_t k = 0; k < i; ++k) {
          if (text(keys[i]) == text(keys[k])) return Twice(keys[i]);
        }
      }
      return true;
    }
    std::sort(keys.begin(), keys.end(), [&](uint32_t a, uint32_t b) {
      const int order = text(a).compare(text(b));
      return order != 0 ? order < 0 : a < b;
    });
    for (size_t i = 1; i < keys.size(); ++i) {
      if (text(keys[i - 1]) == text(keys[i])) return Twice(keys[i]);
    }
    return true;
  }
};

Status JsonReader::Parse(std::string_view json) {
  nodes_.clear();
  error_offset_ = 0;
  if (json.size() >= UINT32_MAX) {
    nodes_.resize(1);
    return Status(SAGE_E_BAD_DATA, "the JSON text has " + std::to_string(json.size()) + " bytes; 4 GiB is the limit");
  }
  if (strings_.size() < json.size()) strings_.resize(json.size());
  Parser parser{*this, json, 0, 0, {}, 0};
  bool ok = parser.Value(0);
  if (ok) {
    parser.SkipSpace();
    if (parser.at < json.size()) {
      ok = parser.Fail(parser.at, "expected the end of the text after one value, found " + parser.Here());
    }
  }
  if (ok) return Status();
  nodes_.clear();
  nodes_.resize(1);
  error_offset_ = parser.where;
  return Status(SAGE_E_BAD_DATA, "byte " + std::to_string(parser.where) + ": " + parser.what);
}

const JsonNode* JsonReader::Find(const JsonNode& object, std::string_view key) const {
  if (object.type != JsonType::kObject) return nullptr;
  for (uint32_t i = IndexOf(object) + 1; i < object.next; i = nodes_[i + 1].next) {
    if (Text(nodes_[i]) == key) return &nodes_[i + 1];
  }
  return nullptr;
}

}  // namespace sage
