// c_api_sparse.cc: sparse.h's masks and gate. No handles: arguments are checked, then sage/masks.h and sage/gate.h.
#include "sage/sparse.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "handles.h"
#include "sage/gate.h"
#include "sage/masks.h"
#include "sage/support/take_in.h"

using sage::Border;
using sage::MincutMask;
using sage::NullArgument;
using sage::Result;
using sage::Status;

namespace {

Status TooSmall(const char* what, uint64_t given, uint64_t needed) {
  return Status(SAGE_E_BUFFER_TOO_SMALL,
                fmt::format("mincut: {} has room for {}, {} is needed; nothing was written", what, given, needed));
}

Status CheckTiles(uint32_t tile_q, uint32_t tile_kv) {
  if (tile_q >= 1 && tile_kv >= 1) return {};
  return Status(SAGE_E_INVALID_ARGUMENT,
                fmt::format("mincut: tiles of {} x {} are not tiles; 1 x 1 is element by element", tile_q, tile_kv));
}

int64_t RowsOf(int64_t seq, uint32_t tile) { return (seq + tile - 1) / tile; }

template <class T>
Status TakeIn(const char* what, const T* given, T* mine) {
  const sage_status status = sage_take_in(mine, static_cast<uint32_t>(sizeof *mine), given);
  if (status == SAGE_OK) return {};
  return Status(status,
                fmt::format("{}: null, a struct_size that cannot be, or fields this library does not know", what));
}

}  // namespace

extern "C" {

sage_status sage_mincut_mask(int64_t seq, int64_t parts, void* mask, uint64_t bytes, uint64_t* kept, sage_error* err) {
  return Border(__func__, err, [&]() -> Status {
    if (kept == nullptr) return NullArgument("sage_mincut_mask", "kept");
    SAGE_ASSIGN_OR_RETURN(const MincutMask mincut, MincutMask::Create(seq, parts));
    if (mask != nullptr) {
      const auto width = static_cast<uint64_t>(seq);
      if (bytes < width * width) return TooSmall("mask", bytes, width * width);
      auto* row = static_cast<unsigned char*>(mask);
      for (int64_t i = 0; i < seq; ++i, row += width) {
        memset(row, 0, width);
        mincut.ForColumns(mincut.Row(i, 1, 1), 1, [row](int64_t key) { row[key] = 1; });
      }
    }
    *kept = mincut.Positions();
    return {};
  });
}

sage_status sage_mincut_csr(int64_t seq, int64_t parts, uint32_t tile_q, uint32_t tile_kv, int32_t* indptr,
                            uint64_t num_indptr, int32_t* indices, uint64_t num_indices, uint64_t* kept,
                            sage_error* err) {
  return Border(__func__, err, [&]() -> Status {
    if (kept == nullptr) return NullArgument("sage_mincut_csr", "kept");
    if (indices != nullptr && indptr == nullptr) return NullArgument("sage_mincut_csr", "indptr");
    SAGE_ASSIGN_OR_RETURN(const MincutMask mincut, MincutMask::Create(seq, parts));
    SAGE_RETURN_IF_ERROR(CheckTiles(tile_q, tile_kv));
    const int64_t rows = RowsOf(seq, tile_q);
    const uint64_t tiles = mincut.Tiles(tile_q, tile_kv);
    if (tiles > static_cast<uint64_t>(std::numeric_limits<int32_t>::max()))
      return Status(SAGE_E_INVALID_ARGUMENT,
                    fmt::format("mincut: {} tiles are kept, offsets of 32 bits reach 2^31 - 1: take larger tiles, or "
                                "more parts",
                                tiles));
    if (indptr != nullptr && num_indptr < static_cast<uint64_t>(rows) + 1)
      return TooSmall("indptr", num_indptr, static_cast<uint64_t>(rows) + 1);
    if (indices != nullptr && num_indices < tiles) return TooSmall("indices", num_indices, tiles);
    int32_t next = 0;
    if (indptr != nullptr) indptr[0] = 0;
    for (int64_t row = 0; indptr != nullptr && row < rows; ++row) {
      const MincutMask::TileRow tile_row = mincut.Row(row, tile_q, tile_kv);
      if (indices != nullptr) {
        int32_t* at = indices + next;
        mincut.ForColumns(tile_row, tile_kv, [&at](int64_t column) { *at++ = static_cast<int32_t>(column); });
      }
      next += static_cast<int32_t>(tile_row.columns);
      indptr[row + 1] = next;
    }
    *kept = tiles;
    return {};
  });
}

sage_status sage_mincut_blocks(int64_t seq, int64_t parts, uint32_t tile_q, uint32_t tile_kv, void* blocks,
                               uint64_t bytes, uint64_t* kept, sage_error* err) {
  return Border(__func__, err, [&]() -> Status {
    if (kept == nullptr) return NullArgument("sage_mincut_blocks", "kept");
    SAGE_ASSIGN_OR_RETURN(const MincutMask mincut, MincutMask::Create(seq, parts));
    SAGE_RETURN_IF_ERROR(CheckTiles(tile_q, tile_kv));
    const int64_t rows = RowsOf(seq, tile_q);
    const auto columns = static_cast<uint64_t>(RowsOf(seq, tile_kv));
    if (blocks != nullptr) {
      const uint64_t needed = static_cast<uint64_t>(rows) * columns;
      if (bytes < needed) return TooSmall("blocks", bytes, needed);
      auto* line = static_cast<unsigned char*>(blocks);
      for (int64_t row = 0; row < rows; ++row, line += columns) {
        memset(line, 0, columns);
        mincut.ForColumns(mincut.Row(row, tile_q, tile_kv), tile_kv, [line](int64_t column) { line[column] = 1; });
      }
    }
    *kept = mincut.Tiles(tile_q, tile_kv);
    return {};
  });
}

sage_status sage_gate_decide(const sage_gate_packet* packet, const sage_gate_policy* policy, sage_gate_decision* out,
                             sage_error* err) {
  return Border(__func__, err, [&]() -> Status {
    if (out == nullptr) return NullArgument("sage_gate_decide", "out");
    sage_gate_packet mine{};
    sage_gate_policy limits{};
    SAGE_RETURN_IF_ERROR(TakeIn("sage_gate_decide: packet", packet, &mine));
    if (policy != nullptr) SAGE_RETURN_IF_ERROR(TakeIn("sage_gate_decide: policy", policy, &limits));
    SAGE_ASSIGN_OR_RETURN(const sage_gate_decision decision, sage::DecideGate(mine, limits));
    return sage::GiveOut("sage_gate_decide", out, decision);
  });
}

sage_status sage_gate_apply(const sage_gate_decision* decision, sage_attention_attributes* attributes,
                            sage_error* err) {
  return Border(__func__, err, [&]() -> Status {
    if (attributes == nullptr) return NullArgument("sage_gate_apply", "attributes");
    sage_gate_decision mine{};
    sage_attention_attributes changed{};
    SAGE_RETURN_IF_ERROR(TakeIn("sage_gate_apply: decision", decision, &mine));
    SAGE_RETURN_IF_ERROR(TakeIn("sage_gate_apply: attributes", attributes, &changed));
    SAGE_RETURN_IF_ERROR(sage::ApplyGate(mine, &changed));
    return sage::GiveOut("sage_gate_apply", attributes, changed);
  });
}

}  // extern "C"
