// problem.cc: feature bits, and the line of an op.
#include "plan/problem.h"

#include <fmt/format.h>

#include <cctype>
#include <iterator>

#include "plan/problem_grammar.h"
#include "sage/support/attention_dims.h"
#include "sage/support/check_op.h"

namespace sage {

namespace {

using support::DtypeName;
using support::OpView;

// Collects "key=value" behind the colon.
class Options {
 public:
  void Flag(std::string_view key, bool on = true) {
    if (on) Add(std::string(key));
  }
  template <class T>
  void Value(std::string_view key, const T& value) {
    Add(fmt::format("{}={}", key, value));
  }
  std::string Text() const { return text_; }

 private:
  void Add(const std::string& option) {
    text_ += text_.empty() ? ':' : ',';
    text_ += option;
  }
  std::string text_;
};

// "b1qk": a letter where the axis is real, 1 where it repeats by stride 0.
std::string RepeatPattern(const sage_tensor& tensor) {
  std::string pattern = "bhqk";
  for (uint32_t axis = 0; axis < 4; ++axis)
    if (tensor.stride[axis] == 0 && tensor.shape[axis] != 1) pattern[axis] = '1';
  return pattern;
}

std::string FrontPattern(const sage_tensor& tensor, int64_t batch, int64_t heads) {
  std::string pattern;
  pattern += tensor.shape[0] == 1 && batch != 1 ? '1' : 'b';
  pattern += tensor.shape[1] == 1 && heads != 1 ? '1' : 'h';
  return pattern;
}

const char* LayoutName(const OpView& view) {
  bool plain = true, swapped = true;
  for (const uint32_t slot : kLayoutSlots) {
    if (!view.Has(slot)) continue;
    plain = plain && HasLayout(view.Slot(slot), false);
    swapped = swapped && HasLayout(view.Slot(slot), true);
  }
  return plain ? "bhsd" : swapped ? "bshd" : "strided";
}

void CommonOptions(const sage_op& op, Options* options) {
  if (op.accuracy < std::size(kAccuracyNames) && op.accuracy != 0)
    options->Value("accuracy", kAccuracyNames[op.accuracy]);
  options->Flag("deterministic", (op.requirements & SAGE_REQUIRE_DETERMINISTIC) != 0);
  options->Flag("capture", (op.requirements & SAGE_REQUIRE_STREAM_CAPTURE) != 0);
  options->Flag("scalar", (op.requirements & SAGE_REQUIRE_SCALAR) != 0);
  std::string axes;
  for (const auto& [bit, name] : kAxisNames)
    if ((op.dynamic_axes & bit) != 0) axes += (axes.empty() ? "" : "+") + std::string(name);
  if (!axes.empty()) options->Value("dynamic", axes);
}

void PositionOptions(const sage_attention_attributes& a, bool alibi, Options* options) {
  const char* alignment = a.alignment == SAGE_ALIGN_BOTTOM_RIGHT ? "br" : "tl";
  const bool left = (a.features & SAGE_ATTN_F_WINDOW_LEFT) != 0, right = (a.features & SAGE_ATTN_F_WINDOW_RIGHT) != 0;
  if ((a.features & SAGE_ATTN_F_CAUSAL) != 0) {
    options->Value("causal", alignment);
  } else if (left || right || alibi) {
    options->Value("align", alignment);
  }
  if (left && right) options->Value("window", fmt::format("{}:{}", a.window_left, a.window_right));
  if (left && !right) options->Value("window", a.window_left);
  if (!left && right) options->Value("window", fmt::format("*:{}", a.window_right));
}

std::string AttentionString(const OpView& view) {
  const sage_attention_attributes& a = view.attributes.attention;
  const sage_tensor &q = view.Slot(SAGE_ATTN_Q), &k = view.Slot(SAGE_ATTN_K);
  const support::AttentionDims d = support::ReadAttentionDims(view.pointers.data(), view.op.num_slots);
  std::string line = fmt::format("b{}.hq{}.hkv{}", d.batch, d.heads_q, d.heads_k);
  if (d.heads_v != d.heads_k) line += fmt::format(".hv{}", d.heads_v);
  line += fmt::format(".sq{}.skv{}.d{}", d.seq_q, d.seq_kv, d.dim_qk);
  if (d.dim_v != d.dim_qk) line += fmt::format(".dv{}", d.dim_v);
  line += fmt::format(".{}", DtypeName(q.dtype));

  Options options;
  if (k.dtype != q.dtype) options.Value("kv", DtypeName(k.dtype));
  if (view.Slot(SAGE_ATTN_O).dtype != q.dtype) options.Value("o", DtypeName(view.Slot(SAGE_ATTN_O).dtype));
  if (const std::string layout = LayoutName(view); layout != "bhsd") options.Value("layout", layout);
  if (q.device_type != SAGE_CPU) options.Value("device", fmt::format("{}:{}", q.device_type, q.device_id));
  if ((a.features & SAGE_ATTN_F_SCALE) != 0) options.Value("scale", a.scale);
  if (a.softcap > 0) options.Value("softcap", a.softcap);
  PositionOptions(a, view.Has(SAGE_ATTN_ALIBI), &options);
  options.Flag("alibi", view.Has(SAGE_ATTN_ALIBI));
  options.Flag("sinks", view.Has(SAGE_ATTN_SINKS));
  if (view.Has(SAGE_ATTN_BIAS)) {
    const sage_tensor& bias = view.Slot(SAGE_ATTN_BIAS);
    const bool own = bias.dtype != (q.dtype == SAGE_F64 ? SAGE_F64 : SAGE_F32);
    options.Value("bias", RepeatPattern(bias) + (own ? fmt::format("/{}", DtypeName(bias.dtype)) : ""));
  }
  if (view.Has(SAGE_ATTN_MASK)) options.Value("mask", RepeatPattern(view.Slot(SAGE_ATTN_MASK)));
  if (view.Has(SAGE_ATTN_BIT_MASK)) options.Value("bitmask", RepeatPattern(view.Slot(SAGE_ATTN_BIT_MASK)));
  const auto tiles = [&](uint32_t slot) {
    return fmt::format("{}x{}/{}", a.mask_block_q, a.mask_block_kv, FrontPattern(view.Slot(slot), d.batch, d.heads_q));
  };
  if (view.Has(SAGE_ATTN_BLOCK_MASK)) options.Value("blockmask", tiles(SAGE_ATTN_BLOCK_MASK));
  if (view.Has(SAGE_ATTN_CSR_INDPTR))
    options.Value("csr", fmt::format("{}/{}", tiles(SAGE_ATTN_CSR_INDPTR), view.Slot(SAGE_ATTN_CSR_INDICES).shape[0]));
  options.Flag("varlen", d.varlen);
  if (a.max_seq_q != 0) options.Value("maxq", a.max_seq_q);
  if (a.max_seq_kv != 0) options.Value("maxkv", a.max_seq_kv);
  options.Flag("qlens", view.Has(SAGE_ATTN_SEQUSED_Q));
  options.Flag("kvlens", view.Has(SAGE_ATTN_SEQUSED_K) && !d.append);
  if (d.paged) options.Value("page", d.page);
  if (d.paged && d.pages != d.batch * d.max_pages) options.Value("pages", d.pages);
  if (d.append && d.varlen) options.Flag("append");
  if (d.append && !d.varlen) options.Value("append", d.seq_new);
  if (a.dropout_p > 0) options.Value("dropout", a.dropout_p);
  const uint32_t granularities[] = {a.granularity_q, a.granularity_k, a.granularity_v, a.granularity_p,
                                    a.granularity_o};
  for (uint32_t i = 0; i < std::size(granularities); ++i) {
    const uint32_t slot = SAGE_ATTN_SCALE_Q + i;
    if (!view.Has(slot)) continue;
    const sage_tensor& scale = view.Slot(slot);
    const bool shared = granularities[i] != SAGE_PER_TENSOR && scale.rank > 0 && scale.shape[0] == 1 && d.batch != 1 &&
                        !(d.varlen && granularities[i] == SAGE_PER_TOKEN);
    options.Value(kScaleKeys[i], fmt::format("{}{}", kGranularityNames[granularities[i]], shared ? "/1" : ""));
  }
  if (a.scale_block != 0) options.Value("scale_block", a.scale_block);
  options.Flag("lse", view.Has(SAGE_ATTN_LSE));
  options.Flag("weights", view.Has(SAGE_ATTN_WEIGHTS));
  options.Flag("scores", view.Has(SAGE_ATTN_SCORES));
  if (a.algorithm != 0) options.Value("algorithm", kAlgorithmNames[a.algorithm]);
  if (a.block_q != 0 || a.block_kv != 0) options.Value("block", fmt::format("{}x{}", a.block_q, a.block_kv));
  CommonOptions(view.op, &options);
  return line + options.Text();
}

// "f32[2,3]@[1,2]!": strides where they are not row-major, ! for a constant.
std::string TensorText(const sage_tensor& tensor) {
  std::string text = fmt::format("{}[", DtypeName(tensor.dtype));
  for (uint32_t axis = 0; axis < tensor.rank; ++axis)
    text += fmt::format("{}{}", axis == 0 ? "" : ",", tensor.shape[axis]);
  text += ']';
  if (!IsRowMajor(tensor)) {
    text += "@[";
    for (uint32_t axis = 0; axis < tensor.rank; ++axis)
      text += fmt::format("{}{}", axis == 0 ? "" : ",", tensor.stride[axis]);
    text += ']';
  }
  if ((tensor.flags & SAGE_TENSOR_CONSTANT) != 0) text += '!';
  return text;
}

std::string PlainString(const OpView& view) {
  std::string line = support::KindName(view.op.kind);
  for (char& c : line) c = static_cast<char>(std::tolower(c));
  for (uint32_t slot = 0; slot < view.pointers.size(); ++slot)
    if (view.Has(slot))
      line += fmt::format(" {}={}", support::SlotName(view.op.kind, slot), TensorText(view.Slot(slot)));
  Options options;
  for (const PlainField& field : FieldsOf(view.op.kind)) {
    const std::string value = ReadField(view.attributes, field, RankOfFirstInput(view));
    if (!value.empty()) options.Value(field.key, value);
  }
  CommonOptions(view.op, &options);
  return line + options.Text();
}

}  // namespace

Status AttentionFeatures(const sage_op& op, uint64_t* out) {
  OpView view;
  std::string why;
  if (const sage_status status = support::TakeInOp(&op, &view, &why); status != SAGE_OK) return Status(status, why);
  if (view.op.kind != SAGE_OP_ATTENTION)
    return Status(SAGE_E_INVALID_ARGUMENT,
                  fmt::format("feature bits belong to ATTENTION; this op is {}", support::KindName(view.op.kind)));
  if (const sage_status status = support::CheckOp(view, &why); status != SAGE_OK) return Status(status, why);
  if (const sage_status status = support::DeriveAttentionFeatures(view, out, &why); status != SAGE_OK)
    return Status(status, why);
  return Status();
}

std::string ProblemString(const sage_op& op) {
  OpView view;
  std::string why;
  if (support::TakeInOp(&op, &view, &why) != SAGE_OK) return "malformed op: " + why;
  if (support::CheckOp(view, &why) != SAGE_OK) {
    std::string kind = support::KindName(view.op.kind);
    for (char& c : kind) c = static_cast<char>(std::tolower(c));
    return "malformed " + kind + ": " + why;
  }
  return view.op.kind == SAGE_OP_ATTENTION ? AttentionString(view) : PlainString(view);
}

std::string ProblemLine(const Problem& problem) {
  std::string line = ProblemString(problem.op);
  const auto add = [&line](const char* key, auto value) {
    line += fmt::format("{}{}={}", line.find(':') == std::string::npos ? ':' : ',', key, value);
  };
  if (problem.mincut > 0) add("mincut", problem.mincut);
  if (problem.distribution != Distribution::kNormal)
    add("data", kDistributionNames[static_cast<uint32_t>(problem.distribution)]);
  if (problem.seed != 0) add("seed", problem.seed);
  return line;
}

}  // namespace sage
