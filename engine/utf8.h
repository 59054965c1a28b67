// utf8.h: where a well-formed UTF-8 sequence ends. Nothing about characters, widths or cases.
#ifndef SAGE_ENGINE_UTF8_H_
#define SAGE_ENGINE_UTF8_H_

#include <cstddef>
#include <string_view>

namespace sage {

// Length of the well-formed UTF-8 sequence at s, 0 when there is none: no overlong forms, no surrogates, at most
// U+10FFFF. s is not empty.
inline size_t Utf8Length(std::string_view s) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(s[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const size_t length = lead >= 0xc2 && lead <= 0xdf ? 2 : lead >= 0xe0 && lead <= 0xef ? 3 : 4;
  if (lead < 0xc2 || lead > 0xf4 || s.size() < length) return 0;
  const unsigned char low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const unsigned char high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (byte(1) < low || byte(1) > high) return 0;
  for (size_t i = 2; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
  }
  return length;
}

}  // namespace sage

#endif  // SAGE_ENGINE_UTF8_H_
