// library_option.h: the option cublas of every plugin that multiplies by cuBLASLt: where the library is, if anywhere.
#ifndef SAGE_PLUGINS_COMMON_CUDA_PRODUCTS_LIBRARY_OPTION_H_
#define SAGE_PLUGINS_COMMON_CUDA_PRODUCTS_LIBRARY_OPTION_H_

#include <string>
#include <string_view>

#include "common/cuda/products/product_library.h"
#include "sage/plugin.h"

namespace sage::cuda {

// "auto" looks for it in the usual places when it is first wanted, "off" does without, anything else is its file or
// folder.
struct LibraryOption {
  std::string value = "auto";
  bool off() const { return value == "off"; }
  std::string path() const { return value == "auto" || value == "off" ? "" : value; }
};

// value: what stands behind "cublas=".
sage_status ReadLibraryOption(std::string_view value, LibraryOption* out, sage_error* err);

// Opens a library whose place the option names: who says where it is wants to know that it is not there. Of the other
// values it does nothing.
sage_status OpenNamedLibrary(const LibraryOption& option, const Device& device, ProductLibrary* library,
                             sage_error* err);

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_COMMON_CUDA_PRODUCTS_LIBRARY_OPTION_H_
