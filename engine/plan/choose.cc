// choose.cc: the one rule of choice, for sessions and one-shot plans alike.
#include "plan/choose.h"

#include <algorithm>
#include <string_view>

#include "backend/feature_names.h"
#include "fmt/format.h"
#include "options.h"
#include "plan/explain.h"
#include "sage/support/check_op.h"
#include "sage/support/refuse.h"
#include "sage/support/take_in.h"

namespace sage {
namespace {

std::string Price(double ns) {
  if (ns < 1e3) return fmt::format("{:.0f} ns", ns);
  if (ns < 1e6) return fmt::format("{:.1f} us", ns / 1e3);
  if (ns < 1e9) return fmt::format("{:.1f} ms", ns / 1e6);
  return fmt::format("{:.1f} s", ns / 1e9);
}

sage_answer No(const std::string& reason) {
  sage_answer answer{};
  sage_refuse(&answer, 0, "%s", reason.c_str());
  return answer;
}

// The first tensor's that says; constants are CPU memory wherever the op runs.
std::pair<int32_t, int32_t> DeviceOf(const sage_op& op) {
  for (uint32_t slot = 0; slot < op.num_slots && op.slots != nullptr; ++slot) {
    const sage_tensor* tensor = op.slots[slot];
    if (tensor != nullptr && tensor->device_type != 0 && (tensor->flags & SAGE_TENSOR_CONSTANT) == 0)
      return {tensor->device_type, tensor->device_id};
  }
  return {SAGE_CPU, 0};
}

// The op with its tensors on a device. Not movable: the op points into it.
struct MovedOp {
  std::vector<sage_tensor> tensors;
  std::vector<const sage_tensor*> slots;
  sage_op op;
  MovedOp(const sage_op& from, const Device& device) : tensors(from.num_slots), slots(from.num_slots), op(from) {
    for (uint32_t slot = 0; slot < from.num_slots; ++slot) {
      if (from.slots[slot] == nullptr) continue;
      tensors[slot] = *from.slots[slot];
      MoveToDevice(&tensors[slot], device.type(), device.id());
      slots[slot] = &tensors[slot];
    }
    op.slots = slots.data();
  }
  MovedOp(const MovedOp&) = delete;
  MovedOp& operator=(const MovedOp&) = delete;
};

sage_answer AskOne(const Backend& backend, const sage_op& op, uint64_t features, const AskScope& scope) {
  const auto [type, id] = DeviceOf(op);
  const std::shared_ptr<const Device>& device = backend.device();
  if (!scope.any_device || device == nullptr) {
    const bool same_type = backend.device_type() == type;
    if (same_type && (type == SAGE_CPU || backend.device_id() == id)) return backend.Ask(op, features);
    return No(fmt::format("serves {}, the tensors are on {}",
                          same_type ? device->name() : DeviceTypeName(backend.device_type()),
                          same_type ? DeviceName(type, id) : DeviceTypeName(type)));
  }
  for (const LostDevice& lost : scope.lost)
    if (lost.device == device) return No(lost.reason);
  if (op.aliases != 0 && !device->host_visible())
    return No(fmt::format("the op changes a tensor in place, which lies in CPU memory and not on {}", device->name()));
  const MovedOp moved(op, *device);
  return backend.Ask(moved.op, features);
}

std::vector<Verdict> AskAll(std::span<const std::shared_ptr<Backend>> backends, const sage_op& op, uint64_t features,
                            const AskScope& scope) {
  const uint32_t accepted = AcceptedAccuracy(op);
  std::vector<Verdict> verdicts;
  verdicts.reserve(backends.size());
  for (const std::shared_ptr<Backend>& backend : backends) {
    sage_answer answer = AskOne(*backend, op, features, scope);
    if (answer.verdict == SAGE_YES && answer.accuracy > accepted) {
      const uint32_t delivered = answer.accuracy;
      answer = No(
          fmt::format("delivers accuracy {}, {} is asked for{} ({})", AccuracyName(delivered), AccuracyName(accepted),
                      delivered == SAGE_ACCURACY_LOSSY ? ", lossy only by accuracy = lossy or for i8, i16, fp8" : "",
                      answer.reason));
      answer.accuracy = delivered;  // explain shows it
    }
    verdicts.push_back({backend, answer});
  }
  return verdicts;
}

bool Yes(const Verdict& verdict) { return verdict.answer.verdict == SAGE_YES; }

// By name, then by the device's number.
bool Before(const Verdict& a, const Verdict& b) {
  const int order = a.backend->name().compare(b.backend->name());
  return order != 0 ? order < 0 : a.backend->device_id() < b.backend->device_id();
}

// "cpu", "cudnn on cuda:0": a backend's name, with its device where that is not the CPU.
std::string Named(const Verdict& verdict) {
  const std::shared_ptr<const Device>& device = verdict.backend->device();
  return device == nullptr ? verdict.backend->name() : fmt::format("{} on {}", verdict.backend->name(), device->name());
}

std::vector<int32_t> AcceptableOf(const std::vector<Verdict>& verdicts, const ResolvedPolicy& policy) {
  const std::vector<std::string>& order = policy.backend_order.value;
  const auto place = [&order](const Verdict& verdict) {
    return std::find(order.begin(), order.end(), verdict.backend->name()) - order.begin();
  };
  std::vector<int32_t> acceptable;
  auto foremost = static_cast<std::ptrdiff_t>(order.size());
  for (const Verdict& verdict : verdicts)
    if (Yes(verdict)) foremost = std::min(foremost, place(verdict));
  for (size_t i = 0; i < verdicts.size(); ++i) {
    const bool other = !policy.backend.value.empty() && verdicts[i].backend->name() != policy.backend.value;
    // With one insisted on, the order has nothing to say.
    if (!Yes(verdicts[i]) || other || (policy.backend.value.empty() && place(verdicts[i]) != foremost)) continue;
    acceptable.push_back(static_cast<int32_t>(i));
  }
  std::stable_sort(acceptable.begin(), acceptable.end(), [&verdicts](int32_t a, int32_t b) {
    return Before(verdicts[static_cast<size_t>(a)], verdicts[static_cast<size_t>(b)]);
  });
  return acceptable;
}

// The cheapest of the acceptable ones, copies aside; -1 = nobody can.
int32_t Best(const std::vector<Verdict>& verdicts, const ResolvedPolicy& policy) {
  int32_t best = -1;
  for (const int32_t i : AcceptableOf(verdicts, policy)) {
    if (best < 0 ||
        verdicts[static_cast<size_t>(i)].answer.cost_ns < verdicts[static_cast<size_t>(best)].answer.cost_ns)
      best = i;
  }
  return best;
}

std::string WhyChosen(const Choice& choice, const ResolvedPolicy& policy) {
  const Verdict& chosen = choice.verdicts[static_cast<size_t>(choice.chosen)];
  const std::string price = Price(chosen.answer.cost_ns);
  if (!policy.backend.value.empty())
    return fmt::format("named by the {}'s policy: {}", PolicySourceName(policy.backend.source), price);
  size_t able = 0;
  std::string others;
  for (const Verdict& verdict : choice.verdicts) {
    if (!Yes(verdict)) continue;
    ++able;
    if (&verdict != &chosen) others += fmt::format("; {} {}", Named(verdict), Price(verdict.answer.cost_ns));
  }
  const std::vector<std::string>& order = policy.backend_order.value;
  if (able > 1 && std::find(order.begin(), order.end(), chosen.backend->name()) != order.end())
    return fmt::format("first in the {}'s backend order of {} that can: {}{}",
                       PolicySourceName(policy.backend_order.source), able, price, others);
  if (able == 1) return fmt::format("the only one of {} that can: {}", choice.verdicts.size(), price);
  return fmt::format("cheapest of {} that can: {}{}", able, price, others);
}

// "algorithm flash", "tiles 64x128": what the op wishes for beyond conditions.
std::string Wishes(const sage_attention_attributes& attributes) {
  std::string text;
  if (attributes.algorithm != SAGE_ALGORITHM_AUTO)
    text = fmt::format("algorithm {}", AlgorithmName(attributes.algorithm));
  if (attributes.block_q != 0 || attributes.block_kv != 0)
    text += fmt::format("{}tiles {}x{}", text.empty() ? "" : ", ", attributes.block_q, attributes.block_kv);
  return text;
}

// The reason of whoever was preferred and could not: first in order, else the first that gave one.
std::string FirstRefusal(const std::vector<Verdict>& verdicts, const std::shared_ptr<const Backend>& of) {
  for (const Verdict& verdict : verdicts)
    if (verdict.backend == of && !Yes(verdict)) return fmt::format("{}: {}", of->name(), verdict.answer.reason);
  return {};
}

Status UnknownBackend(std::span<const std::shared_ptr<Backend>> backends, const ResolvedPolicy& policy) {
  std::vector<std::string_view> names;
  for (const std::shared_ptr<Backend>& backend : backends) names.emplace_back(backend->name());
  const std::string nearest = NearestName(policy.backend.value, names);
  return Status(
      SAGE_E_UNSUPPORTED,
      fmt::format("backend '{}' (named by the {}'s policy) is not loaded{}; loaded are {}", policy.backend.value,
                  PolicySourceName(policy.backend.source),
                  nearest.empty() ? "" : fmt::format("; did you mean '{}'?", nearest), fmt::join(names, ", ")));
}

}  // namespace

uint32_t AcceptedAccuracy(const sage_op& op) {
  if (op.accuracy != SAGE_ACCURACY_AUTO) return op.accuracy;
  // CONCAT's slot 0 is its output, of the same type as its inputs.
  const sage_tensor* first = op.num_slots > 0 && op.slots != nullptr ? op.slots[0] : nullptr;
  switch (first == nullptr ? 0 : first->dtype) {
    case SAGE_F16:
    case SAGE_BF16:
      return SAGE_ACCURACY_NATIVE;
    case SAGE_I8:
    case SAGE_I16:
    case SAGE_F8_E4M3FN:
    case SAGE_F8_E5M2:
      return SAGE_ACCURACY_LOSSY;
    default:
      return SAGE_ACCURACY_EXACT;
  }
}

std::string WhyAccepted(const sage_op& op, const ResolvedPolicy& policy) {
  if (op.accuracy == SAGE_ACCURACY_AUTO) {
    const sage_tensor* first = op.num_slots > 0 && op.slots != nullptr ? op.slots[0] : nullptr;
    return fmt::format("accuracy = auto, and {} is {}", support::SlotName(op.kind, 0),
                       first == nullptr ? "absent" : support::DtypeName(first->dtype));
  }
  const bool by_policy = policy.accuracy.value == op.accuracy;
  return fmt::format("accuracy = {}, by the {}", AccuracyName(op.accuracy),
                     by_policy ? fmt::format("{}'s policy", PolicySourceName(policy.accuracy.source)) : "op itself");
}

void ApplyPolicy(const ResolvedPolicy& policy, int64_t seq_kv, sage_op* op, sage_attention_attributes* attributes) {
  if (policy.deterministic.value) op->requirements |= SAGE_REQUIRE_DETERMINISTIC;
  if (policy.stream_capture.value) op->requirements |= SAGE_REQUIRE_STREAM_CAPTURE;
  if (!policy.use_simd.value) op->requirements |= SAGE_REQUIRE_SCALAR;
  if (policy.accuracy.value != SAGE_ACCURACY_AUTO) op->accuracy = policy.accuracy.value;
  if (op->kind != SAGE_OP_ATTENTION || attributes == nullptr) return;
  // A policy that says nothing leaves what the op itself says.
  if (policy.algorithm.value != SAGE_ALGORITHM_AUTO) attributes->algorithm = policy.algorithm.value;
  if (policy.block_q.value != 0) attributes->block_q = policy.block_q.value;
  if (policy.block_kv.value != 0) attributes->block_kv = policy.block_kv.value;
  if (attributes->algorithm == SAGE_ALGORITHM_AUTO && policy.flash_threshold.value != 0)
    attributes->algorithm =
        seq_kv > int64_t{policy.flash_threshold.value} ? SAGE_ALGORITHM_FLASH : SAGE_ALGORITHM_MATERIALISED;
}

void ApplyChoice(const Choice& choice, sage_attention_attributes* attributes) {
  attributes->algorithm = choice.algorithm;
  attributes->block_q = choice.block_q;
  attributes->block_kv = choice.block_kv;
}

std::vector<int32_t> Acceptable(const Choice& choice, const ResolvedPolicy& policy) {
  return AcceptableOf(choice.verdicts, policy);
}

void ChooseForGraph(Choice* choice, int32_t verdict, const ResolvedPolicy& policy) {
  choice->chosen = verdict;
  choice->reason = WhyChosen(*choice, policy);
  const int32_t best = Best(choice->verdicts, policy);
  if (best == verdict || !policy.backend.value.empty()) return;
  const Verdict& alone = choice->verdicts[static_cast<size_t>(best)];
  choice->reason = fmt::format("cheapest for the whole graph with its copies: {}; for this node alone {} is, {}",
                               Price(choice->verdicts[static_cast<size_t>(verdict)].answer.cost_ns), Named(alone),
                               Price(alone.answer.cost_ns));
}

void MoveToDevice(sage_tensor* tensor, int32_t device_type, int32_t device_id) {
  if ((tensor->flags & SAGE_TENSOR_CONSTANT) != 0) return;
  tensor->device_type = device_type, tensor->device_id = device_id;
}

std::string RefusalText(const Choice& choice) {
  std::string text;
  for (const Verdict& verdict : choice.verdicts)
    if (!Yes(verdict)) text += fmt::format("{}{}: {}", text.empty() ? "" : "\n", Named(verdict), verdict.answer.reason);
  return text;
}

Result<Choice> Choose(std::span<const std::shared_ptr<Backend>> backends, const sage_op& op, uint64_t features,
                      const ResolvedPolicy& policy, const AskScope& scope) {
  const std::string& named = policy.backend.value;
  if (!named.empty() && std::none_of(backends.begin(), backends.end(),
                                     [&named](const auto& backend) { return backend->name() == named; }))
    return UnknownBackend(backends, policy);

  Choice choice;
  sage_attention_attributes attributes{};
  if (op.kind == SAGE_OP_ATTENTION && op.attributes != nullptr)
    (void)sage_take_in(&attributes, sizeof attributes, op.attributes);
  choice.algorithm = attributes.algorithm, choice.block_q = attributes.block_q, choice.block_kv = attributes.block_kv;
  choice.verdicts = AskAll(backends, op, features, scope);
  choice.chosen = Best(choice.verdicts, policy);

  const std::string wishes = Wishes(attributes);
  const bool only_oracle =
      choice.chosen >= 0 && choice.verdicts[static_cast<size_t>(choice.chosen)].backend->name() == "reference";
  if (!wishes.empty() && !policy.strict.value && (choice.chosen < 0 || only_oracle)) {
    sage_op plain = op;
    sage_attention_attributes without = attributes;
    without.algorithm = SAGE_ALGORITHM_AUTO, without.block_q = 0, without.block_kv = 0;
    plain.attributes = &without;
    std::vector<Verdict> verdicts = AskAll(backends, plain, features, scope);
    const int32_t best = Best(verdicts, policy);
    if (best >= 0 && (choice.chosen < 0 || best != choice.chosen)) {
      const std::shared_ptr<const Backend>& backend = verdicts[static_cast<size_t>(best)].backend;
      const std::string refusal = FirstRefusal(choice.verdicts, backend);
      choice.fallback = true;
      choice.fallback_reason = fmt::format("{} could not be met{}{}; {} chooses for itself", wishes,
                                           refusal.empty() ? "" : " by ", refusal, backend->name());
      choice.verdicts = std::move(verdicts);
      choice.chosen = best;
      choice.algorithm = SAGE_ALGORITHM_AUTO, choice.block_q = 0, choice.block_kv = 0;
    }
  }
  if (choice.chosen < 0) {
    std::string head = "no backend serves this op";
    if (!named.empty())
      head = fmt::format("backend '{}' (named by the {}'s policy) does not serve this op", named,
                         PolicySourceName(policy.backend.source));
    if (policy.strict.value && !wishes.empty()) head += fmt::format(" with {} (strict)", wishes);
    // The one insisted on first, so that a message cut to fit still has its reason.
    std::string reasons = RefusalText(choice);
    if (!named.empty())
      for (const Verdict& verdict : choice.verdicts)
        if (verdict.backend->name() == named) reasons = fmt::format("{}: {}", named, verdict.answer.reason);
    return Status(SAGE_E_UNSUPPORTED, fmt::format("{}:\n{}", head, reasons));
  }
  choice.reason = WhyChosen(choice, policy);
  return choice;
}

}  // namespace sage
