// sdpa_graph.cc: see the header.
#include "sdpa_graph.h"

#include <utility>

namespace sage::cudnn {
namespace {

Dims StridesOf(const SdpaStrides& strides) { return {strides.batch, strides.head, strides.row, 1}; }

// Of [.., S, D] as [.., D, S].
Dims Turned(Dims of) {
  std::swap(of[2], of[3]);
  return of;
}

class Writer {
 public:
  Writer(const Sdpa& sdpa, Graph* graph)
      : sdpa_(sdpa),
        graph_(*graph),
        scores_{sdpa.batch, sdpa.heads_q, sdpa.seq_q, sdpa.seq_kv},
        rows_{sdpa.batch, sdpa.heads_q, sdpa.seq_q, 1} {}

  void Composite() {
    DescribeLengths();
    const Descriptor q = Q();
    const Descriptor k = sdpa_.paged() ? Paged(kUidK, kUidTableK, sdpa_.k, sdpa_.dim_qk, true)
                                       : Operand(kUidK, kUidOffsetsK, sdpa_.ragged_kv, sdpa_.heads_kv, sdpa_.seq_kv,
                                                 sdpa_.dim_qk, sdpa_.k, true);
    Descriptor scores = graph_.Virtual(kFloat, scores_);
    graph_.Matmul(q, k, scores, lengths_q_, lengths_kv_, nullptr);
    scores = Then(kMultiply, scores, graph_.Value(kUidScale, kFloat));
    if (sdpa_.fp8()) scores = Then(kMultiply, Then(kMultiply, scores, Number(kUidScaleQ)), Number(kUidScaleK));
    if (sdpa_.softcap) scores = Capped(scores);
    if (sdpa_.bias) scores = Then(kAdd, scores, Bias());
    if (sdpa_.alibi) scores = WithAlibi(scores);
    if (sdpa_.lengths) scores = WithinLengths(scores);
    if (sdpa_.causal || sdpa_.window_right >= 0) scores = UpTo(scores);
    if (sdpa_.window_left >= 0) scores = From(scores);
    const Descriptor weights = Softmax(scores);
    const Descriptor v = sdpa_.paged() ? Paged(kUidV, kUidTableV, sdpa_.v, sdpa_.dim_v, false)
                                       : Operand(kUidV, kUidOffsetsV, sdpa_.ragged_kv, sdpa_.heads_kv, sdpa_.seq_kv,
                                                 sdpa_.dim_v, sdpa_.v, false);
    if (sdpa_.fp8())
      Fp8Output(weights, v);
    else
      graph_.Matmul(weights, v, O(), lengths_q_, nullptr, lengths_kv_);
  }

  void Unified() {
    DescribeLengths();
    Maker& make = graph_.make();
    const Descriptor q = Q(), o = O();
    const Dims container_k = {sdpa_.pages, sdpa_.heads_kv, sdpa_.page, sdpa_.dim_qk};
    const Dims container_v = {sdpa_.pages, sdpa_.heads_kv, sdpa_.page, sdpa_.dim_v};
    const Descriptor k = sdpa_.paged() ? graph_.Tensor(kUidK, sdpa_.type, container_k, StridesOf(sdpa_.k))
                                       : Operand(kUidK, kUidOffsetsK, sdpa_.ragged_kv, sdpa_.heads_kv, sdpa_.seq_kv,
                                                 sdpa_.dim_qk, sdpa_.k, false);
    const Descriptor v = sdpa_.paged() ? graph_.Tensor(kUidV, sdpa_.type, container_v, StridesOf(sdpa_.v))
                                       : Operand(kUidV, kUidOffsetsV, sdpa_.ragged_kv, sdpa_.heads_kv, sdpa_.seq_kv,
                                                 sdpa_.dim_v, sdpa_.v, false);
    const Descriptor statistics = sdpa_.statistics ? Statistics() : nullptr;
    const Descriptor scale = graph_.Value(kUidScale, kFloat);
    const Descriptor table_k = sdpa_.paged() ? Table(kUidTableK) : nullptr;
    const Descriptor table_v = sdpa_.paged() ? Table(kUidTableV) : nullptr;
    Object& op = graph_.Op(kOperationSdpaForward);
    make.Set(op, kSdpaQ, q);
    make.Set(op, kSdpaK, k);
    make.Set(op, kSdpaV, v);
    make.Set(op, kSdpaO, o);
    if (statistics != nullptr) make.Set(op, kSdpaStatistics, statistics);
    make.Set(op, kSdpaScale, scale);
    if (table_k != nullptr) make.Set(op, kSdpaPageTableK, table_k), make.Set(op, kSdpaPageTableV, table_v);
    if (sdpa_.lengths) make.Set(op, kSdpaLengthsQ, lengths_q_), make.Set(op, kSdpaLengthsKv, lengths_kv_);
    graph_.FinishOp(op, "the attention op");
  }

 private:
  // --- tensors of the caller -----------------------------------------------------------------------------------------

  void DescribeLengths() {
    if (!sdpa_.lengths) return;
    const Dims one_each = {sdpa_.batch, 1, 1, 1};
    lengths_q_ = graph_.Tensor(kUidLengthsQ, kInt32, one_each, {1, 1, 1, 1});
    lengths_kv_ = graph_.Tensor(kUidLengthsKv, kInt32, one_each, {1, 1, 1, 1});
  }

  // turned: described with its last two axes the other way round, which is all that transposing takes.
  Descriptor Operand(TensorUid uid, TensorUid offsets, bool ragged, int64_t heads, int64_t rows, int64_t dim,
                     const SdpaStrides& strides, bool turned) {
    return Operand(sdpa_.type, uid, offsets, ragged, heads, rows, dim, strides, turned);
  }
  Descriptor Operand(DataType type, TensorUid uid, TensorUid offsets, bool ragged, int64_t heads, int64_t rows,
                     int64_t dim, const SdpaStrides& strides, bool turned) {
    Descriptor begins = nullptr;
    if (ragged)
      begins = graph_.Tensor(offsets, sdpa_.wide_offsets ? kInt64 : kInt32, {sdpa_.batch + 1, 1, 1, 1}, {1, 1, 1, 1});
    const Dims dims = {sdpa_.batch, heads, rows, dim}, steps = StridesOf(strides);
    return graph_.Tensor(uid, type, turned ? Turned(dims) : dims, turned ? Turned(steps) : steps, begins);
  }
  Descriptor Q() {
    return Operand(kUidQ, kUidOffsetsQ, sdpa_.ragged_q, sdpa_.heads_q, sdpa_.seq_q, sdpa_.dim_qk, sdpa_.q, false);
  }
  Descriptor O() {
    return Operand(sdpa_.o_type, kUidO, kUidOffsetsO, sdpa_.ragged_q, sdpa_.heads_q, sdpa_.seq_q, sdpa_.dim_v, sdpa_.o,
                   false);
  }
  Descriptor Table(TensorUid uid) {
    const int64_t columns = sdpa_.table_columns;
    return graph_.Tensor(uid, kInt32, {sdpa_.batch, 1, columns, 1}, {columns, columns, 1, 1});
  }
  Descriptor Paged(TensorUid uid, TensorUid table_uid, const SdpaStrides& strides, int64_t dim, bool turned) {
    const Descriptor container =
        graph_.Tensor(uid, sdpa_.type, {sdpa_.pages, sdpa_.heads_kv, sdpa_.page, dim}, StridesOf(strides));
    const Descriptor table = Table(table_uid);
    const Dims dims = {sdpa_.batch, sdpa_.heads_kv, sdpa_.seq_kv, dim};
    const Dims steps = {dim * sdpa_.seq_kv * sdpa_.heads_kv, dim * sdpa_.seq_kv, dim, 1};
    const Descriptor rows =
        turned ? graph_.Virtual(sdpa_.type, Turned(dims), Turned(steps)) : graph_.Virtual(sdpa_.type, dims, steps);
    graph_.LoadPages(container, lengths_kv_, table, rows);
    return rows;
  }
  Descriptor Statistics() { return graph_.Tensor(kUidStatistics, kFloat, rows_, PackedStrides(rows_)); }
  Descriptor Bias() {
    const Dims dims = {sdpa_.bias_batch ? sdpa_.batch : 1, sdpa_.bias_heads ? sdpa_.heads_q : 1, sdpa_.seq_q,
                       sdpa_.seq_kv};
    return graph_.Tensor(kUidBias, sdpa_.bias_type, dims, StridesOf(sdpa_.bias_strides));
  }
  Descriptor Number(TensorUid uid) { return graph_.Tensor(uid, kFloat, {1, 1, 1, 1}, {1, 1, 1, 1}); }
  // Named once, used by every mask.
  Descriptor MinusInfinity() {
    if (minus_infinity_ == nullptr) minus_infinity_ = graph_.Value(kUidMinusInfinity, kFloat);
    return minus_infinity_;
  }

  // --- scores --------------------------------------------------------------------------------------------------------

  Descriptor Then(PointwiseMode mode, Descriptor x, Descriptor b) {
    const Descriptor y = graph_.Virtual(kFloat, scores_);
    graph_.Pointwise(mode, kFloat, x, b, y);
    return y;
  }

  Descriptor Capped(Descriptor scores) {
    const Descriptor cap = graph_.Value(kUidCap, kFloat);
    return Then(kMultiply, Then(kTanh, Then(kDivide, scores, cap), nullptr), cap);
  }

  // The place of each score along an axis: 2 is the query's, 3 the key's. The masks of lengths count in integers, the
  // band as cuDNN's own graphs have it.
  Descriptor Place(Descriptor scores, int64_t axis, DataType math) {
    const Descriptor y = graph_.Virtual(kInt32, scores_);
    graph_.Pointwise(kIndex, math, scores, nullptr, y, nullptr, axis);
    return y;
  }
  Descriptor Shifted(PointwiseMode mode, DataType type, Descriptor places, Descriptor by) {
    const Descriptor y = graph_.Virtual(type, scores_);
    graph_.Pointwise(mode, type, places, by, y, nullptr, 3);
    return y;
  }
  Descriptor Truth(PointwiseMode mode, Descriptor x, Descriptor b) {
    const Descriptor y = graph_.Virtual(kBoolean, scores_);
    graph_.Pointwise(mode, kBoolean, x, b, y);
    return y;
  }
  Descriptor KeptWhere(Descriptor truth, Descriptor scores) {
    const Descriptor y = graph_.Virtual(kFloat, scores_);
    graph_.Pointwise(kSelect, kFloat, scores, MinusInfinity(), y, truth);
    return y;
  }

  // slope * (key - query), which under a causal mask is -slope * |query - key|.
  Descriptor WithAlibi(Descriptor scores) {
    const Descriptor query = Place(scores, 2, kInt32), key = Place(scores, 3, kInt32);
    const Descriptor distance = graph_.Virtual(kInt32, scores_);
    graph_.Pointwise(kSubtract, kInt32, key, query, distance);
    const Descriptor slopes = graph_.Tensor(kUidAlibi, kFloat, {1, sdpa_.heads_q, 1, 1}, {sdpa_.heads_q, 1, 1, 1});
    return Then(kAdd, scores, Then(kMultiply, distance, slopes));
  }

  Descriptor WithinLengths(Descriptor scores) {
    const Descriptor query = Place(scores, 2, kInt32), key = Place(scores, 3, kInt32);
    const Descriptor row_used = Truth(kLess, query, lengths_q_), key_used = Truth(kLess, key, lengths_kv_);
    return KeptWhere(Truth(kAnd, row_used, key_used), scores);
  }

  // key <= query + shift + right.
  Descriptor UpTo(Descriptor scores) {
    Descriptor query = Place(scores, 2, kFloat);
    const Descriptor key = Place(scores, 3, kFloat);
    if (sdpa_.bottom_right) {
      query = Shifted(kAdd, kInt32, query, sdpa_.lengths ? lengths_kv_ : graph_.Value(kUidKeys, kInt32));
      query = Shifted(kSubtract, kInt32, query, sdpa_.lengths ? lengths_q_ : graph_.Value(kUidRows, kInt32));
    }
    if (BoundsOf(sdpa_).right != 0) query = Shifted(kAdd, kInt32, query, graph_.Value(kUidRight, kInt32));
    return KeptWhere(Truth(kGreaterEqual, query, key), scores);
  }

  // key + left > query + shift.
  Descriptor From(Descriptor scores) {
    const Descriptor query = Place(scores, 2, kFloat);
    Descriptor key = Place(scores, 3, kFloat);
    const bool from_end = sdpa_.bottom_right && sdpa_.lengths;
    const DataType type = from_end ? kInt32 : kFloat;
    key = Shifted(kAdd, type, key, graph_.Value(kUidLeft, type));
    if (from_end) {
      key = Shifted(kSubtract, kInt32, key, lengths_kv_);
      key = Shifted(kAdd, kInt32, key, lengths_q_);
    }
    return KeptWhere(Truth(kGreater, key, query), scores);
  }

  // --- softmax -------------------------------------------------------------------------------------------------------

  Descriptor OfRows() { return graph_.Virtual(kFloat, rows_); }
  Descriptor RowOp(PointwiseMode mode, Descriptor x, Descriptor b, Descriptor y) {
    graph_.Pointwise(mode, kFloat, x, b, y);
    return y;
  }

  Descriptor Softmax(Descriptor scores) {
    Descriptor largest = OfRows();
    graph_.Reduce(kReduceMaximum, scores, largest);
    Descriptor sinks = nullptr;
    if (sdpa_.sinks) {
      sinks = graph_.Tensor(kUidSinks, kFloat, {1, sdpa_.heads_q, 1, 1}, {sdpa_.heads_q, 1, 1, 1});
      largest = RowOp(kMaximum, largest, sinks, OfRows());
    }
    const Descriptor powers = Then(kExponential, Then(kSubtract, scores, largest), nullptr);
    Descriptor sum = OfRows();
    if (sdpa_.sinks) {
      const Descriptor of_sinks = RowOp(kExponential, RowOp(kSubtract, sinks, largest, OfRows()), nullptr, OfRows());
      const Descriptor of_keys = OfRows();
      graph_.Reduce(kReduceAdd, powers, of_keys);
      RowOp(kAdd, of_keys, of_sinks, sum);
    } else {
      graph_.Reduce(kReduceAdd, powers, sum);
    }
    const Descriptor logarithm = RowOp(kLogarithm, sum, nullptr, OfRows());
    RowOp(kAdd, largest, logarithm, sdpa_.statistics ? Statistics() : OfRows());
    if (!sdpa_.dropout && !sdpa_.fp8()) return Weights(kDivide, powers, sum);
    Descriptor weights = Then(kDivide, powers, sum);
    if (sdpa_.dropout) {
      weights = Then(kMultiply, weights, graph_.Value(kUidKept, kFloat));
      const int64_t row = sdpa_.mask_row(), head = sdpa_.seq_q * row;
      return Weights(kMultiply, weights,
                     graph_.Tensor(kUidDropoutMask, sdpa_.type, scores_, {sdpa_.heads_q * head, head, row, 1}));
    }
    graph_.Reduce(kReduceLargestMagnitude, weights, Number(kUidLargestP));
    return Weights(kMultiply, weights, Number(kUidStoreP));
  }
  // As the second product takes them.
  Descriptor Weights(PointwiseMode mode, Descriptor x, Descriptor b) {
    const Descriptor y = graph_.Virtual(sdpa_.type, scores_);
    graph_.Pointwise(mode, kFloat, x, b, y);
    return y;
  }

  void Fp8Output(Descriptor weights, Descriptor v) {
    const Dims dims = {sdpa_.batch, sdpa_.heads_q, sdpa_.seq_q, sdpa_.dim_v};
    const auto times = [&](Descriptor x, TensorUid uid) {
      const Descriptor y = graph_.Virtual(kFloat, dims);
      graph_.Pointwise(kMultiply, kFloat, x, Number(uid), y);
      return y;
    };
    const Descriptor sums = graph_.Virtual(kFloat, dims);
    graph_.Matmul(weights, v, sums, lengths_q_, nullptr, lengths_kv_);
    const Descriptor values = times(times(sums, kUidScaleP), kUidScaleV);
    graph_.Pointwise(kMultiply, kFloat, values, Number(kUidStoreO), O());
    graph_.Reduce(kReduceLargestMagnitude, values, Number(kUidLargestO));
  }

  const Sdpa& sdpa_;
  Graph& graph_;
  const Dims scores_, rows_;
  Descriptor lengths_q_ = nullptr, lengths_kv_ = nullptr, minus_infinity_ = nullptr;
};

}  // namespace

SdpaBounds BoundsOf(const Sdpa& sdpa) {
  SdpaBounds bounds;
  bounds.rows = static_cast<int32_t>(sdpa.seq_q), bounds.keys = static_cast<int32_t>(sdpa.seq_kv);
  if (!sdpa.causal && sdpa.window_right > 0) bounds.right = static_cast<int32_t>(sdpa.window_right);
  if (sdpa.window_left < 0) return bounds;
  bounds.left_whole = static_cast<int32_t>(sdpa.window_left) + 1;
  const int64_t shift = sdpa.bottom_right && !sdpa.lengths ? sdpa.seq_kv - sdpa.seq_q : 0;
  bounds.left = static_cast<float>(sdpa.window_left + 1 - shift);
  return bounds;
}

void WriteSdpa(const Sdpa& sdpa, Graph* graph) {
  Writer writer(sdpa, graph);
  if (sdpa.unified)
    writer.Unified();
  else
    writer.Composite();
}

}  // namespace sage::cudnn
