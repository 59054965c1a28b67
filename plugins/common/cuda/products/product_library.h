// product_library.h: cuBLASLt for one instance: loaded when it is first wanted, its handle, and the algorithms its
// heuristics chose, kept for the shapes they were asked about.
//
// Loading takes 44 to 409 ms, so nobody pays for it who has no LINEAR or MATMUL that it would be the cheapest for.
#ifndef SAGE_PLUGINS_COMMON_CUDA_PRODUCTS_PRODUCT_LIBRARY_H_
#define SAGE_PLUGINS_COMMON_CUDA_PRODUCTS_PRODUCT_LIBRARY_H_

#include <atomic>
#include <map>
#include <mutex>
#include <string>

#include "common/cuda/cublaslt.h"
#include "common/cuda/device.h"
#include "common/cuda/products/library_steps.h"

namespace sage::cuda {

// lt::Load, or a test's own.
using LoadLibraryFn = bool (*)(const std::string& path, int built_for, lt::Library* out, std::string* why);

// What heuristics chose.
struct LibraryAlgorithm {
  lt::Algorithm algorithm{};
  uint64_t workspace_bytes = 0;
};

// Rows as heuristics are asked about them: up to 16 exactly, above in steps that are less than a tile. Never fewer.
int32_t BucketOfRows(int32_t rows);

// Free-threaded. The device outlives it, and is the same in every call.
class ProductLibrary {
 public:
  // path (optional): where the library is, and nowhere else. load null: there is none.
  ProductLibrary(LoadLibraryFn load, std::string path) : load_(load), path_(std::move(path)) {}
  ~ProductLibrary();
  ProductLibrary(const ProductLibrary&) = delete;
  ProductLibrary& operator=(const ProductLibrary&) = delete;

  // False: *why says why there is none, the same words every time. The first call loads it and makes the handle.
  bool Open(const Device& device, std::string* why);

  // Where it was looked for in vain, "the loader's places, /usr/local/cuda/lib64"; empty where it was not looked for
  // yet, or found.
  std::string Places();

  // The algorithm for a call of at most this many rows. False: *why is what the library said. Only after Open.
  bool Find(const LibraryCall& call, LibraryAlgorithm* out, std::string* why);

  // Enqueues all calls of steps. A cublasStatus_t. The device is current; every pointer of steps.product is there, and
  // a multiple of kLibraryAlign; workspace of the algorithm's size, aligned to 256. Allocates nothing.
  int Launch(const LibrarySteps& steps, const LibraryAlgorithm& algorithm, void* workspace, void* stream) const;

  std::string Text(int status) const { return lt::StatusText(library_, status); }

 private:
  struct Known {
    bool there = false;
    LibraryAlgorithm algorithm;
    std::string why;
  };
  Known AskHeuristics(const LibraryCall& call) const;

  const LoadLibraryFn load_;
  const std::string path_;
  std::mutex mutex_;
  bool opened_ = false;  // or tried
  std::string why_, places_;
  lt::Library library_;
  lt::Handle handle_ = nullptr;
  Runtime* runtime_ = nullptr;
  int device_ = 0;
  std::map<LibraryCall, Known> known_;
};

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_COMMON_CUDA_PRODUCTS_PRODUCT_LIBRARY_H_
