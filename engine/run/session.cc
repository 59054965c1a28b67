// session.cc: the public calls; what they do is in the other session files.
#include "run/session.h"

#include <fmt/format.h>

#include <cstring>

#include "plan/explain.h"
#include "run/session_impl.h"
#include "run/tensor_copy.h"
#include "sage/support/check_op.h"
#include "sage/support/take_in.h"

namespace sage {

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::~Session() = default;

Result<std::unique_ptr<Session>> Session::Create(std::shared_ptr<Engine> engine, std::shared_ptr<const Graph> graph,
                                                 const SessionOptions& options) {
  if (engine == nullptr || graph == nullptr) {
    return Status(SAGE_E_INVALID_ARGUMENT, "a session needs an engine and a graph");
  }
  auto impl = std::make_unique<Impl>(std::move(engine), std::move(graph), options);
  SAGE_RETURN_IF_ERROR(impl->Initialise());
  return std::unique_ptr<Session>(new Session(std::move(impl)));
}

Status Session::SetInput(uint32_t index, sage_dtype dtype, std::span<const int64_t> shape, const void* data,
                         uint64_t bytes) {
  SAGE_RETURN_IF_ERROR(impl_->CheckInput(index, dtype, shape));
  SAGE_ASSIGN_OR_RETURN(const int64_t count, ElementCount(shape));
  const uint64_t size = support::DtypeSize(dtype);
  if (bytes / size != static_cast<uint64_t>(count) || bytes % size != 0) {
    return Status(SAGE_E_INVALID_ARGUMENT, fmt::format("{}: {} bytes were given, its shape has {} elements of {} bytes",
                                                       impl_->InputName(index), bytes, count, size));
  }
  if (data == nullptr && bytes > 0) {
    return Status(SAGE_E_INVALID_ARGUMENT, impl_->InputName(index) + ": data is null");
  }
  bool moved = false;
  SAGE_RETURN_IF_ERROR(impl_->ReserveInput(index, shape, &moved));
  if (bytes > 0) std::memcpy(impl_->inputs[index].own.data(), data, bytes);
  return {};
}

Result<sage_tensor> Session::InputBuffer(uint32_t index, std::span<const int64_t> shape) {
  if (index >= impl_->inputs.size()) {
    return Status(SAGE_E_NOT_FOUND,
                  fmt::format("input {} was asked for, the model has {}", index, impl_->inputs.size()));
  }
  SAGE_RETURN_IF_ERROR(impl_->CheckInput(index, *impl_->TensorOf(impl_->graph->inputs[index]).dtype, shape));
  bool moved = false;
  SAGE_RETURN_IF_ERROR(impl_->ReserveInput(index, shape, &moved));
  return impl_->inputs[index].tensor;
}

Status Session::Bind(uint32_t direction, uint32_t index, const sage_tensor* tensor) {
  const bool input = direction == SAGE_INPUT;
  if (!input && direction != SAGE_OUTPUT) {
    return Status(SAGE_E_INVALID_ARGUMENT,
                  fmt::format("direction {} was given, expected SAGE_INPUT (1) or SAGE_OUTPUT (2)", direction));
  }
  const size_t count = input ? impl_->inputs.size() : impl_->outputs.size();
  if (index >= count) {
    return Status(SAGE_E_NOT_FOUND,
                  fmt::format("{} {} was given, the model has {}", input ? "input" : "output", index, count));
  }
  sage_tensor mine{};
  if (tensor != nullptr) {
    const sage_status taken = sage_take_in(&mine, sizeof mine, tensor);
    if (taken != SAGE_OK) {
      return Status(taken, "the tensor's struct_size is not set, or it has fields newer than this engine");
    }
    if (mine.rank > SAGE_MAX_RANK) {
      return Status(SAGE_E_INVALID_ARGUMENT, fmt::format("rank {} was given, at most {}", mine.rank, SAGE_MAX_RANK));
    }
    if (mine.device_type == 0) mine.device_type = SAGE_CPU;
    for (uint32_t i = 0; i < mine.rank; ++i) {
      if (mine.shape[i] < 0) {
        return Status(SAGE_E_INVALID_ARGUMENT, fmt::format("axis {} has length {}", i, mine.shape[i]));
      }
    }
    SAGE_RETURN_IF_ERROR([&] {
      const Result<int64_t> elements = ElementCount({mine.shape, mine.rank});
      return elements.ok() ? Status() : elements.status();
    }());
  }
  if (mine.data == nullptr) {  // unbinds
    impl_->dirty = true;
    if (input) {
      if (impl_->inputs[index].set) impl_->GiveUp(impl_->inputs[index].tensor);
      impl_->inputs[index].set = impl_->inputs[index].bound = false;
    } else {
      if (impl_->outputs[index].bound) impl_->GiveUp(impl_->outputs[index].caller);
      impl_->outputs[index].bound = false;
    }
    return {};
  }
  return input ? impl_->BindInput(index, mine) : impl_->BindOutput(index, mine);
}

Status Session::Run() {
  Impl& impl = *impl_;
  impl.token.cancelled.store(0, std::memory_order_relaxed);
  impl.ran = false;
  impl.accuracy_reports.clear();
  if (impl.trace.enabled()) impl.trace.Reset();
  const uint64_t before = impl.engine->host()->allocations();
  // A lent stream may still be at the last run's work, which host memory takes part in.
  Status status = impl.on_devices ? impl.AwaitDevices() : Status();
  if (status.ok() && impl.dirty) status = impl.Prepare();
  if (status.ok()) status = impl.RunNodes();
  if (!status.ok() && impl.on_devices) impl.DrainDevices();
  impl.counters.heap_allocations += impl.engine->host()->allocations() - before;
  if (!status.ok()) return status;
  ++impl.counters.runs;
  impl.ran = true;
  for (OutputState& output : impl.outputs) output.stale = false;
  return status;
}

Result<sage_tensor> Session::Output(uint32_t index) const {
  if (index >= impl_->outputs.size()) {
    return Status(SAGE_E_NOT_FOUND,
                  fmt::format("output {} was asked for, the model has {}", index, impl_->outputs.size()));
  }
  if (!impl_->ran) {
    return Status(SAGE_E_INVALID_ARGUMENT,
                  impl_->OutputName(index) + " has no contents: there was no run yet, or the last one failed");
  }
  if (impl_->outputs[index].stale) {
    return Status(SAGE_E_INVALID_ARGUMENT,
                  impl_->OutputName(index) +
                      " has no contents: its memory, or that of an input it lies in, was bound, "
                      "unbound or set anew since the last run");
  }
  return impl_->outputs[index].result;
}

Status Session::GetOutput(uint32_t index, void* data, uint64_t bytes) const {
  SAGE_ASSIGN_OR_RETURN(const sage_tensor output, Output(index));
  sage_tensor out;
  sage_tensor_init(&out, output.dtype, output.rank, output.shape, data);
  uint64_t size = support::DtypeSize(output.dtype);
  for (uint32_t i = 0; i < output.rank; ++i) size *= static_cast<uint64_t>(output.shape[i]);
  if (bytes != size) {
    return Status(SAGE_E_INVALID_ARGUMENT,
                  fmt::format("{}: {} bytes were given, it has {}", impl_->OutputName(index), bytes, size));
  }
  if (size == 0) return {};
  if (data == nullptr) return Status(SAGE_E_INVALID_ARGUMENT, impl_->OutputName(index) + ": data is null");
  if (impl_->on_devices) SAGE_RETURN_IF_ERROR(impl_->AwaitDevices());  // of a lent stream
  CopyTensor(output, out);
  return {};
}

Result<sage_tensor> Session::OutputShape(uint32_t index) {
  if (index >= impl_->outputs.size()) {
    return Status(SAGE_E_NOT_FOUND,
                  fmt::format("output {} was asked for, the model has {}", index, impl_->outputs.size()));
  }
  SAGE_RETURN_IF_ERROR(impl_->UnifySymbols(false));
  impl_->dirty = true;  // shapes no longer are those of the bound plan
  SAGE_RETURN_IF_ERROR(impl_->InferAtRun());
  const BoundTensor& shape = impl_->shapes[static_cast<size_t>(impl_->graph->outputs[index])];
  sage_tensor tensor;
  sage_tensor_init(&tensor, shape.dtype, shape.rank, shape.shape, nullptr);
  return tensor;
}

Status Session::SetStream(int32_t device_type, int32_t device_id, void* stream) {
  Impl& impl = *impl_;
  for (size_t i = 1; i < impl.domains.size(); ++i) {
    if (impl.domains[i]->type() != device_type || impl.domains[i]->id() != device_id) continue;
    impl.dirty = true;
    return impl.devices[i]->Lend(stream);
  }
  if (stream == nullptr) return {};  // takes back what was never lent
  const bool on_cpu = impl.domains.size() == 1;
  return Status(SAGE_E_UNSUPPORTED,
                on_cpu ? fmt::format("a stream of device type {}, id {} was lent; this session runs on the CPU, which "
                                     "has none",
                                     device_type, device_id)
                       : fmt::format("a stream of device type {}, id {} was lent; no loaded backend serves that device",
                                     device_type, device_id));
}

void Session::Cancel() { impl_->token.cancelled.store(1, std::memory_order_relaxed); }

Status Session::Explain(JsonWriter& out) {
  Impl& impl = *impl_;
  impl.dirty = true;  // as in OutputShape
  SAGE_RETURN_IF_ERROR(impl.UnifySymbols(false));
  SAGE_RETURN_IF_ERROR(impl.InferAtRun());
  impl.MakeKey(false);
  const GraphPlan* plan = impl.FindPlan();
  std::unique_ptr<GraphPlan> assessed;
  if (plan == nullptr) {
    Result<std::unique_ptr<GraphPlan>> made = impl.Assess();
    if (!made.ok()) {
      impl.MakeKey(true);
      made = impl.Assess();
      if (!made.ok()) return made.status();
    }
    assessed = std::move(*made);
    plan = assessed.get();
  }
  WriteGraphPlan(out, *impl.graph, *plan, impl.max_memory, impl.max_latency_ms);
  return {};
}

Status Session::WriteTrace(JsonWriter& out) const {
  const Impl& impl = *impl_;
  out.BeginObject();
  impl.trace.WriteEvents(out);
  const std::vector<Trace::Span> spans = impl.trace.Spans();
  out.Key("nodes");
  out.BeginArray();
  for (size_t i = 0; i < impl.node_runs.size(); ++i) {
    const NodeRun& run = impl.node_runs[i];
    out.BeginObject();
    out.Member("name", impl.graph->nodes[i].name);
    out.Member("backend", NodeBackend(static_cast<uint32_t>(i)));
    // As planned: algorithm and tile, too, are part of the line.
    if (run.step == NodeRun::Step::kBackend && impl.current != nullptr) {
      out.Member("problem", impl.current->nodes[i]->problem);
    }
    if (run.domain != 0) out.Member("device", impl.domains[run.domain]->name());
    const auto span = std::find_if(spans.begin(), spans.end(), [&](const Trace::Span& candidate) {
      return run.span != nullptr && candidate.name == run.span;
    });
    out.Key("ns");
    span != spans.end() && span->end_ns >= span->begin_ns ? out.Unsigned(span->end_ns - span->begin_ns) : out.Null();
    const Work work = run.step == NodeRun::Step::kBackend ? WorkOf(run.built.op) : Work{};
    out.Member("flops", work.flops);
    out.Member("bytes", work.bytes);
    out.Key("counts");
    impl.trace.WriteCounts(out, static_cast<uint32_t>(i));
    out.EndObject();
  }
  out.EndArray();
  out.Key("verify");
  out.BeginArray();
  for (const VerifyReport& report : impl.verify_reports) {
    out.BeginObject();
    out.Member("node", report.node);
    out.Member("backend", report.backend);
    out.Member("max_abs_error", report.max_abs_error);
    out.Member("rel_error", report.rel_error);
    out.Member("suspicious", report.suspicious);
    if (!report.note.empty()) out.Member("note", report.note);
    out.EndObject();
  }
  out.EndArray();
  const Counters now = counters();
  out.Key("counters");
  out.BeginObject();
  out.Member("runs", now.runs);
  out.Member("plans", now.plans);
  out.Member("replans", now.replans);
  out.Member("heap_allocations", now.heap_allocations);
  out.Member("bytes_copied", now.bytes_copied);
  out.Member("arena_bytes", now.arena_bytes);
  out.Member("workspace_bytes", now.workspace_bytes);
  out.Member("prepack_bytes", now.prepack_bytes);
  if (impl.domains.size() > 1) out.Member("device_bytes", now.device_bytes);
  if (impl.options.graph_capture) {
    out.Member("graphs_recorded", now.graphs_recorded);
    out.Member("graphs_replayed", now.graphs_replayed);
  }
  out.Member("peak_bytes", impl.engine->host()->peak_bytes());
  out.Member("dropped_spans", impl.trace.dropped());
  out.EndObject();
  out.EndObject();
  return {};
}

const std::vector<VerifyReport>& Session::verify_reports() const { return impl_->verify_reports; }
const std::vector<AccuracyReport>& Session::accuracy_reports() const { return impl_->accuracy_reports; }

Status Session::WriteAccuracyReport(JsonWriter& out) const {
  if (!impl_->options.accuracy_report) return NoAccuracyReport();
  if (!impl_->ran) {
    return Status(SAGE_E_INVALID_ARGUMENT,
                  "there is no accuracy to report: there was no run yet, or the last one failed");
  }
  WriteAccuracy(out, impl_->accuracy_reports, "this model has no ATTENTION node");
  return {};
}

const Graph& Session::graph() const { return *impl_->graph; }

const char* Session::NodeBackend(uint32_t index) const {
  if (index >= impl_->current->nodes.size()) return "";
  const PlannedNode& node = *impl_->current->nodes[index];
  if (node.reshape != ReshapeMode::kOther) return node.reshape == ReshapeMode::kView ? "view" : "engine";
  return node.chosen()->backend->name().c_str();
}

double Session::PlannedCostNs() const { return impl_->current->cost_ns; }

std::string Session::NodeDevice(uint32_t index) const {
  if (index >= impl_->current->nodes.size()) return "";
  const uint32_t domain = impl_->current->nodes[index]->domain;
  return domain == 0 ? "cpu" : impl_->domains[domain]->name();
}

const std::string& Session::FallbackReason() const { return impl_->current->fallback; }

Session::Counters Session::counters() const {
  Counters now = impl_->counters;
  now.arena_bytes = impl_->current->arena.total;
  now.workspace_bytes = impl_->current->workspace_bytes;
  now.prepack_bytes = impl_->current->prepack_bytes;
  now.device_bytes = impl_->current->device_bytes();
  return now;
}

}  // namespace sage
