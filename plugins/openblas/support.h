// support.h: what OpenBLAS is given, and at what price.
#ifndef SAGE_PLUGINS_OPENBLAS_SUPPORT_H_
#define SAGE_PLUGINS_OPENBLAS_SUPPORT_H_

#include "product.h"

namespace sage::openblas {

// view passed CheckOp. Always fills *answer. Pure.
void Decide(const support::OpView& view, uint32_t num_threads, sage_answer* answer);

}  // namespace sage::openblas

#endif  // SAGE_PLUGINS_OPENBLAS_SUPPORT_H_
