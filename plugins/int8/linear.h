// linear.h: LINEAR, y = fn(x W^T + b), of 8-bit codes: exact integer sums, then scales, bias and function in floats.
//
// A float X is quantised row by row in each run, a float W once a column of the result (its row), both by their largest
// magnitude over 127. Codes are multiplied as they are, by their caller's scales. A result depends on its row of X, its
// row of W and its bias alone, and has the same bits whatever the instruction set, the threads and how W came in; only
// functions other than RELU are those of the instruction set's own lines.
#ifndef SAGE_PLUGINS_INT8_LINEAR_H_
#define SAGE_PLUGINS_INT8_LINEAR_H_

#include <memory>

#include "cpu/family.h"
#include "isa.h"

namespace sage::int8 {

using support::OpView;

// Sums of more products of two codes, -128 to 127, may leave an int32.
constexpr int64_t kDeepestSum = (int64_t{1} << 31) / (128 * 128) - 1;

// True where *answer has become NO: linear_support.cc. view passed CheckOp.
bool RefuseLinear(const OpView& view, sage_answer* answer);

// As in cpu/family.h; isa: whose kernels.
void AskLinear(const cpu::Context& context, Isa isa, const OpView& view, sage_answer* answer);
sage_status PlanLinear(const cpu::Context& context, Isa isa, const OpView& view, const cpu::KernelPlan* like,
                       std::unique_ptr<cpu::KernelPlan>* out, sage_error* err);

}  // namespace sage::int8

#endif  // SAGE_PLUGINS_INT8_LINEAR_H_
