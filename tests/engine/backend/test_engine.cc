// An engine put together: options reach the right hands or are refused, broken plugins are reported and stop nobody.
#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "engine.h"

using namespace sage;

namespace {

const std::string kFolder = TOY_FOLDER;

Options Plain() {
  Options options;
  options.values = {{"plugin_environment", "false"}, {"plugin_folders", "false"}, {"threads", "1"}};
  return options;
}

Options With(std::initializer_list<std::pair<const char*, std::string>> more) {
  Options options = Plain();
  for (const auto& [key, value] : more) options.values[key] = value;
  return options;
}

void Refused(const Options& options, sage_status code, std::initializer_list<const char*> words) {
  const auto engine = Engine::Create(options);
  REQUIRE_FALSE(engine.ok());
  INFO(engine.status().message());
  CHECK(engine.status().code() == code);
  for (const char* word : words) CHECK(engine.status().message().find(word) != std::string::npos);
}

std::string Description(const Engine& engine) {
  JsonWriter out;
  engine.Describe(out);
  JsonReader reader;
  CHECK(reader.Parse(out.text()).ok());
  return std::string(out.text());
}

}  // namespace

TEST_CASE("P12 an engine without any plugin has the oracle, built in") {
  const auto engine = Engine::Create(Plain());
  REQUIRE_MESSAGE(engine.ok(), engine.status().message());
  CHECK((*engine)->backend_count() == 1);
  CHECK((*engine)->reference()->name() == "reference");
  CHECK((*engine)->FindBackend("reference") == (*engine)->reference());
  CHECK((*engine)->FindBackend("cpu") == nullptr);
  CHECK((*engine)->backend_name(1) == nullptr);
  CHECK((*engine)->host()->num_workers() == 1);
  const std::string text = Description(**engine);
  for (const char* word : {"\"version\":", "\"abi\":\"1.0\"", "\"built-in\"", "\"ATTENTION\"", "\"SINKS\""})
    CHECK(text.find(word) != std::string::npos);
}

TEST_CASE("plugins by option: used, refused or shadowed, each told, none stops the others") {
  const auto engine = Engine::Create(With({{"plugins", kFolder + "/libtoy_newer.so:" + kFolder +
                                                           "/libtoy.so:/none/such.so:" + kFolder + "/libtoy_two.so"}}));
  REQUIRE_MESSAGE(engine.ok(), engine.status().message());
  CHECK((*engine)->backend_count() == 3);
  CHECK((*engine)->backend_name(1) == std::string("toy"));
  CHECK((*engine)->backend_name(2) == std::string("toy_two"));
  std::string text = Description(**engine);
  CHECK(text.find("needs ABI 1.3") != std::string::npos);
  CHECK(text.find("/none/such.so") != std::string::npos);
  CHECK((*engine)->LoadPlugin("libtoy.so").code() == SAGE_E_INVALID_ARGUMENT);
  const Status again = (*engine)->LoadPlugin(kFolder + "/libtoy.so");
  CHECK(again.code() == SAGE_E_UNSUPPORTED);
  CHECK(again.message().find("loaded already") != std::string::npos);
  text = Description(**engine);
  CHECK(text.find("\"shadowed_by\":\"" + std::filesystem::canonical(kFolder + "/libtoy.so").string()) !=
        std::string::npos);
  CHECK((*engine)->backend_count() == 3);
}

TEST_CASE("options: unknown ones, bad values, and those of backends") {
  Refused(With({{"treads", "2"}}), SAGE_E_INVALID_ARGUMENT, {"unknown option 'treads'", "did you mean 'threads'"});
  Refused(With({{"threads", "0"}}), SAGE_E_INVALID_ARGUMENT, {"threads", "'0'", "1", "256"});
  Refused(With({{"max_memory", "lots"}}), SAGE_E_INVALID_ARGUMENT, {"max_memory", "lots"});
  Refused(With({{"log_level", "loud"}}), SAGE_E_INVALID_ARGUMENT, {"log_level", "loud", "warning"});
  Refused(With({{"plugins", "libtoy.so"}}), SAGE_E_INVALID_ARGUMENT, {"plugins", "absolute"});
  Refused(With({{"plugins", "/a::/b"}}), SAGE_E_INVALID_ARGUMENT, {"plugins", "absolute"});
  Refused(With({{"refrence.x", "1"}}), SAGE_E_NOT_FOUND, {"refrence.x", "did you mean 'reference'?"});
  const std::string toy = kFolder + "/libtoy.so";
  CHECK(Engine::Create(With({{"plugins", toy}, {"toy.speed", "slow"}})).ok());
  Refused(With({{"plugins", toy}, {"toy.speed", "fast"}}), SAGE_E_INVALID_ARGUMENT,
          {"toy", "speed=fast", "speed=slow"});
  Refused(With({{"plugins", toy}, {"toy.a", "1\nspeed=slow"}}), SAGE_E_INVALID_ARGUMENT, {"toy.a", "one line"});
  Refused(With({{"plugins", kFolder + "/libtoy_newer.so"}, {"toy_newer.x", "1"}}), SAGE_E_NOT_FOUND, {"toy_newer"});
}

TEST_CASE("R16 a plugin that asks is told where it may keep files; none is told by an option, whatever its name") {
  const char* before = getenv("XDG_CACHE_HOME");
  const std::string kept = before == nullptr ? "" : before;
  setenv("XDG_CACHE_HOME", "/var/somewhere", 1);
  std::string lines;
  Options options = With({{"plugins", kFolder + "/libtoy_cpu.so:" + kFolder + "/libtoy_keeper.so"}});
  options.log_user = &lines;
  options.log = [](void* user, int32_t, const char* text, uint64_t length) {
    static_cast<std::string*>(user)->append(text, length).push_back('\n');
  };
  const auto engine = Engine::Create(options);
  before == nullptr ? unsetenv("XDG_CACHE_HOME") : setenv("XDG_CACHE_HOME", kept.c_str(), 1);
  REQUIRE_MESSAGE(engine.ok(), engine.status().message());
  // A backend called cpu that knows no option of ours, and refuses what it does not know.
  CHECK((*engine)->FindBackend("cpu") != nullptr);
  CHECK((*engine)->FindBackend("keeper") != nullptr);
  CHECK(lines == "may keep files in /var/somewhere/sage-engine\n");
  CHECK(Description(**engine).find("\"cache_folder\":\"/var/somewhere/sage-engine\"") != std::string::npos);
}

TEST_CASE("options of a plan: those an engine reads are refused there unless the engine was given the same") {
  const auto engine = *Engine::Create(With({{"plugins", kFolder + "/libtoy.so"}, {"toy.speed", "slow"}}));
  Options options;
  options.values = {{"threads", "1"}, {"toy.speed", "slow"}, {"backend", "toy"}};
  CHECK(engine->CheckOptions(options, "plan").ok());
  options.values = {{"threads", "2"}};
  const Status refused = engine->CheckOptions(options, "plan");
  CHECK(refused.code() == SAGE_E_INVALID_ARGUMENT);
  CHECK(refused.message().find("'threads' has no effect on a plan") != std::string::npos);
  options.values = {{"toy.speed", "fast"}};
  CHECK_FALSE(engine->CheckOptions(options, "plan").ok());
  options.values = {{"warmup", "all"}};
  CHECK_FALSE(engine->CheckOptions(options, "plan").ok());
  CHECK(engine->CheckOptions(options, "session").ok());
  options.values = {{"nonsense", "1"}};
  CHECK_FALSE(engine->CheckOptions(options, "session").ok());
}

TEST_CASE("a child of fork knows that it is one") {
  const auto engine = *Engine::Create(Plain());
  CHECK(engine->SameProcess());
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) _exit(engine->SameProcess() ? 1 : 0);
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WEXITSTATUS(status) == 0);
}
