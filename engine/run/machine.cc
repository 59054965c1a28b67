// machine.cc: reads the affinity mask, /proc and the control group files.
#include "run/machine.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <limits>
#include <sstream>
#include <string_view>
#include <vector>

namespace sage {
namespace {

constexpr uint64_t kNone = std::numeric_limits<uint64_t>::max();

std::string ReadLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

// The number a text begins with; kNone for "max", nothing, or a negative one.
uint64_t Number(std::string_view text) {
  uint64_t value = 0;
  const auto [stop, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && stop != text.data() ? value : kNone;
}

// This process's folder in every hierarchy: v2 ("0::/path") under sys/fs/cgroup, v1 under sys/fs/cgroup/<controller>.
struct Hierarchy {
  std::string mount, folder;
};

std::vector<Hierarchy> Hierarchies(const std::string& root, std::string_view controller) {
  std::vector<Hierarchy> found;
  std::ifstream file(root + "/proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string names = line.substr(first + 1, second - first - 1), folder = line.substr(second + 1);
    if (names.empty()) found.push_back({root + "/sys/fs/cgroup", folder});
    std::stringstream list(names);
    for (std::string name; std::getline(list, name, ',');)
      if (name == controller) found.push_back({root + "/sys/fs/cgroup/" + name, folder});
  }
  // In a container the path may be the host's, which is not mounted here: the mount's root is then our own group.
  found.push_back({root + "/sys/fs/cgroup", "/"});
  found.push_back({root + "/sys/fs/cgroup/" + std::string(controller), "/"});
  return found;
}

// Calls visit with every folder from the process's own group up to the root: limits of all of them hold.
template <class Visit>
void VisitGroups(const std::string& root, std::string_view controller, Visit&& visit) {
  for (const Hierarchy& hierarchy : Hierarchies(root, controller)) {
    std::string folder = hierarchy.folder;
    if (folder.find("..") != std::string::npos) continue;
    while (true) {
      visit(hierarchy.mount + folder + (folder.empty() || folder.back() != '/' ? "/" : ""));
      if (folder.empty() || folder == "/") break;
      folder.resize(folder.rfind('/'));
    }
  }
}

}  // namespace

uint32_t CgroupCpuQuota(const std::string& root) {
  uint64_t cpus = 0;
  const auto limit = [&cpus](uint64_t quota, uint64_t period) {
    if (quota == kNone || quota == 0 || period == kNone || period == 0) return;
    const uint64_t rounded_up = quota / period + (quota % period != 0 ? 1 : 0);
    if (cpus == 0 || rounded_up < cpus) cpus = rounded_up;
  };
  VisitGroups(root, "cpu", [&limit](const std::string& folder) {
    const std::string line = ReadLine(folder + "cpu.max");  // "quota period" or "max period"
    const size_t space = line.find(' ');
    if (space != std::string::npos) limit(Number(line), Number(std::string_view(line).substr(space + 1)));
    limit(Number(ReadLine(folder + "cpu.cfs_quota_us")), Number(ReadLine(folder + "cpu.cfs_period_us")));
  });
  return static_cast<uint32_t>(std::min<uint64_t>(cpus, std::numeric_limits<uint32_t>::max()));
}

uint64_t CgroupMemoryLimit(const std::string& root) {
  uint64_t bytes = kNone;
  VisitGroups(root, "memory", [&bytes](const std::string& folder) {
    bytes =
        std::min({bytes, Number(ReadLine(folder + "memory.max")), Number(ReadLine(folder + "memory.limit_in_bytes"))});
  });
  return bytes;
}

uint32_t UsableCpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  int64_t cpus = 0;
  if (sched_getaffinity(0, sizeof set, &set) == 0) cpus = CPU_COUNT(&set);
  if (cpus < 1) cpus = sysconf(_SC_NPROCESSORS_ONLN);  // a machine of more CPUs than cpu_set_t has bits
  if (const uint32_t quota = CgroupCpuQuota(""); quota > 0) cpus = std::min<int64_t>(cpus, quota);
  return static_cast<uint32_t>(std::clamp<int64_t>(cpus, 1, 256));
}

uint64_t UsableMemory() {
  const int64_t pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGE_SIZE);
  const uint64_t physical = pages > 0 && page > 0 ? static_cast<uint64_t>(pages) * static_cast<uint64_t>(page) : kNone;
  return std::min(physical, CgroupMemoryLimit(""));
}

uint64_t DefaultMaxMemory() { return UsableMemory() / 5 * 4; }

}  // namespace sage
