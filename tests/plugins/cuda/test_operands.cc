// test_operands.cc: slots and attributes as a kernel gets them: sizes, strides, repeats, pages, packed rows.
#include <doctest/doctest.h>

#include <cmath>
#include <string>

#include "attention_op.h"
#include "common/cuda/attention_operands.h"
#include "sage/support/check_op.h"

namespace sage::cuda {
namespace {

const char* Bind(AttentionOp& op, AttentionArguments* out) {
  support::OpView view;
  std::string why;
  REQUIRE_MESSAGE(support::TakeInOp(op.op(), &view, &why) == SAGE_OK, why);
  REQUIRE_MESSAGE(support::CheckOp(view, &why) == SAGE_OK, why);
  uint64_t features = 0;
  REQUIRE_MESSAGE(support::DeriveAttentionFeatures(view, &features, &why) == SAGE_OK, why);
  return BindAttention(view.attributes.attention, features, view.pointers.data(),
                       static_cast<uint32_t>(view.pointers.size()), out);
}

void* At(uintptr_t address) { return reinterpret_cast<void*>(address); }

}  // namespace

TEST_CASE("P1 cuda operands: sizes and strides and the scale of a plain call") {
  AttentionOp op;
  op[SAGE_ATTN_Q].data = At(0x1000), op[SAGE_ATTN_O].data = At(0x2000);
  AttentionArguments a;
  REQUIRE(Bind(op, &a) == nullptr);
  CHECK(a.batch == 2);
  CHECK(a.heads_q == 8);
  CHECK(a.heads_k == 2);
  CHECK(a.heads_v == 2);
  CHECK(a.seq_q == 64);
  CHECK(a.seq_kv == 96);
  CHECK(a.dim_qk == 64);
  CHECK(a.dim_v == 64);
  CHECK(a.q == At(0x1000));
  CHECK(a.o == At(0x2000));
  CHECK(a.q_strides.batch == 8 * 64 * 64);
  CHECK(a.q_strides.head == 64 * 64);
  CHECK(a.q_strides.row == 64);
  CHECK(a.q_strides.column == 1);
  CHECK(a.k_strides.batch == 2 * 96 * 64);
  CHECK(a.scale == doctest::Approx(0.125));
  CHECK((a.type == AttentionType::kBf16));
  CHECK(a.window_left == -1);
  CHECK(a.window_right == -1);
  CHECK(!a.causal);
  CHECK(a.lse == nullptr);
  op.attributes.features = SAGE_ATTN_F_SCALE;
  op.attributes.scale = 0;
  REQUIRE(Bind(op, &a) == nullptr);
  CHECK(a.scale == 0);
}

TEST_CASE("P1 cuda operands: positions and windows") {
  AttentionOp op;
  op.attributes.features = SAGE_ATTN_F_CAUSAL | SAGE_ATTN_F_WINDOW_LEFT;
  op.attributes.alignment = SAGE_ALIGN_BOTTOM_RIGHT;
  op.attributes.window_left = 0;
  AttentionArguments a;
  REQUIRE(Bind(op, &a) == nullptr);
  CHECK(a.causal);
  CHECK(a.bottom_right);
  CHECK(a.window_left == 0);
  CHECK(a.window_right == -1);
}

TEST_CASE("P1 cuda operands: masks that repeat have strides of 0") {
  AttentionOp op;
  op.Set(SAGE_ATTN_MASK, SAGE_BOOL, {2, 8, 64, 96});
  op[SAGE_ATTN_MASK].stride[0] = op[SAGE_ATTN_MASK].stride[1] = 0;
  op.Set(SAGE_ATTN_BIAS, SAGE_F32, {2, 8, 64, 96}).stride[2] = 0;
  op.Set(SAGE_ATTN_BLOCK_MASK, SAGE_U8, {1, 1, 2, 3});
  op[SAGE_ATTN_MASK].data = At(0x10), op[SAGE_ATTN_BIAS].data = At(0x20), op[SAGE_ATTN_BLOCK_MASK].data = At(0x30);
  op.attributes.mask_block_q = 32, op.attributes.mask_block_kv = 32;
  AttentionArguments a;
  REQUIRE(Bind(op, &a) == nullptr);
  CHECK(a.mask_strides.batch == 0);
  CHECK(a.mask_strides.head == 0);
  CHECK(a.mask_strides.row == 96);
  CHECK(a.mask == At(0x10));
  CHECK(a.bias_strides.row == 0);
  CHECK(a.bias_strides.head == 64 * 96);
  CHECK((a.bias_type == AttentionType::kF32));
  CHECK(a.block_mask_strides.batch == 0);  // one for all sequences and heads
  CHECK(a.block_mask_strides.head == 0);
  CHECK(a.block_mask_strides.row == 3);
  CHECK(a.mask_block_q == 32);
  CHECK(a.block_mask == At(0x30));
}

TEST_CASE("P7 cuda operands: packed rows have no batch stride and the longest sequence is the caller's bound") {
  AttentionOp op(SAGE_F16);
  op.Set(SAGE_ATTN_Q, SAGE_F16, {100, 4, 32});
  op.Set(SAGE_ATTN_K, SAGE_F16, {150, 2, 32});
  op.Set(SAGE_ATTN_V, SAGE_F16, {150, 2, 48});
  op.Set(SAGE_ATTN_O, SAGE_F16, {100, 4, 48});
  op.Set(SAGE_ATTN_LSE, SAGE_F32, {4, 100});
  op.Set(SAGE_ATTN_CU_SEQLENS_Q, SAGE_I32, {4}).data = At(0x40);
  op.Set(SAGE_ATTN_CU_SEQLENS_K, SAGE_I32, {4}).data = At(0x80);
  op.attributes.max_seq_q = 60;
  AttentionArguments a;
  REQUIRE(Bind(op, &a) == nullptr);
  CHECK(a.batch == 3);
  CHECK(a.total_q == 100);
  CHECK(a.total_k == 150);
  CHECK(a.seq_q == 60);
  CHECK(a.seq_kv == 150);  // no bound given: all of them
  CHECK(a.q_strides.row == 4 * 32);
  CHECK(a.q_strides.head == 32);
  CHECK(a.v_strides.row == 2 * 48);
  CHECK(a.dim_v == 48);
  CHECK(a.lse_strides.head == 100);
  CHECK(a.lse_strides.row == 1);
  CHECK(a.cu_seqlens_q == At(0x40));
  CHECK(a.cu_seqlens_k == At(0x80));
}

TEST_CASE("P7 cuda operands: pages of a power of two") {
  AttentionOp op;
  op.Set(SAGE_ATTN_K, SAGE_BF16, {40, 2, 16, 64});
  op.Set(SAGE_ATTN_V, SAGE_BF16, {40, 2, 16, 64});
  op.Set(SAGE_ATTN_BLOCK_TABLE, SAGE_I32, {2, 7}).stride[0] = 9;
  op.Set(SAGE_ATTN_SEQUSED_K, SAGE_I32, {2}).data = At(0x40);
  AttentionArguments a;
  REQUIRE(Bind(op, &a) == nullptr);
  CHECK(a.pages == 40);
  CHECK(a.page_shift == 4);
  CHECK(a.seq_kv == 7 * 16);
  CHECK(a.block_table_stride == 9);
  CHECK(a.k_strides.batch == 2 * 16 * 64);
  CHECK(a.k_strides.row == 64);
  CHECK(a.seqused_k == At(0x40));
  op.Set(SAGE_ATTN_K, SAGE_BF16, {40, 2, 12, 64});
  op.Set(SAGE_ATTN_V, SAGE_BF16, {40, 2, 12, 64});
  CHECK(std::string(Bind(op, &a)) == "pages hold a number of keys that is no power of two");
}

TEST_CASE("P7 cuda operands: rows to append lie like queries of the heads of K and of V") {
  AttentionOp op;
  op.Set(SAGE_ATTN_SEQUSED_K, SAGE_I32, {2}).data = At(0x40);
  op.Set(SAGE_ATTN_K_NEW, SAGE_BF16, {2, 2, 5, 64}).data = At(0x1000);
  op.Set(SAGE_ATTN_V_NEW, SAGE_BF16, {2, 2, 5, 64}).data = At(0x2000);
  op.aliases = 1u << SAGE_ATTN_K | 1u << SAGE_ATTN_V;
  AttentionArguments a;
  REQUIRE(Bind(op, &a) == nullptr);
  CHECK(a.appended == 5);
  CHECK(a.k_new == At(0x1000));
  CHECK(a.v_new == At(0x2000));
  CHECK(a.k_new_strides.batch == 2 * 5 * 64);
  CHECK(a.k_new_strides.head == 5 * 64);
  CHECK(a.v_new_strides.row == 64);
  CHECK(a.v_new_strides.column == 1);

  AttentionOp packed(SAGE_F16);
  packed.Set(SAGE_ATTN_Q, SAGE_F16, {100, 4, 32});
  packed.Set(SAGE_ATTN_K, SAGE_F16, {150, 2, 32});
  packed.Set(SAGE_ATTN_V, SAGE_F16, {150, 1, 48});
  packed.Set(SAGE_ATTN_O, SAGE_F16, {100, 4, 48});
  packed.Set(SAGE_ATTN_CU_SEQLENS_Q, SAGE_I32, {4});
  packed.Set(SAGE_ATTN_CU_SEQLENS_K, SAGE_I32, {4});
  packed.Set(SAGE_ATTN_SEQUSED_K, SAGE_I32, {3});
  packed.Set(SAGE_ATTN_K_NEW, SAGE_F16, {100, 2, 32});
  packed.Set(SAGE_ATTN_V_NEW, SAGE_F16, {100, 1, 48});
  packed.aliases = op.aliases;
  REQUIRE(Bind(packed, &a) == nullptr);
  CHECK(a.appended == -1);  // as many as a sequence has queries
  CHECK(a.k_new_strides.batch == 0);
  CHECK(a.k_new_strides.row == 2 * 32);
  CHECK(a.k_new_strides.head == 32);
  CHECK(a.v_new_strides.row == 48);
}

TEST_CASE("P1 cuda operands: what cannot be said has a reason") {
  AttentionArguments a;
  {
    AttentionOp op(SAGE_F32);
    op.Set(SAGE_ATTN_K, SAGE_F16, {2, 2, 96, 64});
    op.Set(SAGE_ATTN_V, SAGE_F16, {2, 2, 96, 64});
    CHECK(std::string(Bind(op, &a)) == "Q, K, V and O are not of one dtype");
  }
  {
    AttentionOp op;
    op.Set(SAGE_ATTN_SEQUSED_K, SAGE_I32, {2}).stride[0] = 2;
    CHECK(std::string(Bind(op, &a)) == "SEQUSED_K is not contiguous");
  }
  {
    AttentionOp op;
    op.Set(SAGE_ATTN_K, SAGE_BF16, {2, 2, int64_t{1} << 32, 64}).stride[0] = 0;
    op.Set(SAGE_ATTN_V, SAGE_BF16, {2, 2, int64_t{1} << 32, 64}).stride[0] = 0;
    CHECK(std::string(Bind(op, &a)) == "a size is beyond 32 bits");
    op.Set(SAGE_ATTN_K, SAGE_BF16, {2, 2, (int64_t{1} << 28) + 1, 64}).stride[0] = 0;
    op.Set(SAGE_ATTN_V, SAGE_BF16, {2, 2, (int64_t{1} << 28) + 1, 64}).stride[0] = 0;
    CHECK(std::string(Bind(op, &a)) == "a sequence, or all that are packed, has more than 2^28 rows");
  }
}

}  // namespace sage::cuda
