// attention_kernels.h: the inner loops of attention as a table, one an instruction set and number type.
//
// A score is one chain of multiply-adds over d, in order; a tile's share of an output one chain over the keys, in
// order. Neither depends on which rows or keys are computed beside it, so a row has the same bits in every batch, head
// group, thread count and padding. An invisible key has the score -inf and then the weight -0.0: adding -0.0 * v
// changes no finite sum, and the sign tells the rare path, taken where V has NaN or Inf, which keys to leave out.
//
// Only C types here: the files that are compiled for wide registers may not instantiate anything the baseline shares.
#ifndef SAGE_PLUGINS_CPU_ATTENTION_KERNELS_H_
#define SAGE_PLUGINS_CPU_ATTENTION_KERNELS_H_

#include <stdint.h>

namespace sage::cpu {

// How stored elements become T. kBf16 and kF16 only where T is float.
enum class Stored : int32_t { kNative = 0, kBf16 = 1, kF16 = 2 };

// One row of scores of a tile on its way to softmax; lanes are keys counted from the tile's first.
template <class T>
struct ScoreRow {
  int64_t begin, end;  // the lanes to work on: multiples of the width
  int64_t low, high;   // of these the visible ones
  T scale, softcap;    // softcap 0: none
  T alibi_slope;       // 0: none
  T alibi_origin;      // the lane at distance 0; may lie outside the tile
  const T* bias;       // (optional) by lane, readable up to `end`
  const T* keep;       // (optional) by lane, readable up to `end`: 0 = invisible
};

// Pointers to T are aligned to T, nothing more. Lengths called padded are multiples of width.
template <class T>
struct AttentionKernels {
  int32_t width;      // T in a register
  int32_t row_group;  // rows computed together at most
  int32_t panel;      // keys a panel of packed K has; the last one may be narrower, by whole registers

  // out[r*ld + c] = rows[r][c] for c < length, 0 up to the padded length. rows: at any byte address.
  void (*pack_rows)(Stored stored, const void* const* rows, int64_t count, int64_t length, T* out, int64_t ld);
  // K transposed into panels: element c of key k at out[panel_base + c*panel_width + k - panel_base/length].
  // rows: `count` pointers, a multiple of width (repeat one to fill up).
  void (*pack_keys)(Stored stored, const void* const* rows, int64_t count, int64_t length, T* out);
  // s[r*lds + k] = dot(q row r, key k), r < rows <= row_group, begin <= k < end; count: as packed.
  void (*scores)(int32_t rows, const T* q, int64_t ldq, const T* panels, int64_t count, int64_t length, int64_t begin,
                 int64_t end, T* s, int64_t lds);
  // Raw dots become scores: scale, softcap, bias, ALiBi, -inf where invisible. Returns their maximum, NaN left out.
  T (*prepare)(const ScoreRow<T>& row, T* s);
  // s becomes exp(s - maximum), -0.0 where it was -inf, over lanes [begin,end). Returns the sum.
  T (*exponentiate)(T maximum, int64_t begin, int64_t end, T* s);
  // o[r] = o[r] * alpha[r] + sum over begin <= k < end of p[r][k] * v[k], dv_padded columns.
  void (*accumulate)(int32_t rows, const T* p, int64_t ldp, const T* v, int64_t ldv, int64_t begin, int64_t end,
                     int64_t dv_padded, const T* alpha, T* o, int64_t ldo);
  // The same for one row, v[k] left alone where p[k] is -0.0.
  void (*accumulate_visible)(const T* p, const T* v, int64_t ldv, int64_t begin, int64_t end, int64_t dv_padded,
                             T alpha, T* o);
  // 1 when v[begin..end) has no NaN and no Inf.
  int32_t (*all_finite)(const T* v, int64_t ldv, int64_t begin, int64_t end, int64_t dv_padded);
  T (*exp)(T x);  // x <= 0 or NaN; the same as exponentiate's
};

extern const AttentionKernels<float> kAttentionScalarF32, kAttentionAvx2F32, kAttentionAvx512F32;
extern const AttentionKernels<double> kAttentionScalarF64, kAttentionAvx2F64, kAttentionAvx512F64;

}  // namespace sage::cpu

#endif  // SAGE_PLUGINS_CPU_ATTENTION_KERNELS_H_
