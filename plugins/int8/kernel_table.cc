// kernel_table.cc: see kernel_table.h.
#include "kernel_table.h"

namespace sage::int8 {

const Int8Kernels& KernelsOf([[maybe_unused]] Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx2) return kAvx2Kernels;
  if (isa == Isa::kAvx512Vnni) return kAvx512VnniKernels;
  if (isa == Isa::kAmx) return kAmxKernels;
#elif defined(__aarch64__)
  if (isa == Isa::kNeon) return kNeonKernels;
  if (isa == Isa::kDotprod) return kDotprodKernels;
  if (isa == Isa::kI8mm) return kI8mmKernels;
#endif
  return kScalarKernels;
}

cpu::Isa FloatIsaOf(Isa isa) {
  switch (isa) {
    case Isa::kAvx2:
      return cpu::Isa::kAvx2;
    case Isa::kAvx512Vnni:
    // Not the cpu's tiles: they take no V with a NaN or an Inf, and what they take instead begins with Q and K as
    // floats.
    case Isa::kAmx:
      return cpu::Isa::kAvx512;
    case Isa::kNeon:
    case Isa::kDotprod:
    case Isa::kI8mm:
      return cpu::Isa::kNeon;
    default:
      return cpu::Isa::kScalar;
  }
}

const cpu::AttentionKernels<float>* Bf16KernelsBeside([[maybe_unused]] Isa isa) {
#if defined(__x86_64__)
  static const cpu::AttentionKernels<float> table = [] {
    cpu::AttentionKernels<float> any = cpu::kAttentionAvx512Bf16;
    any.pack_values = PackValuesAsBf16;
    any.accumulate_in_place = nullptr;  // of what is stored as bf16 only, and never needed beside codes
    return any;
  }();
  const bool wide = isa == Isa::kAvx512Vnni || isa == Isa::kAmx;
  if (wide && MultipliesBf16()) return &table;
#endif
  return nullptr;
}

cpu::AttentionKernels<float> WithFloatValues(const Int8Kernels& codes, const cpu::AttentionKernels<float>& floats) {
  cpu::AttentionKernels<float> table = codes.attention;
  table.value_element = floats.value_element, table.value_dim_step = floats.value_dim_step;
  table.value_step = floats.value_step, table.values_in_place = floats.values_in_place;
  table.pack_values = floats.pack_values, table.accumulate = floats.accumulate;
  table.accumulate_visible = floats.accumulate_visible, table.accumulate_in_place = floats.accumulate_in_place;
  table.all_finite = floats.all_finite;
  table.prepare = floats.prepare, table.exponentiate = floats.exponentiate;
  table.online_prepared = floats.online_prepared, table.online_plain = floats.online_plain;
  table.merge = floats.merge;
  // Those take as many rows at once as their registers hold.
  table.row_group = floats.row_group;
  return table;
}

}  // namespace sage::int8
