// fake_descriptor.cc: see the header. What becomes of a descriptor when it is finalized is in fake_finalize.cc.
#include "fake_descriptor.h"

#include <algorithm>
#include <mutex>
#include <unordered_map>

#include "fake_rules.h"

namespace sage::cudnn::fake {
namespace {

Answer Wrong(std::string text, int status = kBadParam) { return {status, std::move(text)}; }

struct Registry {
  std::mutex mutex;
  std::unordered_map<Descriptor, RecordPointer> alive;
};
Registry& All() {
  static Registry registry;
  return registry;
}

// Bytes of an element of an attribute's type.
int64_t SizeOf(int type) {
  switch (type) {
    case kTypeHandle:
    case kTypeVoidPointer:
    case kTypeDescriptor:
    case kTypeInt64:
    case kTypeDouble:
      return 8;
    case kTypeBoolean:
    case kTypeChar:
      return 1;
    default:
      return 4;  // enumerations
  }
}

// Answers with as many as fit, as cuDNN does, but of a text all or nothing.
Answer Give(int type, int64_t total, const void* all, int64_t capacity, int64_t* count, void* values) {
  if (capacity == 0) return *count = total, Answer{};
  if (type == kTypeChar && capacity < total)
    return Wrong("a text of " + std::to_string(total) + " bytes into " + std::to_string(capacity), kSizeInsufficient);
  *count = std::min(total, capacity);
  if (*count > 0) std::memcpy(values, all, static_cast<size_t>(*count * SizeOf(type)));
  return {};
}

// Fills descriptors of the caller's with engines, one each.
Answer GiveEngines(int filled_type, const std::vector<Engine>& engines, const Record& from, int64_t capacity,
                   int64_t* count, void* values) {
  *count = static_cast<int64_t>(engines.size());
  if (capacity == 0) return {};
  *count = std::min(*count, capacity);
  for (int64_t i = 0; i < *count; ++i) {
    const RecordPointer record = Find(static_cast<Descriptor*>(values)[i]);
    if (record == nullptr || record->type != filled_type)
      return Wrong("what is to be filled is no descriptor of type " + std::to_string(filled_type),
                   kWrongDescriptorType);
    if (record->finalized) return Wrong("what is to be filled has been filled");
    record->engine = engines[static_cast<size_t>(i)];
    record->graph = from.graph;
    record->device = from.device;
    record->finalized = true;
  }
  return {};
}

}  // namespace

Answer MakeRecord(int type, Descriptor* out) {
  constexpr size_t kSdpaFrom = 91301;
  if (out == nullptr) return Wrong("no place for the descriptor", kNullPointer);
  if (RulesOf(type) == nullptr || (type == kOperationSdpaForward && The().version < kSdpaFrom))
    return Wrong("no descriptor of type " + std::to_string(type), kNoHostMemory);  // as cuDNN calls it
  auto record = std::make_shared<Record>();
  record->type = type;
  *out = record.get();
  const std::lock_guard<std::mutex> lock(All().mutex);
  All().alive.emplace(*out, std::move(record));
  return {};
}

RecordPointer Find(Descriptor descriptor) {
  const std::lock_guard<std::mutex> lock(All().mutex);
  const auto found = All().alive.find(descriptor);
  return found == All().alive.end() ? nullptr : found->second;
}

bool Forget(Descriptor descriptor) {
  const std::lock_guard<std::mutex> lock(All().mutex);
  return All().alive.erase(descriptor) != 0;
}

void ForgetAll() {
  const std::lock_guard<std::mutex> lock(All().mutex);
  All().alive.clear();
}

int64_t LiveDescriptors() {
  const std::lock_guard<std::mutex> lock(All().mutex);
  return static_cast<int64_t>(All().alive.size());
}

Answer SetIn(Record* record, int attribute, int type, int64_t count, const void* values) {
  const Rule* const rule = RuleOf(record->type, attribute);
  const std::string named = "attribute " + std::to_string(attribute);
  if (rule == nullptr || rule->only_read)
    return Wrong(named + " cannot be set on a descriptor of type " + std::to_string(record->type));
  if (record->finalized) return Wrong(named + " is set after its descriptor was finalized");
  if (type != rule->type)
    return Wrong(named + " has type " + std::to_string(rule->type) + "; given: " + std::to_string(type),
                 kWrongAttributeType);
  if (count < rule->least || count > rule->most)
    return Wrong(named + " takes " + std::to_string(rule->least) + " to " + std::to_string(rule->most) +
                 " elements; given: " + std::to_string(count));
  if (values == nullptr) return Wrong(named + " is set to a null pointer", kNullPointer);
  Value value{type, count, {}, {}};
  const auto* const bytes = static_cast<const char*>(values);
  value.bytes.assign(bytes, bytes + count * SizeOf(type));
  if (type == kTypeDescriptor) {
    for (int64_t i = 0; i < count; ++i) {
      const RecordPointer other = Find(static_cast<const Descriptor*>(values)[i]);
      if (other == nullptr)
        return Wrong(named + " refers to no descriptor, or to one that was destroyed", kNullPointer);
      if (std::find(rule->kinds.begin(), rule->kinds.end(), other->type) == rule->kinds.end())
        return Wrong(named + " takes no descriptor of type " + std::to_string(other->type), kWrongDescriptorType);
      if (!other->finalized) return Wrong(named + " refers to a descriptor that is not finalized", kNotFinalized);
      value.records.push_back(other);
    }
  }
  record->values[attribute] = std::move(value);
  return {};
}

Answer GetFrom(const Record& record, int attribute, int type, int64_t capacity, int64_t* count, void* values) {
  const Rule* const rule = RuleOf(record.type, attribute);
  const std::string named = "attribute " + std::to_string(attribute);
  if (rule == nullptr) return Wrong(named + " is none of a descriptor of type " + std::to_string(record.type));
  if (!record.finalized) return Wrong(named + " is asked of a descriptor that is not finalized", kNotInitialized);
  if (type != rule->type)
    return Wrong(named + " has type " + std::to_string(rule->type) + "; asked for: " + std::to_string(type),
                 kWrongAttributeType);
  if (count == nullptr || capacity < 0 || (capacity > 0 && values == nullptr))
    return Wrong(named + " is asked for without a place to put it", kNullPointer);
  const auto give = [&](int64_t total, const void* all) { return Give(type, total, all, capacity, count, values); };
  const auto give_notes = [&](const std::vector<int>& notes) {
    return give(static_cast<int64_t>(notes.size()), notes.data());
  };
  switch (attribute) {
    case kHeuristicsResults:
      return GiveEngines(kEngineConfig, record.results, record, capacity, count, values);
    case kEngineConfigEngine:
      return GiveEngines(kEngine, {record.engine}, record, capacity, count, values);
    case kEngineConfigWorkspaceSize: {
      const Engine& engine = record.engine;
      const int64_t bytes = engine.declared_bytes < 0 ? engine.workspace_bytes : engine.declared_bytes;
      return give(1, &bytes);
    }
    case kEngineGlobalIndex:
      return give(1, &record.engine.index);
    case kEngineNumericalNotes:
      return give_notes(record.engine.numerical_notes);
    case kEngineBehaviorNotes:
      return give_notes(record.engine.behavior_notes);
    case kPlanWorkspaceSize:
      return give(1, &record.plan->engine.workspace_bytes);
    case kPlanJson:
      return give(static_cast<int64_t>(record.plan->json.size()), record.plan->json.data());
    case kDevicePropertiesJson: {
      const std::string json = DeviceJson(record.device);
      return give(static_cast<int64_t>(json.size()), json.data());
    }
    default:
      break;
  }
  const auto found = record.values.find(attribute);
  if (found == record.values.end()) return *count = 0, Answer{};
  if (type == kTypeDescriptor) return Wrong(named + " is set, not asked for");
  return give(found->second.count, found->second.bytes.data());
}

}  // namespace sage::cudnn::fake
