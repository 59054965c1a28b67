// plugin.cc: the cuda table: attention and the small ops of a model on NVIDIA devices by kernels of our own, products
// by those and cuBLASLt.
#include "backend.h"
#include "families.h"
#include "products/product_linked.h"

namespace {

sage::cuda::Kernels Linked() {
  return {.attention = sage::cuda::LinkedFamilies(),
          .products = &sage::cuda::LinkedProducts(),
          .load_cublaslt = sage::cuda::lt::Load,
          .ops = &sage::cuda::LinkedOps()};
}

void Probe(int32_t device_id, uint32_t* count, sage_answer* answer) {
  sage::cuda::ProbeOver(sage::cuda::LinkedRuntime(), Linked(), device_id, count, answer);
}

sage_status Create(const sage_host& host, int32_t device_id, const char* options,
                   std::unique_ptr<sage::plugins::Backend>* out, sage_error* err) {
  return sage::cuda::CreateOver(sage::cuda::LinkedRuntime(), Linked(), host, device_id, options, out, err);
}

constexpr sage_plugin kTable = sage::plugins::DeviceTable<Probe, Create>({
    .name = "cuda",
    .version = sage::cuda::kVersion,
    .build = SAGE_CUDA_BUILD ", " __VERSION__,
    .kinds = sage::cuda::kKinds,
    .features = sage::cuda::kLinkedFeatures,
    .device_type = SAGE_CUDA,
});

}  // namespace

extern "C" SAGE_PLUGIN_ENTRY(cuda) { return sage::plugins::TableFor(kTable, host_major, host_minor); }
