// progress.cc: see progress.h.
#include "report/progress.h"

#include <fmt/format.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <utility>

#include "common.h"

namespace sage::tool {
namespace {

double Now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

}  // namespace

Progress::Progress(std::string what, double total, bool stdout_is_shared)
    : what_(std::move(what)),
      total_(total),
      begin_(Now()),
      next_(begin_ + 1),
      on_(IsTerminal(STDERR_FILENO) && !(stdout_is_shared && IsTerminal(STDOUT_FILENO))) {}

Progress::~Progress() { Clear(); }

void Progress::Show(double done) { Show(done, what_); }

void Progress::Show(double done, const std::string& what) {
  if (!on_) return;
  const double now = Now();
  if (now < next_) return;
  next_ = now + 0.1;
  drawn_ = true;
  if (!(total_ > 0)) {
    fmt::print(stderr, "\r\x1b[2K{:.0f} s  {}", now - begin_, what);
  } else {
    const double share = std::clamp(done / total_, 0.0, 1.0);
    const auto cells = static_cast<size_t>(std::lround(share * 30));
    std::string left;
    if (share > 0.01) left = fmt::format(", {:.0f} s left", std::ceil((now - begin_) * (1 - share) / share));
    fmt::print(stderr, "\r\x1b[2K[{}{}] {:3.0f} %{}  {}", std::string(cells, '#'), std::string(30 - cells, '.'),
               share * 100, left, what);
  }
  std::fflush(stderr);
}

void Progress::Clear() {
  if (!drawn_) return;
  fmt::print(stderr, "\r\x1b[2K");
  std::fflush(stderr);
  drawn_ = false;
}

Busy::Busy(std::string what) : progress_(std::move(what), 0) {
  if (!progress_.on()) return;
  thread_ = std::thread([this] {
    std::unique_lock<std::mutex> lock(mutex_);
    while (!done_) {
      progress_.Show(0);
      wake_.wait_for(lock, std::chrono::milliseconds(100));
    }
  });
}

Busy::~Busy() {
  if (!thread_.joinable()) return;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    done_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

}  // namespace sage::tool
