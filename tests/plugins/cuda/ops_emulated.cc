// ops_emulated.cc: compiles the kernels of the ops for the CPU, once for all test files.
#include "ops_emulated.h"

#include "cuda/backend.h"

namespace sage::test {
namespace {

int& Count() {
  static int count = 0;
  return count;
}
cuda::Launched& Answer() {
  static cuda::Launched answer;
  return answer;
}

bool& Dependent() {
  static bool dependent = false;
  return dependent;
}

template <class Call>
cuda::Launched Emulate(const Call& call, void*) {
  static std::string failure;
  Dependent() = call.grid.dependent;
  if (!Answer().ok()) return Answer();
  const auto seed = static_cast<uint64_t>(++Count());
  if (call.grid.x == 0 || call.grid.y == 0) return {cuda::kSuccess, "a launch of no block"};
  failure = cuda::ForKernel(call, [&](auto kernel) {
    using Kernel = decltype(kernel);
    return cuda::emu::Launch({.grid = {call.grid.x, call.grid.y, 1},
                              .threads = Kernel::kThreads,
                              .shared_bytes = Kernel::kSharedBytes,
                              .seed = seed,
                              .earlier = [] {}},  // somebody has to wait for it
                             [&] { cuda::RunKernel<Kernel>(call); });
  });
  return {cuda::kSuccess, failure.empty() ? nullptr : failure.c_str()};
}

cuda::OpLaunches& Launches() {
  static cuda::OpLaunches launches{
      .architectures = "80",
      .unary = Emulate<cuda::UnaryCall>,
      .binary = Emulate<cuda::BinaryCall>,
      .batch_norm = Emulate<cuda::BatchNormCall>,
      .cast = Emulate<cuda::CastCall>,
      .line = Emulate<cuda::LineCall>,
      .columns = Emulate<cuda::ColumnsCall>,
      .pool = Emulate<cuda::PoolCall>,
      .copy = Emulate<cuda::CopyOne>,
      .copies = Emulate<cuda::CopyMany>,
      .transpose = Emulate<cuda::TransposeCall>,
      .gather = Emulate<cuda::GatherCall>,
      .topk = Emulate<cuda::TopkCall>,
      .rope = Emulate<cuda::RopeCall>,
  };
  return launches;
}

// No attention here, but a device is one that its kernels run on.
constexpr cuda::KernelFamily kFamilies[] = {{.name = "none", .architectures = "80"}};

void Probe(int32_t device_id, uint32_t* count, sage_answer* answer) {
  cuda::ProbeOver(EmulatedOpsRuntime(), {.attention = kFamilies, .ops = &Launches()}, device_id, count, answer);
}
sage_status Create(const sage_host& host, int32_t device_id, const char* options,
                   std::unique_ptr<plugins::Backend>* out, sage_error* err) {
  return cuda::CreateOver(EmulatedOpsRuntime(), {.attention = kFamilies, .ops = &Launches()}, host, device_id, options,
                          out, err);
}
constexpr sage_plugin kTable = plugins::DeviceTable<Probe, Create>(
    {.name = "cuda", .version = cuda::kVersion, .build = "emulation", .kinds = cuda::kKinds, .device_type = SAGE_CUDA});

}  // namespace

const sage_plugin* EmulatedOpsTable() { return &kTable; }
cuda::FakeRuntime& EmulatedOpsRuntime() {
  static cuda::FakeRuntime runtime;
  return runtime;
}
int EmulatedLaunches() { return Count(); }
bool LastLaunchWasDependent() { return Dependent(); }
void SetEmulatedArchitectures(std::string_view list) { Launches().architectures = list; }
void AnswerLaunchesWith(const cuda::Launched& answer) { Answer() = answer; }

}  // namespace sage::test
