// bytes16.h: sixteen bytes at once, in registers that the baseline of x86-64 and of aarch64 both have: the compiler's
// own vectors, no instruction set's. For the few loops over text that compilers do not vectorise by themselves.
#ifndef SAGE_ENGINE_BYTES16_H_
#define SAGE_ENGINE_BYTES16_H_

#include <cstdint>
#include <cstring>

namespace sage {

using Bytes16 = uint8_t __attribute__((vector_size(16)));
using SignedBytes16 = int8_t __attribute__((vector_size(16)));
using Words16 = uint64_t __attribute__((vector_size(16)));
using Doubles16 = double __attribute__((vector_size(16)));

template <class Vector>
inline Vector Load16(const void* from) {
  Vector vector;
  std::memcpy(&vector, from, sizeof vector);
  return vector;
}

// What a comparison of vectors gives: all bits of an element set where it holds.
template <class Comparison>
inline Bytes16 Mask16(Comparison comparison) {
  return reinterpret_cast<Bytes16>(comparison);
}

inline bool AnyBit(Bytes16 bytes) {
  const auto words = reinterpret_cast<Words16>(bytes);
  return (words[0] | words[1]) != 0;
}

}  // namespace sage

#endif  // SAGE_ENGINE_BYTES16_H_
