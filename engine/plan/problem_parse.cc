// problem_parse.cc: the problem string made into an op that owns its tensors, or into an error naming the token.
//
// An attention line has been read into sizes and options first (problem_line.h), so that options may come in any order.
// Everything the numbers imply is left to CheckOp.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <set>

#include "plan/problem.h"
#include "plan/problem_distribution.h"
#include "plan/problem_grammar.h"
#include "plan/problem_line.h"
#include "sage/masks.h"
#include "sage/support/check_op.h"

namespace sage {
namespace {

void Add(Problem* problem, uint32_t slot, sage_dtype dtype, std::initializer_list<int64_t> shape) {
  sage_tensor& tensor = problem->tensors[slot];
  tensor = sage_tensor{};
  tensor.struct_size = sizeof tensor;
  tensor.dtype = dtype;
  tensor.device_type = SAGE_CPU;
  for (const int64_t length : shape) tensor.shape[tensor.rank++] = length;
  // Lengths come from a line; strides of a shape that is too large must not overflow before CheckOp refuses it.
  bool fits = true;
  int64_t product = 1;
  for (const int64_t length : shape) {
    fits = fits && (length <= 1 || product <= (int64_t{1} << 60) / length);
    if (fits && length > 1) product *= length;
  }
  if (fits) SetLayout(&tensor, false);
  problem->pointers[slot] = &tensor;
}

// Rows, heads and pages padded by odd amounts: nothing is contiguous, nothing overlaps.
void SetStrided(sage_tensor* tensor) {
  int64_t step = 1;
  for (uint32_t axis = tensor->rank; axis-- > 0;) {
    tensor->stride[axis] = step;
    step = step * std::max<int64_t>(tensor->shape[axis], 1) + 3;
  }
}

void Repeat(const std::string& pattern, sage_tensor* tensor) {
  int64_t step = 1;
  for (uint32_t axis = 4; axis-- > 0;) {
    tensor->stride[axis] = pattern[axis] == '1' ? 0 : step;
    if (pattern[axis] != '1') step *= std::max<int64_t>(tensor->shape[axis], 1);
  }
}

int64_t Tiled(int64_t length, int64_t tile) { return length / tile + (length % tile != 0 ? 1 : 0); }

// The masks are those of a partition: they need queries that are keys, and say themselves how many tiles are kept.
Status SetMincut(AttentionLine* l, Problem* problem) {
  const std::string token = fmt::format("mincut={}", l->mincut);
  if (l->mask.empty() && l->bitmask.empty() && !l->blockmask && !l->csr)
    return BadToken(token, "mask=, bitmask=, blockmask= or csr= as well: that is where it goes");
  if (l->varlen || l->page > 0 || l->sq != l->skv) return BadToken(token, "sq = skv, neither varlen nor pages");
  for (const std::string& pattern : {l->mask, l->bitmask})
    if (!pattern.empty() && (pattern[2] == '1' || pattern[3] == '1'))
      return BadToken(token, "a mask that repeats over batch and heads at most, as mask=11qk");
  const Result<MincutMask> mask = MincutMask::Create(l->sq, l->mincut);
  if (!mask.ok()) return BadToken(token, mask.status().message());
  if (l->csr) {
    Tiles& t = l->csr_tiles;
    const int64_t groups = (t.shared_batch ? 1 : l->b) * (t.shared_heads ? 1 : l->hq);
    const auto kept = static_cast<double>(mask->Tiles(t.q, t.kv)) * static_cast<double>(groups);
    if (kept > 0x7fffffff) return BadToken(token, "at most 2^31 - 1 kept tiles: larger tiles, or more parts");
    if (t.count >= 0 && static_cast<double>(t.count) != kept)
      return BadToken(token, fmt::format("csr= with {:.0f} kept tiles, or without their number", kept));
    t.count = static_cast<int64_t>(kept);
  }
  problem->mincut = l->mincut;
  return Status();
}

// What the distributions change are rows [B,H,S,D] of floats.
Status SetDistribution(const AttentionLine& l, Problem* problem) {
  const auto which = static_cast<Distribution>(l.distribution);
  const std::string token = fmt::format("data={}", kDistributionNames[l.distribution]);
  if (l.varlen || l.page > 0 || l.append) return BadToken(token, "neither varlen nor pages nor an append");
  if (!support::IsFloat(l.dtype) || !support::IsFloat(l.kv))
    return BadToken(token, "Q, K and V in floats: codes of integers have their own scales");
  if ((which == Distribution::kKeyBias || which == Distribution::kAll) && l.d < kLeastBiasedDim)
    return BadToken(token, fmt::format("d of {} or more: so many channels are biased", kLeastBiasedDim));
  problem->distribution = which;
  return Status();
}

void AddMasks(const AttentionLine& l, Problem* problem) {
  const sage_dtype x = l.dtype == SAGE_F64 ? SAGE_F64 : SAGE_F32;
  if (!l.bias.empty()) {
    Add(problem, SAGE_ATTN_BIAS, l.bias_dtype != 0 ? l.bias_dtype : x, {l.b, l.hq, l.sq, l.skv});
    Repeat(l.bias, &problem->tensors[SAGE_ATTN_BIAS]);
  }
  if (!l.mask.empty()) {
    Add(problem, SAGE_ATTN_MASK, SAGE_BOOL, {l.b, l.hq, l.sq, l.skv});
    Repeat(l.mask, &problem->tensors[SAGE_ATTN_MASK]);
  }
  if (!l.bitmask.empty()) {
    Add(problem, SAGE_ATTN_BIT_MASK, SAGE_U8, {l.b, l.hq, l.sq, Tiled(l.skv, 8)});
    Repeat(l.bitmask, &problem->tensors[SAGE_ATTN_BIT_MASK]);
  }
  const auto front = [&l](const Tiles& t) { return std::pair(t.shared_batch ? 1 : l.b, t.shared_heads ? 1 : l.hq); };
  if (l.blockmask) {
    const Tiles& t = l.block_tiles;
    Add(problem, SAGE_ATTN_BLOCK_MASK, SAGE_U8,
        {front(t).first, front(t).second, Tiled(l.sq, t.q), Tiled(l.skv, t.kv)});
  }
  if (l.csr) {
    const Tiles& t = l.csr_tiles;
    const int64_t rows = Tiled(l.sq, t.q), kept = (Tiled(l.skv, t.kv) + 1) / 2;
    const double most = static_cast<double>(front(t).first) * static_cast<double>(front(t).second) *
                        static_cast<double>(rows) * static_cast<double>(kept);
    const int64_t fallback = most < 1e15 ? static_cast<int64_t>(most) : kMaxLineLength;
    Add(problem, SAGE_ATTN_CSR_INDPTR, SAGE_I32, {front(t).first, front(t).second, rows + 1});
    Add(problem, SAGE_ATTN_CSR_INDICES, SAGE_I32, {t.count >= 0 ? t.count : fallback});
  }
}

void AddScales(const AttentionLine& l, Problem* problem) {
  sage_attention_attributes& a = problem->attributes.attention;
  uint32_t* granularities[] = {&a.granularity_q, &a.granularity_k, &a.granularity_v, &a.granularity_p,
                               &a.granularity_o};
  const int64_t heads[] = {l.hq, l.hkv, l.hv, l.hq, l.hq}, rows[] = {l.sq, l.skv, l.skv, l.sq, l.sq},
                dims[] = {l.d, l.d, l.dv, l.skv, l.dv};
  for (uint32_t i = 0; i < 5; ++i) {
    *granularities[i] = l.scales[i].granularity;
    const uint32_t slot = SAGE_ATTN_SCALE_Q + i;
    const int64_t front = l.scales[i].shared ? 1 : l.b;
    const bool packed = l.varlen && !(l.page > 0 && (i == 1 || i == 2));
    switch (l.scales[i].granularity) {
      case SAGE_PER_TENSOR:
        Add(problem, slot, SAGE_F32, {1});
        break;
      case SAGE_PER_HEAD:
        Add(problem, slot, SAGE_F32, {front, heads[i]});
        break;
      case SAGE_PER_TOKEN:
        if (packed) Add(problem, slot, SAGE_F32, {heads[i], rows[i]});
        if (!packed) Add(problem, slot, SAGE_F32, {front, heads[i], rows[i]});
        break;
      case SAGE_PER_CHANNEL:
        Add(problem, slot, SAGE_F32, {front, heads[i], dims[i]});
        break;
      case SAGE_PER_BLOCK:
        Add(problem, slot, SAGE_F32, {front, heads[i], Tiled(rows[i], std::max<int64_t>(1, l.a.scale_block))});
        break;
      default:
        break;
    }
  }
}

Status Missing(std::string_view what) {
  return Status(SAGE_E_INVALID_ARGUMENT, fmt::format("problem: the line needs {}", what));
}

Status BuildAttention(AttentionLine& l, Problem* problem) {
  if (l.dtype == 0) return Missing("a dtype, such as f32");
  if (l.hq < 1) return Missing("hq with the number of query heads, above 0, such as hq8");
  if (l.sq < 0) return Missing("sq with the number of queries, such as sq512");
  if (l.d < 1) return Missing("d with the head dimension, above 0, such as d64");
  l.hkv = l.hkv < 0 ? l.hq : l.hkv;
  l.hv = l.hv < 0 ? l.hkv : l.hv;
  l.skv = l.skv < 0 ? l.sq : l.skv;
  l.dv = l.dv < 0 ? l.d : l.dv;
  l.kv = l.kv == 0 ? l.dtype : l.kv;
  l.o = l.o == 0 ? l.dtype : l.o;
  if (l.page > 0 && l.skv % l.page != 0)
    return BadToken(fmt::format("page={}", l.page), fmt::format("a page length that divides skv {}", l.skv));
  if (l.pages >= 0 && l.page < 1)
    return BadToken(fmt::format("pages={}", l.pages), "page= with the page length as well");
  if (l.append && !l.varlen && l.append_rows < 0) return BadToken("append", "append= with the number of new keys");
  if (l.append && l.varlen && l.append_rows >= 0)
    return BadToken(fmt::format("append={}", l.append_rows), "append alone: packed keys are as many as packed queries");
  if (l.blockmask && l.csr && (l.block_tiles.q != l.csr_tiles.q || l.block_tiles.kv != l.csr_tiles.kv))
    return BadToken("csr", "the tile of blockmask: both masks speak about one");
  if (l.mincut > 0) SAGE_RETURN_IF_ERROR(SetMincut(&l, problem));
  if (l.distribution != 0) SAGE_RETURN_IF_ERROR(SetDistribution(l, problem));

  const int64_t max_pages = l.page > 0 ? l.skv / l.page : 0;
  const sage_dtype x = l.dtype == SAGE_F64 ? SAGE_F64 : SAGE_F32;
  const bool packed_kv = l.varlen && l.page == 0;
  problem->tensors.resize(SAGE_ATTN_NUM_SLOTS);
  problem->pointers.resize(SAGE_ATTN_NUM_SLOTS);
  problem->op.kind = SAGE_OP_ATTENTION;
  problem->attributes.attention = l.a;
  problem->attributes.attention.struct_size = sizeof l.a;
  if (l.blockmask || l.csr) {
    const Tiles& tiles = l.blockmask ? l.block_tiles : l.csr_tiles;
    problem->attributes.attention.mask_block_q = static_cast<uint32_t>(tiles.q);
    problem->attributes.attention.mask_block_kv = static_cast<uint32_t>(tiles.kv);
  }
  const auto rows = [&](uint32_t slot, sage_dtype dtype, int64_t heads, int64_t length, int64_t dim, bool packed) {
    if (packed) Add(problem, slot, dtype, {length, heads, dim});
    if (!packed) Add(problem, slot, dtype, {l.b, heads, length, dim});
  };
  rows(SAGE_ATTN_Q, l.dtype, l.hq, l.sq, l.d, l.varlen);
  rows(SAGE_ATTN_O, l.o, l.hq, l.sq, l.dv, l.varlen);
  if (l.page > 0) {
    const bool fits = max_pages <= kMaxLineLength / std::max<int64_t>(1, l.b);
    const int64_t pages = l.pages >= 0 ? l.pages : fits ? l.b * max_pages : kMaxLineLength;
    Add(problem, SAGE_ATTN_K, l.kv, {pages, l.hkv, l.page, l.d});
    Add(problem, SAGE_ATTN_V, l.kv, {pages, l.hv, l.page, l.dv});
    Add(problem, SAGE_ATTN_BLOCK_TABLE, SAGE_I32, {l.b, max_pages});
  } else {
    rows(SAGE_ATTN_K, l.kv, l.hkv, l.skv, l.d, packed_kv);
    rows(SAGE_ATTN_V, l.kv, l.hv, l.skv, l.dv, packed_kv);
  }
  if (l.append) {
    rows(SAGE_ATTN_K_NEW, l.kv, l.hkv, l.varlen ? l.sq : l.append_rows, l.d, l.varlen);
    rows(SAGE_ATTN_V_NEW, l.kv, l.hv, l.varlen ? l.sq : l.append_rows, l.dv, l.varlen);
    problem->op.aliases = 1ull << SAGE_ATTN_K | 1ull << SAGE_ATTN_V;
  }
  for (const uint32_t slot : kLayoutSlots) {
    if (problem->pointers[slot] == nullptr) continue;
    if (l.layout == "bshd" && problem->tensors[slot].stride[0] != 0) SetLayout(&problem->tensors[slot], true);
    if (l.layout == "strided" && problem->tensors[slot].stride[0] != 0) SetStrided(&problem->tensors[slot]);
  }
  AddMasks(l, problem);
  AddScales(l, problem);
  if (l.alibi) Add(problem, SAGE_ATTN_ALIBI, x, {l.hq});
  if (l.sinks) Add(problem, SAGE_ATTN_SINKS, x, {l.hq});
  if (l.varlen) Add(problem, SAGE_ATTN_CU_SEQLENS_Q, SAGE_I32, {l.b + 1});
  if (packed_kv) Add(problem, SAGE_ATTN_CU_SEQLENS_K, SAGE_I32, {l.b + 1});
  if (l.qlens) Add(problem, SAGE_ATTN_SEQUSED_Q, SAGE_I32, {l.b});
  if (l.kvlens || l.append) Add(problem, SAGE_ATTN_SEQUSED_K, SAGE_I32, {l.b});
  if (l.a.dropout_p > 0) Add(problem, SAGE_ATTN_PHILOX, SAGE_U64, {2});
  if (l.lse && l.varlen) Add(problem, SAGE_ATTN_LSE, x, {l.hq, l.sq});
  if (l.lse && !l.varlen) Add(problem, SAGE_ATTN_LSE, x, {l.b, l.hq, l.sq});
  if (l.weights) Add(problem, SAGE_ATTN_WEIGHTS, x, {l.b, l.hq, l.sq, l.skv});
  if (l.scores) Add(problem, SAGE_ATTN_SCORES, x, {l.b, l.hq, l.sq, l.skv});
  for (sage_tensor& tensor : problem->tensors) tensor.device_type = l.device_type, tensor.device_id = l.device_id;
  problem->op.requirements = l.requirements;
  problem->op.accuracy = l.accuracy;
  problem->op.dynamic_axes = l.dynamic_axes;
  problem->seed = l.seed;
  return Status();
}

Status ParseAttention(std::string_view text, Problem* problem) {
  AttentionLine line;
  SAGE_RETURN_IF_ERROR(ReadAttentionLine(text, &line));
  return BuildAttention(line, problem);
}

// "[2,3]" at the front of *text, taken off.
Status ReadList(std::string_view token, std::string_view* text, int64_t lowest, int64_t* out, uint32_t* count) {
  const size_t end = text->find(']');
  if (text->empty() || text->front() != '[' || end == std::string_view::npos)
    return BadToken(token, "SLOT=DTYPE[LENGTHS]");
  *count = 0;
  const std::string_view inside = text->substr(1, end - 1);
  for (const std::string_view part : inside.empty() ? std::vector<std::string_view>() : SplitLine(inside, ',')) {
    if (*count == SAGE_MAX_RANK || !ParseNumber(part, &out[*count]) || out[*count] < lowest ||
        out[*count] > kMaxLineLength)
      return BadToken(token, "at most 8 numbers of at most 2^40 in brackets");
    ++*count;
  }
  text->remove_prefix(end + 1);
  return Status();
}

Status ReadTensor(std::string_view token, Problem* problem) {
  const uint32_t kind = problem->op.kind;
  const size_t equals = token.find('=');
  if (equals == std::string_view::npos) return BadToken(token, "SLOT=DTYPE[LENGTHS]");
  const std::string_view name = token.substr(0, equals);
  std::string_view rest = token.substr(equals + 1);
  const uint32_t slots =
      kind == SAGE_OP_CONCAT ? static_cast<uint32_t>(problem->tensors.size()) : support::SlotCount(kind);
  uint32_t slot = 0;
  while (slot < slots && (problem->pointers[slot] != nullptr || name != support::SlotName(kind, slot))) ++slot;
  if (slot >= slots) return BadToken(token, fmt::format("a slot of {}, each once", support::KindName(kind)));
  const size_t bracket = std::min(rest.find('['), rest.size());
  sage_dtype dtype = 0;
  SAGE_RETURN_IF_ERROR(ReadDtypeWord(token, rest.substr(0, bracket), &dtype));
  rest.remove_prefix(bracket);
  int64_t list[SAGE_MAX_RANK];
  uint32_t count = 0;
  SAGE_RETURN_IF_ERROR(ReadList(token, &rest, 0, list, &count));
  Add(problem, slot, dtype, {});
  sage_tensor& tensor = problem->tensors[slot];
  tensor.rank = count;
  double product = 1;
  for (uint32_t axis = 0; axis < count; ++axis) {
    tensor.shape[axis] = list[axis];
    product *= static_cast<double>(std::max<int64_t>(1, list[axis]));
  }
  if (product > 1e15) return BadToken(token, "fewer elements");
  SetLayout(&tensor, false);
  if (!rest.empty() && rest.front() == '@') {
    rest.remove_prefix(1);
    SAGE_RETURN_IF_ERROR(ReadList(token, &rest, -kMaxLineLength, tensor.stride, &count));
    if (count != tensor.rank) return BadToken(token, "as many strides as lengths");
  }
  if (rest == "!") {
    tensor.flags = SAGE_TENSOR_CONSTANT;
    rest.remove_prefix(1);
  }
  return rest.empty() ? Status() : BadToken(token, "nothing behind the tensor but @[STRIDES] and !");
}

Status ParsePlain(uint32_t kind, std::string_view text, Problem* problem) {
  const size_t colon = text.find(':');
  const auto tokens = SplitLine(text.substr(0, colon), ' ');
  problem->op.kind = kind;
  const size_t slots = kind == SAGE_OP_CONCAT ? tokens.size() - 1 : support::SlotCount(kind);
  problem->tensors.resize(slots);
  problem->pointers.resize(slots);
  for (size_t i = 1; i < tokens.size(); ++i) SAGE_RETURN_IF_ERROR(ReadTensor(tokens[i], problem));
  std::set<std::string, std::less<>> seen;
  for (const std::string_view token :
       colon == std::string_view::npos ? std::vector<std::string_view>() : SplitLine(text.substr(colon + 1), ',')) {
    const size_t equals = token.find('=');
    const std::string_view key = token.substr(0, equals);
    const std::string_view value = equals == std::string_view::npos ? std::string_view() : token.substr(equals + 1);
    if (!seen.insert(std::string(key)).second) return BadToken(token, "each option once");
    bool known = false;
    SAGE_RETURN_IF_ERROR(ReadCommonOption(token, key, value, &problem->op.requirements, &problem->op.accuracy,
                                          &problem->op.dynamic_axes, &problem->seed, &known));
    if (known) continue;
    const auto fields = FieldsOf(kind);
    const auto field = std::find_if(fields.begin(), fields.end(), [key](const PlainField& f) { return key == f.key; });
    if (field == fields.end()) return BadToken(token, fmt::format("an option of {}", support::KindName(kind)));
    SAGE_RETURN_IF_ERROR(WriteField(value, *field, &problem->attributes).At("problem"));
  }
  return Status();
}

// The kind whose name is the line's first word; 0 = attention's form.
uint32_t KindOf(std::string_view text) {
  std::string word(text.substr(0, text.find_first_of(" :")));
  for (char& c : word) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  for (uint32_t kind = SAGE_OP_LINEAR; support::SlotCount(kind) != 0; ++kind)
    if (word == support::KindName(kind)) return kind;
  return 0;
}

}  // namespace

void Problem::Link() {
  for (size_t slot = 0; slot < pointers.size(); ++slot)
    if (pointers[slot] != nullptr) pointers[slot] = &tensors[slot];
  op.struct_size = sizeof op;
  op.num_slots = static_cast<uint32_t>(pointers.size());
  op.slots = pointers.data();
  const uint32_t size = support::AttributesSize(op.kind);
  std::memcpy(&attributes, &size, sizeof size);  // the first field of every kind's struct
  op.attributes = size == 0 ? nullptr : &attributes;
}

Result<std::unique_ptr<Problem>> ParseProblem(std::string_view text) {
  if (text.empty()) return BadToken(text, "a line as b1.hq8.sq128.skv128.d64.f32");
  if (text.size() > 4096) return BadToken(text.substr(0, 40), "at most 4096 bytes");
  auto problem = std::make_unique<Problem>();
  std::memset(static_cast<void*>(&problem->attributes), 0, sizeof problem->attributes);
  if (const uint32_t kind = KindOf(text); kind != 0) {
    SAGE_RETURN_IF_ERROR(ParsePlain(kind, text, problem.get()));
  } else {
    SAGE_RETURN_IF_ERROR(ParseAttention(text, problem.get()));
  }
  problem->Link();
  support::OpView view;
  std::string why;
  sage_status status = support::TakeInOp(&problem->op, &view, &why);
  if (status == SAGE_OK) status = support::CheckOp(view, &why);
  if (status != SAGE_OK) return Status(status, fmt::format("problem: {}", why));
  return problem;
}

}  // namespace sage
