// conformance.cc: every group in a child of its own: what kills the child is a finding, not the end.
#include "conformance/conformance.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>

#include "conformance/groups.h"

namespace sage::conformance {
namespace {

struct Group {
  const char* name;
  void (*run)(const Context&);
};
constexpr Group kGroups[] = {{"table", TableGroup},   {"instance", InstanceGroup}, {"ask", AskGroup},
                             {"oracle", OracleGroup}, {"plain", PlainGroup},       {"adversarial", AdversarialGroup},
                             {"run", RunGroup},       {"memory", MemoryGroup},     {"threads", ThreadsGroup}};

// The library's query, or why there is none. In the child only: whatever a library does when loaded stays there.
sage_plugin_query_fn Load(const std::string& path, std::string* why) {
  if (path.empty() || path[0] != '/') {
    *why = "the path must be absolute";
    return nullptr;
  }
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) {
    const char* text = dlerror();
    *why = text != nullptr ? text : "it cannot be loaded";
    return nullptr;
  }
  void* symbol = dlsym(library, SAGE_PLUGIN_QUERY_SYMBOL);
  if (symbol == nullptr) {
    *why = fmt::format("it exports no {}: a shared library, but no plugin of ABI major {}", SAGE_PLUGIN_QUERY_SYMBOL,
                       SAGE_ABI_MAJOR);
    return nullptr;
  }
  sage_plugin_query_fn query = nullptr;
  std::memcpy(&query, &symbol, sizeof query);
  return query;
}

// The table, zero-extended, or a sentence.
std::string Negotiate(sage_plugin_query_fn query, sage_plugin* table) {
  const sage_plugin* theirs = query(SAGE_ABI_MAJOR, SAGE_ABI_MINOR);
  if (theirs == nullptr) return fmt::format("query gave no table for major {}", SAGE_ABI_MAJOR);
  if (query(SAGE_ABI_MAJOR, SAGE_ABI_MINOR + 7) != theirs)
    return "query must give the same table for every minor of its major";
  if (query(SAGE_ABI_MAJOR + 1, 0) != nullptr) return "query gave a table for another major";
  uint32_t head[4];
  std::memcpy(head, theirs, sizeof head);
  if (head[1] != SAGE_ABI_MAJOR)
    return fmt::format("its abi_major is {}, expected {}: build it with the headers of this major", head[1],
                       SAGE_ABI_MAJOR);
  if (head[0] < offsetof(sage_plugin, probe) || head[0] > 4096)
    return fmt::format("struct_size {} of its table is not that of sage_plugin ({})", head[0], sizeof(sage_plugin));
  if (head[3] > head[2] || head[2] > 1000)
    return fmt::format("its minors make no sense: built for {}, needs at least {}", head[2], head[3]);
  if (head[3] > SAGE_ABI_MINOR)
    return fmt::format("it needs a host of minor {} or newer; this one is {}", head[3], SAGE_ABI_MINOR);
  std::memset(table, 0, sizeof *table);
  std::memcpy(table, theirs, std::min<size_t>(head[0], sizeof *table));
  if (table->device_type == 0) table->device_type = SAGE_CPU;
  return "";
}

bool EntriesSet(const sage_plugin& t) {
  return t.probe != nullptr && t.create != nullptr && t.destroy != nullptr && t.ask != nullptr && t.plan != nullptr &&
         t.plan_destroy != nullptr && t.run != nullptr;
}

void RunInChild(const Group& group, const std::string& path, sage_plugin_query_fn query,
                const ConformanceOptions& options, Recorder out) {
  const int printed = memfd_create("stdout", 0);
  if (printed >= 0) dup2(printed, STDOUT_FILENO);
  const bool first = group.run == TableGroup;
  try {
    out.Step("loading");
    std::string why;
    if (query == nullptr) query = Load(path, &why);
    sage_plugin table{};
    if (query != nullptr) why = Negotiate(query, &table);
    if (!why.empty()) return first ? out.Report("load and negotiate", Outcome::kFail, why) : void();
    if (first) {
      out.Report("load and negotiate", Outcome::kPass, fmt::format("ABI {}.{}", table.abi_major, table.abi_minor));
      if (table.name != nullptr && table.version != nullptr)
        out.Report("\x01", Outcome::kPass, fmt::format("{:.32}\x01{:.64}", table.name, table.version));
    } else if (!EntriesSet(table)) {
      return;  // said by the first group
    }
    group.run(Context{&table, options, out});
  } catch (const std::exception& caught) {
    out.Report(fmt::format("{}: no exception", group.name), Outcome::kFail,
               fmt::format("an exception crossed the C border: {}", caught.what()));
  } catch (...) {
    out.Report(fmt::format("{}: no exception", group.name), Outcome::kFail, "an exception crossed the C border");
  }
  (void)fflush(stdout);
  if (printed >= 0 && lseek(printed, 0, SEEK_END) > 0)
    out.Report(fmt::format("{}: nothing printed", group.name), Outcome::kFail, "something was written to stdout");
}

// Reads the child's lines until it is done, dead or out of time.
void Collect(int pipe, pid_t child, const Group& group, int seconds, ConformanceReport* report) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::seconds(seconds);
  std::string pending, step = "starting";
  bool late = false;
  while (true) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now()).count();
    if (left <= 0) {
      late = true;
      kill(child, SIGKILL);
      break;
    }
    pollfd wait{pipe, POLLIN, 0};
    if (poll(&wait, 1, static_cast<int>(std::min<int64_t>(left, 1000))) <= 0) continue;
    char buffer[4096];
    const ssize_t got = read(pipe, buffer, sizeof buffer);
    if (got <= 0) break;
    pending.append(buffer, static_cast<size_t>(got));
    for (size_t newline = pending.find('\n'); newline != std::string::npos; newline = pending.find('\n')) {
      const std::string line = pending.substr(0, newline);
      pending.erase(0, newline + 1);
      const size_t tab = line.find('\t');
      if (line.empty()) continue;
      if (line[0] == 'S') step = line.substr(1);
      if (line[0] != 'C' || tab == std::string::npos || line.size() < 2) continue;
      const std::string name = line.substr(2, tab - 2), detail = line.substr(tab + 1);
      if (name == "\x01") {
        const size_t cut = std::min(detail.find('\x01'), detail.size());
        report->plugin = detail.substr(0, cut);
        report->version = detail.substr(std::min(cut + 1, detail.size()));
        continue;
      }
      const Outcome outcome = line[1] == '0' ? Outcome::kPass : line[1] == '1' ? Outcome::kFail : Outcome::kSkip;
      report->checks.push_back({name, outcome, detail});
    }
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  const std::string name = fmt::format("{}: survives", group.name);
  if (late)
    report->checks.push_back({name, Outcome::kFail, fmt::format("hung for {} s at: {}", seconds, step)});
  else if (WIFSIGNALED(status))
    report->checks.push_back(
        {name, Outcome::kFail,
         fmt::format("died of signal {} ({}) at: {}", WTERMSIG(status), strsignal(WTERMSIG(status)), step)});
  else if (WIFEXITED(status) && WEXITSTATUS(status) != 0)
    report->checks.push_back(
        {name, Outcome::kFail, fmt::format("ended the process with {} at: {}", WEXITSTATUS(status), step)});
}

ConformanceReport RunAll(const std::string& path, sage_plugin_query_fn query, const ConformanceOptions& options) {
  ConformanceReport report;
  report.path = path;
  for (const Group& group : kGroups) {
    const auto& wanted = options.groups;
    if (!wanted.empty() && std::find(wanted.begin(), wanted.end(), group.name) == wanted.end()) continue;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
      report.checks.push_back({group.name, Outcome::kFail, "the kit could not make a pipe"});
      continue;
    }
    (void)fflush(nullptr);  // or the child would write what is still in our buffers
    const pid_t child = fork();
    if (child == 0) {
      close(ends[0]);
      RunInChild(group, path, query, options, Recorder(ends[1]));
      _exit(0);
    }
    close(ends[1]);
    if (child < 0)
      report.checks.push_back({group.name, Outcome::kFail, "the kit could not start a process"});
    else
      Collect(ends[0], child, group, options.seconds_per_group, &report);
    close(ends[0]);
  }
  if (report.checks.empty()) report.checks.push_back({"load", Outcome::kFail, "no group of checks ran"});
  return report;
}

}  // namespace

bool ConformanceReport::passed() const {
  return std::none_of(checks.begin(), checks.end(), [](const Check& check) { return check.outcome == Outcome::kFail; });
}

std::vector<std::string> GroupNames() {
  std::vector<std::string> names;
  for (const Group& group : kGroups) names.emplace_back(group.name);
  return names;
}

ConformanceReport RunConformance(const std::string& path, const ConformanceOptions& options) {
  return RunAll(path, nullptr, options);
}

ConformanceReport RunConformanceOn(sage_plugin_query_fn query, const std::string& name,
                                   const ConformanceOptions& options) {
  return RunAll(name, query, options);
}

}  // namespace sage::conformance
