// support.h: what the reference can run, and at what price.
#ifndef SAGE_PLUGINS_REFERENCE_SUPPORT_H_
#define SAGE_PLUGINS_REFERENCE_SUPPORT_H_

#include <cstdint>

#include "kernel.h"

namespace sage::reference {

// view passed CheckOp; features as derived from it. Always fills *answer. Pure.
void Decide(const sage_host& host, const support::OpView& view, uint64_t features, sage_answer* answer);

// Scratch one worker needs at the planned shapes, in bytes, a multiple of 64.
uint64_t WorkspacePerWorker(const support::OpView& view);

// The kernel of a kind that Decide accepted.
RunFn KernelOf(uint32_t kind);

}  // namespace sage::reference

#endif  // SAGE_PLUGINS_REFERENCE_SUPPORT_H_
