// primitives.h: all that a kernel may use besides plain C++. Kernel bodies live in headers that include this and
// nothing of CUDA, so that one text is compiled by nvcc for the device and by the host's compiler for the tests.
//
// Two implementations of namespace prim: inline PTX under nvcc, an emulation on the CPU (emu/) elsewhere. What only
// Hopper has is in primitives_hopper.h, so that portable kernels cannot use it by mistake.
#ifndef SAGE_PLUGINS_COMMON_CUDA_KERNELS_PRIMITIVES_H_
#define SAGE_PLUGINS_COMMON_CUDA_KERNELS_PRIMITIVES_H_

#ifdef __CUDACC__
#include "common/cuda/kernels/primitives/ptx_sm80.h"
#else
#include "common/cuda/kernels/emu/sm80.h"
#endif

#endif  // SAGE_PLUGINS_COMMON_CUDA_KERNELS_PRIMITIVES_H_
