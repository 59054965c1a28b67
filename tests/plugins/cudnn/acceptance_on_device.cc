// acceptance_on_device.cc: see the header.
#include "acceptance_on_device.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <map>
#include <memory>

#include "../cpu/attention_testing.h"
#include "common/cuda/cublaslt.h"
#include "common/cuda/runtime.h"
#include "device_call.h"
#include "library.h"

namespace sage::test {
namespace {

using nlohmann::ordered_json;

// In place of infinity, which JSON does not have: a NaN where there should be none, for one.
constexpr double kEndless = 1e9;

// cuDNN with a handle on the device, as the plugin makes it.
class Handled {
 public:
  ~Handled() {
    if (handle_ != nullptr) (void)library_.Destroy(handle_);
  }
  std::string Make(int id) {
    cuda::Runtime& runtime = cuda::LinkedRuntime();
    int count = 0;
    if (const int code = runtime.DeviceCount(&count); code != cuda::kSuccess || id >= count)
      return "CUDA shows no device " + std::to_string(id) + ": " +
             (code == cuda::kSuccess ? "it has " + std::to_string(count) : runtime.ErrorText(code));
    if (const int code = runtime.SetDevice(id); code != cuda::kSuccess) return runtime.ErrorText(code);
    if (const int code = runtime.GetProperties(id, &properties_); code != cuda::kSuccess)
      return runtime.ErrorText(code);
    std::string why;
    cuda::lt::Library cublaslt;
    if (!cudnn::Load("", &library_, &why) || !cuda::lt::Load("", runtime.BuiltFor(), &cublaslt, &why)) return why;
    const int status = library_.Create(&handle_);
    return status == cudnn::kSuccess ? "" : cudnn::StatusText(library_, status);
  }
  const cudnn::Library& library() const { return library_; }
  const cuda::Properties& properties() const { return properties_; }
  cudnn::Target target() const { return {handle_, nullptr}; }
  cudnn::Installed installed() const { return {library_.GetVersion(), properties_.major * 10 + properties_.minor}; }
  // cuDNN's own words for the device; "" with *why where it does not say.
  std::string Text(std::string* why) const {
    cudnn::Maker make(library_);
    const cudnn::Object device = make.Create(cudnn::kDeviceProperties);
    make.Set(device, cudnn::kDevicePropertiesHandle, cudnn::kTypeHandle, 1, &handle_);
    make.Finalize(device, "asking what the device is");
    std::string text;
    text.resize(static_cast<size_t>(make.Get(device, cudnn::kDevicePropertiesJson, cudnn::kTypeChar, 0, nullptr)));
    (void)make.Get(device, cudnn::kDevicePropertiesJson, cudnn::kTypeChar, static_cast<int64_t>(text.size()),
                   text.data());
    *why = make.failure().text;
    return make.ok() ? text : "";
  }

 private:
  cudnn::Library library_;
  cuda::Properties properties_;
  cudnn::Handle handle_ = nullptr;
};

// The plugin's instances, by their options.
class Instances {
 public:
  Instances(const sage_plugin* plugin, int id) : plugin_(plugin), id_(id) {}
  OnDevice* Get(const std::string& options, std::string* why) {
    auto& made = made_[options];
    if (made == nullptr) made = OnDevice::Make(plugin_, id_, options.c_str(), why);
    return made.get();
  }

 private:
  const sage_plugin* plugin_;
  int id_;
  std::map<std::string, std::unique_ptr<OnDevice>> made_;
};

bool SameOutputs(const AttentionCase& a, const AttentionCase& b) {
  return a[SAGE_ATTN_O].bytes() == b[SAGE_ATTN_O].bytes() && a[SAGE_ATTN_LSE].bytes() == b[SAGE_ATTN_LSE].bytes();
}

// Fills what only a run shows. Empty, or what went wrong.
std::string RunRow(Instances& instances, Oracle& oracle, const Row& row, ordered_json* out) {
  AttentionCase attention = Laid(row.call);
  FillOperands(attention, 7);
  attention.O().Fill(7);
  std::string failure;
  const AttentionCase want = Expected(attention, oracle.instance, &failure);
  if (!failure.empty()) return "oracle: " + failure;
  const std::string graph = row.variant->unified ? "graph=unified" : "graph=composite";
  AttentionCase first, again;
  for (const char* way : {"stream", "native"}) {
    OnDevice* const on = instances.Get(graph + "\ncapture=" + way, &failure);
    if (on == nullptr) return failure;
    DeviceCall call(*on, attention);
    if (failure = call.Plan(); !failure.empty()) return failure;
    if (failure = call.Run(); !failure.empty()) return failure;
    if (failure = call.Fetch(&again); !failure.empty()) return failure;
    if (out->at("error_o").is_null()) {
      first = again;
      const Distance distance = DistanceOf(first, want);
      (*out)["error_o"] = std::min(distance.o, kEndless);
      if (row.call.lse) (*out)["error_lse"] = std::min(distance.lse, kEndless);
      bool same = true;
      for (int n = 0; n < 2; ++n) {
        if (failure = call.Run(); !failure.empty()) return failure;
        if (failure = call.Fetch(&again); !failure.empty()) return failure;
        same = same && SameOutputs(first, again);
      }
      (*out)["same_bits"] = same;
    }
    if (failure = call.Replay(); !failure.empty()) return failure;
    if (failure = call.Fetch(&again); !failure.empty()) return failure;
    (*out)[std::string("replay_") + way] = SameOutputs(first, again);
  }
  return "";
}

}  // namespace

std::string AcceptOnDevice(int id, const std::string& text, const std::vector<Row>& rows, ordered_json* out) {
  std::string why;
  Handled handled;
  if (why = handled.Make(id); !why.empty()) return why;
  if (!text.empty()) {
    const std::string told = handled.Text(&why);
    if (told.empty()) return why;
    if (std::ofstream file(text); !(file << told << "\n").flush()) return text + " could not be written";
  }
  const sage_plugin* const plugin = LoadPlugin(SAGE_CUDNN_PLUGIN, &why);
  if (plugin == nullptr) return why;
  (*out)["cudnn"] = cudnn::VersionText(handled.installed().version);
  (*out)["by"] = "a handle on the device";
  ordered_json told{{"name", "device"}, {"full_name", handled.properties().name}, {"sm", handled.installed().sm}};
  Instances instances(plugin, id);
  Oracle oracle;
  for (const Row& row : rows) {
    ordered_json line = Accept(handled.library(), handled.target(), handled.installed(), row);
    if (line.at("accepted").get<bool>()) {
      const std::string failure = RunRow(instances, oracle, row, &line);
      if (!failure.empty()) line["failure"] = failure;
    }
    std::fprintf(stderr, "%s: %s\n", row.Key().c_str(), line.dump().c_str());
    told["rows"].push_back(std::move(line));
  }
  (*out)["devices"].push_back(std::move(told));
  return "";
}

}  // namespace sage::test
