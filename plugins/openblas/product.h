// product.h: LINEAR and MATMUL as products of matrices that BLAS can be given.
//
// BLAS takes a matrix whose elements lie side by side along one axis and `leading` apart along the other. Everything
// that must be known of a tensor for that is here, for support (planned shapes) and for run (shapes of the run).
#ifndef SAGE_PLUGINS_OPENBLAS_PRODUCT_H_
#define SAGE_PLUGINS_OPENBLAS_PRODUCT_H_

#include <cstdint>

#include "library.h"
#include "sage/plugin.h"
#include "sage/support/op_view.h"

namespace sage::openblas {

// The last two axes of a tensor in memory.
struct Layout {
  bool ok = false;         // BLAS can be given it
  bool row_major = false;  // else column-major
  int64_t leading = 1;     // elements from one row (column) to the next
};
Layout LayoutOf(int64_t rows, int64_t columns, int64_t row_stride, int64_t column_stride);

// c[m,n] = sum_k a[m,k] b[k,n] for one or many pairs of matrices: how the slots of LINEAR and MATMUL say it.
struct Product {
  const sage_tensor *a, *b, *c;
  bool b_is_transposed;  // LINEAR: W is [N,K]
  uint32_t outer_axes;   // axes of a and c before the matrix that are looped over; b's as well in MATMUL
  int64_t rows, columns, depth;
  int64_t a_row, a_column, b_row, b_column, c_row, c_column;  // strides in elements
};
// slots: of a checked op. LINEAR's leading axes are folded into rows as far as their strides allow.
Product ProductOf(uint32_t kind, const sage_tensor* const* slots);

// Computes the product, then bias and activation. data at any alignment; shapes, layouts and integer ranges have been
// accepted by support. Returns SAGE_E_CANCELLED between matrices if asked to.
sage_status RunProduct(const sage_host& host, const Library& library, uint32_t kind, uint32_t activation,
                       const sage_run_args& args, sage_error* err);

}  // namespace sage::openblas

#endif  // SAGE_PLUGINS_OPENBLAS_PRODUCT_H_
