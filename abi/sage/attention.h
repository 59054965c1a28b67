/* attention.h: one attention call, said once, exactly.
 *
 * For query i, key j, query head h, kv head g = h / (Hq/Hkv):
 *
 *   s = scale * dot(q[i,h], k[j,g])                     F_SCALE: the given value, 0 included; without it 1/sqrt(d_qk)
 *   s = softcap > 0 ? softcap * tanh(s/softcap) : s
 *   s = s + bias[b,h,i,j] - alibi[h]*|i + shift - j|    shift = 0 (TOP_LEFT) or Skv-Sq (BOTTOM_RIGHT), per sequence
 *   visible(i,j) = causal: j <= i+shift;  window: i+shift-left <= j <= i+shift+right;  bool mask (true = keep), bit,
 *                  block and CSR masks;  lengths.   All that are given must agree.
 *   p = softmax over visible j, with exp(sink[h]) added to the denominator if sinks are given
 *   o[i,h] = sum_j dropout(p[j]) * v[j, h/(Hq/Hv)]
 *   lse = ln( sum over visible exp(s), plus exp(sink) if given ), natural log
 *   A query that sees no key: o = 0, lse = the sink or -inf. Partials merge without the sink, which is added once.
 *   Keys that are not visible never touch the result, NaN and Inf in them included.
 *   In shift, Sq and Skv are a sequence's lengths in use: SEQUSED_Q, and SEQUSED_K with what this call appends.
 *
 * A backend that composes these in another order answers NO to the combination; it may not answer "nearly".
 * Causal, window and ALiBi use positions: they must name an alignment, there is no default (the systems disagree).
 */
#ifndef SAGE_ATTENTION_H_
#define SAGE_ATTENTION_H_
#include "sage/types.h"
#ifdef __cplusplus
extern "C" {
#endif

/* Feature bits: a request's bits are its requirements. A caller sets the four marked *, which no slot or number shows;
 * the host adds the rest from slots and attributes, and refuses a bit or number that contradicts them. */
#define SAGE_ATTN_F_SCALE (1ull << 0)        /* * scale is meant, 0 included */
#define SAGE_ATTN_F_GQA (1ull << 1)          /* Hq != Hkv; Hq is a multiple */
#define SAGE_ATTN_F_CAUSAL (1ull << 2)       /* * */
#define SAGE_ATTN_F_BOTTOM_RIGHT (1ull << 3) /* alignment of what uses positions; clear = TOP_LEFT */
#define SAGE_ATTN_F_WINDOW_LEFT (1ull << 4)  /* * window_left is meant, 0 included; clear = unlimited */
#define SAGE_ATTN_F_WINDOW_RIGHT (1ull << 5) /* * */
#define SAGE_ATTN_F_BIAS (1ull << 6)
#define SAGE_ATTN_F_BOOL_MASK (1ull << 7)
#define SAGE_ATTN_F_BIT_MASK (1ull << 8)
#define SAGE_ATTN_F_BLOCK_MASK (1ull << 9)
#define SAGE_ATTN_F_CSR_MASK (1ull << 10)
#define SAGE_ATTN_F_ALIBI (1ull << 11)
#define SAGE_ATTN_F_SOFTCAP (1ull << 12)
#define SAGE_ATTN_F_SINKS (1ull << 13)
#define SAGE_ATTN_F_VARLEN (1ull << 14)     /* packed [T,H,D] with cu_seqlens; bias, masks, dropout: NO in v1 */
#define SAGE_ATTN_F_Q_LENGTHS (1ull << 15)  /* padded query rows give o = 0 */
#define SAGE_ATTN_F_KV_LENGTHS (1ull << 16)
#define SAGE_ATTN_F_PAGED_KV (1ull << 17)
#define SAGE_ATTN_F_APPEND_KV (1ull << 18)  /* K_NEW, V_NEW are written at SEQUSED_K, then attended to */
#define SAGE_ATTN_F_LSE (1ull << 19)
#define SAGE_ATTN_F_DROPOUT (1ull << 20)
#define SAGE_ATTN_F_QUANT_SCALES (1ull << 21)
#define SAGE_ATTN_F_DV_DIFFERS (1ull << 22) /* d_v != d_qk */
#define SAGE_ATTN_F_HV_DIFFERS (1ull << 23) /* Hv != Hkv: one V shared by heads */
#define SAGE_ATTN_F_WEIGHTS_OUT (1ull << 24)
#define SAGE_ATTN_F_SCORES_OUT (1ull << 25)

/* Slots (indices into sage_op.slots; all optional but Q K V O). Axis order is fixed, memory layout is strides.
 * D = d_qk, T packed rows, x = f64 for f64 inputs else f32. "rep": an axis may repeat by stride 0. */
#define SAGE_ATTN_Q 0             /* [B,Hq,Sq,D]   VARLEN [T,Hq,D] */
#define SAGE_ATTN_K 1             /* [B,Hkv,Skv,D] VARLEN [T,Hkv,D] PAGED [pages,Hkv,page,D]; dtype may differ from Q */
#define SAGE_ATTN_V 2             /* as K with Hv, d_v; K's dtype */
#define SAGE_ATTN_O 3             /* out, as Q with d_v; Q's dtype, any float if Q is an integer or fp8 */
#define SAGE_ATTN_LSE 4           /* out x [B,Hq,Sq], VARLEN [Hq,T] */
#define SAGE_ATTN_BIAS 5          /* x or Q's dtype [B,Hq,Sq,Skv] rep */
#define SAGE_ATTN_MASK 6          /* bool [B,Hq,Sq,Skv] rep, true = keep */
#define SAGE_ATTN_BIT_MASK 7      /* u8 [B,Hq,Sq,ceil(Skv/8)] rep, LSB first, 1 = keep */
#define SAGE_ATTN_BLOCK_MASK 8    /* u8 [B|1,Hq|1,ceil(Sq/mask_block_q),ceil(Skv/mask_block_kv)], not 0 = keep the tile */
#define SAGE_ATTN_CSR_INDPTR 9    /* i32 [B|1,Hq|1,ceil(Sq/mask_block_q)+1], offsets into CSR_INDICES */
#define SAGE_ATTN_CSR_INDICES 10  /* i32 [n], kept tile columns, ascending within a row */
#define SAGE_ATTN_ALIBI 11        /* x [Hq], slopes */
#define SAGE_ATTN_SINKS 12        /* x [Hq], logits */
#define SAGE_ATTN_CU_SEQLENS_Q 13 /* i32 [B+1], starts at 0, ends at T */
#define SAGE_ATTN_CU_SEQLENS_K 14 /* i32 [B+1]; with packed K and V, so not when they are paged */
#define SAGE_ATTN_SEQUSED_Q 15    /* i32 [B] */
#define SAGE_ATTN_SEQUSED_K 16    /* i32 [B]; APPEND_KV: length before the append, Skv is after it; the caller advances it */
#define SAGE_ATTN_BLOCK_TABLE 17  /* i32 [B,max_pages]; entries past the length are not read */
#define SAGE_ATTN_K_NEW 18        /* [B,Hkv,Snew,D] or [T,Hkv,D], T that of Q; K's dtype; K and V become in-out (aliases) */
#define SAGE_ATTN_V_NEW 19
#define SAGE_ATTN_SCALE_Q 20      /* f32, shape by granularity; value = scale * stored */
#define SAGE_ATTN_SCALE_K 21
#define SAGE_ATTN_SCALE_V 22
#define SAGE_ATTN_SCALE_P 23
#define SAGE_ATTN_SCALE_O 24
#define SAGE_ATTN_PHILOX 25       /* u64 [2] seed, offset: Philox 4x32-10 of (seed, offset + n/4), word n mod 4, n = linear index
                                     of (b,h,i,j) in the run's shape; kept iff word >= p * 2^32, scaled 1/(1-p) */
#define SAGE_ATTN_WEIGHTS 26      /* out x [B,Hq,Sq,Skv], p before dropout, 0 where masked */
#define SAGE_ATTN_SCORES 27       /* out x [B,Hq,Sq,Skv], s before visibility, 0 past the lengths: the next
                                     layer's BIAS in residual attention */
#define SAGE_ATTN_NUM_SLOTS 28

#define SAGE_ALIGN_TOP_LEFT 1
#define SAGE_ALIGN_BOTTOM_RIGHT 2
#define SAGE_ALGORITHM_AUTO 0
#define SAGE_ALGORITHM_MATERIALISED 1 /* whole score rows in scratch */
#define SAGE_ALGORITHM_FLASH 2
#define SAGE_PER_TENSOR 1  /* [1] */
#define SAGE_PER_HEAD 2    /* [B|1,H] */
#define SAGE_PER_TOKEN 3   /* [B|1,H,S], VARLEN [H,T] */
#define SAGE_PER_CHANNEL 4 /* [B|1,H,D] */
#define SAGE_PER_BLOCK 5   /* [B|1,H,ceil(S/scale_block)] */

typedef struct sage_attention_attributes {
  uint32_t struct_size;
  uint32_t alignment;  /* SAGE_ALIGN_*; unset is an error if positions are used */
  uint64_t features;   /* from a caller the four marked bits; a plugin sees all of them */
  double scale;        /* double, because f64 attention is held to 1e-12 */
  double softcap;      /* > 0 caps */
  double dropout_p;    /* probability of dropping, 0 <= p < 1 */
  int64_t window_left, window_right;    /* >= 0, keys on that side besides j = i+shift */
  int64_t max_seq_q, max_seq_kv;        /* VARLEN: upper bound of one sequence; 0 = T */
  uint32_t algorithm;                   /* SAGE_ALGORITHM_* */
  uint32_t block_q, block_kv;           /* kernel tile; 0 = auto */
  uint32_t mask_block_q, mask_block_kv; /* BLOCK_MASK and CSR tile, then required; CSR of 1x1 is element-wise */
  uint32_t scale_block;                 /* tokens, with SAGE_PER_BLOCK */
  uint32_t granularity_q, granularity_k, granularity_v, granularity_p, granularity_o; /* SAGE_PER_*; 0 = no scale slot */
  uint32_t reserved;
} sage_attention_attributes;

#ifdef __cplusplus
}
#endif
#endif
