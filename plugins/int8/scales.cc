// scales.cc: see scales.h.
#include "scales.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "cpu/numbers.h"
#include "sage/support/refuse.h"

namespace sage::int8 {
namespace {

constexpr int64_t kNext = sizeof(float);  // bytes to the next scale, where none lies between

}  // namespace

Scales::Scales(const cpu::AttentionCall& call, uint32_t slot, uint32_t granularity)
    : tensor_(granularity == 0 ? nullptr : &call.Slot(slot)),
      granularity_(granularity),
      block_(call.design.view->attributes.attention.scale_block) {}

Scales::Line Scales::LineOf(int64_t b, int64_t head, int64_t packed, int64_t first, int64_t count) const {
  const sage_tensor& t = *tensor_;
  const auto at = [&t](int64_t offset) {
    return static_cast<const char*>(t.data) + offset * static_cast<int64_t>(sizeof(float));
  };
  if (granularity_ == SAGE_PER_TENSOR) return {at(0), 1, 0};
  const int64_t entry = (t.shape[0] == 1 ? 0 : b) * t.stride[0];
  if (granularity_ == SAGE_PER_HEAD) return {at(entry + head * t.stride[1]), 1, 0};
  const int64_t step = t.stride[t.rank - 1] * static_cast<int64_t>(sizeof(float));
  if (granularity_ == SAGE_PER_TOKEN && t.rank == 2)  // [H,T]
    return {at(head * t.stride[0] + (packed + first) * t.stride[1]), count, step};
  const char* const row = at(entry + head * t.stride[1]);
  if (granularity_ == SAGE_PER_TOKEN) return {row + first * step, count, step};
  if (granularity_ == SAGE_PER_CHANNEL) return {row, t.shape[2], step};
  const int64_t begin = first / block_, end = count == 0 ? begin : (first + count - 1) / block_ + 1;
  return {row + begin * step, end - begin, step};
}

void Scales::OfTokens(int64_t b, int64_t head, int64_t packed, int64_t first, int64_t count, float* to) const {
  if (tensor_ == nullptr || per_channel()) return (void)std::fill_n(to, count, 1.0f);
  const Line line = LineOf(b, head, packed, first, count);
  if (line.step == 0 || line.count == 1) return (void)std::fill_n(to, count, cpu::ReadAs<float>(line.at));
  if (granularity_ == SAGE_PER_TOKEN) {
    if (line.step == kNext) {
      const auto bytes = static_cast<size_t>(count) * sizeof(float);
      std::memcpy(to, line.at, bytes);
      // The next tile's, which come from far away and are too few for the processor to see where they lead.
      const auto next = reinterpret_cast<uintptr_t>(line.at) + bytes;
      for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(reinterpret_cast<const void*>(next + i), 0, 2);
      return;
    }
    for (int64_t i = 0; i < count; ++i) to[i] = cpu::ReadAs<float>(line.at + i * line.step);
    return;
  }
  for (int64_t i = 0; i < count; ++i) {
    const int64_t block = (first + i) / block_ - first / block_;
    to[i] = cpu::ReadAs<float>(line.at + block * line.step);
  }
}

float Scales::OfChannel(int64_t b, int64_t head, int64_t channel) const {
  if (!per_channel()) return 1.0f;
  const Line line = LineOf(b, head, 0, 0, 0);
  return cpu::ReadAs<float>(line.at + channel * line.step);
}

bool Scales::Good(const Int8Kernels& kernels, int64_t b, int64_t head, int64_t packed, int64_t count) const {
  if (tensor_ == nullptr) return true;
  const Line line = LineOf(b, head, packed, 0, count);
  int64_t first = 0;
  if (line.step == kNext && reinterpret_cast<uintptr_t>(line.at) % alignof(float) == 0) {
    first = line.count / kPanel * kPanel;
    if (kernels.all_positive(reinterpret_cast<const float*>(line.at), first) == 0) return false;
  }
  for (int64_t i = first; i < line.count; ++i) {
    const auto scale = cpu::ReadAs<float>(line.at + i * line.step);
    if (!(std::isfinite(scale) && scale > 0)) return false;
  }
  return true;
}

sage_status Scales::Refuse(const char* name, int64_t b, int64_t head, int64_t packed, int64_t count,
                           sage_error* err) const {
  const Line line = LineOf(b, head, packed, 0, count);
  for (int64_t i = 0; i < line.count; ++i) {
    const auto scale = cpu::ReadAs<float>(line.at + i * line.step);
    if (std::isfinite(scale) && scale > 0) continue;
    return sage_fail(
        err, SAGE_E_INVALID_ARGUMENT,
        "attention: %s of batch entry %lld, head %lld, number %lld is %g; a scale is a finite number above "
        "0: value = scale x code",
        name, static_cast<long long>(b), static_cast<long long>(head), static_cast<long long>(i),
        static_cast<double>(scale));
  }
  return SAGE_OK;
}

}  // namespace sage::int8
