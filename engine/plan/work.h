// work.h: how much an op does, from its shapes alone; for explain, traces and the bench.
#ifndef SAGE_ENGINE_PLAN_WORK_H_
#define SAGE_ENGINE_PLAN_WORK_H_

#include <cstdint>

#include "sage/ops.h"

namespace sage {

struct Work {
  double flops = 0;  // a multiply-add counts 2, an exponential 1; masks that skip work are not subtracted
  double bytes = 0;  // each present slot touched once; an axis that repeats by stride 0 counts once
};

// op has passed CheckOp. Doubles, so nothing overflows.
Work WorkOf(const sage_op& op);

}  // namespace sage

#endif  // SAGE_ENGINE_PLAN_WORK_H_
