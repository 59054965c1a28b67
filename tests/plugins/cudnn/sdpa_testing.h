// sdpa_testing.h: attention calls by their numbers, for tests of what is put to cuDNN. No memory behind them.
#ifndef SAGE_TESTS_PLUGINS_CUDNN_SDPA_TESTING_H_
#define SAGE_TESTS_PLUGINS_CUDNN_SDPA_TESTING_H_

#include <cstdint>
#include <string>

#include "cudnn/support.h"

namespace sage::cudnn {

// A pointer that is there and is not looked at.
inline int32_t* Somewhere() {
  static int32_t place[4];
  return place;
}

// [B,H,S,D] in bf16, row-major, that every rule lets pass.
inline cuda::AttentionArguments PlainCall(int32_t dim = 128, int32_t seq_q = 512, int32_t seq_kv = 1024) {
  cuda::AttentionArguments a;
  a.type = cuda::AttentionType::kBf16;
  a.batch = 2, a.heads_q = 32, a.heads_k = a.heads_v = 8;
  a.seq_q = seq_q, a.seq_kv = seq_kv, a.dim_qk = a.dim_v = dim;
  const auto strides = [dim](int64_t heads, int64_t rows) {
    return cuda::AttentionStrides{heads * rows * dim, rows * dim, dim, 1};
  };
  a.q_strides = a.o_strides = strides(a.heads_q, seq_q);
  a.k_strides = a.v_strides = strides(a.heads_k, seq_kv);
  return a;
}

inline cuda::AttentionArguments Packed(cuda::AttentionArguments a) {
  a.cu_seqlens_q = a.cu_seqlens_k = Somewhere();
  a.total_q = a.batch * a.seq_q, a.total_k = a.batch * a.seq_kv;
  a.q_strides = a.o_strides = {0, a.dim_qk, int64_t{a.heads_q} * a.dim_qk, 1};
  a.k_strides = a.v_strides = {0, a.dim_qk, int64_t{a.heads_k} * a.dim_qk, 1};
  return a;
}

inline cuda::AttentionArguments Paged(cuda::AttentionArguments a, int32_t page_shift = 4) {
  const int64_t page = int64_t{1} << page_shift;
  a.block_table = Somewhere(), a.seqused_k = Somewhere();
  a.page_shift = page_shift, a.pages = 400, a.block_table_stride = a.seq_kv / page;
  a.k_strides = a.v_strides = {a.heads_k * page * a.dim_qk, page * a.dim_qk, a.dim_qk, 1};
  return a;
}

constexpr Installed kH200 = {91900, 90};

// The same of e4m3, O included.
inline cuda::AttentionArguments Fp8Call(int32_t dim = 128, int32_t seq_q = 512, int32_t seq_kv = 1024) {
  cuda::AttentionArguments a = PlainCall(dim, seq_q, seq_kv);
  a.type = cuda::AttentionType::kF8E4m3fn;
  return a;
}
inline cuda::AttentionExtras Fp8Extras(cuda::AttentionType o_type = cuda::AttentionType::kF8E4m3fn) {
  cuda::AttentionExtras extras;
  extras.o_type = o_type;
  return extras;
}
inline cuda::AttentionExtras Dropout() {
  static const uint64_t philox[2] = {1, 2};
  cuda::AttentionExtras extras;
  extras.philox = philox;
  return extras;
}

// What DescribeSdpa has against it; empty: nothing.
inline std::string Refusal(const cuda::AttentionArguments& a, uint64_t features = 0, Installed installed = kH200,
                           const cuda::AttentionExtras& extras = {}) {
  Sdpa sdpa;
  std::string why;
  return DescribeSdpa(a, features, installed, &sdpa, &why, extras) ? "" : why;
}
inline Sdpa Described(const cuda::AttentionArguments& a, Installed installed = kH200,
                      const cuda::AttentionExtras& extras = {}) {
  Sdpa sdpa;
  std::string why;
  (void)DescribeSdpa(a, 0, installed, &sdpa, &why, extras);
  return sdpa;
}

}  // namespace sage::cudnn

#endif  // SAGE_TESTS_PLUGINS_CUDNN_SDPA_TESTING_H_
