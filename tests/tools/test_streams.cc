// test_streams.cc: the recorded tick streams: replay to the byte, snapshot and restore, live.
#include <doctest/doctest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "tools/tool_runner.h"

using nlohmann::json;
using sage::test::ReadAll;
using sage::test::RunTool;
using sage::test::TempFolder;
using sage::test::ToolResult;

namespace {

const std::string kExamples = std::string(SAGE_SOURCE_DIR) + "/examples/";

bool Says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
size_t Lines(const std::string& text) { return static_cast<size_t>(std::count(text.begin(), text.end(), '\n')); }

}  // namespace

TEST_CASE("G13 R23 the recorded ticks replay to the same bytes, with one thread and with two") {
  for (const char* name : {"expert", "metabolic", "fusion"}) {
    CAPTURE(name);
    const std::string model = kExamples + "models/" + name + ".json", ticks = kExamples + "ticks/" + name + ".jsonl";
    const ToolResult first = RunTool({"run", model, "--ticks", ticks, "--strict", "--threads", "1"});
    CAPTURE(first.err);
    REQUIRE(first.code == 0);
    CHECK(Lines(first.out) == Lines(ReadAll(ticks)));
    CHECK(first.out == RunTool({"run", model, "--ticks", ticks, "--strict", "--threads", "1"}).out);
    CHECK(first.out == RunTool({"run", model, "--ticks", "-", "--threads", "2"}, ReadAll(ticks)).out);
  }
}

TEST_CASE("G13 a stream cut by a snapshot and restored gives the bytes of the stream that was not") {
  const TempFolder folder;
  for (const char* name : {"expert", "metabolic", "fusion"}) {
    CAPTURE(name);
    const std::string model = kExamples + "models/" + name + ".json",
                      ticks = ReadAll(kExamples + "ticks/" + name + ".jsonl");
    size_t cut = 0;
    for (size_t i = 0; i < Lines(ticks) / 2; ++i) cut = ticks.find('\n', cut) + 1;
    const std::string whole = RunTool({"run", model, "--ticks", "-"}, ticks).out, snapshot = folder.File("s.json");
    const ToolResult head = RunTool({"run", model, "--ticks", "-", "--snapshot", snapshot}, ticks.substr(0, cut));
    const ToolResult tail = RunTool({"run", model, "--ticks", "-", "--restore", snapshot}, ticks.substr(cut));
    CHECK(tail.code == 0);
    CHECK(head.out + tail.out == whole);
  }
}

TEST_CASE("a snapshot of another model is refused, and taken over only when asked to") {
  const TempFolder folder;
  const std::string ticks = kExamples + "ticks/metabolic.jsonl", snapshot = folder.File("s.json");
  REQUIRE(RunTool({"run", kExamples + "models/metabolic.json", "--ticks", ticks, "--snapshot", snapshot}).code == 0);
  json other = json::parse(ReadAll(kExamples + "models/metabolic.json"));
  other["graph"]["total_atp"] = 50;
  const std::string model = folder.Write("m.json", other.dump());
  const ToolResult refused = RunTool({"run", model, "--ticks", "-", "--restore", snapshot});
  CHECK(refused.code == 3);
  CHECK(Says(refused.err, "model"));
  CHECK(RunTool({"run", model, "--ticks", "-", "--restore", snapshot, "--restore-anyway"}).code == 0);
  CHECK(RunTool({"run", model, "--ticks", "-", "--restore", folder.Write("x.json", "{\"sage_snapshot\":99}")}).code ==
        3);
}

TEST_CASE("--timing adds duration_ms and nothing else") {
  const std::string model = kExamples + "models/fusion.json", ticks = kExamples + "ticks/fusion.jsonl";
  const ToolResult plain = RunTool({"run", model, "--ticks", ticks}),
                   timed = RunTool({"run", model, "--ticks", ticks, "--timing"});
  REQUIRE(timed.code == 0);
  const std::string plain_line = plain.out.substr(0, plain.out.find('\n')),
                    timed_line = timed.out.substr(0, timed.out.find('\n'));
  json record = json::parse(timed_line);
  CHECK(record.contains("duration_ms"));
  CHECK(record.contains("late"));
  record.erase("duration_ms"), record.erase("late");
  CHECK(record == json::parse(plain_line));
}

TEST_CASE("the summary names the decision, who ran each node and why, and the latencies") {
  for (const char* name : {"expert", "metabolic", "fusion"}) {
    const ToolResult result = RunTool({"run", kExamples + "models/" + name + ".json", "--ticks",
                                       kExamples + "ticks/" + name + ".jsonl", "--summary"});
    CHECK(result.code == 0);
    CHECK(Says(result.err, "who ran it"));
    CHECK(Says(result.err, "cpu"));
    CHECK(Says(result.err, "p99"));
  }
}

TEST_CASE("--live runs each graph from this machine's counters; its record replays to the same bytes") {
  const TempFolder folder;
  for (const char* name : {"expert", "metabolic", "fusion"}) {
    CAPTURE(name);
    const std::string model = kExamples + "models/" + name + ".json", record = folder.File("r.jsonl");
    const ToolResult live = RunTool({"run", model, "--live", "--rate", "50", "--count", "10", "--record", record});
    CAPTURE(live.err);
    CHECK(live.code == 0);
    CHECK(Lines(live.out) == 10);
    CHECK(!Says(live.out, "\"error\""));
    CHECK(live.out == RunTool({"run", model, "--ticks", record}).out);
  }
}

TEST_CASE("G14 --reputation fills the trust that a tick lacks from the store") {
  const TempFolder folder;
  const ToolResult result = RunTool({"run", kExamples + "models/expert.json", "--ticks",
                                     kExamples + "ticks/expert.jsonl", "--reputation", folder.File("t.db")});
  CHECK(result.code == 0);
  CHECK(Lines(result.out) > 0);
}
