// panels.h: codes laid out as the kernels of an instruction set read them: kernels.h has the form.
//
// Portable code: each operand is laid out once a call, so what counts is that there is one way to do it.
#ifndef SAGE_PLUGINS_INT8_PANELS_H_
#define SAGE_PLUGINS_INT8_PANELS_H_

#include <cstdint>

#include "kernels.h"

namespace sage::int8 {

int64_t PaddedDepth(const CodeForm& form, int64_t depth);

// A row on the left with its tail behind: PaddedDepth units and sizeof(RowTail) bytes.
int64_t RowBytes(const CodeForm& form, int64_t depth);
void LayRow(const CodeForm& form, const int8_t* codes, int64_t depth, float scale, float constant, char* to);

// 16 columns with their head: columns[i] points to column i's codes, `depth` of them, null: a column of zeros.
int64_t PanelBytes(const CodeForm& form, int64_t depth);
void LayPanel(const CodeForm& form, const int8_t* const* columns, const float* scales, int64_t depth, char* to);

// V of a tile of keys: rows of `channels` codes, ld from one to the next, and a scale for each token, and the channels'
// scales. A token whose scale is NaN has codes of 0.
int64_t ValueTileBytes(const CodeForm& form, int64_t keys, int64_t channels);
int64_t PaddedKeys(int64_t keys);
void LayValues(const CodeForm& form, const int8_t* codes, int64_t ld, int64_t keys, int64_t channels,
               const float* token_scales, const float* channel_scales, char* to);

}  // namespace sage::int8

#endif  // SAGE_PLUGINS_INT8_PANELS_H_
