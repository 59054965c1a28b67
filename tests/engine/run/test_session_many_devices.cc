// test_session_many_devices.cc: several devices, of one type and of two, one plugin's or two's; and random graphs on
// all of them, each against the same graph on the reference alone.
#include <doctest/doctest.h>

#include <random>

#include "attention_plan.h"
#include "graph_builder.h"
#include "toydev_engine.h"

using namespace sage;
using namespace sage::test;

namespace {

// neg on one backend, abs on the next, added to x on the first: every edge crosses.
GraphBuilder Crossing(const char* first, const char* second) {
  GraphBuilder g;
  const int32_t x = g.Input("x", SAGE_F32, {Fixed(5), Fixed(7)});
  const int32_t a = g.Unary("a", x, SAGE_FN_NEG);
  g.last_node().policy.backend = first;
  const int32_t b = g.Unary("b", a, SAGE_FN_RELU);
  g.last_node().policy.backend = second;
  g.Output(g.Binary("c", b, a));
  g.last_node().policy.backend = first;
  return g;
}

void CheckCrossing(const GraphBuilder& g, std::shared_ptr<Engine> engine, uint64_t copies) {
  auto session = Open(g, std::move(engine));
  for (const uint32_t seed : {1u, 2u}) {
    const std::vector<float> x = Random(35, seed);
    REQUIRE(Set(*session, 0, {5, 7}, x).ok());
    const Status status = session->Run();
    REQUIRE_MESSAGE(status.ok(), status.message());
    const std::vector<float> got = Get(*session, 0);
    REQUIRE(got.size() == 35);
    for (size_t i = 0; i < 35; ++i) CHECK(got[i] == std::max(-x[i], 0.0f) - x[i]);
    CHECK(session->counters().bytes_copied == copies * 35 * 4);
  }
}

}  // namespace

TEST_CASE("devices: a second plugin of a device shares the first one's, and nothing is copied between the two") {
  const auto engine = ToyEngine({}, {SAGE_TOYDEV, SAGE_TOYDEV_TOO});
  CHECK(engine->FindBackend("toydev")->device() == engine->FindBackend("toydev_too")->device());
  CHECK(engine->FindBackend("toydev_too")->device()->supplier() == "toydev");
  CheckCrossing(Crossing("toydev", "toydev_too"), engine, 2);
}

TEST_CASE("devices: the supplier of a device goes last, whatever is destroyed first") {
  auto engine = ToyEngine({}, {SAGE_TOYDEV, SAGE_TOYDEV_TOO});
  auto too = engine->FindBackend("toydev_too");
  engine.reset();
  void* memory = nullptr;
  REQUIRE(too->device()->Alloc(100, 256, &memory).ok());  // the supplier's code and memory are still there
  too->device()->Free(memory);
}

TEST_CASE("devices: between two types the host waits, between two of one type their streams do") {
  CheckCrossing(Crossing("toydev", "toydev_other"), ToyEngine({}, {SAGE_TOYDEV, SAGE_TOYDEV_OTHER}), 6);
  // Two of one type by price: what differs by the device's number puts nodes on both.
  GraphBuilder g;
  int32_t x = g.Input("x", SAGE_F32, {Fixed(64)});
  for (int i = 0; i < 6; ++i)
    x = g.Unary("n" + std::to_string(i), x,
                std::vector<uint32_t>{SAGE_FN_NEG, SAGE_FN_RELU, SAGE_FN_ABS}[size_t(i) % 3]);
  g.Output(x);
  bool both = false;
  for (int seed = 1; seed < 20 && !both; ++seed) {
    SessionOptions options;
    options.policy.backend = "toydev";
    options.trace = true;
    auto session = Open(g,
                        ToyEngine({{"devices", "all"},
                                   {"toydev.shuffle", std::to_string(seed)},
                                   {"toydev.latency_ns", "1"},
                                   {"toydev.bytes_per_ns", "1e6"}}),
                        options);
    bool used[2] = {false, false};
    for (uint32_t i = 0; i < 6; ++i) used[session->NodeDevice(i) == "device type 12:1"] = true;
    both = used[0] && used[1];
    REQUIRE(Set(*session, 0, {64}, Random(64, 1)).ok());
    REQUIRE(session->Run().ok());
    const std::vector<float> got = Get(*session, 0), in = Random(64, 1);
    for (size_t i = 0; i < 64; ++i) CHECK(got[i] == 0.0f);  // relu(neg(abs(..))) is zero
    if (!both) continue;
    JsonWriter trace;
    REQUIRE(session->WriteTrace(trace).ok());
    CHECK(trace.text().find("waits for device type 12:") != std::string::npos);
  }
  CHECK(both);
}

TEST_CASE("devices: the option says which are used, and refuses what is no list of numbers") {
  const auto count = [](const char* list) {
    size_t toys = 0;
    for (const auto& backend : ToyEngine({{"devices", list}})->backends()) toys += backend->name() == "toydev";
    return toys;
  };
  CHECK(count("0") == 1);
  CHECK(count("1") == 1);
  CHECK(count("0,1") == 2);
  CHECK(count("all") == 2);
  CHECK(count("0,5") == 1);  // there is none of that number: reported, and the other is used
  CHECK(ToyEngine({{"devices", "1"}})->FindBackend("toydev")->device_id() == 1);
  for (const char* bad : {"", "0,", "x", "-1", "0,0", "999"}) {
    Options options;
    options.values = {{"devices", bad}, {"plugin_environment", "false"}, {"plugin_folders", "false"}};
    CAPTURE(bad);
    CHECK(Engine::Create(options).status().code() == SAGE_E_INVALID_ARGUMENT);
  }
}

TEST_CASE("P16 devices: describe has each once, with who supplied it, prices and memory") {
  JsonWriter out;
  ToyEngine({{"toydev.latency_ns", "123"}}, {SAGE_TOYDEV, SAGE_TOYDEV_TOO})->Describe(out);
  const std::string_view text = out.text();
  const size_t first = text.find(
      "{\"device\":\"device type 12:0\",\"supplied_by\":\"toydev\",\"host_visible\":false,"
      "\"copy_latency_ns\":123");
  REQUIRE(first != std::string_view::npos);
  CHECK(text.find("\"total_bytes\":1073741824", first) != std::string_view::npos);
  CHECK(text.find("\"supplied_by\"", first + 60) == std::string_view::npos);
}

TEST_CASE("devices: a one-shot plan runs where its tensors lie, on its own stream or a lent one, and copies nothing") {
  const auto engine = ToyEngine({{"devices", "all"}});
  sage_tensor tensors[4];
  const sage_tensor* slots[4];
  const int64_t shape[] = {1, 1, 4, 2};
  for (size_t i = 0; i < 4; ++i) {
    sage_tensor_init(&tensors[i], SAGE_F32, 4, shape, nullptr);
    tensors[i].device_type = 12, tensors[i].device_id = 1;
    slots[i] = &tensors[i];
  }
  sage_attention_attributes attributes{};
  attributes.struct_size = sizeof attributes;
  sage_op op{};
  op.struct_size = sizeof op, op.kind = SAGE_OP_ATTENTION, op.num_slots = 4;
  op.slots = slots, op.attributes = &attributes;
  auto plan = AttentionPlan::Create(engine, &op, Options{});
  REQUIRE_MESSAGE(plan.ok(), plan.status().message());
  CHECK((*plan)->backend().name() == "toydev");
  CHECK((*plan)->backend().device_id() == 1);  // number 0 serves another device
  auto context = AttentionContext::Create(*plan);
  REQUIRE_MESSAGE(context.ok(), context.status().message());
  const auto device = (*plan)->backend().device();
  void* memory = nullptr;
  void* stream = nullptr;
  REQUIRE(device->Alloc(4 * 32, 256, &memory).ok());
  REQUIRE(device->CreateStream(&stream).ok());
  // One value in every row of v: whatever the weights, the result is that value.
  std::vector<float> host = Random(24, 1), got(8, 0);
  for (size_t i = 16; i < 24; ++i) host[i] = i % 2 == 0 ? 3.0f : -5.0f;
  REQUIRE(device->Copy(memory, host.data(), 24 * 4, stream).ok());
  REQUIRE(device->Synchronize(stream).ok());
  for (size_t i = 0; i < 4; ++i) tensors[i].data = static_cast<unsigned char*>(memory) + i * 32;
  for (void* lent : {static_cast<void*>(nullptr), stream}) {
    const Status status = (*context)->Run(slots, 4, lent);
    REQUIRE_MESSAGE(status.ok(), status.message());
    REQUIRE(device->Copy(got.data(), tensors[3].data, 32, stream).ok());
    REQUIRE(device->Synchronize(stream).ok());
    for (size_t i = 0; i < 8; ++i) CHECK(got[i] == doctest::Approx(i % 2 == 0 ? 3.0 : -5.0));
  }
  // Tensors in CPU memory are the CPU's, however cheap the device is.
  for (sage_tensor& tensor : tensors) tensor.device_type = SAGE_CPU, tensor.device_id = 0, tensor.data = nullptr;
  CHECK((*AttentionPlan::Create(engine, &op, Options{}))->backend().name() == "reference");
  device->DestroyStream(stream);
  device->Free(memory);
}

TEST_CASE("devices: random graphs over the CPU and four devices equal the same on the reference") {
  std::mt19937 random(11);
  const char* const backends[] = {"", "", "reference", "toydev", "toydev_too", "toydev_other"};
  uint64_t device_nodes = 0;
  for (int round = 0; round < 60; ++round) {
    CAPTURE(round);
    GraphBuilder g, plain;
    const Dim rows = g.Symbol("rows", 9);
    plain.Symbol("rows", 9);
    std::vector<int32_t> tensors;
    const size_t inputs = 1 + random() % 2;
    for (size_t i = 0; i < inputs; ++i) {
      tensors.push_back(g.Input("x" + std::to_string(i), SAGE_F32, {Fixed(2), rows, Fixed(4)}));
      plain.Input("x" + std::to_string(i), SAGE_F32, {Fixed(2), rows, Fixed(4)});
    }
    const int nodes = static_cast<int>(2 + random() % 10);
    for (int i = 0; i < nodes; ++i) {
      const std::string name = "n" + std::to_string(i);
      const auto pick = [&] { return tensors[random() % tensors.size()]; };
      const int32_t a = pick(), b = pick();
      const uint32_t function = std::vector<uint32_t>{SAGE_FN_NEG, SAGE_FN_RELU, SAGE_FN_ABS}[random() % 3];
      const std::string backend = backends[random() % 6];
      const auto what = static_cast<uint32_t>(random() % 5);
      const std::vector<float> w = Random(16, static_cast<uint32_t>(random()));
      int32_t made = 0;
      for (GraphBuilder* graph : {&plain, &g}) {
        if (what < 2) made = graph->Binary(name, a, b);
        if (what == 2) made = graph->Unary(name, a, function);
        if (what == 3) made = graph->Linear(name, a, graph->Constant(name + ".w", {Fixed(4), Fixed(4)}, w));
        // There and back through a view.
        if (what == 4) {
          const int32_t flat = graph->Reshape(name + ".flat", a, {Fixed(2), rows, Fixed(2), Fixed(2)});
          const int32_t worked = graph->Unary(name, flat, function);
          if (graph == &g) graph->last_node().policy.backend = backend;
          made = graph->Reshape(name + ".back", worked, {Fixed(2), rows, Fixed(4)});
        } else if (graph == &g) {
          graph->last_node().policy.backend = backend;
        }
      }
      tensors.push_back(made);
    }
    for (size_t i = 0; i < 2; ++i) {
      const size_t other = inputs + random() % static_cast<size_t>(nodes);
      const int32_t output = i == 0 ? tensors.back() : tensors[other + 1 == tensors.size() ? other - 1 : other];
      g.Output(output), plain.Output(output);
    }
    SessionOptions options;
    options.guard = random() % 2 == 0;
    auto session = Open(g,
                        ToyEngine({{"devices", "all"},
                                   {"toydev.shuffle", std::to_string(round + 1)},
                                   {"toydev.latency_ns", std::to_string(random() % 300)},
                                   {"toydev_too.shuffle", std::to_string(round + 2)},
                                   {"toydev_other.shuffle", std::to_string(round + 3)},
                                   {"toydev_other.latency_ns", std::to_string(random() % 300)},
                                   {"toydev_other.visible", random() % 3 == 0 ? "1" : "0"}},
                                  {SAGE_TOYDEV, SAGE_TOYDEV_TOO, SAGE_TOYDEV_OTHER}),
                        options);
    auto expected = Open(plain, PlainEngine());
    for (const int64_t length : {3, 9, 5, 3}) {
      for (uint32_t i = 0; i < inputs; ++i) {
        const std::vector<float> x = Random(static_cast<size_t>(length) * 8, static_cast<uint32_t>(random()));
        REQUIRE(Set(*session, i, {2, length, 4}, x).ok());
        REQUIRE(Set(*expected, i, {2, length, 4}, x).ok());
      }
      const Status status = session->Run();
      REQUIRE_MESSAGE(status.ok(), status.message());
      REQUIRE(expected->Run().ok());
      for (uint32_t output = 0; output < 2; ++output) {
        const std::vector<float> got = Get(*session, output), wanted = Get(*expected, output);
        REQUIRE(got.size() == wanted.size());
        bool same = true;
        for (size_t i = 0; i < got.size(); ++i)
          same = same && std::abs(got[i] - wanted[i]) <= 1e-4f * std::max(1.0f, std::abs(wanted[i]));
        CHECK(same);
      }
    }
    for (size_t i = 0; i < g.graph().nodes.size(); ++i)
      device_nodes += session->NodeDevice(static_cast<uint32_t>(i)) != "cpu";
  }
  CHECK(device_nodes > 100);
}
