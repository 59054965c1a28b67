// names.cc: the words of the ABI: dtypes, kinds and slots by name, which slots a kind writes, how large its attributes
// are.
#include <cstddef>
#include <iterator>

#include "sage/support/check_internal.h"
#include "sage/support/check_op.h"

namespace sage::support {
namespace {

struct Attributes {
  uint32_t size = 0;      // of the struct; 0: the kind has none
  uint32_t reserved = 0;  // offset of its reserved field; 0: it has none
};
template <class Struct>
constexpr Attributes Of() {
  if constexpr (requires(Struct attributes) { attributes.reserved; })
    return {sizeof(Struct), offsetof(Struct, reserved)};
  else
    return {sizeof(Struct), 0};
}

struct Kind {
  const char* name;
  uint32_t slots;
  uint32_t outputs;  // bit s: slot s is written (in-out slots are a matter of sage_op.aliases)
  const char* const* slot_names;
  Attributes attributes = {};
};

constexpr const char* kAttention[] = {
    "Q",          "K",           "V",           "O",     "LSE",     "BIAS",         "MASK",         "BIT_MASK",
    "BLOCK_MASK", "CSR_INDPTR",  "CSR_INDICES", "ALIBI", "SINKS",   "CU_SEQLENS_Q", "CU_SEQLENS_K", "SEQUSED_Q",
    "SEQUSED_K",  "BLOCK_TABLE", "K_NEW",       "V_NEW", "SCALE_Q", "SCALE_K",      "SCALE_V",      "SCALE_P",
    "SCALE_O",    "PHILOX",      "WEIGHTS",     "SCORES"};
static_assert(std::size(kAttention) == SAGE_ATTN_NUM_SLOTS);
constexpr const char* kLinear[] = {"X", "W", "B", "Y", "SCALE_X", "SCALE_W"};
constexpr const char* kMatmul[] = {"A", "B", "C"};
constexpr const char* kNorm[] = {"X", "GAMMA", "BETA", "MEAN", "VAR", "Y"};
constexpr const char* kInOut[] = {"X", "Y"};
constexpr const char* kBinary[] = {"A", "B", "Y"};
constexpr const char* kGather[] = {"X", "INDICES", "Y"};
constexpr const char* kConcat[] = {"Y", "X"};
constexpr const char* kTopk[] = {"X", "VALUES", "INDICES"};
constexpr const char* kRope[] = {"X", "POSITIONS", "COS", "SIN", "Y"};
constexpr const char* kPool[] = {"X", "MASK", "Y"};

constexpr Kind kKinds[] = {
    {"?", 0, 0, nullptr},
    {"ATTENTION", SAGE_ATTN_NUM_SLOTS,
     1u << SAGE_ATTN_O | 1u << SAGE_ATTN_LSE | 1u << SAGE_ATTN_WEIGHTS | 1u << SAGE_ATTN_SCORES, kAttention,
     Of<sage_attention_attributes>()},
    {"LINEAR", 6, 1u << 3, kLinear, Of<sage_linear_attributes>()},
    {"MATMUL", 3, 1u << 2, kMatmul},
    {"NORM", 6, 1u << 5, kNorm, Of<sage_norm_attributes>()},
    {"UNARY", 2, 1u << 1, kInOut, Of<sage_unary_attributes>()},
    {"BINARY", 3, 1u << 2, kBinary, Of<sage_binary_attributes>()},
    {"SOFTMAX", 2, 1u << 1, kInOut, Of<sage_softmax_attributes>()},
    {"REDUCE", 2, 1u << 1, kInOut, Of<sage_reduce_attributes>()},
    {"GATHER", 3, 1u << 2, kGather, Of<sage_gather_attributes>()},
    {"CONCAT", UINT32_MAX, 1u << 0, kConcat, Of<sage_concat_attributes>()},
    {"SLICE", 2, 1u << 1, kInOut, Of<sage_slice_attributes>()},
    {"PERMUTE", 2, 1u << 1, kInOut, Of<sage_permute_attributes>()},
    {"TOPK", 3, 1u << 1 | 1u << 2, kTopk, Of<sage_topk_attributes>()},
    {"ROPE", 5, 1u << 4, kRope, Of<sage_rope_attributes>()},
    {"POOL", 3, 1u << 2, kPool, Of<sage_pool_attributes>()},
};

const Kind& Find(uint32_t kind) { return kKinds[kind < std::size(kKinds) ? kind : 0]; }

struct Dtype {
  sage_dtype dtype;
  uint32_t size;
  const char* name;
};
constexpr Dtype kDtypes[] = {{SAGE_I8, 1, "i8"},          {SAGE_I16, 2, "i16"},   {SAGE_I32, 4, "i32"},
                             {SAGE_I64, 8, "i64"},        {SAGE_U8, 1, "u8"},     {SAGE_U64, 8, "u64"},
                             {SAGE_F16, 2, "f16"},        {SAGE_F32, 4, "f32"},   {SAGE_F64, 8, "f64"},
                             {SAGE_BF16, 2, "bf16"},      {SAGE_BOOL, 1, "bool"}, {SAGE_F8_E4M3FN, 1, "f8_e4m3fn"},
                             {SAGE_F8_E5M2, 1, "f8_e5m2"}};

}  // namespace

uint32_t DtypeSize(sage_dtype dtype) {
  for (const Dtype& known : kDtypes)
    if (known.dtype == dtype) return known.size;
  return 0;
}

const char* DtypeName(sage_dtype dtype) {
  for (const Dtype& known : kDtypes)
    if (known.dtype == dtype) return known.name;
  return "?";
}

bool IsFloat(sage_dtype dtype) {
  return dtype == SAGE_F64 || dtype == SAGE_F32 || dtype == SAGE_F16 || dtype == SAGE_BF16;
}

uint32_t AttributesSize(uint32_t kind) { return Find(kind).attributes.size; }

uint32_t ReservedOffset(uint32_t kind) { return Find(kind).attributes.reserved; }

bool IsQuantised(sage_dtype dtype) {
  return dtype == SAGE_I8 || dtype == SAGE_I16 || dtype == SAGE_F8_E4M3FN || dtype == SAGE_F8_E5M2;
}

const char* KindName(uint32_t kind) { return Find(kind).name; }

uint32_t SlotCount(uint32_t kind) { return Find(kind).slots; }

bool SlotIsOutput(uint32_t kind, uint32_t slot) { return slot < 32 && (Find(kind).outputs >> slot & 1u) != 0; }

const char* SlotName(uint32_t kind, uint32_t slot) {
  const Kind& known = Find(kind);
  if (known.slot_names == nullptr) return "?";
  if (kind == SAGE_OP_CONCAT) return known.slot_names[slot == 0 ? 0 : 1];
  return slot < known.slots ? known.slot_names[slot] : "?";
}

}  // namespace sage::support
