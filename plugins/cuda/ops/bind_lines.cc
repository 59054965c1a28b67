// bind_lines.cc: the calls of SOFTMAX, NORM over its own statistics, REDUCE and POOL.
#include <algorithm>

#include "ops/bind.h"

namespace sage::cuda {

Launched RunBatchNorm(const OpRun& run);  // bind_elementwise.cc

namespace {

// Whether x and y of every line are whole packs. gamma and beta, tensors 2 and 3 of the line, are read by elements.
bool IsPacked(const LineCall& call, int64_t size, bool writes_lines) {
  const int64_t width = kPackBytes / size;
  const auto begins = [&](int t, const void* data) {
    if (!IsMultiple(data, kPackBytes)) return false;
    for (int32_t axis = 0; axis < call.lines.rank; ++axis)
      if (call.lines.stride[t][axis] % width != 0) return false;
    return true;
  };
  if (call.line.rank != 1 || call.line.count % width != 0 || call.line.last_step(0) != 1 || !begins(0, call.x))
    return false;
  if (writes_lines && (call.line.last_step(1) != 1 || !begins(1, call.y))) return false;
  return (call.gamma == nullptr || call.line.last_step(2) == 1) &&
         (call.beta == nullptr || call.line.last_step(3) == 1);
}

Launched LaunchLine(const OpRun& run, LineCall* call, bool writes_lines) {
  call->lines.Finish();
  call->line.Finish();
  call->packed = IsPacked(*call, run.Size(0), writes_lines);
  call->group = GroupOf(call->line.count, call->packed);
  call->grid = run.Blocks(Divided(call->lines.count, LinesOfBlock(call->group)));
  return run.launches.line(*call, run.args.stream);
}

}  // namespace

Launched RunSoftmax(const OpRun& run) {
  const sage_tensor &x = run.Tensor(0), &y = run.Tensor(1);
  if (IsEmpty(y)) return {};
  const auto axis = static_cast<uint32_t>(run.attributes().softmax.axis);
  LineCall call;
  call.op = LineOp::kSoftmax, call.dtype = x.dtype;
  call.x = run.Data(0), call.y = run.Data(1);
  for (uint32_t i = 0; i < y.rank; ++i)
    if (i != axis) call.lines.Append(y.shape[i], {x.stride[i], y.stride[i]});
  call.line.Append(y.shape[axis], {x.stride[axis], y.stride[axis], 0, 0});
  return LaunchLine(run, &call, true);
}

Launched RunNorm(const OpRun& run) {
  constexpr uint32_t kX = 0, kGamma = 1, kBeta = 2, kY = 5;
  const sage_tensor &x = run.Tensor(kX), &y = run.Tensor(kY);
  if (IsEmpty(y)) return {};
  const sage_norm_attributes& attributes = run.attributes().norm;
  if (attributes.mode == SAGE_NORM_BATCH) return RunBatchNorm(run);
  const auto axis = static_cast<uint32_t>(attributes.axis);
  LineCall call;
  call.op = LineOp::kNorm, call.function = attributes.mode, call.dtype = x.dtype, call.epsilon = attributes.epsilon;
  call.x = run.Data(kX), call.y = run.Data(kY);
  if (run.Has(kGamma)) call.gamma = run.Data(kGamma), call.gamma_dtype = run.Tensor(kGamma).dtype;
  if (run.Has(kBeta)) call.beta = run.Data(kBeta), call.beta_dtype = run.Tensor(kBeta).dtype;
  // An absent one merges like one in a piece.
  int64_t whole[SAGE_MAX_RANK], step = 1;
  for (uint32_t i = x.rank; i-- > axis;) whole[i] = step, step *= x.shape[i];
  for (uint32_t i = 0; i < axis; ++i) call.lines.Append(x.shape[i], {x.stride[i], y.stride[i]});
  for (uint32_t i = axis; i < x.rank; ++i)
    call.line.Append(x.shape[i],
                     {x.stride[i], y.stride[i], run.Has(kGamma) ? run.Tensor(kGamma).stride[i - axis] : whole[i],
                      run.Has(kBeta) ? run.Tensor(kBeta).stride[i - axis] : whole[i]});
  return LaunchLine(run, &call, true);
}

Launched RunReduce(const OpRun& run) {
  const sage_tensor &x = run.Tensor(0), &y = run.Tensor(1);
  if (IsEmpty(y)) return {};
  const sage_reduce_attributes& attributes = run.attributes().reduce;
  LineCall call;
  ColumnsCall columns;
  // Strides alone decide which way: a smaller run adds in the same order.
  bool reduced_neighbours = false, kept_neighbours = false;
  uint32_t y_axis = 0;
  int64_t whole = 1;
  for (uint32_t i = 0; i < x.rank; ++i)
    if ((attributes.axes >> i & 1u) != 0) whole *= x.shape[i];
  for (uint32_t i = 0; i < x.rank; ++i) {
    const bool reduced = (attributes.axes >> i & 1u) != 0;
    if (reduced) {
      // y has one element a line: its step merges like that of a line in one piece.
      whole = x.shape[i] == 0 ? 0 : whole / x.shape[i];
      call.line.Append(x.shape[i], {x.stride[i], whole, whole, whole});
      columns.rows.Append(x.shape[i], {x.stride[i]});
      reduced_neighbours |= x.stride[i] == 1;
      if (y.rank == x.rank) ++y_axis;
    } else {
      call.lines.Append(x.shape[i], {x.stride[i], y.stride[y_axis]});
      columns.results.Append(x.shape[i], {x.stride[i], y.stride[y_axis]});
      kept_neighbours |= x.stride[i] == 1;
      ++y_axis;
    }
  }
  if (kept_neighbours && !reduced_neighbours) {
    columns.function = attributes.function, columns.dtype = x.dtype;
    columns.x = run.Data(0), columns.y = run.Data(1);
    columns.results.Finish(0);
    columns.rows.Finish();
    columns.grid = run.Blocks(Divided(columns.results.count, kColumns));
    return run.launches.columns(columns, run.args.stream);
  }
  call.op = LineOp::kReduce, call.function = attributes.function, call.dtype = x.dtype;
  call.x = run.Data(0), call.y = run.Data(1);
  return LaunchLine(run, &call, false);
}

Launched RunPool(const OpRun& run) {
  constexpr uint32_t kX = 0, kMask = 1, kY = 2;
  const sage_tensor &x = run.Tensor(kX), &y = run.Tensor(kY);
  if (IsEmpty(y)) return {};
  const sage_pool_attributes& attributes = run.attributes().pool;
  const bool windowed = attributes.window != 0;
  PoolCall call;
  call.function = attributes.function, call.dtype = x.dtype;
  call.x = run.Data(kX), call.y = run.Data(kY);
  call.batch = x.shape[0], call.sequence = x.shape[1], call.channels = x.shape[2];
  call.windows = windowed ? y.shape[1] : 1;
  call.window = windowed ? int64_t{attributes.window} : x.shape[1];
  call.step = attributes.stride != 0 ? int64_t{attributes.stride} : call.window;
  call.pad_begin = attributes.pad_begin;
  std::copy_n(x.stride, 3, call.x_stride);
  call.y_stride[0] = y.stride[0], call.y_stride[1] = windowed ? y.stride[1] : 0;
  call.y_stride[2] = y.stride[y.rank - 1];
  if (run.Has(kMask)) {
    call.mask = run.DataAs<const uint8_t>(kMask);
    std::copy_n(run.Tensor(kMask).stride, 2, call.mask_stride);
  }
  call.grid = run.Blocks(call.batch * call.windows * Divided(call.channels, kColumns));
  return run.launches.pool(call, run.args.stream);
}

}  // namespace sage::cuda
