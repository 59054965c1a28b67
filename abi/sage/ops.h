/* ops.h: an op described. The same struct asks, plans and, by its kind, names the slots of a run.
 *
 * Outputs are allocated by the caller and never overlap inputs, except slots listed in `aliases`. Transposes, packed
 * layouts and broadcasts are strides, so no kind has a flag for them. Reductions and statistics are at least fp32
 * inside (f64 for f64). A backend implements any subset and answers NO to the rest.
 */
#ifndef SAGE_OPS_H_
#define SAGE_OPS_H_
#include "sage/attention.h"
#ifdef __cplusplus
extern "C" {
#endif

#define SAGE_OP_ATTENTION 1 /* attention.h */
#define SAGE_OP_LINEAR 2
#define SAGE_OP_MATMUL 3
#define SAGE_OP_NORM 4
#define SAGE_OP_UNARY 5
#define SAGE_OP_BINARY 6
#define SAGE_OP_SOFTMAX 7
#define SAGE_OP_REDUCE 8
#define SAGE_OP_GATHER 9
#define SAGE_OP_CONCAT 10
#define SAGE_OP_SLICE 11
#define SAGE_OP_PERMUTE 12
#define SAGE_OP_TOPK 13
#define SAGE_OP_ROPE 14
#define SAGE_OP_POOL 15
#define SAGE_KIND_BIT(kind) (1ull << (kind)) /* for sage_plugin.kinds; kinds stay below 64 */

#define SAGE_REQUIRE_DETERMINISTIC 1u  /* same bits from run to run and for any thread count */
#define SAGE_REQUIRE_STREAM_CAPTURE 2u /* run is legal inside CUDA graph capture */
#define SAGE_REQUIRE_SCALAR 4u         /* portable scalar kernels only: no vector unit, no device (use_simd = false) */

#define SAGE_ACCURACY_AUTO 0   /* f64, f32: EXACT; f16, bf16: NATIVE; i8, i16, fp8: LOSSY, their caller quantised */
#define SAGE_ACCURACY_EXACT 1  /* RMS error <= 1.0x, maximum <= 1.25x of the naive two-pass kernel in that dtype */
#define SAGE_ACCURACY_NATIVE 2 /* own 16-bit type inside, fp32 accumulation and softmax */
#define SAGE_ACCURACY_LOSSY 3  /* narrower inside */

#define SAGE_AXIS_B 1u   /* batch: axis 0 of attention (also B of lengths and tables) and of batched MATMUL */
#define SAGE_AXIS_SQ 2u  /* query rows, T of a packed Q */
#define SAGE_AXIS_SKV 4u /* keys, T of packed K, V */
#define SAGE_AXIS_M 8u   /* rows: all but the last axis of LINEAR's X and Y, A's rows in MATMUL, axis 0 elsewhere */

typedef struct sage_op {
  uint32_t struct_size;
  uint32_t kind;         /* SAGE_OP_* */
  uint32_t requirements; /* SAGE_REQUIRE_* */
  uint32_t accuracy;     /* SAGE_ACCURACY_*: the least exact class accepted */
  uint32_t dynamic_axes; /* SAGE_AXIS_* that may be smaller at run; strides stay as planned */
  uint32_t num_slots;    /* a non-null slot beyond those known here is SAGE_E_UNKNOWN_FIELD */
  uint64_t aliases;      /* bit s: slot s is read and written in place (K, V of APPEND_KV) */
  const void *attributes;          /* (optional) the kind's struct below, struct_size first; null = all zero */
  const sage_tensor *const *slots; /* [num_slots]; null = absent */
} sage_op;

/* Elementwise functions, also the epilogue of LINEAR. */
#define SAGE_FN_IDENTITY 0 /* with differing dtypes: a cast, round to nearest even, integers saturate */
#define SAGE_FN_RELU 1
#define SAGE_FN_GELU 2      /* by erf */
#define SAGE_FN_GELU_TANH 3 /* by tanh */
#define SAGE_FN_SILU 4
#define SAGE_FN_SIGMOID 5
#define SAGE_FN_TANH 6
#define SAGE_FN_ELU 7       /* alpha */
#define SAGE_FN_EXP 8
#define SAGE_FN_LOG 9
#define SAGE_FN_SQRT 10
#define SAGE_FN_ABS 11
#define SAGE_FN_NEG 12

/* LINEAR  y = fn(x W^T + b); fn is any but ELU, whose alpha has no place here.
 *         0 X [..,K]  1 W [N,K], prepacked if constant  2 B [N] (optional)  3 Y [..,N]
 *         4 SCALE_X f32 [1] or [M] (optional)  5 SCALE_W f32 [1] or [N] (optional): for i8, i16, fp8 */
typedef struct sage_linear_attributes { uint32_t struct_size, activation; } sage_linear_attributes; /* SAGE_FN_* */

/* MATMUL  c = a b, two activations; attributes null.  0 A [..,M,K]  1 B [..,K,N]  2 C [..,M,N] */

/* NORM    0 X  1 GAMMA (optional)  2 BETA (optional)  3 MEAN  4 VAR  5 Y.  LAYER, RMS: over axis..last, GAMMA and BETA of
 *         that shape. BATCH, at inference: given MEAN and VAR; axis is the channel's, 1..4 have its length. */
#define SAGE_NORM_LAYER 1
#define SAGE_NORM_RMS 2
#define SAGE_NORM_BATCH 3
typedef struct sage_norm_attributes {
  uint32_t struct_size, mode; /* SAGE_NORM_* */
  int32_t axis;               /* here and below 0..rank-1, never negative */
  uint32_t reserved;
  double epsilon;             /* as given, 0 adds none: frameworks' defaults differ */
} sage_norm_attributes;

/* UNARY   0 X  1 Y */
typedef struct sage_unary_attributes { uint32_t struct_size, function; double alpha; } sage_unary_attributes;

/* BINARY  0 A  1 B  2 Y; A and B broadcast to Y's shape by stride 0 */
#define SAGE_BINARY_ADD 1
#define SAGE_BINARY_SUB 2
#define SAGE_BINARY_MUL 3
#define SAGE_BINARY_DIV 4
#define SAGE_BINARY_MIN 5 /* NaN wins, here and in MAX */
#define SAGE_BINARY_MAX 6
typedef struct sage_binary_attributes { uint32_t struct_size, function; } sage_binary_attributes;

/* SOFTMAX 0 X  1 Y.  A line of -inf only gives 0. */
typedef struct sage_softmax_attributes { uint32_t struct_size; int32_t axis; } sage_softmax_attributes;

/* REDUCE  0 X  1 Y, with or without the reduced axes */
#define SAGE_REDUCE_SUM 1
#define SAGE_REDUCE_MEAN 2
#define SAGE_REDUCE_MAX 3
#define SAGE_REDUCE_MIN 4
typedef struct sage_reduce_attributes {
  uint32_t struct_size, function, axes, reserved; /* axes: bit per axis of X */
} sage_reduce_attributes;

/* GATHER  0 X  1 INDICES i32 or i64  2 Y.  Out of range: an error on CPU, zeros on a device; never a read outside X. */
typedef struct sage_gather_attributes { uint32_t struct_size; int32_t axis; } sage_gather_attributes;

/* CONCAT  0 Y  1.. X, any number */
typedef struct sage_concat_attributes { uint32_t struct_size; int32_t axis; } sage_concat_attributes;

/* SLICE   0 X  1 Y; Y[i] = X[begin + i*step], lengths are Y's shape */
typedef struct sage_slice_attributes {
  uint32_t struct_size, reserved;
  int64_t begin[SAGE_MAX_RANK], step[SAGE_MAX_RANK]; /* step 0 = 1, may be negative */
} sage_slice_attributes;

/* PERMUTE 0 X  1 Y, a copy; axis i of Y is axis axes[i] of X */
typedef struct sage_permute_attributes { uint32_t struct_size, reserved; int32_t axes[SAGE_MAX_RANK]; } sage_permute_attributes;

/* TOPK    0 X  1 VALUES  2 INDICES i32 or i64; k is VALUES' length; sorted, ties to the lower index, NaN is an error */
typedef struct sage_topk_attributes { uint32_t struct_size; int32_t axis; uint32_t smallest, reserved; } sage_topk_attributes;

/* ROPE    0 X [B,H,S,D] or [T,H,D]  1 POSITIONS i32 [B,S] or [T]  2 COS  3 SIN (optional) f32 [P,rotary_dim/2], else theta
 *         = position * base^(-2i/rotary_dim)  4 Y.  A position outside the table: as GATHER's out of range. */
#define SAGE_ROPE_HALVES 1      /* pairs (i, i + rotary_dim/2): GPT-NeoX, Llama in Hugging Face */
#define SAGE_ROPE_INTERLEAVED 2 /* pairs (2i, 2i + 1) */
typedef struct sage_rope_attributes {
  uint32_t struct_size, style; /* SAGE_ROPE_*, no default */
  uint32_t rotary_dim, reserved; /* 0 = D */
  double base;                 /* 0 = 10000 */
} sage_rope_attributes;

/* POOL    0 X [B,S,C]  1 MASK bool [B,S] (optional, true = counts)  2 Y [B,C] or, windowed, [B,S',C]; nothing counted: 0 */
#define SAGE_POOL_MEAN 1
#define SAGE_POOL_MAX 2
#define SAGE_POOL_FIRST 3 /* CLS */
#define SAGE_POOL_LAST 4
typedef struct sage_pool_attributes {
  uint32_t struct_size, function;   /* SAGE_POOL_* */
  uint32_t window, stride;          /* 0 = the whole sequence; stride 0 = window */
  uint32_t pad_begin, pad_end;      /* not counted */
} sage_pool_attributes;

#ifdef __cplusplus
}
#endif
#endif
