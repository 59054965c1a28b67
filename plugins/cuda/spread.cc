// spread.cc: see spread.h. Bytes in flight are the copies that a block has issued and not waited for.
#include "spread.h"

#include <algorithm>

#include "attention_decode_plan.h"
#include "attention_hopper_choice.h"
#include "attention_portable_plan.h"
#include "common/cuda/kernels/attention_plain.h"

namespace sage::cuda {
namespace {

// The memset before the launch, and the last block's reading.
constexpr double kMergeNs = 2500;

// Rows that tiles have, for each row that there is.
double Padding(double blocks, double tile_rows, const AttentionArguments& a) {
  const double rows = static_cast<double>(a.batch) * a.heads_q * a.seq_q;
  return rows > 0 ? std::max(1.0, blocks * tile_rows / rows) : 1;
}

}  // namespace

Spread PlainSpread(const AttentionArguments& a, const Properties&) {
  Spread spread;
  spread.blocks = static_cast<double>(PlainBlocks(a));
  spread.resident = 4;                         // by its registers
  spread.bytes_in_flight = kPlainWarps * 256;  // four elements of each lane's row
  return spread;
}

Spread PortableSpread(const AttentionArguments& a, const Properties&) {
  return ForPortable(a, [&](auto qk, auto v, auto) {
    using Tile = PortableTile<qk.value, v.value>;
    Spread spread;
    spread.blocks = static_cast<double>(PortableBlocks(PlanPortable(a, Tile::kRows)));
    spread.resident = Tile::kBlocks;
    spread.bytes_in_flight = std::max(Tile::kKBytes, Tile::kVBytes);
    spread.padding = Padding(spread.blocks, Tile::kRows, a);
    return spread;
  });
}

Spread DecodeSpread(const AttentionArguments& a, const Properties& device) {
  return ForPortable(a, [&](auto qk, auto v, auto) {
    using Tile = DecodeTile<qk.value, v.value>;
    const PortableArguments p = PlanPortable(a, Tile::kRows);
    const int32_t splits = DecodeSplits(a, device);
    Spread spread;
    spread.blocks = static_cast<double>(PortableBlocks(p) * splits);
    spread.resident = static_cast<double>(DecodeResident(a, device)) / std::max(device.multiprocessors, 1);
    spread.bytes_in_flight = Tile::kWarps * (Tile::kSlots - 1) * Tile::kSlotBytes;
    spread.padding = Padding(spread.blocks / splits, Tile::kRows, a);
    spread.key_reads = std::max(p.tiles, 1);
    spread.extra_ns = splits > 1 ? kMergeNs : 0;
    return spread;
  });
}

Spread HopperSpread(const AttentionArguments& a, const Properties& device) {
  const HopperVariant v = ChooseHopper(a, device.multiprocessors);
  Spread spread;
  const auto tiles = static_cast<double>(HopperRounded(int64_t{a.seq_q} << v.pack_shift, v.rows) / v.rows);
  spread.blocks = tiles * (a.heads_q >> v.pack_shift) * a.batch;
  spread.bytes_in_flight = 2.0 * v.keys * v.dim * 2;  // two stages
  spread.padding = Padding(spread.blocks, v.rows, a);
  spread.key_reads = a.heads_k > 0 ? (a.heads_q / a.heads_k) >> v.pack_shift : 1;
  return spread;
}

}  // namespace sage::cuda
