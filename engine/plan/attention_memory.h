// attention_memory.h: what one attention op needs in memory, and what it would need with the scores kept.
//
// The literature quotes several ratios under one name. They are kept apart here: scratch against the score matrix, the
// whole (Q, K, V, O included) against the whole with the matrix, and keys over tile, which measures nothing but tiling.
// Not a measurement: sizes of the planned shapes, exact and known before anything is allocated.
#ifndef SAGE_ENGINE_PLAN_ATTENTION_MEMORY_H_
#define SAGE_ENGINE_PLAN_ATTENTION_MEMORY_H_

#include <cstdint>

#include "json.h"
#include "sage/plugin.h"
#include "sage/sage.h"

namespace sage {

// Bytes; UINT64_MAX where a count does not fit. Axes that repeat by stride 0 are counted once.
struct AttentionMemory {
  uint64_t q = 0, k = 0, v = 0, o = 0, other = 0;  // other: masks, bias, lengths, LSE and what else the op names
  uint64_t scratch = 0;                            // the plan's workspace: what a context allocates for it
  uint64_t packed_kv = 0, partials = 0;            // of it, what grows with the keys, as far as the backend tells
  uint64_t working_set = 0;                        // the rest of it
  uint64_t prepacked = 0;                          // constants the plan has packed: once a plan, not in the total
  uint64_t total = 0;                              // all of the above
  uint64_t scores = 0;                             // one score matrix [B,Hq,Sq,Skv] in f32, in f64 for f64
  uint64_t scores_avoided = 0;                     // of it, what the scratch does not hold; 0 if scratch is as large
  uint64_t total_with_scores = 0;                  // what a kernel needs that keeps the matrix: tensors and scores
  double keys_over_block_kv = 0;                   // keys / block_kv; 0 = the tile is the backend's choice
};

// op: a checked ATTENTION op with all its slots. info: what its plan says it needs; before there is a plan, the
// answer's workspace.
AttentionMemory MemoryOfAttention(const sage_op& op, const sage_plan_info& info);

// The same as sage.h has it; ratios over nothing are 0.
sage_attention_memory PublicMemory(const AttentionMemory& memory);

// The member "memory" of an explain object.
void WriteAttentionMemory(JsonWriter& out, const AttentionMemory& memory);

}  // namespace sage

#endif  // SAGE_ENGINE_PLAN_ATTENTION_MEMORY_H_
