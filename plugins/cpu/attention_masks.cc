// attention_masks.cc: the masks that are data: bool, bit, block and CSR, read for one row of one key tile, and asked
// whether they leave anything of a tile, so that what is hidden is skipped and not computed.
#include <algorithm>

#include "attention_tile.h"

namespace sage::cpu {
namespace {

const unsigned char* Bytes(const sage_tensor& tensor, int64_t offset) {
  return static_cast<const unsigned char*>(tensor.data) + offset;
}

// An axis of BLOCK_MASK and CSR_INDPTR has its full length or 1 for all.
int64_t Axis(const sage_tensor& tensor, uint32_t axis, int64_t index) { return tensor.shape[axis] == 1 ? 0 : index; }

// The kept tile columns of one row of tiles: a sorted run of CSR_INDICES.
struct Columns {
  const sage_tensor& indices;
  int64_t begin, end;

  int64_t At(int64_t i) const { return ReadIndex(indices, i); }
  // The first whose column is >= column.
  int64_t Find(int64_t column) const {
    int64_t from = begin, to = end;
    while (from < to) {
      const int64_t middle = from + (to - from) / 2;
      if (At(middle) < column)
        from = middle + 1;
      else
        to = middle;
    }
    return from;
  }
};

Columns ColumnsOf(const AttentionCall& call, int64_t b, int64_t head, int64_t tile_row) {
  const sage_tensor& offsets = call.Slot(SAGE_ATTN_CSR_INDPTR);
  const int64_t batch = Axis(offsets, 0, b), h = Axis(offsets, 1, head);
  return {call.Slot(SAGE_ATTN_CSR_INDICES), ReadIndex(offsets, batch, h, tile_row),
          ReadIndex(offsets, batch, h, tile_row + 1)};
}

const unsigned char* BlockAt(const sage_tensor& mask, int64_t b, int64_t head, int64_t row, int64_t column) {
  return Bytes(mask, Axis(mask, 0, b) * mask.stride[0] + Axis(mask, 1, head) * mask.stride[1] + row * mask.stride[2] +
                         column * mask.stride[3]);
}

}  // namespace

template <class T>
bool QueryTile<T>::AnyBlock(const KeyTile& keys, int64_t head, int64_t tile_row) const {
  const sage_tensor& mask = call_.Slot(SAGE_ATTN_BLOCK_MASK);
  const int64_t block = design_.view->attributes.attention.mask_block_kv;
  for (int64_t column = keys.first / block; column * block < keys.first + keys.count; ++column)
    if (*BlockAt(mask, b_, head, tile_row, column) != 0) return true;
  return false;
}

template <class T>
bool QueryTile<T>::AnyColumn(const KeyTile& keys, int64_t head, int64_t tile_row) const {
  const int64_t block = design_.view->attributes.attention.mask_block_kv;
  const Columns columns = ColumnsOf(call_, b_, head, tile_row);
  const int64_t at = columns.Find(keys.first / block);
  return at < columns.end && columns.At(at) * block < keys.first + keys.count;
}

template <class T>
bool QueryTile<T>::Kept(const KeyTile& keys) const {
  const bool block = call_.Is(SAGE_ATTN_F_BLOCK_MASK), csr = call_.Is(SAGE_ATTN_F_CSR_MASK);
  if (!block && !csr) return true;
  const int64_t height = design_.view->attributes.attention.mask_block_q;
  for (int64_t row = Query(0) / height; row <= Query(rows_ - 1) / height; ++row) {
    for (int64_t h = first_head_; h < first_head_ + group_; ++h)
      if ((!block || AnyBlock(keys, h, row)) && (!csr || AnyColumn(keys, h, row))) return true;
  }
  return false;
}

// Lanes of hidden blocks become 0.
template <class T>
void QueryTile<T>::KeepBlocks(const KeyTile& keys, int64_t row, int64_t end) {
  const sage_attention_attributes& attributes = design_.view->attributes.attention;
  const sage_tensor& mask = call_.Slot(SAGE_ATTN_BLOCK_MASK);
  const int64_t width = attributes.mask_block_kv, tile_row = Query(row) / attributes.mask_block_q;
  for (int64_t column = keys.first / width; column * width < keys.first + end; ++column) {
    if (*BlockAt(mask, b_, Head(row), tile_row, column) != 0) continue;
    const int64_t from = std::max(column * width - keys.first, int64_t{0});
    std::fill(keep_ + from, keep_ + std::min((column + 1) * width - keys.first, end), T(0));
  }
}

template <class T>
void QueryTile<T>::KeepColumns(const KeyTile& keys, int64_t row, int64_t end) {
  const sage_attention_attributes& attributes = design_.view->attributes.attention;
  const int64_t width = attributes.mask_block_kv;
  const Columns columns = ColumnsOf(call_, b_, Head(row), Query(row) / attributes.mask_block_q);
  int64_t hidden_from = 0;  // lanes between two kept columns
  for (int64_t i = columns.Find(keys.first / width); i < columns.end; ++i) {
    const int64_t from = columns.At(i) * width - keys.first;
    if (from >= end) break;
    if (from > hidden_from) std::fill(keep_ + hidden_from, keep_ + from, T(0));
    hidden_from = std::max(hidden_from, from + width);
  }
  if (hidden_from < end) std::fill(keep_ + hidden_from, keep_ + end, T(0));
}

// Null where nothing of [low, high) is hidden. Only tensors' own elements are read: those below `high`.
template <class T>
const T* QueryTile<T>::KeepRow(const KeyTile& keys, int64_t row, int64_t low, int64_t high, int64_t end) {
  std::fill(keep_, keep_ + end, T(1));
  if (call_.Is(SAGE_ATTN_F_BOOL_MASK)) {
    const sage_tensor& mask = call_.Slot(SAGE_ATTN_MASK);
    const auto* at =
        reinterpret_cast<const unsigned char*>(call_.QueryRow(SAGE_ATTN_MASK, sequence_, b_, Head(row), Query(row))) +
        keys.first * mask.stride[3];
    for (int64_t k = low; k < high; ++k) keep_[k] = at[k * mask.stride[3]] != 0 ? T(1) : T(0);
  }
  if (call_.Is(SAGE_ATTN_F_BIT_MASK)) {
    const sage_tensor& mask = call_.Slot(SAGE_ATTN_BIT_MASK);
    const auto* at = reinterpret_cast<const unsigned char*>(
        call_.QueryRow(SAGE_ATTN_BIT_MASK, sequence_, b_, Head(row), Query(row)));
    for (int64_t k = low; k < high; ++k) {
      const int64_t key = keys.first + k;
      if ((at[key / 8 * mask.stride[3]] >> (key % 8) & 1) == 0) keep_[k] = T(0);
    }
  }
  if (call_.Is(SAGE_ATTN_F_BLOCK_MASK)) KeepBlocks(keys, row, high);
  if (call_.Is(SAGE_ATTN_F_CSR_MASK)) KeepColumns(keys, row, high);
  return std::find(keep_ + low, keep_ + high, T(0)) == keep_ + high ? nullptr : keep_;
}

template class QueryTile<float>;
template class QueryTile<double>;

}  // namespace sage::cpu
