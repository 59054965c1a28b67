// verify_node.h: one node of a run, done again on `reference`, and how far the two are apart: for the option `verify`,
// which judges whether the backend is right, and for `accuracy_report`, which measures how exact it is.
//
// A check, not a gate: it reports and logs, results are what the chosen backend made. It allocates; runs under either
// are not heap-free.
#ifndef SAGE_ENGINE_RUN_VERIFY_NODE_H_
#define SAGE_ENGINE_RUN_VERIFY_NODE_H_

#include <memory>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "model/shapes.h"
#include "run/accuracy.h"
#include "run/session.h"

namespace sage {

// Used round one backend's run of one op: constructed before it (slots that are read and written are kept as they
// were), Compare and Measure after it, in this order and once each.
class NodeVerifier {
 public:
  // built: the op of this run, with data. Both must outlive this.
  NodeVerifier(const Backend& reference, const BuiltOp& built);
  // What `reference` gets for the same inputs, against what the run left in the outputs. Never fails: what could not be
  // compared says why in the report's note.
  VerifyReport Compare(void* run_token);
  // Of an attention: problem, dtypes and every output but a cache's new rows against what `reference` gets in double
  // from the same stored inputs, not rounded to the outputs' dtype. Never fails: the report's note says why not.
  void Measure(void* run_token, AccuracyReport* report);

 private:
  struct Copy {
    sage_tensor tensor{};  // row-major, in `bytes`
    std::vector<unsigned char> bytes;
  };
  static Copy Take(const sage_tensor& from, bool with_data);
  // The same numbers in double; what repeats by stride 0 is still there once. With data: outputs have none yet.
  static Copy Widen(const sage_tensor& from, bool with_data);
  // `reference` on copies of what is written, which then hold its results; with exact, in double wherever the op's
  // rules let it. Empty = done, else why not.
  std::string Rerun(void* run_token, bool exact);

  const Backend& reference_;
  const BuiltOp& built_;
  std::vector<Copy> kept_;  // per slot; empty where the slot is only read, and not widened
};

// The difference of two tensors of the same shape, in double. Infinities and NaN must agree, else it is infinite.
// DistanceOf has more numbers.
struct Difference {
  double max_abs = 0, largest_expected = 0;
};
Difference Compare(const sage_tensor& got, const sage_tensor& expected);

// Relative error beyond which rounding in this dtype is no explanation.
double SuspiciousError(sage_dtype dtype);

}  // namespace sage

#endif  // SAGE_ENGINE_RUN_VERIFY_NODE_H_
