// gemm_widen.inc.h: narrower floats made wide when they are packed, a register at a time.
//
// Included inside an anonymous namespace after a vec_<isa>.inc.h. The last few elements go through a zeroed buffer, so
// nothing outside the source is read.
template <class V, class From, class Load>
inline void WidenBy(const void* from, int64_t n, typename V::Scalar* to, Load load) {
  const char* bytes = static_cast<const char*>(from);
  int64_t i = 0;
  for (; i + V::kWidth <= n; i += V::kWidth)
    V::Store(to + i, load(reinterpret_cast<const From*>(bytes + i * static_cast<int64_t>(sizeof(From)))));
  if (i == n) return;
  From rest[V::kWidth] = {};
  typename V::Scalar wide[V::kWidth];
  memcpy(rest, bytes + i * static_cast<int64_t>(sizeof(From)), static_cast<size_t>(n - i) * sizeof(From));
  V::Store(wide, load(rest));
  memcpy(to + i, wide, static_cast<size_t>(n - i) * sizeof(wide[0]));
}

inline void WidenF32(sage_dtype dtype, const void* from, int64_t n, float* to) {
  if (dtype == SAGE_BF16)
    WidenBy<VecF, uint16_t>(from, n, to, [](const uint16_t* p) { return VecF::LoadBf16(p); });
  else if (dtype == SAGE_F16)
    WidenBy<VecF, uint16_t>(from, n, to, [](const uint16_t* p) { return VecF::LoadF16(p); });
  else
    memcpy(to, from, static_cast<size_t>(n) * sizeof(float));
}

inline void WidenF64(sage_dtype dtype, const void* from, int64_t n, double* to) {
  if (dtype == SAGE_BF16)
    WidenBy<VecD, uint16_t>(from, n, to, [](const uint16_t* p) { return VecD::LoadBf16(p); });
  else if (dtype == SAGE_F16)
    WidenBy<VecD, uint16_t>(from, n, to, [](const uint16_t* p) { return VecD::LoadF16(p); });
  else if (dtype == SAGE_F32)
    WidenBy<VecD, float>(from, n, to, [](const float* p) { return VecD::LoadF32(p); });
  else
    memcpy(to, from, static_cast<size_t>(n) * sizeof(double));
}
