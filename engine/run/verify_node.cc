// verify_node.cc: see the header.
#include "run/verify_node.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "plan/graph_plan.h"
#include "plan/problem.h"
#include "run/tensor_copy.h"
#include "sage/support/check_op.h"

namespace sage {
namespace {

float HalfToFloat(uint16_t half) {
  const int exponent = (half >> 10) & 31, mantissa = half & 1023;
  const double magnitude = exponent == 31  ? (mantissa != 0 ? std::numeric_limits<double>::quiet_NaN()
                                                            : std::numeric_limits<double>::infinity())
                           : exponent == 0 ? std::ldexp(mantissa, -24)
                                           : std::ldexp(mantissa + 1024, exponent - 25);
  return static_cast<float>((half & 0x8000) != 0 ? -magnitude : magnitude);
}

template <class T>
T Load(const unsigned char* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

double LoadAsDouble(sage_dtype dtype, const unsigned char* at) {
  switch (dtype) {
    case SAGE_F64:
      return Load<double>(at);
    case SAGE_F32:
      return static_cast<double>(Load<float>(at));
    case SAGE_F16:
      return static_cast<double>(HalfToFloat(Load<uint16_t>(at)));
    case SAGE_BF16: {
      const uint32_t bits = static_cast<uint32_t>(Load<uint16_t>(at)) << 16;
      return static_cast<double>(Load<float>(reinterpret_cast<const unsigned char*>(&bits)));
    }
    case SAGE_I8:
      return Load<int8_t>(at);
    case SAGE_I16:
      return Load<int16_t>(at);
    case SAGE_I32:
      return Load<int32_t>(at);
    case SAGE_I64:
      return static_cast<double>(Load<int64_t>(at));
    case SAGE_U64:
      return static_cast<double>(Load<uint64_t>(at));
    default:
      return *at;  // u8, bool; fp8 by its code, which is enough to see that two differ
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
  Difference difference;
  int64_t count = 1;
  for (uint32_t i = 0; i < got.rank; ++i) count *= got.shape[i];
  const int64_t size = support::DtypeSize(got.dtype);
  int64_t index[SAGE_MAX_RANK] = {};
  for (int64_t i = 0; i < count; ++i) {
    int64_t a = 0, b = 0;
    for (uint32_t axis = 0; axis < got.rank; ++axis) {
      a += index[axis] * got.stride[axis], b += index[axis] * expected.stride[axis];
    }
    const double x = LoadAsDouble(got.dtype, static_cast<const unsigned char*>(got.data) + a * size);
    const double y = LoadAsDouble(got.dtype, static_cast<const unsigned char*>(expected.data) + b * size);
    if (std::isfinite(y)) difference.largest_expected = std::max(difference.largest_expected, std::fabs(y));
    const bool same = x == y || (std::isnan(x) && std::isnan(y));
    if (!same) {
      const double apart = std::fabs(x - y);
      difference.max_abs = std::max(difference.max_abs, std::isnan(apart) ? INFINITY : apart);
    }
    for (uint32_t axis = got.rank; axis-- > 0;) {
      if (++index[axis] < got.shape[axis]) break;
      index[axis] = 0;
    }
  }
  return difference;
}

NodeVerifier::NodeVerifier(const Backend& reference, const BuiltOp& built)
    : reference_(reference), built_(built), kept_(built.op.num_slots) {
  for (uint32_t slot = 0; slot < built.op.num_slots; ++slot) {
    if (built.slots[slot] == nullptr || slot >= 64 || ((built.op.aliases >> slot) & 1) == 0) continue;
    kept_[slot] = Take(built.tensors[slot], true);
  }
}

NodeVerifier::Copy NodeVerifier::Take(const sage_tensor& from, bool with_data) const {
  Copy copy;
  sage_tensor_init(&copy.tensor, from.dtype, from.rank, from.shape, nullptr);
  uint64_t bytes = support::DtypeSize(from.dtype);
  for (uint32_t i = 0; i < from.rank; ++i) bytes *= static_cast<uint64_t>(from.shape[i]);
  copy.bytes.resize(std::max<uint64_t>(bytes, 1));
  copy.tensor.data = copy.bytes.data();
  if (with_data) CopyTensor(from, copy.tensor);
  return copy;
}

VerifyReport NodeVerifier::Compare(void* run_token) {
  VerifyReport report;
  std::vector<sage_tensor> tensors(built_.tensors.begin(), built_.tensors.begin() + built_.op.num_slots);
  std::vector<const sage_tensor*> slots(built_.op.num_slots, nullptr);
  for (uint32_t slot = 0; slot < slots.size(); ++slot) {
    if (built_.slots[slot] == nullptr) continue;
    slots[slot] = &tensors[slot];
    const bool output = support::SlotIsOutput(built_.op.kind, slot);
    if (output && kept_[slot].bytes.empty()) kept_[slot] = Take(built_.tensors[slot], false);
    if (!kept_[slot].bytes.empty()) tensors[slot] = kept_[slot].tensor;
  }
  sage_op op = built_.op;
  op.slots = slots.data();
  op.dynamic_axes = 0;
  op.accuracy = SAGE_ACCURACY_AUTO;
  uint64_t features = 0;
  if (op.kind == SAGE_OP_ATTENTION) {
    if (const Status derived = AttentionFeatures(op, &features); !derived.ok()) {
      report.note = "not compared: " + derived.message();
      return report;
    }
  }
  const sage_answer answer = reference_.Ask(op, features);
  if (answer.verdict != SAGE_YES) {
    report.note = std::string("not compared, reference cannot: ") + answer.reason;
    return report;
  }
  const auto plan = reference_.MakePlan(op, nullptr, answer.workspace_bytes);
  if (!plan.ok()) {
    report.note = "not compared, reference could not plan: " + plan.status().message();
    return report;
  }
  std::vector<unsigned char> workspace((*plan)->workspace_bytes() + kArenaAlignment);
  sage_run_args args{};
  args.struct_size = sizeof args;
  args.num_slots = op.num_slots;
  args.slots = op.slots;
  const auto address = reinterpret_cast<uintptr_t>(workspace.data());
  args.workspace = workspace.data() + (kArenaAlignment - address % kArenaAlignment) % kArenaAlignment;
  args.workspace_bytes = (*plan)->workspace_bytes();
  args.run = run_token;
  if (const Status run = (*plan)->Run(args); !run.ok()) {
    report.note = "not compared, reference failed: " + run.message();
    return report;
  }
  for (uint32_t slot = 0; slot < slots.size(); ++slot) {
    if (kept_[slot].bytes.empty()) continue;
    const Difference found = sage::Compare(built_.tensors[slot], kept_[slot].tensor);
    const double relative = found.max_abs == 0 ? 0 : found.max_abs / std::max(found.largest_expected, 1e-300);
    report.max_abs_error = std::max(report.max_abs_error, found.max_abs);
    report.rel_error = std::max(report.rel_error, relative);
    report.suspicious |= relative > SuspiciousError(built_.tensors[slot].dtype);
  }
  return report;
}

}  // namespace sage
