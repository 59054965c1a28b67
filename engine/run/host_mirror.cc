// host_mirror.cc: see the header.
#include "run/host_mirror.h"

#include <algorithm>
#include <cstring>

#include "sage/support/check_op.h"

namespace sage {

HostMirror::HostMirror(const BuiltOp& built, DeviceState* device)
    : built_(built), device_(*device), bytes_(built.op.num_slots) {
  mirror_.op = built.op;
  mirror_.tensors.resize(built.op.num_slots);
  mirror_.slots.assign(built.op.num_slots, nullptr);
  std::memcpy(mirror_.attributes, built.attributes, sizeof mirror_.attributes);
  mirror_.op.slots = mirror_.slots.data();
  mirror_.op.attributes = built.op.attributes == nullptr ? nullptr : mirror_.attributes;
  for (uint32_t slot = 0; slot < built.op.num_slots; ++slot) {
    if (built.slots[slot] == nullptr) continue;
    const sage_tensor& from = built.tensors[slot];
    sage_tensor& to = mirror_.tensors[slot];
    mirror_.slots[slot] = &to;
    to = from;
    if ((from.flags & SAGE_TENSOR_CONSTANT) != 0) continue;  // in CPU memory already
    uint64_t bytes = support::DtypeSize(from.dtype);
    for (uint32_t axis = 0; axis < from.rank; ++axis) bytes *= static_cast<uint64_t>(from.shape[axis]);
    bytes_[slot].resize(std::max<uint64_t>(bytes, 1));
    sage_tensor_init(&to, from.dtype, from.rank, from.shape, bytes_[slot].data());
  }
}

Status HostMirror::Fetch() {
  uint64_t moved = 0;
  for (uint32_t slot = 0; slot < built_.op.num_slots; ++slot) {
    if (built_.slots[slot] == nullptr || bytes_[slot].empty()) continue;
    SAGE_RETURN_IF_ERROR(device_.Copy(built_.tensors[slot], mirror_.tensors[slot], 0, &moved));
  }
  return device_.Synchronize();
}

}  // namespace sage
