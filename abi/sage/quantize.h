/* quantize.h: floats as signed integers with scales, value = scale * code, as attention's and LINEAR's SCALE_* slots take
 * them. Symmetric: codes reach from -127 to 127 (i8) or -32767 to 32767 (i16). Pure functions of libsage.so: no handle,
 * no memory kept, any thread.
 */
#ifndef SAGE_QUANTIZE_H_
#define SAGE_QUANTIZE_H_
#include "sage/sage.h"
#ifdef __cplusplus
extern "C" {
#endif

#define SAGE_QUANTIZE_GIVEN_SCALES 1u /* flags: scale is read; values beyond what it reaches saturate and are counted */

typedef struct sage_quantize_report {
  uint32_t struct_size;
  uint32_t reserved;
  uint64_t elements;
  uint64_t saturated;   /* values beyond the end of the range by half a step and more; GIVEN_SCALES only */
  uint64_t zero_groups; /* groups of zeros: their codes are 0 and their scale is 1 */
  uint64_t code_bytes;  /* of the codes alone: a quarter of f32 for i8 */
  uint64_t scale_bytes; /* of scales and means */
  double max_abs_error; /* of scale * code (+ mean) against x, as an f64 computes it */
  double rms_error;
} sage_quantize_report;

/* x: f64, f32, f16 or bf16, [B,H,S,D], or [T,H,D] of packed sequences; any strides, CPU. NaN and Inf are
 * SAGE_E_INVALID_ARGUMENT with their place; nothing is written then, nor after any other error.
 * codes (out): i8 or i16, x's shape. scale (out, in with GIVEN_SCALES): f32, shape by granularity (SAGE_PER_*, with
 * scale_block for PER_BLOCK, else 0) as attention.h says it; a leading axis of 1 is shared by the batch. Without
 * GIVEN_SCALES it is the largest magnitude of the group over 127 or 32767 (absmax); given ones are finite and above 0.
 * Codes are rounded to nearest, ties to even.
 * mean (out, optional): f32 [B,H,D]: of each sequence and channel over its S tokens, subtracted before anything else. For
 * K: softmax does not change by it, LSE and scores do, by scale * dot(q, mean) (SageAttention, Zhang et al., 2025).
 * cu_seqlens: i32 [B+1] from 0 to T, where packed rows have a mean or a scale for each sequence ([B,H] or [B,H,D]); else
 * optional, and null for [B,H,S,D]. What is written overlaps nothing else.
 * report (optional) is filled on success. */
SAGE_API sage_status sage_quantize(const sage_tensor *x, uint32_t granularity, uint32_t scale_block, uint32_t flags,
                                   const sage_tensor *cu_seqlens, const sage_tensor *codes, const sage_tensor *scale,
                                   const sage_tensor *mean, sage_quantize_report *report, sage_error *err);
/* x (out) = scale * code + mean, rounded to x's type. The tensors are those of sage_quantize. */
SAGE_API sage_status sage_dequantize(const sage_tensor *codes, uint32_t granularity, uint32_t scale_block,
                                     const sage_tensor *cu_seqlens, const sage_tensor *scale, const sage_tensor *mean,
                                     const sage_tensor *x, sage_error *err);

#ifdef __cplusplus
}
#endif
#endif
