// shapes_ops.cc: the shapes of every kind but attention, one function a kind, in the order of the ABI's numbers.
#include <algorithm>

#include "model/shapes_internal.h"
#include "model/slice_range.h"
#include "sage/support/check_op.h"

namespace sage {
namespace {

Extent At(const BoundTensor& tensor, uint32_t axis) { return {tensor.shape[axis], tensor.dim_symbols[axis]}; }

void Append(BoundTensor* tensor, const Extent& extent) {
  tensor->shape[tensor->rank] = extent.size;
  tensor->dim_symbols[tensor->rank++] = extent.symbols;
}

// One of both, as NumPy broadcasts; false when they contradict.
bool Broadcast(const Extent& a, const Extent& b, Extent* out) {
  if (a.size != b.size && a.size != 1 && b.size != 1) return false;
  *out = {a.size == 1 ? b.size : a.size, a.symbols | b.symbols};
  return true;
}

// Axis i, counted from the right, or length 1 beyond the left end.
Extent FromRight(const BoundTensor& tensor, uint32_t i) {
  return i < tensor.rank ? At(tensor, tensor.rank - 1 - i) : Extent{};
}

}  // namespace

void ShapeInference::Linear() {
  const BoundTensor* x = In(0);
  const BoundTensor* weight = In(1);
  if (x == nullptr || weight == nullptr) return;
  if (!RankIs(0, *x, {1, SAGE_MAX_RANK}) || !RankIs(1, *weight, {2, 2})) return;
  const Extent inner = At(*x, x->rank - 1), outer = At(*weight, 0);
  if (weight->shape[1] != inner.size)
    return Fail(1, "is [out, in] = {}, but x has {} inputs: in must be {}", ShapeText(*weight), inner.size, inner.size);
  if (!ExpectPlain(2, {outer}, "[out]")) return;
  int64_t rows = 1;
  for (uint32_t d = 0; d + 1 < x->rank; ++d) {
    if (__builtin_mul_overflow(rows, x->shape[d], &rows)) return Fail(0, "has too many rows: {}", ShapeText(*x));
  }
  if (const BoundTensor* scale = In(4); scale != nullptr && !(scale->rank == 1 && scale->shape[0] == 1)) {
    if (!ExpectPlain(4, {{rows, 0}}, "[1] or one a row")) return;
  }
  if (const BoundTensor* scale = In(5); scale != nullptr && !(scale->rank == 1 && scale->shape[0] == 1)) {
    if (!ExpectPlain(5, {outer}, "[1] or one an output")) return;
  }
  if (!known_) return;
  BoundTensor out = *x;
  const auto& declared = graph_.tensors[static_cast<size_t>(node_->slots[3])].dtype;
  out.dtype = support::IsFloat(x->dtype) ? x->dtype : declared.value_or(SAGE_F32);
  out.shape[out.rank - 1] = outer.size;
  out.dim_symbols[out.rank - 1] = outer.symbols;
  Put(3, out);
}

void ShapeInference::MatMul(const MatMulNode& node) {
  const BoundTensor* a = In(0);
  const BoundTensor* b = In(1);
  if (a == nullptr || b == nullptr) return;
  if (!RankIs(0, *a, {2, SAGE_MAX_RANK}) || !RankIs(1, *b, {2, SAGE_MAX_RANK})) return;
  const Extent m = FromRight(*a, node.transpose_a ? 0 : 1), k = FromRight(*a, node.transpose_a ? 1 : 0);
  const Extent k_of_b = FromRight(*b, node.transpose_b ? 0 : 1), n = FromRight(*b, node.transpose_b ? 1 : 0);
  if (k.size != k_of_b.size)
    return Fail(1, "{}{} does not fit a {}{}: {} columns of a meet {} rows of b", ShapeText(*b),
                node.transpose_b ? " transposed" : "", ShapeText(*a), node.transpose_a ? " transposed" : "", k.size,
                k_of_b.size);
  BoundTensor out;
  out.dtype = a->dtype;
  const uint32_t rank = std::max(a->rank, b->rank);
  for (uint32_t i = 0; i + 2 < rank; ++i) {
    Extent extent;
    if (!Broadcast(FromRight(*a, rank - 1 - i), FromRight(*b, rank - 1 - i), &extent))
      return Fail(1, "{} and a {} do not broadcast over their leading dimensions", ShapeText(*b), ShapeText(*a));
    Append(&out, extent);
  }
  Append(&out, m);
  Append(&out, n);
  Put(2, out);
}

void ShapeInference::Norm(const sage_norm_attributes& norm) {
  const BoundTensor* x = In(0);
  if (x == nullptr || !RankIs(0, *x, {1, SAGE_MAX_RANK})) return;
  const int32_t axis = Axis(norm.axis, x->rank);
  if (axis < 0) return;
  const auto first = static_cast<uint32_t>(axis);
  for (uint32_t slot = 1; slot <= 4; ++slot) {
    const BoundTensor* parameter = In(slot);
    if (parameter == nullptr) continue;
    if (norm.mode == SAGE_NORM_BATCH) {
      if (!ExpectPlain(slot, {At(*x, first)}, "the length of axis")) return;
      continue;
    }
    const bool same = parameter->rank == x->rank - first &&
                      std::equal(parameter->shape, parameter->shape + parameter->rank, x->shape + first);
    if (!same)
      return Fail(slot, "must have x's shape from axis {} on, {}, got {}", axis,
                  ShapeText(std::span(x->shape + first, x->rank - first)), ShapeText(*parameter));
  }
  if (known_) Put(5, *x);
}

void ShapeInference::Unary() {
  const BoundTensor* x = In(0);
  if (x == nullptr) return;
  BoundTensor out = *x;
  // IDENTITY to another type is a cast, so the declaration decides; the op check refuses it for other functions.
  const auto& declared = graph_.tensors[static_cast<size_t>(node_->slots[1])].dtype;
  const auto& unary = std::get<sage_unary_attributes>(node_->attributes);
  if (unary.function == SAGE_FN_IDENTITY) out.dtype = declared.value_or(x->dtype);
  Put(1, out);
}

void ShapeInference::Binary() {
  const BoundTensor* a = In(0);
  const BoundTensor* b = In(1);
  if (a == nullptr || b == nullptr) return;
  if (a->dtype != b->dtype)
    return Fail(1, "is {}, a is {}: both must have one type; cast one with a Unary IDENTITY",
                support::DtypeName(b->dtype), support::DtypeName(a->dtype));
  BoundTensor out;
  out.dtype = a->dtype;
  const uint32_t rank = std::max(a->rank, b->rank);
  for (uint32_t i = 0; i < rank; ++i) {
    Extent extent;
    if (!Broadcast(FromRight(*a, rank - 1 - i), FromRight(*b, rank - 1 - i), &extent))
      return Fail(1, "{} and a {} do not broadcast", ShapeText(*b), ShapeText(*a));
    Append(&out, extent);
  }
  Put(2, out);
}

void ShapeInference::Softmax(const sage_softmax_attributes& softmax) {
  const BoundTensor* x = In(0);
  if (x != nullptr && Axis(softmax.axis, x->rank) >= 0) Put(1, *x);
}

void ShapeInference::Reduce(const ReduceNode& reduce) {
  const BoundTensor* x = In(0);
  if (x == nullptr) return;
  uint32_t axes = reduce.axes.empty() ? (1u << x->rank) - 1u : 0u;
  for (const int32_t written : reduce.axes) {
    const int32_t axis = Axis(written, x->rank);
    if (axis < 0) return;
    if (((axes >> axis) & 1u) != 0) return Fail(kWholeNode, "axis {} is listed twice", written);
    axes |= 1u << axis;
  }
  BoundTensor out;
  out.dtype = x->dtype;
  for (uint32_t d = 0; d < x->rank; ++d) {
    if (((axes >> d) & 1u) == 0)
      Append(&out, At(*x, d));
    else if (reduce.keep_dims)
      Append(&out, {});
  }
  Put(1, out);
}

void ShapeInference::Gather(const sage_gather_attributes& gather) {
  const BoundTensor* x = In(0);
  const BoundTensor* indices = In(1);
  if (x == nullptr || indices == nullptr) return;
  const int32_t axis = Axis(gather.axis, x->rank);
  if (axis < 0) return;
  if (x->rank - 1 + indices->rank > SAGE_MAX_RANK)
    return Fail(1, "{} for x {} gives more than {} dimensions", ShapeText(*indices), ShapeText(*x), SAGE_MAX_RANK);
  BoundTensor out;
  out.dtype = x->dtype;
  for (uint32_t d = 0; d < x->rank; ++d) {
    if (static_cast<int32_t>(d) != axis) {
      Append(&out, At(*x, d));
      continue;
    }
    for (uint32_t i = 0; i < indices->rank; ++i) Append(&out, At(*indices, i));
  }
  Put(2, out);
}

void ShapeInference::Concat(const sage_concat_attributes& concat) {
  const BoundTensor* first = In(1);
  if (first == nullptr) return;
  const int32_t axis = Axis(concat.axis, first->rank);
  if (axis < 0) return;
  BoundTensor out = *first;
  for (uint32_t slot = 2; slot < node_->slots.size(); ++slot) {
    const BoundTensor* piece = In(slot);
    if (piece == nullptr) continue;
    if (piece->dtype != first->dtype)
      return Fail(slot, "is {}, inputs[0] is {}: all must have one type", support::DtypeName(piece->dtype),
                  support::DtypeName(first->dtype));
    bool same = piece->rank == first->rank;
    for (uint32_t d = 0; same && d < first->rank; ++d) {
      if (static_cast<int32_t>(d) == axis) continue;
      same = piece->shape[d] == first->shape[d];
      out.dim_symbols[d] |= piece->dim_symbols[d];
    }
    if (!same)
      return Fail(slot, "{} does not fit inputs[0] {}: all dimensions but axis {} must be equal", ShapeText(*piece),
                  ShapeText(*first), axis);
    if (__builtin_add_overflow(out.shape[axis], piece->shape[axis], &out.shape[axis]))
      return Fail(slot, "makes the result longer than 2^63");
    out.dim_symbols[axis] |= piece->dim_symbols[axis];
  }
  if (known_) Put(0, out);
}

void ShapeInference::Slice(const SliceNode& slice) {
  const BoundTensor* x = In(0);
  if (x == nullptr) return;
  const int32_t axis = Axis(slice.axis, x->rank);
  if (axis < 0) return;
  if (slice.step == 0) return Fail(kWholeNode, "step is 0: use a positive or a negative number");
  BoundTensor out = *x;
  out.shape[axis] = RangeOf(slice, x->shape[axis]).count;
  Put(1, out);
}

void ShapeInference::Permute(const sage_permute_attributes& permute) {
  const BoundTensor* x = In(0);
  if (x == nullptr) return;
  BoundTensor out;
  out.dtype = x->dtype;
  // The reader marks what the file leaves out; a program leaves zeros.
  for (uint32_t d = 0; d < SAGE_MAX_RANK; ++d) {
    const bool given = permute.axes[d] != kNoAxis && (d < x->rank || permute.axes[d] != 0);
    if (given != (d < x->rank))
      return Fail(kWholeNode, "permutation does not have one number for each of the {} dimensions of x", x->rank);
  }
  uint32_t seen = 0;
  for (uint32_t d = 0; d < x->rank; ++d) {
    const int32_t axis = Axis(permute.axes[d], x->rank);
    if (axis < 0) return;
    if (((seen >> axis) & 1u) != 0) return Fail(kWholeNode, "permutation names axis {} twice", axis);
    seen |= 1u << axis;
    Append(&out, At(*x, static_cast<uint32_t>(axis)));
  }
  Put(1, out);
}

void ShapeInference::TopK(const TopKNode& topk) {
  const BoundTensor* x = In(0);
  if (x == nullptr) return;
  const int32_t axis = Axis(topk.attributes.axis, x->rank);
  if (axis < 0) return;
  if (topk.k < 1 || topk.k > x->shape[axis])
    return Fail(kWholeNode, "k is {}, axis {} of x has {} elements: k must be 1 to that", topk.k, axis, x->shape[axis]);
  BoundTensor out = *x;
  out.shape[axis] = topk.k;
  out.dim_symbols[axis] = 0;
  Put(1, out);
  if (!Has(2)) return;
  out.dtype = graph_.tensors[static_cast<size_t>(node_->slots[2])].dtype.value_or(SAGE_I32);
  Put(2, out);
}

void ShapeInference::Rope(const sage_rope_attributes& rope) {
  const BoundTensor* x = In(0);
  if (x == nullptr || !RankIs(0, *x, {3, 4})) return;
  const Extent rows = At(*x, x->rank == 3 ? 0 : 2), batch = x->rank == 3 ? Extent{} : At(*x, 0);
  const int64_t width = x->shape[x->rank - 1];
  const int64_t turned = rope.rotary_dim == 0 ? width : rope.rotary_dim;
  if (turned > width || turned % 2 != 0)
    return Fail(kWholeNode, "rotary_dim {} must be even and at most the {} elements of x's last dimension", turned,
                width);
  if (const BoundTensor* positions = In(1)) {
    // One row of positions serves every batch entry and may be longer than this call's sequence.
    const bool shared = positions->rank == 1 && positions->shape[0] >= rows.size;
    if (x->rank == 3 && !shared)
      return Fail(1, "must have at least T = {} positions, got {}", rows.size, ShapeText(*positions));
    if (!shared && !ExpectPlain(1, {batch, rows}, "[B, S]")) return;
  }
  for (uint32_t slot = 2; slot <= 3; ++slot) {
    const BoundTensor* table = In(slot);
    if (table == nullptr) continue;
    if (!RankIs(slot, *table, {2, 2})) return;
    if (!ExpectPlain(slot, {At(*table, 0), {turned / 2, 0}}, "[positions, rotary_dim/2]")) return;
  }
  if (known_) Put(4, *x);
}

void ShapeInference::Pool(const sage_pool_attributes& pool) {
  const BoundTensor* x = In(0);
  if (x == nullptr || !RankIs(0, *x, {3, 3})) return;
  if (!ExpectPlain(1, {At(*x, 0), At(*x, 1)}, "[B, S]") || !known_) return;
  BoundTensor out;
  out.dtype = x->dtype;
  Append(&out, At(*x, 0));
  if (pool.window != 0) {
    const int64_t stride = pool.stride == 0 ? pool.window : pool.stride;
    int64_t padded = 0;
    if (__builtin_add_overflow(x->shape[1], int64_t{pool.pad_begin} + int64_t{pool.pad_end}, &padded))
      return Fail(0, "is too long to be padded: {}", ShapeText(*x));
    Append(&out, {padded < pool.window ? 0 : (padded - pool.window) / stride + 1, x->dim_symbols[1]});
  }
  Append(&out, At(*x, 2));
  Put(2, out);
}

void ShapeInference::Reshape(const ReshapeNode& reshape) {
  const BoundTensor* x = In(0);
  if (x == nullptr) return;
  // Lengths of 0 count as 1 while the open size is found, so that [0, 4, 6] -> [0, -1] is [0, 24].
  int64_t total = 1, named = 1;
  uint64_t symbols = 0;
  bool empty = false, named_empty = false;
  for (uint32_t d = 0; d < x->rank; ++d) {
    total *= std::max<int64_t>(x->shape[d], 1);  // checked when x was
    empty |= x->shape[d] == 0;
    symbols |= x->dim_symbols[d];
  }
  BoundTensor out;
  out.dtype = x->dtype;
  int32_t open = -1;
  for (const Dim& dim : reshape.shape) {
    Extent extent{dim.size, 0};
    if (dim.symbol != kNone) extent = {symbols_[static_cast<size_t>(dim.symbol)], uint64_t{1} << dim.symbol};
    if (extent.size < 0) {
      open = static_cast<int32_t>(out.rank);
    } else {
      named_empty |= extent.size == 0;
      if (__builtin_mul_overflow(named, std::max<int64_t>(extent.size, 1), &named))
        return Fail(kWholeNode, "shape has more than 2^63 elements");
    }
    Append(&out, extent);
  }
  if (open >= 0) {
    if (named_empty && !empty)
      return Fail(kWholeNode, "x {} has {} elements, shape with a size of 0 has none", ShapeText(*x), total);
    if (total % named != 0)
      return Fail(kWholeNode, "x {} cannot be cut into {} equal parts for the -1 of shape", ShapeText(*x), named);
    out.shape[open] = empty && !named_empty ? 0 : total / named;
    out.dim_symbols[open] = symbols;
  } else if (empty != named_empty || (!empty && total != named)) {
    return Fail(kWholeNode, "x {} has {} elements, shape {} has {}", ShapeText(*x), empty ? 0 : total, ShapeText(out),
                named_empty ? 0 : named);
  }
  Put(1, out);
}

}  // namespace sage
