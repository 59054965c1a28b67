// transfers.h: the copies and waits that a placement implies, in the order of the run, and the memory they need.
//
// Worked out once a plan, so that a run only walks a list. Everything enqueued on a device's stream is taken to happen
// as late as it may: CPU memory that a stream still reads or writes is not given to another tensor before the CPU has
// waited for that stream, and nothing is read across a border of two streams without a wait between. Memory inside a
// device is used by its own stream only, in order.
#ifndef SAGE_ENGINE_PLAN_TRANSFERS_H_
#define SAGE_ENGINE_PLAN_TRANSFERS_H_

#include "plan/graph_plan.h"

namespace sage {

// Lifetimes in steps: node i is step i, staged inputs are filled at step -1, outputs are read at the last step. Sets
// the plan's actions, images, arenas, offsets, border_bytes, and the nodes' first_action.
Status PlanMemoryAndTransfers(const PlanContext& context, GraphPlan* plan);

}  // namespace sage

#endif  // SAGE_ENGINE_PLAN_TRANSFERS_H_
