// test_accuracy.cc: run --accuracy-report, validate --against exact and explain's classes, on a backend of class LOSSY
// whose error its option chooses.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "tools/tool_runner.h"

using nlohmann::json;
using sage::test::RunTool;
using sage::test::TempFolder;
using sage::test::ToolResult;

namespace {

const std::string kModels = std::string(SAGE_SOURCE_DIR) + "/examples/models/";
const std::string kTicks = std::string(SAGE_SOURCE_DIR) + "/examples/ticks/";

bool Says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

const char* kAttention = R"({"name":"attn","graph_type":"OpGraph","graph":{"symbols":[{"name":"s","max":1024}],
  "tensors":[{"name":"q","dtype":"F32","shape":[{"size":1},{"size":4},{"symbol":"s"},{"size":16}]},
             {"name":"k","dtype":"F32","shape":[{"size":1},{"size":2},{"symbol":"s"},{"size":16}]},
             {"name":"v","dtype":"F32","shape":[{"size":1},{"size":2},{"symbol":"s"},{"size":16}]}],
  "nodes":[{"name":"attn","op_type":"Attention","op":{"q":"q","k":"k","v":"v","out":"o"}}],
  "inputs":["q","k","v"],"outputs":["o"]}})";

// Seventeen keys; the lossy backend is there, and its weights are multiples of 1 / levels.
std::vector<std::string> With(std::vector<std::string> arguments, const std::string& levels = "64",
                              const std::vector<std::string>& more = {}) {
  for (const char* text : {"--option", "plugins=" SAGE_LOSSY_PLUGIN, "--option", "plugin_environment=false"})
    arguments.push_back(text);
  arguments.insert(arguments.end(), {"--option", "lossy.levels=" + levels});
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

json Validated(const std::vector<std::string>& arguments, int code) {
  const ToolResult result = RunTool(arguments);
  CAPTURE(result.out);
  CAPTURE(result.err);
  REQUIRE(result.code == code);
  return json::parse(result.out);
}

}  // namespace

TEST_CASE("R5 validate --against exact: a lossy backend is within or beyond by its own error") {
  const TempFolder folder;
  const std::string model = folder.Write("attn.json", kAttention);
  const std::vector<std::string> base = {
      "validate", "--json", "--against", "exact", model, "--input", "q=1x4x17x16xf32:random,seed=5"};
  const std::vector<std::string> lossy = {"--accuracy", "lossy", "--backend", "lossy"};
  const json coarse = Validated(With(base, "16", lossy), 1);
  CHECK(coarse["verdict"] == "beyond");
  CHECK(coarse["beyond"].size() >= 2);
  CHECK(Says(coarse["beyond"].dump(), "attn O: relative L1"));
  CHECK(Says(coarse["beyond"].dump(), "output o: cosine"));
  const json node = coarse["accuracy"]["nodes"][0];
  CHECK(node["backend"] == "lossy");
  CHECK(node["accuracy"] == "lossy");
  CHECK(node["outputs"][0]["rel_l1"].get<double>() > 0.02);
  // The model's output is the node's: the same numbers, but for the exact run's rounding to f32.
  CHECK(coarse["outputs"][0]["name"] == "o");
  CHECK(coarse["outputs"][0]["rel_l1"].get<double>() ==
        doctest::Approx(node["outputs"][0]["rel_l1"].get<double>()).epsilon(1e-4));
  // Symbols follow the input that was given, and what was made up is there to be repeated.
  CHECK(coarse["inputs"] ==
        json({"q=1x4x17x16xf32:random,seed=5", "k=1x2x17x16xf32:random,seed=2", "v=1x2x17x16xf32:random,seed=3"}));

  const json fine = Validated(With(base, "65536", lossy), 0);
  CHECK(fine["verdict"] == "within");
  CHECK(fine["beyond"].empty());
  CHECK(fine["bounds"] == json({{"min_cosine", 0.9998}, {"max_rel_l1", 0.02}}));
  const double rel_l1 = fine["accuracy"]["nodes"][0]["outputs"][0]["rel_l1"];
  CHECK(rel_l1 > 0);
  // Each bound alone decides.
  std::vector<std::string> tight = With(base, "65536", lossy);
  tight.insert(tight.end(), {"--max-rel-l1", std::to_string(rel_l1 / 2)});
  CHECK(Validated(tight, 1)["beyond"].size() == 2);
  for (const char* bound : {"--max-rmse", "--max-abs-error"}) {
    std::vector<std::string> with = With(base, "65536", lossy);
    with.insert(with.end(), {bound, "0"});
    CHECK(Validated(with, 1)["verdict"] == "beyond");
    with.back() = "1";
    CHECK(Validated(with, 0)["verdict"] == "within");
  }
  std::vector<std::string> loose = With(base, "16", lossy);
  loose.insert(loose.end(), {"--max-rel-l1", "10", "--min-cosine", "-1"});
  CHECK(Validated(loose, 0)["verdict"] == "within");
  // A NaN of the backend is beyond, however loose the bounds.
  loose = With(base, "-1", lossy);
  loose.insert(loose.end(), {"--max-rel-l1", "10", "--min-cosine", "-1"});
  const json broken = Validated(loose, 1);
  CHECK(Says(broken["beyond"].dump(), "1 elements are NaN or infinite on one side only"));
}

TEST_CASE("R5 validate --against exact: nothing lossy runs that was not asked for") {
  const TempFolder folder;
  const std::string model = folder.Write("attn.json", kAttention);
  const json report = Validated(With({"validate", "--json", "--against", "exact", model}, "16"), 0);
  CHECK(report["accuracy"]["nodes"][0]["backend"] != "lossy");
  CHECK(report["accuracy"]["nodes"][0]["accuracy"] == "exact");
  CHECK(report["inputs"].size() == 3);
  CHECK(Says(report["inputs"][0], "q=1x4x256x16xf32:random,seed=1"));  // the maximum, within reason
  const ToolResult named = RunTool(With({"validate", "--against", "exact", model, "--backend", "lossy"}));
  CHECK(named.code == 4);
  CHECK(Says(named.out, "lossy only by accuracy = lossy"));
  // An --option of the run in question does not leak into the exact one.
  const json by_option = Validated(With({"validate", "--json", "--against", "exact", model, "--option", "backend=lossy",
                                         "--option", "accuracy=lossy"},
                                        "16"),
                                   1);
  CHECK(by_option["accuracy"]["nodes"][0]["backend"] == "lossy");
  CHECK(by_option["outputs"][0]["rel_l1"].get<double>() > 0.02);
}

TEST_CASE("R5 validate --against exact: the table for people") {
  const TempFolder folder;
  const std::string model = folder.Write("attn.json", kAttention);
  const ToolResult result = RunTool(With({"validate", "--against", "exact", model, "--accuracy", "lossy"}, "16"));
  CHECK(result.code == 1);
  for (const char* part : {"against exact", "inputs were made up", "rel. L1", "lossy", "BEYOND",
                           "bounds: cosine >= 0.9998", "beyond: attn O: relative L1", "\nbeyond\n"})
    CHECK_MESSAGE(Says(result.out, part), part);
  // The attention inside a layer node, too.
  for (const auto& [name, node] :
       {std::pair{"gqa_layer.json", "    attn "}, {"gqa_expert_attention.json", "layer.attention"}}) {
    const ToolResult layer = RunTool({"validate", "--against", "exact", kModels + name});
    CHECK(layer.code == 0);
    CHECK(Says(layer.out, "\nwithin\n"));
    CHECK_MESSAGE(Says(layer.out, node), layer.out);
  }
}

TEST_CASE("R5 validate --against exact: bf16 arithmetic is within at a bound that fits it and beyond a tighter one") {
  std::string model = kAttention;
  for (size_t at = 0; (at = model.find("F32", at)) != std::string::npos;) model.replace(at, 3, "BF16");
  const TempFolder folder;
  const std::string file = folder.Write("bf16.json", model);
  const std::vector<std::string> run = {"validate", "--json", "--against", "exact", file};
  const json report = Validated(run, 0);
  const json o = report["accuracy"]["nodes"][0]["outputs"][0];
  CHECK(o["dtype"] == "bf16");
  // The exact result is not rounded to bf16: even the best backend is that far off.
  CHECK(o["rel_l1"].get<double>() > 1e-4);
  CHECK(o["rel_l1"].get<double>() < 0.01);
  std::vector<std::string> tight = run;
  tight.insert(tight.end(), {"--max-rel-l1", "1e-5"});
  CHECK(Validated(tight, 1)["verdict"] == "beyond");
}

TEST_CASE("R5 validate --against exact: integers, scales and masks of a quantised model are made up to fit") {
  const TempFolder folder;
  const std::string model = folder.Write("i8.json", R"({"graph_type":"OpGraph","graph":{"tensors":[
    {"name":"q","dtype":"I8","shape":[{"size":1},{"size":2},{"size":8},{"size":16}]},
    {"name":"k","dtype":"I8","shape":[{"size":1},{"size":2},{"size":8},{"size":16}]},
    {"name":"v","dtype":"I8","shape":[{"size":1},{"size":2},{"size":8},{"size":16}]},
    {"name":"sq","dtype":"F32","shape":[{"size":1}]},{"name":"sk","dtype":"F32","shape":[{"size":1}]},
    {"name":"sv","dtype":"F32","shape":[{"size":1}]},
    {"name":"mask","dtype":"BOOL","shape":[{"size":1},{"size":1},{"size":8},{"size":8}]},
    {"name":"o","dtype":"F32","shape":[{"size":1},{"size":2},{"size":8},{"size":16}]}],
    "nodes":[{"name":"attn","op_type":"Attention","op":{"q":"q","k":"k","v":"v","out":"o","mask":"mask",
      "quant_q":{"scale":"sq"},"quant_k":{"scale":"sk"},"quant_v":{"scale":"sv"}}}],
    "inputs":["q","k","v","sq","sk","sv","mask"],"outputs":["o"]}})");
  const json report = Validated({"validate", "--json", "--against", "exact", model, "--backend", "reference"}, 0);
  const std::string inputs = report["inputs"].dump();
  CHECK(Says(inputs, "q=1x2x8x16xi8:random,seed=1,times=127"));
  CHECK(Says(inputs, "sv=1xf32:value=0.01"));
  CHECK(Says(inputs, "mask=1x1x8x8xbool:value=1"));
  const json node = report["accuracy"]["nodes"][0];
  CHECK(node["dtypes"]["Q"] == "i8");
  CHECK(node["outputs"][0]["largest"].get<double>() > 0.1);
}

TEST_CASE("R5 validate --against exact: tick streams, their attentions and their decisions") {
  for (const char* name : {"expert", "metabolic", "fusion"}) {
    CAPTURE(name);
    const json report = Validated(
        {"validate", "--json", "--against", "exact", kModels + name + ".json", "--ticks", kTicks + name + ".jsonl"}, 0);
    CHECK(report["verdict"] == "within");
    CHECK(report["decisions"]["ticks"].get<int>() >= 10);
    CHECK(report["decisions"]["changed"] == 0);
    REQUIRE(report["accuracy"]["nodes"].size() >= 1);
    CHECK(report["accuracy"]["nodes"][0]["line"].get<int>() >= 1);
  }
  // Weights in quarters are other decisions.
  const std::vector<std::string> coarse = With({"validate", "--json", "--against", "exact", kModels + "expert.json",
                                                "--ticks", kTicks + "expert.jsonl", "--accuracy", "lossy"},
                                               "4");
  const json report = Validated(coarse, 1);
  CHECK(report["accuracy"]["nodes"][0]["backend"] == "lossy");
  const uint64_t changed = report["decisions"]["changed"];
  REQUIRE(changed > 0);
  const json change = report["decisions"]["changes"][0];
  CHECK(change["line"].get<int>() >= 1);
  CHECK(Says(change["at"], "decisions"));
  CHECK(change["got"] != change["exact"]);
  CHECK(Says(report["beyond"].dump(), "decisions: " + std::to_string(changed) + " changed, 0 may"));
  // That alone may be allowed.
  std::vector<std::string> allowed = coarse;
  allowed.insert(allowed.end(), {"--max-changed", "1000", "--min-cosine", "-1", "--max-rel-l1", "1e6"});
  CHECK(Validated(allowed, 0)["decisions"]["changed"] == changed);
}

TEST_CASE("R5 validate --against exact: a stream of bad ticks or none is nothing to judge by") {
  const std::string model = kModels + "metabolic.json";
  for (const std::string& stream : {std::string(), std::string("{\"ts\":\n{}\n")}) {
    const ToolResult result = RunTool({"validate", "--against", "exact", model, "--ticks", "-"}, stream);
    CHECK(result.code == 1);
    CHECK(Says(result.out, "no tick was decided"));
  }
  const ToolResult mixed =
      RunTool({"validate", "--json", "--against", "exact", model, "--ticks", "-"},
              "{\"ts\":1,\"targets\":[{\"id\":\"a\",\"salience\":0.5}]}\nnonsense\n{\"ts\":2,\"targets\":[]}\n");
  CHECK(mixed.code == 0);
  const json report = json::parse(mixed.out);
  CHECK(report["decisions"]["ticks"] == 2);
  CHECK(report["decisions"]["bad"] == 1);
}

TEST_CASE("R5 hostile flags of --against: a usage error with a sentence each") {
  const TempFolder folder;
  const std::string model = folder.Write("attn.json", kAttention);
  const std::string lengths = folder.Write("lengths.json", R"({"graph_type":"OpGraph","graph":{"tensors":[
    {"name":"q","dtype":"F32","shape":[{"size":1},{"size":1},{"size":2},{"size":4}]},
    {"name":"used","dtype":"I32","shape":[{"size":1}]}],
    "nodes":[{"name":"attn","op_type":"Attention","op":{"q":"q","k":"q","v":"q","out":"o","seqused_k":"used"}}],
    "inputs":["q","used"],"outputs":["o"]}})");
  const std::string metabolic = kModels + "metabolic.json";
  struct Case {
    std::vector<std::string> arguments;
    const char* says;
  };
  const std::vector<Case> cases = {
      {{model, "--against", "excat"}, "--against"},
      {{model, "--input", "q=1x4x9x16xf32:random"}, "is of --against exact"},
      {{model, "--max-rel-l1", "0.1"}, "is of --against exact"},
      {{model, "--max-changed", "1"}, "is of --against exact"},
      {{model, metabolic, "--against", "exact"}, "one model at a time"},
      {{model, "--against", "exact", "--min-cosine", "nan"}, "nan is not a number from -1 to 1"},
      {{model, "--against", "exact", "--min-cosine", "1.5"}, "1.5 is not a number from -1 to 1"},
      {{model, "--against", "exact", "--max-rel-l1", "-1"}, "-1 is not a number from 0"},
      {{model, "--against", "exact", "--max-rel-l1", "inf"}, "inf is not a number"},
      {{model, "--against", "exact", "--max-rmse", "x"}, "x is not a number"},
      {{model, "--against", "exact", "--max-abs-error", "nan"}, "nan is not a number"},
      {{model, "--against", "exact", "--max-changed", "-1"}, "--max-changed"},
      {{model, "--against", "exact", "--ticks", "-"}, "takes --input, not --ticks"},
      {{metabolic, "--against", "exact"}, "a SAGE graph is compared over a stream"},
      {{"-", "--against", "exact", "--ticks", "-"}, "stdin"},
      {{model, "--against", "exact", "--input", "z=1xf32:random"}, "no input of that name"},
      {{model, "--against", "exact", "--input", "q=1xf32:random,times=x"}, "times=F"},
      {{model, "--against", "exact", "--input", "q"}, "expected NAME="},
      {{lengths, "--against", "exact"}, "lengths and indices cannot be made up"},
  };
  for (const Case& given : cases) {
    std::vector<std::string> arguments = {"validate"};
    arguments.insert(arguments.end(), given.arguments.begin(), given.arguments.end());
    const bool from_stdin = given.arguments[0] == "-";
    const ToolResult result = RunTool(arguments, from_stdin ? R"({"graph_type":"MetabolicGraph","graph":{}})" : "");
    CAPTURE(result.err);
    CHECK_MESSAGE(result.code == 2, std::string(given.says));
    CHECK_MESSAGE(Says(result.err, given.says), std::string(given.says));
  }
  // Given, the lengths are taken.
  CHECK(RunTool({"validate", lengths, "--against", "exact", "--input", "used=1xi32:value=2"}).code == 0);
  // Shapes that contradict each other, and a file that is no stream, are errors of their own.
  CHECK(RunTool({"validate", model, "--against", "exact", "-i", "q=1x4x9x16xf32:random", "-i", "k=1x2x8x16xf32:random"})
            .code == 2);
  CHECK(RunTool({"validate", metabolic, "--against", "exact", "--ticks", "/nowhere"}).code == 3);
  // A file that is not valid is reported as ever.
  const std::string bad = folder.Write("bad.json", R"({"graph_type":"ExpertGraph","graph":{"alpha":7}})");
  CHECK(RunTool({"validate", bad, "--against", "exact"}).code == 3);
}

TEST_CASE("R5 run --accuracy-report: a table beside the data or a member of the JSON") {
  const TempFolder folder;
  const std::string model = folder.Write("attn.json", kAttention);
  const std::vector<std::string> inputs = {
      "-i", "q=1x4x9x16xf32:random,seed=1", "-i",         "k=1x2x9x16xf32:random,seed=2",
      "-i", "v=1x2x9x16xf32:random,seed=3", "--accuracy", "lossy"};
  const ToolResult plain = RunTool(With({"run", model}, "16", inputs));
  const ToolResult text = RunTool(With({"run", model, "--accuracy-report"}, "16", inputs));
  CHECK(text.code == 0);
  CHECK(text.out == plain.out);
  CHECK(plain.err.empty());
  CHECK(Says(text.err, "accuracy of the run, against `reference`"));
  CHECK(Says(text.err, "attn                     lossy      lossy   O"));
  const ToolResult as_json = RunTool(With({"run", model, "--accuracy-report", "--json"}, "16", inputs));
  CHECK(as_json.err.empty());
  const json report = json::parse(as_json.out);
  CHECK(report.contains("outputs"));
  CHECK(report["accuracy"]["nodes"][0]["outputs"][0]["rel_l1"].get<double>() > 1e-3);
  CHECK(report["accuracy"]["summary"]["measured"] == 1);

  const std::vector<std::string> ticks = {"run", kModels + "fusion.json", "--ticks", kTicks + "fusion.jsonl"};
  std::vector<std::string> reported = ticks;
  reported.push_back("--accuracy-report");
  const ToolResult stream = RunTool(reported);
  CHECK(stream.code == 0);
  CHECK(stream.out == RunTool(ticks).out);
  CHECK(Says(stream.err, "accuracy of the last tick"));
  CHECK(Says(stream.err, "WEIGHTS"));
  const ToolResult none = RunTool({"run", kModels + "fusion.json", "--ticks", "-", "--accuracy-report"}, "");
  CHECK(none.code == 0);
  CHECK(Says(none.err, "accuracy: there is no accuracy to report: there was no tick yet"));
}

TEST_CASE("R5 explain: the class of each verdict and that LOSSY is used only when asked for") {
  const TempFolder folder;
  const std::string model = folder.Write("attn.json", kAttention);
  const ToolResult plain = RunTool(With({"explain", model}));
  CHECK(plain.code == 0);
  CHECK(Says(plain.out,
             "delivers accuracy lossy, exact is asked for, lossy only by accuracy = lossy or for i8, i16, fp8"));
  CHECK(Says(plain.out, "accuracy: exact or better is taken: accuracy = auto, and Q is f32"));
  CHECK(Says(plain.out, "a LOSSY backend is used only when asked for"));
  const ToolResult asked = RunTool(With({"explain", model, "--accuracy", "lossy"}));
  CHECK(Says(asked.out, "chosen: lossy"));
  CHECK(Says(asked.out, "(rule), lossy, workspace"));
  CHECK(Says(asked.out, "accuracy: lossy or better is taken: accuracy = lossy, by the caller's policy"));
  CHECK(Says(asked.out, "the chosen one is LOSSY; `sage-engine validate --against exact`"));
  const json explained = json::parse(RunTool(With({"explain", "--json", model})).out);
  const json node = explained["nodes"][0];
  CHECK(node["accuracy"] == json({{"accepted", "exact"}, {"why", "accuracy = auto, and Q is f32"}}));
  for (const json& verdict : node["verdicts"])
    if (verdict["backend"] == "lossy") CHECK((verdict["yes"] == false && verdict["accuracy"] == "lossy"));
}
