// norm.cc: NORM, layer and rms over the last axes by two passes in double, batch (inference) channel by channel.
#include <algorithm>
#include <cmath>

#include "parallel.h"
#include "refusals.h"
#include "strided.h"

namespace sage::cpu {
namespace {

constexpr uint32_t kX = 0, kGamma = 1, kBeta = 2, kMean = 3, kVar = 4, kY = 5;
constexpr int64_t kHeld = 2048;  // elements worked on at once, on the stack

double ElementNs(Isa isa) { return isa == Isa::kScalar ? 6.0 : VectorNs(isa, 0.8); }

// A tensor that may be absent.
struct Optional {
  const char* data = nullptr;
  sage_dtype dtype = SAGE_F32;
  int64_t size = 0;
  explicit Optional(const sage_tensor* tensor) {
    if (tensor != nullptr) data = BytesOf(*tensor), dtype = tensor->dtype, size = SizeOf(tensor->dtype);
  }
};

const sage_tensor* SlotOf(const sage_run_args& args, uint32_t slot) {
  return slot < args.num_slots ? args.slots[slot] : nullptr;
}

// Multiplies by, or adds, the same stretch of GAMMA or BETA.
void Apply(const LineKernels& lines, uint32_t function, const Optional& factor, int64_t at, int64_t step, int64_t n,
           double* piece) {
  if (factor.data == nullptr) return;
  alignas(64) double values[kPiece];
  for (int64_t i = 0; i < n; i += kPiece) {
    const int64_t count = std::min(kPiece, n - i);
    LoadLine(lines, factor.dtype, factor.data + (at + i * step) * factor.size, step, count, values);
    lines.binary(function, piece + i, values, piece + i, count);
  }
}

class NormPlan final : public KernelPlan {
 public:
  NormPlan(const Context& context, const OpView& view)
      : host_(context.host), isa_(IsaFor(context, view)), attributes_(view.attributes.norm) {}

  sage_status Run(const sage_run_args& args, sage_error* err) const override {
    if (ElementCount(*args.slots[kY]) == 0) return Finish(host_, args, err);
    if (attributes_.mode == SAGE_NORM_BATCH)
      RunBatch(args);
    else
      RunRegions(args);
    return Finish(host_, args, err);
  }

 private:
  // Layer and rms: each index of the axes before `axis` has a region of its own, the axes from there on.
  void RunRegions(const sage_run_args& args) const {
    const sage_tensor &x = *args.slots[kX], &y = *args.slots[kY];
    const sage_tensor *gamma = SlotOf(args, kGamma), *beta = SlotOf(args, kBeta);
    const uint32_t axis = static_cast<uint32_t>(attributes_.axis);
    Walk<2> outer;
    for (uint32_t i = 0; i < axis; ++i) outer.Append(x.shape[i], {x.stride[i], y.stride[i]});
    outer.shape[outer.rank++] = 1;
    Walk<4> region;
    for (uint32_t i = axis; i < x.rank; ++i)
      region.Append(x.shape[i], {x.stride[i], y.stride[i], gamma != nullptr ? gamma->stride[i - axis] : 0,
                                 beta != nullptr ? beta->stride[i - axis] : 0});
    const double ns = ElementNs(isa_) * static_cast<double>(region.Elements());
    const int64_t count = outer.Lines(), x_size = SizeOf(x.dtype), y_size = SizeOf(y.dtype);
    const Optional scale(gamma), shift(beta);
    ParallelFor(host_, ns * static_cast<double>(count), count, std::max<int64_t>(1, static_cast<int64_t>(1e4 / ns)),
                [&](int64_t begin, int64_t end, uint32_t) {
                  for (int64_t i = begin; i < end; ++i) {
                    if ((i & 15) == 0 && Cancelled(host_, args)) return;
                    int64_t start[2];
                    outer.LineStart(i, start);
                    Region(region, x.dtype, BytesOf(x) + start[0] * x_size, y.dtype,
                           MutableBytesOf(y) + start[1] * y_size, scale, shift);
                  }
                });
  }

  void Region(const Walk<4>& region, sage_dtype x_dtype, const char* x, sage_dtype y_dtype, char* y,
              const Optional& gamma, const Optional& beta) const {
    const LineKernels& lines = LinesFor(isa_);
    const int64_t x_size = SizeOf(x_dtype), y_size = SizeOf(y_dtype), length = region.LineLength();
    const double count = static_cast<double>(region.Elements());
    const bool held = region.Lines() == 1 && length <= kHeld;
    alignas(64) double piece[kHeld];
    const auto each = [&](bool load, const auto& body) {
      for (int64_t line = 0; line < region.Lines(); ++line) {
        int64_t at[4];
        region.LineStart(line, at);
        for (int64_t i = 0; i < length; i += kHeld) {
          const int64_t n = std::min(kHeld, length - i);
          if (load)
            LoadLine(lines, x_dtype, x + (at[0] + i * region.LineStep(0)) * x_size, region.LineStep(0), n, piece);
          body(at, i, n);
        }
      }
    };
    double mean = 0.0, squares = 0.0;
    bool load = true;
    if (attributes_.mode == SAGE_NORM_LAYER) {
      double sum = 0.0;
      each(true, [&](const int64_t(&)[4], int64_t, int64_t n) { sum += lines.sum(piece, n); });
      mean = sum / count;
      load = !held;
    }
    each(load, [&](const int64_t(&)[4], int64_t, int64_t n) { squares += lines.sum_squares(piece, n, mean); });
    const double factor = 1.0 / std::sqrt(squares / count + attributes_.epsilon);
    each(!held, [&](const int64_t(&at)[4], int64_t i, int64_t n) {
      lines.affine(piece, n, mean, factor);
      Apply(lines, SAGE_BINARY_MUL, gamma, at[2] + i * region.LineStep(2), region.LineStep(2), n, piece);
      Apply(lines, SAGE_BINARY_ADD, beta, at[3] + i * region.LineStep(3), region.LineStep(3), n, piece);
      StoreLine(lines, y_dtype, piece, n, y + (at[1] + i * region.LineStep(1)) * y_size, region.LineStep(1));
    });
  }

  // (x - mean) / sqrt(var + epsilon) * gamma + beta, all four by channel: an elementwise walk over broadcast tensors.
  void RunBatch(const sage_run_args& args) const {
    const sage_tensor &x = *args.slots[kX], &y = *args.slots[kY];
    const LineKernels& lines = LinesFor(isa_);
    Walk<6> walk;
    const auto stride = [&](uint32_t slot, uint32_t i) {
      const sage_tensor* const tensor = SlotOf(args, slot);
      return tensor == nullptr || i != static_cast<uint32_t>(attributes_.axis) ? int64_t{0} : tensor->stride[0];
    };
    for (uint32_t i = 0; i < x.rank; ++i)
      walk.Append(x.shape[i],
                  {x.stride[i], y.stride[i], stride(kMean, i), stride(kVar, i), stride(kGamma, i), stride(kBeta, i)});
    const Optional mean(SlotOf(args, kMean)), var(SlotOf(args, kVar)), gamma(SlotOf(args, kGamma));
    const Optional beta(SlotOf(args, kBeta));
    const int64_t length = walk.LineLength(), x_size = SizeOf(x.dtype), y_size = SizeOf(y.dtype);
    const double ns = 2.0 * ElementNs(isa_) * static_cast<double>(walk.Elements());
    ParallelFor(host_, ns, walk.Lines(), std::max<int64_t>(1, 8192 / length),
                [&](int64_t begin, int64_t end, uint32_t) {
                  if (Cancelled(host_, args)) return;
                  alignas(64) double piece[kPiece], other[kPiece];
                  for (int64_t line = begin; line < end; ++line) {
                    int64_t at[6];
                    walk.LineStart(line, at);
                    for (int64_t i = 0; i < length; i += kPiece) {
                      const int64_t n = std::min(kPiece, length - i);
                      LoadLine(lines, x.dtype, BytesOf(x) + (at[0] + i * walk.LineStep(0)) * x_size, walk.LineStep(0),
                               n, piece);
                      Apply(lines, SAGE_BINARY_SUB, mean, at[2] + i * walk.LineStep(2), walk.LineStep(2), n, piece);
                      LoadLine(lines, var.dtype, var.data + (at[3] + i * walk.LineStep(3)) * var.size, walk.LineStep(3),
                               n, other);
                      lines.affine(other, n, -attributes_.epsilon, 1.0);
                      lines.unary(SAGE_FN_SQRT, 0.0, other, n);
                      lines.binary(SAGE_BINARY_DIV, piece, other, piece, n);
                      Apply(lines, SAGE_BINARY_MUL, gamma, at[4] + i * walk.LineStep(4), walk.LineStep(4), n, piece);
                      Apply(lines, SAGE_BINARY_ADD, beta, at[5] + i * walk.LineStep(5), walk.LineStep(5), n, piece);
                      StoreLine(lines, y.dtype, piece, n, MutableBytesOf(y) + (at[1] + i * walk.LineStep(1)) * y_size,
                                walk.LineStep(1));
                    }
                  }
                });
  }

  const sage_host* host_;
  Isa isa_;
  sage_norm_attributes attributes_;
};

}  // namespace

void AskNorm(const Context& context, const OpView& view, uint64_t, sage_answer* answer) {
  if (RefuseNonFloats(view, 0, answer)) return;
  const double ns = 100.0 + 1.3 * static_cast<double>(ElementCount(view.Slot(kY))) * ElementNs(IsaFor(context, view));
  sage_accept(answer, ParallelNs(context, ns), SAGE_COST_MODEL, kAccuracy, 0, "%s",
              view.attributes.norm.mode == SAGE_NORM_BATCH ? "given statistics, applied in f64 and rounded once"
                                                           : "two passes in f64, rounded once");
}

sage_status PlanNorm(const Context& context, const OpView& view, uint64_t, const KernelPlan*,
                     std::unique_ptr<KernelPlan>* out, sage_error* err) {
  *out = std::make_unique<NormPlan>(context, view);
  return sage_succeed(err);
}

}  // namespace sage::cpu
