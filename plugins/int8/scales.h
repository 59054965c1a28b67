// scales.h: a caller's scales of Q, K or V: which one belongs to which token, and that they are numbers.
#ifndef SAGE_PLUGINS_INT8_SCALES_H_
#define SAGE_PLUGINS_INT8_SCALES_H_

#include <cstdint>

#include "cpu/attention.h"
#include "kernels.h"

namespace sage::int8 {

// SAGE_ATTN_SCALE_Q, _K or _V of a call.
class Scales {
 public:
  Scales() = default;
  Scales(const cpu::AttentionCall& call, uint32_t slot, uint32_t granularity);

  bool per_channel() const { return granularity_ == SAGE_PER_CHANNEL; }
  // Of tokens [first, first + count) of the sequence b, `packed` being the row of its token 0 where rows are packed.
  // Per channel: 1.
  void OfTokens(int64_t b, int64_t head, int64_t packed, int64_t first, int64_t count, float* to) const;
  // Of a channel; not per channel: 1.
  float OfChannel(int64_t b, int64_t head, int64_t channel) const;

  // Where the scales of the first `count` tokens, and of the channels, are not all finite and above 0: the sentence.
  bool Good(const Int8Kernels& kernels, int64_t b, int64_t head, int64_t packed, int64_t count) const;
  sage_status Refuse(const char* name, int64_t b, int64_t head, int64_t packed, int64_t count, sage_error* err) const;

 private:
  // The scales along the last axis that some tokens have: their first, how many, and the bytes from one to the next.
  struct Line {
    const char* at;
    int64_t count, step;
  };
  Line LineOf(int64_t b, int64_t head, int64_t packed, int64_t first, int64_t count) const;

  const sage_tensor* tensor_ = nullptr;
  uint32_t granularity_ = 0, block_ = 0;
};

}  // namespace sage::int8

#endif  // SAGE_PLUGINS_INT8_SCALES_H_
