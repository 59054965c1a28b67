// primitives_hopper.h: what sm_90a adds to primitives.h: barriers in shared memory that count arrivals and bytes
// (mbarrier), also of other blocks of a cluster, boxes of tensors copied by the tensor memory accelerator (TMA),
// products of a warpgroup (wgmma), and registers handed from one warpgroup to another. The same two implementations:
// inline PTX and the CPU emulation.
//
// Shared memory is named by its 32-bit address throughout, as the instructions do.
#ifndef SAGE_PLUGINS_COMMON_CUDA_KERNELS_PRIMITIVES_HOPPER_H_
#define SAGE_PLUGINS_COMMON_CUDA_KERNELS_PRIMITIVES_HOPPER_H_

#include "common/cuda/kernels/primitives.h"
#include "common/cuda/kernels/tensor_map.h"

#ifdef __CUDACC__
#include "common/cuda/kernels/primitives/ptx_sm90a.h"
#include "common/cuda/kernels/primitives/ptx_wgmma.h"
#else
#include "common/cuda/kernels/emu/sm90a.h"
#endif

namespace sage::cuda::prim {

// Returns once the phase of this parity has ended: at once for parity 1 of a barrier that has seen no phase end.
SAGE_DEVICE void MbarrierWait(uint32_t barrier, uint32_t parity) {
  while (!MbarrierTryWait(barrier, parity)) {
  }
}

SAGE_DEVICE void MbarrierWaitCluster(uint32_t barrier, uint32_t parity) {
  while (!MbarrierTryWaitCluster(barrier, parity)) {
  }
}

// How wgmma is told of a matrix in shared memory that lies in rows of 128 swizzled bytes. start: its first byte.
// leading: bytes between blocks of 64 columns of an MN-major matrix; unused for a K-major one. Eight rows are 1024
// bytes.
SAGE_DEVICE uint64_t MatrixDescriptor(uint32_t start, uint32_t leading) {
  constexpr uint64_t kSwizzle128 = uint64_t{1} << 62, kEightRows = uint64_t{1024 >> 4} << 32;
  return kSwizzle128 | kEightRows | static_cast<uint64_t>(leading >> 4) << 16 | (start & 0x3ffff) >> 4;
}
// A descriptor further on by so many bytes.
SAGE_DEVICE uint64_t Advanced(uint64_t descriptor, uint32_t bytes) { return descriptor + (bytes >> 4); }

}  // namespace sage::cuda::prim

#endif  // SAGE_PLUGINS_COMMON_CUDA_KERNELS_PRIMITIVES_HOPPER_H_
