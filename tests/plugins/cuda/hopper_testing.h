// hopper_testing.h: the Hopper kernel run by the emulation on an attention call of the tests, beside the float64
// oracle.
#ifndef SAGE_TESTS_PLUGINS_CUDA_HOPPER_TESTING_H_
#define SAGE_TESTS_PLUGINS_CUDA_HOPPER_TESTING_H_

#include <algorithm>
#include <cmath>
#include <string>

#include "attention_hopper_host.h"
#include "attention_hopper_kernel.h"
#include "sage/support/attention_dims.h"
#include "support/attention_case.h"

extern "C" const sage_plugin* reference_plugin_query(uint32_t host_major, uint32_t host_minor);

namespace sage::test {

struct HopperOracle {
  HopperOracle()
      : host(1, Threads::kSimulated), instance(reference_plugin_query(SAGE_ABI_MAJOR, SAGE_ABI_MINOR), host) {}
  TestHost host;
  Instance instance;
};

// A call as the backend would hand it to a kernel.
inline cuda::AttentionArguments ArgumentsOf(const AttentionCase& call) {
  const sage_tensor* slots[SAGE_ATTN_NUM_SLOTS];
  for (uint32_t slot = 0; slot < SAGE_ATTN_NUM_SLOTS; ++slot) slots[slot] = call[slot].tensor();
  const support::AttentionDims dims = support::ReadAttentionDims(slots, SAGE_ATTN_NUM_SLOTS);
  const auto strides = [&](uint32_t slot, bool packed) {
    const int64_t* s = slots[slot]->stride;
    return packed ? cuda::AttentionStrides{0, s[1], s[0], s[2]} : cuda::AttentionStrides{s[0], s[1], s[2], s[3]};
  };
  const auto data = [&](uint32_t slot) { return slots[slot] == nullptr ? nullptr : slots[slot]->data; };
  const auto integers = [&](uint32_t slot) { return static_cast<const int32_t*>(data(slot)); };
  cuda::AttentionArguments a;
  a.q = data(SAGE_ATTN_Q), a.k = data(SAGE_ATTN_K), a.v = data(SAGE_ATTN_V), a.o = data(SAGE_ATTN_O);
  a.q_strides = strides(SAGE_ATTN_Q, dims.varlen), a.o_strides = strides(SAGE_ATTN_O, dims.varlen);
  a.k_strides = strides(SAGE_ATTN_K, dims.packed_kv()), a.v_strides = strides(SAGE_ATTN_V, dims.packed_kv());
  a.type = call[SAGE_ATTN_Q].dtype() == SAGE_BF16 ? cuda::AttentionType::kBf16 : cuda::AttentionType::kF16;
  if (const sage_tensor* lse = slots[SAGE_ATTN_LSE]) {
    a.lse = lse->data;
    a.lse_strides = dims.varlen ? cuda::AttentionStrides{0, lse->stride[0], lse->stride[1], 1}
                                : cuda::AttentionStrides{lse->stride[0], lse->stride[1], lse->stride[2], 1};
  }
  const auto narrow = [](int64_t x) { return static_cast<int32_t>(x); };
  a.batch = narrow(dims.batch);
  a.heads_q = narrow(dims.heads_q), a.heads_k = narrow(dims.heads_k), a.heads_v = narrow(dims.heads_v);
  a.seq_q = narrow(dims.seq_q), a.seq_kv = narrow(dims.seq_kv);
  a.total_q = dims.varlen ? a.seq_q : 0, a.total_k = dims.packed_kv() ? a.seq_kv : 0;
  a.dim_qk = narrow(dims.dim_qk), a.dim_v = narrow(dims.dim_v);
  a.cu_seqlens_q = integers(SAGE_ATTN_CU_SEQLENS_Q), a.cu_seqlens_k = integers(SAGE_ATTN_CU_SEQLENS_K);
  a.seqused_q = integers(SAGE_ATTN_SEQUSED_Q), a.seqused_k = integers(SAGE_ATTN_SEQUSED_K);
  if (dims.paged) {
    a.block_table = integers(SAGE_ATTN_BLOCK_TABLE);
    a.block_table_stride = slots[SAGE_ATTN_BLOCK_TABLE]->stride[0];
    a.pages = narrow(dims.pages);
    while (1 << a.page_shift < dims.page) ++a.page_shift;
  }
  const sage_attention_attributes& attributes = call.attributes;
  const bool scale_given = (attributes.features & SAGE_ATTN_F_SCALE) != 0;
  a.scale = scale_given ? attributes.scale : 1 / std::sqrt(static_cast<double>(dims.dim_qk));
  a.causal = (attributes.features & SAGE_ATTN_F_CAUSAL) != 0;
  a.bottom_right = attributes.alignment == SAGE_ALIGN_BOTTOM_RIGHT;
  if ((attributes.features & SAGE_ATTN_F_WINDOW_LEFT) != 0) a.window_left = attributes.window_left;
  if ((attributes.features & SAGE_ATTN_F_WINDOW_RIGHT) != 0) a.window_right = attributes.window_right;
  return a;
}

// What LaunchHopper does, on `blocks` processors. Empty, or what was wrong with the kernel.
template <class T, int kDim>
std::string EmulateHopperShape(const cuda::HopperParameters& parameters, uint32_t blocks, uint64_t seed) {
  using S = cuda::hopper::Shape<T, kDim, cuda::HopperKeys(kDim)>;
  cuda::emu::LaunchOptions options;
  options.grid.x = std::min(blocks, static_cast<uint32_t>(parameters.tiles));
  options.threads = cuda::hopper::kThreads;
  options.shared_bytes = S::kSharedBytes;
  options.seed = seed;
  options.resident_blocks = blocks;
  return cuda::emu::Launch(options, [&parameters] { cuda::hopper::Forward<S>(parameters); });
}

inline std::string EmulateHopper(const cuda::AttentionArguments& a, uint32_t blocks, uint64_t seed) {
  if (const char* refusal = cuda::HopperRefusal(a)) return refusal;
  if (cuda::HopperHasNoQueries(a)) return "";
  uint32_t next_tile = 0;
  cuda::HopperParameters parameters;
  const auto encode = [](const cuda::TensorMapShape& shape, cuda::TensorMap* map) {
    map->shape = shape;
    return cuda::TensorMapRefusal(shape);
  };
  // Without a counter blocks take tiles in turn: by the seed's last bit.
  if (const char* failure = cuda::MakeHopperParameters(a, seed % 2 == 0 ? nullptr : &next_tile, encode, &parameters))
    return failure;
  const bool bf16 = a.type == cuda::AttentionType::kBf16;
  switch (cuda::HopperDim(a)) {
    case 64:
      return bf16 ? EmulateHopperShape<cuda::Bf16, 64>(parameters, blocks, seed)
                  : EmulateHopperShape<cuda::F16, 64>(parameters, blocks, seed);
    case 128:
      return bf16 ? EmulateHopperShape<cuda::Bf16, 128>(parameters, blocks, seed)
                  : EmulateHopperShape<cuda::F16, 128>(parameters, blocks, seed);
    default:
      return bf16 ? EmulateHopperShape<cuda::Bf16, 256>(parameters, blocks, seed)
                  : EmulateHopperShape<cuda::F16, 256>(parameters, blocks, seed);
  }
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
inline std::string HopperDisagreement(AttentionCase call, uint64_t seed, HopperOracle& oracle, uint32_t blocks = 2) {
  AttentionCase want = InDouble(call);
  const RunResult result = want.Run(oracle.instance);
  if (result.status != SAGE_OK) return "oracle: " + result.message;
  call.O().Fill(7.0);
  if (call[SAGE_ATTN_LSE].present()) call[SAGE_ATTN_LSE].Fill(7.0);
  if (std::string failure = EmulateHopper(ArgumentsOf(call), blocks, seed); !failure.empty()) return failure;
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

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CUDA_HOPPER_TESTING_H_
