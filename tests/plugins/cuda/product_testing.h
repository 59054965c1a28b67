// product_testing.h: LINEAR and MATMUL through the table of the cuda backend, whose kernels are the emulated ones.
#ifndef SAGE_TESTS_PLUGINS_CUDA_PRODUCT_TESTING_H_
#define SAGE_TESTS_PLUGINS_CUDA_PRODUCT_TESTING_H_

#include <memory>
#include <string>

#include "cuda/backend.h"
#include "product_device.h"
#include "product_emulated.h"

namespace sage::test {

namespace products {
// A family of attention is what makes a device one of this build's.
inline const cuda::KernelFamily& AnyFamily() {
  static const cuda::KernelFamily family = [] {
    cuda::KernelFamily made;
    made.name = "none", made.architectures = "80";
    return made;
  }();
  return family;
}
inline cuda::Kernels All() {
  return {.attention = {&AnyFamily(), 1}, .products = &EmulatedProductKernels(), .load_cublaslt = LoadFakeCublasLt};
}
inline void Probe(int32_t device_id, uint32_t* count, sage_answer* answer) {
  cuda::ProbeOver(DeviceRuntime(), All(), device_id, count, answer);
}
inline sage_status Create(const sage_host& host, int32_t device_id, const char* options,
                          std::unique_ptr<plugins::Backend>* out, sage_error* err) {
  return cuda::CreateOver(DeviceRuntime(), All(), host, device_id, options, out, err);
}
inline constexpr sage_plugin kTable = plugins::DeviceTable<Probe, Create>(
    {.name = "cuda", .version = "0.1.0", .build = "emulation", .kinds = cuda::kKinds, .device_type = SAGE_CUDA});
}  // namespace products

class ProductDevice final : public TableDevice {
 public:
  explicit ProductDevice(const char* options = nullptr, const cuda::Properties& properties = cuda::FakeH200())
      : TableDevice(products::kTable, options, properties) {
    Emulated() = {};
  }

 private:
  std::string Finding() const override { return Emulated().failure.empty() ? "" : "emulation: " + Emulated().failure; }
};

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CUDA_PRODUCT_TESTING_H_
