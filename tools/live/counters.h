// counters.h: what /proc says of this machine, as a few signals in [0,1]. Reads only; a counter that is not there
// (no pressure files, no disks) is a signal that stays 0.
#ifndef SAGE_TOOLS_LIVE_COUNTERS_H_
#define SAGE_TOOLS_LIVE_COUNTERS_H_

#include <array>
#include <cstdint>
#include <string>

namespace sage::tool {

inline constexpr size_t kSignals = 8;
inline constexpr std::array<const char*, kSignals> kSignalNames = {"cpu",     "load",     "memory",   "disk",
                                                                   "network", "pressure", "switches", "processes"};

class Counters {
 public:
  // root: "/proc", or a folder of recorded copies for a test.
  explicit Counters(std::string root = "/proc") : root_(std::move(root)) {}
  // The signals over the time since the last call (0 the first time): busy share of the processors; runnable tasks per
  // processor, x/(1+x); memory in use; disk and network bytes a second and context switches a second, each against the
  // largest seen so far; share of time some task waited (pressure stall information, worst of three); new processes a
  // second against the largest seen.
  std::array<double, kSignals> Read(double seconds_since_last);

 private:
  struct Raw {
    double busy = 0, total = 0, sectors = 0, net_bytes = 0, switches = 0, forks = 0;
    std::array<double, 3> stall_us{};  // cpu, memory, io
  };
  std::string File(const char* name) const;
  double AgainstLargest(size_t signal, double rate);
  std::string root_;
  bool first_ = true;
  Raw last_;
  std::array<double, kSignals> largest_{};
};

}  // namespace sage::tool

#endif  // SAGE_TOOLS_LIVE_COUNTERS_H_
