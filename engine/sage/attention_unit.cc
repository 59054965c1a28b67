// attention_unit.cc: the only place where the SAGE graphs touch a session's tensors.
#include "sage/attention_unit.h"

#include <cstring>
#include <utility>

#include "sage/number.h"
#include "sage/support/check_op.h"

namespace sage {
namespace {

void Zero(const sage_tensor& tensor) {
  uint64_t elements = 1;
  for (uint32_t i = 0; i < tensor.rank; ++i) elements *= static_cast<uint64_t>(tensor.shape[i]);
  if (elements > 0) std::memset(tensor.data, 0, elements * support::DtypeSize(tensor.dtype));
}

}  // namespace

Result<std::unique_ptr<AttentionUnit>> AttentionUnit::Create(std::string name, std::shared_ptr<Engine> engine,
                                                             LoweredAttention lowered, const SessionOptions& options) {
  SAGE_ASSIGN_OR_RETURN(auto session, Session::Create(std::move(engine), lowered.graph, options));
  std::unique_ptr<AttentionUnit> unit(new AttentionUnit());
  unit->name_ = std::move(name);
  for (size_t i = 0; i < lowered.graph->nodes.size(); ++i) {
    if (lowered.graph->nodes[i].kind == SAGE_OP_ATTENTION) unit->attention_node_ = static_cast<uint32_t>(i);
  }
  unit->lowered_ = std::move(lowered);
  unit->session_ = std::move(session);
  return unit;
}

Status AttentionUnit::Open(int64_t batch, int64_t queries, int64_t keys, bool keys_too) {
  queries_ = queries;
  keys_ = keys;
  const auto open = [&](int32_t number, int64_t a, int64_t b, int64_t c, int64_t d, uint32_t rank, sage_tensor* out) {
    const int64_t shape[] = {a, b, c, d};
    auto buffer = session_->InputBuffer(static_cast<uint32_t>(number), std::span(shape, rank));
    if (!buffer.ok()) return buffer.status();
    *out = *buffer;
    return Status();
  };
  const LoweringForm& form = lowered_.form;
  SAGE_RETURN_IF_ERROR(open(lowered_.q, batch, queries, lowered_.q_width, 0, 3, &q_));
  if (keys_too) SAGE_RETURN_IF_ERROR(open(lowered_.k, batch, keys, lowered_.k_width, 0, 3, &k_));
  if (lowered_.v >= 0) SAGE_RETURN_IF_ERROR(open(lowered_.v, batch, keys, lowered_.v_width, 0, 3, &v_));
  SAGE_RETURN_IF_ERROR(open(lowered_.bias, batch, form.bias_by_head ? lowered_.heads : 1,
                            form.bias_by_query ? queries : 1, keys, 4, &bias_));
  if (!form.content) {
    Zero(q_);
    if (keys_too) Zero(k_);
  }
  return Status();
}

Status AttentionUnit::SetKeys(std::span<const int64_t> shape, const void* data, uint64_t bytes) {
  return session_->SetInput(static_cast<uint32_t>(lowered_.k), lowered_.dtype, shape, data, bytes);
}

void AttentionUnit::StoreQuery(int64_t batch, int64_t query, std::span<const double> row) {
  StoreNumbers(lowered_.dtype, q_.data, (batch * queries_ + query) * lowered_.q_width, row);
}

void AttentionUnit::StoreKey(int64_t batch, int64_t key, std::span<const double> row) {
  StoreNumbers(lowered_.dtype, k_.data, (batch * keys_ + key) * lowered_.k_width, row);
}

void AttentionUnit::StoreValue(int64_t batch, int64_t key, std::span<const double> row) {
  StoreNumbers(lowered_.dtype, v_.data, (batch * keys_ + key) * lowered_.v_width, row);
}

void AttentionUnit::StoreBias(int64_t batch, int64_t head, int64_t query, std::span<const double> line) {
  const int64_t heads = bias_.shape[1], rows = bias_.shape[2];
  StoreNumbers(lowered_.wide_dtype, bias_.data, ((batch * heads + head) * rows + query) * keys_, line);
}

Status AttentionUnit::Run() {
  SAGE_RETURN_IF_ERROR(session_->Run());
  auto weights = session_->Output(0);
  if (!weights.ok()) return weights.status();
  weights_ = *weights;
  if (lowered_.fused_width > 0) {
    auto fused = session_->Output(1);
    if (!fused.ok()) return fused.status();
    fused_ = *fused;
  }
  return Status();
}

double AttentionUnit::Weight(int64_t batch, int64_t head, int64_t query, int64_t key) const {
  return LoadNumber(weights_.dtype, weights_.data, ((batch * lowered_.heads + head) * queries_ + query) * keys_ + key);
}

void AttentionUnit::Weights(int64_t batch, int64_t head, int64_t query, std::span<double> out) const {
  LoadNumbers(weights_.dtype, weights_.data, ((batch * lowered_.heads + head) * queries_ + query) * keys_, out);
}

double AttentionUnit::MeanWeight(int64_t batch, int64_t query, int64_t key) const {
  double sum = 0;
  for (int64_t head = 0; head < lowered_.distinct_heads; ++head) sum += Weight(batch, head, query, key);
  return sum / static_cast<double>(lowered_.distinct_heads);
}

void AttentionUnit::Fused(int64_t batch, int64_t query, std::span<double> out) const {
  LoadNumbers(fused_.dtype, fused_.data, (batch * queries_ + query) * lowered_.fused_width, out);
}

const char* AttentionUnit::Backend() const { return session_->NodeBackend(attention_node_); }

}  // namespace sage
