// amx_int8_usable.cc: asks CPUID; see amx_int8_usable.h. A file of its own: tests put emulated tiles in its place and
// in that of the kernels.
#include "amx_int8_usable.h"

#include <cpuid.h>

#include <cstdint>

#include "cpu/amx_usable.h"

namespace sage::int8 {

bool AmxInt8Usable() {
  uint32_t a = 0, b = 0, c = 0, d = 0;
  constexpr uint32_t kInt8 = 1u << 25;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & kInt8) != 0 && cpu::AmxUsable();
}

}  // namespace sage::int8
