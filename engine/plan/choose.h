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

// A device that a plan must do without, though it is there, and why: its memory could not be had, for one.
struct LostDevice {
  std::shared_ptr<const Device> device;
  std::string reason;
};

// Who is asked. As it is: backends of the device the op's tensors lie on, the others answer NO without a call.
struct AskScope {
  // Every device: each backend is asked about the op with all but constants on its own device, and what the copies
  // cost is the caller's to weigh. An op that changes a tensor in place is refused to devices which do not share CPU
  // memory, since that is where the caller's tensor lies.
  bool any_device = false;
  std::span<const LostDevice> lost;
};

// op.requirements and op.accuracy were filled from the policy before this is called (ApplyPolicy). Rules: feature bits
// filter, accuracy class bounds, `backend` insists (or E_UNSUPPORTED with its reason), backend_order decides first
// among YES, then cost, ties by name, then by the device's number.
//
// Algorithm and tile sizes are wishes, the rest are conditions: when no backend but the oracle `reference` (which
// accepts any algorithm, having none) serves a wish, everyone is asked again without it and the fallback is reported;
// under `strict` it is an error. When nobody can, the result is E_UNSUPPORTED with every reason.
Result<Choice> Choose(std::span<const std::shared_ptr<Backend>> backends, const sage_op& op, uint64_t features,
                      const ResolvedPolicy& policy, const AskScope& scope = {});

// The verdicts that the rules before the price leave over: YES, of the one insisted on, of the foremost in the order.
// By name, then device. What is chosen among them is a matter of price, and, between devices, of copies.
std::vector<int32_t> Acceptable(const Choice& choice, const ResolvedPolicy& policy);

// Takes another of the acceptable ones, because it is cheapest for the whole graph; the reason says so.
void ChooseForGraph(Choice* choice, int32_t verdict, const ResolvedPolicy& policy);

// The least exact class an op takes: what it or its policy asks for; under AUTO what its first tensor is stored in (Q
// of attention): 16-bit floats take NATIVE, i8, i16 and fp8, whose caller has quantised already, LOSSY, the rest EXACT.
// Naming a backend asks for no class.
uint32_t AcceptedAccuracy(const sage_op& op);
// The same as words: "accuracy = lossy, by the caller's policy", "accuracy = auto, and Q is f32".
std::string WhyAccepted(const sage_op& op, const ResolvedPolicy& policy);

// Where a tensor of the op lies when a backend of this device runs it: constants stay in CPU memory.
void MoveToDevice(sage_tensor* tensor, int32_t device_type, int32_t device_id);

// The requirement bits, accuracy, algorithm and block sizes a policy asks of an op whose longest key row is seq_kv.
// What AUTO with flash_threshold decides for this call is written into attributes->algorithm (attention only).
void ApplyPolicy(const ResolvedPolicy& policy, int64_t seq_kv, sage_op* op, sage_attention_attributes* attributes);

// Writes what was chosen into the attributes the plan is made with. To be called between Choose and MakePlan.
void ApplyChoice(const Choice& choice, sage_attention_attributes* attributes);

// All reasons of a choice that failed, one line a backend.
std::string RefusalText(const Choice& choice);

}  // namespace sage

#endif  // SAGE_ENGINE_PLAN_CHOOSE_H_
