// isolate.cc: the parent waits. What the child was doing stands in memory that both see, so it can be told even of a
// child that was killed; the library is found by the child's own signal handler, on the way out.
#include "isolate.h"

#include <execinfo.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "common.h"
#include "output.h"

namespace sage::tool {
namespace {

constexpr double kGraceSeconds = 5;  // for a child that was interrupted

struct Note {
  char node[512];
  char crashed_in[1024];
};
// A signal handler has no other way to find it; set in the child only, before anything can crash.
Note* note = nullptr;

void Keep(char* field, size_t capacity, std::string_view text) {
  const size_t length = std::min(capacity - 1, text.size());
  std::memcpy(field, text.data(), length);
  field[length] = '\0';
}

// Whose frame it is that is worth naming: not the runtime's, the engine's or this program's.
bool IsForeign(std::string_view path) {
  const std::string_view name = path.substr(path.rfind('/') + 1);
  for (const std::string_view own : {"libc.", "libc-", "libm.", "libstdc++", "libgcc_s", "libpthread", "ld-linux",
                                     "linux-vdso", "libsage.so", "sage-engine", "libasan", "libtsan", "libubsan"})
    if (name.starts_with(own)) return false;
  return name.find(".so") != std::string_view::npos;
}

// The file that is mapped at `address`, from /proc: the loader's own name of a plugin is a descriptor's. Only calls
// that a signal handler may make.
bool FileAt(uintptr_t address, char* path, size_t capacity) {
  const int maps = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
  if (maps < 0) return false;
  char line[sizeof(Note::crashed_in) + 128];
  size_t length = 0;
  bool found = false;
  char letter = 0;
  while (!found && read(maps, &letter, 1) == 1) {
    if (letter != '\n') {
      if (length + 1 < sizeof line) line[length++] = letter;
      continue;
    }
    line[length] = '\0';
    length = 0;
    char* end = nullptr;
    const uintptr_t first = std::strtoul(line, &end, 16);
    const uintptr_t last = *end == '-' ? std::strtoul(end + 1, nullptr, 16) : 0;
    const char* name = std::strchr(line, '/');
    if (address < first || address >= last || name == nullptr) continue;
    Keep(path, capacity, name);
    found = true;
  }
  close(maps);
  return found;
}

// Walking the stack is not safe in a signal handler in general; here the process is lost anyway, an alarm bounds the
// attempt, and the parent copes with silence.
void ReportCrash(int signal_number) {
  signal(SIGALRM, SIG_DFL);
  alarm(2);
  void* frames[64];
  const int count = backtrace(frames, 64);
  for (int i = 0; i < count && note->crashed_in[0] == '\0'; ++i) {
    char path[sizeof(Note::crashed_in)];
    if (FileAt(reinterpret_cast<uintptr_t>(frames[i]), path, sizeof path) && IsForeign(path))
      Keep(note->crashed_in, sizeof note->crashed_in, path);
  }
  signal(signal_number, SIG_DFL);
  raise(signal_number);
}

int RunChild(const std::function<int()>& body, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) return kExitInterrupted;  // it died before we asked
  void* frame = nullptr;
  backtrace(&frame, 1);  // loads what it needs now, not in the handler
  static char stack[64 * 1024];
  stack_t alternate{};
  alternate.ss_sp = stack, alternate.ss_size = sizeof stack;
  sigaltstack(&alternate, nullptr);
  struct sigaction action {};
  action.sa_handler = ReportCrash;
  action.sa_flags = static_cast<int>(SA_ONSTACK | SA_RESETHAND);
  for (int signal_number : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT}) sigaction(signal_number, &action, nullptr);
  return Guarded(body);
}

std::string Place(const Note& note_left) {
  const std::string_view node(note_left.node);
  const size_t colon = node.find(':');
  std::string text;
  if (colon != std::string_view::npos)
    text = fmt::format(" in node \"{}\" on backend {}", node.substr(colon + 1), node.substr(0, colon));
  if (note_left.crashed_in[0] != '\0')
    text += fmt::format("{} in library {}", text.empty() ? "" : ",", note_left.crashed_in);
  return text;
}

}  // namespace

bool InIsolatedChild() { return note != nullptr; }

void NoteNode(std::string_view backend_and_node) {
  if (note != nullptr) Keep(note->node, sizeof note->node, backend_and_node);
}

int Isolated(const std::function<int()>& body, double limit_seconds) {
  void* shared = mmap(nullptr, sizeof(Note), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  int ends[2] = {-1, -1};
  if (shared == MAP_FAILED || pipe(ends) != 0)
    throw Failure(kExitDevice, fmt::format("--isolate: no memory or pipe for a child: {}", std::strerror(errno)));
  std::fflush(stdout);
  std::fflush(stderr);
  const pid_t parent = getpid(), child = fork();
  if (child < 0) throw Failure(kExitDevice, fmt::format("--isolate: fork: {}", std::strerror(errno)));
  if (child == 0) {
    close(ends[0]);
    note = static_cast<Note*>(shared);
    _exit(RunChild(body, parent));
  }
  close(ends[1]);
  int status = 0;
  double waited = 0, interrupted_at = -1;
  bool killed = false;
  while (true) {
    // The child's end of the pipe closes when it dies; a grandchild may hold it open, so it is only what wakes us.
    pollfd wait{ends[0], POLLIN, 0};
    poll(&wait, 1, 50);
    const pid_t ended = waitpid(child, &status, WNOHANG);
    if (ended == child || (ended < 0 && errno != EINTR)) break;
    waited += 0.05;
    if (wait.revents != 0) usleep(1000);
    if (Interrupted() && interrupted_at < 0) kill(child, SIGTERM), interrupted_at = waited;
    const bool late = limit_seconds > 0 && waited >= limit_seconds;
    const bool deaf = interrupted_at >= 0 && waited >= interrupted_at + kGraceSeconds;
    if ((late || deaf) && !killed) kill(child, SIGKILL), killed = true;
  }
  close(ends[0]);
  const std::string place = Place(*static_cast<Note*>(shared));
  munmap(shared, sizeof(Note));
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  if (killed && interrupted_at >= 0) {
    fmt::print(stderr, "sage-engine: the child did not answer the interrupt for {} s and was ended{}\n", kGraceSeconds,
               place);
    return kExitInterrupted;
  }
  const int signal_number = WTERMSIG(status);
  if (killed)
    fmt::print(stderr, "sage-engine: the child took longer than {} s and was ended{}\n", limit_seconds, place);
  else
    fmt::print(stderr, "sage-engine: the child was ended by signal {} ({}){}\n", signal_number,
               strsignal(signal_number), place);
  return kExitWrongAnswer;
}

}  // namespace sage::tool
