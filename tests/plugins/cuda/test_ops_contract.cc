// test_ops_contract.cc: what the small kinds do on a device besides computing: refusals, prices, one launch a run,
// indices that do not exist, smaller runs, far offsets, constants and errors.
#include <sys/mman.h>

#include <random>

#include "ops_emulated.h"

namespace sage::test {
namespace {

bool Says(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

OpCase TopkOf(sage_dtype dtype, int64_t length, int64_t k) {
  return Topk(0, false, OwnedTensor(dtype, {length}).FillNormal(1), OwnedTensor(dtype, {k}),
              OwnedTensor(SAGE_I64, {k}));
}

}  // namespace

TEST_CASE("P1 cuda ops: what the kernels have no room for is refused with its sentence") {
  EmulatedOps device;
  CHECK(device.Message(TopkOf(SAGE_F32, 4096, 4096)) == "");
  CHECK(device.Message(TopkOf(SAGE_F32, 4097, 2048)) == "");
  CHECK(
      Says(device.Message(TopkOf(SAGE_F32, 4097, 2049)),
           "TOPK of 2049 of a line of 4097: the kernels here sort whole lines up to 4096 of f32, and keep up to 2048"));
  CHECK(Says(device.Message(TopkOf(SAGE_F64, 3000, 1025)), "up to 2048 of f64, and keep up to 1024"));

  const auto rope = [](uint32_t rotary, double base) {
    const auto dim = static_cast<int64_t>(rotary);
    return Rope(SAGE_ROPE_HALVES, rotary, base,
                {OwnedTensor(SAGE_F32, {1, 1, dim}), OwnedTensor(SAGE_I32, {1}), OwnedTensor(), OwnedTensor(),
                 OwnedTensor(SAGE_F32, {1, 1, dim})});
  };
  CHECK(device.Message(rope(4096, 1)) == "");
  CHECK(Says(device.Message(rope(4098, 0)), "rotary_dim 4098 without tables: the kernels here have room for 4096"));
  CHECK(Says(device.Message(rope(64, 0.5)), "ROPE with base 0.5: angles grow beyond"));

  OpCase unary = Unary(SAGE_FN_EXP, 0, Floats({3}), Floats({3}));
  CHECK(Says(device.Ask(unary, SAGE_REQUIRE_SCALAR).reason, "SCALAR is required"));
  CHECK(device.Ask(unary, SAGE_REQUIRE_DETERMINISTIC | SAGE_REQUIRE_STREAM_CAPTURE).verdict == SAGE_YES);

  SetEmulatedArchitectures("100-real");
  CHECK(Says(device.Ask(unary).reason, "NVIDIA H200 is sm_90; the kernels of UNARY are built for sm_100"));
  SetEmulatedArchitectures("80");

  TestHost host(1, Threads::kSimulated);
  Instance on_cpu(EmulatedOpsTable(), host);
  CHECK(Says(RunCase(on_cpu, unary).message, "this instance reads the memory of cuda:0"));
}

TEST_CASE("P1 cuda ops: the price is that of the bytes and few lines have few multiprocessors") {
  EmulatedOps device;
  const auto price = [&](OpCase c) { return device.Ask(std::move(c)).cost_ns; };
  // H200: 4917 bytes per ns, of which 85 % are reached.
  const double rate = 2 * 3.201 * 6144 / 8 * 0.85;
  const Shape shape = {512, 4096};
  const double bytes = 512.0 * 4096 * 4;
  CHECK(price(Unary(SAGE_FN_RELU, 0, OwnedTensor(SAGE_F32, shape), OwnedTensor(SAGE_F32, shape))) ==
        doctest::Approx(4000 + 2 * bytes / rate));
  // What repeats is read once.
  CHECK(price(Binary(SAGE_BINARY_ADD, OwnedTensor(SAGE_F32, shape), OwnedTensor(SAGE_F32, shape, {0, 1}),
                     OwnedTensor(SAGE_F32, shape))) == doctest::Approx(4000 + (2 * bytes + 4096 * 4) / rate));
  CHECK(price(Softmax(1, OwnedTensor(SAGE_F32, shape), OwnedTensor(SAGE_F32, shape))) ==
        doctest::Approx(4000 + 2 * bytes / rate));
  CHECK(price(Reduce(SAGE_REDUCE_SUM, 3, OwnedTensor(SAGE_F32, shape), OwnedTensor(SAGE_F32, {}))) ==
        doctest::Approx(4000 + (bytes + 4) / (rate / 132)));
  // Of what is gathered, the rows that are.
  CHECK(price(Gather(0, OwnedTensor(SAGE_F32, shape), OwnedTensor(SAGE_I32, {2}), OwnedTensor(SAGE_F32, {2, 4096}))) ==
        doctest::Approx(4000 + (2 * 2 * 4096 * 4 + 8) / rate));
  const sage_answer answer = device.Ask(LayerNorm(Floats({2, 8}), Floats({2, 8})));
  CHECK(answer.cost_source == SAGE_COST_MODEL);
  CHECK(answer.workspace_bytes == 0);
  CHECK(std::string(answer.reason) == "computed in f32, rounded once");
}

TEST_CASE("P1 cuda ops: one launch a run and none for an empty result") {
  EmulatedOps device;
  const auto launches = [&](OpCase c) {
    const int before = EmulatedLaunches();
    CHECK(device.Message(std::move(c)) == "");
    return EmulatedLaunches() - before;
  };
  CHECK(launches(LayerNorm(Floats({3, 700}), Floats({3, 700}))) == 1);
  CHECK(launches(LayerNorm(Floats({0, 700}), Floats({0, 700}))) == 0);
  CHECK(launches(Softmax(1, Floats({3, 0}), Floats({3, 0}))) == 0);
  CHECK(launches(TopkOf(SAGE_F32, 9, 0)) == 0);
  CHECK(launches(Reduce(SAGE_REDUCE_MAX, 1, Floats({0, 2}), Floats({2}))) == 1);  // of nothing: -inf
  const auto concat = [](int64_t parts) {
    OpCase c{SAGE_OP_CONCAT, [](TestOp& op) { op.Attributes(sage_concat_attributes{}); }, {}};
    c.slots.push_back(OwnedTensor(SAGE_F32, {parts}));
    for (int64_t i = 0; i < parts; ++i) c.slots.push_back(Floats({1}));
    return c;
  };
  CHECK(launches(concat(16)) == 1);
  CHECK(launches(concat(33)) == 3);
}

TEST_CASE("P7 cuda GATHER: an index that X does not have gives zeros and nothing outside X is read") {
  EmulatedOps device;
  for (const sage_dtype dtype : {SAGE_I32, SAGE_I64})
    for (const int64_t columns : {1, 4, 7}) {
      OwnedTensor indices(dtype, {4});
      indices.FillValues({4, -1, 5, dtype == SAGE_I64 ? 1e12 : 2147483647.0});
      OpCase c = Gather(0, Floats({5, columns}), indices, OwnedTensor(SAGE_F32, {4, columns}).Fill(7));
      CHECK(device.Message(c) == "");
      REQUIRE(device.Run(c).status == SAGE_OK);
      for (int64_t i = 0; i < columns; ++i) {
        CHECK(c.slots[2].At({0, i}) == c.slots[0].At({4, i}));
        for (const int64_t row : {1, 2, 3}) CHECK(c.slots[2].At({row, i}) == 0);
      }
    }
}

TEST_CASE("P7 cuda ROPE: a position outside the tables turns its pairs to zeros and copies the rest") {
  EmulatedOps device;
  OwnedTensor positions(SAGE_I32, {3});
  positions.FillValues({29, 30, -1});
  OpCase c = Rope(SAGE_ROPE_HALVES, 4, 0,
                  {Floats({3, 2, 6}).Fill(HUGE_VAL), positions, Floats({30, 2}).Fill(0.5), Floats({30, 2}).Fill(0.5),
                   OwnedTensor(SAGE_F32, {3, 2, 6}).Fill(7)});
  REQUIRE(device.Run(c).status == SAGE_OK);
  for (const int64_t place : {1, 2})
    for (int64_t i = 0; i < 6; ++i) CHECK(c.slots[4].At({place, 1, i}) == (i < 4 ? 0 : HUGE_VAL));
  CHECK(c.slots[4].At({0, 0, 2}) == HUGE_VAL);
}

TEST_CASE("P7 cuda TOPK: a NaN ranks above every number") {
  EmulatedOps device;
  for (const sage_dtype dtype : kFloats)
    for (const int64_t length : {8, 600})  // by a warp, by a block
      for (const bool smallest : {false, true}) {
        OwnedTensor x(dtype, {length});
        x.FillBy([](uint64_t i) { return static_cast<double>(i % 5) - 2; });
        x.Put(3, std::nan("")), x.Put(6, -std::nan("")), x.Put(1, HUGE_VAL), x.Put(2, -HUGE_VAL);
        OpCase c = Topk(0, smallest, x, OwnedTensor(dtype, {length}), OwnedTensor(SAGE_I64, {length}));
        if (length == 600) c.slots[1] = OwnedTensor(dtype, {length}), c.slots[2] = OwnedTensor(SAGE_I64, {length});
        REQUIRE(device.Run(c).status == SAGE_OK);
        const auto index = [&](int64_t place) { return c.slots[2].At({place}); };
        const int64_t nans = smallest ? length - 2 : 0;
        CHECK(index(nans) == 3);
        CHECK(index(nans + 1) == 6);
        CHECK(std::isnan(c.slots[1].At({nans})));
        CHECK(index(smallest ? length - 3 : 2) == 1);
        CHECK(index(smallest ? 0 : length - 1) == 2);
      }
}

TEST_CASE("G7 cuda ops: launches may begin early where that is asked for and compiled in") {
  for (const char* options : {"dependent_launch=on", "dependent_launch=off"})
    for (const char* architectures : {"80 90-real", "80"}) {
      CAPTURE(options);
      CAPTURE(architectures);
      SetEmulatedArchitectures(architectures);
      EmulatedOps device(options);
      OpCase c = Softmax(1, Floats({3, 9}), Floats({3, 9}));
      REQUIRE(device.Run(c).status == SAGE_OK);
      CHECK(LastLaunchWasDependent() == (options[18] == 'n' && architectures[2] != '\0'));
    }
  SetEmulatedArchitectures("80");
}

TEST_CASE("R19 cuda ops: an address across an element is a sentence and nothing is launched") {
  EmulatedOps device;
  const int before = EmulatedLaunches();
  OpCase c = Unary(SAGE_FN_NEG, 0, OwnedTensor(SAGE_F32, {4}, {1}, 2), OwnedTensor(SAGE_F32, {4}));
  CHECK(Says(device.Message(c), "the address of X is no multiple of 4 bytes, the size of its elements"));
  CHECK(EmulatedLaunches() == before);
  c = Unary(SAGE_FN_NEG, 0, OwnedTensor(SAGE_BF16, {4}, {1}, 2), OwnedTensor(SAGE_BF16, {4}, {1}, 6));
  CHECK(device.Message(c) == "");
}

TEST_CASE("R19 cuda ops: a launch that fails is a sentence and leaves no error behind") {
  EmulatedOps device;
  OpCase c = Unary(SAGE_FN_NEG, 0, Floats({4}), Floats({4}));
  AnswerLaunchesWith({98, nullptr});  // cudaErrorInvalidDeviceFunction
  EmulatedOpsRuntime().LeaveError(98);
  CHECK(Says(device.Message(c), "cuda:0: launching the kernel of UNARY: "));
  CHECK(EmulatedOpsRuntime().pending_error() == cuda::kSuccess);
  AnswerLaunchesWith({cuda::kSuccess, "no"});
  CHECK(Says(device.Message(c), "cuda:0: launching the kernel of UNARY: no"));
  AnswerLaunchesWith({});
  CHECK(device.Message(c) == "");
}

TEST_CASE("P8 cuda ops: a smaller run has the bits of the planned one") {
  EmulatedOps device;
  const auto check = [&](OpCase all, const std::vector<uint32_t>& shrinking) {
    REQUIRE(device.Run(all).status == SAGE_OK);
    OpCase few = all;
    TestOp op(few.kind);
    few.attributes(op);
    op.DynamicAxes(SAGE_AXIS_M);
    for (size_t s = 0; s < few.slots.size(); ++s)
      if (few.slots[s].present()) op.Slot(static_cast<uint32_t>(s), few.slots[s]);
    PlannedOp plan(device.instance, op);
    const auto out = static_cast<uint32_t>(few.slots.size() - 1);
    few.slots[out].Fill(7);
    for (const uint32_t slot : shrinking) few.slots[slot].description().shape[0] = 2;
    std::string message;
    REQUIRE_MESSAGE(plan.Run(op.slots(), &message) == SAGE_OK, message);
    for (uint64_t i = 0; i < few.slots[out].size(); ++i) CHECK(few.slots[out].Get(i) == all.slots[out].Get(i));
    for (const uint32_t slot : shrinking) few.slots[slot].description().shape[0] = 5;
    CHECK(few.slots[out].Get(few.slots[out].size() - 1) == 7);
  };
  const Shape shape = {5, 3, 40};
  check(Softmax(2, Floats(shape), Floats(shape)), {0, 1});
  check(LayerNorm(Floats(shape), Floats(shape)), {0, 5});
  check(Reduce(SAGE_REDUCE_MEAN, 4, Floats(shape), Floats({5, 3})), {0, 1});
  check(Reduce(SAGE_REDUCE_SUM, 2, Floats(shape), Floats({5, 40})), {0, 1});
  check(Unary(SAGE_FN_SILU, 0, Floats(shape), Floats(shape)), {0, 1});
  check(Gather(1, Floats(shape), OwnedTensor(SAGE_I32, {4}).FillIntegers(3, 0, 2), Floats({5, 4, 40})), {0, 2});
}

TEST_CASE("S15 cuda ops: the order in which threads run changes no bit") {
  EmulatedOps device;
  const auto check = [&](OpCase c) {
    OpCase first = c;
    REQUIRE(device.Run(first).status == SAGE_OK);
    for (int i = 0; i < 2; ++i) {  // each launch has another seed
      OpCase again = c;
      REQUIRE(device.Run(again).status == SAGE_OK);
      for (size_t s = 0; s < c.slots.size(); ++s)
        if (c.slots[s].present()) CHECK(BitwiseEqual(first.slots[s], again.slots[s]));
    }
  };
  check(Softmax(1, Floats({2, 3001}), Floats({2, 3001})));
  check(LayerNorm(Floats({2, 9000}), Floats({2, 9000})));
  check(Reduce(SAGE_REDUCE_SUM, 1, Floats({300, 70}), Floats({70})));
  check(TopkOf(SAGE_F32, 9000, 50));
  check(Pool(sage_pool_attributes{0, SAGE_POOL_MEAN, 0, 0, 0, 0}, Floats({2, 90, 40}), OwnedTensor(), Floats({2, 40})));
}

TEST_CASE("P8 cuda ops: offsets beyond 2^31 elements") {
  // Pages that are never touched take no memory.
  const int64_t row = (int64_t{1} << 31) + 5, bytes = 3 * row;
  void* const memory = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  REQUIRE(memory != MAP_FAILED);
  auto* const data = static_cast<unsigned char*>(memory);
  sage_tensor x{};
  const int64_t shape[2] = {3, 2}, strides[2] = {row, 1};
  sage_tensor_init(&x, SAGE_U8, 2, shape, data);
  for (int i = 0; i < 2; ++i) x.stride[i] = strides[i];
  x.device_type = SAGE_CUDA;
  for (int64_t i = 0; i < 6; ++i) data[i / 2 * row + i % 2] = static_cast<unsigned char>(10 + i);
  EmulatedOps device;
  OwnedTensor y(SAGE_U8, {2, 3});
  y.description().device_type = SAGE_CUDA;
  TestOp op(SAGE_OP_PERMUTE);
  sage_permute_attributes attributes{};
  attributes.axes[0] = 1;
  op.Attributes(attributes).Slot(0, &x).Slot(1, y);
  const RunResult result = RunOp(device.instance, op);
  CHECK_MESSAGE(result.status == SAGE_OK, result.message);
  for (int64_t i = 0; i < 6; ++i) CHECK(y.At({i % 2, i / 2}) == static_cast<double>(10 + i));
  munmap(memory, static_cast<size_t>(bytes));
}

TEST_CASE("P8 cuda ops: a walk merges what merges and finds every place of more than 2^31") {
  using cuda::OffsetsAt;
  using cuda::Walk;
  Walk<2> plain;  // row-major in both
  plain.Append(4, {30, 30}), plain.Append(1, {7, 9}), plain.Append(5, {6, 6}), plain.Append(6, {1, 1});
  plain.Finish();
  CHECK(plain.rank == 1);
  CHECK(plain.count == 120);
  CHECK(plain.last_step(0) == 1);
  Walk<2> turned;  // columns first in y
  turned.Append(4, {5, 1}), turned.Append(5, {1, 4});
  turned.Finish(1);
  CHECK(turned.rank == 2);
  CHECK(turned.last_step(1) == 1);
  CHECK(turned.last_step(0) == 5);
  CHECK_FALSE(turned.PacksOf(4, {true, true}));
  CHECK(turned.PacksOf(4, {false, true}));
  Walk<2> large;
  const int64_t lengths[3] = {3, 70000, 90000};
  large.Append(lengths[0], {1, -1}), large.Append(lengths[1], {7, 3}), large.Append(lengths[2], {11, 0});
  large.Finish();
  REQUIRE(large.rank == 3);
  CHECK(large.wide);
  std::mt19937_64 random(1);
  for (int i = 0; i < 100; ++i) {
    const auto place = static_cast<int64_t>(random() % static_cast<uint64_t>(large.count));
    int64_t at[2];
    OffsetsAt(large, place, at);
    const int64_t c = place % lengths[2], b = place / lengths[2] % lengths[1], a = place / lengths[2] / lengths[1];
    CHECK(at[0] == a + 7 * b + 11 * c);
    CHECK(at[1] == 3 * b - a);
  }
}

TEST_CASE("R19 cuda ops: constants of the CPU are read from their copies") {
  // A host whose memory of the device is the instance's own.
  struct Lent {
    TestHost host{1, Threads::kSimulated};
    sage_host services = *host.table();
    const sage_device_table* device = nullptr;
  } lent;
  lent.services.self = &lent;
  lent.services.alloc = [](void* self, int32_t, int32_t, uint64_t bytes, uint64_t align, void** out, sage_error* err) {
    const sage_device_table& device = *static_cast<Lent*>(self)->device;
    return device.alloc(device.self, bytes, align, out, err);
  };
  lent.services.free = [](void* self, int32_t, int32_t, void* memory) {
    const sage_device_table& device = *static_cast<Lent*>(self)->device;
    device.free(device.self, memory);
  };
  const sage_plugin& table = *EmulatedOpsTable();
  sage_instance* instance = nullptr;
  REQUIRE(table.create(&lent.services, 0, nullptr, &instance, nullptr) == SAGE_OK);
  REQUIRE(table.device(instance, &lent.device, nullptr) == SAGE_OK);
  // Indices walked backwards, so that element 0 is not the copy's first.
  OwnedTensor x = Floats({5, 3}), indices(SAGE_I32, {3}, {-1}), y(SAGE_F32, {3, 3});
  indices.FillValues({4, 0, 2}).Constant();
  x.description().device_type = y.description().device_type = SAGE_CUDA;
  TestOp op(SAGE_OP_GATHER);
  op.Attributes(sage_gather_attributes{}).Slot(0, x).Slot(1, indices).Slot(2, y);
  sage_plan* plan = nullptr;
  sage_plan_info info{};
  info.struct_size = sizeof info;
  REQUIRE(table.plan(instance, op.op(), nullptr, &plan, &info, nullptr) == SAGE_OK);
  CHECK(info.prepack_bytes == 12);
  sage_run_args args{};
  args.struct_size = sizeof args, args.num_slots = 3, args.slots = op.slots().data();
  CHECK(table.run(plan, &args, nullptr) == SAGE_OK);
  for (int64_t i = 0; i < 3; ++i)
    for (int64_t row = 0; row < 3; ++row) CHECK(y.At({row, i}) == x.At({row == 0 ? 4 : row == 1 ? 0 : 2, i}));
  table.plan_destroy(plan);
  table.destroy(instance);
  CHECK(EmulatedOpsRuntime().blocks() == 0);
}

}  // namespace sage::test
