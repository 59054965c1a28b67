// attention_kernels.h: the inner loops of attention as a table, one an instruction set and number type.
//
// Two halves. The products: Q, K and V are packed in whatever form the table's instructions want, opaque to the caller,
// and multiplied: a score is one chain of multiply-adds over d, in order; a tile's share of an output one chain over
// the keys, in order. The softmax between them, on T. Neither depends on which rows or keys are computed beside it, so
// a row has the same bits in every batch, head group, thread count and padding. An invisible key has the score -inf and
// then the weight -0.0: adding -0.0 * v changes no finite sum, and the sign tells the rare path, taken where V has NaN
// or Inf, which keys to leave out.
//
// Only C types here: the files that are compiled for wide registers may not instantiate anything the baseline shares.
#ifndef SAGE_PLUGINS_CPU_ATTENTION_KERNELS_H_
#define SAGE_PLUGINS_CPU_ATTENTION_KERNELS_H_

#include <stdint.h>

namespace sage::cpu {

// How stored elements become T. The others only where T is float; kI8 only where rows are read in place.
enum class Stored : int32_t { kNative = 0, kBf16 = 1, kF16 = 2, kI8 = 3 };

// One row of scores of a tile on its way to softmax; lanes are keys counted from the tile's first.
template <class T>
struct ScoreRow {
  int64_t begin, end;    // the lanes to work on: multiples of the width
  int64_t low, high;     // of these the visible ones
  T factor;              // of the raw dot: the scale
  T softcap;             // 0: none
  T alibi_slope;         // 0: none
  T alibi_origin;        // the lane at distance 0; may lie outside the tile
  const T* bias;         // (optional) by lane, readable up to `end`
  const uint64_t* keep;  // (optional) lane k is bit k % 64 of word k / 64, readable up to `end`: 0 = invisible
};

// ahead (optional): rows that will be packed or multiplied a tile later, one for each of these; they are asked for on
// the way. They lie at distances that the processor does not foresee, and memory should never be idle while it
// computes.
//
// Pointers to T are aligned to T, packed operands to 64 bytes; a packed row begins every ld elements, padded with zeros
// to a multiple of dim_step. Lengths called padded are multiples of it too.
template <class T>
struct AttentionKernels {
  int32_t width;            // T in a register
  int32_t row_group;        // rows computed together at most
  int32_t few_rows;         // the same of scores_in_place and accumulate_in_place, not fewer; 0: there are none
  int32_t panel;            // keys a panel of packed K has; the last one may be narrower, by whole registers
  int32_t element;          // bytes that a packed element of Q or K takes
  int32_t dim_step;         // packed rows of Q are padded to a multiple of it; one of width where packed here
  int32_t row_tail;         // elements of a packed row of Q behind that
  int32_t value_element;    // bytes that a packed element of V takes
  int32_t value_dim_step;   // packed rows of V are padded to a multiple of it; one of width
  int32_t value_step;       // keys that accumulate takes together: a packed V tile is padded to a multiple of it
  int32_t values_in_place;  // V may be read where it lies: packed V is T, row after row

  // (optional) Says of each row whether this table's form cannot hold it: unfit[r] becomes 1, else 0; returns how many
  // cannot. Such rows of K and V are then packed as zeros, and what reads one that matters, or a row of Q like that, is
  // computed by `otherwise`, whose row_group is not longer and whose width divides this one's.
  int64_t (*find_unfit)(Stored stored, const void* const* rows, int64_t count, int64_t length, uint8_t* unfit);
  const AttentionKernels<T>* otherwise;  // null where find_unfit is
  // (optional) Around any calls of scores and accumulate: a worker's registers set up and given up.
  void (*begin_task)();
  void (*end_task)();

  // The form of Q. rows: `count` pointers at any byte address; out has room for row_group rows more than needed.
  void (*pack_queries)(Stored stored, const void* const* rows, int64_t count, int64_t length, void* out, int64_t ld);
  // The form of K: panels. rows: `count` pointers, a multiple of width (repeat one to fill up).
  void (*pack_keys)(Stored stored, const void* const* rows, int64_t count, int64_t length, void* out,
                    const void* const* ahead);
  // The form of V.
  void (*pack_values)(Stored stored, const void* const* rows, int64_t count, int64_t length, void* out, int64_t ld,
                      const void* const* ahead);
  // s[r*lds + k] = dot(q row r, key k), r < rows <= row_group, begin <= k < end; count: as packed.
  void (*scores)(int32_t rows, const void* q, int64_t ldq, const void* keys, int64_t count, int64_t length,
                 int64_t begin, int64_t end, T* s, int64_t lds);
  // o[r] = o[r] * alpha[r] + sum over begin <= k < end of p[r][k] * v[k], dv_padded columns. Lanes of p between begin
  // and end and the next multiples of value_step are weights too (-0.0 where invisible).
  void (*accumulate)(int32_t rows, const T* p, int64_t ldp, const void* v, int64_t ldv, int64_t begin, int64_t end,
                     int64_t dv_padded, const T* alpha, T* o, int64_t ldo);
  // The same for one row, v[k] left alone where p[k] is -0.0.
  void (*accumulate_visible)(const T* p, const void* v, int64_t ldv, int64_t begin, int64_t end, int64_t dv_padded,
                             T alpha, T* o);
  // (optional) Both products, to the same bits, for few_rows rows of Q at most, which read K and V but once: rows of
  // them where they lie, at any byte address. Keys as for pack_keys; begin, end and the weights as for accumulate;
  // length: whole registers of V.
  void (*scores_in_place)(Stored stored, int32_t rows, const void* q, int64_t ldq, const void* const* keys,
                          int64_t count, int64_t length, T* s, int64_t lds, const void* const* ahead);
  void (*accumulate_in_place)(Stored stored, int32_t rows, const T* p, int64_t ldp, const void* const* values,
                              int64_t begin, int64_t end, int64_t length, const T* alpha, T* o, int64_t ldo,
                              const void* const* ahead);
  // 1 when v[begin..end) has no NaN and no Inf.
  int32_t (*all_finite)(const void* v, int64_t ldv, int64_t begin, int64_t end, int64_t dv_padded);

  // Raw dots become scores: factor, softcap, bias, ALiBi, -inf where invisible. Returns their maximum, NaN left out.
  T (*prepare)(const ScoreRow<T>& row, T* s);
  // s becomes e^(s - maximum), -0.0 where it was -inf, over lanes [begin,end). Returns the sum.
  T (*exponentiate)(T maximum, int64_t begin, int64_t end, T* s);
  // The online step of a row whose scores are prepared and have the maximum `best`: *maximum moves, *alpha is what it
  // rescales by, s becomes weights, *sum follows.
  void (*online_prepared)(T best, int64_t begin, int64_t end, T* s, T* maximum, T* sum, T* alpha);
  // The same of several rows that see all their lanes and need nothing but the factor, which is positive.
  void (*online_plain)(int32_t rows, T factor, int64_t begin, int64_t end, T* s, int64_t lds, T* maximum, T* sum,
                       T* alpha);
  // Lanes [begin, end) of rows, each times its factor.
  void (*multiply_rows)(int32_t rows, const T* factors, int64_t begin, int64_t end, T* s, int64_t lds);
  // (optional) to[c] = o[c] / denominator, rounded to bf16, for c < length; to: at any byte address.
  void (*store_bf16)(const T* o, T denominator, int64_t length, void* to);
  // One row's (maximum, sum, o), added to *total_maximum, *total_sum, total_o.
  void (*merge)(int64_t dv_padded, T maximum, T sum, const T* o, T* total_maximum, T* total_sum, T* total_o);
};

extern const AttentionKernels<float> kAttentionAvx512Bf16;  // Q, K and V stored as bf16
// By what Q, K and V are stored as: f32 or mixed; bf16 or f16; bf16; bf16 with weights rounded to it.
extern const AttentionKernels<float> kAttentionAmxF32, kAttentionAmxF16, kAttentionAmxBf16, kAttentionAmxBf16Native;
extern const AttentionKernels<float> kAttentionScalarF32, kAttentionAvx2F32, kAttentionAvx512F32, kAttentionNeonF32;
extern const AttentionKernels<double> kAttentionScalarF64, kAttentionAvx2F64, kAttentionAvx512F64, kAttentionNeonF64;

}  // namespace sage::cpu

#endif  // SAGE_PLUGINS_CPU_ATTENTION_KERNELS_H_
