// fake_cudnn.cc: the fake cuDNN's functions, over its descriptors, handles, plans and interpreter; see the header.
#include "fake_cudnn.h"

#include <algorithm>
#include <cstring>
#include <mutex>
#include <utility>

#include "fake_descriptor.h"
#include "fake_handle.h"
#include "fake_interpreter.h"
#include "fake_plan.h"

namespace sage::cudnn::fake {
namespace {

constexpr int64_t kWorkspaceAlignment = 16;
constexpr int kEveryByte = 0xff;  // NaN, in every float

// What PopulateCudaGraph keeps: by-value scalars are those of then.
struct Populated {
  std::shared_ptr<const Plan> plan;
  std::map<int64_t, void*> bound;
  void* workspace = nullptr;
  std::vector<std::unique_ptr<uint64_t>> scalars;
};

// Of everything in State that functions write.
std::mutex& Mutex() {
  static std::mutex mutex;
  return mutex;
}
std::vector<std::shared_ptr<const Populated>>& AllPopulated() {
  static std::vector<std::shared_ptr<const Populated>> all;
  return all;
}

thread_local std::string last_error;

int Said(const Answer& answer) {
  if (!answer.ok()) last_error = answer.text;
  return answer.status;
}
int Fault(int status, std::string text) {
  {
    const std::lock_guard<std::mutex> lock(Mutex());
    The().faults.push_back(text);
  }
  return Said({status, std::move(text)});
}

// Whether this call is to fail, and how.
Answer Told(const char* function, int descriptor = -1) {
  const std::lock_guard<std::mutex> lock(Mutex());
  for (Failure& failure : The().failures) {
    if (failure.function != function || (failure.descriptor >= 0 && failure.descriptor != descriptor)) continue;
    const int seen = failure.seen++;
    if (seen >= failure.after && seen - failure.after < failure.times) return {failure.status, failure.text};
  }
  return {};
}

size_t GetVersion() { return The().version; }

const char* GetErrorString(int status) {
  static const std::map<int, const char*> names = {
      {0, "CUDNN_STATUS_SUCCESS"},
      {1001, "CUDNN_STATUS_NOT_INITIALIZED"},
      {1002, "CUDNN_STATUS_SUBLIBRARY_VERSION_MISMATCH"},
      {1003, "CUDNN_STATUS_SERIALIZATION_VERSION_MISMATCH"},
      {1008, "CUDNN_STATUS_SUBLIBRARY_LOADING_FAILED"},
      {2000, "CUDNN_STATUS_BAD_PARAM"},
      {2002, "CUDNN_STATUS_BAD_PARAM_NULL_POINTER"},
      {2003, "CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER"},
      {2004, "CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED"},
      {2005, "CUDNN_STATUS_BAD_PARAM_OUT_OF_BOUND"},
      {2006, "CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT"},
      {2008, "CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH"},
      {2009, "CUDNN_STATUS_BAD_PARAM_DUPLICATED_ENTRIES"},
      {2010, "CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE"},
      {2012, "CUDNN_STATUS_BAD_PARAM_DESCRIPTOR_TYPE"},
      {3000, "CUDNN_STATUS_NOT_SUPPORTED"},
      {3001, "CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN"},
      {3002, "CUDNN_STATUS_NOT_SUPPORTED_SHAPE"},
      {3003, "CUDNN_STATUS_NOT_SUPPORTED_DATA_TYPE"},
      {3004, "CUDNN_STATUS_NOT_SUPPORTED_LAYOUT"},
      {3007, "CUDNN_STATUS_NOT_SUPPORTED_ARCH_MISMATCH"},
      {3009, "CUDNN_STATUS_NOT_SUPPORTED_SUBLIBRARY_UNAVAILABLE"},
      {3013, "CUDNN_STATUS_NOT_SUPPORTED_CUDA_GRAPH_NATIVE_API"},
      {4000, "CUDNN_STATUS_INTERNAL_ERROR"},
      {4001, "CUDNN_STATUS_INTERNAL_ERROR_COMPILATION_FAILED"},
      {4003, "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED"},
      {4004, "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"},
      {5000, "CUDNN_STATUS_EXECUTION_FAILED"},
      {5001, "CUDNN_STATUS_EXECUTION_FAILED_CUDA_DRIVER"},
      {5003, "CUDNN_STATUS_EXECUTION_FAILED_CUDART"},
  };
  const auto found = names.find(status);
  return found == names.end() ? "CUDNN_STATUS_OF_NO_NAME" : found->second;
}

// Reading the text takes it away, as cuDNN has it.
void GetLastErrorString(char* message, size_t capacity) {
  if (message == nullptr || capacity == 0) return;
  const size_t length = std::min(last_error.size(), capacity - 1);
  std::memcpy(message, last_error.data(), length);
  message[length] = '\0';
  last_error.clear();
}

int Create(Handle* out) {
  if (const Answer told = Told("Create"); !told.ok()) return Said(told);
  if (out == nullptr) return Fault(kNullPointer, "no place for the handle");
  *out = MakeHandle();
  const std::lock_guard<std::mutex> lock(Mutex());
  ++The().created;
  return kSuccess;
}

int Destroy(Handle handle) {
  if (const Answer told = Told("Destroy"); !told.ok()) return Said(told);
  if (!IsHandle(handle)) return Fault(kBadParam, "Destroy of a handle that is none, or was destroyed");
  if (std::string fault = EndHandle(handle); !fault.empty()) return Fault(kBadParam, std::move(fault));
  const std::lock_guard<std::mutex> lock(Mutex());
  ++The().destroyed;
  return kSuccess;
}

int SetStream(Handle handle, void* stream) {
  if (const Answer told = Told("SetStream"); !told.ok()) return Said(told);
  if (!IsHandle(handle)) return Fault(kBadParam, "SetStream of a handle that is none, or was destroyed");
  if (std::string fault = BeginUse(handle, stream); !fault.empty()) return Fault(kBadParam, std::move(fault));
  return kSuccess;
}

int BackendCreateDescriptor(int type, Descriptor* out) {
  if (const Answer told = Told("BackendCreateDescriptor", type); !told.ok()) return Said(told);
  return Said(MakeRecord(type, out));
}

int BackendDestroyDescriptor(Descriptor descriptor) {
  if (!Forget(descriptor)) return Fault(kNullPointer, "a descriptor is destroyed that is none, or was destroyed");
  return kSuccess;
}

int BackendSetAttribute(Descriptor descriptor, int attribute, int type, int64_t count, const void* values) {
  const RecordPointer record = Find(descriptor);
  if (record == nullptr) return Fault(kNullPointer, "an attribute is set on what is no descriptor");
  if (const Answer told = Told("BackendSetAttribute", record->type); !told.ok()) return Said(told);
  return Said(SetIn(record.get(), attribute, type, count, values));
}

int BackendGetAttribute(Descriptor descriptor, int attribute, int type, int64_t capacity, int64_t* count,
                        void* values) {
  const RecordPointer record = Find(descriptor);
  if (record == nullptr) return Fault(kNullPointer, "an attribute is asked of what is no descriptor");
  if (const Answer told = Told("BackendGetAttribute", record->type); !told.ok()) return Said(told);
  return Said(GetFrom(*record, attribute, type, capacity, count, values));
}

int BackendFinalize(Descriptor descriptor) {
  const RecordPointer record = Find(descriptor);
  if (record == nullptr) return Fault(kNullPointer, "what is finalized is no descriptor");
  if (const Answer told = Told("BackendFinalize", record->type); !told.ok()) return Said(told);
  const Answer answer = Finalize(record.get());
  const std::lock_guard<std::mutex> lock(Mutex());
  if (answer.ok() && record->type == kOperationGraph) The().last_graph = record->graph->text;
  if (answer.ok() && record->type == kEngineHeuristics) ++The().asked;
  if (answer.ok() && record->type == kExecutionPlan) ++(record->Has(kPlanJson) ? The().loaded_plans : The().plans);
  return Said(answer);
}

// What a pack binds for a plan, checked against the plan's graph.
Answer Bind(const Plan& plan, const Record& pack, std::map<int64_t, void*>* bound, void** workspace) {
  const std::vector<int64_t> uids = pack.All<int64_t>(kVariantPackUniqueIds);
  const std::vector<void*> pointers = pack.All<void*>(kVariantPackPointers);
  for (size_t i = 0; i < uids.size(); ++i) {
    const std::string named = "the tensor of uid " + std::to_string(uids[i]);
    const auto found = plan.graph->tensors.find(uids[i]);
    if (found == plan.graph->tensors.end()) return {kBadParam, named + " is bound and not in the graph"};
    const Tensor& tensor = *found->second;
    if (tensor.is_virtual) return {kBadParam, named + " is bound and virtual"};
    if (pointers[i] == nullptr) return {kNullPointer, named + " is bound to a null pointer"};
    if (!tensor.by_value && reinterpret_cast<uintptr_t>(pointers[i]) % static_cast<uintptr_t>(tensor.alignment) != 0)
      return {kMisalignedPointer,
              named + " lies at an address that is not a multiple of " + std::to_string(tensor.alignment)};
    (*bound)[uids[i]] = pointers[i];
  }
  for (const auto& [uid, tensor] : plan.graph->tensors)
    if (!tensor->is_virtual && bound->count(uid) == 0)
      return {kBadParam, "the tensor of uid " + std::to_string(uid) + " is not bound"};
  *workspace = pack.Get<void*>(kVariantPackWorkspace);
  if (plan.engine.workspace_bytes == 0) return {};
  if (*workspace == nullptr)
    return {kNullPointer, "a plan of " + std::to_string(plan.engine.workspace_bytes) + " bytes of workspace has none"};
  if (reinterpret_cast<uintptr_t>(*workspace) % kWorkspaceAlignment != 0)
    return {kMisalignedPointer, "a workspace at an address that is not a multiple of 16"};
  return {};
}

int Compute(const Plan& plan, const std::map<int64_t, void*>& bound, void* workspace) {
  if (!The().computes) return kSuccess;
  const auto scribble = [&] {
    const auto bytes = static_cast<size_t>(plan.engine.workspace_bytes);
    if (bytes != 0) std::memset(workspace, kEveryByte, bytes);
  };
  scribble();
  Answer answer = Interpret({*plan.graph, bound, The().reads_page_tails});
  scribble();
  return answer.ok() ? kSuccess : Fault(answer.status, std::move(answer.text));
}

int RunPlan(Handle handle, Descriptor plan, Descriptor pack, void* stream, void* cuda_graph) {
  const RecordPointer of_plan = Find(plan), of_pack = Find(pack);
  if (of_plan == nullptr || of_plan->type != kExecutionPlan || of_pack == nullptr || of_pack->type != kVariantPack)
    return Fault(kWrongDescriptorType, "what is run is an execution plan with a variant pack");
  if (!of_plan->finalized || !of_pack->finalized)
    return Fault(kNotFinalized, "a plan or a variant pack that is not finalized is run");
  if (!IsHandle(handle)) return Fault(kBadParam, "a run with a handle that is none, or was destroyed");
  const Plan& chosen = *of_plan->plan;
  Run run{chosen.graph->text, chosen.engine.index, stream, nullptr, {}, cuda_graph};
  if (Answer said = Bind(chosen, *of_pack, &run.bound, &run.workspace); !said.ok())
    return Fault(said.status, std::move(said.text));
  if (cuda_graph == nullptr) {
    const int status = Compute(chosen, run.bound, run.workspace);
    if (status != kSuccess) return status;
    const std::lock_guard<std::mutex> lock(Mutex());
    The().runs.push_back(std::move(run));
    return kSuccess;
  }
  const std::vector<int>& notes = chosen.engine.behavior_notes;
  if (std::find(notes.begin(), notes.end(), kNoteNativeGraph) == notes.end())
    return Said({kNoNativeGraph, "this engine fills no CUDA graphs"});
  auto populated = std::make_shared<Populated>(Populated{of_plan->plan, run.bound, run.workspace, {}});
  for (auto& [uid, pointer] : populated->bound) {
    const Tensor& tensor = *chosen.graph->tensors.at(uid);
    if (!tensor.by_value) continue;
    populated->scalars.push_back(std::make_unique<uint64_t>(0));
    std::memcpy(populated->scalars.back().get(), pointer, static_cast<size_t>(ElementSize(tensor.type)));
    pointer = populated->scalars.back().get();
  }
  const std::lock_guard<std::mutex> lock(Mutex());
  The().populated.push_back(std::move(run));
  AllPopulated().push_back(std::move(populated));
  return kSuccess;
}

// The handle is this thread's until the run has ended, however it ends.
int RunWith(Handle handle, Descriptor plan, Descriptor pack, void* cuda_graph) {
  if (!IsHandle(handle)) return Fault(kBadParam, "a run with a handle that is none, or was destroyed");
  void* stream = nullptr;
  std::string fault = BeginRun(handle, &stream);
  if (!fault.empty()) return Fault(kBadParam, std::move(fault));
  const Answer told = Told(cuda_graph == nullptr ? "BackendExecute" : "BackendPopulateCudaGraph");
  const int status = told.ok() ? RunPlan(handle, plan, pack, stream, cuda_graph) : Said(told);
  EndRun(handle);
  return status;
}

int BackendExecute(Handle handle, Descriptor plan, Descriptor pack) { return RunWith(handle, plan, pack, nullptr); }

int BackendPopulateCudaGraph(Handle handle, Descriptor plan, Descriptor pack, void* cuda_graph) {
  if (cuda_graph == nullptr) return Fault(kNullPointer, "no CUDA graph to fill");
  return RunWith(handle, plan, pack, cuda_graph);
}

}  // namespace

std::string State::Faults() const {
  const std::lock_guard<std::mutex> lock(Mutex());
  std::string all;
  for (const std::string& fault : faults) all += fault + "\n";
  return all;
}

State& The() {
  static State state;
  return state;
}

Library Begin() {
  ForgetAll();
  ForgetHandles();
  AllPopulated().clear();
  last_error.clear();
  The() = {};
  constexpr int kTensorCore = 0;  // of numerical notes
  The().engines[kHeuristicA] = {{.index = 7,
                                 .numerical_notes = {kTensorCore},
                                 .behavior_notes = {kNoteRuntimeCompiled, kNoteNativeGraph},
                                 .workspace_bytes = 256,
                                 .declared_bytes = -1,
                                 .status = kSuccess,
                                 .text = ""}};
  The().engines[kHeuristicFallback] = {{.index = 3,
                                        .numerical_notes = {kTensorCore},
                                        .behavior_notes = {},
                                        .workspace_bytes = 0,
                                        .declared_bytes = -1,
                                        .status = kSuccess,
                                        .text = ""}};
  Library library;
  library.GetVersion = GetVersion;
  library.GetErrorString = GetErrorString;
  library.GetLastErrorString = GetLastErrorString;
  library.Create = Create;
  library.Destroy = Destroy;
  library.SetStream = SetStream;
  library.BackendCreateDescriptor = BackendCreateDescriptor;
  library.BackendDestroyDescriptor = BackendDestroyDescriptor;
  library.BackendFinalize = BackendFinalize;
  library.BackendSetAttribute = BackendSetAttribute;
  library.BackendGetAttribute = BackendGetAttribute;
  library.BackendExecute = BackendExecute;
  library.BackendPopulateCudaGraph = BackendPopulateCudaGraph;
  library.path = "libcudnn.so.9 (the tests')";
  return library;
}

std::string Describe(Descriptor graph_or_plan) {
  const RecordPointer record = Find(graph_or_plan);
  if (record == nullptr || !record->finalized) return "";
  if (record->type == kOperationGraph) return record->graph->text;
  if (record->type == kExecutionPlan) return record->plan->graph->text;
  return "";
}

int Replay(size_t populated) {
  std::shared_ptr<const Populated> chosen;
  {
    const std::lock_guard<std::mutex> lock(Mutex());
    if (populated < AllPopulated().size()) chosen = AllPopulated()[populated];
  }
  if (chosen == nullptr) return Fault(kBadParam, "nothing was put into a CUDA graph under this number");
  return Compute(*chosen->plan, chosen->bound, chosen->workspace);
}

}  // namespace sage::cudnn::fake
