// backend.cc: an instance: its device, its options, and who serves which kind of op.
#include "backend.h"

#include <algorithm>
#include <charconv>
#include <string>
#include <vector>

#include "attention.h"
#include "common/cuda/architecture.h"
#include "common/cuda/attention_rates.h"
#include "common/cuda/availability.h"
#include "common/cuda/device.h"
#include "common/cuda/refusals.h"
#include "sage/support/check_op.h"
#include "sage/support/refuse.h"

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

// value: "all", "none", or names of stages that are on, with commas between them.
sage_status ReadStages(std::string_view value, KernelFamily* family, sage_error* err) {
  const uint32_t every = (1u << family->stages.size()) - 1;
  uint32_t on = value == "all" ? every : 0;
  if (value == "all" || value == "none") value = {};
  while (!value.empty()) {
    const std::string_view name = value.substr(0, value.find(','));
    value.remove_prefix(std::min(name.size() + 1, value.size()));
    const auto found = std::find(family->stages.begin(), family->stages.end(), name);
    if (found == family->stages.end()) {
      std::string names;
      for (const char* stage : family->stages) names += (names.empty() ? "" : ", ") + std::string(stage);
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT,
                       "hopper_stages names \"%.*s\", expected all, none, or some of %s with commas between them",
                       static_cast<int>(std::min<size_t>(name.size(), 64)), name.data(), names.c_str());
    }
    on |= 1u << (found - family->stages.begin());
  }
  family->stages_off = every & ~on;
  return SAGE_OK;
}

// kernels: those the instance may use.
sage_status ReadOptions(std::string_view rest, std::span<const KernelFamily> families,
                        std::vector<KernelFamily>* kernels, LibraryOption* library, bool* dependent,
                        AttentionRates* rates, sage_error* err) {
  kernels->assign(families.begin(), families.end());
  int32_t splits = 0;
  std::string_view stages;
  const auto length = [](std::string_view text) { return static_cast<int>(std::min<size_t>(text.size(), 64)); };
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    if (line.empty()) continue;
    const std::string_view key = line.substr(0, line.find('='));
    const std::string_view value = line.substr(std::min(key.size() + 1, line.size()));
    if (key == "cublas") {
      if (const sage_status status = ReadLibraryOption(value, library, err); status != SAGE_OK) return status;
      continue;
    }
    if (key == "rates") {
      if (const sage_status status = LoadRates(std::string(value), rates, err); status != SAGE_OK) return status;
      continue;
    }
    if (key == "dependent_launch") {
      *dependent = value == "on";
      if (value == "on" || value == "off") continue;
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "dependent_launch is \"%.*s\", expected on or off", length(value),
                       value.data());
    }
    if (key == "hopper_stages") {
      stages = value;
      if (!value.empty()) continue;
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "hopper_stages is empty, expected all, none, or names");
    }
    if (key == "splits") {
      splits = 0;
      const auto [end, wrong] = std::from_chars(value.data(), value.data() + value.size(), splits);
      const bool number = wrong == std::errc() && end == value.data() + value.size();
      if (value != "auto" && (!number || splits < 1 || splits > kMostSplits))
        return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "splits is \"%.*s\", expected auto or 1 to %d", length(value),
                         value.data(), kMostSplits);
      continue;
    }
    if (key != "kernels")
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT,
                       "option \"%.*s\" is unknown to cuda; it has: kernels, splits, cublas, dependent_launch, "
                       "hopper_stages, rates",
                       length(key), key.data());
    kernels->assign(families.begin(), families.end());
    if (value == "auto") continue;
    std::erase_if(*kernels, [&](const KernelFamily& family) { return value != family.name; });
    if (!kernels->empty()) continue;
    std::string names = "auto";
    for (const KernelFamily& family : families) names += std::string(", ") + family.name;
    return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "kernels is \"%.*s\", expected one of: %s", length(value),
                     value.data(), names.c_str());
  }
  bool used = splits == 0;
  for (KernelFamily& family : *kernels) family.splits = splits, used |= family.split != nullptr;
  if (!used)
    return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "splits is %d, but the kernels \"%s\" do not split keys", splits,
                     kernels->front().name);
  used = stages.empty();
  for (KernelFamily& family : *kernels) {
    if (stages.empty() || family.stages.empty()) continue;
    if (const sage_status status = ReadStages(stages, &family, err); status != SAGE_OK) return status;
    used = true;
  }
  if (!used)
    return sage_fail(err, SAGE_E_INVALID_ARGUMENT,
                     "hopper_stages is \"%.*s\", but the kernels \"%s\" have no stages that could be left out",
                     length(stages), stages.data(), kernels->front().name);
  return SAGE_OK;
}

class CudaBackend final : public plugins::Backend {
 public:
  CudaBackend(std::unique_ptr<cuda::Device> device, const sage_host& host,
              std::vector<std::unique_ptr<KindServer>> servers)
      : device_(std::move(device)), host_(host), servers_(std::move(servers)) {}

  void Ask(const plugins::OpView& view, uint64_t features, sage_answer* answer) const override {
    const KindServer* server = ServerOf(view.op.kind);
    if (server == nullptr)
      return sage_refuse(answer, 0, "this build of cuda does not compute %s", support::KindName(view.op.kind));
    if (!RefuseInGeneral(view, *device_, answer)) server->Ask(view, features, *device_, answer);
  }

  sage_status Plan(const plugins::OpView& view, uint64_t features, const plugins::KernelPlan* like,
                   std::unique_ptr<plugins::KernelPlan>* out, sage_error* err) override {
    sage_answer answer{};
    answer.struct_size = sizeof answer;
    if (RefuseInGeneral(view, *device_, &answer))  // the device may have been lost since
      return sage_fail(err, SAGE_E_UNSUPPORTED, "plan: %s", answer.reason);
    return ServerOf(view.op.kind)->Plan(view, features, *device_, host_, like, out, err);
  }

  const sage_device_table* Device() const override { return device_->table(); }

 private:
  const KindServer* ServerOf(uint32_t kind) const {
    for (const auto& server : servers_)
      if ((server->kinds() & SAGE_KIND_BIT(kind)) != 0) return server.get();
    return nullptr;
  }

  std::unique_ptr<cuda::Device> device_;
  const sage_host& host_;
  std::vector<std::unique_ptr<KindServer>> servers_;
};

}  // namespace

void ProbeOver(Runtime& runtime, const Kernels& kernels, int32_t device_id, uint32_t* count, sage_answer* answer) {
  Properties properties;
  std::string why;
  if (!FindDevice(runtime, device_id, Architectures(kernels.attention), count, &properties, &why))
    return sage_refuse(answer, 0, "%s", why.c_str());
  sage_accept(answer, 0, SAGE_COST_MODEL, SAGE_ACCURACY_EXACT, 0, "%s, sm_%d, %llu MiB", properties.name.c_str(),
              properties.major * 10 + properties.minor, static_cast<unsigned long long>(properties.total_bytes >> 20));
}

sage_status CreateOver(Runtime& runtime, const Kernels& kernels, const sage_host& host, int32_t device_id,
                       const char* options, std::unique_ptr<plugins::Backend>* out, sage_error* err) {
  std::vector<KernelFamily> families;
  LibraryOption library;
  bool dependent = false;
  AttentionRates rates;
  sage_status status = ReadOptions(options, kernels.attention, &families, &library, &dependent, &rates, err);
  if (status != SAGE_OK) return status;
  uint32_t count = 0;
  Properties properties;
  std::string why;
  if (!FindDevice(runtime, device_id, Architectures(families), &count, &properties, &why))
    return sage_fail(err, SAGE_E_UNSUPPORTED, "create: %s", why.c_str());
  properties.dependent_launch = dependent && properties.major >= 9;
  std::unique_ptr<Device> device;
  status = Device::Create(runtime, host, device_id, properties, &device, err);
  if (status != SAGE_OK) return status;
  std::vector<std::unique_ptr<KindServer>> servers;
  servers.push_back(ServeAttention(std::move(families), std::move(rates)));
  if (kernels.products != nullptr) {
    std::unique_ptr<KindServer> products;
    status = ServeProducts(*kernels.products, kernels.load_cublaslt, library, *device, &products, err);
    if (status != SAGE_OK) return status;
    servers.push_back(std::move(products));
  }
  if (kernels.ops != nullptr) servers.push_back(ServeOps(*kernels.ops));
  *out = std::make_unique<CudaBackend>(std::move(device), host, std::move(servers));
  return SAGE_OK;
}

}  // namespace sage::cuda
