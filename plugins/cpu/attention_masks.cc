// attention_masks.cc: the masks that are data: bool, bit, block and CSR, read for one row of one key tile, and asked
// whether they leave anything of a tile, so that what is hidden is skipped and not computed.
#include <algorithm>
#include <cstring>

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

// Lanes [from, to) of a row of bits.
void ClearBits(uint64_t* bits, int64_t from, int64_t to) {
  for (int64_t at = from; at < to;) {
    const int64_t in_word = at % 64, count = std::min(64 - in_word, to - at);
    const uint64_t ones = count == 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1;
    bits[at / 64] &= ~(ones << in_word);
    at += count;
  }
}

bool AllSet(const uint64_t* bits, int64_t from, int64_t to) {
  for (int64_t at = from; at < to;) {
    const int64_t in_word = at % 64, count = std::min(64 - in_word, to - at);
    const uint64_t ones = (count == 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1) << in_word;
    if ((bits[at / 64] & ones) != ones) return false;
    at += count;
  }
  return true;
}

// Eight bytes of a bool mask as eight bits, the first one lowest.
uint64_t EightBools(const unsigned char* bytes) {
  constexpr uint64_t kLow = 0x0101010101010101u, kGather = 0x0102040810204080u;
  uint64_t word = 0;
  std::memcpy(&word, bytes, sizeof word);
  word |= word >> 4, word |= word >> 2, word |= word >> 1;  // a byte's lowest bit: whether it is not 0
  return (word & kLow) * kGather >> 56;
}

// Bits `low` up to `high` of `bits` and those of a mask whose bit `offset` belongs to lane 0. Reads only bytes that
// hold one of them.
void AndMaskBits(const unsigned char* at, int64_t step, int64_t offset, int64_t low, int64_t high, uint64_t* bits) {
  for (int64_t lane = low; lane < high;) {
    const int64_t bit = offset + lane, in_byte = bit % 8, count = std::min(8 - in_byte, high - lane);
    const unsigned hidden = ~(static_cast<unsigned>(at[bit / 8 * step]) >> in_byte) & ((1u << count) - 1);
    const int64_t in_word = lane % 64;
    bits[lane / 64] &= ~(uint64_t{hidden} << in_word);
    if (in_word + count > 64) bits[lane / 64 + 1] &= ~(uint64_t{hidden} >> (64 - in_word));
    lane += count;
  }
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
bool QueryTile<T>::Kept(const KeyTile& keys, int64_t row, int64_t count) const {
  const bool block = call_.Is(SAGE_ATTN_F_BLOCK_MASK), csr = call_.Is(SAGE_ATTN_F_CSR_MASK);
  if (!block && !csr) return true;
  const int64_t height = design_.view->attributes.attention.mask_block_q;
  for (int64_t tile_row = Query(row) / height; tile_row <= Query(row + count - 1) / height; ++tile_row) {
    for (int64_t h = first_head_; h < first_head_ + group_; ++h)
      if ((!block || AnyBlock(keys, h, tile_row)) && (!csr || AnyColumn(keys, h, tile_row))) return true;
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
    ClearBits(keep_, from, std::min((column + 1) * width - keys.first, end));
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
    if (from > hidden_from) ClearBits(keep_, hidden_from, from);
    hidden_from = std::max(hidden_from, from + width);
  }
  if (hidden_from < end) ClearBits(keep_, hidden_from, end);
}

// Null where nothing of [low, high) is hidden. Only tensors' own elements are read: those from `low` to `high`.
template <class T>
const uint64_t* QueryTile<T>::KeepRow(const KeyTile& keys, int64_t row, int64_t low, int64_t high) {
  std::fill_n(keep_, high / 64 + 1, ~uint64_t{0});
  if (call_.Is(SAGE_ATTN_F_BOOL_MASK)) {
    const sage_tensor& mask = call_.Slot(SAGE_ATTN_MASK);
    const int64_t step = mask.stride[3];
    const auto* at =
        reinterpret_cast<const unsigned char*>(call_.QueryRow(SAGE_ATTN_MASK, sequence_, b_, Head(row), Query(row))) +
        keys.first * step;
    int64_t k = low;
    const auto one = [&] {
      if (at[k * step] == 0) ClearBits(keep_, k, k + 1);
      ++k;
    };
    while (k < high && k % 8 != 0) one();
    if (step == 1)
      for (; k + 8 <= high; k += 8) keep_[k / 64] &= ~((EightBools(at + k) ^ 0xff) << (k % 64));
    while (k < high) one();
  }
  if (call_.Is(SAGE_ATTN_F_BIT_MASK)) {
    const sage_tensor& mask = call_.Slot(SAGE_ATTN_BIT_MASK);
    const auto* at = reinterpret_cast<const unsigned char*>(
        call_.QueryRow(SAGE_ATTN_BIT_MASK, sequence_, b_, Head(row), Query(row)));
    AndMaskBits(at, mask.stride[3], keys.first, low, high, keep_);
  }
  if (call_.Is(SAGE_ATTN_F_BLOCK_MASK)) KeepBlocks(keys, row, high);
  if (call_.Is(SAGE_ATTN_F_CSR_MASK)) KeepColumns(keys, row, high);
  return AllSet(keep_, low, high) ? nullptr : keep_;
}

template class QueryTile<float>;
template class QueryTile<double>;

}  // namespace sage::cpu
