// policy_options.h: the caller's policy, from options: "backend", "accuracy", "algorithm" ... (scope session and plan).
#ifndef SAGE_ENGINE_PLAN_POLICY_OPTIONS_H_
#define SAGE_ENGINE_PLAN_POLICY_OPTIONS_H_

#include "model/policy.h"
#include "options.h"
#include "status.h"

namespace sage {

// Only what the options set is set; a bad value is an error that names the option.
Result<AttentionPolicy> PolicyFromOptions(const Options& options);

}  // namespace sage

#endif  // SAGE_ENGINE_PLAN_POLICY_OPTIONS_H_
