// test_hostile_files.cc: files and streams made to take the tool down, and files it must not take down itself.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
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
const std::string kTick = "{\"ts\":1,\"targets\":[]}\n";

bool Says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
std::string Nested(size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); }

}  // namespace

TEST_CASE("a tick nested a million deep is a bad tick, with a trust store as without") {
  const TempFolder folder;
  const std::string logits = json(std::vector<double>(128, 0.5)).dump();
  const std::string tick = "{\"ts\":1,\"router_logits\":" + logits + ",\"x_deep\":" + Nested(1000000) + "}\n";
  for (const bool store : {false, true}) {
    std::vector<std::string> arguments = {"run", kModels + "expert.json", "--ticks", "-"};
    if (store) arguments.insert(arguments.end(), {"--reputation", folder.File("t.db")});
    const ToolResult result = RunTool(arguments, tick + "{\"ts\":2,\"router_logits\":" + logits + "}\n");
    CHECK(result.code == 0);
    CHECK(Says(result.out, "nested deeper than 32 levels"));
    CHECK(Says(result.out, "\"ids\":["));  // the next one
  }
}

TEST_CASE("a snapshot nested a million deep is refused, also with --restore-anyway") {
  const TempFolder folder;
  const std::string model = kModels + "metabolic.json", snapshot = folder.File("s.json");
  REQUIRE(RunTool({"run", model, "--ticks", "-", "--snapshot", snapshot}, kTick).code == 0);
  json state = json::parse(ReadAll(snapshot));
  state["model_sha256"] = std::string(64, '0');
  std::string text = state.dump();
  text.back() = ',';
  folder.Write("deep.json", text + "\"x_deep\":" + Nested(1000000) + "}");
  const ToolResult result =
      RunTool({"run", model, "--ticks", "-", "--restore", folder.File("deep.json"), "--restore-anyway"}, kTick);
  CHECK(result.code == 3);
  CHECK(Says(result.err, "nested deeper than 32 levels"));
}

TEST_CASE("what does not begin as a .npy file is not read to its end") {
  // /dev/zero has none.
  const ToolResult result = RunTool({"run", kModels + "gqa_layer.json", "--input", "x=@/dev/zero"}, {}, 20);
  CHECK(result.code == 3);
  CHECK(Says(result.err, "does not begin with"));
}

TEST_CASE("an output is written through a link, and into a pipe or device: neither is replaced by a file") {
  const TempFolder folder;
  const std::string model = kModels + "metabolic.json";
  folder.Write("real.json", "old");
  std::filesystem::create_symlink("real.json", folder.File("link.json"));
  REQUIRE(RunTool({"run", model, "--ticks", "-", "--snapshot", folder.File("link.json")}, kTick).code == 0);
  CHECK(std::filesystem::is_symlink(folder.File("link.json")));
  CHECK(Says(ReadAll(folder.File("real.json")), "sage_snapshot"));

  const std::string pipe = folder.File("pipe");
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  const int reader = open(pipe.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC);
  REQUIRE(reader >= 0);
  CHECK(RunTool({"run", model, "--ticks", "-", "--snapshot", pipe}, kTick).code == 0);
  struct stat info {};
  REQUIRE(lstat(pipe.c_str(), &info) == 0);
  CHECK(S_ISFIFO(info.st_mode));
  char text[64] = {};
  CHECK(read(reader, text, sizeof text - 1) > 0);
  CHECK(Says(text, "sage_snapshot"));
  close(reader);
}

TEST_CASE("a problem with a batch of 2^40 and no rows is answered at once") {
  const ToolResult result =
      RunTool({"bench", "--attn", "b1099511627776.hq1.sq0.skv0.d4.f32", "--min-time", "0.01"}, {}, 30);
  CHECK(result.code != 137);
}
