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

// CPU memory aligned to 64 bytes, or a device's aligned to 256. Empty until the first Reserve. Lockable CPU memory is
// asked of a device, that copies between the two may be recorded, and is ordinary where the device has none to give.
class Block {
 public:
  explicit Block(std::shared_ptr<Host> host, int32_t device_type = SAGE_CPU, int32_t device_id = 0)
      : host_(std::move(host)), device_type_(device_type), device_id_(device_id) {}
  Block(Block&& other) noexcept
      : host_(std::move(other.host_)),
        device_type_(other.device_type_),
        device_id_(other.device_id_),
        lockable_(other.lockable_),
        locked_(other.locked_),
        data_(std::exchange(other.data_, nullptr)),
        bytes_(std::exchange(other.bytes_, 0)) {}
  Block& operator=(Block&&) = delete;
  ~Block() {
    if (data_ != nullptr) host_->Free(device_type_, device_id_, data_);
  }

  unsigned char* data() const { return static_cast<unsigned char*>(data_); }
  uint64_t bytes() const { return bytes_; }

  // From the next Reserve that allocates: CPU memory which that device reaches by itself.
  void LockFor(int32_t device_type, int32_t device_id) {
    lockable_ = true, device_type_ = device_type, device_id_ = device_id;
  }
  // at lies in memory that a device reaches by itself.
  bool HoldsLocked(const void* at) const {
    return locked_ && at >= data() && static_cast<const unsigned char*>(at) < data() + bytes_;
  }

  // At least max(bytes, 64). The old memory goes first, so that growing never holds both.
  Status Reserve(uint64_t bytes) {
    bytes = std::max<uint64_t>(bytes, 64);
    if (bytes <= bytes_) return {};
    if (data_ != nullptr) host_->Free(device_type_, device_id_, data_);
    data_ = nullptr, bytes_ = 0;
    locked_ = lockable_ && host_->AllocLocked(device_type_, device_id_, bytes, 256, &data_).ok();
    if (!locked_) {
      const bool cpu = lockable_ || device_type_ == SAGE_CPU;
      SAGE_RETURN_IF_ERROR(
          host_->Alloc(cpu ? SAGE_CPU : device_type_, cpu ? 0 : device_id_, bytes, cpu ? 64 : 256, &data_));
    }
    bytes_ = bytes;
    return {};
  }

 private:
  std::shared_ptr<Host> host_;
  int32_t device_type_, device_id_;
  bool lockable_ = false, locked_ = false;
  void* data_ = nullptr;
  uint64_t bytes_ = 0;
};

}  // namespace sage

#endif  // SAGE_ENGINE_RUN_BLOCK_H_
