// gemm_select.cc: which table of kernels LINEAR and MATMUL get, how fast it is, and of what class.
#include "gemm.h"
#include "refusals.h"

namespace sage::cpu {
namespace {

const GemmKernel<float>& SingleKernel([[maybe_unused]] Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return kGemmAvx512F32;
  if (isa == Isa::kAvx2) return kGemmAvx2F32;
#elif defined(__aarch64__)
  if (isa == Isa::kNeon) return kGemmNeonF32;
#endif
  return kGemmScalarF32;
}

const GemmKernel<double>& WideKernel([[maybe_unused]] Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return kGemmAvx512F64;
  if (isa == Isa::kAvx2) return kGemmAvx2F64;
#elif defined(__aarch64__)
  if (isa == Isa::kNeon) return kGemmNeonF64;
#endif
  return kGemmScalarF64;
}

// Measured on one core of a Zen 4 at 3.7 GHz, rounded down. NEON: expected, as VectorNs: two pipes of four lanes at
// 2.2 GHz are 17.6 at most.
double SingleRate(Isa isa) {
  return isa == Isa::kAvx512 ? 48.0 : isa == Isa::kAvx2 ? 42.0 : isa == Isa::kNeon ? 12.0 : 2.2;
}

#if defined(__x86_64__)
bool BothBf16(const OpView& view, uint32_t a, uint32_t b) {
  return view.Slot(a).dtype == SAGE_BF16 && view.Slot(b).dtype == SAGE_BF16;
}

// 16-bit arithmetic is for operands that are stored so, and for whoever accepts its class: AUTO does.
bool AcceptsNative(const OpView& view) { return view.op.accuracy != SAGE_ACCURACY_EXACT; }

// Products: measured on a Zen 4.
void ChooseBf16(GemmChoice* choice) {
  choice->isa = Isa::kAvx512Bf16;
  choice->single = &kGemmAvx512Bf16;
  choice->accuracy = SAGE_ACCURACY_NATIVE;
  choice->arithmetic = "in bf16 products summed in f32";
  choice->products = 90.0, choice->packed_bytes = 2;
}

// Products: expected, of a core that does 1.6 multiply-adds a picosecond in tiles, what packing rows for each task
// leaves of that. Of bf16 numbers products in tiles are exact, so only what is unfit keeps them from EXACT.
void ChooseAmx(bool both_bf16, bool native, GemmChoice* choice) {
  choice->row_step = 16;
  if (!both_bf16) {
    choice->single = &kGemmAmxF32;
    choice->arithmetic = "in f32 from products of bf16 parts";
    choice->products = 150.0, choice->packed_bytes = 6;
    return;
  }
  choice->single = native ? &kGemmAmxBf16Native : &kGemmAmxBf16;
  choice->accuracy = native ? SAGE_ACCURACY_NATIVE : SAGE_ACCURACY_EXACT;
  choice->arithmetic = "in bf16 products summed in f32";
  choice->products = native ? 600.0 : 500.0, choice->packed_bytes = 2;
}
#endif

}  // namespace

template <>
const GemmKernel<float>& GemmChoice::Kernel<float>() const {
  return *single;
}
template <>
const GemmKernel<double>& GemmChoice::Kernel<double>() const {
  return *wide;
}

GemmChoice ChooseGemm(const Context& context, const OpView& view, [[maybe_unused]] uint32_t a, uint32_t b,
                      [[maybe_unused]] int64_t rows) {
  GemmChoice choice;
  choice.isa = FullIsaFor(context, view);
  const bool wide = AnyIsDouble(view);
#if defined(__x86_64__)
  if (choice.isa >= Isa::kAvx512Bf16 && !wide) {
    // Fewer rows leave most of a tile idle. Who names amx gets it.
    constexpr int64_t kLeastRows = 8;
    const bool both_bf16 = BothBf16(view, a, b), native = both_bf16 && AcceptsNative(view);
    if (choice.isa == Isa::kAmx && (context.isa_named || rows >= kLeastRows))
      return ChooseAmx(both_bf16, native, &choice), choice;
    if (native) return ChooseBf16(&choice), choice;
  }
#endif
  choice.isa = VectorsOf(choice.isa);
  choice.products = SingleRate(choice.isa);
  if (wide) {
    choice.wide = &WideKernel(choice.isa);
    choice.packed_as = SAGE_F64, choice.packed_bytes = 8;
    choice.arithmetic = "in f64";
    choice.products /= 2;
    return choice;
  }
  choice.single = &SingleKernel(choice.isa);
  const sage_dtype stored = view.Slot(b).dtype;
  if (stored != SAGE_F32 && choice.single->bf16.row != nullptr) choice.packed_as = stored, choice.packed_bytes = 2;
  return choice;
}

double GemmNs(const GemmChoice& choice, double batch, double m, double n, double k, bool packed) {
  // Bytes per nanosecond of one core: of packed panels, which are read while they are multiplied; of other operands out
  // of its caches; of those that each run packs again.
  const double slower = VectorNs(choice.isa, 1.0), size = choice.wide != nullptr ? 8.0 : 4.0;
  const double panels = 80.0 / slower, near = 40.0 / slower, packing = 14.0 / slower;
  const double step = static_cast<double>(choice.row_step);
  const double rows =
      m <= 0 ? 0 : static_cast<double>((static_cast<int64_t>(m) + choice.row_step - 1) / choice.row_step) * step;
  const double products = rows * n * k / choice.products;
  if (packed) {
    const double reading = n * k * choice.packed_bytes / panels;
    return 200.0 + batch * ((products > reading ? products : reading) + (m * k + 2.0 * m * n) * size / near);
  }
  return 200.0 + batch * (products + (n * k + m * k + 2.0 * m * n) * size / packing);
}

}  // namespace sage::cpu
