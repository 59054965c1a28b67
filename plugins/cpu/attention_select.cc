// attention_select.cc: which table of kernels an attention op gets, how fast it is, and of what class.
#include <algorithm>

#include "attention.h"

namespace sage::cpu {
namespace {

// The tables of fused multiply-adds in T, which serve every float dtype: what is stored narrower is widened on its way.
const AttentionKernels<double>* WideKernels([[maybe_unused]] Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return &kAttentionAvx512F64;
  if (isa == Isa::kAvx2) return &kAttentionAvx2F64;
#elif defined(__aarch64__)
  if (isa == Isa::kNeon) return &kAttentionNeonF64;
#endif
  return &kAttentionScalarF64;
}

const AttentionKernels<float>* SingleKernels([[maybe_unused]] Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return &kAttentionAvx512F32;
  if (isa == Isa::kAvx2) return &kAttentionAvx2F32;
#elif defined(__aarch64__)
  if (isa == Isa::kNeon) return &kAttentionNeonF32;
#endif
  return &kAttentionScalarF32;
}

// Measured on one core of a Zen 4 at 3.7 GHz; f64 has half the lanes. NEON: expected, as VectorNs, of a Cortex-A78AE at
// 2.2 GHz, whose two pipes of four lanes are 17.6 products at most.
AttentionRates RatesOf(Isa isa, bool wide) {
  const AttentionRates single = isa == Isa::kAvx512 ? AttentionRates{52, 0.18, 35}
                                : isa == Isa::kAvx2 ? AttentionRates{46, 0.10, 35}
                                : isa == Isa::kNeon ? AttentionRates{13, 0.34, 120}
                                                    : AttentionRates{5, 0.7, 60};
  return wide ? AttentionRates{single.products / 2, single.packed_ns * 2, single.row_ns} : single;
}

#if defined(__x86_64__)
// 16-bit arithmetic is for tensors that are stored so, and for whoever accepts its class: AUTO does.
bool AllBf16(const OpView& view) {
  for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V})
    if (view.Slot(slot).dtype != SAGE_BF16) return false;
  return view.op.accuracy != SAGE_ACCURACY_EXACT;
}

bool StoredAsOneOf(const OpView& view, sage_dtype one, sage_dtype other) {
  for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V})
    if (view.Slot(slot).dtype != one && view.Slot(slot).dtype != other) return false;
  return true;
}

// Fewer rows leave most of a tile idle, and packing K and V into tiles is for many rows. Who names amx gets it.
bool WorthTiles(const AttentionDesign& design) {
  constexpr int64_t kLeastRows = 8;
  return design.context->isa_named || design.bounds.seq_q * design.bounds.group >= kLeastRows;
}

// Products: expected, of a core that does 1.6 multiply-adds a picosecond in tiles, what is left of that beside the
// softmax and the splitting of weights, by the number of products that one product takes. Packing, of K and V together:
// measured on a Zen 4.
void SelectAmx(AttentionDesign* design) {
  const OpView& view = *design->view;
  design->arithmetic = "in f32 from products of bf16 parts";
  if (AllBf16(view)) {
    design->kernels_f32 = &kAttentionAmxBf16Native;
    design->rates = {600, 0.27, 35};
    design->accuracy = SAGE_ACCURACY_NATIVE;
    design->arithmetic = "in bf16 products summed in f32";
  } else if (StoredAsOneOf(view, SAGE_BF16, SAGE_BF16)) {
    design->kernels_f32 = &kAttentionAmxBf16;
    design->rates = {350, 0.27, 35};
  } else if (StoredAsOneOf(view, SAGE_BF16, SAGE_F16)) {
    design->kernels_f32 = &kAttentionAmxF16;
    design->rates = {190, 0.35, 35};
  } else {
    design->kernels_f32 = &kAttentionAmxF32;
    design->rates = {150, 0.43, 35};
  }
  // One row costs what the 16 of a tile do.
  const int64_t rows = std::max<int64_t>(1, design->bounds.seq_q * design->bounds.group);
  design->rates.products *= std::min(1.0, static_cast<double>(rows) / 16);
}
#endif

}  // namespace

void SelectKernels(AttentionDesign* design) {
  design->accuracy = SAGE_ACCURACY_EXACT;
#if defined(__x86_64__)
  if (design->isa == Isa::kAmx && !design->wide && WorthTiles(*design)) return SelectAmx(design);
  if (design->isa == Isa::kAmx) design->isa = Isa::kAvx512Bf16;  // every processor with these tiles has those too
  if (design->isa >= Isa::kAvx512Bf16 && !design->wide && AllBf16(*design->view)) {
    design->kernels_f32 = &kAttentionAvx512Bf16;
    design->rates = {95, 0.10, 40};
    design->accuracy = SAGE_ACCURACY_NATIVE;
    design->arithmetic = "in bf16 products summed in f32";
    return;
  }
#endif
  design->isa = VectorsOf(design->isa);
  design->rates = RatesOf(design->isa, design->wide);
  design->arithmetic = design->wide ? "in f64" : "in f32";
  if (design->wide)
    design->kernels_f64 = WideKernels(design->isa);
  else
    design->kernels_f32 = SingleKernels(design->isa);
}

}  // namespace sage::cpu
