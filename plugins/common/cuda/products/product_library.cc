// product_library.cc: see the header.
#include "common/cuda/products/product_library.h"

#include <algorithm>
#include <type_traits>
#include <utility>

#include "common/cuda/errors.h"

namespace sage::cuda {
namespace {

// More than a model has of different products; then it is begun anew.
constexpr size_t kMostKnown = 1024;
constexpr uint64_t kMostWorkspace = 32u << 20, kLeastWorkspace = 1u << 20;

// One and zero of the scale type.
struct Factors {
  union {
    float f32;
    double f64;
    int32_t i32;
  } one{}, zero{};
  explicit Factors(int32_t scale_type) {
    if (scale_type == lt::kR64F)
      one.f64 = 1, zero.f64 = 0;
    else if (scale_type == lt::kR32I)
      one.i32 = 1, zero.i32 = 0;
    else
      one.f32 = 1, zero.f32 = 0;
  }
};

// The descriptors of a call, on the caller's stack: initialised in place, nothing is allocated.
struct Descriptors {
  lt::Operation operation;
  lt::Layout a, b, d;

  int Make(const lt::Library& library, const LibraryCall& call, const void* bias) {
    int status = library.MatmulDescInit(&operation, sizeof operation, call.compute, call.scale_type);
    const auto set = [&](int attribute, const auto& value) {
      if (status == lt::kSuccess) status = library.MatmulDescSetAttribute(&operation, attribute, &value, sizeof value);
    };
    set(lt::kOperationTransA, call.trans_a);
    set(lt::kOperationTransB, call.trans_b);
    set(lt::kOperationEpilogue, call.epilogue);
    if ((call.epilogue & lt::kEpilogueBias) != 0) set(lt::kOperationBiasPointer, bias);
    const auto matrix = [&](lt::Layout* layout, int32_t type, bool transposed, int32_t rows, int32_t columns,
                            int64_t ld, int64_t batch_stride) {
      if (transposed) std::swap(rows, columns);
      if (status == lt::kSuccess)
        status = library.MatrixLayoutInit(layout, sizeof *layout, type, static_cast<uint64_t>(rows),
                                          static_cast<uint64_t>(columns), ld);
      if (call.batch == 1) return;
      if (status == lt::kSuccess)
        status = library.MatrixLayoutSetAttribute(layout, lt::kLayoutBatchCount, &call.batch, sizeof call.batch);
      if (status == lt::kSuccess)
        status = library.MatrixLayoutSetAttribute(layout, lt::kLayoutBatchOffset, &batch_stride, sizeof batch_stride);
    };
    matrix(&a, call.type, call.trans_a != lt::kNormal, call.n, call.k, call.lda, call.batch_a);
    matrix(&b, call.type, call.trans_b != lt::kNormal, call.k, call.m, call.ldb, call.batch_b);
    matrix(&d, call.d_type, false, call.n, call.m, call.ldd, call.batch_d);
    return status;
  }
};

}  // namespace

int32_t BucketOfRows(int32_t rows) {
  const int32_t step = rows <= 16 ? 1 : rows <= 256 ? 16 : rows <= 2048 ? 64 : 256;
  return rows > INT32_MAX - step ? rows : (rows + step - 1) / step * step;
}

ProductLibrary::~ProductLibrary() {
  if (handle_ == nullptr) return;
  const CurrentDevice current(*runtime_, device_);
  (void)library_.Destroy(handle_);
}

bool ProductLibrary::Open(const Device& device, std::string* why) {
  const std::lock_guard<std::mutex> lock(mutex_);
  if (!opened_) {
    opened_ = true;
    runtime_ = &device.runtime(), device_ = device.id();
    if (load_ == nullptr) {
      why_ = "cuBLASLt is turned off";
    } else if (load_(path_, device.runtime().BuiltFor(), &library_, &why_)) {
      const CurrentDevice current(*runtime_, device_);
      const int status = library_.Create(&handle_);
      if (status != lt::kSuccess) {
        why_ = "cuBLASLt on " + device.name() + ": " + Text(status), handle_ = nullptr;
        (void)runtime_->TakeLastError();
      }
    } else {
      for (const std::string& file : lt::Candidates(path_, device.runtime().BuiltFor())) {
        const size_t folder = file.rfind('/');
        if (!places_.empty()) places_ += ", ";
        places_ += folder == std::string::npos ? "the loader's places" : file.substr(0, folder);
      }
    }
  }
  *why = why_;
  return handle_ != nullptr;
}

std::string ProductLibrary::Places() {
  const std::lock_guard<std::mutex> lock(mutex_);
  return places_;
}

bool ProductLibrary::Find(const LibraryCall& call, LibraryAlgorithm* out, std::string* why) {
  LibraryCall key = call;
  // Where strides are between rows alone: more rows would reach into the next matrix, or beyond a transposed one's ld.
  if (call.batch == 1 && call.trans_b == lt::kNormal) key.m = BucketOfRows(call.m);
  const std::lock_guard<std::mutex> lock(mutex_);
  auto found = known_.find(key);
  if (found == known_.end()) {
    if (known_.size() >= kMostKnown) known_.clear();
    found = known_.emplace(key, AskHeuristics(key)).first;
  }
  *out = found->second.algorithm, *why = found->second.why;
  return found->second.there;
}

ProductLibrary::Known ProductLibrary::AskHeuristics(const LibraryCall& call) const {
  Known known;
  const CurrentDevice current(*runtime_, device_);
  Descriptors descriptors;
  lt::Preference preference;
  // Of the bias's address only its alignment counts here.
  int status = descriptors.Make(library_, call, reinterpret_cast<const void*>(uintptr_t{kLibraryAlign}));
  if (status == lt::kSuccess) status = library_.MatmulPreferenceInit(&preference, sizeof preference);
  const auto prefer = [&](int attribute, auto value) {
    if (status == lt::kSuccess)
      status = library_.MatmulPreferenceSetAttribute(&preference, attribute, &value, sizeof value);
  };
  // Enough for a few parts of K side by side; small products are to stay small.
  constexpr double kParts = 8, kSumBytes = 4;
  const double wished = kParts * kSumBytes * call.n * call.m * call.batch;
  prefer(lt::kPreferenceMaxWorkspace,
         wished >= kMostWorkspace ? kMostWorkspace : std::max(kLeastWorkspace, static_cast<uint64_t>(wished)));
  prefer(lt::kPreferenceReductions, lt::kReductionInPlace | lt::kReductionComputeType);
  prefer(lt::kPreferenceAlignA, call.align_a);
  prefer(lt::kPreferenceAlignB, call.align_b);
  prefer(lt::kPreferenceAlignC, call.align_d);
  prefer(lt::kPreferenceAlignD, call.align_d);
  // f32 is f32: not even where an environment variable lets the library round.
  if (call.type == lt::kR32F && call.compute == lt::kCompute32F)
    prefer(lt::kPreferenceNumerics, ~(lt::kNumericsInputTf32 | lt::kNumericsInput16F | lt::kNumericsInput16BF));
  lt::Heuristic result{};
  int count = 0;
  if (status == lt::kSuccess)
    status = library_.MatmulAlgoGetHeuristic(handle_, &descriptors.operation, &descriptors.a, &descriptors.b,
                                             &descriptors.d, &descriptors.d, &preference, 1, &result, &count);
  if (status == lt::kSuccess && count > 0) status = result.status;
  (void)runtime_->TakeLastError();
  if (status == lt::kSuccess && count > 0) {
    known.there = true;
    known.algorithm = {result.algorithm, result.workspace_bytes};
  } else {
    known.why = "cuBLASLt has no algorithm for it: " + Text(status == lt::kSuccess ? lt::kNotSupported : status);
  }
  return known;
}

int ProductLibrary::Launch(const LibrarySteps& steps, const LibraryAlgorithm& algorithm, void* workspace,
                           void* stream) const {
  const LibraryCall& call = steps.call;
  const ProductArguments& product = steps.product;
  Descriptors descriptors;
  int status = descriptors.Make(library_, call, product.bias);
  const Factors factors(call.scale_type);
  const auto at = [](auto* base, int64_t elements, ProductType type) {
    using Byte = std::conditional_t<std::is_const_v<std::remove_pointer_t<decltype(base)>>, const char, char>;
    return static_cast<Byte*>(base) + elements * SizeOf(type);
  };
  for (int64_t n = 0; n < steps.calls && status == lt::kSuccess; ++n) {
    const LibraryOffsets offsets = OffsetsOfCall(steps, n);
    void* const d = at(product.y, offsets.d, product.y_type);
    status = library_.Matmul(handle_, &descriptors.operation, &factors.one, at(product.w, offsets.a, product.w_type),
                             &descriptors.a, at(product.x, offsets.b, product.x_type), &descriptors.b, &factors.zero, d,
                             &descriptors.d, d, &descriptors.d, &algorithm.algorithm, workspace,
                             algorithm.workspace_bytes, stream);
  }
  return status;
}

}  // namespace sage::cuda
