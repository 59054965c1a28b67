// default_inputs.h: seeded inputs for a model that is to be run without any of its own.
#ifndef SAGE_TOOLS_DEFAULT_INPUTS_H_
#define SAGE_TOOLS_DEFAULT_INPUTS_H_

#include <span>
#include <string>
#include <vector>

namespace sage::tool {

// `given` (--input arguments) and one argument more for every other input of an op graph, in the grammar of
// tensor_argument.h, so that it can be shown and used again: floats random, i8 and i16 random over their range, scales
// of quantised tensors 0.01, masks all true. A dimension with a name has the size that a given input gives it, else its
// maximum, at most 256. model_json: as ModelToJson writes it. A model without tensors of its own (a SAGE graph) gets
// `given` back. Failure(kExitUsage) where an input holds lengths or indices: no made-up one means anything.
std::vector<std::string> WithDefaultInputs(const std::string& model_json, std::span<const std::string> given);

}  // namespace sage::tool

#endif  // SAGE_TOOLS_DEFAULT_INPUTS_H_
