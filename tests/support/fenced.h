// fenced.h: memory before a page that nobody may touch: a byte read behind its end is a fault and not luck.
#ifndef SAGE_TESTS_SUPPORT_FENCED_H_
#define SAGE_TESTS_SUPPORT_FENCED_H_

#include <doctest/doctest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "support/owned_tensor.h"

namespace sage::test {

// Zeros that end where a page begins which nobody may touch.
class FencedBytes {
 public:
  explicit FencedBytes(size_t size) {
    const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t before = (size + page - 1) / page * page;
    room_ = before + page;
    base_ = static_cast<char*>(mmap(nullptr, room_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    REQUIRE(base_ != MAP_FAILED);
    REQUIRE(mprotect(base_ + before, page, PROT_NONE) == 0);
    data_ = base_ + before - size;
  }
  ~FencedBytes() { munmap(base_, room_); }
  FencedBytes(const FencedBytes&) = delete;
  FencedBytes& operator=(const FencedBytes&) = delete;
  char* data() const { return data_; }

 private:
  char *base_ = nullptr, *data_ = nullptr;
  size_t room_ = 0;
};

// A copy of a tensor's bytes in such memory.
class Fenced {
 public:
  explicit Fenced(const OwnedTensor& from) : memory_(from.bytes().size()), tensor_(*from.tensor()) {
    std::memcpy(memory_.data(), from.bytes().data(), from.bytes().size());
    tensor_.data = memory_.data();
  }
  const sage_tensor* tensor() const { return &tensor_; }

 private:
  FencedBytes memory_;
  sage_tensor tensor_;
};

}  // namespace sage::test

#endif  // SAGE_TESTS_SUPPORT_FENCED_H_
