// hopper_testing.h: the Hopper kernel run by the emulation on an attention call of the tests, beside the float64
// oracle.
#ifndef SAGE_TESTS_PLUGINS_CUDA_HOPPER_TESTING_H_
#define SAGE_TESTS_PLUGINS_CUDA_HOPPER_TESTING_H_

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>

#include "attention_emulated.h"
#include "attention_hopper_host.h"
#include "hopper_emulated.h"

namespace sage::test {

struct HopperOracle {
  HopperOracle()
      : host(1, Threads::kSimulated), instance(reference_plugin_query(SAGE_ABI_MAJOR, SAGE_ABI_MINOR), host) {}
  TestHost host;
  Instance instance;
};

// variant: (optional) instead of the one that is chosen.
inline std::string EmulateHopper(const cuda::AttentionArguments& a, uint32_t blocks, uint64_t seed,
                                 const cuda::HopperVariant* variant = nullptr) {
  uint32_t workspace[cuda::kHopperWorkspaceBytes / sizeof(uint32_t)] = {7, 7, 7, 7};
  // Without a counter blocks take tiles in turn: by the seed's last bit.
  return LaunchEmulatedHopper(
      a, {.seed = seed, .blocks = blocks, .workspace = seed % 2 == 0 ? nullptr : workspace, .variant = variant});
}

// The same question in f64.
inline AttentionCase InDouble(const AttentionCase& from) {
  AttentionCase to = from;
  for (OwnedTensor& tensor : to.slots) {
    if (!tensor.present() || !support::IsFloat(tensor.dtype())) continue;
    std::vector<int64_t> shape;
    for (uint32_t axis = 0; axis < tensor.rank(); ++axis) shape.push_back(tensor.dim(axis));
    tensor = OwnedTensor(SAGE_F64, shape).FillValues(tensor.Values());
  }
  return to;
}

// Empty if the kernel's outputs are the oracle's. Outputs begin as 7: what is not written is found.
// change: (optional) of the arguments, before the variant is chosen, and of the variant.
using HopperChange = std::function<void(cuda::AttentionArguments&, cuda::HopperVariant*)>;
inline std::string HopperDisagreement(AttentionCase call, uint64_t seed, HopperOracle& oracle, uint32_t blocks = 2,
                                      const HopperChange& change = {}) {
  AttentionCase want = InDouble(call);
  const RunResult result = want.Run(oracle.instance);
  if (result.status != SAGE_OK) return "oracle: " + result.message;
  call.O().Fill(7.0);
  if (call[SAGE_ATTN_LSE].present()) call[SAGE_ATTN_LSE].Fill(7.0);
  cuda::AttentionArguments arguments = ArgumentsOf(call);
  if (change) change(arguments, nullptr);
  cuda::HopperVariant variant = cuda::ChooseHopper(arguments, static_cast<int>(blocks));
  if (change) change(arguments, &variant);
  if (std::string failure = EmulateHopper(arguments, blocks, seed, &variant); !failure.empty()) return failure;
  const bool bf16 = call.Q().dtype() == SAGE_BF16;
  const double half_ulp = bf16 ? 0x1p-8 : 0x1p-11;
  double largest_v = 1;
  for (const double v : want.V().Values())
    if (std::isfinite(v)) largest_v = std::max(largest_v, std::fabs(v));
  const auto compare = [](const OwnedTensor& got, const OwnedTensor& expected, double relative, double absolute,
                          const char* name) -> std::string {
    for (uint64_t i = 0; i < got.size(); ++i) {
      const double x = got.Get(i), y = expected.Get(i);
      if (x == y || (std::isnan(x) && std::isnan(y))) continue;
      if (std::fabs(x - y) <= relative * std::fabs(y) + absolute) continue;
      return std::string(name) + " at " + std::to_string(i) + " is " + std::to_string(x) + ", expected " +
             std::to_string(y);
    }
    return "";
  };
  // Each weight is rounded once, all of them to within half a unit, and they sum to 1.
  std::string text = compare(call.O(), want.O(), half_ulp, half_ulp * largest_v, "O");
  if (call[SAGE_ATTN_LSE].present()) text += compare(call[SAGE_ATTN_LSE], want[SAGE_ATTN_LSE], 2e-6, 2e-5, " LSE");
  return text;
}

constexpr sage_dtype kHalves[] = {SAGE_BF16, SAGE_F16};

// Under several seeds of the emulation: what lands when differs.
inline void CheckHopper(const AttentionCase& call, std::initializer_list<uint64_t> seeds, uint32_t blocks = 2,
                        const HopperChange& change = {}) {
  HopperOracle oracle;
  for (const uint64_t seed : seeds) {
    CAPTURE(seed);
    CHECK(HopperDisagreement(call, seed, oracle, blocks, change) == "");
  }
}

inline AttentionCase HopperCall(sage_dtype dtype, int64_t dim, int64_t seq_q, int64_t seq_kv, int64_t heads_q = 1,
                                int64_t heads_k = 1, int64_t batch = 1) {
  return AttentionCase(dtype, {batch, heads_q, heads_k, seq_q, seq_kv, dim}, 17).WithLse();
}

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CUDA_HOPPER_TESTING_H_
