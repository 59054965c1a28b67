// machine_info.cc: from /proc and uname; no host name, since it says nothing about speed.
#include "machine_info.h"

#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <string>

namespace sage::bench {

nlohmann::ordered_json MachineInfo() {
  nlohmann::ordered_json info;
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);)
    if (line.rfind("model name", 0) == 0) {
      info["processor"] = line.substr(line.find(':') + 2);
      break;
    }
  info["processors"] = sysconf(_SC_NPROCESSORS_ONLN);
  utsname name{};
  if (uname(&name) == 0) info["system"] = std::string(name.sysname) + " " + name.release + " " + name.machine;
  info["compiler"] = __VERSION__;
  char date[16] = "";
  const time_t now = time(nullptr);
  tm utc{};
  if (gmtime_r(&now, &utc) != nullptr) strftime(date, sizeof date, "%Y-%m-%d", &utc);
  info["date"] = date;
  double load[3] = {0, 0, 0};
  if (getloadavg(load, 3) == 3) info["load"] = {load[0], load[1], load[2]};
  return info;
}

}  // namespace sage::bench
