// io.h: a model's inputs and outputs by name, as the flags of several verbs mean them.
#ifndef SAGE_TOOLS_IO_H_
#define SAGE_TOOLS_IO_H_

#include <cstdint>
#include <span>
#include <string>

#include "api.h"
#include "npy.h"

namespace sage::tool {

// The number of the input or output (SAGE_INPUT, SAGE_OUTPUT) called `name`, or a Failure(kExitUsage) that names the
// nearest and lists those there are. flag is for the message.
uint32_t IndexOf(sage_model* model, uint32_t direction, const std::string& name, const char* flag);

// Sets the --input arguments (NAME=SPEC, tensor_argument.h); returns their bytes. A Failure names the argument.
uint64_t SetInputs(sage_model* model, sage_session* session, std::span<const std::string> arguments);

// A session of the model with the --input arguments set. what: begins a message about
// it.
SessionPtr OpenSession(sage_model* model, const sage_options* options, const std::string& what,
                       std::span<const std::string> inputs);

// A copy of the output after a run.
HostTensor GetOutput(sage_session* session, uint32_t index);

}  // namespace sage::tool

#endif  // SAGE_TOOLS_IO_H_
