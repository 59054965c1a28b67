// policy_options.cc: see the header.
#include "plan/policy_options.h"

#include <array>
#include <limits>
#include <string_view>

namespace sage {
namespace {

bool Given(const Options& options, std::string_view key) { return options.values.contains(key); }

template <size_t N>
Status ReadChoice(const Options& options, std::string_view key, const std::array<std::string_view, N>& choices,
                  std::optional<uint32_t>* out) {
  if (!Given(options, key)) return {};
  SAGE_ASSIGN_OR_RETURN(*out, ChoiceOption(options, key, choices, 0));
  return {};
}

Status ReadBool(const Options& options, std::string_view key, std::optional<bool>* out) {
  if (!Given(options, key)) return {};
  SAGE_ASSIGN_OR_RETURN(*out, BoolOption(options, key, false));
  return {};
}

Status ReadCount(const Options& options, std::string_view key, int64_t maximum, std::optional<uint32_t>* out) {
  if (!Given(options, key)) return {};
  SAGE_ASSIGN_OR_RETURN(const int64_t value, IntegerOption(options, key, 0, maximum, 0));
  *out = static_cast<uint32_t>(value);
  return {};
}

// Backend names as the ABI has them, so that a path or a typing error is told apart from a backend that is not there.
Status CheckName(std::string_view key, std::string_view name) {
  const bool legal = !name.empty() && name.size() <= 32 &&
                     name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") == std::string_view::npos;
  if (legal) return {};
  return Status(SAGE_E_INVALID_ARGUMENT, "option '" + std::string(key) + "' = '" + std::string(name.substr(0, 80)) +
                                             "': a backend's name is 1 to 32 of a-z, 0-9 and _, never a path");
}

Status ReadOrder(const Options& options, std::vector<std::string>* out) {
  const std::string text = TextOption(options, "backend_order", "");
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(',', begin), text.size());
    const std::string_view name = std::string_view(text).substr(begin, end - begin);
    SAGE_RETURN_IF_ERROR(CheckName("backend_order", name));
    out->emplace_back(name);
    begin = end + 1;
  }
  return {};
}

}  // namespace

Result<AttentionPolicy> PolicyFromOptions(const Options& options) {
  constexpr std::array<std::string_view, 3> kAlgorithms = {"auto", "materialised", "flash"};
  constexpr std::array<std::string_view, 4> kAccuracies = {"auto", "exact", "native", "lossy"};
  constexpr std::array<std::string_view, 3> kPresets = {"default", "long_sequence", "low_memory"};
  AttentionPolicy policy;
  if (Given(options, "backend")) {
    policy.backend = TextOption(options, "backend", "");
    SAGE_RETURN_IF_ERROR(CheckName("backend", *policy.backend));
  }
  SAGE_RETURN_IF_ERROR(ReadOrder(options, &policy.backend_order));
  SAGE_RETURN_IF_ERROR(ReadChoice(options, "algorithm", kAlgorithms, &policy.algorithm));
  SAGE_RETURN_IF_ERROR(ReadChoice(options, "accuracy", kAccuracies, &policy.accuracy));
  std::optional<uint32_t> preset;
  SAGE_RETURN_IF_ERROR(ReadChoice(options, "preset", kPresets, &preset));
  if (preset.has_value()) policy.preset = static_cast<Preset>(*preset);
  SAGE_RETURN_IF_ERROR(
      ReadCount(options, "flash_threshold", std::numeric_limits<uint32_t>::max(), &policy.flash_threshold));
  SAGE_RETURN_IF_ERROR(ReadCount(options, "block_q", 65536, &policy.block_q));
  SAGE_RETURN_IF_ERROR(ReadCount(options, "block_kv", 65536, &policy.block_kv));
  SAGE_RETURN_IF_ERROR(ReadBool(options, "use_simd", &policy.use_simd));
  SAGE_RETURN_IF_ERROR(ReadBool(options, "deterministic", &policy.deterministic));
  SAGE_RETURN_IF_ERROR(ReadBool(options, "stream_capture", &policy.stream_capture));
  SAGE_RETURN_IF_ERROR(ReadBool(options, "strict", &policy.strict));
  if (Given(options, "max_latency_ms")) {
    SAGE_ASSIGN_OR_RETURN(policy.max_latency_ms, NumberOption(options, "max_latency_ms", 0, 1e9, 0));
  }
  return policy;
}

}  // namespace sage
