// counters.cc: parses a handful of /proc files; every number is optional, none is trusted.
#include "live/counters.h"

#include <algorithm>
#include <cctype>
#include <cmath>
#include <fstream>
#include <sstream>

namespace sage::tool {
namespace {

// The value after `key` on the line that begins with it; 0 when there is none.
double After(const std::string& text, const std::string& key) {
  std::istringstream lines(text);
  std::string line;
  while (std::getline(lines, line)) {
    if (line.rfind(key, 0) != 0) continue;
    std::istringstream rest(line.substr(key.size()));
    double value = 0;
    return rest >> value && std::isfinite(value) ? value : 0;
  }
  return 0;
}

// "some avg10=0.00 ... total=1234" -> 1234 microseconds.
double StallTotal(const std::string& text) {
  const size_t at = text.find("total=");
  if (at == std::string::npos) return 0;
  std::istringstream rest(text.substr(at + 6));
  double value = 0;
  return rest >> value ? value : 0;
}

}  // namespace

std::string Counters::File(const char* name) const {
  std::ifstream file(root_ + "/" + name);
  std::ostringstream text;
  if (file) text << file.rdbuf();
  return text.str();
}

double Counters::AgainstLargest(size_t signal, double rate) {
  largest_[signal] = std::max(largest_[signal], rate);
  return largest_[signal] > 0 ? std::clamp(rate / largest_[signal], 0.0, 1.0) : 0;
}

std::array<double, kSignals> Counters::Read(double seconds_since_last) {
  Raw now;
  const std::string stat = File("stat");
  {
    std::istringstream words(stat.substr(0, stat.find('\n')));
    std::string name;
    words >> name;
    double value = 0;
    for (int field = 0; field < 8 && words >> value; ++field) {
      now.total += value;
      if (field != 3 && field != 4) now.busy += value;  // idle and iowait are not busy
    }
  }
  now.switches = After(stat, "ctxt ");
  now.forks = After(stat, "processes ");
  double processors = 0;
  for (size_t at = stat.find("\ncpu"); at != std::string::npos; at = stat.find("\ncpu", at + 1)) ++processors;
  {
    std::istringstream lines(File("diskstats"));
    std::string line;
    while (std::getline(lines, line)) {
      std::istringstream words(line);
      std::string major, minor, name;
      words >> major >> minor >> name;
      if (name.rfind("loop", 0) == 0 || name.rfind("ram", 0) == 0) continue;
      double value = 0;
      for (int field = 0; field < 7 && words >> value; ++field)
        if (field == 2 || field == 6) now.sectors += value;  // sectors read, sectors written
    }
  }
  {
    std::istringstream lines(File("net/dev"));
    std::string line;
    while (std::getline(lines, line)) {
      const size_t colon = line.find(':');
      if (colon == std::string::npos) continue;
      std::istringstream words(line.substr(colon + 1));
      double value = 0;
      for (int field = 0; field < 9 && words >> value; ++field)
        if (field == 0 || field == 8) now.net_bytes += value;  // received, sent
    }
  }
  now.stall_us = {StallTotal(File("pressure/cpu")), StallTotal(File("pressure/memory")),
                  StallTotal(File("pressure/io"))};

  std::array<double, kSignals> signal{};
  double load = 0;
  std::istringstream(File("loadavg")) >> load;
  const std::string memory = File("meminfo");
  const double total = After(memory, "MemTotal:"), available = After(memory, "MemAvailable:");
  const double per_processor = load / std::max(processors, 1.0);
  signal[1] = per_processor / (1 + per_processor);
  signal[2] = total > 0 ? std::clamp(1 - available / total, 0.0, 1.0) : 0;
  if (!first_ && seconds_since_last > 0) {
    const auto rate = [&](double Raw::*field) { return std::max(0.0, now.*field - last_.*field) / seconds_since_last; };
    const double ticks = now.total - last_.total;
    signal[0] = ticks > 0 ? std::clamp((now.busy - last_.busy) / ticks, 0.0, 1.0) : 0;
    signal[3] = AgainstLargest(3, rate(&Raw::sectors));
    signal[4] = AgainstLargest(4, rate(&Raw::net_bytes));
    for (size_t i = 0; i < now.stall_us.size(); ++i)
      signal[5] =
          std::max(signal[5], std::clamp((now.stall_us[i] - last_.stall_us[i]) / 1e6 / seconds_since_last, 0.0, 1.0));
    signal[6] = AgainstLargest(6, rate(&Raw::switches));
    signal[7] = AgainstLargest(7, rate(&Raw::forks));
  }
  first_ = false;
  last_ = now;
  return signal;
}

}  // namespace sage::tool
