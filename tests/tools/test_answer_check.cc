// test_answer_check.cc: which rows of a problem the bench checks when it cannot check all, and that they are the rows
// they seem to be. The reference itself is tested elsewhere.
#include "report/answer_check.h"

#include <doctest/doctest.h>

#include <cmath>
#include <memory>

using sage::ParseProblem;
using sage::Problem;
using sage::ProblemData;
using sage::tool::DifferenceOf;
using sage::tool::ElementValues;
using sage::tool::RowsOfProblem;
using sage::tool::RowsToCheck;

namespace {

struct Made {
  std::unique_ptr<Problem> problem;
  ProblemData data;
  explicit Made(const char* text) {
    auto parsed = ParseProblem(text);
    REQUIRE(parsed.ok());
    problem = std::move(*parsed);
    REQUIRE(MakeProblemTensors(problem.get(), 1u << 24, &data).ok());
  }
};

int64_t RowsIn(const RowsOfProblem& part) { return part.tensors[SAGE_ATTN_Q].shape[2]; }
uint32_t AlignmentOf(const RowsOfProblem& part) { return part.attributes.attention.alignment; }

}  // namespace

TEST_CASE("a square causal problem is checked at both ends, each under the alignment that keeps its positions") {
  const Made made("b1.hq2.sq40.d8.f32:causal=tl");
  const auto parts = RowsToCheck(*made.problem, 7);
  REQUIRE(parts.size() == 2);
  CHECK(RowsIn(*parts[0]) == 4);
  CHECK(AlignmentOf(*parts[0]) == SAGE_ALIGN_TOP_LEFT);
  CHECK(RowsIn(*parts[1]) == 3);
  CHECK(AlignmentOf(*parts[1]) == SAGE_ALIGN_BOTTOM_RIGHT);
  const auto* q = static_cast<const float*>(made.problem->tensors[SAGE_ATTN_Q].data);
  CHECK(parts[0]->tensors[SAGE_ATTN_Q].data == q);
  CHECK(static_cast<const float*>(parts[1]->tensors[SAGE_ATTN_Q].data) == q + 37 * 8);
  CHECK(parts[1]->tensors[SAGE_ATTN_K].shape[2] == 40);  // all the keys
  CHECK(parts[1]->op.attributes == &parts[1]->attributes);
  CHECK(made.problem->attributes.attention.alignment == SAGE_ALIGN_TOP_LEFT);  // its own is untouched
}

TEST_CASE("without positions both ends, with positions in an oblong problem the end that its alignment keeps") {
  CHECK(RowsToCheck(*Made("b1.hq2.sq40.skv90.d8.f32").problem, 6).size() == 2);
  const Made top("b1.hq2.sq40.skv90.d8.f32:causal=tl"), bottom("b1.hq2.sq40.skv90.d8.f32:causal=br");
  auto parts = RowsToCheck(*top.problem, 6);
  REQUIRE(parts.size() == 1);
  CHECK(parts[0]->answer.data == top.problem->tensors[SAGE_ATTN_O].data);
  parts = RowsToCheck(*bottom.problem, 6);
  REQUIRE(parts.size() == 1);
  CHECK(RowsIn(*parts[0]) == 6);
  CHECK(static_cast<const float*>(parts[0]->answer.data) ==
        static_cast<const float*>(bottom.problem->tensors[SAGE_ATTN_O].data) + 34 * 8);
}

TEST_CASE("all rows where they can be afforded, one at least") {
  const Made made("b2.hq2.sq5.d8.f32:causal=tl");
  auto parts = RowsToCheck(*made.problem, 5);
  REQUIRE(parts.size() == 1);
  CHECK(RowsIn(*parts[0]) == 5);
  parts = RowsToCheck(*made.problem, 0);
  REQUIRE(parts.size() == 1);
  CHECK(RowsIn(*parts[0]) == 1);
}

TEST_CASE("a difference in a last row is found, and NaN is a difference without bound") {
  const Made made("b1.hq2.sq40.d8.f32:causal=tl");
  auto* o = static_cast<float*>(made.problem->tensors[SAGE_ATTN_O].data);
  for (int i = 0; i < 2 * 40 * 8; ++i) o[i] = 1;
  auto parts = RowsToCheck(*made.problem, 4);
  for (auto& part : parts) part->expected = ElementValues(part->answer);
  CHECK(DifferenceOf(parts).max_abs == 0);
  CHECK(DifferenceOf(parts).relative == 0);
  o[40 * 8 + 20 * 8] = 3;  // in the middle: not among the rows
  CHECK(DifferenceOf(parts).max_abs == 0);
  o[39 * 8 + 5] = 3;  // the last row of the first head
  CHECK(DifferenceOf(parts).max_abs == 2);
  CHECK(DifferenceOf(parts).relative == doctest::Approx(2 / std::sqrt(2.0 * 4 * 8)));
  o[40 * 8] = NAN;
  CHECK(std::isinf(DifferenceOf(parts).max_abs));
  CHECK(std::isinf(DifferenceOf(parts).relative));
}

TEST_CASE(
    "narrow tensors are widened for the reference, strides and all; the answer stays where the backend writes it") {
  const Made made("b1.hq2.sq9.d8.bf16:layout=bshd,bias=b1qk/f32");
  const auto parts = RowsToCheck(*made.problem, 4);
  REQUIRE(parts.size() == 2);
  for (const auto& part : parts) {
    for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V, SAGE_ATTN_O})
      CHECK(part->tensors[slot].dtype == SAGE_F32);
    CHECK(part->answer.dtype == SAGE_BF16);
    CHECK(part->widened.size() == 4);
    CHECK(part->slots[SAGE_ATTN_K] == &part->tensors[SAGE_ATTN_K]);
    CHECK(ElementValues(part->tensors[SAGE_ATTN_K]) == ElementValues(made.problem->tensors[SAGE_ATTN_K]));
  }
  // Row 8 of head 1, channel 3: the last of the second part.
  const auto values = ElementValues(made.problem->tensors[SAGE_ATTN_Q]),
             part = ElementValues(parts[1]->tensors[SAGE_ATTN_Q]);
  CHECK(part[(1 * 2 + 1) * 8 + 3] == values[(1 * 9 + 8) * 8 + 3]);
}
