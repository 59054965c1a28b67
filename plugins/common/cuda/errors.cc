// errors.cc: see the header.
#include "common/cuda/errors.h"

#include <algorithm>
#include <cstdio>
#include <iterator>

#include "sage/support/take_in.h"

namespace sage::cuda {
namespace {

// Those of which CUDA's documentation says that the process has to be started anew, and the two of broken hardware.
constexpr int kLosing[] = {
    214,  // ECCUncorrectable
    220,  // NvlinkUncorrectable
    kIllegalAddress,
    702,  // LaunchTimeout
    710,  // Assert
    714,  // HardwareStackError
    715,  // IllegalInstruction
    716,  // MisalignedAddress
    717,  // InvalidAddressSpace
    718,  // InvalidPc
    719,  // LaunchFailure
    721,  // TensorMemoryLeak
};

}  // namespace

bool LosesDevice(int code) { return std::find(std::begin(kLosing), std::end(kLosing), code) != std::end(kLosing); }

std::string CodeText(Runtime& runtime, int code) {
  const char *name = runtime.ErrorName(code), *text = runtime.ErrorText(code);
  return std::string(name == nullptr ? "cudaError" : name) + " (" + std::to_string(code) +
         "): " + (text == nullptr ? "no text" : text);
}

const char* Remedy(int code) {
  switch (code) {
    case kMemoryAllocation:
      return "; use smaller shapes or fewer plans, or end other programs that hold its memory";
    case kDevicesUnavailable:
      return "; another process has the device for itself (nvidia-smi shows which), or its compute mode forbids it";
    case kNoKernelImage:
      return "; build the plugin with this device's architecture in SAGE_CUDA_ARCHITECTURES";
    default:
      return LosesDevice(code) ? "; the device is lost to this process: start it anew" : "";
  }
}

sage_status FailCuda(Runtime& runtime, int code, const char* doing, sage_error* err) {
  (void)runtime.TakeLastError();
  const sage_status status = code == kMemoryAllocation ? SAGE_E_OUT_OF_MEMORY : SAGE_E_DEVICE;
  if (err == nullptr) return status;
  sage_error mine{};
  mine.struct_size = static_cast<uint32_t>(sizeof mine);
  mine.status = status;
  mine.native_code = code;
  std::snprintf(mine.message, sizeof mine.message, "%s: %s%s", doing, CodeText(runtime, code).c_str(), Remedy(code));
  sage_give_out(err, &mine, static_cast<uint32_t>(sizeof mine));
  return status;
}

}  // namespace sage::cuda
