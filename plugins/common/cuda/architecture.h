// architecture.h: which devices a build's machine code runs on.
//
// A plugin is compiled for a list of architectures, in CMake's words: "80-real" is machine code for sm_80,
// "120-virtual" is PTX that the driver of a newer device translates, "80" is both, "90a-real" serves sm_90 and nothing
// else.
#ifndef SAGE_PLUGINS_COMMON_CUDA_ARCHITECTURE_H_
#define SAGE_PLUGINS_COMMON_CUDA_ARCHITECTURE_H_

#include <string>
#include <string_view>

namespace sage::cuda {

enum class Code {
  kNone,     // nothing in the list runs there
  kPtx,      // translated by the driver when it is first used
  kMachine,  // as compiled
};

// list: separated by spaces. A word that is none of the above counts for nothing.
Code CodeFor(std::string_view list, int major, int minor);

// Whether kernels of that list can be launched while the grid before them ends on such a device: in machine code of
// sm_90 or later, where waiting for that grid is more than nothing.
bool CanBeDependent(std::string_view list, int major, int minor);

// "sm_80, sm_90a, PTX 120", for a sentence.
std::string ListText(std::string_view list);

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_COMMON_CUDA_ARCHITECTURE_H_
