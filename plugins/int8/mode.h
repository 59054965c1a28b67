// mode.h: how attention is computed in 8 bits: four ways, and which one an op gets.
//
//   per_tensor  Q, K and V with one scale each; integer dots, weights and their product with V in f32. The plainest
//               scheme, weak where one outlier sets the scale.
//   qk8_pv16    Q and K with a scale for each token, K less its mean over the sequence; weights and V in bf16 or f32.
//   full        the same dots; V with scales of channels and of tokens, the latter multiplied into the weights, which
//               become 8-bit codes by the largest of each block of keys. The sum of the weights stays in f32.
//   kv_cache    Q as it is, K and V in 8 bits with their scales: dots of Q with what they stand for, in f32.
//
// The first three take floats, which are quantised here, or codes with their caller's scales; kv_cache takes codes. Of
// codes all but `full` are exact. auto: kv_cache for a float Q with codes, qk8_pv16 where EXACT is asked for, else
// full. After SageAttention (Zhang et al., 2025, arXiv:2410.02367) and SageAttention 2 (arXiv:2411.10958).
#ifndef SAGE_PLUGINS_INT8_MODE_H_
#define SAGE_PLUGINS_INT8_MODE_H_

#include <cstdint>
#include <string_view>

#include "cpu/family.h"

namespace sage::int8 {

using support::OpView;

enum class Mode : uint32_t { kAuto, kPerTensor, kQk8Pv16, kFull, kKvCache };

const char* ModeName(Mode mode);  // "auto", "per_tensor", "qk8_pv16", "full", "kv_cache": the option "mode"
bool ModeFromName(std::string_view name, Mode* out);

// What an attention op of supported types and scales gets where the option says `wanted`. False: *answer is a NO with
// its reason.
bool ModeFor(Mode wanted, const OpView& view, Mode* out, sage_answer* answer);

}  // namespace sage::int8

#endif  // SAGE_PLUGINS_INT8_MODE_H_
