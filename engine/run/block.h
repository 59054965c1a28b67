// block.h: memory of the host that grows and never shrinks; its bytes do not survive growing.
#ifndef SAGE_ENGINE_RUN_BLOCK_H_
#define SAGE_ENGINE_RUN_BLOCK_H_

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>

#include "run/host.h"
#include "status.h"

namespace sage {

// CPU memory aligned to 64 bytes, or a device's aligned to 256. Empty until the first Reserve.
class Block {
 public:
  explicit Block(std::shared_ptr<Host> host, int32_t device_type = SAGE_CPU, int32_t device_id = 0)
      : host_(std::move(host)), device_type_(device_type), device_id_(device_id) {}
  Block(Block&& other) noexcept
      : host_(std::move(other.host_)),
        device_type_(other.device_type_),
        device_id_(other.device_id_),
        data_(std::exchange(other.data_, nullptr)),
        bytes_(std::exchange(other.bytes_, 0)) {}
  Block& operator=(Block&&) = delete;
  ~Block() {
    if (data_ != nullptr) host_->Free(device_type_, device_id_, data_);
  }

  unsigned char* data() const { return static_cast<unsigned char*>(data_); }
  uint64_t bytes() const { return bytes_; }

  // At least max(bytes, 64). The old memory goes first, so that growing never holds both.
  Status Reserve(uint64_t bytes) {
    bytes = std::max<uint64_t>(bytes, 64);
    if (bytes <= bytes_) return {};
    if (data_ != nullptr) host_->Free(device_type_, device_id_, data_);
    data_ = nullptr, bytes_ = 0;
    SAGE_RETURN_IF_ERROR(host_->Alloc(device_type_, device_id_, bytes, device_type_ == SAGE_CPU ? 64 : 256, &data_));
    bytes_ = bytes;
    return {};
  }

 private:
  std::shared_ptr<Host> host_;
  int32_t device_type_, device_id_;
  void* data_ = nullptr;
  uint64_t bytes_ = 0;
};

}  // namespace sage

#endif  // SAGE_ENGINE_RUN_BLOCK_H_
