// elementwise.h: UNARY (functions; copies are movement.h's, casts cast.h's), BINARY, and NORM with given statistics:
// one element out of one, two or six, in the type that PlainNumber says, rounded once.
#ifndef SAGE_PLUGINS_CUDA_OPS_ELEMENTWISE_H_
#define SAGE_PLUGINS_CUDA_OPS_ELEMENTWISE_H_

#include "ops/call.h"

namespace sage::cuda {

constexpr uint32_t kElementwiseThreads = 256;

// --- functions -------------------------------------------------------------------------------------------------------
// In the forms that neither cancel nor overflow where the result does not: the sigmoid by the exponential of -|x|, the
// GELU of tanh as x sigmoid(2u), that of erf by erfc.
template <class N>
SAGE_DEVICE N Sigmoid(N x) {
  const N e = prim::Exp(-prim::Abs(x));
  return (x < 0 ? e : N{1}) / (N{1} + e);
}

template <class N>
SAGE_DEVICE N ApplyFunction(uint32_t function, N x, N alpha) {
  constexpr N kSqrtHalf = static_cast<N>(0.70710678118654752440),
              kSqrtTwoOverPi = static_cast<N>(0.79788456080286535588);
  switch (function) {
    case SAGE_FN_RELU:
      return x > 0 || x != x ? x : N{0};
    case SAGE_FN_GELU:
      return static_cast<N>(0.5) * x * prim::Erfc(-x * kSqrtHalf);
    case SAGE_FN_GELU_TANH:
      return x * Sigmoid(2 * kSqrtTwoOverPi * (x + static_cast<N>(0.044715) * x * x * x));
    case SAGE_FN_SILU:
      return x * Sigmoid(x);
    case SAGE_FN_SIGMOID:
      return Sigmoid(x);
    case SAGE_FN_TANH:
      return prim::Tanh(x);
    case SAGE_FN_ELU:
      return x > 0 ? x : alpha * prim::Expm1(x);
    case SAGE_FN_EXP:
      return prim::Exp(x);
    case SAGE_FN_LOG:
      return prim::Log(x);
    case SAGE_FN_SQRT:
      return prim::Sqrt(x);
    case SAGE_FN_ABS:
      return prim::Abs(x);
    case SAGE_FN_NEG:
      return -x;
    default:
      return x;
  }
}

template <class N>
SAGE_DEVICE N Combine(uint32_t function, N a, N b) {
  switch (function) {
    case SAGE_BINARY_ADD:
      return a + b;
    case SAGE_BINARY_SUB:
      return a - b;
    case SAGE_BINARY_MUL:
      return a * b;
    case SAGE_BINARY_DIV:
      return a / b;
    case SAGE_BINARY_MIN:
      return Smaller(a, b);
    default:
      return Larger(a, b);
  }
}

// --- UNARY -----------------------------------------------------------------------------------------------------------
struct UnaryCall {
  const void* x = nullptr;
  void* y = nullptr;
  sage_dtype dtype = 0;
  uint32_t function = 0;  // SAGE_FN_*, not IDENTITY
  double alpha = 0;
  bool packed = false;  // places are packs
  Walk<2> walk;         // x, y
  Grid grid;
};

template <class T>
struct UnaryKernel {
  static constexpr uint32_t kThreads = kElementwiseThreads, kSharedBytes = 0;
  using N = typename PlainNumber<T>::Statistics;

  SAGE_DEVICE static T Of(const UnaryCall& c, T x) {
    return PlainNumber<T>::Store(ApplyFunction(c.function, PlainNumber<T>::Load(x), static_cast<N>(c.alpha)));
  }
  SAGE_DEVICE static void Run(const UnaryCall& c) {
    for (int64_t place = GlobalThread(); place < c.walk.count; place += GlobalThreads()) {
      int64_t at[2];
      OffsetsAt(c.walk, place, at);
      if (c.packed) {
        Pack<T> pack = static_cast<const Pack<T>*>(c.x)[at[0]];
        SAGE_UNROLL
        for (T& value : pack.values) value = Of(c, value);
        static_cast<Pack<T>*>(c.y)[at[1]] = pack;
      } else {
        static_cast<T*>(c.y)[at[1]] = Of(c, static_cast<const T*>(c.x)[at[0]]);
      }
    }
  }
};

template <class F>
auto ForKernel(const UnaryCall& c, F&& f) {
  return WithFloat(c.dtype, [&](auto type) { return f(UnaryKernel<decltype(type)>{}); });
}

// --- BINARY ----------------------------------------------------------------------------------------------------------
struct BinaryCall {
  const void *a = nullptr, *b = nullptr;
  void* y = nullptr;
  sage_dtype dtype = 0;
  uint32_t function = 0;  // SAGE_BINARY_*
  // Places are packs of Y; an operand that repeats along the last axis is one element for the whole pack.
  bool packed = false, a_repeats = false, b_repeats = false;
  Walk<3> walk;  // a, b, y
  Grid grid;
};

template <class T>
struct BinaryKernel {
  static constexpr uint32_t kThreads = kElementwiseThreads, kSharedBytes = 0;

  SAGE_DEVICE static Pack<T> Load(const void* data, int64_t at, bool repeats) {
    if (!repeats) return static_cast<const Pack<T>*>(data)[at];
    Pack<T> pack;
    const T value = static_cast<const T*>(data)[at];
    SAGE_UNROLL
    for (T& each : pack.values) each = value;
    return pack;
  }
  SAGE_DEVICE static T Of(const BinaryCall& c, T a, T b) {
    return PlainNumber<T>::Store(Combine(c.function, PlainNumber<T>::Load(a), PlainNumber<T>::Load(b)));
  }
  SAGE_DEVICE static void Run(const BinaryCall& c) {
    for (int64_t place = GlobalThread(); place < c.walk.count; place += GlobalThreads()) {
      int64_t at[3];
      OffsetsAt(c.walk, place, at);
      if (c.packed) {
        Pack<T> a = Load(c.a, at[0], c.a_repeats);
        const Pack<T> b = Load(c.b, at[1], c.b_repeats);
        SAGE_UNROLL
        for (int32_t i = 0; i < Pack<T>::kWidth; ++i) a.values[i] = Of(c, a.values[i], b.values[i]);
        static_cast<Pack<T>*>(c.y)[at[2]] = a;
      } else {
        static_cast<T*>(c.y)[at[2]] = Of(c, static_cast<const T*>(c.a)[at[0]], static_cast<const T*>(c.b)[at[1]]);
      }
    }
  }
};

template <class F>
auto ForKernel(const BinaryCall& c, F&& f) {
  return WithFloat(c.dtype, [&](auto type) { return f(BinaryKernel<decltype(type)>{}); });
}

// --- NORM of mode BATCH ----------------------------------------------------------------------------------------------
// (x - mean) / sqrt(var + epsilon) * gamma + beta, the four by channel.
struct Parameter {
  const void* data = nullptr;  // null: absent
  sage_dtype dtype = 0;
  int64_t stride = 0;
};
struct BatchNormCall {
  const void* x = nullptr;
  void* y = nullptr;
  sage_dtype dtype = 0;
  Parameter mean, var, gamma, beta;
  double epsilon = 0;
  Walk<3> walk;  // x, y, the channel
  Grid grid;
};

template <class T>
struct BatchNormKernel {
  static constexpr uint32_t kThreads = kElementwiseThreads, kSharedBytes = 0;
  using N = typename PlainNumber<T>::Statistics;

  SAGE_DEVICE static N Of(const Parameter& parameter, int64_t channel, N absent) {
    if (parameter.data == nullptr) return absent;
    return LoadFloat<N>(parameter.dtype, parameter.data, channel * parameter.stride);
  }
  SAGE_DEVICE static void Run(const BatchNormCall& c) {
    for (int64_t place = GlobalThread(); place < c.walk.count; place += GlobalThreads()) {
      int64_t at[3];
      OffsetsAt(c.walk, place, at);
      const N x = PlainNumber<T>::Load(static_cast<const T*>(c.x)[at[0]]);
      const N deviation = prim::Sqrt(Of(c.var, at[2], N{1}) + static_cast<N>(c.epsilon));
      const N scaled = (x - Of(c.mean, at[2], N{0})) / deviation;
      static_cast<T*>(c.y)[at[1]] = PlainNumber<T>::Store(scaled * Of(c.gamma, at[2], N{1}) + Of(c.beta, at[2], N{0}));
    }
  }
};

template <class F>
auto ForKernel(const BatchNormCall& c, F&& f) {
  return WithFloat(c.dtype, [&](auto type) { return f(BatchNormKernel<decltype(type)>{}); });
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_OPS_ELEMENTWISE_H_
