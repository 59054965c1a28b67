// product_skinny.h: products of few rows whose X and W are contiguous along K. They are bound by the bytes of W: each
// is read once, in pieces of 16, all that a warp needs at the same time.
//
// A warp takes kColumns rows of W and a share of K, and adds up its lanes' parts by shuffles; the shares of K meet in
// shared memory and are added in order, so that the bits do not depend on the run, nor on the number of rows. f16, bf16
// and f32 are multiplied and added in f32, f64 in f64. W is asked for before X is: X may be what the kernel before
// wrote. Rows of both begin at multiples of 16 bytes (the host's SkinnyOrderOf).
#ifndef SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCT_SKINNY_H_
#define SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCT_SKINNY_H_

#include "products/product_numbers.h"
#include "products/product_skinny_plan.h"

namespace sage::cuda {

// What a T, and 16 bytes of them, are as numbers.
template <class T>
struct SkinnyNumber;
template <>
struct SkinnyNumber<double> {
  using Sum = double;
  static constexpr int32_t kPiece = 2;
  static SAGE_DEVICE double Of(double value) { return value; }
  static SAGE_DEVICE double Of(const prim::Words4& words, int32_t i) {
    double value = 0;
    __builtin_memcpy(&value, &words.word[2 * i], sizeof value);
    return value;
  }
};
template <>
struct SkinnyNumber<float> {
  using Sum = float;
  static constexpr int32_t kPiece = 4;
  static SAGE_DEVICE float Of(float value) { return value; }
  static SAGE_DEVICE float Of(const prim::Words4& words, int32_t i) {
    float value = 0;
    __builtin_memcpy(&value, &words.word[i], sizeof value);
    return value;
  }
};
template <class T>
struct SkinnyHalf {
  using Sum = float;
  static constexpr int32_t kPiece = 8;
  static SAGE_DEVICE float Of(T value) { return prim::ToFloat(value); }
  static SAGE_DEVICE float Of(const prim::Words4& words, int32_t i) {
    return prim::ToFloat(T{static_cast<uint16_t>(words.word[i / 2] >> (16 * (i % 2)))});
  }
};
template <>
struct SkinnyNumber<F16> : SkinnyHalf<F16> {};
template <>
struct SkinnyNumber<Bf16> : SkinnyHalf<Bf16> {};

// kRows: at least a.m, and of kSkinnyMaxRows at most.
template <class T, int32_t kRows>
class SkinnyProduct {
 public:
  using Number = SkinnyNumber<T>;
  using N = typename Number::Sum;
  static constexpr int32_t kColumns = SkinnyColumns(kRows), kOutputs = kRows * kColumns;
  static_assert(kOutputs <= 32, "a lane has one output");

  SAGE_DEVICE SkinnyProduct(const ProductArguments& a, int32_t split) : a_(a), split_(split) {
    const auto warp = static_cast<int32_t>(prim::ThreadX() / 32);
    lane_ = static_cast<int32_t>(prim::ThreadX() % 32);
    part_ = warp % split;
    const int32_t in_block = kSkinnyWarps / split * kColumns;
    const int32_t blocks = (a.n + in_block - 1) / in_block, block = static_cast<int32_t>(prim::BlockX());
    b_ = block / blocks;
    first_ = block % blocks * in_block + warp / split * kColumns;
    const ProductOffsets offsets = OffsetsOf(a, b_);
    // Rows and columns beyond the end are computed as copies of the last, and not stored.
    SAGE_UNROLL
    for (int32_t c = 0; c < kColumns; ++c)
      w_[c] = static_cast<const T*>(a.w) + offsets.w + Within(first_ + c, a.n) * a.w_row;
    SAGE_UNROLL
    for (int32_t r = 0; r < kRows; ++r) x_[r] = static_cast<const T*>(a.x) + offsets.x + Within(r, a.m) * a.x_row;
    y_at_ = offsets.y;
  }

  SAGE_DEVICE void Multiply() {
    prim::WaitForEarlierGrids();
    prim::AllowLaterGrids();
    const int32_t pieces = a_.k / Number::kPiece, step = 32 * split_;
    for (int32_t piece = 32 * part_ + lane_; piece < pieces; piece += kAhead * step) AddPieces(piece, pieces, step);
    if (part_ == 0 && lane_ < a_.k % Number::kPiece) AddTail(pieces * Number::kPiece + lane_);
    Finish(Gathered());
  }

 private:
  // Pieces of a row that are asked for before the first is used: with kColumns rows, 64 or 128 bytes of each lane.
  static constexpr int32_t kAhead = kColumns == 4 ? 2 : 4;

  static SAGE_DEVICE int64_t Within(int32_t index, int32_t size) { return index < size ? index : size - 1; }

  SAGE_DEVICE void AddPieces(int32_t piece, int32_t pieces, int32_t step) {
    prim::Words4 w[kAhead][kColumns];
    SAGE_UNROLL
    for (int32_t u = 0; u < kAhead; ++u) {
      const int32_t at = piece + u * step;
      SAGE_UNROLL
      for (int32_t c = 0; c < kColumns; ++c)
        w[u][c] = at < pieces ? prim::LoadOnce16(w_[c] + int64_t{at} * Number::kPiece) : prim::Words4{};
    }
    SAGE_UNROLL
    for (int32_t u = 0; u < kAhead; ++u) {
      const int32_t at = piece + u * step;
      if (at >= pieces) break;
      SAGE_UNROLL
      for (int32_t r = 0; r < kRows; ++r) {
        const prim::Words4 x = prim::Load16(x_[r] + int64_t{at} * Number::kPiece);
        SAGE_UNROLL
        for (int32_t i = 0; i < Number::kPiece; ++i) {
          SAGE_UNROLL
          for (int32_t c = 0; c < kColumns; ++c)
            sums_[r * kColumns + c] = prim::Fma(Number::Of(x, i), Number::Of(w[u][c], i), sums_[r * kColumns + c]);
        }
      }
    }
  }

  SAGE_DEVICE void AddTail(int32_t at) {
    SAGE_UNROLL
    for (int32_t c = 0; c < kColumns; ++c) {
      const N w = Number::Of(w_[c][at]);
      SAGE_UNROLL
      for (int32_t r = 0; r < kRows; ++r)
        sums_[r * kColumns + c] = prim::Fma(Number::Of(x_[r][at]), w, sums_[r * kColumns + c]);
    }
  }

  // Lane i of the warp with the first share has output i.
  SAGE_DEVICE N Gathered() {
    N mine = 0;
    SAGE_UNROLL
    for (int32_t i = 0; i < kOutputs; ++i) {
      N sum = sums_[i];
      SAGE_UNROLL
      for (uint32_t lanes = 16; lanes > 0; lanes /= 2) sum += prim::ShuffleXor(sum, lanes);
      if (lane_ == i) mine = sum;
    }
    if (split_ == 1) return mine;
    N* const shared = reinterpret_cast<N*>(prim::Shared());
    const auto warp = static_cast<int32_t>(prim::ThreadX() / 32);
    shared[32 * warp + lane_] = mine;
    prim::SyncThreads();
    if (part_ != 0) return 0;
    for (int32_t part = 1; part < split_; ++part) mine += shared[32 * (warp + part) + lane_];
    return mine;
  }

  SAGE_DEVICE void Finish(N sum) const {
    const int32_t row = lane_ / kColumns, column = first_ + lane_ % kColumns;
    if (part_ == 0 && lane_ < kOutputs && row < a_.m && column < a_.n)
      FinishElement<N>(a_, b_, y_at_, row, column, sum);
  }

  const ProductArguments& a_;
  const int32_t split_;
  int32_t lane_ = 0, part_ = 0, b_ = 0, first_ = 0;
  const T *w_[kColumns], *x_[kRows];
  int64_t y_at_ = 0;
  N sums_[kOutputs] = {};
};

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCT_SKINNY_H_
