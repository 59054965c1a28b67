// isolate.cc: the parent waits; the child, when it crashes, writes what its trace knows before it dies.
#include "isolate.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <string>

#include "common.h"

namespace sage::tool {
namespace {

// Only the child's signal handler reads these, and only the child's main thread sets them, before a crash can come.
sage_session* named_session = nullptr;
int report_descriptor = -1;
char trace_buffer[1 << 20];

// The name of the span that had begun and not ended: "dur":null in the trace. Reading the trace is not safe in a signal
// handler in general; here the process is lost anyway, an alarm bounds the attempt, and the parent copes with silence.
void ReportCrash(int signal_number) {
  alarm(2);
  signal(SIGALRM, SIG_DFL);
  if (named_session != nullptr && report_descriptor >= 0) {
    uint64_t needed = 0;
    if (sage_session_trace(named_session, trace_buffer, sizeof trace_buffer, &needed, nullptr) == SAGE_OK &&
        needed > 1) {
      [[maybe_unused]] const ssize_t written = write(report_descriptor, trace_buffer, needed - 1);
    }
  }
  signal(signal_number, SIG_DFL);
  raise(signal_number);
}

int RunChild(const std::function<int()>& body, int descriptor) {
  report_descriptor = descriptor;
  static char stack[64 * 1024];
  stack_t alternate{};
  alternate.ss_sp = stack, alternate.ss_size = sizeof stack;
  sigaltstack(&alternate, nullptr);
  struct sigaction action {};
  action.sa_handler = ReportCrash;
  action.sa_flags = static_cast<int>(SA_ONSTACK | SA_RESETHAND);
  for (int signal_number : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) sigaction(signal_number, &action, nullptr);
  try {
    const int code = body();
    std::fflush(stdout);
    return code;
  } catch (const Failure& failure) {
    fmt::print(stderr, "sage-engine: {}\n", failure.message);
    return failure.code;
  } catch (const std::exception& caught) {
    fmt::print(stderr, "sage-engine: a bug, please report it: {}\n", caught.what());
    return kExitWrongAnswer;
  }
}

// The last unfinished span's name in a trace, or "".
std::string UnfinishedSpan(const std::string& trace) {
  const size_t mark = trace.rfind("\"dur\":null");
  if (mark == std::string::npos) return {};
  const size_t object = trace.rfind('{', mark);
  const size_t name = trace.find("\"name\":\"", object == std::string::npos ? 0 : object);
  if (name == std::string::npos || name > mark + 256) return {};
  const size_t begin = name + 8;
  return trace.substr(begin, trace.find('"', begin) - begin);
}

}  // namespace

void NameIsolatedSession(sage_session* session) { named_session = session; }

int Isolated(const std::function<int()>& body, double limit_seconds) {
  int ends[2] = {-1, -1};
  if (pipe(ends) != 0) throw Failure(kExitDevice, fmt::format("--isolate: pipe: {}", std::strerror(errno)));
  std::fflush(stdout);
  std::fflush(stderr);
  const pid_t child = fork();
  if (child < 0) throw Failure(kExitDevice, fmt::format("--isolate: fork: {}", std::strerror(errno)));
  if (child == 0) {
    close(ends[0]);
    _exit(RunChild(body, ends[1]));
  }
  close(ends[1]);
  std::string trace;
  bool killed = false;
  double waited = 0;
  while (true) {
    pollfd wait{ends[0], POLLIN, 0};
    const int ready = poll(&wait, 1, 100);
    if (ready > 0) {
      char chunk[65536];
      const ssize_t count = read(ends[0], chunk, sizeof chunk);
      if (count > 0)
        trace.append(chunk, static_cast<size_t>(count));
      else if (count == 0 || errno != EINTR)
        break;  // the child has closed it: it has ended
    } else if (ready == 0) {
      waited += 0.1;
      if (limit_seconds > 0 && waited >= limit_seconds && !killed) kill(child, SIGKILL), killed = true;
    }
  }
  close(ends[0]);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  const std::string span = UnfinishedSpan(trace);
  if (killed) {
    fmt::print(stderr, "sage-engine: the child took longer than {} s and was ended\n", limit_seconds);
  } else {
    const int signal_number = WTERMSIG(status);
    fmt::print(stderr, "sage-engine: the child was ended by signal {} ({}){}\n", signal_number,
               strsignal(signal_number), span.empty() ? std::string() : fmt::format(" in {}", span));
  }
  return kExitWrongAnswer;
}

}  // namespace sage::tool
