// product_emulated.h: the kernels of products in the emulation, as the table that the backend launches them by.
#ifndef SAGE_TESTS_PLUGINS_CUDA_PRODUCT_EMULATED_H_
#define SAGE_TESTS_PLUGINS_CUDA_PRODUCT_EMULATED_H_

#include <string>

#include "products/product_launch.h"

namespace sage::test {

// What the emulated launches did. Tests run one after the other.
struct EmulatedProducts {
  int skinny = 0, plain = 0, finish = 0;
  int across = 0;  // of skinny: along N
  int last_split = 0, last_rows = 0;
  bool last_dependent = false;  // of skinny
  int fail = 0;                 // not 0: launches return this cudaError_t
  std::string failure;          // the first of the emulation's findings; such a launch returns cudaErrorLaunchFailure
};
EmulatedProducts& Emulated();

// On sm_80 and later.
cuda::ProductKernels& EmulatedProductKernels();

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CUDA_PRODUCT_EMULATED_H_
