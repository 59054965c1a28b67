// attention_hopper_softmax.h: the softmax of one warpgroup over a tile of scores that lie in registers as wgmma left
// them: thread t has rows t / 4 and t / 4 + 8 of its warp's 16, and of every 8 columns the two from 2 (t % 4) on.
// Element i is of row (i / 2) % 2 and column i / 4 * 8 + i % 2.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_SOFTMAX_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_SOFTMAX_H_

#include "attention_hopper_tiles.h"

namespace sage::cuda::hopper {

constexpr float kMinusInfinity = -__builtin_inff();

// What is kept of a thread's two rows. The sum is of this thread's columns alone until the end.
struct RowState {
  float largest[2], sum[2];
  float shrink[2];  // what earlier sums are multiplied with since the largest score grew
};

// -inf where row and column may not meet. row: of element 0; column: of element 0.
template <int N>
SAGE_DEVICE void Mask(const Tile& tile, int row, int column, float (&s)[N]) {
  SAGE_UNROLL
  for (int r = 0; r < 2; ++r) {
    const Span seen = VisibleTo(tile, row + 8 * r);
    const int begin = seen.begin - column, end = seen.end - column;
    SAGE_UNROLL
    for (int i = 2 * r; i < N; i += (i % 2 == 0 ? 1 : 3)) {
      const int at = i / 4 * 8 + i % 2;
      if (at < begin || at >= end) s[i] = kMinusInfinity;
    }
  }
}

// Scores become weights, relative to the largest score so far.
template <int N>
SAGE_DEVICE void Softmax(float exponent_scale, float (&s)[N], RowState* state) {
  SAGE_UNROLL
  for (int r = 0; r < 2; ++r) {
    float largest = state->largest[r];
    SAGE_UNROLL
    for (int i = 2 * r; i < N; i += (i % 2 == 0 ? 1 : 3)) largest = fmaxf(largest, s[i]);
    largest = fmaxf(largest, prim::ShuffleXor(largest, 1));
    largest = fmaxf(largest, prim::ShuffleXor(largest, 2));
    // A row that has seen nothing yet has no largest score; -inf minus 0 keeps its weights 0.
    const float origin = largest == kMinusInfinity ? 0.0f : largest * exponent_scale;
    state->shrink[r] = prim::Exp2(state->largest[r] * exponent_scale - origin);
    state->largest[r] = largest;
    float sum = 0;
    SAGE_UNROLL
    for (int i = 2 * r; i < N; i += (i % 2 == 0 ? 1 : 3)) {
      s[i] = prim::Exp2(s[i] * exponent_scale - origin);
      sum += s[i];
    }
    state->sum[r] = state->sum[r] * state->shrink[r] + sum;
  }
}

template <int N>
SAGE_DEVICE void Shrink(const RowState& state, float (&o)[N]) {
  SAGE_UNROLL
  for (int i = 0; i < N; ++i) o[i] *= state.shrink[i / 2 % 2];
}

// Weights as the A operands of the products with V: 16 keys an operand. An accumulator is laid out as four registers of
// pairs are, so nothing moves between threads.
template <class T, int N>
SAGE_DEVICE void PackWeights(const float (&s)[N], uint32_t (&packed)[N / 8][4]) {
  SAGE_UNROLL
  for (int k = 0; k < N / 8; ++k) {
    SAGE_UNROLL
    for (int i = 0; i < 4; ++i) packed[k][i] = prim::Pack<T>(s[8 * k + 2 * i], s[8 * k + 2 * i + 1]);
  }
}

}  // namespace sage::cuda::hopper

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_SOFTMAX_H_
