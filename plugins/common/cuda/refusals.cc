// refusals.cc: every refusal that does not hang on the kind of op.
#include "common/cuda/refusals.h"

#include "common/cuda/errors.h"
#include "sage/support/check_op.h"
#include "sage/support/refuse.h"

namespace sage::cuda {
namespace {

bool RefuseRequirements(const support::OpView& view, sage_answer* answer) {
  constexpr uint32_t kKnown = SAGE_REQUIRE_DETERMINISTIC | SAGE_REQUIRE_STREAM_CAPTURE | SAGE_REQUIRE_SCALAR;
  if (const uint32_t unknown = view.op.requirements & ~kKnown; unknown != 0) {
    sage_refuse(answer, 0, "requirement bits 0x%x are newer than this backend", unknown);
    return true;
  }
  // DETERMINISTIC: no kernel here adds in an order that changes. STREAM_CAPTURE: a run enqueues kernels, nothing else.
  if ((view.op.requirements & SAGE_REQUIRE_SCALAR) != 0) {
    sage_refuse(answer, 0, "SCALAR is required, which is a wish for plain code of the CPU");
    return true;
  }
  return false;
}

bool RefusePlaces(const support::OpView& view, const Device& device, sage_answer* answer) {
  for (uint32_t slot = 0; slot < view.pointers.size(); ++slot) {
    if (!view.Has(slot)) continue;
    const sage_tensor& tensor = view.Slot(slot);
    const bool on_cpu = tensor.device_type == SAGE_CPU || tensor.device_type == SAGE_CUDA_HOST;
    if (on_cpu && (tensor.flags & SAGE_TENSOR_CONSTANT) != 0) continue;  // copied by the plan
    if (on_cpu && device.host_visible()) continue;
    if (tensor.device_type == SAGE_CUDA && tensor.device_id == device.id()) continue;
    sage_refuse(answer, 0, "%s lies on device (%d, %d); this instance reads the memory of %s",
                support::SlotName(view.op.kind, slot), tensor.device_type, tensor.device_id, device.name().c_str());
    return true;
  }
  return false;
}

}  // namespace

bool RefuseInGeneral(const support::OpView& view, const Device& device, sage_answer* answer) {
  if (const int code = device.lost(); code != kSuccess) {
    sage_refuse(answer, 0, "%s was lost to this process by an earlier run: %.100s; start the process anew",
                device.name().c_str(), CodeText(device.runtime(), code).c_str());
    return true;
  }
  return RefuseRequirements(view, answer) || RefusePlaces(view, device, answer);
}

bool RefuseAlgorithm(const support::OpView& view, sage_answer* answer) {
  const sage_attention_attributes& attributes = view.attributes.attention;
  if (attributes.algorithm == SAGE_ALGORITHM_MATERIALISED) {
    sage_refuse(answer, 0, "algorithm MATERIALISED is asked for; the kernels here keep no rows of scores (FLASH)");
    return true;
  }
  if (attributes.block_q != 0 || attributes.block_kv != 0) {
    sage_refuse(answer, 0, "tiles of %u x %u are asked for; the kernels here have their own", attributes.block_q,
                attributes.block_kv);
    return true;
  }
  return false;
}

}  // namespace sage::cuda
