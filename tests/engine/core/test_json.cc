// The reader takes RFC 8259 and nothing else, says where it stopped, and survives any bytes; the writer's numbers read
// back to the same bits.
#include "json.h"
#include "support/heap_count.h"

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace {

using sage::JsonNode;
using sage::JsonReader;
using sage::JsonType;
using sage::JsonWriter;

bool Accepts(std::string_view text) {
  JsonReader reader;
  return reader.Parse(text).ok();
}

void Refuses(std::string_view text, uint64_t offset, const char* words) {
  CAPTURE(text);
  JsonReader reader;
  const sage::Status status = reader.Parse(text);
  REQUIRE_FALSE(status.ok());
  CHECK(status.code() == SAGE_E_BAD_DATA);
  CHECK(reader.error_offset() == offset);
  CHECK_MESSAGE(status.message().find(words) != std::string::npos, status.message());
  CHECK(reader.root().type == JsonType::kNull);
}

TEST_CASE("json: values, order and navigation") {
  JsonReader reader;
  REQUIRE(reader.Parse(R"( {"a":[1,-2.5,true,null],"b":{"c":"x","d":{}},"e":[[],[3]]} )").ok());
  const JsonNode& root = reader.root();
  CHECK(root.type == JsonType::kObject);
  CHECK(root.size == 3);
  CHECK(root.offset == 1);
  CHECK(root.end == 59);
  const JsonNode* a = reader.Find(root, "a");
  REQUIRE(a != nullptr);
  CHECK(a->size == 4);
  uint32_t i = reader.IndexOf(*a) + 1;
  CHECK(reader.at(i).integral);
  CHECK(reader.at(i).integer == 1);
  i = reader.at(i).next;
  CHECK(reader.at(i).number == -2.5);
  CHECK_FALSE(reader.at(i).integral);
  i = reader.at(i).next;
  CHECK(reader.at(i).boolean);
  i = reader.at(i).next;
  CHECK(reader.at(i).type == JsonType::kNull);
  CHECK(reader.at(i).next == a->next);
  const JsonNode* b = reader.Find(root, "b");
  REQUIRE(b != nullptr);
  CHECK(reader.Text(*reader.Find(*b, "c")) == "x");
  CHECK(reader.Find(*b, "d")->size == 0);
  CHECK(reader.Find(root, "c") == nullptr);
  CHECK(reader.Find(*a, "c") == nullptr);
  const JsonNode* e = reader.Find(root, "e");
  REQUIRE(e != nullptr);
  CHECK(reader.at(reader.IndexOf(*e) + 1).size == 0);
}

TEST_CASE("json: what is not JSON is refused at its byte") {
  Refuses("", 0, "missing");
  Refuses("  ", 2, "missing");
  Refuses("[1,]", 3, "expected a value");
  Refuses("[1 2]", 3, "expected ',' or ']'");
  Refuses("[1", 2, "the end of the text");
  Refuses(R"({"a":1,})", 7, "expected a key");
  Refuses(R"({"a" 1})", 5, "expected ':'");
  Refuses(R"({a:1})", 1, "expected a key");
  Refuses(R"({"a":1 "b":2})", 7, "expected ',' or '}'");
  Refuses("1 2", 2, "end of the text");
  Refuses("nul", 0, "true, false or null");
  Refuses("NaN", 0, "NaN");
  Refuses("[Infinity]", 1, "expected a value");
  Refuses("-Infinity", 1, "digit");
  Refuses("01", 0, "superfluous 0");
  Refuses("-01", 0, "superfluous 0");
  Refuses("1.", 2, "digit after '.'");
  Refuses(".5", 0, "expected a value");
  Refuses("+1", 0, "expected a value");
  Refuses("1e", 2, "exponent");
  Refuses("1e+", 3, "exponent");
  Refuses("-", 1, "digit");
  Refuses("0x10", 1, "end of the text");
  Refuses("1e999", 0, "range of a double");
  Refuses("[-1e999]", 1, "range of a double");
  Refuses("'a'", 0, "expected a value");
  Refuses("// c\n1", 0, "expected a value");
  Refuses("\xef\xbb\xbf{}", 0, "byte 0xef");
}

TEST_CASE("json: strings, escapes and UTF-8") {
  JsonReader reader;
  REQUIRE(reader.Parse(R"("\"\\\/\b\f\n\r\t\u0041\u00e9\u20ac\ud83d\ude00é€😀")").ok());
  CHECK(reader.Text(reader.root()) == "\"\\/\b\f\n\r\tAé€😀é€😀");
  REQUIRE(reader.Parse(R"("a\u0000b")").ok());
  CHECK(reader.Text(reader.root()) == std::string_view("a\0b", 3));
  Refuses("\"abc", 0, "no end");
  Refuses("\"a\nb\"", 2, "control character");
  Refuses(R"("\x")", 1, "no such escape");
  Refuses(R"("\u12g4")", 5, "hexadecimal");
  Refuses(R"("\ud800")", 1, "surrogate");
  Refuses(R"("\ud800\u0041")", 1, "surrogate");
  Refuses(R"("\udc00")", 1, "surrogate");
  Refuses("\"\\", 1, "escape");
  Refuses("\"\xff\"", 1, "UTF-8");
  Refuses("\"\xc0\x80\"", 1, "UTF-8");          // overlong
  Refuses("\"\xed\xa0\x80\"", 1, "UTF-8");      // a surrogate
  Refuses("\"\xf4\x90\x80\x80\"", 1, "UTF-8");  // past U+10FFFF
  Refuses("\"\xe2\x82\"", 1, "UTF-8");          // cut short
}

TEST_CASE("json: duplicate keys, wherever they stand") {
  Refuses(R"({"a":1,"b":2,"a":3})", 13, "there twice");
  Refuses(R"([{"x":{"k":1,"\u006b":2}}])", 13, "there twice");
  CHECK(Accepts(R"([{"a":1},{"a":2},{"b":{"a":1},"a":2}])"));
  std::string many = "{";
  for (int i = 0; i < 50000; ++i) many += "\"k" + std::to_string(i) + "\":0,";
  CHECK(Accepts(many + "\"z\":0}"));
  Refuses(many + "\"k777\":0}", many.size(), "there twice");
}

TEST_CASE("json: depth is bounded") {
  const auto nest = [](size_t n) { return std::string(n, '[') + std::string(n, ']'); };
  CHECK(Accepts(nest(JsonReader::kMaxDepth)));
  Refuses(nest(JsonReader::kMaxDepth + 1), JsonReader::kMaxDepth, "deeper");
  Refuses(std::string(1000000, '['), JsonReader::kMaxDepth, "deeper");
}

TEST_CASE("json: numbers, integral or not, and the ends of the range") {
  JsonReader reader;
  const auto number = [&](const char* text) -> const JsonNode& {
    REQUIRE(reader.Parse(text).ok());
    return reader.root();
  };
  CHECK(number("0").integral);
  CHECK(number("9223372036854775807").integer == INT64_MAX);
  CHECK(number("-9223372036854775808").integer == INT64_MIN);
  CHECK_FALSE(number("9223372036854775808").integral);
  CHECK(number("9223372036854775808").number == 9223372036854775808.0);
  CHECK_FALSE(number("-0").integral);
  CHECK(std::signbit(number("-0").number));
  CHECK_FALSE(number("1.0").integral);
  CHECK_FALSE(number("1e2").integral);
  CHECK(number("1E+2").number == 100);
  CHECK(number("1e-2").number == 0.01);
  CHECK(number("1.7976931348623157e308").number == std::numeric_limits<double>::max());
  CHECK(number("4.9406564584124654e-324").number == std::numeric_limits<double>::denorm_min());
  CHECK(number("1e-999").number == 0);
  CHECK(std::signbit(number("-1e-99999999999999999999").number));
  CHECK(number("0e999").number == 0);
  CHECK(number(("0." + std::string(500, '0') + "1e501").c_str()).number == 1);
  CHECK(number(("1" + std::string(400, '0') + "e-400").c_str()).number == 1);
}

TEST_CASE("json: numbers read back to the same bits") {
  std::mt19937_64 random(7);
  JsonWriter writer;
  JsonReader reader;
  for (int i = 0; i < 20000; ++i) {
    const double value = std::bit_cast<double>(random());
    if (!std::isfinite(value)) continue;
    writer.Clear();
    writer.Number(value);
    REQUIRE(reader.Parse(writer.text()).ok());
    CHECK(std::bit_cast<uint64_t>(reader.root().number) == std::bit_cast<uint64_t>(value));
  }
}

TEST_CASE("json: short numbers, which have a way of their own, are rounded as the C library does") {
  std::mt19937_64 random(11);
  JsonReader reader;
  for (int i = 0; i < 50000; ++i) {
    // 1 to 18 digits, a point somewhere, an exponent about where the two ways meet.
    std::string text = random() % 2 == 0 ? "-" : "";
    const size_t whole = random() % 9, fraction = random() % 10;
    text += whole == 0 ? '0' : static_cast<char>('1' + random() % 9);
    for (size_t k = 1; k < whole; ++k) text += static_cast<char>('0' + random() % 10);
    if (fraction > 0) text += '.';
    for (size_t k = 0; k < fraction; ++k) text += static_cast<char>('0' + random() % 10);
    if (random() % 2 == 0) text += "e" + std::to_string(static_cast<int>(random() % 61) - 30);
    CAPTURE(text);
    REQUIRE(reader.Parse(text).ok());
    CHECK(std::bit_cast<uint64_t>(reader.root().number) == std::bit_cast<uint64_t>(std::strtod(text.c_str(), nullptr)));
  }
  REQUIRE(reader.Parse("999999999999999").ok());
  CHECK((reader.root().integral && reader.root().integer == 999999999999999));
  REQUIRE(reader.Parse("-9223372036854775808").ok());
  CHECK((reader.root().integral && reader.root().integer == std::numeric_limits<int64_t>::min()));
}

TEST_CASE("json: a string ends where it ends, whatever stands at each place of a step or a block") {
  JsonReader reader;
  std::vector<size_t> lengths = {63, 64, 65, 71, 72, 127, 128, 129, 140};
  for (size_t length = 0; length < 40; ++length) lengths.push_back(length);
  for (const size_t length : lengths) {
    const std::string plain(length, '~');
    for (size_t at = 0; at <= length; ++at) {
      const auto with = [&](const char* what) { return '"' + plain.substr(0, at) + what + plain.substr(at) + '"'; };
      CAPTURE(at);
      const std::string whole = with(""), escaped = with("\\n"), wide = with("\xc3\xa9");
      REQUIRE(reader.Parse(whole).ok());
      CHECK(reader.Text(reader.root()) == plain);
      REQUIRE(reader.Parse(escaped).ok());
      CHECK(reader.Text(reader.root()) == plain.substr(0, at) + '\n' + plain.substr(at));
      REQUIRE(reader.Parse(wide).ok());
      CHECK(reader.Text(reader.root()) == plain.substr(0, at) + "\xc3\xa9" + plain.substr(at));
      for (const char* wrong : {"\x1f", "\t", "\x80", "\xff"}) {
        REQUIRE_FALSE(reader.Parse(with(wrong)).ok());
        CHECK(reader.error_offset() == at + 1);
      }
      REQUIRE_FALSE(reader.Parse(with("\"")).ok());  // closed early: what follows is no JSON
      CHECK(reader.error_offset() == at + 2);
      REQUIRE_FALSE(reader.Parse('"' + plain.substr(0, at)).ok());
      CHECK(reader.error_offset() == 0);
    }
  }
}

TEST_CASE("json: the writer's commas, escapes and forms") {
  JsonWriter w;
  w.BeginObject();
  w.Member("text", "a\"\\\n\x01é\xff");
  w.Member("n", 0.1);
  w.Member("whole", 88.0);
  w.Member("i", int64_t{-3});
  w.Member("u", uint64_t{18446744073709551615u});
  w.Member("b", true);
  w.Key("list"), w.BeginArray(), w.Number(1.5), w.Null(), w.Number(std::nan("")), w.BeginArray(), w.EndArray();
  w.BeginObject(), w.EndObject(), w.Raw("{\"r\":1}"), w.EndArray();
  w.Member("last", "");
  w.EndObject();
  CHECK(w.text() ==
        "{\"text\":\"a\\\"\\\\\\n\\u0001é\xef\xbf\xbd\",\"n\":0.1,\"whole\":88,\"i\":-3,\"u\":18446744073709551615,"
        "\"b\":true,\"list\":[1.5,null,null,[],{},{\"r\":1}],\"last\":\"\"}");
  CHECK(Accepts(w.text()));
  w.Clear();
  w.Bool(false);
  CHECK(w.text() == "false");
}

TEST_CASE("json: a second document of the same size allocates nothing") {
  std::string text = "{\"t\":[";
  for (int i = 0; i < 200; ++i) text += "{\"id\":\"target\\n" + std::to_string(i) + "\",\"s\":0.123456789012345678},";
  text += "1e-300]}";
  JsonReader reader;
  JsonWriter writer;
  const auto pass = [&] {
    const bool ok = reader.Parse(text).ok();
    writer.Clear();
    for (int i = 0; i < 100; ++i) writer.Number(1.0 / (i + 1)), writer.String("név");
    return ok;
  };
  REQUIRE(pass());
  const uint64_t before = sage::test::HeapAllocations();
  const bool ok = pass();
  CHECK(sage::test::HeapAllocations() - before == 0);
  CHECK(ok);
}

TEST_CASE("json: any truncation and any flipped bit is answered") {
  const std::string text =
      R"({"ts":61.2,"x":[1,-2e-3,true,null,{"k":"a\u00e9\ud83d\ude00\n😀"}],"e":{},"f":[[],[0.5]]})";
  JsonReader reader;
  for (size_t n = 0; n < text.size(); ++n) {
    CHECK_FALSE(reader.Parse(std::string_view(text).substr(0, n)).ok());
    CHECK(reader.error_offset() <= n);
  }
  for (size_t bit = 0; bit < text.size() * 8; ++bit) {
    std::string flipped = text;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << bit % 8));
    if (reader.Parse(flipped).ok()) CHECK(reader.root().type == JsonType::kObject);
    CHECK(reader.error_offset() <= flipped.size());
  }
  std::mt19937 random(3);
  const std::string_view alphabet = "{}[]\",:\\u0129eE+-.tfn \xc3\xa9";
  for (int i = 0; i < 20000; ++i) {
    std::string soup;
    for (auto n = random() % 24; n > 0; --n) soup += alphabet[random() % alphabet.size()];
    (void)reader.Parse(soup);
    CHECK(reader.error_offset() <= soup.size());
  }
}

}  // namespace
