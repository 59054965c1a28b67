// lines.h: SOFTMAX, NORM over its own statistics, and REDUCE along what lies in lines: a group of threads for each
// line, a warp for short ones, a block for longer ones. Which it is follows from the line's length alone, so that a
// line has the same bits whatever else is computed beside it.
//
// Lines that lie in one piece are read by packs of 16 bytes, and what fits is kept in registers between the passes; of
// longer lines each pass reads again, from L2. All others are read element by element, as often. Statistics: the
// maximum first and the mean before the variance, as they cancel otherwise; sums in a fixed order.
#ifndef SAGE_PLUGINS_CUDA_OPS_LINES_H_
#define SAGE_PLUGINS_CUDA_OPS_LINES_H_

#include "ops/call.h"

namespace sage::cuda {

// --- a value from every thread of a group ----------------------------------------------------------------------------
// kGroup: 32, a warp; or all threads of the block, whose shared memory gets a value of each warp. Every thread has the
// same bits afterwards: within a warp the two that are joined are the same two on both sides, and joins commute.
template <int32_t kGroup, class N, class Join>
SAGE_DEVICE N JoinGroup(N value, Join&& join) {
  SAGE_UNROLL
  for (uint32_t lanes = 16; lanes > 0; lanes /= 2) value = join(value, prim::ShuffleXor(value, lanes));
  if constexpr (kGroup > 32) {
    N* const warps = reinterpret_cast<N*>(prim::Shared());
    prim::SyncThreads();  // until the last join's values have been read
    if (prim::ThreadX() % 32 == 0) warps[prim::ThreadX() / 32] = value;
    prim::SyncThreads();
    value = warps[0];
    SAGE_NO_UNROLL
    for (int32_t warp = 1; warp < kGroup / 32; ++warp) value = join(value, warps[warp]);
  }
  return value;
}

// --- the calls -------------------------------------------------------------------------------------------------------
enum class LineOp : uint32_t { kSoftmax, kNorm, kReduce };

struct LineCall {
  LineOp op = LineOp::kSoftmax;
  uint32_t function = 0;  // kNorm: SAGE_NORM_LAYER or RMS; kReduce: SAGE_REDUCE_*
  const void* x = nullptr;
  void* y = nullptr;  // kReduce: one element a line
  sage_dtype dtype = 0;
  const void *gamma = nullptr, *beta = nullptr;  // (optional) kNorm
  sage_dtype gamma_dtype = 0, beta_dtype = 0;
  double epsilon = 0;
  Walk<2> lines;        // where each begins: x, y
  Walk<4> line;         // within one: x, y, gamma, beta
  bool packed = false;  // x, y, gamma and beta of a line lie in one piece each, of whole packs of x
  int32_t group = 32;   // threads of a line: kWarpGroup, kBlockGroup or kLongGroup
  Grid grid;
};

// Each group holds eight packed elements a thread. Lines that are not packed are not held, and no longer group than a
// block of 256 would make them faster.
constexpr int32_t kWarpGroup = 32, kBlockGroup = 256, kLongGroup = 1024;
constexpr int64_t kWarpLine = 8 * kWarpGroup, kBlockLine = 8 * kBlockGroup;
inline int32_t GroupOf(int64_t length, bool packed) {
  if (length <= kWarpLine) return kWarpGroup;
  return length <= kBlockLine || !packed ? kBlockGroup : kLongGroup;
}
constexpr int32_t kWarpsOfLines = 4;  // of a block whose warps have a line each
inline int64_t LinesOfBlock(int32_t group) { return group == kWarpGroup ? kWarpsOfLines : 1; }

// One line, by a group of threads.
template <class T, int32_t kGroup, bool kPacked>
class Line {
 public:
  using N = typename PlainNumber<T>::Statistics;
  static constexpr int32_t kWidth = kPacked ? Pack<T>::kWidth : 1;  // elements of a thread at once: a share

  SAGE_DEVICE Line(const LineCall& c, int64_t line)
      : c_(c),
        thread_(static_cast<int32_t>(prim::ThreadX()) % kGroup),
        held_(kPacked && (kGroup < kLongGroup || c.line.count <= 8 * kGroup)) {
    int64_t at[2];
    OffsetsAt(c.lines, line, at);
    x_ = static_cast<const T*>(c.x) + at[0], y_ = static_cast<T*>(c.y) + at[1];
    if (!held_) return;
    SAGE_UNROLL
    for (int32_t i = 0; i < kHeld; ++i)
      if (Has(ShareAt(i))) Load(ShareAt(i), kept_[i]);
  }

  SAGE_DEVICE void Softmax() {
    N largest = -Infinity<N>();
    Each([&](int64_t, N(&v)[kWidth]) {
      SAGE_UNROLL
      for (const N x : v) largest = Larger(largest, x);
    });
    largest = JoinGroup<kGroup>(largest, [](N a, N b) { return Larger(a, b); });
    const bool nothing = largest == -Infinity<N>();
    const N sum = nothing ? N{1} : Sum([&](N x) { return prim::Exp(x - largest); });
    Each([&](int64_t share, N(&v)[kWidth]) {
      SAGE_UNROLL
      for (N& x : v) x = nothing ? N{0} : prim::Exp(x - largest) / sum;
      Save(share, v);
    });
  }

  SAGE_DEVICE void Norm() {
    const auto count = static_cast<N>(c_.line.count);
    const N mean = c_.function == SAGE_NORM_LAYER ? Sum([](N x) { return x; }) / count : N{0};
    const N variance = Sum([&](N x) { return (x - mean) * (x - mean); }) / count;
    const N deviation = prim::Sqrt(variance + static_cast<N>(c_.epsilon));
    Each([&](int64_t share, N(&v)[kWidth]) {
      SAGE_UNROLL
      for (N& x : v) x = (x - mean) / deviation;
      N parameters[kWidth];
      if (c_.gamma != nullptr) {
        LoadParameters(c_.gamma_dtype, c_.gamma, 2, share, parameters);
        SAGE_UNROLL
        for (int32_t i = 0; i < kWidth; ++i) v[i] *= parameters[i];
      }
      if (c_.beta != nullptr) {
        LoadParameters(c_.beta_dtype, c_.beta, 3, share, parameters);
        SAGE_UNROLL
        for (int32_t i = 0; i < kWidth; ++i) v[i] += parameters[i];
      }
      Save(share, v);
    });
  }

  SAGE_DEVICE void Reduce() {
    const uint32_t function = c_.function;
    N result;
    if (function == SAGE_REDUCE_SUM || function == SAGE_REDUCE_MEAN) {
      result = Sum([](N x) { return x; });
      if (function == SAGE_REDUCE_MEAN) result /= static_cast<N>(c_.line.count);
    } else {
      const bool most = function == SAGE_REDUCE_MAX;
      const auto join = [&](N a, N b) { return most ? Larger(a, b) : Smaller(a, b); };
      result = most ? -Infinity<N>() : Infinity<N>();
      Each([&](int64_t, N(&v)[kWidth]) {
        SAGE_UNROLL
        for (const N x : v) result = join(result, x);
      });
      result = JoinGroup<kGroup>(result, join);
    }
    if (thread_ == 0) y_[0] = PlainNumber<T>::Store(result);
  }

 private:
  static constexpr int32_t kHeld = kPacked ? 8 / kWidth : 1;  // shares

  // A thread's i-th share, and whether the line has it.
  SAGE_DEVICE int64_t ShareAt(int64_t i) const { return i * kGroup + thread_; }
  SAGE_DEVICE bool Has(int64_t share) const { return share * kWidth < c_.line.count; }

  SAGE_DEVICE void Load(int64_t share, N (&v)[kWidth]) const {
    if constexpr (kPacked) {
      const Pack<T> pack = reinterpret_cast<const Pack<T>*>(x_)[share];
      SAGE_UNROLL
      for (int32_t i = 0; i < kWidth; ++i) v[i] = PlainNumber<T>::Load(pack.values[i]);
    } else {
      int64_t at[4];
      OffsetsAt(c_.line, share, at);
      v[0] = PlainNumber<T>::Load(x_[at[0]]);
    }
  }
  SAGE_DEVICE void Save(int64_t share, const N (&v)[kWidth]) const {
    if constexpr (kPacked) {
      Pack<T> pack;
      SAGE_UNROLL
      for (int32_t i = 0; i < kWidth; ++i) pack.values[i] = PlainNumber<T>::Store(v[i]);
      reinterpret_cast<Pack<T>*>(y_)[share] = pack;
    } else {
      int64_t at[4];
      OffsetsAt(c_.line, share, at);
      y_[at[1]] = PlainNumber<T>::Store(v[0]);
    }
  }
  // Of GAMMA or BETA, which is `tensor` of the walk.
  SAGE_DEVICE void LoadParameters(sage_dtype dtype, const void* data, int tensor, int64_t share, N (&v)[kWidth]) const {
    if constexpr (kPacked) {
      switch (dtype) {
        case SAGE_F64:
          return LoadRow(static_cast<const double*>(data) + share * kWidth, v);
        case SAGE_F32:
          return LoadRow(static_cast<const float*>(data) + share * kWidth, v);
        case SAGE_F16:
          return LoadRow(static_cast<const F16*>(data) + share * kWidth, v);
        default:
          return LoadRow(static_cast<const Bf16*>(data) + share * kWidth, v);
      }
    } else {
      int64_t at[4];
      OffsetsAt(c_.line, share, at);
      v[0] = LoadFloat<N>(dtype, data, tensor == 2 ? at[2] : at[3]);
    }
  }
  template <class P>
  SAGE_DEVICE static void LoadRow(const P* row, N (&v)[kWidth]) {
    SAGE_UNROLL
    for (int32_t i = 0; i < kWidth; ++i) v[i] = static_cast<N>(PlainNumber<P>::Load(row[i]));
  }

  // visit(share, values) for the shares of this thread.
  template <class F>
  SAGE_DEVICE void Each(F&& visit) {
    if (held_) {
      SAGE_UNROLL
      for (int32_t i = 0; i < kHeld; ++i)
        if (Has(ShareAt(i))) visit(ShareAt(i), kept_[i]);
      return;
    }
    if constexpr (kPacked && sizeof(N) < sizeof(double)) {  // doubles would take more registers than there are
      SAGE_UNROLL_BY_2
      for (int64_t share = ShareAt(0); Has(share); share += kGroup) {
        N v[kWidth];
        Load(share, v);
        visit(share, v);
      }
    } else {
      SAGE_NO_UNROLL
      for (int64_t share = ShareAt(0); Has(share); share += kGroup) {
        N v[kWidth];
        Load(share, v);
        visit(share, v);
      }
    }
  }

  // Of term(x) over the line.
  template <class F>
  SAGE_DEVICE N Sum(F&& term) {
    N sum = 0;
    Each([&](int64_t, N(&v)[kWidth]) {
      N part = 0;
      SAGE_UNROLL
      for (const N x : v) part += term(x);
      sum += part;
    });
    return JoinGroup<kGroup>(sum, [](N a, N b) { return a + b; });
  }

  const LineCall& c_;
  const T* x_;
  T* y_;
  const int32_t thread_;
  const bool held_;
  N kept_[kHeld][kWidth] = {};
};

template <class T, int32_t kGroup, bool kPacked, LineOp kOp>
struct LineKernel {
  static constexpr uint32_t kThreads = kGroup == kWarpGroup ? 32 * kWarpsOfLines : kGroup;
  static constexpr uint32_t kSharedBytes = kGroup == kWarpGroup ? 0 : kGroup / 32 * sizeof(double);

  SAGE_DEVICE static void Run(const LineCall& c) {
    constexpr int64_t kLines = kThreads / kGroup;
    const int64_t first = int64_t{prim::BlockX()} * kLines + prim::ThreadX() / kGroup;
    for (int64_t i = first; i < c.lines.count; i += int64_t{prim::GridX()} * kLines) {
      Line<T, kGroup, kPacked> line(c, i);
      if constexpr (kOp == LineOp::kSoftmax) line.Softmax();
      if constexpr (kOp == LineOp::kNorm) line.Norm();
      if constexpr (kOp == LineOp::kReduce) line.Reduce();
    }
  }
};

template <class T, LineOp kOp, bool kPacked, class F>
auto WithGroup(const LineCall& c, F&& f) {
  if (c.group == kWarpGroup) return f(LineKernel<T, kWarpGroup, kPacked, kOp>{});
  if constexpr (kPacked)
    if (c.group == kLongGroup) return f(LineKernel<T, kLongGroup, kPacked, kOp>{});
  return f(LineKernel<T, kBlockGroup, kPacked, kOp>{});
}
template <class T, LineOp kOp, class F>
auto WithPacking(const LineCall& c, F&& f) {
  return c.packed ? WithGroup<T, kOp, true>(c, f) : WithGroup<T, kOp, false>(c, f);
}

template <class F>
auto ForKernel(const LineCall& c, F&& f) {
  return WithFloat(c.dtype, [&](auto type) {
    using T = decltype(type);
    if (c.op == LineOp::kSoftmax) return WithPacking<T, LineOp::kSoftmax>(c, f);
    if (c.op == LineOp::kNorm) return WithPacking<T, LineOp::kNorm>(c, f);
    return WithPacking<T, LineOp::kReduce>(c, f);
  });
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_OPS_LINES_H_
