// call.h: what every call of an op's kernel has in common.
//
// A call is a struct that the host fills and the kernel gets by value: pointers into device memory, walks, attributes.
// Which kernel it takes is ForKernel's to say, beside the kernels: it gives its second argument a type with
//   kThreads      threads of a block
//   kSharedBytes  shared memory of a block, at most 48 KiB
//   Run(call)     the body, for every thread of a grid of any size: loops take what is left
// So one text serves the launch on a device (launch.h) and the emulated one of the tests.
#ifndef SAGE_PLUGINS_CUDA_OPS_CALL_H_
#define SAGE_PLUGINS_CUDA_OPS_CALL_H_

#include "common/cuda/kernels/number.h"
#include "ops/walk.h"
#include "sage/ops.h"

namespace sage::cuda {

// Blocks of a launch, and whether it may begin while the grid before it ends.
struct Grid {
  uint32_t x = 0, y = 1;
  bool dependent = false;
};

// Blocks for that many pieces of work, one each as long as all of them run at once and some wait.
inline Grid GridFor(int64_t pieces, int32_t multiprocessors) {
  constexpr int64_t kWaves = 16;  // blocks of a multiprocessor: two fillings of it by blocks of 256 threads
  const int64_t most = kWaves * (multiprocessors < 1 ? 1 : multiprocessors);
  return {static_cast<uint32_t>(pieces < most ? pieces : most), 1, false};
}
inline int64_t Divided(int64_t n, int64_t by) { return (n + by - 1) / by; }

// f(T{}) with the type of a floating dtype.
template <class F>
auto WithFloat(sage_dtype dtype, F&& f) {
  switch (dtype) {
    case SAGE_F64:
      return f(double{});
    case SAGE_F32:
      return f(float{});
    case SAGE_F16:
      return f(F16{});
    default:
      return f(Bf16{});
  }
}

// A kernel's text, on a device and in the emulation. It may be launched while the grid before it ends, and lets the
// next one begin as early: that grid waits, too, before it touches memory.
template <class Kernel, class Call>
SAGE_DEVICE void RunKernel(const Call& call) {
  prim::WaitForEarlierGrids();
  prim::AllowLaterGrids();
  Kernel::Run(call);
}

// What a thread moves at once where memory lies as it should.
constexpr int64_t kPackBytes = 16;
template <class T>
struct alignas(kPackBytes) Pack {
  static constexpr int32_t kWidth = static_cast<int32_t>(kPackBytes / sizeof(T));
  T values[kWidth];
};

// A parameter of any floating dtype, in the type that is computed in. Uniform: no thread takes another way.
template <class N>
SAGE_DEVICE N LoadFloat(sage_dtype dtype, const void* data, int64_t at) {
  switch (dtype) {
    case SAGE_F64:
      return static_cast<N>(static_cast<const double*>(data)[at]);
    case SAGE_F32:
      return static_cast<N>(static_cast<const float*>(data)[at]);
    case SAGE_F16:
      return static_cast<N>(prim::ToFloat(static_cast<const F16*>(data)[at]));
    default:
      return static_cast<N>(prim::ToFloat(static_cast<const Bf16*>(data)[at]));
  }
}

template <class N>
SAGE_DEVICE N Infinity() {
  return static_cast<N>(__builtin_huge_val());
}
// NaN wins.
template <class N>
SAGE_DEVICE N Larger(N a, N b) {
  return b > a || b != b ? b : a;
}
template <class N>
SAGE_DEVICE N Smaller(N a, N b) {
  return b < a || b != b ? b : a;
}

// The thread's number in the grid's first dimension, and how many there are.
SAGE_DEVICE int64_t GlobalThread() {
  return static_cast<int64_t>(prim::BlockX()) * prim::BlockThreads() + prim::ThreadX();
}
SAGE_DEVICE int64_t GlobalThreads() { return static_cast<int64_t>(prim::GridX()) * prim::BlockThreads(); }

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_OPS_CALL_H_
