// price.cc: see the header.
#include "price.h"

#include <algorithm>

#include "sage/attention.h"

namespace sage::cuda {
namespace {

constexpr double kMemoryNs = 800;    // from asking to having, with the memory busy
constexpr double kAppendNs = 2500;   // a kernel of its own before the other
constexpr double kCacheReads = 0.5;  // what reading something again costs, of reading it from memory

double Bytes(AttentionType type) { return type == AttentionType::kF64 ? 8 : type == AttentionType::kF32 ? 4 : 2; }

}  // namespace

double PriceNs(const KernelFamily& family, const AttentionArguments& a, uint64_t features, const Properties& device) {
  const Roofline roofline = RooflineOf(device);
  const double heads = static_cast<double>(a.batch) * a.heads_q;
  const double flops_per_dim = 2 * heads * VisiblePairs(a);
  const double peak = a.type == AttentionType::kF64 ? roofline.f64_flops
                      : family.tensor_cores         ? roofline.tensor_flops
                                                    : roofline.f32_flops;
  const double rows_q = a.total_q > 0 ? a.total_q : static_cast<double>(a.batch) * a.seq_q;
  const double rows_k = a.total_k > 0 ? a.total_k : static_cast<double>(a.batch) * a.seq_kv;
  const bool empty = a.batch < 1 || a.heads_q < 1 || a.heads_k < 1 || a.heads_v < 1 || a.seq_q < 1;
  const Spread spread = family.spread == nullptr || empty ? Spread{} : family.spread(a, device);
  const double key_reads = 1 + (spread.key_reads - 1) * kCacheReads;
  double bytes =
      Bytes(a.type) *
      (rows_q * a.heads_q * (static_cast<double>(a.dim_qk) + a.dim_v) +
       key_reads * rows_k * (static_cast<double>(a.heads_k) * a.dim_qk + static_cast<double>(a.heads_v) * a.dim_v));
  const double statistic = a.type == AttentionType::kF64 ? 8 : 4;
  const double pairs = heads * a.seq_q * a.seq_kv;
  for (const uint64_t whole : {SAGE_ATTN_F_WEIGHTS_OUT, SAGE_ATTN_F_SCORES_OUT, SAGE_ATTN_F_BIAS})
    if ((features & whole) != 0) bytes += statistic * pairs;
  const double qk_peak = family.qk_in_8_bits ? roofline.tensor_s8_ops : peak;
  double busy = 1, rate = roofline.bytes * kBandwidthShare;
  const double ahead_ns = family.ahead_bytes != nullptr ? family.ahead_bytes(a) / rate : 0;
  if (spread.blocks > 0) {
    // Multiprocessors without a block compute nothing, and memory is as fast as it is asked.
    const double processors = std::max(device.multiprocessors, 1);
    busy = std::min(1.0, spread.blocks / processors);
    const double resident = std::min(spread.blocks, processors * spread.resident);
    rate = std::min(rate, resident * spread.bytes_in_flight / kMemoryNs);
  }
  const double products_ns =
      flops_per_dim * spread.padding * (a.dim_qk / qk_peak + a.dim_v / peak) / (family.efficiency * busy);
  const bool appends = (features & SAGE_ATTN_F_APPEND_KV) != 0 && !family.fuses_append;
  return family.least_ns + spread.extra_ns + (appends ? kAppendNs : 0) + ahead_ns + std::max(products_ns, bytes / rate);
}

}  // namespace sage::cuda
