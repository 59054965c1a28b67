// acceptance_on_device.h: the acceptance table on a device at hand.
#ifndef SAGE_TESTS_PLUGINS_CUDNN_ACCEPTANCE_ON_DEVICE_H_
#define SAGE_TESTS_PLUGINS_CUDNN_ACCEPTANCE_ON_DEVICE_H_

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "acceptance.h"

namespace sage::test {

// Rows as Accept has them, through a handle, each then run by the plugin as built: beside the float64 oracle, three
// times, and from a recording of either kind. text (optional): where cuDNN's own text of the device is written. "" or
// why there is no table.
std::string AcceptOnDevice(int id, const std::string& text, const std::vector<Row>& rows, nlohmann::ordered_json* out);

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CUDNN_ACCEPTANCE_ON_DEVICE_H_
