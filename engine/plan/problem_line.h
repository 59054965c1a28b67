// problem_line.h: a problem string taken apart: an attention line as sizes and options, before it means anything.
#ifndef SAGE_ENGINE_PLAN_PROBLEM_LINE_H_
#define SAGE_ENGINE_PLAN_PROBLEM_LINE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sage/ops.h"
#include "status.h"

namespace sage {

inline constexpr int64_t kMaxLineLength = int64_t{1} << 40;  // of any one number

// "64x128" or "64x128/bh/17".
struct Tiles {
  int64_t q = 0, kv = 0, count = -1;
  bool shared_batch = false, shared_heads = false;
};

struct Scale {
  uint32_t granularity = 0;
  bool shared = false;
};

// A line of attention, as read.
struct AttentionLine {
  int64_t b = 1, hq = 0, hkv = -1, hv = -1, sq = -1, skv = -1, d = 0, dv = -1;
  sage_dtype dtype = 0, kv = 0, o = 0, bias_dtype = 0;
  std::string layout = "bhsd", bias, mask, bitmask;
  sage_attention_attributes a{};
  bool alibi = false, sinks = false, blockmask = false, csr = false, varlen = false, qlens = false, kvlens = false;
  bool append = false, lse = false, weights = false, scores = false;
  Tiles block_tiles, csr_tiles;
  int64_t page = 0, pages = -1, append_rows = -1;
  int32_t device_type = SAGE_CPU, device_id = 0;
  Scale scales[5];
  uint32_t requirements = 0, accuracy = 0, dynamic_axes = 0;
  uint64_t seed = 0;
  int64_t mincut = 0;  // parts; 0 = masks are random
  uint32_t distribution = 0;
};

// "b2.hq8.sq128.d64.f32:causal=br": every token known, once, and in its range.
Status ReadAttentionLine(std::string_view text, AttentionLine* out);

// Options that every kind has. *known = false when this is none of them.
Status ReadCommonOption(std::string_view token, std::string_view key, std::string_view value, uint32_t* requirements,
                        uint32_t* accuracy, uint32_t* dynamic_axes, uint64_t* seed, bool* known);
Status ReadDtypeWord(std::string_view token, std::string_view value, sage_dtype* out);
// The error of every bad token.
Status BadToken(std::string_view token, std::string_view expected);
std::vector<std::string_view> SplitLine(std::string_view text, char separator);

}  // namespace sage

#endif  // SAGE_ENGINE_PLAN_PROBLEM_LINE_H_
