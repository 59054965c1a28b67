// kernels.h: the inner loops of this backend as a table, one an instruction set.
//
// One integer product underlies them all: sums of rows of codes (left) with 16 columns of codes at a time (right), over
// a depth: queries with keys over d, weights with values over keys, activations with weights of LINEAR over K. Sums of
// integers have no order, so every table gives the same ones; and what is float around them is done in the same order
// on 16 lanes everywhere (lanes16_*.inc.h): a result has the same bits whatever the instruction set.
//
// Only C types here: the files that are compiled for wide registers may not instantiate anything the baseline shares.
#ifndef SAGE_PLUGINS_INT8_KERNELS_H_
#define SAGE_PLUGINS_INT8_KERNELS_H_

#include <stdint.h>

#include "cpu/attention_kernels.h"

namespace sage::int8 {

constexpr int64_t kPanel = 16;         // columns that lie together
constexpr int64_t kWeightBlock = 128;  // keys whose attention weights share one scale

// How codes lie, opaque to all but panels.h and the kernels. `group` neighbours along the depth lie together, each in
// `unit` bytes; depths are padded with zeros to a multiple of `depth_step`.
struct CodeForm {
  int32_t unit;        // 1, or 2: widened
  int32_t group;       // 2, 4 or 8 of one byte, 2 of two
  int32_t depth_step;  // a multiple of group that divides kWeightBlock
  // What is added to a left code before it is stored: 128 to codes of -128 to 127 where the instruction's left side is
  // unsigned, -128 to a weight's code of 0 to 255 where it is signed. It is taken out again by the corrections that lie
  // before each panel's codes: minus the offset times the sum of each column.
  int32_t left_offset, weight_offset;
};

// One row of codes on the left ends, after its padded depth, with this.
struct RowTail {
  float scale;     // of the row
  float constant;  // added to each of its scores: q . mean of K, in which K's codes are apart from K
  float reserved[2];
};

// Before each panel's codes, but V's.
struct PanelHead {
  float scale[16];         // of the columns
  int32_t correction[16];  // for left_offset
};

// V of a tile: this; the tokens' scales, a float for each key, padded to whole blocks; then a panel for each 16
// channels: their scales, and of each block of keys the corrections for weight_offset, int32 [16], and the codes.
struct ValueHead {
  int32_t finite;  // 0: the scale of some token is NaN
  int32_t reserved[15];
};

// In the place of a float table's products for a few rows.
struct CacheKernels {
  decltype(cpu::AttentionKernels<float>::scores_in_place) scores;
  decltype(cpu::AttentionKernels<float>::accumulate_in_place) accumulate;
};

struct Int8Kernels {
  const char* name;
  CodeForm form;
  // Queries, keys and values as panels.h packs them; `accumulate` quantises the weights itself.
  cpu::AttentionKernels<float> attention;
  // (optional) Of rows stored as i8, from integers: to the accuracy of f32, or of 16-bit floats.
  CacheKernels cache_exact, cache_native;
  // Rows of floats on their way to codes; n: a multiple of 16. y = (x - less) * times, both optional: the largest
  // magnitude of y, +inf where x has a NaN or an Inf. sums += x, or its magnitudes. codes = x * inverse, to nearest
  // even, which must fit. Sum of x * y.
  float (*prepare_row)(const float* x, const float* less, const float* times, int64_t n, float* y);
  void (*add_row)(const float* x, int32_t magnitudes, int64_t n, float* sums);
  // Whether all are finite and above 0.
  int32_t (*all_positive)(const float* x, int64_t n);
  void (*encode_row)(const float* x, float inverse, int64_t n, int8_t* codes);
  float (*dot_rows)(const float* x, const float* y, int64_t n);
  // y[r][n] = sum over depth of left[r] x right[n], 16 columns a panel, exact: r < rows, n < 16 * panels. left: rows of
  // row_bytes; right: panels of panel_bytes, a PanelHead in front. y: ldy int32 a row. Sets up and gives up whatever
  // registers it needs: not between attention.begin_task and end_task.
  void (*product)(int64_t rows, const void* left, int64_t row_bytes, const void* right, int64_t panel_bytes,
                  int64_t panels, int64_t depth, int32_t* y, int64_t ldy);
  // The same in floats: each sum times the scale in its row's tail, times its column's, plus its column's bias, each
  // step rounded. scales, bias: [16 * panels]. Between attention.begin_task and end_task, where the table has these.
  void (*scaled_product)(int64_t rows, const void* left, int64_t row_bytes, const void* right, int64_t panel_bytes,
                         int64_t panels, int64_t depth, const float* scales, const float* bias, float* y, int64_t ldy);
};

// pack_values of the cpu's table for bf16, of any float type.
void PackValuesAsBf16(cpu::Stored stored, const void* const* rows, int64_t count, int64_t length, void* packed,
                      int64_t ld, const void* const* ahead);

extern const Int8Kernels kScalarKernels, kAvx2Kernels, kAvx512VnniKernels, kAmxKernels, kNeonKernels, kDotprodKernels,
    kI8mmKernels;

}  // namespace sage::int8

#endif  // SAGE_PLUGINS_INT8_KERNELS_H_
