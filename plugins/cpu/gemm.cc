// gemm.cc: blocking, packing and the epilogue round the matrix kernels.
#include "gemm.h"

#include <algorithm>
#include <type_traits>

#include "parallel.h"

namespace sage::cpu {
namespace {

template <class T>
constexpr sage_dtype kNative = std::is_same_v<T, double> ? SAGE_F64 : SAGE_F32;

constexpr int64_t RoundUp(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

template <class T>
bool Aligned(const char* pointer) {
  return reinterpret_cast<uintptr_t>(pointer) % alignof(T) == 0;
}

int64_t RowsPerTask(int64_t m, bool packed) {
  const int64_t most = packed ? kGemmRows : 2 * kGemmRows;
  if (m <= most) return m;
  const int64_t tasks = (m + most - 1) / most;
  return std::min(RoundUp((m + tasks - 1) / tasks, 6), most);
}

// Where a worker's pieces of scratch lie.
template <class T>
struct Scratch {
  T* c;          // [rows][columns]
  T* a;          // [rows][kGemmDepth], where A cannot be read in place
  T* b;          // one panel [kGemmDepth][cols]
  double* bias;  // [columns]
  uint64_t bytes;

  Scratch(const GemmKernel<T>& kernel, int64_t m, int64_t n, bool packed, char* base) {
    // Not RowsPerTask: a run with fewer rows than planned must not need more.
    const int64_t rows = std::min(m, packed ? kGemmRows : 2 * kGemmRows);
    const int64_t columns = std::min(RoundUp(n, kernel.cols), kGemmColumns);
    int64_t at = 0;
    const auto take = [&](int64_t elements, int64_t size) {
      char* const here = base == nullptr ? nullptr : base + at;
      at = RoundUp(at + elements * size, 64);
      return here;
    };
    c = reinterpret_cast<T*>(take(rows * columns, sizeof(T)));
    a = reinterpret_cast<T*>(take(rows * kGemmDepth, sizeof(T)));
    b = reinterpret_cast<T*>(take(kGemmDepth * kernel.cols, sizeof(T)));
    bias = reinterpret_cast<double*>(take(RoundUp(columns, 8), sizeof(double)));
    bytes = static_cast<uint64_t>(at);
  }
};

// Columns [j, j + count) of B at depth [p, p + depth), as a panel.
template <class T>
void PackPanel(const Gemm<T>& g, const char* b, int64_t j, int32_t count, int64_t p, int64_t depth, T* to) {
  const int32_t cols = g.kernel->cols;
  const int64_t size = SizeOf(g.b_dtype);
  const char* const from = b + (p * g.b_k + j * g.b_n) * size;
  if (count < cols) std::fill_n(to, depth * cols, T(0));
  if (g.b_n == 1) {
    for (int64_t i = 0; i < depth; ++i) g.kernel->widen(g.b_dtype, from + i * g.b_k * size, count, to + i * cols);
  } else if (g.b_k == 1 && g.b_dtype == kNative<T> && Aligned<T>(from)) {
    g.kernel->transpose(reinterpret_cast<const T*>(from), g.b_n, depth, count, to);
  } else if (g.b_k == 1) {
    T column[kGemmDepth];
    for (int32_t c = 0; c < count; ++c) {
      g.kernel->widen(g.b_dtype, from + c * g.b_n * size, depth, column);
      for (int64_t i = 0; i < depth; ++i) to[i * cols + c] = column[i];
    }
  } else {
    for (int64_t i = 0; i < depth; ++i)
      for (int32_t c = 0; c < count; ++c)
        to[i * cols + c] = static_cast<T>(ReadFloat(g.b_dtype, from + (i * g.b_k + c * g.b_n) * size));
  }
}

template <class T>
void PackRows(const Gemm<T>& g, const char* a, int64_t row, int64_t rows, int64_t p, int64_t depth, T* to) {
  const int64_t size = SizeOf(g.a_dtype);
  for (int64_t i = 0; i < rows; ++i, to += depth) {
    const char* const from = a + (g.a_rows.Offset(row + i) + p * g.a_step) * size;
    if (g.a_step == 1)
      g.kernel->widen(g.a_dtype, from, depth, to);
    else
      for (int64_t j = 0; j < depth; ++j) to[j] = static_cast<T>(ReadFloat(g.a_dtype, from + j * g.a_step * size));
  }
}

// Bias, function, rounding, strides: rows [row, row + rows), columns [column, column + count) of one product.
template <class T>
void Epilogue(const Gemm<T>& g, const Scratch<T>& s, int64_t ldc, char* y, int64_t row, int64_t rows, int64_t column,
              int64_t count) {
  const LineKernels& lines = *g.lines;
  const int64_t size = SizeOf(g.y_dtype);
  const char* bias = nullptr;
  if (g.bias != nullptr) bias = g.bias + column * g.bias_step * SizeOf(g.bias_dtype);
  // Float sums that stay floats: the same bits as by way of doubles, without the way.
  const bool direct = std::is_same_v<T, float> && g.y_dtype == SAGE_F32 && g.y_step == 1 &&
                      (g.activation == SAGE_FN_IDENTITY || g.activation == SAGE_FN_RELU) &&
                      (bias == nullptr || (g.bias_dtype == SAGE_F32 && g.bias_step == 1));
  if (!direct && bias != nullptr) LoadLine(lines, g.bias_dtype, bias, g.bias_step, count, s.bias);
  alignas(64) double piece[kGemmColumns];
  for (int64_t i = 0; i < rows; ++i) {
    const T* const c = s.c + i * ldc;
    char* const out = y + (g.y_rows.Offset(row + i) + column * g.y_step) * size;
    if (direct) {
      int32_t done = 1;
      if (bias != nullptr)
        done = lines.binary_f32(SAGE_BINARY_ADD, c, 1, bias, 1, out, count);
      else
        std::memcpy(out, c, static_cast<size_t>(count) * sizeof(T));
      if (done != 0 && g.activation == SAGE_FN_RELU) done = lines.unary_f32(SAGE_FN_RELU, out, out, count);
      if (done != 0) continue;
    }
    lines.load(kNative<T>, c, count, piece);
    if (bias != nullptr) {
      if (direct) LoadLine(lines, g.bias_dtype, bias, 1, count, s.bias);
      lines.binary(SAGE_BINARY_ADD, piece, s.bias, piece, count);
    }
    lines.unary(g.activation, 0.0, piece, count);
    StoreLine(lines, g.y_dtype, piece, count, out, g.y_step);
  }
}

template <class T>
void Block(const Gemm<T>& g, int64_t batch, int64_t row, int64_t rows, int64_t column, int64_t count,
           const Scratch<T>& s) {
  const GemmKernel<T>& kernel = *g.kernel;
  const int32_t cols = kernel.cols;
  const int64_t panels = (count + cols - 1) / cols, ldc = panels * cols;
  const char* const a = g.a + g.a_batch.Offset(batch) * SizeOf(g.a_dtype);
  const char* const b = g.packed != nullptr ? nullptr : g.b + g.b_batch.Offset(batch) * SizeOf(g.b_dtype);
  char* const y = g.y + g.y_batch.Offset(batch) * SizeOf(g.y_dtype);
  const bool a_direct = g.a_dtype == kNative<T> && g.a_step == 1 && g.a_rows.Regular() && Aligned<T>(a);
  // Few rows do not pay for packing B when its rows can be read in place.
  const bool b_direct =
      g.packed == nullptr && g.b_dtype == kNative<T> && g.b_n == 1 && Aligned<T>(b) && rows <= 4 * kernel.rows;
  if (g.k == 0) std::fill_n(s.c, rows * ldc, T(0));
  for (int64_t p = 0; p < g.k; p += kGemmDepth) {
    const int64_t depth = std::min(kGemmDepth, g.k - p);
    const int32_t accumulate = p > 0 ? 1 : 0;
    const T* from = s.a;
    int64_t lda = depth;
    if (a_direct) {
      lda = g.a_rows.LineStep(0);
      from = reinterpret_cast<const T*>(a) + row * lda + p;
    } else {
      PackRows(g, a, row, rows, p, depth, s.a);
    }
    for (int64_t q = 0; q < panels;) {
      const int64_t j = column + q * cols;
      const int32_t used = static_cast<int32_t>(std::min<int64_t>(cols, count - q * cols));
      const T* panel = s.b;
      int64_t ldb = cols, step = 0, together = 1;
      if (g.packed != nullptr) {
        panel = g.packed + j * g.k + p * cols;  // j is a multiple of cols: whole panels of k * cols elements lie before
        step = g.k * cols;
        together = panels - q;
      } else if (b_direct && used == cols) {
        panel = reinterpret_cast<const T*>(b) + p * g.b_k + j;
        ldb = g.b_k, step = cols;
        together = (count - q * cols) / cols;
      } else {
        PackPanel(g, b, j, used, p, depth, s.b);
      }
      if (rows == 1) {
        kernel.row(depth, from, panel, ldb, step, together, s.c + q * cols, accumulate);
        q += together;
        continue;
      }
      for (int64_t i = 0; i < rows; i += kernel.rows)
        kernel.tile(depth, static_cast<int32_t>(std::min<int64_t>(kernel.rows, rows - i)), from + i * lda, lda, panel,
                    ldb, s.c + i * ldc + q * cols, ldc, accumulate);
      ++q;
    }
  }
  Epilogue(g, s, ldc, y, row, rows, column, count);
}

}  // namespace

template <>
const GemmKernel<float>& GemmKernelFor<float>(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return kGemmAvx512F32;
  if (isa == Isa::kAvx2) return kGemmAvx2F32;
#elif defined(__aarch64__)
  if (isa == Isa::kNeon) return kGemmNeonF32;
#endif
  (void)isa;
  return kGemmScalarF32;
}

template <>
const GemmKernel<double>& GemmKernelFor<double>(Isa isa) {
#if defined(__x86_64__)
  if (isa == Isa::kAvx512) return kGemmAvx512F64;
  if (isa == Isa::kAvx2) return kGemmAvx2F64;
#elif defined(__aarch64__)
  if (isa == Isa::kNeon) return kGemmNeonF64;
#endif
  (void)isa;
  return kGemmScalarF64;
}

template <class T>
uint64_t GemmScratchBytes(const GemmKernel<T>& kernel, int64_t m, int64_t n, bool packed) {
  return Scratch<T>(kernel, m, n, packed, nullptr).bytes;
}

template <class T>
int64_t PackedElements(const GemmKernel<T>& kernel, int64_t n, int64_t k) {
  int64_t columns = 0, elements = 0, bytes = 0;
  if (__builtin_add_overflow(n, kernel.cols - 1, &columns)) return -1;
  columns = columns / kernel.cols * kernel.cols;
  if (__builtin_mul_overflow(columns, k, &elements)) return -1;
  if (__builtin_mul_overflow(elements, static_cast<int64_t>(sizeof(T)), &bytes)) return -1;
  return elements;
}

template <class T>
void PackGemm(const Gemm<T>& g, T* to) {
  const int32_t cols = g.kernel->cols;
  for (int64_t j = 0; j < g.n; j += cols, to += g.k * cols)
    for (int64_t p = 0; p < g.k; p += kGemmDepth)
      PackPanel(g, g.b, j, static_cast<int32_t>(std::min<int64_t>(cols, g.n - j)), p, std::min(kGemmDepth, g.k - p),
                to + p * cols);
}

template <class T>
sage_status RunGemm(const Gemm<T>& g, const sage_host* host, double ns, const sage_run_args& args, sage_error* err) {
  if (g.batch == 0 || g.m == 0 || g.n == 0) return sage_succeed(err);
  const bool packed = g.packed != nullptr;
  const uint64_t bytes = GemmScratchBytes(*g.kernel, g.m, g.n, packed);
  const int64_t rows = RowsPerTask(g.m, packed), row_tasks = (g.m + rows - 1) / rows;
  const int64_t column_tasks = (g.n + kGemmColumns - 1) / kGemmColumns;
  // Rows are the inner index: neighbouring tasks share columns of B, which then stay in cache.
  ParallelFor(host, ns, g.batch * column_tasks * row_tasks, 1, [&](int64_t begin, int64_t end, uint32_t worker) {
    const Scratch<T> scratch(*g.kernel, g.m, g.n, packed, static_cast<char*>(args.workspace) + worker * bytes);
    for (int64_t task = begin; task < end; ++task) {
      if (Cancelled(host, args)) return;
      const int64_t row = task % row_tasks * rows, rest = task / row_tasks;
      const int64_t column = rest % column_tasks * kGemmColumns;
      Block(g, rest / column_tasks, row, std::min(rows, g.m - row), column, std::min(kGemmColumns, g.n - column),
            scratch);
    }
  });
  return Finish(host, args, err);
}

double GemmNs(Isa isa, bool is_double, double batch, double m, double n, double k, bool packed) {
  // Multiply-adds per nanosecond of one core, and bytes per nanosecond: of packed panels out of its caches, of operands
  // that each run packs again. Measured on a server core, rounded down; of NEON expected, as VectorNs: two pipes of
  // four lanes at 2.2 GHz are 17.6 at most.
  const double rate = (isa == Isa::kAvx512 ? 48.0
                       : isa == Isa::kAvx2 ? 42.0
                       : isa == Isa::kNeon ? 12.0
                                           : 2.2) /
                      (is_double ? 2.0 : 1.0);
  const double bytes = (packed ? 40.0 : 14.0) / VectorNs(isa, 1.0), size = is_double ? 8.0 : 4.0;
  return 200.0 + batch * (m * n * k / rate + (n * k + m * k + 2.0 * m * n) * size / bytes);
}

template uint64_t GemmScratchBytes(const GemmKernel<float>&, int64_t, int64_t, bool);
template uint64_t GemmScratchBytes(const GemmKernel<double>&, int64_t, int64_t, bool);
template int64_t PackedElements(const GemmKernel<float>&, int64_t, int64_t);
template int64_t PackedElements(const GemmKernel<double>&, int64_t, int64_t);
template void PackGemm(const Gemm<float>&, float*);
template void PackGemm(const Gemm<double>&, double*);
template sage_status RunGemm(const Gemm<float>&, const sage_host*, double, const sage_run_args&, sage_error*);
template sage_status RunGemm(const Gemm<double>&, const sage_host*, double, const sage_run_args&, sage_error*);

}  // namespace sage::cpu
