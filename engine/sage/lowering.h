// lowering.h: what a SAGE graph hands to a session: one attention node with its projections, as a plain op graph.
//
// Two forms of the same question. With content, P = softmax(gamma*scale*QK^T + bias) in the model's dtype; without
// (gamma 0, or nothing to compare), the content is a zero of width 1 and everything is float64, so that the answer is
// the legacy one to 1e-12 and costs next to nothing. IDENTITY projections are slices and norms, done in double by
// ProjectQuery and ProjectKey before the graph; SEEDED and FILE are LINEAR nodes in it.
#ifndef SAGE_ENGINE_SAGE_LOWERING_H_
#define SAGE_ENGINE_SAGE_LOWERING_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "model/graph.h"
#include "model/sage_params.h"
#include "status.h"

namespace sage {

// A size of the graph: fixed, or a symbol that comes with each run, up to max.
struct GraphSize {
  const char* symbol = nullptr;  // null: fixed
  int64_t max = 1;               // the size itself when fixed
};

struct LoweringForm {
  const char* name = "";  // before each node's name: "content.attention"
  bool content = true;    // false: the float64 form without content
  GraphSize batch, queries, keys;
  bool causal = false;          // top-left; queries and keys are the same symbol
  bool keys_projected = false;  // `k` is already Wk E: it comes from a cache
  bool values = false;          // fuse V and project it by Wo: output 1
  int64_t prior_heads = 1;      // heads of the form without content (values with weights keep the model's heads)
  bool bias_by_query = false, bias_by_head = false;
};

// The graph and how to fill it. Inputs are [batch, rows, width], row-major; bias [batch, heads|1, queries|1, keys].
struct LoweredAttention {
  std::shared_ptr<const Graph> graph;
  sage_dtype dtype = SAGE_F32;                // of q, k, v and output 1
  sage_dtype wide_dtype = SAGE_F32;           // of the bias and output 0: F64 for F64, else F32
  int32_t q = -1, k = -1, v = -1, bias = -1;  // input numbers; v = -1: V is made from k's rows, or there is none
  int64_t q_width = 0, k_width = 0, v_width = 0, fused_width = 0;
  int64_t heads = 1;           // of output 0, [batch, heads, queries, keys]
  int64_t distinct_heads = 1;  // how many of them can differ; the mean over these is the mean over all
  LoweringForm form;
};

// max_bytes bounds the weights that are made or converted. E_BAD_DATA when a projection is missing or does not fit.
Result<LoweredAttention> LowerAttention(const SageAttention& attention, const AttentionPolicy& policy,
                                        const LoweringForm& form, uint64_t max_bytes);
// Wk over the expert table, run once a revision: input x [batch, keys, width], output 0 [batch, keys,
// kv_heads*head_dim]. Not for IDENTITY. width of x: ContentWidth.
Result<LoweredAttention> LowerKeyProjection(const SageAttention& attention, const AttentionPolicy& policy,
                                            const char* name, GraphSize batch, int64_t keys, uint64_t max_bytes);

// One row of an input from an embedding of d_model numbers (empty = absent: content 0), ready to be stored.
// IDENTITY: the mean of each group's slices, L2-normalised a head (a zero slice stays zero); q repeats it for every
// head of the group. SEEDED, FILE: the embedding, then a 1 where the projection has a bias, so that an absent row gets
// no bias either. out: q_width or k_width.
void ProjectQuery(const SageAttention& attention, std::span<const double> embedding, std::span<double> out);
void ProjectKey(const SageAttention& attention, std::span<const double> embedding, std::span<double> out);
// Widths of those rows.
int64_t QueryWidth(const SageAttention& attention);
int64_t KeyWidth(const SageAttention& attention);

// Elements first, first + 1, ... (row-major) of the SEEDED matrix `which`: 0 q, 1 k, 2 v, 3 o. An element depends on
// its index and the seed, not on where a call begins.
void SeededWeights(const SageAttention& attention, uint32_t which, int64_t first, std::span<double> out);

}  // namespace sage

#endif  // SAGE_ENGINE_SAGE_LOWERING_H_
