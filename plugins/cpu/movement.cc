// movement.cc: GATHER, CONCAT, SLICE and PERMUTE: elements of any dtype moved as bytes, nothing computed.
#include <algorithm>
#include <cstring>

#include "copy.h"
#include "parallel.h"
#include "refusals.h"

namespace sage::cpu {
namespace {

// X as SLICE sees it: the first element moved, steps multiplied in.
Walk<2> SliceWalk(const OpView& view, const sage_tensor& x, const sage_tensor& y, int64_t* first) {
  const sage_slice_attributes& slice = view.attributes.slice;
  Walk<2> walk;
  *first = 0;
  for (uint32_t i = 0; i < y.rank; ++i) {
    const int64_t step = slice.step[i] == 0 ? 1 : slice.step[i];
    if (y.shape[i] > 0) *first += slice.begin[i] * x.stride[i];
    walk.Append(y.shape[i], {x.stride[i] * step, y.stride[i]});
  }
  return walk;
}

Walk<2> PermuteWalk(const OpView& view, const sage_tensor& x, const sage_tensor& y) {
  Walk<2> walk;
  for (uint32_t i = 0; i < y.rank; ++i)
    walk.Append(y.shape[i], {x.stride[view.attributes.permute.axes[i]], y.stride[i]});
  return walk;
}

class ConcatPlan final : public KernelPlan {
 public:
  ConcatPlan(const Context& context, const OpView& view) : host_(context.host), view_(view) {}

  sage_status Run(const sage_run_args& args, sage_error* err) const override {
    const sage_tensor& y = *args.slots[0];
    const uint32_t axis = static_cast<uint32_t>(view_.attributes.concat.axis);
    const int64_t size = SizeOf(y.dtype);
    int64_t at = 0;
    for (uint32_t s = 1; s < args.num_slots; ++s) {
      if (args.slots[s] == nullptr) continue;
      const sage_tensor& x = *args.slots[s];
      Walk<2> walk;
      for (uint32_t i = 0; i < x.rank; ++i) walk.Append(x.shape[i], {x.stride[i], y.stride[i]});
      if (ElementCount(x) > 0)
        CopyWalk(host_, args, walk, size, BytesOf(x), MutableBytesOf(y) + at * y.stride[axis] * size);
      at += x.shape[axis];
    }
    return Finish(host_, args, err);
  }

 private:
  const sage_host* host_;
  const OpView& view_;
};

class SlicePlan final : public KernelPlan {
 public:
  SlicePlan(const Context& context, const OpView& view) : host_(context.host), view_(view) {}

  sage_status Run(const sage_run_args& args, sage_error* err) const override {
    const sage_tensor &x = *args.slots[0], &y = *args.slots[1];
    if (ElementCount(y) > 0) {
      int64_t first = 0;
      const Walk<2> walk = SliceWalk(view_, x, y, &first);
      CopyWalk(host_, args, walk, SizeOf(x.dtype), BytesOf(x) + first * SizeOf(x.dtype), MutableBytesOf(y));
    }
    return Finish(host_, args, err);
  }

 private:
  const sage_host* host_;
  const OpView& view_;
};

class PermutePlan final : public KernelPlan {
 public:
  PermutePlan(const Context& context, const OpView& view) : host_(context.host), view_(view) {}

  sage_status Run(const sage_run_args& args, sage_error* err) const override {
    const sage_tensor &x = *args.slots[0], &y = *args.slots[1];
    if (ElementCount(y) > 0)
      CopyWalk(host_, args, PermuteWalk(view_, x, y), SizeOf(x.dtype), BytesOf(x), MutableBytesOf(y));
    return Finish(host_, args, err);
  }

 private:
  const sage_host* host_;
  const OpView& view_;
};

class GatherPlan final : public KernelPlan {
 public:
  GatherPlan(const Context& context, const OpView& view) : host_(context.host), view_(view) {}

  sage_status Run(const sage_run_args& args, sage_error* err) const override {
    const sage_tensor &x = *args.slots[0], &indices = *args.slots[1], &y = *args.slots[2];
    const uint32_t axis = static_cast<uint32_t>(view_.attributes.gather.axis);
    const int64_t size = SizeOf(x.dtype), index_size = SizeOf(indices.dtype), count = ElementCount(indices);
    Walk<1> index_walk;
    for (uint32_t i = 0; i < indices.rank; ++i) index_walk.Append(indices.shape[i], {indices.stride[i]});
    const auto index_at = [&](int64_t i) -> int64_t {
      const char* const from = BytesOf(indices) + index_walk.Offset(i) * index_size;
      return indices.dtype == SAGE_I64 ? ReadAs<int64_t>(from) : ReadAs<int32_t>(from);
    };
    // All are looked at before anything is read or written by them.
    for (int64_t i = 0; i < count; ++i) {
      const int64_t index = index_at(i);
      if (index < 0 || index >= x.shape[axis])
        return sage_fail(err, SAGE_E_INVALID_ARGUMENT,
                         "GATHER: index %lld (element %lld of INDICES) is outside axis %u of X, which has %lld entries",
                         static_cast<long long>(index), static_cast<long long>(i), axis,
                         static_cast<long long>(x.shape[axis]));
    }
    if (ElementCount(y) == 0) return Finish(host_, args, err);
    // Axes of X before the axis, then after it: what one index picks.
    Walk<2> outer, inner;
    for (uint32_t i = 0; i < axis; ++i) outer.Append(x.shape[i], {x.stride[i], y.stride[i]});
    for (uint32_t i = axis + 1; i < x.rank; ++i)
      inner.Append(x.shape[i], {x.stride[i], y.stride[i + indices.rank - 1]});
    Walk<1> y_index;
    for (uint32_t i = 0; i < indices.rank; ++i) y_index.Append(indices.shape[i], {y.stride[axis + i]});
    const int64_t outer_count = outer.Elements(), lines = inner.Lines(), length = inner.LineLength();
    const int64_t x_step = inner.LineStep(0), y_step = inner.LineStep(1);
    const Walk<2> outer_lines = [&] {  // so that LineStart walks all of its axes
      Walk<2> walk = outer;
      walk.shape[walk.rank] = 1;
      ++walk.rank;
      return walk;
    }();
    const double ns = static_cast<double>(outer_count) * static_cast<double>(count) * static_cast<double>(lines) *
                      (20.0 + static_cast<double>(length * size) / 8.0);
    ParallelFor(host_, ns, outer_count * count, std::max<int64_t>(1, 16384 / std::max<int64_t>(1, lines * length)),
                [&](int64_t begin, int64_t end, uint32_t) {
                  if (Cancelled(host_, args)) return;
                  for (int64_t item = begin; item < end; ++item) {
                    const int64_t i = item % count;
                    int64_t start[2];
                    outer_lines.LineStart(item / count, start);
                    const int64_t from = start[0] + index_at(i) * x.stride[axis], to = start[1] + y_index.Offset(i);
                    for (int64_t line = 0; line < lines; ++line) {
                      int64_t at[2];
                      inner.LineStart(line, at);
                      const char* source = BytesOf(x) + (from + at[0]) * size;
                      char* target = MutableBytesOf(y) + (to + at[1]) * size;
                      if (x_step == 1 && y_step == 1) {
                        std::memcpy(target, source, static_cast<size_t>(length * size));
                        continue;
                      }
                      for (int64_t j = 0; j < length; ++j, source += x_step * size, target += y_step * size)
                        std::memcpy(target, source, static_cast<size_t>(size));
                    }
                  }
                });
    return Finish(host_, args, err);
  }

 private:
  const sage_host* host_;
  const OpView& view_;
};

void AcceptMove(const Context& context, const sage_tensor& y, double ns_per_line, int64_t line, sage_answer* answer) {
  const double elements = static_cast<double>(ElementCount(y)), size = static_cast<double>(SizeOf(y.dtype));
  const double lines = elements / static_cast<double>(std::max<int64_t>(1, line));
  const double ns = 100.0 + elements * size / 8.0 + lines * ns_per_line;
  sage_accept(answer, ParallelNs(context, ns), SAGE_COST_MODEL, kAccuracy, 0, "elements moved as bytes");
}

template <class Plan>
sage_status Make(const Context& context, const OpView& view, std::unique_ptr<KernelPlan>* out, sage_error* err) {
  *out = std::make_unique<Plan>(context, view);
  return sage_succeed(err);
}

int64_t LastLength(const sage_tensor& tensor) { return tensor.rank == 0 ? 1 : tensor.shape[tensor.rank - 1]; }

}  // namespace

void AskGather(const Context& context, const OpView& view, uint64_t, sage_answer* answer) {
  AcceptMove(context, view.Slot(2), 20.0, LastLength(view.Slot(2)), answer);
}
void AskConcat(const Context& context, const OpView& view, uint64_t, sage_answer* answer) {
  AcceptMove(context, view.Slot(0), 5.0, LastLength(view.Slot(0)), answer);
}
void AskSlice(const Context& context, const OpView& view, uint64_t, sage_answer* answer) {
  AcceptMove(context, view.Slot(1), 5.0, LastLength(view.Slot(1)), answer);
}
void AskPermute(const Context& context, const OpView& view, uint64_t, sage_answer* answer) {
  AcceptMove(context, view.Slot(1), 5.0, LastLength(view.Slot(1)), answer);
}

sage_status PlanGather(const Context& context, const OpView& view, uint64_t, const KernelPlan*,
                       std::unique_ptr<KernelPlan>* out, sage_error* err) {
  return Make<GatherPlan>(context, view, out, err);
}
sage_status PlanConcat(const Context& context, const OpView& view, uint64_t, const KernelPlan*,
                       std::unique_ptr<KernelPlan>* out, sage_error* err) {
  return Make<ConcatPlan>(context, view, out, err);
}
sage_status PlanSlice(const Context& context, const OpView& view, uint64_t, const KernelPlan*,
                      std::unique_ptr<KernelPlan>* out, sage_error* err) {
  return Make<SlicePlan>(context, view, out, err);
}
sage_status PlanPermute(const Context& context, const OpView& view, uint64_t, const KernelPlan*,
                        std::unique_ptr<KernelPlan>* out, sage_error* err) {
  return Make<PermutePlan>(context, view, out, err);
}

}  // namespace sage::cpu
