// availability.cc: from "is there a driver" to "is there code for that device", each with its sentence.
#include "common/cuda/availability.h"

#include "common/cuda/architecture.h"
#include "common/cuda/errors.h"

namespace sage::cuda {
namespace {

// The driver branches of Linux that brought a major version; any newer one serves it too.
const char* BranchOf(int major) {
  return major == 13 ? " (580 or newer)" : major == 12 ? " (525 or newer)" : major == 11 ? " (450 or newer)" : "";
}

// Every minor of a major runs on the driver of that major's first.
std::string Needed(int built_for) {
  const int major = built_for / 1000;
  return "one for CUDA " + std::to_string(major) + ".0 or newer" + BranchOf(major);
}

bool Failed(Runtime& runtime, int code, const char* doing, std::string* why) {
  (void)runtime.TakeLastError();
  *why = std::string(doing) + ": " + CodeText(runtime, code) + Remedy(code);
  return false;
}

}  // namespace

std::string VersionText(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

bool FindDevice(Runtime& runtime, int device_id, std::string_view architectures, uint32_t* count,
                Properties* properties, std::string* why) {
  *count = 0;
  const int built_for = runtime.BuiltFor();
  int driver = 0;
  if (const int code = runtime.DriverVersion(&driver); code != kSuccess && code != kInsufficientDriver)
    return Failed(runtime, code, "the NVIDIA driver did not say its version", why);
  if (driver <= 0) {
    (void)runtime.TakeLastError();
    *why = "no NVIDIA driver was found (libcuda.so.1); this build needs " + Needed(built_for) + ": install it";
    return false;
  }
  const std::string has = "the NVIDIA driver serves CUDA " + VersionText(driver);
  int devices = 0;
  const int counted = runtime.DeviceCount(&devices);
  if (driver / 1000 < built_for / 1000 || counted == kInsufficientDriver) {
    (void)runtime.TakeLastError();
    *why = has + ", which is too old: this build needs " + Needed(built_for) + ": update the driver";
    return false;
  }
  if (counted == kNoDevice || (counted == kSuccess && devices <= 0)) {
    (void)runtime.TakeLastError();
    *why = has +
           ", but shows no device: see what nvidia-smi lists, whether CUDA_VISIBLE_DEVICES hides it, and whether this "
           "container was given one";
    return false;
  }
  if (counted != kSuccess) return Failed(runtime, counted, (has + ", but does not start").c_str(), why);
  *count = static_cast<uint32_t>(devices);
  if (device_id < 0 || device_id >= devices) {
    *why = "device " + std::to_string(device_id) + " was asked for; the driver shows " + std::to_string(devices) +
           ", numbered from 0";
    return false;
  }
  Properties found;
  if (const int code = runtime.GetProperties(device_id, &found); code != kSuccess)
    return Failed(runtime, code, ("device " + std::to_string(device_id) + " did not say what it is").c_str(), why);
  if (CodeFor(architectures, found.major, found.minor) == Code::kNone) {
    *why = found.name + " is sm_" + std::to_string(found.major * 10 + found.minor) + "; this build has code for " +
           ListText(architectures) +
           (found.major < 8 ? ": its kernels need sm_80 or newer"
                            : ": build the plugin with it in SAGE_CUDA_ARCHITECTURES");
    return false;
  }
  *properties = std::move(found);
  return true;
}

}  // namespace sage::cuda
