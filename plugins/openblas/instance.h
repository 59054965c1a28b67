// instance.h: the entries of the openblas table.
#ifndef SAGE_PLUGINS_OPENBLAS_INSTANCE_H_
#define SAGE_PLUGINS_OPENBLAS_INSTANCE_H_

#include "sage/plugin.h"

namespace sage::openblas {

sage_status Probe(const sage_host* host, int32_t device_id, uint32_t* count, sage_answer* out, sage_error* err);
sage_status Create(const sage_host* host, int32_t device_id, const char* options, sage_instance** out, sage_error* err);
void Destroy(sage_instance* instance);
sage_status Ask(sage_instance* instance, const sage_op* op, sage_answer* out, sage_error* err);
sage_status MakePlan(sage_instance* instance, const sage_op* op, const sage_plan* like, sage_plan** out,
                     sage_plan_info* info, sage_error* err);
void DestroyPlan(sage_plan* plan);
sage_status Run(const sage_plan* plan, const sage_run_args* args, sage_error* err);

}  // namespace sage::openblas

#endif  // SAGE_PLUGINS_OPENBLAS_INSTANCE_H_
