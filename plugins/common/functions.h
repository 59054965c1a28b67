// functions.h: the elementwise functions of ops.h in double: what the oracle computes, and what a backend may apply to
// results of a library that has no such epilogue. Not fast; the vector kernels have approximations of their own.
#ifndef SAGE_PLUGINS_COMMON_FUNCTIONS_H_
#define SAGE_PLUGINS_COMMON_FUNCTIONS_H_

#include <cstdint>

namespace sage::plugins {

// fn(x), SAGE_FN_*; alpha is ELU's. A NaN stays a NaN. An unknown function is the identity: CheckOp refuses those.
double ApplyFunction(uint32_t function, double x, double alpha);

}  // namespace sage::plugins

#endif  // SAGE_PLUGINS_COMMON_FUNCTIONS_H_
