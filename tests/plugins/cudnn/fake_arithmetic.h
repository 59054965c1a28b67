// fake_arithmetic.h: the operations of the fake cuDNN over values, without memory, types or lengths.
#ifndef SAGE_TESTS_PLUGINS_CUDNN_FAKE_ARITHMETIC_H_
#define SAGE_TESTS_PLUGINS_CUDNN_FAKE_ARITHMETIC_H_

#include "fake_values.h"

namespace sage::cudnn::fake {

// y has its dimensions already; b and t where the mode has them, else null. A dimension of 1 is broadcast.
void Pointwise(int mode, int64_t axis, const Values& x, const Values* b, const Values* t, Values* y);

// c = a b over the last two dimensions. Where b has fewer batches or heads, each serves as many of c's as come on it,
// neighbours first. Everything is multiplied, so that 0 * NaN shows.
void Product(const Values& a, const Values& b, Values* c);

// Over the axes of which y's dimension is 1. NaN in, NaN out.
void Reduce(int reduction, const Values& x, Values* y);

// The last two dimensions changed places.
Values Transposed(const Values& x);

}  // namespace sage::cudnn::fake

#endif  // SAGE_TESTS_PLUGINS_CUDNN_FAKE_ARITHMETIC_H_
