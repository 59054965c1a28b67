// verify_node.cc: see the header.
#include "run/verify_node.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>

#include "plan/elements.h"
#include "plan/graph_plan.h"
#include "plan/problem.h"
#include "run/tensor_copy.h"
#include "sage/support/check_op.h"

namespace sage {
namespace {

// Whether the slot's numbers may be double where Q is: all floats of an attention but K, V and what is theirs, whose
// dtype is their own, and scales, which are f32.
bool FollowsQuery(uint32_t slot) {
  switch (slot) {
    case SAGE_ATTN_K:
    case SAGE_ATTN_V:
    case SAGE_ATTN_K_NEW:
    case SAGE_ATTN_V_NEW:
      return false;
    default:
      return slot < SAGE_ATTN_SCALE_Q || slot > SAGE_ATTN_SCALE_O;
  }
}

}  // namespace

double SuspiciousError(sage_dtype dtype) {
  switch (dtype) {
    case SAGE_F64:
      return 1e-10;
    case SAGE_F32:
      return 1e-3;
    case SAGE_F16:
      return 2e-2;
    case SAGE_BF16:
      return 5e-2;
    default:
      return 0;
  }
}

Difference Compare(const sage_tensor& got, const sage_tensor& expected) {
  const Distance distance = DistanceOf(got, expected);
  return {distance.non_finite > 0 ? INFINITY : distance.max_abs_error, distance.largest_exact};
}

NodeVerifier::NodeVerifier(const Backend& reference, const BuiltOp& built)
    : reference_(reference), built_(built), kept_(built.op.num_slots) {
  for (uint32_t slot = 0; slot < built.op.num_slots; ++slot) {
    if (built.slots[slot] == nullptr || slot >= 64 || ((built.op.aliases >> slot) & 1) == 0) continue;
    kept_[slot] = Take(built.tensors[slot], true);
  }
}

NodeVerifier::Copy NodeVerifier::Take(const sage_tensor& from, bool with_data) {
  Copy copy;
  sage_tensor_init(&copy.tensor, from.dtype, from.rank, from.shape, nullptr);
  uint64_t bytes = support::DtypeSize(from.dtype);
  for (uint32_t i = 0; i < from.rank; ++i) bytes *= static_cast<uint64_t>(from.shape[i]);
  copy.bytes.resize(std::max<uint64_t>(bytes, 1));
  copy.tensor.data = copy.bytes.data();
  if (with_data) CopyTensor(from, copy.tensor);
  return copy;
}

NodeVerifier::Copy NodeVerifier::Widen(const sage_tensor& from, bool with_data) {
  Copy copy;
  sage_tensor once = from;
  for (uint32_t axis = 0; axis < from.rank; ++axis) {
    if (from.stride[axis] == 0 && from.shape[axis] > 1) once.shape[axis] = 1;
  }
  sage_tensor_init(&copy.tensor, SAGE_F64, once.rank, once.shape, nullptr);
  const int64_t count = support::ElementCount(once);
  copy.bytes.resize(std::max<uint64_t>(static_cast<uint64_t>(count) * sizeof(double), 1));
  copy.tensor.data = copy.bytes.data();
  const uint32_t size = support::DtypeSize(from.dtype);
  std::vector<unsigned char> plain(with_data ? static_cast<uint64_t>(count) * size : 0);
  if (!plain.empty()) {
    sage_tensor packed;
    sage_tensor_init(&packed, from.dtype, once.rank, once.shape, plain.data());
    CopyTensor(once, packed);
    for (uint64_t i = 0; i < static_cast<uint64_t>(count); ++i) {
      StoreElement(copy.bytes.data() + i * sizeof(double), SAGE_F64, LoadElement(plain.data() + i * size, from.dtype));
    }
  }
  for (uint32_t axis = 0; axis < from.rank; ++axis) {
    if (once.shape[axis] != from.shape[axis]) copy.tensor.shape[axis] = from.shape[axis], copy.tensor.stride[axis] = 0;
  }
  return copy;
}

std::string NodeVerifier::Rerun(void* run_token, bool exact) {
  const bool wide = exact && built_.op.kind == SAGE_OP_ATTENTION;
  const bool float_query = wide && support::IsFloat(built_.tensors[SAGE_ATTN_Q].dtype);
  std::vector<sage_tensor> tensors(built_.tensors.begin(), built_.tensors.begin() + built_.op.num_slots);
  std::vector<const sage_tensor*> slots(built_.op.num_slots, nullptr);
  for (uint32_t slot = 0; slot < slots.size(); ++slot) {
    if (built_.slots[slot] == nullptr) continue;
    slots[slot] = &tensors[slot];
    const bool output = support::SlotIsOutput(built_.op.kind, slot);
    // Without a float Q only O may be any float; the statistics stay f32.
    const bool widened =
        wide && support::IsFloat(tensors[slot].dtype) && FollowsQuery(slot) && (float_query || slot == SAGE_ATTN_O);
    if (widened) {
      kept_[slot] = Widen(built_.tensors[slot], !output);
    } else if (output) {
      kept_[slot] = Take(built_.tensors[slot], false);
    }
    if (!kept_[slot].bytes.empty()) tensors[slot] = kept_[slot].tensor;
  }
  sage_op op = built_.op;
  op.slots = slots.data();
  op.dynamic_axes = 0;
  op.accuracy = SAGE_ACCURACY_AUTO;
  uint64_t features = 0;
  if (op.kind == SAGE_OP_ATTENTION) {
    if (const Status derived = AttentionFeatures(op, &features); !derived.ok()) return derived.message();
  }
  const sage_answer answer = reference_.Ask(op, features);
  if (answer.verdict != SAGE_YES) return std::string("reference cannot: ") + answer.reason;
  const auto plan = reference_.MakePlan(op, nullptr, answer.workspace_bytes);
  if (!plan.ok()) return "reference could not plan: " + plan.status().message();
  std::vector<unsigned char> workspace((*plan)->workspace_bytes() + kArenaAlignment);
  sage_run_args args{};
  args.struct_size = sizeof args;
  args.num_slots = op.num_slots;
  args.slots = op.slots;
  const auto address = reinterpret_cast<uintptr_t>(workspace.data());
  args.workspace = workspace.data() + (kArenaAlignment - address % kArenaAlignment) % kArenaAlignment;
  args.workspace_bytes = (*plan)->workspace_bytes();
  args.run = run_token;
  if (const Status run = (*plan)->Run(args); !run.ok()) return "reference failed: " + run.message();
  return {};
}

VerifyReport NodeVerifier::Compare(void* run_token) {
  VerifyReport report;
  if (const std::string why = Rerun(run_token, false); !why.empty()) {
    report.note = "not compared: " + why;
    return report;
  }
  for (uint32_t slot = 0; slot < built_.op.num_slots; ++slot) {
    if (kept_[slot].bytes.empty()) continue;
    const Difference found = sage::Compare(built_.tensors[slot], kept_[slot].tensor);
    const double relative = found.max_abs == 0 ? 0 : found.max_abs / std::max(found.largest_expected, 1e-300);
    report.max_abs_error = std::max(report.max_abs_error, found.max_abs);
    report.rel_error = std::max(report.rel_error, relative);
    report.suspicious |= relative > SuspiciousError(built_.tensors[slot].dtype);
  }
  return report;
}

void NodeVerifier::Measure(void* run_token, AccuracyReport* report) {
  for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V, SAGE_ATTN_O}) {
    report->dtypes[slot] = built_.tensors[slot].dtype;
  }
  report->problem = ProblemString(built_.op);
  try {
    report->note = Rerun(run_token, true);
  } catch (const std::bad_alloc&) {
    report->note = "there is not enough memory for the exact result beside the run's own";
  }
  if (!report->note.empty()) return;
  for (uint32_t slot = 0; slot < built_.op.num_slots; ++slot) {
    if (built_.slots[slot] == nullptr || !support::SlotIsOutput(built_.op.kind, slot)) continue;
    report->outputs.push_back({slot, built_.tensors[slot].dtype, DistanceOf(built_.tensors[slot], kept_[slot].tensor)});
  }
}

}  // namespace sage
