// verify_node.h: one node of a run, done again on `reference`, and how far the two are apart.
//
// A check, not a gate: it reports and logs, results are what the chosen backend made. It allocates; runs under verify
// are not heap-free.
#ifndef SAGE_ENGINE_RUN_VERIFY_NODE_H_
#define SAGE_ENGINE_RUN_VERIFY_NODE_H_

#include <memory>
#include <vector>

#include "backend/backend.h"
#include "model/shapes.h"
#include "run/session.h"

namespace sage {

// Used round one backend's run of one op: constructed before it (slots that are read and written are kept as they
// were), Compare after it.
class NodeVerifier {
 public:
  // built: the op of this run, with data. Both must outlive this.
  NodeVerifier(const Backend& reference, const BuiltOp& built);
  // What `reference` gets for the same inputs, against what the run left in the outputs. Never fails: what could not be
  // compared says why in the report's note.
  VerifyReport Compare(void* run_token);

 private:
  struct Copy {
    sage_tensor tensor{};  // row-major, in `bytes`
    std::vector<unsigned char> bytes;
  };
  Copy Take(const sage_tensor& from, bool with_data) const;

  const Backend& reference_;
  const BuiltOp& built_;
  std::vector<Copy> kept_;  // per slot; empty where the slot is only read
};

// The difference of two tensors of the same shape, in double. Infinities and NaN must agree, else it is infinite.
struct Difference {
  double max_abs = 0, largest_expected = 0;
};
Difference Compare(const sage_tensor& got, const sage_tensor& expected);

// Relative error beyond which rounding in this dtype is no explanation.
double SuspiciousError(sage_dtype dtype);

}  // namespace sage

#endif  // SAGE_ENGINE_RUN_VERIFY_NODE_H_
