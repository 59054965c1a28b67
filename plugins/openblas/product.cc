// product.cc: strides turned into BLAS's words, the call, and the epilogue it does not have.
#include "product.h"

#include <cstring>

#include "common/functions.h"
#include "sage/support/refuse.h"

namespace sage::openblas {
namespace {

template <class T>
T Load(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

// For data that does not lie at a multiple of its own size, which BLAS may not be given: one dot product an element.
template <class T>
void Unaligned(const Product& p, const char* a, const char* b, char* c) {
  constexpr int64_t kSize = sizeof(T);
  for (int64_t m = 0; m < p.rows; ++m) {
    for (int64_t n = 0; n < p.columns; ++n) {
      double sum = 0;
      for (int64_t k = 0; k < p.depth; ++k)
        sum += static_cast<double>(Load<T>(a + (m * p.a_row + k * p.a_column) * kSize)) *
               static_cast<double>(Load<T>(b + (k * p.b_row + n * p.b_column) * kSize));
      const T value = static_cast<T>(sum);
      std::memcpy(c + (m * p.c_row + n * p.c_column) * kSize, &value, sizeof value);
    }
  }
}

template <class T>
void Multiply(Gemm<T> gemm, const Product& p, const char* a, const char* b, char* c) {
  if (p.rows == 0 || p.columns == 0) return;
  const auto crooked = [](const char* at) { return reinterpret_cast<uintptr_t>(at) % sizeof(T) != 0; };
  // No depth: a sum of nothing, for which BLAS still wants leading dimensions.
  if (p.depth == 0 || crooked(a) || crooked(b) || crooked(c)) return Unaligned<T>(p, a, b, c);
  const Layout la = LayoutOf(p.rows, p.depth, p.a_row, p.a_column),
               lb = LayoutOf(p.depth, p.columns, p.b_row, p.b_column),
               lc = LayoutOf(p.rows, p.columns, p.c_row, p.c_column);
  const int order = lc.row_major ? kRowMajor : kColumnMajor;
  const auto transpose = [&](const Layout& layout) {
    return layout.row_major == lc.row_major ? kNoTranspose : kTranspose;
  };
  gemm(order, transpose(la), transpose(lb), static_cast<int>(p.rows), static_cast<int>(p.columns),
       static_cast<int>(p.depth), T{1}, reinterpret_cast<const T*>(a), static_cast<int>(la.leading),
       reinterpret_cast<const T*>(b), static_cast<int>(lb.leading), T{0}, reinterpret_cast<T*>(c),
       static_cast<int>(lc.leading));
}

// y = fn(y + b), in double, over rows shared out by the host.
template <class T>
struct Epilogue {
  const Product& p;
  char* c;
  const sage_tensor* bias;  // (optional)
  uint32_t activation;

  static void Rows(void* ctx, uint64_t begin, uint64_t end, uint32_t) {
    const Epilogue& e = *static_cast<const Epilogue*>(ctx);
    constexpr int64_t kSize = sizeof(T);
    for (int64_t m = static_cast<int64_t>(begin); m < static_cast<int64_t>(end); ++m) {
      for (int64_t n = 0; n < e.p.columns; ++n) {
        char* at = e.c + (m * e.p.c_row + n * e.p.c_column) * kSize;
        double value = static_cast<double>(Load<T>(at));
        if (e.bias != nullptr)
          value += static_cast<double>(Load<T>(static_cast<const char*>(e.bias->data) + n * e.bias->stride[0] * kSize));
        const T result = static_cast<T>(plugins::ApplyFunction(e.activation, value, 1.0));
        std::memcpy(at, &result, sizeof result);
      }
    }
  }

  void Run(const sage_host& host) {
    if ((bias == nullptr && activation == SAGE_FN_IDENTITY) || p.rows == 0 || p.columns == 0) return;
    const uint64_t grain = 1 + 16384 / static_cast<uint64_t>(p.columns);
    host.parallel_for(host.self, static_cast<uint64_t>(p.rows), grain, Rows, this);
  }
};

template <class T>
sage_status RunTyped(const sage_host& host, Gemm<T> gemm, uint32_t kind, uint32_t activation, const sage_run_args& args,
                     sage_error* err) {
  const Product p = ProductOf(kind, args.slots);
  constexpr int64_t kSize = sizeof(T);
  const sage_tensor* bias = kind == SAGE_OP_LINEAR ? args.slots[2] : nullptr;
  int64_t index[SAGE_MAX_RANK] = {}, count = 1;
  for (uint32_t axis = 0; axis < p.outer_axes; ++axis) count *= p.c->shape[axis];
  for (int64_t i = 0; i < count; ++i) {
    if (host.cancelled(host.self, args.run) != 0) return sage_fail(err, SAGE_E_CANCELLED, "the run was cancelled");
    int64_t rest = i, a = 0, b = 0, c = 0;
    for (uint32_t axis = p.outer_axes; axis-- > 0; rest /= p.c->shape[axis]) {
      index[axis] = rest % p.c->shape[axis];
      a += index[axis] * p.a->stride[axis];
      c += index[axis] * p.c->stride[axis];
      if (!p.b_is_transposed) b += index[axis] * p.b->stride[axis];
    }
    char* c_data = static_cast<char*>(p.c->data) + c * kSize;
    Multiply<T>(gemm, p, static_cast<const char*>(p.a->data) + a * kSize,
                static_cast<const char*>(p.b->data) + b * kSize, c_data);
    Epilogue<T>{p, c_data, bias, activation}.Run(host);
  }
  return SAGE_OK;
}

}  // namespace

Layout LayoutOf(int64_t rows, int64_t columns, int64_t row_stride, int64_t column_stride) {
  // A stride along an axis of at most one element is never walked: any value will do, the least legal one is taken.
  const int64_t least_row = columns < 1 ? 1 : columns, least_column = rows < 1 ? 1 : rows;
  const bool one_row = rows <= 1, one_column = columns <= 1;
  if (rows == 0 || columns == 0) return {true, true, least_row};  // nothing is there to be reached
  if ((column_stride == 1 || one_column) && (row_stride >= least_row || one_row))
    return {true, true, one_row ? least_row : row_stride};
  if ((row_stride == 1 || one_row) && (column_stride >= least_column || one_column))
    return {true, false, one_column ? least_column : column_stride};
  return {};
}

Product ProductOf(uint32_t kind, const sage_tensor* const* slots) {
  const bool linear = kind == SAGE_OP_LINEAR;
  const sage_tensor &a = *slots[0], &b = *slots[1], &c = *slots[linear ? 3 : 2];
  const uint32_t last = c.rank - 1;
  Product p{&a, &b, &c, linear, 0, 1, c.shape[last], a.shape[last], 0, a.stride[last], 0, 0, 0, c.stride[last]};
  if (!linear) {
    p.outer_axes = last - 1;
    p.rows = c.shape[last - 1];
    p.a_row = a.stride[last - 1], p.c_row = c.stride[last - 1];
    p.b_row = b.stride[last - 1], p.b_column = b.stride[last];
    return p;
  }
  p.b_row = b.stride[1], p.b_column = b.stride[0];
  if (last == 0) return p;  // X is one row
  p.outer_axes = last - 1;
  p.rows = c.shape[last - 1];
  p.a_row = a.stride[last - 1], p.c_row = c.stride[last - 1];
  while (p.outer_axes > 0) {
    const uint32_t axis = p.outer_axes - 1;
    const bool follows = a.stride[axis] == p.rows * p.a_row && c.stride[axis] == p.rows * p.c_row;
    if (!follows && c.shape[axis] > 1) break;
    p.rows *= c.shape[axis];
    --p.outer_axes;
  }
  return p;
}

sage_status RunProduct(const sage_host& host, const Library& library, uint32_t kind, uint32_t activation,
                       const sage_run_args& args, sage_error* err) {
  if (args.slots[0]->dtype == SAGE_F64) return RunTyped<double>(host, library.dgemm, kind, activation, args, err);
  return RunTyped<float>(host, library.sgemm, kind, activation, args, err);
}

}  // namespace sage::openblas
