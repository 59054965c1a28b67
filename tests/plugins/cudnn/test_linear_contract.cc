// test_linear_contract.cc: what the plugin cudnn refuses of LINEAR and MATMUL and in which words, what becomes of a
// library that is missing or fails, and what a run may not do.
#include <algorithm>
#include <array>

#include "linear_testing.h"

namespace sage::test {
namespace {

namespace lt = cuda::lt;

std::string ReasonOf(LinearDevice& device, const OpCase& c) {
  const sage_answer answer = device.Ask(c);
  return answer.verdict == SAGE_YES ? "yes" : answer.reason;
}

OpCase MixedLinear(sage_dtype x, sage_dtype w, sage_dtype bias, sage_dtype y, uint32_t activation = SAGE_FN_IDENTITY) {
  return Linear(OwnedTensor(x, {24, 40}).FillNormal(1), OwnedTensor(w, {16, 40}).FillNormal(2),
                OwnedTensor(bias, {16}).FillNormal(3), OwnedTensor(y, {24, 16}), activation);
}

}  // namespace

TEST_CASE("cudnn LINEAR: what cuBLASLt does not do in one go is refused with its reason and opens no library") {
  const FreshFakes fresh;
  LinearDevice device;
  const auto behind = [](const char* what) {
    return std::string("LINEAR is refused: it takes a kernel behind cuBLASLt for ") + what +
           ", and this backend has none";
  };
  for (const uint32_t activation :
       {SAGE_FN_GELU, SAGE_FN_SILU, SAGE_FN_SIGMOID, SAGE_FN_TANH, SAGE_FN_EXP, SAGE_FN_ABS})
    CHECK(ReasonOf(device, PlainLinear(SAGE_BF16, 24, 16, 40, 1, activation)) ==
          behind("an activation other than RELU and GELU_TANH"));
  CHECK(ReasonOf(device, PlainLinear(SAGE_F32, 24, 16, 40, 1, SAGE_FN_GELU_TANH)) ==
        behind("GELU_TANH of a Y that has not 16 bits"));
  CHECK(ReasonOf(device, MixedLinear(SAGE_BF16, SAGE_BF16, SAGE_F32, SAGE_BF16)) ==
        behind("a bias of another type than Y"));
  CHECK(ReasonOf(device, MixedLinear(SAGE_F32, SAGE_F32, SAGE_F32, SAGE_BF16)) ==
        behind("a Y of neither X's type nor the sums'"));
  CHECK(ReasonOf(device, MixedLinear(SAGE_BF16, SAGE_F32, SAGE_F32, SAGE_F32)) ==
        "LINEAR is refused: cuBLASLt: X and W are not of one type that it multiplies");
  OpCase c = PlainLinear(SAGE_F32, 24, 16, 40);
  c.slots[kBias] = OwnedTensor(SAGE_F32, {16}, {2}).FillNormal(3);
  CHECK(ReasonOf(device, c) == behind("a bias that is not contiguous"));
  c = PlainLinear(SAGE_F32, 24, 16, 40);
  c.slots[kY] = OwnedTensor(SAGE_F32, {24, 16}, {1, 24});
  CHECK(ReasonOf(device, c) == behind("a Y that is not contiguous along its last axis"));
  c = PlainLinear(SAGE_F32, 24, 16, 40);
  c.slots[kX] = OwnedTensor(SAGE_F32, {24, 40}, {80, 2}).FillNormal(1);
  CHECK(ReasonOf(device, c) == "LINEAR is refused: cuBLASLt: X is contiguous along neither of its axes");
  c.slots[kX] = OwnedTensor(SAGE_F32, {24, 0});
  c.slots[kW] = OwnedTensor(SAGE_F32, {16, 0});
  CHECK(ReasonOf(device, c) == "LINEAR is refused: cuBLASLt: K is 0");
  c = PlainLinear(SAGE_F32, 24, 16, 40);
  c.slots.resize(6);
  c.slots[kX] = OwnedTensor(SAGE_F8_E4M3FN, {24, 40}), c.slots[kW] = OwnedTensor(SAGE_F8_E4M3FN, {16, 40});
  c.slots[kScaleX] = OwnedTensor(SAGE_F32, {1}).FillNormal(4);
  CHECK(ReasonOf(device, c) == "LINEAR is refused: cuBLASLt: X and W are not of one type that it multiplies");
  CHECK(Fake().loaded == 0);
}

TEST_CASE("S10 cudnn LINEAR: a library that is not there is a NO that says where it was looked for") {
  const FreshFakes fresh;
  Fake().loads = false;
  {
    LinearDevice device;
    REQUIRE(device.status() == SAGE_OK);
    const std::string reason = ReasonOf(device, PlainLinear(SAGE_F32, 24, 16, 40));
    CHECK(reason ==
          "LINEAR is refused: cuBLASLt could not be loaded: libcublasLt.so.13: cannot open shared object file: No such "
          "file or directory; looked in the loader's places, /usr/local/cuda/lib64, /usr/local/cuda-13/lib64 (option "
          "cublas)");
    CHECK(ReasonOf(device, PlainLinear(SAGE_BF16, 24, 16, 40)) == reason);
    CHECK(Fake().loaded == 1);  // not tried again
    OpCase c = PlainLinear(SAGE_F32, 24, 16, 40);
    CHECK(device.Run(c, c) == "refused: " + reason);
  }
  {
    LinearDevice device("/opt/none");
    CHECK(device.status() == SAGE_E_UNSUPPORTED);
    CHECK(Has(device.message(), "create: cublas is \"/opt/none\": cuBLASLt could not be loaded: libcublasLt.so.13"));
  }
  {
    LinearDevice device("off");
    CHECK(ReasonOf(device, PlainLinear(SAGE_F32, 24, 16, 40)) == "LINEAR is refused: cuBLASLt is turned off");
    CHECK(Fake().loaded == 0);
  }
  Fake().loads = true;
  {
    LinearDevice device("/opt/nvidia/lib");
    CHECK(device.status() == SAGE_OK);
    CHECK(Fake().path == "/opt/nvidia/lib");
    CHECK(Fake().loaded == 1);
    CHECK(ReasonOf(device, PlainLinear(SAGE_F32, 24, 16, 40)) == "yes");
  }
  CHECK(Fake().destroyed == 1);
  Fake().create_status = 1;
  LinearDevice device;
  CHECK(Has(ReasonOf(device, PlainLinear(SAGE_F32, 24, 16, 40)),
            "LINEAR is refused: cuBLASLt on cuda:0: CUBLAS_STATUS_INTERNAL_ERROR (1)"));
}

TEST_CASE("cudnn LINEAR: without an algorithm it is refused in the library's words") {
  const FreshFakes fresh;
  Fake().has_fused = false;
  {
    LinearDevice device;
    CHECK(Has(ReasonOf(device, PlainLinear(SAGE_BF16, 24, 16, 40, 1, SAGE_FN_RELU)),
              "LINEAR is refused: cuBLASLt has no algorithm for it: CUBLAS_STATUS_NOT_SUPPORTED (15): "));
    OpCase plain = PlainLinear(SAGE_BF16, 24, 16, 40);
    plain.slots[kBias] = OwnedTensor();
    CHECK(device.Check(plain) == "");
  }
  Fake().heuristic_status = lt::kNotSupported;
  LinearDevice device;
  OpCase c = Matmul(OwnedTensor(SAGE_F32, {3, 24, 40}).FillNormal(1), OwnedTensor(SAGE_F32, {3, 40, 16}).FillNormal(2),
                    OwnedTensor(SAGE_F32, {3, 24, 16}));
  CHECK(Has(ReasonOf(device, c), "MATMUL is refused: cuBLASLt has no algorithm for it: CUBLAS_STATUS_NOT_SUPPORTED"));
  CHECK(DeviceRuntime().pending_error() == 0);
}

TEST_CASE("cudnn LINEAR: dynamic rows are refused where a run could be none of the library's") {
  const FreshFakes fresh;
  LinearDevice device;
  const auto cube = [](Shape shape, uint32_t dynamic) {
    const OwnedTensor w = OwnedTensor(SAGE_BF16, {16, 40}).FillNormal(2);
    Shape y = shape;
    shape.push_back(40), y.push_back(16);
    return Linear(OwnedTensor(SAGE_BF16, shape).FillNormal(1), w, OwnedTensor(), OwnedTensor(SAGE_BF16, y),
                  SAGE_FN_IDENTITY, dynamic);
  };
  Fake().most_batch = 1;
  CHECK(ReasonOf(device, cube({5, 6}, 0)) == "yes");
  CHECK(ReasonOf(device, cube({30}, SAGE_AXIS_M)) == "yes");
  CHECK(Has(ReasonOf(device, cube({5, 6}, SAGE_AXIS_M)),
            "LINEAR is refused: for fewer rows at run: cuBLASLt has no algorithm for it: CUBLAS_STATUS_NOT_SUPPORTED"));
  Fake().most_batch = INT32_MAX;
  LinearDevice other;
  CHECK(ReasonOf(other, cube({65, 65, 2}, 0)) == "yes");
  CHECK(ReasonOf(other, cube({64, 65, 2}, SAGE_AXIS_M)) == "yes");
  CHECK(ReasonOf(other, cube({65, 65, 2}, SAGE_AXIS_M)) ==
        "LINEAR is refused: for fewer rows at run: its batch is no single stride and has too many parts");
  // What the library refuses in a run after all.
  Fake().least_rows = 10;
  OpCase fewer = cube({4}, SAGE_AXIS_M), whole = cube({30}, SAGE_AXIS_M);
  CHECK(other.Check(whole) == "");
  CHECK(other.Run(whole, fewer) ==
        "run: run: cuBLASLt does not serve 1 times 4 rows by the algorithm that it chose for 1 times 30; plan the op "
        "with that many");
  CHECK(DeviceRuntime().pending_error() == 0);
  Fake().most_rows = 12;
  CHECK(Has(other.Run(whole, whole), "run: cuda:0: cublasLtMatmul: CUBLAS_STATUS_NOT_SUPPORTED (15)"));
}

TEST_CASE("cudnn LINEAR: addresses that are no multiple of 16 bytes are an error that says what is needed") {
  const FreshFakes fresh;
  LinearDevice device;
  const OpCase planned = PlainLinear(SAGE_F32, 24, 16, 40);
  const auto sentence = [](const char* slot) {
    return std::string("run: run: the address of ") + slot +
           " is no multiple of 16 bytes, which cuBLASLt needs, and this backend has no kernel that does without; align "
           "it, or let another backend have the op";
  };
  const struct {
    uint32_t slot;
    const char* name;
    Shape shape;
  } kOperands[] = {{kX, "X", {24, 40}}, {kW, "W", {16, 40}}, {kBias, "B", {16}}, {kY, "Y", {24, 16}}};
  for (const auto& [slot, name, shape] : kOperands) {
    OpCase c = planned;
    Shape strides(shape.size(), 1);
    if (shape.size() == 2) strides[0] = shape[1];
    c.slots[slot] = OwnedTensor(SAGE_F32, shape, strides, 8).FillNormal(9);
    CHECK(device.Run(planned, c) == sentence(name));
    c.slots[slot] = OwnedTensor(SAGE_F32, shape, strides, 2).FillNormal(9);
    CHECK(device.Run(planned, c) ==
          std::string("run: run: the address of ") + name + " is no multiple of 4 bytes, the size of its elements");
  }
  CHECK(Fake().matmuls.empty());
  // Parts of a batch that lie at any multiple of an element: the library is told, and serves them.
  OpCase crooked =
      Matmul(OwnedTensor(SAGE_F16, {3, 5, 8}, {41, 8, 1}).FillNormal(1),
             OwnedTensor(SAGE_F16, {3, 8, 8}, {66, 8, 1}).FillNormal(2), OwnedTensor(SAGE_F16, {3, 5, 8}, {44, 8, 1}));
  CHECK(device.Check(crooked) == "");
  REQUIRE(!Fake().asked.empty());
  CHECK(Fake().asked.back().align_a == 4);
  CHECK(Fake().asked.back().align_d == 8);
}

TEST_CASE("cudnn LINEAR: whatever call of the library fails is a NO at ask and a sentence in a run") {
  const FreshFakes fresh;
  OpCase planned = PlainLinear(SAGE_F32, 24, 16, 40);
  int calls = 0;
  {
    LinearDevice device;
    OpCase c = planned;
    REQUIRE(device.Check(c) == "");
    calls = Fake().calls;
  }
  int refusals = 0, sentences = 0;
  for (int nth = 1; nth <= calls; ++nth) {
    CAPTURE(nth);
    Fake().fail_call = nth;
    LinearDevice device;
    OpCase c = planned;
    const std::string failure = device.Run(c, c);
    CHECK(Has(failure, "CUBLAS_STATUS_INTERNAL_ERROR (14): an internal operation failed"));
    if (failure.rfind("refused: LINEAR is refused: cuBLASLt ", 0) == 0) ++refusals;
    if (failure.rfind("run: cuda:0: cublasLtMatmul: ", 0) == 0) ++sentences;
    CHECK(DeviceRuntime().pending_error() == 0);
  }
  CHECK(refusals > 8);
  CHECK(sentences > 4);
  CHECK(refusals + sentences == calls);
}

TEST_CASE("cudnn LINEAR: more workspace than the device has memory is refused") {
  const FreshFakes fresh;
  cuda::Properties small = cuda::FakeH200();
  small.total_bytes = 1 << 20;
  LinearDevice device(nullptr, small);
  Fake().workspace_bytes = (1 << 20) - 100;
  CHECK(ReasonOf(device, PlainLinear(SAGE_F32, 24, 16, 40)) == "yes");
  Fake().workspace_bytes = 1 << 20;
  CHECK(ReasonOf(device, PlainLinear(SAGE_F32, 24, 20, 40)) == "yes");
  small.total_bytes = (1 << 20) - 1;
  LinearDevice smaller(nullptr, small);
  CHECK(ReasonOf(smaller, PlainLinear(SAGE_F32, 24, 16, 40)) ==
        "a run needs 1048576 bytes of workspace; cuda:0 has 1048575");
}

TEST_CASE("R19 cudnn LINEAR: heuristics are asked once a bucket of rows and the library is opened once") {
  const FreshFakes fresh;
  {
    LinearDevice device;
    CHECK(ReasonOf(device, PlainLinear(SAGE_BF16, 256, 768, 768)) == "yes");
    CHECK(ReasonOf(device, PlainLinear(SAGE_BF16, 256, 768, 768)) == "yes");
    CHECK(ReasonOf(device, PlainLinear(SAGE_BF16, 250, 768, 768)) == "yes");  // the same step of 16 rows
    CHECK(Fake().asked.size() == 1);
    CHECK(ReasonOf(device, PlainLinear(SAGE_BF16, 240, 768, 768)) == "yes");
    CHECK(ReasonOf(device, PlainLinear(SAGE_BF16, 256, 768, 768, 1, SAGE_FN_RELU)) == "yes");
    CHECK(Fake().asked.size() == 3);
    CHECK(Fake().loaded == 1);
    CHECK(Fake().created == 1);
  }
  CHECK(Fake().destroyed == 1);
}

TEST_CASE("S15 cudnn LINEAR: a run only enqueues and has the same bits again") {
  const FreshFakes fresh;
  LinearDevice device;
  const auto cube = [](int64_t b, int64_t s) {
    return Linear(OwnedTensor(SAGE_BF16, {b, s, 40}, {6 * 40, 40, 1}).FillNormal(1),
                  OwnedTensor(SAGE_BF16, {16, 40}).FillNormal(2), OwnedTensor(SAGE_BF16, {16}).FillNormal(3),
                  OwnedTensor(SAGE_BF16, {b, s, 16}, {6 * 16, 16, 1}), SAGE_FN_RELU, SAGE_AXIS_M);
  };
  Fake().forgets = true;
  for (const auto& [b, s] : {std::array<int64_t, 2>{5, 6}, {5, 4}, {3, 6}, {1, 1}}) {
    OpCase c = cube(b, s), again = cube(b, s);
    REQUIRE(device.Run(cube(5, 6), c) == "");
    DeviceRuntime().calls.clear();
    const uint64_t before = device.heap_allocations;
    REQUIRE(device.Run(cube(5, 6), again) == "");
    CHECK(device.heap_allocations == before);
    CHECK(BitwiseEqual(again.slots[kY], c.slots[kY]));
    // What is legal while a stream is recorded.
    for (const std::string& call : DeviceRuntime().calls)
      CHECK_MESSAGE((call == "GetDevice" || call == "SetDevice"), call);
  }
}

TEST_CASE("R19 cudnn LINEAR: constants of the CPU are copied to the device") {
  const FreshFakes fresh;
  LinearDevice device;
  OpCase c = PlainLinear(SAGE_BF16, 24, 16, 40);
  c.slots[kW].Constant(), c.slots[kBias].Constant();
  const auto copies = [] {
    return std::count(DeviceRuntime().calls.begin(), DeviceRuntime().calls.end(), std::string("Copy"));
  };
  const auto before = copies();
  CHECK(device.Check(c) == "");
  CHECK(copies() == before + 2);
  REQUIRE(Fake().matmuls.size() == 1);
  CHECK(Fake().matmuls[0].bias != c.slots[kBias].tensor()->data);
}

TEST_CASE("cudnn LINEAR: a device that cannot be made current is an error of the run") {
  const FreshFakes fresh;
  LinearDevice device;
  OpCase c = PlainLinear(SAGE_F32, 24, 16, 40);
  REQUIRE(device.Check(c) == "");
  DeviceRuntime().fail["GetDevice"] = cuda::kDevicesUnavailable;
  CHECK(Has(device.Run(c, c), "run: cuda:0: making it current: "));
  DeviceRuntime().fail.clear();
  CHECK(device.Check(c) == "");
}

}  // namespace sage::test
