// elementwise.cc: UNARY (functions, copies and casts) and BINARY (broadcast by stride 0), over tensors of any strides.
#include <algorithm>

#include "cast.h"
#include "copy.h"
#include "parallel.h"
#include "refusals.h"
#include "strided.h"

namespace sage::cpu {
namespace {

constexpr int64_t kPart = 2048;  // elements of a line per piece of work

// Nanoseconds an element, one worker.
double FunctionNs(Isa isa, uint32_t function) {
  const bool plain = function == SAGE_FN_IDENTITY || function == SAGE_FN_RELU || function == SAGE_FN_SQRT ||
                     function == SAGE_FN_ABS || function == SAGE_FN_NEG;
  if (isa == Isa::kScalar) return plain ? 3.0 : function == SAGE_FN_GELU ? 13.0 : 8.0;
  if (plain) return VectorNs(isa, 0.2);
  const double wide = isa == Isa::kAvx512 ? 1.0 : VectorNs(isa, 2.0);
  return wide * (function == SAGE_FN_GELU ? 4.2 : 1.2);
}

double BinaryNs(Isa isa) { return isa == Isa::kScalar ? 3.0 : VectorNs(isa, 0.4); }

// part(offsets of the first element, count) over all lines of a walk, cut into parts.
template <int N, class Part>
void ForEachPart(const sage_host* host, const sage_run_args& args, double ns, const Walk<N>& walk, const Part& part) {
  const int64_t length = walk.LineLength();
  if (length == 0) return;
  const int64_t parts = (length + kPart - 1) / kPart;
  ParallelFor(host, ns, walk.Lines() * parts, std::max<int64_t>(1, 4 * kPart / length),
              [&](int64_t begin, int64_t end, uint32_t) {
                if (Cancelled(host, args)) return;
                for (int64_t item = begin; item < end; ++item) {
                  int64_t start[N];
                  walk.LineStart(item / parts, start);
                  const int64_t first = item % parts * kPart;
                  for (int t = 0; t < N; ++t) start[t] += first * walk.LineStep(t);
                  part(start, std::min(kPart, length - first));
                }
              });
}

Walk<2> WalkOf(const sage_tensor& x, const sage_tensor& y) {
  Walk<2> walk;
  for (uint32_t i = 0; i < y.rank; ++i) walk.Append(y.shape[i], {x.stride[i], y.stride[i]});
  return walk;
}

class UnaryPlan final : public KernelPlan {
 public:
  UnaryPlan(const Context& context, const OpView& view)
      : host_(context.host), isa_(IsaFor(context, view)), attributes_(view.attributes.unary) {}

  sage_status Run(const sage_run_args& args, sage_error* err) const override {
    const sage_tensor &x = *args.slots[0], &y = *args.slots[1];
    const LineKernels& lines = LinesFor(isa_);
    const Walk<2> walk = WalkOf(x, y);
    const int64_t x_size = SizeOf(x.dtype), y_size = SizeOf(y.dtype);
    const int64_t x_step = walk.LineStep(0), y_step = walk.LineStep(1);
    const char* const from = BytesOf(x);
    char* const to = MutableBytesOf(y);
    const uint32_t function = attributes_.function;
    const double alpha = attributes_.alpha, ns = static_cast<double>(walk.Elements()) * FunctionNs(isa_, function);
    if (function == SAGE_FN_IDENTITY && x.dtype == y.dtype) {
      CopyWalk(host_, args, walk, x_size, from, to);
    } else if (function == SAGE_FN_IDENTITY) {
      ForEachPart(host_, args, ns, walk, [&](const int64_t(&at)[2], int64_t n) {
        CastLine(lines, x.dtype, from + at[0] * x_size, x_step, y.dtype, to + at[1] * y_size, y_step, n);
      });
    } else {
      const bool direct = x.dtype == SAGE_F32 && y.dtype == SAGE_F32 && x_step == 1 && y_step == 1;
      ForEachPart(host_, args, ns, walk, [&](const int64_t(&at)[2], int64_t n) {
        if (direct && lines.unary_f32(function, from + at[0] * x_size, to + at[1] * y_size, n) != 0) return;
        alignas(64) double piece[kPiece];
        for (int64_t i = 0; i < n; i += kPiece) {
          const int64_t count = std::min(kPiece, n - i);
          LoadLine(lines, x.dtype, from + (at[0] + i * x_step) * x_size, x_step, count, piece);
          lines.unary(function, alpha, piece, count);
          StoreLine(lines, y.dtype, piece, count, to + (at[1] + i * y_step) * y_size, y_step);
        }
      });
    }
    return Finish(host_, args, err);
  }

 private:
  const sage_host* host_;
  Isa isa_;
  sage_unary_attributes attributes_;
};

class BinaryPlan final : public KernelPlan {
 public:
  BinaryPlan(const Context& context, const OpView& view)
      : host_(context.host), isa_(IsaFor(context, view)), function_(view.attributes.binary.function) {}

  sage_status Run(const sage_run_args& args, sage_error* err) const override {
    const sage_tensor &a = *args.slots[0], &b = *args.slots[1], &y = *args.slots[2];
    const LineKernels& lines = LinesFor(isa_);
    Walk<3> walk;
    for (uint32_t i = 0; i < y.rank; ++i) walk.Append(y.shape[i], {a.stride[i], b.stride[i], y.stride[i]});
    const int64_t a_size = SizeOf(a.dtype), b_size = SizeOf(b.dtype), y_size = SizeOf(y.dtype);
    const int64_t a_step = walk.LineStep(0), b_step = walk.LineStep(1), y_step = walk.LineStep(2);
    const bool direct = a.dtype == SAGE_F32 && b.dtype == SAGE_F32 && y.dtype == SAGE_F32 &&
                        (a_step == 0 || a_step == 1) && (b_step == 0 || b_step == 1) && y_step == 1;
    const double ns = static_cast<double>(walk.Elements()) * BinaryNs(isa_);
    ForEachPart(host_, args, ns, walk, [&](const int64_t(&at)[3], int64_t n) {
      const char* const from_a = BytesOf(a) + at[0] * a_size;
      const char* const from_b = BytesOf(b) + at[1] * b_size;
      char* const to = MutableBytesOf(y) + at[2] * y_size;
      if (direct && lines.binary_f32(function_, from_a, static_cast<int32_t>(a_step), from_b,
                                     static_cast<int32_t>(b_step), to, n) != 0)
        return;
      alignas(64) double left[kPiece], right[kPiece];
      for (int64_t i = 0; i < n; i += kPiece) {
        const int64_t count = std::min(kPiece, n - i);
        LoadLine(lines, a.dtype, from_a + i * a_step * a_size, a_step, count, left);
        LoadLine(lines, b.dtype, from_b + i * b_step * b_size, b_step, count, right);
        lines.binary(function_, left, right, left, count);
        StoreLine(lines, y.dtype, left, count, to + i * y_step * y_size, y_step);
      }
    });
    return Finish(host_, args, err);
  }

 private:
  const sage_host* host_;
  Isa isa_;
  uint32_t function_;
};

}  // namespace

void AskUnary(const Context& context, const OpView& view, uint64_t, sage_answer* answer) {
  const sage_unary_attributes& attributes = view.attributes.unary;
  const sage_tensor &x = view.Slot(0), &y = view.Slot(1);
  const Isa isa = IsaFor(context, view);
  if (attributes.function != SAGE_FN_IDENTITY && RefuseNonFloats(view, 0, answer)) return;
  const bool copy = attributes.function == SAGE_FN_IDENTITY && x.dtype == y.dtype;
  const double ns = copy ? CopyNs(WalkOf(x, y), SizeOf(x.dtype))
                         : 100.0 + static_cast<double>(ElementCount(y)) * FunctionNs(isa, attributes.function);
  sage_accept(answer, ParallelNs(context, ns), SAGE_COST_MODEL, kAccuracy, 0, "%s",
              copy                                      ? "a strided copy"
              : attributes.function == SAGE_FN_IDENTITY ? "a cast, rounded once"
                                                        : "computed in f64, rounded once");
}

sage_status PlanUnary(const Context& context, const OpView& view, uint64_t, const KernelPlan*,
                      std::unique_ptr<KernelPlan>* out, sage_error* err) {
  *out = std::make_unique<UnaryPlan>(context, view);
  return sage_succeed(err);
}

void AskBinary(const Context& context, const OpView& view, uint64_t, sage_answer* answer) {
  if (RefuseNonFloats(view, 0, answer)) return;
  const double ns = 100.0 + static_cast<double>(ElementCount(view.Slot(2))) * BinaryNs(IsaFor(context, view));
  sage_accept(answer, ParallelNs(context, ns), SAGE_COST_MODEL, kAccuracy, 0, "elementwise, rounded once");
}

sage_status PlanBinary(const Context& context, const OpView& view, uint64_t, const KernelPlan*,
                       std::unique_ptr<KernelPlan>* out, sage_error* err) {
  *out = std::make_unique<BinaryPlan>(context, view);
  return sage_succeed(err);
}

}  // namespace sage::cpu
