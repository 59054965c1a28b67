// cpu_features.h: what this processor can run, asked once of CPUID and XGETBV, on aarch64 of the kernel's HWCAP.
//
// A kernel file compiled for an instruction set is entered only when both the processor and the operating system (which
// must save the wide registers) say yes. Nothing here executes an instruction beyond the platform's baseline.
#ifndef SAGE_PLUGINS_CPU_CPU_FEATURES_H_
#define SAGE_PLUGINS_CPU_CPU_FEATURES_H_

#include <cstdint>
#include <string>

namespace sage::cpu {

// Ordered within a platform: a higher one implies the lower ones. What runs where is asked of Runs().
enum class Isa : uint32_t {
  kScalar = 0,      // portable C++, the baseline of the platform
  kAvx2 = 1,        // AVX2, FMA, F16C
  kAvx512 = 2,      // AVX-512 F, BW, DQ, VL besides
  kAvx512Bf16 = 3,  // and its dot products of bf16
  kAmx = 4,         // and tiles, with their products of bf16

  kNeon = 32,  // aarch64: Advanced SIMD, ARMv8.0
};

// Whether a machine whose best set is `best` runs `isa`.
constexpr bool Runs(Isa isa, Isa best) {
  if (isa == Isa::kScalar) return true;
  return (isa == Isa::kNeon) == (best == Isa::kNeon) && isa <= best;
}

// The vectors that a set computes with where what it adds does not help: of all kinds but attention.
constexpr Isa VectorsOf(Isa isa) { return isa == Isa::kAvx512Bf16 || isa == Isa::kAmx ? Isa::kAvx512 : isa; }

struct CpuFeatures {
  Isa best = Isa::kScalar;
  uint64_t l1_data_bytes = 32 << 10;  // of one core; a cautious guess where the machine does not tell
  uint64_t l2_bytes = 256 << 10;
};

// Cheap (some CPUID calls, on aarch64 some small files of /sys); same answer every time.
CpuFeatures DetectCpu();

// The maker's name of this processor; on aarch64 its identification register. "unknown" where nobody tells.
std::string CpuModel();

const char* IsaName(
    Isa isa);  // "scalar", "avx2", "avx512", "avx512bf16", "amx", "neon": the values of the option "isa"
// True and *out for one of these names; "auto" is not one.
bool IsaFromName(const char* name, uint64_t length, Isa* out);

}  // namespace sage::cpu

#endif  // SAGE_PLUGINS_CPU_CPU_FEATURES_H_
