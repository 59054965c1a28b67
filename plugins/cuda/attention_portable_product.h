// attention_portable_product.h: Q K^T of one tile of keys, for the kernels whose tiles differ in the type that Q and K
// are multiplied in.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_PORTABLE_PRODUCT_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_PORTABLE_PRODUCT_H_

#include "attention_portable_walk.h"

namespace sage::cuda {

// products += Q K^T. A row of either tile has kRowBytes, of which an mma takes 32: 16 numbers of 16 bits or 32 of 8,
// whose fragments lie alike. multiply(c, a, b0, b1) is that mma.
template <class Tile, int32_t kRowBytes, class Number, class Multiply>
SAGE_DEVICE void MultiplyKeys(uint32_t shared_q, uint32_t shared_k,
                              Number (&products)[Tile::kRowTiles][Tile::kKeys / 8][4], Multiply&& multiply) {
  constexpr int32_t kRowTiles = Tile::kRowTiles, kKeyTiles = Tile::kKeys / 8;
  const ThreadPlace now = Place<Tile>();
  SAGE_UNROLL
  for (int32_t depth = 0; depth < kRowBytes / 32; ++depth) {
    uint32_t q[kRowTiles][4];
    SAGE_UNROLL
    for (int32_t t = 0; t < kRowTiles; ++t)
      prim::LoadMatrix4(
          q[t], shared_q + Swizzled<kRowBytes / 2>(now.warp_row + 16 * t + now.lane % 16, 2 * depth + now.lane / 16));
    SAGE_UNROLL
    for (int32_t i = 0; i < kKeyTiles; i += 2) {
      uint32_t k[4];
      prim::LoadMatrix4(k, shared_k + Swizzled<kRowBytes / 2>(8 * i + now.lane / 16 * 8 + now.lane % 8,
                                                              2 * depth + now.lane / 8 % 2));
      SAGE_UNROLL
      for (int32_t t = 0; t < kRowTiles; ++t) {
        multiply(products[t][i], q[t], k[0], k[1]);
        multiply(products[t][i + 1], q[t], k[2], k[3]);
      }
    }
  }
}

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_PORTABLE_PRODUCT_H_
