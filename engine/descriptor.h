// descriptor.h: a file descriptor that closes itself.
#ifndef SAGE_ENGINE_DESCRIPTOR_H_
#define SAGE_ENGINE_DESCRIPTOR_H_

#include <unistd.h>

#include <utility>

namespace sage {

class Descriptor {
 public:
  explicit Descriptor(int fd = -1) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

}  // namespace sage

#endif  // SAGE_ENGINE_DESCRIPTOR_H_
