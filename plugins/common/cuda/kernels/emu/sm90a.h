// sm90a.h: the primitives of sm_90a on the CPU, as the PTX ISA describes them ("mbarrier", "cp.async.bulk.tensor",
// "Asynchronous warpgroup level matrix instructions"). tests/plugins/cuda/test_primitives_hopper.cc holds them against
// its text.
//
// What is asynchronous happens at once or a random number of turns later, by the seed: the first finds a thread that
// goes on too early, the second one that reads or overwrites what is still in use.
#ifndef SAGE_PLUGINS_COMMON_CUDA_KERNELS_EMU_SM90A_H_
#define SAGE_PLUGINS_COMMON_CUDA_KERNELS_EMU_SM90A_H_

#include "common/cuda/kernels/emu/sm80.h"
#include "common/cuda/kernels/tensor_map.h"

namespace sage::cuda::emu {

void MbarrierInit(uint32_t barrier, uint32_t arrivals);
void MbarrierArrive(uint32_t barrier, uint32_t expected_bytes, const char* what);
void MbarrierArriveAt(uint32_t barrier, uint32_t rank);
bool MbarrierTryWait(uint32_t barrier, uint32_t parity);
// blocks: bit i for block i of the cluster; 0: this block alone.
void TmaLoad(uint32_t to, const TensorMap& map, uint32_t barrier, const int32_t* at, int rank, uint32_t blocks);
void TmaStore(const TensorMap& map, uint32_t from, const int32_t* at, int rank);
void StoreShared(uint32_t to, const void* from, uint32_t bytes);
void FenceAsyncShared();
void TmaStoreCommit();
// read: only the shared memory has to be free again.
void TmaStoreWait(uint32_t pending, bool read);
void SetRegisters(uint32_t registers, bool up);

// One wgmma.mma_async of shape m64nNk16 as one thread issues it. It reads and writes the registers when it is executed.
struct WgmmaOperands {
  int n = 0;
  float* d = nullptr;                   // n / 2 accumulators
  const uint32_t* registers = nullptr;  // A, 4 of them; null: A is what `a` describes
  uint64_t a = 0, b = 0;
  bool accumulate = true;
  bool b_mn_major = false;
  float (*decode)(uint16_t) = nullptr;
};
void WgmmaFence();
void WgmmaIssue(const WgmmaOperands& operands);
void WgmmaCommit();
void WgmmaWait(uint32_t pending);

// Where element (row, k) of a matrix lies that a wgmma descriptor tells of. row: of A, or the column of B.
uint32_t MatrixElement(uint64_t descriptor, bool mn_major, uint32_t row, uint32_t k);

}  // namespace sage::cuda::emu

namespace sage::cuda::prim {

// --- mbarrier: a phase ends when `arrivals` have come and all bytes that were expected ------------------------------
inline void MbarrierInit(uint32_t barrier, uint32_t arrivals) { emu::MbarrierInit(barrier, arrivals); }
inline void MbarrierInitFence() {}
inline void MbarrierArrive(uint32_t barrier) { emu::MbarrierArrive(barrier, 0, "mbarrier.arrive"); }
// Expects so many bytes more in this phase, then arrives.
inline void MbarrierArriveExpect(uint32_t barrier, uint32_t bytes) {
  emu::MbarrierArrive(barrier, bytes, "mbarrier.arrive.expect_tx");
}
// Whether the phase of this parity has ended; may let others run.
inline bool MbarrierTryWait(uint32_t barrier, uint32_t parity) { return emu::MbarrierTryWait(barrier, parity); }

// --- clusters: blocks that reach each other's shared memory ----------------------------------------------------------
inline uint32_t ClusterRank() { return emu::SelfBlock().cluster_rank; }
// All threads of all blocks of the cluster; they may be apart within a warp.
inline void ClusterSync() { emu::ClusterBarrier(); }
// At the barrier that lies at this address in that block of the cluster.
inline void MbarrierArriveAt(uint32_t barrier, uint32_t rank) { emu::MbarrierArriveAt(barrier, rank); }
// Of a phase that other blocks of the cluster arrive at, too.
inline bool MbarrierTryWaitCluster(uint32_t barrier, uint32_t parity) { return emu::MbarrierTryWait(barrier, parity); }

// --- TMA: boxes between global memory and swizzled shared memory, issued by one thread -------------------------------
inline void TmaPrefetchMap(const TensorMap&) {}
template <int kRank>
void TmaLoad(uint32_t to, const TensorMap& map, uint32_t barrier, const int32_t (&at)[kRank]) {
  static_assert(kRank >= 2 && kRank <= kTensorMapMaxRank);
  emu::TmaLoad(to, map, barrier, at, kRank, 0);
}
// To the same address in each block of the cluster whose bit is set; the bytes arrive at each one's own barrier.
inline void TmaLoadMulticast(uint32_t to, const TensorMap& map, uint32_t barrier, const int32_t (&at)[4],
                             uint16_t blocks) {
  emu::TmaLoad(to, map, barrier, at, 4, blocks);
}
template <int kRank>
void TmaStore(const TensorMap& map, uint32_t from, const int32_t (&at)[kRank]) {
  static_assert(kRank == 4 || kRank == 5);
  emu::TmaStore(map, from, at, kRank);
}
inline void TmaStoreCommit() { emu::TmaStoreCommit(); }
template <int kPending>
void TmaStoreWaitRead() {
  emu::TmaStoreWait(kPending, true);
}
template <int kPending>
void TmaStoreWait() {
  emu::TmaStoreWait(kPending, false);
}
// What a thread writes for TMA to store: only this is known to the emulation, and only for it is the fence asked for.
inline void StoreShared32(uint32_t to, uint32_t bits) { emu::StoreShared(to, &bits, sizeof bits); }
inline void StoreShared16(uint32_t to, uint16_t bits) { emu::StoreShared(to, &bits, sizeof bits); }
// Between what the thread has written to shared memory and TMA, whoever has it read there.
inline void FenceAsyncShared() { emu::FenceAsyncShared(); }

// --- warpgroups ------------------------------------------------------------------------------------------------------
template <int kRegisters>
void RegistersUp() {
  static_assert(kRegisters % 8 == 0 && kRegisters >= 24 && kRegisters <= 256);
  emu::SetRegisters(kRegisters, true);
}
template <int kRegisters>
void RegistersDown() {
  static_assert(kRegisters % 8 == 0 && kRegisters >= 24 && kRegisters <= 256);
  emu::SetRegisters(kRegisters, false);
}
template <int N>
void Pin(float (&)[N]) {}
inline void WgmmaFence() { emu::WgmmaFence(); }
inline void WgmmaCommit() { emu::WgmmaCommit(); }
// For all groups but the last kPending.
template <int kPending>
void WgmmaWait() {
  emu::WgmmaWait(kPending);
}
template <class T, int N>
struct Wgmma {
  static_assert(N % 8 == 0 && N <= 256);
  static float Decode(uint16_t bits) { return ToFloat(T{bits}); }
  static void Shared(float (&d)[N / 2], uint64_t left, uint64_t right, int accumulate) {
    emu::WgmmaIssue({N, d, nullptr, left, right, accumulate != 0, false, Decode});
  }
  static void Registers(float (&d)[N / 2], const uint32_t (&left)[4], uint64_t right) {
    emu::WgmmaIssue({N, d, left, 0, right, true, true, Decode});
  }
};

}  // namespace sage::cuda::prim

#endif  // SAGE_PLUGINS_COMMON_CUDA_KERNELS_EMU_SM90A_H_
