// product_device.h: LINEAR and MATMUL through a backend's own table, over the fake runtime and the fake cuBLASLt: an op
// is asked about, planned, run and compared as an engine would. Which backend is the table's business.
#ifndef SAGE_TESTS_PLUGINS_CUDA_PRODUCT_DEVICE_H_
#define SAGE_TESTS_PLUGINS_CUDA_PRODUCT_DEVICE_H_

#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "fake_cublaslt.h"
#include "fake_runtime.h"
#include "product_cases.h"
#include "support/error_slot.h"
#include "support/heap_count.h"

namespace sage::test {

// The device and the library of all tests, as they are set before an instance is made.
inline cuda::FakeRuntime& DeviceRuntime() {
  static cuda::FakeRuntime runtime;
  return runtime;
}
// So slow that the library is worth its start for a handful of numbers.
inline cuda::Properties SlowDevice() {
  cuda::Properties p = cuda::FakeH200();
  p.multiprocessors = 1, p.clock_khz = 1000, p.memory_clock_khz = 100;
  return p;
}

// An instance on the fake device. Making one forgets what the fakes have seen, not how they are set. table outlives it.
class TableDevice {
 public:
  TableDevice(const sage_plugin& table, const char* options, const cuda::Properties& properties) : table_(table) {
    DeviceRuntime().devices = {properties};
    Fake().loaded = Fake().created = Fake().destroyed = Fake().calls = 0;
    Fake().asked.clear(), Fake().matmuls.clear(), Fake().wrong.clear();
    services_ = *host_.table();
    services_.self = this;
    services_.alloc = [](void* self, int32_t type, int32_t, uint64_t bytes, uint64_t align, void** out,
                         sage_error* err) {
      auto* const device = static_cast<TableDevice*>(self)->device_;
      if (type != SAGE_CUDA) return sage_fail(err, SAGE_E_INTERNAL, "memory of the CPU was asked for");
      return device->alloc(device->self, bytes, align, out, err);
    };
    services_.free = [](void* self, int32_t, int32_t, void* memory) {
      auto* const device = static_cast<TableDevice*>(self)->device_;
      device->free(device->self, memory);
    };
    status_ = table_.create(&services_, 0, options, &instance_, &error_);
    if (status_ == SAGE_OK) REQUIRE(table_.device(instance_, &device_, nullptr) == SAGE_OK);
  }
  virtual ~TableDevice() {
    if (instance_ != nullptr) table_.destroy(instance_);
  }
  TableDevice(const TableDevice&) = delete;
  TableDevice& operator=(const TableDevice&) = delete;

  sage_status status() const { return status_; }
  std::string message() const { return error_.message; }
  sage_instance* instance() const { return instance_; }

  sage_answer Ask(const OpCase& c) {
    Bound bound(c);
    sage_answer answer{};
    answer.struct_size = sizeof answer;
    REQUIRE(table_.ask(instance_, bound.op.op(), &answer, nullptr) == SAGE_OK);
    return answer;
  }

  // Plans planned and runs c, whose shapes may be smaller. Empty, or what went wrong; c's output has the result.
  std::string Run(const OpCase& planned, OpCase& c) {
    Bound bound(planned);
    sage_answer answer{};
    answer.struct_size = sizeof answer;
    Error error;
    if (table_.ask(instance_, bound.op.op(), &answer, &error) != SAGE_OK) return error.message;
    if (answer.verdict != SAGE_YES) return std::string("refused: ") + answer.reason;
    reason = answer.reason, accuracy = answer.accuracy;
    sage_plan* plan = nullptr;
    sage_plan_info info{};
    info.struct_size = sizeof info;
    if (table_.plan(instance_, bound.op.op(), nullptr, &plan, &info, &error) != SAGE_OK) return error.message;
    const std::unique_ptr<sage_plan, void (*)(sage_plan*)> owner(plan, table_.plan_destroy);
    if (info.workspace_bytes > answer.workspace_bytes) return "the plan wants more workspace than was answered";
    workspace_bytes = info.workspace_bytes;
    // The end of the workspace is the end of an allocation.
    const std::unique_ptr<void, void (*)(void*)> workspace(
        std::aligned_alloc(256, (info.workspace_bytes + 511) / 256 * 256), std::free);
    std::memset(workspace.get(), 0xff, (info.workspace_bytes + 511) / 256 * 256);
    Bound run(c);
    sage_run_args args{};
    args.struct_size = sizeof args;
    args.slots = run.op.slots().data(), args.num_slots = static_cast<uint32_t>(run.op.slots().size());
    args.workspace = workspace.get(), args.workspace_bytes = info.workspace_bytes;
    const uint64_t before = HeapAllocations();
    const sage_status status = table_.run(plan, &args, &error);
    heap_allocations += HeapAllocations() - before;
    for (uint64_t i = info.workspace_bytes; i < (info.workspace_bytes + 511) / 256 * 256; ++i)
      if (static_cast<unsigned char*>(workspace.get())[i] != 0xff) return "the run wrote past its workspace";
    if (const std::string finding = Finding(); !finding.empty()) return finding;
    if (!Fake().wrong.empty()) return "cuBLASLt was given " + Fake().wrong;
    return status == SAGE_OK ? "" : std::string("run: ") + error.message;
  }
  // Runs c and compares it with the oracle.
  std::string Check(OpCase& c) { return Check(c, c); }
  std::string Check(const OpCase& planned, OpCase& c) {
    const std::string failure = Run(planned, c);
    if (!failure.empty()) return failure + " " + Describe(c);
    const OwnedTensor& got = c.slots[c.kind == SAGE_OP_LINEAR ? kY : 2];
    return DifferenceOf(c, got, c.slots[kX].dim(c.slots[kX].rank() - 1));
  }

  std::string reason;  // of the last run
  uint32_t accuracy = 0;
  uint64_t workspace_bytes = 0;
  uint64_t heap_allocations = 0;  // in all runs

 protected:
  // What else went wrong in a run.
  virtual std::string Finding() const { return ""; }

 private:
  // An op whose tensors lie on the device, but for constants.
  struct Bound {
    explicit Bound(const OpCase& c) : op(c.kind) {
      c.attributes(op);
      tensors.resize(c.slots.size());
      for (size_t slot = 0; slot < c.slots.size(); ++slot) {
        if (!c.slots[slot].present()) continue;
        tensors[slot] = *c.slots[slot].tensor();
        if ((tensors[slot].flags & SAGE_TENSOR_CONSTANT) == 0) tensors[slot].device_type = SAGE_CUDA;
        op.Slot(static_cast<uint32_t>(slot), &tensors[slot]);
      }
    }
    std::vector<sage_tensor> tensors;
    TestOp op;
  };
  const sage_plugin& table_;
  TestHost host_{1, Threads::kSimulated};
  sage_host services_{};
  Error error_;
  sage_status status_ = SAGE_OK;
  sage_instance* instance_ = nullptr;
  const sage_device_table* device_ = nullptr;
};

}  // namespace sage::test

#endif  // SAGE_TESTS_PLUGINS_CUDA_PRODUCT_DEVICE_H_
