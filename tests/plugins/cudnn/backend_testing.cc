// backend_testing.cc: see the header.
#include "backend_testing.h"

#include "../cpu/attention_testing.h"

namespace sage::cudnn {
namespace {

// Its functions are the same every time; only the first time begins anew by that.
const Library& FakeLibrary() {
  static const Library library = fake::Begin();
  return library;
}

bool LoadFake(const std::string& path, Library* out, std::string* why) {
  if (!WhatIsMissing().cudnn.empty()) return *why = WhatIsMissing().cudnn, false;
  if (!path.empty() && path != "/there") return *why = path + ": no such file", false;
  *out = FakeLibrary();
  return true;
}

bool LoadNoCublasLt(const std::string&, int, cuda::lt::Library* out, std::string* why) {
  *out = {};
  *why = WhatIsMissing().cublaslt;
  return why->empty();
}

Parts FakeParts() { return {.kernels = EmulatedCallKernels(), .load = LoadFake, .load_cublaslt = LoadNoCublasLt}; }

void Probe(int32_t device_id, uint32_t* count, sage_answer* answer) {
  ProbeOver(TheRuntime(), FakeParts(), device_id, count, answer);
}
sage_status Create(const sage_host& host, int32_t device_id, const char* options,
                   std::unique_ptr<plugins::Backend>* out, sage_error* err) {
  return CreateOver(TheRuntime(), FakeParts(), host, device_id, options, out, err);
}
constexpr sage_plugin kTable = plugins::DeviceTable<Probe, Create>({.name = "cudnn",
                                                                    .version = kVersion,
                                                                    .build = "fake",
                                                                    .kinds = kKinds,
                                                                    .features = kFeatures,
                                                                    .device_type = SAGE_CUDA});

}  // namespace

cuda::FakeRuntime& TheRuntime() {
  static cuda::FakeRuntime runtime;
  return runtime;
}

const sage_plugin* FakeTable() { return &kTable; }

Missing& WhatIsMissing() {
  static Missing missing;
  return missing;
}

fake::State& BeginFake() {
  WhatIsMissing() = {};
  (void)FakeLibrary();
  (void)fake::Begin();
  return fake::The();
}

void Move(test::AttentionCase* to) {
  for (test::OwnedTensor& tensor : to->slots)
    if (tensor.present()) tensor.description().device_type = SAGE_CUDA;
}

std::string Disagreement(test::AttentionCase& call, test::Instance& device) {
  static test::Oracle oracle;
  std::string failure;
  const test::AttentionCase want = test::Expected(call, oracle.instance, &failure);
  if (!failure.empty()) return "oracle: " + failure;
  Move(&call);
  return test::DisagreementWith(want, call, device) + TakeEmulationFault() + fake::The().Faults();
}

}  // namespace sage::cudnn
