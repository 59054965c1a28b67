// attention.cc: the formula of sage/attention.h, written down: a row of scores, its softmax in two passes, the weighted
// sum of V. Everything is float64; P and tiles exist nowhere, so SCALE_P, block_q, block_kv and the algorithm have
// nothing to act on.
#include <algorithm>

#include "attention_geometry.h"
#include "common/philox.h"

namespace sage::reference {
namespace {

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

class RowKernel {
 public:
  RowKernel(const Job& job, const AttentionGeometry& geometry)
      : job_(job), geometry_(geometry), attributes_(job.planned.attributes.attention) {
    scale_ = (job.features & SAGE_ATTN_F_SCALE) != 0 ? attributes_.scale
                                                     : 1.0 / std::sqrt(static_cast<double>(geometry.dim_qk));
    if ((job.features & SAGE_ATTN_F_DROPOUT) != 0) {
      const sage_tensor& philox = job.Slot(SAGE_ATTN_PHILOX);
      seed_ = ReadRaw<uint64_t>(AddressOf(philox, 0));
      offset_ = ReadRaw<uint64_t>(AddressOf(philox, philox.stride[0]));
    }
  }

  // scratch: dim_qk + max(dim_qk, dim_v) + dim_v + seq_kv doubles.
  void Run(const QueryRow& row, double* scratch) const {
    double* q = scratch;
    double* kv = q + geometry_.dim_qk;
    double* out = kv + std::max(geometry_.dim_qk, geometry_.dim_v);
    double* s = out + geometry_.dim_v;
    const int64_t keys = row.used() ? row.kv_len : 0;
    Scores(row, keys, q, kv, s);
    Softmax(row, keys, s);
    WeightedSum(row, keys, s, kv, out);
  }

 private:
  // s[j] for j < keys, -inf where not visible. K of an invisible key is only looked at if SCORES wants it.
  void Scores(const QueryRow& row, int64_t keys, double* q, double* kv, double* s) const {
    const bool scores_out = job_.Has(SAGE_ATTN_SCORES);
    const int64_t g = row.h / (geometry_.heads_q / geometry_.heads_k);
    const sage_tensor &q_tensor = job_.Slot(SAGE_ATTN_Q), &k_tensor = job_.Slot(SAGE_ATTN_K);
    ReadRow(q_tensor, geometry_.QueryOffset(q_tensor, row), q_tensor.stride[q_tensor.rank - 1], geometry_.dim_qk, q);
    Dequantise(SAGE_ATTN_SCALE_Q, attributes_.granularity_q, row.b, row.h, row.i, row.q_row, geometry_.dim_qk, q);
    for (int64_t j = 0; j < keys; ++j) {
      const bool visible = geometry_.Visible(row, j);
      s[j] = kMinusInfinity;
      if (!visible && !scores_out) continue;
      ReadRow(k_tensor, geometry_.KeyOffset(k_tensor, row.b, g, j), k_tensor.stride[k_tensor.rank - 1],
              geometry_.dim_qk, kv);
      Dequantise(SAGE_ATTN_SCALE_K, attributes_.granularity_k, row.b, g, j, geometry_.PackedKey(row.b, j),
                 geometry_.dim_qk, kv);
      const double score = Score(row, j, q, kv);
      if (scores_out) WriteScore(SAGE_ATTN_SCORES, row, j, score);
      if (visible) s[j] = score;
    }
    // Past the lengths there are no keys and no scores: 0, so that a next layer's BIAS stays finite.
    for (int64_t j = keys; scores_out && j < geometry_.seq_kv; ++j) WriteScore(SAGE_ATTN_SCORES, row, j, 0.0);
  }

  double Score(const QueryRow& row, int64_t j, const double* q, const double* k) const {
    double score = 0;
    for (int64_t d = 0; d < geometry_.dim_qk; ++d) score += q[d] * k[d];
    score *= scale_;
    if (attributes_.softcap > 0) score = attributes_.softcap * std::tanh(score / attributes_.softcap);
    if (job_.Has(SAGE_ATTN_BIAS)) score += ReadAt(job_.Slot(SAGE_ATTN_BIAS), ScoreOffset(SAGE_ATTN_BIAS, row, j));
    if (job_.Has(SAGE_ATTN_ALIBI)) {
      const sage_tensor& slopes = job_.Slot(SAGE_ATTN_ALIBI);
      const int64_t distance = row.i + row.shift - j;
      score -= ReadAt(slopes, row.h * slopes.stride[0]) * std::fabs(static_cast<double>(distance));
    }
    return score;
  }

  // s becomes p; LSE and WEIGHTS are written.
  void Softmax(const QueryRow& row, int64_t keys, double* s) const {
    double sink = kMinusInfinity;
    if (job_.Has(SAGE_ATTN_SINKS)) {
      const sage_tensor& sinks = job_.Slot(SAGE_ATTN_SINKS);
      sink = ReadAt(sinks, row.h * sinks.stride[0]);
    }
    double largest = sink;
    for (int64_t j = 0; j < keys; ++j)
      if (s[j] > largest || std::isnan(s[j])) largest = s[j];
    const bool nothing = largest == kMinusInfinity;  // no key seen and no sink
    double sum = nothing ? 0.0 : std::exp(sink - largest);
    for (int64_t j = 0; j < keys && !nothing; ++j) sum += s[j] == kMinusInfinity ? 0.0 : std::exp(s[j] - largest);
    for (int64_t j = 0; j < keys; ++j) s[j] = s[j] == kMinusInfinity ? kUnseen : std::exp(s[j] - largest) / sum;
    if (job_.Has(SAGE_ATTN_LSE)) {
      const sage_tensor& lse = job_.Slot(SAGE_ATTN_LSE);
      const int64_t offset = geometry_.varlen ? row.h * lse.stride[0] + row.q_row * lse.stride[1]
                                              : row.b * lse.stride[0] + row.h * lse.stride[1] + row.i * lse.stride[2];
      WriteAt(lse, offset, nothing ? kMinusInfinity : largest + std::log(sum));
    }
    if (!job_.Has(SAGE_ATTN_WEIGHTS)) return;
    for (int64_t j = 0; j < geometry_.seq_kv; ++j)
      WriteScore(SAGE_ATTN_WEIGHTS, row, j, j < keys && s[j] != kUnseen ? s[j] : 0.0);
  }

  // V of an unseen key is not read: 0 * NaN would be NaN.
  void WeightedSum(const QueryRow& row, int64_t keys, const double* p, double* kv, double* out) const {
    const sage_tensor &v_tensor = job_.Slot(SAGE_ATTN_V), &o = job_.Slot(SAGE_ATTN_O);
    const int64_t g = row.h / (geometry_.heads_q / geometry_.heads_v);
    std::fill(out, out + geometry_.dim_v, 0.0);
    for (int64_t j = 0; j < keys; ++j) {
      if (p[j] == kUnseen) continue;
      const double factor = KeptFactor(row, j);
      if (factor == 0) continue;
      ReadRow(v_tensor, geometry_.KeyOffset(v_tensor, row.b, g, j), v_tensor.stride[v_tensor.rank - 1], geometry_.dim_v,
              kv);
      Dequantise(SAGE_ATTN_SCALE_V, attributes_.granularity_v, row.b, g, j, geometry_.PackedKey(row.b, j),
                 geometry_.dim_v, kv);
      for (int64_t d = 0; d < geometry_.dim_v; ++d) out[d] += factor * p[j] * kv[d];
    }
    const int64_t offset = geometry_.QueryOffset(o, row);
    for (int64_t d = 0; d < geometry_.dim_v; ++d) {
      const double scale =
          geometry_.ScaleAt(SAGE_ATTN_SCALE_O, attributes_.granularity_o, row.b, row.h, row.i, row.q_row, d);
      WriteAt(o, offset + d * o.stride[o.rank - 1], out[d] == 0 ? out[d] : out[d] / scale);
    }
  }

  // Dropout: 1/(1-p) or 0; 1 without it.
  double KeptFactor(const QueryRow& row, int64_t j) const {
    if ((job_.features & SAGE_ATTN_F_DROPOUT) == 0) return 1.0;
    const int64_t n = ((row.b * geometry_.heads_q + row.h) * geometry_.seq_q + row.i) * geometry_.seq_kv + j;
    const uint32_t word = plugins::PhiloxWord(seed_, offset_, static_cast<uint64_t>(n));
    return static_cast<double>(word) >= attributes_.dropout_p * 0x1p32 ? 1.0 / (1.0 - attributes_.dropout_p) : 0.0;
  }

  void Dequantise(uint32_t slot, uint32_t granularity, int64_t b, int64_t head, int64_t s, int64_t packed_row,
                  int64_t dim, double* values) const {
    if (granularity == 0) return;
    for (int64_t d = 0; d < dim; ++d) values[d] *= geometry_.ScaleAt(slot, granularity, b, head, s, packed_row, d);
  }

  int64_t ScoreOffset(uint32_t slot, const QueryRow& row, int64_t j) const {
    const int64_t index[4] = {row.b, row.h, row.i, j};
    return OffsetOf(job_.Slot(slot), index);
  }
  void WriteScore(uint32_t slot, const QueryRow& row, int64_t j, double value) const {
    WriteAt(job_.Slot(slot), ScoreOffset(slot, row, j), value);
  }

  static constexpr double kUnseen = -1.0;  // in place of a probability

  const Job& job_;
  const AttentionGeometry& geometry_;
  const sage_attention_attributes& attributes_;
  double scale_;
  uint64_t seed_ = 0, offset_ = 0;
};

// K_NEW and V_NEW behind the keys in use. Rows write to places of their own: CheckAttentionIndices has seen to that.
sage_status Append(const Job& job, const AttentionGeometry& geometry) {
  const struct { uint32_t from, to; } operands[] = {{SAGE_ATTN_K_NEW, SAGE_ATTN_K}, {SAGE_ATTN_V_NEW, SAGE_ATTN_V}};
  return ForEach(job, geometry.batch, 1e5, [&](int64_t b, uint32_t) {
    for (const auto& [from, to] : operands) {
      const sage_tensor &source = job.Slot(from), &cache = job.Slot(to);
      const uint32_t source_last = source.rank - 1, cache_last = cache.rank - 1;
      for (int64_t head = 0; head < cache.shape[1]; ++head) {
        for (int64_t t = 0; t < geometry.NewKeys(b); ++t) {
          const int64_t in = geometry.varlen ? (geometry.QueryBegin(b) + t) * source.stride[0] + head * source.stride[1]
                                             : b * source.stride[0] + head * source.stride[1] + t * source.stride[2];
          const int64_t out = geometry.KeyOffset(cache, b, head, geometry.KeysBefore(b) + t);
          for (int64_t d = 0; d < cache.shape[cache_last]; ++d)
            std::memcpy(AddressOf(cache, out + d * cache.stride[cache_last]),
                        AddressOf(source, in + d * source.stride[source_last]), support::DtypeSize(cache.dtype));
        }
      }
    }
  });
}

}  // namespace

sage_status RunAttention(const Job& job) {
  const char* why = nullptr;
  const sage_status indices = support::CheckAttentionIndices(job.planned.attributes.attention, job.features,
                                                             job.args.slots, job.args.num_slots, &why);
  if (indices != SAGE_OK) return sage_fail(job.err, indices, "ATTENTION: %s", why);
  const AttentionGeometry geometry(job.planned, job.args.slots, job.args.num_slots);
  if (job.Has(SAGE_ATTN_K_NEW)) {
    const sage_status appended = Append(job, geometry);
    if (appended != SAGE_OK) return appended;
  }
  const RowKernel kernel(job, geometry);
  const double operations = static_cast<double>(geometry.seq_kv * (geometry.dim_qk + geometry.dim_v + 32)) * 2.0;
  return ForEach(job, geometry.row_count(), operations,
                 [&](int64_t item, uint32_t worker) { kernel.Run(geometry.RowAt(item), job.Scratch(worker)); });
}

}  // namespace sage::reference
