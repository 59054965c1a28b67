// q15_testing.h: attention calls in 16-bit fixed point, and how far their output may be from the float64 oracle.
#ifndef SAGE_TESTS_PLUGINS_INT8_Q15_TESTING_H_
#define SAGE_TESTS_PLUGINS_INT8_Q15_TESTING_H_

#include <algorithm>
#include <string>
#include <vector>

#include "int8_testing.h"

namespace sage::test {

// The instruction sets that Q15 attention has kernels for, scalar first.
inline std::vector<std::string> Q15Isas() {
  std::vector<std::string> names;
  for (const std::string& isa : Int8Isas())
    if (isa == "scalar" || isa == "avx2" || isa == "neon") names.push_back(isa);
  return names;
}

inline std::vector<int64_t> ShapeOf(const OwnedTensor& tensor) {
  std::vector<int64_t> shape;
  for (uint32_t axis = 0; axis < tensor.rank(); ++axis) shape.push_back(tensor.dim(axis));
  return shape;
}

// A tensor's shape and strides, in i16, with any codes.
inline OwnedTensor CodesLike(const OwnedTensor& tensor, uint64_t seed) {
  const std::vector<int64_t> shape = ShapeOf(tensor);
  std::vector<int64_t> strides;
  for (uint32_t axis = 0; axis < tensor.rank(); ++axis) strides.push_back(tensor.tensor()->stride[axis]);
  return OwnedTensor(SAGE_I16, shape, strides, seed % 3 == 0 ? 1 : 0).FillIntegers(seed, -32768, 32767);
}

// The scales of all four operands; shape [1]: per tensor.
inline AttentionCase& WithScales(AttentionCase& attention, double q, double k, double v, double o) {
  const double values[] = {q, k, v, o};
  const uint32_t slots[] = {SAGE_ATTN_SCALE_Q, SAGE_ATTN_SCALE_K, SAGE_ATTN_SCALE_V, SAGE_ATTN_SCALE_O};
  for (size_t i = 0; i < 4; ++i) attention[slots[i]] = OwnedTensor(SAGE_F32, {1}).Fill(values[i]);
  sage_attention_attributes& attributes = attention.attributes;
  attributes.granularity_q = attributes.granularity_k = attributes.granularity_v = attributes.granularity_o =
      SAGE_PER_TENSOR;
  return attention;
}

// Codes of numbers in [-1, 1), O as well.
inline AttentionCase Q15Case(const AttentionShape& shape, uint64_t seed) {
  AttentionCase attention(SAGE_I16, shape, seed);
  attention.Q().FillIntegers(seed, -32768, 32767);
  attention.K().FillIntegers(seed + 1, -32768, 32767);
  attention.V().FillIntegers(seed + 2, -32768, 32767);
  attention.O() = OwnedTensor(SAGE_I16, ShapeOf(attention.O())).Fill(7);
  return WithScales(attention, 0x1p-15, 0x1p-15, 0x1p-15, 0x1p-15);
}

// The same with O in f32.
inline AttentionCase WithFloatOutput(AttentionCase attention) {
  attention.O() = OwnedTensor(SAGE_F32, ShapeOf(attention.O())).Fill(7);
  attention[SAGE_ATTN_SCALE_O] = OwnedTensor();
  attention.attributes.granularity_o = 0;
  return attention;
}

// Of `keys` keys, with values up to 1: what q15.h promises before O is rounded.
inline double Q15Error(int64_t keys) { return static_cast<double>(keys) * 0x1p-30 + 0x1p-22; }

// The largest |O - float64's|, all of it as values; Q15 must keep it below 2^-11.
struct Q15Result {
  std::string failure;
  double error = 0;
};
inline Q15Result ErrorOf(AttentionCase& attention, Instance& q15, Instance& oracle) {
  AttentionCase want = attention;
  want.O() = OwnedTensor(SAGE_F64, ShapeOf(attention.O()));
  want[SAGE_ATTN_SCALE_O] = OwnedTensor();
  want.attributes.granularity_o = 0;
  want.attributes.algorithm = SAGE_ALGORITHM_AUTO;
  want.attributes.block_q = want.attributes.block_kv = 0;
  Q15Result result;
  result.failure = Failure(want.Run(oracle));
  if (!result.failure.empty()) return result;
  const RunResult run = attention.Run(q15);
  result.failure = Failure(run);
  if (run.status == SAGE_OK && run.answer.accuracy != SAGE_ACCURACY_LOSSY) result.failure = "the class is not LOSSY";
  const OwnedTensor &got = attention.O(), &scales = attention[SAGE_ATTN_SCALE_O];
  for (uint64_t i = 0; i < got.size(); ++i) {
    double value = got.Get(i);
    if (scales.present()) {
      // [1] or [B|1,H] beside [B,H,S,D] or, packed, [T,H,D] with one entry for all sequences.
      const uint64_t dim = static_cast<uint64_t>(got.dim(got.rank() - 1));
      const uint64_t heads = static_cast<uint64_t>(got.dim(1));
      const bool packed = got.rank() == 3;
      const uint64_t inner = packed ? dim : dim * static_cast<uint64_t>(got.dim(2));
      const uint64_t head = i / inner % heads;
      const uint64_t entry = scales.rank() == 1 || scales.dim(0) == 1 ? 0 : i / inner / heads;
      value *=
          scales.rank() == 1 ? scales.Get(0) : scales.At({static_cast<int64_t>(entry), static_cast<int64_t>(head)});
    }
    const double off = std::fabs(value - want.O().Get(i));
    result.error = std::isnan(off) ? HUGE_VAL : std::max(result.error, off);
  }
  for (const uint32_t slot : {SAGE_ATTN_K, SAGE_ATTN_V})
    if (!SameBits(attention[slot], want[slot])) result.failure = "the keys after the append differ";
  return result;
}

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_INT8_Q15_TESTING_H_
