// product_emulated.cc: compiles the kernels for the CPU, once for all test files.
#include "product_emulated.h"

#include "products/product_across.h"
#include "products/product_finish.h"
#include "products/product_plain.h"
#include "products/product_skinny.h"

namespace sage::test {
namespace {

using cuda::ProductArguments;
using cuda::ProductSum;
using cuda::ProductType;

int Launch(int* count, int64_t blocks, uint32_t threads, uint32_t shared, const std::function<void()>& body,
           std::function<void()> earlier = {}) {
  EmulatedProducts& seen = Emulated();
  ++*count;
  if (seen.fail != 0) return seen.fail;
  const auto seed = static_cast<uint64_t>(seen.skinny + seen.plain + seen.finish);
  const std::string failure = cuda::emu::Launch({.grid = {static_cast<uint32_t>(blocks), 1, 1},
                                                 .threads = threads,
                                                 .shared_bytes = shared,
                                                 .seed = seed,
                                                 .earlier = std::move(earlier)},
                                                body);
  if (failure.empty()) return 0;
  if (seen.failure.empty()) seen.failure = failure;
  return 719;  // cudaErrorLaunchFailure
}

template <class T, int32_t kRows>
int Skinny(const ProductArguments& a, int32_t split) {
  if (cuda::SkinnyOrderOf(a) == cuda::SkinnyOrder::kAlongN) {
    ++Emulated().across;
    return Launch(
        &Emulated().skinny, cuda::AcrossBlocks(a), 32 * cuda::kSkinnyWarps, cuda::AcrossSharedBytes(kRows, sizeof(T)),
        [&] { cuda::AcrossProduct<T, kRows>(a).Multiply(); }, [] {});
  }
  const uint32_t shared = split == 1 ? 0 : cuda::kSkinnySharedBytes;
  return Launch(
      &Emulated().skinny, cuda::SkinnyBlocks(a, split), 32 * cuda::kSkinnyWarps, shared,
      [&] { cuda::SkinnyProduct<T, kRows>(a, split).Multiply(); }, [] {});
}
template <class T>
int Skinny(const ProductArguments& a, int32_t split) {
  Emulated().last_dependent = a.dependent;
  Emulated().last_split = split, Emulated().last_rows = cuda::SkinnyRows(a.m);
  switch (cuda::SkinnyRows(a.m)) {
    case 1:
      return Skinny<T, 1>(a, split);
    case 2:
      return Skinny<T, 2>(a, split);
    case 4:
      return Skinny<T, 4>(a, split);
    default:
      return Skinny<T, 8>(a, split);
  }
}
int SkinnyOf(const ProductArguments& a, int32_t split, void*) {
  switch (a.x_type) {
    case ProductType::kF64:
      return Skinny<double>(a, split);
    case ProductType::kF32:
      return Skinny<float>(a, split);
    case ProductType::kF16:
      return Skinny<cuda::F16>(a, split);
    default:
      return Skinny<cuda::Bf16>(a, split);
  }
}

template <class N>
int Plain(const ProductArguments& a) {
  return Launch(&Emulated().plain, cuda::PlainProductBlocks(a), cuda::kPlainProductThreads, cuda::kPlainSharedBytes,
                [&] { cuda::MultiplyPlain<N>(a); });
}
int PlainOf(const ProductArguments& a, void*) {
  switch (cuda::SumOf(a)) {
    case ProductSum::kF64:
      return Plain<double>(a);
    case ProductSum::kF32:
      return Plain<float>(a);
    default:
      return Plain<int64_t>(a);
  }
}

template <class N>
int Finish(const ProductArguments& a) {
  return Launch(&Emulated().finish, cuda::FinishBlocks(a), cuda::kFinishThreads, 0, [&] { cuda::FinishProduct<N>(a); });
}
int FinishOf(const ProductArguments& a, void*) {
  return a.x_type == ProductType::kF32 ? Finish<float>(a) : Finish<double>(a);
}

}  // namespace

EmulatedProducts& Emulated() {
  static EmulatedProducts seen;
  return seen;
}

cuda::ProductKernels& EmulatedProductKernels() {
  static cuda::ProductKernels kernels = {"80", SkinnyOf, PlainOf, FinishOf};
  return kernels;
}

}  // namespace sage::test
