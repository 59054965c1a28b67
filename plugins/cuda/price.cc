// price.cc: see the header.
#include "price.h"

#include <algorithm>
#include <string>

#include "sage/attention.h"

namespace sage::cuda {
namespace {

constexpr double kMemoryNs = 800;    // from asking to having, with the memory busy
constexpr double kAppendNs = 2500;   // a kernel of its own before the other
constexpr double kCacheReads = 0.5;  // what reading something again costs, of reading it from memory

}  // namespace

double PriceNs(const KernelFamily& family, const AttentionArguments& a, uint64_t features, const Properties& device,
               const std::optional<Rate>& rate) {
  const Roofline roofline = RooflineOf(device);
  const double heads = static_cast<double>(a.batch) * a.heads_q;
  const double flops_per_dim = 2 * heads * VisiblePairs(a);
  const double peak = a.type == AttentionType::kF64 ? roofline.f64_flops
                      : family.tensor_cores         ? roofline.tensor_flops
                                                    : roofline.f32_flops;
  const bool empty = a.batch < 1 || a.heads_q < 1 || a.heads_k < 1 || a.heads_v < 1 || a.seq_q < 1;
  const Spread spread = family.spread == nullptr || empty ? Spread{} : family.spread(a, device);
  // A row of decode says what share of the memory's rate bytes that count once come at; of products it says nothing.
  const bool by_bytes = rate.has_value() && QueryClassOf(a) == QueryClass::kDecode;
  const bool by_products = rate.has_value() && !by_bytes;
  const double key_reads = by_bytes ? 1 : 1 + (spread.key_reads - 1) * kCacheReads;
  const double bytes = AttentionBytes(a, features, key_reads);
  double busy = 1, memory = roofline.bytes * (by_bytes ? rate->share : kBandwidthShare);
  const double ahead_ns = family.ahead_bytes != nullptr ? family.ahead_bytes(a) / memory : 0;
  if (spread.blocks > 0) {
    // Multiprocessors without a block compute nothing, and memory is as fast as it is asked.
    const double processors = std::max(device.multiprocessors, 1);
    busy = std::min(1.0, spread.blocks / processors);
    const double resident = std::min(spread.blocks, processors * spread.resident);
    memory = std::min(memory, resident * spread.bytes_in_flight / kMemoryNs);
  }
  const double qk_peak = family.qk_in_8_bits ? roofline.tensor_s8_ops : peak;
  // Nanoseconds for each of flops_per_dim. A row's share is of all products in 16 bits on tensor cores, whatever they
  // are by.
  const double alone = by_products ? (static_cast<double>(a.dim_qk) + a.dim_v) / (rate->share * roofline.tensor_flops)
                                   : (a.dim_qk / qk_peak + a.dim_v / peak) / family.efficiency;
  const double products_ns = flops_per_dim * spread.padding * alone / busy;
  const bool appends = (features & SAGE_ATTN_F_APPEND_KV) != 0 && !family.fuses_append;
  return family.least_ns + spread.extra_ns + (appends ? kAppendNs : 0) + ahead_ns +
         std::max(products_ns, bytes / memory);
}

std::optional<Rate> RateOf(const KernelFamily& family, const AttentionArguments& arguments, const Properties& device,
                           const AttentionRates& rates) {
  return rates.Find(std::string("cuda.") + family.name, device, arguments);
}

}  // namespace sage::cuda
