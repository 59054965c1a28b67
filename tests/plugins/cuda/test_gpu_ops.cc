// test_gpu_ops.cc: the small kinds on a device: the cases of the emulation, more of them, and what only a device has:
// its own arithmetic, and sizes that fill it.
#include "gpu_testing.h"
#include "ops_suite.h"

namespace sage::test {
namespace {

// Runs a case whose tensors lie on the device, gaps and all, and brings everything back.
RunResult RunOnGpu(Gpu& gpu, OpCase& c) {
  struct Memory {
    Gpu& gpu;
    std::vector<void*> blocks;
    ~Memory() {
      for (void* block : blocks) gpu.device->free(gpu.device->self, block);
    }
  } memory{gpu, {}};
  TestOp op(c.kind);
  c.attributes(op);
  const auto start = [&](size_t s) {
    return static_cast<const unsigned char*>(c.slots[s].tensor()->data) - c.slots[s].bytes().data();
  };
  std::vector<sage_tensor> tensors(c.slots.size());
  for (size_t s = 0; s < c.slots.size(); ++s) {
    memory.blocks.push_back(nullptr);
    if (!c.slots[s].present()) continue;
    const auto& bytes = c.slots[s].bytes();
    memory.blocks[s] = gpu.Alloc(bytes.size() + 1);
    gpu.Copy(memory.blocks[s], bytes.data(), bytes.size());
    tensors[s] = *c.slots[s].tensor();
    tensors[s].device_type = SAGE_CUDA;
    tensors[s].data = static_cast<char*>(memory.blocks[s]) + start(s);
    op.Slot(static_cast<uint32_t>(s), &tensors[s]);
  }
  RunResult result;
  result.answer = gpu.instance.Ask(op);
  if (result.answer.verdict != SAGE_YES) {
    result.status = SAGE_E_UNSUPPORTED, result.message = result.answer.reason;
    return result;
  }
  sage_plan* plan = nullptr;
  result.info.struct_size = sizeof result.info;
  Error error;
  result.status = Table()->plan(gpu.instance.handle(), op.op(), nullptr, &plan, &result.info, &error);
  if (result.status == SAGE_OK) {
    sage_run_args args{};
    args.struct_size = sizeof args;
    args.num_slots = static_cast<uint32_t>(op.slots().size()), args.slots = op.slots().data();
    args.stream = gpu.stream;
    result.status = Table()->run(plan, &args, &error);
    Table()->plan_destroy(plan);
  }
  result.message = error.message;
  if (result.status != SAGE_OK) return result;
  for (size_t s = 0; s < c.slots.size(); ++s)
    if (c.slots[s].present())
      gpu.Copy(const_cast<unsigned char*>(c.slots[s].bytes().data()), memory.blocks[s], c.slots[s].bytes().size());
  result.message = gpu.Wait();
  if (!result.message.empty()) result.status = SAGE_E_DEVICE;
  return result;
}

struct OnGpu {
  Gpu gpu;
  DeviceRun run = [this](OpCase& c) { return RunOnGpu(gpu, c); };
};

}  // namespace

TEST_CASE("P1 gpu ops: UNARY") { CheckUnary(OnGpu().run, 10); }
TEST_CASE("P1 gpu ops: casts") { CheckCasts(OnGpu().run); }
TEST_CASE("P1 gpu ops: BINARY") { CheckBinary(OnGpu().run, 10); }
TEST_CASE("P1 gpu ops: NORM") { CheckNorm(OnGpu().run, 10); }
TEST_CASE("P1 gpu ops: SOFTMAX") { CheckSoftmax(OnGpu().run, 10); }
TEST_CASE("P1 gpu ops: REDUCE") { CheckReduce(OnGpu().run, 10); }
TEST_CASE("P1 gpu ops: POOL") { CheckPool(OnGpu().run, 10); }
TEST_CASE("P1 gpu ops: movement") { CheckMovement(OnGpu().run, 5); }
TEST_CASE("P1 gpu ops: TOPK") { CheckTopk(OnGpu().run, 10); }
TEST_CASE("P1 gpu ops: ROPE") { CheckRope(OnGpu().run, 10); }

// Under compute-sanitizer, which makes a kernel a hundred times slower.
TEST_CASE("P1 gpu ops: a few small cases of each kind") {
  OnGpu device;
  Random random(120, true);
  const auto check = [&](const OpCase& c, double units = 16, bool moves = false) {
    if (!c.slots.empty()) CHECK(WrongOnDevice(c, device.run, units, moves) == "");
  };
  for (int i = 0; i < 8; ++i) {
    const sage_dtype dtype = kFloats[i % 4];
    check(AnyUnary(random, SAGE_FN_SILU, dtype));
    check(AnyBinary(random, SAGE_BINARY_DIV, dtype));
    check(AnyNorm(random));
    check(AnyBatchNorm(random));
    check(AnySoftmax(random), 200);
    check(AnyReduce(random, static_cast<uint32_t>(i % 4) + 1));
    check(AnyPool(random, static_cast<uint32_t>(i % 4) + 1));
    check(AnyPermute(random, dtype), 0, true);
    check(AnySlice(random, dtype), 0, true);
    check(AnyConcat(random, dtype), 0, true);
    check(AnyGather(random, dtype), 0, true);
    check(AnyTopk(random), 0, true);
    check(AnyRope(random));
  }
  check(HardSoftmax(SAGE_F32, 2056), 200);
  check(HardSoftmax(SAGE_BF16, 8200), 200);
  check(Transpose(SAGE_F32, 70, 45), 0, true);
  check(Topk(0, false, OwnedTensor(SAGE_F32, {9000}).FillNormal(1), OwnedTensor(SAGE_F32, {70}),
             OwnedTensor(SAGE_I64, {70})),
        0, true);
}

TEST_CASE("P1 gpu ops: sizes that fill the device and take several rounds of its grid") {
  OnGpu device;
  const auto random = [](sage_dtype dtype, const Shape& shape) { return OwnedTensor(dtype, shape).FillUniform(7); };
  for (const sage_dtype dtype : {SAGE_BF16, SAGE_F32}) {
    const Shape shape = {700, 4099};
    CHECK(WrongOnDevice(Unary(SAGE_FN_SILU, 0, random(dtype, shape), OwnedTensor(dtype, shape)), device.run) == "");
    CHECK(WrongOnDevice(Softmax(1, random(dtype, shape), OwnedTensor(dtype, shape)), device.run, 200) == "");
    CHECK(WrongOnDevice(Softmax(0, random(dtype, shape), OwnedTensor(dtype, shape)), device.run, 200) == "");
    OpCase sum = Reduce(SAGE_REDUCE_SUM, 1, random(dtype, shape), OwnedTensor(dtype, {4099}));
    sum.scale = 700;
    CHECK(WrongOnDevice(sum, device.run) == "");
    sum = Reduce(SAGE_REDUCE_SUM, 3, random(dtype, shape), OwnedTensor(dtype, {}));
    sum.scale = 700 * 4099;
    CHECK(WrongOnDevice(sum, device.run) == "");
    OpCase best =
        Topk(1, false, random(dtype, {700, 128}), OwnedTensor(dtype, {700, 8}), OwnedTensor(SAGE_I32, {700, 8}));
    CHECK(WrongOnDevice(best, device.run, 0, true) == "");
    CHECK(WrongOnDevice(Transpose(dtype, 700, 403), device.run, 0, true) == "");
  }
}

TEST_CASE("S15 gpu ops: three runs give the same bits") {
  OnGpu device;
  const auto x = [](const Shape& shape) { return OwnedTensor(SAGE_F32, shape).FillNormal(7); };
  const OpCase cases[] = {
      Softmax(1, x({40, 9000}), OwnedTensor(SAGE_F32, {40, 9000})),
      Reduce(SAGE_REDUCE_SUM, 1, x({3000, 70}), OwnedTensor(SAGE_F32, {70})),
      Topk(1, true, x({40, 9000}), OwnedTensor(SAGE_F32, {40, 50}), OwnedTensor(SAGE_I32, {40, 50}))};
  for (const OpCase& c : cases) {
    OpCase first = c;
    REQUIRE(device.run(first).status == SAGE_OK);
    for (int i = 0; i < 2; ++i) {
      OpCase again = c;
      REQUIRE(device.run(again).status == SAGE_OK);
      for (size_t s = 0; s < c.slots.size(); ++s)
        if (c.slots[s].present()) CHECK(BitwiseEqual(first.slots[s], again.slots[s]));
    }
  }
}

}  // namespace sage::test
