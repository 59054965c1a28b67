// buckets.h: shapes that vary from run to run are planned at a few sizes only.
//
// A bucket is a power of two up to the dimension's declared maximum; a shape inside a planned bucket replays its plan.
// Padding is never computed on: kernels get the real sizes with the bucket's strides, so bits do not depend on buckets.
#ifndef SAGE_ENGINE_PLAN_BUCKETS_H_
#define SAGE_ENGINE_PLAN_BUCKETS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "model/graph.h"

namespace sage {

// The size that `value` (0..max) is planned at: the next power of two, at most max, at least 1.
int64_t BucketOf(int64_t value, int64_t max);

// All sizes BucketOf can give for this maximum, rising.
std::vector<int64_t> Buckets(int64_t max);

// Rows of keys an attention node sees at these shapes, on which its flash_threshold is judged: Skv; max_seq_kv (or T)
// when packed; pages x rows of a page when paged. 0 for other kinds.
int64_t KeyRows(const Node& node, std::span<const BoundTensor> shapes);

}  // namespace sage

#endif  // SAGE_ENGINE_PLAN_BUCKETS_H_
