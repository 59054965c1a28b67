// price.cc: rates by architecture are those of NVIDIA's white papers, a multiprocessor and a clock.
#include "price.h"

#include <algorithm>

#include "sage/attention.h"

namespace sage::cuda {
namespace {

constexpr double kMemoryNs = 800;    // from asking to having, with the memory busy
constexpr double kAppendNs = 2500;   // a kernel of its own before the other
constexpr double kCacheReads = 0.5;  // what reading something again costs, of reading it from memory
constexpr double kLaunchNs = 4000;   // enqueueing and starting one kernel of the small kinds

// FLOP (two an FMA) a clock of one multiprocessor.
struct PerClock {
  double tensor, f32, f64;
  double tensor_s8;
};
PerClock PerClockOf(int major, int minor) {
  if (major == 8 && minor == 0) return {2048, 128, 64, 4096};    // A100
  if (major == 8) return {1024, 256, 4, 2048};                   // RTX 30 and 40, Orin
  if (major == 9) return {4096, 256, 128, 8192};                 // H100, H200
  if (major == 10 && minor == 3) return {8192, 256, 128, 1024};  // B300 gave 8-bit integers up for 4-bit floats
  if (major == 10) return {8192, 256, 128, 16384};               // B200; the smaller ones have less f64
  return {1024, 256, 4, 2048};                                   // RTX 50 and what is not known: the least
}

// min(1, keys) + min(2, keys) + ... + min(rows, keys).
double UpTo(double rows, double keys) {
  if (rows <= 0) return 0;
  return rows <= keys ? rows * (rows + 1) / 2 : keys * (keys + 1) / 2 + (rows - keys) * keys;
}

double Bytes(AttentionType type) { return type == AttentionType::kF64 ? 8 : type == AttentionType::kF32 ? 4 : 2; }

}  // namespace

Roofline RooflineOf(const Properties& device) {
  // A driver that keeps a clock to itself: a gigahertz, and a slow memory.
  const double clock = device.clock_khz > 0 ? device.clock_khz * 1e-6 : 1;
  const double sms = std::max(device.multiprocessors, 1);
  const PerClock rates = PerClockOf(device.major, device.minor);
  Roofline roofline;
  roofline.tensor_flops = rates.tensor * sms * clock;
  roofline.tensor_s8_ops = rates.tensor_s8 * sms * clock;
  roofline.f32_flops = rates.f32 * sms * clock;
  roofline.f64_flops = rates.f64 * sms * clock;
  // Two transfers a clock.
  const double bytes = 2.0 * device.memory_clock_khz * 1e-6 * device.memory_bus_bits / 8;
  roofline.bytes = bytes > 0 ? bytes : 100;
  return roofline;
}

double VisiblePairs(const AttentionArguments& a) {
  const double queries = a.seq_q, keys = a.seq_kv;
  if (queries <= 0 || keys <= 0) return 0;
  double pairs = queries * keys;
  if (a.causal) {
    // Query i sees i + 1 + shift keys, between none and all.
    const double shift = a.bottom_right ? keys - queries : 0;
    pairs = UpTo(queries + shift, keys) - UpTo(shift, keys);
  }
  if (a.window_left >= 0 || a.window_right >= 0) {
    const double left = a.window_left >= 0 ? static_cast<double>(a.window_left) : keys;
    const double right = a.causal ? 0 : a.window_right >= 0 ? static_cast<double>(a.window_right) : keys;
    pairs = std::min(pairs, queries * std::min(left + right + 1, keys));
  }
  return pairs;
}

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

double MemoryPriceNs(double bytes, double share, double launches, const Properties& device) {
  return kLaunchNs * launches + bytes / (RooflineOf(device).bytes * kBandwidthShare * share);
}

}  // namespace sage::cuda
