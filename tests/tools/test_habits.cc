// test_habits.cc: how the tool behaves among other programs: full disks, closed pipes, signals, odd file names,
// terminals, crashing plugins.
#include <doctest/doctest.h>
#include <unistd.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "tools/tool_runner.h"

using nlohmann::json;
using sage::test::ReadAll;
using sage::test::RunShell;
using sage::test::RunTool;
using sage::test::TempFolder;
using sage::test::ToolResult;

namespace {

const std::string kExamples = std::string(SAGE_SOURCE_DIR) + "/examples/";
const char* kRelu = R"({"name":"r","graph_type":"OpGraph","graph":{
  "tensors":[{"name":"a","dtype":"F32","shape":[{"size":8}]}],
  "nodes":[{"name":"the_relu","op_type":"Unary","op":{"x":"a","out":"y","function":"RELU"}}],
  "inputs":["a"],"outputs":["y"]}})";

bool Says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }
size_t Lines(const std::string& text) { return static_cast<size_t>(std::count(text.begin(), text.end(), '\n')); }

}  // namespace

TEST_CASE("a full disk behind stdout is an error of every verb, --help included") {
  const TempFolder folder;
  for (const char* verb :
       {"--help", "--version", "doctor", "plugin list", "explain $MODELS/fusion.json", "dump $MODELS/fusion.json",
        "validate $MODELS/fusion.json", "convert --to json $MODELS/fusion.json -",
        "run $MODELS/fusion.json --ticks $TICKS/fusion.jsonl"}) {
    CAPTURE(verb);
    const ToolResult result = RunShell("$TOOL " + std::string(verb) + " > /dev/full", folder);
    CHECK(result.code == 3);
    CHECK(Says(result.err, "stdout could not be written: No space left on device"));
  }
}

TEST_CASE("a reader that has had enough ends the tool quietly, as SIGPIPE would") {
  const TempFolder folder;
  // The tool begins once the reader is on its way out: what it writes would fit into the pipe.
  const ToolResult result = RunShell(R"(
touch $DIR/reading
{ while [ -e $DIR/reading ]; do sleep 0.01; done; sleep 0.05; exec $TOOL run $MODELS/fusion.json --ticks $TICKS/fusion.jsonl
} | rm $DIR/reading
echo ${PIPESTATUS[0]})",
                                     folder);
  CHECK(result.out == "141\n");
  CHECK(result.err.empty());
}

TEST_CASE("Ctrl-C in the middle of a stream: exit 130, the decisions so far, and a snapshot that can be restored") {
  const TempFolder folder;
  const ToolResult result = RunShell(R"(
mkfifo $DIR/ticks
$TOOL run $MODELS/metabolic.json --ticks $DIR/ticks --snapshot $DIR/s.json > $DIR/out 2> $DIR/err & tool=$!
exec 9> $DIR/ticks
head -5 $TICKS/metabolic.jsonl >&9
for i in $(seq 400); do [ $(wc -l < $DIR/out) = 5 ] && break; sleep 0.05; done
kill -INT $tool
wait $tool
echo $?)",
                                     folder);
  CHECK(result.out == "130\n");
  CHECK(Lines(ReadAll(folder.File("out"))) == 5);
  CHECK(json::parse(ReadAll(folder.File("s.json")))["line"] == 5);
  const ToolResult rest = RunShell(
      "tail -n +6 $TICKS/metabolic.jsonl | $TOOL run $MODELS/metabolic.json --ticks - --restore $DIR/s.json", folder);
  CHECK(ReadAll(folder.File("out")) + rest.out ==
        RunTool({"run", kExamples + "models/metabolic.json", "--ticks", kExamples + "ticks/metabolic.jsonl"}).out);
}

TEST_CASE("file names with spaces, and names that are not UTF-8, in text and in JSON") {
  const TempFolder folder;
  const std::string model = ReadAll(kExamples + "models/fusion.json");
  for (const char* name : {"a b.json", "\xff\xfe.json"}) {
    const std::string path = folder.Write(name, model);
    CHECK(RunTool({"validate", path}).code == 0);
    const ToolResult report = RunTool({"validate", "--json", path});
    CHECK(report.code == 0);
    CHECK(json::parse(report.out)["valid"] == true);
    CHECK(RunTool({"dump", "--json", path}).code == 0);
    CHECK(RunTool({"convert", path, folder.File(std::string("o") + name)}).code == 0);
    const ToolResult bench = RunTool({"bench", path, "--ticks", kExamples + "ticks/fusion.jsonl", "--json"});
    CHECK(bench.code == 0);
    CHECK(json::parse(bench.out)["rows"].size() == 1);
  }
}

TEST_CASE("off a terminal there is neither colour nor bar; on one there is a bar while work takes long") {
  const TempFolder folder;
  const std::string bench = "bench --attn b1.hq1.sq8.d8.f32 --backends reference --min-time ";
  const ToolResult plain = RunShell("$TOOL " + bench + "0.01", folder);
  REQUIRE(plain.code == 0);
  CHECK(!Says(plain.out + plain.err, "\x1b"));
  if (RunShell("command -v script", folder).code != 0) {
    MESSAGE("no script(1) here: the bar on a terminal is not looked at");
    return;
  }
  const ToolResult terminal = RunShell("script -qec \"$TOOL " + bench + "1.5\" /dev/null", folder);
  CHECK(terminal.code == 0);
  CHECK(Says(terminal.out, "measuring"));
  CHECK(Says(terminal.out, "%"));
}

TEST_CASE("an unknown flag is named before what else is missing, with the nearest one that is near") {
  ToolResult result = RunTool({"run", "--tikcs", "x"});
  CHECK(result.code == 2);
  CHECK(Says(result.err, "unknown flag \"--tikcs\"; did you mean \"--ticks\"?"));
  CHECK(Says(result.err, "Try: sage-engine run --help"));
  result = RunTool({"plugin", "lst"});
  CHECK(result.code == 2);
  CHECK(Says(result.err, "unknown verb \"lst\"; did you mean \"list\"?"));
  result = RunTool({"explain", "--zzzzzz"});
  CHECK(result.code == 2);
  CHECK(!Says(result.err, "did you mean"));
}

TEST_CASE("--isolate: a plugin that crashes is named with the signal, the node and its library; stdout stays empty") {
  const TempFolder folder;
  const std::string library = std::string(HOSTILE_FOLDER) + "/crashes.so";
  const ToolResult result = RunTool({"run", folder.Write("r.json", kRelu), "--input", "a=8xf32:range", "--isolate",
                                     "--plugin", library, "--backend", "crashes"});
  CAPTURE(result.err);
  CHECK(result.code == 1);
  CHECK(Says(result.err, "signal 6 (Aborted)"));
  CHECK(Says(result.err, "node \"the_relu\" on backend crashes"));
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  CHECK(Says(result.err, "crashes.so"));
#endif
  CHECK(result.out.empty());
}

TEST_CASE("--isolate: a child that does not answer the interrupt is ended, and nothing of it stays behind") {
  const TempFolder folder;
  folder.Write("r.json", kRelu);
  const ToolResult result =
      RunShell("$TOOL run $DIR/r.json --input a=8xf32:range --isolate --plugin " + std::string(HOSTILE_FOLDER) +
                   "/hangs.so --backend hangs & tool=$!\n"
                   "for i in $(seq 200); do grep -q . /proc/$tool/task/$tool/children && break; sleep 0.05; done\n"
                   "sleep 0.2; kill -TERM $tool; wait $tool; echo $?; pgrep -f \"$DIR/r.json\"; true",
               folder);
  CHECK(result.out == "130\n");
}

TEST_CASE("a plugin of another major is refused with both versions; a relative path to --plugin will do") {
  const TempFolder folder;
  const std::string hostile = HOSTILE_FOLDER;
  ToolResult result = RunTool({"plugin", "show", hostile + "/wrong_major.so"});
  CHECK(result.code == 4);
  CHECK(Says(result.out, "ABI 2.0"));
  CHECK(Says(result.out, "ABI 1.0"));
  result = RunTool({"explain", kExamples + "models/fusion.json", "--plugin", hostile + "/wrong_major.so"});
  CHECK(result.code == 4);
  CHECK(Says(result.err, "ABI 2.0"));
  CHECK(Lines(result.err) == 1);
  result = RunShell("cd " + hostile + " && $TOOL plugin list --plugin honest.so", folder);
  CHECK(result.code == 0);
  CHECK(Says(result.out, "honest"));
}

TEST_CASE("a snapshot that cannot be written is said before the stream, and --snapshot-every needs a file") {
  const std::string model = kExamples + "models/metabolic.json", ticks = kExamples + "ticks/metabolic.jsonl";
  ToolResult result = RunTool({"run", model, "--ticks", ticks, "--snapshot", "/nowhere/s.json"});
  CHECK(result.code == 3);
  CHECK(Says(result.err, "/nowhere/s.json: cannot be written: No such file or directory"));
  CHECK(result.out.empty());
  result = RunTool({"run", model, "--ticks", ticks, "--snapshot-every", "5"});
  CHECK(result.code == 2);
  CHECK(Says(result.err, "--snapshot FILE"));
  result = RunTool({"run", model, "--ticks", ticks, "--restore", "/nowhere/s.json"});
  CHECK(result.code == 3);
}

TEST_CASE("ticks from a FIFO, a folder, an unreadable file, an empty stdin, random bytes, a line beyond the limit") {
  const TempFolder folder;
  const std::string model = kExamples + "models/fusion.json", ticks = kExamples + "ticks/fusion.jsonl";
  ToolResult result = RunShell(
      "mkfifo $DIR/f; cat $TICKS/fusion.jsonl > $DIR/f & $TOOL run $MODELS/fusion.json --ticks $DIR/f", folder);
  CHECK(result.code == 0);
  CHECK(result.out == RunTool({"run", model, "--ticks", ticks}).out);
  result = RunTool({"run", model, "--ticks", folder.path()});
  CHECK(result.code == 3);
  CHECK(Says(result.err, "is a folder, not a file"));
  result = RunTool({"run", model, "--ticks", "-"});
  CHECK(result.code == 0);
  CHECK(result.out.empty());
  if (geteuid() != 0) {
    result = RunShell(
        "cp $TICKS/fusion.jsonl $DIR/no; chmod 000 $DIR/no; $TOOL run $MODELS/fusion.json --ticks $DIR/no", folder);
    CHECK(result.code == 3);
    CHECK(Says(result.err, "Permission denied"));
  }
  result = RunShell("head -c 100000 /dev/urandom > $DIR/junk; $TOOL run $MODELS/fusion.json --ticks $DIR/junk", folder);
  CHECK(result.code == 0);
  CHECK(Says(result.err, "ticks were bad"));
  result = RunTool({"run", kExamples + "models/metabolic.json", "--ticks", "-"},
                   "{\"ts\":1,\"x\":\"" + std::string(17u << 20, 'a') + "\"}\n{\"ts\":2,\"targets\":[]}\n");
  CHECK(result.code == 0);
  CHECK(Lines(result.out) == 2);
  CHECK(Says(result.out, "SAGE_E_LIMIT"));
  CHECK(Says(result.out, "\"ts\":2,\"tick\":0"));
}
