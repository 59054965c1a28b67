// described_device.h: the cuDNN that is installed, asked about devices that are only described by a text, so that
// engines are found and plans are built on a machine without a device and without a driver.
//
// Nothing runs: a plan built so is as the device would have it, and what it computes only the device can show.
#ifndef SAGE_TESTS_PLUGINS_CUDNN_DESCRIBED_DEVICE_H_
#define SAGE_TESTS_PLUGINS_CUDNN_DESCRIBED_DEVICE_H_

#include <string>
#include <vector>

#include "plan.h"
#include "support.h"

namespace sage::cudnn {

// cuDNN with all that it needs here: a stand-in for the driver, NVRTC, which compiles its kernels, and cuBLASLt,
// without which it ends the process. Null: *why says what is missing. Loaded once; the process is not to use a device
// afterwards, since the driver it would find is the stand-in.
const Library* LibraryWithoutDevice(std::string* why);

// Names of the texts in tests/plugins/cudnn/devices, by compute capability: "a100", "orin", ...
const std::vector<std::string>& DescribedDeviceNames();

class DescribedDevice {
 public:
  // False: *why. The library outlives it.
  static bool Make(const Library& library, const std::string& name, DescribedDevice* out, std::string* why);
  const std::string& name() const { return name_; }
  const std::string& full_name() const { return full_name_; }  // "NVIDIA H200"
  Target target() const { return {nullptr, descriptor_.get()}; }
  const Installed& installed() const { return installed_; }

 private:
  std::string name_, full_name_;
  Object descriptor_;
  Installed installed_;
};

}  // namespace sage::cudnn

#endif  // SAGE_TESTS_PLUGINS_CUDNN_DESCRIBED_DEVICE_H_
