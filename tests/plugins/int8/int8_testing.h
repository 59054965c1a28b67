// int8_testing.h: the int8 backend under every instruction set that this machine has and in every mode, and how far it
// may be from the float64 oracle.
#ifndef SAGE_TESTS_PLUGINS_INT8_INT8_TESTING_H_
#define SAGE_TESTS_PLUGINS_INT8_INT8_TESTING_H_

#include <string>
#include <vector>

#include "../cpu/attention_testing.h"
#include "isa.h"
#include "support/distance.h"

extern "C" const sage_plugin* int8_plugin_query(uint32_t host_major, uint32_t host_minor);

namespace sage::test {

// The machine's instruction sets, scalar first. SAGE_TEST_ISA: only that one, in a program that others test too.
inline std::vector<std::string> Int8Isas() {
#ifdef SAGE_TEST_ISA
  const std::string only = SAGE_TEST_ISA;
#else
  const std::string only;
#endif
  std::vector<std::string> names;
  for (const int8::Isa isa : {int8::Isa::kScalar, int8::Isa::kAvx2, int8::Isa::kAvx512Vnni, int8::Isa::kAmx,
                              int8::Isa::kNeon, int8::Isa::kDotprod, int8::Isa::kI8mm})
    if (int8::Runs(isa) && (only.empty() || only == int8::IsaName(isa))) names.push_back(int8::IsaName(isa));
  return names;
}

struct Int8Backend {
  explicit Int8Backend(const std::string& isa = "auto", const std::string& mode = "auto", uint32_t workers = 1,
                       Threads threads = Threads::kSimulated)
      : host(workers, threads),
        instance(int8_plugin_query(SAGE_ABI_MAJOR, SAGE_ABI_MINOR), host, ("isa=" + isa + "\nmode=" + mode).c_str()) {}
  TestHost host;
  Instance instance;
};

// A float operand (slot) becomes codes of its own shape with scales of `granularity`, as a caller that quantised would
// give them; drawn, not quantised. rows: tokens that scales are for.
inline void DrawCodes(AttentionCase* attention, uint32_t slot, uint32_t scale_slot, uint32_t granularity,
                      uint32_t block, int64_t rows, uint64_t seed, double deviation = 1) {
  OwnedTensor& tensor = (*attention)[slot];
  std::vector<int64_t> shape;
  for (uint32_t axis = 0; axis < tensor.rank(); ++axis) shape.push_back(tensor.dim(axis));
  tensor = OwnedTensor(SAGE_I8, shape).FillIntegers(seed, -127, 127);
  if (scale_slot == SAGE_ATTN_NUM_SLOTS) return;
  const bool packed = shape.size() == 3;
  const int64_t batch = packed                                  ? (*attention)[SAGE_ATTN_CU_SEQLENS_Q].dim(0) - 1
                        : (*attention)[SAGE_ATTN_Q].rank() == 4 ? (*attention)[SAGE_ATTN_Q].dim(0)
                                                                : (*attention)[SAGE_ATTN_CU_SEQLENS_Q].dim(0) - 1;
  const int64_t front = seed % 2 == 0 ? 1 : batch, heads = shape[1];
  std::vector<int64_t> scales{front, heads};
  if (granularity == SAGE_PER_TENSOR) scales = {1};
  if (granularity == SAGE_PER_TOKEN) scales.push_back(rows);
  if (granularity == SAGE_PER_TOKEN && packed) scales = {heads, rows};
  if (granularity == SAGE_PER_CHANNEL) scales.push_back(shape.back());
  if (granularity == SAGE_PER_BLOCK)
    scales.push_back((rows + block - 1) / block), attention->attributes.scale_block = block;
  // A uniform code has a deviation of 73.
  (*attention)[scale_slot] =
      OwnedTensor(SAGE_F32, scales).FillUniform(seed + 1, 0.5 * deviation / 73, 1.5 * deviation / 73);
  sage_attention_attributes& attributes = attention->attributes;
  (slot == SAGE_ATTN_Q   ? attributes.granularity_q
   : slot == SAGE_ATTN_K ? attributes.granularity_k
                         : attributes.granularity_v) = granularity;
}

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_INT8_INT8_TESTING_H_
