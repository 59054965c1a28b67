// policy_options.h: the wishes a caller may state as options, as a policy that wins over a model file's.
#ifndef SAGE_ENGINE_PLAN_POLICY_OPTIONS_H_
#define SAGE_ENGINE_PLAN_POLICY_OPTIONS_H_

#include "model/policy.h"
#include "options.h"
#include "status.h"

namespace sage {

// Reads backend, backend_order, accuracy, algorithm, flash_threshold, block_q, block_kv, preset, use_simd,
// deterministic, stream_capture, strict and max_latency_ms; what is absent stays unset. The error names key, value and
// what is accepted.
Result<AttentionPolicy> PolicyFromOptions(const Options& options);

}  // namespace sage

#endif  // SAGE_ENGINE_PLAN_POLICY_OPTIONS_H_
