// isolate.h: a verb's work in a child process, so that wild native code of a plugin costs a message and not the caller.
#ifndef SAGE_TOOLS_ISOLATE_H_
#define SAGE_TOOLS_ISOLATE_H_

#include <functional>

#include "sage/sage.h"

namespace sage::tool {

// Runs body in a forked child (call it before any engine exists) and returns its exit code. A child that dies by a
// signal is reported with the signal and, as far as its last trace tells, the node and the backend; exit code 1.
// limit_seconds: 0 = none; a child beyond it is killed and reported.
int Isolated(const std::function<int()>& body, double limit_seconds = 0);

// In the child: the session whose trace names the node when it crashes. Traced sessions only.
void NameIsolatedSession(sage_session* session);

}  // namespace sage::tool

#endif  // SAGE_TOOLS_ISOLATE_H_
