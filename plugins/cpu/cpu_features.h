// cpu_features.h: what this processor can run, asked once of CPUID and XGETBV.
//
// A kernel file compiled for an instruction set is entered only when both the processor and the operating system (which
// must save the wide registers) say yes. Nothing here executes an instruction beyond the x86-64 baseline.
#ifndef SAGE_PLUGINS_CPU_CPU_FEATURES_H_
#define SAGE_PLUGINS_CPU_CPU_FEATURES_H_

#include <cstdint>

namespace sage::cpu {

// Ordered: a higher one implies the lower ones.
enum class Isa : uint32_t {
  kScalar = 0,  // portable C++, the baseline of the platform
  kAvx2 = 1,    // AVX2, FMA, F16C
  kAvx512 = 2,  // AVX-512 F, BW, DQ, VL besides
};

struct CpuFeatures {
  Isa best = Isa::kScalar;
  uint64_t l1_data_bytes = 32 << 10;  // of one core; a cautious guess where CPUID does not tell
  uint64_t l2_bytes = 256 << 10;
};

// Cheap (some CPUID calls); same answer every time.
CpuFeatures DetectCpu();

const char* IsaName(Isa isa);  // "scalar", "avx2", "avx512": the values of the option "isa"
// True and *out for one of these names; "auto" is not one.
bool IsaFromName(const char* name, uint64_t length, Isa* out);

}  // namespace sage::cpu

#endif  // SAGE_PLUGINS_CPU_CPU_FEATURES_H_
