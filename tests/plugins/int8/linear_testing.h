// linear_testing.h: cases of LINEAR in 8 bits, and what the backend makes of them.
#ifndef SAGE_TESTS_PLUGINS_INT8_LINEAR_TESTING_H_
#define SAGE_TESTS_PLUGINS_INT8_LINEAR_TESTING_H_

#include "../cpu/ops_harness.h"
#include "isa.h"

extern "C" const sage_plugin* int8_plugin_query(uint32_t host_major, uint32_t host_minor);

namespace sage::test {

constexpr uint32_t kX = 0, kW = 1, kBias = 2, kY = 3, kScaleX = 4, kScaleW = 5;

// The machine's instruction sets, "isa=scalar" first. SAGE_TEST_ISA: only that one, in a program that others test too.
inline std::vector<std::string> LinearIsas() {
#ifdef SAGE_TEST_ISA
  const std::string only = SAGE_TEST_ISA;
#else
  const std::string only;
#endif
  std::vector<std::string> options;
  for (const int8::Isa isa : {int8::Isa::kScalar, int8::Isa::kAvx2, int8::Isa::kAvx512Vnni, int8::Isa::kAmx,
                              int8::Isa::kNeon, int8::Isa::kDotprod, int8::Isa::kI8mm})
    if (int8::Runs(isa) && (only.empty() || only == int8::IsaName(isa)))
      options.push_back(std::string("isa=") + int8::IsaName(isa));
  return options;
}

struct Int8 {
  explicit Int8(const std::string& options = "", uint32_t workers = 1, Threads threads = Threads::kSimulated)
      : host(workers, threads), instance(int8_plugin_query(SAGE_ABI_MAJOR, SAGE_ABI_MINOR), host, options.c_str()) {}
  RunResult Run(OpCase& c) { return RunCase(instance, c); }
  TestHost host;
  Instance instance;
};

inline OpCase Linear(OwnedTensor x, OwnedTensor w, OwnedTensor bias, OwnedTensor y,
                     uint32_t activation = SAGE_FN_IDENTITY, uint32_t dynamic = 0) {
  OpCase c{SAGE_OP_LINEAR,
           [=](TestOp& op) {
             op.Attributes(sage_linear_attributes{0, activation});
             op.DynamicAxes(dynamic);
           },
           {}};
  c.slots = {std::move(x), std::move(w), std::move(bias), std::move(y)};
  return c;
}

inline OpCase WithScales(OpCase c, OwnedTensor scale_x, OwnedTensor scale_w) {
  c.slots.resize(6);
  c.slots[kScaleX] = std::move(scale_x), c.slots[kScaleW] = std::move(scale_w);
  return c;
}

// Row-major, of normal numbers.
inline OpCase Plain(sage_dtype dtype, int64_t m, int64_t n, int64_t k, bool constant, uint64_t seed) {
  OwnedTensor w = OwnedTensor(dtype, {n, k}).FillNormal(seed + 1);
  if (constant) w.Constant();
  return Linear(OwnedTensor(dtype, {m, k}).FillNormal(seed), w, OwnedTensor(dtype, {n}).FillNormal(seed + 2),
                OwnedTensor(dtype, {m, n}));
}

inline OwnedTensor Codes(const Shape& shape, uint64_t seed) {
  return OwnedTensor(SAGE_I8, shape).FillIntegers(seed, -128, 127);
}
inline OwnedTensor Scales(int64_t count, uint64_t seed) {
  return OwnedTensor(SAGE_F32, {count}).FillUniform(seed, 0.001, 0.02);
}

// Both codes, with scales of tensors, or of rows and columns.
inline OpCase OfCodes(int64_t m, int64_t n, int64_t k, bool fine, uint64_t seed) {
  return WithScales(Linear(Codes({m, k}, seed), Codes({n, k}, seed + 1),
                           OwnedTensor(SAGE_F32, {n}).FillNormal(seed + 2), OwnedTensor(SAGE_F32, {m, n})),
                    Scales(fine ? m : 1, seed + 3), Scales(fine ? n : 1, seed + 4));
}

// Y as the oracle has it, in f64 (i32 as it is). Scales stay what they are, f32.
inline OwnedTensor Want(const OpCase& c) {
  OpCase wide = c;
  for (const uint32_t slot : {kX, kW, kBias, kY}) wide.slots[slot] = Widened(wide.slots[slot]);
  TestHost host;
  Instance oracle(Oracle(), host);
  const RunResult result = RunCase(oracle, wide);
  REQUIRE_MESSAGE(result.status == SAGE_OK, "oracle: ", result.message, " ", Describe(c));
  return wide.slots[kY];
}

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_INT8_LINEAR_TESTING_H_
