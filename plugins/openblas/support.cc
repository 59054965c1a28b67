// support.cc: every refusal of openblas with its reason.
#include "support.h"

#include <algorithm>

#include "common/entries.h"
#include "sage/support/check_op.h"
#include "sage/support/refuse.h"

namespace sage::openblas {
namespace {

// What one of the three matrices is, and whether BLAS can be given it.
bool Refused(const char* name, int64_t rows, int64_t columns, int64_t row_stride, int64_t column_stride,
             sage_answer* answer) {
  const Layout layout = LayoutOf(rows, columns, row_stride, column_stride);
  if (layout.ok && layout.leading <= INT32_MAX) return false;
  sage_refuse(answer, 0,
              "%s has strides (%lld, %lld); BLAS needs 1 along one axis and at least a line's length along the "
              "other, in 32 bits",
              name, static_cast<long long>(row_stride), static_cast<long long>(column_stride));
  return true;
}

}  // namespace

void Decide(const support::OpView& view, uint32_t num_threads, sage_answer* answer) {
  const uint32_t kind = view.op.kind, requirements = view.op.requirements;
  if (kind != SAGE_OP_LINEAR && kind != SAGE_OP_MATMUL)
    return sage_refuse(answer, 0, "openblas computes LINEAR and MATMUL only, not %s", support::KindName(kind));
  if ((requirements & SAGE_REQUIRE_DETERMINISTIC) != 0)
    return sage_refuse(answer, 0, "DETERMINISTIC is required, but OpenBLAS splits sums by its number of threads");
  if ((requirements & SAGE_REQUIRE_SCALAR) != 0)
    return sage_refuse(answer, 0, "SCALAR is required, but OpenBLAS chooses vector kernels by itself");
  if (plugins::RefuseOffCpu(view, answer)) return;
  const sage_dtype dtype = view.Slot(0).dtype;
  if (dtype != SAGE_F32 && dtype != SAGE_F64)
    return sage_refuse(answer, 0, "openblas computes f32 and f64; slot 0 is %s", support::DtypeName(dtype));
  for (uint32_t slot = 0; slot < view.pointers.size(); ++slot) {
    if (!view.Has(slot)) continue;
    const sage_tensor& tensor = view.Slot(slot);
    if (tensor.dtype != dtype)
      return sage_refuse(answer, 0, "openblas mixes no dtypes: slot %u is %s, slot 0 is %s", slot,
                         support::DtypeName(tensor.dtype), support::DtypeName(dtype));
  }

  const Product p = ProductOf(kind, view.pointers.data());
  if (std::max({p.rows, p.columns, p.depth}) > INT32_MAX)
    return sage_refuse(answer, 0, "a product of %lld x %lld x %lld is beyond the 32-bit sizes of this BLAS",
                       static_cast<long long>(p.rows), static_cast<long long>(p.columns),
                       static_cast<long long>(p.depth));
  if (Refused(kind == SAGE_OP_LINEAR ? "X" : "A", p.rows, p.depth, p.a_row, p.a_column, answer) ||
      Refused(kind == SAGE_OP_LINEAR ? "W" : "B", p.depth, p.columns, p.b_row, p.b_column, answer) ||
      Refused(kind == SAGE_OP_LINEAR ? "Y" : "C", p.rows, p.columns, p.c_row, p.c_column, answer))
    return;

  double products = 1;
  for (uint32_t axis = 0; axis < p.outer_axes; ++axis) products *= static_cast<double>(p.c->shape[axis]);
  const bool wide = dtype == SAGE_F64;
  const double m = static_cast<double>(p.rows), n = static_cast<double>(p.columns), k = static_cast<double>(p.depth);
  const double rate = (wide ? 20.0 : 40.0) * num_threads;  // flops per nanosecond
  const double bytes = (wide ? 8.0 : 4.0) * (m * k + k * n + m * n);
  constexpr double kCallNs = 3000.0, kBytesPerNs = 10.0;
  sage_accept(answer, products * (kCallNs + std::max(2.0 * m * n * k / rate, bytes / kBytesPerNs)), SAGE_COST_RULE,
              SAGE_ACCURACY_EXACT, 0, "OpenBLAS %s on up to %u threads of its own, calls one after the other",
              wide ? "dgemm" : "sgemm", num_threads);
}

}  // namespace sage::openblas
