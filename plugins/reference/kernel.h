// kernel.h: what every kernel of the reference gets, and the few words all of them are written in.
//
// A kernel is one function over a Job. Tensors are walked by index and stride, element by element, in double: slow, and
// plain enough to be checked by reading. Support (support.cc) has refused everything a kernel does not expect.
#ifndef SAGE_PLUGINS_REFERENCE_KERNEL_H_
#define SAGE_PLUGINS_REFERENCE_KERNEL_H_

#include <atomic>
#include <cstdint>

#include "common/functions.h"
#include "convert.h"
#include "sage/plugin.h"
#include "sage/support/check_op.h"
#include "sage/support/refuse.h"

namespace sage::reference {

// One run. The slots are the run's: their axes may be shorter than planned.
struct Job {
  const sage_host& host;
  const support::OpView& planned;
  uint64_t features;  // SAGE_ATTN_F_*, 0 for other kinds
  const sage_run_args& args;
  uint64_t workspace_per_worker;  // bytes, a multiple of 64
  sage_error* err;

  bool Has(uint32_t slot) const { return slot < args.num_slots && args.slots[slot] != nullptr; }
  const sage_tensor& Slot(uint32_t slot) const { return *args.slots[slot]; }
  double* Scratch(uint32_t worker) const {
    return reinterpret_cast<double*>(static_cast<char*>(args.workspace) + worker * workspace_per_worker);
  }
  bool Cancelled() const { return host.cancelled(host.self, args.run) != 0; }
};

using RunFn = sage_status (*)(const Job& job);

sage_status RunAttention(const Job& job);
sage_status RunLinear(const Job& job);
sage_status RunMatmul(const Job& job);
sage_status RunNorm(const Job& job);
sage_status RunUnary(const Job& job);
sage_status RunBinary(const Job& job);
sage_status RunSoftmax(const Job& job);
sage_status RunReduce(const Job& job);
sage_status RunGather(const Job& job);
sage_status RunConcat(const Job& job);
sage_status RunSlice(const Job& job);
sage_status RunPermute(const Job& job);
sage_status RunTopk(const Job& job);
sage_status RunRope(const Job& job);
sage_status RunPool(const Job& job);

// ---- tensors ----

using support::ElementCount;

// The element `offset` strides-elements away from [0,..,0].
inline char* AddressOf(const sage_tensor& tensor, int64_t offset) {
  return static_cast<char*>(tensor.data) + offset * static_cast<int64_t>(support::DtypeSize(tensor.dtype));
}
inline double ReadAt(const sage_tensor& tensor, int64_t offset) {
  return Read(tensor.dtype, AddressOf(tensor, offset));
}
inline void WriteAt(const sage_tensor& tensor, int64_t offset, double value) {
  Write(tensor.dtype, AddressOf(tensor, offset), value);
}

// index[0..rank) of the linear-th element in row-major order of shape.
inline void Unravel(int64_t linear, const int64_t* shape, uint32_t rank, int64_t* index) {
  for (uint32_t axis = rank; axis-- > 0;) {
    index[axis] = linear % shape[axis];
    linear /= shape[axis];
  }
}
inline int64_t OffsetOf(const sage_tensor& tensor, const int64_t* index) {
  int64_t offset = 0;
  for (uint32_t axis = 0; axis < tensor.rank; ++axis) offset += index[axis] * tensor.stride[axis];
  return offset;
}

// out[i] = the element at offset + i * stride, for i in [0,count). One dtype decision a row, not one an element.
void ReadRow(const sage_tensor& tensor, int64_t offset, int64_t stride, int64_t count, double* out);

// ---- loops
// -----------------------------------------------------------------------------------------------------------

// body(item, worker) for every item of [0,n), shared out over the host's workers in pieces of about 1e5 operations;
// polls for cancellation between pieces. Items must not depend on each other: then no split changes a bit.
template <class Body>
sage_status ForEach(const Job& job, int64_t n, double operations_per_item, const Body& body) {
  struct Shared {
    const Job& job;
    const Body& body;
    std::atomic<bool> cancelled{false};
  } shared{job, body};
  const auto task = [](void* ctx, uint64_t begin, uint64_t end, uint32_t worker) {
    Shared& all = *static_cast<Shared*>(ctx);
    if (all.cancelled.load(std::memory_order_relaxed)) return;
    if (all.job.Cancelled()) return all.cancelled.store(true, std::memory_order_relaxed);
    for (uint64_t item = begin; item < end; ++item) all.body(static_cast<int64_t>(item), worker);
  };
  constexpr double kOperationsPerPiece = 1e5;
  const double items =
      operations_per_item > kOperationsPerPiece ? 1.0 : kOperationsPerPiece / (operations_per_item + 1.0);
  const uint64_t grain = static_cast<uint64_t>(items) + 1;
  if (n > 0) job.host.parallel_for(job.host.self, static_cast<uint64_t>(n), grain, task, &shared);
  if (shared.cancelled) return sage_fail(job.err, SAGE_E_CANCELLED, "the run was cancelled");
  return SAGE_OK;
}

using plugins::ApplyFunction;

}  // namespace sage::reference

#endif  // SAGE_PLUGINS_REFERENCE_KERNEL_H_
