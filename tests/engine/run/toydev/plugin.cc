// plugin.cc: a backend of the toy device: UNARY (RELU, NEG, ABS), BINARY (ADD), LINEAR with a constant W, ATTENTION
// without features but SCALE and GQA; f32, any strides. Runs enqueue; the arithmetic happens when somebody waits.
//
// Built several times: TOYDEV_NAME and TOYDEV_TYPE say which device. Two of one type share the driver of the first.
// Options: visible, node_ns, latency_ns, bytes_per_ns, largest_alloc, failing_command, records, fail_capture,
// no_capture (says NO to ops that require it), fail_run, fail_plan, deaf (says NO to everything), wrong (results off by
// a half).
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "driver.h"
#include "sage/support/refuse.h"

#ifndef TOYDEV_NAME
#define TOYDEV_NAME "toydev"
#endif
#ifndef TOYDEV_TYPE
#define TOYDEV_TYPE 12 /* DLPack's "extension device" */
#endif

struct sage_instance {
  const sage_host* host = nullptr;
  int32_t id = 0;
  toydev::Driver* driver = nullptr;
  std::unique_ptr<toydev::Driver> own;  // null where somebody else supplied the device
  double node_ns = 10;
  double shuffle = 0;  // > 0: the seed of prices that differ by op and device
  bool no_capture = false, fail_run = false, fail_plan = false, deaf = false, wrong = false;
};

struct sage_plan {
  sage_instance* of = nullptr;
  uint32_t kind = 0, function = 0, num_slots = 0;
  double scale = 0;
  void* packed = nullptr;  // W, in device memory
};

namespace {

constexpr uint64_t kWorkspace = 64;
constexpr int64_t kMostKeys = 64;  // of ATTENTION: its scores lie on the stack

struct View {
  const sage_tensor& tensor;
  float& At(int64_t a, int64_t b = 0, int64_t c = 0, int64_t d = 0) const {
    return static_cast<float*>(
        tensor.data)[a * tensor.stride[0] + b * tensor.stride[1] + c * tensor.stride[2] + d * tensor.stride[3]];
  }
};

// f(element of each tensor), over the last one's shape, with everybody's own strides.
template <class F>
void ForEach(const sage_tensor& shape, F f) {
  int64_t count = 1, index[SAGE_MAX_RANK] = {};
  for (uint32_t axis = 0; axis < shape.rank; ++axis) count *= shape.shape[axis];
  for (int64_t i = 0; i < count; ++i) {
    f(index);
    for (uint32_t axis = shape.rank; axis-- > 0;) {
      if (++index[axis] < shape.shape[axis]) break;
      index[axis] = 0;
    }
  }
}

float& Element(const sage_tensor& tensor, const int64_t* index) {
  int64_t at = 0;
  for (uint32_t axis = 0; axis < tensor.rank; ++axis) at += index[axis] * tensor.stride[axis];
  return static_cast<float*>(tensor.data)[at];
}

void Unary(const toydev::Command& c) {
  const uint32_t function = c.plan->function;
  const float off = c.plan->of->wrong ? 0.5f : 0.0f;
  ForEach(c.tensors[1], [&](const int64_t* i) {
    const float x = Element(c.tensors[0], i);
    const float y = function == SAGE_FN_NEG ? -x : function == SAGE_FN_ABS ? std::fabs(x) : x > 0 ? x : 0;
    Element(c.tensors[1], i) = y + off;
  });
  std::memset(c.workspace, 1, kWorkspace);
}

void Add(const toydev::Command& c) {
  ForEach(c.tensors[2],
          [&](const int64_t* i) { Element(c.tensors[2], i) = Element(c.tensors[0], i) + Element(c.tensors[1], i); });
}

void Linear(const toydev::Command& c) {
  const sage_tensor &x = c.tensors[0], &y = c.tensors[3];
  const int64_t depth = x.shape[x.rank - 1];
  const auto* w = static_cast<const float*>(c.plan->packed);  // [N,K], row-major
  ForEach(y, [&](const int64_t* i) {
    int64_t at[SAGE_MAX_RANK];
    std::memcpy(at, i, sizeof at);
    double sum = 0;
    for (int64_t k = 0; k < depth; ++k) {
      at[x.rank - 1] = k;
      sum += double{Element(x, at)} * double{w[i[y.rank - 1] * depth + k]};
    }
    Element(y, i) = static_cast<float>(sum);
  });
}

void Attention(const toydev::Command& c) {
  const View q{c.tensors[0]}, k{c.tensors[1]}, v{c.tensors[2]}, o{c.tensors[3]};
  const int64_t *qs = q.tensor.shape, *ks = k.tensor.shape;
  const int64_t group = ks[1] == 0 ? 1 : qs[1] / ks[1];
  double p[kMostKeys];
  for (int64_t b = 0; b < qs[0]; ++b)
    for (int64_t h = 0; h < qs[1]; ++h)
      for (int64_t i = 0; i < qs[2]; ++i) {
        double most = -INFINITY, sum = 0;
        for (int64_t j = 0; j < ks[2]; ++j) {
          double s = 0;
          for (int64_t x = 0; x < qs[3]; ++x) s += double{q.At(b, h, i, x)} * double{k.At(b, h / group, j, x)};
          most = std::max(most, p[j] = s * c.plan->scale);
        }
        for (int64_t j = 0; j < ks[2]; ++j) sum += p[j] = std::exp(p[j] - most);
        for (int64_t x = 0; x < qs[3]; ++x) {
          double out = 0;
          for (int64_t j = 0; j < ks[2]; ++j) out += p[j] * double{v.At(b, h / group, j, x)};
          o.At(b, h, i, x) = ks[2] == 0 ? 0 : static_cast<float>(out / sum);
        }
      }
}

sage_status Probe(const sage_host*, int32_t id, uint32_t* count, sage_answer* out, sage_error* err) {
  *count = 2;
  sage_refuse(out, 0, "there are two toy devices");
  out->verdict = id < 2 ? SAGE_YES : SAGE_NO;
  return sage_succeed(err);
}

sage_status Create(const sage_host* host, int32_t id, const char* options, sage_instance** out, sage_error* err) {
  auto instance = std::make_unique<sage_instance>();
  instance->host = host;
  instance->id = id;
  toydev::Options device;
  std::string lines = options == nullptr ? "" : options;
  for (size_t begin = 0; begin < lines.size();) {
    const size_t end = std::min(lines.find('\n', begin), lines.size()), equals = lines.find('=', begin);
    const std::string key = lines.substr(begin, equals - begin), value = lines.substr(equals + 1, end - equals - 1);
    const double number = std::strtod(value.c_str(), nullptr);
    begin = end + 1;
    if (key == "visible")
      device.visible = number != 0;
    else if (key == "latency_ns")
      device.latency_ns = number;
    else if (key == "bytes_per_ns")
      device.bytes_per_ns = number;
    else if (key == "largest_alloc")
      device.largest_alloc = static_cast<uint64_t>(number);
    else if (key == "failing_command")
      device.failing_command = static_cast<uint64_t>(number);
    else if (key == "records")
      device.records = number != 0;
    else if (key == "fail_capture")
      device.fail_capture = number != 0;
    else if (key == "no_capture")
      instance->no_capture = number != 0;
    else if (key == "node_ns")
      instance->node_ns = number;
    else if (key == "shuffle")
      instance->shuffle = number;
    else if (key == "fail_run")
      instance->fail_run = number != 0;
    else if (key == "fail_plan")
      instance->fail_plan = number != 0;
    else if (key == "deaf")
      instance->deaf = number != 0;
    else if (key == "wrong")
      instance->wrong = number != 0;
    else
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "unknown option '%s'", key.c_str());
  }
  const sage_device_table* supplied = nullptr;
  if (host->device(host->self, TOYDEV_TYPE, id, &supplied, err) != SAGE_OK) return SAGE_E_INTERNAL;
  if (supplied == nullptr) instance->own = std::make_unique<toydev::Driver>(TOYDEV_TYPE, id, device);
  instance->driver = supplied == nullptr ? instance->own.get() : static_cast<toydev::Driver*>(supplied->self);
  *out = instance.release();
  return sage_succeed(err);
}

void Destroy(sage_instance* instance) { delete instance; }

sage_status DeviceOf(sage_instance* instance, const sage_device_table** out, sage_error* err) {
  *out = instance->driver->table();
  return sage_succeed(err);
}

// Empty: it can.
std::string Refusal(const sage_instance& instance, const sage_op& op) {
  if (instance.deaf) return "it is deaf";
  if (instance.no_capture && (op.requirements & SAGE_REQUIRE_STREAM_CAPTURE) != 0) return "no run of it is recorded";
  const auto* attributes = static_cast<const uint32_t*>(op.attributes);
  for (uint32_t slot = 0; slot < op.num_slots; ++slot) {
    const sage_tensor* tensor = op.slots[slot];
    if (tensor == nullptr) continue;
    const bool constant = (tensor->flags & SAGE_TENSOR_CONSTANT) != 0;
    if (slot > 3) return "only the first four slots";
    if (tensor->dtype != SAGE_F32) return "only f32";
    if (constant != (op.kind == SAGE_OP_LINEAR && slot == 1)) return "constants are the W of LINEAR, and W is one";
    if (!constant && (tensor->device_type != TOYDEV_TYPE || tensor->device_id != instance.id))
      return "a tensor is not on this device";
    if (constant && tensor->device_type != SAGE_CPU) return "a constant is not in CPU memory";
  }
  const uint32_t function = attributes != nullptr ? attributes[1] : 0;
  switch (op.kind) {
    case SAGE_OP_UNARY:
      return function == SAGE_FN_RELU || function == SAGE_FN_NEG || function == SAGE_FN_ABS ? "" : "RELU, NEG, ABS";
    case SAGE_OP_BINARY:
      return function == SAGE_BINARY_ADD ? "" : "only ADD";
    case SAGE_OP_LINEAR:
      return function == 0 && op.slots[2] == nullptr ? "" : "no bias, no activation";
    case SAGE_OP_ATTENTION:
      return op.slots[1]->shape[2] <= kMostKeys ? "" : "too many keys";
    default:
      return "not this kind";
  }
}

sage_status Ask(sage_instance* instance, const sage_op* op, sage_answer* out, sage_error* err) {
  const std::string refusal = Refusal(*instance, *op);
  sage_refuse(out, 0, "%s", refusal.empty() ? "a toy device" : refusal.c_str());
  if (!refusal.empty()) return sage_succeed(err);
  out->verdict = SAGE_YES;
  out->cost_ns = instance->node_ns;
  if (instance->shuffle > 0) {
    const uint32_t function = op->attributes != nullptr ? static_cast<const uint32_t*>(op->attributes)[1] : 0;
    const double mixed = std::sin(instance->shuffle + 12.9898 * op->kind + 78.233 * function + 1.7 * instance->id +
                                  static_cast<double>(sizeof TOYDEV_NAME));
    out->cost_ns = std::fabs(mixed) * 1000;
  }
  out->cost_source = SAGE_COST_RULE;
  out->accuracy = SAGE_ACCURACY_EXACT;
  out->workspace_bytes = kWorkspace;
  return sage_succeed(err);
}

sage_status PackConstant(sage_plan* plan, const sage_tensor& w, sage_error* err) {
  const sage_host* host = plan->of->host;
  const uint64_t bytes = static_cast<uint64_t>(w.shape[0] * w.shape[1]) * sizeof(float);
  sage_status status = host->alloc(host->self, TOYDEV_TYPE, plan->of->id, bytes, 256, &plan->packed, err);
  if (status != SAGE_OK) return status;
  std::vector<float> rows;
  for (int64_t n = 0; n < w.shape[0]; ++n)
    for (int64_t k = 0; k < w.shape[1]; ++k)
      rows.push_back(static_cast<const float*>(w.data)[n * w.stride[0] + k * w.stride[1]]);
  const sage_device_table& device = *plan->of->driver->table();
  void* stream = nullptr;
  if ((status = device.stream_create(device.self, &stream, err)) != SAGE_OK) return status;
  status = device.copy(device.self, plan->packed, rows.data(), bytes, stream, err);
  if (status == SAGE_OK) status = device.stream_synchronize(device.self, stream, err);
  device.stream_destroy(device.self, stream);
  return status;
}

void DestroyPlan(sage_plan* plan) {
  const sage_host* host = plan->of->host;
  host->free(host->self, TOYDEV_TYPE, plan->of->id, plan->packed);
  delete plan;
}

sage_status MakePlan(sage_instance* instance, const sage_op* op, const sage_plan*, sage_plan** out,
                     sage_plan_info* info, sage_error* err) {
  if (instance->fail_plan) return sage_fail(err, SAGE_E_DEVICE, "the toy device plans nothing today");
  auto* plan = new (std::nothrow) sage_plan();
  if (plan == nullptr) return sage_fail(err, SAGE_E_OUT_OF_MEMORY, "no memory");
  plan->of = instance;
  plan->kind = op->kind;
  plan->num_slots = op->num_slots;
  if (op->kind == SAGE_OP_ATTENTION) {
    const auto* attributes = static_cast<const sage_attention_attributes*>(op->attributes);
    plan->scale = (attributes->features & SAGE_ATTN_F_SCALE) != 0
                      ? attributes->scale
                      : 1 / std::sqrt(static_cast<double>(op->slots[0]->shape[3]));
  } else {
    plan->function = static_cast<const uint32_t*>(op->attributes)[1];
  }
  info->workspace_bytes = kWorkspace;
  info->prepack_bytes = 0;
  if (op->kind == SAGE_OP_LINEAR) {
    if (const sage_status status = PackConstant(plan, *op->slots[1], err); status != SAGE_OK) {
      DestroyPlan(plan);
      return status;
    }
    info->prepack_bytes = static_cast<uint64_t>(op->slots[1]->shape[0] * op->slots[1]->shape[1]) * sizeof(float);
  }
  *out = plan;
  return sage_succeed(err);
}

sage_status Run(const sage_plan* plan, const sage_run_args* args, sage_error* err) {
  if (plan->of->fail_run) return sage_fail(err, SAGE_E_DEVICE, "the toy device takes no node");
  if (args->stream == nullptr) return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "no stream");
  if (reinterpret_cast<uintptr_t>(args->workspace) % 256 != 0)
    return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "the workspace is not aligned to 256 bytes");
  toydev::Command command;
  command.kind = toydev::Command::Kind::kNode;
  command.node = plan->kind == SAGE_OP_UNARY    ? Unary
                 : plan->kind == SAGE_OP_BINARY ? Add
                 : plan->kind == SAGE_OP_LINEAR ? Linear
                                                : Attention;
  command.plan = plan;
  command.workspace = static_cast<unsigned char*>(args->workspace);
  for (uint32_t slot = 0; slot < args->num_slots && slot < 4; ++slot)
    if (args->slots[slot] != nullptr) command.tensors[slot] = *args->slots[slot];
  return static_cast<toydev::Stream*>(args->stream)->Enqueue(command, err);
}

constexpr uint64_t kKinds = SAGE_KIND_BIT(SAGE_OP_UNARY) | SAGE_KIND_BIT(SAGE_OP_BINARY) |
                            SAGE_KIND_BIT(SAGE_OP_LINEAR) | SAGE_KIND_BIT(SAGE_OP_ATTENTION);
const sage_plugin kTable = {sizeof(sage_plugin),
                            SAGE_ABI_MAJOR,
                            SAGE_ABI_MINOR,
                            0,
                            TOYDEV_NAME,
                            "1.0.0",
                            "for tests",
                            nullptr,
                            kKinds,
                            SAGE_ATTN_F_SCALE | SAGE_ATTN_F_GQA,
                            TOYDEV_TYPE,
                            0,
                            Probe,
                            Create,
                            Destroy,
                            DeviceOf,
                            Ask,
                            MakePlan,
                            DestroyPlan,
                            Run};

}  // namespace

SAGE_PLUGIN_ENTRY(toydev) {
  (void)host_minor;
  return host_major == SAGE_ABI_MAJOR ? &kTable : nullptr;
}
