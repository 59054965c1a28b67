// engine_overhead.cc: what the engine adds to a node. N trivial nodes on tiny tensors through a session, beside the
// same plans called directly through the backend's border; the difference by N is the overhead per node and run.
//
// The backend is `reference`: the work is three float operations, so what it is does not matter, that it is the same on
// both sides does.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "engine.h"
#include "model/graph.h"
#include "plan/choose.h"
#include "run/session.h"

namespace {

using namespace sage;

constexpr int64_t kElements = 4;

void Require(const Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "engine_overhead: %s\n", status.message().c_str());
  std::exit(1);
}

std::shared_ptr<Engine> OneThread() {
  Options options;
  options.values = {{"threads", "1"}, {"plugin_environment", "false"}, {"plugin_folders", "false"}};
  auto engine = Engine::Create(options);
  Require(engine.status());
  return *engine;
}

std::shared_ptr<const Graph> Chain(int64_t nodes) {
  auto graph = std::make_shared<Graph>();
  graph->tensors.push_back({"x", SAGE_F32, std::vector<Dim>{{kElements, kNone}}, {}});
  graph->inputs = {0};
  for (int64_t i = 0; i < nodes; ++i) {
    Node node;
    node.name = "n" + std::to_string(i);
    node.kind = SAGE_OP_UNARY;
    node.slots = {static_cast<int32_t>(i), static_cast<int32_t>(i + 1)};
    node.attributes = sage_unary_attributes{sizeof(sage_unary_attributes), SAGE_FN_RELU, 0};
    graph->tensors.push_back({"t" + std::to_string(i), {}, {}, {}});
    graph->nodes.push_back(std::move(node));
  }
  graph->outputs = {static_cast<int32_t>(nodes)};
  return graph;
}

void RunThroughSession(benchmark::State& state, bool trace) {
  SessionOptions options;
  options.trace = trace;
  auto session = Session::Create(OneThread(), Chain(state.range(0)), options);
  Require(session.status());
  const float x[kElements] = {1, -1, 2, -2};
  const int64_t shape[] = {kElements};
  Require((*session)->SetInput(0, SAGE_F32, shape, x, sizeof x));
  Require((*session)->Run());
  for (auto _ : state) {
    const Status status = (*session)->Run();
    if (!status.ok()) state.SkipWithError(status.message().c_str());
  }
  // Printed as a time: one node's.
  state.counters["node"] = benchmark::Counter(
      static_cast<double>(state.range(0)), benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

void Session_(benchmark::State& state) { RunThroughSession(state, false); }
void SessionTraced(benchmark::State& state) { RunThroughSession(state, true); }

// The same number of the same runs, without a session.
void Direct(benchmark::State& state) {
  const auto engine = OneThread();
  float x[kElements] = {1, -1, 2, -2}, y[kElements];
  const int64_t shape[] = {kElements};
  sage_tensor in, out;
  sage_tensor_init(&in, SAGE_F32, 1, shape, x);
  sage_tensor_init(&out, SAGE_F32, 1, shape, y);
  const sage_tensor* slots[] = {&in, &out};
  const sage_unary_attributes attributes{sizeof(sage_unary_attributes), SAGE_FN_RELU, 0};
  sage_op op{};
  op.struct_size = sizeof op;
  op.kind = SAGE_OP_UNARY;
  op.num_slots = 2;
  op.attributes = &attributes;
  op.slots = slots;
  const sage_answer answer = engine->reference()->Ask(op, 0);
  const auto plan = engine->reference()->MakePlan(op, nullptr, answer.workspace_bytes);
  Require(plan.status());
  std::vector<unsigned char> workspace((*plan)->workspace_bytes() + 64);
  RunToken token;
  sage_run_args args{};
  args.struct_size = sizeof args;
  args.num_slots = 2;
  args.slots = slots;
  args.workspace = reinterpret_cast<void*>((reinterpret_cast<uintptr_t>(workspace.data()) + 63) / 64 * 64);
  args.workspace_bytes = (*plan)->workspace_bytes();
  args.run = &token;
  for (auto _ : state) {
    for (int64_t i = 0; i < state.range(0); ++i) {
      const Status status = (*plan)->Run(args);
      if (!status.ok()) state.SkipWithError(status.message().c_str());
      benchmark::DoNotOptimize(y);
    }
  }
  // Printed as a time: one node's.
  state.counters["node"] = benchmark::Counter(
      static_cast<double>(state.range(0)), benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
}

}  // namespace

BENCHMARK(Direct)->Arg(1)->Arg(100)->Arg(1000);
BENCHMARK(Session_)->Name("Session")->Arg(1)->Arg(100)->Arg(1000);
BENCHMARK(SessionTraced)->Arg(100);
BENCHMARK_MAIN();
