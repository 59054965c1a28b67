// c_api.h: the installed header as a test uses it: handles that go by themselves, texts as JSON, models from JSON.
//
// Everything goes through sage/sage.h and libsage.so; only the model's bytes come from the tool's text form.
#ifndef SAGE_TESTS_SYSTEM_C_API_H_
#define SAGE_TESTS_SYSTEM_C_API_H_

#include <doctest/doctest.h>

#include <array>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "sage/sage.h"
#include "support/error_slot.h"
#include "text_form.h"

namespace sage::test {

using nlohmann::json;

using Settings = std::vector<std::pair<std::string, std::string>>;

class ApiOptions {
 public:
  explicit ApiOptions(const Settings& settings = {}) {
    REQUIRE(sage_options_create(&handle_, nullptr) == SAGE_OK);
    for (const auto& [key, value] : settings) Set(key, value);
  }
  ~ApiOptions() { sage_options_destroy(handle_); }
  ApiOptions(const ApiOptions&) = delete;
  ApiOptions& operator=(const ApiOptions&) = delete;
  void Set(const std::string& key, const std::string& value) {
    REQUIRE(sage_options_set(handle_, key.c_str(), value.c_str(), nullptr) == SAGE_OK);
  }
  sage_options* get() const { return handle_; }

 private:
  sage_options* handle_ = nullptr;
};

// A handle and its destroy.
template <class Handle, void (*Destroy)(Handle*)>
class Owned {
 public:
  Owned() = default;
  ~Owned() { Destroy(handle_); }
  Owned(Owned&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Owned& operator=(Owned&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }
  Handle* get() const { return handle_; }
  Handle** out() { return &handle_; }
  Handle* release() { return std::exchange(handle_, nullptr); }

 private:
  Handle* handle_ = nullptr;
};
using ApiEngine = Owned<sage_engine, sage_engine_destroy>;
using ApiPlan = Owned<sage_attention_plan, sage_attention_plan_destroy>;
using ApiContext = Owned<sage_attention_context, sage_attention_context_destroy>;
using ApiModel = Owned<sage_model, sage_model_destroy>;
using ApiSession = Owned<sage_session, sage_session_destroy>;

inline ApiEngine MakeEngine(const sage_options* options = nullptr) {
  ApiEngine engine;
  Error error;
  REQUIRE_MESSAGE(sage_engine_create(options, engine.out(), &error) == SAGE_OK, error.message);
  return engine;
}
inline ApiEngine MakeEngine(const Settings& settings) { return MakeEngine(ApiOptions(settings).get()); }

inline bool HasBackend(const sage_engine* engine, const std::string& name) {
  for (uint32_t i = 0; i < sage_engine_backend_count(engine); ++i)
    if (sage_engine_backend_name(engine, i) == name) return true;
  return false;
}

// A text by the (buffer, capacity, needed) protocol.
template <class Get, class Handle>
std::string TextOf(Get get, Handle* handle) {
  uint64_t needed = 0;
  Error error;
  REQUIRE_MESSAGE(get(handle, nullptr, 0, &needed, &error) == SAGE_OK, error.message);
  std::string text(needed, '\0');
  REQUIRE(get(handle, text.data(), text.size(), &needed, nullptr) == SAGE_OK);
  text.resize(needed - 1);
  return text;
}
inline json ExplainOf(sage_session* session) { return json::parse(TextOf(sage_session_explain, session)); }
inline json ExplainOf(const sage_attention_plan* plan) {
  return json::parse(TextOf(sage_attention_plan_explain, plan));
}
inline json TraceOf(sage_session* session) { return json::parse(TextOf(sage_session_trace, session)); }

// The status of a load is the caller's to judge.
inline sage_status TryModel(sage_engine* engine, const json& model, ApiModel* out, Error* error) {
  auto bytes = ModelToBinary(model.dump());
  if (!bytes.ok()) FAIL(bytes.status().message());
  return sage_model_load_buffer(engine, bytes->data(), bytes->size(), nullptr, out->out(), error);
}
inline ApiModel MakeModel(sage_engine* engine, const json& model) {
  ApiModel out;
  Error error;
  REQUIRE_MESSAGE(TryModel(engine, model, &out, &error) == SAGE_OK, error.message);
  return out;
}
inline ApiSession MakeSession(sage_model* model, const Settings& settings = {}) {
  ApiSession session;
  Error error;
  REQUIRE_MESSAGE(sage_session_create(model, ApiOptions(settings).get(), session.out(), &error) == SAGE_OK,
                  error.message);
  return session;
}

// The decision of a good tick.
inline json Tick(sage_session* session, const json& tick) {
  const std::string text = tick.dump();
  Error error;
  REQUIRE_MESSAGE(sage_session_tick(session, text.data(), text.size(), &error) == SAGE_OK, error.message);
  return json::parse(TextOf(sage_session_decision, session));
}

// attention of one node over q [b,hq,sq,d], k and v [b,hkv,skv,d], all symbols fixed: a model as a person writes it.
struct AttentionModel {
  int64_t batch = 1, heads_q = 2, heads_kv = 2, rows = 8, keys = 64, dim = 16;
  std::string dtype = "F32";
  json policy = json::object(), node_policy = json::object(), node = json::object();  // node: more members of the op

  json Json() const {
    const auto tensor = [this](const char* name, int64_t heads, int64_t length) {
      json shape = json::array();
      for (const int64_t size : {batch, heads, length, dim}) shape.push_back({{"size", size}});
      return json{{"name", name}, {"dtype", dtype}, {"shape", shape}};
    };
    json op = {{"q", "q"}, {"k", "k"}, {"v", "v"}, {"out", "o"}};
    op.update(node);
    json attn = {{"name", "attn"}, {"op_type", "Attention"}, {"op", op}};
    if (!node_policy.empty()) attn["policy"] = node_policy;
    json model = {{"graph_type", "OpGraph"},
                  {"graph",
                   {{"tensors", {tensor("q", heads_q, rows), tensor("k", heads_kv, keys), tensor("v", heads_kv, keys)}},
                    {"nodes", json::array({attn})},
                    {"inputs", {"q", "k", "v"}},
                    {"outputs", {"o"}}}}};
    if (!policy.empty()) model["policy"] = policy;
    return model;
  }
};

// f32 attention described for the one-shot API, with its memory; the fields are there to be changed.
struct AttentionProblem {
  std::array<std::vector<float>, 4> data;
  std::array<sage_tensor, 4> tensors{};
  std::array<const sage_tensor*, 4> slots{};
  sage_attention_attributes attributes{};
  sage_op op{};

  AttentionProblem(int64_t batch, int64_t heads_q, int64_t heads_kv, int64_t rows, int64_t keys, int64_t dim) {
    std::mt19937 random(17);
    for (size_t slot = 0; slot < 4; ++slot) {
      const bool of_keys = slot == 1 || slot == 2;
      const int64_t shape[] = {batch, of_keys ? heads_kv : heads_q, of_keys ? keys : rows, dim};
      data[slot].resize(static_cast<size_t>(shape[0] * shape[1] * shape[2] * shape[3]));
      for (float& value : data[slot]) value = static_cast<float>(random() % 2001) / 1000.0f - 1.0f;
      sage_tensor_init(&tensors[slot], SAGE_F32, 4, shape, data[slot].data());
      slots[slot] = &tensors[slot];
    }
    attributes.struct_size = sizeof attributes;
    op.struct_size = sizeof op;
    op.kind = SAGE_OP_ATTENTION;
    op.num_slots = 4;
    op.attributes = &attributes;
    op.slots = slots.data();
  }
  AttentionProblem(const AttentionProblem&) = delete;
  AttentionProblem& operator=(const AttentionProblem&) = delete;

  ApiPlan Plan(sage_engine* engine, const Settings& settings = {}) const {
    ApiPlan plan;
    Error error;
    REQUIRE_MESSAGE(sage_attention_plan_create(engine, &op, ApiOptions(settings).get(), plan.out(), &error) == SAGE_OK,
                    error.message);
    return plan;
  }
  // The output of one run of the plan.
  std::vector<float> Run(sage_attention_plan* plan) {
    ApiContext context;
    Error error;
    REQUIRE_MESSAGE(sage_attention_context_create(plan, context.out(), &error) == SAGE_OK, error.message);
    std::fill(data[3].begin(), data[3].end(), 77.0f);
    REQUIRE_MESSAGE(sage_attention_run(context.get(), slots.data(), 4, nullptr, &error) == SAGE_OK, error.message);
    return data[3];
  }
};

}  // namespace sage::test

#endif  // SAGE_TESTS_SYSTEM_C_API_H_
