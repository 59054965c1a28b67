// cast.h: UNARY IDENTITY between differing dtypes: any of the thirteen to any other, rounded once to nearest even;
// integers saturate and take NaN as 0.
//
// Integers of 32 bits and all floats are exact in a double, and floats of at most 32 bits in a float. On the way to a
// type narrower than float, what a float has no room for sets its last bit ("round to odd"): the rounding that follows
// is then that of the number itself. 64-bit integers go into a double in the same way. The dtypes are switched on at
// run time, the same way for all threads: 156 kernels would be the alternative.
#ifndef SAGE_PLUGINS_CUDA_OPS_CAST_H_
#define SAGE_PLUGINS_CUDA_OPS_CAST_H_

#include "common/cuda/kernels/small_float.h"
#include "ops/call.h"

namespace sage::cuda {

struct CastCall {
  const void* x = nullptr;
  void* y = nullptr;
  sage_dtype from = 0, to = 0;
  Walk<2> walk;  // x, y
  Grid grid;
};

// The float with its last bit set if it is not the double itself.
SAGE_DEVICE float ToOddFloat(double value) {
  const auto nearest = static_cast<float>(value);
  const auto back = static_cast<double>(nearest);
  if (back == value || value != value) return nearest;
  const bool beyond = prim::Abs(back) > prim::Abs(value);  // an infinity, too
  return FloatOf((BitsOf(nearest) - (beyond ? 1u : 0u)) | 1u);
}

// A 64-bit integer as a double in the same way.
SAGE_DEVICE double ToOddDouble(bool negative, uint64_t magnitude) {
  uint32_t drop = 0;
  while (magnitude >> drop >> 53 != 0) ++drop;
  const uint64_t lost = magnitude & ((uint64_t{1} << drop) - 1);
  const uint64_t odd = (magnitude >> drop | (lost != 0 ? 1 : 0)) << drop;  // 53 bits of it: exact
  const auto value = static_cast<double>(odd);
  return negative ? -value : value;
}

// To nearest even between least and most, which are doubles or the first below and above the type; NaN: 0.
template <class I>
SAGE_DEVICE I ToInteger(double value, double end, I least, I most) {
  if (value != value) return 0;
  const double rounded = prim::Rint(value);
  if (rounded >= end) return most;
  if (rounded <= static_cast<double>(least)) return least;
  return static_cast<I>(rounded);
}

struct CastKernel {
  static constexpr uint32_t kThreads = 256, kSharedBytes = 0;

  SAGE_DEVICE static bool Narrow(sage_dtype dtype) {  // exact in a float
    return dtype == SAGE_F32 || dtype == SAGE_F16 || dtype == SAGE_BF16 || dtype == SAGE_F8_E4M3FN ||
           dtype == SAGE_F8_E5M2 || dtype == SAGE_I8 || dtype == SAGE_U8 || dtype == SAGE_BOOL || dtype == SAGE_I16;
  }

  SAGE_DEVICE static float LoadNarrow(sage_dtype dtype, const void* x, int64_t at) {
    switch (dtype) {
      case SAGE_F32:
        return static_cast<const float*>(x)[at];
      case SAGE_F16:
        return prim::ToFloat(static_cast<const F16*>(x)[at]);
      case SAGE_BF16:
        return prim::ToFloat(static_cast<const Bf16*>(x)[at]);
      case SAGE_F8_E4M3FN:
        return FromSmall(kFormatE4m3fn, static_cast<const uint8_t*>(x)[at]);
      case SAGE_F8_E5M2:
        return FromSmall(kFormatE5m2, static_cast<const uint8_t*>(x)[at]);
      case SAGE_I8:
        return static_cast<float>(static_cast<const int8_t*>(x)[at]);
      case SAGE_I16:
        return static_cast<float>(static_cast<const int16_t*>(x)[at]);
      case SAGE_U8:
        return static_cast<float>(static_cast<const uint8_t*>(x)[at]);
      default:
        return static_cast<const uint8_t*>(x)[at] != 0 ? 1.0f : 0.0f;
    }
  }

  // Floats of at most 32 bits, from a float that is exact or odd.
  SAGE_DEVICE static void StoreNarrow(sage_dtype dtype, void* y, int64_t at, float value) {
    switch (dtype) {
      case SAGE_F32:
        static_cast<float*>(y)[at] = value;
        return;
      case SAGE_F16:
        static_cast<F16*>(y)[at] = prim::FromFloat<F16>(value);
        return;
      case SAGE_BF16:
        static_cast<Bf16*>(y)[at] = prim::FromFloat<Bf16>(value);
        return;
      case SAGE_F8_E4M3FN:
        static_cast<uint8_t*>(y)[at] = ToSmall(kFormatE4m3fn, value);
        return;
      default:
        static_cast<uint8_t*>(y)[at] = ToSmall(kFormatE5m2, value);
    }
  }

  SAGE_DEVICE static bool StoresFromFloat(sage_dtype to) {
    return to == SAGE_F16 || to == SAGE_BF16 || to == SAGE_F8_E4M3FN || to == SAGE_F8_E5M2;
  }

  // From a double that is exact, or odd if it was a 64-bit integer.
  SAGE_DEVICE static void Store(sage_dtype dtype, void* y, int64_t at, double value) {
    switch (dtype) {
      case SAGE_F64:
        static_cast<double*>(y)[at] = value;
        return;
      case SAGE_F32:
        static_cast<float*>(y)[at] = static_cast<float>(value);
        return;
      case SAGE_I8:
        static_cast<int8_t*>(y)[at] = ToInteger<int8_t>(value, 128.0, INT8_MIN, INT8_MAX);
        return;
      case SAGE_I16:
        static_cast<int16_t*>(y)[at] = ToInteger<int16_t>(value, 32768.0, INT16_MIN, INT16_MAX);
        return;
      case SAGE_I32:
        static_cast<int32_t*>(y)[at] = ToInteger<int32_t>(value, 2147483648.0, INT32_MIN, INT32_MAX);
        return;
      case SAGE_I64:
        static_cast<int64_t*>(y)[at] = ToInteger<int64_t>(value, 9223372036854775808.0, INT64_MIN, INT64_MAX);
        return;
      case SAGE_U64:
        static_cast<uint64_t*>(y)[at] = ToInteger<uint64_t>(value, 18446744073709551616.0, 0, UINT64_MAX);
        return;
      case SAGE_U8:
        static_cast<uint8_t*>(y)[at] = ToInteger<uint8_t>(value, 256.0, 0, UINT8_MAX);
        return;
      case SAGE_BOOL:
        static_cast<uint8_t*>(y)[at] = value != 0 ? 1 : 0;
        return;
      default:
        StoreNarrow(dtype, y, at, ToOddFloat(value));
    }
  }

  SAGE_DEVICE static void FromWide(const CastCall& c, uint64_t bits, int64_t to) {
    const bool negative = c.from == SAGE_I64 && bits >> 63 != 0;
    if (c.to == SAGE_U64) {
      static_cast<uint64_t*>(c.y)[to] = negative ? 0 : bits;
    } else if (c.to == SAGE_I64) {
      const bool too_large = c.from == SAGE_U64 && bits >> 63 != 0;
      static_cast<int64_t*>(c.y)[to] = too_large ? INT64_MAX : static_cast<int64_t>(bits);
    } else if (c.to == SAGE_F64) {  // to nearest by one conversion
      static_cast<double*>(c.y)[to] =
          negative ? static_cast<double>(static_cast<int64_t>(bits)) : static_cast<double>(bits);
    } else {
      Store(c.to, c.y, to, ToOddDouble(negative, negative ? 0 - bits : bits));
    }
  }

  SAGE_DEVICE static void Run(const CastCall& c) {
    const bool in_float = Narrow(c.from) && (c.to == SAGE_F32 || StoresFromFloat(c.to));
    for (int64_t place = GlobalThread(); place < c.walk.count; place += GlobalThreads()) {
      int64_t at[2];
      OffsetsAt(c.walk, place, at);
      if (in_float)
        StoreNarrow(c.to, c.y, at[1], LoadNarrow(c.from, c.x, at[0]));
      else if (c.from == SAGE_I64 || c.from == SAGE_U64)
        FromWide(c, static_cast<const uint64_t*>(c.x)[at[0]], at[1]);
      else if (c.from == SAGE_F64)
        Store(c.to, c.y, at[1], static_cast<const double*>(c.x)[at[0]]);
      else if (c.from == SAGE_I32)
        Store(c.to, c.y, at[1], static_cast<double>(static_cast<const int32_t*>(c.x)[at[0]]));
      else
        Store(c.to, c.y, at[1], static_cast<double>(LoadNarrow(c.from, c.x, at[0])));
    }
  }
};

template <class F>
auto ForKernel(const CastCall&, F&& f) {
  return f(CastKernel{});
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_OPS_CAST_H_
