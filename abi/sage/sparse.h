/* sparse.h: which keys a query need not see, decided before the call: masks from a partition of the sequence, and a
 * gate that says how much of a model is worth running. Pure functions of libsage.so: no handle, no memory of their own,
 * any thread. What they write are ordinary slots and attributes of attention.h. No minimum cut is computed here: the
 * number of parts and the cut's weight (lambda) come from whoever watches the graph of tokens.
 */
#ifndef SAGE_SPARSE_H_
#define SAGE_SPARSE_H_
#include "sage/sage.h"
#ifdef __cplusplus
extern "C" {
#endif

/* ---- the mask of a partition --------------------------------------------------------------------------------------- *
 * seq tokens in `parts` chunks of floor(seq/parts), the last takes the rest: 1 <= parts <= seq <= 2^24. Query i sees
 *   key j of its own chunk, j <= i, and
 *   the first token of every earlier chunk, if i is one of the first SAGE_MINCUT_REACH tokens of its chunk.
 * Always causal, Sq = Skv = seq. One mask, three forms:
 *   bool       every position; exact; seq^2 bytes
 *   CSR 1x1    the kept positions; exact; for CSR_INDPTR [1,1,seq+1] and CSR_INDICES
 *   tiles      of tile_q x tile_kv: kept where any of its positions is; as CSR or as BLOCK_MASK. A superset: give the bool
 *              mask (or CSR 1x1) as well, then tiles are skipped and the edges are right.
 * *kept: positions or tiles kept. A null array asks for that number only. Too small an array: SAGE_E_BUFFER_TOO_SMALL,
 * nothing written. */
#define SAGE_MINCUT_REACH 4

/* mask: bool [seq,seq], `bytes` of it. */
SAGE_API sage_status sage_mincut_mask(int64_t seq, int64_t parts, void *mask, uint64_t bytes, uint64_t *kept,
                                      sage_error *err);
/* indptr: [ceil(seq/tile_q) + 1]; indices: [*kept], at most 2^31 - 1. Null indices: *kept, and indptr where given. */
SAGE_API sage_status sage_mincut_csr(int64_t seq, int64_t parts, uint32_t tile_q, uint32_t tile_kv, int32_t *indptr,
                                     uint64_t num_indptr, int32_t *indices, uint64_t num_indices, uint64_t *kept,
                                     sage_error *err);
/* blocks: u8 [ceil(seq/tile_q), ceil(seq/tile_kv)], 1 = kept. */
SAGE_API sage_status sage_mincut_blocks(int64_t seq, int64_t parts, uint32_t tile_q, uint32_t tile_kv, void *blocks,
                                        uint64_t bytes, uint64_t *kept, sage_error *err);

/* ---- the gate ------------------------------------------------------------------------------------------------------- */

#define SAGE_GATE_SKIP 1u       /* flags: run nothing */
#define SAGE_GATE_FORCE_SAFE 2u /* flags: the safe tier, whatever the rest says */
#define SAGE_GATE_SPIKE 4u      /* flags: spike_fired and spike_rate_q15 are meant */

/* What was seen of the token graph. *_q15: 0 .. 32767 stands for 0 .. 1. */
typedef struct sage_gate_packet {
  uint32_t struct_size;
  uint32_t flags;                      /* SAGE_GATE_* */
  uint32_t lambda, lambda_prev;        /* weight of the minimum cut, now and before */
  uint32_t boundary_edges;             /* edges that cross it */
  uint32_t boundary_concentration_q15; /* how few tokens they hang on */
  uint32_t partition_count;
  uint32_t spike_fired;                /* 0: nothing happened since */
  uint32_t spike_rate_q15;
  uint32_t reserved;
} sage_gate_packet;

/* A tier: how much is run. */
typedef struct sage_gate_tier {
  uint32_t layers;   /* of the model, from the first */
  uint32_t sequence; /* newest tokens */
  uint32_t window;   /* keys a query sees, itself included */
  uint32_t reserved;
} sage_gate_tier;

/* Zero means the default in brackets, in limits and in tiers. */
typedef struct sage_gate_policy {
  uint32_t struct_size;
  uint32_t lambda_min;                     /* [30] */
  uint32_t drop_ratio_q15_max;             /* [12288] (lambda_prev - lambda) / lambda_prev */
  uint32_t boundary_edges_max;             /* [20] */
  uint32_t boundary_concentration_q15_max; /* [20480] */
  uint32_t partitions_max;                 /* [10] */
  uint32_t spike_rate_q15_max;             /* [16384] above it: a storm */
  uint32_t reserved;
  sage_gate_tier normal, reduced, safe;    /* [4 layers, 64 tokens, 16 keys] [2, 32, 8] [1, 8, 4] */
} sage_gate_policy;

/* Asked in this order, the first that holds decides: SKIPPED, FORCED, QUIET, STORM, QUARANTINE, FLUSH_KV, REDUCE_SCOPE. */
#define SAGE_GATE_ALLOW 1        /* none of them: tier 0 */
#define SAGE_GATE_REDUCE_SCOPE 2 /* too many boundary edges, too concentrated, too many parts: tier 1 */
#define SAGE_GATE_FLUSH_KV 3     /* lambda fell by more than drop_ratio_q15_max: tier 1, and the cache is stale */
#define SAGE_GATE_QUARANTINE 4   /* lambda < lambda_min: tier 2 */
#define SAGE_GATE_STORM 5        /* spikes above spike_rate_q15_max: tier 2 */
#define SAGE_GATE_FORCED 6       /* SAGE_GATE_FORCE_SAFE: tier 2 */
#define SAGE_GATE_QUIET 7        /* SAGE_GATE_SPIKE given and none fired: tier 3 */
#define SAGE_GATE_SKIPPED 8      /* SAGE_GATE_SKIP: tier 3 */

typedef struct sage_gate_decision {
  uint32_t struct_size;
  uint32_t verdict;          /* SAGE_GATE_ALLOW .. SAGE_GATE_SKIPPED */
  uint32_t tier;             /* 0 normal, 1 reduced, 2 safe, 3 nothing is run */
  uint32_t drop_ratio_q15;   /* 0 where lambda rose */
  uint32_t layers, sequence, window; /* all 0 in tier 3 */
  uint32_t reserved;
} sage_gate_decision;

/* policy (optional): null = all defaults. */
SAGE_API sage_status sage_gate_decide(const sage_gate_packet *packet, const sage_gate_policy *policy,
                                      sage_gate_decision *out, sage_error *err);
/* The decision's window written into an attention: CAUSAL, and WINDOW_LEFT of window - 1 or what it had if that is
 * narrower. alignment must be set. `sequence` and `layers` are the caller's: how many rows he passes, how many nodes he
 * runs. SAGE_E_INVALID_ARGUMENT in tier 3: there is nothing to run. */
SAGE_API sage_status sage_gate_apply(const sage_gate_decision *decision, sage_attention_attributes *attributes,
                                     sage_error *err);

#ifdef __cplusplus
}
#endif
#endif
