// linear_operands.cc: see linear_operands.h.
#include "linear_operands.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "codes.h"
#include "cpu/numbers.h"
#include "panels.h"
#include "sage/support/refuse.h"

namespace sage::int8 {
namespace {

int64_t RoundUp(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

// A row's codes: where they lie, or in `to`; of floats their scale too. floats, to: PaddedRow of its length.
const int8_t* Codes(const Int8Kernels& kernels, const CodeSource& source, int64_t row, float* floats, int8_t* to,
                    float* scale) {
  const bool quantises = source.dtype != SAGE_I8;
  if (source.length == 0) {  // whose address may be null
    if (quantises) *scale = 0;
    return to;
  }
  const char* const at = source.Row(row);
  if (!quantises) {
    if (source.step == 1) return reinterpret_cast<const int8_t*>(at);
    ReadCodes(at, source.step, source.length, to);
    return to;
  }
  const int64_t padded = PaddedRow(source.length);
  ReadRow(source.dtype, at, source.StepBytes(), source.length, floats);
  *scale = ScaleOf(kernels.prepare_row(floats, nullptr, nullptr, padded, floats));
  Encode(kernels, floats, padded, *scale, to);
  return to;
}

struct Scratch {
  Scratch(char* base, int64_t length)
      : floats(reinterpret_cast<float*>(base)), codes(reinterpret_cast<int8_t*>(base + PaddedRow(length) * 4)) {}
  float* floats;
  int8_t* codes;  // of a panel's columns
};

}  // namespace

CodeSource::CodeSource(const sage_tensor& tensor)
    : data(cpu::BytesOf(tensor)),
      dtype(tensor.dtype),
      length(tensor.shape[tensor.rank - 1]),
      step(tensor.stride[tensor.rank - 1]) {
  for (uint32_t i = 0; i + 1 < tensor.rank; ++i) rows.Append(tensor.shape[i], {tensor.stride[i]});
}

LinearScales::LinearScales(const sage_tensor& tensor)
    : data_(cpu::BytesOf(tensor)),
      count_(tensor.shape[0]),
      step_(tensor.shape[0] == 1 ? 0 : tensor.stride[0] * static_cast<int64_t>(sizeof(float))) {}

float LinearScales::At(int64_t i) const { return data_ == nullptr ? 1.0f : cpu::ReadAs<float>(data_ + i * step_); }

sage_status LinearScales::Check(const char* name, sage_error* err) const {
  for (int64_t i = 0; i < count_; ++i) {
    const float scale = At(i);
    if (std::isfinite(scale) && scale > 0) continue;
    return sage_fail(err, SAGE_E_INVALID_ARGUMENT,
                     "linear: number %lld of %s is %g; a scale is a finite number above 0: value = scale x code",
                     static_cast<long long>(i), name, static_cast<double>(scale));
  }
  return SAGE_OK;
}

// Something of no numbers too: no pointer into it is null.
int64_t QuantiseScratchBytes(int64_t length) { return RoundUp(PaddedRow(length) * (4 + kPanel) + 1, 64); }

void LayLinearRows(const Int8Kernels& kernels, const CodeSource& x, const LinearScales& scales, int64_t first,
                   int64_t count, char* scratch, char* to) {
  const Scratch own(scratch, x.length);
  const int64_t row_bytes = RowBytes(kernels.form, x.length);
  for (int64_t i = 0; i < count; ++i, to += row_bytes) {
    float scale = scales.At(first + i);
    const int8_t* const codes = Codes(kernels, x, first + i, own.floats, own.codes, &scale);
    LayRow(kernels.form, codes, x.length, scale, 0, to);
  }
}

float ScaleOfRow(const CodeForm& form, const char* row, int64_t length) {
  return cpu::ReadAs<RowTail>(row + PaddedDepth(form, length) * form.unit).scale;
}

int64_t WeightBytes(const CodeForm& form, int64_t n, int64_t length) {
  int64_t columns = 0, bytes = 0;
  if (__builtin_add_overflow(n, kPanel - 1, &columns)) return -1;
  if (__builtin_mul_overflow(columns / kPanel, PanelBytes(form, length), &bytes)) return -1;
  return bytes;
}

void LayWeights(const Int8Kernels& kernels, const CodeSource& w, int64_t first, int64_t count, char* scratch,
                char* to) {
  const Scratch own(scratch, w.length);
  const int64_t panel_bytes = PanelBytes(kernels.form, w.length);
  for (int64_t done = 0; done < count; done += kPanel, to += panel_bytes) {
    const int8_t* columns[kPanel] = {};
    float scales[kPanel];
    std::fill_n(scales, kPanel, 1.0f);
    for (int64_t i = 0; i < std::min(kPanel, count - done); ++i)
      columns[i] = Codes(kernels, w, first + done + i, own.floats, own.codes + i * PaddedRow(w.length), &scales[i]);
    LayPanel(kernels.form, columns, scales, w.length, to);
  }
}

}  // namespace sage::int8
