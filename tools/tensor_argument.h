// tensor_argument.h: the tensors of the command line.
//
//   q=@q.npy                              from a file
//   q=2x8x16x64xf32:random,seed=1         uniform in [-1,1), the same on every machine
//   q=2x8x16x64xi8:random,times=127       the same times 127, rounded for integers
//   q=4xf64:value=0.5   q=4xi32:range     one value; 0, 1, 2 ...
#ifndef SAGE_TOOLS_TENSOR_ARGUMENT_H_
#define SAGE_TOOLS_TENSOR_ARGUMENT_H_

#include <string>

#include "npy.h"

namespace sage::tool {

struct NamedTensor {
  std::string name;
  HostTensor tensor;
};

// Failure(kExitUsage) saying which part of the text is wrong and what is accepted there.
NamedTensor ParseTensorArgument(const std::string& text);

// "o=@o.npy" split; Failure(kExitUsage) if it is not of that form. flag is for the message.
struct NamedFile {
  std::string name, path;
};
NamedFile ParseFileArgument(const std::string& text, const std::string& flag);

}  // namespace sage::tool

#endif  // SAGE_TOOLS_TENSOR_ARGUMENT_H_
