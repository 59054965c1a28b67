// rows.h: the loops over embeddings and weights of a tick that no backend runs, since they are done in double.
#ifndef SAGE_ENGINE_SAGE_ROWS_H_
#define SAGE_ENGINE_SAGE_ROWS_H_

#include <cstddef>
#include <span>

#include "model/sage_params.h"

namespace sage {

// The mean over each group's slices of an embedding (d_model numbers), L2-normalised (a zero one stays zero), head_dim
// numbers a group, to out, out + stride, ...
void GroupSlices(const SageAttention& attention, std::span<const double> embedding, double* out, size_t stride);
// sum[i] += factor * row[i]; row is at least as long as sum.
void AddScaled(double factor, std::span<const double> row, std::span<double> sum);

}  // namespace sage

#endif  // SAGE_ENGINE_SAGE_ROWS_H_
