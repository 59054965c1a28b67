// masks.cc: see the header.
#include "sage/masks.h"

#include <fmt/format.h>

#include <algorithm>

namespace sage {

Result<MincutMask> MincutMask::Create(int64_t seq, int64_t parts) {
  if (seq < 1 || seq > kMaxSeq)
    return Status(SAGE_E_INVALID_ARGUMENT, fmt::format("mincut: seq is {}, 1 to {} tokens are expected", seq, kMaxSeq));
  if (parts < 1 || parts > seq)
    return Status(SAGE_E_INVALID_ARGUMENT,
                  fmt::format("mincut: {} parts of {} tokens, 1 to {} are expected", parts, seq, seq));
  return MincutMask(seq, parts);
}

int64_t MincutMask::ChunkOf(int64_t token) const { return std::min(token / length_, parts_ - 1); }

bool MincutMask::Keeps(int64_t query, int64_t key) const {
  if (key > query) return false;
  const int64_t chunk = ChunkOf(query), start = chunk * length_;
  if (key >= start) return true;
  return query - start < kReach && key % length_ == 0;  // before the last chunk every multiple is a start
}

uint64_t MincutMask::Positions() const {
  const auto square = [](int64_t n) { return static_cast<uint64_t>(n) * static_cast<uint64_t>(n + 1) / 2; };
  const int64_t last = seq_ - (parts_ - 1) * length_;
  const uint64_t others = static_cast<uint64_t>(parts_ - 1);
  // Chunk c sees c earlier starts, from each of its first tokens; the last may be the only one long enough for all.
  const uint64_t reach = static_cast<uint64_t>(std::min(kReach, length_));
  const uint64_t reach_last = static_cast<uint64_t>(std::min(kReach, last));
  const uint64_t starts = others > 0 ? reach * square(parts_ - 2) + reach_last * others : 0;
  return others * square(length_) + square(last) + starts;
}

MincutMask::TileRow MincutMask::Row(int64_t row, int64_t tile_q, int64_t tile_kv) const {
  const int64_t begin = row * tile_q, end = std::min(begin + tile_q, seq_);
  TileRow out;
  // Chunks follow each other, so what the row's tokens see of their own chunks is one run.
  out.first = ChunkOf(begin) * length_ / tile_kv;
  out.last = (end - 1) / tile_kv;
  // The latest chunk one of whose first tokens is in this row: that of the last token, or of the one before it.
  for (int64_t chunk = ChunkOf(end - 1); chunk >= 0 && out.starts == 0; --chunk) {
    if ((chunk + 1 < parts_ ? (chunk + 1) * length_ : seq_) <= begin) break;
    if (std::max(begin, chunk * length_) < std::min(end, chunk * length_ + kReach)) out.starts = chunk;
  }
  int64_t before = 0;  // distinct columns of starts in front of `first`
  if (out.starts > 0) {
    // Starts at or behind column `first` are in the run.
    const int64_t count = std::min(out.starts, (out.first * tile_kv + length_ - 1) / length_);
    before = length_ >= tile_kv ? count : count > 0 ? (count - 1) * length_ / tile_kv + 1 : 0;
  }
  out.columns = before + out.last - out.first + 1;
  return out;
}

uint64_t MincutMask::Tiles(int64_t tile_q, int64_t tile_kv) const {
  uint64_t kept = 0;
  const int64_t rows = (seq_ + tile_q - 1) / tile_q;
  for (int64_t row = 0; row < rows; ++row) kept += static_cast<uint64_t>(Row(row, tile_q, tile_kv).columns);
  return kept;
}

}  // namespace sage
