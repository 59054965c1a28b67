// npy.h: NumPy's .npy files (versions 1 to 3), little-endian, C or Fortran order read, C order written.
//
// bf16 has no NumPy type: it is read and written as the raw 16-bit words ('<u2' with the dtype said by the caller, or
// ml_dtypes' '<V2').
#ifndef SAGE_TOOLS_NPY_H_
#define SAGE_TOOLS_NPY_H_

#include <cstdint>
#include <string>
#include <vector>

#include "sage/types.h"

namespace sage::tool {

// A tensor in the tool's memory: row-major.
struct HostTensor {
  sage_dtype dtype = SAGE_F32;
  std::vector<int64_t> shape;
  std::vector<uint8_t> bytes;

  int64_t elements() const;
};

// Failure(kExitBadFile) with the file's name for anything that is not a well-formed .npy of a known type.
HostTensor ReadNpy(const std::string& path);
void WriteNpy(const std::string& path, const HostTensor& tensor);
// The value of element i as a double (integers and bools too).
double ElementAsDouble(const HostTensor& tensor, int64_t i);
void SetElement(HostTensor* tensor, int64_t i, double value);

}  // namespace sage::tool

#endif  // SAGE_TOOLS_NPY_H_
