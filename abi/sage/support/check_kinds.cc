// check_kinds.cc: the lines of ops.h as code, for every kind but attention.
#include <algorithm>
#include <cmath>
#include <iterator>

#include "sage/support/check_internal.h"

namespace sage::support {
namespace {

bool IsIndex(sage_dtype dtype) { return dtype == SAGE_I32 || dtype == SAGE_I64; }

sage_status ExpectIndex(const OpRef& op, uint32_t slot, const Complaint& complain) {
  if (IsIndex(op[slot].dtype)) return SAGE_OK;
  return complain.Invalid("%s is %s, expected i32 or i64", SlotName(op.kind, slot), DtypeName(op[slot].dtype));
}

sage_status ExpectAxis(const OpRef& op, int32_t axis, const Complaint& complain) {
  const uint32_t rank = op[op.kind == SAGE_OP_CONCAT ? 1 : 0].rank;
  if (axis >= 0 && static_cast<uint32_t>(axis) < rank) return SAGE_OK;
  return complain.Invalid("axis %d is not within 0..%d", axis, static_cast<int>(rank) - 1);
}

sage_status ExpectFunction(const OpRef& op, uint32_t function, uint32_t first, uint32_t last,
                           const Complaint& complain) {
  if (function < first) return complain.Invalid("the function of %s is unset", KindName(op.kind));
  if (function > last) return complain.Unknown("%s has no function %u in this build", KindName(op.kind), function);
  return SAGE_OK;
}

// X and Y of one shape and one floating dtype.
sage_status ExpectFloatsAlike(const OpRef& op, uint32_t x, uint32_t y, const Complaint& complain) {
  SAGE_SUPPORT_TRY(ExpectFloat(op, x, complain));
  SAGE_SUPPORT_TRY(ExpectDtype(op, y, op[x].dtype, complain));
  return ExpectShape(op, y, op[x].rank, op[x].shape, complain);
}

// Operands of a product: floats, or what a caller quantised; the result is a float, or i32 for integers.
sage_status ExpectProductDtypes(const OpRef& op, uint32_t a, uint32_t b, uint32_t y, const Complaint& complain) {
  for (const uint32_t slot : {a, b}) {
    if (!IsFloat(op[slot].dtype) && !IsQuantised(op[slot].dtype))
      return complain.Invalid("%s is %s, expected a float, i8, i16 or fp8", SlotName(op.kind, slot),
                              DtypeName(op[slot].dtype));
  }
  const auto integer = [](sage_dtype dtype) { return dtype == SAGE_I8 || dtype == SAGE_I16; };
  if (IsFloat(op[y].dtype)) return SAGE_OK;
  if (op[y].dtype == SAGE_I32 && integer(op[a].dtype) && integer(op[b].dtype)) return SAGE_OK;
  return complain.Invalid("%s is %s, expected a float (or i32 for integer operands)", SlotName(op.kind, y),
                          DtypeName(op[y].dtype));
}

sage_status CheckLinear(const OpRef& op, const Complaint& complain) {
  constexpr uint32_t kX = 0, kW = 1, kB = 2, kY = 3, kScaleX = 4, kScaleW = 5;
  const sage_linear_attributes& attributes = op.attributes->linear;
  if (attributes.activation > SAGE_FN_NEG)
    return complain.Unknown("LINEAR has no activation %u in this build", attributes.activation);
  if (attributes.activation == SAGE_FN_ELU)
    return complain.Invalid("LINEAR cannot apply ELU, which needs an alpha: use UNARY behind it");
  const sage_tensor& x = op[kX];
  if (x.rank < 1) return complain.Invalid("X is a scalar; it needs a last axis of length K");
  const int64_t inner = x.shape[x.rank - 1];
  if (op[kW].rank != 2 || op[kW].shape[1] != inner)
    return complain.Invalid("W has shape %s, expected [N,%lld]", ShapeText(op[kW]).c_str(),
                            static_cast<long long>(inner));
  const int64_t columns = op[kW].shape[0];
  int64_t shape[SAGE_MAX_RANK], rows = 1;
  std::copy(x.shape, x.shape + SAGE_MAX_RANK, shape);
  shape[x.rank - 1] = columns;
  for (uint32_t axis = 0; axis + 1 < x.rank; ++axis) rows *= x.shape[axis];
  SAGE_SUPPORT_TRY(ExpectShape(op, kY, x.rank, shape, complain));
  SAGE_SUPPORT_TRY(ExpectProductDtypes(op, kX, kW, kY, complain));
  if (!ProductFits({rows, columns, inner}, kMaxWork)) return complain.Invalid("LINEAR has more than 2^62 products");
  if (op.Has(kB)) {
    SAGE_SUPPORT_TRY(ExpectShape(op, kB, 1, &columns, complain));
    SAGE_SUPPORT_TRY(ExpectFloat(op, kB, complain));
  }
  const struct {
    uint32_t scale, operand;
    int64_t length;
  } scales[] = {{kScaleX, kX, rows}, {kScaleW, kW, columns}};
  for (const auto& [scale, operand, length] : scales) {
    if (!op.Has(scale)) continue;
    SAGE_SUPPORT_TRY(ExpectDtype(op, scale, SAGE_F32, complain));
    if (!IsQuantised(op[operand].dtype))
      return complain.Invalid("%s is given, but %s is %s and not quantised", SlotName(op.kind, scale),
                              SlotName(op.kind, operand), DtypeName(op[operand].dtype));
    const int64_t one = 1;
    if (op[scale].rank == 1 && op[scale].shape[0] == one) continue;
    SAGE_SUPPORT_TRY(ExpectShape(op, scale, 1, &length, complain));
  }
  return SAGE_OK;
}

sage_status CheckMatmul(const OpRef& op, const Complaint& complain) {
  const sage_tensor &a = op[0], &b = op[1];
  if (a.rank < 2) return complain.Invalid("A has shape %s, expected [..,M,K]", ShapeText(a).c_str());
  const uint32_t m = a.rank - 2, k = a.rank - 1;
  int64_t shape[SAGE_MAX_RANK];
  std::copy(a.shape, a.shape + SAGE_MAX_RANK, shape);
  shape[m] = a.shape[k];
  shape[k] = b.rank == a.rank ? b.shape[k] : 0;
  SAGE_SUPPORT_TRY(ExpectShape(op, 1, a.rank, shape, complain));
  shape[m] = a.shape[m];
  SAGE_SUPPORT_TRY(ExpectShape(op, 2, a.rank, shape, complain));
  int64_t batch = 1;
  for (uint32_t axis = 0; axis < m; ++axis) batch *= a.shape[axis];
  if (!ProductFits({batch, a.shape[m], a.shape[k], b.shape[k]}, kMaxWork))
    return complain.Invalid("MATMUL has more than 2^62 products");
  return ExpectProductDtypes(op, 0, 1, 2, complain);
}

sage_status CheckNorm(const OpRef& op, const Complaint& complain) {
  constexpr uint32_t kX = 0, kGamma = 1, kBeta = 2, kMean = 3, kVar = 4, kY = 5;
  const sage_norm_attributes& attributes = op.attributes->norm;
  SAGE_SUPPORT_TRY(ExpectFunction(op, attributes.mode, SAGE_NORM_LAYER, SAGE_NORM_BATCH, complain));
  SAGE_SUPPORT_TRY(ExpectAxis(op, attributes.axis, complain));
  if (!std::isfinite(attributes.epsilon) || attributes.epsilon < 0)
    return complain.Invalid("epsilon is %g; it must be finite and >= 0", attributes.epsilon);
  SAGE_SUPPORT_TRY(ExpectFloatsAlike(op, kX, kY, complain));
  const auto axis = static_cast<uint32_t>(attributes.axis);
  const bool batch = attributes.mode == SAGE_NORM_BATCH;
  if (batch != (op.Has(kMean) && op.Has(kVar)) || (!batch && (op.Has(kMean) || op.Has(kVar))))
    return complain.Invalid("MEAN and VAR are given in mode BATCH, and only there");
  const uint32_t rank = batch ? 1 : op[kX].rank - axis;
  for (const uint32_t slot : {kGamma, kBeta, kMean, kVar}) {
    if (!op.Has(slot)) continue;
    SAGE_SUPPORT_TRY(ExpectShape(op, slot, rank, op[kX].shape + axis, complain));
    SAGE_SUPPORT_TRY(ExpectFloat(op, slot, complain));
  }
  return SAGE_OK;
}

sage_status CheckUnary(const OpRef& op, const Complaint& complain) {
  const sage_unary_attributes& attributes = op.attributes->unary;
  if (attributes.function > SAGE_FN_NEG)
    return complain.Unknown("UNARY has no function %u in this build", attributes.function);
  if (!std::isfinite(attributes.alpha)) return complain.Invalid("alpha is %g; it must be finite", attributes.alpha);
  if (attributes.function == SAGE_FN_IDENTITY)  // a copy or a cast: any dtypes
    return ExpectShape(op, 1, op[0].rank, op[0].shape, complain);
  return ExpectFloatsAlike(op, 0, 1, complain);
}

sage_status CheckBinary(const OpRef& op, const Complaint& complain) {
  SAGE_SUPPORT_TRY(ExpectFunction(op, op.attributes->binary.function, SAGE_BINARY_ADD, SAGE_BINARY_MAX, complain));
  SAGE_SUPPORT_TRY(ExpectFloatsAlike(op, 2, 0, complain));
  return ExpectFloatsAlike(op, 2, 1, complain);
}

sage_status CheckSoftmax(const OpRef& op, const Complaint& complain) {
  SAGE_SUPPORT_TRY(ExpectAxis(op, op.attributes->softmax.axis, complain));
  return ExpectFloatsAlike(op, 0, 1, complain);
}

sage_status CheckReduce(const OpRef& op, const Complaint& complain) {
  const sage_reduce_attributes& attributes = op.attributes->reduce;
  const sage_tensor &x = op[0], &y = op[1];
  SAGE_SUPPORT_TRY(ExpectFunction(op, attributes.function, SAGE_REDUCE_SUM, SAGE_REDUCE_MIN, complain));
  if ((attributes.axes & ~((1u << x.rank) - 1u)) != 0 || (attributes.axes == 0 && x.rank != 0))
    return complain.Invalid("axes is 0x%x; it must name at least one axis of X %s and no other", attributes.axes,
                            ShapeText(x).c_str());
  SAGE_SUPPORT_TRY(ExpectFloat(op, 0, complain));
  SAGE_SUPPORT_TRY(ExpectDtype(op, 1, x.dtype, complain));
  int64_t kept[SAGE_MAX_RANK], dropped[SAGE_MAX_RANK];
  uint32_t rank = 0;
  for (uint32_t axis = 0; axis < x.rank; ++axis) {
    const bool reduced = (attributes.axes >> axis & 1u) != 0;
    kept[axis] = reduced ? 1 : x.shape[axis];
    if (!reduced) dropped[rank++] = x.shape[axis];
  }
  if (y.rank == rank) return ExpectShape(op, 1, rank, dropped, complain);
  return ExpectShape(op, 1, x.rank, kept, complain);
}

sage_status CheckGather(const OpRef& op, const Complaint& complain) {
  const sage_tensor &x = op[0], &indices = op[1];
  SAGE_SUPPORT_TRY(ExpectAxis(op, op.attributes->gather.axis, complain));
  SAGE_SUPPORT_TRY(ExpectIndex(op, 1, complain));
  SAGE_SUPPORT_TRY(ExpectDtype(op, 2, x.dtype, complain));
  const auto axis = static_cast<uint32_t>(op.attributes->gather.axis);
  const uint32_t rank = x.rank - 1 + indices.rank;
  if (rank > SAGE_MAX_RANK)
    return complain.Invalid("X of rank %u gathered by INDICES of rank %u gives rank %u; at most %d is possible", x.rank,
                            indices.rank, rank, SAGE_MAX_RANK);
  int64_t shape[SAGE_MAX_RANK] = {};
  std::copy(x.shape, x.shape + axis, shape);
  std::copy(indices.shape, indices.shape + indices.rank, shape + axis);
  std::copy(x.shape + axis + 1, x.shape + x.rank, shape + axis + indices.rank);
  return ExpectShape(op, 2, rank, shape, complain);
}

sage_status CheckConcat(const OpRef& op, const Complaint& complain) {
  if (op.num_slots < 2) return complain.Invalid("CONCAT needs Y and at least one X");
  for (uint32_t slot = 0; slot < op.num_slots; ++slot) SAGE_SUPPORT_TRY(ExpectSlot(op, slot, complain));
  SAGE_SUPPORT_TRY(ExpectAxis(op, op.attributes->concat.axis, complain));
  const auto axis = static_cast<uint32_t>(op.attributes->concat.axis);
  const sage_tensor& first = op[1];
  int64_t shape[SAGE_MAX_RANK], total = 0;
  std::copy(first.shape, first.shape + SAGE_MAX_RANK, shape);
  for (uint32_t slot = 1; slot < op.num_slots; ++slot) {
    SAGE_SUPPORT_TRY(ExpectDtype(op, slot, first.dtype, complain));
    shape[axis] = op[slot].rank == first.rank ? op[slot].shape[axis] : 0;
    SAGE_SUPPORT_TRY(ExpectShape(op, slot, first.rank, shape, complain));
    total += shape[axis];  // at most 4096 lengths below 2^56 each
    if (total > static_cast<int64_t>(kMaxReachBytes)) return complain.Invalid("the inputs are too long together");
  }
  shape[axis] = total;
  SAGE_SUPPORT_TRY(ExpectDtype(op, 0, first.dtype, complain));
  return ExpectShape(op, 0, first.rank, shape, complain);
}

sage_status CheckSlice(const OpRef& op, const Complaint& complain) {
  const sage_slice_attributes& attributes = op.attributes->slice;
  const sage_tensor &x = op[0], &y = op[1];
  SAGE_SUPPORT_TRY(ExpectDtype(op, 1, x.dtype, complain));
  if (x.rank != y.rank) return complain.Invalid("X has rank %u and Y has rank %u; SLICE keeps it", x.rank, y.rank);
  for (uint32_t axis = 0; axis < SAGE_MAX_RANK; ++axis) {
    const int64_t begin = attributes.begin[axis], given = attributes.step[axis];
    if (axis >= x.rank) {
      if (begin != 0 || given != 0) return complain.Invalid("begin or step is set on axis %u, which X has not", axis);
      continue;
    }
    const int64_t step = given == 0 ? 1 : given, length = x.shape[axis], count = y.shape[axis];
    constexpr auto kLimit = static_cast<int64_t>(kMaxReachBytes);
    const int64_t stride = x.stride[axis] < 0 ? -x.stride[axis] : x.stride[axis];
    if (step > kLimit || step < -kLimit || !ProductFits({step < 0 ? -step : step, stride, 8}, kMaxWork))
      return complain.Invalid("step %lld on axis %u is too large", static_cast<long long>(given), axis);
    // An empty result reads nothing; where it would begin must still be at the edge at most.
    const bool inside = count == 0
                            ? begin >= -1 && begin <= length
                            : begin >= 0 && begin < length &&
                                  (step > 0 ? count - 1 <= (length - 1 - begin) / step : count - 1 <= begin / -step);
    if (!inside)
      return complain.Invalid("on axis %u, %lld elements from %lld by %lld leave X, which has %lld", axis,
                              static_cast<long long>(count), static_cast<long long>(begin),
                              static_cast<long long>(step), static_cast<long long>(length));
  }
  return SAGE_OK;
}

sage_status CheckPermute(const OpRef& op, const Complaint& complain) {
  const sage_permute_attributes& attributes = op.attributes->permute;
  const sage_tensor& x = op[0];
  SAGE_SUPPORT_TRY(ExpectDtype(op, 1, x.dtype, complain));
  int64_t shape[SAGE_MAX_RANK];
  uint32_t seen = 0;
  for (uint32_t i = 0; i < SAGE_MAX_RANK; ++i) {
    const int32_t axis = attributes.axes[i];
    if (i >= x.rank) {
      if (axis != 0) return complain.Invalid("axes[%u] is %d, but X has rank %u", i, axis, x.rank);
      continue;
    }
    if (axis < 0 || static_cast<uint32_t>(axis) >= x.rank || (seen >> axis & 1u) != 0)
      return complain.Invalid("axes[%u] is %d; axes must hold each of 0..%d once", i, axis,
                              static_cast<int>(x.rank) - 1);
    seen |= 1u << axis;
    shape[i] = x.shape[axis];
  }
  return ExpectShape(op, 1, x.rank, shape, complain);
}

sage_status CheckTopk(const OpRef& op, const Complaint& complain) {
  const sage_topk_attributes& attributes = op.attributes->topk;
  const sage_tensor &x = op[0], &values = op[1];
  SAGE_SUPPORT_TRY(ExpectAxis(op, attributes.axis, complain));
  if (attributes.smallest > 1) return complain.Unknown("smallest is %u; it is 0 or 1", attributes.smallest);
  SAGE_SUPPORT_TRY(ExpectFloat(op, 0, complain));
  SAGE_SUPPORT_TRY(ExpectDtype(op, 1, x.dtype, complain));
  SAGE_SUPPORT_TRY(ExpectIndex(op, 2, complain));
  const auto axis = static_cast<uint32_t>(attributes.axis);
  const int64_t length = x.shape[axis], k = values.rank == x.rank ? values.shape[axis] : 0;
  if (k > length)
    return complain.Invalid("VALUES asks for the first %lld of %lld", static_cast<long long>(k),
                            static_cast<long long>(length));
  if (op[2].dtype == SAGE_I32 && length > INT32_MAX)
    return complain.Invalid("INDICES is i32, too narrow for an axis of %lld", static_cast<long long>(length));
  int64_t shape[SAGE_MAX_RANK];
  std::copy(x.shape, x.shape + SAGE_MAX_RANK, shape);
  shape[axis] = k;
  SAGE_SUPPORT_TRY(ExpectShape(op, 1, x.rank, shape, complain));
  return ExpectShape(op, 2, x.rank, shape, complain);
}

sage_status CheckRope(const OpRef& op, const Complaint& complain) {
  constexpr uint32_t kX = 0, kPositions = 1, kCos = 2, kSin = 3, kY = 4;
  const sage_rope_attributes& attributes = op.attributes->rope;
  const sage_tensor& x = op[kX];
  SAGE_SUPPORT_TRY(ExpectFunction(op, attributes.style, SAGE_ROPE_HALVES, SAGE_ROPE_INTERLEAVED, complain));
  if (x.rank != 3 && x.rank != 4)
    return complain.Invalid("X has shape %s, expected [B,H,S,D] or [T,H,D]", ShapeText(x).c_str());
  const int64_t dim = x.shape[x.rank - 1];
  const int64_t rotary = attributes.rotary_dim == 0 ? dim : static_cast<int64_t>(attributes.rotary_dim);
  if (rotary > dim || rotary % 2 != 0)
    return complain.Invalid("rotary_dim is %lld; it must be even and at most D = %lld", static_cast<long long>(rotary),
                            static_cast<long long>(dim));
  if (!std::isfinite(attributes.base) || attributes.base < 0)
    return complain.Invalid("base is %g; it must be finite and >= 0 (0 = 10000)", attributes.base);
  SAGE_SUPPORT_TRY(ExpectFloatsAlike(op, kX, kY, complain));
  SAGE_SUPPORT_TRY(ExpectDtype(op, kPositions, SAGE_I32, complain));
  const int64_t positions[2] = {x.shape[0], x.shape[2]};
  SAGE_SUPPORT_TRY(ExpectShape(op, kPositions, x.rank == 4 ? 2 : 1, positions, complain));
  if (op.Has(kCos) != op.Has(kSin)) return complain.Invalid("COS and SIN are given together or not at all");
  if (!op.Has(kCos)) return SAGE_OK;
  if (attributes.base != 0) return complain.Invalid("base is %g, but COS and SIN are given", attributes.base);
  for (const uint32_t slot : {kCos, kSin}) {
    const int64_t shape[2] = {op[kCos].rank == 2 ? op[kCos].shape[0] : 0, rotary / 2};
    SAGE_SUPPORT_TRY(ExpectDtype(op, slot, SAGE_F32, complain));
    SAGE_SUPPORT_TRY(ExpectShape(op, slot, 2, shape, complain));
  }
  return SAGE_OK;
}

sage_status CheckPool(const OpRef& op, const Complaint& complain) {
  const sage_pool_attributes& attributes = op.attributes->pool;
  const sage_tensor& x = op[0];
  SAGE_SUPPORT_TRY(ExpectFunction(op, attributes.function, SAGE_POOL_MEAN, SAGE_POOL_LAST, complain));
  if (x.rank != 3) return complain.Invalid("X has shape %s, expected [B,S,C]", ShapeText(x).c_str());
  SAGE_SUPPORT_TRY(ExpectFloat(op, 0, complain));
  SAGE_SUPPORT_TRY(ExpectDtype(op, 2, x.dtype, complain));
  if (op.Has(1)) {
    SAGE_SUPPORT_TRY(ExpectDtype(op, 1, SAGE_BOOL, complain));
    SAGE_SUPPORT_TRY(ExpectShape(op, 1, 2, x.shape, complain));
  }
  if (attributes.window == 0) {
    if (attributes.stride != 0 || attributes.pad_begin != 0 || attributes.pad_end != 0)
      return complain.Invalid("stride and padding need a window");
    const int64_t shape[2] = {x.shape[0], x.shape[2]};
    return ExpectShape(op, 2, 2, shape, complain);
  }
  const int64_t window = attributes.window, stride = attributes.stride == 0 ? window : attributes.stride;
  const int64_t padded = x.shape[1] + attributes.pad_begin + attributes.pad_end;
  const int64_t shape[3] = {x.shape[0], padded < window ? 0 : (padded - window) / stride + 1, x.shape[2]};
  return ExpectShape(op, 2, 3, shape, complain);
}

struct Rule {
  sage_status (*check)(const OpRef&, const Complaint&);
  uint32_t required;  // bit s: slot s must be there
};
constexpr Rule kRules[] = {
    {nullptr, 0},          {nullptr, 0},         {CheckLinear, 0b1011}, {CheckMatmul, 0b111},
    {CheckNorm, 0b100001}, {CheckUnary, 0b11},   {CheckBinary, 0b111},  {CheckSoftmax, 0b11},
    {CheckReduce, 0b11},   {CheckGather, 0b111}, {CheckConcat, 0b11},   {CheckSlice, 0b11},
    {CheckPermute, 0b11},  {CheckTopk, 0b111},   {CheckRope, 0b10011},  {CheckPool, 0b101},
};
static_assert(std::size(kRules) == SAGE_OP_POOL + 1);

}  // namespace

sage_status CheckPlainKind(const OpRef& op, const Complaint& complain) {
  const Rule& rule = kRules[op.kind];
  for (uint32_t slot = 0; slot < 32; ++slot)
    if ((rule.required >> slot & 1u) != 0) SAGE_SUPPORT_TRY(ExpectSlot(op, slot, complain));
  return rule.check(op, complain);
}

}  // namespace sage::support
