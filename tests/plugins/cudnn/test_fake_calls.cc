// test_fake_calls.cc: the fake cuDNN around a graph: engines and failures as told, plans as texts, variant packs, CUDA
// graphs, and the rule that a handle is one thread's.
#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "fake_cudnn.h"
#include "fake_graph.h"
#include "graph_testing.h"

namespace sage::cudnn::fake {
namespace {

const Dims kDims{1, 1, 1, 4};

// y = x * a, of four floats, a by value.
class Scaled {
 public:
  Scaled() : g(Begin()) {}
  Descriptor Graph() {
    g.Pointwise(kMultiply, g.Tensor(1, kFloat, kDims), g.Scalar(2, kFloat), g.Tensor(3, kFloat, kDims));
    return g.Graph();
  }
  Descriptor Pack() { return g.Pack({{1, x}, {2, &a}, {3, y}}, g.workspace()); }
  int Execute(Descriptor plan, Descriptor pack) { return g.library().BackendExecute(g.handle(), plan, pack); }
  std::string LastError() {
    char said[512];
    g.library().GetLastErrorString(said, sizeof said);
    return said;
  }

  Graphs g;
  float x[4] = {1, 2, 3, 4}, y[4] = {}, a = 10;
};

std::string JsonOf(const Graphs& g, Descriptor plan) {
  int64_t bytes = 0, got = 0;
  CHECK(g.library().BackendGetAttribute(plan, kPlanJson, kTypeChar, 0, &bytes, nullptr) == kSuccess);
  std::string json(static_cast<size_t>(bytes), '\0');
  CHECK(g.library().BackendGetAttribute(plan, kPlanJson, kTypeChar, bytes - 1, &got, json.data()) == kSizeInsufficient);
  CHECK(g.library().BackendGetAttribute(plan, kPlanJson, kTypeChar, bytes, &got, json.data()) == kSuccess);
  CHECK(got == bytes);
  return json;
}

Descriptor PlanOf(Graphs* g, const std::string& json) {
  const Descriptor plan = g->Make(kExecutionPlan);
  g->Set<Handle>(plan, kPlanHandle, kTypeHandle, {g->handle()});
  g->Set(plan, kPlanJson, kTypeChar, std::vector<char>(json.begin(), json.end()));
  return g->Finalize(plan);
}

}  // namespace

TEST_CASE("fake cudnn: heuristics give the engines that they were told") {
  Scaled s;
  The().engines[kHeuristicA] = {{.index = 11,
                                 .numerical_notes = {0, 4},
                                 .behavior_notes = {3},
                                 .workspace_bytes = 64,
                                 .declared_bytes = 96,
                                 .status = kSuccess,
                                 .text = ""},
                                {.index = 12,
                                 .numerical_notes = {},
                                 .behavior_notes = {},
                                 .workspace_bytes = 0,
                                 .declared_bytes = -1,
                                 .status = 3002,
                                 .text = "head dimension 7"}};
  The().engines[kHeuristicFallback].clear();
  const Library& library = s.g.library();
  const Descriptor graph = s.Graph();
  const auto results = [&](int mode, int64_t capacity, Descriptor* into) {
    const Descriptor heuristics = s.g.Make(kEngineHeuristics);
    s.g.Refer(heuristics, kHeuristicsGraph, graph);
    s.g.Set<int>(heuristics, kHeuristicsMode, kTypeHeuristicMode, {mode});
    s.g.Finalize(heuristics);
    int64_t count = -1;
    CHECK(library.BackendGetAttribute(heuristics, kHeuristicsResults, kTypeDescriptor, capacity, &count, into) ==
          kSuccess);
    return count;
  };
  CHECK(results(kHeuristicFallback, 0, nullptr) == 0);
  CHECK(results(kHeuristicA, 0, nullptr) == 2);
  Descriptor configs[] = {s.g.Make(kEngineConfig), s.g.Make(kEngineConfig), s.g.Make(kEngineConfig)};
  CHECK(results(kHeuristicA, 3, configs) == 2);
  CHECK(The().asked == 3);
  Descriptor engine = s.g.Make(kEngine);
  int64_t count = 0, number = 0;
  int notes[kMostNotes] = {};
  const auto get = [&](Descriptor of, int attribute, int type, int64_t capacity, void* into) {
    CHECK(library.BackendGetAttribute(of, attribute, type, capacity, &count, into) == kSuccess);
  };
  get(configs[0], kEngineConfigWorkspaceSize, kTypeInt64, 1, &number);
  CHECK(number == 96);
  get(configs[0], kEngineConfigEngine, kTypeDescriptor, 1, &engine);
  get(engine, kEngineGlobalIndex, kTypeInt64, 1, &number);
  CHECK(number == 11);
  get(engine, kEngineNumericalNotes, kTypeNumericalNote, kMostNotes, notes);
  CHECK((count == 2 && notes[0] == 0 && notes[1] == kNoteNondeterministic));
  get(engine, kEngineBehaviorNotes, kTypeBehaviorNote, kMostNotes, notes);
  CHECK((count == 1 && notes[0] == kNoteNativeGraph));
  const auto plan = [&](Descriptor config) {
    const Descriptor made = s.g.Make(kExecutionPlan);
    s.g.Set<Handle>(made, kPlanHandle, kTypeHandle, {s.g.handle()});
    s.g.Refer(made, kPlanEngineConfig, config);
    return s.g.Finalize(made);
  };
  get(plan(configs[0]), kPlanWorkspaceSize, kTypeInt64, 1, &number);
  CHECK(number == 64);
  CHECK(s.g.status() == kSuccess);
  plan(configs[1]);
  CHECK(s.g.Take() == 3002);
  CHECK(s.g.text() == "head dimension 7");
  CHECK(std::string(library.GetErrorString(3002)) == "CUDNN_STATUS_NOT_SUPPORTED_SHAPE");
  plan(configs[2]);  // never filled
  CHECK(s.g.Take() == kNotFinalized);
  CHECK(The().plans == 1);
}

TEST_CASE("fake cudnn: calls fail as told") {
  Scaled s;
  The().failures.push_back(
      {.function = "BackendExecute", .status = 5000, .text = "the device fell off", .after = 1, .times = 1});
  The().failures.push_back(
      {.function = "BackendFinalize", .status = 4001, .text = "no compiler", .descriptor = kExecutionPlan, .times = 1});
  const Descriptor graph = s.Graph(), failed = s.g.Plan(graph);
  CHECK(s.g.Take() == 4001);
  CHECK(s.g.text() == "no compiler");
  (void)failed;
  const Descriptor plan = s.g.Plan(graph), pack = s.Pack();
  CHECK(s.Execute(plan, pack) == kSuccess);
  CHECK(s.Execute(plan, pack) == 5000);
  CHECK(s.LastError() == "the device fell off");
  CHECK(s.Execute(plan, pack) == kSuccess);
  CHECK(The().runs.size() == 2);
  The().failures.push_back({.function = "Create", .status = 1001, .text = "no driver"});
  Handle handle = nullptr;
  CHECK(s.g.library().Create(&handle) == 1001);
  The().judge = [](DescriptorType of, const std::string& text, std::string* why) {
    if (of != kEngineHeuristics || text.find("multiply") == std::string::npos) return kSuccess;
    *why = "no products here";
    return 3001;
  };
  s.g.Plan(graph);
  CHECK(s.g.Take() == 3001);
  CHECK(s.g.text() == "no products here");
  CHECK(The().Faults() == "");
}

TEST_CASE("fake cudnn: a run wants every tensor bound and at its alignment") {
  Scaled s;
  const Descriptor plan = s.g.Plan(s.Graph());
  const auto run = [&](std::vector<std::pair<int64_t, void*>> bound, void* workspace) {
    const Descriptor pack = s.g.Pack(bound, workspace);
    if (const int status = s.g.Take(); status != kSuccess) return status;
    return s.Execute(plan, pack);
  };
  void* const room = s.g.workspace();
  CHECK(run({{1, s.x}, {2, &s.a}, {3, s.y}}, room) == kSuccess);
  CHECK(s.y[3] == 40);
  CHECK(static_cast<unsigned char*>(room)[255] == 0xff);  // the workspace is the plan's, all of it
  CHECK(run({{1, s.x}, {3, s.y}}, room) == kBadParam);
  CHECK(s.LastError() == "the tensor of uid 2 is not bound");
  CHECK(run({{1, s.x}, {2, &s.a}, {3, nullptr}}, room) == kNullPointer);
  CHECK(run({{1, s.x}, {2, &s.a}, {3, s.y}, {4, s.y}}, room) == kBadParam);
  CHECK(run({{1, s.x}, {2, &s.a}, {3, s.y}, {3, s.y}}, room) == kDuplicatedEntries);
  CHECK(run({{1, s.x + 1}, {2, &s.a}, {3, s.y}}, room) == kMisalignedPointer);
  CHECK(run({{1, s.x}, {2, &s.a}, {3, s.y}}, nullptr) == kNullPointer);
  CHECK(run({{1, s.x}, {2, &s.a}, {3, s.y}}, static_cast<char*>(room) + 8) == kMisalignedPointer);
  CHECK(The().faults.size() == 6);  // but for the pack, which was never run
  CHECK(The().runs.size() == 1);
  CHECK(The().runs[0].engine == 7);
  CHECK(The().runs[0].bound.at(3) == s.y);
  const Descriptor pack = s.Pack();
  CHECK(s.g.library().BackendExecute(s.g.handle(), pack, plan) == kWrongDescriptorType);
  CHECK(s.g.library().BackendExecute(nullptr, plan, pack) == kBadParam);
  The().computes = false;
  s.y[0] = -1;
  CHECK(s.Execute(plan, pack) == kSuccess);
  CHECK(s.y[0] == -1);
}

TEST_CASE("fake cudnn: descriptors may go before what was made of them") {
  Scaled s;
  Descriptor plan = nullptr;
  std::string json;
  {
    Graphs builder(s.g.library());
    builder.Pointwise(kMultiply, builder.Tensor(1, kFloat, kDims), builder.Scalar(2, kFloat),
                      builder.Tensor(3, kFloat, kDims));
    json = JsonOf(builder, builder.Plan(builder.Graph()));
    CHECK(LiveDescriptors() > 0);
  }
  CHECK(LiveDescriptors() == 0);
  plan = PlanOf(&s.g, json);
  REQUIRE(s.g.status() == kSuccess);
  CHECK(s.Execute(plan, s.Pack()) == kSuccess);
  CHECK(s.y[1] == 20);
  CHECK(The().Faults() == "");
  CHECK(The().created == 2);
  CHECK(The().destroyed == 1);
}

TEST_CASE("fake cudnn: the text of a plan is a plan again for the same version and device") {
  Scaled s;
  const Descriptor plan = s.g.Plan(s.Graph(), kHeuristicFallback);
  const std::string json = JsonOf(s.g, plan);
  CHECK_MESSAGE(json.find("\"cudnn_version\":91900") != std::string::npos, json);
  const Descriptor loaded = PlanOf(&s.g, json);
  REQUIRE_MESSAGE(s.g.status() == kSuccess, s.g.text());
  CHECK(The().loaded_plans == 1);
  CHECK(The().plans == 1);
  CHECK(Describe(loaded) == Describe(plan));
  CHECK(JsonOf(s.g, loaded) == json);
  CHECK(s.Execute(loaded, s.Pack()) == kSuccess);
  CHECK(s.y[2] == 30);
  CHECK(The().runs[0].engine == 3);
  const auto refused = [&](const std::string& text) {
    PlanOf(&s.g, text);
    return s.g.Take();
  };
  CHECK(refused("{}") == kBadParam);
  std::string damaged = json;
  damaged[json.size() - 4] = damaged[json.size() - 4] == '1' ? '2' : '1';
  CHECK(refused(damaged) == kBadParam);
  The().version = 91901;
  CHECK(refused(json) == kSerializationVersion);
  The().version = 91900, The().device = "another";
  CHECK(refused(json) == kWrongArchitecture);
  // Uids are part of it: a plan with others does not stand for this one.
  The().device = "FakeH200";
  Graphs other(s.g.library());
  other.Pointwise(kMultiply, other.Tensor(11, kFloat, kDims), other.Scalar(2, kFloat), other.Tensor(3, kFloat, kDims));
  CHECK(JsonOf(other, other.Plan(other.Graph(), kHeuristicFallback)) != json);
}

TEST_CASE("fake cudnn: plans are made for a device that is described") {
  const Library library = Begin();
  Graphs g(library);
  const Descriptor here = g.Make(kDeviceProperties);
  g.Set<Handle>(here, kDevicePropertiesHandle, kTypeHandle, {g.handle()});
  g.Finalize(here);
  char text[64];
  int64_t bytes = 0;
  REQUIRE(library.BackendGetAttribute(here, kDevicePropertiesJson, kTypeChar, 64, &bytes, text) == kSuccess);
  const Descriptor there = g.Make(kDeviceProperties);
  g.Set(there, kDevicePropertiesJson, kTypeChar, std::vector<char>(text, text + bytes));
  g.Finalize(there);
  g.Pointwise(kTanh, g.Tensor(1, kFloat, kDims), nullptr, g.Tensor(2, kFloat, kDims));
  const Descriptor graph = g.Graph(), heuristics = g.Make(kEngineHeuristics), plan = g.Make(kExecutionPlan);
  Descriptor config = g.Make(kEngineConfig);
  g.Refer(heuristics, kHeuristicsGraph, graph);
  g.Set<int>(heuristics, kHeuristicsMode, kTypeHeuristicMode, {kHeuristicA});
  g.Refer(heuristics, kHeuristicsDevice, there);
  g.Finalize(heuristics);
  CHECK(library.BackendGetAttribute(heuristics, kHeuristicsResults, kTypeDescriptor, 1, &bytes, &config) == kSuccess);
  g.Refer(plan, kPlanEngineConfig, config);
  g.Finalize(plan);
  CHECK_MESSAGE(g.status() == kSuccess, g.text());
  const std::string json = JsonOf(g, plan);
  const Descriptor loaded = g.Make(kExecutionPlan);
  g.Set(loaded, kPlanJson, kTypeChar, std::vector<char>(json.begin(), json.end()));
  CHECK(library.BackendFinalize(loaded) == kBadParam);  // for nobody
  g.Refer(loaded, kPlanDevice, there);
  CHECK(library.BackendFinalize(loaded) == kSuccess);
}

TEST_CASE("S15 fake cudnn: a CUDA graph is filled and replayed with the scalars of then") {
  Scaled s;
  const Descriptor graph = s.Graph(), plan = s.g.Plan(graph), pack = s.Pack();
  int cuda_graph = 0;
  const auto populate = [&](Descriptor of) {
    return s.g.library().BackendPopulateCudaGraph(s.g.handle(), of, pack, &cuda_graph);
  };
  CHECK(populate(plan) == kSuccess);
  CHECK(s.y[0] == 0);
  s.a = 100, s.x[0] = 5;
  CHECK(Replay(0) == kSuccess);
  CHECK(s.y[0] == 50);
  CHECK(The().runs.empty());
  CHECK(The().populated.size() == 1);
  CHECK(The().populated[0].cuda_graph == &cuda_graph);
  CHECK(Replay(1) == kBadParam);
  CHECK(populate(s.g.Plan(graph, kHeuristicFallback)) == kNoNativeGraph);
}

TEST_CASE("S19 fake cudnn: a handle that two threads use at once is a fault") {
  Scaled s;
  const Descriptor plan = s.g.Plan(s.Graph()), pack = s.Pack();
  int stream = 0;
  const Library& library = s.g.library();
  const auto elsewhere = [&] {
    int status = kSuccess;
    std::thread([&] { status = library.SetStream(s.g.handle(), &stream); }).join();
    return status;
  };
  CHECK(library.SetStream(s.g.handle(), &stream) == kSuccess);
  CHECK(elsewhere() == kBadParam);
  CHECK(The().faults.size() == 1);
  CHECK(s.Execute(plan, pack) == kSuccess);
  CHECK(The().runs[0].stream == &stream);
  // One after the other is no fault, whoever it is.
  CHECK(elsewhere() == kSuccess);
  CHECK(s.Execute(plan, pack) == kBadParam);
  CHECK(The().faults.size() == 2);
}

TEST_CASE("S19 fake cudnn: threads with handles of their own build and run at once") {
  const Library library = Begin();
  constexpr int kThreads = 4, kRounds = 20;
  std::vector<std::thread> threads;
  std::vector<int> wrong(kThreads, 0);
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      for (int round = 0; round < kRounds; ++round) {
        Graphs g(library);
        float x[4] = {1, 2, 3, 4}, y[4] = {}, a = static_cast<float>(t + 1);
        g.Pointwise(kMultiply, g.Tensor(1, kFloat, kDims), g.Scalar(2, kFloat), g.Tensor(3, kFloat, kDims));
        if (library.SetStream(g.handle(), &x) != kSuccess || g.Run({{1, x}, {2, &a}, {3, y}}) != kSuccess ||
            y[3] != 4 * a)
          ++wrong[static_cast<size_t>(t)];
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(kThreads, 0));
  CHECK(The().runs.size() == kThreads * kRounds);
  CHECK(The().plans == kThreads * kRounds);
  CHECK(The().Faults() == "");
  CHECK(LiveDescriptors() == 0);
}

}  // namespace sage::cudnn::fake
