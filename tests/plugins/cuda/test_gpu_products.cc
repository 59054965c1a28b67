// test_gpu_products.cc: LINEAR and MATMUL on the device, by each way there is, through the plugin's own table, against
// the oracle. Part of test_cuda_gpu, which runs where there is a device.
#include <dlfcn.h>
#include <doctest/doctest.h>

#include <cstring>

#include "product_cases.h"
#include "support/error_slot.h"

namespace sage::test {
namespace {

const sage_plugin* Table() {
  static const sage_plugin* const table = [] {
    void* const library = dlopen(SAGE_CUDA_PLUGIN, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    void* const symbol = library == nullptr ? nullptr : dlsym(library, SAGE_PLUGIN_QUERY_SYMBOL);
    sage_plugin_query_fn query = nullptr;
    std::memcpy(&query, &symbol, sizeof query);
    return query == nullptr ? nullptr : query(SAGE_ABI_MAJOR, SAGE_ABI_MINOR);
  }();
  return table;
}

// An instance, its device and a stream.
class ProductGpu {
 public:
  explicit ProductGpu(const char* options) : instance_(Table(), host_, options) {
    REQUIRE_MESSAGE(instance_.status() == SAGE_OK, instance_.message());
    REQUIRE(Table()->device(instance_.handle(), &device_, nullptr) == SAGE_OK);
    REQUIRE(device_->stream_create(device_->self, &stream_, nullptr) == SAGE_OK);
  }
  ~ProductGpu() { device_->stream_destroy(device_->self, stream_); }

  // Plans planned, runs c and compares it with the oracle. Empty, or what is wrong.
  std::string Check(const OpCase& planned, OpCase& c, double slack = 0) {
    const std::string failure = Run(planned, c);
    if (!failure.empty()) return failure + " " + Describe(c);
    const OwnedTensor& x = c.slots[kX];
    return DifferenceOf(c, c.slots[c.kind == SAGE_OP_LINEAR ? kY : 2], x.dim(x.rank() - 1), slack);
  }
  std::string Check(OpCase& c) { return Check(c, c); }

  std::string Run(const OpCase& planned, OpCase& c) {
    Uploaded plan_tensors(*this, planned), run_tensors(*this, c);
    TestOp op(planned.kind);
    planned.attributes(op);
    plan_tensors.Bind(&op);
    const sage_answer answer = instance_.Ask(op);
    reason = answer.reason;
    if (answer.verdict != SAGE_YES) return "refused: " + reason;
    sage_plan* plan = nullptr;
    sage_plan_info info{};
    info.struct_size = sizeof info;
    Error error;
    if (Table()->plan(instance_.handle(), op.op(), nullptr, &plan, &info, &error) != SAGE_OK) return error.message;
    void* const workspace = Alloc(info.workspace_bytes + 1);
    TestOp run(c.kind);
    run_tensors.Bind(&run);
    sage_run_args args{};
    args.struct_size = sizeof args;
    args.slots = run.slots().data(), args.num_slots = static_cast<uint32_t>(run.slots().size());
    args.workspace = workspace, args.workspace_bytes = info.workspace_bytes, args.stream = stream_;
    std::string failure = Table()->run(plan, &args, &error) == SAGE_OK ? "" : error.message;
    if (failure.empty() && device_->stream_synchronize(device_->self, stream_, &error) != SAGE_OK)
      failure = error.message;
    device_->free(device_->self, workspace);
    Table()->plan_destroy(plan);
    if (failure.empty()) run_tensors.Fetch(&c, c.kind == SAGE_OP_LINEAR ? kY : 2);
    return failure;
  }

  std::string reason;

 private:
  void* Alloc(uint64_t bytes) {
    void* memory = nullptr;
    Error error;
    REQUIRE_MESSAGE(device_->alloc(device_->self, bytes, 256, &memory, &error) == SAGE_OK, error.message);
    return memory;
  }
  void Copy(void* to, const void* from, uint64_t bytes) {
    REQUIRE(device_->copy(device_->self, to, from, bytes, stream_, nullptr) == SAGE_OK);
    REQUIRE(device_->stream_synchronize(device_->self, stream_, nullptr) == SAGE_OK);
  }

  // A case's tensors on the device, gaps and all.
  class Uploaded {
   public:
    Uploaded(ProductGpu& gpu, const OpCase& c) : gpu_(gpu), tensors_(c.slots.size()), memory_(c.slots.size()) {
      for (size_t slot = 0; slot < c.slots.size(); ++slot) {
        if (!c.slots[slot].present()) continue;
        const auto& bytes = c.slots[slot].bytes();
        memory_[slot] = gpu.Alloc(bytes.size());
        gpu.Copy(memory_[slot], bytes.data(), bytes.size());
        tensors_[slot] = *c.slots[slot].tensor();
        tensors_[slot].device_type = SAGE_CUDA;
        tensors_[slot].data = static_cast<char*>(memory_[slot]) + StartOf(c.slots[slot]);
      }
    }
    ~Uploaded() {
      for (void* memory : memory_) gpu_.device_->free(gpu_.device_->self, memory);
    }
    Uploaded(const Uploaded&) = delete;
    Uploaded& operator=(const Uploaded&) = delete;
    void Bind(TestOp* op) {
      for (size_t slot = 0; slot < tensors_.size(); ++slot)
        if (memory_[slot] != nullptr) op->Slot(static_cast<uint32_t>(slot), &tensors_[slot]);
    }
    void Fetch(OpCase* c, size_t slot) {
      OwnedTensor& tensor = c->slots[slot];
      gpu_.Copy(static_cast<char*>(tensor.tensor()->data) - StartOf(tensor), memory_[slot], tensor.bytes().size());
    }

   private:
    static int64_t StartOf(const OwnedTensor& tensor) {
      return static_cast<const unsigned char*>(tensor.tensor()->data) - tensor.bytes().data();
    }
    ProductGpu& gpu_;
    std::vector<sage_tensor> tensors_;
    std::vector<void*> memory_;
  };

  TestHost host_{1, Threads::kSimulated};
  Instance instance_;
  const sage_device_table* device_ = nullptr;
  void* stream_ = nullptr;
};

bool ByLibrary(const std::string& reason) { return reason.rfind("cuBLASLt", 0) == 0; }

}  // namespace

// Under compute-sanitizer, which makes a kernel a hundred times slower.
TEST_CASE("P5 gpu: a few small products on our own kernels") {
  ProductGpu gpu("cublas=off");
  Random random(3);
  for (int repeat = 0; repeat < 40; ++repeat) {
    const sage_dtype dtype = random.Float();
    OpCase c = PlainLinear(dtype, random.Between(1, 40), random.Between(1, 40), random.Between(1, 100), repeat,
                           repeat % 2 == 0 ? SAGE_FN_GELU : SAGE_FN_SILU);
    CHECK(gpu.Check(c) == "");
  }
}

TEST_CASE("P5 gpu: products of few rows with every activation in every float type") {
  ProductGpu gpu("cublas=off");
  constexpr uint32_t kFunctions[] = {SAGE_FN_IDENTITY, SAGE_FN_GELU, SAGE_FN_GELU_TANH, SAGE_FN_TANH,
                                     SAGE_FN_SIGMOID,  SAGE_FN_SILU, SAGE_FN_RELU};
  size_t turn = 0;
  for (const sage_dtype dtype : kFloats)
    for (const int64_t m : {1, 2, 3, 5, 8})
      for (const auto& [n, k] : {std::array<int64_t, 2>{768, 768}, {100, 4104}, {3, 20000}, {5000, 64}}) {
        OpCase c = PlainLinear(dtype, m, n, k, 5, kFunctions[turn++ % std::size(kFunctions)]);
        CHECK(gpu.Check(c) == "");
        CHECK(gpu.reason.rfind("skinny", 0) == 0);
      }
}

TEST_CASE("P5 gpu: products of few rows times a W that is contiguous along N") {
  ProductGpu gpu("cublas=off");
  for (const sage_dtype dtype : kFloats)
    for (const int64_t m : {1, 2, 4, 7})
      for (const auto& [n, k] : {std::array<int64_t, 2>{768, 768}, {128, 4100}, {24, 3}}) {
        OpCase c = Matmul(OwnedTensor(dtype, {3, m, k}).FillNormal(1), OwnedTensor(dtype, {3, k, n}).FillNormal(2),
                          OwnedTensor(dtype, {3, m, n}));
        CHECK(gpu.Check(c) == "");
        CHECK(gpu.reason.rfind("skinny", 0) == 0);
      }
}

TEST_CASE("P5 gpu: products by cuBLASLt in every type and epilogue") {
  ProductGpu gpu(nullptr);
  int by_library = 0;
  for (const sage_dtype dtype : kFloats)
    for (const uint32_t function : {SAGE_FN_IDENTITY, SAGE_FN_RELU, SAGE_FN_GELU, SAGE_FN_GELU_TANH, SAGE_FN_SILU})
      for (const bool biased : {false, true}) {
        OpCase c = PlainLinear(dtype, biased ? 513 : 130, 384, 520, 7, function);
        if (!biased) c.slots[kBias] = OwnedTensor();
        // Its tanh may be one of 16 bits.
        const bool own_tanh = function == SAGE_FN_GELU_TANH && HalfUnit(dtype) > 0x1p-12;
        CHECK(gpu.Check(c, c, own_tanh ? 1e-3 : 0) == "");
        by_library += ByLibrary(gpu.reason) ? 1 : 0;
      }
  MESSAGE(by_library, " of 40 by cuBLASLt; the last: ", gpu.reason);
  CHECK(by_library > 20);
}

TEST_CASE("P5 gpu: a batch of products by cuBLASLt and rows that are fewer at run") {
  ProductGpu gpu(nullptr);
  // Attention's layout: [b,h,s,d] kept as [b,s,h,d], times the transposed.
  const int64_t b = 3, h = 8, s = 200, d = 64;
  const Shape strides{s * h * d, d, h * d, 1}, transposed{s * h * d, d, 1, h * d};
  for (const sage_dtype dtype : kFloats) {
    OpCase c = Matmul(OwnedTensor(dtype, {b, h, s, d}, strides).FillNormal(1),
                      OwnedTensor(dtype, {b, h, d, s}, transposed).FillNormal(2), OwnedTensor(dtype, {b, h, s, s}));
    CHECK(gpu.Check(c) == "");
    CHECK_MESSAGE(ByLibrary(gpu.reason), gpu.reason);
  }
  const OpCase planned = PlainLinear(SAGE_BF16, 1024, 512, 512, 5, SAGE_FN_GELU_TANH, SAGE_AXIS_M);
  for (const int64_t rows : {1, 8, 9, 100, 1000}) {
    OpCase c = PlainLinear(SAGE_BF16, rows, 512, 512, 5, SAGE_FN_GELU_TANH, SAGE_AXIS_M);
    CHECK(gpu.Check(planned, c, 1e-3) == "");
  }
}

TEST_CASE("P5 gpu: bytes with scales by cuBLASLt and by our kernel have the same bits") {
  OpCase c = Linear(OwnedTensor(SAGE_I8, {256, 1024}).FillIntegers(1, -128, 127),
                    OwnedTensor(SAGE_I8, {512, 1024}).FillIntegers(2, -128, 127), OwnedTensor(),
                    OwnedTensor(SAGE_F32, {256, 512}));
  c.slots.resize(6);
  c.slots[kScaleX] = OwnedTensor(SAGE_F32, {256}).FillUniform(3, 0.001, 0.01);
  c.slots[kScaleW] = OwnedTensor(SAGE_F32, {512}).FillUniform(4, 0.001, 0.01);
  ProductGpu library(nullptr), ours("cublas=off");
  OpCase other = c;
  CHECK(library.Check(c) == "");
  MESSAGE(library.reason);
  CHECK(ours.Check(other) == "");
  CHECK(BitwiseEqual(c.slots[kY], other.slots[kY]));
}

TEST_CASE("P5 gpu: RELU by cuBLASLt keeps a NaN as ours does") {
  for (const char* options : {static_cast<const char*>(nullptr), "cublas=off"}) {
    ProductGpu gpu(options);
    OpCase c = PlainLinear(SAGE_BF16, 256, 256, 256, 3, SAGE_FN_RELU);
    c.slots[kX].Put(5 * 256, NAN);
    CHECK(gpu.Run(c, c) == "");
    CHECK_MESSAGE(std::isnan(c.slots[kY].Get(5 * 256)), gpu.reason);
    CHECK_FALSE(std::isnan(c.slots[kY].Get(4 * 256)));
  }
}

TEST_CASE("S15 gpu: products have the same bits at every run") {
  ProductGpu gpu(nullptr);
  for (const sage_dtype dtype : kFloats)
    for (const auto& [m, n, k] : {std::array<int64_t, 3>{1, 768, 768}, {64, 128, 16384}, {500, 700, 900}}) {
      OpCase first = PlainLinear(dtype, m, n, k, 11);
      REQUIRE(gpu.Run(first, first) == "");
      for (int i = 0; i < 3; ++i) {
        OpCase again = first;
        again.slots[kY].Fill(7);
        REQUIRE(gpu.Run(again, again) == "");
        CHECK_MESSAGE(BitwiseEqual(again.slots[kY], first.slots[kY]), gpu.reason);
      }
    }
}

}  // namespace sage::test
