// cpu_features.cc: CPUID and XGETBV, or HWCAP and /sys; see cpu_features.h.
#include "cpu_features.h"

#include <cstring>
#include <initializer_list>

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>

#include "amx_usable.h"
#define SAGE_CPU_X86 1
#elif defined(__aarch64__)
#include <sys/auxv.h>

#include <cstdio>
#define SAGE_CPU_AARCH64 1
#endif

namespace sage::cpu {
namespace {

#if defined(SAGE_CPU_X86)

struct Registers {
  uint32_t a, b, c, d;
};

// All zero where the processor has no such leaf.
Registers Leaf(uint32_t leaf, uint32_t subleaf) {
  Registers r{};
  if (__get_cpuid_count(leaf, subleaf, &r.a, &r.b, &r.c, &r.d) == 0) return {};
  return r;
}

// Which register states the operating system saves and restores.
uint64_t EnabledStates() {
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<uint64_t>(high) << 32 | low;
}

bool Bit(uint32_t word, int bit) { return (word >> bit & 1u) != 0; }

Isa BestIsa() {
  const Registers basic = Leaf(1, 0), extended = Leaf(7, 0);
  const bool osxsave = Bit(basic.c, 27), avx = Bit(basic.c, 28), fma = Bit(basic.c, 12), f16c = Bit(basic.c, 29);
  if (!osxsave || !avx) return Isa::kScalar;
  const uint64_t states = EnabledStates();
  constexpr uint64_t kYmm = 0x6, kZmm = 0xe6;  // SSE and AVX; besides the mask registers and both upper halves
  if ((states & kYmm) != kYmm || !fma || !f16c || !Bit(extended.b, 5)) return Isa::kScalar;
  const bool avx512 = Bit(extended.b, 16) && Bit(extended.b, 17) && Bit(extended.b, 30) && Bit(extended.b, 31);
  if (!avx512 || (states & kZmm) != kZmm) return Isa::kAvx2;
  if (AmxUsable()) return Isa::kAmx;
  return Bit(Leaf(7, 1).a, 5) ? Isa::kAvx512Bf16 : Isa::kAvx512;
}

// Intel has the deterministic cache parameters in leaf 4, AMD in leaf 0x8000001d; the layout is the same.
void ReadCaches(uint32_t leaf, CpuFeatures* features) {
  for (uint32_t i = 0; i < 16; ++i) {
    const Registers r = Leaf(leaf, i);
    const uint32_t type = r.a & 0x1f, level = r.a >> 5 & 7;
    if (type == 0) return;
    if (type == 2) continue;  // instructions
    const uint64_t ways = (r.b >> 22) + 1, partitions = (r.b >> 12 & 0x3ff) + 1, line = (r.b & 0xfff) + 1;
    const uint64_t bytes = ways * partitions * line * (static_cast<uint64_t>(r.c) + 1);
    if (level == 1) features->l1_data_bytes = bytes;
    if (level == 2) features->l2_bytes = bytes;
  }
}

#elif defined(SAGE_CPU_AARCH64)

constexpr unsigned long kAsimd = 1ul << 1;  // HWCAP_ASIMD

// One word of the first core's cache `index`: false if there is none.
bool ReadCacheWord(int index, const char* name, char (&word)[32]) {
  char path[96];
  std::snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", index, name);
  std::FILE* file = std::fopen(path, "re");
  if (file == nullptr) return false;
  const bool read = std::fscanf(file, "%31s", word) == 1;
  std::fclose(file);
  return read;
}

// No instruction open to programs says how large the caches are.
void ReadCaches(CpuFeatures* features) {
  char type[32], level[32], size[32];
  for (int i = 0; i < 8 && ReadCacheWord(i, "type", type); ++i) {
    if (std::strcmp(type, "Instruction") == 0 || !ReadCacheWord(i, "level", level) || !ReadCacheWord(i, "size", size))
      continue;
    unsigned long kilobytes = 0;
    if (std::sscanf(size, "%8luK", &kilobytes) != 1 || kilobytes == 0) continue;
    if (std::strcmp(level, "1") == 0) features->l1_data_bytes = uint64_t{kilobytes} << 10;
    if (std::strcmp(level, "2") == 0) features->l2_bytes = uint64_t{kilobytes} << 10;
  }
}

#endif

}  // namespace

CpuFeatures DetectCpu() {
  CpuFeatures features;
#if defined(SAGE_CPU_X86)
  features.best = BestIsa();
  ReadCaches(4, &features);
  if (Bit(Leaf(0x80000001u, 0).c, 22)) ReadCaches(0x8000001du, &features);
#elif defined(SAGE_CPU_AARCH64)
  if ((getauxval(AT_HWCAP) & kAsimd) != 0) features.best = Isa::kNeon;
  ReadCaches(&features);
#endif
  return features;
}

std::string CpuModel() {
  std::string model;
#if defined(SAGE_CPU_X86)
  for (uint32_t leaf = 0x80000002u; leaf <= 0x80000004u; ++leaf) {
    const Registers r = Leaf(leaf, 0);
    for (const uint32_t word : {r.a, r.b, r.c, r.d})
      for (int byte = 0; byte < 4; ++byte)
        if (const char c = static_cast<char>(word >> 8 * byte & 0xff); c != 0) model += c;
  }
#elif defined(SAGE_CPU_AARCH64)
  if (std::FILE* file = std::fopen("/sys/devices/system/cpu/cpu0/regs/identification/midr_el1", "re")) {
    char word[32];
    if (std::fscanf(file, "%31s", word) == 1) model = word;
    std::fclose(file);
  }
#endif
  const size_t first = model.find_first_not_of(' '), last = model.find_last_not_of(' ');
  return first == std::string::npos ? "unknown" : model.substr(first, last - first + 1);
}

const char* IsaName(Isa isa) {
  switch (isa) {
    case Isa::kAmx:
      return "amx";
    case Isa::kAvx512Bf16:
      return "avx512bf16";
    case Isa::kAvx512:
      return "avx512";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kNeon:
      return "neon";
    default:
      return "scalar";
  }
}

bool IsaFromName(const char* name, uint64_t length, Isa* out) {
  for (const Isa isa : {Isa::kScalar, Isa::kAvx2, Isa::kAvx512, Isa::kAvx512Bf16, Isa::kAmx, Isa::kNeon}) {
    if (length != std::strlen(IsaName(isa)) || std::memcmp(name, IsaName(isa), length) != 0) continue;
    *out = isa;
    return true;
  }
  return false;
}

}  // namespace sage::cpu
