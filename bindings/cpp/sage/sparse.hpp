// sparse.hpp: masks of a partition of the sequence, and the gate: what sage/sparse.h decides before a call.
//
// Part of sage.hpp, which says how all of it is used. Pure functions, any thread.
#ifndef SAGE_CPP_SPARSE_HPP_
#define SAGE_CPP_SPARSE_HPP_

#include <sage/sparse.h>

#include <cstdint>
#include <vector>

#include "attention.hpp"

namespace sage {
inline namespace cpp {

// bool [seq,seq], 1 = keep.
inline std::vector<uint8_t> mincut_mask(int64_t seq, int64_t parts) {
  uint64_t kept = 0;
  detail::Check([&](sage_error* error) { return sage_mincut_mask(seq, parts, nullptr, 0, &kept, error); });
  std::vector<uint8_t> mask(static_cast<size_t>(seq) * static_cast<size_t>(seq));
  detail::Check(
      [&](sage_error* error) { return sage_mincut_mask(seq, parts, mask.data(), mask.size(), &kept, error); });
  return mask;
}

// For CSR_INDPTR and CSR_INDICES; tiles of 1x1 are positions.
struct CsrMask {
  std::vector<int32_t> indptr, indices;
};
inline CsrMask mincut_csr(int64_t seq, int64_t parts, uint32_t tile_q = 1, uint32_t tile_kv = 1) {
  uint64_t kept = 0;
  detail::Check([&](sage_error* error) {
    return sage_mincut_csr(seq, parts, tile_q, tile_kv, nullptr, 0, nullptr, 0, &kept, error);
  });
  CsrMask mask;
  mask.indptr.resize(static_cast<size_t>((seq + tile_q - 1) / tile_q + 1));
  mask.indices.resize(kept);
  detail::Check([&](sage_error* error) {
    return sage_mincut_csr(seq, parts, tile_q, tile_kv, mask.indptr.data(), mask.indptr.size(), mask.indices.data(),
                           mask.indices.size(), &kept, error);
  });
  return mask;
}

// u8 [ceil(seq/tile_q), ceil(seq/tile_kv)], for BLOCK_MASK.
inline std::vector<uint8_t> mincut_blocks(int64_t seq, int64_t parts, uint32_t tile_q, uint32_t tile_kv) {
  uint64_t kept = 0;
  detail::Check(
      [&](sage_error* error) { return sage_mincut_blocks(seq, parts, tile_q, tile_kv, nullptr, 0, &kept, error); });
  const auto count = [seq](uint32_t tile) { return static_cast<size_t>((seq + tile - 1) / tile); };
  std::vector<uint8_t> blocks(count(tile_q) * count(tile_kv));
  detail::Check([&](sage_error* error) {
    return sage_mincut_blocks(seq, parts, tile_q, tile_kv, blocks.data(), blocks.size(), &kept, error);
  });
  return blocks;
}

// struct_size of packet and policy is filled in. policy (optional): null = all defaults.
inline sage_gate_decision gate_decide(sage_gate_packet packet, const sage_gate_policy* policy = nullptr) {
  packet.struct_size = sizeof packet;
  sage_gate_policy own{};
  if (policy != nullptr) own = *policy;
  own.struct_size = sizeof own;
  sage_gate_decision decision{};
  decision.struct_size = sizeof decision;
  detail::Check([&](sage_error* error) { return sage_gate_decide(&packet, &own, &decision, error); });
  return decision;
}

// The decision's window, written into the op.
inline void gate_apply(const sage_gate_decision& decision, AttentionOp& op) {
  detail::Check([&](sage_error* error) { return sage_gate_apply(&decision, &op.attributes(), error); });
}

}  // namespace cpp
}  // namespace sage

#endif  // SAGE_CPP_SPARSE_HPP_
