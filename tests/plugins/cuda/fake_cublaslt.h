// fake_cublaslt.h: cuBLASLt as a test wants it, behind the real table of functions: it keeps what it is told in the
// descriptors, refuses what the real one refuses, and multiplies on the CPU by nothing but those descriptors, along
// columns, so that a wrong order, transpose or leading dimension gives a wrong product.
#ifndef SAGE_TESTS_PLUGINS_CUDA_FAKE_CUBLASLT_H_
#define SAGE_TESTS_PLUGINS_CUDA_FAKE_CUBLASLT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "common/cuda/cublaslt.h"

namespace sage::test {

// A matrix as a call of Matmul described it.
struct FakeMatrix {
  int32_t type = 0, batch = 1;
  uint64_t rows = 0, columns = 0;
  int64_t ld = 0, batch_offset = 0;
};
struct FakeMatmul {
  int32_t compute = 0, scale_type = 0, trans_a = 0, trans_b = 0;
  uint32_t epilogue = 1;
  FakeMatrix a, b, d;
  const void* bias = nullptr;
  void* workspace = nullptr;
  uint64_t workspace_bytes = 0;
  uint32_t reductions = 0, align_a = 0, align_d = 0;
  uint64_t most_workspace = 0, numerics = ~uint64_t{0};
};

// Tests run one after the other.
struct FakeCublasLt {
  bool loads = true;  // else load says missing
  std::string missing = "libcublasLt.so.13: cannot open shared object file: No such file or directory";
  int create_status = 0;
  bool has_fused = true;  // heuristics serve epilogues
  int heuristic_status = 0;
  uint64_t workspace_bytes = 0;   // that its algorithms want
  int fail_call = 0;              // the n-th call of any function that can fail fails from now on; 0: none
  int fail_status = 14;           // with this: CUBLAS_STATUS_INTERNAL_ERROR
  int64_t most_rows = INT64_MAX;  // Matmul is not supported for more than these, or fewer than least_rows
  int64_t least_rows = 0;
  int32_t most_batch = INT32_MAX;  // heuristics know no more matrices in a call
  bool forgets = false;            // Matmul is not recorded, which takes memory

  int loaded = 0, created = 0, destroyed = 0, calls = 0;
  std::string path;               // that load was asked for
  std::vector<FakeMatmul> asked;  // of heuristics
  std::vector<FakeMatmul> matmuls;
  std::string wrong;  // the first thing that the real library would have crashed over
};
FakeCublasLt& Fake();

bool LoadFakeCublasLt(const std::string& path, int built_for, cuda::lt::Library* out, std::string* why);

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CUDA_FAKE_CUBLASLT_H_
