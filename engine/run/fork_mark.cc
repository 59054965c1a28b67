// fork_mark.cc: the page behind ForkMark.
#include "run/fork_mark.h"

#include <sys/mman.h>
#include <unistd.h>

namespace sage {
namespace {

size_t PageSize() { return static_cast<size_t>(sysconf(_SC_PAGESIZE)); }

}  // namespace

ForkMark::ForkMark() : process_(getpid()) {
  void* page = mmap(nullptr, PageSize(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return;
  if (madvise(page, PageSize(), MADV_WIPEONFORK) != 0) {
    munmap(page, PageSize());
    return;
  }
  page_ = static_cast<volatile uint32_t*>(page);
  *page_ = 1;
}

ForkMark::~ForkMark() {
  if (page_ != nullptr) munmap(const_cast<uint32_t*>(page_), PageSize());
}

bool ForkMark::SameId() const { return process_ == getpid(); }

}  // namespace sage
