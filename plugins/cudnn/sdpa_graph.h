// sdpa_graph.h: attention written down as cuDNN's graphs: the composite one, whose ops its flash attention recognises,
// and the unified op.
//
// The composite graph is the formula of sage/attention.h op by op: scale, softcap, bias, ALiBi, what is visible,
// softmax. In that order and no other: cuDNN's engines recognise a pattern. Found out by having plans built for
// described devices (bench/results, docs/cudnn.md): the logarithm of the sums has to be in the graph even where nobody
// asks for it, and comes before the division. Of fp8 the scales of Q and K follow the scale, and the largest magnitudes
// of weights and of O are put out though nobody asks, as in cuDNN's own (9.19 takes a graph without, too). Weights are
// multiplied by 1 / (1 - p) before the mask of dropout.
#ifndef SAGE_PLUGINS_CUDNN_SDPA_GRAPH_H_
#define SAGE_PLUGINS_CUDNN_SDPA_GRAPH_H_

#include "graph.h"
#include "sdpa.h"

namespace sage::cudnn {

// Adds the ops of sdpa to graph. Tensors have the uids of sdpa.h. graph.failure() tells what failed.
void WriteSdpa(const Sdpa& sdpa, Graph* graph);

// The numbers that a run of sdpa binds by value besides the scale and the cap. Fixed by sdpa.
struct SdpaBounds {
  int32_t rows = 0, keys = 0, right = 0;
  // Both are one number: the first where lengths come from tensors and positions count from the end, else the second.
  int32_t left_whole = 0;
  float left = 0;
};
SdpaBounds BoundsOf(const Sdpa& sdpa);

}  // namespace sage::cudnn

#endif  // SAGE_PLUGINS_CUDNN_SDPA_GRAPH_H_
