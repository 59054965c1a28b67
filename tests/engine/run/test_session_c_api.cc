// test_session_c_api.cc: models and sessions as a binding sees them: through sage.h and libsage.so alone.
#include <doctest/doctest.h>

#include <atomic>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "sage/sage.h"
#include "schemas/model_generated.h"

namespace {

namespace fb = sage::fb;

// relu over x [n, 4], n up to 8.
std::vector<uint8_t> ReluModel() {
  flatbuffers::FlatBufferBuilder b;
  const std::vector<flatbuffers::Offset<fb::Symbol>> symbols = {fb::CreateSymbolDirect(b, "n", 8)};
  const std::vector<flatbuffers::Offset<fb::Dim>> shape = {fb::CreateDimDirect(b, 0, "n"), fb::CreateDimDirect(b, 4)};
  const std::vector<flatbuffers::Offset<fb::Tensor>> tensors = {fb::CreateTensorDirect(b, "x", fb::DType::F32, &shape)};
  const auto relu = fb::CreateUnaryDirect(b, "x", "y", fb::UnaryFunction::RELU);
  const std::vector<flatbuffers::Offset<fb::Node>> nodes = {
      fb::CreateNodeDirect(b, "relu", fb::Op::Unary, relu.Union())};
  const std::vector<flatbuffers::Offset<flatbuffers::String>> inputs = {b.CreateString("x")};
  const std::vector<flatbuffers::Offset<flatbuffers::String>> outputs = {b.CreateString("y")};
  const auto graph = fb::CreateOpGraphDirect(b, &symbols, &tensors, &nodes, &inputs, &outputs);
  const auto model =
      fb::CreateModelDirect(b, 0, "relu", nullptr, nullptr, nullptr, nullptr, 0, fb::Graph::OpGraph, graph.Union());
  b.Finish(model, "SAG1");
  return {b.GetBufferPointer(), b.GetBufferPointer() + b.GetSize()};
}

struct Handles {
  sage_error error{};
  sage_engine* engine = nullptr;
  sage_model* model = nullptr;
  sage_session* session = nullptr;

  explicit Handles(std::vector<std::pair<const char*, const char*>> settings = {}) {
    error.struct_size = sizeof error;
    sage_options* options = nullptr;
    REQUIRE(sage_options_create(&options, &error) == SAGE_OK);
    settings.insert(settings.end(),
                    {{"plugin_environment", "false"}, {"plugin_folders", "false"}, {"log_level", "error"}});
    for (const auto& [key, value] : settings) REQUIRE(sage_options_set(options, key, value, &error) == SAGE_OK);
    REQUIRE_MESSAGE(sage_engine_create(options, &engine, &error) == SAGE_OK, error.message);
    sage_options_destroy(options);
    const std::vector<uint8_t> bytes = ReluModel();
    REQUIRE_MESSAGE(sage_model_load_buffer(engine, bytes.data(), bytes.size(), nullptr, &model, &error) == SAGE_OK,
                    error.message);
    REQUIRE_MESSAGE(sage_session_create(model, nullptr, &session, &error) == SAGE_OK, error.message);
  }
  ~Handles() {
    sage_session_destroy(session);
    sage_model_destroy(model);
    sage_engine_destroy(engine);
  }
};

std::string Text(sage_status (*get)(sage_session*, char*, uint64_t, uint64_t*, sage_error*), sage_session* session) {
  uint64_t needed = 0;
  REQUIRE(get(session, nullptr, 0, &needed, nullptr) == SAGE_OK);
  std::string text(needed, '\0');
  CHECK(get(session, text.data(), needed - 1, &needed, nullptr) == SAGE_E_BUFFER_TOO_SMALL);
  REQUIRE(get(session, text.data(), text.size(), &needed, nullptr) == SAGE_OK);
  text.resize(needed - 1);
  return text;
}

}  // namespace

TEST_CASE("session C API: load, describe, run, read") {
  Handles h;
  CHECK(sage_model_kind(h.model) == SAGE_MODEL_OP_GRAPH);
  CHECK(sage_model_io_count(h.model, SAGE_INPUT) == 1);
  CHECK(sage_model_io_count(h.model, SAGE_OUTPUT) == 1);
  for (const uint32_t direction : {SAGE_INPUT, SAGE_OUTPUT}) {
    const char* name = nullptr;
    sage_dtype dtype = 0;
    uint32_t rank = 0;
    int64_t shape[SAGE_MAX_RANK];
    REQUIRE(sage_model_io_info(h.model, direction, 0, &name, &dtype, &rank, shape, &h.error) == SAGE_OK);
    CHECK(std::string(name) == (direction == SAGE_INPUT ? "x" : "y"));
    CHECK(dtype == SAGE_F32);
    CHECK(rank == 2);
    CHECK(shape[0] == -1);
    CHECK(shape[1] == 4);
    CHECK(sage_model_io_info(h.model, direction, 1, nullptr, nullptr, nullptr, nullptr, &h.error) == SAGE_E_NOT_FOUND);
    CHECK(sage_model_io_info(h.model, direction, 0, nullptr, nullptr, nullptr, nullptr, nullptr) == SAGE_OK);
  }

  const int64_t shape[] = {2, 4};
  const float x[] = {1, -1, 2, -2, 3, -3, 4, -4};
  float y[8] = {};
  CHECK(sage_session_get_output(h.session, 0, y, sizeof y, &h.error) == SAGE_E_INVALID_ARGUMENT);
  REQUIRE(sage_session_set_input(h.session, 0, SAGE_F32, 2, shape, x, sizeof x, &h.error) == SAGE_OK);
  int64_t out_shape[SAGE_MAX_RANK] = {};
  uint64_t bytes = 0;
  REQUIRE(sage_session_output_info(h.session, 0, nullptr, nullptr, out_shape, &bytes, &h.error) == SAGE_OK);
  CHECK(out_shape[0] == 2);
  CHECK(bytes == sizeof y);
  REQUIRE(sage_session_run(h.session, &h.error) == SAGE_OK);
  REQUIRE(sage_session_get_output(h.session, 0, y, sizeof y, &h.error) == SAGE_OK);
  for (int i = 0; i < 8; ++i) CHECK(y[i] == (x[i] > 0 ? x[i] : 0));
  CHECK(sage_session_get_output(h.session, 0, y, sizeof y - 4, &h.error) == SAGE_E_INVALID_ARGUMENT);
  CHECK(std::string(h.error.message) == "output 0 \"y\": 28 bytes were given, it has 32");

  CHECK(Text(sage_session_explain, h.session).find("\"chosen\":\"reference\"") != std::string::npos);
  CHECK(Text(sage_session_trace, h.session).find("\"runs\":1") != std::string::npos);
}

TEST_CASE("session C API: flat bindings") {
  Handles h;
  const int64_t in_shape[] = {2, 4}, out_shape[] = {8, 4};
  float x[8] = {-1, 2, -3, 4, -5, 6, -7, 8}, y[32] = {};
  REQUIRE(sage_session_bind_flat(h.session, SAGE_INPUT, 0, SAGE_F32, 2, in_shape, x, sizeof x, &h.error) == SAGE_OK);
  REQUIRE(sage_session_bind_flat(h.session, SAGE_OUTPUT, 0, SAGE_F32, 2, out_shape, y, sizeof y, &h.error) == SAGE_OK);
  REQUIRE_MESSAGE(sage_session_run(h.session, &h.error) == SAGE_OK, h.error.message);
  CHECK(y[1] == 2);
  x[1] = 20;  // the caller's memory, no copy
  REQUIRE(sage_session_run(h.session, &h.error) == SAGE_OK);
  CHECK(y[1] == 20);
  CHECK(sage_session_bind_flat(h.session, SAGE_INPUT, 0, SAGE_F32, 2, in_shape, x, 31, &h.error) ==
        SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_session_bind_flat(h.session, SAGE_INPUT, 0, 12345, 2, in_shape, x, 32, &h.error) ==
        SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_session_bind_flat(h.session, SAGE_INPUT, 0, SAGE_F32, 9, in_shape, x, 32, &h.error) ==
        SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_session_bind_flat(h.session, SAGE_INPUT, 0, SAGE_F32, 2, nullptr, x, 32, &h.error) ==
        SAGE_E_INVALID_ARGUMENT);
}

TEST_CASE("session C API: null everywhere is an error, never a crash") {
  Handles h;
  sage_session* session = nullptr;
  sage_model* model = nullptr;
  uint64_t needed = 0;
  CHECK(sage_model_load(nullptr, "x", &model, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_model_load(h.engine, nullptr, &model, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_model_load(h.engine, "x", nullptr, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_model_load_buffer(h.engine, nullptr, 4, nullptr, &model, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_model_load_buffer(h.engine, "abcd", 4, nullptr, nullptr, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_model_check(h.engine, nullptr, nullptr, 0, &needed, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_model_kind(nullptr) == 0);
  CHECK(sage_model_io_count(nullptr, SAGE_INPUT) == 0);
  CHECK(sage_model_io_info(nullptr, SAGE_INPUT, 0, nullptr, nullptr, nullptr, nullptr, nullptr) ==
        SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_session_create(nullptr, nullptr, &session, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_session_create(h.model, nullptr, nullptr, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_session_set_input(nullptr, 0, SAGE_F32, 0, nullptr, nullptr, 0, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_session_set_input(h.session, 0, SAGE_F32, 2, nullptr, nullptr, 0, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_session_output_info(nullptr, 0, nullptr, nullptr, nullptr, nullptr, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_session_get_output(nullptr, 0, nullptr, 0, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_session_bind(nullptr, SAGE_INPUT, 0, nullptr, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_session_bind(h.session, SAGE_INPUT, 9, nullptr, nullptr) == SAGE_E_NOT_FOUND);
  CHECK(sage_session_run(nullptr, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_session_explain(nullptr, nullptr, 0, &needed, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_session_explain(h.session, nullptr, 0, nullptr, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_session_trace(nullptr, nullptr, 0, &needed, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_session_accuracy(nullptr, nullptr, 0, &needed, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_session_accuracy(h.session, nullptr, 0, nullptr, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_session_tick(nullptr, "{}", 2, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_session_decision(nullptr, nullptr, 0, &needed, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_session_snapshot(nullptr, nullptr, 0, &needed, nullptr) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_session_restore(nullptr, nullptr, 0, nullptr) == SAGE_E_INVALID_ARGUMENT);
  sage_session_cancel(nullptr);
  sage_session_destroy(nullptr);
  sage_model_destroy(nullptr);
}

TEST_CASE("session C API: an op graph takes no ticks and no stream") {
  Handles h;
  CHECK(sage_session_tick(h.session, "{}", 2, &h.error) == SAGE_E_UNSUPPORTED);
  CHECK(std::string(h.error.message).find("use sage_session_run") != std::string::npos);
  CHECK(sage_session_restore(h.session, "{}", 2, &h.error) == SAGE_E_UNSUPPORTED);
  int stream = 0;
  CHECK(sage_session_set_stream(h.session, SAGE_CUDA, 0, &stream, &h.error) == SAGE_E_UNSUPPORTED);
  CHECK(sage_session_set_stream(h.session, SAGE_CUDA, 0, nullptr, &h.error) == SAGE_OK);
}

TEST_CASE("session C API: any order of destroying is right") {
  const int64_t shape[] = {1, 4};
  const float x[] = {1, -1, 2, -2};
  for (int order = 0; order < 6; ++order) {
    Handles h;
    const auto destroy = [&](int which) {
      if (which == 0) sage_engine_destroy(h.engine), h.engine = nullptr;
      if (which == 1) sage_model_destroy(h.model), h.model = nullptr;
      if (which == 2) sage_session_destroy(h.session), h.session = nullptr;
    };
    const int orders[6][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (const int which : orders[order]) {
      destroy(which);
      if (h.session == nullptr) continue;  // what is left works as before
      REQUIRE(sage_session_set_input(h.session, 0, SAGE_F32, 2, shape, x, sizeof x, &h.error) == SAGE_OK);
      REQUIRE(sage_session_run(h.session, &h.error) == SAGE_OK);
    }
  }
}

TEST_CASE("session C API: a second call at the same time is BUSY, cancel is not") {
  Handles h({{"plugins", SAGE_TOY_PLUGIN}, {"toy.mode", "wait"}});
  const int64_t shape[] = {1, 4};
  const float x[] = {1, -1, 2, -2};
  REQUIRE(sage_session_set_input(h.session, 0, SAGE_F32, 2, shape, x, sizeof x, &h.error) == SAGE_OK);
  std::atomic<bool> done{false};
  sage_status status = SAGE_OK;
  std::thread runner([&] {
    do status = sage_session_run(h.session, nullptr);
    while (status == SAGE_E_BUSY);  // it may itself meet the calls below
    done = true;
  });
  // The toy waits for the cancellation, so sooner or later this call meets the run.
  sage_error error{};
  error.struct_size = sizeof error;
  uint64_t needed = 0;
  sage_status seen = SAGE_OK;
  while (!done && seen != SAGE_E_BUSY) {
    seen = sage_session_trace(h.session, nullptr, 0, &needed, &error);
    std::this_thread::yield();
  }
  CHECK(seen == SAGE_E_BUSY);
  CHECK(std::strlen(error.message) > 0);
  while (!done) sage_session_cancel(h.session), std::this_thread::yield();
  runner.join();
  CHECK(status == SAGE_E_CANCELLED);
}

TEST_CASE("session C API: destroying during a run is deferred to its end") {
  Handles h({{"plugins", SAGE_TOY_PLUGIN}, {"toy.mode", "wait"}});
  struct Flags {
    std::atomic<bool> running{false}, stop{false};
  } flags;
  sage_options* options = nullptr;
  REQUIRE(sage_options_create(&options, &h.error) == SAGE_OK);
  const sage_cancel_fn poll = [](void* user) -> int32_t {
    auto* seen = static_cast<Flags*>(user);
    seen->running = true;
    return seen->stop ? 1 : 0;
  };
  REQUIRE(sage_options_set_cancel(options, poll, &flags, &h.error) == SAGE_OK);
  sage_session* session = nullptr;
  REQUIRE(sage_session_create(h.model, options, &session, &h.error) == SAGE_OK);
  sage_options_destroy(options);
  const int64_t shape[] = {1, 4};
  const float x[] = {1, -1, 2, -2};
  REQUIRE(sage_session_set_input(session, 0, SAGE_F32, 2, shape, x, sizeof x, &h.error) == SAGE_OK);
  sage_status status = SAGE_OK;
  std::thread runner([&] { status = sage_session_run(session, nullptr); });
  while (!flags.running) std::this_thread::yield();
  sage_session_destroy(session);
  flags.stop = true;
  runner.join();
  CHECK(status == SAGE_E_CANCELLED);
}
