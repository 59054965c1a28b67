// q15_block.cc: see q15_block.h.
#include "q15_block.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "cpu/numbers.h"

namespace sage::int8 {
namespace {

constexpr int64_t kCode = static_cast<int64_t>(sizeof(int16_t));

// length codes, step bytes apart, and zeros up to padded.
void CopyCodes(const char* from, int64_t step, int64_t length, int64_t padded, int16_t* to) {
  if (step == kCode)
    std::memcpy(to, from, static_cast<size_t>(length * kCode));
  else
    for (int64_t c = 0; c < length; ++c) to[c] = cpu::ReadAs<int16_t>(from + c * step);
  std::fill(to + length, to + padded, int16_t{0});
}

int64_t StepOf(const sage_tensor& tensor) { return tensor.stride[tensor.rank - 1] * cpu::ElementSize(tensor.dtype); }

}  // namespace

Q15Block::Q15Block(Q15Call& call, int64_t b, int64_t group, int64_t first, int64_t count, char* scratch)
    : call_(call),
      design_(call.design),
      sequence_(call.attention.Sequence(b)),
      b_(b),
      first_head_(group * call.attention.sizes.group),
      first_(first),
      count_(count),
      queries_(reinterpret_cast<int16_t*>(scratch + design_.scratch.queries)),
      tile_(reinterpret_cast<int16_t*>(scratch + design_.scratch.tile)),
      scores_(reinterpret_cast<int64_t*>(scratch + design_.scratch.scores)),
      sums_(reinterpret_cast<int64_t*>(scratch + design_.scratch.sums)),
      low_(reinterpret_cast<int64_t*>(scratch + design_.scratch.low)),
      high_(reinterpret_cast<int64_t*>(scratch + design_.scratch.high)),
      weight_sums_(reinterpret_cast<uint64_t*>(scratch + design_.scratch.weight_sums)) {}

Q15Block::Row Q15Block::At(int64_t r) const {
  const int64_t place = first_ + r;
  return {first_head_ + place / sequence_.q_rows, place % sequence_.q_rows};
}

void Q15Block::See(int64_t r) {
  const int64_t query = At(r).query;
  low_[r] = high_[r] = 0;
  if (query >= sequence_.q_used) return;
  const sage_attention_attributes& attributes = design_.attention.view->attributes.attention;
  const int64_t position = query + sequence_.shift, keys = sequence_.k_used;
  int64_t low = 0, high = keys;
  if (call_.attention.Is(SAGE_ATTN_F_CAUSAL)) high = std::min(high, position + 1);
  // Compared before they are added: a window may be as wide as its number allows.
  if (call_.attention.Is(SAGE_ATTN_F_WINDOW_LEFT) && attributes.window_left < position)
    low = position - attributes.window_left;
  if (call_.attention.Is(SAGE_ATTN_F_WINDOW_RIGHT) && attributes.window_right < keys - position)
    high = std::min(high, position + attributes.window_right + 1);
  if (low >= high) return;
  low_[r] = low, high_[r] = high;
}

void Q15Block::LoadQueries() {
  const sage_tensor& q = call_.attention.Slot(SAGE_ATTN_Q);
  for (int64_t r = 0; r < count_; ++r) {
    const Row row = At(r);
    CopyCodes(call_.attention.QueryRow(SAGE_ATTN_Q, sequence_, b_, row.head, row.query), StepOf(q),
              call_.attention.sizes.dim_qk, design_.dim_padded, queries_ + r * design_.dim_padded);
  }
}

void Q15Block::LoadKeys(int64_t first, int64_t count) {
  const cpu::AttentionSizes& sizes = call_.attention.sizes;
  const int64_t step = StepOf(call_.attention.Slot(SAGE_ATTN_K)), dim = design_.dim_padded;
  const int64_t head = first_head_ / (sizes.heads_q / sizes.heads_k);
  for (int64_t i = 0; i < count; ++i)
    CopyCodes(call_.attention.KeyRow(SAGE_ATTN_K, sequence_, b_, head, first + i), step, sizes.dim_qk, dim,
              tile_ + i * dim);
  std::fill(tile_ + count * dim, tile_ + RoundUp(count, kQ15KeyStep) * dim, int16_t{0});
}

// Two keys' codes side by side.
void Q15Block::LoadValues(int64_t first, int64_t count) {
  const cpu::AttentionSizes& sizes = call_.attention.sizes;
  const int64_t step = StepOf(call_.attention.Slot(SAGE_ATTN_V)), dim = design_.dim_v_padded;
  const int64_t head = first_head_ / (sizes.heads_q / sizes.heads_v);
  for (int64_t i = 0; i < count; i += 2) {
    const bool both = i + 1 < count;
    const char* const a = call_.attention.KeyRow(SAGE_ATTN_V, sequence_, b_, head, first + i);
    const char* const b = both ? call_.attention.KeyRow(SAGE_ATTN_V, sequence_, b_, head, first + i + 1) : a;
    int16_t* const to = tile_ + i * dim;
    for (int64_t c = 0; c < sizes.dim_v; ++c) {
      to[2 * c] = cpu::ReadAs<int16_t>(a + c * step);
      to[2 * c + 1] = both ? cpu::ReadAs<int16_t>(b + c * step) : int16_t{0};
    }
    std::fill(to + 2 * sizes.dim_v, to + 2 * dim, int16_t{0});
  }
}

bool Q15Block::Scores() {
  int64_t computed = 0;
  for (int64_t first = begin_; first < end_; first += design_.keys) {
    if (call_.attention.Cancelled()) return false;
    const int64_t count = std::min(design_.keys, sequence_.k_used - first);
    bool loaded = false;
    for (int64_t r = 0; r < count_; ++r) {
      if (!Sees(r, first, count)) continue;
      if (!loaded) LoadKeys(first, count);
      loaded = true;
      design_.kernels->scores(queries_ + r * design_.dim_padded, tile_, design_.dim_padded, RoundUp(count, kQ15KeyStep),
                              scores_ + r * design_.score_stride + first);
    }
    computed += loaded ? 1 : 0;
  }
  call_.attention.CountTiles(computed, RoundUp(sequence_.k_used, design_.keys) / design_.keys - computed);
  return true;
}

void Q15Block::Weigh() {
  for (int64_t r = 0; r < count_; ++r) {
    const int64_t low = low_[r], high = high_[r];
    if (low == high) continue;
    int64_t* const row = scores_ + r * design_.score_stride;
    const ScoreFactor& factor = call_.score_factors[b_ * call_.attention.sizes.heads_q + At(r).head];
    if (factor.negative)
      for (int64_t j = low; j < high; ++j) row[j] = -row[j];
    weight_sums_[r] =
        design_.kernels->weigh(row + low, high - low, design_.kernels->largest(row + low, high - low), factor);
    // What else there is in its tiles.
    std::fill(row + low / design_.keys * design_.keys, row + low, int64_t{0});
    std::fill(row + high, row + RoundUp(high, design_.keys) + 1, int64_t{0});
  }
}

bool Q15Block::Average() {
  std::fill_n(sums_, count_ * design_.dim_v_padded, int64_t{0});
  for (int64_t first = begin_; first < end_; first += design_.keys) {
    if (call_.attention.Cancelled()) return false;
    const int64_t count = std::min(design_.keys, sequence_.k_used - first);
    bool loaded = false;
    for (int64_t r = 0; r < count_; ++r) {
      if (!Sees(r, first, count)) continue;
      if (!loaded) LoadValues(first, count);
      loaded = true;
      design_.kernels->accumulate(scores_ + r * design_.score_stride + first, tile_, (count + 1) / 2,
                                  design_.dim_v_padded, sums_ + r * design_.dim_v_padded);
    }
  }
  return true;
}

void Q15Block::Write(int64_t r) const {
  const Row row = At(r);
  const sage_tensor& o = call_.attention.Slot(SAGE_ATTN_O);
  const int64_t step = StepOf(o), length = call_.attention.sizes.dim_v;
  char* to = call_.attention.QueryRow(SAGE_ATTN_O, sequence_, b_, row.head, row.query);
  const bool codes = o.dtype == SAGE_I16;
  if (low_[r] == high_[r]) {
    for (int64_t c = 0; c < length; ++c, to += step)
      codes ? cpu::WriteAs(to, int16_t{0}) : cpu::WriteFloat(o.dtype, to, 0.0);
    return;
  }
  const int64_t* const sums = sums_ + r * design_.dim_v_padded;
  const RowDivisor divisor(weight_sums_[r], call_.output_factors[b_ * call_.attention.sizes.heads_q + row.head]);
  if (codes) {
    for (int64_t c = 0; c < length; ++c, to += step) cpu::WriteAs(to, divisor.Code(sums[c]));
    return;
  }
  const double unit = std::ldexp(1.0, -divisor.shift());
  for (int64_t c = 0; c < length; ++c, to += step)
    cpu::WriteFloat(o.dtype, to, unit * static_cast<double>(divisor.Mantissa(sums[c])));
}

void Q15Block::Run() {
  begin_ = std::numeric_limits<int64_t>::max(), end_ = 0;
  for (int64_t r = 0; r < count_; ++r) {
    See(r);
    if (low_[r] == high_[r]) continue;
    begin_ = std::min(begin_, low_[r] / design_.keys * design_.keys);
    end_ = std::max(end_, high_[r]);
  }
  LoadQueries();
  if (!Scores()) return;
  Weigh();
  if (!Average()) return;
  for (int64_t r = 0; r < count_; ++r) Write(r);
}

}  // namespace sage::int8
