// topk.h: TOPK: the k best of each line in order, ties to the lower index.
//
// Values become unsigned keys in whose order larger is better, so that one kernel has largest and smallest, and the
// values written are the input's own bits. A NaN, which a device cannot report, ranks above every number: it comes
// first where the largest are wanted, and after all numbers where the smallest are. -0 and 0 are equal.
//
// Short lines belong to a warp, which keeps them in registers and takes the best k times: 8 of 128 is 8 rounds of two
// votes. Other lines belong to a block: what beats the worst of the best so far is gathered in shared memory until that
// is full, sorted, and all but the k best dropped.
#ifndef SAGE_PLUGINS_CUDA_OPS_TOPK_H_
#define SAGE_PLUGINS_CUDA_OPS_TOPK_H_

#include <cstring>

#include "ops/call.h"

namespace sage::cuda {

struct TopkCall {
  const void* x = nullptr;
  void *values = nullptr, *indices = nullptr;
  sage_dtype dtype = 0;
  bool smallest = false, wide_indices = false;  // i64
  bool by_warps = false;
  int64_t length = 0, k = 1;                           // both below 2^31
  int64_t x_step = 0, value_step = 0, index_step = 0;  // along a line
  Walk<3> lines;                                       // x, values, indices
  Grid grid;
};

constexpr int64_t kTopkWarpLine = 512, kTopkWarpMost = 32;  // what a warp takes: the line, and k
constexpr uint32_t kTopkWarps = 4, kTopkBlock = 256;
constexpr int64_t kTopkStep = 4 * kTopkBlock;  // elements between two looks at how full it is
// What a block sorts at once. k is at most half of it, or anything where the whole line fits.
inline constexpr int64_t TopkRoom(sage_dtype dtype) { return dtype == SAGE_F64 ? 2048 : 4096; }

// 0 is no value; of numbers and NaN it is 1 at least.
SAGE_DEVICE uint32_t KeyOf(float value, bool smallest) {
  uint32_t bits;
  const float plain = value == 0 ? 0.0f : value;
  memcpy(&bits, &plain, sizeof bits);
  bits = plain != plain ? 0xfffffffe : (bits >> 31 != 0 ? ~bits : bits | 1u << 31);
  return smallest ? ~bits : bits;
}
SAGE_DEVICE uint64_t KeyOf(double value, bool smallest) {
  uint64_t bits;
  const double plain = value == 0 ? 0.0 : value;
  memcpy(&bits, &plain, sizeof bits);
  bits = plain != plain ? ~uint64_t{1} : (bits >> 63 != 0 ? ~bits : bits | uint64_t{1} << 63);
  return smallest ? ~bits : bits;
}
SAGE_DEVICE uint32_t WarpLargest(uint32_t key) { return prim::WarpMax(key); }
SAGE_DEVICE uint64_t WarpLargest(uint64_t key) {
  const uint32_t high = prim::WarpMax(static_cast<uint32_t>(key >> 32));
  const uint32_t low = prim::WarpMax(key >> 32 == high ? static_cast<uint32_t>(key) : 0);
  return uint64_t{high} << 32 | low;
}

// Where one line's results go.
template <class T>
class TopkLine {
 public:
  using N = typename PlainNumber<T>::Statistics;
  using Key = decltype(KeyOf(N{}, false));

  SAGE_DEVICE TopkLine(const TopkCall& c, int64_t line) : c_(c) { OffsetsAt(c.lines, line, at_); }

  SAGE_DEVICE Key KeyAt(int64_t index) const {
    return KeyOf(PlainNumber<T>::Load(static_cast<const T*>(c_.x)[at_[0] + index * c_.x_step]), c_.smallest);
  }
  SAGE_DEVICE void Put(int64_t place, uint32_t index) const {
    static_cast<T*>(c_.values)[at_[1] + place * c_.value_step] =
        static_cast<const T*>(c_.x)[at_[0] + int64_t{index} * c_.x_step];
    const int64_t to = at_[2] + place * c_.index_step;
    if (c_.wide_indices)
      static_cast<int64_t*>(c_.indices)[to] = index;
    else
      static_cast<int32_t*>(c_.indices)[to] = static_cast<int32_t>(index);
  }

 private:
  const TopkCall& c_;
  int64_t at_[3];
};

// kSlots: elements of a lane.
template <class T, int32_t kSlots>
struct TopkWarpKernel {
  static constexpr uint32_t kThreads = 32 * kTopkWarps, kSharedBytes = 0;
  using Key = typename TopkLine<T>::Key;

  SAGE_DEVICE static void Run(const TopkCall& c) {
    const auto lane = prim::ThreadX() % 32;
    const int64_t first = int64_t{prim::BlockX()} * kTopkWarps + prim::ThreadX() / 32;
    for (int64_t i = first; i < c.lines.count; i += int64_t{prim::GridX()} * kTopkWarps) {
      const TopkLine<T> line(c, i);
      Key keys[kSlots];
      SAGE_UNROLL
      for (int32_t slot = 0; slot < kSlots; ++slot) {
        const int64_t index = slot * 32 + lane;
        keys[slot] = index < c.length ? line.KeyAt(index) : 0;
      }
      for (int64_t place = 0; place < c.k; ++place) {
        // The lane's own best, of equal ones the first.
        Key best = 0;
        uint32_t at = 0;
        SAGE_UNROLL
        for (int32_t slot = 0; slot < kSlots; ++slot)
          if (keys[slot] > best) best = keys[slot], at = static_cast<uint32_t>(slot) * 32 + lane;
        const Key largest = WarpLargest(best);
        const uint32_t winner = prim::WarpMin(best == largest ? at : ~0u);
        if (winner % 32 != lane) continue;
        line.Put(place, winner);
        SAGE_UNROLL
        for (int32_t slot = 0; slot < kSlots; ++slot)
          keys[slot] = static_cast<uint32_t>(slot) == winner / 32 ? 0 : keys[slot];
      }
    }
  }
};

template <class T>
struct TopkBlockKernel {
  using Key = typename TopkLine<T>::Key;
  static constexpr int32_t kRoom = sizeof(Key) == 8 ? 2048 : 4096;
  static constexpr uint32_t kThreads = kTopkBlock;
  static constexpr uint32_t kSharedBytes = kRoom * (sizeof(Key) + sizeof(uint32_t)) + 16;  // and how many there are

  struct Kept {
    Key* keys;
    uint32_t* indices;
    uint32_t* count;
  };
  SAGE_DEVICE static bool Before(const Kept& kept, int32_t a, int32_t b) {
    return kept.keys[a] > kept.keys[b] || (kept.keys[a] == kept.keys[b] && kept.indices[a] < kept.indices[b]);
  }

  // By the whole block: the first `count` in order, by Batcher's bitonic network over the next power of two. Begins and
  // ends with a barrier.
  SAGE_DEVICE static void Sort(const Kept& kept, int32_t count) {
    const auto thread = static_cast<int32_t>(prim::ThreadX());
    int32_t all = 2;
    while (all < count) all *= 2;
    for (int32_t i = count + thread; i < all; i += kThreads) kept.keys[i] = 0, kept.indices[i] = ~0u;
    prim::SyncThreads();
    for (int32_t size = 2; size <= all; size *= 2) {
      for (int32_t distance = size / 2; distance > 0; distance /= 2) {
        for (int32_t i = thread; i < all / 2; i += kThreads) {
          const int32_t a = 2 * i - (i & (distance - 1)), b = a + distance;
          const bool ascends = (a & size) == 0;
          if (Before(kept, b, a) != ascends) continue;
          const Key key = kept.keys[a];
          const uint32_t index = kept.indices[a];
          kept.keys[a] = kept.keys[b], kept.indices[a] = kept.indices[b];
          kept.keys[b] = key, kept.indices[b] = index;
        }
        prim::SyncThreads();
      }
    }
  }

  SAGE_DEVICE static void RunLine(const TopkCall& c, const TopkLine<T>& line, const Kept& kept) {
    const auto thread = static_cast<int32_t>(prim::ThreadX());
    const auto k = static_cast<uint32_t>(c.k);
    if (thread == 0) *kept.count = 0;
    prim::SyncThreads();
    Key worst = 0;  // of the k best; a later equal one does not beat it
    for (int64_t begin = 0; begin < c.length; begin += kTopkStep) {
      const uint32_t count = *kept.count;
      if (c.length > kRoom && count + kTopkStep > kRoom) {
        Sort(kept, static_cast<int32_t>(count));
        worst = kept.keys[k - 1];
        if (thread == 0) *kept.count = k;
      }
      prim::SyncThreads();  // all have read how many there are
      SAGE_UNROLL
      for (int64_t i = begin + thread; i < begin + kTopkStep; i += kThreads) {
        const Key key = i < c.length ? line.KeyAt(i) : 0;
        if (key <= worst) continue;
        const uint32_t to = prim::AtomicAdd(kept.count, 1);  // anywhere: sorting knows ties by their index
        kept.keys[to] = key, kept.indices[to] = static_cast<uint32_t>(i);
      }
      prim::SyncThreads();
    }
    Sort(kept, static_cast<int32_t>(*kept.count));
    for (uint32_t place = prim::ThreadX(); place < k; place += kThreads) line.Put(place, kept.indices[place]);
    prim::SyncThreads();  // before the next line
  }

  SAGE_DEVICE static void Run(const TopkCall& c) {
    Kept kept;
    kept.keys = reinterpret_cast<Key*>(prim::Shared());
    kept.indices = reinterpret_cast<uint32_t*>(kept.keys + kRoom);
    kept.count = kept.indices + kRoom;
    for (int64_t i = prim::BlockX(); i < c.lines.count; i += prim::GridX()) RunLine(c, TopkLine<T>(c, i), kept);
  }
};

template <class F>
auto ForKernel(const TopkCall& c, F&& f) {
  return WithFloat(c.dtype, [&](auto type) {
    using T = decltype(type);
    if (!c.by_warps) return f(TopkBlockKernel<T>{});
    if (c.length <= 128) return f(TopkWarpKernel<T, 4>{});
    return f(TopkWarpKernel<T, kTopkWarpLine / 32>{});
  });
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_OPS_TOPK_H_
