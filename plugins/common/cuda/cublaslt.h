// cublaslt.h: cuBLASLt found, checked and loaded at run time, as the functions that our plugins call.
//
// Never linked: half a gigabyte that most processes do without, and that a machine may lack. No header of cuBLAS is
// included: what is built without the toolkit knows it by numbers, which its ABI fixes (a test compares them with the
// header where there is one). Shared by every plugin that multiplies matrices by it.
// The library is never unloaded: it registers kernels with the driver, which outlive any owner.
#ifndef SAGE_PLUGINS_COMMON_CUDA_CUBLASLT_H_
#define SAGE_PLUGINS_COMMON_CUDA_CUBLASLT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace sage::cuda::lt {

using Handle = struct Context*;  // cublasLtHandle_t; free-threaded

// The library's own structures are opaque and initialised in place, so that a run allocates nothing. Ours are larger
// than those of CUDA 13.0 (8 words, 32 for an operation): a newer 13.x may need more, and says so if it is not enough.
struct Layout {
  uint64_t words[32];
};
struct Operation {
  uint64_t words[96];
};
struct Preference {
  uint64_t words[32];
};
struct Algorithm {  // its size is fixed: part of the next struct
  uint64_t words[8];
};
struct Heuristic {
  Algorithm algorithm;
  size_t workspace_bytes;
  int status;  // others are valid only of kSuccess
  float waves;
  int reserved[4];
};

// cublasStatus_t, cudaDataType_t, cublasComputeType_t, cublasOperation_t, attributes and epilogues: those in use.
inline constexpr int kSuccess = 0, kAllocFailed = 3, kInvalidValue = 7, kExecutionFailed = 13, kNotSupported = 15;
inline constexpr int kR32F = 0, kR64F = 1, kR16F = 2, kR8I = 3, kR32I = 10, kR16BF = 14;
inline constexpr int kCompute32F = 68, kCompute64F = 70, kCompute32I = 72, kCompute32FFastTf32 = 77;
inline constexpr int kNormal = 0, kTransposed = 1;
inline constexpr int kLayoutBatchCount = 5, kLayoutBatchOffset = 6;
inline constexpr int kOperationTransA = 3, kOperationTransB = 4, kOperationEpilogue = 7, kOperationBiasPointer = 8;
inline constexpr int kPreferenceMaxWorkspace = 1, kPreferenceReductions = 3, kPreferenceAlignA = 5,
                     kPreferenceAlignB = 6, kPreferenceAlignC = 7, kPreferenceAlignD = 8, kPreferenceNumerics = 12;
inline constexpr uint32_t kEpilogueNone = 1, kEpilogueRelu = 2, kEpilogueBias = 4, kEpilogueGeluTanh = 32;
// Split sums: none, or summed by one block after the other, or by a kernel of their own in the accumulator's type. All
// of them add in an order that does not change; left out is the one that rounds parts to the output's type.
inline constexpr uint32_t kReductionInPlace = 1, kReductionComputeType = 2;
inline constexpr uint64_t kNumericsInput16F = 1ull << 16, kNumericsInput16BF = 2ull << 16,
                          kNumericsInputTf32 = 4ull << 16;

// The functions under the names they have there, without "cublasLt". All but the texts and the version return a
// cublasStatus_t.
struct Library {
  int (*Create)(Handle* out) = nullptr;
  int (*Destroy)(Handle handle) = nullptr;
  size_t (*GetVersion)() = nullptr;  // 130000 for 13.0
  const char* (*GetStatusName)(int status) = nullptr;
  const char* (*GetStatusString)(int status) = nullptr;
  int (*MatrixLayoutInit)(Layout* out, size_t bytes, int type, uint64_t rows, uint64_t columns, int64_t ld) = nullptr;
  int (*MatrixLayoutSetAttribute)(Layout* layout, int attribute, const void* value, size_t bytes) = nullptr;
  int (*MatmulDescInit)(Operation* out, size_t bytes, int compute, int scale_type) = nullptr;
  int (*MatmulDescSetAttribute)(Operation* operation, int attribute, const void* value, size_t bytes) = nullptr;
  int (*MatmulPreferenceInit)(Preference* out, size_t bytes) = nullptr;
  int (*MatmulPreferenceSetAttribute)(Preference* preference, int attribute, const void* value, size_t bytes) = nullptr;
  int (*MatmulAlgoGetHeuristic)(Handle handle, Operation* operation, Layout* a, Layout* b, Layout* c, Layout* d,
                                Preference* preference, int asked, Heuristic* results, int* count) = nullptr;
  int (*Matmul)(Handle handle, Operation* operation, const void* alpha, const void* a, Layout* a_layout, const void* b,
                Layout* b_layout, const void* beta, const void* c, Layout* c_layout, void* d, Layout* d_layout,
                const Algorithm* algorithm, void* workspace, size_t workspace_bytes, void* stream) = nullptr;
  std::string path;  // as it was opened
};

// Where it is looked for, in order. path (optional): a file, or a folder that holds it, and then nowhere else.
// built_for: the toolkit's version, 13000: its major is the library's.
std::vector<std::string> Candidates(const std::string& path, int built_for);

// Opens the first candidate that is there, has every function and is of built_for's major version. False: *why is the
// sentence, with the loader's own words. Takes up to half a second. Free-threaded.
bool Load(const std::string& path, int built_for, Library* out, std::string* why);

// "CUBLAS_STATUS_NOT_SUPPORTED (15): ...".
std::string StatusText(const Library& library, int status);

}  // namespace sage::cuda::lt

#endif  // SAGE_PLUGINS_COMMON_CUDA_CUBLASLT_H_
