// backend.cc: an instance: its device, its options, and what was decided turned into plans.
#include "backend.h"

#include <algorithm>
#include <string>
#include <vector>

#include "attention.h"
#include "common/cuda/architecture.h"
#include "common/cuda/availability.h"
#include "common/cuda/device.h"
#include "sage/support/refuse.h"
#include "support.h"

namespace sage::cuda {
namespace {

// Of all families: a device that one of them runs on is a device.
std::string Architectures(std::span<const KernelFamily> families) {
  std::string all;
  for (const KernelFamily& family : families) {
    if ((" " + all + " ").find(" " + std::string(family.architectures) + " ") != std::string::npos) continue;
    all += (all.empty() ? "" : " ") + std::string(family.architectures);
  }
  return all;
}

// kernels: those the instance may use.
sage_status ReadOptions(std::string_view rest, std::span<const KernelFamily> families,
                        std::vector<KernelFamily>* kernels, sage_error* err) {
  kernels->assign(families.begin(), families.end());
  const auto length = [](std::string_view text) { return static_cast<int>(std::min<size_t>(text.size(), 64)); };
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    if (line.empty()) continue;
    const std::string_view key = line.substr(0, line.find('='));
    const std::string_view value = line.substr(std::min(key.size() + 1, line.size()));
    if (key != "kernels")
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "option \"%.*s\" is unknown to cuda; it has: kernels", length(key),
                       key.data());
    kernels->assign(families.begin(), families.end());
    if (value == "auto") continue;
    std::erase_if(*kernels, [&](const KernelFamily& family) { return value != family.name; });
    if (!kernels->empty()) continue;
    std::string names = "auto";
    for (const KernelFamily& family : families) names += std::string(", ") + family.name;
    return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "kernels is \"%.*s\", expected one of: %s", length(value),
                     value.data(), names.c_str());
  }
  return SAGE_OK;
}

class CudaBackend final : public plugins::Backend {
 public:
  CudaBackend(std::unique_ptr<cuda::Device> device, const sage_host& host, std::vector<KernelFamily> kernels)
      : device_(std::move(device)), host_(host), kernels_(std::move(kernels)) {}

  void Ask(const plugins::OpView& view, uint64_t features, sage_answer* answer) const override {
    Choice choice;
    (void)Decide(view, features, *device_, kernels_, &choice, answer);
  }

  sage_status Plan(const plugins::OpView& view, uint64_t features, const plugins::KernelPlan* like,
                   std::unique_ptr<plugins::KernelPlan>* out, sage_error* err) override {
    Choice choice;
    sage_answer answer{};
    answer.struct_size = sizeof answer;
    if (!Decide(view, features, *device_, kernels_, &choice, &answer))  // the device may have been lost since
      return sage_fail(err, SAGE_E_UNSUPPORTED, "plan: %s", answer.reason);
    return PlanAttention(*device_, host_, choice, view, features, like, out, err);
  }

  const sage_device_table* Device() const override { return device_->table(); }

 private:
  std::unique_ptr<cuda::Device> device_;
  const sage_host& host_;
  std::vector<KernelFamily> kernels_;
};

}  // namespace

void ProbeOver(Runtime& runtime, std::span<const KernelFamily> families, int32_t device_id, uint32_t* count,
               sage_answer* answer) {
  Properties properties;
  std::string why;
  if (!FindDevice(runtime, device_id, Architectures(families), count, &properties, &why))
    return sage_refuse(answer, 0, "%s", why.c_str());
  sage_accept(answer, 0, SAGE_COST_MODEL, SAGE_ACCURACY_EXACT, 0, "%s, sm_%d, %llu MiB", properties.name.c_str(),
              properties.major * 10 + properties.minor, static_cast<unsigned long long>(properties.total_bytes >> 20));
}

sage_status CreateOver(Runtime& runtime, std::span<const KernelFamily> families, const sage_host& host,
                       int32_t device_id, const char* options, std::unique_ptr<plugins::Backend>* out,
                       sage_error* err) {
  std::vector<KernelFamily> kernels;
  sage_status status = ReadOptions(options, families, &kernels, err);
  if (status != SAGE_OK) return status;
  uint32_t count = 0;
  Properties properties;
  std::string why;
  if (!FindDevice(runtime, device_id, Architectures(kernels), &count, &properties, &why))
    return sage_fail(err, SAGE_E_UNSUPPORTED, "create: %s", why.c_str());
  std::unique_ptr<Device> device;
  status = Device::Create(runtime, host, device_id, properties, &device, err);
  if (status == SAGE_OK) *out = std::make_unique<CudaBackend>(std::move(device), host, std::move(kernels));
  return status;
}

}  // namespace sage::cuda
