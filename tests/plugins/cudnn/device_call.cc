// device_call.cc: see the header.
#include "device_call.h"

#include <dlfcn.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <vector>

#include "../cpu/attention_testing.h"
#include "support/error_slot.h"

namespace sage::test {
namespace {

constexpr uint64_t kAlign = 256;

template <class Struct>
Struct Sized() {
  Struct value{};
  value.struct_size = sizeof value;
  return value;
}

bool IsOutput(uint32_t slot) { return slot == SAGE_ATTN_O || slot == SAGE_ATTN_LSE; }

}  // namespace

const sage_plugin* LoadPlugin(const char* path, std::string* why) {
  void* const library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
  if (library == nullptr) return *why = dlerror(), nullptr;
  void* const symbol = dlsym(library, SAGE_PLUGIN_QUERY_SYMBOL);
  sage_plugin_query_fn query = nullptr;
  std::memcpy(&query, &symbol, sizeof query);
  const sage_plugin* const table = query == nullptr ? nullptr : query(SAGE_ABI_MAJOR, SAGE_ABI_MINOR);
  if (table == nullptr) *why = std::string(path) + " has no table";
  return table;
}

std::unique_ptr<OnDevice> OnDevice::Make(const sage_plugin* plugin, int32_t id, const char* options, std::string* why) {
  std::unique_ptr<OnDevice> made(new OnDevice(plugin));
  Error error;
  if (plugin->create(made->host_.table(), id, options, &made->instance_, &error) != SAGE_OK ||
      plugin->device(made->instance_, &made->device_, &error) != SAGE_OK ||
      made->device_->stream_create(made->device_->self, &made->stream_, &error) != SAGE_OK)
    return *why = error.message, nullptr;
  return made;
}

OnDevice::~OnDevice() {
  if (stream_ != nullptr) device_->stream_destroy(device_->self, stream_);
  if (instance_ != nullptr) plugin_->destroy(instance_);
}

std::string OnDevice::Wait() const {
  Error error;
  return device_->stream_synchronize(device_->self, stream_, &error) == SAGE_OK ? "" : error.message;
}

DeviceCall::DeviceCall(OnDevice& on, const AttentionCase& attention) : on_(on), case_(attention) {
  Error error;
  for (uint32_t slot = 0; slot < SAGE_ATTN_NUM_SLOTS && failure_.empty(); ++slot) {
    if (!case_[slot].present()) continue;
    const auto& bytes = case_[slot].bytes();
    if (on.device().alloc(on.device().self, bytes.size(), kAlign, &memory_[slot], &error) != SAGE_OK)
      failure_ = error.message;
    else
      failure_ = Copy(memory_[slot], bytes.data(), bytes.size());
    tensors_[slot] = *case_[slot].tensor();
    tensors_[slot].device_type = SAGE_CUDA, tensors_[slot].device_id = on.device().device_id;
    tensors_[slot].data = static_cast<char*>(memory_[slot]) + Start(slot);
    slots_[slot] = &tensors_[slot];
  }
  if (failure_.empty()) failure_ = on.Wait();
}

DeviceCall::~DeviceCall() {
  (void)on_.Wait();
  const sage_device_table& device = on_.device();
  if (graph_ != nullptr) device.graph_destroy(device.self, graph_);
  if (plan_ != nullptr) on_.plugin().plan_destroy(plan_);
  device.free(device.self, workspace_);
  for (void* memory : memory_) device.free(device.self, memory);
}

int64_t DeviceCall::Start(uint32_t slot) const {
  return static_cast<const unsigned char*>(case_[slot].tensor()->data) - case_[slot].bytes().data();
}

std::string DeviceCall::Copy(void* to, const void* from, uint64_t bytes) {
  Error error;
  const sage_device_table& device = on_.device();
  return device.copy(device.self, to, from, bytes, on_.stream(), &error) == SAGE_OK ? "" : error.message;
}

std::string DeviceCall::Plan() {
  if (!failure_.empty()) return failure_;
  auto op = Sized<sage_op>();
  sage_attention_attributes attributes = case_.attributes;
  attributes.struct_size = sizeof attributes;
  op.kind = SAGE_OP_ATTENTION, op.attributes = &attributes;
  op.num_slots = SAGE_ATTN_NUM_SLOTS, op.slots = slots_;
  op.accuracy = case_.accuracy, op.aliases = case_.aliases;
  op.requirements = case_.requirements | SAGE_REQUIRE_STREAM_CAPTURE;
  answer_ = Sized<sage_answer>(), info_ = Sized<sage_plan_info>();
  Error error;
  if (on_.plugin().ask(on_.instance(), &op, &answer_, &error) != SAGE_OK) return error.message;
  if (answer_.verdict != SAGE_YES) return std::string("refused: ") + answer_.reason;
  if (on_.plugin().plan(on_.instance(), &op, nullptr, &plan_, &info_, &error) != SAGE_OK) return error.message;
  const sage_device_table& device = on_.device();
  if (device.alloc(device.self, info_.workspace_bytes + 1, kAlign, &workspace_, &error) != SAGE_OK)
    return error.message;
  return info_.workspace_bytes <= answer_.workspace_bytes ? "" : "the plan wants more workspace than was answered";
}

std::string DeviceCall::ResetOutputs() {
  for (uint32_t slot = 0; slot < SAGE_ATTN_NUM_SLOTS; ++slot) {
    if (!IsOutput(slot) || !case_[slot].present()) continue;
    const auto& bytes = case_[slot].bytes();
    if (std::string failure = Copy(memory_[slot], bytes.data(), bytes.size()); !failure.empty()) return failure;
  }
  return on_.Wait();
}

std::string DeviceCall::Enqueue() {
  auto args = Sized<sage_run_args>();
  args.num_slots = SAGE_ATTN_NUM_SLOTS, args.slots = slots_;
  args.workspace = workspace_, args.workspace_bytes = info_.workspace_bytes, args.stream = on_.stream();
  Error error;
  return on_.plugin().run(plan_, &args, &error) == SAGE_OK ? "" : error.message;
}

std::string DeviceCall::Run() {
  std::string failure = ResetOutputs();
  if (failure.empty()) failure = Enqueue();
  return failure.empty() ? on_.Wait() : failure;
}

std::string DeviceCall::Replay() {
  const sage_device_table& device = on_.device();
  Error error;
  if (graph_ == nullptr) {
    if (device.capture_begin(device.self, on_.stream(), &error) != SAGE_OK) return error.message;
    const std::string failure = Enqueue();
    const sage_status ended = device.capture_end(device.self, on_.stream(), &graph_, &error);
    if (!failure.empty()) return "while recorded: " + failure;
    if (ended != SAGE_OK) return std::string("ending the recording: ") + error.message;
  }
  if (std::string failure = ResetOutputs(); !failure.empty()) return failure;
  if (device.graph_launch(device.self, graph_, on_.stream(), &error) != SAGE_OK) return error.message;
  return on_.Wait();
}

std::string DeviceCall::TimeEnqueue(int count, double* median_ns) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> took;
  for (int n = 0; n < count; ++n) {
    const auto begin = Clock::now();
    if (std::string failure = Enqueue(); !failure.empty()) return failure;
    took.push_back(std::chrono::duration<double, std::nano>(Clock::now() - begin).count());
    // A full queue of launches is waited for inside a launch: that is not this call's time.
    if (n % 16 == 15)
      if (std::string failure = on_.Wait(); !failure.empty()) return failure;
  }
  std::nth_element(took.begin(), took.begin() + count / 2, took.end());
  *median_ns = took[static_cast<size_t>(count / 2)];
  return on_.Wait();
}

std::string DeviceCall::Fetch(AttentionCase* into) {
  *into = case_;
  for (uint32_t slot = 0; slot < SAGE_ATTN_NUM_SLOTS; ++slot) {
    if (!case_[slot].present()) continue;
    OwnedTensor& tensor = (*into)[slot];
    char* const begin = static_cast<char*>(tensor.tensor()->data) - Start(slot);
    if (std::string failure = Copy(begin, memory_[slot], tensor.bytes().size()); !failure.empty()) return failure;
  }
  return on_.Wait();
}

Distance DistanceOf(const AttentionCase& got, const AttentionCase& want) {
  Distance distance;
  const double largest_v = std::max(1.0, LargestMagnitude(want[SAGE_ATTN_V]));
  distance.o = ErrorIn(got[SAGE_ATTN_O], want[SAGE_ATTN_O], kNativeGate * largest_v);
  if (got[SAGE_ATTN_LSE].present())
    distance.lse =
        ErrorIn(got[SAGE_ATTN_LSE], want[SAGE_ATTN_LSE], 5e-6 * std::max(4.0, LargestMagnitude(want[SAGE_ATTN_LSE])));
  return distance;
}

}  // namespace sage::test
