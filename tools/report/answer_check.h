// answer_check.h: whether a backend's attention is right, by rows of the float64 reference. Rows are taken from both
// ends of the queries where not all can be afforded: a fault at an edge is the likely one. It runs nothing and times
// nothing.
#ifndef SAGE_TOOLS_REPORT_ANSWER_CHECK_H_
#define SAGE_TOOLS_REPORT_ANSWER_CHECK_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "plan/problem.h"

namespace sage::tool {

// Some neighbouring query rows of a problem, and the op that gives what is expected there; the rows see the keys they
// saw in the problem. f16 and bf16 tensors are widened to f32 for the op, which is exact, so that the rounding of a
// narrow output counts as the error it is. Does not outlive the problem and its data.
struct RowsOfProblem {
  sage_tensor answer{};  // these rows of the problem's O
  sage_op op{};          // for the reference, with the next four
  std::vector<const sage_tensor*> slots;
  std::vector<sage_tensor> tensors;  // tensors[SAGE_ATTN_O] is what the reference wrote
  support::OpView::Attributes attributes{};
  std::vector<std::vector<float>> widened;
  std::vector<double> expected;  // of O; the caller fills it after a run of the reference
};

// The rows to check, at most `rows` of them (at least one): all in one part, or the first half and the last, or those
// of the one end whose positions can be kept. Attention only.
std::vector<std::unique_ptr<RowsOfProblem>> RowsToCheck(const Problem& problem, int64_t rows);

// Every element as a double, in row-major order.
std::vector<double> ElementValues(const sage_tensor& tensor);

struct Difference {
  double max_abs = 0;   // infinite where one is NaN and the other is not
  double relative = 0;  // of the 2-norms; absolute where the expected norm is 0
};
// Of what the parts' answers hold now from what is expected of them.
Difference DifferenceOf(const std::vector<std::unique_ptr<RowsOfProblem>>& parts);

}  // namespace sage::tool

#endif  // SAGE_TOOLS_REPORT_ANSWER_CHECK_H_
