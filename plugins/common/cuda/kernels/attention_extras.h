// attention_extras.h: AttentionExtras as the plain row takes them (attention_plain.h): scales of 8-bit operands, an
// output of another type, and dropout by sage/attention.h's Philox. Only backends that serve these include it.
#ifndef SAGE_PLUGINS_COMMON_CUDA_KERNELS_ATTENTION_EXTRAS_H_
#define SAGE_PLUGINS_COMMON_CUDA_KERNELS_ATTENTION_EXTRAS_H_

#include "common/cuda/kernels/attention_sequence.h"
#include "common/cuda/kernels/small_float.h"
#include "common/philox.h"

namespace sage::cuda {

SAGE_DEVICE float ScaleOr(const float* scale, float absent) { return scale == nullptr ? absent : *scale; }

// Rounded once; of 8 bits beyond the largest number: NaN or an infinity, as a cast has it.
SAGE_DEVICE void StoreFloat(void* base, AttentionType type, int64_t at, float value) {
  switch (type) {
    case AttentionType::kF64:
      static_cast<double*>(base)[at] = static_cast<double>(value);
      return;
    case AttentionType::kF32:
      static_cast<float*>(base)[at] = value;
      return;
    case AttentionType::kF16:
      static_cast<F16*>(base)[at] = prim::FromFloat<F16>(value);
      return;
    case AttentionType::kBf16:
      static_cast<Bf16*>(base)[at] = prim::FromFloat<Bf16>(value);
      return;
    case AttentionType::kF8E4m3fn:
      static_cast<uint8_t*>(base)[at] = ToSmall(kFormatE4m3fn, value);
      return;
    case AttentionType::kF8E5m2:
      static_cast<uint8_t*>(base)[at] = ToSmall(kFormatE5m2, value);
      return;
  }
}

// Of a number, an infinity, a NaN, and of the largest number of 8 bits: hardware that stores 8 bits stops there.
SAGE_DEVICE bool StoredBeyond(const void* base, AttentionType type, int64_t at) {
  switch (type) {
    case AttentionType::kF8E4m3fn:
      return (static_cast<const uint8_t*>(base)[at] & 0x7f) >= 0x7e;
    case AttentionType::kF8E5m2:
      return (static_cast<const uint8_t*>(base)[at] & 0x7f) >= 0x7b;
    case AttentionType::kF16: {
      const float value = prim::ToFloat(static_cast<const F16*>(base)[at]);
      return value - value != 0;
    }
    case AttentionType::kBf16: {
      const float value = prim::ToFloat(static_cast<const Bf16*>(base)[at]);
      return value - value != 0;
    }
    default: {
      const float value = static_cast<const float*>(base)[at];
      return value - value != 0;
    }
  }
}

// Operands of fp8.
struct RowScales {
  static constexpr bool kScales = true, kDrops = false;
  const AttentionExtras* extras;

  SAGE_DEVICE static RowScales Of(const AttentionExtras& extras) { return {&extras}; }
  SAGE_DEVICE float Product(float stored) const {
    return stored * ScaleOr(extras->scale_q, 1) * ScaleOr(extras->scale_k, 1);
  }
  SAGE_DEVICE void Store(void* o, int64_t at, float stored) const {
    const float value = stored * ScaleOr(extras->scale_v, 1);
    StoreFloat(o, extras->o_type, at, value == 0 ? value : value / ScaleOr(extras->scale_o, 1));
  }
};

struct RowDropout {
  static constexpr bool kScales = false, kDrops = true;
  const AttentionExtras* extras;

  SAGE_DEVICE static RowDropout Of(const AttentionExtras& extras) { return {&extras}; }
  // What the weight of key j is multiplied by behind the softmax.
  SAGE_DEVICE float Kept(const AttentionArguments& a, int32_t b, int32_t h, int32_t i, int32_t j) const {
    const int64_t row = (int64_t{b} * a.heads_q + h) * a.seq_q + i;
    const auto n = static_cast<uint64_t>(row * a.seq_kv + j);
    const uint32_t word = plugins::PhiloxWord(extras->philox[0], extras->philox[extras->philox_stride], n);
    return word >= extras->least_kept ? static_cast<float>(extras->kept) : 0.0f;
  }
};

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_COMMON_CUDA_KERNELS_ATTENTION_EXTRAS_H_
