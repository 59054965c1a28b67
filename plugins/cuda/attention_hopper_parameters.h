// attention_hopper_parameters.h: what the Hopper kernel is given: made on the host once a run, constant in the kernel.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_PARAMETERS_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_PARAMETERS_H_

#include <cstdint>

#include "tensor_map.h"

namespace sage::cuda {

// Positions are int in the kernel: no sequence is this long, and a sum of a few of these does not overflow.
constexpr int kHopperUnlimited = 1 << 28;

// A [batch, heads, rows, d] operand in global memory, strides in elements; d is contiguous. Packed sequences have batch
// stride 0. Paged: batch is the page, rows are within the page.
struct HopperOperand {
  const void* address;
  int64_t batch, head, row;
};

struct HopperParameters {
  TensorMap q_map, k_map, v_map;
  HopperOperand q, k, v;
  void* o;
  int64_t o_batch, o_head, o_row;  // strides in elements
  float* lse;                      // (optional)
  int64_t lse_batch, lse_head, lse_row;

  // Weights are 2^(exponent_scale s - ...). A positive scale is in exponent_scale, for free; by any other the scores
  // are multiplied first, so that the largest stays the largest and -inf stays -inf.
  int scale_first;
  float scale, exponent_scale;
  int batch, heads_q;
  int heads_per_k, heads_per_v;  // query heads that share a head of K, of V
  int seq_q, seq_kv;             // rows of Q and K per sequence; packed: rows of all sequences
  int dim_qk, dim_v;
  int window_left, window_right;  // keys on either side of a query's position that it sees; causal is right 0
  int bottom_right;  // whether the last query in use stands at the last key in use, or the first at the first

  const int32_t* starts_q;  // (optional) packed sequences: batch + 1 row numbers
  const int32_t* starts_k;  // (optional)
  const int32_t* used_q;    // (optional) lengths in use
  const int32_t* used_k;    // (optional)
  int appended;             // keys behind used_k that are in use too; -1: as many as the sequence has queries
  const int32_t* pages;     // (optional) page numbers of each sequence
  int64_t pages_batch;      // that table's stride
  int page_shift;           // log2 of the rows of a page
  int page_count;
  int box_rows;  // rows of K and V that one TMA box brings: those of a tile, or of a page where that is less

  int tiles, tiles_m;     // of the whole call; of one sequence, that is the longest
  int heads_per_section;  // heads worked on together, so that their K and V stay in the L2 cache
  uint32_t* next_tile;    // (optional) zero at launch; without it blocks take tiles in turn
};

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_PARAMETERS_H_
