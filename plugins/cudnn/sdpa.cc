// sdpa.cc: see the header.
#include "sdpa.h"

namespace sage::cudnn {
namespace {

const char* TypeName(DataType type) {
  switch (type) {
    case kHalf:
      return "f16";
    case kBFloat16:
      return "bf16";
    case kFloat:
      return "f32";
    case kFp8E4M3:
      return "e4m3";
    case kFp8E5M2:
      return "e5m2";
    default:
      return "?";
  }
}

std::string Of(const char* name, const SdpaStrides& s) {
  return std::string(" ") + name + "=" + std::to_string(s.batch) + "," + std::to_string(s.head) + "," +
         std::to_string(s.row);
}
std::string Of(const char* name, int64_t value) { return std::string(" ") + name + "=" + std::to_string(value); }

}  // namespace

std::string TextOf(const Sdpa& s) {
  std::string text = std::string(s.unified ? "unified " : "composite ") + TypeName(s.type);
  if (s.o_type != s.type) text += std::string(" o=") + TypeName(s.o_type);
  text += Of("b", s.batch) + Of("hq", s.heads_q) + Of("hkv", s.heads_kv) + Of("sq", s.seq_q) + Of("skv", s.seq_kv) +
          Of("d", s.dim_qk) + Of("dv", s.dim_v);
  text += Of("q", s.q) + Of("k", s.k) + Of("v", s.v) + Of("o", s.o);
  if (s.lengths) text += " lengths";
  if (s.ragged_q) text += " ragged_q";
  if (s.ragged_kv) text += " ragged_kv";
  if (s.wide_offsets) text += " wide";
  if (s.paged()) text += Of("page", s.page) + Of("pages", s.pages) + Of("columns", s.table_columns);
  if (s.softcap) text += " softcap";
  if (s.bias)
    text += std::string(" bias=") + TypeName(s.bias_type) + (s.bias_batch ? ",b" : "") + (s.bias_heads ? ",h" : "") +
            Of("bias_strides", s.bias_strides);
  if (s.alibi) text += " alibi";
  if (s.causal) text += " causal";
  if (s.bottom_right) text += " bottom_right";
  if (s.window_left >= 0) text += Of("left", s.window_left);
  if (s.window_right >= 0) text += Of("right", s.window_right);
  if (s.sinks) text += " sinks";
  if (s.dropout) text += " dropout";
  if (s.statistics) text += " lse";
  return text;
}

}  // namespace sage::cudnn
