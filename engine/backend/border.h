// border.h: one call into a plugin's code, with nothing coming back that was not looked at: exceptions, statuses that
// are none, writes past the end of an out-struct. Shared by the plugin's table (backend.cc) and its device's
// (device.cc). Not a sandbox: native code that runs wild is not stopped here.
#ifndef SAGE_ENGINE_BACKEND_BORDER_H_
#define SAGE_ENGINE_BACKEND_BORDER_H_

#include <string.h>

#include <cstddef>
#include <string>

#include "fmt/format.h"
#include "sage/plugin.h"
#include "status.h"

namespace sage::border {

inline constexpr unsigned char kPattern = 0xA5;

// An out-struct with bytes behind it that a plugin has no business with.
template <class Struct>
struct Guarded {
  Struct value{};
  unsigned char band[64];
  Guarded() {
    value.struct_size = sizeof value;
    memset(band, kPattern, sizeof band);
  }
  bool Intact() const {
    for (const unsigned char byte : band)
      if (byte != kPattern) return false;
    return true;
  }
};

// Ends the text for certain, whatever the plugin wrote.
template <size_t kSize>
const char* Terminated(char (&text)[kSize]) {
  text[kSize - 1] = '\0';
  return text;
}

// The status of a call into the plugin, as ours. Allocates nothing when all went well.
Status FromPlugin(const std::string& name, const char* entry, sage_status status, Guarded<sage_error>& error);
Status Threw(const std::string& name, const char* entry);

// Calls body(error slot) with no exception coming out of it. name: the plugin's (or its device's), for the sentence.
template <class Body>
Status Call(const std::string& name, const char* entry, Body&& body) {
  Guarded<sage_error> error;
  sage_status status = SAGE_OK;
  try {
    status = body(&error.value);
  } catch (...) {
    return Threw(name, entry);
  }
  return FromPlugin(name, entry, status, error);
}

}  // namespace sage::border

#endif  // SAGE_ENGINE_BACKEND_BORDER_H_
