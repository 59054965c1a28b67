// call_emulated.cc: see the header.
#include "call_emulated.h"

#include <atomic>
#include <mutex>
#include <utility>

#include "common/cuda/kernels/emu/machine.h"
#include "cudnn/call_kernels.h"

namespace sage::cudnn {
namespace {

constexpr int kLaunchFailure = 719;  // cudaErrorLaunchFailure

std::atomic<int> prepared{0}, finished{0};
std::mutex mutex;
std::string fault;

int Told(std::string said) {
  if (said.empty()) return 0;
  const std::lock_guard<std::mutex> lock(mutex);
  fault = std::move(said);
  return kLaunchFailure;
}

template <class T, class Extras>
std::string EmulateFinish(const Call& call, uint64_t seed) {
  const auto blocks = static_cast<uint32_t>(cuda::PlainBlocks(call.a));
  return cuda::emu::Launch({.grid = {blocks, 1, 1}, .threads = 32 * cuda::kPlainWarps, .seed = seed},
                           [&call] { Finish<T, Extras>(call); });
}

}  // namespace

const CallKernels& EmulatedCallKernels() {
  static constexpr CallKernels kKernels = {
      .architectures = "80",
      .prepare =
          [](const Call& call, void*) {
            const auto seed = static_cast<uint64_t>(++prepared);
            std::string said;
            if (call.layout.mask >= 0)
              said = cuda::emu::Launch(
                  {.grid = {static_cast<uint32_t>(MaskBlocks(call)), 1, 1}, .threads = kMaskThreads, .seed = seed},
                  [&call] { WriteMask(call, OneOf(call.a.type)); });
            if (said.empty() && NeedsPrepare(call.layout))
              said = cuda::emu::Launch(
                  {.grid = {static_cast<uint32_t>(call.a.batch), 1, 1}, .threads = kPrepareThreads, .seed = seed},
                  [&call] { Prepare(call); });
            return Told(std::move(said));
          },
      .finish =
          [](const Call& call, void*) {
            const auto seed = static_cast<uint64_t>(++finished);
            const bool drops = call.extras.philox != nullptr;
            switch (call.a.type) {
              case cuda::AttentionType::kF8E4m3fn:
                return Told(EmulateFinish<F8E4m3fn, RowScales>(call, seed));
              case cuda::AttentionType::kF8E5m2:
                return Told(EmulateFinish<F8E5m2, RowScales>(call, seed));
              case cuda::AttentionType::kBf16:
                return Told(drops ? EmulateFinish<Bf16, RowDropout>(call, seed)
                                  : EmulateFinish<Bf16, NoExtras>(call, seed));
              default:
                return Told(drops ? EmulateFinish<F16, RowDropout>(call, seed)
                                  : EmulateFinish<F16, NoExtras>(call, seed));
            }
          },
  };
  return kKernels;
}

std::string TakeEmulationFault() {
  const std::lock_guard<std::mutex> lock(mutex);
  return std::exchange(fault, {});
}

int Prepared() { return prepared; }
int Finished() { return finished; }

}  // namespace sage::cudnn
