// call_emulated.h: the kernels around cuDNN's (plugins/cudnn/call.h), their own text run by the emulation.
#ifndef SAGE_TESTS_PLUGINS_CUDNN_CALL_EMULATED_H_
#define SAGE_TESTS_PLUGINS_CUDNN_CALL_EMULATED_H_

#include <string>

#include "cudnn/call.h"

namespace sage::cudnn {

// For a backend's table. A launch that the emulation finds fault with returns a code and leaves the sentence here.
const CallKernels& EmulatedCallKernels();
std::string TakeEmulationFault();
// Launches of either so far.
int Prepared();
int Finished();

}  // namespace sage::cudnn

#endif  // SAGE_TESTS_PLUGINS_CUDNN_CALL_EMULATED_H_
