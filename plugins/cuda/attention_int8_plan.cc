// attention_int8_plan.cc: see attention_int8_plan.h.
#include "attention_int8_plan.h"

#include <algorithm>

namespace sage::cuda {
namespace {

// Keys are added up by chunks: enough to fill a device, few enough that adding up their sums is nothing beside the
// block of keys that it is done for, none shorter than what one block of threads reads in a few turns.
constexpr int32_t kMostChunks = 32, kLeastChunkKeys = 256;

constexpr uint64_t kAlignment = 256;  // of each part: no two share a line of the cache

int64_t Over(int64_t size, int64_t by) { return (size + by - 1) / by; }

// Everything but the pointers; the parts' sizes in order.
struct Layout {
  Int8Arguments x;
  uint64_t sums = 0, q_codes = 0, k_codes = 0, q_scales = 0, k_scales = 0, q_shifts = 0;
};

Layout LayoutOf(const AttentionArguments& a) {
  Layout layout;
  Int8Arguments& x = layout.x;
  x.p = PlanPortable(a, kInt8Rows);
  x.key_tiles = static_cast<int32_t>(Over(a.seq_kv, kInt8Rows));
  x.chunk_keys = static_cast<int32_t>(std::max<int64_t>(kLeastChunkKeys, Over(a.seq_kv, kMostChunks)));
  x.chunks = static_cast<int32_t>(Over(a.seq_kv, x.chunk_keys));
  // Of packed sequences each may leave the rest of a block.
  const int64_t q_blocks = a.cu_seqlens_q != nullptr ? int64_t{a.total_q} * x.p.group / kInt8Rows + a.batch + 1
                                                     : int64_t{a.batch} * x.p.tiles;
  const int64_t k_blocks =
      a.cu_seqlens_k != nullptr ? int64_t{a.total_k} / kInt8Rows + a.batch + 1 : int64_t{a.batch} * x.key_tiles;
  x.q_blocks = static_cast<int32_t>(std::min<int64_t>(q_blocks, INT32_MAX));
  x.k_blocks = static_cast<int32_t>(std::min<int64_t>(k_blocks, INT32_MAX));

  const auto dim = static_cast<uint64_t>(PadDims(a.dim_qk, a.dim_v).qk);
  const auto blocks = [](int64_t heads, int64_t each) { return static_cast<uint64_t>(heads * each); };
  const uint64_t queries = blocks(a.heads_q / x.p.group, q_blocks), keys = blocks(a.heads_k, k_blocks);
  layout.sums = static_cast<uint64_t>(int64_t{a.batch} * a.heads_k * x.chunks * a.dim_qk) * sizeof(float);
  layout.q_codes = queries * kInt8Rows * dim, layout.k_codes = keys * kInt8Rows * dim;
  layout.q_scales = queries * kInt8QueryScales * sizeof(float);
  layout.k_scales = keys * kInt8KeyScales * sizeof(float);
  layout.q_shifts = queries * kInt8Rows * sizeof(float);
  return layout;
}

uint64_t Aligned(uint64_t bytes) { return (bytes + kAlignment - 1) / kAlignment * kAlignment; }

}  // namespace

const char* Int8Refusal(const AttentionArguments& a, uint64_t device_bytes) {
  if (a.type != AttentionType::kBf16 && a.type != AttentionType::kF16)
    return "Q and K of bf16 and f16 are taken, which it quantises itself";
  if (const char* why = PortableRefusal(a); why != nullptr) return why;
  const Int8Arguments x = LayoutOf(a).x;
  const bool countable = int64_t{a.seq_q} * x.p.group <= INT32_MAX - kInt8Rows;
  if (!countable || x.q_blocks == INT32_MAX || x.k_blocks == INT32_MAX)
    return "more rows than it can count in blocks of 128";
  if (Int8WorkspaceBytes(a) > device_bytes) return "the codes of Q and K take more than the device's memory";
  return nullptr;
}

uint64_t Int8WorkspaceBytes(const AttentionArguments& a) {
  const Layout l = LayoutOf(a);
  return Aligned(l.sums) + Aligned(l.q_codes) + Aligned(l.k_codes) + Aligned(l.q_scales) + Aligned(l.k_scales) +
         Aligned(l.q_shifts);
}

Int8Arguments PlanInt8(const AttentionArguments& a, void* workspace, Int8Scales scales) {
  Layout l = LayoutOf(a);
  auto* at = static_cast<unsigned char*>(workspace);
  const auto part = [&](auto*& pointer, uint64_t bytes) {
    pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(at);
    at += Aligned(bytes);
  };
  part(l.x.sums, l.sums);
  part(l.x.q_codes, l.q_codes), part(l.x.k_codes, l.k_codes);
  part(l.x.q_scales, l.q_scales), part(l.x.k_scales, l.k_scales);
  part(l.x.q_shifts, l.q_shifts);
  l.x.one_scale = scales == Int8Scales::kBlock;
  return l.x;
}

double Int8AheadBytes(const AttentionArguments& a) {
  const double rows_q = a.total_q > 0 ? a.total_q : static_cast<double>(a.batch) * a.seq_q;
  const double rows_k = a.total_k > 0 ? a.total_k : static_cast<double>(a.batch) * a.seq_kv;
  // K is read twice, for its mean and for its codes, Q once; a byte an element is written.
  return a.dim_qk * (5.0 * rows_k * a.heads_k + 3.0 * rows_q * a.heads_q);
}

}  // namespace sage::cuda
