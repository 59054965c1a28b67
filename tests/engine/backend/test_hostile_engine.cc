// The engine before hostile plugins: refused with a sentence, or their bad answers turned into a NO; never a crash, and
// the others go on.
#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "backend/plugin_loader.h"
#include "engine.h"
#include "plan/problem.h"

namespace {

using namespace sage;

std::string File(const std::string& fault) { return std::string(HOSTILE_FOLDER) + "/" + fault + ".so"; }

TEST_CASE("plugins that cannot be used are refused, and the sentence names the fault") {
  const struct {
    const char* fault;
    std::vector<const char*> words;
  } cases[] = {
      {"null_entry", {"run", "null"}},  {"wrong_major", {"2", "1.0", "libsage"}}, {"zero_size", {"0 bytes"}},
      {"absurd_minor", {"4000000000"}}, {"no_symbol", {"sage_plugin_query_v1"}},  {"not_elf", {"ELF"}},
  };
  for (const auto& [fault, words] : cases) {
    CAPTURE(fault);
    const PluginFile file = LoadPluginFile(File(fault), "option", true);
    CHECK_FALSE(file.refused.ok());
    const std::string said = file.refused.message();
    CAPTURE(said);
    CHECK(said.find(fault) != std::string::npos);  // the path
    for (const char* word : words) CHECK(said.find(word) != std::string::npos);
  }
}

// The answer of a fixture's backend to one RELU.
sage_answer AskOne(const std::string& fault, std::shared_ptr<Backend>* kept, Problem* problem) {
  const PluginFile file = LoadPluginFile(File(fault), "option", true);
  REQUIRE_MESSAGE(file.refused.ok(), file.refused.message());
  auto host = std::make_shared<Host>(Options(), 1, uint64_t{1} << 30);
  auto backend = Backend::Create(host, *file.table, file.agreed_minor, 0, "");
  REQUIRE_MESSAGE(backend.ok(), backend.status().message());
  *kept = *backend;
  return (*kept)->Ask(problem->op, 0);
}

TEST_CASE("answers that break the contract become NO with a sentence about the breach") {
  const struct {
    const char *fault, *line, *word;
  } cases[] = {
      {"silent_no", "unary X=f32[4] Y=f32[4]:fn=tanh", "reason"},
      {"nan_cost", "unary X=f32[4] Y=f32[4]:fn=relu", "cost"},
      {"auto_accuracy", "unary X=f32[4] Y=f32[4]:fn=relu", "accuracy"},
      {"throws", "unary X=f32[4] Y=f32[4]:fn=relu", "exception"},
  };
  for (const auto& [fault, line, word] : cases) {
    CAPTURE(fault);
    auto problem = ParseProblem(line);
    REQUIRE(problem.ok());
    std::shared_ptr<Backend> backend;
    const sage_answer answer = AskOne(fault, &backend, problem->get());
    CHECK(answer.verdict == SAGE_NO);
    const std::string reason = answer.reason;
    CAPTURE(reason);
    CHECK(reason.find(word) != std::string::npos);
  }
}

TEST_CASE(
    "a plan that wants more workspace than ask promised, whose parts exceed the whole, or that throws, is refused") {
  for (const char* fault : {"workspace_lie", "parts_lie", "throws"}) {
    CAPTURE(fault);
    auto problem = ParseProblem("unary X=f32[4] Y=f32[4]:fn=relu");
    REQUIRE(problem.ok());
    std::shared_ptr<Backend> backend;
    (void)AskOne(fault, &backend, problem->get());
    const auto plan = backend->MakePlan((*problem)->op, nullptr, 64);
    CHECK_FALSE(plan.ok());
    if (!plan.ok()) CHECK(plan.status().message().find(fault) != std::string::npos);
  }
}

TEST_CASE("an engine given every hostile plugin has the honest one and the reference, and reports the rest") {
  Options options;
  std::string all;
  for (const char* fault : {"null_entry", "wrong_major", "zero_size", "absurd_minor", "no_symbol", "not_elf", "honest"})
    all += (all.empty() ? "" : ":") + File(fault);
  options.values = {{"plugin_environment", "false"}, {"plugin_folders", "false"}, {"threads", "1"}, {"plugins", all}};
  const auto engine = Engine::Create(options);
  REQUIRE_MESSAGE(engine.ok(), engine.status().message());
  CHECK((*engine)->FindBackend("honest") != nullptr);
  CHECK((*engine)->FindBackend("reference") != nullptr);
  CHECK((*engine)->FindBackend("wrong_major") == nullptr);
  JsonWriter out;
  (*engine)->Describe(out);
  const std::string text(out.text());
  for (const char* fault : {"null_entry", "wrong_major", "zero_size", "absurd_minor", "no_symbol", "not_elf"}) {
    CAPTURE(fault);
    CHECK(text.find(fault) != std::string::npos);
  }
}

}  // namespace
