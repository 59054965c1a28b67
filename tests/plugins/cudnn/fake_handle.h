// fake_handle.h: handles of the fake cuDNN, and the rule that one thread at a time may use one.
#ifndef SAGE_TESTS_PLUGINS_CUDNN_FAKE_HANDLE_H_
#define SAGE_TESTS_PLUGINS_CUDNN_FAKE_HANDLE_H_

#include <string>

#include "cudnn/api.h"

namespace sage::cudnn::fake {

Handle MakeHandle();
bool IsHandle(Handle handle);
// From here to the end of the handle's next run it is this thread's. The functions below return the sentence of a
// fault, empty where there is none; a handle that is none is told by IsHandle before. Thread-safe.
std::string BeginUse(Handle handle, void* stream);
std::string BeginRun(Handle handle, void** stream);
void EndRun(Handle handle);
std::string EndHandle(Handle handle);
void ForgetHandles();

}  // namespace sage::cudnn::fake

#endif  // SAGE_TESTS_PLUGINS_CUDNN_FAKE_HANDLE_H_
