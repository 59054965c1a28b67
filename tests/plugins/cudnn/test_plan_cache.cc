// test_plan_cache.cc: plans that are kept: what is built once, what is dropped, what a refusal costs, threads, and the
// files of a folder, damaged ones and other people's too.
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>
#include <thread>
#include <vector>

#include "fake_cudnn.h"
#include "plan_cache.h"
#include "sdpa_testing.h"
#include "support/temporary_folder.h"

namespace sage::cudnn {
namespace {

// A cache over the fake cuDNN, with its handle.
struct Cached {
  explicit Cached(PlanCache::Settings settings = {}) : library(fake::Begin()) {
    REQUIRE(library.Create(&handle) == kSuccess);
    cache.emplace(library, Target{handle, nullptr}, std::move(settings));
  }
  ~Cached() {
    cache.reset();
    (void)library.Destroy(handle);
    CHECK(fake::LiveDescriptors() == 0);
    CHECK(fake::The().Faults() == "");
  }
  // As a process that begins: the fake is as it was.
  void Renew(PlanCache::Settings settings) { cache.emplace(library, Target{handle, nullptr}, std::move(settings)); }

  std::shared_ptr<const Plan> Get(const Sdpa& sdpa) {
    int64_t bytes = 0;
    if (!cache->Check(sdpa, &bytes, &failure)) return nullptr;
    return cache->Get(sdpa, &failure);
  }

  Library library;
  Handle handle = nullptr;
  std::optional<PlanCache> cache;
  Failure failure;
};

Sdpa OfLength(int32_t seq_q) { return Described(PlainCall(64, seq_q, 128)); }

std::string Read(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}
void Write(const std::string& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }

std::string OnlyFile(const std::string& folder) {
  std::string found;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) found = entry.path().string();
  return found;
}

}  // namespace

TEST_CASE("P12 cudnn plans: one is built once and the last ones used are kept") {
  Cached cached({.capacity = 3, .folder = "", .machine = ""});
  const auto first = cached.Get(OfLength(8));
  REQUIRE(first != nullptr);
  CHECK(cached.Get(OfLength(8)) == first);
  CHECK(fake::The().plans == 1);
  for (const int32_t length : {9, 10}) CHECK(cached.Get(OfLength(length)) != nullptr);
  CHECK(cached.Get(OfLength(8)) == first);  // used last
  CHECK(cached.Get(OfLength(11)) != nullptr);
  CHECK(cached.cache->counters().dropped == 1);
  CHECK(cached.Get(OfLength(8)) == first);
  CHECK(fake::The().plans == 4);
  CHECK(cached.Get(OfLength(9)) != nullptr);  // was dropped
  CHECK(fake::The().plans == 5);
}

TEST_CASE("P12 cudnn plans: what cuDNN has no engine for is asked once") {
  Cached cached;
  fake::The().engines[kHeuristicA].clear();
  fake::The().engines[kHeuristicFallback].clear();
  int64_t bytes = 0;
  for (int i = 0; i < 3; ++i) {
    CHECK_FALSE(cached.cache->Check(OfLength(8), &bytes, &cached.failure));
    CHECK(cached.failure.outcome() == Outcome::kUnsupported);
    CHECK(cached.failure.text.find("no engine of cuDNN computes this graph") != std::string::npos);
  }
  CHECK(cached.cache->counters().checked == 1);
  CHECK(cached.cache->counters().refused == 1);
}

TEST_CASE("P12 cudnn plans: a refusal of one engine is passed over for the next one and of the last one is told") {
  Cached cached;
  fake::The().engines[kHeuristicA] = {
      {.index = 2, .status = 4001, .text = "its kernel does not compile"},
      {.index = 3, .status = 3002, .text = "not this shape"},
      {.index = 5, .workspace_bytes = 512},
  };
  const auto plan = cached.Get(OfLength(8));
  REQUIRE(plan != nullptr);
  CHECK(plan->engine() == 5);
  CHECK(plan->workspace_bytes() == 512);
  fake::The().engines[kHeuristicA].resize(2);
  fake::The().engines[kHeuristicFallback].clear();
  CHECK(cached.Get(OfLength(9)) == nullptr);
  CHECK(cached.failure.outcome() == Outcome::kUnsupported);
  CHECK(cached.failure.text.find("not this shape") != std::string::npos);
  CHECK(cached.Get(OfLength(9)) == nullptr);
  CHECK(cached.cache->counters().refused == 1);
}

TEST_CASE("P12 cudnn plans: an engine that adds in an order that changes is not taken") {
  Cached cached;
  fake::The().engines[kHeuristicA] = {{.index = 2, .numerical_notes = {kNoteNondeterministic}},
                                      {.index = 3, .numerical_notes = {0}, .behavior_notes = {kNoteNativeGraph}}};
  const auto plan = cached.Get(OfLength(8));
  REQUIRE(plan != nullptr);
  CHECK(plan->engine() == 3);
  CHECK(plan->native_graph());
  CHECK_FALSE(plan->compiled());
}

TEST_CASE("P12 cudnn plans: what fails for want of something is no refusal and is tried again") {
  Cached cached;
  fake::The().failures.push_back({.function = "BackendFinalize",
                                  .status = kNoDeviceMemory,
                                  .text = "no memory",
                                  .descriptor = kExecutionPlan,
                                  .times = 1});
  CHECK(cached.Get(OfLength(8)) == nullptr);
  CHECK(cached.failure.outcome() == Outcome::kFailed);
  CHECK(cached.failure.text.find("no memory") != std::string::npos);
  CHECK(cached.Get(OfLength(8)) != nullptr);
}

TEST_CASE("P12 cudnn plans: eight threads that ask for the same few build each once") {
  Cached cached;
  std::atomic<int> missing{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20; ++i) {
        Failure failure;
        int64_t bytes = 0;
        const Sdpa sdpa = OfLength(8 + (i + t) % 5);
        if (!cached.cache->Check(sdpa, &bytes, &failure) || cached.cache->Get(sdpa, &failure) == nullptr) ++missing;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(missing == 0);
  CHECK(fake::The().plans == 5);
  CHECK(cached.cache->counters().built == 5);
}

TEST_CASE("P12 cudnn plans: a folder keeps them from one process to the next") {
  const test::Folder folder;
  const PlanCache::Settings settings{.folder = folder.path + "/plans", .machine = "cuDNN 9.19.0, an H200"};
  Cached cached(settings);
  REQUIRE(cached.Get(OfLength(8)) != nullptr);
  CHECK(cached.cache->counters().built == 1);
  CHECK(cached.cache->TakeNote() == "");
  const std::string file = OnlyFile(settings.folder);
  REQUIRE(file != "");
  struct stat about {};
  REQUIRE(stat(file.c_str(), &about) == 0);
  CHECK((about.st_mode & 0777) == 0600);
  const auto begin = [&](PlanCache::Settings other) {
    cached.Renew(std::move(other));
    REQUIRE(cached.Get(OfLength(8)) != nullptr);
    const PlanCache::Counters counters = cached.cache->counters();
    CHECK(counters.built + counters.read == 1);
    return counters.read == 1;
  };
  CHECK(begin(settings));
  CHECK(cached.cache->TakeNote() == "");
  // Another machine's is another file.
  PlanCache::Settings other = settings;
  other.machine = "cuDNN 9.20.0, an H200";
  CHECK_FALSE(begin(other));

  const std::string good = Read(file);
  const auto note_after = [&](const std::string& text) {
    Write(file, text);
    CHECK_FALSE(begin(settings));
    const std::string note = cached.cache->TakeNote();
    CHECK(Read(file) == good);  // made anew
    return note;
  };
  CHECK(note_after("").find("is ignored: it is no plan") != std::string::npos);
  CHECK(note_after("sage-engine cudnn-plan 2\n").find("of another version") != std::string::npos);
  CHECK(note_after(good.substr(0, good.size() - 5)).find("is ignored: it is damaged") != std::string::npos);
  for (const size_t at : {size_t{30}, good.size() / 2, good.size() - 1}) {
    std::string damaged = good;
    damaged[at] = static_cast<char>(damaged[at] ^ 1);
    CHECK(note_after(damaged).find("is ignored: ") != std::string::npos);
  }
  CHECK(note_after(good + "more").find("is ignored: it is damaged") != std::string::npos);
  // Others may write to it: it may be anybody's.
  REQUIRE(chmod(file.c_str(), 0666) == 0);
  CHECK_FALSE(begin(settings));
  CHECK(cached.cache->TakeNote().find("others than its owner may write") != std::string::npos);
  // A link leads elsewhere.
  std::filesystem::rename(file, file + ".real");
  std::filesystem::create_symlink(file + ".real", file);
  CHECK_FALSE(begin(settings));
  CHECK(cached.cache->TakeNote().find("symbolic link") != std::string::npos);
}

TEST_CASE("P12 cudnn plans: a folder that cannot be written is a note and nothing else") {
  Cached cached({.folder = "/proc/no/such/folder", .machine = "m"});
  CHECK(cached.Get(OfLength(8)) != nullptr);
  CHECK(cached.cache->TakeNote().find("is not kept in /proc/no/such/folder/") != std::string::npos);
}

}  // namespace sage::cudnn
