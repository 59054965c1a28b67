// numbers.h: 16-bit floats of the emulated device, rounded to nearest even.
#ifndef SAGE_PLUGINS_COMMON_CUDA_KERNELS_EMU_NUMBERS_H_
#define SAGE_PLUGINS_COMMON_CUDA_KERNELS_EMU_NUMBERS_H_

#include <bit>
#include <cmath>
#include <cstdint>

namespace sage::cuda::emu {

inline float FromBf16(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

inline uint16_t ToBf16(float value) {
  if (std::isnan(value)) return 0x7fff;
  const auto bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline float FromF16(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16, exponent = bits >> 10 & 31, fraction = bits & 1023;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000 | fraction << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
  const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
  return sign != 0 ? -magnitude : magnitude;
}

inline uint16_t ToF16(float value) {
  const auto sign = static_cast<uint16_t>(std::signbit(value) ? 0x8000 : 0);
  if (std::isnan(value)) return 0x7fff;
  const float magnitude = std::fabs(value);
  if (magnitude >= 65520.0f) return sign | 0x7c00;  // half a step above the largest
  // Steps of 2^-24 below the smallest normal number, else the last place of its own binade.
  int power = 0;
  std::frexp(magnitude, &power);
  const int last = magnitude < 0x1p-14f ? -24 : power - 11;
  const auto steps = static_cast<uint32_t>(std::nearbyint(std::ldexp(magnitude, -last)));
  const uint32_t field = magnitude < 0x1p-14f ? steps : (static_cast<uint32_t>(power + 13) << 10) + steps;
  return static_cast<uint16_t>(sign | field);
}

}  // namespace sage::cuda::emu

#endif  // SAGE_PLUGINS_COMMON_CUDA_KERNELS_EMU_NUMBERS_H_
