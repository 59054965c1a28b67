// ptx_sm80.h: the primitives as inline PTX, for sm_80 and every later target. emu/sm80.h says what each one does; the
// two files list the same functions in the same order.
#ifndef SAGE_PLUGINS_COMMON_CUDA_KERNELS_PRIMITIVES_PTX_SM80_H_
#define SAGE_PLUGINS_COMMON_CUDA_KERNELS_PRIMITIVES_PTX_SM80_H_

#include "common/cuda/kernels/primitives/types.h"

namespace sage::cuda::prim {

// --- where a thread is -----------------------------------------------------------------------------------------------
SAGE_DEVICE uint32_t ThreadX() { return threadIdx.x; }
SAGE_DEVICE uint32_t BlockX() { return blockIdx.x; }
SAGE_DEVICE uint32_t BlockY() { return blockIdx.y; }
SAGE_DEVICE uint32_t BlockZ() { return blockIdx.z; }
SAGE_DEVICE uint32_t GridX() { return gridDim.x; }
SAGE_DEVICE uint32_t GridY() { return gridDim.y; }
SAGE_DEVICE uint32_t GridZ() { return gridDim.z; }
SAGE_DEVICE uint32_t BlockThreads() { return blockDim.x; }

// --- shared memory ---------------------------------------------------------------------------------------------------
SAGE_DEVICE unsigned char* Shared() {
  extern __shared__ __align__(1024) unsigned char sage_dynamic_shared[];
  return sage_dynamic_shared;
}
SAGE_DEVICE uint32_t SharedAddress(const void* at) { return static_cast<uint32_t>(__cvta_generic_to_shared(at)); }
SAGE_DEVICE unsigned char* SharedPointer(uint32_t address) {
  return static_cast<unsigned char*>(__cvta_shared_to_generic(address));
}

// --- meeting points --------------------------------------------------------------------------------------------------
SAGE_DEVICE void SyncThreads() { __syncthreads(); }
SAGE_DEVICE void SyncWarp() { __syncwarp(); }
SAGE_DEVICE void NamedSync(uint32_t barrier, uint32_t threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}
SAGE_DEVICE void NamedArrive(uint32_t barrier, uint32_t threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}
SAGE_DEVICE int32_t Fresh(int32_t value) {
  asm volatile("" : "+r"(value));
  return value;
}
template <class T>
SAGE_DEVICE T ShuffleXor(T value, uint32_t lanes) {
  return __shfl_xor_sync(0xffffffffu, value, static_cast<int>(lanes));
}
template <class T>
SAGE_DEVICE T Shuffle(T value, uint32_t lane) {
  return __shfl_sync(0xffffffffu, value, static_cast<int>(lane));
}
template <class T>
SAGE_DEVICE T ShuffleDown(T value, uint32_t lanes) {
  return __shfl_down_sync(0xffffffffu, value, lanes);
}
SAGE_DEVICE uint32_t WarpMax(uint32_t value) { return __reduce_max_sync(0xffffffffu, value); }
SAGE_DEVICE uint32_t WarpMin(uint32_t value) { return __reduce_min_sync(0xffffffffu, value); }
SAGE_DEVICE uint32_t Ballot(bool vote) { return __ballot_sync(0xffffffffu, vote); }
SAGE_DEVICE bool Any(bool vote) { return __any_sync(0xffffffffu, vote) != 0; }
SAGE_DEVICE bool All(bool vote) { return __all_sync(0xffffffffu, vote) != 0; }
SAGE_DEVICE bool SyncThreadsOr(bool vote) { return __syncthreads_or(vote) != 0; }

// --- global memory between blocks ------------------------------------------------------------------------------------
SAGE_DEVICE uint32_t AtomicAdd(uint32_t* at, uint32_t value) { return atomicAdd(at, value); }
SAGE_DEVICE void ThreadFence() { __threadfence(); }
// Of what other blocks of this launch have written: from the cache that all processors share, not from their own.
SAGE_DEVICE float LoadFromAll(const float* at) { return __ldcg(at); }
SAGE_DEVICE void WaitForEarlierGrids() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}
SAGE_DEVICE void AllowLaterGrids() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// --- 16 bytes of global memory at once, from a multiple of 16 --------------------------------------------------------
SAGE_DEVICE Words4 Load16(const void* from) {
  Words4 words;
  asm volatile("ld.global.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(words.word[0]), "=r"(words.word[1]), "=r"(words.word[2]), "=r"(words.word[3])
               : "l"(from)
               : "memory");
  return words;
}
// Of what no kernel writes while this one runs, and this one reads once: it takes no room in the nearer cache.
SAGE_DEVICE Words4 LoadOnce16(const void* from) {
  Words4 words;
  asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0,%1,%2,%3}, [%4];"
               : "=r"(words.word[0]), "=r"(words.word[1]), "=r"(words.word[2]), "=r"(words.word[3])
               : "l"(from));
  return words;
}

// --- asynchronous copies into shared memory --------------------------------------------------------------------------
SAGE_DEVICE void CopyAsync16(uint32_t to, const void* from, bool valid) {
  asm volatile("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;" ::"r"(to), "l"(from), "r"(valid ? 16 : 0)
               : "memory");
}
SAGE_DEVICE void CopyAsync4(uint32_t to, const void* from, bool valid) {
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to), "l"(from), "r"(valid ? 4 : 0) : "memory");
}
SAGE_DEVICE void CopyAsyncCommit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int kPending>
SAGE_DEVICE void CopyAsyncWait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
}

// --- matrices --------------------------------------------------------------------------------------------------------
SAGE_DEVICE void LoadMatrix4(uint32_t (&r)[4], uint32_t row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(row)
               : "memory");
}
SAGE_DEVICE void LoadMatrix4Transposed(uint32_t (&r)[4], uint32_t row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(row)
               : "memory");
}
template <class T>
SAGE_DEVICE void Mma16816(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);
template <>
SAGE_DEVICE void Mma16816<Bf16>(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
template <>
SAGE_DEVICE void Mma16816<F16>(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}
SAGE_DEVICE void Mma16832(int32_t (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
               : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
               : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// --- numbers ---------------------------------------------------------------------------------------------------------
SAGE_DEVICE float ToFloat(Bf16 value) { return __uint_as_float(static_cast<uint32_t>(value.bits) << 16); }
SAGE_DEVICE float ToFloat(F16 value) {
  float wide;
  asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(value.bits));
  return wide;
}
template <class T>
SAGE_DEVICE T FromFloat(float value);
template <>
SAGE_DEVICE Bf16 FromFloat<Bf16>(float value) {
  Bf16 narrow;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(narrow.bits) : "f"(value));
  return narrow;
}
template <>
SAGE_DEVICE F16 FromFloat<F16>(float value) {
  F16 narrow;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(narrow.bits) : "f"(value));
  return narrow;
}
template <class T>
SAGE_DEVICE uint32_t Pack(float low, float high);
template <>
SAGE_DEVICE uint32_t Pack<Bf16>(float low, float high) {
  uint32_t both;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
}
template <>
SAGE_DEVICE uint32_t Pack<F16>(float low, float high) {
  uint32_t both;
  asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
  return both;
}
// To nearest even, of what 32 bits hold.
SAGE_DEVICE int32_t RoundToInt(float value) { return __float2int_rn(value); }
SAGE_DEVICE float Exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
SAGE_DEVICE float Log2(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}
// Within two units; by more than 2^126 it may be 0.
SAGE_DEVICE float Divide(float x, float by) { return __fdividef(x, by); }
// Within a unit or two, unlike the three above.
SAGE_DEVICE float Exp(float x) { return expf(x); }
SAGE_DEVICE double Exp(double x) { return exp(x); }
SAGE_DEVICE float Log(float x) { return logf(x); }
SAGE_DEVICE double Log(double x) { return log(x); }
SAGE_DEVICE float Tanh(float x) { return tanhf(x); }
SAGE_DEVICE double Tanh(double x) { return tanh(x); }
SAGE_DEVICE float Expm1(float x) { return expm1f(x); }
SAGE_DEVICE double Expm1(double x) { return expm1(x); }
// 1 - erf(x), exact where that is next to nothing; within five units.
SAGE_DEVICE float Erfc(float x) { return erfcf(x); }
SAGE_DEVICE double Erfc(double x) { return erfc(x); }
// To the nearest.
SAGE_DEVICE float Sqrt(float x) { return __fsqrt_rn(x); }
SAGE_DEVICE double Sqrt(double x) { return __dsqrt_rn(x); }
// To nearest even; beyond 32 bits the largest or the smallest there is, of NaN 0.
SAGE_DEVICE int32_t ToInt32(double x) { return x != x ? 0 : __double2int_rn(x); }
// The nearest integer, of two the even one.
SAGE_DEVICE float Rint(float x) { return rintf(x); }
SAGE_DEVICE double Rint(double x) { return rint(x); }
SAGE_DEVICE float Abs(float x) { return fabsf(x); }
SAGE_DEVICE double Abs(double x) { return fabs(x); }
SAGE_DEVICE float Fma(float a, float b, float c) { return fmaf(a, b, c); }
SAGE_DEVICE double Fma(double a, double b, double c) { return fma(a, b, c); }
// NaN only if both are.
SAGE_DEVICE float Max(float a, float b) { return fmaxf(a, b); }
SAGE_DEVICE double Max(double a, double b) { return fmax(a, b); }

}  // namespace sage::cuda::prim

#endif  // SAGE_PLUGINS_COMMON_CUDA_KERNELS_PRIMITIVES_PTX_SM80_H_
