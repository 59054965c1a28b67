// What the host lends: memory that is counted and bounded, log, spans, cancellation; limits of the machine.
#include <doctest/doctest.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "run/fork_mark.h"
#include "run/host.h"
#include "run/machine.h"
#include "run/workspace.h"

using namespace sage;

TEST_CASE("S16 memory is aligned, counted, bounded, and the bound refuses before anything is allocated") {
  Host host({}, 2, 1000);
  void* a = nullptr;
  void* b = nullptr;
  REQUIRE(host.Alloc(SAGE_CPU, 0, 600, 256, &a).ok());
  CHECK(reinterpret_cast<uintptr_t>(a) % 256 == 0);
  CHECK(host.bytes_in_use() == 600);
  const Status refused = host.Alloc(SAGE_CPU, 0, 401, 64, &b);
  CHECK(refused.code() == SAGE_E_OUT_OF_MEMORY);
  CHECK(refused.message().find("401") != std::string::npos);
  CHECK(refused.message().find("max_memory is 1000") != std::string::npos);
  CHECK(b == nullptr);
  REQUIRE(host.Alloc(0, 0, 400, 1, &b).ok());
  CHECK(host.peak_bytes() == 1000);
  CHECK(host.allocations() == 2);
  host.Free(SAGE_CPU, 0, a);
  host.Free(SAGE_CPU, 0, b);
  host.Free(SAGE_CPU, 0, nullptr);
  CHECK(host.bytes_in_use() == 0);
  CHECK(host.peak_bytes() == 1000);
  for (const uint64_t align : {uint64_t{0}, uint64_t{3}, uint64_t{1} << 40})
    CHECK(host.Alloc(SAGE_CPU, 0, 8, align, &a).code() == SAGE_E_INVALID_ARGUMENT);
  CHECK(host.Alloc(SAGE_CPU, 0, UINT64_MAX, 64, &a).code() == SAGE_E_OUT_OF_MEMORY);
  CHECK(host.Alloc(SAGE_CUDA, 0, 8, 64, &a).code() == SAGE_E_DEVICE);
  CHECK(host.bytes_in_use() == 0);
}

TEST_CASE("memory freed twice or never given out is left alone and logged") {
  Options options;
  std::string lines;
  options.log_user = &lines;
  options.log = [](void* user, int32_t, const char* text, uint64_t length) {
    static_cast<std::string*>(user)->append(text, length);
  };
  Host host(options, 1, 1 << 20);
  void* a = nullptr;
  REQUIRE(host.Alloc(SAGE_CPU, 0, 8, 8, &a).ok());
  host.Free(SAGE_CPU, 0, a);
  CHECK(lines.empty());
  host.Free(SAGE_CPU, 0, a);
  CHECK(lines.find("twice") != std::string::npos);
  CHECK(host.bytes_in_use() == 0);
  lines.clear();
  int mine = 0;
  host.Free(SAGE_CPU, 0, &mine);
  CHECK(lines.find("did not allocate") != std::string::npos);
}

TEST_CASE("the caller's allocator serves all CPU memory, and its mistakes are caught") {
  struct Lent {
    uint64_t live = 0, calls = 0;
    bool empty = false, misalign = false;
  } lent;
  Options options;
  options.alloc_user = &lent;
  options.alloc = [](void* user, uint64_t bytes, uint64_t align) -> void* {
    auto* self = static_cast<Lent*>(user);
    ++self->calls;
    if (self->empty) return nullptr;
    void* out = nullptr;
    if (posix_memalign(&out, align, bytes + align) != 0) return nullptr;
    self->live += bytes;
    return self->misalign ? static_cast<char*>(out) + 1 : out;
  };
  options.free = [](void* user, void* ptr, uint64_t bytes) {
    auto* self = static_cast<Lent*>(user);
    self->live -= bytes;
    free(self->misalign ? static_cast<char*>(ptr) - 1 : static_cast<char*>(ptr));
  };
  Host host(options, 1, 1 << 20);
  void* a = nullptr;
  REQUIRE(host.Alloc(SAGE_CPU, 0, 100, 64, &a).ok());
  CHECK(lent.live == 100);
  host.Free(SAGE_CPU, 0, a);
  CHECK(lent.live == 0);
  lent.empty = true;
  CHECK(host.Alloc(SAGE_CPU, 0, 100, 64, &a).code() == SAGE_E_OUT_OF_MEMORY);
  lent.empty = false, lent.misalign = true;
  CHECK(host.Alloc(SAGE_CPU, 0, 100, 64, &a).code() == SAGE_E_INVALID_ARGUMENT);
  CHECK(lent.live == 0);
  CHECK(host.bytes_in_use() == 0);
}

TEST_CASE("a lent parallel_for is used, with its number of workers, and no thread is started") {
  struct Lent {
    uint64_t n = 0, grain = 0;
  } lent;
  Options options;
  options.num_workers = 5;
  options.parallel_user = &lent;
  options.parallel_for = [](void* user, uint64_t n, uint64_t grain, sage_task_fn task, void* ctx) {
    *static_cast<Lent*>(user) = {n, grain};
    task(ctx, 0, n, 4);
  };
  Host host(options, 3, 1 << 20);
  CHECK(host.num_workers() == 5);
  const sage_host* table = host.TableFor(0);
  CHECK(table->num_workers == 5);
  uint64_t items = 0;
  table->parallel_for(
      table->self, 9, 0,
      [](void* ctx, uint64_t begin, uint64_t end, uint32_t worker) {
        *static_cast<uint64_t*>(ctx) += (end - begin) + worker;
      },
      &items);
  CHECK(items == 13);
  CHECK(lent.n == 9);
  CHECK(lent.grain == 1);
}

TEST_CASE("the table: every entry set, errors through the slot, spans and cancellation by the run's token") {
  Host host({}, 2, 1 << 20);
  const sage_host* table = host.TableFor(0);
  CHECK(table == host.TableFor(0));
  CHECK(table->struct_size == sizeof(sage_host));
  CHECK(table->num_workers == 2);
  CHECK(table->cache_folder(table->self) == nullptr);
  Host keeps({}, 1, 1 << 20, "/some/folder");
  CHECK(keeps.TableFor(0)->cache_folder(&keeps) == std::string("/some/folder"));
  sage_error error{};
  error.struct_size = sizeof error;
  CHECK(table->alloc(table->self, SAGE_CPU, 0, 8, 8, nullptr, &error) == SAGE_E_INVALID_ARGUMENT);
  void* memory = nullptr;
  CHECK(table->alloc(table->self, SAGE_CPU, 0, 2 << 20, 8, &memory, &error) == SAGE_E_OUT_OF_MEMORY);
  CHECK(error.message[0] != '\0');
  CHECK(table->alloc(table->self, SAGE_CPU, 0, 8, 8, &memory, &error) == SAGE_OK);
  CHECK(error.status == SAGE_OK);
  table->free(table->self, SAGE_CPU, 0, memory);
  const sage_device_table* device = nullptr;
  CHECK(table->device(table->self, SAGE_CUDA, 0, &device, &error) == SAGE_OK);
  CHECK(device == nullptr);
  uint64_t features = 0;
  CHECK(table->attention_features(table->self, nullptr, &features, &error) == SAGE_E_INVALID_ARGUMENT);

  CHECK(table->cancelled(table->self, nullptr) == 0);
  CHECK(table->span_begin(table->self, nullptr, "x") == 0);
  table->span_end(table->self, nullptr, 1);
  Trace trace(4);
  RunToken token;
  token.trace = &trace;
  const uint64_t span = table->span_begin(table->self, &token, "kernel");
  CHECK(span == 1);
  table->span_end(table->self, &token, span);
  CHECK(trace.Spans()[0].end_ns >= trace.Spans()[0].begin_ns);
  table->count(table->self, nullptr, "x", 1);
  table->count(table->self, &token, "x", 1);  // a trace without counters
  trace.EnableCounts(2);
  token.node = 1;
  table->count(table->self, &token, "tiles", 3);
  table->count(table->self, &token, "tiles", 4);
  table->count(table->self, &token, nullptr, 4);
  JsonWriter counts;
  trace.WriteCounts(counts, 1);
  CHECK(counts.text() == "{\"tiles\":7}");
  CHECK(table->cancelled(table->self, &token) == 0);
  token.cancelled = 1;
  CHECK(table->cancelled(table->self, &token) == 1);
  token.cancelled = 0;
  token.cancel = [](void*) -> int32_t { return 1; };
  CHECK(table->cancelled(table->self, &token) == 1);
}

TEST_CASE("log lines above the level are dropped") {
  struct Log {
    std::vector<std::string> lines;
  } log;
  Options options;
  options.values["log_level"] = "info";
  options.log_user = &log;
  options.log = [](void* user, int32_t, const char* text, uint64_t length) {
    static_cast<Log*>(user)->lines.emplace_back(text, length);
  };
  Host host(options, 1, 1);
  CHECK(host.log_level() == SAGE_LOG_INFO);
  host.Log(SAGE_LOG_DEBUG, "quiet");
  host.Log(SAGE_LOG_INFO, "heard");
  CHECK(log.lines == std::vector<std::string>{"heard"});
}

TEST_CASE("a workspace's bands catch a byte written below, behind, and behind a smaller share") {
  auto host = std::make_shared<Host>(Options{}, 1, 1 << 20);
  {
    Workspace workspace;
    REQUIRE(workspace.Allocate(host, SAGE_CPU, 0, 100, true).ok());
    auto* bytes = static_cast<unsigned char*>(workspace.data());
    CHECK(reinterpret_cast<uintptr_t>(bytes) % 64 == 0);
    std::memset(bytes, 0, 100);
    CHECK(workspace.Intact());
    for (const int64_t at : {int64_t{-1}, int64_t{-64}, int64_t{100}, int64_t{163}}) {
      const unsigned char before = bytes[at];
      bytes[at] ^= 1;
      CHECK_FALSE(workspace.Intact());
      bytes[at] = before;
      CHECK(workspace.Intact());
    }
    workspace.Arm(10);
    std::memset(bytes, 1, 10);
    CHECK(workspace.Intact());
    bytes[10] = 1;
    CHECK_FALSE(workspace.Intact());
    REQUIRE(workspace.Allocate(host, SAGE_CPU, 0, 0, true).ok());
    CHECK(workspace.Intact());
    static_cast<unsigned char*>(workspace.data())[0] ^= 1;
    CHECK_FALSE(workspace.Intact());
    REQUIRE(workspace.Allocate(host, SAGE_CPU, 0, 50, false).ok());
    CHECK(host->bytes_in_use() == 50);
    CHECK(workspace.Allocate(host, SAGE_CPU, 0, UINT64_MAX, true).code() == SAGE_E_OUT_OF_MEMORY);
    CHECK(workspace.Allocate(host, SAGE_CPU, 0, 2 << 20, true).code() == SAGE_E_OUT_OF_MEMORY);
    CHECK(workspace.data() == nullptr);
  }
  CHECK(host->bytes_in_use() == 0);
}

TEST_CASE("a fork mark says no in the child and yes in the parent") {
  const ForkMark mark;
  CHECK(mark.Here());
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) _exit(mark.Here() ? 1 : 0);
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
  CHECK(mark.Here());
}

TEST_CASE("P16 limits of control groups, v2 and v1, own group and parents") {
  char folder[] = "/tmp/sage-cgroup-XXXXXX";
  REQUIRE(mkdtemp(folder) != nullptr);
  const std::filesystem::path root = folder;
  const auto write = [&root](const std::string& path, const std::string& text) {
    std::filesystem::create_directories((root / path).parent_path());
    std::ofstream(root / path) << text;
  };
  CHECK(CgroupCpuQuota(root) == 0);
  CHECK(CgroupMemoryLimit(root) == UINT64_MAX);
  write("proc/self/cgroup", "0::/a/b\n");
  write("sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  write("sys/fs/cgroup/a/cpu.max", "250000 100000\n");
  write("sys/fs/cgroup/a/b/memory.max", "max\n");
  write("sys/fs/cgroup/a/memory.max", "4096\n");
  CHECK(CgroupCpuQuota(root) == 3);  // two and a half CPUs keep three threads busy
  CHECK(CgroupMemoryLimit(root) == 4096);
  write("proc/self/cgroup", "3:cpu,cpuacct:/x\n4:memory:/x\nnonsense\n");
  write("sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "-1\n");
  write("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n");
  write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  write("sys/fs/cgroup/memory/x/memory.limit_in_bytes", "8192\n");
  CHECK(CgroupCpuQuota(root) == 1);
  CHECK(CgroupMemoryLimit(root) == 8192);
  write("sys/fs/cgroup/cpu/cpu.cfs_period_us", "0\n");
  CHECK(CgroupCpuQuota(root) == 0);
  std::filesystem::remove_all(root);
  CHECK(UsableCpus() >= 1);
  CHECK(UsableCpus() <= 256);
  CHECK(UsableMemory() > (1 << 20));
  CHECK(DefaultMaxMemory() < UsableMemory());
}
