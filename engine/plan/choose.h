// choose.h: every backend is asked, every answer kept, the cheapest acceptable one chosen, and the reason said.
#ifndef SAGE_ENGINE_PLAN_CHOOSE_H_
#define SAGE_ENGINE_PLAN_CHOOSE_H_

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "model/policy.h"
#include "status.h"

namespace sage {

struct Verdict {
  std::shared_ptr<const Backend> backend;
  sage_answer answer{};
};

struct Choice {
  std::vector<Verdict> verdicts;  // in the registry's order, one a backend
  int32_t chosen = -1;            // index into verdicts, -1 = none was acceptable
  std::string reason;     // "cheapest of 3 that can: 12.1 us; reference 900 us", "named by the node's policy" ...
  bool fallback = false;  // a wish of the policy could not be met and strict was off
  std::string fallback_reason;
  // What to plan an attention op with. They are the op's own values, or AUTO and 0 after a fallback: see ApplyChoice.
  uint32_t algorithm = SAGE_ALGORITHM_AUTO, block_q = 0, block_kv = 0;
};

// Fills op.requirements and op.accuracy from the policy before this is called (ApplyPolicy). Rules: feature bits
// filter, accuracy class bounds, `backend` insists (or E_UNSUPPORTED with its reason), backend_order decides first
// among YES, then cost, ties by name. Only CPU backends compete when `device_type` of the tensors is CPU.
//
// Algorithm and tile sizes are wishes, the rest are conditions: when no backend but the oracle `reference` (which
// accepts any algorithm, having none) serves a wish, everyone is asked again without it and the fallback is reported;
// under `strict` it is an error. When nobody can, the result is E_UNSUPPORTED with every reason.
Result<Choice> Choose(std::span<const std::shared_ptr<Backend>> backends, const sage_op& op, uint64_t features,
                      const ResolvedPolicy& policy);

// The requirement bits, accuracy, algorithm and block sizes a policy asks of an op whose longest key row is seq_kv.
// What AUTO with flash_threshold decides for this call is written into attributes->algorithm (attention only).
void ApplyPolicy(const ResolvedPolicy& policy, int64_t seq_kv, sage_op* op, sage_attention_attributes* attributes);

// Writes what was chosen into the attributes the plan is made with. To be called between Choose and MakePlan.
void ApplyChoice(const Choice& choice, sage_attention_attributes* attributes);

// All reasons of a choice that failed, one line a backend.
std::string RefusalText(const Choice& choice);

}  // namespace sage

#endif  // SAGE_ENGINE_PLAN_CHOOSE_H_
