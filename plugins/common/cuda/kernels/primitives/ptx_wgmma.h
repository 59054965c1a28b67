// ptx_wgmma.h: D (64 x N, f32, registers) += A (64 x 16) * B (16 x N) by one warpgroup, asynchronously. A is in shared
// memory or in registers; B is in shared memory, K-major for the scores (rows of B^T are rows of K) and MN-major for
// the values (V as it lies in memory). Both 16-bit types.
//
// The operand lists cannot be written by a loop: an asm statement names every register. They are macros, one a size.
#ifndef SAGE_PLUGINS_COMMON_CUDA_KERNELS_PRIMITIVES_PTX_WGMMA_H_
#define SAGE_PLUGINS_COMMON_CUDA_KERNELS_PRIMITIVES_PTX_WGMMA_H_

#include "common/cuda/kernels/primitives/types.h"

namespace sage::cuda::prim {

template <class T, int N>
struct Wgmma;

#define SAGE_WGMMA_8(d, i)                                                                                \
  "+f"(d[(i)]), "+f"(d[(i) + 1]), "+f"(d[(i) + 2]), "+f"(d[(i) + 3]), "+f"(d[(i) + 4]), "+f"(d[(i) + 5]), \
      "+f"(d[(i) + 6]), "+f"(d[(i) + 7])
#define SAGE_WGMMA_32(d, i) \
  SAGE_WGMMA_8(d, i), SAGE_WGMMA_8(d, (i) + 8), SAGE_WGMMA_8(d, (i) + 16), SAGE_WGMMA_8(d, (i) + 24)
#define SAGE_WGMMA_64(d, i) SAGE_WGMMA_32(d, i), SAGE_WGMMA_32(d, (i) + 32)
#define SAGE_WGMMA_88(d, i) \
  SAGE_WGMMA_64(d, i), SAGE_WGMMA_8(d, (i) + 64), SAGE_WGMMA_8(d, (i) + 72), SAGE_WGMMA_8(d, (i) + 80)
#define SAGE_WGMMA_128(d, i) SAGE_WGMMA_64(d, i), SAGE_WGMMA_64(d, (i) + 64)

#define SAGE_WGMMA_NAMES_32                                                                                   \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, " \
  "%23, %24, %25, %26, %27, %28, %29, %30, %31"
#define SAGE_WGMMA_NAMES_64                                                                                   \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, " \
  "%23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, " \
  "%44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define SAGE_WGMMA_NAMES_88                                                                                   \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, " \
  "%23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, " \
  "%44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, %64, " \
  "%65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, %85, " \
  "%86, %87"
#define SAGE_WGMMA_NAMES_128                                                                                  \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, " \
  "%23, %24, %25, %26, %27, %28, %29, %30, %31, %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, " \
  "%44, %45, %46, %47, %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63, %64, " \
  "%65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79, %80, %81, %82, %83, %84, %85, " \
  "%86, %87, %88, %89, %90, %91, %92, %93, %94, %95, %96, %97, %98, %99, %100, %101, %102, %103, %104, "      \
  "%105, %106, %107, %108, %109, %110, %111, %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, "    \
  "%122, %123, %124, %125, %126, %127"

// registers: half of N. a, b, c ...: the numbers of the operands after the accumulators.
#define SAGE_WGMMA_SPECIALISE(element, type, n, registers, a, b, c, d4, e, f)                                        \
  template <>                                                                                                        \
  struct Wgmma<element, n> {                                                                                         \
    /* D = A B^T + (accumulate ? D : 0), both K-major in shared memory. */                                           \
    static SAGE_DEVICE void Shared(float (&d)[registers], uint64_t left, uint64_t right, int accumulate) {           \
      asm volatile("{.reg .pred p; setp.ne.b32 p, %" #c                                                              \
                   ", 0;\n"                                                                                          \
                   "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." type "." type " {" SAGE_WGMMA_NAMES_##registers \
                   "}, %" #a ", %" #b ", p, 1, 1, 0, 0;}\n"                                                          \
                   : SAGE_WGMMA_##registers(d, 0)                                                                    \
                   : "l"(left), "l"(right), "r"(accumulate));                                                        \
    }                                                                                                                \
    /* D += A B, A in registers as the accumulators of m64k16 lie, B MN-major in shared memory. */                   \
    static SAGE_DEVICE void Registers(float (&d)[registers], const uint32_t (&left)[4], uint64_t right) {            \
      asm volatile("{.reg .pred p; setp.ne.b32 p, %" #f                                                              \
                   ", 0;\n"                                                                                          \
                   "wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." type "." type " {" SAGE_WGMMA_NAMES_##registers \
                   "}, {%" #a ", %" #b ", %" #c ", %" #d4 "}, %" #e ", p, 1, 1, 1;}\n"                               \
                   : SAGE_WGMMA_##registers(d, 0)                                                                    \
                   : "r"(left[0]), "r"(left[1]), "r"(left[2]), "r"(left[3]), "l"(right), "r"(1));                    \
    }                                                                                                                \
  };

SAGE_WGMMA_SPECIALISE(Bf16, "bf16", 64, 32, 32, 33, 34, 35, 36, 37)
SAGE_WGMMA_SPECIALISE(Bf16, "bf16", 128, 64, 64, 65, 66, 67, 68, 69)
SAGE_WGMMA_SPECIALISE(Bf16, "bf16", 176, 88, 88, 89, 90, 91, 92, 93)
SAGE_WGMMA_SPECIALISE(Bf16, "bf16", 256, 128, 128, 129, 130, 131, 132, 133)
SAGE_WGMMA_SPECIALISE(F16, "f16", 64, 32, 32, 33, 34, 35, 36, 37)
SAGE_WGMMA_SPECIALISE(F16, "f16", 128, 64, 64, 65, 66, 67, 68, 69)
SAGE_WGMMA_SPECIALISE(F16, "f16", 176, 88, 88, 89, 90, 91, 92, 93)
SAGE_WGMMA_SPECIALISE(F16, "f16", 256, 128, 128, 129, 130, 131, 132, 133)

#undef SAGE_WGMMA_SPECIALISE
#undef SAGE_WGMMA_NAMES_128
#undef SAGE_WGMMA_NAMES_88
#undef SAGE_WGMMA_NAMES_64
#undef SAGE_WGMMA_NAMES_32
#undef SAGE_WGMMA_128
#undef SAGE_WGMMA_88
#undef SAGE_WGMMA_64
#undef SAGE_WGMMA_32
#undef SAGE_WGMMA_8

}  // namespace sage::cuda::prim

#endif  // SAGE_PLUGINS_COMMON_CUDA_KERNELS_PRIMITIVES_PTX_WGMMA_H_
