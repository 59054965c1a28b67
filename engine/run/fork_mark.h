// fork_mark.h: is this still the process that made the object? One load, no system call, no atfork handler to register.
//
// A page the kernel empties in the child of a fork (MADV_WIPEONFORK); where that is missing, the process id is
// compared.
#ifndef SAGE_ENGINE_RUN_FORK_MARK_H_
#define SAGE_ENGINE_RUN_FORK_MARK_H_

#include <sys/types.h>

#include <cstdint>

namespace sage {

class ForkMark {
 public:
  ForkMark();
  ~ForkMark();
  ForkMark(const ForkMark&) = delete;
  ForkMark& operator=(const ForkMark&) = delete;

  bool Here() const { return page_ != nullptr ? *page_ == 1 : SameId(); }

 private:
  bool SameId() const;
  volatile uint32_t* page_ = nullptr;
  pid_t process_ = 0;
};

}  // namespace sage

#endif  // SAGE_ENGINE_RUN_FORK_MARK_H_
