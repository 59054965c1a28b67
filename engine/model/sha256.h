// sha256.h: SHA-256 (FIPS 180-4), for digests of weight files and of the model itself.
#ifndef SAGE_ENGINE_MODEL_SHA256_H_
#define SAGE_ENGINE_MODEL_SHA256_H_

#include <cstdint>
#include <span>
#include <string>

namespace sage {

// 64 lower-case hexadecimal digits.
std::string Sha256Hex(std::span<const uint8_t> bytes);

}  // namespace sage

#endif  // SAGE_ENGINE_MODEL_SHA256_H_
