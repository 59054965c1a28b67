// attention_decode_plan.cc: see attention_decode_plan.h.
#include "attention_decode_plan.h"

#include <algorithm>
#include <numeric>

namespace sage::cuda {
namespace {

// Costs in units of the time that a block takes for a tile of keys; estimates until a device has measured them.
constexpr double kStart = 2;  // of a block: Q and the first keys are waited for, four warps become one
constexpr double kMerge = 1;  // once: partial results are written, and read by the last block
constexpr double kPerSplit = 0.05;

// With fewer than that many free places no split pays.
constexpr double kFull = 0.8;

struct Units {
  int64_t rows = 0;   // tiles of rows, over all heads and sequences
  int64_t tiles = 0;  // tiles of keys of the longest sequence
  int64_t seen = 0;   // of them, by queries in a window
};
Units UnitsOf(const AttentionArguments& a) {
  if (a.batch < 1 || a.heads_q < 1 || a.heads_k < 1 || a.heads_v < 1 || a.seq_q < 1) return {};
  const PortableArguments p = PlanPortable(a, kDecodeRows);
  Units units{PortableBlocks(p), (int64_t{a.seq_kv} + kDecodeKeys - 1) / kDecodeKeys, 0};
  units.seen = units.tiles;
  const int64_t left = a.window_left, right = a.causal ? 0 : a.window_right;
  if (left >= 0 && right >= 0 && left < a.seq_kv && right < a.seq_kv)
    units.seen = std::min(units.tiles, (left + right + a.seq_q) / kDecodeKeys + 2);  // begun and ended within tiles
  return units;
}

uint64_t Rounded(uint64_t bytes) { return (bytes + 255) / 256 * 256; }

uint64_t PartialBytes(const AttentionArguments& a) {
  return sizeof(float) * static_cast<uint64_t>(PartialFloats(PadDims(a.dim_qk, a.dim_v).v));
}

uint64_t TicketBytes(int64_t units) { return sizeof(uint32_t) * static_cast<uint64_t>(units); }

}  // namespace

const char* DecodeRefusal(const AttentionArguments& a) {
  if (const char* why = PortableRefusal(a)) return why;
  const int64_t group = a.heads_k > 0 && a.heads_v > 0 ? std::gcd(a.heads_q / a.heads_k, a.heads_q / a.heads_v) : 1;
  if (a.seq_q * group > kMostDecodeRows)
    return "the decode kernel takes up to 64 rows (queries of a sequence times heads that share a head of K and of V); "
           "packed queries need max_seq_q to say that they are few";
  return nullptr;
}

int64_t DecodeResident(const AttentionArguments& a, const Properties& device) {
  const int64_t each = ForPortable(a, [&](auto qk, auto v, auto) -> int64_t {
    using Tile = DecodeTile<qk.value, v.value>;
    // A processor has a KiB more than a block may have, and each block takes one for the system.
    const int64_t fit = (int64_t{device.shared_bytes_per_block} + 1024) / (int64_t{Tile::kSharedBytes} + 1024);
    return std::clamp<int64_t>(fit, 1, Tile::kBlocks);
  });
  return each * std::max(device.multiprocessors, 1);
}

int32_t ChooseSplits(int64_t units, int64_t tiles, int64_t resident) {
  if (units <= 0 || static_cast<double>(units) >= kFull * static_cast<double>(resident)) return 1;
  const auto most = static_cast<int32_t>(std::min<int64_t>(kMostSplits, tiles / kLeastSplitTiles));
  int32_t best = 1;
  double least = static_cast<double>(tiles) + kStart;
  for (int32_t n = 2; n <= most; ++n) {
    const int64_t waves = (units * n + resident - 1) / resident, each = (tiles + n - 1) / n;
    const double cost = static_cast<double>(waves) * (static_cast<double>(each) + kStart) + kMerge + kPerSplit * n;
    if (cost < least) best = n, least = cost;
  }
  return best;
}

AttentionSplits PlanDecodeSplits(const AttentionArguments& a, const Properties& device, int32_t asked, bool smaller) {
  AttentionSplits splits;
  splits.asked = asked;
  const Units units = UnitsOf(a);
  if (units.rows == 0) return splits;
  if (asked > 0) {
    splits.keys = static_cast<int32_t>(std::max<int64_t>(1, (units.tiles + asked - 1) / asked)) * kDecodeKeys;
    const int64_t most = std::max<int64_t>(1, (int64_t{a.seq_kv} + splits.keys - 1) / splits.keys);
    splits.partials = most > 1 ? units.rows * most : 0;
    return splits;
  }
  const int64_t resident = DecodeResident(a, device);
  const auto partials = [&](int64_t rows) {
    const int64_t n = ChooseSplits(rows, units.seen, resident);
    return n > 1 ? rows * n : 0;
  };
  splits.partials = partials(units.rows);
  // A smaller batch is cut into more splits; where it fills the device there are none.
  if (smaller)
    for (int64_t rows = 1; rows < std::min(units.rows, resident); ++rows)
      splits.partials = std::max(splits.partials, partials(rows));
  return splits;
}

uint64_t DecodePartialsBytes(const AttentionArguments& a) {
  return static_cast<uint64_t>(a.splits.partials) * PartialBytes(a);
}

uint64_t DecodeWorkspaceBytes(const AttentionArguments& a) {
  return a.splits.partials == 0 ? 0 : Rounded(TicketBytes(UnitsOf(a).rows)) + DecodePartialsBytes(a);
}

int32_t DecodeSplits(const AttentionArguments& a, const Properties& device) {
  const Units units = UnitsOf(a);
  if (units.rows == 0) return 1;
  if (a.splits.keys > 0) return std::max(1, (a.seq_kv + a.splits.keys - 1) / a.splits.keys);
  const int32_t most = ChooseSplits(units.rows, units.seen, DecodeResident(a, device));
  return static_cast<int32_t>(std::clamp<int64_t>(a.splits.partials / units.rows, 1, most));
}

DecodeArguments PlanDecode(const AttentionArguments& a, const Properties& device, void* workspace) {
  DecodeArguments d;
  d.p = PlanPortable(a, kDecodeRows);
  if (a.k_new != nullptr) {
    AttentionArguments fresh = a;
    fresh.k = a.k_new, fresh.k_strides = a.k_new_strides, fresh.v = a.v_new, fresh.v_strides = a.v_new_strides;
    const PortableArguments of_fresh = PlanPortable(fresh, kDecodeRows);
    d.p.k_vectors &= of_fresh.k_vectors, d.p.v_vectors &= of_fresh.v_vectors;
  }
  d.splits = DecodeSplits(a, device);
  d.split_keys = a.splits.keys;
  if (d.splits == 1) return d;
  d.tickets = static_cast<uint32_t*>(workspace);
  d.partials = reinterpret_cast<float*>(static_cast<char*>(workspace) + Rounded(DecodeTicketBytes(d)));
  return d;
}

uint64_t DecodeTicketBytes(const DecodeArguments& d) { return TicketBytes(PortableBlocks(d.p)); }

}  // namespace sage::cuda
