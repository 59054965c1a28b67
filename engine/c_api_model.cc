// c_api_model.cc: the public functions of models, sessions and tick streams: arguments checked, handles entered, work
// handed on. The rest of sage.h is in c_api.cc and c_api_attention.cc.
#include <cstring>
#include <span>

#include "fmt/format.h"
#include "handles.h"
#include "model/shapes.h"
#include "model/verify.h"
#include "sage/support/check_op.h"

using sage::Border;
using sage::ExclusiveBorder;
using sage::JsonWriter;
using sage::Model;
using sage::NullArgument;
using sage::Result;
using sage::Session;
using sage::SessionOptions;
using sage::SharedBorder;
using sage::Status;

namespace {

// sage.h's E_UNSUPPORTED for the wrong kind of model.
Status NotAnOpGraph(const char* function) {
  return Status(
      SAGE_E_UNSUPPORTED,
      fmt::format("{}: this is an expert, metabolic or fusion graph, whose tensors are its own; give it ticks by "
                  "sage_session_tick",
                  function));
}

Status NotATickGraph(const char* function) {
  return Status(SAGE_E_UNSUPPORTED,
                fmt::format("{}: this model is an op graph; it takes no ticks, use sage_session_run", function));
}

Result<sage::ModelOptions> WeightsOf(const sage::Engine& engine) {
  sage::ModelOptions options;
  SAGE_ASSIGN_OR_RETURN(options.copy_weights, sage::BoolOption(engine.options(), "copy_weights", false));
  return options;
}

// {"valid", "errors": [{"path", "message"}]}
Status CopyErrors(const char* function, const std::vector<sage::ModelError>& errors, char* buffer, uint64_t capacity,
                  uint64_t* needed) {
  JsonWriter out;
  out.BeginObject();
  out.Member("valid", errors.empty());
  out.Key("errors");
  out.BeginArray();
  for (const sage::ModelError& error : errors) {
    out.BeginObject();
    out.Member("path", error.path);
    out.Member("message", error.message);
    out.EndObject();
  }
  out.EndArray();
  out.EndObject();
  return sage::CopyText(function, out.text(), buffer, capacity, needed);
}

Result<std::span<const int64_t>> ShapeOf(const char* function, uint32_t rank, const int64_t* shape) {
  if (rank > SAGE_MAX_RANK) {
    return Status(SAGE_E_INVALID_ARGUMENT,
                  fmt::format("{}: rank {} was given, at most {}", function, rank, SAGE_MAX_RANK));
  }
  if (rank > 0 && shape == nullptr) return NullArgument(function, "shape");
  return std::span<const int64_t>(shape, rank);
}

// What a model's input or output is called and how it is declared; an op graph's from its tensors.
const sage::GraphTensor* IoTensor(const Model& model, uint32_t direction, uint32_t index) {
  const auto* graph = std::get_if<std::shared_ptr<const sage::Graph>>(&model.content());
  if (graph == nullptr) return nullptr;
  const std::vector<int32_t>& list = direction == SAGE_INPUT ? (*graph)->inputs : (*graph)->outputs;
  return index < list.size() ? &(*graph)->tensors[static_cast<size_t>(list[index])] : nullptr;
}

// The expert graph has one ordinary input, the table of experts; nothing else of the SAGE graphs is a tensor outside.
constexpr uint32_t kExpertInputs = 1;

Status ModelIoInfo(const Model& model, uint32_t direction, uint32_t index, const char** name, sage_dtype* dtype,
                   uint32_t* rank, int64_t* shape) {
  if (direction != SAGE_INPUT && direction != SAGE_OUTPUT) {
    return Status(SAGE_E_INVALID_ARGUMENT,
                  fmt::format("direction {} was given, expected SAGE_INPUT (1) or SAGE_OUTPUT (2)", direction));
  }
  if (const auto* expert = std::get_if<sage::ExpertParams>(&model.content());
      expert != nullptr && direction == SAGE_INPUT && index < kExpertInputs) {
    if (name != nullptr) *name = "experts";
    if (dtype != nullptr) *dtype = expert->attention.dtype;
    if (rank != nullptr) *rank = 2;
    if (shape != nullptr) {
      std::memset(shape, 0, SAGE_MAX_RANK * sizeof *shape);
      shape[0] = -1, shape[1] = expert->attention.d_model;
    }
    return {};
  }
  const sage::GraphTensor* tensor = IoTensor(model, direction, index);
  if (tensor == nullptr) {
    return Status(SAGE_E_NOT_FOUND, fmt::format("{} {} was asked for, this model has fewer",
                                                direction == SAGE_INPUT ? "input" : "output", index));
  }
  if (name != nullptr) *name = tensor->name.c_str();
  if (tensor->dtype.has_value() && tensor->shape.has_value()) {
    if (dtype != nullptr) *dtype = *tensor->dtype;
    if (rank != nullptr) *rank = static_cast<uint32_t>(tensor->shape->size());
    if (shape != nullptr) {
      std::memset(shape, 0, SAGE_MAX_RANK * sizeof *shape);
      for (size_t i = 0; i < tensor->shape->size(); ++i) {
        const sage::Dim& dim = (*tensor->shape)[i];
        shape[i] = dim.symbol == sage::kNone ? dim.size : -1;
      }
    }
    return {};
  }
  // A tensor nobody declared: what the nodes make of it, at the maxima; an axis that follows a symbol is any length.
  const sage::Graph& graph = *std::get<std::shared_ptr<const sage::Graph>>(model.content());
  std::vector<int64_t> maxima;
  for (const sage::Symbol& symbol : graph.symbols) maxima.push_back(symbol.max);
  std::vector<sage::BoundTensor> bound;
  std::vector<sage::ModelError> errors;
  if (!sage::InferShapes(graph, maxima, &bound, &errors)) return Status(SAGE_E_BAD_DATA, sage::ErrorText(errors, 3));
  const sage::BoundTensor& found = bound[static_cast<size_t>(tensor - graph.tensors.data())];
  if (dtype != nullptr) *dtype = found.dtype;
  if (rank != nullptr) *rank = found.rank;
  if (shape != nullptr) {
    std::memset(shape, 0, SAGE_MAX_RANK * sizeof *shape);
    for (uint32_t i = 0; i < found.rank; ++i) shape[i] = found.dim_symbols[i] != 0 ? -1 : found.shape[i];
  }
  return {};
}

Status MakeSession(sage_model* model, const sage_options* options, sage_session** out) {
  SAGE_ASSIGN_OR_RETURN(const SessionOptions session_options,
                        SessionOptions::From(sage::OptionsOf(options), *model->engine));
  auto handle = std::make_unique<sage_session>();
  handle->engine = model->engine;
  handle->model = model->model;
  if (const auto* graph = std::get_if<std::shared_ptr<const sage::Graph>>(&model->model->content()); graph != nullptr) {
    SAGE_ASSIGN_OR_RETURN(handle->session, Session::Create(model->engine, *graph, session_options));
  } else {
    SAGE_ASSIGN_OR_RETURN(handle->program, sage::Program::Create(model->engine, model->model, session_options));
  }
  *out = handle.release();
  return {};
}

}  // namespace

// ---- model ----------------------------------------------------------------------------------------------------------

sage_status sage_model_load(sage_engine* engine, const char* path, sage_model** out, sage_error* err) {
  if (out != nullptr) *out = nullptr;
  return SharedBorder("sage_model_load", "engine", engine, err, [&]() -> Status {
    if (path == nullptr) return NullArgument("sage_model_load", "path");
    if (out == nullptr) return NullArgument("sage_model_load", "out");
    SAGE_ASSIGN_OR_RETURN(const sage::ModelOptions options, WeightsOf(*engine->engine));
    SAGE_ASSIGN_OR_RETURN(auto model, Model::Load(path, options));
    auto handle = std::make_unique<sage_model>();
    handle->engine = engine->engine;
    handle->model = std::move(model);
    *out = handle.release();
    return {};
  });
}

sage_status sage_model_load_buffer(sage_engine* engine, const void* bytes, uint64_t size, const char* weights_folder,
                                   sage_model** out, sage_error* err) {
  if (out != nullptr) *out = nullptr;
  return SharedBorder("sage_model_load_buffer", "engine", engine, err, [&]() -> Status {
    if (bytes == nullptr) return NullArgument("sage_model_load_buffer", "bytes");
    if (out == nullptr) return NullArgument("sage_model_load_buffer", "out");
    SAGE_ASSIGN_OR_RETURN(const sage::ModelOptions options, WeightsOf(*engine->engine));
    SAGE_ASSIGN_OR_RETURN(auto model, Model::LoadBuffer({static_cast<const uint8_t*>(bytes), size},
                                                        weights_folder == nullptr ? "" : weights_folder, options));
    auto handle = std::make_unique<sage_model>();
    handle->engine = engine->engine;
    handle->model = std::move(model);
    *out = handle.release();
    return {};
  });
}

void sage_model_destroy(sage_model* model) { sage::DestroyHandle(model); }

sage_status sage_model_check(sage_engine* engine, const char* path, char* buffer, uint64_t capacity, uint64_t* needed,
                             sage_error* err) {
  return SharedBorder("sage_model_check", "engine", engine, err, [&]() -> Status {
    if (path == nullptr) return NullArgument("sage_model_check", "path");
    SAGE_ASSIGN_OR_RETURN(const sage::ModelOptions options, WeightsOf(*engine->engine));
    SAGE_ASSIGN_OR_RETURN(const std::vector<sage::ModelError> errors, Model::Check(path, options));
    return CopyErrors("sage_model_check", errors, buffer, capacity, needed);
  });
}

sage_status sage_model_check_buffer(sage_engine* engine, const void* bytes, uint64_t size, const char* weights_folder,
                                    char* buffer, uint64_t capacity, uint64_t* needed, sage_error* err) {
  return SharedBorder("sage_model_check_buffer", "engine", engine, err, [&]() -> Status {
    if (bytes == nullptr) return NullArgument("sage_model_check_buffer", "bytes");
    SAGE_ASSIGN_OR_RETURN(const sage::ModelOptions options, WeightsOf(*engine->engine));
    const std::vector<sage::ModelError> errors = Model::CheckBuffer(
        {static_cast<const uint8_t*>(bytes), size}, weights_folder == nullptr ? "" : weights_folder, options);
    return CopyErrors("sage_model_check_buffer", errors, buffer, capacity, needed);
  });
}

uint32_t sage_model_kind(const sage_model* model) {
  if (model == nullptr || !model->owner().SameProcess()) return 0;
  const sage::SharedCall<const sage_model> call(model);
  return model->model->kind();
}

uint32_t sage_model_io_count(const sage_model* model, uint32_t direction) {
  if (model == nullptr || !model->owner().SameProcess()) return 0;
  const sage::SharedCall<const sage_model> call(model);
  if (const auto* graph = std::get_if<std::shared_ptr<const sage::Graph>>(&model->model->content()); graph != nullptr) {
    if (direction == SAGE_INPUT) return static_cast<uint32_t>((*graph)->inputs.size());
    return direction == SAGE_OUTPUT ? static_cast<uint32_t>((*graph)->outputs.size()) : 0;
  }
  return direction == SAGE_INPUT && model->model->kind() == SAGE_MODEL_EXPERT ? kExpertInputs : 0;
}

sage_status sage_model_io_info(const sage_model* model, uint32_t direction, uint32_t index, const char** name,
                               sage_dtype* dtype, uint32_t* rank, int64_t* shape, sage_error* err) {
  return SharedBorder("sage_model_io_info", "model", model, err,
                      [&] { return ModelIoInfo(*model->model, direction, index, name, dtype, rank, shape); });
}

// ---- session --------------------------------------------------------------------------------------------------------

sage_status sage_session_create(sage_model* model, const sage_options* options, sage_session** out, sage_error* err) {
  if (out != nullptr) *out = nullptr;
  return SharedBorder("sage_session_create", "model", model, err, [&]() -> Status {
    if (out == nullptr) return NullArgument("sage_session_create", "out");
    return MakeSession(model, options, out);
  });
}

void sage_session_destroy(sage_session* session) { sage::DestroyHandle(session); }

sage_status sage_session_set_input(sage_session* session, uint32_t index, sage_dtype dtype, uint32_t rank,
                                   const int64_t* shape, const void* data, uint64_t bytes, sage_error* err) {
  return ExclusiveBorder("sage_session_set_input", "session", session, err, [&]() -> Status {
    SAGE_ASSIGN_OR_RETURN(const auto sizes, ShapeOf("sage_session_set_input", rank, shape));
    return session->session != nullptr ? session->session->SetInput(index, dtype, sizes, data, bytes)
                                       : session->program->SetInput(index, dtype, sizes, data, bytes);
  });
}

sage_status sage_session_output_info(const sage_session* session, uint32_t index, sage_dtype* dtype, uint32_t* rank,
                                     int64_t* shape, uint64_t* bytes, sage_error* err) {
  return ExclusiveBorder("sage_session_output_info", "session", session, err, [&]() -> Status {
    if (session->session == nullptr) return NotAnOpGraph("sage_session_output_info");
    // Of the last run; before it, of the inputs now set.
    Result<sage_tensor> output = session->session->Output(index);
    if (!output.ok()) output = session->session->OutputShape(index);
    if (!output.ok()) return output.status();
    if (dtype != nullptr) *dtype = output->dtype;
    if (rank != nullptr) *rank = output->rank;
    uint64_t total = sage::support::DtypeSize(output->dtype);
    for (uint32_t i = 0; i < output->rank; ++i) total *= static_cast<uint64_t>(output->shape[i]);
    if (shape != nullptr) std::memcpy(shape, output->shape, sizeof output->shape);
    if (bytes != nullptr) *bytes = total;
    return {};
  });
}

sage_status sage_session_get_output(const sage_session* session, uint32_t index, void* data, uint64_t bytes,
                                    sage_error* err) {
  return ExclusiveBorder("sage_session_get_output", "session", session, err, [&]() -> Status {
    if (session->session == nullptr) return NotAnOpGraph("sage_session_get_output");
    return session->session->GetOutput(index, data, bytes);
  });
}

sage_status sage_session_bind(sage_session* session, uint32_t direction, uint32_t index, const sage_tensor* tensor,
                              sage_error* err) {
  return ExclusiveBorder("sage_session_bind", "session", session, err, [&]() -> Status {
    if (session->session == nullptr) return NotAnOpGraph("sage_session_bind");
    return session->session->Bind(direction, index, tensor);
  });
}

sage_status sage_session_bind_flat(sage_session* session, uint32_t direction, uint32_t index, sage_dtype dtype,
                                   uint32_t rank, const int64_t* shape, void* data, uint64_t bytes, sage_error* err) {
  return ExclusiveBorder("sage_session_bind_flat", "session", session, err, [&]() -> Status {
    if (session->session == nullptr) return NotAnOpGraph("sage_session_bind_flat");
    if (data == nullptr) return session->session->Bind(direction, index, nullptr);
    SAGE_ASSIGN_OR_RETURN(const auto sizes, ShapeOf("sage_session_bind_flat", rank, shape));
    SAGE_ASSIGN_OR_RETURN(const int64_t count, sage::ElementCount(sizes));
    uint64_t wanted = 0;
    if (sage::support::DtypeSize(dtype) == 0 ||
        __builtin_mul_overflow(static_cast<uint64_t>(count), sage::support::DtypeSize(dtype), &wanted) ||
        wanted != bytes) {
      return Status(SAGE_E_INVALID_ARGUMENT,
                    fmt::format("{} bytes were given for {} elements of {}; they must agree exactly", bytes, count,
                                sage::support::DtypeName(dtype)));
    }
    sage_tensor tensor;
    sage_tensor_init(&tensor, dtype, rank, sizes.data(), data);
    return session->session->Bind(direction, index, &tensor);
  });
}

sage_status sage_session_set_stream(sage_session* session, int32_t device_type, int32_t device_id, void* stream,
                                    sage_error* err) {
  return ExclusiveBorder("sage_session_set_stream", "session", session, err, [&]() -> Status {
    if (session->session != nullptr) return session->session->SetStream(device_type, device_id, stream);
    if (stream == nullptr) return {};  // takes back what was never lent
    return Status(
        SAGE_E_UNSUPPORTED,
        fmt::format("a stream of device type {}, id {} was lent; a tick graph's results are read by the engine itself, "
                    "which waits for them",
                    device_type, device_id));
  });
}

sage_status sage_session_run(sage_session* session, sage_error* err) {
  return ExclusiveBorder("sage_session_run", "session", session, err, [&]() -> Status {
    if (session->session == nullptr) return NotAnOpGraph("sage_session_run");
    return session->session->Run();
  });
}

void sage_session_cancel(sage_session* session) {
  if (session == nullptr || !session->owner().SameProcess()) return;
  sage::SharedCall<sage_session> call(session);
  session->session != nullptr ? session->session->Cancel() : session->program->Cancel();
}

sage_status sage_session_explain(sage_session* session, char* buffer, uint64_t capacity, uint64_t* needed,
                                 sage_error* err) {
  return ExclusiveBorder("sage_session_explain", "session", session, err, [&]() -> Status {
    JsonWriter out;
    SAGE_RETURN_IF_ERROR(session->session != nullptr ? session->session->Explain(out) : session->program->Explain(out));
    return sage::CopyText("sage_session_explain", out.text(), buffer, capacity, needed);
  });
}

sage_status sage_session_trace(sage_session* session, char* buffer, uint64_t capacity, uint64_t* needed,
                               sage_error* err) {
  return ExclusiveBorder("sage_session_trace", "session", session, err, [&]() -> Status {
    JsonWriter out;
    SAGE_RETURN_IF_ERROR(session->session != nullptr ? session->session->WriteTrace(out)
                                                     : session->program->WriteTrace(out));
    return sage::CopyText("sage_session_trace", out.text(), buffer, capacity, needed);
  });
}

sage_status sage_session_accuracy(sage_session* session, char* buffer, uint64_t capacity, uint64_t* needed,
                                  sage_error* err) {
  return ExclusiveBorder("sage_session_accuracy", "session", session, err, [&]() -> Status {
    JsonWriter out;
    SAGE_RETURN_IF_ERROR(session->session != nullptr ? session->session->WriteAccuracyReport(out)
                                                     : session->program->WriteAccuracyReport(out));
    return sage::CopyText("sage_session_accuracy", out.text(), buffer, capacity, needed);
  });
}

// ---- tick streams ---------------------------------------------------------------------------------------------------

sage_status sage_session_tick(sage_session* session, const char* json, uint64_t length, sage_error* err) {
  return ExclusiveBorder("sage_session_tick", "session", session, err, [&]() -> Status {
    if (session->program == nullptr) return NotATickGraph("sage_session_tick");
    if (json == nullptr) return NullArgument("sage_session_tick", "json");
    return session->program->Tick({json, length});
  });
}

sage_status sage_session_decision(sage_session* session, char* buffer, uint64_t capacity, uint64_t* needed,
                                  sage_error* err) {
  return ExclusiveBorder("sage_session_decision", "session", session, err, [&]() -> Status {
    if (session->program == nullptr) return NotATickGraph("sage_session_decision");
    return sage::CopyText("sage_session_decision", session->program->Decision(), buffer, capacity, needed);
  });
}

sage_status sage_session_snapshot(sage_session* session, void* buffer, uint64_t capacity, uint64_t* needed,
                                  sage_error* err) {
  return ExclusiveBorder("sage_session_snapshot", "session", session, err, [&]() -> Status {
    if (session->program == nullptr) return NotATickGraph("sage_session_snapshot");
    std::string bytes;
    SAGE_RETURN_IF_ERROR(session->program->Snapshot(&bytes));
    return sage::CopyBytes("sage_session_snapshot", bytes, buffer, capacity, needed);
  });
}

sage_status sage_session_restore(sage_session* session, const void* bytes, uint64_t size, sage_error* err) {
  return ExclusiveBorder("sage_session_restore", "session", session, err, [&]() -> Status {
    if (session->program == nullptr) return NotATickGraph("sage_session_restore");
    if (bytes == nullptr) return NullArgument("sage_session_restore", "bytes");
    return session->program->Restore({static_cast<const char*>(bytes), size});
  });
}
