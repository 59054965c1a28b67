// descriptor.h: one of cuDNN's descriptors, owned; and a status that is an error, with its class.
#ifndef SAGE_PLUGINS_CUDNN_DESCRIPTOR_H_
#define SAGE_PLUGINS_CUDNN_DESCRIPTOR_H_

#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include "api.h"

namespace sage::cudnn {

// What became of a call, by the class of its status. kUnsupported: the graph is not one that cuDNN computes here, and
// another backend may. kDisabled: the library itself is not usable. kFailed: an error to be told, never to be passed
// over.
enum class Outcome { kDone, kUnsupported, kDisabled, kFailed };
Outcome OutcomeOf(int status);

// The first error of a chain of calls, and what was being done.
struct Failure {
  int status = kSuccess;
  std::string text;  // "finalizing the plan: CUDNN_STATUS_..."
  bool ok() const { return status == kSuccess; }
  Outcome outcome() const { return OutcomeOf(status); }
};

// Move-only. The library outlives it.
class Object {
 public:
  Object() = default;
  Object(Object&& other) noexcept : library_(other.library_), descriptor_(std::exchange(other.descriptor_, nullptr)) {}
  Object& operator=(Object&& other) noexcept;
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  ~Object();

  Descriptor get() const { return descriptor_; }
  explicit operator bool() const { return descriptor_ != nullptr; }

 private:
  friend class Maker;
  Object(const Library& library, Descriptor descriptor) : library_(&library), descriptor_(descriptor) {}
  const Library* library_ = nullptr;
  Descriptor descriptor_ = nullptr;
};

// Makes descriptors one after another; after the first error every call does nothing, so that a graph is written down
// without a check at every line. Not thread-safe.
class Maker {
 public:
  explicit Maker(const Library& library) : library_(library) {}

  const Library& library() const { return library_; }
  const Failure& failure() const { return failure_; }
  bool ok() const { return failure_.ok(); }

  Object Create(DescriptorType type);
  void Set(const Object& object, Attribute attribute, AttributeType type, int64_t count, const void* values);
  void Set(const Object& object, Attribute attribute, AttributeType type, int value) {
    Set(object, attribute, type, 1, &value);  // enumerations of the header are ints
  }
  void Set(const Object& object, Attribute attribute, int64_t value) { Set(object, attribute, kTypeInt64, 1, &value); }
  void Set(const Object& object, Attribute attribute, std::span<const int64_t> values) {
    Set(object, attribute, kTypeInt64, static_cast<int64_t>(values.size()), values.data());
  }
  void Set(const Object& object, Attribute attribute, bool value) { Set(object, attribute, kTypeBoolean, 1, &value); }
  void Set(const Object& object, Attribute attribute, Descriptor value) {
    Set(object, attribute, kTypeDescriptor, 1, &value);
  }
  // doing: what the sentence of a failure says.
  void Finalize(const Object& object, const char* doing);
  // How many elements there were, at most capacity; 0 after an error.
  int64_t Get(const Object& object, Attribute attribute, AttributeType type, int64_t capacity, void* values);

  // Notes an error of a call made elsewhere.
  void Note(int status, const std::string& doing);
  // Forgets it, for who can do without.
  Failure TakeFailure() { return std::exchange(failure_, {}); }

 private:
  const Library& library_;
  Failure failure_;
};

}  // namespace sage::cudnn

#endif  // SAGE_PLUGINS_CUDNN_DESCRIPTOR_H_
