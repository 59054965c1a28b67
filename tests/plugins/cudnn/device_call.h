// device_call.h: an attention case on a CUDA device through a plugin's table, step by step: asked, planned, run, run
// again, recorded and replayed. Errors are sentences; nothing here is an assertion, so that programs use it as well.
#ifndef SAGE_TESTS_PLUGINS_CUDNN_DEVICE_CALL_H_
#define SAGE_TESTS_PLUGINS_CUDNN_DEVICE_CALL_H_

#include <memory>
#include <string>

#include "support/attention_case.h"

namespace sage::test {

// The table of the plugin in that file, or null: *why. Never unloaded.
const sage_plugin* LoadPlugin(const char* path, std::string* why);

// An instance on CUDA's device `id` with one stream.
class OnDevice {
 public:
  static std::unique_ptr<OnDevice> Make(const sage_plugin* plugin, int32_t id, const char* options, std::string* why);
  ~OnDevice();
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

  const sage_plugin& plugin() const { return *plugin_; }
  sage_instance* instance() const { return instance_; }
  const sage_device_table& device() const { return *device_; }
  void* stream() const { return stream_; }
  std::string Wait() const;

 private:
  explicit OnDevice(const sage_plugin* plugin) : plugin_(plugin), host_(1, Threads::kSimulated) {}
  const sage_plugin* plugin_;
  TestHost host_;
  sage_instance* instance_ = nullptr;
  const sage_device_table* device_ = nullptr;
  void* stream_ = nullptr;
};

// Each step gives "" or what went wrong. The case's tensors are copied with all that lies between their elements.
class DeviceCall {
 public:
  DeviceCall(OnDevice& on, const AttentionCase& attention);
  ~DeviceCall();
  DeviceCall(const DeviceCall&) = delete;
  DeviceCall& operator=(const DeviceCall&) = delete;

  // "refused: " and the reason where the answer is NO.
  std::string Plan();
  const sage_answer& answer() const { return answer_; }
  // Outputs as the case has them, then the call.
  std::string Run();
  // The call as recorded, launched once with outputs as the case has them.
  std::string Replay();
  // Median nanoseconds of the CPU for enqueueing one call.
  std::string TimeEnqueue(int count, double* median_ns);
  // All tensors as they are on the device.
  std::string Fetch(AttentionCase* into);

 private:
  std::string Copy(void* to, const void* from, uint64_t bytes);
  std::string ResetOutputs();
  std::string Enqueue();
  int64_t Start(uint32_t slot) const;

  OnDevice& on_;
  const AttentionCase case_;
  void* memory_[SAGE_ATTN_NUM_SLOTS]{};
  sage_tensor tensors_[SAGE_ATTN_NUM_SLOTS]{};
  const sage_tensor* slots_[SAGE_ATTN_NUM_SLOTS]{};
  std::string failure_;  // of uploading
  sage_answer answer_{};
  sage_plan* plan_ = nullptr;
  sage_plan_info info_{};
  void *workspace_ = nullptr, *graph_ = nullptr;
};

// How far outputs are from the float64 oracle's, as multiples of what is allowed: of O the rounding of weights to its
// type, 2^-9 of the largest |V|; of LSE that of sums in f32. 0 where there is no such output.
struct Distance {
  double o = 0, lse = 0;
};
// want: the case computed by the oracle in f64 (Expected of attention_testing.h).
Distance DistanceOf(const AttentionCase& got, const AttentionCase& want);

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CUDNN_DEVICE_CALL_H_
