// buckets.cc: see the header.
#include "plan/buckets.h"

#include <algorithm>

namespace sage {

int64_t BucketOf(int64_t value, int64_t max) {
  int64_t bucket = 1;
  while (bucket < value && bucket <= max / 2) bucket *= 2;
  return bucket < value ? max : std::min(bucket, std::max<int64_t>(max, 1));
}

std::vector<int64_t> Buckets(int64_t max) {
  std::vector<int64_t> sizes;
  for (int64_t size = 1; size < max; size = size <= max / 2 ? size * 2 : max) sizes.push_back(size);
  sizes.push_back(std::max<int64_t>(max, 1));
  return sizes;
}

int64_t KeyRows(const Node& node, std::span<const BoundTensor> shapes) {
  const auto* attention = std::get_if<AttentionNode>(&node.attributes);
  if (node.kind != SAGE_OP_ATTENTION || attention == nullptr) return 0;
  const auto at = [&](uint32_t slot) -> const BoundTensor* {
    const int32_t tensor = slot < node.slots.size() ? node.slots[slot] : kNone;
    return tensor == kNone ? nullptr : &shapes[static_cast<size_t>(tensor)];
  };
  const BoundTensor* k = at(SAGE_ATTN_K);
  if (k == nullptr) return 0;
  if (attention->layout == Layout::kTHD) {
    return attention->attributes.max_seq_kv > 0 ? attention->attributes.max_seq_kv : k->shape[0];
  }
  const int64_t rows = k->shape[attention->layout == Layout::kBHSD ? 2 : 1];
  if (const BoundTensor* table = at(SAGE_ATTN_BLOCK_TABLE); table != nullptr) {
    int64_t all = 0;
    return __builtin_mul_overflow(rows, table->shape[1], &all) ? INT64_MAX : all;
  }
  return rows;
}

}  // namespace sage
