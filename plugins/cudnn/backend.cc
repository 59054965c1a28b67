// backend.cc: an instance: its device, its options, the libraries it found, and who serves which kind of op.
#include "backend.h"

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/cuda/availability.h"
#include "common/cuda/refusals.h"
#include "library.h"
#include "linear.h"
#include "sage/support/check_op.h"
#include "sage/support/refuse.h"

namespace sage::cudnn {
namespace {

constexpr char kInCache[] = "auto";

struct Options {
  std::string library, cublas;  // empty: in the usual places
  GraphChoice graph = GraphChoice::kAuto;
  GraphWay capture = GraphWay::kCapture;
  std::string plans;  // a folder; empty: nowhere; kInCache: the user's
  std::string rates;  // empty: what is shipped alone
};

struct Option {
  std::string_view name;
  const char* expected;
  bool (*read)(std::string_view value, Options* out);
};

bool ReadPath(std::string_view value, std::string* out) {
  *out = value == "auto" ? "" : value;
  return !value.empty();
}

constexpr Option kOptions[] = {
    {"library", "auto, or where libcudnn.so.9 is",
     [](std::string_view value, Options* out) { return ReadPath(value, &out->library); }},
    {"cublas", "auto, or where libcublasLt.so is",
     [](std::string_view value, Options* out) { return ReadPath(value, &out->cublas); }},
    {"graph", "auto, composite or unified",
     [](std::string_view value, Options* out) {
       out->graph = value == "unified"     ? GraphChoice::kUnified
                    : value == "composite" ? GraphChoice::kComposite
                                           : GraphChoice::kAuto;
       return value == "auto" || out->graph != GraphChoice::kAuto;
     }},
    {"capture", "stream or native",
     [](std::string_view value, Options* out) {
       out->capture = value == "native" ? GraphWay::kNative : GraphWay::kCapture;
       return value == "stream" || value == "native";
     }},
    {"plans", "off, auto, or the absolute path of a folder",
     [](std::string_view value, Options* out) {
       out->plans = value == "off" ? "" : value;
       return value == "off" || value == kInCache || value.starts_with('/');
     }},
    {"rates", "a file of rates",
     [](std::string_view value, Options* out) {
       out->rates = value;
       return !value.empty();
     }},
};

sage_status ReadOptions(std::string_view rest, Options* out, sage_error* err) {
  const auto length = [](std::string_view text) { return static_cast<int>(std::min<size_t>(text.size(), 64)); };
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    if (line.empty()) continue;
    const std::string_view key = line.substr(0, line.find('='));
    const std::string_view value = line.substr(std::min(key.size() + 1, line.size()));
    const auto* const option =
        std::find_if(std::begin(kOptions), std::end(kOptions), [&](const Option& known) { return known.name == key; });
    if (option == std::end(kOptions)) {
      std::string names;
      for (const Option& known : kOptions) names += (names.empty() ? "" : ", ") + std::string(known.name);
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "option \"%.*s\" is unknown to cudnn; it has: %s", length(key),
                       key.data(), names.c_str());
    }
    if (!option->read(value, out))
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "%.*s is \"%.*s\", expected %s", length(key), key.data(),
                       length(value), value.data(), option->expected);
  }
  return SAGE_OK;
}

// Both libraries, in the order in which cuDNN needs them: it ends the process where it does not find cuBLASLt.
bool LoadAll(cuda::Runtime& runtime, const Parts& parts, const Options& options, Library* library,
             cuda::lt::Library* cublaslt, std::string* why) {
  if (!parts.load(options.library, library, why)) return false;
  if (parts.load_cublaslt(options.cublas, runtime.BuiltFor(), cublaslt, why)) return true;
  *why += "; cuDNN cannot do without it";
  return false;
}

// Empty where the host lends no folder: an older host, a process with privileges beyond its caller's.
std::string UsersFolder(const sage_host& host) {
  const bool has = host.struct_size >= offsetof(sage_host, cache_folder) + sizeof host.cache_folder;
  const char* const folder = has && host.cache_folder != nullptr ? host.cache_folder(host.self) : nullptr;
  return folder == nullptr || folder[0] != '/' ? "" : std::string(folder) + "/cudnn-plans";
}

class CudnnBackend final : public plugins::Backend {
 public:
  CudnnBackend(std::unique_ptr<cuda::Device> device, const sage_host& host, std::unique_ptr<Context> context,
               std::vector<std::unique_ptr<cuda::KindServer>> servers)
      : device_(std::move(device)), host_(host), context_(std::move(context)), servers_(std::move(servers)) {}

  void Ask(const plugins::OpView& view, uint64_t features, sage_answer* answer) const override {
    const cuda::KindServer* server = ServerOf(view.op.kind);
    if (server == nullptr) return sage_refuse(answer, 0, "cudnn does not compute %s", support::KindName(view.op.kind));
    if (!cuda::RefuseInGeneral(view, *device_, answer)) server->Ask(view, features, *device_, answer);
  }

  sage_status Plan(const plugins::OpView& view, uint64_t features, const plugins::KernelPlan* like,
                   std::unique_ptr<plugins::KernelPlan>* out, sage_error* err) override {
    sage_answer answer{};
    answer.struct_size = sizeof answer;
    if (cuda::RefuseInGeneral(view, *device_, &answer))  // the device may have been lost since
      return sage_fail(err, SAGE_E_UNSUPPORTED, "plan: %s", answer.reason);
    return ServerOf(view.op.kind)->Plan(view, features, *device_, host_, like, out, err);
  }

  const sage_device_table* Device() const override { return device_->table(); }

 private:
  const cuda::KindServer* ServerOf(uint32_t kind) const {
    for (const auto& server : servers_)
      if ((server->kinds() & SAGE_KIND_BIT(kind)) != 0) return server.get();
    return nullptr;
  }

  std::unique_ptr<cuda::Device> device_;
  const sage_host& host_;
  std::unique_ptr<Context> context_;
  std::vector<std::unique_ptr<cuda::KindServer>> servers_;
};

}  // namespace

void ProbeOver(cuda::Runtime& runtime, const Parts& parts, int32_t device_id, uint32_t* count, sage_answer* answer) {
  cuda::Properties properties;
  std::string why;
  if (!cuda::FindDevice(runtime, device_id, parts.kernels.architectures, count, &properties, &why))
    return sage_refuse(answer, 0, "%s", why.c_str());
  // After the driver: no library is looked for on a machine that has no use for it.
  Library library;
  if (!parts.load("", &library, &why)) return sage_refuse(answer, 0, "%.400s", why.c_str());
  sage_accept(answer, 0, SAGE_COST_MODEL, SAGE_ACCURACY_NATIVE, 0, "cuDNN %s, %s, sm_%d",
              VersionText(library.GetVersion()).c_str(), properties.name.c_str(),
              properties.major * 10 + properties.minor);
}

sage_status CreateOver(cuda::Runtime& runtime, const Parts& parts, const sage_host& host, int32_t device_id,
                       const char* options, std::unique_ptr<plugins::Backend>* out, sage_error* err) {
  Options read;
  cuda::AttentionRates rates;
  sage_status status = ReadOptions(options, &read, err);
  if (status == SAGE_OK && !read.rates.empty()) status = cuda::LoadRates(read.rates, &rates, err);
  if (status != SAGE_OK) return status;
  uint32_t count = 0;
  cuda::Properties properties;
  std::string why;
  Library library;
  cuda::lt::Library cublaslt;
  if (!cuda::FindDevice(runtime, device_id, parts.kernels.architectures, &count, &properties, &why) ||
      !LoadAll(runtime, parts, read, &library, &cublaslt, &why))
    return sage_fail(err, SAGE_E_UNSUPPORTED, "create: %.400s", why.c_str());
  std::unique_ptr<cuda::Device> device;
  status = cuda::Device::Create(runtime, host, device_id, properties, &device, err);
  if (status != SAGE_OK) return status;
  Context::Settings settings;
  settings.graphs = read.capture;
  if (read.plans == kInCache) read.plans = UsersFolder(host);
  if (!read.plans.empty()) {
    int driver = 0;
    (void)runtime.DriverVersion(&driver);
    settings.plans.folder = read.plans;
    settings.plans.machine = "cuDNN " + VersionText(library.GetVersion()) + ", " + properties.name + ", sm_" +
                             std::to_string(properties.major * 10 + properties.minor) + ", " +
                             std::to_string(properties.multiprocessors) + " multiprocessors, driver for CUDA " +
                             cuda::VersionText(driver);
  }
  std::unique_ptr<Context> context;
  if (!Context::Create(library, *device, host, settings, &context, &why))
    return sage_fail(err, SAGE_E_UNSUPPORTED, "create: %.400s", why.c_str());
  std::vector<std::unique_ptr<cuda::KindServer>> servers;
  servers.push_back(ServeAttention(*context, parts.kernels, read.graph, std::move(rates)));
  std::unique_ptr<cuda::KindServer> products;
  status = ServeLinear(parts.load_cublaslt, {read.cublas.empty() ? "auto" : read.cublas}, *device, &products, err);
  if (status != SAGE_OK) return status;
  servers.push_back(std::move(products));
  *out = std::make_unique<CudnnBackend>(std::move(device), host, std::move(context), std::move(servers));
  return SAGE_OK;
}

}  // namespace sage::cudnn
