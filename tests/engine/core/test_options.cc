// Options: every refusal names the key, the value, what is accepted and what may have been meant.
#include <doctest/doctest.h>

#include <limits>

#include "options.h"
#include "plan/policy_options.h"

using namespace sage;

namespace {

Options With(const std::string& key, const std::string& value) {
  Options options;
  options.values[key] = value;
  return options;
}

bool Mentions(const Status& status, std::initializer_list<const char*> words) {
  for (const char* word : words)
    if (status.message().find(word) == std::string::npos) return false;
  return true;
}

}  // namespace

TEST_CASE("integers: limits included, no blanks, no signs too many, no overflow") {
  CHECK(*IntegerOption({}, "threads", 1, 256, 7) == 7);
  CHECK(*IntegerOption(With("threads", "256"), "threads", 1, 256, 7) == 256);
  CHECK(*IntegerOption(With("threads", "-3"), "threads", -3, 256, 7) == -3);
  for (const char* bad : {"", " 4", "4 ", "4x", "+4", "0", "257", "99999999999999999999", "4.0", "0x4", "-"}) {
    CAPTURE(bad);
    const auto result = IntegerOption(With("threads", bad), "threads", 1, 256, 7);
    REQUIRE_FALSE(result.ok());
    CHECK(result.status().code() == SAGE_E_INVALID_ARGUMENT);
    CHECK(Mentions(result.status(), {"threads", bad, "1", "256"}));
  }
}

TEST_CASE("bools, numbers, texts, choices") {
  for (const char* yes : {"true", "1", "on"}) CHECK(*BoolOption(With("trace", yes), "trace", false));
  for (const char* no : {"false", "0", "off"}) CHECK_FALSE(*BoolOption(With("trace", no), "trace", true));
  CHECK_FALSE(BoolOption(With("trace", "yes"), "trace", true).ok());
  CHECK(*BoolOption({}, "trace", true));
  CHECK(*NumberOption(With("x", "1e-3"), "x", 0, 1, 0.5) == 1e-3);
  for (const char* bad : {"nan", "inf", "-1", "2", "", "1 ", "1,5"})
    CHECK_FALSE(NumberOption(With("x", bad), "x", 0, 1, 0).ok());
  CHECK(TextOption(With("backend", "cpu"), "backend", "") == "cpu");
  CHECK(TextOption({}, "backend", "none") == "none");
  constexpr std::string_view kChoices[] = {"off", "first", "always"};
  CHECK(*ChoiceOption(With("verify", "always"), "verify", kChoices, 0) == 2);
  const auto bad = ChoiceOption(With("verify", "allways"), "verify", kChoices, 0);
  REQUIRE_FALSE(bad.ok());
  CHECK(Mentions(bad.status(), {"verify", "allways", "off, first, always", "did you mean 'always'?"}));
}

TEST_CASE("an unknown key is refused with the nearest known one") {
  for (const OptionSpec& spec : KnownOptions()) CHECK(CheckOptionKey(spec.key).ok());
  CHECK(CheckOptionKey("cpu.isa").ok());
  for (const char* bad : {".isa", "cpu.", "."}) CHECK_FALSE(CheckOptionKey(bad).ok());
  CHECK(Mentions(CheckOptionKey("thread"), {"thread", "did you mean 'threads'?"}));
  CHECK(Mentions(CheckOptionKey("flahs_threshold"), {"did you mean 'flash_threshold'?"}));
  CHECK(Mentions(CheckOptionKey("quetzalcoatl"), {"known are", "threads", "flash_threshold"}));
  CHECK_FALSE(CheckOptionKey("").ok());
  CHECK_FALSE(CheckOptionKey(std::string(100000, 'a')).ok());
}

TEST_CASE("nearest name: a typing error is near, another word is not") {
  constexpr std::string_view kKnown[] = {"reference", "cpu", "openblas"};
  CHECK(NearestName("refernce", kKnown) == "reference");
  CHECK(NearestName("cup", kKnown) == "cpu");
  CHECK(NearestName("openbals", kKnown) == "openblas");
  CHECK(NearestName("cuda", kKnown).empty());
  CHECK(NearestName("", kKnown).empty());
  CHECK(NearestName(std::string(1 << 20, 'x'), kKnown).empty());
  CHECK(NearestName("x", {}).empty());
}

TEST_CASE("N8 a policy from options sets what was given and nothing else") {
  const auto none = PolicyFromOptions({});
  REQUIRE(none.ok());
  CHECK_FALSE(none->algorithm.has_value());
  CHECK_FALSE(none->backend.has_value());
  CHECK_FALSE(none->use_simd.has_value());
  Options options;
  options.values = {{"algorithm", "flash"},    {"flash_threshold", "512"}, {"block_q", "32"},
                    {"block_kv", "128"},       {"preset", "low_memory"},   {"accuracy", "lossy"},
                    {"use_simd", "false"},     {"backend", "cpu"},         {"backend_order", "openblas,cpu"},
                    {"deterministic", "true"}, {"strict", "on"},           {"stream_capture", "false"},
                    {"max_latency_ms", "2.5"}};
  const auto policy = PolicyFromOptions(options);
  REQUIRE(policy.ok());
  CHECK(policy->algorithm == SAGE_ALGORITHM_FLASH);
  CHECK(policy->flash_threshold == 512u);
  CHECK(policy->block_q == 32u);
  CHECK(policy->block_kv == 128u);
  CHECK(policy->preset == Preset::kLowMemory);
  CHECK(policy->accuracy == SAGE_ACCURACY_LOSSY);
  CHECK(policy->use_simd == false);
  CHECK(policy->backend == "cpu");
  CHECK(policy->backend_order == std::vector<std::string>{"openblas", "cpu"});
  CHECK(policy->deterministic == true);
  CHECK(policy->strict == true);
  CHECK(policy->stream_capture == false);
  CHECK(policy->max_latency_ms == 2.5);
  for (const auto& [key, value] :
       std::initializer_list<std::pair<const char*, const char*>>{{"algorithm", "fash"},
                                                                  {"flash_threshold", "-1"},
                                                                  {"flash_threshold", "4294967296"},
                                                                  {"block_q", "65537"},
                                                                  {"accuracy", "exactly"},
                                                                  {"backend", ""},
                                                                  {"backend_order", ",cpu"},
                                                                  {"backend_order", "cpu,,reference"},
                                                                  {"max_latency_ms", "nan"},
                                                                  {"use_simd", "maybe"}}) {
    CAPTURE(key);
    CAPTURE(value);
    const auto bad = PolicyFromOptions(With(key, value));
    REQUIRE_FALSE(bad.ok());
    CHECK(Mentions(bad.status(), {key}));
  }
}
