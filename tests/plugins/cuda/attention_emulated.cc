// attention_emulated.cc: compiles the kernels for the CPU, once for all test files.
#include "attention_emulated.h"

#include <cstdlib>
#include <cstring>
#include <memory>

#include "../cpu/attention_testing.h"
#include "fake_runtime.h"

namespace sage::test {
namespace {

template <class T>
std::string RunPlain(const cuda::AttentionArguments& a, uint64_t seed) {
  const auto blocks = static_cast<uint32_t>(cuda::PlainBlocks(a));
  return cuda::emu::Launch({.grid = {blocks, 1, 1}, .threads = 32 * cuda::kPlainWarps, .seed = seed},
                           [&] { cuda::AttendPlain<T>(a); });
}

template <class T>
std::string RunSmall(const cuda::AttentionArguments& a, uint64_t seed, const std::function<void()>& earlier) {
  return cuda::ForSmall(a, [&](auto rows) {
    const cuda::SmallArguments p = cuda::PlanSmall(a, rows.value);
    return cuda::emu::Launch({.grid = {static_cast<uint32_t>(cuda::SmallBlocks(p)), 1, 1},
                              .threads = cuda::kSmallThreads,
                              .shared_bytes = static_cast<size_t>(cuda::SmallFloats<rows.value>(a)) * sizeof(float),
                              .seed = seed,
                              .earlier = earlier},
                             [&] { cuda::AttendSmall<T, rows.value>(p); });
  });
}

template <class T>
std::string RunPortable(const cuda::AttentionArguments& a, uint64_t seed, bool repair) {
  return cuda::ForPortable(a, [&](auto qk, auto v, auto paged) {
    using Tile = cuda::PortableTile<qk.value, v.value>;
    cuda::PortableArguments p = cuda::PlanPortable(a, Tile::kRows);
    p.repair = repair;
    const auto blocks = static_cast<uint32_t>(cuda::PortableBlocks(p));
    return cuda::emu::Launch(
        {.grid = {blocks, 1, 1}, .threads = Tile::kThreads, .shared_bytes = Tile::kSharedBytes, .seed = seed},
        [&] { cuda::AttendPortable<T, qk.value, v.value, paged.value>(p); });
  });
}

template <class T>
std::string RunDecode(const cuda::DecodeArguments& d, uint64_t seed) {
  return cuda::ForPortable(d.p.a, [&](auto qk, auto v, auto paged) {
    using Tile = cuda::DecodeTile<qk.value, v.value>;
    const auto blocks = static_cast<uint32_t>(cuda::DecodeBlocks(d));
    return cuda::emu::Launch({.grid = {blocks, 1, 1},
                              .threads = Tile::kThreads,
                              .shared_bytes = Tile::kSharedBytes,
                              .seed = seed,
                              .resident_blocks = 3},
                             [&] { cuda::AttendDecode<T, qk.value, v.value, paged.value>(d); });
  });
}

template <class E>
std::string RunAppend(const cuda::AttentionArguments& a, uint64_t seed) {
  const auto blocks = static_cast<uint32_t>(cuda::AppendBlocks(a));
  return cuda::emu::Launch({.grid = {blocks, 1, 1}, .threads = 32 * cuda::kAppendWarps, .seed = seed},
                           [&] { cuda::AppendKeys<E>(a); });
}

}  // namespace

std::string RunEmulated(Kernel kernel, AttentionCase& attention, uint64_t seed, int32_t splits) {
  bool repair = false;
  for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V, SAGE_ATTN_K_NEW, SAGE_ATTN_V_NEW}) {
    if (!attention[slot].present()) continue;
    for (const double value : attention[slot].Values()) repair |= !std::isfinite(value);
  }
  cuda::AttentionArguments a = ArgumentsOf(attention);
  if (kernel == Kernel::kDecode) {
    if (const char* refusal = cuda::DecodeRefusal(a)) return refusal;
    const cuda::Properties device = cuda::FakeH200();
    a.splits = cuda::PlanDecodeSplits(a, device, splits, false);
    const std::unique_ptr<void, decltype(&std::free)> workspace(
        std::aligned_alloc(256, (cuda::DecodeWorkspaceBytes(a) / 256 + 1) * 256), std::free);
    std::memset(workspace.get(), 0xff, cuda::DecodeWorkspaceBytes(a));
    return LaunchDecodeEmulated(a, device, workspace.get(), seed, repair);
  }
  if (a.k_new != nullptr) {
    if (std::string failure = LaunchAppendEmulated(a, seed); !failure.empty()) return failure;
    a.k_new = a.v_new = nullptr;
  }
  return LaunchEmulated(kernel, a, seed, repair);
}

std::string LaunchDecodeEmulated(const cuda::AttentionArguments& a, const cuda::Properties& device, void* workspace,
                                 uint64_t seed, bool repair) {
  cuda::DecodeArguments d = cuda::PlanDecode(a, device, workspace);
  d.p.repair = repair;
  if (d.tickets != nullptr) std::memset(d.tickets, 0, cuda::DecodeTicketBytes(d));
  return a.type == cuda::AttentionType::kF16 ? RunDecode<cuda::F16>(d, seed) : RunDecode<cuda::Bf16>(d, seed);
}

std::string LaunchAppendEmulated(const cuda::AttentionArguments& a, uint64_t seed) {
  switch (a.type) {
    case cuda::AttentionType::kF64:
      return RunAppend<uint64_t>(a, seed);
    case cuda::AttentionType::kF32:
      return RunAppend<uint32_t>(a, seed);
    default:
      return RunAppend<uint16_t>(a, seed);
  }
}

std::string LaunchEmulated(Kernel kernel, const cuda::AttentionArguments& a, uint64_t seed, bool repair,
                           std::function<void()> earlier) {
  if (kernel == Kernel::kPortable) {
    if (const char* refusal = cuda::PortableRefusal(a)) return refusal;
    return a.type == cuda::AttentionType::kF16 ? RunPortable<cuda::F16>(a, seed, repair)
                                               : RunPortable<cuda::Bf16>(a, seed, repair);
  }
  if (kernel == Kernel::kSmall) {
    if (const char* refusal = cuda::SmallRefusal(a)) return refusal;
    return a.type == cuda::AttentionType::kF32   ? RunSmall<float>(a, seed, earlier)
           : a.type == cuda::AttentionType::kF16 ? RunSmall<cuda::F16>(a, seed, earlier)
                                                 : RunSmall<cuda::Bf16>(a, seed, earlier);
  }
  switch (a.type) {
    case cuda::AttentionType::kF64:
      return RunPlain<double>(a, seed);
    case cuda::AttentionType::kF32:
      return RunPlain<float>(a, seed);
    case cuda::AttentionType::kF16:
      return RunPlain<cuda::F16>(a, seed);
    default:
      return RunPlain<cuda::Bf16>(a, seed);
  }
}

std::string EmulatedDisagreement(Kernel kernel, AttentionCase& got, uint64_t seed, double gate, int32_t splits) {
  static Oracle oracle;
  std::string failure;
  const AttentionCase want = Expected(got, oracle.instance, &failure);
  if (!failure.empty()) return "oracle: " + failure;
  failure = RunEmulated(kernel, got, seed, splits);
  if (!failure.empty()) return "emulation: " + failure;
  const bool wide = got.Q().dtype() == SAGE_F64;
  if (gate == 0) gate = wide ? 1e-12 : 5e-6;
  std::string text;
  const auto check = [&](uint32_t slot, double unit, const char* name) {
    if (!got[slot].present()) return;
    const double error = ErrorIn(got[slot], want[slot], unit);
    if (!(error <= 1)) text += std::string(name) + " is off by " + std::to_string(error) + " gates; ";
  };
  // What rounding P to 16 bits may do is that of the kernels on tensor cores alone.
  const double gate_o = kernel == Kernel::kPortable || kernel == Kernel::kDecode ? std::max(gate, kNativeGate) : gate;
  check(SAGE_ATTN_O, gate_o * std::max(1.0, LargestMagnitude(want[SAGE_ATTN_V])), "O");
  check(SAGE_ATTN_LSE, gate * std::max(4.0, LargestMagnitude(want[SAGE_ATTN_LSE])), "LSE");
  check(SAGE_ATTN_WEIGHTS, gate, "WEIGHTS");
  if (got[SAGE_ATTN_SCORES].present())
    check(SAGE_ATTN_SCORES, gate * std::max(4.0, LargestMagnitude(want[SAGE_ATTN_SCORES])), "SCORES");
  if (got.aliases != 0) check(SAGE_ATTN_K, 1e-300, "K after the append"), check(SAGE_ATTN_V, 1e-300, "V after it");
  return text;
}

}  // namespace sage::test
