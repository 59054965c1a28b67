// reduce.cc: REDUCE (sum, mean, max, min) over any set of axes, in double, rounded once.
//
// Two ways: along lines that are to be reduced, or, where memory runs along an axis that stays, many results side by
// side. Which one is decided by strides alone, so that a smaller run adds in the same order.
#include <algorithm>

#include "parallel.h"
#include "refusals.h"
#include "strided.h"

namespace sage::cpu {
namespace {

double ElementNs(Isa isa) { return isa == Isa::kScalar ? 3.0 : VectorNs(isa, 0.6); }

class ReducePlan final : public KernelPlan {
 public:
  ReducePlan(const Context& context, const OpView& view)
      : host_(context.host), isa_(IsaFor(context, view)), attributes_(view.attributes.reduce) {}

  sage_status Run(const sage_run_args& args, sage_error* err) const override {
    const sage_tensor &x = *args.slots[0], &y = *args.slots[1];
    if (ElementCount(y) == 0) return Finish(host_, args, err);
    Walk<2> kept;     // x, y
    Walk<1> reduced;  // x
    const bool keeps_axes = y.rank == x.rank;
    bool reduced_contiguous = false, kept_contiguous = false;
    uint32_t y_axis = 0;
    for (uint32_t i = 0; i < x.rank; ++i) {
      if (((attributes_.axes >> i) & 1u) != 0) {
        reduced.Append(x.shape[i], {x.stride[i]});
        reduced_contiguous = reduced_contiguous || x.stride[i] == 1;
        if (keeps_axes) ++y_axis;
      } else {
        kept.Append(x.shape[i], {x.stride[i], y.stride[y_axis++]});
        kept_contiguous = kept_contiguous || x.stride[i] == 1;
      }
    }
    const double ns = 100.0 + static_cast<double>(ElementCount(x)) * ElementNs(isa_);
    if (kept_contiguous && !reduced_contiguous)
      SideBySide(args, kept, reduced, ns);
    else
      AlongLines(args, kept, reduced, ns);
    return Finish(host_, args, err);
  }

 private:
  bool IsExtreme() const { return attributes_.function == SAGE_REDUCE_MAX || attributes_.function == SAGE_REDUCE_MIN; }
  // What an empty set gives, and what everything else starts from.
  double Start() const {
    if (attributes_.function == SAGE_REDUCE_MAX) return -__builtin_inf();
    return attributes_.function == SAGE_REDUCE_MIN ? __builtin_inf() : 0.0;
  }

  void AlongLines(const sage_run_args& args, const Walk<2>& kept, const Walk<1>& reduced, double ns) const {
    const sage_tensor &x = *args.slots[0], &y = *args.slots[1];
    const LineKernels& lines = LinesFor(isa_);
    const int64_t size = SizeOf(x.dtype), length = reduced.LineLength(), step = reduced.LineStep(0);
    const double count = static_cast<double>(reduced.Elements());
    Walk<2> results = kept;
    results.shape[results.rank++] = 1;
    const int64_t grain = std::max<int64_t>(1, static_cast<int64_t>(16384.0 / (count + 1.0)));
    ParallelFor(host_, ns, results.Lines(), grain, [&](int64_t begin, int64_t end, uint32_t) {
      if (Cancelled(host_, args)) return;
      alignas(64) double piece[kPiece];
      for (int64_t item = begin; item < end; ++item) {
        int64_t start[2];
        results.LineStart(item, start);
        double value = Start();
        for (int64_t line = 0; line < reduced.Lines(); ++line) {
          int64_t at[1];
          reduced.LineStart(line, at);
          for (int64_t i = 0; i < length; i += kPiece) {
            const int64_t n = std::min(kPiece, length - i);
            LoadLine(lines, x.dtype, BytesOf(x) + (start[0] + at[0] + i * step) * size, step, n, piece);
            if (IsExtreme()) {
              const int32_t smallest = attributes_.function == SAGE_REDUCE_MIN ? 1 : 0;
              const double both[2] = {value, lines.extreme(piece, n, smallest)};
              value = lines.extreme(both, 2, smallest);
            } else {
              value += lines.sum(piece, n);
            }
          }
        }
        if (attributes_.function == SAGE_REDUCE_MEAN) value /= count;
        WriteFloat(y.dtype, MutableBytesOf(y) + start[1] * SizeOf(y.dtype), value);
      }
    });
  }

  void SideBySide(const sage_run_args& args, const Walk<2>& kept, const Walk<1>& reduced, double ns) const {
    const sage_tensor &x = *args.slots[0], &y = *args.slots[1];
    const LineKernels& lines = LinesFor(isa_);
    const int64_t x_size = SizeOf(x.dtype), y_size = SizeOf(y.dtype), count = reduced.Elements();
    const int64_t length = kept.LineLength(), parts = (length + kPiece - 1) / kPiece;
    const uint32_t function = attributes_.function == SAGE_REDUCE_MAX   ? SAGE_BINARY_MAX
                              : attributes_.function == SAGE_REDUCE_MIN ? SAGE_BINARY_MIN
                                                                        : SAGE_BINARY_ADD;
    ParallelFor(host_, ns, kept.Lines() * parts, 1, [&](int64_t begin, int64_t end, uint32_t) {
      alignas(64) double total[kPiece], piece[kPiece];
      for (int64_t item = begin; item < end; ++item) {
        if (Cancelled(host_, args)) return;
        int64_t start[2];
        kept.LineStart(item / parts, start);
        const int64_t first = item % parts * kPiece, n = std::min(kPiece, length - first);
        start[0] += first * kept.LineStep(0), start[1] += first * kept.LineStep(1);
        std::fill_n(total, kPiece, Start());
        for (int64_t i = 0; i < count; ++i) {
          LoadLine(lines, x.dtype, BytesOf(x) + (start[0] + reduced.Offset(i)) * x_size, kept.LineStep(0), n, piece);
          lines.binary(function, total, piece, total, n);
        }
        if (attributes_.function == SAGE_REDUCE_MEAN) {
          std::fill_n(piece, n, static_cast<double>(count));
          lines.binary(SAGE_BINARY_DIV, total, piece, total, n);
        }
        StoreLine(lines, y.dtype, total, n, MutableBytesOf(y) + start[1] * y_size, kept.LineStep(1));
      }
    });
  }

  const sage_host* host_;
  Isa isa_;
  sage_reduce_attributes attributes_;
};

}  // namespace

void AskReduce(const Context& context, const OpView& view, uint64_t, sage_answer* answer) {
  if (RefuseNonFloats(view, 0, answer)) return;
  const double elements = static_cast<double>(ElementCount(view.Slot(0)));
  const double ns = 100.0 + elements * ElementNs(IsaFor(context, view));
  sage_accept(answer, ElementCount(view.Slot(1)) > 1 ? ParallelNs(context, ns) : ns, SAGE_COST_MODEL, kAccuracy, 0,
              "reduced in f64, rounded once");
}

sage_status PlanReduce(const Context& context, const OpView& view, uint64_t, const KernelPlan*,
                       std::unique_ptr<KernelPlan>* out, sage_error* err) {
  *out = std::make_unique<ReducePlan>(context, view);
  return sage_succeed(err);
}

}  // namespace sage::cpu
