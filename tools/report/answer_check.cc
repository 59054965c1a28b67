// answer_check.cc: see answer_check.h.
#include "report/answer_check.h"

#include <algorithm>
#include <cmath>

#include "plan/elements.h"
#include "sage/support/check_op.h"

namespace sage::tool {
namespace {

constexpr uint32_t kByQuery[] = {SAGE_ATTN_Q,    SAGE_ATTN_O,        SAGE_ATTN_LSE,     SAGE_ATTN_BIAS,
                                 SAGE_ATTN_MASK, SAGE_ATTN_BIT_MASK, SAGE_ATTN_WEIGHTS, SAGE_ATTN_SCORES};

// Calls visit(offset in elements) for every element, in row-major order.
template <class Visit>
void ForEachElement(const sage_tensor& t, Visit&& visit) {
  for (uint32_t axis = 0; axis < t.rank; ++axis)
    if (t.shape[axis] == 0) return;
  std::vector<int64_t> at(t.rank, 0);
  const uint32_t last = t.rank - 1;
  for (int64_t offset = 0;;) {
    for (int64_t i = 0; i < t.shape[last]; ++i) visit(offset + i * t.stride[last]);
    uint32_t axis = last;
    while (axis-- > 0) {
      offset += t.stride[axis];
      if (++at[axis] < t.shape[axis]) break;
      offset -= at[axis] * t.stride[axis], at[axis] = 0;
    }
    if (axis == ~uint32_t{0}) return;
  }
}

void Widen(sage_tensor* t, RowsOfProblem* owner) {
  if ((t->dtype != SAGE_F16 && t->dtype != SAGE_BF16) || t->rank == 0) return;
  std::vector<float>& wide = owner->widened.emplace_back();
  const auto* bytes = static_cast<const unsigned char*>(t->data);
  ForEachElement(*t, [&](int64_t offset) {
    wide.push_back(static_cast<float>(LoadElement(bytes + offset * support::DtypeSize(t->dtype), t->dtype)));
  });
  int64_t stride = 1;
  for (uint32_t axis = t->rank; axis-- > 0;) t->stride[axis] = stride, stride *= t->shape[axis];
  t->dtype = SAGE_F32, t->data = wide.data();
}

// Rows [begin, begin + rows) under `alignment`, which the caller chose so that they see what they saw.
std::unique_ptr<RowsOfProblem> Rows(const Problem& problem, int64_t begin, int64_t rows, uint32_t alignment) {
  auto part = std::make_unique<RowsOfProblem>();
  part->tensors = problem.tensors;
  part->slots.assign(problem.tensors.size(), nullptr);
  const int64_t sq = problem.tensors[SAGE_ATTN_Q].rank == 4 ? problem.tensors[SAGE_ATTN_Q].shape[2] : rows;
  for (uint32_t slot = 0; slot < part->tensors.size(); ++slot) {
    if (!problem.Has(slot)) continue;
    sage_tensor& t = part->tensors[slot];
    part->slots[slot] = &t;
    if (rows >= sq || std::find(std::begin(kByQuery), std::end(kByQuery), slot) == std::end(kByQuery)) continue;
    t.data = static_cast<unsigned char*>(t.data) + begin * t.stride[2] * support::DtypeSize(t.dtype);
    t.shape[2] = rows;
  }
  part->attributes = problem.attributes;
  part->attributes.attention.alignment = alignment;
  part->op = problem.op;
  part->op.attributes = &part->attributes;
  part->op.slots = part->slots.data();
  part->answer = part->tensors[SAGE_ATTN_O];
  for (uint32_t slot = 0; slot < part->tensors.size(); ++slot)
    if (problem.Has(slot)) Widen(&part->tensors[slot], part.get());
  return part;
}

}  // namespace

std::vector<std::unique_ptr<RowsOfProblem>> RowsToCheck(const Problem& problem, int64_t rows) {
  std::vector<std::unique_ptr<RowsOfProblem>> parts;
  const uint32_t alignment = problem.attributes.attention.alignment;
  const int64_t sq = problem.tensors[SAGE_ATTN_Q].rank == 4 ? problem.tensors[SAGE_ATTN_Q].shape[2] : 0;
  if (rows >= sq) {
    parts.push_back(Rows(problem, 0, sq, alignment));
    return parts;
  }
  rows = std::max<int64_t>(rows, 1);
  // Either alignment says the same of a square problem, and each keeps one end of it.
  const bool square = sq == problem.tensors[SAGE_ATTN_K].shape[2] && !problem.Has(SAGE_ATTN_SEQUSED_K) &&
                      !problem.Has(SAGE_ATTN_BLOCK_TABLE);
  const bool top = alignment != SAGE_ALIGN_BOTTOM_RIGHT || square, bottom = alignment != SAGE_ALIGN_TOP_LEFT || square;
  const int64_t first = !bottom ? rows : top ? rows - rows / 2 : 0, last = rows - first;
  if (first > 0) parts.push_back(Rows(problem, 0, first, alignment == 0 ? 0 : SAGE_ALIGN_TOP_LEFT));
  if (last > 0) parts.push_back(Rows(problem, sq - last, last, alignment == 0 ? 0 : SAGE_ALIGN_BOTTOM_RIGHT));
  return parts;
}

std::vector<double> ElementValues(const sage_tensor& t) {
  std::vector<double> values;
  const auto* bytes = static_cast<const unsigned char*>(t.data);
  ForEachElement(
      t, [&](int64_t offset) { values.push_back(LoadElement(bytes + offset * support::DtypeSize(t.dtype), t.dtype)); });
  return values;
}

Difference DifferenceOf(const std::vector<std::unique_ptr<RowsOfProblem>>& parts) {
  Difference result;
  double difference2 = 0, norm2 = 0;
  for (const auto& part : parts) {
    const std::vector<double> got = ElementValues(part->answer);
    for (size_t i = 0; i < got.size(); ++i) {
      const double expected = part->expected[i];
      if (std::isnan(got[i]) != std::isnan(expected)) result.max_abs = INFINITY;
      const double difference = std::isnan(got[i]) || std::isnan(expected) ? 0 : std::fabs(got[i] - expected);
      result.max_abs = std::max(result.max_abs, difference), difference2 += difference * difference;
      norm2 += std::isnan(expected) ? 0 : expected * expected;
    }
  }
  result.relative = std::isinf(result.max_abs) ? INFINITY : std::sqrt(norm2 > 0 ? difference2 / norm2 : difference2);
  return result;
}

}  // namespace sage::tool
