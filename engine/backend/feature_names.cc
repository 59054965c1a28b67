// feature_names.cc: the tables behind feature_names.h.
#include "backend/feature_names.h"

#include "sage/ops.h"
#include "sage/support/check_op.h"

namespace sage {

std::vector<std::string> FeatureNames(uint64_t features) {
  static constexpr const char* kNames[] = {
      "SCALE",        "GQA",        "CAUSAL",     "BOTTOM_RIGHT", "WINDOW_LEFT", "WINDOW_RIGHT", "BIAS",
      "BOOL_MASK",    "BIT_MASK",   "BLOCK_MASK", "CSR_MASK",     "ALIBI",       "SOFTCAP",      "SINKS",
      "VARLEN",       "Q_LENGTHS",  "KV_LENGTHS", "PAGED_KV",     "APPEND_KV",   "LSE",          "DROPOUT",
      "QUANT_SCALES", "DV_DIFFERS", "HV_DIFFERS", "WEIGHTS_OUT",  "SCORES_OUT"};
  constexpr uint32_t kCount = sizeof kNames / sizeof kNames[0];
  static_assert(1ull << (kCount - 1) == SAGE_ATTN_F_SCORES_OUT);
  std::vector<std::string> names;
  for (uint32_t bit = 0; bit < 64; ++bit)
    if ((features >> bit & 1) != 0) names.push_back(bit < kCount ? kNames[bit] : "bit " + std::to_string(bit));
  return names;
}

std::vector<std::string> KindNames(uint64_t kinds) {
  std::vector<std::string> names;
  for (uint32_t bit = 0; bit < 64; ++bit) {
    if ((kinds >> bit & 1) == 0) continue;
    const std::string name = support::KindName(bit);
    names.push_back(name == "?" ? "kind " + std::to_string(bit) : name);
  }
  return names;
}

std::string DeviceTypeName(int32_t device_type) {
  switch (device_type) {
    case 0:
    case SAGE_CPU:
      return "cpu";
    case SAGE_CUDA:
      return "cuda";
    case SAGE_CUDA_HOST:
      return "cuda_host";
    default:
      return "device type " + std::to_string(device_type);
  }
}

}  // namespace sage
