// isolate.h: a verb's work in a child process, so that wild native code of a plugin costs a message and not the caller.
//
// It protects the caller's shell and files, not the machine: the child has all its rights.
#ifndef SAGE_TOOLS_ISOLATE_H_
#define SAGE_TOOLS_ISOLATE_H_

#include <functional>
#include <string_view>

namespace sage::tool {

// Runs body in a forked child (call it before any engine exists) and returns its exit code. A child that dies by a
// signal is reported on stderr with the signal and, as far as is known, the node, the backend and the library; exit
// code 1. limit_seconds: 0 = none; a child beyond it is killed and reported. The child never outlives this process; an
// interrupt goes on to it, and is its to answer within 5 s.
int Isolated(const std::function<int()>& body, double limit_seconds = 0);

// In such a child, for the log callback: the node that begins, as "backend:node" (SAGE_LOG_DEBUG of a traced session).
// Elsewhere false.
bool InIsolatedChild();
void NoteNode(std::string_view backend_and_node);

}  // namespace sage::tool

#endif  // SAGE_TOOLS_ISOLATE_H_
