// cpu_device.cc: the CPU in a device's place, so that everything around the kernels is tested where there is no device.
#include <time.h>

#include <cstdlib>
#include <cstring>

#include "device.h"
#include "sage/types.h"

namespace sage::bench {
namespace {

double Now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

class CpuDevice final : public Device {
 public:
  int32_t type() const override { return SAGE_CPU; }
  void* stream() const override { return nullptr; }
  Result<nlohmann::ordered_json> Facts() override {
    // Small: sets that go past this cache are sets of a few kilobytes.
    return nlohmann::ordered_json{{"name", "the CPU, for tests"},
                                  {"capability", ""},
                                  {"driver", ""},
                                  {"runtime", ""},
                                  {"multiprocessors", 0},
                                  {"l2_bytes", 1 << 16},
                                  {"memory_bytes", int64_t{1} << 30},
                                  {"free_bytes", int64_t{1} << 30},
                                  {"peaks", {{"tensor_flops_per_ns", 1000.0}, {"bytes_per_ns", 100.0}}}};
  }
  Result<void*> Allocate(uint64_t bytes) override {
    void* const memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (memory == nullptr) return Status(SAGE_E_OUT_OF_MEMORY, std::to_string(bytes) + " bytes are not to be had");
    return memory;
  }
  void Free(void* memory) override { std::free(memory); }
  Status Copy(void* to, const void* from, uint64_t bytes) override {
    std::memcpy(to, from, bytes);
    return {};
  }
  Status Fill(void* to, unsigned char byte, uint64_t bytes) override {
    std::memset(to, byte, bytes);
    return {};
  }
  Status Wait() override { return {}; }
  Result<std::vector<double>> Time(const Work& work, int64_t warmup, int64_t samples) override {
    std::vector<double> out;
    for (int64_t n = 0; n < warmup + samples; ++n) {
      const double begin = Now();
      SAGE_RETURN_IF_ERROR(work(n));
      if (n >= warmup) out.push_back(Now() - begin);
    }
    return out;
  }
  Result<std::unique_ptr<Recording>> Record(const Work&, int64_t) override {
    return Status(SAGE_E_UNSUPPORTED, "the CPU records nothing");
  }
};

}  // namespace

std::unique_ptr<Device> MakeCpuDevice() { return std::make_unique<CpuDevice>(); }

Result<DeviceMemory> Take(Device& device, uint64_t bytes) {
  SAGE_ASSIGN_OR_RETURN(void* const data, device.Allocate(bytes == 0 ? 1 : bytes));
  return DeviceMemory(&device, data);
}

}  // namespace sage::bench
