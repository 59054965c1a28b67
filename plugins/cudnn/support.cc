// support.cc: the table of what is eligible, rule by rule.
#include "support.h"

#include <algorithm>
#include <bit>

namespace sage::cudnn {

namespace {

using cuda::AttentionArguments;
using cuda::AttentionExtras;
using cuda::AttentionStrides;
using cuda::AttentionType;

constexpr int64_t kAlign = 16;         // bytes that addresses and strides are multiples of
constexpr int64_t kLongest = 1 << 24;  // positions are compared in f32

// A call that is described, and what of it the rules ask about.
struct Question {
  const AttentionArguments& a;
  const AttentionExtras& extras;
  const uint64_t features;
  const Installed& installed;
  const Sdpa& sdpa;
  bool Has(uint64_t feature) const { return (features & feature) != 0; }
  bool OneQuery() const { return a.seq_q == 1; }
  bool Grouped() const { return a.heads_q != a.heads_k; }
};

// A rule says why it refuses, or null. Sentences follow "cuDNN 9.19.0: ".
using Rule = const char* (*)(const Question& q);

// --- what no graph here has ------------------------------------------------------------------------------------------

const char* Features(const Question& q) {
  if (q.Has(SAGE_ATTN_F_BOOL_MASK | SAGE_ATTN_F_BIT_MASK | SAGE_ATTN_F_BLOCK_MASK | SAGE_ATTN_F_CSR_MASK))
    return "it takes no masks but causal, windows and lengths; a mask can be given as BIAS of 0 and -inf";
  if (q.Has(SAGE_ATTN_F_WEIGHTS_OUT | SAGE_ATTN_F_SCORES_OUT))
    return "it keeps no rows of scores, which WEIGHTS and SCORES are";
  if (q.Has(SAGE_ATTN_F_APPEND_KV)) return "it does not append to a cache; append before, as an op of its own";
  if (q.Has(SAGE_ATTN_F_HV_DIFFERS)) return "it has as many heads of V as of K";
  if ((q.features & ~kFeatures) != 0) return "a feature is asked for that is newer than this backend";
  return nullptr;
}

// --- fp8 and dropout -------------------------------------------------------------------------------------------------

const char* Fp8(const Question& q) {
  const Sdpa& s = q.sdpa;
  if (!s.fp8()) return q.Has(SAGE_ATTN_F_QUANT_SCALES) ? "scales belong to operands of fp8" : nullptr;
  const int generation = q.installed.sm / 10;
  if (generation < 9) return "fp8 is computed from sm_90 on";
  if (q.extras.finer_scales) return "fp8 has one scale for each of Q, K, V, P and O (PER_TENSOR)";
  if (s.dim_qk % 16 != 0 || s.dim_v % 16 != 0) return "fp8 takes head dimensions that are multiples of 16";
  const bool datacentre = generation == 10 || generation == 11;
  const bool latent = datacentre && s.dim_qk == 192 && s.dim_v == 128 && q.installed.version >= 91900;
  if (generation != 9 && std::max(s.dim_qk, s.dim_v) > 128 && !latent)
    return "fp8 takes head dimensions up to 128, but for sm_90, and 192 with 128 on sm_100 from 9.19 on";
  if (!datacentre && s.o_type != s.type) return "O of fp8 operands is fp8, but for sm_100";
  if (s.o_type == kFloat) return "O of fp8 operands is of their own type, f16 or bf16";
  if (generation == 9 && s.bottom_right)
    return "on sm_90 positions of fp8 calls count from the first key (TOP_LEFT); an engine takes others, against the "
           "documentation";
  if (generation == 12 && s.ragged_q) return "on sm_120 no packed sequences of fp8 are computed";
  if (s.bias) return "BIAS is not added to scores of fp8; an engine takes it, against the documentation";
  if (s.sinks && (generation == 9 || latent))
    return "SINKS with fp8, on sm_90 and at 192 dimensions, are offered engines of which no plan can be made";
  if (q.OneQuery()) return "one query of fp8 has no engine, or one of which no plan can be made";
  return nullptr;
}

// cuDNN's own Philox counts elements in another order than sage/attention.h pins: a mask of the plugin's own is
// multiplied in instead, which its graphs allow ("custom dropout").
const char* Dropout(const Question& q) {
  const Sdpa& s = q.sdpa;
  if (!s.dropout) return q.Has(SAGE_ATTN_F_DROPOUT) ? "dropout needs PHILOX" : nullptr;
  if (s.fp8()) return "dropout over fp8 is not put to it: its heuristics end the process over the question";
  if (s.ragged_q || s.ragged_kv) return "dropout has no meaning for packed sequences";
  if (s.paged()) return "dropout is not put to it over pages";
  if (q.OneQuery()) return "dropout is not put to it with one query";
  if (s.bottom_right) return "positions that count from the end (BOTTOM_RIGHT) are not combined with dropout";
  if (MaskBytes(s) > kMostMaskBytes)
    return "dropout takes a mask of B * Hq * Sq * Skv * 2 bytes, here of more than 2 GiB";
  return nullptr;
}

// --- sizes and layouts -----------------------------------------------------------------------------------------------

const char* Sizes(const Question& q) {
  const AttentionArguments& a = q.a;
  if (a.batch < 1 || a.heads_q < 1 || a.heads_k < 1 || a.seq_q < 1 || a.seq_kv < 1)
    return "it describes no tensor without elements";
  if (q.sdpa.seq_kv == 1) return "its graph is not one of attention over a single key";
  if (a.dim_qk % 8 != 0 || a.dim_v % 8 != 0) return "it takes head dimensions that are multiples of 8";
  if (std::max(a.seq_q, a.seq_kv) > kLongest) return "positions beyond 2^24 are not told apart in f32";
  if (a.block_table != nullptr && a.pages < 1) return "there are no pages";
  return nullptr;
}

// The support surface by architecture: head dimensions at most, of several queries and of one.
const char* Dimensions(const Question& q) {
  const int64_t longest = std::max(q.a.dim_qk, q.a.dim_v);
  if (longest > 256) return "it takes head dimensions up to 256";
  if (q.OneQuery() && q.installed.sm / 10 != 9 && longest > 128)
    return "of one query it takes head dimensions up to 128, but for sm_90";
  return nullptr;
}

int64_t BytesOf(DataType type) { return type == kFp8E4M3 || type == kFp8E5M2 ? 1 : type == kFloat ? 4 : 2; }

bool Crooked(DataType type, const AttentionStrides& s, int64_t batch, int64_t heads, int64_t rows) {
  const auto bad = [element = BytesOf(type)](int64_t stride, int64_t size) {
    return size > 1 && (stride <= 0 || stride * element % kAlign != 0);
  };
  return bad(s.batch, batch) || bad(s.head, heads) || bad(s.row, rows);
}

const char* Layouts(const Question& q) {
  const AttentionArguments& a = q.a;
  if (a.q_strides.column != 1 || a.k_strides.column != 1 || a.v_strides.column != 1 || a.o_strides.column != 1)
    return "rows of Q, K, V and O must be contiguous";
  const bool packed_q = a.cu_seqlens_q != nullptr, packed_k = a.cu_seqlens_k != nullptr;
  const bool paged = a.block_table != nullptr;
  const int64_t rows_q = packed_q ? a.total_q : a.seq_q;
  const int64_t rows_k = paged ? int64_t{1} << a.page_shift : packed_k ? a.total_k : a.seq_kv;
  const int64_t batch_q = packed_q ? 1 : a.batch, batch_k = paged ? a.pages : packed_k ? 1 : a.batch;
  const DataType type = q.sdpa.type, o_type = q.sdpa.o_type;
  if (Crooked(type, a.q_strides, batch_q, a.heads_q, rows_q) ||
      Crooked(o_type, a.o_strides, batch_q, a.heads_q, rows_q) ||
      Crooked(type, a.k_strides, batch_k, a.heads_k, rows_k) || Crooked(type, a.v_strides, batch_k, a.heads_k, rows_k))
    return "strides of Q, K, V and O must be positive multiples of 16 bytes, and no axis repeat";
  return nullptr;
}

const char* Bias(const Question& q) {
  const AttentionArguments& a = q.a;
  if (a.bias == nullptr) return nullptr;
  if (a.bias_type != a.type && a.bias_type != AttentionType::kF32) return "BIAS must be f32 or of Q's dtype";
  const int64_t element = a.bias_type == AttentionType::kF32 ? 4 : 2;
  const auto bad = [&](int64_t stride, int64_t size) { return size > 1 && stride * element % kAlign != 0; };
  if ((a.seq_kv > 1 && a.bias_strides.column != 1) || (a.seq_q > 1 && a.bias_strides.row <= 0))
    return "BIAS must have a row of its own for each query, and its rows be contiguous";
  if (a.bias_strides.batch < 0 || a.bias_strides.head < 0 || bad(a.bias_strides.row, a.seq_q) ||
      bad(a.bias_strides.head, a.heads_q) || bad(a.bias_strides.batch, a.batch))
    return "strides of BIAS must be multiples of 16 bytes, none of them negative";
  return nullptr;
}

const char* Numbers(const Question& q) {
  const AttentionArguments& a = q.a;
  if (a.alibi != nullptr && a.heads_q > 1 && a.alibi_stride != 1) return "ALIBI must be contiguous";
  if (a.sinks != nullptr && a.heads_q > 1 && a.sinks_stride != 1) return "SINKS must be contiguous";
  return nullptr;
}

// --- combinations that it refuses by its documentation ---------------------------------------------------------------

const char* Combinations(const Question& q) {
  const Sdpa& s = q.sdpa;
  if (s.alibi && !s.causal) return "ALiBi is computed under a causal mask only";
  if (s.bottom_right && s.banded() && (s.bias || s.alibi))
    return "positions that count from the end (BOTTOM_RIGHT) are not combined with BIAS or ALiBi";
  if (s.bottom_right && s.banded() && !s.lengths && s.seq_q > s.seq_kv)
    return "positions that count from the end (BOTTOM_RIGHT) need no more queries than keys";
  if (s.window_left >= 0 && !s.lengths && s.seq_q > s.seq_kv) return "a window needs no more queries than keys";
  if (s.ragged_q && q.installed.sm < 90 && q.installed.version < 91801)
    return "packed sequences are computed before sm_90 from 9.18.1 on";
  if (s.sinks && q.OneQuery()) return "SINKS are not taken with one query";
  return nullptr;
}

// --- known or suspected to be computed wrongly -----------------------------------------------------------------------

const char* Traps(const Question& q) {
  const Sdpa& s = q.sdpa;
  if (q.OneQuery() && s.banded())
    return "one query under a mask by positions is a known error of its decoding kernels where heads share K and V, "
           "and is not put to it at all";
  if (q.installed.version >= 91400 && q.installed.version < 91500 && s.window_left >= 0 && !s.causal && s.seq_kv > 1024)
    return "9.14 computes windows without a causal mask wrongly beyond 1024 keys";
  return nullptr;
}

constexpr Rule kRules[] = {Features, Sizes, Dimensions, Layouts, Bias, Numbers, Combinations, Traps, Fp8, Dropout};

// An axis that is not walked has the stride it would have if it lay inside everything else: cuDNN looks at it.
SdpaStrides Walked(const AttentionStrides& from, int64_t batch, int64_t heads, int64_t rows, int64_t dim) {
  SdpaStrides s{from.batch, from.head, from.row};
  if (rows == 1) s.row = dim;
  if (heads == 1) s.head = s.row * rows;
  if (batch == 1) s.batch = std::max(s.head * heads, s.row * rows);
  return s;
}

// Where lengths and offsets say what is in use, the longest sequence is but a bound: one plan serves all up to the next
// power of two.
int64_t Bucket(int64_t rows) { return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(rows))); }

DataType TypeOf(AttentionType type) {
  switch (type) {
    case AttentionType::kF8E4m3fn:
      return kFp8E4M3;
    case AttentionType::kF8E5m2:
      return kFp8E5M2;
    case AttentionType::kF16:
      return kHalf;
    case AttentionType::kBf16:
      return kBFloat16;
    default:
      return kFloat;
  }
}

Sdpa Described(const AttentionArguments& a, const AttentionExtras& extras) {
  Sdpa s;
  s.type = s.o_type = TypeOf(a.type);
  if (s.fp8()) s.o_type = TypeOf(extras.o_type);
  s.dropout = extras.philox != nullptr;
  s.batch = a.batch, s.heads_q = a.heads_q, s.heads_kv = a.heads_k;
  s.seq_q = a.seq_q, s.seq_kv = a.seq_kv, s.dim_qk = a.dim_qk, s.dim_v = a.dim_v;
  s.ragged_q = a.cu_seqlens_q != nullptr, s.ragged_kv = a.cu_seqlens_k != nullptr;
  s.lengths = s.ragged_q || s.ragged_kv || a.seqused_q != nullptr || a.seqused_k != nullptr || a.block_table != nullptr;
  if (s.ragged_q) s.seq_q = Bucket(std::max(a.seq_q, 1));
  if (s.ragged_kv) s.seq_kv = Bucket(std::max(a.seq_kv, 1));
  if (a.block_table != nullptr) {
    s.page = int64_t{1} << a.page_shift, s.pages = a.pages;
    // The table is a copy of our own, as long as wanted; BIAS is not.
    s.seq_kv = std::max<int64_t>(a.seq_kv, s.page);
    if (a.bias == nullptr) s.seq_kv = Bucket(s.seq_kv);
    s.table_columns = s.seq_kv / s.page;
  }
  // Packed: a batch begins where its offset says; its stride is never walked.
  const int64_t batch_q = s.ragged_q ? 1 : a.batch, rows_k = s.paged() ? s.page : s.seq_kv;
  const int64_t batch_k = s.paged() ? a.pages : s.ragged_kv ? 1 : a.batch;
  s.q = Walked(a.q_strides, batch_q, a.heads_q, s.seq_q, a.dim_qk);
  s.o = Walked(a.o_strides, batch_q, a.heads_q, s.seq_q, a.dim_v);
  s.k = Walked(a.k_strides, batch_k, a.heads_k, rows_k, a.dim_qk);
  s.v = Walked(a.v_strides, batch_k, a.heads_k, rows_k, a.dim_v);
  const auto reach = [&](int64_t rows, const AttentionStrides& strides) { return rows * strides.row; };
  const int64_t farthest = std::max({reach(a.total_q, a.q_strides), reach(a.total_q, a.o_strides),
                                     reach(a.total_k, a.k_strides), reach(a.total_k, a.v_strides)});
  s.wide_offsets = (s.ragged_q || s.ragged_kv) && farthest > INT32_MAX;

  s.softcap = a.softcap > 0;
  s.alibi = a.alibi != nullptr, s.sinks = a.sinks != nullptr, s.statistics = a.lse != nullptr;
  if (a.bias != nullptr) {
    s.bias = true, s.bias_type = a.bias_type == AttentionType::kF32 ? kFloat : s.type;
    s.bias_batch = a.batch > 1 && a.bias_strides.batch != 0, s.bias_heads = a.heads_q > 1 && a.bias_strides.head != 0;
    s.bias_strides = Walked({a.bias_strides.batch, a.bias_strides.head, a.bias_strides.row, 1},
                            s.bias_batch ? a.batch : 1, s.bias_heads ? a.heads_q : 1, a.seq_q, a.seq_kv);
  }
  s.causal = a.causal;
  // What no position reaches is no bound.
  const int64_t farther = std::max<int64_t>(a.seq_q, a.seq_kv);
  if (a.window_left >= 0 && a.window_left < farther) s.window_left = a.window_left;
  if (!a.causal && a.window_right >= 0 && a.window_right < farther) s.window_right = a.window_right;
  // The last of the keys is what one query that counts from the end stands at: nothing is to its right.
  if (a.seq_q == 1 && a.bottom_right && (s.causal || s.window_right >= 0)) s.causal = false, s.window_right = -1;
  s.bottom_right = a.bottom_right && s.banded();
  return s;
}

}  // namespace

bool DescribeSdpa(const AttentionArguments& a, uint64_t features, const Installed& installed, Sdpa* out,
                  std::string* why, const AttentionExtras& extras) {
  const auto refuse = [&](const char* reason) {
    *why = "cuDNN " + VersionText(installed.version) + ": " + reason;
    return false;
  };
  if (a.type != AttentionType::kF16 && a.type != AttentionType::kBf16 && !cuda::IsFp8(a.type))
    return refuse("it computes f16, bf16 and fp8");
  // f64 is no type of cuDNN's, and would be taken for f32.
  if (cuda::IsFp8(a.type) && extras.o_type == AttentionType::kF64) return refuse("O of fp8 operands is not f64");
  *out = Described(a, extras);
  const Question question{a, extras, features, installed, *out};
  for (const Rule rule : kRules)
    if (const char* const reason = rule(question); reason != nullptr) return refuse(reason);
  return true;
}

bool UnifiedHas(const Sdpa& sdpa, size_t version) {
  if (sdpa.fp8() || sdpa.dropout || sdpa.banded() || sdpa.bias || sdpa.alibi || sdpa.softcap || sdpa.sinks)
    return false;
  return version >= (sdpa.lengths ? 91500u : 91301u);
}

bool StatisticsInPlace(const AttentionArguments& a) {
  if (a.cu_seqlens_q != nullptr) return false;
  const AttentionStrides& s = a.lse_strides;
  return (a.seq_q == 1 || s.row == 1) && (a.heads_q == 1 || s.head == a.seq_q) &&
         (a.batch == 1 || s.batch == int64_t{a.heads_q} * a.seq_q);
}

int64_t MaskBytes(const Sdpa& sdpa) {
  // In double: sizes of a call that is refused for this may be beyond 64 bits.
  const double bytes = 2.0 * static_cast<double>(sdpa.batch) * static_cast<double>(sdpa.heads_q) *
                       static_cast<double>(sdpa.seq_q) * static_cast<double>(sdpa.mask_row());
  return bytes < 0x1p62 ? static_cast<int64_t>(bytes) : int64_t{1} << 62;
}

bool NeedsFinish(const Sdpa& sdpa, bool moves_statistics) {
  // A weight that dropout takes away is a product with 0, too; and what fp8 has no room for is the caller's to see.
  return sdpa.banded() || sdpa.lengths || sdpa.bias || sdpa.dropout || sdpa.fp8() || moves_statistics;
}

}  // namespace sage::cudnn
