// fake_cublaslt.cc: see the header.
#include "fake_cublaslt.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "support/owned_tensor.h"

namespace sage::test {
namespace {

namespace lt = cuda::lt;

template <class T>
T Read(const void* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// What a descriptor keeps is in its first bytes; the mark shows that it was initialised.
template <class Kept>
struct Marked {
  uint64_t mark;
  Kept kept;
};
constexpr uint64_t kMark = 0x5a6e1a7eull;
template <class Kept, class Words>
Kept& KeptIn(Words* words) {
  static_assert(sizeof(Marked<Kept>) <= sizeof(Words));
  auto* marked = reinterpret_cast<Marked<Kept>*>(words);
  if (marked->mark != kMark && Fake().wrong.empty()) Fake().wrong = "a descriptor that was not initialised";
  return marked->kept;
}
template <class Kept, class Words>
int Begin(Words* words, size_t bytes, const Kept& kept) {
  if (bytes < sizeof(Marked<Kept>)) return lt::kAllocFailed;
  const Marked<Kept> marked{kMark, kept};
  std::memcpy(static_cast<void*>(words), &marked, sizeof marked);
  return lt::kSuccess;
}

struct KeptOperation {
  int32_t compute, scale_type, trans_a, trans_b;
  uint32_t epilogue;
  const void* bias;
};
struct KeptPreference {
  uint64_t most_workspace, numerics;
  uint32_t reductions, align[4];
};
struct KeptAlgorithm {
  FakeMatrix a, b, d;
  uint32_t epilogue, align_a, align_b, align_d;
};
static_assert(sizeof(uint32_t) <= sizeof(lt::Algorithm));
std::vector<KeptAlgorithm>& Algorithms() {
  static std::vector<KeptAlgorithm> all;
  return all;
}

// True where this call is to fail.
bool Fails() {
  FakeCublasLt& fake = Fake();
  return ++fake.calls == fake.fail_call;
}

int Create(lt::Handle* out) {
  if (Fails()) return Fake().fail_status;
  if (Fake().create_status != 0) return Fake().create_status;
  *out = reinterpret_cast<lt::Handle>(uintptr_t{0x1234});
  ++Fake().created;
  return lt::kSuccess;
}
int Destroy(lt::Handle) {
  ++Fake().destroyed;
  return lt::kSuccess;
}
size_t GetVersion() { return 130100; }
const char* GetStatusName(int status) {
  return status == lt::kNotSupported ? "CUBLAS_STATUS_NOT_SUPPORTED" : "CUBLAS_STATUS_INTERNAL_ERROR";
}
const char* GetStatusString(int status) {
  return status == lt::kNotSupported ? "the requested functionality is not supported" : "an internal operation failed";
}

int LayoutInit(lt::Layout* out, size_t bytes, int type, uint64_t rows, uint64_t columns, int64_t ld) {
  if (Fails()) return Fake().fail_status;
  return Begin(out, bytes, FakeMatrix{type, 1, rows, columns, ld, 0});
}
int LayoutSet(lt::Layout* layout, int attribute, const void* value, size_t bytes) {
  if (Fails()) return Fake().fail_status;
  auto& kept = KeptIn<FakeMatrix>(layout);
  if (attribute == 5 && bytes == 4) return kept.batch = Read<int32_t>(value), lt::kSuccess;
  if (attribute == 6 && bytes == 8) return kept.batch_offset = Read<int64_t>(value), lt::kSuccess;
  return lt::kInvalidValue;
}
int OperationInit(lt::Operation* out, size_t bytes, int compute, int scale_type) {
  if (Fails()) return Fake().fail_status;
  return Begin(out, bytes, KeptOperation{compute, scale_type, 0, 0, 1, nullptr});
}
int OperationSet(lt::Operation* operation, int attribute, const void* value, size_t bytes) {
  if (Fails()) return Fake().fail_status;
  auto& kept = KeptIn<KeptOperation>(operation);
  if (attribute == 3 && bytes == 4) return kept.trans_a = Read<int32_t>(value), lt::kSuccess;
  if (attribute == 4 && bytes == 4) return kept.trans_b = Read<int32_t>(value), lt::kSuccess;
  if (attribute == 7 && bytes == 4) return kept.epilogue = Read<uint32_t>(value), lt::kSuccess;
  if (attribute == 8 && bytes == 8) return kept.bias = Read<const void*>(value), lt::kSuccess;
  return lt::kInvalidValue;
}
int PreferenceInit(lt::Preference* out, size_t bytes) {
  if (Fails()) return Fake().fail_status;
  return Begin(out, bytes, KeptPreference{0, ~uint64_t{0}, 7, {256, 256, 256, 256}});
}
int PreferenceSet(lt::Preference* preference, int attribute, const void* value, size_t bytes) {
  if (Fails()) return Fake().fail_status;
  auto& kept = KeptIn<KeptPreference>(preference);
  if (attribute == 1 && bytes == 8) return kept.most_workspace = Read<uint64_t>(value), lt::kSuccess;
  if (attribute == 3 && bytes == 4) return kept.reductions = Read<uint32_t>(value), lt::kSuccess;
  if (attribute >= 5 && attribute <= 8 && bytes == 4)
    return kept.align[attribute - 5] = Read<uint32_t>(value), lt::kSuccess;
  if (attribute == 12 && bytes == 8) return kept.numerics = Read<uint64_t>(value), lt::kSuccess;
  return lt::kInvalidValue;
}

FakeMatmul Recorded(lt::Operation* operation, lt::Layout* a, lt::Layout* b, lt::Layout* d) {
  const auto& kept = KeptIn<KeptOperation>(operation);
  FakeMatmul call;
  call.compute = kept.compute, call.scale_type = kept.scale_type;
  call.trans_a = kept.trans_a, call.trans_b = kept.trans_b;
  call.epilogue = kept.epilogue, call.bias = kept.bias;
  call.a = KeptIn<FakeMatrix>(a), call.b = KeptIn<FakeMatrix>(b), call.d = KeptIn<FakeMatrix>(d);
  return call;
}

// What the real one answers with INVALID_VALUE.
bool IsConsistent(const FakeMatmul& call) {
  for (const FakeMatrix* matrix : {&call.a, &call.b, &call.d})
    if (matrix->ld < static_cast<int64_t>(matrix->rows) || matrix->batch != call.d.batch) return false;
  const uint64_t rows = call.trans_a != 0 ? call.a.columns : call.a.rows;
  const uint64_t depth = call.trans_a != 0 ? call.a.rows : call.a.columns;
  const uint64_t columns = call.trans_b != 0 ? call.b.rows : call.b.columns;
  const uint64_t depth_b = call.trans_b != 0 ? call.b.columns : call.b.rows;
  if (rows != call.d.rows || columns != call.d.columns || depth != depth_b || call.a.type != call.b.type) return false;
  if (call.compute != lt::kCompute32I) return true;
  return call.trans_a != 0 && call.trans_b == 0 && rows % 4 == 0 && depth % 4 == 0 && call.a.ld % 4 == 0 &&
         call.b.ld % 4 == 0 && call.d.ld % 4 == 0 && call.epilogue == 1;
}

int GetHeuristic(lt::Handle, lt::Operation* operation, lt::Layout* a, lt::Layout* b, lt::Layout*, lt::Layout* d,
                 lt::Preference* preference, int asked, lt::Heuristic* results, int* count) {
  FakeCublasLt& fake = Fake();
  if (Fails()) return fake.fail_status;
  FakeMatmul call = Recorded(operation, a, b, d);
  const auto& kept = KeptIn<KeptPreference>(preference);
  call.most_workspace = kept.most_workspace, call.reductions = kept.reductions, call.numerics = kept.numerics;
  call.align_a = kept.align[0], call.align_d = kept.align[3];
  fake.asked.push_back(call);
  *count = 0;
  if (asked < 1 || !IsConsistent(call)) return lt::kInvalidValue;
  if (fake.heuristic_status != 0) return fake.heuristic_status;
  if (call.epilogue != 1 && !fake.has_fused) return lt::kNotSupported;
  if (call.d.batch > fake.most_batch) return lt::kNotSupported;
  if (fake.workspace_bytes > kept.most_workspace) return lt::kNotSupported;
  std::memset(static_cast<void*>(results), 0, sizeof *results);
  results[0].algorithm.words[0] = Algorithms().size();
  Algorithms().push_back(
      {call.a, call.b, call.d, call.epilogue, kept.align[0], kept.align[1], std::min(kept.align[2], kept.align[3])});
  results[0].workspace_bytes = fake.workspace_bytes;
  *count = 1;
  return lt::kSuccess;
}

double Load(int32_t type, const void* data, int64_t at) {
  const auto half = [&] { return static_cast<uint32_t>(static_cast<const uint16_t*>(data)[at]); };
  switch (type) {
    case lt::kR64F:
      return static_cast<const double*>(data)[at];
    case lt::kR32F:
      return static_cast<double>(static_cast<const float*>(data)[at]);
    case lt::kR16F:
      return DecodeSmallFloat(half(), 5, 10);
    case lt::kR16BF:
      return DecodeSmallFloat(half(), 8, 7);
    case lt::kR8I:
      return static_cast<const int8_t*>(data)[at];
    default:
      return static_cast<const int32_t*>(data)[at];
  }
}
void Store(int32_t type, void* data, int64_t at, double value) {
  switch (type) {
    case lt::kR64F:
      static_cast<double*>(data)[at] = value;
      return;
    case lt::kR32F:
      static_cast<float*>(data)[at] = static_cast<float>(value);
      return;
    case lt::kR16F:
      static_cast<uint16_t*>(data)[at] = static_cast<uint16_t>(EncodeSmallFloat(value, 5, 10));
      return;
    case lt::kR16BF:
      static_cast<uint16_t*>(data)[at] = static_cast<uint16_t>(EncodeSmallFloat(value, 8, 7));
      return;
    default:
      static_cast<int32_t*>(data)[at] = static_cast<int32_t>(value);
  }
}

bool IsAt(const void* pointer, uint32_t align) { return reinterpret_cast<uintptr_t>(pointer) % align == 0; }

int Matmul(lt::Handle, lt::Operation* operation, const void* alpha, const void* a, lt::Layout* a_layout, const void* b,
           lt::Layout* b_layout, const void* beta, const void* c, lt::Layout*, void* d, lt::Layout* d_layout,
           const lt::Algorithm* algorithm, void* workspace, size_t workspace_bytes, void*) {
  FakeCublasLt& fake = Fake();
  if (Fails()) return fake.fail_status;
  FakeMatmul call = Recorded(operation, a_layout, b_layout, d_layout);
  call.workspace = workspace, call.workspace_bytes = workspace_bytes;
  if (!fake.forgets) fake.matmuls.push_back(call);
  const auto wrong = [&](const char* what) {
    if (fake.wrong.empty()) fake.wrong = what;
    return lt::kInvalidValue;
  };
  const KeptAlgorithm& chosen = Algorithms().at(algorithm->words[0]);
  if (!IsConsistent(call)) return wrong("descriptors that do not fit each other");
  if (c != d) return wrong("a C of its own");
  if (chosen.epilogue != call.epilogue) return wrong("an algorithm of another epilogue");
  if (call.d.columns > chosen.d.columns || call.d.rows != chosen.d.rows)
    return wrong("an algorithm of a smaller shape");
  if (!IsAt(a, chosen.align_a) || !IsAt(b, chosen.align_b) || !IsAt(d, chosen.align_d))
    return wrong("an address that is less aligned than was promised");
  if ((call.epilogue & lt::kEpilogueBias) != 0 && !IsAt(call.bias, 16)) return wrong("a crooked bias");
  if (workspace_bytes < fake.workspace_bytes || !IsAt(workspace, 256)) return wrong("a workspace that is none");
  const auto columns = static_cast<int64_t>(call.d.columns);
  if (columns > fake.most_rows || columns < fake.least_rows) return lt::kNotSupported;
  const double one = call.scale_type == lt::kR64F   ? Read<double>(alpha)
                     : call.scale_type == lt::kR32I ? Read<int32_t>(alpha)
                                                    : static_cast<double>(Read<float>(alpha));
  const double zero = call.scale_type == lt::kR64F   ? Read<double>(beta)
                      : call.scale_type == lt::kR32I ? Read<int32_t>(beta)
                                                     : static_cast<double>(Read<float>(beta));
  if (one != 1 || zero != 0) return wrong("other factors than 1 and 0");
  std::memset(workspace, 0xff, workspace_bytes);
  const auto depth = static_cast<int64_t>(call.trans_a != 0 ? call.a.rows : call.a.columns);
  for (int64_t batch = 0; batch < call.d.batch; ++batch)
    for (int64_t column = 0; column < columns; ++column)
      for (int64_t row = 0; row < static_cast<int64_t>(call.d.rows); ++row) {
        double sum = 0;
        for (int64_t k = 0; k < depth; ++k) {
          const int64_t in_a = call.trans_a != 0 ? k + row * call.a.ld : row + k * call.a.ld;
          const int64_t in_b = call.trans_b != 0 ? column + k * call.b.ld : k + column * call.b.ld;
          sum += Load(call.a.type, a, in_a + batch * call.a.batch_offset) *
                 Load(call.b.type, b, in_b + batch * call.b.batch_offset);
        }
        if ((call.epilogue & lt::kEpilogueBias) != 0) sum += Load(call.d.type, call.bias, row);
        if ((call.epilogue & lt::kEpilogueRelu) != 0) sum = sum > 0 || std::isnan(sum) ? sum : 0;
        if ((call.epilogue & lt::kEpilogueGeluTanh) != 0)
          sum = 0.5 * sum * (1 + std::tanh(M_2_SQRTPI * M_SQRT1_2 * (sum + 0.044715 * sum * sum * sum)));
        Store(call.d.type, d, row + column * call.d.ld + batch * call.d.batch_offset, sum);
      }
  std::memset(workspace, 0xff, workspace_bytes);  // D is not in it
  return lt::kSuccess;
}

}  // namespace

FakeCublasLt& Fake() {
  static FakeCublasLt fake;
  return fake;
}

bool LoadFakeCublasLt(const std::string& path, int, lt::Library* out, std::string* why) {
  ++Fake().loaded;
  Fake().path = path;
  if (!Fake().loads) return *why = "cuBLASLt could not be loaded: " + Fake().missing, false;
  out->Create = Create, out->Destroy = Destroy, out->GetVersion = GetVersion;
  out->GetStatusName = GetStatusName, out->GetStatusString = GetStatusString;
  out->MatrixLayoutInit = LayoutInit, out->MatrixLayoutSetAttribute = LayoutSet;
  out->MatmulDescInit = OperationInit, out->MatmulDescSetAttribute = OperationSet;
  out->MatmulPreferenceInit = PreferenceInit, out->MatmulPreferenceSetAttribute = PreferenceSet;
  out->MatmulAlgoGetHeuristic = GetHeuristic, out->Matmul = Matmul;
  out->path = "fake";
  why->clear();
  return true;
}

}  // namespace sage::test
