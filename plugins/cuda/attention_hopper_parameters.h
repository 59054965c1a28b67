// attention_hopper_parameters.h: what the Hopper kernel is given: made on the host once a run, constant in the kernel.
#ifndef SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_PARAMETERS_H_
#define SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_PARAMETERS_H_

#include <cstdint>

#include "common/cuda/attention_arguments.h"
#include "common/cuda/kernels/tensor_map.h"

namespace sage::cuda {

struct HopperParameters {
  TensorMap q_map, k_map, v_map;
  TensorMap o_map;  // used where by_tma
  AttentionArguments a;
  // Weights are 2^(exponent_scale s - ...). A positive scale is in exponent_scale, for free; by any other the scores
  // are multiplied first, so that the largest stays the largest and -inf stays -inf.
  int scale_first;
  float scale, exponent_scale;
  int box_rows;  // rows of K and V that one TMA box brings: those of a tile, or of a page where that is less

  // HopperVariant
  int pack_shift, q_tiles, cluster, by_tma;

  // Of the whole call; of one line, for the longest sequence. In clusters: as many tiles together as blocks.
  int tiles, tiles_m;
  int lines;              // of one sequence: its query heads, or packs of them
  int lines_per_section;  // worked on together, so that their K and V stay in the L2 cache
  uint32_t* next_tile;    // (optional) zero at launch; without it blocks, or clusters, take tiles in turn
};

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_CUDA_ATTENTION_HOPPER_PARAMETERS_H_
