// guarded.h: memory that ends (or begins) at a page nobody may touch, so that one byte too far is a signal and not
// luck.
#ifndef SAGE_CONFORMANCE_GUARDED_H_
#define SAGE_CONFORMANCE_GUARDED_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "plan/problem.h"
#include "sage/ops.h"

namespace sage::conformance {

class GuardedMemory {
 public:
  // at_end: the last byte lies before the guard page, at any alignment. Else the first byte lies behind one. align > 1
  // moves the block away from the page by less than that, skew by so many bytes: an address that fits no type. The
  // bytes between are canaries.
  GuardedMemory(uint64_t bytes, bool at_end, uint64_t align = 1, uint64_t skew = 0);
  ~GuardedMemory();
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;
  unsigned char* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }
  bool CanariesIntact() const;

 private:
  unsigned char *base_ = nullptr, *data_ = nullptr;
  uint64_t mapped_ = 0, bytes_ = 0, usable_ = 0;
};

// A problem's tensors in guarded memory, copied from ordinary ones.
struct GuardedTensors {
  std::vector<std::unique_ptr<GuardedMemory>> memory;  // by slot, null where absent or not moved
  std::vector<sage_tensor> tensors;
  std::vector<const sage_tensor*> pointers;
};
// at_end alternates by slot, starting with `phase`, so that both ends of every slot are tried over two runs; phases 2
// and 3 of every four put the data at odd addresses, which the contract allows. A constant must stay where it was
// planned: it is only moved (move_constants) when the plan is yet to be made, from these tensors.
GuardedTensors Guard(const Problem& problem, unsigned phase, bool move_constants = false);

// Calls visit(byte offset from element [0,..,0]) for every element.
template <class Visit>
void ForEachElement(const sage_tensor& tensor, int64_t element_size, Visit&& visit) {
  int64_t index[SAGE_MAX_RANK] = {};
  for (uint32_t axis = 0; axis < tensor.rank; ++axis)
    if (tensor.shape[axis] == 0) return;
  while (true) {
    int64_t offset = 0;
    for (uint32_t axis = 0; axis < tensor.rank; ++axis) offset += index[axis] * tensor.stride[axis];
    visit(offset * element_size);
    uint32_t axis = tensor.rank;
    while (axis > 0 && ++index[axis - 1] == tensor.shape[axis - 1]) index[--axis] = 0;
    if (axis == 0) return;
  }
}

}  // namespace sage::conformance

#endif  // SAGE_CONFORMANCE_GUARDED_H_
