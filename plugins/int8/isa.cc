// isa.cc: CPUID and XGETBV, or HWCAP; see isa.h.
#include "isa.h"

#include <algorithm>
#include <iterator>

#include "cpu/cpu_features.h"

#if defined(__x86_64__)
#include <cpuid.h>

#include "amx_int8_usable.h"
#elif defined(__aarch64__)
#include <sys/auxv.h>
#endif

namespace sage::int8 {
namespace {

constexpr struct {
  Isa isa;
  const char* name;
} kNames[] = {{Isa::kScalar, "scalar"}, {Isa::kAvx2, "avx2"}, {Isa::kAvx512Vnni, "avx512vnni"},
              {Isa::kAmx, "amx"},       {Isa::kNeon, "neon"}, {Isa::kDotprod, "dotprod"},
              {Isa::kI8mm, "i8mm"}};

#if defined(__x86_64__)
// Bit of a register of leaf 7, subleaf 0: what the cpu backend does not ask for.
bool HasVnni() {
  uint32_t a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (c >> 11 & 1u) != 0;
}
bool HasBf16() {
  uint32_t a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0 && (a >> 5 & 1u) != 0;
}
#elif defined(__aarch64__)
constexpr unsigned long kAsimdDp = 1ul << 20;     // HWCAP_ASIMDDP
constexpr unsigned long kHwcap2I8mm = 1ul << 13;  // HWCAP2_I8MM
#endif

}  // namespace

Isa BestIsa() {
  for (const Isa isa : {Isa::kAmx, Isa::kAvx512Vnni, Isa::kAvx2, Isa::kI8mm, Isa::kDotprod, Isa::kNeon})
    if (Runs(isa)) return isa;
  return Isa::kScalar;
}

bool Runs(Isa isa) {
  [[maybe_unused]] const cpu::Isa best = cpu::DetectCpu().best;
  switch (isa) {
    case Isa::kScalar:
      return true;
#if defined(__x86_64__)
    case Isa::kAvx2:
      return cpu::Runs(cpu::Isa::kAvx2, best);
    case Isa::kAvx512Vnni:
      return cpu::Runs(cpu::Isa::kAvx512, best) && HasVnni();
    case Isa::kAmx:  // whose softmax is on 512 bits
      return cpu::Runs(cpu::Isa::kAvx512, best) && AmxInt8Usable();
#elif defined(__aarch64__)
    case Isa::kNeon:
      return best == cpu::Isa::kNeon;
    case Isa::kDotprod:
      return best == cpu::Isa::kNeon && (getauxval(AT_HWCAP) & kAsimdDp) != 0;
    case Isa::kI8mm:
      return best == cpu::Isa::kNeon && (getauxval(AT_HWCAP) & kAsimdDp) != 0 &&
             (getauxval(AT_HWCAP2) & kHwcap2I8mm) != 0;
#endif
    default:
      return false;
  }
}

bool MultipliesBf16() {
#if defined(__x86_64__)
  return cpu::Runs(cpu::Isa::kAvx512, cpu::DetectCpu().best) && HasBf16();
#else
  return false;
#endif
}

const char* IsaName(Isa isa) {
  for (const auto& [value, name] : kNames)
    if (value == isa) return name;
  return "?";
}

bool IsaFromName(std::string_view name, Isa* out) {
  const auto* const found =
      std::find_if(std::begin(kNames), std::end(kNames), [name](const auto& entry) { return name == entry.name; });
  if (found == std::end(kNames)) return false;
  *out = found->isa;
  return true;
}

std::string IsaNames() {
  std::string names = "auto";
  for (const auto& entry : kNames) names += (&entry == std::end(kNames) - 1 ? " or " : ", ") + std::string(entry.name);
  return names;
}

}  // namespace sage::int8
