// The memory report of an attention op: padded, packed and paged keys, axes that repeat, sizes that fit no counter.
#include "plan/attention_memory.h"

#include <doctest/doctest.h>

#include <array>
#include <string>
#include <vector>

using namespace sage;

namespace {

struct Described {
  std::array<sage_tensor, SAGE_ATTN_NUM_SLOTS> tensors{};
  std::array<const sage_tensor*, SAGE_ATTN_NUM_SLOTS> slots{};
  sage_attention_attributes attributes{};
  sage_op op{};
  Described() {
    attributes.struct_size = sizeof attributes;
    op.struct_size = sizeof op, op.kind = SAGE_OP_ATTENTION;
    op.num_slots = SAGE_ATTN_NUM_SLOTS, op.slots = slots.data(), op.attributes = &attributes;
  }
  sage_tensor& Put(uint32_t slot, sage_dtype dtype, const std::vector<int64_t>& shape) {
    sage_tensor_init(&tensors[slot], dtype, static_cast<uint32_t>(shape.size()), shape.data(), nullptr);
    slots[slot] = &tensors[slot];
    return tensors[slot];
  }
};

// A plan with this much scratch, of it packed keys and partial results.
AttentionMemory MemoryOf(const sage_op& op, uint64_t scratch, uint64_t packed = 0, uint64_t partials = 0) {
  sage_plan_info info{};
  info.workspace_bytes = scratch, info.packed_kv_bytes = packed, info.partials_bytes = partials;
  info.prepack_bytes = 7;
  return MemoryOfAttention(op, info);
}

}  // namespace

TEST_CASE("N10 memory of padded keys: every part, and what is counted apart") {
  Described d;
  d.Put(SAGE_ATTN_Q, SAGE_BF16, {2, 6, 5, 8}), d.Put(SAGE_ATTN_O, SAGE_BF16, {2, 6, 5, 4});
  d.Put(SAGE_ATTN_K, SAGE_BF16, {2, 3, 7, 8}), d.Put(SAGE_ATTN_V, SAGE_BF16, {2, 3, 7, 4});
  d.Put(SAGE_ATTN_LSE, SAGE_F32, {2, 6, 5});
  sage_tensor& mask = d.Put(SAGE_ATTN_MASK, SAGE_BOOL, {2, 6, 5, 7});
  mask.stride[0] = mask.stride[1] = 0;
  d.attributes.block_kv = 2;
  const AttentionMemory memory = MemoryOf(d.op, 100);
  CHECK(memory.q == 2 * 6 * 5 * 8 * 2);
  CHECK(memory.k == 2 * 3 * 7 * 8 * 2);
  CHECK(memory.v == 2 * 3 * 7 * 4 * 2);
  CHECK(memory.o == 2 * 6 * 5 * 4 * 2);
  CHECK(memory.other == 2 * 6 * 5 * 4 + 5 * 7);
  CHECK(memory.scores == 2 * 6 * 5 * 7 * 4);  // 16-bit tensors have f32 scores
  CHECK(memory.scores_avoided == memory.scores - 100);
  CHECK(memory.total == memory.q + memory.k + memory.v + memory.o + memory.other + 100);
  CHECK(memory.total_with_scores == memory.total - 100 + memory.scores);
  CHECK(memory.keys_over_block_kv == 3.5);
  CHECK(memory.working_set == 100);
  CHECK(memory.prepacked == 7);
  const AttentionMemory split = MemoryOf(d.op, 100, 60, 30);
  CHECK(split.packed_kv == 60);
  CHECK(split.partials == 30);
  CHECK(split.working_set == 10);
  CHECK(split.total == memory.total);  // they are part of the scratch
  const sage_attention_memory given = PublicMemory(split);
  CHECK(given.struct_size == sizeof given);
  CHECK(given.packed_kv_bytes == 60);
  CHECK(given.partials_bytes == 30);
  CHECK(given.working_set_bytes == 10);
  CHECK(given.scores_over_scratch == static_cast<double>(memory.scores) / 100);
  CHECK(given.keys_over_block_kv == 3.5);
  // Scratch as large as the matrix avoids nothing.
  CHECK(MemoryOf(d.op, memory.scores).scores_avoided == 0);
  CHECK(MemoryOf(d.op, UINT64_MAX).scores_avoided == 0);
  CHECK(MemoryOf(d.op, UINT64_MAX).total == UINT64_MAX);
}

TEST_CASE("N10 memory of packed and of paged keys: a row of scores is as long as the longest a query may see") {
  Described packed;
  for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V, SAGE_ATTN_O})
    packed.Put(slot, SAGE_F64, {slot == SAGE_ATTN_Q || slot == SAGE_ATTN_O ? 10 : 30, 2, 4});
  packed.Put(SAGE_ATTN_CU_SEQLENS_Q, SAGE_I32, {4}), packed.Put(SAGE_ATTN_CU_SEQLENS_K, SAGE_I32, {4});
  CHECK(MemoryOf(packed.op, 0).scores == 10 * 2 * 30 * 8);
  packed.attributes.max_seq_kv = 12;
  CHECK(MemoryOf(packed.op, 0).scores == 10 * 2 * 12 * 8);
  packed.attributes.max_seq_kv = 1000;
  CHECK(MemoryOf(packed.op, 0).scores == 10 * 2 * 30 * 8);

  Described paged;
  paged.Put(SAGE_ATTN_Q, SAGE_F32, {3, 2, 1, 4}), paged.Put(SAGE_ATTN_O, SAGE_F32, {3, 2, 1, 4});
  paged.Put(SAGE_ATTN_K, SAGE_F32, {50, 2, 16, 4}), paged.Put(SAGE_ATTN_V, SAGE_F32, {50, 2, 16, 4});
  paged.Put(SAGE_ATTN_BLOCK_TABLE, SAGE_I32, {3, 9});
  CHECK(MemoryOf(paged.op, 0).scores == 3 * 2 * 9 * 16 * 4);
  CHECK(MemoryOf(paged.op, 0).k == 50 * 2 * 16 * 4 * 4);  // the whole pool
}

TEST_CASE("N10 memory that fits no counter saturates, an empty one is nothing, and a ratio over nothing is null") {
  Described huge;
  for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V, SAGE_ATTN_O})
    huge.Put(slot, SAGE_F32, {1, 1, 1, 1}).shape[2] = int64_t{1} << 40;
  for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_O}) huge.tensors[slot].shape[0] = int64_t{1} << 30;
  const AttentionMemory memory = MemoryOf(huge.op, 64);
  CHECK(memory.scores == UINT64_MAX);
  CHECK(memory.q == UINT64_MAX);
  CHECK(memory.total == UINT64_MAX);

  Described empty;
  for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V, SAGE_ATTN_O})
    empty.Put(slot, SAGE_F32, {0, 1, 1, 1});
  CHECK(MemoryOf(empty.op, 0).total == 0);
  JsonWriter out;
  out.BeginObject();
  WriteAttentionMemory(out, MemoryOf(empty.op, 0));
  out.EndObject();
  const std::string text(out.text());
  for (const char* key : {"scores_over_scratch", "totals_ratio", "keys_over_block_kv"})
    CHECK_MESSAGE(text.find("\"" + std::string(key) + "\":null") != std::string::npos, text);
}
