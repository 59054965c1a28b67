// plugin.cc: the cudnn table: attention by NVIDIA's cuDNN, products by cuBLASLt.
#include "backend.h"
#include "library.h"

namespace {

sage::cudnn::Parts Linked() {
  return {.kernels = {.architectures = SAGE_CUDNN_CODE,
                      .prepare = sage::cudnn::LaunchPrepare,
                      .finish = sage::cudnn::LaunchFinish},
          .load = sage::cudnn::Load,
          .load_cublaslt = sage::cuda::lt::Load};
}

void Probe(int32_t device_id, uint32_t* count, sage_answer* answer) {
  sage::cudnn::ProbeOver(sage::cuda::LinkedRuntime(), Linked(), device_id, count, answer);
}

sage_status Create(const sage_host& host, int32_t device_id, const char* options,
                   std::unique_ptr<sage::plugins::Backend>* out, sage_error* err) {
  return sage::cudnn::CreateOver(sage::cuda::LinkedRuntime(), Linked(), host, device_id, options, out, err);
}

constexpr sage_plugin kTable = sage::plugins::DeviceTable<Probe, Create>({
    .name = "cudnn",
    .version = sage::cudnn::kVersion,
    .build = SAGE_CUDNN_BUILD ", " __VERSION__,
    .kinds = sage::cudnn::kKinds,
    .features = sage::cudnn::kFeatures,
    .device_type = SAGE_CUDA,
});

}  // namespace

extern "C" SAGE_PLUGIN_ENTRY(cudnn) { return sage::plugins::TableFor(kTable, host_major, host_minor); }
