// attention_geometry.cc: packed, padded and paged rows, masks and scales, read straight from the slots.
#include "attention_geometry.h"

namespace sage::reference {
namespace {

// [B,Hq,Sq,Skv] by strides.
int64_t ScoreOffset(const sage_tensor& tensor, const QueryRow& row, int64_t column) {
  return row.b * tensor.stride[0] + row.h * tensor.stride[1] + row.i * tensor.stride[2] + column * tensor.stride[3];
}

// An axis of length 1 serves every index.
int64_t Repeated(const sage_tensor& tensor, uint32_t axis, int64_t index) {
  return tensor.shape[axis] == 1 ? 0 : index * tensor.stride[axis];
}

}  // namespace

int64_t AttentionGeometry::Length(uint32_t slot, int64_t b) const {
  const sage_tensor& lengths = Slot(slot);
  return static_cast<int64_t>(ReadRaw<int32_t>(AddressOf(lengths, b * lengths.stride[0])));
}

int64_t AttentionGeometry::NewKeys(int64_t b) const {
  if (!Has(SAGE_ATTN_K_NEW)) return 0;
  if (varlen) return Length(SAGE_ATTN_CU_SEQLENS_Q, b + 1) - Length(SAGE_ATTN_CU_SEQLENS_Q, b);
  return Slot(SAGE_ATTN_K_NEW).shape[2];
}

int64_t AttentionGeometry::KeysBefore(int64_t b) const {
  if (Has(SAGE_ATTN_SEQUSED_K)) return Length(SAGE_ATTN_SEQUSED_K, b);
  if (packed_kv()) return Length(SAGE_ATTN_CU_SEQLENS_K, b + 1) - Length(SAGE_ATTN_CU_SEQLENS_K, b);
  return seq_kv;
}

QueryRow AttentionGeometry::RowAt(int64_t item) const {
  QueryRow row{};
  if (varlen) {
    row.q_row = item / heads_q;
    row.h = item % heads_q;
    while (Length(SAGE_ATTN_CU_SEQLENS_Q, row.b + 1) <= row.q_row) ++row.b;
    row.i = row.q_row - QueryBegin(row.b);
    row.q_len = Length(SAGE_ATTN_CU_SEQLENS_Q, row.b + 1) - QueryBegin(row.b);
  } else {
    row.b = item / (heads_q * seq_q);
    row.h = item / seq_q % heads_q;
    row.i = row.q_row = item % seq_q;
    row.q_len = seq_q;
  }
  if (Has(SAGE_ATTN_SEQUSED_Q)) row.q_len = Length(SAGE_ATTN_SEQUSED_Q, row.b);
  row.kv_len = KeysBefore(row.b) + NewKeys(row.b);
  row.shift = attributes_.alignment == SAGE_ALIGN_BOTTOM_RIGHT ? row.kv_len - row.q_len : 0;
  return row;
}

int64_t AttentionGeometry::QueryOffset(const sage_tensor& tensor, const QueryRow& row) const {
  if (varlen) return row.q_row * tensor.stride[0] + row.h * tensor.stride[1];
  return row.b * tensor.stride[0] + row.h * tensor.stride[1] + row.q_row * tensor.stride[2];
}

int64_t AttentionGeometry::KeyOffset(const sage_tensor& tensor, int64_t b, int64_t g, int64_t j) const {
  if (packed_kv()) return PackedKey(b, j) * tensor.stride[0] + g * tensor.stride[1];
  if (!paged) return b * tensor.stride[0] + g * tensor.stride[1] + j * tensor.stride[2];
  const sage_tensor& table = Slot(SAGE_ATTN_BLOCK_TABLE);
  const auto number = ReadRaw<int32_t>(AddressOf(table, b * table.stride[0] + j / page * table.stride[1]));
  return static_cast<int64_t>(number) * tensor.stride[0] + g * tensor.stride[1] + j % page * tensor.stride[2];
}

bool AttentionGeometry::Visible(const QueryRow& row, int64_t j) const {
  const int64_t behind = row.i + row.shift - j;  // a difference, so that a window of 2^63 - 1 cannot overflow
  const uint64_t features = attributes_.features;
  if ((features & SAGE_ATTN_F_CAUSAL) != 0 && behind < 0) return false;
  if ((features & SAGE_ATTN_F_WINDOW_LEFT) != 0 && behind > attributes_.window_left) return false;
  if ((features & SAGE_ATTN_F_WINDOW_RIGHT) != 0 && -behind > attributes_.window_right) return false;
  if (Has(SAGE_ATTN_MASK)) {
    const sage_tensor& mask = Slot(SAGE_ATTN_MASK);
    if (ReadAt(mask, ScoreOffset(mask, row, j)) == 0) return false;
  }
  if (Has(SAGE_ATTN_BIT_MASK)) {
    const sage_tensor& mask = Slot(SAGE_ATTN_BIT_MASK);
    const auto bits = ReadRaw<uint8_t>(AddressOf(mask, ScoreOffset(mask, row, j / 8)));
    if ((bits >> (j % 8) & 1) == 0) return false;
  }
  return InTiles(row, j);
}

bool AttentionGeometry::InTiles(const QueryRow& row, int64_t j) const {
  if (!Has(SAGE_ATTN_BLOCK_MASK) && !Has(SAGE_ATTN_CSR_INDPTR)) return true;
  const int64_t tile_row = row.i / static_cast<int64_t>(attributes_.mask_block_q);
  const int64_t tile_column = j / static_cast<int64_t>(attributes_.mask_block_kv);
  if (Has(SAGE_ATTN_BLOCK_MASK)) {
    const sage_tensor& mask = Slot(SAGE_ATTN_BLOCK_MASK);
    const int64_t offset =
        Repeated(mask, 0, row.b) + Repeated(mask, 1, row.h) + tile_row * mask.stride[2] + tile_column * mask.stride[3];
    if (ReadRaw<uint8_t>(AddressOf(mask, offset)) == 0) return false;
  }
  if (!Has(SAGE_ATTN_CSR_INDPTR)) return true;
  const sage_tensor &starts = Slot(SAGE_ATTN_CSR_INDPTR), &columns = Slot(SAGE_ATTN_CSR_INDICES);
  const int64_t at = Repeated(starts, 0, row.b) + Repeated(starts, 1, row.h) + tile_row * starts.stride[2];
  int64_t begin = ReadRaw<int32_t>(AddressOf(starts, at));
  int64_t end = ReadRaw<int32_t>(AddressOf(starts, at + starts.stride[2]));
  while (begin < end) {  // columns ascend within a row
    const int64_t middle = begin + (end - begin) / 2;
    const int64_t column = ReadRaw<int32_t>(AddressOf(columns, middle * columns.stride[0]));
    if (column == tile_column) return true;
    if (column < tile_column) begin = middle + 1;
    if (column > tile_column) end = middle;
  }
  return false;
}

double AttentionGeometry::ScaleAt(uint32_t slot, uint32_t granularity, int64_t b, int64_t head, int64_t s,
                                  int64_t packed_row, int64_t d) const {
  if (granularity == 0) return 1.0;
  const sage_tensor& scale = Slot(slot);
  if (granularity == SAGE_PER_TENSOR) return ReadAt(scale, 0);
  if (granularity == SAGE_PER_TOKEN && scale.rank == 2)  // [H,T] of packed rows
    return ReadAt(scale, head * scale.stride[0] + packed_row * scale.stride[1]);
  int64_t offset = Repeated(scale, 0, b) + head * scale.stride[1];
  if (granularity == SAGE_PER_TOKEN) offset += s * scale.stride[2];
  if (granularity == SAGE_PER_CHANNEL) offset += d * scale.stride[2];
  if (granularity == SAGE_PER_BLOCK) offset += s / static_cast<int64_t>(attributes_.scale_block) * scale.stride[2];
  return ReadAt(scale, offset);
}

}  // namespace sage::reference
