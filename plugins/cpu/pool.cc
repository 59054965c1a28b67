// pool.cc: POOL over a sequence, whole or by windows: mean, maximum, first or last of what is inside and not masked.
#include <algorithm>

#include "parallel.h"
#include "refusals.h"
#include "strided.h"

namespace sage::cpu {
namespace {

constexpr uint32_t kX = 0, kMask = 1, kY = 2;

double OneWorkerNs(Isa isa, const sage_pool_attributes& attributes, const sage_tensor& x, const sage_tensor& y) {
  const bool one = attributes.function == SAGE_POOL_FIRST || attributes.function == SAGE_POOL_LAST;
  const int64_t each = one ? 1 : attributes.window == 0 ? x.shape[1] : static_cast<int64_t>(attributes.window);
  return 100.0 + static_cast<double>(ElementCount(y)) * static_cast<double>(each) *
                     (isa == Isa::kScalar ? 4.0 : VectorNs(isa, 0.8));
}

class PoolPlan final : public KernelPlan {
 public:
  PoolPlan(const Context& context, const OpView& view)
      : host_(context.host), isa_(IsaFor(context, view)), attributes_(view.attributes.pool), masked_(view.Has(kMask)) {}

  sage_status Run(const sage_run_args& args, sage_error* err) const override {
    const sage_tensor &x = *args.slots[kX], &y = *args.slots[kY];
    if (ElementCount(y) == 0) return Finish(host_, args, err);
    const bool windowed = attributes_.window != 0;
    const int64_t seq = x.shape[1], channels = x.shape[2], windows = windowed ? y.shape[1] : 1;
    const int64_t window = windowed ? static_cast<int64_t>(attributes_.window) : seq;
    const int64_t stride = attributes_.stride != 0 ? static_cast<int64_t>(attributes_.stride) : window;
    const int64_t parts = (channels + kPiece - 1) / kPiece;
    const double ns = OneWorkerNs(isa_, attributes_, x, y);
    const int64_t pieces = x.shape[0] * windows * parts;
    ParallelFor(host_, ns, pieces, std::max<int64_t>(1, pieces / 256), [&](int64_t begin, int64_t end, uint32_t) {
      for (int64_t item = begin; item < end; ++item) {
        if ((item & 15) == 0 && Cancelled(host_, args)) return;
        const int64_t channel = item % parts * kPiece, w = item / parts % windows, b = item / parts / windows;
        const int64_t start = w * stride - static_cast<int64_t>(attributes_.pad_begin);
        const int64_t y_at = b * y.stride[0] + (windowed ? w * y.stride[1] : 0) + channel * y.stride[y.rank - 1];
        Window(args, b, std::max<int64_t>(0, start), std::min(seq, start + window), channel,
               std::min(kPiece, channels - channel), MutableBytesOf(y) + y_at * SizeOf(y.dtype));
      }
    });
    return Finish(host_, args, err);
  }

 private:
  // Rows [begin, end) of batch b, `count` channels from `channel`.
  void Window(const sage_run_args& args, int64_t b, int64_t begin, int64_t end, int64_t channel, int64_t count,
              char* to) const {
    const sage_tensor &x = *args.slots[kX], &y = *args.slots[kY];
    const sage_tensor* const mask = masked_ ? args.slots[kMask] : nullptr;
    const LineKernels& lines = LinesFor(isa_);
    alignas(64) double total[kPiece], row[kPiece];
    std::fill_n(total, kPiece, 0.0);
    const uint32_t function = attributes_.function;
    const bool backwards = function == SAGE_POOL_LAST;
    int64_t counted = 0;
    for (int64_t i = begin; i < end; ++i) {
      const int64_t s = backwards ? end - 1 - (i - begin) : i;
      if (mask != nullptr && BytesOf(*mask)[b * mask->stride[0] + s * mask->stride[1]] == 0) continue;
      const int64_t at = b * x.stride[0] + s * x.stride[1] + channel * x.stride[2];
      LoadLine(lines, x.dtype, BytesOf(x) + at * SizeOf(x.dtype), x.stride[2], count, counted == 0 ? total : row);
      if (counted++ == 0) {
        if (function == SAGE_POOL_FIRST || function == SAGE_POOL_LAST) break;
        continue;
      }
      lines.binary(function == SAGE_POOL_MAX ? SAGE_BINARY_MAX : SAGE_BINARY_ADD, total, row, total, count);
    }
    if (function == SAGE_POOL_MEAN && counted > 1) {
      std::fill_n(row, kPiece, static_cast<double>(counted));
      lines.binary(SAGE_BINARY_DIV, total, row, total, count);
    }
    StoreLine(lines, y.dtype, total, count, to, y.stride[y.rank - 1]);
  }

  const sage_host* host_;
  Isa isa_;
  sage_pool_attributes attributes_;
  bool masked_;
};

}  // namespace

void AskPool(const Context& context, const OpView& view, uint64_t, sage_answer* answer) {
  if (RefuseNonFloats(view, 1u << kMask, answer)) return;
  const double ns = OneWorkerNs(IsaFor(context, view), view.attributes.pool, view.Slot(kX), view.Slot(kY));
  sage_accept(answer, ParallelNs(context, ns), SAGE_COST_MODEL, kAccuracy, 0, "pooled in f64, rounded once");
}

sage_status PlanPool(const Context& context, const OpView& view, uint64_t, const KernelPlan*,
                     std::unique_ptr<KernelPlan>* out, sage_error* err) {
  *out = std::make_unique<PoolPlan>(context, view);
  return sage_succeed(err);
}

}  // namespace sage::cpu
