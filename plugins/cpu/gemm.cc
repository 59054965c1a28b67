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

int64_t MostRows(bool packed) { return packed ? kGemmRows : 2 * kGemmRows; }

int64_t RowsPerTask(int64_t m, bool packed, int64_t tile_rows) {
  const int64_t most = MostRows(packed);
  if (m <= most) return m;
  const int64_t tasks = (m + most - 1) / most;
  return std::min(RoundUp((m + tasks - 1) / tasks, tile_rows), most);
}

// Elements of T that `depth` numbers of a row or a column take, packed.
template <class T>
int64_t PackedLength(const GemmKernel<T>& kernel, int64_t depth) {
  return (depth + kernel.step - 1) / kernel.step * kernel.words;
}

// Where a worker's pieces of scratch lie.
template <class T>
struct Scratch {
  T* c;              // [rows][columns]
  T* a;              // [rows][a block of depth], where A cannot be read in place
  T* b;              // one panel
  T* numbers;        // the same before it is packed, where a step is not a number
  double* bias;      // [columns]
  uint8_t* unfit;    // [columns]
  uint8_t* unfit_a;  // [rows]
  char* otherwise;   // a Scratch for the plain kernel: [rows][its panel]
  uint64_t bytes;

  Scratch(const GemmKernel<T>& kernel, int64_t m, int64_t n, bool packed, char* base) {
    // Not RowsPerTask: a run with fewer rows than planned must not need more.
    const int64_t rows = std::min(m, MostRows(packed));
    const int64_t columns = std::min(RoundUp(n, kernel.cols), kGemmColumns);
    const int64_t length = PackedLength(kernel, kGemmDepth);
    int64_t at = 0;
    const auto take = [&](int64_t elements, int64_t size) {
      char* const here = base == nullptr ? nullptr : base + at;
      at = RoundUp(at + elements * size, 64);
      return here;
    };
    c = reinterpret_cast<T*>(take(rows * columns, sizeof(T)));
    a = reinterpret_cast<T*>(take(RoundUp(rows, kernel.rows) * length, sizeof(T)));
    b = reinterpret_cast<T*>(take(length * kernel.cols, sizeof(T)));
    bias = reinterpret_cast<double*>(take(RoundUp(columns, 8), sizeof(double)));
    const bool whole = kernel.pack_panel == nullptr, all_fit = kernel.otherwise == nullptr;
    numbers = reinterpret_cast<T*>(take(whole ? 0 : kGemmDepth * kernel.cols, sizeof(T)));
    unfit = reinterpret_cast<uint8_t*>(take(whole ? 0 : columns, 1));
    unfit_a = reinterpret_cast<uint8_t*>(take(whole ? 0 : rows, 1));
    otherwise = base == nullptr ? nullptr : base + at;
    if (!all_fit)
      at += static_cast<int64_t>(Scratch(*kernel.otherwise, rows, kernel.otherwise->cols, false, nullptr).bytes);
    bytes = static_cast<uint64_t>(at);
  }
};

// Columns [j, j + count) of B at depth [p, p + depth), as a panel of numbers.
template <class T>
void NumberPanel(const Gemm<T>& g, const GemmKernel<T>& kernel, const char* b, int64_t j, int32_t count, int64_t p,
                 int64_t depth, T* to) {
  const int32_t cols = kernel.cols;
  const int64_t size = SizeOf(g.b_dtype);
  const char* const from = b + (p * g.b_k + j * g.b_n) * size;
  if (count < cols) std::fill_n(to, depth * cols, T(0));
  if (g.b_n == 1) {
    for (int64_t i = 0; i < depth; ++i) kernel.widen(g.b_dtype, from + i * g.b_k * size, count, to + i * cols);
  } else if (g.b_k == 1 && g.b_dtype == kNative<T> && Aligned<T>(from)) {
    kernel.transpose(reinterpret_cast<const T*>(from), g.b_n, depth, count, to);
  } else if (g.b_k == 1) {
    T column[kGemmDepth];
    for (int32_t c = 0; c < count; ++c) {
      kernel.widen(g.b_dtype, from + c * g.b_n * size, depth, column);
      for (int64_t i = 0; i < depth; ++i) to[i * cols + c] = column[i];
    }
  } else {
    for (int64_t i = 0; i < depth; ++i)
      for (int32_t c = 0; c < count; ++c)
        to[i * cols + c] = static_cast<T>(ReadFloat(g.b_dtype, from + (i * g.b_k + c * g.b_n) * size));
  }
}

// The same in the kernel's form. numbers: scratch of a panel; unfit [cols]: what is unfit becomes 1.
template <class T>
void PackPanel(const Gemm<T>& g, const GemmKernel<T>& kernel, const char* b, int64_t j, int32_t count, int64_t p,
               int64_t depth, T* numbers, T* to, uint8_t* unfit) {
  if (kernel.pack_panel == nullptr) return NumberPanel(g, kernel, b, j, count, p, depth, to);
  NumberPanel(g, kernel, b, j, count, p, depth, numbers);
  kernel.pack_panel(depth, numbers, to, unfit);
}

// The same of numbers in 16 bits, which stay what they are.
template <class T>
void PackStored(const Gemm<T>& g, int64_t j, int32_t count, int64_t p, int64_t depth, uint16_t* to) {
  const int32_t cols = g.kernel->cols;
  if (count < cols) std::fill_n(to, depth * cols, uint16_t{0});
  const char* const from = g.b + (p * g.b_k + j * g.b_n) * 2;
  for (int64_t i = 0; i < depth; ++i)
    for (int32_t c = 0; c < count; ++c) to[i * cols + c] = ReadAs<uint16_t>(from + (i * g.b_k + c * g.b_n) * 2);
}

template <class T>
void PackRows(const Gemm<T>& g, const GemmKernel<T>& kernel, const char* a, int64_t row, int64_t rows, int64_t p,
              int64_t depth, T* to, uint8_t* unfit) {
  const int64_t size = SizeOf(g.a_dtype), length = PackedLength(kernel, depth);
  T numbers[kGemmDepth];
  for (int64_t i = 0; i < rows; ++i, to += length) {
    const char* const from = a + (g.a_rows.Offset(row + i) + p * g.a_step) * size;
    T* const line = kernel.pack_row == nullptr ? to : numbers;
    if (g.a_step == 1)
      kernel.widen(g.a_dtype, from, depth, line);
    else
      for (int64_t j = 0; j < depth; ++j) line[j] = static_cast<T>(ReadFloat(g.a_dtype, from + j * g.a_step * size));
    if (kernel.pack_row != nullptr && kernel.pack_row(depth, numbers, to) != 0) unfit[i] = 1;
  }
}

// Whether rows of A lie in memory as the kernel wants them.
template <class T>
bool ReadsInPlace(const Gemm<T>& g, const GemmKernel<T>& kernel, const char* a) {
  if (g.a_step != 1 || !g.a_rows.Regular() || !Aligned<T>(a)) return false;
  if (kernel.pack_row == nullptr) return g.a_dtype == kNative<T>;
  const bool whole_steps = g.a_rows.rank == 0 || g.a_rows.LineStep(0) % kernel.step == 0;
  return g.a_dtype == kernel.rows_as && g.k % kernel.step == 0 && whole_steps;
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
int32_t TileRows(const GemmKernel<T>& kernel, int64_t left) {
  return static_cast<int32_t>(std::min<int64_t>(kernel.rows, left));
}

// Sums of rows [row, row + rows) and columns [column, column + count) of one product into s.c, and what of them is
// unfit. packed: (optional) all of B in this kernel's form.
template <class T>
void Sums(const Gemm<T>& g, const GemmKernel<T>& kernel, const char* packed, int64_t batch, int64_t row, int64_t rows,
          int64_t column, int64_t count, const Scratch<T>& s) {
  const int32_t cols = kernel.cols;
  const int64_t panels = (count + cols - 1) / cols, ldc = panels * cols;
  const int64_t length = PackedLength(kernel, g.k);  // of a whole column
  const bool plain = kernel.pack_panel == nullptr, narrow = plain && g.packed_as != kNative<T>;
  const char* const a = g.a + g.a_batch.Offset(batch) * SizeOf(g.a_dtype);
  const char* const b = packed != nullptr ? nullptr : g.b + g.b_batch.Offset(batch) * SizeOf(g.b_dtype);
  const bool a_direct = ReadsInPlace(g, kernel, a);
  // Few rows do not pay for packing B when its rows can be read in place, nor for widening it apart.
  const bool few = rows <= 4 * kernel.rows;
  const bool b_direct = packed == nullptr && plain && g.b_dtype == kNative<T> && g.b_n == 1 && Aligned<T>(b) && few;
  const GemmNarrow<T>& stored = g.packed_as == SAGE_BF16 ? kernel.bf16 : kernel.f16;
  if (g.k == 0) std::fill_n(s.c, rows * ldc, T(0));
  if (!plain) std::fill_n(s.unfit, ldc, uint8_t{0}), std::fill_n(s.unfit_a, rows, uint8_t{0});
  for (int64_t p = 0; p < g.k; p += kGemmDepth) {
    const int64_t depth = std::min(kGemmDepth, g.k - p), steps = (depth + kernel.step - 1) / kernel.step;
    const int64_t before = PackedLength(kernel, p);
    const int32_t accumulate = p > 0 ? 1 : 0;
    const T* from = s.a;
    int64_t lda = steps * kernel.words;
    if (a_direct) {
      lda = g.a_rows.LineStep(0) / kernel.step;
      from = reinterpret_cast<const T*>(a) + row * lda + before;
    } else {
      PackRows(g, kernel, a, row, rows, p, depth, s.a, s.unfit_a);
    }
    for (int64_t q = 0; q < panels;) {
      const int64_t j = column + q * cols;
      const int32_t used = static_cast<int32_t>(std::min<int64_t>(cols, count - q * cols));
      const T* panel = s.b;
      int64_t ldb = cols, step = 0, together = 1;
      if (packed != nullptr) {
        // j is a multiple of cols: whole panels of `length` times cols elements lie before.
        const int64_t at = j * length + before * cols;
        step = length * cols;
        together = panels - q;
        const auto* numbers = reinterpret_cast<const uint16_t*>(packed) + at;
        if (!narrow) {
          panel = reinterpret_cast<const T*>(packed) + at;
        } else if (rows == 1) {
          stored.row(steps, from, numbers, ldb, step, together, s.c + q * cols, accumulate);
          break;
        } else if (few) {
          for (int64_t i = 0; i < rows; i += kernel.rows)
            stored.tile(steps, TileRows(kernel, rows - i), from + i * lda, lda, numbers, ldb, s.c + i * ldc + q * cols,
                        ldc, accumulate);
          ++q;
          continue;
        } else {
          kernel.widen(g.packed_as, numbers, depth * cols, s.b);
        }
      } else if (b_direct && used == cols) {
        panel = reinterpret_cast<const T*>(b) + p * g.b_k + j;
        ldb = g.b_k, step = cols;
        together = (count - q * cols) / cols;
      } else {
        PackPanel(g, kernel, b, j, used, p, depth, s.numbers, s.b, s.unfit + q * cols);
      }
      if (rows == 1 && kernel.row != nullptr) {
        kernel.row(steps, from, panel, ldb, step, together, s.c + q * cols, accumulate);
        q += together;
        continue;
      }
      for (int64_t i = 0; i < rows; i += kernel.rows)
        kernel.tile(steps, TileRows(kernel, rows - i), from + i * lda, lda, panel, ldb, s.c + i * ldc + q * cols, ldc,
                    accumulate);
      ++q;
    }
  }
}

// Rows and columns with numbers that the kernel cannot hold, once more by the plain one. Nothing of theirs is in the
// sums of others, so the bits of these do not change.
template <class T>
void Repair(const Gemm<T>& g, int64_t batch, int64_t row, int64_t rows, int64_t column, int64_t count, int64_t ldc,
            const Scratch<T>& s) {
  const GemmKernel<T>& kernel = *g.kernel->otherwise;
  const uint8_t* columns = s.unfit;
  if (g.packed != nullptr)
    columns = reinterpret_cast<const uint8_t*>(g.packed) +
              RoundUp(g.n, g.kernel->cols) * PackedLength(*g.kernel, g.k) * static_cast<int64_t>(sizeof(T)) + column;
  const auto is_unfit = [](uint8_t mark) { return mark != 0; };
  const bool any_row = std::any_of(s.unfit_a, s.unfit_a + rows, is_unfit);
  for (int64_t j = 0; j < count; j += kernel.cols) {
    const int64_t width = std::min<int64_t>(kernel.cols, count - j);
    const bool any_column = std::any_of(columns + j, columns + j + width, is_unfit);
    if (!any_row && !any_column) continue;
    const Scratch<T> again(kernel, rows, kernel.cols, false, s.otherwise);
    if (any_column) Sums(g, kernel, nullptr, batch, row, rows, column + j, width, again);
    for (int64_t i = 0; i < rows; ++i) {
      const T* sums = again.c + i * kernel.cols;
      if (!any_column && s.unfit_a[i] == 0) continue;
      if (!any_column) Sums(g, kernel, nullptr, batch, row + i, int64_t{1}, column + j, width, again), sums = again.c;
      for (int64_t c = 0; c < width; ++c)
        if (s.unfit_a[i] != 0 || columns[j + c] != 0) s.c[i * ldc + j + c] = sums[c];
    }
  }
}

template <class T>
void Block(const Gemm<T>& g, int64_t batch, int64_t row, int64_t rows, int64_t column, int64_t count,
           const Scratch<T>& s) {
  const int64_t ldc = RoundUp(count, g.kernel->cols);
  Sums(g, *g.kernel, g.packed, batch, row, rows, column, count, s);
  if (g.kernel->otherwise != nullptr) Repair(g, batch, row, rows, column, count, ldc, s);
  Epilogue(g, s, ldc, g.y + g.y_batch.Offset(batch) * SizeOf(g.y_dtype), row, rows, column, count);
}

}  // namespace

template <class T>
uint64_t GemmScratchBytes(const GemmKernel<T>& kernel, int64_t m, int64_t n, bool packed) {
  return Scratch<T>(kernel, m, n, packed, nullptr).bytes;
}

template <class T>
int64_t PackedBytes(const GemmKernel<T>& kernel, sage_dtype packed_as, int64_t n, int64_t k) {
  int64_t columns = 0, length = 0, bytes = 0;
  if (__builtin_add_overflow(n, kernel.cols - 1, &columns) || __builtin_add_overflow(k, kernel.step - 1, &length))
    return -1;
  columns = columns / kernel.cols * kernel.cols;
  const int64_t size = kernel.pack_panel == nullptr ? SizeOf(packed_as) : static_cast<int64_t>(sizeof(T));
  if (__builtin_mul_overflow(length / kernel.step, kernel.words * size, &length)) return -1;
  if (__builtin_mul_overflow(columns, length, &bytes)) return -1;
  if (kernel.otherwise != nullptr && __builtin_add_overflow(bytes, columns, &bytes)) return -1;
  return bytes;
}

template <class T>
void PackGemm(const Gemm<T>& g, char* to) {
  const GemmKernel<T>& kernel = *g.kernel;
  const int64_t cols = kernel.cols, length = PackedLength(kernel, g.k);
  const bool plain = kernel.pack_panel == nullptr;
  // Marks of what is unfit lie behind the numbers.
  uint8_t* const marks = reinterpret_cast<uint8_t*>(to) + RoundUp(g.n, cols) * length * static_cast<int64_t>(sizeof(T));
  if (kernel.otherwise != nullptr) std::fill_n(marks, RoundUp(g.n, cols), uint8_t{0});
  T numbers[kGemmDepth * kGemmMostColumns];
  for (int64_t j = 0; j < g.n; j += cols)
    for (int64_t p = 0; p < g.k; p += kGemmDepth) {
      const int32_t count = static_cast<int32_t>(std::min(cols, g.n - j));
      const int64_t depth = std::min(kGemmDepth, g.k - p), at = j * length + PackedLength(kernel, p) * cols;
      if (plain && g.packed_as != kNative<T>)
        PackStored(g, j, count, p, depth, reinterpret_cast<uint16_t*>(to) + at);
      else
        PackPanel(g, kernel, g.b, j, count, p, depth, numbers, reinterpret_cast<T*>(to) + at, marks + j);
    }
}

template <class T>
sage_status RunGemm(const Gemm<T>& g, const sage_host* host, double ns, const sage_run_args& args, sage_error* err) {
  if (g.batch == 0 || g.m == 0 || g.n == 0) return sage_succeed(err);
  const bool packed = g.packed != nullptr;
  const uint64_t bytes = GemmScratchBytes(*g.kernel, g.m, g.n, packed);
  const int64_t rows = RowsPerTask(g.m, packed, g.kernel->rows), row_tasks = (g.m + rows - 1) / rows;
  const int64_t column_tasks = (g.n + kGemmColumns - 1) / kGemmColumns;
  // Rows are the inner index: neighbouring tasks share columns of B, which then stay in cache.
  ParallelFor(host, ns, g.batch * column_tasks * row_tasks, 1, [&](int64_t begin, int64_t end, uint32_t worker) {
    const Scratch<T> scratch(*g.kernel, g.m, g.n, packed, static_cast<char*>(args.workspace) + worker * bytes);
    if (g.kernel->begin_task != nullptr) g.kernel->begin_task();
    for (int64_t task = begin; task < end && !Cancelled(host, args); ++task) {
      const int64_t row = task % row_tasks * rows, rest = task / row_tasks;
      const int64_t column = rest % column_tasks * kGemmColumns;
      Block(g, rest / column_tasks, row, std::min(rows, g.m - row), column, std::min(kGemmColumns, g.n - column),
            scratch);
    }
    if (g.kernel->end_task != nullptr) g.kernel->end_task();
  });
  return Finish(host, args, err);
}

template uint64_t GemmScratchBytes(const GemmKernel<float>&, int64_t, int64_t, bool);
template uint64_t GemmScratchBytes(const GemmKernel<double>&, int64_t, int64_t, bool);
template int64_t PackedBytes(const GemmKernel<float>&, sage_dtype, int64_t, int64_t);
template int64_t PackedBytes(const GemmKernel<double>&, sage_dtype, int64_t, int64_t);
template void PackGemm(const Gemm<float>&, char*);
template void PackGemm(const Gemm<double>&, char*);
template sage_status RunGemm(const Gemm<float>&, const sage_host*, double, const sage_run_args&, sage_error*);
template sage_status RunGemm(const Gemm<double>&, const sage_host*, double, const sage_run_args&, sage_error*);

}  // namespace sage::cpu
