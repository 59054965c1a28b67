// linear_testing.h: LINEAR and MATMUL of the plugin cudnn behind a table of their own, over the fake runtime and the
// fake cuBLASLt.
#ifndef SAGE_TESTS_PLUGINS_CUDNN_LINEAR_TESTING_H_
#define SAGE_TESTS_PLUGINS_CUDNN_LINEAR_TESTING_H_

#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "../cuda/product_device.h"
#include "common/cuda/refusals.h"
#include "common/entries.h"
#include "linear.h"

namespace sage::test {

namespace linear {

constexpr uint64_t kKinds = SAGE_KIND_BIT(SAGE_OP_LINEAR) | SAGE_KIND_BIT(SAGE_OP_MATMUL);

// The plugin's backend with nothing but these two kinds.
class Backend final : public plugins::Backend {
 public:
  Backend(std::unique_ptr<cuda::Device> device, const sage_host& host, std::unique_ptr<cuda::KindServer> server)
      : device_(std::move(device)), host_(host), server_(std::move(server)) {}

  void Ask(const plugins::OpView& view, uint64_t features, sage_answer* answer) const override {
    if (!cuda::RefuseInGeneral(view, *device_, answer)) server_->Ask(view, features, *device_, answer);
  }
  sage_status Plan(const plugins::OpView& view, uint64_t features, const plugins::KernelPlan* like,
                   std::unique_ptr<plugins::KernelPlan>* out, sage_error* err) override {
    return server_->Plan(view, features, *device_, host_, like, out, err);
  }
  const sage_device_table* Device() const override { return device_->table(); }

 private:
  std::unique_ptr<cuda::Device> device_;
  const sage_host& host_;
  std::unique_ptr<cuda::KindServer> server_;
};

inline void Probe(int32_t, uint32_t* count, sage_answer* answer) {
  *count = 1;
  sage_accept(answer, 0, SAGE_COST_MODEL, SAGE_ACCURACY_EXACT, 0, "fake");
}
// options: the value of cublas, or nothing.
inline sage_status Create(const sage_host& host, int32_t device_id, const char* options,
                          std::unique_ptr<plugins::Backend>* out, sage_error* err) {
  cuda::LibraryOption option;
  if (*options != '\0')
    if (const sage_status status = cuda::ReadLibraryOption(options, &option, err); status != SAGE_OK) return status;
  std::unique_ptr<cuda::Device> device;
  sage_status status =
      cuda::Device::Create(DeviceRuntime(), host, device_id, DeviceRuntime().devices.at(0), &device, err);
  if (status != SAGE_OK) return status;
  std::unique_ptr<cuda::KindServer> server;
  status = cudnn::ServeLinear(LoadFakeCublasLt, option, *device, &server, err);
  if (status == SAGE_OK) *out = std::make_unique<Backend>(std::move(device), host, std::move(server));
  return status;
}
inline constexpr sage_plugin kTable = plugins::DeviceTable<Probe, Create>(
    {.name = "cudnn", .version = "0.1.0", .build = "test", .kinds = kKinds, .device_type = SAGE_CUDA});

}  // namespace linear

class LinearDevice final : public TableDevice {
 public:
  explicit LinearDevice(const char* cublas = nullptr, const cuda::Properties& properties = cuda::FakeH200())
      : TableDevice(linear::kTable, cublas, properties) {}
};

// As the fakes are set by nobody.
struct FreshFakes {
  FreshFakes() { Fake() = {}; }
  ~FreshFakes() { Fake() = {}, DeviceRuntime().fail.clear(); }
};

inline bool Has(std::string_view text, std::string_view part) { return text.find(part) != std::string_view::npos; }

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CUDNN_LINEAR_TESTING_H_
