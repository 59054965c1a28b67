// status.cc: how a Status becomes the caller's error slot.
#include "status.h"

#include <cstdio>
#include <cstring>

#include "sage/support/take_in.h"

namespace sage {
namespace {

// Bytes of text that fit below `limit` without cutting a UTF-8 sequence in two.
size_t CutToFit(const char* text, size_t length, size_t limit) {
  if (length <= limit) return length;
  size_t end = limit;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0u) == 0x80u) --end;
  return end;
}

sage_status GiveOut(sage_status code, int64_t native_code, const char* text, size_t length, sage_error* slot) noexcept {
  if (slot == nullptr) return code;
  uint32_t given = 0;
  std::memcpy(&given, slot, sizeof given);
  if (code == SAGE_OK && given == sizeof *slot) {
    // What every call that goes well passes through: no text, so its first byte alone. A slot may lie at any address.
    constexpr char kCleared[offsetof(sage_error, message) + 1 - sizeof given] = {};
    std::memcpy(reinterpret_cast<char*>(slot) + sizeof given, kCleared, sizeof kCleared);
    return code;
  }
  sage_error mine{};
  mine.struct_size = sizeof mine;
  mine.status = code;
  mine.native_code = native_code;
  // The caller's slot may be an older, shorter one: the text ends, whole, inside what it has.
  const uint32_t size = given;
  constexpr size_t kHead = offsetof(sage_error, message);
  size_t room = sizeof mine.message;
  if (size >= SAGE_STRUCT_MIN && size < sizeof mine) room = size > kHead ? size - kHead : 0;
  if (room > 0) std::memcpy(mine.message, text, CutToFit(text, length, room - 1));
  sage_give_out(slot, &mine, sizeof mine);
  return code;
}

}  // namespace

sage_status Deliver(const Status& status, sage_error* slot) {
  return GiveOut(status.code(), status.native_code(), status.message().data(), status.message().size(), slot);
}

sage_status DeliverText(sage_status code, const char* function, const char* what, sage_error* slot) noexcept {
  char text[sizeof(sage_error::message)];
  const int length = std::snprintf(text, sizeof text, "%s: %s", function, what);
  const size_t kept = length < 0 ? 0 : std::strlen(text);
  return GiveOut(code, 0, text, kept, slot);
}

const char* StatusName(sage_status status) {
  switch (status) {
    case SAGE_OK:
      return "SAGE_OK";
    case SAGE_E_INVALID_ARGUMENT:
      return "SAGE_E_INVALID_ARGUMENT";
    case SAGE_E_UNSUPPORTED:
      return "SAGE_E_UNSUPPORTED";
    case SAGE_E_UNKNOWN_FIELD:
      return "SAGE_E_UNKNOWN_FIELD";
    case SAGE_E_OUT_OF_MEMORY:
      return "SAGE_E_OUT_OF_MEMORY";
    case SAGE_E_NOT_FOUND:
      return "SAGE_E_NOT_FOUND";
    case SAGE_E_IO:
      return "SAGE_E_IO";
    case SAGE_E_BAD_DATA:
      return "SAGE_E_BAD_DATA";
    case SAGE_E_ABI_MISMATCH:
      return "SAGE_E_ABI_MISMATCH";
    case SAGE_E_DEVICE:
      return "SAGE_E_DEVICE";
    case SAGE_E_CANCELLED:
      return "SAGE_E_CANCELLED";
    case SAGE_E_BUSY:
      return "SAGE_E_BUSY";
    case SAGE_E_FORKED:
      return "SAGE_E_FORKED";
    case SAGE_E_BUFFER_TOO_SMALL:
      return "SAGE_E_BUFFER_TOO_SMALL";
    case SAGE_E_INTERNAL:
      return "SAGE_E_INTERNAL";
    default:
      return "unknown";
  }
}

}  // namespace sage
