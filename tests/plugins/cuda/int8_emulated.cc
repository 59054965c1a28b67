// int8_emulated.cc: compiles the kernels for the CPU, once for all test files; launches as attention_int8_launch.h
// does.
#include "int8_emulated.h"

#include "attention_int8.h"

namespace sage::test {
namespace {

using cuda::emu::Launch;

// Nothing for no blocks, as on a device.
template <class Body>
std::string LaunchBlocks(int64_t blocks, int32_t threads, uint32_t shared_bytes, uint64_t seed, Body&& body) {
  if (blocks == 0) return "";
  return Launch({.grid = {static_cast<uint32_t>(blocks), 1, 1},
                 .threads = static_cast<uint32_t>(threads),
                 .shared_bytes = shared_bytes,
                 .seed = seed},
                body);
}

template <class T>
std::string LaunchOf(const cuda::AttentionArguments& a, void* workspace, const Int8Run& run) {
  return cuda::ForPortable(a, [&](auto qk, auto v, auto paged) {
    using Tile = cuda::Int8Tile<qk.value, v.value>;
    cuda::Int8Arguments x = cuda::PlanInt8(a, workspace, run.scales);
    x.p.repair = run.repair;
    std::string failure = LaunchBlocks(cuda::SumBlocks(x), cuda::kSumThreads, cuda::kSumSharedBytes, run.seed,
                                       [&] { cuda::SumKeys<T>(x); });
    if (!failure.empty()) return "sums: " + failure;
    failure = LaunchBlocks(cuda::QuantiseBlocks(x), cuda::kQuantiseThreads,
                           cuda::QuantiseBlock<T, qk.value, v.value>::kSharedBytes, run.seed,
                           [&] { cuda::Quantise<T, qk.value, v.value>(x); });
    if (!failure.empty()) return "codes: " + failure;
    return LaunchBlocks(cuda::PortableBlocks(x.p), Tile::kThreads, Tile::kSharedBytes, run.seed,
                        [&] { cuda::AttendInt8<T, qk.value, v.value, paged.value>(x); });
  });
}

}  // namespace

std::string LaunchEmulatedInt8(const cuda::AttentionArguments& a, void* workspace, const Int8Run& run) {
  if (const char* refusal = cuda::Int8Refusal(a, UINT64_MAX)) return refusal;
  return a.type == cuda::AttentionType::kF16 ? LaunchOf<cuda::F16>(a, workspace, run)
                                             : LaunchOf<cuda::Bf16>(a, workspace, run);
}

}  // namespace sage::test
