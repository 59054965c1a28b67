// work.cc: see the header.
#include "plan/work.h"

#include <algorithm>

#include "sage/support/check_op.h"

namespace sage {
namespace {

double Elements(const sage_tensor& tensor) {
  double count = 1;
  for (uint32_t i = 0; i < tensor.rank; ++i) count *= static_cast<double>(tensor.shape[i]);
  return count;
}

double DistinctBytes(const sage_tensor& tensor) {
  double count = support::DtypeSize(tensor.dtype);
  for (uint32_t i = 0; i < tensor.rank; ++i) {
    if (tensor.stride[i] != 0 || tensor.shape[i] == 0) count *= static_cast<double>(tensor.shape[i]);
  }
  return count;
}

const sage_tensor* Slot(const sage_op& op, uint32_t slot) { return slot < op.num_slots ? op.slots[slot] : nullptr; }

double Last(const sage_tensor& tensor, uint32_t from_end) {
  return tensor.rank > from_end ? static_cast<double>(tensor.shape[tensor.rank - 1 - from_end]) : 1.0;
}

double AttentionFlops(const sage_op& op) {
  const sage_tensor *q = Slot(op, SAGE_ATTN_Q), *k = Slot(op, SAGE_ATTN_K), *v = Slot(op, SAGE_ATTN_V);
  if (q == nullptr || k == nullptr || v == nullptr || k->rank < 3) return 0;
  double keys = static_cast<double>(k->shape[k->rank - 2]);
  if (k->rank == 3) {  // packed [T,H,D]: no sequence is longer than max_seq_kv
    const auto* attributes = static_cast<const sage_attention_attributes*>(op.attributes);
    keys = static_cast<double>(k->shape[0]);
    if (attributes != nullptr && attributes->max_seq_kv > 0) {
      keys = std::min(keys, static_cast<double>(attributes->max_seq_kv));
    }
  }
  if (const sage_tensor* table = Slot(op, SAGE_ATTN_BLOCK_TABLE); table != nullptr) keys *= Last(*table, 0);
  const double rows = Elements(*q) / std::max(1.0, Last(*q, 0));  // query rows over all heads
  return rows * keys * (2 * Last(*q, 0) + 2 * Last(*v, 0) + 4);   // 4: scale, maximum, exponential, sum
}

}  // namespace

Work WorkOf(const sage_op& op) {
  Work work;
  for (uint32_t slot = 0; slot < op.num_slots; ++slot) {
    if (op.slots[slot] != nullptr) work.bytes += DistinctBytes(*op.slots[slot]);
  }
  const sage_tensor* first = Slot(op, 0);
  const sage_tensor* second = Slot(op, 1);
  switch (op.kind) {
    case SAGE_OP_ATTENTION:
      work.flops = AttentionFlops(op);
      break;
    case SAGE_OP_LINEAR:
      if (first != nullptr && second != nullptr)
        work.flops = 2 * Elements(*first) * static_cast<double>(second->shape[0]);
      break;
    case SAGE_OP_MATMUL:
      if (first != nullptr && Slot(op, 2) != nullptr) work.flops = 2 * Elements(*Slot(op, 2)) * Last(*first, 0);
      break;
    case SAGE_OP_NORM:
      work.flops = first != nullptr ? 8 * Elements(*first) : 0;
      break;
    case SAGE_OP_SOFTMAX:
      work.flops = first != nullptr ? 5 * Elements(*first) : 0;
      break;
    case SAGE_OP_ROPE:
      work.flops = first != nullptr ? 3 * Elements(*first) : 0;
      break;
    case SAGE_OP_BINARY:
      work.flops = Slot(op, 2) != nullptr ? Elements(*Slot(op, 2)) : 0;
      break;
    case SAGE_OP_UNARY:
    case SAGE_OP_REDUCE:
    case SAGE_OP_TOPK:
    case SAGE_OP_POOL:
      work.flops = first != nullptr ? Elements(*first) : 0;
      break;
    default:
      break;  // GATHER, CONCAT, SLICE, PERMUTE only move
  }
  return work;
}

}  // namespace sage
