// test_attention_tune.cc: tiles that were measured: the options, the budget, that bits stay, that a choice once made
// stays, and what the answers say.
#include <doctest/doctest.h>

#include <filesystem>
#include <thread>

#include "attention_testing.h"
#include "attention_tune.h"
#include "support/temporary_folder.h"

namespace sage::test {
namespace {

bool Contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

// The cpu backend with options, under the machine's best instruction set or the one that is tested.
struct Tuned {
  explicit Tuned(const std::string& options, uint32_t workers = 1)
      : host(workers, Threads::kReal),
        instance(cpu_plugin_query(SAGE_ABI_MAJOR, SAGE_ABI_MINOR), host,
                 ("isa=" + Isas().back() + "\n" + options).c_str()) {}
  sage_answer Ask(const AttentionCase& attention) {
    TestOp op(SAGE_OP_ATTENTION);
    attention.Describe(op);
    return instance.Ask(op);
  }
  bool Plan(const AttentionCase& attention) {
    TestOp op(SAGE_OP_ATTENTION);
    attention.Describe(op);
    const sage_answer answer = instance.Ask(op);
    const PlannedOp plan(instance, op);
    return plan.status() == SAGE_OK && plan.info().workspace_bytes <= answer.workspace_bytes;
  }
  bool Logged(const std::string& part) {
    for (const std::string& line : host.log_lines())
      if (Contains(line, part)) return true;
    return false;
  }
  TestHost host;
  Instance instance;
};

AttentionCase SmallCase(int64_t seq = 300) {
  return AttentionCase(SAGE_F32, {.heads_q = 2, .heads_k = 1, .seq_q = seq, .seq_kv = seq, .dim_qk = 16}, 5)
      .Causal(SAGE_ALIGN_TOP_LEFT);
}

// The line that a file has for SmallCase on this machine: taken from one that was measured.
std::vector<cpu::TunedTiles> MeasuredFile(const std::string& file) {
  Tuned tuned("tune=measure\ntune_ms=60000\ntune_file=" + file);
  REQUIRE(tuned.Plan(SmallCase()));
  std::string note;
  return cpu::ReadTuneFile(file, &note);
}

TEST_CASE("R16 N21 tuning: where no file is named, choices lie in the host's cache folder, if it has one") {
  Folder folder;
  const std::string options = "isa=" + Isas().back() + "\ntune=measure\ntune_ms=60000";
  const auto measure = [&](TestHost& host, const std::string& more) {
    Instance instance(cpu_plugin_query(SAGE_ABI_MAJOR, SAGE_ABI_MINOR), host, (options + more).c_str());
    const AttentionCase attention = SmallCase();
    TestOp op(SAGE_OP_ATTENTION);
    attention.Describe(op);
    REQUIRE(PlannedOp(instance, op).status() == SAGE_OK);
    return std::filesystem::exists(folder.path + "/tune-cpu.json");
  };
  TestHost older(1, Threads::kReal), none(1, Threads::kReal), named(1, Threads::kReal), host(1, Threads::kReal);
  older.LendCacheFolder(folder.path).EndBeforeCacheFolder();
  CHECK_FALSE(measure(older, ""));
  CHECK_FALSE(measure(none, ""));
  CHECK_FALSE(measure(named.LendCacheFolder(folder.path), "\ntune_file="));
  CHECK(measure(host.LendCacheFolder(folder.path), ""));
}

TEST_CASE("N21 tuning: a bad option is refused in a sentence that says what it takes") {
  const auto refused = [](const std::string& option) {
    Tuned tuned(option);
    CHECK(tuned.instance.status() == SAGE_E_INVALID_ARGUMENT);
    return tuned.instance.message();
  };
  CHECK(Contains(refused("tune=always"), "tune is \"always\", expected off, cached or measure"));
  CHECK(Contains(refused("tune_ms=-1"), "tune_ms is \"-1\", expected a whole number of milliseconds from 0 to 60000"));
  CHECK(Contains(refused("tune_ms=60001"), "from 0 to 60000"));
  CHECK(Contains(refused("tune_ms=5s"), "from 0 to 60000"));
  CHECK(Contains(refused("tune_keys=yes"), "tune_keys is \"yes\", expected 0 or 1"));
  CHECK(Contains(refused("tune_file=here.json"), "an absolute path of a file"));
  CHECK(Contains(refused("tune_file=/folder/"), "an absolute path of a file"));
  CHECK(Contains(refused("tuned=off"), "it has: isa, tune, tune_ms, tune_keys, tune_file"));
  CHECK(Tuned("tune=off\ntune_ms=0\ntune_keys=1\ntune_file=").instance.status() == SAGE_OK);
}

TEST_CASE("N21 tuning: nothing is measured or written unless it is asked for") {
  Folder folder;
  for (const char* mode : {"off", "cached"}) {
    Tuned tuned("tune_file=" + folder.path + "/tune.json\ntune=" + mode);
    CHECK(tuned.Plan(SmallCase()));
    CHECK(tuned.host.allocations() == 0);
    CHECK(!Contains(tuned.Ask(SmallCase()).reason, "measure"));
  }
  CHECK(std::filesystem::is_empty(folder.path));
}

TEST_CASE("R16 N21 tuning: the answer says what was measured, here and in the next process") {
  Folder folder;
  const std::string file = folder.path + "/made/for/it/tune.json";
  const AttentionCase attention = SmallCase();
  {
    Tuned tuned("tune=measure\ntune_ms=60000\ntune_file=" + file);
    CHECK(Contains(tuned.Ask(attention).reason, "until the plan measures them"));
    CHECK(tuned.Plan(attention));
    CHECK(Contains(tuned.Ask(attention).reason, "tuned: tiles of "));
    CHECK(tuned.host.bytes_in_use() == 0);
    const uint64_t allocations = tuned.host.allocations();
    CHECK(allocations > 0);
    CHECK(tuned.Plan(attention));  // known by now
    CHECK(tuned.host.allocations() == allocations);
  }
  std::string note;
  std::vector<cpu::TunedTiles> choices = cpu::ReadTuneFile(file, &note);
  REQUIRE(choices.size() == 1);
  CHECK(Contains(choices[0].problem, "q512, kv512, causal"));
  choices[0].rows = 48, choices[0].gain = 1.25;
  REQUIRE(cpu::StoreTuned(file, choices[0], &note));
  Tuned next("tune_file=" + file);
  CHECK(Contains(next.Ask(attention).reason, "(25 % over the rule's)"));
  CHECK(next.Plan(attention));
  CHECK(next.host.allocations() == 0);
  // A caller's tiles, no tuning, another class, another number of threads: not these.
  AttentionCase fixed = attention;
  fixed.attributes.block_q = 64;
  CHECK(!Contains(next.Ask(fixed).reason, "tuned"));
  CHECK(Contains(next.Ask(fixed).reason, "tiles of 64 rows"));
  CHECK(!Contains(next.Ask(SmallCase(600)).reason, "tuned"));
  CHECK(!Contains(Tuned("tune=off\ntune_file=" + file).Ask(attention).reason, "tuned"));
  Tuned others("tune_file=" + file, 2);
  CHECK(!Contains(others.Ask(attention).reason, "tuned"));
  CHECK(others.Logged("1 choices are of other machines, threads or builds"));
}

TEST_CASE("N21 tuning: rows change no bit of any output, keys only on request and never where bits are promised") {
  Folder folder;
  const std::string file = folder.path + "/tune.json";
  std::vector<cpu::TunedTiles> choices = MeasuredFile(file);
  REQUIRE(choices.size() == 1);
  AttentionCase by_rule = SmallCase().WithLse();
  Tuned untuned("tune=off");
  REQUIRE(Failure(by_rule.Run(untuned.instance)) == "");
  for (const int64_t rows : {1, 32, 48, 96, 144, 288, 1000}) {
    CAPTURE(rows);
    std::string note;
    choices[0].rows = rows, choices[0].keys = 64, choices[0].gain = 2;  // keys of a file are not believed
    REQUIRE(cpu::StoreTuned(file, choices[0], &note));
    Tuned tuned("tune_file=" + file);
    AttentionCase attention = SmallCase().WithLse();
    REQUIRE(Failure(attention.Run(tuned.instance)) == "");
    CHECK(Contains(tuned.Ask(attention).reason, "tuned"));
    CHECK(!Contains(tuned.Ask(attention).reason, "by 64 keys"));
    CHECK(attention.O().bytes() == by_rule.O().bytes());
    CHECK(attention[SAGE_ATTN_LSE].bytes() == by_rule[SAGE_ATTN_LSE].bytes());
  }
  choices[0].problem += ", keys vary";
  std::string note;
  REQUIRE(cpu::StoreTuned(file, choices[0], &note));
  Tuned keys("tune_keys=1\ntune_file=" + file);
  AttentionCase attention = SmallCase();
  CHECK(Contains(keys.Ask(attention).reason, "by 64 keys"));
  attention.requirements = SAGE_REQUIRE_DETERMINISTIC;
  CHECK(!Contains(keys.Ask(attention).reason, "by 64 keys"));
}

TEST_CASE("N21 tuning: a budget of nothing measures nothing, says so, and everything works by rule") {
  Folder folder;
  Tuned tuned("tune=measure\ntune_ms=0\ntune_file=" + folder.path + "/tune.json");
  const AttentionCase attention = SmallCase();
  CHECK(tuned.Plan(attention));
  CHECK(tuned.Logged("not measured, so by rule: the time allowed is too short"));
  CHECK(!Contains(tuned.Ask(attention).reason, "tuned"));
  CHECK(!Contains(tuned.Ask(attention).reason, "until"));
  CHECK(tuned.host.allocations() == 0);
  CHECK(std::filesystem::is_empty(folder.path));
}

TEST_CASE("N21 tuning: candidates take turns, within the budget by a clock of the test's") {
  double now = 0;
  std::vector<size_t> order;
  const std::vector<double> cost = {30, 10, 20};
  const auto clock = [&] { return now; };
  const auto run = [&](size_t i) {
    order.push_back(i);
    now += cost[i] + (order.size() == 4 ? 5 : 0);  // one disturbed run
    return true;
  };
  std::vector<double> least;
  CHECK(cpu::TimeCandidates(3, 400, clock, run, &least));
  CHECK(now <= 400);
  CHECK(least == cost);
  CHECK(std::vector<size_t>(order.begin(), order.begin() + 9) == std::vector<size_t>{2, 1, 0, 0, 1, 2, 2, 1, 0});
  now = 0, order.clear();
  CHECK(!cpu::TimeCandidates(3, 200, clock, run, &least));  // a warm-up and two turns fit, three are needed
  CHECK(now <= 200);
  now = 0, order.clear();
  CHECK(!cpu::TimeCandidates(3, 0, clock, run, &least));
  CHECK(order.empty());
  now = 0;
  CHECK(!cpu::TimeCandidates(
      3, 1e9, clock, [](size_t) { return false; }, &least));
}

TEST_CASE("N21 tuning: what cannot be tuned is left to the rule") {
  Tuned tuned("tune=measure\ntune_ms=60000");
  AttentionCase one(SAGE_F32, {.seq_q = 1, .seq_kv = 700, .dim_qk = 16}, 1);  // one row: one tile
  CHECK(!Contains(tuned.Ask(one).reason, "until"));
  AttentionCase rows = SmallCase();
  rows.attributes.algorithm = SAGE_ALGORITHM_MATERIALISED;
  CHECK(!Contains(tuned.Ask(rows).reason, "until"));
  AttentionCase fixed = SmallCase();
  fixed.attributes.block_kv = 32;
  CHECK(!Contains(tuned.Ask(fixed).reason, "until"));
  CHECK(tuned.Plan(one));
  CHECK(tuned.Plan(rows));
  CHECK(tuned.Plan(fixed));
  CHECK(tuned.host.allocations() == 0);
}

TEST_CASE("N21 tuning: without memory for scratch the rule's tiles are taken") {
  Tuned tuned("tune=measure\ntune_ms=60000");
  for (int n = 1; n <= 5; ++n) {
    tuned.host.FailAllocation(static_cast<uint64_t>(n - 1));
    CHECK(tuned.Plan(SmallCase(200 << n)));
    CHECK(tuned.host.bytes_in_use() == 0);
  }
}

TEST_CASE("N21 tuning: two threads that plan at once get the same tiles, measured once") {
  Folder folder;
  const std::string file = folder.path + "/tune.json";
  Tuned tuned("tune=measure\ntune_ms=60000\ntune_file=" + file);
  const AttentionCase attention = SmallCase();
  bool planned[4] = {};
  std::vector<std::thread> threads;
  for (bool& done : planned) threads.emplace_back([&] { done = tuned.Plan(attention); });
  for (std::thread& thread : threads) thread.join();
  for (const bool done : planned) CHECK(done);
  size_t measured = 0;
  for (const std::string& line : tuned.host.log_lines()) measured += Contains(line, "tuned tiles: ") ? 1 : 0;
  CHECK(measured == 1);
}

TEST_CASE("N21 tuning: every dtype and feature that a stand-in has is measured") {
  Tuned tuned("tune=measure\ntune_ms=60000\ntune_keys=1");
  for (const sage_dtype dtype : {SAGE_F64, SAGE_F32, SAGE_BF16, SAGE_F16}) {
    AttentionCase attention(
        dtype, {.batch = 2, .heads_q = 4, .heads_k = 2, .seq_q = 70, .seq_kv = 90, .dim_qk = 24, .dim_v = 8}, 3);
    attention.Window(20, 3, SAGE_ALIGN_BOTTOM_RIGHT).Scale(0.3);
    attention.attributes.softcap = 5;
    CHECK(tuned.Plan(attention));
    CHECK_MESSAGE(Contains(tuned.Ask(attention).reason, "tuned: tiles"), tuned.Ask(attention).reason);
  }
}

}  // namespace
}  // namespace sage::test
