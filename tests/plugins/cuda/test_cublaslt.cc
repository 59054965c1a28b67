// test_cublaslt.cc: cuBLASLt found and refused, with its sentences; and where the real one is, that it has every
// function we name and takes our descriptors, which needs no device.
#include <doctest/doctest.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>

#include "common/cuda/cublaslt.h"
#include "support/temporary_folder.h"
#if __has_include(<cublasLt.h>)
#include <cublasLt.h>
#define SAGE_HAS_CUBLASLT_HEADER 1
#endif

namespace sage::cuda {
namespace {

bool Has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

constexpr int kBuiltFor = 13000;

}  // namespace

TEST_CASE("G7 cublasLt: where it is looked for") {
  const std::vector<std::string> usual = lt::Candidates("", kBuiltFor);
  CHECK(usual.front() == "libcublasLt.so.13");
  CHECK(usual[1] == "/usr/local/cuda/lib64/libcublasLt.so.13");
  CHECK(lt::Candidates("", 14020).front() == "libcublasLt.so.14");
  const test::Folder folder;
  CHECK(lt::Candidates(folder.path, kBuiltFor) == std::vector<std::string>{folder.path + "/libcublasLt.so.13"});
  CHECK(lt::Candidates("/no/such/file.so", kBuiltFor) == std::vector<std::string>{"/no/such/file.so"});
}

TEST_CASE("G7 cublasLt: what is absent or something else is a sentence with the loader's words") {
  lt::Library library;
  std::string why;
  CHECK_FALSE(lt::Load("/no/such/libcublasLt.so.13", kBuiltFor, &library, &why));
  CHECK_MESSAGE(Has(why, "cuBLASLt could not be loaded: /no/such/libcublasLt.so.13: cannot open shared object file"),
                why);
  const test::Folder folder;
  const std::string broken = folder.path + "/libcublasLt.so.13";
  std::FILE* const file = std::fopen(broken.c_str(), "w");
  REQUIRE(file != nullptr);
  std::fputs("no library", file);
  std::fclose(file);
  CHECK_FALSE(lt::Load(folder.path, kBuiltFor, &library, &why));
  CHECK_MESSAGE(Has(why, broken), why);
  // A library that is another one.
  CHECK_FALSE(lt::Load("libm.so.6", kBuiltFor, &library, &why));
  CHECK(why == "libm.so.6 is no cuBLASLt that this build can use: it has no function cublasLtCreate");
  CHECK((library.Create == nullptr));
}

#ifdef SAGE_HAS_CUBLASLT_HEADER
static_assert(lt::kSuccess == CUBLAS_STATUS_SUCCESS && lt::kAllocFailed == CUBLAS_STATUS_ALLOC_FAILED &&
              lt::kInvalidValue == CUBLAS_STATUS_INVALID_VALUE && lt::kNotSupported == CUBLAS_STATUS_NOT_SUPPORTED &&
              lt::kExecutionFailed == CUBLAS_STATUS_EXECUTION_FAILED);
static_assert(lt::kR32F == CUDA_R_32F && lt::kR64F == CUDA_R_64F && lt::kR16F == CUDA_R_16F && lt::kR8I == CUDA_R_8I &&
              lt::kR32I == CUDA_R_32I && lt::kR16BF == CUDA_R_16BF);
static_assert(lt::kCompute32F == CUBLAS_COMPUTE_32F && lt::kCompute64F == CUBLAS_COMPUTE_64F &&
              lt::kCompute32I == CUBLAS_COMPUTE_32I && lt::kCompute32FFastTf32 == CUBLAS_COMPUTE_32F_FAST_TF32);
static_assert(lt::kNormal == CUBLAS_OP_N && lt::kTransposed == CUBLAS_OP_T);
static_assert(lt::kLayoutBatchCount == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT &&
              lt::kLayoutBatchOffset == CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET);
static_assert(lt::kOperationTransA == CUBLASLT_MATMUL_DESC_TRANSA &&
              lt::kOperationTransB == CUBLASLT_MATMUL_DESC_TRANSB &&
              lt::kOperationEpilogue == CUBLASLT_MATMUL_DESC_EPILOGUE &&
              lt::kOperationBiasPointer == CUBLASLT_MATMUL_DESC_BIAS_POINTER);
static_assert(lt::kPreferenceMaxWorkspace == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES &&
              lt::kPreferenceReductions == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK &&
              lt::kPreferenceAlignA == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES &&
              lt::kPreferenceAlignB == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES &&
              lt::kPreferenceAlignC == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES &&
              lt::kPreferenceAlignD == CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES &&
              lt::kPreferenceNumerics == CUBLASLT_MATMUL_PREF_IMPL_MASK);
static_assert(lt::kEpilogueNone == CUBLASLT_EPILOGUE_DEFAULT && lt::kEpilogueRelu == CUBLASLT_EPILOGUE_RELU &&
              lt::kEpilogueBias == CUBLASLT_EPILOGUE_BIAS && lt::kEpilogueGeluTanh == CUBLASLT_EPILOGUE_GELU &&
              (lt::kEpilogueBias | lt::kEpilogueRelu) == CUBLASLT_EPILOGUE_RELU_BIAS &&
              (lt::kEpilogueBias | lt::kEpilogueGeluTanh) == CUBLASLT_EPILOGUE_GELU_BIAS);
static_assert(lt::kReductionInPlace == CUBLASLT_REDUCTION_SCHEME_INPLACE &&
              lt::kReductionComputeType == CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
static_assert(lt::kNumericsInput16F == CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_16F &&
              lt::kNumericsInput16BF == CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_16BF &&
              lt::kNumericsInputTf32 == CUBLASLT_NUMERICAL_IMPL_FLAGS_INPUT_TF32);
static_assert(sizeof(lt::Layout) >= sizeof(cublasLtMatrixLayoutOpaque_t) &&
              sizeof(lt::Operation) >= sizeof(cublasLtMatmulDescOpaque_t) &&
              sizeof(lt::Preference) >= sizeof(cublasLtMatmulPreferenceOpaque_t));
static_assert(sizeof(lt::Algorithm) == sizeof(cublasLtMatmulAlgo_t) &&
              sizeof(lt::Heuristic) == sizeof(cublasLtMatmulHeuristicResult_t) &&
              offsetof(lt::Heuristic, workspace_bytes) == offsetof(cublasLtMatmulHeuristicResult_t, workspaceSize) &&
              offsetof(lt::Heuristic, status) == offsetof(cublasLtMatmulHeuristicResult_t, state) &&
              offsetof(lt::Heuristic, waves) == offsetof(cublasLtMatmulHeuristicResult_t, wavesCount));
#endif

TEST_CASE("G7 cublasLt: the real one has every function and takes our descriptors") {
  lt::Library library;
  std::string why;
  if (!lt::Load("", kBuiltFor, &library, &why)) {
    MESSAGE("skipped: ", why);
    return;
  }
  MESSAGE(library.path, " ", library.GetVersion());
  CHECK(library.GetVersion() / 10000 == 13);
  CHECK(lt::StatusText(library, lt::kNotSupported).rfind("CUBLAS_STATUS_NOT_SUPPORTED (15): ", 0) == 0);
  // In place and larger than needed; too little room is said.
  lt::Layout layout;
  std::memset(&layout, 0xff, sizeof layout);
  CHECK(library.MatrixLayoutInit(&layout, sizeof layout, lt::kR16BF, 100, 200, 104) == lt::kSuccess);
  CHECK(library.MatrixLayoutInit(&layout, 16, lt::kR16BF, 100, 200, 104) == lt::kAllocFailed);
  const int32_t batch = 3;
  const int64_t offset = 20800;
  CHECK(library.MatrixLayoutSetAttribute(&layout, lt::kLayoutBatchCount, &batch, sizeof batch) == lt::kSuccess);
  CHECK(library.MatrixLayoutSetAttribute(&layout, lt::kLayoutBatchOffset, &offset, sizeof offset) == lt::kSuccess);
  CHECK(library.MatrixLayoutSetAttribute(&layout, lt::kLayoutBatchOffset, &offset, 4) == lt::kInvalidValue);
  lt::Operation operation;
  CHECK(library.MatmulDescInit(&operation, sizeof operation, lt::kCompute32F, lt::kR32F) == lt::kSuccess);
  const int32_t transposed = lt::kTransposed;
  const uint32_t epilogue = lt::kEpilogueBias | lt::kEpilogueGeluTanh;
  const void* const bias = &layout;
  CHECK(library.MatmulDescSetAttribute(&operation, lt::kOperationTransA, &transposed, 4) == lt::kSuccess);
  CHECK(library.MatmulDescSetAttribute(&operation, lt::kOperationTransB, &transposed, 4) == lt::kSuccess);
  CHECK(library.MatmulDescSetAttribute(&operation, lt::kOperationEpilogue, &epilogue, 4) == lt::kSuccess);
  CHECK(library.MatmulDescSetAttribute(&operation, lt::kOperationBiasPointer, &bias, 8) == lt::kSuccess);
  lt::Preference preference;
  CHECK(library.MatmulPreferenceInit(&preference, sizeof preference) == lt::kSuccess);
  const uint64_t wide = 1 << 20;
  const uint32_t narrow = 16;
  for (const int attribute : {lt::kPreferenceMaxWorkspace, lt::kPreferenceNumerics})
    CHECK(library.MatmulPreferenceSetAttribute(&preference, attribute, &wide, sizeof wide) == lt::kSuccess);
  for (const int attribute : {lt::kPreferenceReductions, lt::kPreferenceAlignA, lt::kPreferenceAlignB,
                              lt::kPreferenceAlignC, lt::kPreferenceAlignD})
    CHECK(library.MatmulPreferenceSetAttribute(&preference, attribute, &narrow, sizeof narrow) == lt::kSuccess);
  // Another major version is another library.
  lt::Library other;
  CHECK_FALSE(lt::Load(library.path, 14000, &other, &why));
  CHECK_MESSAGE(Has(why, "; this build needs 14.x"), why);
}

}  // namespace sage::cuda
