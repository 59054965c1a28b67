// softmax.cc: SOFTMAX along one axis. Exponentials and their sum are taken in double and rounded once.
#include <algorithm>

#include "parallel.h"
#include "refusals.h"
#include "strided.h"

namespace sage::cpu {
namespace {

// A line up to this long stays in a buffer on the stack; of a longer one the exponentials are computed twice, which is
// cheaper than keeping them in full precision and needs no workspace.
constexpr int64_t kHeld = 2048;

double LineNs(Isa isa, int64_t length) {
  const double each = (isa == Isa::kScalar   ? 8.0
                       : isa == Isa::kAvx512 ? 1.2
                                             : VectorNs(isa, 1.9)) *
                      (length > kHeld ? 2.0 : 1.0);
  return 30.0 + static_cast<double>(length) * each;
}

struct Line {
  const LineKernels& lines;
  sage_dtype dtype;
  int64_t size, length, x_step, y_step;

  void Load(const char* x, int64_t at, int64_t n, double* piece) const {
    LoadLine(lines, dtype, x + at * x_step * size, x_step, n, piece);
  }

  void Run(const char* x, char* y) const {
    alignas(64) double piece[kHeld];
    const bool held = length <= kHeld;
    double largest = 0.0;
    for (int64_t i = 0; i < length; i += kHeld) {
      const int64_t n = std::min(kHeld, length - i);
      Load(x, i, n, piece);
      double here[2] = {lines.extreme(piece, n, 0), largest};
      if (i == 0)
        largest = here[0];
      else
        largest = lines.extreme(here, 2, 0);
    }
    const bool empty = largest == -__builtin_inf();  // nothing but -inf: every share is 0
    double sum = 0.0;
    for (int64_t i = 0; i < length && !empty; i += kHeld) {
      const int64_t n = std::min(kHeld, length - i);
      if (!held) Load(x, i, n, piece);
      sum += lines.exp_sum(piece, n, largest);
    }
    for (int64_t i = 0; i < length; i += kHeld) {
      const int64_t n = std::min(kHeld, length - i);
      if (empty) {
        std::fill_n(piece, n, 0.0);
      } else {
        if (!held) {
          Load(x, i, n, piece);
          lines.exp_sum(piece, n, largest);
        }
        lines.affine(piece, n, 0.0, 1.0 / sum);
      }
      StoreLine(lines, dtype, piece, n, y + i * y_step * size, y_step);
    }
  }
};

class SoftmaxPlan final : public KernelPlan {
 public:
  SoftmaxPlan(const Context& context, const OpView& view)
      : host_(context.host), isa_(IsaFor(context, view)), axis_(static_cast<uint32_t>(view.attributes.softmax.axis)) {}

  sage_status Run(const sage_run_args& args, sage_error* err) const override {
    const sage_tensor &x = *args.slots[0], &y = *args.slots[1];
    if (ElementCount(y) == 0) return Finish(host_, args, err);
    Walk<2> outer;
    for (uint32_t i = 0; i < y.rank; ++i)
      if (i != axis_) outer.Append(y.shape[i], {x.stride[i], y.stride[i]});
    outer.shape[outer.rank++] = 1;  // each line of this walk is one softmax
    const Line line{LinesFor(isa_), x.dtype, SizeOf(x.dtype), y.shape[axis_], x.stride[axis_], y.stride[axis_]};
    const double ns = LineNs(isa_, line.length);
    const int64_t count = outer.Lines();
    ParallelFor(host_, ns * static_cast<double>(count), count, std::max<int64_t>(1, static_cast<int64_t>(1e4 / ns)),
                [&](int64_t begin, int64_t end, uint32_t) {
                  for (int64_t i = begin; i < end; ++i) {
                    if ((i & 15) == 0 && Cancelled(host_, args)) return;
                    int64_t start[2];
                    outer.LineStart(i, start);
                    line.Run(BytesOf(x) + start[0] * line.size, MutableBytesOf(y) + start[1] * line.size);
                  }
                });
    return Finish(host_, args, err);
  }

 private:
  const sage_host* host_;
  Isa isa_;
  uint32_t axis_;
};

}  // namespace

void AskSoftmax(const Context& context, const OpView& view, uint64_t, sage_answer* answer) {
  if (RefuseNonFloats(view, 0, answer)) return;
  const sage_tensor& y = view.Slot(1);
  const int64_t length = y.shape[view.attributes.softmax.axis];
  const double count = static_cast<double>(ElementCount(y)) / static_cast<double>(std::max<int64_t>(1, length));
  const double ns = 100.0 + count * LineNs(IsaFor(context, view), length);
  sage_accept(answer, ParallelNs(context, ns), SAGE_COST_MODEL, kAccuracy, 0,
              "exponentials and sums in f64, rounded once");
}

sage_status PlanSoftmax(const Context& context, const OpView& view, uint64_t, const KernelPlan*,
                        std::unique_ptr<KernelPlan>* out, sage_error* err) {
  *out = std::make_unique<SoftmaxPlan>(context, view);
  return sage_succeed(err);
}

}  // namespace sage::cpu
