// price.cc: see the header.
#include "price.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "common/cuda/roofline.h"

namespace sage::cudnn {
namespace {

// Executing a plan: its checks and launches by the CPU, 8 to 12 us by what is reported of it, until somebody measures
// (bench/results/OPEN.md). A launch of our own is 4 us.
constexpr double kCallNs = 10000;
constexpr double kHelperNs = 2500;     // a small kernel on the stream, beside its bytes
constexpr double kUnknownShare = 0.5;  // of the peak or the memory's rate, where the table says nothing
constexpr double kFp8Rate = 1.5;   // of that in 16 bits: products are twice as fast, the softmax is not (1023 to 691)
constexpr double kTileRows = 128;  // of queries that a block takes; heads are not packed

}  // namespace

double CudnnPriceNs(const cuda::AttentionArguments& a, uint64_t features, const cuda::Properties& device,
                    const cuda::AttentionRates& rates, bool prepares, bool finishes, const char** source) {
  const cuda::Roofline roofline = cuda::RooflineOf(device);
  cuda::AttentionArguments known = a;  // what the table is about: 16 bits
  if (cuda::IsFp8(a.type)) known.type = cuda::AttentionType::kBf16;
  const std::optional<cuda::Rate> rate = rates.Find("cudnn", device, known);
  *source = rates.SourceText(cuda::IsFp8(a.type) ? std::nullopt : rate);
  const bool decode = cuda::QueryClassOf(a) == cuda::QueryClass::kDecode;
  const double share = rate.has_value() ? rate->share : kUnknownShare;
  const double memory = roofline.bytes * (decode ? share : cuda::kBandwidthShare);
  const double heads = static_cast<double>(a.batch) * a.heads_q;
  const double flops = 2 * heads * cuda::VisiblePairs(a) * (static_cast<double>(a.dim_qk) + a.dim_v);
  const double peak = roofline.tensor_flops * (cuda::IsFp8(a.type) ? kFp8Rate : 1);
  double products_ns = flops / (peak * (decode ? kUnknownShare : share));
  if (!decode && heads > 0) {
    // Multiprocessors without a tile compute nothing. Of few queries the keys are split among them, so that holds there
    // no more.
    const double tiles = std::max(1.0, heads * (std::ceil(a.seq_q / kTileRows)));
    products_ns /= std::min(1.0, tiles / std::max(device.multiprocessors, 1));
  }
  double ns = kCallNs + std::max(products_ns, cuda::AttentionBytes(a, features, 1) / memory);
  if (prepares) ns += kHelperNs;
  if (finishes) {
    cuda::AttentionArguments o_alone = a;  // one operand of O's rows and dimensions, nothing else
    o_alone.dim_qk = 0, o_alone.heads_k = o_alone.heads_v = 0;
    ns += kHelperNs + cuda::AttentionBytes(o_alone, 0, 1) / (roofline.bytes * cuda::kBandwidthShare);
  }
  return ns;
}

}  // namespace sage::cudnn
