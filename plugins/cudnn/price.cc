// price.cc: see the header.
#include "price.h"

#include <algorithm>

#include "common/cuda/roofline.h"

namespace sage::cudnn {

double CudnnPriceNs(const cuda::AttentionArguments& a, const cuda::Properties& device, bool prepares, bool finishes) {
  const cuda::Roofline roofline = cuda::RooflineOf(device);
  const double heads = static_cast<double>(a.batch) * a.heads_q;
  const double flops = 2 * heads * cuda::VisiblePairs(a) * (static_cast<double>(a.dim_qk) + a.dim_v);
  const double bytes = 2.0 * a.batch * a.seq_kv * a.heads_k * (static_cast<double>(a.dim_qk) + a.dim_v);
  const double output = 2.0 * heads * a.seq_q * a.dim_v;
  return 10000 + (prepares ? 2500 : 0) + (finishes ? cuda::MemoryPriceNs(output, 1, 1, device) : 0) +
         std::max(flops / (roofline.tensor_flops * 0.5), bytes / (roofline.bytes * cuda::kBandwidthShare));
}

}  // namespace sage::cudnn
