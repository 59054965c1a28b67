// bind_movement.cc: the calls of PERMUTE, SLICE, CONCAT, GATHER and of copies.
#include <algorithm>

#include "ops/bind.h"

namespace sage::cuda {
namespace {

// The widest unit that a part can be moved in.
int64_t UnitOf(const CopyPart& part, int64_t size) {
  int64_t unit = size;
  while (unit < kPackBytes && IsMultiple(part.x, 2 * unit) && IsMultiple(part.y, 2 * unit) &&
         part.walk.PacksOf(2 * unit / size, {true, true}))
    unit *= 2;
  return unit;
}

// In elements before, in units afterwards.
void CountInUnits(CopyPart* part, int64_t elements) {
  if (elements > 1) part->walk.CountInPacks(elements, {true, true});
}

// Shorter sides of a square are moved as they are.
constexpr int64_t kLeastSide = 16;

bool TakesTranspose(const Walk<2>& walk, int32_t* rows_axis) {
  const int32_t last = walk.rank - 1;
  if (walk.rank < 2 || walk.last_step(1) != 1 || walk.last_step(0) == 1 || walk.last_length() < kLeastSide)
    return false;
  for (int32_t axis = 0; axis < last; ++axis) {
    if (walk.stride[0][axis] != 1 || walk.shape[axis] < kLeastSide) continue;
    *rows_axis = axis;
    return true;
  }
  return false;
}

Launched LaunchTranspose(const OpRun& run, const CopyPart& part, int64_t size, int32_t rows_axis) {
  const Walk<2>& walk = part.walk;
  TransposeCall call;
  call.x = part.x, call.y = part.y, call.unit_bytes = size;
  call.rows = walk.shape[rows_axis], call.columns = walk.last_length();
  call.x_step = walk.last_step(0), call.y_step = walk.stride[1][rows_axis];
  call.row_tiles = Divided(call.rows, kTile), call.column_tiles = Divided(call.columns, kTile);
  for (int32_t axis = 0; axis + 1 < walk.rank; ++axis)
    if (axis != rows_axis) call.squares.Append(walk.shape[axis], {walk.stride[0][axis], walk.stride[1][axis]});
  call.squares.Finish();
  call.grid = run.Blocks(call.row_tiles * call.column_tiles * call.squares.count);
  return run.launches.transpose(call, run.args.stream);
}

}  // namespace

Launched LaunchCopy(const OpRun& run, const void* x, void* y, int64_t size, Walk<2> walk) {
  CopyOne call;
  CopyPart& part = call.parts[0];
  part.x = x, part.y = y, part.walk = walk;
  part.walk.Finish(1);
  int32_t rows_axis = 0;
  if (TakesTranspose(part.walk, &rows_axis)) return LaunchTranspose(run, part, size, rows_axis);
  call.unit_bytes = UnitOf(part, size);
  CountInUnits(&part, call.unit_bytes / size);
  call.grid = run.Blocks(Divided(part.walk.count, kMovementThreads));
  return run.launches.copy(call, run.args.stream);
}

Launched RunSlice(const OpRun& run) {
  const sage_tensor &x = run.Tensor(0), &y = run.Tensor(1);
  if (IsEmpty(y)) return {};
  const sage_slice_attributes& attributes = run.attributes().slice;
  Walk<2> walk;
  int64_t first = 0;
  for (uint32_t i = 0; i < y.rank; ++i) {
    const int64_t step = attributes.step[i] == 0 ? 1 : attributes.step[i];
    first += attributes.begin[i] * x.stride[i];
    walk.Append(y.shape[i], {x.stride[i] * step, y.stride[i]});
  }
  return LaunchCopy(run, run.DataAs<const char>(0) + first * run.Size(0), run.Data(1), run.Size(0), walk);
}

Launched RunPermute(const OpRun& run) {
  const sage_tensor &x = run.Tensor(0), &y = run.Tensor(1);
  if (IsEmpty(y)) return {};
  Walk<2> walk;
  for (uint32_t i = 0; i < y.rank; ++i)
    walk.Append(y.shape[i], {x.stride[run.attributes().permute.axes[i]], y.stride[i]});
  return LaunchCopy(run, run.Data(0), run.Data(1), run.Size(0), walk);
}

Launched RunConcat(const OpRun& run) {
  const sage_tensor& y = run.Tensor(0);
  const auto axis = static_cast<uint32_t>(run.attributes().concat.axis);
  const int64_t size = run.Size(0);
  CopyMany call;
  uint32_t parts = 0;
  const auto launch = [&]() -> Launched {
    if (parts == 0) return {};
    call.unit_bytes = kPackBytes;
    for (uint32_t i = 0; i < parts; ++i) call.unit_bytes = std::min(call.unit_bytes, UnitOf(call.parts[i], size));
    int64_t longest = 0;
    for (uint32_t i = 0; i < parts; ++i) {
      CountInUnits(&call.parts[i], call.unit_bytes / size);
      longest = std::max(longest, call.parts[i].walk.count);
    }
    call.grid = run.Blocks(Divided(longest, kMovementThreads));
    call.grid.y = parts;
    parts = 0;
    return run.launches.copies(call, run.args.stream);
  };
  int64_t begin = 0;
  const auto slots = static_cast<uint32_t>(run.planned.pointers.size());
  for (uint32_t slot = 1; slot < slots; ++slot) {
    const sage_tensor& x = run.Tensor(slot);
    if (!IsEmpty(x)) {
      CopyPart& part = call.parts[parts++];
      part = {};
      part.x = run.Data(slot), part.y = run.DataAs<char>(0) + begin * y.stride[axis] * size;
      for (uint32_t i = 0; i < x.rank; ++i) part.walk.Append(x.shape[i], {x.stride[i], y.stride[i]});
      part.walk.Finish(1);
    }
    begin += x.shape[axis];
    if (parts < CopyMany::kMost) continue;
    if (const Launched launched = launch(); !launched.ok()) return launched;
  }
  return launch();
}

Launched RunGather(const OpRun& run) {
  const sage_tensor &x = run.Tensor(0), &indices = run.Tensor(1), &y = run.Tensor(2);
  if (IsEmpty(y)) return {};
  const auto axis = static_cast<uint32_t>(run.attributes().gather.axis);
  GatherCall call;
  call.x = run.Data(0), call.indices = run.Data(1), call.y = run.Data(2);
  call.wide_indices = indices.dtype == SAGE_I64;
  call.length = x.shape[axis], call.axis_stride = x.stride[axis];
  // Y's axes are X's before the axis, those of INDICES, X's behind it.
  for (uint32_t i = 0; i < axis; ++i) call.walk.Append(y.shape[i], {x.stride[i], y.stride[i], 0});
  for (uint32_t i = 0; i < indices.rank; ++i)
    call.walk.Append(y.shape[axis + i], {0, y.stride[axis + i], indices.stride[i]});
  for (uint32_t i = axis + 1; i < x.rank; ++i)
    call.walk.Append(x.shape[i], {x.stride[i], y.stride[i + indices.rank - 1], 0});
  call.walk.Finish(1);
  const int64_t size = run.Size(0);
  int64_t unit = size;
  const bool moves_rows = call.walk.last_step(2) == 0;  // one index for neighbours
  while (moves_rows && unit < kPackBytes && IsMultiple(call.x, 2 * unit) && IsMultiple(call.y, 2 * unit) &&
         call.axis_stride % (2 * unit / size) == 0 && call.walk.PacksOf(2 * unit / size, {true, true, false}))
    unit *= 2;
  if (unit > size) call.walk.CountInPacks(unit / size, {true, true, false});
  call.unit_bytes = unit, call.axis_stride /= unit / size;
  call.grid = run.Blocks(Divided(call.walk.count, kMovementThreads));
  return run.launches.gather(call, run.args.stream);
}

}  // namespace sage::cuda
