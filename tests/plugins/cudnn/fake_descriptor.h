// fake_descriptor.h: the fake cuDNN's descriptors: which attributes each kind has, of what type and how many, and what
// is made of them when they are finalized.
#ifndef SAGE_TESTS_PLUGINS_CUDNN_FAKE_DESCRIPTOR_H_
#define SAGE_TESTS_PLUGINS_CUDNN_FAKE_DESCRIPTOR_H_

#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "fake_cudnn.h"
#include "fake_graph.h"
#include "fake_plan.h"

namespace sage::cudnn::fake {

struct Record;
using RecordPointer = std::shared_ptr<Record>;

// What was set.
struct Value {
  int type = 0;
  int64_t count = 0;
  std::vector<char> bytes;
  std::vector<RecordPointer> records;  // of kTypeDescriptor
};

// A descriptor. After it is finalized nothing of it changes; who refers to it keeps it, so that the caller may destroy
// his own reference at any time.
struct Record {
  int type = 0;
  bool finalized = false;
  std::map<int, Value> values;
  // What it became, by its type.
  TensorPointer tensor;
  Operation operation;
  std::shared_ptr<const Graph> graph;  // of graphs, heuristics, engine configurations
  std::shared_ptr<const Plan> plan;
  Engine engine;                // of engine configurations and engines
  std::vector<Engine> results;  // of heuristics
  std::string device;           // of device properties, and of what heuristics gave for them; empty: a handle's

  bool Has(int attribute) const { return values.count(attribute) != 0; }
  template <class T>
  T Get(int attribute, T otherwise = {}) const {
    const auto found = values.find(attribute);
    if (found == values.end()) return otherwise;
    std::memcpy(&otherwise, found->second.bytes.data(), sizeof otherwise);
    return otherwise;
  }
  template <class T>
  std::vector<T> All(int attribute) const {
    const auto found = values.find(attribute);
    if (found == values.end()) return {};
    std::vector<T> all(static_cast<size_t>(found->second.count));
    if (!all.empty()) std::memcpy(all.data(), found->second.bytes.data(), all.size() * sizeof(T));
    return all;
  }
  RecordPointer Of(int attribute) const {
    const auto found = values.find(attribute);
    return found == values.end() || found->second.records.empty() ? nullptr : found->second.records[0];
  }
};

// Descriptors that are alive. Thread-safe.
Answer MakeRecord(int type, Descriptor* out);
RecordPointer Find(Descriptor descriptor);  // null: it is none, or destroyed
bool Forget(Descriptor descriptor);
void ForgetAll();

Answer SetIn(Record* record, int attribute, int type, int64_t count, const void* values);
Answer GetFrom(const Record& record, int attribute, int type, int64_t capacity, int64_t* count, void* values);
Answer Finalize(Record* record);

}  // namespace sage::cudnn::fake

#endif  // SAGE_TESTS_PLUGINS_CUDNN_FAKE_DESCRIPTOR_H_
