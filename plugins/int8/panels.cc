// panels.cc: see panels.h.
#include "panels.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace sage::int8 {
namespace {

int64_t RoundUp(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

// One code in the unit of the form.
void Put(const CodeForm& form, char* to, int32_t code) {
  if (form.unit == 1) {
    *to = static_cast<char>(code);
    return;
  }
  const auto wide = static_cast<int16_t>(code);
  std::memcpy(to, &wide, sizeof wide);
}

// Groups of a length that the compiler knows: each is one load and one store.
template <int64_t kGroup>
void LayBytes(const int8_t* codes, int64_t depth, char* to) {
  const int64_t whole = depth / kGroup * kGroup;
  for (int64_t i = 0; i < whole; i += kGroup, to += kPanel * kGroup) std::memcpy(to, codes + i, kGroup);
  std::memcpy(to, codes + whole, static_cast<size_t>(depth - whole));
}

// One of 16 columns, into memory that is zero: groups down, columns across.
void LayColumn(const CodeForm& form, const int8_t* codes, int64_t depth, char* to) {
  if (form.unit == 1 && form.group == 8) return LayBytes<8>(codes, depth, to);
  if (form.unit == 1 && form.group == 4) return LayBytes<4>(codes, depth, to);
  const int64_t group_bytes = static_cast<int64_t>(form.group) * form.unit;
  for (int64_t i = 0; i < depth; ++i)
    Put(form, to + i / form.group * kPanel * group_bytes + i % form.group * form.unit, codes[i]);
}

int32_t SumOf(const int8_t* codes, int64_t depth) {
  int32_t sum = 0;
  for (int64_t i = 0; i < depth; ++i) sum += codes[i];
  return sum;
}

}  // namespace

int64_t PaddedDepth(const CodeForm& form, int64_t depth) { return RoundUp(depth, form.depth_step); }

int64_t RowBytes(const CodeForm& form, int64_t depth) {
  return PaddedDepth(form, depth) * form.unit + static_cast<int64_t>(sizeof(RowTail));
}

void LayRow(const CodeForm& form, const int8_t* codes, int64_t depth, float scale, float constant, char* to) {
  const int64_t padded = PaddedDepth(form, depth);
  if (form.unit == 1) {
    const auto offset = static_cast<uint8_t>(form.left_offset);
    auto* const bytes = reinterpret_cast<uint8_t*>(to);
    for (int64_t i = 0; i < depth; ++i) bytes[i] = static_cast<uint8_t>(static_cast<uint8_t>(codes[i]) + offset);
    std::fill(bytes + depth, bytes + padded, offset);
  } else {
    for (int64_t i = 0; i < padded; ++i) Put(form, to + i * form.unit, (i < depth ? codes[i] : 0) + form.left_offset);
  }
  const RowTail tail{scale, constant, {}};
  std::memcpy(to + padded * form.unit, &tail, sizeof tail);
}

int64_t PanelBytes(const CodeForm& form, int64_t depth) {
  return static_cast<int64_t>(sizeof(PanelHead)) + PaddedDepth(form, depth) * kPanel * form.unit;
}

void LayPanel(const CodeForm& form, const int8_t* const* columns, const float* scales, int64_t depth, char* to) {
  std::memset(to, 0, static_cast<size_t>(PanelBytes(form, depth)));
  PanelHead head{};
  std::copy_n(scales, kPanel, head.scale);
  for (int64_t i = 0; i < kPanel; ++i) {
    if (columns[i] == nullptr) continue;
    LayColumn(form, columns[i], depth, to + sizeof head + i * form.group * form.unit);
    if (form.left_offset != 0) head.correction[i] = -form.left_offset * SumOf(columns[i], depth);
  }
  std::memcpy(to, &head, sizeof head);
}

int64_t PaddedKeys(int64_t keys) { return RoundUp(keys, kWeightBlock); }

namespace {

// A block of V, rows of 16 channels of which `here` are there: neighbours along the keys come together, kGroup of them.
// sums: of each channel. Loops of lengths that the compiler knows, so that it takes them for registers.
template <class Unit, int64_t kGroup>
void LayValueBlock(const int8_t* codes, int64_t ld, int64_t keys, int64_t here, int32_t* sums, char* to) {
  for (int64_t key = 0; key < keys; key += kGroup, to += kGroup * kPanel * static_cast<int64_t>(sizeof(Unit))) {
    int8_t rows[kGroup][kPanel] = {};
    for (int64_t i = 0; i < std::min(kGroup, keys - key); ++i) {
      const int8_t* const row = codes + (key + i) * ld;
      if (here == kPanel)
        std::memcpy(rows[i], row, kPanel);
      else
        std::copy_n(row, here, rows[i]);
    }
    Unit together[kPanel][kGroup];
    for (int64_t c = 0; c < kPanel; ++c)
      for (int64_t i = 0; i < kGroup; ++i) together[c][i] = rows[i][c];
    std::memcpy(to, together, sizeof together);
    for (int64_t c = 0; c < kPanel; ++c)
      for (int64_t i = 0; i < kGroup; ++i) sums[c] += rows[i][c];
  }
}
using LayBlock = void (*)(const int8_t*, int64_t, int64_t, int64_t, int32_t*, char*);

int64_t BlockBytes(const CodeForm& form) { return kPanel * 4 + kWeightBlock * kPanel * form.unit; }
}  // namespace

int64_t ValueTileBytes(const CodeForm& form, int64_t keys, int64_t channels) {
  const int64_t panel = kPanel * 4 + PaddedKeys(keys) / kWeightBlock * BlockBytes(form);
  return static_cast<int64_t>(sizeof(ValueHead)) + PaddedKeys(keys) * 4 + RoundUp(channels, kPanel) / kPanel * panel;
}

void LayValues(const CodeForm& form, const int8_t* codes, int64_t ld, int64_t keys, int64_t channels,
               const float* token_scales, const float* channel_scales, char* to) {
  std::memset(to, 0, static_cast<size_t>(ValueTileBytes(form, keys, channels)));
  ValueHead head{};
  head.finite = std::none_of(token_scales, token_scales + keys, [](float scale) { return std::isnan(scale); }) ? 1 : 0;
  std::memcpy(to, &head, sizeof head);
  to += sizeof head;
  std::memcpy(to, token_scales, static_cast<size_t>(keys) * sizeof(float));
  to += PaddedKeys(keys) * 4;
  for (int64_t first = 0; first < channels; first += kPanel) {
    const int64_t here = std::min(kPanel, channels - first);
    std::memcpy(to, channel_scales + first, static_cast<size_t>(here) * sizeof(float));
    to += kPanel * 4;
    for (int64_t block = 0; block < keys; block += kWeightBlock, to += BlockBytes(form)) {
      const LayBlock lay = form.unit == 2    ? LayValueBlock<int16_t, 2>
                           : form.group == 8 ? LayValueBlock<int8_t, 8>
                           : form.group == 4 ? LayValueBlock<int8_t, 4>
                                             : LayValueBlock<int8_t, 2>;
      int32_t sums[kPanel] = {};
      lay(codes + block * ld + first, ld, std::min(kWeightBlock, keys - block), here, sums, to + kPanel * 4);
      if (form.weight_offset == 0) continue;
      for (int32_t& sum : sums) sum *= -form.weight_offset;
      std::memcpy(to, sums, sizeof sums);
    }
  }
}

}  // namespace sage::int8
