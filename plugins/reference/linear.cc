// linear.cc: LINEAR and MATMUL: one row of the result at a time, one dot product an element, summed in index order.
#include "kernel.h"

namespace sage::reference {
namespace {

double Dot(const double* a, const double* b, int64_t length) {
  double sum = 0;
  for (int64_t i = 0; i < length; ++i) sum += a[i] * b[i];
  return sum;
}

// A scale of [1], or one entry for each row or column.
double ScaleAt(const Job& job, uint32_t slot, int64_t index) {
  if (!job.Has(slot)) return 1.0;
  const sage_tensor& scale = job.Slot(slot);
  return ReadAt(scale, scale.shape[0] == 1 ? 0 : index * scale.stride[0]);
}

}  // namespace

sage_status RunLinear(const Job& job) {
  constexpr uint32_t kX = 0, kW = 1, kB = 2, kY = 3, kScaleX = 4, kScaleW = 5;
  const sage_tensor &x = job.Slot(kX), &w = job.Slot(kW), &y = job.Slot(kY);
  const uint32_t leading = x.rank - 1;
  const int64_t depth = w.shape[1], columns = w.shape[0];
  const uint32_t activation = job.planned.attributes.linear.activation;
  int64_t rows = 1;
  for (uint32_t axis = 0; axis < leading; ++axis) rows *= x.shape[axis];

  return ForEach(job, rows, 2.0 * static_cast<double>(depth) * static_cast<double>(columns),
                 [&](int64_t row, uint32_t worker) {
                   int64_t index[SAGE_MAX_RANK] = {};
                   Unravel(row, x.shape, leading, index);
                   const int64_t y_offset = OffsetOf(y, index);
                   double* x_row = job.Scratch(worker);
                   double* w_row = x_row + depth;
                   ReadRow(x, OffsetOf(x, index), x.stride[leading], depth, x_row);
                   for (int64_t column = 0; column < columns; ++column) {
                     ReadRow(w, column * w.stride[0], w.stride[1], depth, w_row);
                     double sum = Dot(x_row, w_row, depth) * ScaleAt(job, kScaleX, row) * ScaleAt(job, kScaleW, column);
                     if (job.Has(kB)) sum += ReadAt(job.Slot(kB), column * job.Slot(kB).stride[0]);
                     WriteAt(y, y_offset + column * y.stride[leading], ApplyFunction(activation, sum, 1.0));
                   }
                 });
}

sage_status RunMatmul(const Job& job) {
  const sage_tensor &a = job.Slot(0), &b = job.Slot(1), &c = job.Slot(2);
  const uint32_t m_axis = c.rank - 2, last = c.rank - 1;
  const int64_t depth = a.shape[last], columns = c.shape[last];
  int64_t rows = 1;
  for (uint32_t axis = 0; axis < last; ++axis) rows *= c.shape[axis];

  return ForEach(job, rows, 2.0 * static_cast<double>(depth) * static_cast<double>(columns),
                 [&](int64_t row, uint32_t worker) {
                   int64_t index[SAGE_MAX_RANK] = {};
                   Unravel(row, c.shape, last, index);
                   const int64_t c_offset = OffsetOf(c, index), a_offset = OffsetOf(a, index);
                   index[m_axis] = 0;
                   const int64_t b_offset = OffsetOf(b, index);
                   double* a_row = job.Scratch(worker);
                   double* b_column = a_row + depth;
                   ReadRow(a, a_offset, a.stride[last], depth, a_row);
                   for (int64_t column = 0; column < columns; ++column) {
                     ReadRow(b, b_offset + column * b.stride[last], b.stride[m_axis], depth, b_column);
                     WriteAt(c, c_offset + column * c.stride[last], Dot(a_row, b_column, depth));
                   }
                 });
}

}  // namespace sage::reference
