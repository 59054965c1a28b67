// bind_selection.cc: the calls of TOPK and ROPE, and what their kernels have no room for.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "ops/bind.h"

namespace sage::cuda {
namespace {

constexpr uint32_t kX = 0, kPositions = 1, kCos = 2, kSin = 3, kY = 4;

int64_t RotaryDim(const sage_rope_attributes& attributes, const sage_tensor& x) {
  return attributes.rotary_dim == 0 ? x.shape[x.rank - 1] : static_cast<int64_t>(attributes.rotary_dim);
}

// base^(-2i/rotary), rounded twice: a long double is wider than a double on x86-64 and on aarch64.
Exactly Frequency(double base, int64_t i, int64_t rotary) {
  const long double exact =
      std::pow(static_cast<long double>(base), -2.0L * static_cast<long double>(i) / static_cast<long double>(rotary));
  const auto head = static_cast<double>(exact);
  return {head, static_cast<double>(exact - static_cast<long double>(head))};
}

}  // namespace

const char* RefuseTopk(const support::OpView& view, char (&text)[200]) {
  const sage_tensor& x = view.Slot(0);
  const int32_t axis = view.attributes.topk.axis;
  const int64_t length = x.shape[axis], k = view.Slot(1).shape[axis], room = TopkRoom(x.dtype);
  if (length > INT32_MAX) {
    (void)std::snprintf(text, sizeof text, "TOPK of a line of %lld: the kernels here count to 2^31 - 1",
                        static_cast<long long>(length));
    return text;
  }
  if (length <= room || k <= room / 2) return nullptr;
  (void)std::snprintf(text, sizeof text,
                      "TOPK of %lld of a line of %lld: the kernels here sort whole lines up to %lld of %s, and keep up "
                      "to %lld of longer ones",
                      static_cast<long long>(k), static_cast<long long>(length), static_cast<long long>(room),
                      support::DtypeName(x.dtype), static_cast<long long>(room / 2));
  return text;
}

Launched RunTopk(const OpRun& run) {
  const sage_tensor &x = run.Tensor(0), &values = run.Tensor(1), &indices = run.Tensor(2);
  if (IsEmpty(values)) return {};
  const sage_topk_attributes& attributes = run.attributes().topk;
  const auto axis = static_cast<uint32_t>(attributes.axis);
  TopkCall call;
  call.x = run.Data(0), call.values = run.Data(1), call.indices = run.Data(2);
  call.dtype = x.dtype, call.smallest = attributes.smallest != 0, call.wide_indices = indices.dtype == SAGE_I64;
  call.length = x.shape[axis], call.k = values.shape[axis];
  call.x_step = x.stride[axis], call.value_step = values.stride[axis], call.index_step = indices.stride[axis];
  for (uint32_t i = 0; i < x.rank; ++i)
    if (i != axis) call.lines.Append(x.shape[i], {x.stride[i], values.stride[i], indices.stride[i]});
  call.lines.Finish();
  call.by_warps = call.length <= kTopkWarpLine && call.k <= kTopkWarpMost;
  call.grid = run.Blocks(call.by_warps ? Divided(call.lines.count, kTopkWarps) : call.lines.count);
  return run.launches.topk(call, run.args.stream);
}

const char* RefuseRope(const support::OpView& view, char (&text)[200]) {
  const sage_rope_attributes& attributes = view.attributes.rope;
  if (view.Has(kCos)) return nullptr;
  constexpr int64_t kMost = 2 * RopeCall::kFine * RopeCall::kCoarse;
  const int64_t rotary = RotaryDim(attributes, view.Slot(kX));
  if (rotary > kMost) {
    (void)std::snprintf(text, sizeof text,
                        "ROPE of rotary_dim %lld without tables: the kernels here have room for %lld; give COS and SIN",
                        static_cast<long long>(rotary), static_cast<long long>(kMost));
    return text;
  }
  if (attributes.base != 0 && attributes.base < 1) {
    (void)std::snprintf(text, sizeof text,
                        "ROPE with base %g: angles grow beyond what the kernels here tell apart; a base of at least 1, "
                        "or COS and SIN",
                        attributes.base);
    return text;
  }
  return nullptr;
}

Launched RunRope(const OpRun& run) {
  const sage_tensor &x = run.Tensor(kX), &positions = run.Tensor(kPositions), &y = run.Tensor(kY);
  if (IsEmpty(y)) return {};
  const sage_rope_attributes& attributes = run.attributes().rope;
  const uint32_t last = x.rank - 1;
  const int64_t rotary = RotaryDim(attributes, x);
  RopeCall call;
  call.x = run.Data(kX), call.y = run.Data(kY), call.positions = run.DataAs<const int32_t>(kPositions);
  call.dtype = x.dtype, call.interleaved = attributes.style == SAGE_ROPE_INTERLEAVED;
  call.pairs = rotary / 2, call.heads = x.shape[1];
  call.x_head = x.stride[1], call.y_head = y.stride[1], call.x_step = x.stride[last], call.y_step = y.stride[last];
  if (run.Has(kCos)) {
    call.cosines = run.DataAs<const float>(kCos), call.sines = run.DataAs<const float>(kSin);
    call.table_rows = run.Tensor(kCos).shape[0];
    std::copy_n(run.Tensor(kCos).stride, 2, call.cosine_stride);
    std::copy_n(run.Tensor(kSin).stride, 2, call.sine_stride);
  } else {
    const double base = attributes.base == 0 ? 10000.0 : attributes.base;
    for (int64_t i = 0; i < RopeCall::kFine; ++i) call.fine[i] = Frequency(base, i, rotary);
    for (int64_t i = 0; i * RopeCall::kFine < call.pairs; ++i)
      call.coarse[i] = Frequency(base, i * RopeCall::kFine, rotary);
  }
  // [B,H,S,D] or [T,H,D].
  call.items.Append(x.shape[0], {x.stride[0], y.stride[0], positions.stride[0], 0});
  if (x.rank == 4) call.items.Append(x.shape[2], {x.stride[2], y.stride[2], positions.stride[1], 0});
  call.items.Append(x.shape[last] - call.pairs, {0, 0, 0, 1});
  call.items.Finish();
  // Heads are divided as long as there are too few threads otherwise.
  constexpr uint32_t kThreads = RopeKernel<float>::kThreads;
  call.grid = run.Blocks(Divided(call.items.count, kThreads));
  const int64_t groups = std::clamp<int64_t>(int64_t{4} * run.multiprocessors / call.grid.x, 1, call.heads);
  call.heads_of_thread = Divided(call.heads, groups);
  call.grid.y = static_cast<uint32_t>(Divided(call.heads, call.heads_of_thread));
  return run.launches.rope(call, run.args.stream);
}

}  // namespace sage::cuda
