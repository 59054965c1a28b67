// test_plugin.cc: the plugin as built, on whatever machine this is. Without a driver it loads, says why it does not
// serve, and the engine goes on with the next backend; with one it serves.
#include <dlfcn.h>
#include <doctest/doctest.h>

#include <cstring>
#include <string>

#include "../../tools/tool_runner.h"
#include "sage/plugin.h"
#include "support/error_slot.h"
#include "support/test_host.h"

namespace sage::test {
namespace {

const sage_plugin* Table() {
  static void* const library = dlopen(SAGE_CUDA_PLUGIN, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  REQUIRE_MESSAGE(library != nullptr, dlerror());
  void* const symbol = dlsym(library, SAGE_PLUGIN_QUERY_SYMBOL);
  REQUIRE(symbol != nullptr);
  sage_plugin_query_fn query = nullptr;
  std::memcpy(&query, &symbol, sizeof query);
  return query(SAGE_ABI_MAJOR, SAGE_ABI_MINOR);
}

bool Has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// What probe says; *served: whether that is yes.
std::string Probed(bool* served, uint32_t* count) {
  sage_answer answer{};
  answer.struct_size = sizeof answer;
  Error error;
  TestHost host(1);
  REQUIRE(Table()->probe(host.table(), 0, count, &answer, &error) == SAGE_OK);
  *served = answer.verdict == SAGE_YES;
  return answer.reason;
}

}  // namespace

TEST_CASE("G7 cuda plugin: it loads anywhere and its probe says yes or why not") {
  const sage_plugin* table = Table();
  REQUIRE(table != nullptr);
  CHECK(std::string(table->name) == "cuda");
  CHECK(table->device_type == SAGE_CUDA);
  CHECK(Has(table->build, "CUDA "));
  bool served = false;
  uint32_t count = 77;
  const std::string reason = Probed(&served, &count);
  MESSAGE(reason);
  CHECK(served == (count > 0 && Has(reason, "sm_") && Has(reason, "MiB")));
  if (served) return;
  CHECK((count == 0 || Has(reason, "this build has code for")));
  CHECK(Has(reason, "this build"));
  // What probe says no to, create refuses with the same words.
  TestHost host(1);
  sage_instance* instance = nullptr;
  Error error;
  CHECK(table->create(host.table(), 0, nullptr, &instance, &error) == SAGE_E_UNSUPPORTED);
  CHECK(instance == nullptr);
  CHECK(std::string(error.message) == "create: " + reason);
}

TEST_CASE("G7 cuda plugin: doctor shows why it does not serve and everything else goes on") {
  bool served = false;
  uint32_t count = 0;
  const std::string reason = Probed(&served, &count);
  const ToolResult doctor = RunTool({"doctor"});
  CHECK(doctor.code == 0);
  CHECK(Has(doctor.out, "libsage_cuda.so"));
  CHECK(Has(doctor.out, "All is well."));
  if (served) return;
  CHECK(Has(doctor.out, "cuda cannot run here: " + reason));
  CHECK(Has(doctor.out, "cpu          ok"));
  // An attention that would go to it goes to the next, and nobody is warned of what is no fault.
  const ToolResult bench =
      RunTool({"bench", "--attn", "b1.hq2.hkv2.sq8.skv8.d16.f32", "--min-time", "0.01", "--min-samples", "2"});
  CHECK_MESSAGE(bench.code == 0, bench.err);
  CHECK(!Has(bench.err, "cuda"));
}

TEST_CASE("G7 cuda plugin: who insists on it gets an error and who sets its options or shows it its sentence") {
  bool served = false;
  uint32_t count = 0;
  const std::string reason = Probed(&served, &count);
  if (served) return;
  const ToolResult insisted = RunTool({"bench", "--attn", "b1.hq2.hkv2.sq8.skv8.d16.f32", "--backends", "cuda"});
  CHECK(insisted.code != 0);
  CHECK_MESSAGE(Has(insisted.err, "backend 'cuda'"), insisted.err);
  CHECK_MESSAGE(Has(insisted.err, reason), insisted.err);
  const ToolResult model = RunTool({"run", SAGE_SOURCE_DIR "/examples/models/gqa_layer.json", "--input",
                                    "x=2x20x48xf32:random,seed=1", "--backend", "cuda"});
  CHECK(model.code != 0);
  CHECK_MESSAGE(Has(model.err, "backend 'cuda' (named by the caller's policy): "), model.err);
  CHECK_MESSAGE(Has(model.err, reason), model.err);
  const ToolResult with_option = RunTool({"doctor", "--option", "cuda.kernels=plain"});
  CHECK(with_option.code != 0);
  CHECK_MESSAGE(Has(with_option.out + with_option.err, reason), with_option.err);
  const ToolResult shown = RunTool({"plugin", "show", SAGE_CUDA_PLUGIN});
  CHECK(Has(shown.out, reason));
}

TEST_CASE("G7 cuda plugin: the conformance kit passes it with what it could not try left out") {
  const ToolResult check = RunTool({"plugin", "check", SAGE_CUDA_PLUGIN, "--problems", "10"}, {}, 300);
  CHECK_MESSAGE(check.code == 0, check.out);
  CHECK(Has(check.out, ", 0 failed"));
  bool served = false;
  uint32_t count = 0;
  const std::string reason = Probed(&served, &count);
  if (!served) CHECK(Has(check.out, "NO: " + reason));
}

}  // namespace sage::test
