// axis_view.h: how the axes of a graph tensor become the axes of an ABI slot: swapped, split into heads, or added.
//
// One mapping serves shape inference, the strides of BuildOp and the question which symbols stand at which ABI axis, so
// that the three cannot disagree.
#ifndef SAGE_ENGINE_MODEL_AXIS_VIEW_H_
#define SAGE_ENGINE_MODEL_AXIS_VIEW_H_

#include <cstdint>
#include <span>

#include "model/graph.h"

namespace sage {

struct AxisView {
  enum class Part : uint8_t { kWhole, kHead, kWithin };  // of a graph axis H*D: the heads, or the width of one
  struct Axis {
    int8_t source = -1;  // the graph's axis; -1 = not there: length 1, repeated by stride 0
    Part part = Part::kWhole;
  };
  uint32_t rank = 0;
  int64_t heads = 1;  // of the axis that is split
  Axis axes[SAGE_MAX_RANK];
};

// Where an attention node's slots are: derived from which slots it has.
struct AttentionForm {
  Layout layout = Layout::kBHSD;
  bool packed = false;                                     // [T,H,D]
  bool paged = false;                                      // K and V are pages
  int64_t query_heads = 0, kv_heads = 0, value_heads = 0;  // BSE
};
AttentionForm FormOf(const Node& node, const AttentionNode& attention);

// The rank a graph tensor must have in this slot: least and most.
struct RankRange {
  uint32_t least, most;
};
RankRange AttentionRank(const AttentionForm& form, uint32_t slot);
// rank: the graph tensor's, within AttentionRank.
AxisView AttentionView(const AttentionForm& form, uint32_t slot, uint32_t rank);
// The ABI axis of a slot is SAGE_AXIS_B, _SQ or _SKV, or 0: it never changes within a plan.
uint32_t AttentionAxisRole(const AttentionForm& form, uint32_t slot, uint32_t axis);

// Axis i of the view is graph axis i, from the right: missing leading ones are added.
AxisView RightAligned(uint32_t rank, uint32_t target_rank);

struct Extent {
  int64_t size = 1;
  uint64_t symbols = 0;
};
// The length of a view's axis; BSE's heads must divide (checked by shape inference), else the size is rounded down.
Extent ExtentOf(const BoundTensor& tensor, const AxisView& view, uint32_t axis);

}  // namespace sage

#endif  // SAGE_ENGINE_MODEL_AXIS_VIEW_H_
