// test_session_policy.cc: what a policy changes, what explain and trace say of it, and what a faulty backend meets.
#include <doctest/doctest.h>

#include <atomic>
#include <cmath>
#include <thread>
#include <utility>

#include "graph_builder.h"
#include "run/verify_node.h"

using namespace sage;
using namespace sage::test;

namespace {

Result<std::unique_ptr<Session>> Make(const GraphBuilder& builder, const SessionOptions& options = {},
                                      std::shared_ptr<Engine> engine = PlainEngine()) {
  return Session::Create(std::move(engine), builder.Share(), options);
}

struct Json {
  JsonWriter writer;
  JsonReader reader;
  const JsonNode* Node(const char* member, size_t index) const {
    const JsonNode* list = reader.Find(reader.root(), member);
    if (list == nullptr || list->type != JsonType::kArray || index >= list->size) return nullptr;
    uint32_t at = reader.IndexOf(*list) + 1;
    for (size_t i = 0; i < index; ++i) at = reader.at(at).next;
    return &reader.at(at);
  }
  std::string Text(const JsonNode* object, const char* key) const {
    const JsonNode* value = object == nullptr ? nullptr : reader.Find(*object, key);
    return value == nullptr || value->type != JsonType::kString ? "" : std::string(reader.Text(*value));
  }
  double Number(const JsonNode* object, const char* key) const {
    const JsonNode* value = object == nullptr ? nullptr : reader.Find(*object, key);
    return value == nullptr || value->type != JsonType::kNumber ? -1 : value->number;
  }
};

std::unique_ptr<Json> Explain(Session& session) {
  auto json = std::make_unique<Json>();
  const Status status = session.Explain(json->writer);
  REQUIRE_MESSAGE(status.ok(), status.message());
  REQUIRE(json->reader.Parse(json->writer.text()).ok());
  return json;
}

std::unique_ptr<Json> TraceOf(const Session& session) {
  auto json = std::make_unique<Json>();
  REQUIRE(session.WriteTrace(json->writer).ok());
  const Status status = json->reader.Parse(json->writer.text());
  REQUIRE_MESSAGE(status.ok(), status.message());
  return json;
}

struct Attention {
  GraphBuilder g;
  explicit Attention(int64_t max_keys = 2048) {
    const Dim keys = g.Symbol("keys", max_keys);
    const int32_t q = g.Input("q", SAGE_F32, {Fixed(1), Fixed(2), Fixed(3), Fixed(8)});
    const int32_t k = g.Input("k", SAGE_F32, {Fixed(1), Fixed(2), keys, Fixed(8)});
    const int32_t v = g.Input("v", SAGE_F32, {Fixed(1), Fixed(2), keys, Fixed(8)});
    g.Output(g.Attention("attn", q, k, v));
  }
  static Status SetAll(Session& session, int64_t keys) {
    SAGE_RETURN_IF_ERROR(Set(session, 0, {1, 2, 3, 8}, Random(48, 1)));
    SAGE_RETURN_IF_ERROR(Set(session, 1, {1, 2, keys, 8}, Random(size_t(keys) * 16, 2)));
    return Set(session, 2, {1, 2, keys, 8}, Random(size_t(keys) * 16, 3));
  }
};

GraphBuilder Relu() {
  GraphBuilder g;
  g.Output(g.Unary("relu", g.Input("x", SAGE_F32, {Fixed(4)})));
  return g;
}

std::shared_ptr<Engine> ToyEngine(const std::string& mode) {
  return PlainEngine({{"plugins", SAGE_TOY_PLUGIN}, {"toy.mode", mode}});
}

}  // namespace

TEST_CASE(
    "S5 session: the threshold is judged on the keys of each call: 512 is materialised, 513 flash, results agree") {
  Attention a;
  a.g.last_node().policy.flash_threshold = 512;
  auto session = Make(a.g);
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  std::vector<float> padded;
  for (const auto& [keys, algorithm] : {std::pair<int64_t, const char*>{512, "materialised"},
                                        {513, "flash"},
                                        {300, "materialised"},
                                        {1024, "flash"},
                                        {1, "materialised"}}) {
    REQUIRE(Attention::SetAll(**session, keys).ok());
    REQUIRE((*session)->Run().ok());
    const auto json = Explain(**session);
    CHECK(json->Text(json->Node("nodes", 0), "algorithm") == algorithm);
    CHECK(json->Number(json->Node("nodes", 0), "seq_kv") > 0);
  }
  // A threshold inside a bucket gives that bucket two plans.
  Attention inside;
  inside.g.last_node().policy.flash_threshold = 700;
  auto split = Make(inside.g);
  REQUIRE(split.ok());
  for (const auto& [keys, algorithm] :
       {std::pair<int64_t, const char*>{600, "materialised"}, {701, "flash"}, {700, "materialised"}}) {
    REQUIRE(Attention::SetAll(**split, keys).ok());
    REQUIRE((*split)->Run().ok());
    const auto json = Explain(**split);
    CHECK(json->Text(json->Node("nodes", 0), "algorithm") == algorithm);
  }
  CHECK((*split)->counters().plans == 2);
}

TEST_CASE("N14 session: algorithm, block sizes and use_simd change the plan, and explain says from where") {
  Attention a(64);
  a.g.graph().policy.algorithm = SAGE_ALGORITHM_FLASH;
  a.g.graph().policy.block_kv = 32;
  SessionOptions options;
  options.policy.block_q = 16;
  options.policy.use_simd = false;
  auto session = Make(a.g, options);
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  const auto json = Explain(**session);
  const JsonNode* node = json->Node("nodes", 0);
  CHECK(json->Text(node, "algorithm") == "flash");
  CHECK(json->Number(node, "block_q") == 16);
  CHECK(json->Number(node, "block_kv") == 32);
  const JsonNode* policy = json->reader.Find(*node, "policy");
  REQUIRE(policy != nullptr);
  CHECK(json->Text(json->reader.Find(*policy, "algorithm"), "source") == "model");
  CHECK(json->Text(json->reader.Find(*policy, "block_q"), "source") == "caller");
  CHECK(json->Text(json->reader.Find(*policy, "use_simd"), "source") == "caller");
  CHECK(json->Text(node, "kind") == "ATTENTION");
  CHECK(json->Text(node, "problem").find("hq2") != std::string::npos);
  CHECK(json->Text(node, "bench") == "sage-engine bench --attn '" + json->Text(node, "problem") + "'");
  CHECK(json->Text(node, "chosen") == "reference");
  CHECK_FALSE(json->Text(node, "why").empty());

  auto materialised = Attention(64);
  materialised.g.graph().policy.algorithm = SAGE_ALGORITHM_MATERIALISED;
  auto other = Make(materialised.g);
  REQUIRE(other.ok());
  REQUIRE(Attention::SetAll(**session, 33).ok());
  REQUIRE(Attention::SetAll(**other, 33).ok());
  REQUIRE((*session)->Run().ok());
  REQUIRE((*other)->Run().ok());
  const std::vector<float> x = Get(**session, 0), y = Get(**other, 0);
  for (size_t i = 0; i < x.size(); ++i) CHECK(std::abs(x[i] - y[i]) < 1e-5f);
}

TEST_CASE("session: a budget that the plan exceeds is a warning, never another result") {
  Attention a(64);
  a.g.graph().policy.max_latency_ms = 1e-9;
  auto session = Make(a.g);
  REQUIRE(session.ok());
  const auto json = Explain(**session);
  const JsonNode* warning = json->Node("warnings", 0);
  REQUIRE(warning != nullptr);
  CHECK(std::string(json->reader.Text(*warning)).find("exceeds max_latency_ms") != std::string::npos);
  CHECK((*session)->PlannedCostNs() > 0);
}

TEST_CASE("session: a backend that is not there is an error that says what is") {
  auto g = Relu();
  SessionOptions options;
  options.policy.backend = "referense";
  const auto session = Make(g, options);
  REQUIRE_FALSE(session.ok());
  CHECK(session.status().message().find("referense") != std::string::npos);
  CHECK(session.status().message().find("reference") != std::string::npos);
  CHECK(session.status().message().find("relu") != std::string::npos);
}

TEST_CASE("S17 session: the trace has each node's span, time, work and the peak of memory") {
  Attention a(64);
  SessionOptions options;
  options.trace = true;
  auto session = Make(a.g, options);
  REQUIRE(session.ok());
  for (int i = 0; i < 3; ++i) {
    REQUIRE(Attention::SetAll(**session, 64).ok());
    REQUIRE((*session)->Run().ok());
  }
  const auto json = TraceOf(**session);
  CHECK(json->Text(json->Node("traceEvents", 0), "name") == "reference:attn");
  const JsonNode* node = json->Node("nodes", 0);
  CHECK(json->Text(node, "name") == "attn");
  CHECK(json->Text(node, "backend") == "reference");
  CHECK(json->Number(node, "ns") > 0);
  CHECK(json->Number(node, "flops") == 2.0 * 3 * 64 * (2 * 8 + 2 * 8 + 4));
  const JsonNode* counters = json->reader.Find(json->reader.root(), "counters");
  REQUIRE(counters != nullptr);
  CHECK(json->Number(counters, "runs") == 3);
  CHECK(json->Number(counters, "plans") == 1);
  CHECK(json->Number(counters, "replans") == 1);
  CHECK(json->Number(counters, "peak_bytes") > 0);
  CHECK(json->Number(counters, "arena_bytes") >= 3 * 2 * 8 * 4);
}

TEST_CASE("R17 session: what a backend counts stands in the trace at its node, of the last run only") {
  GraphBuilder g;
  const int32_t x = g.Input("x", SAGE_F32, {Fixed(4)});
  g.Output(g.Unary("second", g.Unary("first", x)));
  SessionOptions options;
  options.trace = true;
  auto session = Make(g, options, ToyEngine("good"));
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  for (int i = 0; i < 3; ++i) {
    REQUIRE(Set(**session, 0, {4}, {1, -1, 2, -2}).ok());
    REQUIRE((*session)->Run().ok());
  }
  const auto json = TraceOf(**session);
  for (size_t node = 0; node < 2; ++node) {
    const JsonNode* counts = json->reader.Find(*json->Node("nodes", node), "counts");
    REQUIRE(counts != nullptr);
    CHECK(json->Number(counts, "elements") == 4);
  }
}

TEST_CASE("session: the cheapest that can is taken, explain keeps both answers") {
  auto g = Relu();
  auto session = Make(g, {}, ToyEngine("good"));
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  CHECK(std::string((*session)->NodeBackend(0)) == "toy");
  REQUIRE(Set(**session, 0, {4}, {1, -1, 2, -2}).ok());
  REQUIRE((*session)->Run().ok());
  CHECK(Get(**session, 0) == std::vector<float>{1, 0, 2, 0});
  const auto json = Explain(**session);
  const JsonNode* verdicts = json->reader.Find(*json->Node("nodes", 0), "verdicts");
  REQUIRE(verdicts != nullptr);
  CHECK(verdicts->size == 2);
}

TEST_CASE("session: verify catches a backend that computes something else") {
  auto g = Relu();
  for (const Verify verify : {Verify::kOff, Verify::kFirst, Verify::kAlways}) {
    SessionOptions options;
    options.verify = verify;
    auto session = Make(g, options, ToyEngine("wrong"));
    REQUIRE(session.ok());
    for (int run = 0; run < 3; ++run) {
      REQUIRE(Set(**session, 0, {4}, {1, -1, 2, static_cast<float>(run)}).ok());
      REQUIRE((*session)->Run().ok());
      CHECK(Get(**session, 0)[0] == 1.5f);  // it reports, it does not repair
    }
    const auto& reports = (*session)->verify_reports();
    REQUIRE(reports.size() == (verify == Verify::kOff ? 0 : 1));
    if (reports.empty()) continue;
    CHECK(reports[0].node == "relu");
    CHECK(reports[0].backend == "toy");
    CHECK(reports[0].suspicious);
    CHECK(reports[0].max_abs_error == doctest::Approx(0.5));
    CHECK(reports[0].rel_error == doctest::Approx(0.25));
    const auto json = TraceOf(**session);
    CHECK(json->Text(json->Node("verify", 0), "node") == "relu");
  }
  SessionOptions options;
  options.verify = Verify::kAlways;
  auto good = Make(g, options, ToyEngine("good"));
  REQUIRE(good.ok());
  REQUIRE(Set(**good, 0, {4}, {1, -1, 2, -2}).ok());
  REQUIRE((*good)->Run().ok());
  REQUIRE((*good)->verify_reports().size() == 1);
  CHECK_FALSE((*good)->verify_reports()[0].suspicious);
  CHECK((*good)->verify_reports()[0].note.empty());
}

TEST_CASE("session: verify takes a NaN for a difference unless both have one, and infinities by their sign") {
  float got[4] = {1, NAN, INFINITY, 2}, wanted[4] = {1, NAN, INFINITY, 2};
  const int64_t shape[] = {4};
  sage_tensor a, b;
  sage_tensor_init(&a, SAGE_F32, 1, shape, got);
  sage_tensor_init(&b, SAGE_F32, 1, shape, wanted);
  CHECK(Compare(a, b).max_abs == 0);
  CHECK(Compare(a, b).largest_expected == 2);
  for (const auto& [index, value] : {std::pair<size_t, float>{0, NAN}, {1, 1}, {2, -INFINITY}, {3, INFINITY}}) {
    const float before = std::exchange(got[index], value);
    CHECK(Compare(a, b).max_abs == INFINITY);
    got[index] = before;
  }
  got[3] = 2.5;
  CHECK(Compare(a, b).max_abs == 0.5);
}

TEST_CASE("session: a backend that writes past its workspace is caught and named") {
  auto g = Relu();
  for (const char* mode : {"overrun", "underrun"}) {
    auto session = Make(g, {}, ToyEngine(mode));
    REQUIRE(session.ok());
    REQUIRE(Set(**session, 0, {4}, {1, -1, 2, -2}).ok());
    for (int run = 0; run < 2; ++run) {
      const Status status = (*session)->Run();
      CHECK(status.code() == SAGE_E_INTERNAL);
      CHECK(status.message().find("relu") != std::string::npos);
      CHECK(status.message().find("toy: wrote outside the workspace of 192 bytes") != std::string::npos);
      CHECK_FALSE((*session)->Output(0).ok());
    }
  }
}

TEST_CASE("session: a backend's error carries the node's name and the backend's") {
  auto g = Relu();
  auto session = Make(g, {}, ToyEngine("fail_run"));
  REQUIRE(session.ok());
  REQUIRE(Set(**session, 0, {4}, {1, -1, 2, -2}).ok());
  const Status status = (*session)->Run();
  CHECK(status.code() == SAGE_E_DEVICE);
  CHECK(status.message().find("node \"relu\" on toy") != std::string::npos);
  CHECK(status.message().find("the toy fell off the table") != std::string::npos);
}

TEST_CASE("S6 session: a backend that cannot plan after all is struck off, and the fallback is told") {
  auto g = Relu();
  auto session = Make(g, {}, ToyEngine("fail_plan"));
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  CHECK(std::string((*session)->NodeBackend(0)) == "reference");
  CHECK((*session)->FallbackReason().find("the toy's spring is broken") != std::string::npos);
  const auto json = Explain(**session);
  CHECK(json->Text(json->Node("nodes", 0), "fallback").find("spring") != std::string::npos);
  SessionOptions strict;
  strict.policy.strict = true;
  CHECK_FALSE(Make(g, strict, ToyEngine("fail_plan")).ok());
  SessionOptions insisting;
  insisting.policy.backend = "toy";
  const auto refused = Make(g, insisting, ToyEngine("fail_plan"));
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.status().code() == SAGE_E_DEVICE);
}

TEST_CASE("session: cancel stops the run in progress from another thread, and only that") {
  auto g = Relu();
  auto session = Make(g, {}, ToyEngine("wait"));
  REQUIRE(session.ok());
  REQUIRE(Set(**session, 0, {4}, {1, -1, 2, -2}).ok());
  std::atomic<bool> done{false};
  std::thread canceller([&] {
    while (!done) (*session)->Cancel(), std::this_thread::yield();
  });
  const Status status = (*session)->Run();
  done = true;
  canceller.join();
  CHECK(status.code() == SAGE_E_CANCELLED);
  CHECK_FALSE((*session)->Output(0).ok());

  auto quick = Make(g, {}, ToyEngine("good"));
  REQUIRE(quick.ok());
  REQUIRE(Set(**quick, 0, {4}, {1, -1, 2, -2}).ok());
  (*quick)->Cancel();  // nothing runs: a later run is not touched
  CHECK((*quick)->Run().ok());

  SessionOptions options;
  options.cancel = [](void*) -> int32_t { return 1; };
  auto refused = Make(g, options, ToyEngine("good"));
  REQUIRE(refused.ok());
  REQUIRE(Set(**refused, 0, {4}, {1, -1, 2, -2}).ok());
  const Status before = (*refused)->Run();
  CHECK(before.code() == SAGE_E_CANCELLED);
  CHECK(before.message() == "the run was cancelled before node \"relu\"");
}

TEST_CASE("session options: read, bounded, and refused with the nearest name") {
  auto engine = PlainEngine();
  Options options;
  options.values = {{"verify", "always"}, {"trace", "on"}, {"max_memory", "4096"}, {"backend", "reference"}};
  const auto read = SessionOptions::From(options, *engine);
  REQUIRE_MESSAGE(read.ok(), read.status().message());
  CHECK(read->verify == Verify::kAlways);
  CHECK(read->trace);
  CHECK(read->max_memory == 4096);
  CHECK(read->policy.backend == "reference");
  options.values = {{"verfy", "first"}};
  CHECK(SessionOptions::From(options, *engine).status().message().find("verify") != std::string::npos);
  options.values = {{"verify", "sometimes"}};
  CHECK_FALSE(SessionOptions::From(options, *engine).ok());
}
