// plan.cc: see the header.
#include "plan.h"

#include <algorithm>
#include <array>

#include "library.h"
#include "sdpa_graph.h"

namespace sage::cudnn {
namespace {

// More than an SDPA graph ever has; a run's bindings live on the stack.
constexpr size_t kMostBindings = 32;

struct EngineNotes {
  int64_t index = -1;
  bool nondeterministic = false, compiled = false, native_graph = false;
};

EngineNotes NotesOf(Maker* make, const Object& config) {
  EngineNotes notes;
  const Object engine = make->Create(kEngine);
  Descriptor into = engine.get();
  (void)make->Get(config, kEngineConfigEngine, kTypeDescriptor, 1, &into);
  (void)make->Get(engine, kEngineGlobalIndex, kTypeInt64, 1, &notes.index);
  std::array<int, kMostNotes> of{};
  const auto has = [&of](int64_t count, int note) {
    return std::find(of.begin(), of.begin() + count, note) != of.begin() + count;
  };
  int64_t count = make->Get(engine, kEngineNumericalNotes, kTypeNumericalNote, kMostNotes, of.data());
  notes.nondeterministic = has(count, kNoteNondeterministic);
  count = make->Get(engine, kEngineBehaviorNotes, kTypeBehaviorNote, kMostNotes, of.data());
  notes.compiled = has(count, kNoteRuntimeCompiled), notes.native_graph = has(count, kNoteNativeGraph);
  return notes;
}

}  // namespace

void Engines::Ask(const Target& target, Descriptor graph, HeuristicMode mode) {
  Maker make(graph_->make().library());
  Object heuristics = make.Create(kEngineHeuristics);
  make.Set(heuristics, kHeuristicsGraph, graph);
  make.Set(heuristics, kHeuristicsMode, kTypeHeuristicMode, mode);
  if (target.device != nullptr) make.Set(heuristics, kHeuristicsDevice, target.device);
  make.Finalize(heuristics, "asking for engines");
  const int64_t offered = make.Get(heuristics, kHeuristicsResults, kTypeDescriptor, 0, nullptr);
  std::vector<Object> configs;
  std::vector<Descriptor> into;
  for (int64_t i = 0; i < offered && make.ok(); ++i) {
    configs.push_back(make.Create(kEngineConfig));
    into.push_back(configs.back().get());
  }
  const int64_t got =
      offered == 0 ? 0 : make.Get(heuristics, kHeuristicsResults, kTypeDescriptor, offered, into.data());
  for (int64_t i = 0; i < got && make.ok(); ++i) {
    Object& config = configs[static_cast<size_t>(i)];
    if (NotesOf(&make, config).nondeterministic) continue;
    int64_t bytes = 0;
    (void)make.Get(config, kEngineConfigWorkspaceSize, kTypeInt64, 1, &bytes);
    if (!make.ok()) break;
    workspace_bytes_ = std::max(workspace_bytes_, bytes);
    configs_.push_back(std::move(config));
  }
  // The last word counts: that of the fallback where there is one.
  if (!make.ok()) failure_ = make.failure();
}

Engines Engines::Find(const Library& library, const Target& target, const Sdpa& sdpa) {
  Engines engines(library);
  WriteSdpa(sdpa, engines.graph_.get());
  const Descriptor graph = engines.graph_->Finish(target.handle);
  if (graph == nullptr) {
    engines.failure_ = engines.graph_->failure();
    return engines;
  }
  std::string said;  // of the first question: the fallback's engines have less to say
  for (const HeuristicMode mode : {kHeuristicA, kHeuristicFallback}) {
    engines.Ask(target, graph, mode);
    if (!engines.configs_.empty()) break;
    if (engines.failure_.ok() && said.empty()) said = LastError(library);
    // What is not "unsupported" is not passed over.
    if (!engines.failure_.ok() && engines.failure_.outcome() != Outcome::kUnsupported) return engines;
  }
  if (!engines.configs_.empty())
    engines.failure_ = {};
  else if (engines.failure_.ok())
    engines.failure_ = {kNotSupported, "no engine of cuDNN computes this graph" + (said.empty() ? "" : ": " + said)};
  return engines;
}

std::unique_ptr<Plan> Plan::Build(const Library& library, const Target& target, const Sdpa& sdpa, Failure* failure) {
  *failure = {};
  auto engines = std::make_unique<Engines>(Engines::Find(library, target, sdpa));
  if (!engines->failure().ok()) return *failure = engines->failure(), nullptr;
  for (const Object& config : engines->configs_) {
    Maker make(library);
    std::unique_ptr<Plan> plan(new Plan(library));
    const EngineNotes notes = NotesOf(&make, config);
    plan->plan_ = make.Create(kExecutionPlan);
    if (target.handle != nullptr) make.Set(plan->plan_, kPlanHandle, kTypeHandle, 1, &target.handle);
    make.Set(plan->plan_, kPlanEngineConfig, config.get());
    make.Finalize(plan->plan_, "making a plan");
    (void)make.Get(plan->plan_, kPlanWorkspaceSize, kTypeInt64, 1, &plan->workspace_bytes_);
    if (make.ok() && plan->workspace_bytes_ > engines->workspace_bytes())
      make.Note(kNotSupported, "engine " + std::to_string(notes.index) + " takes " +
                                   std::to_string(plan->workspace_bytes_) + " bytes of workspace and had declared " +
                                   std::to_string(engines->workspace_bytes()));
    if (!make.ok()) {
      *failure = make.failure();
      if (failure->outcome() != Outcome::kUnsupported) return nullptr;
      continue;
    }
    plan->engine_ = notes.index, plan->compiled_ = notes.compiled, plan->native_graph_ = notes.native_graph;
    plan->engines_ = std::move(engines);
    *failure = {};
    return plan;
  }
  return nullptr;
}

std::unique_ptr<Plan> Plan::FromText(const Library& library, const Target& target, std::string_view text,
                                     Failure* failure) {
  Maker make(library);
  std::unique_ptr<Plan> plan(new Plan(library));
  plan->plan_ = make.Create(kExecutionPlan);
  // With neither of the two cuDNN 9.19 reads address 0.
  if (target.handle != nullptr) make.Set(plan->plan_, kPlanHandle, kTypeHandle, 1, &target.handle);
  if (target.device != nullptr) make.Set(plan->plan_, kPlanDevice, target.device);
  make.Set(plan->plan_, kPlanJson, kTypeChar, static_cast<int64_t>(text.size()), text.data());
  make.Finalize(plan->plan_, "reading a plan");
  (void)make.Get(plan->plan_, kPlanWorkspaceSize, kTypeInt64, 1, &plan->workspace_bytes_);
  *failure = make.failure();
  return make.ok() ? std::move(plan) : nullptr;
}

std::string Plan::Text(Failure* failure) const {
  Maker make(library_);
  std::string text;
  const int64_t bytes = make.Get(plan_, kPlanJson, kTypeChar, 0, nullptr);
  text.resize(static_cast<size_t>(bytes));
  if (bytes > 0) (void)make.Get(plan_, kPlanJson, kTypeChar, bytes, text.data());
  *failure = make.failure();
  return make.ok() ? text : std::string();
}

int Plan::Pack(std::span<const Binding> bindings, void* workspace, Object* pack) const {
  if (bindings.size() > kMostBindings) return kBadParam;
  std::array<int64_t, kMostBindings> uids;
  std::array<void*, kMostBindings> pointers;
  for (size_t i = 0; i < bindings.size(); ++i) uids[i] = bindings[i].uid, pointers[i] = bindings[i].pointer;
  Maker make(library_);
  const auto count = static_cast<int64_t>(bindings.size());
  *pack = make.Create(kVariantPack);
  make.Set(*pack, kVariantPackUniqueIds, kTypeInt64, count, uids.data());
  make.Set(*pack, kVariantPackPointers, kTypeVoidPointer, count, pointers.data());
  make.Set(*pack, kVariantPackWorkspace, kTypeVoidPointer, 1, &workspace);
  make.Finalize(*pack, "binding a run");
  return make.failure().status;
}

int Plan::Execute(Handle handle, std::span<const Binding> bindings, void* workspace) const {
  Object pack;
  const int status = Pack(bindings, workspace, &pack);
  return status != kSuccess ? status : library_.BackendExecute(handle, plan_.get(), pack.get());
}

int Plan::Populate(Handle handle, std::span<const Binding> bindings, void* workspace, void* graph) const {
  Object pack;
  const int status = Pack(bindings, workspace, &pack);
  return status != kSuccess ? status : library_.BackendPopulateCudaGraph(handle, plan_.get(), pack.get(), graph);
}

}  // namespace sage::cudnn
