// test_bad_input.cc: what a user sees, and the exit code, for everything that is commonly got wrong.
#include <doctest/doctest.h>

#include <string>

#include "tools/tool_runner.h"

using sage::test::RunTool;
using sage::test::TempFolder;
using sage::test::ToolResult;

namespace {

bool Says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

const char* kExpert = R"({"name":"e","graph_type":"ExpertGraph","graph":{"num_experts":4,"top_k":2,
  "attention":{"d_model":12,"query_heads":12,"kv_heads":4,"head_dim":1}}})";
const char* kMetabolic =
    R"({"name":"m","graph_type":"MetabolicGraph","graph":{"attention":{"d_model":8,"query_heads":2,"kv_heads":2,"head_dim":4}}})";
const char* kFusion =
    R"({"name":"f","graph_type":"FusionGraph","graph":{"attention":{"d_model":4,"query_heads":1,"kv_heads":1,"head_dim":4}}})";
const char* kRelu = R"({"name":"r","graph_type":"OpGraph","graph":{"symbols":[{"name":"n","max":16}],
  "tensors":[{"name":"a","dtype":"F32","shape":[{"symbol":"n"}]},{"name":"b","dtype":"F32","shape":[{"symbol":"n"}]}],
  "nodes":[{"name":"sum","op_type":"Binary","op":{"a":"a","b":"b","out":"y","function":"ADD"}}],"inputs":["a","b"],"outputs":["y"]}})";

}  // namespace

TEST_CASE("an unknown verb is a usage error that names the nearest") {
  const ToolResult result = RunTool({"exlain", "x"});
  CHECK(result.code == 2);
  CHECK(Says(result.err, "unknown verb \"exlain\""));
  CHECK(Says(result.err, "did you mean \"explain\"?"));
  CHECK(result.out.empty());
}

TEST_CASE("an unknown flag is a usage error that names the nearest") {
  const ToolResult result = RunTool({"run", "model.fbs", "--thread", "1"});
  CHECK(result.code == 2);
  CHECK(Says(result.err, "--thread"));
  CHECK(Says(result.err, "did you mean \"--threads\"?"));
}

TEST_CASE("no verb, and a flag without its value, are usage errors") {
  CHECK(RunTool({}).code == 2);
  CHECK(RunTool({"run"}).code == 2);
  CHECK(RunTool({"run", "m", "--threads"}).code == 2);
  CHECK(RunTool({"run", "m", "--threads", "0"}).code == 2);
}

TEST_CASE("a missing file is named with the system's reason") {
  for (const char* verb : {"run", "explain", "dump"}) {
    const ToolResult result = RunTool({verb, "/nowhere/model.fbs"});
    CHECK(result.code == 3);
    CHECK(Says(result.err, "/nowhere/model.fbs: No such file or directory"));
  }
  CHECK(RunTool({"validate", "/nowhere/model.fbs"}).code == 3);
}

TEST_CASE("a folder in place of a file") {
  const TempFolder folder;
  const ToolResult result = RunTool({"explain", folder.path()});
  CHECK(result.code == 3);
  CHECK(Says(result.err, "is a folder"));
}

TEST_CASE("a schema handed to run is answered as such") {
  const ToolResult result = RunTool({"run", std::string(SAGE_SOURCE_DIR) + "/schemas/model.fbs"});
  CHECK(result.code == 3);
  CHECK(Says(result.err, "this is a FlatBuffers schema, not a model"));
}

TEST_CASE("a truncated model is a bad file") {
  const TempFolder folder;
  const std::string json = folder.Write("m.json", kMetabolic), binary = folder.File("m.fbs");
  REQUIRE(RunTool({"convert", json, binary}).code == 0);
  const std::string whole = sage::test::ReadAll(binary);
  const ToolResult result = RunTool({"explain", folder.Write("cut.fbs", whole.substr(0, whole.size() / 2))});
  CHECK(result.code == 3);
  CHECK(Says(result.err, "cut.fbs"));
  CHECK(RunTool({"explain", folder.Write("empty.fbs", "")}).code == 3);
}

TEST_CASE("weights that are missing or of another size") {
  const TempFolder folder;
  const std::string model =
      R"({"name":"w","weight_files":[{"path":"w.bin","format":"RAW","size":16}],"graph_type":"OpGraph","graph":{
    "tensors":[{"name":"x","dtype":"F32","shape":[{"size":2}]},{"name":"w","dtype":"F32","shape":[{"size":2},{"size":2}],"weight":{"file":"w.bin"}}],
    "nodes":[{"name":"lin","op_type":"Linear","op":{"x":"x","weight":"w","out":"y"}}],"inputs":["x"],"outputs":["y"]}})";
  const std::string path = folder.Write("w.json", model);
  ToolResult result = RunTool({"explain", path});
  CHECK(result.code == 3);
  CHECK(Says(result.err, "w.bin"));
  folder.Write("w.bin", std::string(12, '\0'));
  result = RunTool({"explain", path});
  CHECK(result.code == 3);
  CHECK(Says(result.err, "w.bin"));
  CHECK(Says(result.err, "12"));
  CHECK(Says(result.err, "16"));
  folder.Write("w.bin", std::string(16, '\0'));
  CHECK(RunTool({"explain", path}).code == 0);
}

TEST_CASE("a model that requires an unknown feature names it") {
  const TempFolder folder;
  const ToolResult result = RunTool(
      {"explain", folder.Write("m.json", R"({"requires":["telepathy"],"graph_type":"MetabolicGraph","graph":{}})")});
  CHECK(result.code == 3);
  CHECK(Says(result.err, "telepathy"));
}

TEST_CASE("a dimension name bound to two sizes names both inputs") {
  const TempFolder folder;
  const ToolResult result =
      RunTool({"run", folder.Write("r.json", kRelu), "--input", "a=3xf32:value=1", "--input", "b=4xf32:value=1"});
  CHECK(result.code == 2);
  CHECK(Says(result.err, "3"));
  CHECK(Says(result.err, "4"));
  CHECK(Says(result.err, "n"));
}

TEST_CASE("inputs: unknown name, bad shape text, bad type, missing input") {
  const TempFolder folder;
  const std::string model = folder.Write("r.json", kRelu);
  ToolResult result = RunTool({"run", model, "--input", "aa=3xf32:value=1"});
  CHECK(result.code == 2);
  CHECK(Says(result.err, "did you mean \"a\"?"));
  CHECK(RunTool({"run", model, "--input", "a=3xf33:value=1"}).code == 2);
  CHECK(RunTool({"run", model, "--input", "a=-3xf32:value=1"}).code == 2);
  CHECK(RunTool({"run", model, "--input", "a=999999999999x9999999999xf32:value=1"}).code == 2);
  result = RunTool({"run", model, "--input", "a=3xf32:value=1"});
  CHECK(result.code == 2);
  CHECK(Says(result.err, "b"));
  CHECK(RunTool({"run", model, "--input", "a=@/nowhere.npy"}).code == 3);
}

TEST_CASE("a backend that is not there") {
  const TempFolder folder;
  const ToolResult result = RunTool({"explain", folder.Write("m.json", kMetabolic), "--backend", "cuda9"});
  CHECK(result.code == 4);
  CHECK(Says(result.err, "cuda9"));
  CHECK(Says(result.err, "reference"));
}

TEST_CASE("bad ticks: each has its record and place, the stream goes on, --strict stops it") {
  const TempFolder folder;
  const std::string model = folder.Write("e.json", kExpert);
  const std::string good = R"({"ts":1,"router_logits":[1,2,3,4]})"
                           "\n";
  struct Bad {
    const char* line;
    const char* place;
  } bad[] = {
      {R"({"ts":2,"router_logits":[1,2,3,4],"trust":[0.5,0.5,1.5,0.5]})", "trust"},
      {R"({"ts":2,"router_logits":[1,2,3,4],"trust":[0.5,NaN,0.5,0.5]})", "NaN"},
      {R"({"ts":2,"router_logits":[1,2,3]})", "router_logits"},
      {R"({"ts":0,"router_logits":[1,2,3,4]})", "ts"},
      {R"({"ts":2,"router_logit":[1,2,3,4]})", "router_logit"},
      {R"({"ts":2)", ""},
      {"", ""},
      {R"([1,2])", ""},
  };
  for (const Bad& tick : bad) {
    CAPTURE(tick.line);
    const std::string stream = good + tick.line + "\n" +
                               R"({"ts":3,"router_logits":[4,3,2,1]})"
                               "\n";
    const ToolResult result = RunTool({"run", model, "--ticks", "-"}, stream);
    CHECK(result.code == 0);
    size_t lines = 0, errors = 0;
    for (size_t at = 0; at < result.out.size(); at = result.out.find('\n', at) + 1) {
      ++lines;
      if (Says(result.out.substr(at, result.out.find('\n', at) - at), "\"error\":{\"code\":")) ++errors;
    }
    CHECK(lines == 3);
    CHECK(errors == 1);
    CHECK(Says(result.out, "\"line\":2"));
    CHECK(Says(result.err, std::string("stdin:2:")));
    CHECK(Says(result.err, tick.place));
    const ToolResult strict = RunTool({"run", model, "--ticks", "-", "--strict"}, stream);
    CHECK(strict.code == 3);
  }
}

TEST_CASE("an unknown metabolic state is named with the known ones") {
  const TempFolder folder;
  const ToolResult result = RunTool({"run", folder.Write("m.json", kMetabolic), "--ticks", "-", "--strict"},
                                    R"({"ts":1,"state":"SLEEP","targets":[]})"
                                    "\n");
  CHECK(result.code == 3);
  CHECK(Says(result.err, "SLEEP"));
  CHECK(Says(result.err, "DREAM"));
}

TEST_CASE("what is no error: k above N, no targets, empty windows") {
  const TempFolder folder;
  ToolResult result = RunTool({"run", folder.Write("e.json", kExpert), "--ticks", "-", "--strict"},
                              R"({"ts":1,"router_logits":[1,2,3,4],"k":9})"
                              "\n");
  CHECK(result.code == 0);
  CHECK(Says(result.out, "k_clamped"));
  result = RunTool({"run", folder.Write("m.json", kMetabolic), "--ticks", "-", "--strict"},
                   R"({"ts":1,"state":"WAKE","targets":[]})"
                   "\n");
  CHECK(result.code == 0);
  CHECK(Says(result.out, "\"decisions\":{}"));
  result =
      RunTool({"run", folder.Write("f.json", kFusion), "--ticks", "-", "--strict"}, R"({"ts":1,"sensors":[{"id":"a"}]})"
                                                                                    "\n");
  CHECK(result.code == 0);
  CHECK(Says(result.out, "all_excluded"));
}

TEST_CASE("a SAGE graph without ticks, an op graph with them") {
  const TempFolder folder;
  ToolResult result = RunTool({"run", folder.Write("m.json", kMetabolic)});
  CHECK(result.code == 2);
  CHECK(Says(result.err, "--ticks"));
  result = RunTool({"run", folder.Write("r.json", kRelu), "--ticks", "-"});
  CHECK(result.code == 2);
  CHECK(Says(result.err, "--input"));
}

TEST_CASE("a file that is no plugin, and one that is not there") {
  const TempFolder folder;
  const ToolResult text = RunTool({"plugin", "show", folder.Write("libsage_x.so", "not a library")});
  CHECK(text.code == 4);
  CHECK(Says(text.out + text.err, "libsage_x.so"));
  CHECK(RunTool({"plugin", "show", "/nowhere/x.so"}).code == 3);
}

TEST_CASE("dropout at inference is an error that says so") {
  const TempFolder folder;
  const ToolResult result = RunTool({"explain", folder.Write("d.json", R"({"graph_type":"OpGraph","graph":{
    "tensors":[{"name":"q","dtype":"F32","shape":[{"size":1},{"size":1},{"size":4},{"size":8}]}],
    "nodes":[{"name":"attn","op_type":"Attention","op":{"q":"q","k":"q","v":"q","out":"o","dropout_p":0.1}}],
    "inputs":["q"],"outputs":["o"]}})")});
  CHECK(result.code == 3);
  CHECK(Says(result.err, "dropout"));
  CHECK(Says(result.err, "inference"));
}
