// graph_round_trip.cc: one session, timed from outside.
#include "graph_round_trip.h"

#include <fmt/format.h>

#include <fstream>
#include <iterator>

#include "text_form.h"

namespace sage::bench {
namespace {

using nlohmann::ordered_json;

Result<ordered_json> Json(sage_status (*function)(sage_session*, char*, uint64_t, uint64_t*, sage_error*),
                          sage_session* session) {
  Error error;
  uint64_t needed = 0;
  SAGE_RETURN_IF_ERROR(error.Of(function(session, nullptr, 0, &needed, &error)));
  std::string text(needed, '\0');
  SAGE_RETURN_IF_ERROR(error.Of(function(session, text.data(), text.size(), &needed, &error)));
  ordered_json parsed = ordered_json::parse(text.c_str(), nullptr, false);
  if (parsed.is_discarded()) return Status(SAGE_E_INTERNAL, "the session's own JSON does not parse");
  return parsed;
}

struct Io {
  sage_session* session;
  std::vector<float> input;
  std::vector<int64_t> shape;
  std::vector<float> values;
  std::vector<int32_t> indices;

  Status Set() {
    Error error;
    return error.Of(sage_session_set_input(session, 0, SAGE_F32, static_cast<uint32_t>(shape.size()), shape.data(),
                                           input.data(), input.size() * sizeof(float), &error));
  }
  Status Run() {
    Error error;
    return error.Of(sage_session_run(session, &error));
  }
  Status Get() {
    Error error;
    SAGE_RETURN_IF_ERROR(
        error.Of(sage_session_get_output(session, 0, values.data(), values.size() * sizeof(float), &error)));
    return error.Of(sage_session_get_output(session, 1, indices.data(), indices.size() * sizeof(int32_t), &error));
  }
  Status Everything() {
    SAGE_RETURN_IF_ERROR(Set());
    SAGE_RETURN_IF_ERROR(Run());
    return Get();
  }
};

Status SizeOutputs(Io& io) {
  Error error;
  for (uint32_t index = 0; index < 2; ++index) {
    sage_dtype dtype = SAGE_F32;
    uint32_t rank = 0;
    int64_t shape[SAGE_MAX_RANK] = {};
    uint64_t bytes = 0;
    SAGE_RETURN_IF_ERROR(error.Of(sage_session_output_info(io.session, index, &dtype, &rank, shape, &bytes, &error)));
    if (dtype != (index == 0 ? SAGE_F32 : SAGE_I32))
      return Status(SAGE_E_BAD_DATA, "the model's outputs have to be f32 and i32, in that order");
    if (index == 0)
      io.values.resize(bytes / sizeof(float));
    else
      io.indices.resize(bytes / sizeof(int32_t));
  }
  return {};
}

}  // namespace

Result<ordered_json> MeasureGraph(Device& device, Engines& engines, const nlohmann::json& order) {
  const auto path = order.at("model").get<std::string>();
  std::ifstream file(path);
  const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
  SAGE_ASSIGN_OR_RETURN(const std::vector<uint8_t> bytes, ModelToBinary(text));
  SAGE_ASSIGN_OR_RETURN(sage_engine* const engine, engines.Get({}));
  Error error;
  sage_model* raw_model = nullptr;
  SAGE_RETURN_IF_ERROR(error.Of(sage_model_load_buffer(
      engine, bytes.data(), bytes.size(), order.at("folder").get<std::string>().c_str(), &raw_model, &error)));
  const ModelPtr model(raw_model);
  SAGE_ASSIGN_OR_RETURN(const OptionsPtr options, MakeOptions(order.at("options").get<Pairs>()));
  sage_session* raw = nullptr;
  SAGE_RETURN_IF_ERROR(error.Of(sage_session_create(model.get(), options.get(), &raw, &error)));
  const SessionPtr session(raw);

  Io io{raw, order.at("input").get<std::vector<float>>(), {}, {}, {}};
  io.shape = {1, static_cast<int64_t>(io.input.size())};
  SAGE_RETURN_IF_ERROR(io.Set());
  SAGE_RETURN_IF_ERROR(io.Run());
  SAGE_RETURN_IF_ERROR(SizeOutputs(io));
  const auto warmup = order.at("warmup").get<int64_t>(), samples = order.at("samples").get<int64_t>();
  std::vector<double> host;
  for (int64_t n = 0; n < warmup + samples; ++n) {
    const double begin = SteadyNow();
    SAGE_RETURN_IF_ERROR(io.Everything());
    if (n >= warmup) host.push_back(SteadyNow() - begin);
  }
  ordered_json out{{"host_ns", host}, {"values", io.values}, {"indices", io.indices}};

  SAGE_ASSIGN_OR_RETURN(const ordered_json explained, Json(sage_session_explain, raw));
  ordered_json nodes = ordered_json::object();
  for (const auto& node : explained.value("nodes", ordered_json::array()))
    nodes[node.value("name", "?")] = node.contains("chosen") && node["chosen"].is_string() ? node["chosen"] : "nobody";
  out["nodes"] = std::move(nodes);
  if (auto trace = Json(sage_session_trace, raw); trace.ok())
    out["counters"] = trace->value("counters", ordered_json());

  // What the device itself needs of it: the stream is lent, so that events stand before and behind a run.
  if (device.stream() == nullptr) {
    out["device_missing"] = "this device has no stream";
    return out;
  }
  Status lent = error.Of(sage_session_set_stream(raw, device.type(), 0, device.stream(), &error));
  if (lent.ok()) {
    auto times = device.Time([&](int64_t) { return io.Run(); }, warmup, samples);
    if (times.ok()) out["device_ns"] = *times;
    lent = times.status();
    sage_session_set_stream(raw, device.type(), 0, nullptr, &error);
  }
  if (!lent.ok()) out["device_missing"] = lent.message();
  return out;
}

}  // namespace sage::bench
