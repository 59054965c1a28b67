// products.cu: launches of the kernels of products.
#include "common/cuda/kernels/launch_kernel.h"
#include "products/product_across.h"
#include "products/product_finish.h"
#include "products/product_launch.h"
#include "products/product_plain.h"
#include "products/product_skinny.h"

namespace sage::cuda {
namespace {

template <class T, int32_t kRows>
__global__ void __launch_bounds__(32 * kSkinnyWarps, 1)
    SkinnyKernel(const __grid_constant__ ProductArguments a, int32_t split) {
  SkinnyProduct<T, kRows>(a, split).Multiply();
}
template <class T, int32_t kRows>
__global__ void __launch_bounds__(32 * kSkinnyWarps, 1) AcrossKernel(const __grid_constant__ ProductArguments a) {
  AcrossProduct<T, kRows>(a).Multiply();
}
template <class N>
__global__ void __launch_bounds__(kPlainProductThreads, 1)
    PlainProductKernel(const __grid_constant__ ProductArguments a) {
  MultiplyPlain<N>(a);
}
template <class N>
__global__ void __launch_bounds__(kFinishThreads, 1) FinishKernel(const __grid_constant__ ProductArguments a) {
  FinishProduct<N>(a);
}

template <class T>
int AcrossOf(const ProductArguments& a, void* stream) {
  const auto launch = [&](auto kernel) {
    const uint32_t shared = AcrossSharedBytes(SkinnyRows(a.m), sizeof(T));
    return LaunchKernel(kernel, AcrossBlocks(a), 32 * kSkinnyWarps, shared, stream, a.dependent, a);
  };
  switch (SkinnyRows(a.m)) {
    case 1:
      return launch(AcrossKernel<T, 1>);
    case 2:
      return launch(AcrossKernel<T, 2>);
    case 4:
      return launch(AcrossKernel<T, 4>);
    default:
      return launch(AcrossKernel<T, 8>);
  }
}

template <class T>
int SkinnyOf(const ProductArguments& a, int32_t split, void* stream) {
  if (SkinnyOrderOf(a) == SkinnyOrder::kAlongN) return AcrossOf<T>(a, stream);
  const auto launch = [&](auto kernel) {
    const uint32_t shared = split == 1 ? 0 : kSkinnySharedBytes;
    return LaunchKernel(kernel, SkinnyBlocks(a, split), 32 * kSkinnyWarps, shared, stream, a.dependent, a, split);
  };
  switch (SkinnyRows(a.m)) {
    case 1:
      return launch(SkinnyKernel<T, 1>);
    case 2:
      return launch(SkinnyKernel<T, 2>);
    case 4:
      return launch(SkinnyKernel<T, 4>);
    default:
      return launch(SkinnyKernel<T, 8>);
  }
}

template <class N>
int PlainOf(const ProductArguments& a, void* stream) {
  return LaunchKernel(PlainProductKernel<N>, PlainProductBlocks(a), kPlainProductThreads, kPlainSharedBytes, stream,
                      false, a);
}

template <class N>
int FinishOf(const ProductArguments& a, void* stream) {
  return LaunchKernel(FinishKernel<N>, FinishBlocks(a), kFinishThreads, 0, stream, false, a);
}

}  // namespace

int LaunchSkinnyProduct(const ProductArguments& a, int32_t split, void* stream) {
  switch (a.x_type) {
    case ProductType::kF64:
      return SkinnyOf<double>(a, split, stream);
    case ProductType::kF32:
      return SkinnyOf<float>(a, split, stream);
    case ProductType::kF16:
      return SkinnyOf<F16>(a, split, stream);
    default:
      return SkinnyOf<Bf16>(a, split, stream);
  }
}

int LaunchPlainProduct(const ProductArguments& a, void* stream) {
  switch (SumOf(a)) {
    case ProductSum::kF64:
      return PlainOf<double>(a, stream);
    case ProductSum::kF32:
      return PlainOf<float>(a, stream);
    default:
      return PlainOf<int64_t>(a, stream);
  }
}

int LaunchFinishProduct(const ProductArguments& a, void* stream) {
  return a.x_type == ProductType::kF32 ? FinishOf<float>(a, stream) : FinishOf<double>(a, stream);
}

}  // namespace sage::cuda
