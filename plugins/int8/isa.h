// isa.h: which instruction sets multiply 8-bit integers here, and which of them this machine runs.
#ifndef SAGE_PLUGINS_INT8_ISA_H_
#define SAGE_PLUGINS_INT8_ISA_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace sage::int8 {

enum class Isa : uint32_t {
  kScalar,      // portable C++
  kAvx2,        // 16-bit products of widened codes: its own 8-bit ones saturate
  kAvx512Vnni,  // vpdpbusd on 512 bits
  kAmx,         // tiles: tdpbssd, tdpbusd
  kNeon,        // aarch64, ARMv8.0: widening products
  kDotprod,     // sdot, ARMv8.2
  kI8mm,        // smmla and usmmla, ARMv8.6
};

// The best that this processor and its operating system run. Cheap, the same answer every time.
Isa BestIsa();
bool Runs(Isa isa);
bool MultipliesBf16();         // pairs of bf16 on 512 bits: vdpbf16ps
const char* IsaName(Isa isa);  // "scalar", "avx2", "avx512vnni", "amx", "neon", "dotprod", "i8mm": the option "isa"
bool IsaFromName(std::string_view name, Isa* out);
std::string IsaNames();  // all of them, for an error's sentence

}  // namespace sage::int8

#endif  // SAGE_PLUGINS_INT8_ISA_H_
