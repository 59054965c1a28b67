// A C++ exception out of ask and out of run.
#include <stdexcept>

#include "sage/plugin.h"

namespace {

sage_status Probe(const sage_host*, int32_t, uint32_t* count, sage_answer* out, sage_error*) {
  *count = 1;
  out->verdict = SAGE_YES;
  out->reason[0] = 'y';
  out->reason[1] = '\0';
  return SAGE_OK;
}
sage_status Create(const sage_host*, int32_t, const char*, sage_instance** out, sage_error*) {
  static int anything;
  *out = reinterpret_cast<sage_instance*>(&anything);
  return SAGE_OK;
}
void Destroy(sage_instance*) {}
sage_status Ask(sage_instance*, const sage_op*, sage_answer*, sage_error*) {
  throw std::runtime_error("thrown by ask");
}
sage_status Plan(sage_instance*, const sage_op*, const sage_plan*, sage_plan**, sage_plan_info*, sage_error*) {
  throw std::runtime_error("thrown by plan");
}
void PlanDestroy(sage_plan*) {}
sage_status Run(const sage_plan*, const sage_run_args*, sage_error*) { throw 1; }

}  // namespace

extern "C" SAGE_PLUGIN_ENTRY(throws) {
  static const sage_plugin table = {sizeof(sage_plugin),
                                    SAGE_ABI_MAJOR,
                                    SAGE_ABI_MINOR,
                                    0,
                                    "throws",
                                    "1.0.0",
                                    "a test fixture",
                                    nullptr,
                                    SAGE_KIND_BIT(SAGE_OP_UNARY),
                                    0,
                                    SAGE_CPU,
                                    0,
                                    Probe,
                                    Create,
                                    Destroy,
                                    nullptr,
                                    Ask,
                                    Plan,
                                    PlanDestroy,
                                    Run};
  return host_major == SAGE_ABI_MAJOR && host_minor < UINT32_MAX ? &table : nullptr;
}
