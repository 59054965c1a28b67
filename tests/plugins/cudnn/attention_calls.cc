// attention_calls.cc: see the header.
#include "attention_calls.h"

#include <algorithm>
#include <numeric>

#include "common/cuda/attention_operands.h"

namespace sage::test {
namespace {

// Every other sequence is shorter, none is empty: what nobody uses of a sequence is a case of its own in other tests.
int64_t Used(int64_t whole, int64_t b) { return b % 2 == 0 ? whole : std::max<int64_t>(1, whole * 5 / 8); }

std::vector<double> Numbers(int64_t count, int64_t whole, bool starts) {
  std::vector<double> numbers;
  double sum = 0;
  if (starts) numbers.push_back(0);
  for (int64_t b = 0; b < count; ++b) {
    const auto used = static_cast<double>(Used(whole, b));
    sum += used;
    numbers.push_back(starts ? sum : used);
  }
  return numbers;
}

OwnedTensor Rows(const AttentionCall& call, int64_t heads, int64_t rows, int64_t dim) {
  const std::vector<int64_t> shape{call.batch, heads, rows, dim};
  return call.rows_first ? OwnedTensor::Ordered(call.dtype, shape, {0, 2, 1, 3}) : OwnedTensor(call.dtype, shape);
}

OwnedTensor Packed(const AttentionCall& call, int64_t heads, int64_t rows, int64_t dim) {
  int64_t total = 0;
  for (int64_t b = 0; b < call.batch; ++b) total += Used(rows, b);
  return OwnedTensor(call.dtype, {total, heads, dim});
}

void LayPages(const AttentionCall& call, AttentionCase& to) {
  const int64_t columns = (call.seq_kv + call.page - 1) / call.page, pages = call.batch * columns + 1;
  const auto container = [&](int64_t dim) {
    const std::vector<int64_t> shape{pages, call.heads_k, call.page, dim};
    return call.rows_first ? OwnedTensor::Ordered(call.dtype, shape, {0, 2, 1, 3}) : OwnedTensor(call.dtype, shape);
  };
  to.K() = container(call.dim_qk), to.V() = container(call.dim_v);
  std::vector<double> table(static_cast<size_t>(call.batch * columns));
  for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<double>(static_cast<size_t>(pages - 1) - i);
  to.Integers(SAGE_ATTN_BLOCK_TABLE, {call.batch, columns}, table);
}

OwnedTensor Bias(const AttentionCall& call) {
  const bool batches = call.bias == BiasForm::kBatches, heads = call.bias == BiasForm::kHeads;
  const bool whole = call.bias == BiasForm::kWhole || call.bias == BiasForm::kWholeF32;
  const int64_t keys = call.page > 0 ? (call.seq_kv + call.page - 1) / call.page * call.page : call.seq_kv;
  const int64_t of_head = call.seq_q * keys, of_batch = whole ? of_head * call.heads_q : of_head;
  return OwnedTensor(call.bias == BiasForm::kWholeF32 ? SAGE_F32 : call.dtype,
                     {call.batch, call.heads_q, call.seq_q, keys},
                     {whole || batches ? of_batch : 0, whole || heads ? of_head : 0, keys, 1});
}

}  // namespace

AttentionCase Laid(const AttentionCall& call) {
  AttentionCase to;
  const auto operand = [&](int64_t heads, int64_t rows, int64_t dim) {
    return call.packed ? Packed(call, heads, rows, dim) : Rows(call, heads, rows, dim);
  };
  to.Q() = operand(call.heads_q, call.seq_q, call.dim_qk), to.O() = operand(call.heads_q, call.seq_q, call.dim_v);
  if (call.page > 0)
    LayPages(call, to);
  else
    to.K() = operand(call.heads_k, call.seq_kv, call.dim_qk), to.V() = operand(call.heads_k, call.seq_kv, call.dim_v);
  if (call.packed) {
    to.Integers(SAGE_ATTN_CU_SEQLENS_Q, {call.batch + 1}, Numbers(call.batch, call.seq_q, true));
    to.attributes.max_seq_q = call.seq_q;
    if (call.page == 0) {
      to.Integers(SAGE_ATTN_CU_SEQLENS_K, {call.batch + 1}, Numbers(call.batch, call.seq_kv, true));
      to.attributes.max_seq_kv = call.seq_kv;
    }
  }
  if (call.lengths || call.page > 0)
    to.Integers(SAGE_ATTN_SEQUSED_K, {call.batch}, Numbers(call.batch, call.seq_kv, false));
  if (call.lengths && call.seq_q > 1 && !call.packed)
    to.Integers(SAGE_ATTN_SEQUSED_Q, {call.batch}, Numbers(call.batch, call.seq_q, false));
  if (call.causal) to.attributes.features |= SAGE_ATTN_F_CAUSAL;
  to.Window(call.window_left, call.window_right, 0);
  if (call.positions()) to.attributes.alignment = call.bottom_right ? SAGE_ALIGN_BOTTOM_RIGHT : SAGE_ALIGN_TOP_LEFT;
  if (call.bias != BiasForm::kNone) to[SAGE_ATTN_BIAS] = Bias(call);
  if (call.alibi) to[SAGE_ATTN_ALIBI] = OwnedTensor(SAGE_F32, {call.heads_q});
  if (call.sinks) to[SAGE_ATTN_SINKS] = OwnedTensor(SAGE_F32, {call.heads_q});
  if (call.softcap) to.attributes.softcap = 30;
  if (call.lse) to.WithLse();
  if (call.dropout) to.attributes.dropout_p = 0.1, to[SAGE_ATTN_PHILOX] = OwnedTensor(SAGE_U64, {2});
  return to;
}

void FillOperands(AttentionCase& attention, uint64_t seed) {
  for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V, SAGE_ATTN_BIAS, SAGE_ATTN_SINKS})
    if (attention[slot].present()) attention[slot].FillNormal(seed + slot);
  if (attention[SAGE_ATTN_ALIBI].present()) attention[SAGE_ATTN_ALIBI].FillUniform(seed, 0.0, 0.5);
}

std::string Read(const AttentionCase& attention, cuda::AttentionArguments* arguments, uint64_t* features,
                 cuda::AttentionExtras* extras) {
  TestOp op(SAGE_OP_ATTENTION);
  attention.Describe(op);
  support::OpView view;
  std::string why;
  if (support::TakeInOp(op.op(), &view, &why) != SAGE_OK || support::CheckOp(view, &why) != SAGE_OK ||
      support::DeriveAttentionFeatures(view, features, &why) != SAGE_OK)
    return why.empty() ? "it is no op" : why;
  const char* const refused = cuda::BindAskedAttention(view, *features, arguments, extras);
  return refused == nullptr ? "" : refused;
}

}  // namespace sage::test
