// api.h: cuDNN's backend API as this plugin calls it: the functions, and the numbers of it that are in use.
//
// No header of cuDNN is included: the plugin is built on machines without one and looks for the library when it runs,
// so that what it can do hangs on the version that is there and not on the one it was built beside. The numbers are
// fixed by the library's ABI; a test compares them with the header where there is one. Names are the header's, without
// "CUDNN_", in the house's spelling.
#ifndef SAGE_PLUGINS_CUDNN_API_H_
#define SAGE_PLUGINS_CUDNN_API_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace sage::cudnn {

using Handle = struct HandleTag*;          // cudnnHandle_t: one thread at a time
using Descriptor = void*;                  // cudnnBackendDescriptor_t
constexpr int32_t kOldestVersion = 91302;  // of what the composite graphs and their traps below are known for

// --- statuses --------------------------------------------------------------------------------------------------------
inline constexpr int kSuccess = 0;
inline constexpr int kStatusClass = 1000;  // a status over it is its class
inline constexpr int kClassSetup = 1, kClassCall = 2, kClassUnsupported = 3, kClassInternal = 4, kClassExecution = 5;
inline constexpr int kBadParam = 2000, kNotSupported = 3000, kCompilationFailed = 4001, kNoHostMemory = 4003,
                     kNoDeviceMemory = 4004;

// --- data types ------------------------------------------------------------------------------------------------------
enum DataType : int {
  kFloat = 0,
  kHalf = 2,
  kInt32 = 4,
  kBFloat16 = 9,
  kInt64 = 10,
  kBoolean = 11,
  kFp8E4M3 = 12,
  kFp8E5M2 = 13,
};

// --- descriptors -----------------------------------------------------------------------------------------------------
enum DescriptorType : int {
  kPointwise = 0,
  kEngine = 2,
  kEngineConfig = 3,
  kEngineHeuristics = 4,
  kExecutionPlan = 5,
  kOperationPointwise = 13,
  kOperationGraph = 15,
  kVariantPack = 16,
  kTensor = 17,
  kMatmul = 18,
  kOperationMatmul = 19,
  kReduction = 21,
  kOperationReduction = 22,
  kOperationPagedCacheLoad = 35,
  kDeviceProperties = 38,
  kOperationSdpaForward = 41,  // the unified op, from 9.13.1 on
};

// --- types of attributes ---------------------------------------------------------------------------------------------
enum AttributeType : int {
  kTypeHandle = 0,
  kTypeDataType = 1,
  kTypeBoolean = 2,
  kTypeInt64 = 3,
  kTypeDouble = 5,
  kTypeVoidPointer = 6,
  kTypeHeuristicMode = 8,
  kTypeNumericalNote = 11,
  kTypePointwiseMode = 14,
  kTypeDescriptor = 15,
  kTypeReductionOperator = 18,
  kTypeBehaviorNote = 19,
  kTypeChar = 24,
};

// --- attributes ------------------------------------------------------------------------------------------------------
enum Attribute : int {
  kPointwiseModeAttribute = 0,
  kPointwiseMathType = 1,
  kPointwiseAxis = 9,
  kHeuristicsMode = 200,
  kHeuristicsGraph = 201,
  kHeuristicsResults = 202,
  kHeuristicsDevice = 204,
  kEngineConfigEngine = 300,
  kEngineConfigWorkspaceSize = 303,
  kPlanHandle = 400,
  kPlanEngineConfig = 401,
  kPlanWorkspaceSize = 402,
  kPlanJson = 405,
  kPlanDevice = 407,
  kOperationPointwiseDescriptor = 750,
  kOperationPointwiseX = 751,
  kOperationPointwiseB = 752,
  kOperationPointwiseY = 753,
  kOperationPointwiseT = 758,
  kGraphHandle = 800,
  kGraphOperations = 801,
  kTensorByteAlignment = 900,
  kTensorDataType = 901,
  kTensorDimensions = 902,
  kTensorStrides = 903,
  kTensorUniqueId = 906,
  kTensorIsVirtual = 907,
  kTensorIsByValue = 908,
  kTensorRaggedOffset = 913,
  kVariantPackUniqueIds = 1000,
  kVariantPackPointers = 1001,
  kVariantPackWorkspace = 1003,
  kEngineGlobalIndex = 1301,
  kEngineNumericalNotes = 1303,
  kEngineBehaviorNotes = 1305,
  kMatmulMathType = 1500,
  kMatmulPaddingValue = 1503,
  kOperationMatmulA = 1520,
  kOperationMatmulB = 1521,
  kOperationMatmulC = 1522,
  kOperationMatmulDescriptor = 1523,
  kOperationMatmulRows = 1525,     // GEMM_M_OVERRIDE: rows in use, of each batch
  kOperationMatmulColumns = 1526,  // GEMM_N_OVERRIDE
  kOperationMatmulInner = 1527,    // GEMM_K_OVERRIDE
  kReductionOperator = 1600,
  kReductionMathType = 1601,
  kOperationReductionX = 1610,
  kOperationReductionY = 1611,
  kOperationReductionDescriptor = 1612,
  kPagedLoadContainer = 1950,
  kPagedLoadY = 1951,
  kPagedLoadLengths = 1952,
  kPagedLoadTable = 1953,
  kDevicePropertiesId = 2700,
  kDevicePropertiesHandle = 2701,
  kDevicePropertiesJson = 2702,
  kSdpaQ = 2800,
  kSdpaK = 2801,
  kSdpaV = 2802,
  kSdpaO = 2803,
  kSdpaStatistics = 2804,
  kSdpaScale = 2805,
  kSdpaPageTableK = 2807,
  kSdpaPageTableV = 2808,
  kSdpaLengthsQ = 2809,
  kSdpaLengthsKv = 2810,
};

// --- values ----------------------------------------------------------------------------------------------------------
enum PointwiseMode : int {
  kAdd = 0,
  kMultiply = 1,
  kMaximum = 3,
  kDivide = 6,
  kSubtract = 9,
  kExponential = 13,
  kLogarithm = 15,
  kTanh = 101,
  kGreater = 302,
  kGreaterEqual = 303,
  kLess = 304,
  kAnd = 400,
  kIndex = 501,   // y is the place along an axis
  kSelect = 601,  // x where t, else b
};
enum ReductionOperator : int { kReduceAdd = 0, kReduceMaximum = 3, kReduceLargestMagnitude = 4 };
enum HeuristicMode : int { kHeuristicFallback = 2, kHeuristicA = 3 };
inline constexpr int kNoteNondeterministic = 4;  // of numerical notes
inline constexpr int kNoteRuntimeCompiled = 0;   // of behavior notes
inline constexpr int kNoteNativeGraph = 3;       // PopulateCudaGraph serves
inline constexpr int64_t kMostNotes = 16;        // of either kind: there are 10 and 5

// The functions, under the names they have there, without "cudnn". All that return int return a cudnnStatus_t.
struct Library {
  size_t (*GetVersion)() = nullptr;  // 91900 for 9.19.0
  const char* (*GetErrorString)(int status) = nullptr;
  void (*GetLastErrorString)(char* message, size_t capacity) = nullptr;  // of the calling thread
  int (*Create)(Handle* out) = nullptr;                                  // on the current device
  int (*Destroy)(Handle handle) = nullptr;
  int (*SetStream)(Handle handle, void* stream) = nullptr;
  int (*BackendCreateDescriptor)(int type, Descriptor* out) = nullptr;
  int (*BackendDestroyDescriptor)(Descriptor descriptor) = nullptr;
  int (*BackendFinalize)(Descriptor descriptor) = nullptr;
  int (*BackendSetAttribute)(Descriptor descriptor, int attribute, int type, int64_t count,
                             const void* values) = nullptr;
  int (*BackendGetAttribute)(Descriptor descriptor, int attribute, int type, int64_t capacity, int64_t* count,
                             void* values) = nullptr;
  int (*BackendExecute)(Handle handle, Descriptor plan, Descriptor variant_pack) = nullptr;
  int (*BackendPopulateCudaGraph)(Handle handle, Descriptor plan, Descriptor variant_pack, void* graph) = nullptr;
  std::string path;  // as it was opened
};

// "9.19.0".
inline std::string VersionText(size_t version) {
  return std::to_string(version / 10000) + "." + std::to_string(version / 100 % 100) + "." +
         std::to_string(version % 100);
}

}  // namespace sage::cudnn

#endif  // SAGE_PLUGINS_CUDNN_API_H_
