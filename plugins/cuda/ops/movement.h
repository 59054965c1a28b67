// movement.h: PERMUTE, SLICE, CONCAT, copies (UNARY IDENTITY of one dtype) and GATHER: bytes from one place to another,
// whatever they mean. So kernels differ by the bytes of a unit and not by dtype: an element, or as many neighbours as
// all tensors have in one piece, up to 16 bytes.
#ifndef SAGE_PLUGINS_CUDA_OPS_MOVEMENT_H_
#define SAGE_PLUGINS_CUDA_OPS_MOVEMENT_H_

#include "ops/call.h"

namespace sage::cuda {

constexpr uint32_t kMovementThreads = 256;

template <int kBytes>
struct alignas(kBytes) Unit {
  unsigned char bytes[kBytes];
};

template <class F>
auto WithUnit(int64_t bytes, F&& f) {
  switch (bytes) {
    case 1:
      return f(Unit<1>{});
    case 2:
      return f(Unit<2>{});
    case 4:
      return f(Unit<4>{});
    case 8:
      return f(Unit<8>{});
    default:
      return f(Unit<16>{});
  }
}

// --- copies ----------------------------------------------------------------------------------------------------------
struct CopyPart {
  const void* x = nullptr;
  void* y = nullptr;
  Walk<2> walk;  // x, y, in units
};

// The parts of a CONCAT, as many as a kernel's parameters have room for; of anything else one. A part for each y of the
// grid.
template <int kParts>
struct CopyCall {
  static constexpr int kMost = kParts;
  int64_t unit_bytes = 1;
  CopyPart parts[kParts];
  Grid grid;
};
using CopyOne = CopyCall<1>;
using CopyMany = CopyCall<16>;
static_assert(sizeof(CopyMany) <= 4096, "the parameters of a kernel");

template <class U, int kParts>
struct CopyKernel {
  static constexpr uint32_t kThreads = kMovementThreads, kSharedBytes = 0;

  SAGE_DEVICE static void Run(const CopyCall<kParts>& c) {
    const CopyPart& part = c.parts[prim::BlockY()];
    for (int64_t place = GlobalThread(); place < part.walk.count; place += GlobalThreads()) {
      int64_t at[2];
      OffsetsAt(part.walk, place, at);
      static_cast<U*>(part.y)[at[1]] = static_cast<const U*>(part.x)[at[0]];
    }
  }
};

template <int kParts, class F>
auto ForKernel(const CopyCall<kParts>& c, F&& f) {
  return WithUnit(c.unit_bytes, [&](auto unit) { return f(CopyKernel<decltype(unit), kParts>{}); });
}

// --- a transpose: neighbours in Y are not neighbours in X -----------------------------------------------------------
// Squares of 32 by 32 through shared memory, so that both sides are read and written by lines.
struct TransposeCall {
  const void* x = nullptr;
  void* y = nullptr;
  int64_t unit_bytes = 1;
  int64_t rows = 0, columns = 0;   // columns lie side by side in Y, rows in X
  int64_t x_step = 0, y_step = 0;  // of a column in X, of a row in Y; the other ways it is 1
  int64_t row_tiles = 0, column_tiles = 0;
  Walk<2> squares;  // all other axes
  Grid grid;
};
constexpr int32_t kTile = 32, kTileRows = 8;

template <class U>
struct TransposeKernel {
  static constexpr uint32_t kThreads = kTile * kTileRows;
  static constexpr int32_t kPitch = kTile + 1;  // a column's banks differ
  static constexpr uint32_t kSharedBytes = kTile * kPitch * sizeof(U);

  SAGE_DEVICE static void Run(const TransposeCall& c) {
    U* const tile = reinterpret_cast<U*>(prim::Shared());
    const auto lane = static_cast<int32_t>(prim::ThreadX()) % kTile,
               first = static_cast<int32_t>(prim::ThreadX()) / kTile;
    const int64_t tiles = c.row_tiles * c.column_tiles * c.squares.count;
    for (int64_t i = prim::BlockX(); i < tiles; i += prim::GridX()) {
      const int64_t row = i % c.row_tiles * kTile, column = i / c.row_tiles % c.column_tiles * kTile;
      int64_t at[2];
      OffsetsAt(c.squares, i / c.row_tiles / c.column_tiles, at);
      const U* const x = static_cast<const U*>(c.x) + at[0];
      U* const y = static_cast<U*>(c.y) + at[1];
      for (int32_t j = first; j < kTile; j += kTileRows)
        if (row + lane < c.rows && column + j < c.columns)
          tile[j * kPitch + lane] = x[(column + j) * c.x_step + row + lane];
      prim::SyncThreads();
      for (int32_t j = first; j < kTile; j += kTileRows)
        if (row + j < c.rows && column + lane < c.columns)
          y[(row + j) * c.y_step + column + lane] = tile[lane * kPitch + j];
      prim::SyncThreads();
    }
  }
};

template <class F>
auto ForKernel(const TransposeCall& c, F&& f) {
  return WithUnit(c.unit_bytes, [&](auto unit) { return f(TransposeKernel<decltype(unit)>{}); });
}

// --- GATHER ----------------------------------------------------------------------------------------------------------
// An index that X does not have gives zeros.
struct GatherCall {
  const void *x = nullptr, *indices = nullptr;
  void* y = nullptr;
  int64_t unit_bytes = 1;
  bool wide_indices = false;            // i64
  int64_t length = 0, axis_stride = 0;  // of X along the axis; in units
  Walk<3> walk;                         // x, y, indices
  Grid grid;
};

template <class U>
struct GatherKernel {
  static constexpr uint32_t kThreads = kMovementThreads, kSharedBytes = 0;

  SAGE_DEVICE static void Run(const GatherCall& c) {
    for (int64_t place = GlobalThread(); place < c.walk.count; place += GlobalThreads()) {
      int64_t at[3];
      OffsetsAt(c.walk, place, at);
      const int64_t index = c.wide_indices ? static_cast<const int64_t*>(c.indices)[at[2]]
                                           : int64_t{static_cast<const int32_t*>(c.indices)[at[2]]};
      U value{};
      if (index >= 0 && index < c.length) value = static_cast<const U*>(c.x)[at[0] + index * c.axis_stride];
      static_cast<U*>(c.y)[at[1]] = value;
    }
  }
};

template <class F>
auto ForKernel(const GatherCall& c, F&& f) {
  return WithUnit(c.unit_bytes, [&](auto unit) { return f(GatherKernel<decltype(unit)>{}); });
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_OPS_MOVEMENT_H_
