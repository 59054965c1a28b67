// problem_line.cc: the tokens of the problem string, each read or refused by name.
#include "plan/problem_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <set>
#include <span>

#include "plan/problem_grammar.h"

namespace sage {
namespace {

bool IndexOf(std::string_view value, std::span<const char* const> names, uint32_t* out) {
  for (uint32_t i = 0; i < names.size(); ++i) {
    if (value.empty() || value != names[i]) continue;
    *out = i;
    return true;
  }
  return false;
}

Status ReadLength(std::string_view token, std::string_view digits, int64_t* out) {
  int64_t value = 0;
  if (!ParseNumber(digits, &value) || value < 0 || value > kMaxLineLength)
    return BadToken(token, "a whole number from 0 to 2^40");
  *out = value;
  return Status();
}

Status ReadReal(std::string_view token, std::string_view value, double* out) {
  return ParseNumber(value, out) ? Status() : BadToken(token, "a number");
}

Status ReadTiles(std::string_view token, std::string_view value, bool counted, Tiles* out) {
  const char* expected =
      counted ? "ROWSxKEYS/bh/COUNT (1 for an axis that is shared)" : "ROWSxKEYS/bh (1 for a shared axis)";
  const auto parts = SplitLine(value, '/');
  const auto sizes = SplitLine(parts[0], 'x');
  if (sizes.size() != 2 || parts.size() > (counted ? 3u : 2u)) return BadToken(token, expected);
  SAGE_RETURN_IF_ERROR(ReadLength(token, sizes[0], &out->q));
  SAGE_RETURN_IF_ERROR(ReadLength(token, sizes[1], &out->kv));
  if (out->q < 1 || out->kv < 1 || out->q > UINT32_MAX || out->kv > UINT32_MAX) return BadToken(token, expected);
  if (parts.size() > 1) {
    const std::string_view front = parts[1];
    if (front.size() != 2 || (front[0] != 'b' && front[0] != '1') || (front[1] != 'h' && front[1] != '1'))
      return BadToken(token, expected);
    out->shared_batch = front[0] == '1';
    out->shared_heads = front[1] == '1';
  }
  return parts.size() > 2 ? ReadLength(token, parts[2], &out->count) : Status();
}

Status ReadPattern(std::string_view token, std::string_view value, std::string* out) {
  constexpr std::string_view kFull = "bhqk";
  if (value.empty()) value = kFull;
  bool right = value.size() == kFull.size();
  for (size_t i = 0; right && i < kFull.size(); ++i) right = value[i] == kFull[i] || value[i] == '1';
  if (!right) return BadToken(token, "bhqk with 1 for an axis that repeats, as b1qk");
  *out = value;
  return Status();
}

Status ReadAlignment(std::string_view token, std::string_view value, sage_attention_attributes* a) {
  const uint32_t alignment = value == "tl" ? SAGE_ALIGN_TOP_LEFT : value == "br" ? SAGE_ALIGN_BOTTOM_RIGHT : 0u;
  if (alignment == 0) return BadToken(token, "tl (top-left) or br (bottom-right)");
  if (a->alignment != 0 && a->alignment != alignment) return BadToken(token, "the alignment named before");
  a->alignment = alignment;
  return Status();
}

Status ReadWindow(std::string_view token, std::string_view value, sage_attention_attributes* a) {
  const auto sides = SplitLine(value, ':');
  if (sides.size() > 2) return BadToken(token, "LEFT, LEFT:RIGHT or *:RIGHT");
  if (sides[0] != "*") {
    SAGE_RETURN_IF_ERROR(ReadLength(token, sides[0], &a->window_left));
    a->features |= SAGE_ATTN_F_WINDOW_LEFT;
  } else if (sides.size() == 1) {
    return BadToken(token, "LEFT, LEFT:RIGHT or *:RIGHT");
  }
  if (sides.size() == 2 && sides[1] != "*") {
    SAGE_RETURN_IF_ERROR(ReadLength(token, sides[1], &a->window_right));
    a->features |= SAGE_ATTN_F_WINDOW_RIGHT;
  }
  return Status();
}

Status ReadScale(std::string_view token, std::string_view value, Scale* out) {
  const auto parts = SplitLine(value, '/');
  if (parts.size() > 2 || (parts.size() == 2 && parts[1] != "1") ||
      !IndexOf(parts[0], kGranularityNames, &out->granularity))
    return BadToken(token, "tensor|head|token|channel|block, with /1 where batch entries share it");
  out->shared = parts.size() == 2;
  return Status();
}

Status ReadOption(std::string_view token, AttentionLine* line) {
  const size_t equals = token.find('=');
  const std::string_view key = token.substr(0, equals);
  const std::string_view value = equals == std::string_view::npos ? std::string_view() : token.substr(equals + 1);
  bool known = false;
  SAGE_RETURN_IF_ERROR(ReadCommonOption(token, key, value, &line->requirements, &line->accuracy, &line->dynamic_axes,
                                        &line->seed, &known));
  if (known) return Status();
  sage_attention_attributes& a = line->a;
  const struct {
    std::string_view key;
    bool* flag;
  } flags[] = {{"alibi", &line->alibi},     {"sinks", &line->sinks},   {"varlen", &line->varlen},
               {"qlens", &line->qlens},     {"kvlens", &line->kvlens}, {"lse", &line->lse},
               {"weights", &line->weights}, {"scores", &line->scores}};
  for (const auto& [name, flag] : flags) {
    if (key != name) continue;
    if (equals != std::string_view::npos) return BadToken(token, fmt::format("{} without a value", name));
    *flag = true;
    return Status();
  }
  for (uint32_t i = 0; i < std::size(kScaleKeys); ++i)
    if (key == kScaleKeys[i]) return ReadScale(token, value, &line->scales[i]);
  if (key == "kv") return ReadDtypeWord(token, value, &line->kv);
  if (key == "o") return ReadDtypeWord(token, value, &line->o);
  if (key == "layout") {
    if (value != "bhsd" && value != "bshd" && value != "strided") return BadToken(token, "bhsd|bshd|strided");
    line->layout = value;
    return Status();
  }
  if (key == "device") {
    int64_t type = 0, id = 0;
    const auto parts = SplitLine(value, ':');
    if (parts.size() != 2 || !ParseNumber(parts[0], &type) || !ParseNumber(parts[1], &id) || type < 1 || type > 1000 ||
        id < 0 || id > 1000)
      return BadToken(token, "TYPE:ID, two numbers");
    line->device_type = static_cast<int32_t>(type), line->device_id = static_cast<int32_t>(id);
    return Status();
  }
  if (key == "scale") return a.features |= SAGE_ATTN_F_SCALE, ReadReal(token, value, &a.scale);
  if (key == "softcap") return ReadReal(token, value, &a.softcap);
  if (key == "dropout") return ReadReal(token, value, &a.dropout_p);
  if (key == "causal") return a.features |= SAGE_ATTN_F_CAUSAL, ReadAlignment(token, value, &a);
  if (key == "align") return ReadAlignment(token, value, &a);
  if (key == "window") return ReadWindow(token, value, &a);
  if (key == "bias") {
    const auto parts = SplitLine(value, '/');
    if (parts.size() > 2) return BadToken(token, "bhqk/DTYPE");
    if (parts.size() == 2) SAGE_RETURN_IF_ERROR(ReadDtypeWord(token, parts[1], &line->bias_dtype));
    return ReadPattern(token, parts[0], &line->bias);
  }
  if (key == "mask") return ReadPattern(token, value, &line->mask);
  if (key == "bitmask") return ReadPattern(token, value, &line->bitmask);
  if (key == "blockmask") return line->blockmask = true, ReadTiles(token, value, false, &line->block_tiles);
  if (key == "csr") return line->csr = true, ReadTiles(token, value, true, &line->csr_tiles);
  if (key == "maxq") return ReadLength(token, value, &a.max_seq_q);
  if (key == "maxkv") return ReadLength(token, value, &a.max_seq_kv);
  if (key == "page") return ReadLength(token, value, &line->page);
  if (key == "pages") return ReadLength(token, value, &line->pages);
  if (key == "append") {
    line->append = true;
    return equals == std::string_view::npos ? Status() : ReadLength(token, value, &line->append_rows);
  }
  if (key == "algorithm")
    return IndexOf(value, kAlgorithmNames, &a.algorithm) ? Status() : BadToken(token, "auto|materialised|flash");
  if (key == "data")
    return IndexOf(value, kDistributionNames, &line->distribution) ? Status()
                                                                   : BadToken(token, "normal|kbias|sink|vspread|all");
  int64_t number = 0;
  if (key == "mincut") {
    SAGE_RETURN_IF_ERROR(ReadLength(token, value, &line->mincut));
    return line->mincut > 0 ? Status() : BadToken(token, "one part or more");
  }
  if (key == "scale_block") {
    SAGE_RETURN_IF_ERROR(ReadLength(token, value, &number));
    if (number > UINT32_MAX) return BadToken(token, "a 32-bit number");
    a.scale_block = static_cast<uint32_t>(number);
    return Status();
  }
  if (key == "block") {
    int64_t rows = 0, keys = 0;
    const auto sizes = SplitLine(value, 'x');
    if (sizes.size() != 2) return BadToken(token, "ROWSxKEYS");
    SAGE_RETURN_IF_ERROR(ReadLength(token, sizes[0], &rows));
    SAGE_RETURN_IF_ERROR(ReadLength(token, sizes[1], &keys));
    if (rows > UINT32_MAX || keys > UINT32_MAX) return BadToken(token, "32-bit numbers");
    a.block_q = static_cast<uint32_t>(rows), a.block_kv = static_cast<uint32_t>(keys);
    return Status();
  }
  return BadToken(token, "an option of attention (docs/problem-string.md lists them)");
}

Status ReadField(std::string_view token, AttentionLine* line, std::set<std::string, std::less<>>* seen) {
  const size_t digits = std::min(token.find_first_of("0123456789"), token.size());
  const std::string_view key = token.substr(0, digits);
  const struct {
    std::string_view key;
    int64_t* value;
  } lengths[] = {{"b", &line->b},   {"hq", &line->hq},   {"hkv", &line->hkv}, {"hv", &line->hv},
                 {"sq", &line->sq}, {"skv", &line->skv}, {"d", &line->d},     {"dv", &line->dv}};
  if (const sage_dtype dtype = ParseDtype(token); dtype != 0) {
    if (!seen->insert("dtype").second) return BadToken(token, "one dtype");
    line->dtype = dtype;
    return Status();
  }
  for (const auto& [name, value] : lengths) {
    if (key != name) continue;
    if (!seen->insert(std::string(key)).second) return BadToken(token, fmt::format("{} once", key));
    return ReadLength(token, token.substr(digits), value);
  }
  return BadToken(token, "b, hq, hkv, hv, sq, skv, d or dv with a number, or a dtype");
}

}  // namespace

Status BadToken(std::string_view token, std::string_view expected) {
  return Status(SAGE_E_INVALID_ARGUMENT, fmt::format("problem: '{}': expected {}", token, expected));
}

std::vector<std::string_view> SplitLine(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  while (true) {
    const size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

Status ReadDtypeWord(std::string_view token, std::string_view value, sage_dtype* out) {
  *out = ParseDtype(value);
  return *out != 0 ? Status() : BadToken(token, "a dtype: f64 f32 f16 bf16 i8 i16 f8_e4m3fn f8_e5m2 ...");
}

Status ReadCommonOption(std::string_view token, std::string_view key, std::string_view value, uint32_t* requirements,
                        uint32_t* accuracy, uint32_t* dynamic_axes, uint64_t* seed, bool* known) {
  *known = true;
  const bool bare = key.size() == token.size();
  if (key == "accuracy")
    return IndexOf(value, kAccuracyNames, accuracy) ? Status() : BadToken(token, "auto|exact|native|lossy");
  if (key == "deterministic" && bare) return *requirements |= SAGE_REQUIRE_DETERMINISTIC, Status();
  if (key == "capture" && bare) return *requirements |= SAGE_REQUIRE_STREAM_CAPTURE, Status();
  if (key == "scalar" && bare) return *requirements |= SAGE_REQUIRE_SCALAR, Status();
  if (key == "seed") {
    int64_t number = 0;
    if (!ParseNumber(value, &number) || number < 0) return BadToken(token, "a whole number");
    *seed = static_cast<uint64_t>(number);
    return Status();
  }
  if (key == "dynamic") {
    for (const std::string_view axis : SplitLine(value, '+')) {
      const auto* found = std::find_if(std::begin(kAxisNames), std::end(kAxisNames),
                                       [axis](const AxisName& name) { return axis == name.name; });
      if (found == std::end(kAxisNames)) return BadToken(token, "b, sq, skv or m, joined by +");
      *dynamic_axes |= found->bit;
    }
    return Status();
  }
  *known = false;
  return Status();
}

Status ReadAttentionLine(std::string_view text, AttentionLine* out) {
  const size_t colon = text.find(':');
  std::set<std::string, std::less<>> seen;
  for (const std::string_view token : SplitLine(text.substr(0, colon), '.'))
    SAGE_RETURN_IF_ERROR(ReadField(token, out, &seen));
  if (colon == std::string_view::npos) return Status();
  seen.clear();
  for (const std::string_view token : SplitLine(text.substr(colon + 1), ',')) {
    if (!seen.insert(std::string(token.substr(0, token.find('=')))).second) return BadToken(token, "each option once");
    SAGE_RETURN_IF_ERROR(ReadOption(token, out));
  }
  return Status();
}

}  // namespace sage
