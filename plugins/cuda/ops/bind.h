// bind.h: from the slots of a run to the calls of kernels, kind by kind. Each launches what is needed and nothing for
// an empty result; allocates nothing.
#ifndef SAGE_PLUGINS_CUDA_OPS_BIND_H_
#define SAGE_PLUGINS_CUDA_OPS_BIND_H_

#include "common/cuda/constants.h"
#include "ops/launches.h"
#include "sage/plugin.h"
#include "sage/support/check_op.h"
#include "sage/support/op_view.h"

namespace sage::cuda {

// One run, whose slots fit the plan. Its tensors may be smaller than the planned ones.
struct OpRun {
  const support::OpView& planned;
  const sage_run_args& args;
  const DeviceConstants& constants;
  const OpLaunches& launches;
  int32_t multiprocessors;
  bool dependent;  // launches may begin while the grid before them ends

  const support::OpView::Attributes& attributes() const { return planned.attributes; }
  bool Has(uint32_t slot) const { return planned.Has(slot); }
  const sage_tensor& Tensor(uint32_t slot) const { return *args.slots[slot]; }
  // Element [0,..,0] on the device.
  void* Data(uint32_t slot) const {
    void* const copy = constants.Of(slot);
    return copy != nullptr ? copy : Tensor(slot).data;
  }
  template <class T>
  T* DataAs(uint32_t slot) const {
    return static_cast<T*>(Data(slot));
  }
  Grid Blocks(int64_t pieces) const {
    Grid grid = GridFor(pieces, multiprocessors);
    grid.dependent = dependent;
    return grid;
  }
  int64_t Size(uint32_t slot) const { return static_cast<int64_t>(support::DtypeSize(Tensor(slot).dtype)); }
};

inline bool IsEmpty(const sage_tensor& tensor) { return support::ElementCount(tensor) == 0; }
inline bool IsMultiple(const void* address, int64_t of) {
  return reinterpret_cast<uintptr_t>(address) % static_cast<uintptr_t>(of) == 0;
}

Launched RunUnary(const OpRun& run);
Launched RunBinary(const OpRun& run);
Launched RunNorm(const OpRun& run);
Launched RunSoftmax(const OpRun& run);
Launched RunReduce(const OpRun& run);
Launched RunPool(const OpRun& run);
Launched RunConcat(const OpRun& run);
Launched RunSlice(const OpRun& run);
Launched RunPermute(const OpRun& run);
Launched RunGather(const OpRun& run);
Launched RunTopk(const OpRun& run);
Launched RunRope(const OpRun& run);

// y's elements from x's, `size` bytes each, as walk (x, y; not finished) says. For every kind that only moves.
Launched LaunchCopy(const OpRun& run, const void* x, void* y, int64_t size, Walk<2> walk);

// What cannot be done, of shapes and attributes at plan; null: nothing. Smaller shapes at run can always be done, too.
// text: 200 bytes for the sentence.
const char* RefuseTopk(const support::OpView& view, char (&text)[200]);
const char* RefuseRope(const support::OpView& view, char (&text)[200]);

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_OPS_BIND_H_
