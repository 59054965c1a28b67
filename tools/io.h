// io.h: a model's inputs and outputs by name, as the flags of several verbs mean them.
#ifndef SAGE_TOOLS_IO_H_
#define SAGE_TOOLS_IO_H_

#include <cstdint>
#include <string>

#include "api.h"
#include "npy.h"

namespace sage::tool {

// The number of the input or output (SAGE_INPUT, SAGE_OUTPUT) called `name`, or a Failure(kExitUsage) that names the
// nearest and lists those there are. flag is for the message.
uint32_t IndexOf(sage_model* model, uint32_t direction, const std::string& name, const char* flag);

// A copy of the output after a run.
HostTensor GetOutput(sage_session* session, uint32_t index);

}  // namespace sage::tool

#endif  // SAGE_TOOLS_IO_H_
