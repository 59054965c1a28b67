// product_across.h: products of few rows whose W is contiguous along N, not K: MATMUL's B as it mostly is, and weights
// kept as [K,N]. Bound by W's bytes like product_skinny.h, each of which is read once, in pieces of 16.
//
// Four lanes of a warp read a piece each of one line of W, the eight fours of them eight lines; the warps of a block
// take every eighth of those. So a block has the sums of 4 pieces of columns: lanes' parts are added by shuffles, the
// warps' in shared memory, in order. X may have any strides. W is asked for before X is: X may be what the kernel
// before wrote.
#ifndef SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCT_ACROSS_H_
#define SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCT_ACROSS_H_

#include "products/product_skinny.h"

namespace sage::cuda {

// kRows: at least a.m, and of kSkinnyMaxRows at most.
template <class T, int32_t kRows>
class AcrossProduct {
 public:
  using Number = SkinnyNumber<T>;
  using N = typename Number::Sum;
  static constexpr int32_t kPiece = Number::kPiece, kColumns = AcrossColumns(sizeof(T));

  SAGE_DEVICE explicit AcrossProduct(const ProductArguments& a) : a_(a) {
    const int32_t blocks = (a.n + kColumns - 1) / kColumns, block = static_cast<int32_t>(prim::BlockX());
    b_ = block / blocks;
    block_first_ = block % blocks * kColumns;
    const ProductOffsets offsets = OffsetsOf(a, b_);
    lane_ = static_cast<int32_t>(prim::ThreadX() % 32);
    warp_ = static_cast<int32_t>(prim::ThreadX() / 32);
    first_ = block_first_ + lane_ % kAcrossPieces * kPiece;
    w_ = static_cast<const T*>(a.w) + offsets.w + first_;
    // Rows beyond the end are computed as copies of the last, and not stored.
    SAGE_UNROLL
    for (int32_t r = 0; r < kRows; ++r)
      x_[r] = static_cast<const T*>(a.x) + offsets.x + int64_t{r < a.m ? r : a.m - 1} * a.x_row;
    y_at_ = offsets.y;
  }

  SAGE_DEVICE void Multiply() {
    prim::WaitForEarlierGrids();
    prim::AllowLaterGrids();
    constexpr int32_t kLines = 32 / kAcrossPieces, kStep = kLines * kSkinnyWarps;
    int32_t k = kLines * warp_ + lane_ / kAcrossPieces;
    if (first_ + kPiece <= a_.n) {
      for (; k < a_.k; k += kAhead * kStep) AddLines(k, kStep);
    } else {
      SAGE_NO_UNROLL
      for (; k < a_.k; k += kStep) AddEnd(k);
    }
    Gather();
    prim::SyncThreads();
    Finish();
  }

 private:
  // Lines that are asked for before the first is used.
  static constexpr int32_t kAhead = kRows <= 2 ? 8 : 4;

  // Of a piece that N ends within: number by number, as the memory may end there.
  SAGE_DEVICE void AddEnd(int32_t k) {
    const T* const from = w_ + k * a_.w_column;
    SAGE_UNROLL
    for (int32_t i = 0; i < kPiece; ++i) {
      const N w = first_ + i < a_.n ? Number::Of(from[i]) : N{0};
      SAGE_UNROLL
      for (int32_t r = 0; r < kRows; ++r)
        sums_[r * kPiece + i] = prim::Fma(Number::Of(x_[r][k * a_.x_column]), w, sums_[r * kPiece + i]);
    }
  }

  SAGE_DEVICE void AddLines(int32_t k, int32_t step) {
    prim::Words4 w[kAhead];
    SAGE_UNROLL
    for (int32_t u = 0; u < kAhead; ++u) {
      const int32_t at = k + u * step;
      w[u] = at < a_.k ? prim::LoadOnce16(w_ + at * a_.w_column) : prim::Words4{};
    }
    SAGE_UNROLL
    for (int32_t u = 0; u < kAhead; ++u) {
      const int32_t at = k + u * step;
      if (at >= a_.k) break;
      SAGE_UNROLL
      for (int32_t r = 0; r < kRows; ++r) {
        const N x = Number::Of(x_[r][at * a_.x_column]);
        SAGE_UNROLL
        for (int32_t i = 0; i < kPiece; ++i)
          sums_[r * kPiece + i] = prim::Fma(x, Number::Of(w[u], i), sums_[r * kPiece + i]);
      }
    }
  }

  // This warp's sums of the block's columns, row after row, into shared memory.
  SAGE_DEVICE void Gather() {
    N* const shared = reinterpret_cast<N*>(prim::Shared()) + warp_ * kRows * kColumns;
    SAGE_UNROLL
    for (int32_t r = 0; r < kRows; ++r) {
      SAGE_UNROLL
      for (int32_t i = 0; i < kPiece; ++i) {
        N sum = sums_[r * kPiece + i];
        SAGE_UNROLL
        for (uint32_t lanes = 16; lanes >= kAcrossPieces; lanes /= 2) sum += prim::ShuffleXor(sum, lanes);
        if (lane_ < kAcrossPieces) shared[r * kColumns + lane_ * kPiece + i] = sum;
      }
    }
  }

  SAGE_DEVICE void Finish() const {
    const N* const shared = reinterpret_cast<const N*>(prim::Shared());
    for (auto e = static_cast<int32_t>(prim::ThreadX()); e < kRows * kColumns; e += 32 * kSkinnyWarps) {
      const int32_t row = e / kColumns, column = block_first_ + e % kColumns;
      if (row >= a_.m || column >= a_.n) continue;
      N sum = shared[e];
      for (int32_t warp = 1; warp < kSkinnyWarps; ++warp) sum += shared[warp * kRows * kColumns + e];
      FinishElement<N>(a_, b_, y_at_, row, column, sum);
    }
  }

  const ProductArguments& a_;
  int32_t lane_ = 0, warp_ = 0, b_ = 0, block_first_ = 0, first_ = 0;
  const T *w_ = nullptr, *x_[kRows];
  int64_t y_at_ = 0;
  N sums_[kRows * kPiece] = {};
};

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_PRODUCTS_PRODUCT_ACROSS_H_
