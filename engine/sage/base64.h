// base64.h: the compact form of an embedding in a tick: RFC 4648 with padding, of little-endian floats.
//
// Strict: no line breaks, no missing padding, no other alphabet, no bits left over. Decoding only.
#ifndef SAGE_ENGINE_SAGE_BASE64_H_
#define SAGE_ENGINE_SAGE_BASE64_H_

#include <cstddef>
#include <span>
#include <string_view>

namespace sage {

// How many bytes a text of this length and padding stands for, whatever its characters are.
size_t Base64Bytes(std::string_view text);
bool IsBase64(std::string_view text);
// Base64Bytes(text) must be 4 * out.size(). False when text is not base64; out is unspecified then.
bool Base64ToFloats(std::string_view text, std::span<double> out);

}  // namespace sage

#endif  // SAGE_ENGINE_SAGE_BASE64_H_
