// attention.cc: see attention.h.
#include "attention.h"

#include <new>

#include "operands.h"

namespace sage::int8 {
namespace {

// Measured on one core of a Zen 4 at 3.7 GHz; scalar, AVX2: there too. AMX, NEON: expected.
cpu::AttentionRates RatesOf(Isa isa, Mode mode, bool in_bf16) {
  const cpu::AttentionRates full = isa == Isa::kAmx          ? cpu::AttentionRates{700, 0, 40}
                                   : isa == Isa::kAvx512Vnni ? cpu::AttentionRates{130, 0, 40}
                                   : isa == Isa::kAvx2       ? cpu::AttentionRates{60, 0, 50}
                                   : isa == Isa::kI8mm       ? cpu::AttentionRates{50, 0, 120}
                                   : isa == Isa::kDotprod    ? cpu::AttentionRates{35, 0, 120}
                                   : isa == Isa::kNeon       ? cpu::AttentionRates{15, 0, 120}
                                                             : cpu::AttentionRates{1, 0, 200};
  if (mode == Mode::kFull) return full;
  // V as floats: in bf16 nearly as fast, in f32 with fewer products at once.
  return {full.products * (in_bf16 ? 0.8 : mode == Mode::kPerTensor ? 0.4 : 0.6), 0, full.row_ns};
}

const cpu::AttentionKernels<float>& FloatKernels(Isa isa) {
  cpu::AttentionDesign design;
  cpu::Context context;
  design.context = &context;
  design.isa = FloatIsaOf(isa);
  cpu::SelectKernels(&design);
  return *design.kernels_f32;
}

}  // namespace

Flavour::Flavour(Mode mode, Isa isa)
    : mode_(mode),
      isa_(isa),
      kernels_(KernelsOf(isa)),
      with_floats_(mode == Mode::kFull      ? kernels_.attention
                   : mode == Mode::kKvCache ? FloatKernels(isa)
                                            : WithFloatValues(kernels_, FloatKernels(isa))) {
  const cpu::AttentionKernels<float>* const bf16 = Bf16KernelsBeside(isa);
  has_bf16_ = mode == Mode::kQk8Pv16 && bf16 != nullptr;
  if (has_bf16_) with_bf16_ = WithFloatValues(kernels_, *bf16);
  if (mode != Mode::kKvCache) return;
  native_ = with_floats_;
  const auto set = [](const CacheKernels& cache, cpu::AttentionKernels<float>* table) {
    if (cache.scores == nullptr) return;
    table->scores_in_place = cache.scores;
    table->accumulate_in_place = cache.accumulate;
  };
  set(kernels_.cache_exact, &with_floats_);
  set(kernels_.cache_native, &native_);
}

void Flavour::Select(cpu::AttentionDesign* design) const {
  design->isa = FloatIsaOf(isa_);
  design->isa_name = IsaName(isa_);
  // Of codes the dots are exact, and all else is in f32 but for the weights of `full`: what was lost, their caller
  // lost.
  const bool codes = design->view->Slot(SAGE_ATTN_K).dtype == SAGE_I8 &&
                     (mode_ == Mode::kKvCache || design->view->Slot(SAGE_ATTN_Q).dtype == SAGE_I8);
  design->accuracy = codes && mode_ != Mode::kFull ? SAGE_ACCURACY_EXACT : SAGE_ACCURACY_LOSSY;
  const bool in_bf16 = has_bf16_ && !codes;
  design->kernels_f32 = in_bf16 ? &with_bf16_ : &with_floats_;
  if (mode_ == Mode::kKvCache) {
    const bool narrow = design->view->Slot(SAGE_ATTN_Q).dtype != SAGE_F32;
    const uint32_t asked = design->view->op.accuracy;
    if (kernels_.cache_native.scores != nullptr && asked != SAGE_ACCURACY_EXACT &&
        (narrow || asked != SAGE_ACCURACY_AUTO)) {
      design->kernels_f32 = &native_;
      design->accuracy = SAGE_ACCURACY_NATIVE;
    }
    cpu::AttentionDesign floats = *design;
    cpu::SelectKernels(&floats);
    design->rates = floats.rates;
    design->arithmetic = "in f32 of K and V in 8 bits";
    return;
  }
  design->rates = RatesOf(isa_, mode_, in_bf16);
  design->arithmetic = mode_ == Mode::kFull      ? "in 8 bits (mode full)"
                       : in_bf16                 ? "in 8-bit dots, V in bf16 (mode qk8_pv16)"
                       : mode_ == Mode::kQk8Pv16 ? "in 8-bit dots, V in f32 (mode qk8_pv16)"
                                                 : "in 8-bit dots of one scale each, V in f32 (mode per_tensor)";
}

double Flavour::OperandBytes(const cpu::AttentionDesign& design) const {
  return OperandLayout(mode_, kernels_.form, design).bytes;
}

double Flavour::OperandNs(const cpu::AttentionDesign& design) const {
  const cpu::AttentionSizes& sizes = design.bounds;
  const double keys = static_cast<double>(sizes.seq_kv) * (sizes.packed_kv() ? 1 : static_cast<double>(sizes.batch));
  const double elements = keys * static_cast<double>(sizes.heads_k * sizes.dim_qk + sizes.heads_v * sizes.dim_v);
  constexpr double kLayNs = 1.0, kCheckNs = 0.01;
  return elements * (mode_ == Mode::kKvCache ? kCheckNs : kLayNs);
}

sage_status Flavour::Prepare(const cpu::AttentionCall& call, char* at, const cpu::AttentionOperands** out,
                             sage_error* err) const {
  auto* const operands = new (at) Operands(mode_, kernels_, call, at);
  *out = operands;
  return operands->Prepare(err);
}

}  // namespace sage::int8
