// constants.cc: what of an op is constant, where its bytes lie, and their one copy.
#include "common/cuda/constants.h"

#include <algorithm>

#include "sage/support/check_op.h"

namespace sage::cuda {
namespace {

// Where a tensor's elements reach, in bytes from element [0,..,0].
struct Reach {
  int64_t before = 0;  // >= 0
  uint64_t bytes = 0;
};
Reach ReachOf(const sage_tensor& tensor) {
  int64_t low = 0, high = 0;
  for (uint32_t axis = 0; axis < tensor.rank; ++axis) {
    if (tensor.shape[axis] == 0) return {};
    const int64_t last = (tensor.shape[axis] - 1) * tensor.stride[axis];
    (last < 0 ? low : high) += last;
  }
  const auto size = static_cast<int64_t>(support::DtypeSize(tensor.dtype));
  return {-low * size, static_cast<uint64_t>((high - low + 1) * size)};
}

}  // namespace

class DeviceConstants::Memory {
 public:
  Memory(const sage_host& host, int32_t device) : host_(host), device_(device) {}
  ~Memory() { host_.free(host_.self, SAGE_CUDA, device_, data); }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  void* data = nullptr;
  const void* source = nullptr;
  uint64_t bytes = 0;
  int64_t before = 0;  // bytes of it that lie before element [0,..,0]

 private:
  const sage_host& host_;
  int32_t device_;
};

sage_status DeviceConstants::Copy(const Device& device, const sage_host& host, const support::OpView& view,
                                  const DeviceConstants* like, uint64_t* copied, sage_error* err) {
  *copied = 0;
  slots_.resize(view.pointers.size());
  for (uint32_t slot = 0; slot < slots_.size(); ++slot) {
    if (!view.Has(slot)) continue;
    const sage_tensor& tensor = view.Slot(slot);
    const bool on_cpu = tensor.device_type == SAGE_CPU || tensor.device_type == SAGE_CUDA_HOST;
    if (!on_cpu || (tensor.flags & SAGE_TENSOR_CONSTANT) == 0 || device.host_visible()) continue;
    const Reach reach = ReachOf(tensor);
    const char* source = static_cast<const char*>(tensor.data) - reach.before;
    if (like != nullptr && slot < like->slots_.size() && like->slots_[slot] != nullptr &&
        like->slots_[slot]->source == source && like->slots_[slot]->bytes == reach.bytes) {
      slots_[slot] = like->slots_[slot];
      continue;
    }
    auto copy = std::make_shared<Memory>(host, device.id());
    copy->source = source, copy->bytes = reach.bytes, copy->before = reach.before;
    sage_status status =
        host.alloc(host.self, SAGE_CUDA, device.id(), std::max<uint64_t>(reach.bytes, 1), 256, &copy->data, err);
    if (status != SAGE_OK) return status;
    // The null stream, and waited for: it is done when the plan is.
    const sage_device_table& table = *device.table();
    status = table.copy(table.self, copy->data, source, reach.bytes, nullptr, err);
    if (status == SAGE_OK) status = table.stream_synchronize(table.self, nullptr, err);
    if (status != SAGE_OK) return status;
    *copied += reach.bytes;
    slots_[slot] = std::move(copy);
  }
  return SAGE_OK;
}

void* DeviceConstants::Of(uint32_t slot) const {
  if (slot >= slots_.size() || slots_[slot] == nullptr) return nullptr;
  return static_cast<char*>(slots_[slot]->data) + slots_[slot]->before;
}

void DeviceConstants::Place(const sage_run_args& args, std::span<sage_tensor> moved,
                            std::span<const sage_tensor*> slots) const {
  for (uint32_t slot = 0; slot < slots.size(); ++slot) {
    slots[slot] = slot < args.num_slots ? args.slots[slot] : nullptr;
    void* const copy = Of(slot);
    if (copy == nullptr || slots[slot] == nullptr) continue;
    moved[slot] = *slots[slot];
    moved[slot].data = copy;
    slots[slot] = &moved[slot];
  }
}

}  // namespace sage::cuda
