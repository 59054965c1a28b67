// sm80.h: the primitives on the CPU, for sm_80 and later. Layouts are those of the PTX ISA, "Warp Level Matrix
// Instructions"; tests/plugins/cuda/test_primitives.cc holds them against its text.
#ifndef SAGE_PLUGINS_COMMON_CUDA_KERNELS_EMU_SM80_H_
#define SAGE_PLUGINS_COMMON_CUDA_KERNELS_EMU_SM80_H_

#include <cmath>
#include <cstring>

#include "common/cuda/kernels/emu/machine.h"
#include "common/cuda/kernels/emu/numbers.h"
#include "common/cuda/kernels/primitives/types.h"

namespace sage::cuda::emu {

// cp.async: one 4- or 16-byte copy. zero: the source is not read.
void CopyAsync(uint32_t to, const void* from, uint32_t bytes, bool zero);
void CopyAsyncCommit();
void CopyAsyncWait(uint32_t pending);

void LoadMatrix4(uint32_t (&r)[4], uint32_t row, bool transposed);
// decode: what a 16-bit half of a register is as a float.
void Mma16816(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, float (*decode)(uint16_t),
              const char* what);
void Mma16832(int32_t (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);

}  // namespace sage::cuda::emu

namespace sage::cuda::prim {

// --- where a thread is -----------------------------------------------------------------------------------------------
inline uint32_t ThreadX() { return emu::Self().index; }
inline uint32_t BlockX() { return emu::SelfBlock().index.x; }
inline uint32_t BlockY() { return emu::SelfBlock().index.y; }
inline uint32_t BlockZ() { return emu::SelfBlock().index.z; }
inline uint32_t GridX() { return emu::SelfMachine().options().grid.x; }
inline uint32_t GridY() { return emu::SelfMachine().options().grid.y; }
inline uint32_t GridZ() { return emu::SelfMachine().options().grid.z; }
inline uint32_t BlockThreads() { return static_cast<uint32_t>(emu::SelfBlock().threads.size()); }

// --- shared memory: the block's dynamic part, aligned to 1024 --------------------------------------------------------
inline unsigned char* Shared() { return emu::SelfBlock().shared(); }
inline uint32_t SharedAddress(const void* at) { return emu::SelfBlock().AddressOf(at, "an address"); }
inline unsigned char* SharedPointer(uint32_t address) { return emu::SelfBlock().At(address, 0, 1, "a pointer"); }

// --- meeting points: a warp's are for all of its 32 lanes ------------------------------------------------------------
inline void SyncThreads() { emu::Barrier(0, BlockThreads(), true, "__syncthreads, barrier"); }
inline void SyncWarp() {
  char nothing = 0;
  emu::WarpOperation("__syncwarp", nothing, [](auto&) {});
}
inline void NamedSync(uint32_t barrier, uint32_t threads) { emu::Barrier(barrier, threads, true, "bar.sync"); }
inline void NamedArrive(uint32_t barrier, uint32_t threads) { emu::Barrier(barrier, threads, false, "bar.arrive"); }

// The same value, of which the compiler knows nothing: what is computed from it within a loop is not kept in registers
// across the loop.
inline int32_t Fresh(int32_t value) { return value; }

namespace detail {
// Each lane gets what lane `from(lane)` gives.
template <class T, class F>
T Exchange(const char* what, T value, F&& from) {
  struct {
    T given, got;
  } mine{value, value};
  emu::WarpOperation(what, mine, [&](auto& lanes) {
    for (uint32_t lane = 0; lane < 32; ++lane) lanes[lane]->got = lanes[from(lane)]->given;
  });
  return mine.got;
}
// What all lanes' values give together, in every lane.
template <class F>
uint32_t Agree(const char* what, uint32_t value, F&& join) {
  struct {
    uint32_t given, got;
  } mine{value, value};
  emu::WarpOperation(what, mine, [&](auto& lanes) {
    uint32_t joined = lanes[0]->given;
    for (auto* lane : lanes) joined = join(joined, lane->given);
    for (auto* lane : lanes) lane->got = joined;
  });
  return mine.got;
}
inline uint32_t Vote(const char* what, bool vote) {
  struct {
    bool given;
    uint32_t got;
  } mine{vote, 0};
  emu::WarpOperation(what, mine, [](auto& lanes) {
    uint32_t votes = 0;
    for (uint32_t lane = 0; lane < 32; ++lane) votes |= static_cast<uint32_t>(lanes[lane]->given) << lane;
    for (uint32_t lane = 0; lane < 32; ++lane) lanes[lane]->got = votes;
  });
  return mine.got;
}
}  // namespace detail

template <class T>
T ShuffleXor(T value, uint32_t lanes) {
  return detail::Exchange("shfl.bfly", value, [lanes](uint32_t lane) { return (lane ^ lanes) % 32; });
}
// The lane may differ between readers.
template <class T>
T Shuffle(T value, uint32_t lane) {
  struct {
    T given, got;
    uint32_t from;
  } mine{value, value, lane % 32};
  emu::WarpOperation("shfl.idx", mine, [](auto& lanes) {
    for (auto* reader : lanes) reader->got = lanes[reader->from]->given;
  });
  return mine.got;
}
template <class T>
T ShuffleDown(T value, uint32_t lanes) {
  return detail::Exchange("shfl.down", value,
                          [lanes](uint32_t lane) { return lane + lanes < 32 ? lane + lanes : lane; });
}
// The largest and the smallest of the lanes' values.
inline uint32_t WarpMax(uint32_t value) {
  return detail::Agree("redux.max", value, [](uint32_t a, uint32_t b) { return a < b ? b : a; });
}
inline uint32_t WarpMin(uint32_t value) {
  return detail::Agree("redux.min", value, [](uint32_t a, uint32_t b) { return b < a ? b : a; });
}
inline uint32_t Ballot(bool vote) { return detail::Vote("vote.ballot", vote); }
inline bool Any(bool vote) { return detail::Vote("vote.any", vote) != 0; }
inline bool All(bool vote) { return detail::Vote("vote.all", vote) == 0xffffffffu; }
// A barrier of the block that also tells whether any thread voted so.
bool SyncThreadsOr(bool vote);

// --- global memory between blocks ------------------------------------------------------------------------------------
inline uint32_t AtomicAdd(uint32_t* at, uint32_t value) {
  const uint32_t before = *at;
  *at += value;
  return before;
}
inline void ThreadFence() {}  // the emulation has one memory, in order
// Of what other blocks of this launch have written: from the cache that all processors share, not from their own.
inline float LoadFromAll(const float* at) { return *at; }
// A grid may begin before those before it on the stream have ended (dependent launch, sm_90 and later): what they write
// is there after this, and nothing they read may be written before.
inline void WaitForEarlierGrids() { emu::SelfMachine().FinishEarlierGrids(); }
// The next grid may begin once every block has said so or ended.
inline void AllowLaterGrids() {}

// --- 16 bytes of global memory at once, from a multiple of 16 --------------------------------------------------------
inline Words4 Load16(const void* from) {
  if (reinterpret_cast<uintptr_t>(from) % 16 != 0) emu::Fail("a load of 16 bytes from no multiple of 16");
  Words4 words;
  std::memcpy(&words, from, sizeof words);
  return words;
}
// Of what no kernel writes while this one runs, and this one reads once: it takes no room in the nearer cache.
inline Words4 LoadOnce16(const void* from) { return Load16(from); }

// --- asynchronous copies into shared memory: what is there is unspecified until the issuing thread has waited --------
// Not valid: zeros, and the source is not read.
inline void CopyAsync16(uint32_t to, const void* from, bool valid) { emu::CopyAsync(to, from, 16, !valid); }
inline void CopyAsync4(uint32_t to, const void* from, bool valid) { emu::CopyAsync(to, from, 4, !valid); }
inline void CopyAsyncCommit() { emu::CopyAsyncCommit(); }
// For all groups but the last kPending.
template <int kPending>
void CopyAsyncWait() {
  emu::CopyAsyncWait(kPending);
}

// --- matrices --------------------------------------------------------------------------------------------------------
// ldmatrix x4: lane 8 i + r gives the shared address of row r of matrix i.
inline void LoadMatrix4(uint32_t (&r)[4], uint32_t row) { emu::LoadMatrix4(r, row, false); }
inline void LoadMatrix4Transposed(uint32_t (&r)[4], uint32_t row) { emu::LoadMatrix4(r, row, true); }
// c += a b: 16x16 by 16x8, 16-bit floats, accumulated in float.
template <class T>
void Mma16816(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1);
template <>
inline void Mma16816<Bf16>(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  emu::Mma16816(c, a, b0, b1, emu::FromBf16, "mma.m16n8k16.bf16");
}
template <>
inline void Mma16816<F16>(float (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  emu::Mma16816(c, a, b0, b1, emu::FromF16, "mma.m16n8k16.f16");
}
// c += a b: 16x32 by 32x8, signed bytes, accumulated in int32.
inline void Mma16832(int32_t (&c)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) { emu::Mma16832(c, a, b0, b1); }

// --- numbers ---------------------------------------------------------------------------------------------------------
inline float ToFloat(Bf16 value) { return emu::FromBf16(value.bits); }
inline float ToFloat(F16 value) { return emu::FromF16(value.bits); }
// To nearest even.
template <class T>
T FromFloat(float value);
template <>
inline Bf16 FromFloat<Bf16>(float value) {
  return {emu::ToBf16(value)};
}
template <>
inline F16 FromFloat<F16>(float value) {
  return {emu::ToF16(value)};
}
// Two numbers of a register, low in the low half.
template <class T>
uint32_t Pack(float low, float high) {
  return static_cast<uint32_t>(FromFloat<T>(low).bits) | static_cast<uint32_t>(FromFloat<T>(high).bits) << 16;
}
// To nearest even, of what 32 bits hold.
inline int32_t RoundToInt(float value) { return static_cast<int32_t>(std::nearbyint(value)); }
inline float Exp2(float x) { return std::exp2(x); }
inline float Log2(float x) { return std::log2(x); }
// Within two units; by more than 2^126 it may be 0.
inline float Divide(float x, float by) { return x / by; }
// Within a unit or two, unlike the three above.
inline float Exp(float x) { return std::exp(x); }
inline double Exp(double x) { return std::exp(x); }
inline float Log(float x) { return std::log(x); }
inline double Log(double x) { return std::log(x); }
inline float Tanh(float x) { return std::tanh(x); }
inline double Tanh(double x) { return std::tanh(x); }
inline float Expm1(float x) { return std::expm1(x); }
inline double Expm1(double x) { return std::expm1(x); }
// 1 - erf(x), exact where that is next to nothing; within five units.
inline float Erfc(float x) { return std::erfc(x); }
inline double Erfc(double x) { return std::erfc(x); }
// To the nearest.
inline float Sqrt(float x) { return std::sqrt(x); }
inline double Sqrt(double x) { return std::sqrt(x); }
// To nearest even; beyond 32 bits the largest or the smallest there is, of NaN 0.
inline int32_t ToInt32(double x) {
  if (std::isnan(x)) return 0;
  return static_cast<int32_t>(std::fmin(std::fmax(std::nearbyint(x), INT32_MIN), INT32_MAX));
}
// The nearest integer, of two the even one.
inline float Rint(float x) { return std::nearbyint(x); }
inline double Rint(double x) { return std::nearbyint(x); }
inline float Abs(float x) { return std::fabs(x); }
inline double Abs(double x) { return std::fabs(x); }
inline float Fma(float a, float b, float c) { return std::fma(a, b, c); }
inline double Fma(double a, double b, double c) { return std::fma(a, b, c); }
// NaN only if both are.
inline float Max(float a, float b) { return std::fmax(a, b); }
inline double Max(double a, double b) { return std::fmax(a, b); }

}  // namespace sage::cuda::prim

#endif  // SAGE_PLUGINS_COMMON_CUDA_KERNELS_EMU_SM80_H_
