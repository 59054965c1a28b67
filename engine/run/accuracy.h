// accuracy.h: how exact each attention of a run was on the run's own data, as sage_session_accuracy gives it out.
#ifndef SAGE_ENGINE_RUN_ACCURACY_H_
#define SAGE_ENGINE_RUN_ACCURACY_H_

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "json.h"
#include "run/distance.h"
#include "sage/ops.h"
#include "status.h"

namespace sage {

struct OutputAccuracy {
  uint32_t slot = 0;  // SAGE_ATTN_*
  sage_dtype dtype = 0;
  Distance distance;  // from what `reference` gets in double
};

// Of one ATTENTION node in one run.
struct AccuracyReport {
  std::string session;  // which of a SAGE graph's sessions ran it; empty in an op graph
  std::string node, backend, device, problem;
  uint32_t accuracy = 0;      // SAGE_ACCURACY_*, the class its backend answered with
  sage_dtype dtypes[4] = {};  // as stored: Q, K, V, O
  std::vector<OutputAccuracy> outputs;
  std::string note;  // why it could not be measured; empty = it was
};

// The answer where the option accuracy_report is off.
Status NoAccuracyReport();

// {"against":"reference","nodes":[...],"summary":{...}}, documented in docs/accuracy.md. why_none: the note where there
// is no attention to report on.
void WriteAccuracy(JsonWriter& out, std::span<const AccuracyReport> reports, std::string_view why_none);

}  // namespace sage

#endif  // SAGE_ENGINE_RUN_ACCURACY_H_
