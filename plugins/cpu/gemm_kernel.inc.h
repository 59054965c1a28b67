// gemm_kernel.inc.h: the source of all GemmKernel tables, instantiated by gemm_<isa>.cc over that file's vector types.
//
// Included inside an anonymous namespace, and free of std templates: an inline function compiled here with wide
// instructions must never be the copy the linker keeps for everybody.

// How the numbers of a panel become registers of V.
template <class V>
struct Plain {
  using Stored = typename V::Scalar;
  static typename V::Reg Load(const Stored* p) { return V::Load(p); }
};
template <class V>
struct FromBf16 {
  using Stored = uint16_t;
  static typename V::Reg Load(const Stored* p) { return V::LoadBf16(p); }
};
template <class V>
struct FromF16 {
  using Stored = uint16_t;
  static typename V::Reg Load(const Stored* p) { return V::LoadF16(p); }
};

// R rows by N registers of columns, all sums in registers.
template <class V, class From, int R, int N>
inline void TileOf(int64_t k, const typename V::Scalar* a, int64_t lda, const typename From::Stored* b, int64_t ldb,
                   typename V::Scalar* c, int64_t ldc, int32_t accumulate) {
  typename V::Reg sum[R][N];
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) sum[i][j] = V::Zero();
  for (int64_t p = 0; p < k; ++p, b += ldb) {
    typename V::Reg row[N];
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) row[j] = From::Load(b + j * V::kWidth);
#pragma GCC unroll 16
    for (int i = 0; i < R; ++i) {
      const typename V::Reg x = V::Set1(a[i * lda + p]);
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) sum[i][j] = V::Fma(x, row[j], sum[i][j]);
    }
  }
#pragma GCC unroll 16
  for (int i = 0; i < R; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) {
      typename V::Scalar* const out = c + i * ldc + j * V::kWidth;
      V::Store(out, accumulate != 0 ? V::Add(V::Load(out), sum[i][j]) : sum[i][j]);
    }
}

template <class V, int R, int N, class From = Plain<V>>
void Tile(int64_t k, int32_t rows_used, const typename V::Scalar* a, int64_t lda, const typename From::Stored* b,
          int64_t ldb, typename V::Scalar* c, int64_t ldc, int32_t accumulate) {
  if constexpr (R > 1) {
    if (rows_used < R) return Tile<V, R - 1, N, From>(k, rows_used, a, lda, b, ldb, c, ldc, accumulate);
  }
  TileOf<V, From, R, N>(k, a, lda, b, ldb, c, ldc, accumulate);
}

// One row by P panels of N registers: enough independent sums to hide the latency of a fused multiply-add. The panels
// are read as fast as memory gives them; asking for them ahead made it slower.
template <class V, class From, int P, int N>
inline void RowOf(int64_t k, const typename V::Scalar* a, const typename From::Stored* b, int64_t ldb,
                  int64_t panel_step, typename V::Scalar* c, int32_t accumulate) {
  typename V::Reg sum[P][N];
#pragma GCC unroll 8
  for (int i = 0; i < P; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) sum[i][j] = V::Zero();
  for (int64_t p = 0; p < k; ++p, b += ldb) {
    const typename V::Reg x = V::Set1(a[p]);
#pragma GCC unroll 8
    for (int i = 0; i < P; ++i)
#pragma GCC unroll 8
      for (int j = 0; j < N; ++j) sum[i][j] = V::Fma(x, From::Load(b + i * panel_step + j * V::kWidth), sum[i][j]);
  }
#pragma GCC unroll 8
  for (int i = 0; i < P; ++i)
#pragma GCC unroll 8
    for (int j = 0; j < N; ++j) {
      typename V::Scalar* const out = c + (i * N + j) * V::kWidth;
      V::Store(out, accumulate != 0 ? V::Add(V::Load(out), sum[i][j]) : sum[i][j]);
    }
}

template <class V, int P, int N, class From = Plain<V>>
void Row(int64_t k, const typename V::Scalar* a, const typename From::Stored* b, int64_t ldb, int64_t panel_step,
         int64_t panels, typename V::Scalar* c, int32_t accumulate) {
  int64_t i = 0;
  for (; i + P <= panels; i += P)
    RowOf<V, From, P, N>(k, a, b + i * panel_step, ldb, panel_step, c + i * N * V::kWidth, accumulate);
  for (; i < panels; ++i)
    RowOf<V, From, 1, N>(k, a, b + i * panel_step, ldb, panel_step, c + i * N * V::kWidth, accumulate);
}

// In blocks of eight steps, so that what is read stays in cache while the panel is written row by row.
template <class T, int N>
void Transpose(const T* from, int64_t step, int64_t k, int32_t columns, T* to) {
  int64_t p = 0;
  for (; p + 8 <= k; p += 8)
    for (int32_t j = 0; j < columns; ++j) {
      const T* const line = from + j * step + p;
#pragma GCC unroll 8
      for (int q = 0; q < 8; ++q) to[(p + q) * N + j] = line[q];
    }
  for (; p < k; ++p)
    for (int32_t j = 0; j < columns; ++j) to[p * N + j] = from[j * step + p];
}
