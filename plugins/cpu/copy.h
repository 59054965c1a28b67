// copy.h: elements moved as bytes between two tensors of any strides: what CONCAT, SLICE, PERMUTE and a UNARY identity
// come down to.
#ifndef SAGE_PLUGINS_CPU_COPY_H_
#define SAGE_PLUGINS_CPU_COPY_H_

#include <cstdint>

#include "family.h"
#include "strided.h"

namespace sage::cpu {

// Tensor 0 of the walk is the source, 1 the target; size: bytes of an element, 1, 2, 4 or 8.
void CopyWalk(const sage_host* host, const sage_run_args& args, Walk<2> walk, int64_t size, const char* source,
              char* target);

// What one worker needs for it: at memory speed, or slower where elements lie apart.
double CopyNs(const Walk<2>& walk, int64_t size);

}  // namespace sage::cpu

#endif  // SAGE_PLUGINS_CPU_COPY_H_
