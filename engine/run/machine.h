// machine.h: how much of this machine the process may use: affinity mask and control groups, not the hardware's size.
#ifndef SAGE_ENGINE_RUN_MACHINE_H_
#define SAGE_ENGINE_RUN_MACHINE_H_

#include <cstdint>
#include <string>

namespace sage {

// CPUs in the affinity mask, bounded by the CPU quota of this process's control groups (v2 and v1), rounded up; 1..256.
uint32_t UsableCpus();
// Bytes of physical memory, bounded by the memory limit of this process's control groups.
uint64_t UsableMemory();
// What plans and arenas may take when nobody says otherwise: 80 % of UsableMemory.
uint64_t DefaultMaxMemory();

// The pieces, apart so that tests can feed them: root is "" (or a folder that holds a sys/ and a proc/ of its own).
// 0 = no quota; CPUs rounded up.
uint32_t CgroupCpuQuota(const std::string& root);
// UINT64_MAX = no limit.
uint64_t CgroupMemoryLimit(const std::string& root);

}  // namespace sage

#endif  // SAGE_ENGINE_RUN_MACHINE_H_
