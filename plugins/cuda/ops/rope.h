// rope.h: ROPE: pairs of a head's elements turned by an angle that grows with the position.
//
// An angle is a position times a frequency, up to 2^31: both in double, and taken to within a quarter turn in double,
// whatever the elements' type; what is left of it in the type that is computed in. A thread has a pair of a place, so
// that the angle is computed once for all heads. Frequencies are products of two short tables in the parameters, each
// entry a double and what it lost, so that a plan needs no memory for them.
#ifndef SAGE_PLUGINS_CUDA_OPS_ROPE_H_
#define SAGE_PLUGINS_CUDA_OPS_ROPE_H_

#include "ops/call.h"

namespace sage::cuda {

// A number as a double and the rest that the double has no room for.
struct Exactly {
  double head = 0, rest = 0;
};

struct RopeCall {
  static constexpr int32_t kFine = 32, kCoarse = 64;  // pairs: at most kFine * kCoarse
  const void* x = nullptr;
  void* y = nullptr;
  const int32_t* positions = nullptr;
  const float *cosines = nullptr, *sines = nullptr;  // (optional) tables
  sage_dtype dtype = 0;
  bool interleaved = false;
  int64_t pairs = 0;  // elements behind them are copied
  int64_t heads = 0, heads_of_thread = 1;
  int64_t x_head = 0, y_head = 0, x_step = 0, y_step = 0;  // between heads, between elements
  int64_t table_rows = 0, cosine_stride[2] = {}, sine_stride[2] = {};
  Exactly fine[kFine], coarse[kCoarse];  // the frequency of pair i: coarse[i / kFine] * fine[i % kFine]
  Walk<4> items;                         // x, y, positions, the column: a pair or an element that is copied
  Grid grid;                             // y: groups of heads
};

template <class N>
struct Turn {
  N cosine, sine;
};

// sin x and cos x for |x| <= pi/4 by Taylor's series: the first term left out is below a quarter unit of N.
template <class N>
SAGE_DEVICE Turn<N> TurnOf(N x) {
  constexpr int kTerms = sizeof(N) == 8 ? 9 : 6;  // of each: up to x^17 and x^16, or x^11 and x^10
  const N square = x * x;
  N sine = 0, cosine = 0;
  SAGE_UNROLL
  for (int i = kTerms - 1; i > 0; --i) {
    sine = -(sine + N{1}) * square * (N{1} / static_cast<N>(2 * i * (2 * i + 1)));
    cosine = -(cosine + N{1}) * square * (N{1} / static_cast<N>((2 * i - 1) * 2 * i));
  }
  return {N{1} + cosine, x + x * sine};
}

template <class N>
SAGE_DEVICE Turn<N> TurnBy(int32_t position, const Exactly& fine, const Exactly& coarse) {
  // The frequency, and the angle, with what they lose.
  const double frequency = fine.head * coarse.head;
  const double lost = prim::Fma(fine.head, coarse.head, -frequency) + fine.head * coarse.rest + fine.rest * coarse.head;
  const double angle = position * frequency;
  const double rest = prim::Fma(static_cast<double>(position), frequency, -angle) + position * lost;
  // Less whole quarter turns. The first difference is exact, and the second part of pi/2 makes up for what the first
  // lacks.
  constexpr double kQuarter = 1.57079632679489661923, kQuarterRest = 6.12323399573676588614e-17;
  const double quarters = prim::Rint(angle * (1 / kQuarter));
  const double within = prim::Fma(-quarters, kQuarterRest, prim::Fma(-quarters, kQuarter, angle)) + rest;
  const Turn<N> turn = TurnOf(static_cast<N>(within));
  const double turned = quarters - 4 * prim::Rint(quarters / 4);  // -2..2
  if (turned == 0) return turn;
  if (turned == 1) return {-turn.sine, turn.cosine};
  if (turned == -1) return {turn.sine, -turn.cosine};
  return {-turn.cosine, -turn.sine};
}

template <class T>
struct RopeKernel {
  static constexpr uint32_t kThreads = 128, kSharedBytes = 0;
  using N = typename PlainNumber<T>::Statistics;

  SAGE_DEVICE static void Run(const RopeCall& c) {
    const int64_t begin = prim::BlockY() * c.heads_of_thread;
    const int64_t end = begin + c.heads_of_thread < c.heads ? begin + c.heads_of_thread : c.heads;
    for (int64_t item = GlobalThread(); item < c.items.count; item += GlobalThreads()) {
      int64_t at[4];
      OffsetsAt(c.items, item, at);
      const int64_t column = at[3];
      const T* const x = static_cast<const T*>(c.x) + at[0];
      T* const y = static_cast<T*>(c.y) + at[1];
      if (column >= c.pairs) {
        const int64_t element = c.pairs + column;
        for (int64_t h = begin; h < end; ++h)
          y[h * c.y_head + element * c.y_step] = x[h * c.x_head + element * c.x_step];
        continue;
      }
      const int32_t position = c.positions[at[2]];
      const int64_t first = c.interleaved ? 2 * column : column, second = c.interleaved ? first + 1 : column + c.pairs;
      const bool outside = c.cosines != nullptr && (position < 0 || position >= c.table_rows);
      Turn<N> turn{0, 0};
      if (c.cosines == nullptr) {
        turn = TurnBy<N>(position, c.fine[column % RopeCall::kFine], c.coarse[column / RopeCall::kFine]);
      } else if (!outside) {
        turn.cosine = static_cast<N>(c.cosines[position * c.cosine_stride[0] + column * c.cosine_stride[1]]);
        turn.sine = static_cast<N>(c.sines[position * c.sine_stride[0] + column * c.sine_stride[1]]);
      }
      SAGE_UNROLL_BY_4
      for (int64_t h = begin; h < end; ++h) {
        const N a = PlainNumber<T>::Load(x[h * c.x_head + first * c.x_step]);
        const N b = PlainNumber<T>::Load(x[h * c.x_head + second * c.x_step]);
        const N turned_a = a * turn.cosine - b * turn.sine, turned_b = a * turn.sine + b * turn.cosine;
        y[h * c.y_head + first * c.y_step] = PlainNumber<T>::Store(outside ? N{0} : turned_a);
        y[h * c.y_head + second * c.y_step] = PlainNumber<T>::Store(outside ? N{0} : turned_b);
      }
    }
  }
};

template <class F>
auto ForKernel(const RopeCall& c, F&& f) {
  return WithFloat(c.dtype, [&](auto type) { return f(RopeKernel<decltype(type)>{}); });
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_OPS_ROPE_H_
