// test_session_record.cc: the option graph_capture over devices whose streams do nothing until they are waited for, and
// which record what they are given (toydev/driver.h). A wait, or a copy of memory that is not page-locked, spoils a
// recording there; a recording or page-locked memory that outlives its device ends the program.
#include <doctest/doctest.h>

#include <algorithm>

#include "graph_builder.h"
#include "support/heap_count.h"
#include "toydev_engine.h"

using namespace sage;
using namespace sage::test;

namespace {

using ToyOptions = std::vector<std::pair<std::string, std::string>>;

const ToyOptions kRecording = {{"toydev.node_ns", "1"}, {"toydev.latency_ns", "1"}, {"toydev.records", "1"}};

ToyOptions And(ToyOptions more) {
  more.insert(more.begin(), kRecording.begin(), kRecording.end());
  return more;
}

SessionOptions Capturing() {
  SessionOptions options;
  options.graph_capture = true;
  return options;
}

// All of it on the device.
GraphBuilder OnDevice(Dim rows = Fixed(6)) {
  GraphBuilder g;
  const int32_t x = g.Input("x", SAGE_F32, {Fixed(1), Fixed(2), rows, Fixed(8)});
  const int32_t l = g.Linear("project", x, g.Constant("w", {Fixed(8), Fixed(8)}, Random(64, 5)));
  g.Output(g.Unary("neg", g.Attention("attend", l, l, x), SAGE_FN_NEG));
  return g;
}

void SetRows(Session& session, int64_t rows, uint32_t seed) {
  REQUIRE(Set(session, 0, {1, 2, rows, 8}, Random(static_cast<size_t>(rows) * 16, seed)).ok());
}

// What the same graph gives on the same device without recording.
std::vector<float> Eager(const GraphBuilder& g, int64_t rows, uint32_t seed) {
  auto session = Open(g, ToyEngine(kRecording));
  SetRows(*session, rows, seed);
  REQUIRE(session->Run().ok());
  CHECK(session->counters().graphs_recorded == 0);
  return Get(*session, 0);
}

}  // namespace

TEST_CASE("S15 graph capture: the second run is recorded and replays have the bits of eager runs") {
  const GraphBuilder g = OnDevice();
  auto session = Open(g, ToyEngine(kRecording), Capturing());
  for (uint32_t run = 1; run <= 5; ++run) {
    SetRows(*session, 6, run);
    const Status status = session->Run();
    REQUIRE_MESSAGE(status.ok(), status.message());
    CHECK(Get(*session, 0) == Eager(g, 6, run));
    CHECK(session->counters().graphs_recorded == (run > 1 ? 1 : 0));
    CHECK(session->counters().graphs_replayed == run - 1);
    CHECK(session->counters().bytes_copied == 2 * 6 * 16 * 4);  // x up, neg down, also in a replay
  }
  CHECK(session->NodeDevice(0) == "device type 12:0");
  JsonWriter trace;
  REQUIRE(session->WriteTrace(trace).ok());
  CHECK(trace.text().find("\"graphs_recorded\":1,\"graphs_replayed\":4") != std::string_view::npos);
}

TEST_CASE("S15 graph capture: another shape is recorded anew and a known one is not") {
  GraphBuilder g;
  const Dim rows = g.Symbol("rows", 32);
  g.Output(g.Unary("neg", g.Unary("relu", g.Input("x", SAGE_F32, {rows, Fixed(16)})), SAGE_FN_NEG));
  auto session = Open(g, ToyEngine(kRecording), Capturing());
  for (uint32_t round = 0; round < 5; ++round) {
    for (const int64_t length : {32, 6, 5, 7}) {  // the last three are of one plan
      CAPTURE(round);
      CAPTURE(length);
      const std::vector<float> x = Random(static_cast<size_t>(length) * 16, round);
      REQUIRE(Set(*session, 0, {length, 16}, x).ok());
      const Status status = session->Run();
      REQUIRE_MESSAGE(status.ok(), status.message());
      const std::vector<float> y = Get(*session, 0);
      bool same = y.size() == x.size();
      for (size_t i = 0; same && i < x.size(); ++i) same = y[i] == -std::max(x[i], 0.0f);
      CHECK(same);
    }
  }
  CHECK(session->counters().plans == 2);
  CHECK(session->counters().graphs_recorded == 4);
  CHECK(session->counters().graphs_replayed == 4 * 4);
}

TEST_CASE("S15 graph capture: more bindings in turn than are kept") {
  GraphBuilder g;
  const Dim rows = g.Symbol("rows", 32);
  g.Output(g.Unary("relu", g.Input("x", SAGE_F32, {Fixed(1), Fixed(2), rows, Fixed(8)})));
  auto session = Open(g, ToyEngine(kRecording), Capturing());
  for (uint32_t round = 0; round < 2; ++round) {
    for (int64_t length = 32; length > 8; --length) {
      for (uint32_t run = 0; run < 3; ++run) {
        SetRows(*session, length, run);
        REQUIRE(session->Run().ok());
        CHECK(Get(*session, 0) == Eager(g, length, run));
      }
    }
  }
  CHECK(session->counters().graphs_recorded == 48);
  CHECK(session->counters().graphs_replayed == 96);
}

TEST_CASE("S15 graph capture: nodes on the CPU and their waits lie between two recordings") {
  GraphBuilder g;
  const int32_t x = g.Input("x", SAGE_F32, {Fixed(1), Fixed(2), Fixed(6), Fixed(8)});
  const int32_t first = g.Unary("neg", g.Unary("relu", x), SAGE_FN_NEG);
  const int32_t between = g.Unary("sigmoid", first, SAGE_FN_SIGMOID);  // not a toy's
  g.Output(g.Unary("abs", g.Attention("attend", between, between, first), SAGE_FN_ABS));
  const SessionOptions options = Capturing();
  auto session = Open(g, ToyEngine(kRecording), options);
  CHECK(session->NodeDevice(1) == "device type 12:0");
  CHECK(session->NodeDevice(2) == "cpu");
  for (uint32_t run = 1; run <= 4; ++run) {
    SetRows(*session, 6, run);
    REQUIRE(session->Run().ok());
    CHECK(Get(*session, 0) == Eager(g, 6, run));
  }
  CHECK(session->counters().graphs_recorded == 2);
  CHECK(session->counters().graphs_replayed == 6);
}

TEST_CASE(
    "S15 graph capture: a caller's ordinary memory is copied outside the recording and page-locked memory inside") {
  const GraphBuilder g = OnDevice();
  std::vector<float> in(96), out(96);
  const int64_t shape[] = {1, 2, 6, 8};
  for (const int32_t where : {SAGE_CPU, SAGE_CUDA_HOST}) {
    auto session = Open(g, ToyEngine(kRecording), Capturing());
    sage_tensor x, y;
    sage_tensor_init(&x, SAGE_F32, 4, shape, in.data());
    sage_tensor_init(&y, SAGE_F32, 4, shape, out.data());
    x.device_type = y.device_type = where;
    REQUIRE(session->Bind(SAGE_INPUT, 0, &x).ok());
    REQUIRE(session->Bind(SAGE_OUTPUT, 0, &y).ok());
    for (uint32_t run = 1; run <= 4; ++run) {
      const std::vector<float> values = Random(96, run);
      std::copy(values.begin(), values.end(), in.begin());
      const Status status = session->Run();
      REQUIRE_MESSAGE(status.ok(), status.message());
      CHECK(out == Eager(g, 6, run));
    }
    // The toy knows that this memory is not its own, and does not let it be recorded: then all of it runs as ever.
    CHECK(session->counters().graphs_recorded == (where == SAGE_CPU ? 1 : 0));
    CHECK(session->counters().graphs_replayed == (where == SAGE_CPU ? 3 : 0));
  }
}

TEST_CASE("S15 graph capture: what cannot be recorded runs as ever") {
  const GraphBuilder g = OnDevice();
  for (const ToyOptions& options : {ToyOptions{{"toydev.records", "0"}}, ToyOptions{{"toydev.no_capture", "1"}},
                                    ToyOptions{{"toydev.fail_capture", "1"}}}) {
    CAPTURE(options[0].first);
    auto session = Open(g, ToyEngine(And(options)), Capturing());
    for (uint32_t run = 1; run <= 4; ++run) {
      SetRows(*session, 6, run);
      const Status status = session->Run();
      REQUIRE_MESSAGE(status.ok(), status.message());
      CHECK(Get(*session, 0) == Eager(g, 6, run));
    }
    CHECK(session->counters().graphs_recorded == 0);
    CHECK(session->counters().graphs_replayed == 0);
  }
}

TEST_CASE("S15 S16 graph capture: replays take no heap memory") {
  GraphBuilder g;
  const Dim rows = g.Symbol("rows", 32);
  const int32_t x = g.Input("x", SAGE_F32, {Fixed(1), Fixed(2), rows, Fixed(8)});
  g.Output(g.Attention("attend", x, x, x));
  SessionOptions options = Capturing();
  options.trace = true;
  auto session = Open(g, ToyEngine(kRecording), options);
  uint64_t before = 0;
  for (int round = 0; round < 5; ++round) {
    if (round == 4) before = HeapAllocations();
    for (const int64_t length : {5, 32, 17}) {
      const int64_t shape[] = {1, 2, length, 8};
      auto buffer = session->InputBuffer(0, shape);
      const bool filled = buffer.ok();
      for (int64_t i = 0; filled && i < length * 16; ++i) static_cast<float*>(buffer->data)[i] = float(i % 7) - 3;
      if (!filled || !session->Run().ok()) FAIL("a run failed");
    }
  }
  CHECK(HeapAllocations() == before);
  CHECK(session->counters().graphs_replayed >= 6);
}

TEST_CASE("S15 graph capture: a fault in a replay names its nodes and the session goes on") {
  const GraphBuilder g = OnDevice();
  auto session = Open(g, ToyEngine(And({{"toydev.failing_command", "8"}})), Capturing());  // the third run's second
  SetRows(*session, 6, 1);
  CHECK(session->Run().ok());
  CHECK(session->Run().ok());
  const Status late = session->Run();
  CHECK(late.code() == SAGE_E_DEVICE);
  CHECK(late.message() ==
        "one of the nodes from \"project\" to \"neg\": device type 12:0: the toy device tripped over a node");
  CHECK(session->Run().ok());
  CHECK(Get(*session, 0) == Eager(g, 6, 1));
}

TEST_CASE("S15 graph capture: cancelled while it is recorded, and recorded by the next run") {
  const GraphBuilder g = OnDevice();
  SessionOptions options = Capturing();
  int polls = 0;
  options.cancel_user = &polls;
  options.cancel = [](void* user) -> int32_t { return ++*static_cast<int*>(user) == 5; };
  auto session = Open(g, ToyEngine(kRecording), options);
  SetRows(*session, 6, 1);
  REQUIRE(session->Run().ok());  // three nodes, three polls
  const Status cancelled = session->Run();
  CHECK(cancelled.code() == SAGE_E_CANCELLED);
  for (uint32_t run = 1; run <= 3; ++run) {
    SetRows(*session, 6, run);
    REQUIRE(session->Run().ok());
    CHECK(Get(*session, 0) == Eager(g, 6, run));
  }
  CHECK(session->counters().graphs_recorded == 1);
}

TEST_CASE("S15 graph capture: runs that are verified are not replayed") {
  const GraphBuilder g = OnDevice();
  SessionOptions options = Capturing();
  options.verify = Verify::kAlways;
  auto session = Open(g, ToyEngine(kRecording), options);
  for (uint32_t run = 1; run <= 3; ++run) {
    SetRows(*session, 6, run);
    REQUIRE(session->Run().ok());
    CHECK(session->verify_reports().size() == 3);
  }
  CHECK(session->counters().graphs_replayed == 0);
}
