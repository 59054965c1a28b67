// bind_elementwise.cc: the calls of UNARY, BINARY and NORM with given statistics.
#include "ops/bind.h"

namespace sage::cuda {
namespace {

template <class Call>
void SetGrid(const OpRun& run, Call* call) {
  call->grid = run.Blocks(Divided(call->walk.count, kElementwiseThreads));
}

Launched RunCast(const OpRun& run, const Walk<2>& walk) {
  CastCall call;
  call.x = run.Data(0), call.y = run.Data(1);
  call.from = run.Tensor(0).dtype, call.to = run.Tensor(1).dtype;
  call.walk = walk;
  call.walk.Finish(1);
  SetGrid(run, &call);
  return run.launches.cast(call, run.args.stream);
}

}  // namespace

Launched RunUnary(const OpRun& run) {
  const sage_tensor &x = run.Tensor(0), &y = run.Tensor(1);
  if (IsEmpty(y)) return {};
  Walk<2> walk;
  for (uint32_t i = 0; i < y.rank; ++i) walk.Append(y.shape[i], {x.stride[i], y.stride[i]});
  const sage_unary_attributes& attributes = run.attributes().unary;
  if (attributes.function == SAGE_FN_IDENTITY && x.dtype == y.dtype)
    return LaunchCopy(run, run.Data(0), run.Data(1), run.Size(0), walk);
  if (attributes.function == SAGE_FN_IDENTITY) return RunCast(run, walk);
  UnaryCall call;
  call.x = run.Data(0), call.y = run.Data(1);
  call.dtype = x.dtype, call.function = attributes.function, call.alpha = attributes.alpha;
  call.walk = walk;
  call.walk.Finish(1);
  const int64_t width = kPackBytes / run.Size(0);
  call.packed =
      IsMultiple(call.x, kPackBytes) && IsMultiple(call.y, kPackBytes) && call.walk.PacksOf(width, {true, true});
  if (call.packed) call.walk.CountInPacks(width, {true, true});
  SetGrid(run, &call);
  return run.launches.unary(call, run.args.stream);
}

Launched RunBinary(const OpRun& run) {
  const sage_tensor &a = run.Tensor(0), &b = run.Tensor(1), &y = run.Tensor(2);
  if (IsEmpty(y)) return {};
  BinaryCall call;
  call.a = run.Data(0), call.b = run.Data(1), call.y = run.Data(2);
  call.dtype = y.dtype, call.function = run.attributes().binary.function;
  for (uint32_t i = 0; i < y.rank; ++i) call.walk.Append(y.shape[i], {a.stride[i], b.stride[i], y.stride[i]});
  call.walk.Finish(2);
  const int64_t width = kPackBytes / run.Size(2);
  call.a_repeats = call.walk.last_step(0) == 0, call.b_repeats = call.walk.last_step(1) == 0;
  const bool in_packs[3] = {!call.a_repeats, !call.b_repeats, true};
  call.packed = (call.a_repeats || IsMultiple(call.a, kPackBytes)) &&
                (call.b_repeats || IsMultiple(call.b, kPackBytes)) && IsMultiple(call.y, kPackBytes) &&
                call.walk.PacksOf(width, in_packs);
  if (call.packed) call.walk.CountInPacks(width, in_packs);
  SetGrid(run, &call);
  return run.launches.binary(call, run.args.stream);
}

// NORM of mode BATCH.
Launched RunBatchNorm(const OpRun& run) {
  constexpr uint32_t kX = 0, kGamma = 1, kBeta = 2, kMean = 3, kVar = 4, kY = 5;
  const sage_tensor &x = run.Tensor(kX), &y = run.Tensor(kY);
  BatchNormCall call;
  call.x = run.Data(kX), call.y = run.Data(kY);
  call.dtype = x.dtype, call.epsilon = run.attributes().norm.epsilon;
  const auto parameter = [&](uint32_t slot) -> Parameter {
    if (!run.Has(slot)) return {};
    return {run.Data(slot), run.Tensor(slot).dtype, run.Tensor(slot).stride[0]};
  };
  call.mean = parameter(kMean), call.var = parameter(kVar);
  call.gamma = parameter(kGamma), call.beta = parameter(kBeta);
  const auto axis = static_cast<uint32_t>(run.attributes().norm.axis);
  for (uint32_t i = 0; i < y.rank; ++i) call.walk.Append(y.shape[i], {x.stride[i], y.stride[i], i == axis ? 1 : 0});
  call.walk.Finish(1);
  SetGrid(run, &call);
  return run.launches.batch_norm(call, run.args.stream);
}

}  // namespace sage::cuda
