// ptx_sm90a.h: the primitives of sm_90a as inline PTX. emu/sm90a.h says what each one does; the two files list the same
// functions in the same order.
#ifndef SAGE_PLUGINS_COMMON_CUDA_KERNELS_PRIMITIVES_PTX_SM90A_H_
#define SAGE_PLUGINS_COMMON_CUDA_KERNELS_PRIMITIVES_PTX_SM90A_H_

#include "common/cuda/kernels/primitives/types.h"
#include "common/cuda/kernels/tensor_map.h"

namespace sage::cuda::prim {

// --- mbarrier --------------------------------------------------------------------------------------------------------
SAGE_DEVICE void MbarrierInit(uint32_t barrier, uint32_t arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
SAGE_DEVICE void MbarrierInitFence() { asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory"); }
SAGE_DEVICE void MbarrierArrive(uint32_t barrier) {
  asm volatile("mbarrier.arrive.release.cta.shared::cta.b64 _, [%0];" ::"r"(barrier) : "memory");
}
SAGE_DEVICE void MbarrierArriveExpect(uint32_t barrier, uint32_t bytes) {
  asm volatile("mbarrier.arrive.expect_tx.release.cta.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
}
SAGE_DEVICE bool MbarrierTryWait(uint32_t barrier, uint32_t parity) {
  uint32_t done;
  asm volatile("{.reg .pred p; mbarrier.try_wait.parity.acquire.cta.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p;}"
               : "=r"(done)
               : "r"(barrier), "r"(parity)
               : "memory");
  return done != 0;
}

// --- clusters --------------------------------------------------------------------------------------------------------
SAGE_DEVICE uint32_t ClusterRank() {
  uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
SAGE_DEVICE void ClusterSync() {
  asm volatile("barrier.cluster.arrive.release; barrier.cluster.wait.acquire;" ::: "memory");
}
SAGE_DEVICE void MbarrierArriveAt(uint32_t barrier, uint32_t rank) {
  asm volatile(
      "{.reg .b32 remote; mapa.shared::cluster.u32 remote, %0, %1; "
      "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [remote];}" ::"r"(barrier),
      "r"(rank)
      : "memory");
}
SAGE_DEVICE bool MbarrierTryWaitCluster(uint32_t barrier, uint32_t parity) {
  uint32_t done;
  asm volatile(
      "{.reg .pred p; mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%1], %2; selp.u32 %0, 1, 0, p;}"
      : "=r"(done)
      : "r"(barrier), "r"(parity)
      : "memory");
  return done != 0;
}

// --- TMA -------------------------------------------------------------------------------------------------------------
SAGE_DEVICE void TmaPrefetchMap(const TensorMap& map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}
SAGE_DEVICE void TmaLoad(uint32_t to, const TensorMap& map, uint32_t barrier, const int32_t (&at)[2]) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4}], [%2];" ::
          "r"(to),
      "l"(&map), "r"(barrier), "r"(at[0]), "r"(at[1])
      : "memory");
}
SAGE_DEVICE void TmaLoad(uint32_t to, const TensorMap& map, uint32_t barrier, const int32_t (&at)[3]) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5}], "
      "[%2];" ::"r"(to),
      "l"(&map), "r"(barrier), "r"(at[0]), "r"(at[1]), "r"(at[2])
      : "memory");
}
SAGE_DEVICE void TmaLoad(uint32_t to, const TensorMap& map, uint32_t barrier, const int32_t (&at)[4]) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6}], "
      "[%2];" ::"r"(to),
      "l"(&map), "r"(barrier), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3])
      : "memory");
}
SAGE_DEVICE void TmaLoad(uint32_t to, const TensorMap& map, uint32_t barrier, const int32_t (&at)[5]) {
  asm volatile(
      "cp.async.bulk.tensor.5d.shared::cluster.global.tile.mbarrier::complete_tx::bytes [%0], [%1, {%3, %4, %5, %6, "
      "%7}], [%2];" ::"r"(to),
      "l"(&map), "r"(barrier), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]), "r"(at[4])
      : "memory");
}
SAGE_DEVICE void TmaLoadMulticast(uint32_t to, const TensorMap& map, uint32_t barrier, const int32_t (&at)[4],
                                  uint16_t blocks) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes.multicast::cluster [%0], [%1, "
      "{%3, %4, %5, %6}], [%2], %7;" ::"r"(to),
      "l"(&map), "r"(barrier), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]), "h"(blocks)
      : "memory");
}
SAGE_DEVICE void TmaStore(const TensorMap& map, uint32_t from, const int32_t (&at)[4]) {
  asm volatile("cp.async.bulk.tensor.4d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4, %5}], [%1];" ::"l"(&map),
               "r"(from), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3])
               : "memory");
}
SAGE_DEVICE void TmaStore(const TensorMap& map, uint32_t from, const int32_t (&at)[5]) {
  asm volatile(
      "cp.async.bulk.tensor.5d.global.shared::cta.tile.bulk_group [%0, {%2, %3, %4, %5, %6}], [%1];" ::"l"(&map),
      "r"(from), "r"(at[0]), "r"(at[1]), "r"(at[2]), "r"(at[3]), "r"(at[4])
      : "memory");
}
SAGE_DEVICE void TmaStoreCommit() { asm volatile("cp.async.bulk.commit_group;" ::: "memory"); }
template <int kPending>
SAGE_DEVICE void TmaStoreWaitRead() {
  asm volatile("cp.async.bulk.wait_group.read %0;" ::"n"(kPending) : "memory");
}
template <int kPending>
SAGE_DEVICE void TmaStoreWait() {
  asm volatile("cp.async.bulk.wait_group %0;" ::"n"(kPending) : "memory");
}
SAGE_DEVICE void StoreShared32(uint32_t to, uint32_t bits) {
  asm volatile("st.shared.b32 [%0], %1;" ::"r"(to), "r"(bits) : "memory");
}
SAGE_DEVICE void StoreShared16(uint32_t to, uint16_t bits) {
  asm volatile("st.shared.b16 [%0], %1;" ::"r"(to), "h"(bits) : "memory");
}
SAGE_DEVICE void FenceAsyncShared() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

// --- warpgroups ------------------------------------------------------------------------------------------------------
template <int kRegisters>
SAGE_DEVICE void RegistersUp() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
SAGE_DEVICE void RegistersDown() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
// Keeps the compiler from moving what is done with the registers across this point.
template <int N>
SAGE_DEVICE void Pin(float (&registers)[N]) {
  SAGE_UNROLL
  for (int i = 0; i < N; ++i) asm volatile("" : "+f"(registers[i])::"memory");
}
SAGE_DEVICE void WgmmaFence() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
SAGE_DEVICE void WgmmaCommit() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
template <int kPending>
SAGE_DEVICE void WgmmaWait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

}  // namespace sage::cuda::prim

#endif  // SAGE_PLUGINS_COMMON_CUDA_KERNELS_PRIMITIVES_PTX_SM90A_H_
