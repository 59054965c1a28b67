// operands.cc: see operands.h.
//
// Who works at a tile of keys, and in which order, changes nothing: means and scales are of one sequence and head,
// found by one worker. A row with a NaN or an Inf has a scale that is NaN and codes of 0: what sees it is NaN, all of
// its row; what does not see it is as it was. It counts in no mean.
#include "operands.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "codes.h"
#include "cpu/numbers.h"
#include "cpu/parallel.h"
#include "cpu/workspace_layout.h"
#include "panels.h"

namespace sage::int8 {
namespace {

using cpu::AttentionCall;
using cpu::AttentionDesign;
using cpu::AttentionSequence;
using cpu::ElementSize;

int64_t RoundUp(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

}  // namespace

OperandLayout::OperandLayout(Mode mode, const CodeForm& form, const AttentionDesign& design) {
  const cpu::AttentionSizes& sizes = design.bounds;
  const double batch = static_cast<double>(sizes.batch);
  const auto heads_k = static_cast<double>(sizes.heads_k), heads_v = static_cast<double>(sizes.heads_v);
  const int64_t keys = RoundUp(design.tile_keys, kPanel);
  cpu::WorkspaceLayout layout;
  const auto take = [&layout](double count, size_t size) { return layout.Take(count, static_cast<double>(size)); };
  const double per_sequence = std::ceil(static_cast<double>(design.longest_kv) / static_cast<double>(design.tile_keys));
  const double all_keys = static_cast<double>(sizes.seq_kv) / static_cast<double>(design.tile_keys);
  const double tile_count = sizes.packed_kv() ? std::ceil(all_keys) + batch : per_sequence * batch;
  take(1, sizeof(Operands));
  first_tiles_at = take(batch + 1, sizeof(int64_t));
  const bool lays = mode != Mode::kKvCache;
  means_at = take(lays ? batch * heads_k * static_cast<double>(PaddedRow(sizes.dim_qk)) : 0, sizeof(float));
  largest_at = take(mode == Mode::kPerTensor ? batch * (static_cast<double>(sizes.heads_q) + heads_k + heads_v) : 0,
                    sizeof(float));
  key_tile_bytes = lays ? keys / kPanel * PanelBytes(form, sizes.dim_qk) : 0;
  value_tile_bytes = mode == Mode::kFull ? ValueTileBytes(form, keys, sizes.dim_v) : 0;
  value_tile_bytes = RoundUp(value_tile_bytes, 64);
  keys_at = layout.Take(tile_count * heads_k, static_cast<double>(key_tile_bytes));
  values_at = layout.Take(tile_count * heads_v, static_cast<double>(value_tile_bytes));
  // A tile's rows as floats and as codes, scales of tokens, and of channels.
  const int64_t dim = PaddedRow(std::max(sizes.dim_qk, sizes.dim_v));
  scratch_bytes = lays ? RoundUp(dim * 4, 64) * 3 + RoundUp(keys * dim, 64) + RoundUp(keys * 4, 64) : 0;
  scratch_at = layout.Take(static_cast<double>(design.context->num_workers), static_cast<double>(scratch_bytes));
  bytes = layout.total();
}

// What one worker quantises with.
class Operands::Worker {
 public:
  Worker(const Operands& operands, uint32_t number) {
    const cpu::AttentionSizes& sizes = operands.call_.design.bounds;
    const int64_t dim = PaddedRow(std::max(sizes.dim_qk, sizes.dim_v));
    char* at =
        operands.workspace_ + operands.at_.scratch_at + number * static_cast<uint64_t>(operands.at_.scratch_bytes);
    row = reinterpret_cast<float*>(at);
    channels = reinterpret_cast<float*>(at += RoundUp(dim * 4, 64));
    inverses = reinterpret_cast<float*>(at += RoundUp(dim * 4, 64));
    scales = reinterpret_cast<float*>(at += RoundUp(dim * 4, 64));
    codes = reinterpret_cast<int8_t*>(at + RoundUp(RoundUp(operands.call_.design.tile_keys, kPanel) * 4, 64));
  }
  float *row, *channels, *inverses, *scales;
  int8_t* codes;
};

Operands::Operands(Mode mode, const Int8Kernels& kernels, const AttentionCall& call, char* workspace)
    : mode_(mode),
      kernels_(kernels),
      form_(kernels.form),
      call_(call),
      at_(mode, kernels.form, call.design),
      workspace_(workspace),
      first_tiles_(reinterpret_cast<int64_t*>(workspace + at_.first_tiles_at)),
      codes_q_(call.Slot(SAGE_ATTN_Q).dtype == SAGE_I8),
      codes_k_(call.Slot(SAGE_ATTN_K).dtype == SAGE_I8),
      codes_v_(call.Slot(SAGE_ATTN_V).dtype == SAGE_I8),
      smooth_(!codes_k_ && (mode == Mode::kFull || mode == Mode::kQk8Pv16)) {
  const sage_attention_attributes& attributes = call.design.view->attributes.attention;
  if (codes_q_) scales_q_ = Scales(call, SAGE_ATTN_SCALE_Q, attributes.granularity_q);
  if (codes_k_) scales_k_ = Scales(call, SAGE_ATTN_SCALE_K, attributes.granularity_k);
  if (codes_v_) scales_v_ = Scales(call, SAGE_ATTN_SCALE_V, attributes.granularity_v);
  first_tiles_[0] = 0;
  for (int64_t b = 0; b < call.sizes.batch; ++b) {
    const int64_t keys = call.Sequence(b).k_used, length = call.design.tile_keys;
    first_tiles_[b + 1] = first_tiles_[b] + (keys + length - 1) / length;
  }
}

const Scales& Operands::ScalesOf(uint32_t slot) const {
  return slot == SAGE_ATTN_Q ? scales_q_ : slot == SAGE_ATTN_K ? scales_k_ : scales_v_;
}

int64_t Operands::PackedRow(uint32_t slot, const AttentionSequence& sequence) const {
  return slot == SAGE_ATTN_Q ? sequence.q_begin : sequence.k_begin;
}

char* Operands::TileAt(uint64_t at, int64_t tile_bytes, int64_t heads, int64_t b, int64_t head, int64_t first) const {
  const int64_t tile = (first_tiles_[b] + first / call_.design.tile_keys) * heads + head;
  return workspace_ + at + static_cast<uint64_t>(tile * tile_bytes);
}

float* Operands::MeanOf(int64_t b, int64_t head) const {
  return reinterpret_cast<float*>(workspace_ + at_.means_at) +
         (b * call_.sizes.heads_k + head) * PaddedRow(call_.sizes.dim_qk);
}

// body(b, slot, head, worker) for every head of Q, K and V, by all workers.
template <class Body>
void Operands::ForHeads(const Body& body) const {
  const cpu::AttentionSizes& sizes = call_.sizes;
  const int64_t heads = sizes.heads_q + sizes.heads_k + sizes.heads_v;
  const cpu::AttentionFlavour& flavour = *call_.design.flavour;
  cpu::ParallelFor(call_.design.context->host, flavour.OperandNs(call_.design), sizes.batch * heads, 1,
                   [&](int64_t begin, int64_t end, uint32_t worker) {
                     for (int64_t i = begin; i < end; ++i) {
                       const int64_t b = i / heads, head = i % heads, of_v = head - sizes.heads_k;
                       // K and V, which have the most to do, come first.
                       if (of_v < 0)
                         body(b, uint32_t{SAGE_ATTN_K}, head, worker);
                       else if (of_v < sizes.heads_v)
                         body(b, uint32_t{SAGE_ATTN_V}, of_v, worker);
                       else
                         body(b, uint32_t{SAGE_ATTN_Q}, of_v - sizes.heads_v, worker);
                     }
                   });
}

sage_status Operands::Prepare(sage_error* err) {
  if (mode_ == Mode::kPerTensor) FindLargest();
  std::atomic<bool> good{true};
  ForHeads([&](int64_t b, uint32_t slot, int64_t head, uint32_t number) {
    const AttentionSequence sequence = call_.Sequence(b);
    const int64_t tokens = slot == SAGE_ATTN_Q ? sequence.q_used : sequence.k_used;
    if (!ScalesOf(slot).Good(kernels_, b, head, PackedRow(slot, sequence), tokens)) {
      good.store(false, std::memory_order_relaxed);
      return;
    }
    const Worker worker(*this, number);
    if (slot == SAGE_ATTN_K && PacksKeys()) LayKeys(b, head, worker);
    if (slot == SAGE_ATTN_V && PacksValues()) LayValueTiles(b, head, worker);
  });
  if (good.load(std::memory_order_relaxed)) return SAGE_OK;
  for (int64_t b = 0; b < call_.sizes.batch; ++b) {
    const AttentionSequence sequence = call_.Sequence(b);
    const struct {
      uint32_t slot;
      const char* name;
      int64_t heads, tokens;
    } operands[] = {{SAGE_ATTN_Q, "SCALE_Q", call_.sizes.heads_q, sequence.q_used},
                    {SAGE_ATTN_K, "SCALE_K", call_.sizes.heads_k, sequence.k_used},
                    {SAGE_ATTN_V, "SCALE_V", call_.sizes.heads_v, sequence.k_used}};
    for (const auto& [slot, name, heads, tokens] : operands)
      for (int64_t head = 0; head < heads; ++head)
        if (!ScalesOf(slot).Good(kernels_, b, head, PackedRow(slot, sequence), tokens))
          return ScalesOf(slot).Refuse(name, b, head, PackedRow(slot, sequence), tokens, err);
  }
  return SAGE_OK;
}

namespace {

// Rows of one head of Q, K or V as floats.
class Rows {
 public:
  Rows(const AttentionCall& call, uint32_t slot, const AttentionSequence& sequence, int64_t b, int64_t head)
      : call_(call), slot_(slot), sequence_(sequence), b_(b), head_(head), tensor_(call.Slot(slot)) {
    length_ = tensor_.shape[tensor_.rank - 1];
    step_ = tensor_.stride[tensor_.rank - 1] * ElementSize(tensor_.dtype);
  }
  int64_t count() const { return slot_ == SAGE_ATTN_Q ? sequence_.q_used : sequence_.k_used; }
  int64_t length() const { return length_; }
  const float* Read(int64_t i, float* room) const { return FloatRow(tensor_.dtype, At(i), step_, length_, room); }
  void ReadAsCodes(int64_t i, int8_t* to) const { ReadCodes(At(i), step_, length_, to); }

 private:
  const char* At(int64_t i) const {
    return slot_ == SAGE_ATTN_Q ? call_.QueryRow(slot_, sequence_, b_, head_, i)
                                : call_.KeyRow(slot_, sequence_, b_, head_, i);
  }
  const AttentionCall& call_;
  uint32_t slot_;
  const AttentionSequence& sequence_;
  int64_t b_, head_, length_ = 0, step_ = 0;
  const sage_tensor& tensor_;
};

// The mean of each channel over the rows that are finite, of values or of their magnitudes; 0 behind the last channel.
// row: room for one.
void Means(const Int8Kernels& kernels, const Rows& rows, bool magnitudes, float* row, float* mean) {
  const int64_t padded = PaddedRow(rows.length());
  std::fill_n(mean, padded, 0.0f);
  for (int64_t i = 0; i < rows.count(); ++i) kernels.add_row(rows.Read(i, row), magnitudes ? 1 : 0, padded, mean);
  int64_t counted = rows.count();
  // Some row is not, or a sum left the range: row by row then.
  if (!std::all_of(mean, mean + padded, [](float sum) { return std::isfinite(sum); })) {
    std::fill_n(mean, padded, 0.0f);
    counted = 0;
    for (int64_t i = 0; i < rows.count(); ++i) {
      const float* const x = rows.Read(i, row);
      if (!std::isfinite(kernels.prepare_row(x, nullptr, nullptr, padded, row))) continue;
      ++counted;
      kernels.add_row(row, magnitudes ? 1 : 0, padded, mean);
    }
  }
  const float part = 1.0f / static_cast<float>(std::max<int64_t>(counted, 1));
  // Sums of numbers near the end of the range may leave it: then nothing is taken off, or the channel's scale is 1.
  for (int64_t c = 0; c < padded; ++c) mean[c] = std::isfinite(mean[c]) ? mean[c] * part : 0.0f;
}

}  // namespace

void Operands::FindLargest() {
  const cpu::AttentionSizes& sizes = call_.sizes;
  auto* const found = reinterpret_cast<float*>(workspace_ + at_.largest_at);
  const int64_t heads = sizes.heads_q + sizes.heads_k + sizes.heads_v;
  const auto first = [&](uint32_t slot) {
    return slot == SAGE_ATTN_Q ? 0 : slot == SAGE_ATTN_K ? sizes.heads_q : sizes.heads_q + sizes.heads_k;
  };
  ForHeads([&](int64_t b, uint32_t slot, int64_t head, uint32_t number) {
    float& largest = found[b * heads + first(slot) + head];
    largest = 0;
    const bool codes = slot == SAGE_ATTN_Q ? codes_q_ : slot == SAGE_ATTN_K ? codes_k_ : codes_v_;
    if (codes) return;
    const AttentionSequence sequence = call_.Sequence(b);
    const Rows rows(call_, slot, sequence, b, head);
    const Worker worker(*this, number);
    for (int64_t i = 0; i < rows.count(); ++i) {
      const float* const x = rows.Read(i, worker.row);
      const float mine = kernels_.prepare_row(x, nullptr, nullptr, PaddedRow(rows.length()), worker.row);
      if (std::isfinite(mine)) largest = std::max(largest, mine);
    }
  });
  const auto scale = [&](uint32_t slot, int64_t count) {
    float largest = 0;
    for (int64_t b = 0; b < sizes.batch; ++b)
      for (int64_t head = 0; head < count; ++head) largest = std::max(largest, found[b * heads + first(slot) + head]);
    return ScaleOf(largest);
  };
  scale_q_ = scale(SAGE_ATTN_Q, sizes.heads_q);
  scale_k_ = scale(SAGE_ATTN_K, sizes.heads_k);
  scale_v_ = scale(SAGE_ATTN_V, sizes.heads_v);
}

void Operands::LayKeys(int64_t b, int64_t head, const Worker& worker) const {
  const AttentionSequence sequence = call_.Sequence(b);
  const Rows rows(call_, SAGE_ATTN_K, sequence, b, head);
  const int64_t length = rows.length(), padded = PaddedRow(length), panel_bytes = PanelBytes(form_, length);
  const float* const mean = smooth_ ? MeanOf(b, head) : nullptr;
  if (smooth_) Means(kernels_, rows, false, worker.row, MeanOf(b, head));
  for (int64_t first = 0; first < rows.count(); first += call_.design.tile_keys) {
    const int64_t count = std::min(call_.design.tile_keys, rows.count() - first);
    if (codes_k_) scales_k_.OfTokens(b, head, sequence.k_begin, first, count, worker.scales);
    char* panel = TileAt(at_.keys_at, at_.key_tile_bytes, call_.sizes.heads_k, b, head, first);
    for (int64_t key = 0; key < count; key += kPanel, panel += panel_bytes) {
      const int8_t* columns[kPanel] = {};
      float scales[kPanel] = {};
      for (int64_t i = 0; i < std::min(kPanel, count - key); ++i) {
        int8_t* const codes = worker.codes + i * padded;
        columns[i] = codes;
        if (codes_k_) {
          rows.ReadAsCodes(first + key + i, codes);
          scales[i] = worker.scales[key + i];
          continue;
        }
        const float* const x = rows.Read(first + key + i, worker.row);
        const float own = ScaleOf(kernels_.prepare_row(x, mean, nullptr, padded, worker.row));
        scales[i] = mode_ == Mode::kPerTensor && !std::isnan(own) ? scale_k_ : own;
        Encode(kernels_, worker.row, padded, scales[i], codes);
      }
      LayPanel(form_, columns, scales, length, panel);
    }
  }
}

void Operands::LayValueTiles(int64_t b, int64_t head, const Worker& worker) const {
  const AttentionSequence sequence = call_.Sequence(b);
  const Rows rows(call_, SAGE_ATTN_V, sequence, b, head);
  const int64_t length = rows.length(), padded = PaddedRow(length);
  float *const channels = worker.channels, *const inverses = worker.inverses;
  if (codes_v_) {
    for (int64_t c = 0; c < length; ++c) channels[c] = scales_v_.OfChannel(b, head, c);
  } else {
    // Numbers of which the tokens' scales are fractions: near them V's codes use their range.
    Means(kernels_, rows, true, worker.row, channels);
    for (int64_t c = 0; c < padded; ++c) {
      channels[c] = std::max(channels[c], 0x1p-100f);
      inverses[c] = 1.0f / channels[c];
    }
  }
  for (int64_t first = 0; first < rows.count(); first += call_.design.tile_keys) {
    const int64_t count = std::min(call_.design.tile_keys, rows.count() - first);
    if (codes_v_) scales_v_.OfTokens(b, head, sequence.k_begin, first, count, worker.scales);
    for (int64_t key = 0; key < count; ++key) {
      int8_t* const codes = worker.codes + key * padded;
      if (codes_v_) {
        rows.ReadAsCodes(first + key, codes);
        continue;
      }
      const float* const x = rows.Read(first + key, worker.row);
      worker.scales[key] = ScaleOf(kernels_.prepare_row(x, nullptr, inverses, padded, worker.row));
      Encode(kernels_, worker.row, padded, worker.scales[key], codes);
    }
    LayValues(form_, worker.codes, padded, count, length, worker.scales, channels,
              TileAt(at_.values_at, at_.value_tile_bytes, call_.sizes.heads_v, b, head, first));
  }
}

const char* Operands::Keys(int64_t b, int64_t head, int64_t first, int64_t* count) const {
  *count = std::min(call_.design.tile_keys, call_.Sequence(b).k_used - first);
  return TileAt(at_.keys_at, at_.key_tile_bytes, call_.sizes.heads_k, b, head, first);
}

const char* Operands::Values(int64_t b, int64_t head, int64_t first, int64_t* ld) const {
  *ld = PaddedKeys(std::min(call_.design.tile_keys, call_.Sequence(b).k_used - first));
  return TileAt(at_.values_at, at_.value_tile_bytes, call_.sizes.heads_v, b, head, first);
}

void Operands::PackQueries(const Queries& queries, char* to) const {
  float row[PaddedRow(kLongestHead)];
  int8_t codes[PaddedRow(kLongestHead)];
  const sage_tensor& q = call_.Slot(SAGE_ATTN_Q);
  const int64_t length = call_.sizes.dim_qk, padded = PaddedRow(length), row_bytes = RowBytes(form_, length);
  const int64_t per_key_head = call_.sizes.heads_q / call_.sizes.heads_k;
  // QueryTile has made the elements of a row neighbours.
  const int64_t step = ElementSize(q.dtype);
  for (int64_t r = 0; r < queries.count; ++r, to += row_bytes) {
    float scale = 0;
    if (codes_q_) {
      ReadCodes(queries.rows[r], step, length, codes);
      scales_q_.OfTokens(queries.b, queries.head[r], queries.sequence.q_begin, queries.query[r], 1, &scale);
    } else {
      const float* const x = FloatRow(q.dtype, queries.rows[r], step, length, row);
      const float own = ScaleOf(kernels_.prepare_row(x, nullptr, nullptr, padded, row));
      scale = mode_ == Mode::kPerTensor && !std::isnan(own) ? scale_q_ : own;
      Encode(kernels_, row, padded, scale, codes);
    }
    // Only floats are quantised less their mean, and Q is one then.
    const float* const mean = smooth_ ? MeanOf(queries.b, queries.head[r] / per_key_head) : nullptr;
    LayRow(form_, codes, length, scale, mean == nullptr ? 0 : kernels_.dot_rows(row, mean, padded), to);
  }
}

bool Operands::Converts(uint32_t slot) const {
  if (mode_ == Mode::kKvCache) return slot == SAGE_ATTN_K || slot == SAGE_ATTN_V;
  return slot == SAGE_ATTN_V && (mode_ == Mode::kPerTensor || (mode_ == Mode::kQk8Pv16 && codes_v_));
}

void Operands::Convert(uint32_t slot, const AttentionSequence& sequence, int64_t b, int64_t head, int64_t first,
                       int64_t count, const void* const* rows, int64_t length, float* to) const {
  // QueryTile has made the elements of a row neighbours.
  const sage_tensor& tensor = call_.Slot(slot);
  const Scales& scales = ScalesOf(slot);
  for (int64_t i = 0; i < count; ++i, to += length) {
    if (tensor.dtype == SAGE_I8) {
      float scale = 1;
      scales.OfTokens(b, head, PackedRow(slot, sequence), first + i, 1, &scale);
      const char* const codes = static_cast<const char*>(rows[i]);
      for (int64_t c = 0; c < length; ++c) to[c] = scale * static_cast<float>(static_cast<int8_t>(codes[c]));
      continue;
    }
    // Floats through codes of the one scale; a row that is not finite stays what it is.
    ReadFloats(tensor.dtype, rows[i], ElementSize(tensor.dtype), length, to);
    if (!std::all_of(to, to + length, [](float x) { return std::isfinite(x); })) continue;
    const float inverse = scale_v_ >= 0x1p-126f ? 1.0f / scale_v_ : 0.0f;
    constexpr float kRounder = 0x1.8p23f;  // added and taken off: to nearest even
    for (int64_t c = 0; c < length; ++c) {
      const float code = to[c] * inverse + kRounder;
      to[c] = scale_v_ * (code - kRounder);
    }
  }
  if (!scales.per_channel()) return;
  to -= count * length;
  for (int64_t c = 0; c < length; ++c) {
    // Few: a cache's V per channel is not read in place, so this is all there is.
    const float scale = scales.OfChannel(b, head, c);
    for (int64_t i = 0; i < count; ++i) to[i * length + c] *= scale;
  }
}

bool Operands::ReadInPlace() const { return mode_ == Mode::kKvCache && !scales_v_.per_channel(); }

void Operands::Factors(uint32_t slot, const AttentionSequence& sequence, int64_t b, int64_t head, int64_t first,
                       int64_t count, float* to) const {
  ScalesOf(slot).OfTokens(b, head, PackedRow(slot, sequence), first, count, to);
}

}  // namespace sage::int8
