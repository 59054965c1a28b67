// machine_info.h: the machine and its load, as every result file names them.
#ifndef SAGE_BENCH_MACHINE_INFO_H_
#define SAGE_BENCH_MACHINE_INFO_H_

#include <nlohmann/json.hpp>

namespace sage::bench {

// {"processor", "processors", "system", "compiler", "date", "load": [1, 5, 15 minutes]}
nlohmann::ordered_json MachineInfo();

}  // namespace sage::bench

#endif  // SAGE_BENCH_MACHINE_INFO_H_
