// progress.h: a bar on stderr where work takes more than a second and a person is there to see it: stderr is a
// terminal. Elsewhere, and in the first second, it writes nothing at all.
#ifndef SAGE_TOOLS_REPORT_PROGRESS_H_
#define SAGE_TOOLS_REPORT_PROGRESS_H_

#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>

namespace sage::tool {

class Progress {
 public:
  // total: in whatever unit Show counts; 0 = not known, then only the time is shown. stdout_is_shared: data is being
  // printed meanwhile, so if that is a terminal too there is no bar: it would run through the data.
  Progress(std::string what, double total, bool stdout_is_shared = false);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  // As often as one likes: drawn ten times a second at most.
  void Show(double done);
  void Show(double done, const std::string& what);
  // Takes the bar off the screen, before something else is printed; the next Show brings it back.
  void Clear();
  bool on() const { return on_; }

 private:
  std::string what_;
  double total_, begin_, next_;
  bool on_, drawn_ = false;
};

// For work that does not say how far it is: while it lives, the seconds that have passed. The same rules.
class Busy {
 public:
  explicit Busy(std::string what);
  ~Busy();
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;

 private:
  Progress progress_;
  std::mutex mutex_;
  std::condition_variable wake_;
  bool done_ = false;
  std::thread thread_;  // only where there is something to draw on
};

}  // namespace sage::tool

#endif  // SAGE_TOOLS_REPORT_PROGRESS_H_
