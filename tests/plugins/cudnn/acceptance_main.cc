// acceptance_main.cc: the program cudnn_acceptance: the acceptance table as JSON, over described devices or on one.
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iostream>
#include <regex>

#include "acceptance.h"
#include "described_device.h"
#ifdef SAGE_CUDNN_PLUGIN
#include "acceptance_on_device.h"
#endif

namespace sage::test {
namespace {

using nlohmann::ordered_json;

constexpr char kUsage[] =
    "usage: cudnn_acceptance [--devices NAME,...] [--device N [--text FILE]] [--only RE] [--commit ID] [--out FILE]\n"
    "  Asks cuDNN for every variant of attention and prints, as JSON, what is accepted, by which engine.\n"
    "  --devices  described ones, tests/plugins/cudnn/devices; all without it\n"
    "  --device   instead of these, CUDA's device N: every accepted variant is run as well and compared with float64\n"
    "  --text     writes there the text by which cuDNN describes the device\n"
    "  --only     variants that match, like 'causal.*prefill, bf16, d 128'\n";

struct Given {
  std::string devices, text, only, commit = "unknown", out;
  int device = -1;
};

bool ReadGiven(int argc, char** argv, Given* given) {
  for (int i = 1; i < argc; i += 2) {
    const std::string name = argv[i];
    if (i + 1 == argc) return false;
    const std::string value = argv[i + 1];
    if (name == "--devices")
      given->devices = value;
    else if (name == "--text")
      given->text = value;
    else if (name == "--only")
      given->only = value;
    else if (name == "--commit")
      given->commit = value;
    else if (name == "--out")
      given->out = value;
    else if (name == "--device" && value.find_first_not_of("0123456789") == std::string::npos && !value.empty())
      given->device = std::stoi(value);
    else
      return false;
  }
  return given->text.empty() || given->device >= 0;
}

bool Wanted(const std::string& list, const std::string& name) {
  return list.empty() || ("," + list + ",").find("," + name + ",") != std::string::npos;
}

// A row a line, so that two tables can be compared by eye.
std::string Written(const ordered_json& table) {
  ordered_json devices = table.at("devices"), head = table;
  head.erase("devices");
  std::string text = head.dump();
  text.back() = ',';
  text += "\n\"devices\": [";
  for (size_t n = 0; n < devices.size(); ++n) {
    const ordered_json rows = devices[n].contains("rows") ? devices[n].at("rows") : ordered_json::array();
    devices[n].erase("rows");
    text += (n == 0 ? "\n" : ",\n") + devices[n].dump();
    text.back() = ',';
    text += "\n\"rows\": [";
    for (size_t row = 0; row < rows.size(); ++row) text += (row == 0 ? "\n" : ",\n") + rows[row].dump();
    text += "]}";
  }
  return text + "]}\n";
}

// Empty, or why there is no table.
std::string OverDescribed(const Given& given, const std::vector<Row>& rows, ordered_json* out) {
  std::string why;
  const cudnn::Library* const library = cudnn::LibraryWithoutDevice(&why);
  if (library == nullptr) return why;
  (*out)["cudnn"] = cudnn::VersionText(library->GetVersion());
  (*out)["by"] = "texts that describe the devices";
  for (const std::string& name : cudnn::DescribedDeviceNames()) {
    if (!Wanted(given.devices, name)) continue;
    cudnn::DescribedDevice device;
    if (!cudnn::DescribedDevice::Make(*library, name, &device, &why)) return why;
    ordered_json told{{"name", name}, {"full_name", device.full_name()}, {"sm", device.installed().sm}};
    for (const Row& row : rows) {
      told["rows"].push_back(Accept(*library, device.target(), device.installed(), row));
      std::fprintf(stderr, "%s: %s: %s\n", name.c_str(), row.Key().c_str(), told["rows"].back().dump().c_str());
    }
    (*out)["devices"].push_back(std::move(told));
  }
  return (*out)["devices"].empty() ? "no device is called " + given.devices : "";
}

std::string Measure(const Given& given, const std::vector<Row>& rows, ordered_json* out) {
  if (given.device < 0) return OverDescribed(given, rows, out);
#ifdef SAGE_CUDNN_PLUGIN
  return AcceptOnDevice(given.device, given.text, rows, out);
#else
  return "this program was built without the CUDA toolkit: it knows described devices only";
#endif
}

}  // namespace
}  // namespace sage::test

int main(int argc, char** argv) {
  using namespace sage::test;
  Given given;
  if (!ReadGiven(argc, argv, &given)) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  std::vector<Row> rows;
  for (const Row& row : Rows())
    if (given.only.empty() || std::regex_search(row.Key(), std::regex(given.only))) rows.push_back(row);
  nlohmann::ordered_json out{{"commit", given.commit}, {"cudnn", nullptr}, {"by", nullptr}};
  out["devices"] = nlohmann::ordered_json::array();
  const std::string missing = Measure(given, rows, &out);
  if (!missing.empty()) {
    std::fprintf(stderr, "cudnn_acceptance: %s\n", missing.c_str());
    return 77;  // as tests say that there is nothing to test
  }
  const std::string text = Written(out);
  if (given.out.empty()) {
    std::cout << text;
  } else if (std::ofstream file(given.out); !(file << text).flush()) {
    std::fprintf(stderr, "cudnn_acceptance: %s could not be written\n", given.out.c_str());
    return 1;
  }
  return 0;
}
