// test_session_devices.cc: graphs over the CPU and devices whose memory no host may touch and whose streams do nothing
// until they are waited for (see toydev/driver.h): every result here is also a proof of its copies and waits.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <random>
#include <thread>

#include "graph_builder.h"
#include "support/heap_count.h"
#include "toydev_engine.h"

using namespace sage;
using namespace sage::test;

namespace {

// CPU (abs is forced there by name), device, CPU: x -> abs -> linear -> attention with itself -> exp -> y.
GraphBuilder Mixed(Dim rows = Fixed(6)) {
  GraphBuilder g;
  const int32_t x = g.Input("x", SAGE_F32, {Fixed(1), Fixed(2), rows, Fixed(8)});
  const int32_t a = g.Unary("root", x, SAGE_FN_SIGMOID);  // not a toy's
  const int32_t l = g.Linear("project", a, g.Constant("w", {Fixed(8), Fixed(8)}, Random(64, 5)));
  const int32_t o = g.Attention("attend", l, l, a);
  g.Output(g.Unary("exp", o, SAGE_FN_EXP));
  return g;
}

std::vector<float> OnReference(const GraphBuilder& g, const std::function<void(Session&)>& set) {
  SessionOptions options;
  auto session = Session::Create(PlainEngine(), g.Share(), options);
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  set(**session);
  REQUIRE((*session)->Run().ok());
  return Get(**session, 0);
}

void SetRows(Session& session, int64_t rows, uint32_t seed = 7) {
  REQUIRE(Set(session, 0, {1, 2, rows, 8}, Random(static_cast<size_t>(rows) * 16, seed)).ok());
}

void CheckNear(const std::vector<float>& got, const std::vector<float>& expected) {
  REQUIRE(got.size() == expected.size());
  for (size_t i = 0; i < got.size(); ++i) CHECK(got[i] == doctest::Approx(expected[i]).epsilon(1e-5));
}

bool Has(std::string_view text, const char* word) {
  INFO(text);
  const bool there = text.find(word) != std::string_view::npos;
  CHECK(there);
  return there;
}

}  // namespace

TEST_CASE("P12 devices: CPU, device and CPU again give what the reference gives, copies counted and explained") {
  const GraphBuilder g = Mixed();
  auto session = Open(g, ToyEngine({{"toydev.node_ns", "1"}, {"toydev.latency_ns", "1"}}));
  CHECK(session->NodeDevice(0) == "cpu");
  CHECK(session->NodeDevice(1) == "device type 12:0");
  CHECK(session->NodeDevice(2) == "device type 12:0");
  CHECK(session->NodeDevice(3) == "cpu");
  for (const uint32_t seed : {1u, 2u, 3u}) {
    SetRows(*session, 6, seed);
    const Status status = session->Run();
    REQUIRE_MESSAGE(status.ok(), status.message());
    CheckNear(Get(*session, 0), OnReference(g, [&](Session& s) { SetRows(s, 6, seed); }));
    // sigmoid's result up, attention's down; the constant is packed once, by the plan.
    CHECK(session->counters().bytes_copied == 2 * 6 * 16 * 4);
  }
  CHECK(session->counters().device_bytes > 0);
  JsonWriter out;
  REQUIRE(session->Explain(out).ok());
  Has(out.text(), "\"device\":\"device type 12:0\"");
  Has(out.text(), "{\"tensor\":\"root.out\",\"from\":\"cpu\",\"to\":\"device type 12:0\",\"before\":\"project\"");
  Has(out.text(), "{\"tensor\":\"attend.out\",\"from\":\"device type 12:0\",\"to\":\"cpu\",\"before\":\"exp\"");
  Has(out.text(), "\"copies\":2");
}

TEST_CASE("devices: the price of a copy decides where a node runs") {
  GraphBuilder g;
  g.Output(g.Unary("relu", g.Input("x", SAGE_F32, {Fixed(1000)})));
  // reference asks more than 100 ns for this; the device 1 ns, plus two copies.
  auto near = Open(g, ToyEngine({{"toydev.node_ns", "1"}, {"toydev.latency_ns", "1"}, {"toydev.bytes_per_ns", "1e6"}}));
  CHECK(near->NodeDevice(0) == "device type 12:0");
  auto far = Open(g, ToyEngine({{"toydev.node_ns", "1"}, {"toydev.latency_ns", "1e8"}}));
  CHECK(far->NodeDevice(0) == "cpu");
  JsonWriter out;
  REQUIRE(far->Explain(out).ok());
  Has(out.text(), "cheapest for the whole graph with its copies");
  Has(out.text(), "for this node alone toydev on device type 12:0 is, 1 ns");
  SessionOptions insisting;
  insisting.policy.backend = "toydev";
  CHECK(Open(g, ToyEngine({{"toydev.latency_ns", "1e8"}}), insisting)->NodeDevice(0) == "device type 12:0");
  SessionOptions ordered;
  ordered.policy.backend_order = std::vector<std::string>{"toydev"};
  CHECK(Open(g, ToyEngine({{"toydev.latency_ns", "1e8"}}), ordered)->NodeDevice(0) == "device type 12:0");
}

TEST_CASE("S16 devices: runs take no heap memory, whatever bucket of shapes they fall into") {
  GraphBuilder builder;
  const Dim rows = builder.Symbol("rows", 32);
  const int32_t x = builder.Input("x", SAGE_F32, {Fixed(1), Fixed(2), rows, Fixed(8)});
  const int32_t a = builder.Unary("root", x, SAGE_FN_SIGMOID);
  const int32_t o = builder.Attention("attend", a, a, a);
  builder.Output(builder.Unary("exp", builder.Unary("neg", o, SAGE_FN_NEG), SAGE_FN_EXP));
  SessionOptions options;
  options.trace = true;
  auto session = Open(builder, ToyEngine({{"toydev.node_ns", "1"}, {"toydev.latency_ns", "1"}}), options);
  std::vector<float> got(32 * 16);
  uint64_t before = 0;
  for (int round = 0; round < 3; ++round) {
    if (round == 2) before = HeapAllocations();
    for (const int64_t length : {5, 32, 17, 1, 8}) {
      const int64_t shape[] = {1, 2, length, 8};
      auto buffer = session->InputBuffer(0, shape);
      const bool filled = buffer.ok();
      for (int64_t i = 0; filled && i < length * 16; ++i) static_cast<float*>(buffer->data)[i] = float(i % 7) - 3;
      const bool ran = session->Run().ok();
      const bool out = session->GetOutput(0, got.data(), static_cast<uint64_t>(length) * 16 * 4).ok();
      if (!filled || !ran || !out) FAIL("a run failed");
    }
  }
  CHECK(HeapAllocations() == before);
  CHECK(session->NodeDevice(1) == "device type 12:0");
  JsonWriter trace;
  REQUIRE(session->WriteTrace(trace).ok());
  for (const char* span : {"\"copy cpu to device type 12:0:root.out\"", "\"copy device type 12:0 to cpu:neg.out\"",
                           "\"wait for device type 12:0\"", "\"toydev:attend\""})
    Has(trace.text(), span);
  // The same bits as at exact shapes.
  for (const int64_t length : {5, 17}) {
    const auto set = [&](Session& s) {
      REQUIRE(Set(s, 0, {1, 2, length, 8}, Random(static_cast<size_t>(length) * 16, 9)).ok());
    };
    set(*session);
    REQUIRE(session->Run().ok());
    CheckNear(Get(*session, 0), OnReference(builder, set));
  }
}

TEST_CASE("devices: where memory is shared nothing is copied, and everything is still waited for") {
  const GraphBuilder g = Mixed();
  auto session = Open(g, ToyEngine({{"toydev.node_ns", "1"}, {"toydev.visible", "1"}, {"toydev.latency_ns", "1e8"}}));
  CHECK(session->NodeDevice(2) == "device type 12:0");
  SetRows(*session, 6);
  REQUIRE(session->Run().ok());
  CheckNear(Get(*session, 0), OnReference(g, [](Session& s) { SetRows(s, 6); }));
  CHECK(session->counters().bytes_copied == 0);
}

TEST_CASE("S6 devices: one without room is passed over aloud, or is the error when it is insisted on") {
  const GraphBuilder g = Mixed();
  const std::vector<std::pair<std::string, std::string>> small = {
      {"toydev.node_ns", "1"}, {"toydev.latency_ns", "1"}, {"toydev.largest_alloc", "300"}};
  auto session = Open(g, ToyEngine(small));
  for (uint32_t i = 0; i < 4; ++i) CHECK(session->NodeDevice(i) == "cpu");
  Has(session->FallbackReason(), "device type 12:0 cannot hold this plan");
  Has(session->FallbackReason(), "the toy device has no 1536 bytes left");
  SetRows(*session, 6);
  REQUIRE(session->Run().ok());
  CheckNear(Get(*session, 0), OnReference(g, [](Session& s) { SetRows(s, 6); }));
  JsonWriter out;
  REQUIRE(session->Explain(out).ok());
  Has(out.text(), "cannot hold this plan");

  // The next one is another device where there is one.
  auto more = small;
  more.push_back({"toydev_other.node_ns", "2"}), more.push_back({"toydev_other.latency_ns", "1"});
  auto other = Open(g, ToyEngine(more, {SAGE_TOYDEV, SAGE_TOYDEV_OTHER}));
  CHECK(other->NodeDevice(2) == "device type 14:0");

  SessionOptions strict;
  strict.policy.strict = true;
  Result<std::unique_ptr<Session>> refused = Session::Create(ToyEngine(small), g.Share(), strict);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.status().code() == SAGE_E_OUT_OF_MEMORY);
  CHECK(refused.status().native_code() == 2);
  Has(refused.status().message(), "node \"");
}

TEST_CASE("devices: a bucket too large for one runs elsewhere, smaller ones still there") {
  GraphBuilder g;
  const Dim rows = g.Symbol("rows", 1024);
  g.Output(g.Unary("relu", g.Input("x", SAGE_F32, {rows, Fixed(4)})));
  auto session = Open(g, ToyEngine({{"toydev.node_ns", "0"},
                                    {"toydev.latency_ns", "0"},
                                    {"toydev.bytes_per_ns", "1e9"},
                                    {"toydev.largest_alloc", "8192"}}));
  for (int round = 0; round < 2; ++round) {
    for (const auto& [length, device] : {std::pair<int64_t, const char*>{100, "device type 12:0"},
                                         {1000, "cpu"},
                                         {60, "device type 12:0"},
                                         {900, "cpu"},
                                         {128, "device type 12:0"}}) {
      CAPTURE(length);
      const std::vector<float> x = Random(static_cast<size_t>(length) * 4, 1);
      REQUIRE(Set(*session, 0, {length, 4}, x).ok());
      const Status status = session->Run();
      REQUIRE_MESSAGE(status.ok(), status.message());
      CHECK(session->NodeDevice(0) == device);
      CHECK(session->FallbackReason().empty() == (length <= 128));
      const std::vector<float> got = Get(*session, 0);
      bool same = got.size() == x.size();
      for (size_t i = 0; same && i < x.size(); ++i) same = got[i] == std::max(x[i], 0.0f);
      CHECK(same);
    }
  }
  CHECK(session->counters().plans == 4);  // 128, 1024 twice, 64
}

TEST_CASE("devices: a fault told late names the nodes it may be of, and the session goes on") {
  GraphBuilder one;
  one.Output(one.Unary("relu", one.Input("x", SAGE_F32, {Fixed(8)})));
  SessionOptions insisting;
  insisting.policy.backend = "toydev";
  auto session = Open(one, ToyEngine({{"toydev.failing_command", "2"}}), insisting);
  REQUIRE(Set(*session, 0, {8}, Random(8, 1)).ok());
  CHECK(session->Run().ok());
  const Status late = session->Run();
  CHECK(late.code() == SAGE_E_DEVICE);
  CHECK(late.native_code() == 77);
  CHECK(late.message() == "node \"relu\": device type 12:0: the toy device tripped over a node");
  CHECK_FALSE(session->Output(0).ok());
  CHECK(session->Run().ok());

  GraphBuilder two;
  two.Output(two.Unary("neg", two.Unary("relu", two.Input("x", SAGE_F32, {Fixed(8)})), SAGE_FN_NEG));
  auto chain = Open(two, ToyEngine({{"toydev.failing_command", "1"}}), insisting);
  REQUIRE(Set(*chain, 0, {8}, Random(8, 1)).ok());
  Has(chain->Run().message(), "one of the nodes from \"relu\" to \"neg\"");

  auto refusing = Open(one, ToyEngine({{"toydev.fail_run", "1"}}), insisting);
  REQUIRE(Set(*refusing, 0, {8}, Random(8, 1)).ok());
  Has(refusing->Run().message(), "node \"relu\" on toydev: toydev: the toy device takes no node");
}

TEST_CASE("S6 devices: a backend there that cannot plan after all is struck off, and the graph placed again") {
  const GraphBuilder g = Mixed();
  auto session = Open(g, ToyEngine({{"toydev.node_ns", "1"}, {"toydev.latency_ns", "1"}, {"toydev.fail_plan", "1"}}));
  for (uint32_t i = 0; i < 4; ++i) CHECK(session->NodeDevice(i) == "cpu");
  Has(session->FallbackReason(), "the toy device plans nothing today");
  SetRows(*session, 6);
  REQUIRE(session->Run().ok());
  CheckNear(Get(*session, 0), OnReference(g, [](Session& s) { SetRows(s, 6); }));
}

TEST_CASE("devices: cancelled between nodes, and nothing is left on the stream") {
  GraphBuilder g;
  int32_t x = g.Input("x", SAGE_F32, {Fixed(8)});
  for (const char* name : {"first", "second", "third"}) x = g.Unary(name, x, SAGE_FN_NEG);
  g.Output(x);
  SessionOptions options;
  options.policy.backend = "toydev";
  int polls = 0;
  options.cancel_user = &polls;
  options.cancel = [](void* user) -> int32_t { return ++*static_cast<int*>(user) == 3; };
  auto session = Open(g, ToyEngine(), options);
  const std::vector<float> values = Random(8, 1);
  REQUIRE(Set(*session, 0, {8}, values).ok());
  const Status cancelled = session->Run();
  CHECK(cancelled.code() == SAGE_E_CANCELLED);
  CHECK(cancelled.message() == "the run was cancelled before node \"third\"");
  CHECK_FALSE(session->Output(0).ok());
  CHECK(session->Run().ok());
  for (size_t i = 0; i < 8; ++i) CHECK(Get(*session, 0)[i] == -values[i]);
  // Destroyed right after: the device ends the program if a stream goes with work on it.
  polls = 0;
  CHECK(session->Run().code() == SAGE_E_CANCELLED);
  session.reset();
}

TEST_CASE("devices: verify sees through to the device, and catches a backend that computes something else") {
  const GraphBuilder g = Mixed();
  for (const char* wrong : {"0", "1"}) {
    GraphBuilder relu;
    relu.Output(relu.Unary("relu", relu.Input("x", SAGE_F32, {Fixed(4)})));
    SessionOptions options;
    options.verify = Verify::kAlways;
    options.policy.backend = "toydev";
    auto session = Open(relu, ToyEngine({{"toydev.wrong", wrong}}), options);
    REQUIRE(Set(*session, 0, {4}, {1, -1, 2, -2}).ok());
    REQUIRE(session->Run().ok());
    REQUIRE(session->verify_reports().size() == 1);
    CHECK(session->verify_reports()[0].note == "");
    CHECK(session->verify_reports()[0].suspicious == (wrong[0] == '1'));
    CHECK(session->verify_reports()[0].max_abs_error == (wrong[0] == '1' ? 0.5 : 0.0));
  }
  SessionOptions always;
  always.verify = Verify::kAlways;
  auto session = Open(g, ToyEngine({{"toydev.node_ns", "1"}, {"toydev.latency_ns", "1"}}), always);
  SetRows(*session, 6);
  REQUIRE(session->Run().ok());
  REQUIRE(session->verify_reports().size() == 2);
  for (const VerifyReport& report : session->verify_reports()) {
    CHECK(report.note == "");
    CHECK_FALSE(report.suspicious);
  }
}

TEST_CASE("R5 devices: accuracy is measured on what the device holds, and says which one it is") {
  const GraphBuilder g = Mixed();
  SessionOptions options;
  options.accuracy_report = true;
  auto session = Open(g, ToyEngine({{"toydev.node_ns", "1"}, {"toydev.latency_ns", "1"}}), options);
  for (uint32_t seed = 1; seed < 4; ++seed) {
    SetRows(*session, 6, seed);
    REQUIRE(session->Run().ok());
    REQUIRE(session->accuracy_reports().size() == 1);
    const AccuracyReport& report = session->accuracy_reports()[0];
    CHECK(report.note == "");
    CHECK(report.node == "attend");
    CHECK(report.backend == "toydev");
    CHECK(report.device == "device type 12:0");
    REQUIRE(report.outputs.size() == 1);
    CHECK(report.outputs[0].distance.elements == 96);
    CHECK(report.outputs[0].distance.largest > 0.1);
    CHECK(report.outputs[0].distance.rel_l1 < 1e-6);
    CHECK(report.outputs[0].distance.rel_l1 > 0);  // f32
    CHECK(session->verify_reports().empty());
  }
}

TEST_CASE("devices: two sessions of one engine at once") {
  const GraphBuilder g = Mixed();
  const auto engine = ToyEngine({{"toydev.node_ns", "1"}, {"toydev.latency_ns", "1"}});
  const std::vector<float> expected[] = {OnReference(g, [](Session& s) { SetRows(s, 6, 1); }),
                                         OnReference(g, [](Session& s) { SetRows(s, 6, 2); })};
  std::unique_ptr<Session> sessions[] = {Open(g, engine), Open(g, engine)};
  for (uint32_t i = 0; i < 2; ++i) SetRows(*sessions[i], 6, i + 1);
  bool good[] = {true, true};
  std::vector<std::thread> threads;
  for (size_t i = 0; i < 2; ++i)
    threads.emplace_back([&, i] {
      for (int run = 0; run < 30; ++run) good[i] = sessions[i]->Run().ok() && good[i];
    });
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < 2; ++i) {
    CHECK(good[i]);
    CheckNear(Get(*sessions[i], 0), expected[i]);
  }
}

TEST_CASE("devices: bound tensors are read and written where they are, their gaps left alone") {
  GraphBuilder g;
  g.Output(g.Unary("relu", g.Input("x", SAGE_F32, {Fixed(3), Fixed(4)})));
  SessionOptions insisting;
  insisting.policy.backend = "toydev";
  auto session = Open(g, ToyEngine(), insisting);
  std::vector<float> in(3 * 6, -7), out(3 * 5, 99);
  const std::vector<float> values = Random(12, 3);
  for (size_t i = 0; i < 3; ++i) std::copy_n(values.begin() + long(i) * 4, 4, in.begin() + long(i) * 6);
  const int64_t shape[] = {3, 4};
  sage_tensor x, y;
  sage_tensor_init(&x, SAGE_F32, 2, shape, in.data());
  sage_tensor_init(&y, SAGE_F32, 2, shape, out.data());
  x.stride[0] = 6, y.stride[0] = 5;
  REQUIRE(session->Bind(SAGE_INPUT, 0, &x).ok());
  REQUIRE(session->Bind(SAGE_OUTPUT, 0, &y).ok());
  const Status status = session->Run();
  REQUIRE_MESSAGE(status.ok(), status.message());
  for (size_t i = 0; i < 3; ++i) {
    for (size_t j = 0; j < 4; ++j) CHECK(out[i * 5 + j] == std::max(values[i * 4 + j], 0.0f));
    CHECK(out[i * 5 + 4] == 99);
  }
  CHECK(session->counters().bytes_copied == 2 * 12 * 4);
  // From the far end back, and row-major after that.
  std::vector<float> wide(300, -7);
  for (size_t i = 0; i < 3; ++i) std::copy_n(values.begin() + long(i) * 4, 4, wide.begin() + long(i) * 100);
  x.data = wide.data() + 200, x.stride[0] = -100;
  y.stride[0] = 4;
  REQUIRE(session->Bind(SAGE_INPUT, 0, &x).ok());
  REQUIRE(session->Bind(SAGE_OUTPUT, 0, &y).ok());
  REQUIRE(session->Run().ok());
  for (size_t i = 0; i < 3; ++i)
    for (size_t j = 0; j < 4; ++j) CHECK(out[i * 4 + j] == std::max(values[(2 - i) * 4 + j], 0.0f));
  // A row that repeats is copied once.
  x.data = in.data(), x.stride[0] = 0;
  REQUIRE(session->Bind(SAGE_INPUT, 0, &x).ok());
  REQUIRE(session->Run().ok());
  for (size_t i = 0; i < 12; ++i) CHECK(out[i] == std::max(values[i % 4], 0.0f));
  CHECK(session->counters().bytes_copied == (4 + 12) * 4);
}

TEST_CASE("devices: the gaps of a bucket are copied along where that is cheaper than many copies") {
  GraphBuilder g;
  const int32_t q = g.Input("q", SAGE_F32, {Fixed(1), Fixed(4), g.Symbol("n", 16), Fixed(8)});
  const int32_t k = g.Input("k", SAGE_F32, {Fixed(1), Fixed(4), Fixed(4), Fixed(8)});
  g.Output(g.Attention("attend", q, k, k));
  const auto set = [](Session& session) {
    REQUIRE(Set(session, 0, {1, 4, 9, 8}, Random(288, 1)).ok());
    REQUIRE(Set(session, 1, {1, 4, 4, 8}, Random(128, 2)).ok());
  };
  SessionOptions insisting;
  insisting.policy.backend = "toydev";
  for (const auto& [latency, elements] :
       {std::pair<const char*, uint64_t>{"0", 4 * 9 * 8}, {"1e6", (3 * 16 + 9) * 8}}) {
    auto session = Open(g, ToyEngine({{"toydev.latency_ns", latency}, {"toydev.bytes_per_ns", "1e-3"}}), insisting);
    set(*session);
    REQUIRE(session->Run().ok());
    CheckNear(Get(*session, 0), OnReference(g, set));
    // q into planned strides and up, k up, the result down and out of them.
    CHECK(session->counters().bytes_copied == (288 + elements + 128 + elements + 288) * 4);
  }
}

TEST_CASE("devices: a lent stream is enqueued on, and waited for by its owner") {
  GraphBuilder g;
  g.Output(g.Unary("relu", g.Input("x", SAGE_F32, {Fixed(4)})));
  SessionOptions insisting;
  insisting.policy.backend = "toydev";
  const auto engine = ToyEngine();
  auto session = Open(g, engine, insisting);
  const auto device = engine->FindBackend("toydev")->device();
  void* stream = nullptr;
  REQUIRE(device->CreateStream(&stream).ok());
  CHECK(session->SetStream(SAGE_CUDA, 0, stream).code() == SAGE_E_UNSUPPORTED);
  REQUIRE(session->SetStream(12, 0, stream).ok());
  std::vector<float> out(4, 99);
  const int64_t shape[] = {4};
  sage_tensor y;
  sage_tensor_init(&y, SAGE_F32, 1, shape, out.data());
  REQUIRE(session->Bind(SAGE_OUTPUT, 0, &y).ok());
  REQUIRE(Set(*session, 0, {4}, {1, -1, 2, -2}).ok());
  REQUIRE(session->Run().ok());
  CHECK(out == std::vector<float>(4, 99));  // enqueued, no more
  REQUIRE(device->Synchronize(stream).ok());
  CHECK(out == std::vector<float>{1, 0, 2, 0});
  // What is still under way is waited for before its memory is written again, and when the stream is taken back.
  out.assign(4, 99);
  REQUIRE(session->Run().ok());
  REQUIRE(Set(*session, 0, {4}, {-5, 6, -7, 8}).ok());
  CHECK(out == std::vector<float>{1, 0, 2, 0});
  REQUIRE(session->Run().ok());
  REQUIRE(session->SetStream(12, 0, nullptr).ok());
  CHECK(out == std::vector<float>{0, 6, 0, 8});
  device->DestroyStream(stream);
  REQUIRE(session->Run().ok());
  session.reset();
}

TEST_CASE("devices: what changes in place on the CPU is copied anew to a device that had it") {
  GraphBuilder g;
  const auto shape = [](int64_t rows) { return std::vector<Dim>{Fixed(1), Fixed(1), Fixed(rows), Fixed(2)}; };
  const int32_t q = g.Input("q", SAGE_F32, shape(1));
  const int32_t k = g.Input("k", SAGE_F32, shape(4)), v = g.Input("v", SAGE_F32, shape(4));
  const int32_t k_new = g.Input("k_new", SAGE_F32, shape(1)), v_new = g.Input("v_new", SAGE_F32, shape(1));
  const int32_t used = g.Input("used", SAGE_I32, {Fixed(1)});
  g.Output(g.Unary("before", k, SAGE_FN_NEG));
  g.last_node().policy.backend = "toydev";
  g.Output(g.Attention("append", q, k, v, {},
                       {{SAGE_ATTN_K_NEW, k_new}, {SAGE_ATTN_V_NEW, v_new}, {SAGE_ATTN_SEQUSED_K, used}}));
  g.Output(g.Unary("after", k, SAGE_FN_NEG));
  g.last_node().policy.backend = "toydev";
  auto session = Open(g, ToyEngine());
  CHECK(session->NodeDevice(1) == "cpu");
  std::vector<float> cache_k = Random(8, 1), cache_v = Random(8, 2);
  const std::vector<float> old_k = cache_k;
  for (const auto& [index, cache] : {std::pair<uint32_t, std::vector<float>*>{1, &cache_k}, {2, &cache_v}}) {
    sage_tensor tensor;
    const int64_t sizes[] = {1, 1, 4, 2};
    sage_tensor_init(&tensor, SAGE_F32, 4, sizes, cache->data());
    REQUIRE(session->Bind(SAGE_INPUT, index, &tensor).ok());
  }
  REQUIRE(Set(*session, 0, {1, 1, 1, 2}, {1, 2}).ok());
  REQUIRE(Set(*session, 3, {1, 1, 1, 2}, {30, 40}).ok());
  REQUIRE(Set(*session, 4, {1, 1, 1, 2}, {50, 60}).ok());
  const int32_t length = 2;
  const int64_t one[] = {1};
  REQUIRE(session->SetInput(5, SAGE_I32, one, &length, sizeof length).ok());
  const Status status = session->Run();
  REQUIRE_MESSAGE(status.ok(), status.message());
  CHECK(cache_k[4] == 30);
  for (size_t i = 0; i < 8; ++i) {
    CHECK(Get(*session, 0)[i] == -old_k[i]);
    CHECK(Get(*session, 2)[i] == -cache_k[i]);
  }
}
