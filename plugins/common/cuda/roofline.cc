// roofline.cc: rates by architecture are those of NVIDIA's white papers, a multiprocessor and a clock.
#include "common/cuda/roofline.h"

#include <algorithm>

#include "sage/attention.h"

namespace sage::cuda {
namespace {

constexpr double kLaunchNs = 4000;  // enqueueing and starting one kernel

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

double ElementBytes(AttentionType type) {
  return type == AttentionType::kF64 ? 8 : type == AttentionType::kF32 ? 4 : IsFp8(type) ? 1 : 2;
}

// min(1, keys) + min(2, keys) + ... + min(rows, keys).
double UpTo(double rows, double keys) {
  if (rows <= 0) return 0;
  return rows <= keys ? rows * (rows + 1) / 2 : keys * (keys + 1) / 2 + (rows - keys) * keys;
}

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

double AttentionBytes(const AttentionArguments& a, uint64_t features, double key_reads) {
  const double rows_q = a.total_q > 0 ? a.total_q : static_cast<double>(a.batch) * a.seq_q;
  const double rows_k = a.total_k > 0 ? a.total_k : static_cast<double>(a.batch) * a.seq_kv;
  double bytes =
      ElementBytes(a.type) *
      (rows_q * a.heads_q * (static_cast<double>(a.dim_qk) + a.dim_v) +
       key_reads * rows_k * (static_cast<double>(a.heads_k) * a.dim_qk + static_cast<double>(a.heads_v) * a.dim_v));
  const double statistic = a.type == AttentionType::kF64 ? 8 : 4;
  const double pairs = static_cast<double>(a.batch) * a.heads_q * a.seq_q * a.seq_kv;
  for (const uint64_t whole : {SAGE_ATTN_F_WEIGHTS_OUT, SAGE_ATTN_F_SCORES_OUT, SAGE_ATTN_F_BIAS})
    if ((features & whole) != 0) bytes += statistic * pairs;
  return bytes;
}

double MemoryPriceNs(double bytes, double share, double launches, const Properties& device) {
  return kLaunchNs * launches + bytes / (RooflineOf(device).bytes * kBandwidthShare * share);
}

}  // namespace sage::cuda
