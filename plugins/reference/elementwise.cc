// elementwise.cc: UNARY (casts included), BINARY and ROPE: one element, or one pair, in, one out.
#include "kernel.h"

namespace sage::reference {
namespace {

double Combine(uint32_t function, double a, double b) {
  switch (function) {
    case SAGE_BINARY_ADD:
      return a + b;
    case SAGE_BINARY_SUB:
      return a - b;
    case SAGE_BINARY_MUL:
      return a * b;
    case SAGE_BINARY_DIV:
      return a / b;
    case SAGE_BINARY_MIN:
      return std::isnan(a) || a < b ? a : b;  // a NaN in b is not above a, so it wins as well
    default:
      return std::isnan(a) || a > b ? a : b;
  }
}

}  // namespace

sage_status RunUnary(const Job& job) {
  const sage_tensor &x = job.Slot(0), &y = job.Slot(1);
  const sage_unary_attributes& attributes = job.planned.attributes.unary;
  return ForEach(job, ElementCount(y), 20, [&](int64_t item, uint32_t) {
    int64_t index[SAGE_MAX_RANK];
    Unravel(item, y.shape, y.rank, index);
    char* out = AddressOf(y, OffsetOf(y, index));
    const char* in = AddressOf(x, OffsetOf(x, index));
    if (attributes.function == SAGE_FN_IDENTITY && x.dtype == y.dtype) {
      std::memcpy(out, in, support::DtypeSize(x.dtype));  // a copy keeps every bit, a NaN's payload too
    } else if (attributes.function == SAGE_FN_IDENTITY) {
      CastElement(x.dtype, in, y.dtype, out);
    } else {
      Write(y.dtype, out, ApplyFunction(attributes.function, Read(x.dtype, in), attributes.alpha));
    }
  });
}

sage_status RunBinary(const Job& job) {
  const sage_tensor &a = job.Slot(0), &b = job.Slot(1), &y = job.Slot(2);
  const uint32_t function = job.planned.attributes.binary.function;
  return ForEach(job, ElementCount(y), 20, [&](int64_t item, uint32_t) {
    int64_t index[SAGE_MAX_RANK];
    Unravel(item, y.shape, y.rank, index);
    WriteAt(y, OffsetOf(y, index), Combine(function, ReadAt(a, OffsetOf(a, index)), ReadAt(b, OffsetOf(b, index))));
  });
}

sage_status RunRope(const Job& job) {
  constexpr uint32_t kX = 0, kPositions = 1, kCos = 2, kSin = 3, kY = 4;
  const sage_tensor &x = job.Slot(kX), &positions = job.Slot(kPositions), &y = job.Slot(kY);
  const sage_rope_attributes& attributes = job.planned.attributes.rope;
  const uint32_t last = x.rank - 1;
  const int64_t dim = x.shape[last];
  const int64_t rotary = attributes.rotary_dim == 0 ? dim : static_cast<int64_t>(attributes.rotary_dim);
  const int64_t half = rotary / 2;
  const double base = attributes.base == 0 ? 10000.0 : attributes.base;
  const bool table = job.Has(kCos);

  const int64_t count = ElementCount(positions);
  for (int64_t i = 0; table && i < count; ++i) {
    int64_t index[SAGE_MAX_RANK];
    Unravel(i, positions.shape, positions.rank, index);
    const double position = ReadAt(positions, OffsetOf(positions, index));
    if (position < 0 || position >= static_cast<double>(job.Slot(kCos).shape[0]))
      return sage_fail(job.err, SAGE_E_INVALID_ARGUMENT, "ROPE: position %.0f is outside the table of %lld rows",
                       position, static_cast<long long>(job.Slot(kCos).shape[0]));
  }

  int64_t rows = 1;
  for (uint32_t axis = 0; axis < last; ++axis) rows *= x.shape[axis];
  return ForEach(job, rows, 40.0 * static_cast<double>(dim), [&](int64_t row, uint32_t) {
    int64_t index[SAGE_MAX_RANK] = {};
    Unravel(row, x.shape, last, index);
    const int64_t x_offset = OffsetOf(x, index), y_offset = OffsetOf(y, index);
    // POSITIONS is [B,S] for [B,H,S,D] and [T] for [T,H,D].
    const int64_t place =
        x.rank == 4 ? index[0] * positions.stride[0] + index[2] * positions.stride[1] : index[0] * positions.stride[0];
    const double position = ReadAt(positions, place);
    for (int64_t pair = 0; pair < half; ++pair) {
      const double theta = position * std::pow(base, -2.0 * static_cast<double>(pair) / static_cast<double>(rotary));
      double cosine = std::cos(theta), sine = std::sin(theta);
      if (table) {
        const sage_tensor &cos_table = job.Slot(kCos), &sin_table = job.Slot(kSin);
        const int64_t line = static_cast<int64_t>(position);
        cosine = ReadAt(cos_table, line * cos_table.stride[0] + pair * cos_table.stride[1]);
        sine = ReadAt(sin_table, line * sin_table.stride[0] + pair * sin_table.stride[1]);
      }
      const bool halves = attributes.style == SAGE_ROPE_HALVES;
      const int64_t first = halves ? pair : 2 * pair, second = halves ? pair + half : 2 * pair + 1;
      const double a = ReadAt(x, x_offset + first * x.stride[last]), b = ReadAt(x, x_offset + second * x.stride[last]);
      WriteAt(y, y_offset + first * y.stride[last], a * cosine - b * sine);
      WriteAt(y, y_offset + second * y.stride[last], a * sine + b * cosine);
    }
    for (int64_t i = rotary; i < dim; ++i)
      std::memcpy(AddressOf(y, y_offset + i * y.stride[last]), AddressOf(x, x_offset + i * x.stride[last]),
                  support::DtypeSize(x.dtype));
  });
}

}  // namespace sage::reference
