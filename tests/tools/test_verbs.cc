// test_verbs.cc: each verb on real input: what it prints, and that its forms agree with one another.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

#include "tools/tool_runner.h"

using nlohmann::json;
using sage::test::ReadAll;
using sage::test::RunTool;
using sage::test::TempFolder;
using sage::test::ToolResult;

namespace {

const std::string kModels = std::string(SAGE_SOURCE_DIR) + "/examples/models/";
const std::string kTicks = std::string(SAGE_SOURCE_DIR) + "/examples/ticks/";

bool Says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// softmax(q k^T / sqrt(d)) v as one node, two symbols.
const char* kAttention = R"({"name":"attn","graph_type":"OpGraph","graph":{"symbols":[{"name":"s","max":1024}],
  "tensors":[{"name":"q","dtype":"F32","shape":[{"size":1},{"size":4},{"symbol":"s"},{"size":16}]},
             {"name":"k","dtype":"F32","shape":[{"size":1},{"size":2},{"symbol":"s"},{"size":16}]},
             {"name":"v","dtype":"F32","shape":[{"size":1},{"size":2},{"symbol":"s"},{"size":16}]}],
  "nodes":[{"name":"attn","op_type":"Attention","op":{"q":"q","k":"k","v":"v","out":"o","causal":true,"align":"TOP_LEFT"}}],
  "inputs":["q","k","v"],"outputs":["o"]}})";

std::vector<std::string> AttentionInputs(int s) {
  const std::string n = std::to_string(s);
  return {"--input", "q=1x4x" + n + "x16xf32:random,seed=1", "--input", "k=1x2x" + n + "x16xf32:random,seed=2",
          "--input", "v=1x2x" + n + "x16xf32:random,seed=3"};
}

ToolResult RunWith(std::vector<std::string> arguments, const std::vector<std::string>& more) {
  arguments.insert(arguments.end(), more.begin(), more.end());
  return RunTool(arguments);
}

}  // namespace

TEST_CASE("P16 doctor names versions and devices, tests each backend and finds this build healthy") {
  const ToolResult text = RunTool({"doctor"});
  CHECK(text.code == 0);
  CHECK(Says(text.out, "All is well."));
  const ToolResult result = RunTool({"doctor", "--json"});
  REQUIRE(result.code == 0);
  const json report = json::parse(result.out);
  CHECK(report["healthy"] == true);
  CHECK(report["self_test"].size() >= 2);
  CHECK(report["machine"]["processors"].get<int>() >= 1);
  CHECK(!report["build"].get<std::string>().empty());
}

TEST_CASE("R16 N21 tuned tiles: bench measures and stores them, doctor and explain show file and choices") {
  const TempFolder folder;
  const std::string file = folder.Write("tune.json", "");
  REQUIRE(std::remove(file.c_str()) == 0);
  const std::string option = "cpu.tune_file=" + file;
  const ToolResult none = RunTool({"doctor", "--threads", "1", "--option", option});
  CHECK(none.code == 0);
  CHECK(Says(none.out, "tuned tiles: " + file + ": 0 choices"));
  REQUIRE(RunTool({"bench", "--threads", "1", "--attn", "b1.hq2.hkv1.sq256.skv256.d32.f32:causal=tl", "--backends",
                   "cpu", "--option", option, "--option", "cpu.tune=measure", "--option", "cpu.tune_ms=10000",
                   "--min-time", "0.001", "--min-samples", "1"})
              .code == 0);
  const ToolResult text = RunTool({"doctor", "--threads", "1", "--option", option});
  CHECK(Says(text.out, "tuned tiles: " + file + ": 1 choice\n"));
  CHECK(Says(text.out, "group2, q256, kv256, causal"));
  const json report = json::parse(RunTool({"doctor", "--json", "--threads", "1", "--option", option}).out);
  CHECK(report["tuned_tiles"]["file"] == file);
  REQUIRE(report["tuned_tiles"]["choices"].size() == 1);
  CHECK(report["tuned_tiles"]["choices"][0]["rows"].get<int>() >= 1);
  const std::string model = kModels + "gqa_layer.json";
  CHECK(Says(RunTool({"explain", model, "--option", option}).out, "tuned tiles: " + file + ": 1 choice"));
  // Neither a damaged file nor a bad option is in the way or goes unsaid.
  folder.Write("tune.json", "{\"choices\": 7");
  const ToolResult damaged = RunTool({"doctor", "--option", option});
  CHECK(damaged.code == 0);
  CHECK(Says(damaged.out, "not readable as tuned tiles, ignored"));
  CHECK(Says(damaged.err, "is ignored: it is damaged"));
  const ToolResult refused = RunTool({"doctor", "--option", "cpu.tune=often"});
  CHECK(refused.code != 0);
  CHECK(Says(refused.err, "tune is \"often\", expected off, cached or measure"));
}

TEST_CASE("validate accepts every example and reports all errors of a broken one") {
  for (const char* name : {"expert.json", "metabolic.json", "fusion.json"}) {
    const ToolResult result = RunTool({"validate", kModels + name});
    CAPTURE(result.out);
    CHECK(result.code == 0);
  }
  const TempFolder folder;
  const ToolResult result = RunTool(
      {"validate", "--json", folder.Write("bad.json", R"({"graph_type":"ExpertGraph","graph":{"alpha":7,"lambda":-1,
    "attention":{"query_heads":12,"kv_heads":5}}})")});
  CHECK(result.code == 3);
  const json report = json::parse(result.out);
  CHECK(report["valid"] == false);
  CHECK(report["errors"].size() == 3);
}

TEST_CASE("convert and dump: JSON to binary and back is lossless; the drawing names every node") {
  const TempFolder folder;
  for (const char* name : {"expert.json", "metabolic.json", "fusion.json"}) {
    const std::string first = folder.File("1.fbs"), text = folder.File("1.json"), second = folder.File("2.fbs");
    REQUIRE(RunTool({"convert", kModels + name, first}).code == 0);
    CHECK(ReadAll(first).substr(4, 4) == "SAG1");
    REQUIRE(RunTool({"convert", first, text}).code == 0);
    REQUIRE(RunTool({"convert", text, second}).code == 0);
    CHECK(ReadAll(first) == ReadAll(second));
    const ToolResult full = RunTool({"convert", "--defaults", first, "-"});
    CHECK(full.code == 0);
    CHECK(RunTool({"convert", folder.Write("full.json", full.out), folder.File("3.fbs")}).code == 0);
    CHECK(full.out.size() > ReadAll(text).size());
    CHECK(RunTool({"dump", "--json", kModels + name}).out == RunTool({"dump", "--json", second}).out);
  }
  const std::string attention = folder.Write("a.json", kAttention);
  const ToolResult dot = RunTool({"dump", "--dot", attention});
  CHECK(dot.code == 0);
  CHECK(Says(dot.out, "digraph"));
  CHECK(Says(dot.out, "\"in:q\" -> \"attn\""));
  CHECK(Says(dot.out, "\"attn\" -> \"out:o\""));
  CHECK(Says(RunTool({"dump", attention}).out, "symbol s <= 1024"));
  CHECK(Says(RunTool({"dump", "--lowered", kModels + "fusion.json"}).out, "node"));
}

TEST_CASE("convert --pin writes the weights' sizes and digests; from then on another file is refused") {
  const TempFolder folder;
  const std::string model = R"({"name":"w","weight_files":[{"path":"w.bin","format":"RAW","size":1}],
    "graph_type":"OpGraph","graph":{"tensors":[{"name":"x","dtype":"F32","shape":[{"size":2}]},
    {"name":"w","dtype":"F32","shape":[{"size":2},{"size":2}],"weight":{"file":"w.bin"}}],
    "nodes":[{"name":"lin","op_type":"Linear","op":{"x":"x","weight":"w","out":"y"}}],"inputs":["x"],"outputs":["y"]}})";
  const std::string loose = folder.Write("w.json", model), pinned = folder.File("p.json"),
                    binary = folder.File("p.fbs");
  CHECK(RunTool({"convert", "--pin", loose, pinned}).code == 3);  // there is no such file yet
  folder.Write("w.bin", std::string(16, '\0'));
  REQUIRE(RunTool({"convert", "--pin", loose, pinned}).code == 0);
  const json file = json::parse(ReadAll(pinned))["weight_files"][0];
  CHECK(file["size"] == 16);
  CHECK(file["sha256"] == "374708fff7719dd5979ec875d56cd2286f6d3cf7ec317a3b25632aab28ec37bb");
  REQUIRE(RunTool({"convert", "--pin", loose, binary}).code == 0);
  CHECK(RunTool({"validate", pinned, binary}).code == 0);
  folder.Write("w.bin", std::string(16, '\1'));
  const ToolResult changed = RunTool({"validate", pinned});
  CHECK(changed.code == 3);
  CHECK(Says(changed.out, "w.bin"));
  const std::string outside = folder.Write("o.json", R"({"weight_files":[{"path":"../w.bin","size":1}],
    "graph_type":"FusionGraph","graph":{}})");
  CHECK(RunTool({"convert", "--pin", outside, folder.File("q.json")}).code == 3);
}

TEST_CASE("dump --memory: tensors of one arena that live at once do not overlap; totals are those of explain") {
  const ToolResult result = RunTool({"dump", "--memory", "--json", kModels + "gqa_layer.json"});
  REQUIRE(result.code == 0);
  const json plan = json::parse(result.out)[0];
  size_t in_arena = 0;
  for (const json& a : plan["tensors"]) {
    if (a["where"] != "arena") continue;
    ++in_arena;
    CHECK(a["offset"].get<uint64_t>() + a["bytes"].get<uint64_t>() <= plan["arena_bytes"].get<uint64_t>());
    for (const json& b : plan["tensors"]) {
      if (b["where"] != "arena" || a["name"] == b["name"] || a["last"] < b["first"] || b["last"] < a["first"]) continue;
      const uint64_t a0 = a["offset"], a1 = a0 + a["bytes"].get<uint64_t>(), b0 = b["offset"],
                     b1 = b0 + b["bytes"].get<uint64_t>();
      CHECK((a1 <= b0 || b1 <= a0));
    }
  }
  CHECK(in_arena == 6);  // q, k, v, heads, y, and x in the strides of the plan
  CHECK(plan["planned_bytes"] ==
        json::parse(RunTool({"explain", "--json", kModels + "gqa_layer.json"}).out)["planned_bytes"]);
  CHECK(Says(RunTool({"dump", "--memory", kModels + "gqa_layer.json"}).out, "q_proj .. attn"));
  CHECK(Says(RunTool({"dump", "--memory", kModels + "expert.json"}).out, "planned together"));
}

TEST_CASE("convert proves that what it writes is a model") {
  const TempFolder folder;
  const ToolResult result = RunTool({"convert", folder.Write("x", "neither JSON nor a model"), folder.File("x.fbs")});
  CHECK(result.code == 3);
  CHECK(Says(result.err, "this is not a model"));
  CHECK(ReadAll(folder.File("x.fbs")).empty());
}

TEST_CASE("run: outputs by file and JSON, --expect right and wrong, both backends agree") {
  const TempFolder folder;
  const std::string model = folder.Write("a.json", kAttention), expected = folder.File("o.npy");
  ToolResult result =
      RunWith({"run", model, "--backend", "reference", "--output", "o=@" + expected}, AttentionInputs(70));
  CAPTURE(result.err);
  REQUIRE(result.code == 0);
  result = RunWith({"run", model, "--backend", "cpu", "--expect", "o=@" + expected, "--json"}, AttentionInputs(70));
  CHECK(result.code == 0);
  const json outputs = json::parse(result.out);
  CHECK(outputs["outputs"]["o"]["shape"] == json({1, 4, 70, 16}));
  CHECK(outputs["outputs"]["o"]["values"].size() == 4480);
  std::string wrong = ReadAll(expected);
  wrong.back() = static_cast<char>(wrong.back() ^ 0x40);
  result = RunWith({"run", model, "--expect", "o=@" + folder.Write("w.npy", wrong)}, AttentionInputs(70));
  CHECK(result.code == 1);
  CHECK(Says(result.err, "WRONG"));
}

TEST_CASE("P12 explain gives every backend's verdict, the reason of the choice and the line that reproduces it") {
  const TempFolder folder;
  const std::string model = folder.Write("a.json", kAttention);
  const ToolResult result = RunTool({"explain", "--json", model});
  REQUIRE(result.code == 0);
  const json explain = json::parse(result.out);
  REQUIRE(explain["nodes"].size() == 1);
  const json& node = explain["nodes"][0];
  CHECK(node["verdicts"].size() >= 2);
  for (const json& verdict : node["verdicts"]) CHECK(!verdict["reason"].get<std::string>().empty());
  CHECK(node["chosen"] == "cpu");
  CHECK(!node["why"].get<std::string>().empty());
  CHECK(Says(RunTool({"explain", model}).out, "sage-engine bench --attn"));
}

TEST_CASE("S10 the backend may be named by flag and by the model; both are obeyed and said") {
  const TempFolder folder;
  const std::string model = folder.Write("a.json", kAttention);
  CHECK(json::parse(RunTool({"explain", "--json", model, "--backend", "reference"}).out)["nodes"][0]["chosen"] ==
        "reference");
  json named = json::parse(kAttention);
  named["policy"]["backend"] = "reference";
  CHECK(json::parse(RunTool({"explain", "--json", folder.Write("n.json", named.dump())}).out)["nodes"][0]["chosen"] ==
        "reference");
}

TEST_CASE("trace holds the run's spans and counters in the form Chrome and Perfetto read") {
  const TempFolder folder;
  const std::string model = folder.Write("a.json", kAttention), trace = folder.File("t.json");
  REQUIRE(RunWith({"run", model, "--trace", trace}, AttentionInputs(33)).code == 0);
  const json document = json::parse(ReadAll(trace));
  REQUIRE(!document["traceEvents"].empty());
  bool node = false;
  for (const json& event : document["traceEvents"]) {
    CHECK(event["ph"] == "X");
    node = node || Says(event["name"].get<std::string>(), "attn");
  }
  CHECK(node);
}

TEST_CASE("bench checks the answer first and prints the agreed fields") {
  const ToolResult result =
      RunTool({"bench", "--attn", "b1.hq4.hkv2.sq33.skv65.d16.f32:causal=br", "--json", "--min-time", "0.01"});
  CAPTURE(result.err);
  REQUIRE(result.code == 0);
  const json report = json::parse(result.out);
  REQUIRE(!report["rows"].empty());
  for (const json& row : report["rows"])
    for (const char* key : {"problem", "backend", "threads", "dtype", "median_ns", "p90_ns", "p99_ns", "min_ns",
                            "flops", "gflops", "bytes", "gbps", "max_abs_err", "rel_err"})
      CHECK_MESSAGE(row.contains(key), key);
  for (const char* format : {"md", "html", "csv"}) {
    const ToolResult shown = RunTool({"bench", "--attn", "b1.hq2.sq8.d8.f32", "--backend", "cpu", "--min-time", "0.01",
                                      "--warmup", "0", "--format", format});
    CAPTURE(format);
    CHECK(shown.code == 0);
    CHECK(Says(shown.out, "b1.hq2.hkv2.sq8.skv8.d8.f32"));
    CHECK(Says(shown.out, "cpu"));
    CHECK(!Says(shown.out, "reference"));  // only the one that was named
    CHECK(!Says(shown.out, "http"));       // nothing is loaded from elsewhere
  }
  const TempFolder folder;
  // --html writes the page and leaves the table where it was.
  const std::string page = folder.File("page.html");
  const ToolResult both =
      RunTool({"bench", "--attn", "b1.hq2.sq8.d8.f32", "--backend", "cpu", "--min-time", "0.01", "--html", page});
  CHECK(both.code == 0);
  CHECK(Says(both.out, "| cpu |"));
  CHECK(Says(ReadAll(page), "<svg"));
  CHECK(Says(ReadAll(page), "b1.hq2.hkv2.sq8.skv8.d8.f32"));
  CHECK(!Says(ReadAll(page), "http"));
  const ToolResult nowhere =
      RunTool({"bench", "--attn", "b1.hq2.sq8.d8.f32", "--html", folder.File("no/such/page.html")});
  CHECK(nowhere.code == 3);
  CHECK(nowhere.out.empty());  // told before anything was measured
  std::vector<std::string> model = {"bench", folder.Write("a.json", kAttention), "--json", "--min-time", "0.01"};
  const ToolResult of_model = RunWith(model, AttentionInputs(12));
  REQUIRE(of_model.code == 0);
  const json row = json::parse(of_model.out)["rows"][0];
  CHECK(row["max_abs_err"].get<double>() < 1e-5);  // against the reference
  CHECK(row["flops"].get<double>() > 0);
  CHECK(RunTool({"bench", "--attn", "b1.hq4.nonsense"}).code == 2);
  CHECK(RunTool({"bench"}).code == 2);
}

TEST_CASE("bench keeps to the bounds it is given: samples, and the time of the check") {
  const std::vector<std::string> bench = {"bench", "--backends", "cpu", "--json", "--attn"};
  const ToolResult few =
      RunWith(bench, {"b1.hq2.sq64.d16.f32:causal=tl", "--min-time", "5", "--max-samples", "7", "--raw"});
  CAPTURE(few.err);
  REQUIRE(few.code == 0);
  json row = json::parse(few.out)["rows"][0];
  CHECK(row["samples"] == 7);
  REQUIRE(row["samples_ns"].size() == 7);
  CHECK(*std::min_element(row["samples_ns"].begin(), row["samples_ns"].end()) == row["min_ns"]);
  CHECK(row["kv_bytes"] == 2 * 2 * 64 * 16 * 4);
  const json machine = json::parse(few.out)["roofline"];
  CHECK(machine["same_threads"]["footprint_bytes"] == row["kv_bytes"]);
  CHECK(machine["same_threads"]["footprint_gbps"].get<double>() > 0);
  CHECK(!Says(RunWith(bench, {"b1.hq2.sq64.d16.f32", "--min-time", "0.01"}).out, "samples_ns"));
  const ToolResult part =
      RunWith(bench, {"b1.hq8.sq1024.d64.f32:causal=tl", "--min-time", "0.01", "--check-time", "0.02"});
  REQUIRE(part.code == 0);
  row = json::parse(part.out)["rows"][0];
  CHECK(Says(row["note"], "of 1024 query rows checked"));
  CHECK(row["max_abs_err"].get<double>() < 1e-4);
}

TEST_CASE("plugin list, show and probe name path, version and features of the cpu backend") {
  const ToolResult list = RunTool({"plugin", "list", "--json"});
  REQUIRE(list.code == 0);
  std::string path;
  const json listed = json::parse(list.out);
  for (const json& plugin : listed["plugins"])
    if (plugin["name"] == "cpu") path = plugin["path"];
  REQUIRE(!path.empty());
  CHECK(Says(RunTool({"plugin", "list"}).out, "reference"));
  for (const char* verb : {"show", "probe"}) {
    const ToolResult show = RunTool({"plugin", verb, path});
    CHECK(show.code == 0);
    CHECK(Says(show.out, path));
  }
}

TEST_CASE("--option reaches engine and session alike, and an unknown one is refused with the known") {
  CHECK(!Says(RunTool({"plugin", "list", "--option", "plugin_folders=false"}).out, "libsage_cpu.so"));
  const std::string model = kModels + "gqa_layer.json";
  CHECK(RunTool({"explain", model, "--option", "copy_weights=true", "--option", "warmup=lazy"}).code == 0);
  const ToolResult scalar = RunTool({"explain", model, "--option", "cpu.isa=scalar"});
  CHECK(scalar.code == 0);
  CHECK(Says(scalar.out, "scalar"));
  const ToolResult unknown = RunTool({"explain", model, "--option", "warmpu=all"});
  CHECK(unknown.code == 2);
  CHECK(Says(unknown.err, "warmup"));
  CHECK(RunTool({"explain", model, "--option", "threads"}).code == 2);
}

TEST_CASE("run --isolate gives the same output as run") {
  const TempFolder folder;
  const std::string model = folder.Write("a.json", kAttention);
  const ToolResult plain = RunWith({"run", model, "--json"}, AttentionInputs(9)),
                   isolated = RunWith({"run", model, "--json", "--isolate"}, AttentionInputs(9));
  CHECK(isolated.code == 0);
  CHECK(plain.out == isolated.out);
}
