// test_misuse_session.cc: models, sessions and tick streams in careless hands, through the installed header: sizes that
// lie, the buffer protocol, two callers at once, handles that came through fork(), handles destroyed in the middle.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <functional>
#include <limits>
#include <thread>

#include "c_api.h"

using namespace sage::test;

namespace {

constexpr const char* kTick = R"({"ts":1,"state":"WAKE","targets":[{"id":"a","salience":0.5}]})";

// A model of one UNARY node over x [n, 4].
json ReluModel(int64_t most = 8) {
  const json dims = {{{"symbol", "n"}}, {{"size", 4}}};
  return {
      {"graph_type", "OpGraph"},
      {"graph",
       {{"symbols", {{{"name", "n"}, {"max", most}}}},
        {"tensors", {{{"name", "x"}, {"dtype", "F32"}, {"shape", dims}}}},
        {"nodes", {{{"name", "relu"}, {"op_type", "Unary"}, {"op", {{"x", "x"}, {"out", "y"}, {"function", "RELU"}}}}}},
        {"inputs", {"x"}},
        {"outputs", {"y"}}}}};
}
const json kMetabolic = {{"graph_type", "MetabolicGraph"}, {"graph", json::object()}};

// A lent parallel_for that holds a run in the middle until it is told to go on.
struct Gate {
  std::atomic<bool> hold{true}, inside{false};
  static void ParallelFor(void* user, uint64_t n, uint64_t, sage_task_fn task, void* ctx) {
    auto* self = static_cast<Gate*>(user);
    self->inside = true;
    while (self->hold) std::this_thread::yield();
    task(ctx, 0, n, 0);
  }
};

// An engine whose runs stop at the gate, and a session of attention with its inputs set.
struct Held {
  Gate gate;
  ApiEngine engine;
  ApiModel model;
  ApiSession session;
  std::vector<float> data = std::vector<float>(2 * 64 * 16, 0.25f);
  Held() {
    ApiOptions options(Settings{{"plugin_folders", "false"}});
    REQUIRE(sage_options_set_parallel_for(options.get(), Gate::ParallelFor, 2, &gate, nullptr) == SAGE_OK);
    engine = MakeEngine(options.get());
    AttentionModel attention;
    attention.rows = 64;
    model = MakeModel(engine.get(), attention.Json());
    session = MakeSession(model.get());
    const int64_t shape[] = {1, 2, 64, 16};
    for (uint32_t input = 0; input < 3; ++input)
      REQUIRE(sage_session_set_input(session.get(), input, SAGE_F32, 4, shape, data.data(), data.size() * 4, nullptr) ==
              SAGE_OK);
  }
};

}  // namespace

TEST_CASE("model: files that are no model, sizes that lie, folders, devices, pipes: a status and a sentence each") {
  const ApiEngine engine = MakeEngine({{"plugin_folders", "false"}});
  Error error;
  ApiModel model;
  const auto load = [&](const std::string& path) {
    const sage_status status = sage_model_load(engine.get(), path.c_str(), model.out(), &error);
    CHECK(std::strlen(error.message) > 10);
    return status;
  };
  CHECK(load("") != SAGE_OK);
  CHECK(load("/tmp") == SAGE_E_INVALID_ARGUMENT);
  CHECK(load("/nowhere/model.fbs") == SAGE_E_NOT_FOUND);
  CHECK(error.native_code == ENOENT);
  CHECK(load("/dev/null") == SAGE_E_BAD_DATA);
  CHECK(load("/dev/zero") == SAGE_E_BAD_DATA);  // endless: read up to a model's size and no further
  CHECK(load("\xff\xfe/\x01") == SAGE_E_NOT_FOUND);
  char folder[] = "/tmp/sage-misuse-XXXXXX";
  REQUIRE(mkdtemp(folder) != nullptr);
  const std::string pipe = std::string(folder) + "/pipe.fbs";
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  CHECK(load(pipe) != SAGE_OK);  // nobody writes to it: that must not hang
  unlink(pipe.c_str());
  rmdir(folder);

  unsigned char bytes[64] = {};
  const auto buffer = [&](uint64_t size) {
    const sage_status status = sage_model_load_buffer(engine.get(), bytes, size, nullptr, model.out(), &error);
    CHECK(std::strlen(error.message) > 10);
    uint64_t needed = 0;
    CHECK(sage_model_check_buffer(engine.get(), bytes, size, nullptr, nullptr, 0, &needed, nullptr) == SAGE_OK);
    return status;
  };
  for (uint64_t size = 0; size <= sizeof bytes; ++size) REQUIRE(buffer(size) == SAGE_E_BAD_DATA);
  // Larger than any model: refused by the number, since the bytes are not there.
  for (const uint64_t size : {uint64_t{1} << 27, uint64_t{1} << 40, uint64_t{1} << 63, UINT64_MAX})
    CHECK(buffer(size) == SAGE_E_BAD_DATA);
  CHECK(error.Says("at most"));

  const ApiModel good = MakeModel(engine.get(), ReluModel());
  for (const uint32_t direction : {0u, 3u, UINT32_MAX}) {
    CHECK(sage_model_io_count(good.get(), direction) == 0);
    CHECK(sage_model_io_info(good.get(), direction, 0, nullptr, nullptr, nullptr, nullptr, &error) ==
          SAGE_E_INVALID_ARGUMENT);
  }
  CHECK(sage_model_io_info(good.get(), SAGE_INPUT, UINT32_MAX, nullptr, nullptr, nullptr, nullptr, &error) ==
        SAGE_E_NOT_FOUND);
}

TEST_CASE("session: absurd inputs, outputs and bindings are refused, and the session stays usable") {
  const ApiEngine engine = MakeEngine({{"plugin_folders", "false"}});
  const ApiModel model = MakeModel(engine.get(), ReluModel());
  const ApiSession session = MakeSession(model.get());
  Error error;
  float x[8] = {1, -1, 2, -2, 3, -3, 4, -4}, y[8] = {};
  const int64_t shape[SAGE_MAX_RANK] = {2, 4};
  const auto set = [&](uint32_t index, sage_dtype dtype, uint32_t rank, std::array<int64_t, 2> sizes, uint64_t bytes) {
    int64_t given[SAGE_MAX_RANK] = {sizes[0], sizes[1]};
    const sage_status status = sage_session_set_input(session.get(), index, dtype, rank, given, x, bytes, &error);
    CHECK((status == SAGE_OK) == (error.message[0] == '\0'));
    return status;
  };
  REQUIRE(set(0, SAGE_F32, 2, {2, 4}, 32) == SAGE_OK);
  CHECK(set(1, SAGE_F32, 2, {2, 4}, 32) == SAGE_E_NOT_FOUND);
  CHECK(set(UINT32_MAX, SAGE_F32, 2, {2, 4}, 32) == SAGE_E_NOT_FOUND);
  CHECK(set(0, 0, 2, {2, 4}, 32) == SAGE_E_INVALID_ARGUMENT);
  CHECK(set(0, SAGE_F32, 9, {2, 4}, 32) == SAGE_E_INVALID_ARGUMENT);
  CHECK(set(0, SAGE_F32, UINT32_MAX, {2, 4}, 32) == SAGE_E_INVALID_ARGUMENT);
  CHECK(set(0, SAGE_F32, 2, {-1, 4}, 32) == SAGE_E_INVALID_ARGUMENT);
  CHECK(set(0, SAGE_F32, 2, {INT64_MIN, 4}, 32) == SAGE_E_INVALID_ARGUMENT);
  CHECK(set(0, SAGE_F32, 2, {9, 4}, 144) == SAGE_E_INVALID_ARGUMENT);
  CHECK(set(0, SAGE_F32, 2, {INT64_MAX, 4}, UINT64_MAX) == SAGE_E_INVALID_ARGUMENT);
  CHECK(set(0, SAGE_F32, 2, {2, 4}, 31) == SAGE_E_INVALID_ARGUMENT);
  CHECK(set(0, SAGE_F32, 2, {2, 4}, UINT64_MAX) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_session_set_input(session.get(), 0, SAGE_F32, 2, shape, nullptr, 32, &error) == SAGE_E_INVALID_ARGUMENT);

  sage_tensor tensor;
  const auto bind = [&](uint32_t direction, const std::function<void(sage_tensor&)>& spoil) {
    sage_tensor_init(&tensor, SAGE_F32, 2, shape, direction == SAGE_INPUT ? x : y);
    spoil(tensor);
    return sage_session_bind(session.get(), direction, 0, &tensor, &error);
  };
  for (const uint32_t direction : {SAGE_INPUT, SAGE_OUTPUT}) {
    CAPTURE(direction);
    for (const auto& [what, spoil] : std::vector<std::pair<const char*, std::function<void(sage_tensor&)>>>{
             {"size 0", [](sage_tensor& t) { t.struct_size = 0; }},
             {"size 2^32-1", [](sage_tensor& t) { t.struct_size = UINT32_MAX; }},
             {"rank 9", [](sage_tensor& t) { t.rank = 9; }},
             {"rank 2^32-1", [](sage_tensor& t) { t.rank = UINT32_MAX; }},
             {"dtype 0", [](sage_tensor& t) { t.dtype = 0; }},
             {"another dtype", [](sage_tensor& t) { t.dtype = SAGE_F64; }},
             {"a device", [](sage_tensor& t) { t.device_type = SAGE_CUDA; }},
             {"no device there is", [](sage_tensor& t) { t.device_type = -7; }},
             {"flags", [](sage_tensor& t) { t.flags = UINT32_MAX; }},
             {"strides beyond memory", [](sage_tensor& t) { t.stride[0] = INT64_MAX; }},
             {"strides below memory", [](sage_tensor& t) { t.stride[0] = INT64_MIN; }}}) {
      INFO(std::string(what));
      CHECK(bind(direction, spoil) != SAGE_OK);
      CHECK(std::strlen(error.message) > 10);
    }
  }
  CHECK(bind(SAGE_OUTPUT, [](sage_tensor& t) { t.stride[0] = 0; }) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_session_bind(session.get(), 3, 0, &tensor, &error) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_session_bind(session.get(), SAGE_OUTPUT, 7, &tensor, &error) == SAGE_E_NOT_FOUND);
  // An output over its own input would be read while it is written.
  REQUIRE(bind(SAGE_INPUT, [](sage_tensor&) {}) == SAGE_OK);
  REQUIRE(bind(SAGE_OUTPUT, [&](sage_tensor& t) { t.data = x + 1; }) == SAGE_OK);
  CHECK(sage_session_run(session.get(), &error) == SAGE_E_INVALID_ARGUMENT);
  CHECK(error.Says("overlap"));
  REQUIRE(sage_session_bind(session.get(), SAGE_OUTPUT, 0, nullptr, &error) == SAGE_OK);
  REQUIRE(sage_session_run(session.get(), &error) == SAGE_OK);
  CHECK(sage_session_get_output(session.get(), 0, y, sizeof y, nullptr) == SAGE_OK);
  CHECK(y[2] == 2);
  CHECK(sage_session_get_output(session.get(), 0, nullptr, sizeof y, &error) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_session_get_output(session.get(), 0, y, UINT64_MAX, &error) == SAGE_E_INVALID_ARGUMENT);
  CHECK(sage_session_get_output(session.get(), 1, y, sizeof y, &error) == SAGE_E_NOT_FOUND);
  CHECK(sage_session_output_info(session.get(), 1, nullptr, nullptr, nullptr, nullptr, &error) == SAGE_E_NOT_FOUND);
}

TEST_CASE("ticks: nothing, junk, lengths that lie, an op graph's calls on a graph of ticks") {
  const ApiEngine engine = MakeEngine({{"plugin_folders", "false"}});
  const ApiModel model = MakeModel(engine.get(), kMetabolic);
  const ApiSession session = MakeSession(model.get());
  Error error;
  const auto tick = [&](const char* text, uint64_t length) {
    const sage_status status = sage_session_tick(session.get(), text, length, &error);
    CHECK((status == SAGE_OK) == (error.message[0] == '\0'));
    return status;
  };
  CHECK(TextOf(sage_session_decision, session.get()).empty());  // before the first
  REQUIRE(tick(kTick, std::strlen(kTick)) == SAGE_OK);
  CHECK(tick("", 0) == SAGE_E_BAD_DATA);
  CHECK(tick("{}", 2) == SAGE_E_BAD_DATA);
  CHECK(tick("\0\0\0", 3) == SAGE_E_BAD_DATA);
  CHECK(tick("\xff\xff", 2) == SAGE_E_BAD_DATA);
  for (const uint64_t lie : {uint64_t{1} << 25, uint64_t{1} << 40, UINT64_MAX})  // more than a line may have
    CHECK(tick(kTick, lie) == SAGE_E_BAD_DATA);
  CHECK(json::parse(TextOf(sage_session_decision, session.get())).contains("error"));
  const std::string deep(1 << 20, '[');
  CHECK(tick(deep.data(), deep.size()) == SAGE_E_BAD_DATA);
  const std::string later = R"({"ts":2,"state":"WAKE","targets":[]})";
  CHECK(tick(later.data(), later.size()) == SAGE_OK);

  std::string snapshot(1 << 16, '\0');
  uint64_t needed = 0;
  REQUIRE(sage_session_snapshot(session.get(), snapshot.data(), snapshot.size(), &needed, nullptr) == SAGE_OK);
  for (const uint64_t lie : {uint64_t{0}, needed - 1, needed + 1, UINT64_MAX})
    CHECK(sage_session_restore(session.get(), snapshot.data(), lie, &error) == SAGE_E_BAD_DATA);
  CHECK(sage_session_restore(session.get(), snapshot.data(), needed, &error) == SAGE_OK);

  float value = 0;
  const int64_t shape[] = {1};
  CHECK(sage_session_run(session.get(), &error) == SAGE_E_UNSUPPORTED);
  CHECK(error.Says("sage_session_tick"));
  CHECK(sage_session_get_output(session.get(), 0, &value, 4, &error) == SAGE_E_UNSUPPORTED);
  CHECK(sage_session_output_info(session.get(), 0, nullptr, nullptr, nullptr, nullptr, &error) == SAGE_E_UNSUPPORTED);
  CHECK(sage_session_bind(session.get(), SAGE_INPUT, 0, nullptr, &error) == SAGE_E_UNSUPPORTED);
  CHECK(sage_session_bind_flat(session.get(), SAGE_INPUT, 0, SAGE_F32, 1, shape, &value, 4, &error) ==
        SAGE_E_UNSUPPORTED);
  CHECK(sage_session_set_input(session.get(), 0, SAGE_F32, 1, shape, &value, 4, &error) == SAGE_E_NOT_FOUND);
}

TEST_CASE(
    "texts and bytes out: the size alone, too small, exact, too large; nothing is copied that does not fit whole") {
  const ApiEngine engine = MakeEngine({{"plugin_folders", "false"}});
  const ApiModel relu = MakeModel(engine.get(), ReluModel()), metabolic = MakeModel(engine.get(), kMetabolic);
  const Settings measured = {{"accuracy_report", "on"}};
  const ApiSession run = MakeSession(relu.get(), measured), ticks = MakeSession(metabolic.get(), measured);
  const int64_t shape[] = {1, 4};
  const float x[4] = {1, -1, 2, -2};
  REQUIRE(sage_session_set_input(run.get(), 0, SAGE_F32, 2, shape, x, sizeof x, nullptr) == SAGE_OK);
  REQUIRE(sage_session_run(run.get(), nullptr) == SAGE_OK);
  REQUIRE(sage_session_tick(ticks.get(), kTick, std::strlen(kTick), nullptr) == SAGE_OK);
  AttentionProblem problem(1, 1, 1, 2, 3, 4);
  const ApiPlan plan = problem.Plan(engine.get());
  using Get = std::function<sage_status(char*, uint64_t, uint64_t*, sage_error*)>;
  const std::vector<std::pair<const char*, Get>> all = {
      {"describe", [&](auto... a) { return sage_engine_describe(engine.get(), a...); }},
      {"plan explain", [&](auto... a) { return sage_attention_plan_explain(plan.get(), a...); }},
      {"check", [&](auto... a) { return sage_model_check(engine.get(), "/dev/null", a...); }},
      {"check buffer", [&](auto... a) { return sage_model_check_buffer(engine.get(), "abc", 3, nullptr, a...); }},
      {"explain", [&](auto... a) { return sage_session_explain(run.get(), a...); }},
      {"explain ticks", [&](auto... a) { return sage_session_explain(ticks.get(), a...); }},
      {"trace", [&](auto... a) { return sage_session_trace(run.get(), a...); }},
      {"trace ticks", [&](auto... a) { return sage_session_trace(ticks.get(), a...); }},
      {"accuracy", [&](auto... a) { return sage_session_accuracy(run.get(), a...); }},
      {"accuracy ticks", [&](auto... a) { return sage_session_accuracy(ticks.get(), a...); }},
      {"decision", [&](auto... a) { return sage_session_decision(ticks.get(), a...); }},
      {"snapshot", [&](auto... a) { return sage_session_snapshot(ticks.get(), a...); }},
  };
  for (const auto& [what, get] : all) {
    INFO(std::string(what));
    const bool text = std::string(what) != "snapshot";
    Error error;
    uint64_t needed = 0;
    REQUIRE(get(nullptr, 0, &needed, &error) == SAGE_OK);
    CHECK(needed > 1);
    uint64_t again = 0;
    CHECK(get(nullptr, UINT64_MAX, &again, &error) == SAGE_OK);  // no buffer: the capacity does not matter
    CHECK(again == needed);
    std::vector<char> room(needed + 64, '#');
    for (const uint64_t capacity : {uint64_t{0}, uint64_t{1}, needed / 2, needed - 1}) {
      again = 0;
      CHECK(get(room.data(), capacity, &again, &error) == SAGE_E_BUFFER_TOO_SMALL);
      CHECK(again == needed);
      CHECK_MESSAGE(error.Says(std::to_string(needed)), error.message);
      CHECK(std::count(room.begin(), room.end(), '#') == static_cast<int64_t>(room.size()));
    }
    for (const uint64_t capacity : {needed, needed + 64}) {
      std::fill(room.begin(), room.end(), '#');
      CHECK(get(room.data(), capacity, &again, &error) == SAGE_OK);
      CHECK(again == needed);
      for (size_t i = needed; i < room.size(); ++i) CHECK(room[i] == '#');
      if (text) CHECK(std::strlen(room.data()) + 1 == needed);
      CHECK(json::accept(room.begin(), room.begin() + static_cast<int64_t>(text ? needed - 1 : needed)));
    }
    CHECK(get(room.data(), needed, nullptr, &error) == SAGE_E_INVALID_ARGUMENT);
  }
}

TEST_CASE("while a session runs every other call on it is BUSY; cancel and the rest of the engine are not") {
  Held held;
  sage_session* const s = held.session.get();
  std::atomic<sage_status> result{-1};
  std::thread runner([&] { result = sage_session_run(s, nullptr); });
  while (!held.gate.inside) std::this_thread::yield();
  Error error;
  uint64_t needed = 0;
  const int64_t shape[] = {1, 2, 64, 16};
  const auto busy = [&](sage_status status) {
    CHECK(status == SAGE_E_BUSY);
    CHECK(error.status == SAGE_E_BUSY);
    CHECK_MESSAGE(error.Says("another call is in progress"), error.message);
  };
  busy(sage_session_run(s, &error));
  busy(sage_session_set_input(s, 0, SAGE_F32, 4, shape, held.data.data(), held.data.size() * 4, &error));
  busy(sage_session_output_info(s, 0, nullptr, nullptr, nullptr, nullptr, &error));
  busy(sage_session_get_output(s, 0, held.data.data(), held.data.size() * 4, &error));
  busy(sage_session_bind(s, SAGE_INPUT, 0, nullptr, &error));
  busy(sage_session_bind_flat(s, SAGE_INPUT, 0, SAGE_F32, 4, shape, held.data.data(), held.data.size() * 4, &error));
  busy(sage_session_set_stream(s, SAGE_CUDA, 0, nullptr, &error));
  busy(sage_session_explain(s, nullptr, 0, &needed, &error));
  busy(sage_session_trace(s, nullptr, 0, &needed, &error));
  busy(sage_session_accuracy(s, nullptr, 0, &needed, &error));
  busy(sage_session_tick(s, "{}", 2, &error));
  busy(sage_session_decision(s, nullptr, 0, &needed, &error));
  busy(sage_session_snapshot(s, nullptr, 0, &needed, &error));
  busy(sage_session_restore(s, "{}", 2, &error));
  // The parents are free-threaded: another session of the same model is made meanwhile.
  CHECK(sage_engine_describe(held.engine.get(), nullptr, 0, &needed, &error) == SAGE_OK);
  CHECK(sage_model_kind(held.model.get()) == SAGE_MODEL_OP_GRAPH);
  ApiSession other;
  CHECK(sage_session_create(held.model.get(), nullptr, other.out(), &error) == SAGE_OK);
  sage_session_cancel(s);
  held.gate.hold = false;
  runner.join();
  CHECK(result.load() == SAGE_E_CANCELLED);
  CHECK(sage_session_run(s, &error) == SAGE_OK);  // a later run is not touched
}

TEST_CASE("destroying everything while a session runs: the run ends well, in the order the caller chose") {
  for (int order = 0; order < 3; ++order) {
    Held held;
    sage_session* const session = held.session.release();
    sage_model* const model = held.model.release();
    sage_engine* const engine = held.engine.release();
    std::atomic<sage_status> result{-1};
    std::thread runner([&] { result = sage_session_run(session, nullptr); });
    while (!held.gate.inside) std::this_thread::yield();
    if (order == 0) sage_engine_destroy(engine), sage_model_destroy(model), sage_session_destroy(session);
    if (order == 1) sage_session_destroy(session), sage_model_destroy(model), sage_engine_destroy(engine);
    if (order == 2) sage_model_destroy(model), sage_session_destroy(session), sage_engine_destroy(engine);
    held.gate.hold = false;
    runner.join();
    CHECK(result.load() == SAGE_OK);
  }
}

TEST_CASE("after fork every call on a parent's handle is FORKED and destroying one is harmless; new ones work") {
  const ApiEngine engine = MakeEngine();  // with its threads
  const ApiModel relu = MakeModel(engine.get(), ReluModel()), metabolic = MakeModel(engine.get(), kMetabolic);
  const ApiSession run = MakeSession(relu.get()), ticks = MakeSession(metabolic.get());
  AttentionProblem problem(1, 2, 2, 64, 64, 16);
  const ApiPlan plan = problem.Plan(engine.get());
  ApiContext context;
  REQUIRE(sage_attention_context_create(plan.get(), context.out(), nullptr) == SAGE_OK);
  REQUIRE(sage_attention_run(context.get(), problem.slots.data(), 4, nullptr, nullptr) == SAGE_OK);
  const json relu_text = ReluModel();
  const auto bytes = sage::ModelToBinary(relu_text.dump());
  REQUIRE(bytes.ok());
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    alarm(60);  // a hang is a failure
    int wrong = 0, call = 0;
    uint64_t needed = 0;
    const int64_t shape[] = {1, 4};
    float x[4] = {1, -1, 2, -2};
    const auto forked = [&](sage_status status) {
      ++call;
      if (status != SAGE_E_FORKED && wrong == 0) wrong = call;
    };
    sage_session* session = nullptr;
    sage_model* model = nullptr;
    sage_attention_context* fresh = nullptr;
    forked(sage_engine_load_plugin(engine.get(), "/x", nullptr));
    forked(sage_model_load(engine.get(), "/x", &model, nullptr));
    forked(sage_model_check(engine.get(), "/x", nullptr, 0, &needed, nullptr));
    forked(sage_model_io_info(relu.get(), SAGE_INPUT, 0, nullptr, nullptr, nullptr, nullptr, nullptr));
    forked(sage_session_create(relu.get(), nullptr, &session, nullptr));
    forked(sage_session_set_input(run.get(), 0, SAGE_F32, 2, shape, x, sizeof x, nullptr));
    forked(sage_session_run(run.get(), nullptr));
    forked(sage_session_output_info(run.get(), 0, nullptr, nullptr, nullptr, nullptr, nullptr));
    forked(sage_session_get_output(run.get(), 0, x, sizeof x, nullptr));
    forked(sage_session_bind(run.get(), SAGE_INPUT, 0, nullptr, nullptr));
    forked(sage_session_bind_flat(run.get(), SAGE_INPUT, 0, SAGE_F32, 2, shape, x, sizeof x, nullptr));
    forked(sage_session_set_stream(run.get(), SAGE_CUDA, 0, nullptr, nullptr));
    forked(sage_session_explain(run.get(), nullptr, 0, &needed, nullptr));
    forked(sage_session_trace(run.get(), nullptr, 0, &needed, nullptr));
    forked(sage_session_accuracy(run.get(), nullptr, 0, &needed, nullptr));
    forked(sage_session_tick(ticks.get(), kTick, std::strlen(kTick), nullptr));
    forked(sage_session_decision(ticks.get(), nullptr, 0, &needed, nullptr));
    forked(sage_session_snapshot(ticks.get(), nullptr, 0, &needed, nullptr));
    forked(sage_session_restore(ticks.get(), "{}", 2, nullptr));
    forked(sage_attention_plan_explain(plan.get(), nullptr, 0, &needed, nullptr));
    forked(sage_attention_context_create(plan.get(), &fresh, nullptr));
    forked(sage_attention_run(context.get(), problem.slots.data(), 4, nullptr, nullptr));
    forked(sage_attention(engine.get(), SAGE_F32, 0, 1, 1, 1, 1, 1, 1, 1, x, x, x, x, 0, 0, nullptr));
    if (sage_model_kind(relu.get()) != 0 || sage_model_io_count(relu.get(), SAGE_INPUT) != 0) wrong = 100;
    sage_session_cancel(run.get());
    sage_attention_cancel(context.get());
    sage_session_destroy(run.get());
    sage_session_destroy(ticks.get());
    sage_attention_context_destroy(context.get());
    sage_attention_plan_destroy(plan.get());
    sage_model_destroy(relu.get());
    sage_model_destroy(metabolic.get());
    sage_engine_destroy(engine.get());
    sage_engine* mine = nullptr;
    if (sage_engine_create(nullptr, &mine, nullptr) != SAGE_OK) _exit(101);
    if (sage_model_load_buffer(mine, bytes->data(), bytes->size(), nullptr, &model, nullptr) != SAGE_OK) _exit(102);
    if (sage_session_create(model, nullptr, &session, nullptr) != SAGE_OK) _exit(103);
    if (sage_session_set_input(session, 0, SAGE_F32, 2, shape, x, sizeof x, nullptr) != SAGE_OK) _exit(104);
    if (sage_session_run(session, nullptr) != SAGE_OK) _exit(105);
    if (sage_session_get_output(session, 0, x, sizeof x, nullptr) != SAGE_OK || x[1] != 0) _exit(106);
    sage_session_destroy(session);
    sage_model_destroy(model);
    sage_engine_destroy(mine);
    _exit(wrong);
  }
  int status = 0;
  waitpid(child, &status, 0);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);  // else the number of the call, see above
  CHECK(sage_session_tick(ticks.get(), kTick, std::strlen(kTick), nullptr) == SAGE_OK);
  CHECK(sage_attention_run(context.get(), problem.slots.data(), 4, nullptr, nullptr) == SAGE_OK);
}

TEST_CASE("strings that a handle gave live as long as the handle") {
  const ApiEngine engine = MakeEngine();
  const ApiModel model = MakeModel(engine.get(), ReluModel());
  AttentionProblem problem(1, 1, 1, 2, 3, 4);
  const ApiPlan plan = problem.Plan(engine.get());
  const char *backend = sage_attention_plan_backend(plan.get()), *first = sage_engine_backend_name(engine.get(), 0);
  const char* name = nullptr;
  REQUIRE(sage_model_io_info(model.get(), SAGE_OUTPUT, 0, &name, nullptr, nullptr, nullptr, nullptr) == SAGE_OK);
  const std::string kept[] = {backend, first, name};
  for (int i = 0; i < 50; ++i) {
    (void)MakeModel(engine.get(), ReluModel(4 + i));
    (void)problem.Plan(engine.get());
  }
  CHECK(kept[0] == backend);
  CHECK(kept[1] == first);
  CHECK(kept[2] == name);
}
