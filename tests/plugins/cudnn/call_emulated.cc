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

template <class T>
std::string EmulateFinish(const Call& call, uint64_t seed) {
  const auto blocks = static_cast<uint32_t>(cuda::PlainBlocks(call.a));
  return cuda::emu::Launch({.grid = {blocks, 1, 1}, .threads = 32 * cuda::kPlainWarps, .seed = seed},
                           [&call] { Finish<T>(call); });
}

}  // namespace

const CallKernels& EmulatedCallKernels() {
  static constexpr CallKernels kKernels = {
      .architectures = "80",
      .prepare =
          [](const Call& call, void*) {
            const auto seed = static_cast<uint64_t>(++prepared);
            return Told(cuda::emu::Launch(
                {.grid = {static_cast<uint32_t>(call.a.batch), 1, 1}, .threads = kPrepareThreads, .seed = seed},
                [&call] { Prepare(call); }));
          },
      .finish =
          [](const Call& call, void*) {
            const auto seed = static_cast<uint64_t>(++finished);
            return Told(call.a.type == cuda::AttentionType::kBf16 ? EmulateFinish<Bf16>(call, seed)
                                                                  : EmulateFinish<F16>(call, seed));
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
