// test_memory.cc: the verb memory and bench --crossover: tables whose columns agree with one another, and what is
// refused.
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "tools/tool_runner.h"

using nlohmann::json;
using sage::test::RunTool;
using sage::test::ToolResult;

namespace {

const std::string kModels = std::string(SAGE_SOURCE_DIR) + "/examples/models/";

bool Says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("N13 N10 memory --sweep: both algorithms at every length, allocated as planned, timed, ratios apart") {
  const ToolResult result = RunTool({"memory", "--sweep", "128..1024", "--min-time", "0.01", "--json"});
  REQUIRE_MESSAGE(result.code == 0, result.err);
  const json rows = json::parse(result.out)["rows"];
  REQUIRE(rows.size() == 4);
  int64_t length = 128;
  for (const json& row : rows) {
    CHECK(row["n"] == length);
    CHECK(row["n_over_block"] == static_cast<double>(length) / 64);  // the seeds' "savings ratio": 2, 4, 8, 16 ...
    for (const char* arm : {"standard", "flash"}) {
      CHECK(row[arm]["allocated_bytes"] == row[arm]["memory"]["scratch_bytes"]);
      CHECK(row[arm]["memory"]["scores_bytes"] == length * length * 8);
      CHECK(row[arm]["memory"]["q_bytes"] == length * 64 * 8);
      CHECK(row[arm]["ns"].get<double>() > 0);
    }
    if (length >= 512 && row["flash"]["backend"] == "cpu")  // longer than any tile; the reference has whole rows
      CHECK(row["flash"]["memory"]["working_set_bytes"] == rows[2]["flash"]["memory"]["working_set_bytes"]);
    CHECK(row["rel_err"].get<double>() < 1e-10);
    length *= 2;
  }
  const ToolResult text = RunTool({"memory", "--sweep", "100,300", "--no-time"});
  REQUIRE(text.code == 0);
  for (const char* head : {"N", "score matrix", "scratch, flash", "matrix/scratch", "totals ratio", "N/block"})
    CHECK_MESSAGE(Says(text.out, head), text.out);
  CHECK(Says(text.out, "4.688"));  // 300 / 64
  CHECK_FALSE(Says(text.out, "standard/flash"));
  const ToolResult table = RunTool({"memory", "--sweep", "128", "--no-time", "--format", "md"});
  CHECK(Says(table.out, "| N | score matrix |"));
}

TEST_CASE("N10 memory of a problem and of a model: every part by its name, in text, Markdown and JSON") {
  const char* line = "b4.hq1.hkv1.sq4096.skv4096.d64.f64";
  const ToolResult result = RunTool({"memory", "--attn", line, "--json"});
  REQUIRE_MESSAGE(result.code == 0, result.err);
  const json report = json::parse(result.out);
  CHECK(report["problem"] == line);
  CHECK(report["memory"]["scores_bytes"] == 4ll * 4096 * 4096 * 8);
  CHECK(report["memory"]["q_bytes"] == 4ll * 4096 * 64 * 8);
  const ToolResult text = RunTool({"memory", "--attn", line});
  for (const char* part :
       {"scratch, allocated by a context", "one score matrix", "total with the matrix / total", "536870912"})
    CHECK_MESSAGE(Says(text.out, part), text.out);
  const ToolResult model = RunTool({"memory", kModels + "gqa_layer.json", "--json"});
  REQUIRE_MESSAGE(model.code == 0, model.err);
  const json whole = json::parse(model.out);
  CHECK(whole["planned_bytes"].get<int64_t>() > 0);
  REQUIRE(whole["attention"].size() == 1);
  CHECK(whole["attention"][0]["memory"]["scratch_bytes"].get<int64_t>() > 0);
  CHECK(Says(RunTool({"memory", kModels + "gqa_layer.json", "--format", "md"}).out, "| one score matrix |"));
}

TEST_CASE(
    "N12 S21 bench --crossover: flash and materialised at every length, their ratio as it is, and the threshold") {
  const ToolResult result =
      RunTool({"bench", "--attn", "hq2.sq512.d32.f32", "--crossover", "64,200", "--min-time", "0.01", "--json"});
  REQUIRE_MESSAGE(result.code == 0, result.err);
  const json report = json::parse(result.out);
  REQUIRE(report["rows"].size() == 2);
  CHECK(report["rows"][1]["n"] == 200);
  CHECK(Says(report["rows"][1]["problem"], "sq200.skv200"));
  for (const json& row : report["rows"])
    CHECK(row["materialised_over_flash"].get<double>() ==
          doctest::Approx(row["materialised_ns"].get<double>() / row["flash_ns"].get<double>()));
  const int64_t threshold = report["flash_threshold"];
  CHECK((threshold == -1 || threshold == 0 || threshold == 64));
  // One query over a cache: its keys are what grows.
  const ToolResult decode =
      RunTool({"bench", "--attn", "hq4.hkv2.sq1.skv64.d32.f32", "--crossover", "128", "--min-time", "0.01"});
  CHECK_MESSAGE(Says(decode.out, "sq1.skv128"), decode.out);
  CHECK(Says(decode.out, "materialised/flash"));
}

TEST_CASE("memory and crossover: what cannot be meant is a usage error that says why") {
  const std::vector<std::vector<std::string>> bad = {{"memory"},
                                                     {"memory", "--sweep", "many"},
                                                     {"memory", "--sweep", "512..128"},
                                                     {"memory", "--sweep", "128,,256"},
                                                     {"memory", "--sweep", "0..4"},
                                                     {"memory", "--attn", "hq1.sq0x"},
                                                     {"memory", kModels + "gqa_layer.json", "--sweep", "128"},
                                                     {"bench", "--crossover", "128", kModels + "gqa_layer.json"},
                                                     {"bench", "--attn", "hq1.sq8.d8.f32", "--crossover", "x"},
                                                     {"memory", "--attn", "hq1.sq8.d8.f32", "--input", "q=2xf32:range"},
                                                     {"bench", "--attn", "hq1.sq8.d8.f32", "--input", "q=2xf32:range"},
                                                     {"bench", "--attn", "hq1.sq8.d8.f32", "--ticks", "t.jsonl"}};
  for (const auto& arguments : bad) {
    const ToolResult result = RunTool(arguments);
    CAPTURE(arguments.back());
    CHECK(result.code == 2);
    CHECK(result.out.empty());
    CHECK(Says(result.err, "sage-engine: "));
  }
}
