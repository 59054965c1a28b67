// descriptor.cc: see the header.
#include "descriptor.h"

#include <algorithm>

#include "library.h"

namespace sage::cudnn {

Outcome OutcomeOf(int status) {
  if (status == kSuccess) return Outcome::kDone;
  // An engine whose own kernel does not compile: cuDNN 9.19 offers such ones, and others behind them.
  if (status == kCompilationFailed) return Outcome::kUnsupported;
  switch (status / kStatusClass) {
    case kClassUnsupported:
      return Outcome::kUnsupported;
    case kClassSetup:
      return Outcome::kDisabled;
    default:
      return Outcome::kFailed;
  }
}

Object& Object::operator=(Object&& other) noexcept {
  std::swap(library_, other.library_);
  std::swap(descriptor_, other.descriptor_);
  return *this;
}

Object::~Object() {
  if (descriptor_ != nullptr) (void)library_->BackendDestroyDescriptor(descriptor_);
}

Object Maker::Create(DescriptorType type) {
  if (!ok()) return {};
  Descriptor descriptor = nullptr;
  const int status = library_.BackendCreateDescriptor(type, &descriptor);
  if (status == kSuccess) return Object(library_, descriptor);
  Note(status, "making a descriptor of type " + std::to_string(type));
  return {};
}

void Maker::Set(const Object& object, Attribute attribute, AttributeType type, int64_t count, const void* values) {
  if (!ok()) return;
  const int status = library_.BackendSetAttribute(object.get(), attribute, type, count, values);
  if (status != kSuccess) Note(status, "setting attribute " + std::to_string(attribute));
}

void Maker::Finalize(const Object& object, const char* doing) {
  if (!ok()) return;
  const int status = library_.BackendFinalize(object.get());
  if (status != kSuccess) Note(status, doing);
}

int64_t Maker::Get(const Object& object, Attribute attribute, AttributeType type, int64_t capacity, void* values) {
  if (!ok()) return 0;
  int64_t count = 0;
  const int status = library_.BackendGetAttribute(object.get(), attribute, type, capacity, &count, values);
  if (status == kSuccess) return capacity == 0 ? count : std::min(count, capacity);
  Note(status, "asking for attribute " + std::to_string(attribute));
  return 0;
}

void Maker::Note(int status, const std::string& doing) {
  if (ok() && status != kSuccess) failure_ = {status, doing + ": " + StatusText(library_, status)};
}

}  // namespace sage::cudnn
