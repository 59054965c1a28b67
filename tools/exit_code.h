// exit_code.h: the tool's exit codes, and which status becomes which.
#ifndef SAGE_TOOLS_EXIT_CODE_H_
#define SAGE_TOOLS_EXIT_CODE_H_

#include <string>
#include <utility>

#include "sage/types.h"

namespace sage::tool {

inline constexpr int kExitOk = 0;
inline constexpr int kExitWrongAnswer = 1;  // a comparison failed, a check failed, a bug
inline constexpr int kExitUsage = 2;
inline constexpr int kExitBadFile = 3;
inline constexpr int kExitNoBackend = 4;
inline constexpr int kExitDevice = 5;         // device, or memory
inline constexpr int kExitInterrupted = 130;  // Ctrl-C
inline constexpr int kExitPipe = 141;         // nobody reads stdout any more: as if ended by SIGPIPE

int ExitCodeOf(sage_status status);

// What a verb throws to end with a message on stderr (empty: it is said already); Guarded turns it into the exit code.
// Never crosses the C ABI.
struct Failure {
  int code;
  std::string message;
  Failure(int exit_code, std::string text) : code(exit_code), message(std::move(text)) {}
};

}  // namespace sage::tool

#endif  // SAGE_TOOLS_EXIT_CODE_H_
