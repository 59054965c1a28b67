// guarded.cc: see guarded.h.
#include "conformance/guarded.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <new>

namespace sage::conformance {
namespace {
constexpr unsigned char kCanary = 0x5C;
}  // namespace

GuardedMemory::GuardedMemory(uint64_t bytes, bool at_end, uint64_t align, uint64_t skew) : bytes_(bytes) {
  const auto page = static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  usable_ = std::max<uint64_t>(1, (bytes + skew + align - 1 + page - 1) / page) * page;
  mapped_ = usable_ + 2 * page;
  void* base = mmap(nullptr, mapped_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) throw std::bad_alloc();
  base_ = static_cast<unsigned char*>(base);
  unsigned char* usable = base_ + page;
  if (mprotect(usable, usable_, PROT_READ | PROT_WRITE) != 0) throw std::bad_alloc();
  std::memset(usable, kCanary, usable_);
  const uint64_t lead = at_end ? (usable_ - bytes - skew) / align * align : skew;
  data_ = usable + lead;
}

GuardedMemory::~GuardedMemory() { munmap(base_, mapped_); }

bool GuardedMemory::CanariesIntact() const {
  const unsigned char* usable = base_ + static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
  const auto whole = [](const unsigned char* from, const unsigned char* to) {
    return std::all_of(from, to, [](unsigned char byte) { return byte == kCanary; });
  };
  return whole(usable, data_) && whole(data_ + bytes_, usable + usable_);
}

GuardedTensors Guard(const Problem& problem, unsigned phase, bool move_constants) {
  GuardedTensors guarded;
  guarded.memory.resize(problem.pointers.size());
  guarded.tensors = problem.tensors;
  guarded.pointers.assign(problem.pointers.size(), nullptr);
  for (uint32_t slot = 0; slot < problem.pointers.size(); ++slot) {
    if (!problem.Has(slot)) continue;
    int64_t begin = 0;
    uint64_t bytes = 0;
    sage_tensor& tensor = guarded.tensors[slot];
    guarded.pointers[slot] = &tensor;
    if ((tensor.flags & SAGE_TENSOR_CONSTANT) != 0 && !move_constants) continue;
    TensorExtent(tensor, &begin, &bytes);
    guarded.memory[slot] = std::make_unique<GuardedMemory>(bytes, (slot + phase) % 2 == 0, 1, phase / 2 % 2);
    unsigned char* data = guarded.memory[slot]->data();
    if (bytes > 0) std::memcpy(data, static_cast<const unsigned char*>(tensor.data) + begin, bytes);
    tensor.data = data - begin;
  }
  return guarded;
}

}  // namespace sage::conformance
