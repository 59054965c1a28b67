// guard.h: no exception leaves a plugin or the library. Every extern "C" entry written in C++ runs its body through
// Guard.
#ifndef SAGE_SUPPORT_GUARD_H_
#define SAGE_SUPPORT_GUARD_H_

#include <exception>
#include <new>

#include "sage/support/refuse.h"

namespace sage::support {

// Runs body() (which returns a sage_status); an exception becomes SAGE_E_OUT_OF_MEMORY or SAGE_E_INTERNAL.
template <class Body>
sage_status Guard(const char* entry, sage_error* err, Body&& body) noexcept {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return sage_fail(err, SAGE_E_OUT_OF_MEMORY, "%s: out of memory", entry);
  } catch (const std::exception& caught) {
    return sage_fail(err, SAGE_E_INTERNAL, "%s: a bug, please report it: %s", entry, caught.what());
  } catch (...) {
    return sage_fail(err, SAGE_E_INTERNAL, "%s: a bug, please report it: an unknown exception", entry);
  }
}

}  // namespace sage::support

#endif  // SAGE_SUPPORT_GUARD_H_
