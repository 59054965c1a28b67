// The text forms: JSON to binary and back without loss, and sentences for text that is wrong.
#include <flatbuffers/flatbuffers.h>

#include <cstring>
#include <filesystem>

#include "model_text.h"
#include "schemas/model_text.h"

using namespace sage;
using namespace sage::test;

namespace {

std::vector<std::string> Examples() {
  std::vector<std::string> paths;
  for (const char* folder : {SAGE_SOURCE_DIR "/examples/models", SAGE_SOURCE_DIR "/tests/golden/0.1.0"}) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      if (entry.path().extension() == ".json") paths.push_back(entry.path().string());
    }
  }
  return paths;
}

}  // namespace

TEST_CASE("text form: every example goes to binary, to JSON and back to the same bytes, short and full") {
  CHECK(Examples().size() >= 5);
  for (const std::string& path : Examples()) {
    CAPTURE(path);
    const std::vector<uint8_t> first = Compile(ReadText(path));
    CHECK(std::memcmp(first.data() + 4, "SAG1", 4) == 0);
    for (const bool defaults : {false, true}) {
      const auto text = ModelToJson(first, defaults);
      REQUIRE_MESSAGE(text.ok(), text.status().message());
      CHECK(Compile(*text) == first);
      const auto again = ModelToJson(Compile(*text), defaults);
      CHECK(*again == *text);
    }
  }
}

TEST_CASE("text form: doubles keep every bit, and not-finite ones survive") {
  const char* numbers[] = {"0.1",  "0.30000000000000004",   "1e-310", "123456789.123456789",
                           "-0.0", "1.7976931348623157e308"};
  for (const char* number : numbers) {
    const std::string json = std::string("{\"graph_type\": \"ExpertGraph\", \"graph\": {\"alpha\": ") + number + "}}";
    const auto text = ModelToJson(Compile(json), true);
    REQUIRE(text.ok());
    const size_t at = text->find("\"alpha\": ") + 9;
    CHECK(std::strtod(text->c_str() + at, nullptr) == std::strtod(number, nullptr));
  }
  GraphText graph;
  graph.tensors = TensorText("c", "F32", {"2"}, ", \"values\": [\"-inf\", 1]");
  graph.nodes = NodeText("n", "Unary", "\"x\": \"c\", \"out\": \"y\"");
  graph.outputs = "\"y\"";
  const std::vector<uint8_t> bytes = Compile(graph.Json());
  const auto text = ModelToJson(bytes, false);
  REQUIRE(text.ok());
  CHECK_CONTAINS(*text, "\"-inf\"");
  CHECK(Compile(*text) == bytes);
}

TEST_CASE("text form: strings with quotes, controls and other scripts come back") {
  const std::string json =
      "{\"name\": \"n\", \"description\": \"a \\\"b\\\"\\n\\t\\\\ \\u0001 \xC3\xA9 \xE6\x97\xA5\", "
      "\"graph_type\": \"ExpertGraph\", \"graph\": {}}";
  const std::vector<uint8_t> bytes = Compile(json);
  const auto text = ModelToJson(bytes, false);
  REQUIRE(text.ok());
  CHECK(Compile(*text) == bytes);
  CHECK(LoadText(json)->description() == "a \"b\"\n\t\\ \x01 \xC3\xA9 \xE6\x97\xA5");
}

TEST_CASE("text form: FlatBuffers text, the schema followed by data, is a model; the schema alone is not") {
  const std::string schema = kModelSchemaText, data = ReadText(SAGE_SOURCE_DIR "/examples/models/fusion.json");
  CHECK(Compile(schema + "\n" + data) == Compile(data));
  const auto alone = ModelToBinary(schema);
  REQUIRE_FALSE(alone.ok());
  CHECK_CONTAINS(alone.status().message(), "this is a FlatBuffers schema, not a model");
  const auto other = ModelToBinary("table A { b: int; } root_type A; { \"b\": 1 }");
  REQUIRE_FALSE(other.ok());
  CHECK_CONTAINS(other.status().message(), "root_type is not Model");
  const auto include = ModelToBinary("include \"/etc/passwd\";\ntable A { b: int; } root_type A; { \"b\": 1 }");
  REQUIRE_FALSE(include.ok());
  CHECK_CONTAINS(include.status().message(), "includes are not followed");
  std::string changed = schema;
  const size_t at = changed.find("alpha: double = 0.3");
  REQUIRE(at != std::string::npos);
  changed.replace(at, 19, "alpha: double = 0.4");
  const auto contradicting = ModelToBinary(changed + "\n" + data);
  REQUIRE_FALSE(contradicting.ok());
  CHECK_CONTAINS(contradicting.status().message(), "contradicts");
}

TEST_CASE("text form: errors name the line and the nearest known word") {
  const struct {
    const char* text;
    const char* part;
    const char* hint;
  } cases[] = {
      {"{\n \"nmae\": \"x\",\n \"graph_type\": \"ExpertGraph\", \"graph\": {}}", "line 2", "did you mean \"name\"?"},
      {"{\"graph_type\": \"ExpertGraph\",\n\"graph\": {\"alpah\": 1}}", "line 2", "did you mean \"alpha\"?"},
      {"{\"policy\": {\"algorithm\": \"FLSH\"}, \"graph_type\": \"ExpertGraph\", \"graph\": {}}", "line 1", "FLASH"},
      {"{\"graph_type\": \"ExpertGraph\", \"graph\": {},}", "line 1", ""},
      {"{\"graph_type\": \"ExpertGraph\", \"graph\": {\"alpha\": }}", "line 1", ""},
      {"{\"graph_type\": \"ExpertGraph\", \"graph\": {\"top_k\": -1}}", "line 1", ""},
      {"{\"graph_type\": \"ExpertGraph\", \"graph\": {\"top_k\": 1, \"top_k\": 2}}", "line 1", ""},
      {"{\"name\": \"no graph\"}", "graph", ""},
      {"{\"graph_type\": \"ExpertGraph\", \"graph\": {}} x", "line 1", ""},
      {"{", "line 1", ""},
  };
  for (const auto& [text, part, hint] : cases) {
    CAPTURE(text);
    const auto result = ModelToBinary(text);
    REQUIRE_FALSE(result.ok());
    CHECK(result.status().code() == SAGE_E_BAD_DATA);
    CHECK_CONTAINS(result.status().message(), part);
    CHECK_CONTAINS(result.status().message(), hint);
  }
}

TEST_CASE("text form: hostile text is refused, not followed") {
  std::string deep = "{\"graph_type\": \"OpGraph\", \"graph\": ";
  for (int i = 0; i < 100000; ++i) deep += "{\"nodes\": [";
  CHECK_FALSE(ModelToBinary(deep).ok());
  CHECK_FALSE(ModelToBinary(std::string(100000, '{')).ok());
  CHECK_FALSE(ModelToBinary("{" + std::string(100000, '[')).ok());
  CHECK_FALSE(ModelToBinary(std::string("{\"name\": \"a\0b\"}", 15)).ok());
  CHECK_FALSE(ModelToBinary("{\"name\": \"\xFF\xFE\", \"graph_type\": \"ExpertGraph\", \"graph\": {}}").ok());
  // Every prefix of a good text: refused, and nothing worse.
  const std::string good = ReadText(SAGE_SOURCE_DIR "/examples/models/expert.json");
  for (size_t n = 1; n < good.size() - 2; n += 7) CHECK_FALSE(ModelToBinary("{" + good.substr(1, n)).ok());
  // What is no text goes to the engine as it is.
  const std::string binary("\x00\x01\x02\x03", 4);
  CHECK(ModelToBinary(binary)->size() == 4);
  CHECK(ModelToBinary("")->empty());
}

TEST_CASE("text form: a damaged binary has no JSON") {
  std::vector<uint8_t> bytes = Compile(ReadText(SAGE_SOURCE_DIR "/examples/models/expert.json"));
  bytes.resize(bytes.size() / 2);
  CHECK_FALSE(ModelToJson(bytes, false).ok());
  CHECK_FALSE(ModelToJson({}, false).ok());
}
