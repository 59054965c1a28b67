// output.cc: see output.h. Where a write to stdout fails is where it is noticed: in a print (which throws), in a flush.
#include "output.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>
#include <new>
#include <system_error>

#include "exit_code.h"

namespace sage::tool {
namespace {

int CannotPrint(int reason) {
  if (reason == EPIPE) return kExitPipe;
  fmt::print(stderr, "sage-engine: stdout could not be written: {}\n", std::strerror(reason));
  return kExitBadFile;
}

}  // namespace

int Guarded(const std::function<int()>& body) {
  try {
    const int code = body();
    errno = 0;  // std::cout, where CLI11 prints its help, has no buffer of its own
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
      const int worse = CannotPrint(errno == 0 ? EIO : errno);
      return code == kExitOk ? worse : code;
    }
    return code;
  } catch (const Failure& failure) {
    if (!failure.message.empty()) fmt::print(stderr, "sage-engine: {}\n", failure.message);
    return failure.code;
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "sage-engine: out of memory\n");
    return kExitDevice;
  } catch (const std::system_error& error) {  // a print that could not
    return CannotPrint(error.code().value());
  } catch (const std::exception& caught) {
    fmt::print(stderr, "sage-engine: a bug, please report it: {}\n", caught.what());
    return kExitWrongAnswer;
  }
}

void PrintLine(std::string_view line) {
  if (std::fwrite(line.data(), 1, line.size(), stdout) == line.size() && std::fputc('\n', stdout) != EOF &&
      std::fflush(stdout) == 0)
    return;
  throw Failure(CannotPrint(errno), "");
}

}  // namespace sage::tool
