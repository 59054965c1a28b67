// masks.h: the mask of a partition (sage/sparse.h) as rows, so that no form of it needs the seq x seq matrix.
//
// Everything is said in closed form: a tile row keeps a run of tile columns that ends at its own last token, and before
// that the columns that hold the starts of earlier chunks. No minimum cut is computed: the number of parts comes in.
#ifndef SAGE_ENGINE_SAGE_MASKS_H_
#define SAGE_ENGINE_SAGE_MASKS_H_

#include <cstdint>

#include "status.h"

namespace sage {

class MincutMask {
 public:
  static constexpr int64_t kReach = 4;  // tokens from a chunk's start that see all earlier starts
  static constexpr int64_t kMaxSeq = int64_t{1} << 24;

  // 1 <= parts <= seq <= kMaxSeq, else E_INVALID_ARGUMENT.
  static Result<MincutMask> Create(int64_t seq, int64_t parts);

  int64_t seq() const { return seq_; }
  bool Keeps(int64_t query, int64_t key) const;
  uint64_t Positions() const;  // kept, of seq * (seq + 1) / 2 causal ones

  // One row of tiles: the columns kept are those of the starts of chunks [0, starts) that lie before `first`, ascending
  // and each once, and then [first, last].
  struct TileRow {
    int64_t starts = 0, first = 0, last = 0;
    int64_t columns = 0;  // how many that is
  };
  // tile_q, tile_kv >= 1; row < ceil(seq / tile_q).
  TileRow Row(int64_t row, int64_t tile_q, int64_t tile_kv) const;
  uint64_t Tiles(int64_t tile_q, int64_t tile_kv) const;  // kept

  // Calls visit(column) for each kept column of the row, ascending.
  template <class Visit>
  void ForColumns(const TileRow& row, int64_t tile_kv, Visit&& visit) const {
    int64_t before = -1;
    for (int64_t chunk = 0; chunk < row.starts; ++chunk) {
      const int64_t column = chunk * length_ / tile_kv;
      if (column >= row.first) break;
      if (column != before) visit(before = column);
    }
    for (int64_t column = row.first; column <= row.last; ++column) visit(column);
  }

 private:
  MincutMask(int64_t seq, int64_t parts) : seq_(seq), parts_(parts), length_(seq / parts) {}
  int64_t ChunkOf(int64_t token) const;

  int64_t seq_, parts_, length_;
};

}  // namespace sage

#endif  // SAGE_ENGINE_SAGE_MASKS_H_
