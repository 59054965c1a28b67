// backend_toys.h: the backend over kernels and a runtime of the test's own: toys that note what they were given and
// answer as told, behind a table. Tests run one after the other.
#ifndef SAGE_TESTS_PLUGINS_CUDA_BACKEND_TOYS_H_
#define SAGE_TESTS_PLUGINS_CUDA_BACKEND_TOYS_H_

#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

#include "attention_op.h"
#include "backend.h"
#include "fake_runtime.h"
#include "support/error_slot.h"
#include "support/test_host.h"

namespace sage::cuda {

using test::Error;

// What the toy kernels were given, and what they answer. Tests run one after the other.
struct Launches {
  int plain = 0, fast = 0, appends = 0, rough = 0, code = kSuccess, append_code = kSuccess;
  const char* why = nullptr;
  AttentionArguments last;
  void *workspace = nullptr, *stream = nullptr;
};
inline Launches& Seen() {
  static Launches launches;
  return launches;
}
inline Launched Launch(int Launches::*count, const AttentionArguments& a, void* workspace, void* stream) {
  Launches& seen = Seen();
  ++(seen.*count);
  seen.last = a, seen.workspace = workspace, seen.stream = stream;
  return {seen.code, seen.why};
}

constexpr uint32_t kToyTypes = TypeBit(AttentionType::kF16) | TypeBit(AttentionType::kBf16);

inline std::vector<KernelFamily> Families() {
  KernelFamily plain;
  plain.name = "plain", plain.architectures = "80";
  plain.features = SAGE_ATTN_F_SCALE | SAGE_ATTN_F_GQA | SAGE_ATTN_F_CAUSAL | SAGE_ATTN_F_BOTTOM_RIGHT |
                   SAGE_ATTN_F_LSE | SAGE_ATTN_F_BIAS | SAGE_ATTN_F_BOOL_MASK | SAGE_ATTN_F_KV_LENGTHS |
                   SAGE_ATTN_F_APPEND_KV;
  plain.types = kToyTypes | TypeBit(AttentionType::kF32) | TypeBit(AttentionType::kF64);
  plain.efficiency = 0.1;
  plain.workspace_bytes = [](const AttentionArguments&, const Properties&) { return uint64_t{64}; };
  plain.launch = [](const AttentionArguments& a, const Properties&, void* workspace, void* stream) {
    return Launch(&Launches::plain, a, workspace, stream);
  };
  plain.append = [](const AttentionArguments& a, void* stream) {
    CHECK(a.k_new != nullptr);
    CHECK(stream != nullptr);
    ++Seen().appends;
    return Launched{Seen().append_code, nullptr};
  };
  KernelFamily fast = plain;
  fast.name = "fast", fast.architectures = "80-real 90a-real";
  fast.features =
      SAGE_ATTN_F_SCALE | SAGE_ATTN_F_GQA | SAGE_ATTN_F_CAUSAL | SAGE_ATTN_F_BOTTOM_RIGHT | SAGE_ATTN_F_BOOL_MASK;
  fast.types = kToyTypes;
  fast.accuracy = SAGE_ACCURACY_NATIVE, fast.tensor_cores = true;
  fast.efficiency = 0.5;
  fast.align = 16;
  fast.refuse = [](const AttentionArguments& a, const Properties&) -> const char* {
    return a.dim_qk > 256 ? "head dimensions up to 256 only" : nullptr;
  };
  fast.workspace_bytes = [](const AttentionArguments& a, const Properties&) {
    return a.batch > 1000 ? uint64_t{1} << 40 : uint64_t{256} * static_cast<uint64_t>(a.batch);
  };
  fast.split = [](const AttentionArguments&, const Properties&, int32_t asked, bool smaller) {
    return AttentionSplits{asked, smaller ? 64 : 128, 3};
  };
  fast.partials_bytes = [](const AttentionArguments& a) { return static_cast<uint64_t>(a.splits.partials) * 8; };
  fast.launch = [](const AttentionArguments& a, const Properties&, void* workspace, void* stream) {
    return Launch(&Launches::fast, a, workspace, stream);
  };
  KernelFamily rough = fast;  // half of its products at twice the rate, and passes ahead of them
  rough.name = "rough", rough.accuracy = SAGE_ACCURACY_LOSSY;
  rough.qk_in_8_bits = true, rough.least_ns = 12000;
  rough.ahead_bytes = [](const AttentionArguments& a) { return 1.0 * a.dim_qk * a.seq_kv; };
  rough.align = 1;
  rough.launch = [](const AttentionArguments& a, const Properties&, void* workspace, void* stream) {
    return Launch(&Launches::rough, a, workspace, stream);
  };
  return {plain, fast, rough};
}

// The toys behind a table, with a runtime that the test holds.
struct Toys {
  FakeRuntime runtime;
  std::vector<KernelFamily> families = Families();
};
inline Toys*& Current() {
  static Toys* current = nullptr;
  return current;
}
inline void Probe(int32_t device_id, uint32_t* count, sage_answer* answer) {
  ProbeOver(Current()->runtime, {Current()->families}, device_id, count, answer);
}
inline sage_status Create(const sage_host& host, int32_t device_id, const char* options,
                          std::unique_ptr<plugins::Backend>* out, sage_error* err) {
  return CreateOver(Current()->runtime, {Current()->families}, host, device_id, options, out, err);
}
constexpr sage_plugin kTable = plugins::DeviceTable<Probe, Create>(
    {.name = "cuda", .version = kVersion, .build = "toys", .kinds = kKinds, .device_type = SAGE_CUDA});

// A host that has memory of the device, too.
struct Fixture {
  explicit Fixture(const char* options = nullptr, Properties properties = FakeH200(),
                   const std::function<void(std::vector<KernelFamily>&)>& change = {}) {
    if (change) change(toys.families);
    Seen() = {};
    Current() = &toys;
    toys.runtime.devices = {properties};
    services = *host.table();
    services.self = this;
    services.alloc = [](void* self, int32_t type, int32_t id, uint64_t bytes, uint64_t align, void** out,
                        sage_error* err) {
      auto& f = *static_cast<Fixture*>(self);
      CHECK(type == SAGE_CUDA);
      CHECK(id == 0);
      return f.device->alloc(f.device->self, bytes, align, out, err);
    };
    services.free = [](void* self, int32_t, int32_t, void* memory) {
      auto& f = *static_cast<Fixture*>(self);
      f.device->free(f.device->self, memory);
    };
    services.log = [](void* self, int32_t, const char* text, uint64_t length) {
      static_cast<Fixture*>(self)->log.emplace_back(text, length);
    };
    status = kTable.create(&services, 0, options, &instance, &error);
    if (status == SAGE_OK) REQUIRE(kTable.device(instance, &device, nullptr) == SAGE_OK);
  }
  ~Fixture() {
    if (instance != nullptr) kTable.destroy(instance);
  }
  Fixture(const Fixture&) = delete;
  Fixture& operator=(const Fixture&) = delete;

  sage_answer Ask(AttentionOp& op) {
    sage_answer answer{};
    answer.struct_size = sizeof answer;
    CHECK(kTable.ask(instance, op.op(), &answer, nullptr) == SAGE_OK);
    CHECK(answer.reason[0] != '\0');
    return answer;
  }
  std::string Reason(AttentionOp& op) { return Ask(op).reason; }

  Toys toys;
  test::TestHost host{1};
  sage_host services{};
  Error error;
  sage_status status = SAGE_OK;
  sage_instance* instance = nullptr;
  const sage_device_table* device = nullptr;
  std::vector<std::string> log;
};

// A plan, and a run of it over addresses that are only passed on.
struct Planned {
  Planned(Fixture& fixture, AttentionOp& attention, const Planned* like = nullptr) : op(attention) {
    info.struct_size = sizeof info;
    status = kTable.plan(fixture.instance, op.op(), like == nullptr ? nullptr : like->plan, &plan, &info, &error);
  }
  ~Planned() {
    if (plan != nullptr) kTable.plan_destroy(plan);
  }
  sage_status Run() {
    sage_run_args args{};
    args.struct_size = sizeof args;
    args.slots = op.slots;
    args.num_slots = SAGE_ATTN_NUM_SLOTS;
    args.workspace = workspace;
    args.workspace_bytes = sizeof workspace;
    args.stream = this;
    return kTable.run(plan, &args, &error);
  }
  AttentionOp& op;
  sage_plan* plan = nullptr;
  sage_plan_info info{};
  sage_status status = SAGE_OK;
  Error error;
  alignas(256) unsigned char workspace[1024];
};

inline bool Has(const std::string& text, const char* part) { return text.find(part) != std::string::npos; }

inline void GiveAddresses(AttentionOp& op, uintptr_t first = 0x100000) {
  for (uint32_t slot = 0; slot < SAGE_ATTN_NUM_SLOTS; ++slot)
    if (op.slots[slot] != nullptr) op[slot].data = reinterpret_cast<void*>(first + slot * 0x10000);
}

}  // namespace sage::cuda

#endif  // SAGE_TESTS_PLUGINS_CUDA_BACKEND_TOYS_H_
