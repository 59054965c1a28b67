// api.cc: statuses become exit codes and exceptions of the tool.
#include "api.h"

namespace sage::tool {

int ExitCodeOf(sage_status status) {
  switch (status) {
    case SAGE_OK:
      return kExitOk;
    case SAGE_E_INVALID_ARGUMENT:
      return kExitUsage;
    case SAGE_E_UNSUPPORTED:
    case SAGE_E_UNKNOWN_FIELD:
    case SAGE_E_ABI_MISMATCH:
      return kExitNoBackend;
    case SAGE_E_NOT_FOUND:
    case SAGE_E_IO:
    case SAGE_E_BAD_DATA:
      return kExitBadFile;
    case SAGE_E_OUT_OF_MEMORY:
    case SAGE_E_DEVICE:
      return kExitDevice;
    case SAGE_E_CANCELLED:
      return kExitInterrupted;
    default:
      return kExitWrongAnswer;
  }
}

void Require(sage_status status, const Error& error, const std::string& what) {
  if (status == SAGE_OK) return;
  std::string message = what.empty() ? std::string() : what + ": ";
  message += error.message[0] != '\0' ? error.message : sage_status_name(status);
  throw Failure(ExitCodeOf(status), message);
}

}  // namespace sage::tool
