// test_policy_fields.cc: every field of the attention policy, in a model, in a node, and as an option of a session,
// changes what `explain` says is going to run; and the fields of a call do so too. A field that were read and then
// forgotten would fail here.
#include <functional>

#include "c_api.h"

using namespace sage::test;

namespace {

// One field: its JSON, its option, and what it must change in the explained node.
struct Field {
  const char* name;
  json value;          // in the file
  const char* option;  // the same wish as an option
  std::function<bool(const json& node)> visible;
};

bool ProblemHas(const json& node, const char* word) {
  return node["problem"].get<std::string>().find(word) != std::string::npos;
}

// The reason of the backend that was chosen.
std::string ChosenReason(const json& node) {
  for (const json& verdict : node["verdicts"])
    if (verdict["backend"] == node["chosen"]) return verdict["reason"];
  return "";
}

std::vector<Field> Fields(bool cpu) {
  std::vector<Field> fields = {
      {"algorithm", "MATERIALISED", "materialised",
       [](const json& node) {
         return node["algorithm"] == "materialised" && ProblemHas(node, "algorithm=materialised");
       }},
      {"flash_threshold", 63, "63", [](const json& node) { return node["algorithm"] == "flash"; }},
      {"flash_threshold", 64, "64", [](const json& node) { return node["algorithm"] == "materialised"; }},
      {"block_q", 4, "4", [](const json& node) { return node["block_q"] == 4 && ProblemHas(node, "block=4x0"); }},
      {"block_kv", 16, "16",
       [](const json& node) {
         return node["block_kv"] == 16 && ProblemHas(node, "block=0x16") && node["memory"]["keys_over_block_kv"] == 4;
       }},
      {"preset", "DEFAULT", "default",
       [](const json& node) { return node["block_q"] == 64 && node["block_kv"] == 64; }},
      {"preset", "LONG_SEQUENCE", "long_sequence",
       [](const json& node) { return node["block_q"] == 32 && node["block_kv"] == 128; }},
      {"preset", "LOW_MEMORY", "low_memory",
       [](const json& node) { return node["block_q"] == 32 && node["block_kv"] == 32; }},
      {"accuracy", "EXACT", "exact", [](const json& node) { return ProblemHas(node, "accuracy=exact"); }},
      {"accuracy", "NATIVE", "native", [](const json& node) { return ProblemHas(node, "accuracy=native"); }},
      {"accuracy", "LOSSY", "lossy", [](const json& node) { return ProblemHas(node, "accuracy=lossy"); }},
      {"use_simd", false, "false", [](const json& node) { return ProblemHas(node, "scalar"); }},
      {"deterministic", true, "true", [](const json& node) { return ProblemHas(node, "deterministic"); }},
      {"backend", "reference", "reference", [](const json& node) { return node["chosen"] == "reference"; }},
      {"backend_order", json::array({"reference"}), "reference",
       [](const json& node) {
         return node["chosen"] == "reference" &&
                node["why"].get<std::string>().find("backend order") != std::string::npos;
       }},
  };
  if (!cpu) return fields;
  // What the kernel itself then says it will do.
  const auto says = [](const char* word) {
    return [word](const json& node) {
      return node["chosen"] == "cpu" && ChosenReason(node).find(word) != std::string::npos;
    };
  };
  fields.push_back({"use_simd", false, "false", says("scalar kernels")});
  fields.push_back({"algorithm", "MATERIALISED", "materialised", says("materialised attention")});
  fields.push_back({"block_kv", 16, "16", says("by 16 keys")});
  fields.push_back({"block_q", 4, "4", says("tiles of 4 rows")});
  return fields;
}

json NodeOf(sage_engine* engine, const AttentionModel& model, const Settings& settings = {}) {
  const ApiModel loaded = MakeModel(engine, model.Json());
  const ApiSession session = MakeSession(loaded.get(), settings);
  return ExplainOf(session.get())["nodes"][0];
}

}  // namespace

TEST_CASE("N8 N14 R2 each field of the policy changes the plan: in the model, in the node, as an option") {
  const ApiEngine engine = MakeEngine();
  const bool cpu = HasBackend(engine.get(), "cpu");
  const json plain = NodeOf(engine.get(), AttentionModel());
  for (const Field& field : Fields(cpu)) {
    INFO(std::string(field.name));
    INFO(std::string(field.option));
    CHECK_FALSE(field.visible(plain));  // else the check below would prove nothing
    AttentionModel by_model, by_node, by_option;
    by_model.policy = by_node.node_policy = {{field.name, field.value}};
    const std::string sourced = std::string(field.name) == "preset" ? "block_q" : field.name;
    const bool preset = sourced != field.name;
    const json model_node = NodeOf(engine.get(), by_model), node_node = NodeOf(engine.get(), by_node),
               option_node = NodeOf(engine.get(), by_option, {{field.name, field.option}});
    CHECK(field.visible(model_node));
    CHECK(field.visible(node_node));
    CHECK(field.visible(option_node));
    CHECK(model_node["policy"][sourced]["source"] == (preset ? "model preset" : "model"));
    CHECK(node_node["policy"][sourced]["source"] == (preset ? "node preset" : "node"));
    CHECK(option_node["policy"][sourced]["source"] == "caller");
    CHECK(plain["policy"][sourced]["source"] == "default");
  }
}

TEST_CASE("N8 the node's field wins over the model's, the caller's over both, a field over its preset") {
  const ApiEngine engine = MakeEngine();
  AttentionModel model;
  model.policy = {{"block_q", 16}, {"block_kv", 16}, {"preset", "LOW_MEMORY"}, {"flash_threshold", 100}};
  model.node_policy = {{"block_q", 8}};
  const json node = NodeOf(engine.get(), model, {{"block_kv", "48"}});
  CHECK(node["block_q"] == 8);
  CHECK(node["block_kv"] == 48);
  CHECK(node["policy"]["flash_threshold"]["value"] == 100);
  CHECK(NodeOf(engine.get(), model)["block_kv"] == 16);
  for (const auto& [wished, got] : {std::pair("FLASH", "flash"), {"MATERIALISED", "materialised"}}) {
    AttentionModel both;
    both.policy = {{"algorithm", std::string(wished) == "FLASH" ? "MATERIALISED" : "FLASH"}};
    both.node_policy = {{"algorithm", wished}};
    const json chosen = NodeOf(engine.get(), both);
    CHECK(chosen["algorithm"] == got);
    CHECK(ProblemHas(chosen, (std::string("algorithm=") + got).c_str()));
  }
}

TEST_CASE("S6 S10 strict, stream_capture, max_latency_ms and max_memory: fields that refuse or warn") {
  const ApiEngine engine = MakeEngine();
  const auto explained = [&](const AttentionModel& model) {
    const ApiModel loaded = MakeModel(engine.get(), model.Json());
    return ExplainOf(MakeSession(loaded.get()).get());
  };
  const auto refusal = [&](const AttentionModel& model, sage_status status, const Settings& settings = {}) {
    const ApiModel loaded = MakeModel(engine.get(), model.Json());
    ApiSession session;
    Error error;
    CHECK(sage_session_create(loaded.get(), ApiOptions(settings).get(), session.out(), &error) == status);
    return std::string(error.message);
  };
  AttentionModel model;
  model.policy = {{"max_latency_ms", 1e-6}};
  CHECK(explained(model)["warnings"].size() == 1);
  CHECK(explained(model)["max_latency_ms"] == 1e-6);
  model.policy = {{"max_latency_ms", 1e6}};
  CHECK(explained(model)["warnings"].empty());
  model.policy = json::object(), model.node_policy = {{"max_latency_ms", 1e-6}};
  CHECK(explained(model)["warnings"][0].get<std::string>().find("node \"attn\"") != std::string::npos);

  AttentionModel bounded;
  bounded.policy = {{"max_memory", 1000}};
  CHECK(refusal(bounded, SAGE_E_OUT_OF_MEMORY).find("max_memory is 1000") != std::string::npos);
  bounded.policy = {{"max_memory", 1 << 24}};
  CHECK(explained(bounded)["max_memory_bytes"] == 1 << 24);
  CHECK(refusal(bounded, SAGE_E_OUT_OF_MEMORY, {{"max_memory", "1000"}}).find("1000") != std::string::npos);

  // No backend of the CPU records into a device graph.
  AttentionModel captured;
  captured.policy = {{"stream_capture", true}};
  CHECK(refusal(captured, SAGE_E_UNSUPPORTED).find("capture") != std::string::npos);
  CHECK(refusal(AttentionModel(), SAGE_E_UNSUPPORTED, {{"stream_capture", "true"}}).find("capture") !=
        std::string::npos);

  // A wish that only the oracle would meet: dropped aloud, or kept at its price.
  if (!HasBackend(engine.get(), "cpu")) return;
  AttentionModel wish;
  wish.node = {{"weights", "w"}};
  wish.policy = {{"algorithm", "FLASH"}};
  const json loose = explained(wish);
  CHECK(loose["nodes"][0]["chosen"] == "cpu");
  CHECK(loose["nodes"][0]["fallback"].get<std::string>().find("algorithm flash") != std::string::npos);
  CHECK(loose["warnings"].size() == 1);
  wish.policy["strict"] = true;
  const json strict = explained(wish);
  CHECK(strict["nodes"][0]["chosen"] == "reference");
  CHECK(strict["nodes"][0]["fallback"].is_null());
  CHECK(strict["nodes"][0]["policy"]["strict"]["value"] == true);
}

TEST_CASE("N8 the call's own fields: scale, causal, dropout; an unset scale is 1/sqrt(d), use_simd = false matches") {
  const ApiEngine engine = MakeEngine();
  AttentionProblem problem(2, 4, 2, 9, 70, 16);
  const auto with = [&](const std::function<void(sage_attention_attributes&)>& change, const Settings& settings = {}) {
    sage_attention_attributes kept = problem.attributes;
    change(problem.attributes);
    ApiPlan plan = problem.Plan(engine.get(), settings);
    problem.attributes = kept;
    return plan;
  };
  const auto worst = [](const std::vector<float>& a, const std::vector<float>& b) {
    float largest = 0;
    for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
    return largest;
  };
  const ApiPlan plain = with([](auto&) {});
  const std::vector<float> expected = problem.Run(plain.get());
  CHECK(ExplainOf(plain.get())["problem"] == "b2.hq4.hkv2.sq9.skv70.d16.f32");

  const ApiPlan quarter = with([](auto& a) { a.features = SAGE_ATTN_F_SCALE, a.scale = 0.25; });
  CHECK(ProblemHas(ExplainOf(quarter.get()), "scale=0.25"));
  CHECK(problem.Run(quarter.get()) == expected);  // 1/sqrt(16), to the bit
  const ApiPlan half = with([](auto& a) { a.features = SAGE_ATTN_F_SCALE, a.scale = 0.5; });
  CHECK(worst(problem.Run(half.get()), expected) > 1e-3f);

  const ApiPlan causal = with([](auto& a) { a.features = SAGE_ATTN_F_CAUSAL, a.alignment = SAGE_ALIGN_TOP_LEFT; });
  CHECK(ProblemHas(ExplainOf(causal.get()), "causal=tl"));
  const std::vector<float> masked = problem.Run(causal.get());
  for (size_t c = 0; c < 16; ++c) CHECK(masked[c] == problem.data[2][c]);  // the first query sees the first key only

  const ApiPlan scalar = with([](auto&) {}, {{"use_simd", "false"}});
  CHECK(ProblemHas(ExplainOf(scalar.get()), "scalar"));
  CHECK(worst(problem.Run(scalar.get()), expected) < 1e-5f);
  for (const char* block : {"1", "16", "33", "4096"})
    CHECK(worst(problem.Run(with([](auto&) {}, {{"block_q", block}, {"block_kv", block}}).get()), expected) < 1e-5f);

  // Dropout is training's: refused where nothing seeds it, in a call and in a file.
  problem.attributes.dropout_p = 0.1;
  ApiPlan plan;
  Error error;
  CHECK(sage_attention_plan_create(engine.get(), &problem.op, nullptr, plan.out(), &error) == SAGE_E_INVALID_ARGUMENT);
  CHECK_MESSAGE(error.Says("PHILOX"), error.message);
  AttentionModel dropping;
  dropping.node = {{"dropout_p", 0.1}};
  ApiModel model;
  CHECK(TryModel(engine.get(), dropping.Json(), &model, &error) == SAGE_E_BAD_DATA);
  CHECK_MESSAGE(error.Says("must be 0 at inference"), error.message);
}

TEST_CASE("N14 the trace of a run proves which algorithm, tile and mask ran; the results agree") {
  const ApiEngine engine = MakeEngine();
  const auto run = [&](const json& policy, const json& node = json::object()) {
    AttentionModel model;
    model.rows = 64;
    model.policy = policy, model.node = node;
    const ApiModel loaded = MakeModel(engine.get(), model.Json());
    const ApiSession session = MakeSession(loaded.get(), {{"trace", "true"}});
    std::vector<float> x(2 * 64 * 16), o(x.size());
    const int64_t shape[] = {1, 2, 64, 16};
    for (uint32_t input = 0; input < 3; ++input) {
      for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>((i * 37 + input * 11) % 101) / 50.0f - 1;
      REQUIRE(sage_session_set_input(session.get(), input, SAGE_F32, 4, shape, x.data(), x.size() * 4, nullptr) ==
              SAGE_OK);
    }
    REQUIRE(sage_session_run(session.get(), nullptr) == SAGE_OK);
    REQUIRE(sage_session_get_output(session.get(), 0, o.data(), o.size() * 4, nullptr) == SAGE_OK);
    return std::pair(TraceOf(session.get())["nodes"][0], o);
  };
  const auto apart = [](const std::vector<float>& a, const std::vector<float>& b) {
    float largest = 0;
    for (size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
    return largest;
  };
  const auto [standard, a] = run({{"algorithm", "MATERIALISED"}});
  const auto [flash, b] = run({{"algorithm", "FLASH"}, {"block_q", 16}, {"block_kv", 32}});
  CHECK(ProblemHas(standard, "algorithm=materialised"));
  CHECK(ProblemHas(flash, "algorithm=flash,block=16x32"));
  CHECK(apart(a, b) < 1e-5f);
  const json causal = {{"causal", true}, {"align", "TOP_LEFT"}};
  const auto [masked_standard, c] = run({{"algorithm", "MATERIALISED"}}, causal);
  const auto [masked_flash, d] = run({{"algorithm", "FLASH"}}, causal);
  CHECK(ProblemHas(masked_standard, "causal=tl,algorithm=materialised"));
  CHECK(ProblemHas(masked_flash, "causal=tl,algorithm=flash"));
  CHECK(apart(c, d) < 1e-5f);
  CHECK(apart(a, c) > 1e-3f);
}

TEST_CASE("S5 N14 the trace: standard at 512 keys, flash at 513, by the threshold of 512; outputs agree") {
  const ApiEngine engine = MakeEngine();
  for (const json& policy : {json{{"flash_threshold", 512}}, json{{"preset", "DEFAULT"}}})
    for (const auto& [keys, algorithm] : {std::pair<int64_t, std::string>{512, "materialised"}, {513, "flash"}}) {
      CAPTURE(keys);
      const auto run = [&, length = keys](const json& chosen, std::string* problem) {
        AttentionModel model;
        model.rows = 5, model.keys = length;
        model.policy = chosen;
        const ApiModel loaded = MakeModel(engine.get(), model.Json());
        const ApiSession session = MakeSession(loaded.get(), {{"trace", "true"}});
        for (uint32_t input = 0; input < 3; ++input) {
          const int64_t shape[] = {1, 2, input == 0 ? 5 : length, 16};
          std::vector<float> x(static_cast<size_t>(2 * shape[2] * 16));
          for (size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>((i * 37 + input * 11) % 101) / 50.0f - 1;
          REQUIRE(sage_session_set_input(session.get(), input, SAGE_F32, 4, shape, x.data(), x.size() * 4, nullptr) ==
                  SAGE_OK);
        }
        REQUIRE(sage_session_run(session.get(), nullptr) == SAGE_OK);
        std::vector<float> o(2 * 5 * 16);
        REQUIRE(sage_session_get_output(session.get(), 0, o.data(), o.size() * 4, nullptr) == SAGE_OK);
        *problem = TraceOf(session.get())["nodes"][0]["problem"];
        return o;
      };
      std::string judged, insisted;
      const std::vector<float> a = run(policy, &judged);
      const std::vector<float> b = run({{"algorithm", algorithm == "flash" ? "MATERIALISED" : "FLASH"}}, &insisted);
      CHECK_MESSAGE(judged.find("algorithm=" + algorithm) != std::string::npos, judged);
      CHECK_MESSAGE(insisted.find("algorithm=" + algorithm) == std::string::npos, insisted);
      for (size_t i = 0; i < a.size(); ++i) CHECK(a[i] == doctest::Approx(b[i]).epsilon(1e-5));
    }
}

TEST_CASE("S17 explain has each node's work, the trace its time, and both the memory of the run") {
  const ApiEngine engine = MakeEngine();
  const ApiModel model = MakeModel(engine.get(), AttentionModel().Json());
  const ApiSession session = MakeSession(model.get(), {{"trace", "true"}});
  const std::vector<float> x(2 * 64 * 16, 0.5f);
  const int64_t rows[] = {1, 2, 8, 16}, keys[] = {1, 2, 64, 16};
  for (uint32_t input = 0; input < 3; ++input)
    REQUIRE(sage_session_set_input(session.get(), input, SAGE_F32, 4, input == 0 ? rows : keys, x.data(),
                                   input == 0 ? 2 * 8 * 16 * 4 : 2 * 64 * 16 * 4, nullptr) == SAGE_OK);
  REQUIRE(sage_session_run(session.get(), nullptr) == SAGE_OK);
  const json explain = ExplainOf(session.get()), trace = TraceOf(session.get());
  CHECK(explain["nodes"][0]["flops"] == 2 * 8 * 64 * (2 * 16 + 2 * 16 + 4));
  CHECK(explain["nodes"][0]["bytes"] == (2 * 2 * 8 * 16 + 2 * 2 * 64 * 16) * 4);
  CHECK(explain["planned_bytes"].get<double>() > 0);
  CHECK(trace["nodes"][0]["name"] == "attn");
  CHECK(trace["nodes"][0]["flops"] == explain["nodes"][0]["flops"]);
  CHECK(trace["nodes"][0]["ns"].get<double>() > 0);
  CHECK(trace["traceEvents"][0]["dur"].get<double>() > 0);
  CHECK(trace["counters"]["peak_bytes"].get<double>() >= explain["nodes"][0]["memory"]["scratch_bytes"].get<double>());
  CHECK(trace["counters"]["heap_allocations"] == 0);
}
