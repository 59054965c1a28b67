// copy.cc: see copy.h. Lines that are contiguous on both sides are memcpy; a transpose goes by square tiles, so that
// what one side skips over is still in cache when it is wanted.
#include "copy.h"

#include <algorithm>
#include <cstring>

#include "parallel.h"

namespace sage::cpu {
namespace {

constexpr int64_t kTile = 16;        // elements; a tile is at most 16 cache lines a side
constexpr int64_t kLinePart = 8192;  // elements of a line per piece of work

template <class T>
void CopyLine(const char* source, int64_t source_step, char* target, int64_t target_step, int64_t n) {
  if (source_step == 1 && target_step == 1) {
    std::memcpy(target, source, static_cast<size_t>(n) * sizeof(T));
    return;
  }
  const int64_t from = source_step * static_cast<int64_t>(sizeof(T)),
                to = target_step * static_cast<int64_t>(sizeof(T));
  for (int64_t i = 0; i < n; ++i) std::memcpy(target + i * to, source + i * from, sizeof(T));
}

// Lines one after the other; worth it when one of the sides is contiguous or nothing better is possible.
template <class T>
void CopyByLines(const sage_host* host, const sage_run_args& args, const Walk<2>& walk, double ns, const char* source,
                 char* target) {
  constexpr int64_t size = static_cast<int64_t>(sizeof(T));
  const int64_t length = walk.LineLength(), parts = (length + kLinePart - 1) / kLinePart;
  if (length == 0) return;
  const int64_t source_step = walk.LineStep(0), target_step = walk.LineStep(1);
  const int64_t grain = std::max<int64_t>(1, kLinePart / length);
  ParallelFor(host, ns, walk.Lines() * parts, grain, [&](int64_t begin, int64_t end, uint32_t) {
    if (Cancelled(host, args)) return;
    for (int64_t item = begin; item < end; ++item) {
      int64_t start[2];
      walk.LineStart(item / parts, start);
      const int64_t first = item % parts * kLinePart;
      CopyLine<T>(source + (start[0] + first * source_step) * size, source_step,
                  target + (start[1] + first * target_step) * size, target_step, std::min(kLinePart, length - first));
    }
  });
}

// The last two axes are a plane: the source is contiguous along the first of them, the target along the second.
template <class T>
void CopyByTiles(const sage_host* host, const sage_run_args& args, const Walk<2>& walk, double ns, const char* source,
                 char* target) {
  constexpr int64_t size = static_cast<int64_t>(sizeof(T));
  const uint32_t outer = walk.rank - 2, inner = walk.rank - 1;
  const int64_t rows = walk.shape[outer], columns = walk.shape[inner];
  if (rows == 0 || columns == 0) return;
  const int64_t bands = (rows + kTile - 1) / kTile;
  Walk<2> planes = walk;  // one line of it is a plane's first row
  planes.rank = outer + 1, planes.shape[outer] = 1;
  ParallelFor(host, ns, planes.Lines() * bands, 1, [&](int64_t begin, int64_t end, uint32_t) {
    if (Cancelled(host, args)) return;
    for (int64_t item = begin; item < end; ++item) {
      int64_t start[2];
      planes.LineStart(item / bands, start);
      const int64_t first = item % bands * kTile, last = std::min(rows, first + kTile);
      for (int64_t column = 0; column < columns; column += kTile) {
        const int64_t count = std::min(kTile, columns - column);
        for (int64_t row = first; row < last; ++row)
          CopyLine<T>(source + (start[0] + row * walk.stride[0][outer] + column * walk.stride[0][inner]) * size,
                      walk.stride[0][inner],
                      target + (start[1] + row * walk.stride[1][outer] + column * walk.stride[1][inner]) * size,
                      walk.stride[1][inner], count);
      }
    }
  });
}

template <class T>
void Copy(const sage_host* host, const sage_run_args& args, Walk<2> walk, double ns, const char* source, char* target) {
  if (walk.rank >= 2 && walk.LineStep(0) != 1 && walk.LineStep(0) != 0) {
    for (uint32_t axis = 0; axis + 1 < walk.rank; ++axis) {
      if (walk.stride[0][axis] != 1) continue;
      walk.SwapAxes(axis, walk.rank - 2);
      return CopyByTiles<T>(host, args, walk, ns, source, target);
    }
  }
  CopyByLines<T>(host, args, walk, ns, source, target);
}

}  // namespace

double CopyNs(const Walk<2>& walk, int64_t size) {
  const double elements = static_cast<double>(walk.Elements());
  const bool contiguous = walk.LineStep(0) == 1 && walk.LineStep(1) == 1;
  return 50.0 + static_cast<double>(walk.Lines()) * 5.0 +
         (contiguous ? elements * static_cast<double>(size) / 10.0 : elements);
}

void CopyWalk(const sage_host* host, const sage_run_args& args, Walk<2> walk, int64_t size, const char* source,
              char* target) {
  const double ns = CopyNs(walk, size);
  if (size == 8) return Copy<uint64_t>(host, args, walk, ns, source, target);
  if (size == 4) return Copy<uint32_t>(host, args, walk, ns, source, target);
  if (size == 2) return Copy<uint16_t>(host, args, walk, ns, source, target);
  Copy<uint8_t>(host, args, walk, ns, source, target);
}

}  // namespace sage::cpu
