// library_option.cc: see the header.
#include "common/cuda/products/library_option.h"

#include "sage/support/refuse.h"

namespace sage::cuda {

sage_status ReadLibraryOption(std::string_view value, LibraryOption* out, sage_error* err) {
  if (value.empty())
    return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "cublas is empty, expected auto, off, or where libcublasLt.so is");
  out->value = value;
  return SAGE_OK;
}

sage_status OpenNamedLibrary(const LibraryOption& option, const Device& device, ProductLibrary* library,
                             sage_error* err) {
  std::string why;
  if (option.path().empty() || library->Open(device, &why)) return SAGE_OK;
  return sage_fail(err, SAGE_E_UNSUPPORTED, "create: cublas is \"%.100s\": %s", option.value.c_str(), why.c_str());
}

}  // namespace sage::cuda
