// attention_memory.cc: see the header.
#include "plan/attention_memory.h"

#include <algorithm>

#include "sage/support/check_op.h"

namespace sage {
namespace {

uint64_t Times(uint64_t a, uint64_t b) {
  uint64_t product = 0;
  return __builtin_mul_overflow(a, b, &product) ? UINT64_MAX : product;
}

uint64_t Plus(uint64_t a, uint64_t b) { return a > UINT64_MAX - b ? UINT64_MAX : a + b; }

uint64_t Length(const sage_tensor& tensor, uint32_t axis) {
  return static_cast<uint64_t>(std::max<int64_t>(tensor.shape[axis], 0));
}

uint64_t DistinctBytes(const sage_tensor& tensor) {
  uint64_t count = support::DtypeSize(tensor.dtype);
  for (uint32_t axis = 0; axis < tensor.rank; ++axis)
    if (tensor.stride[axis] != 0 || tensor.shape[axis] == 0) count = Times(count, Length(tensor, axis));
  return count;
}

// The longest row of keys that one query may see.
uint64_t KeysOfARow(const sage_op& op) {
  const auto slot = [&op](uint32_t index) { return index < op.num_slots ? op.slots[index] : nullptr; };
  const sage_tensor& k = *op.slots[SAGE_ATTN_K];
  if (const sage_tensor* table = slot(SAGE_ATTN_BLOCK_TABLE)) return Times(Length(*table, 1), Length(k, 2));
  if (slot(SAGE_ATTN_CU_SEQLENS_K) == nullptr) return Length(k, 2);
  const int64_t most = static_cast<const sage_attention_attributes*>(op.attributes)->max_seq_kv;
  return most > 0 ? std::min(Length(k, 0), static_cast<uint64_t>(most)) : Length(k, 0);
}

}  // namespace

AttentionMemory MemoryOfAttention(const sage_op& op, const sage_plan_info& info) {
  AttentionMemory memory;
  const uint64_t scratch = memory.scratch = info.workspace_bytes;
  memory.packed_kv = info.packed_kv_bytes, memory.partials = info.partials_bytes;
  memory.working_set = scratch - std::min(scratch, Plus(memory.packed_kv, memory.partials));
  memory.prepacked = info.prepack_bytes;
  uint64_t tensors = 0;
  for (uint32_t slot = 0; slot < op.num_slots; ++slot) {
    if (op.slots[slot] == nullptr) continue;
    const uint64_t bytes = DistinctBytes(*op.slots[slot]);
    uint64_t* const own[] = {&memory.q, &memory.k, &memory.v, &memory.o};  // slots 0 to 3
    uint64_t& sum = slot <= SAGE_ATTN_O ? *own[slot] : memory.other;
    sum = Plus(sum, bytes), tensors = Plus(tensors, bytes);
  }
  const sage_tensor& q = *op.slots[SAGE_ATTN_Q];
  memory.scores = Times(q.dtype == SAGE_F64 ? 8 : 4, KeysOfARow(op));
  for (uint32_t axis = 0; axis + 1 < q.rank; ++axis) memory.scores = Times(memory.scores, Length(q, axis));
  memory.scores_avoided = memory.scores - std::min(memory.scores, scratch);
  memory.total = Plus(tensors, scratch);
  memory.total_with_scores = Plus(tensors, memory.scores);
  const uint32_t block = static_cast<const sage_attention_attributes*>(op.attributes)->block_kv;
  if (block > 0) memory.keys_over_block_kv = static_cast<double>(KeysOfARow(op)) / block;
  return memory;
}

void WriteAttentionMemory(JsonWriter& out, const AttentionMemory& memory) {
  const auto ratio = [&out](const char* key, double over, double under) {
    out.Key(key);
    under > 0 ? out.Number(over / under) : out.Null();
  };
  out.Key("memory");
  out.BeginObject();
  out.Member("q_bytes", memory.q);
  out.Member("k_bytes", memory.k);
  out.Member("v_bytes", memory.v);
  out.Member("o_bytes", memory.o);
  out.Member("other_bytes", memory.other);
  out.Member("scratch_bytes", memory.scratch);
  out.Member("working_set_bytes", memory.working_set);
  out.Member("packed_kv_bytes", memory.packed_kv);
  out.Member("partials_bytes", memory.partials);
  out.Member("prepack_bytes", memory.prepacked);
  out.Member("total_bytes", memory.total);
  out.Member("scores_bytes", memory.scores);
  out.Member("scores_avoided_bytes", memory.scores_avoided);
  out.Member("total_with_scores_bytes", memory.total_with_scores);
  ratio("scores_over_scratch", static_cast<double>(memory.scores), static_cast<double>(memory.scratch));
  ratio("totals_ratio", static_cast<double>(memory.total_with_scores), static_cast<double>(memory.total));
  ratio("keys_over_block_kv", memory.keys_over_block_kv, memory.keys_over_block_kv > 0 ? 1 : 0);
  out.EndObject();
}

sage_attention_memory PublicMemory(const AttentionMemory& memory) {
  const auto ratio = [](uint64_t over, uint64_t under) {
    return under > 0 ? static_cast<double>(over) / static_cast<double>(under) : 0;
  };
  sage_attention_memory mine{};
  mine.struct_size = sizeof mine;
  mine.q_bytes = memory.q, mine.k_bytes = memory.k, mine.v_bytes = memory.v, mine.o_bytes = memory.o;
  mine.other_bytes = memory.other;
  mine.scratch_bytes = memory.scratch;
  mine.working_set_bytes = memory.working_set;
  mine.packed_kv_bytes = memory.packed_kv;
  mine.partials_bytes = memory.partials;
  mine.prepack_bytes = memory.prepacked;
  mine.total_bytes = memory.total;
  mine.scores_bytes = memory.scores;
  mine.scores_avoided_bytes = memory.scores_avoided;
  mine.total_with_scores_bytes = memory.total_with_scores;
  mine.scores_over_scratch = ratio(memory.scores, memory.scratch);
  mine.totals_ratio = ratio(memory.total_with_scores, memory.total);
  mine.keys_over_block_kv = memory.keys_over_block_kv;
  return mine;
}

}  // namespace sage
