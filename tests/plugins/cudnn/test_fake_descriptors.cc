// test_fake_descriptors.cc: what the fake cuDNN refuses when a graph is written down, and the text of one.
#include <doctest/doctest.h>

#include <functional>
#include <string>
#include <vector>

#include "fake_cudnn.h"
#include "fake_graph.h"
#include "graph_testing.h"

namespace sage::cudnn::fake {
namespace {

// The status of the first call that fails while `write` writes something down, and its sentence.
struct Said {
  int status = kSuccess;
  std::string text;
};
Said Refusal(const std::function<void(Graphs&)>& write) {
  Graphs g(Begin());
  write(g);
  return {g.status(), g.text()};
}
// Of the graph of what `write` writes down.
Said GraphRefusal(const std::function<void(Graphs&)>& write) {
  return Refusal([&](Graphs& g) {
    write(g);
    g.Graph();
  });
}

const Dims kP{2, 4, 8, 8};

}  // namespace

TEST_CASE("fake cudnn: attributes of a wrong kind or type or number are refused") {
  const Library library = Begin();
  Descriptor tensor = nullptr, op = nullptr;
  REQUIRE(library.BackendCreateDescriptor(kTensor, &tensor) == kSuccess);
  REQUIRE(library.BackendCreateDescriptor(kOperationReduction, &op) == kSuccess);
  const int64_t dims[] = {2, 3, 4, 5, 1, 1, 1, 1, 1};
  const int type = kFloat;
  const auto set = [&](Descriptor at, int attribute, int of, int64_t count, const void* values) {
    return library.BackendSetAttribute(at, attribute, of, count, values);
  };
  char said[256];
  CHECK(set(tensor, kTensorDimensions, kTypeDouble, 4, dims) == kWrongAttributeType);
  library.GetLastErrorString(said, sizeof said);
  CHECK(std::string(said) == "attribute 902 has type 3; given: 5");
  library.GetLastErrorString(said, sizeof said);  // taken
  CHECK(std::string(said).empty());
  CHECK(set(tensor, kTensorDimensions, kTypeInt64, 9, dims) == kBadParam);
  CHECK(set(tensor, kTensorDataType, kTypeDataType, 2, &type) == kBadParam);
  CHECK(set(tensor, kMatmulMathType, kTypeDataType, 1, &type) == kBadParam);
  CHECK(set(tensor, kTensorDimensions, kTypeInt64, 4, nullptr) == kNullPointer);
  CHECK(set(op, kOperationReductionX, kTypeDescriptor, 1, &tensor) == kNotFinalized);
  CHECK(set(op, kOperationReductionX, kTypeDescriptor, 1, &op) == kWrongDescriptorType);
  const Descriptor none = nullptr;
  CHECK(set(op, kOperationReductionX, kTypeDescriptor, 1, &none) == kNullPointer);
  int64_t count = 0, got[8];
  CHECK(library.BackendGetAttribute(tensor, kTensorDimensions, kTypeInt64, 8, &count, got) == kNotInitialized);
  CHECK(library.BackendFinalize(tensor) == kBadParam);
  library.GetLastErrorString(said, sizeof said);
  CHECK(std::string(said) == "a descriptor of type 17 is finalized without attribute 900");
  Descriptor unknown = nullptr;
  CHECK(library.BackendCreateDescriptor(999, &unknown) == kNoHostMemory);
  CHECK(The().Faults() == "");  // so far only refusals
  CHECK(library.BackendDestroyDescriptor(op) == kSuccess);
  CHECK(library.BackendDestroyDescriptor(op) == kNullPointer);
  CHECK(set(op, kOperationReductionX, kTypeDescriptor, 1, &tensor) == kNullPointer);
  CHECK(The().faults.size() == 2);
  CHECK(LiveDescriptors() == 1);
  CHECK(library.BackendDestroyDescriptor(tensor) == kSuccess);
  CHECK(LiveDescriptors() == 0);
}

TEST_CASE("fake cudnn: a finalized descriptor stays as it is and says what it was told") {
  Graphs g(Begin());
  const Descriptor tensor = g.Tensor(7, kHalf, {2, 3, 4, 5});
  REQUIRE(g.status() == kSuccess);
  const int64_t uid = 8;
  CHECK(g.library().BackendSetAttribute(tensor, kTensorUniqueId, kTypeInt64, 1, &uid) == kBadParam);
  CHECK(g.library().BackendFinalize(tensor) == kBadParam);
  int64_t count = 0, got[8] = {};
  const auto get = [&](int64_t capacity) {
    return g.library().BackendGetAttribute(tensor, kTensorDimensions, kTypeInt64, capacity, &count, got);
  };
  CHECK(get(0) == kSuccess);
  CHECK(count == 4);
  CHECK(get(2) == kSuccess);
  CHECK(count == 2);
  CHECK(get(8) == kSuccess);
  CHECK((count == 4 && got[0] == 2 && got[3] == 5));
  CHECK(g.library().BackendGetAttribute(tensor, kTensorDimensions, kTypeDouble, 8, &count, got) == kWrongAttributeType);
}

TEST_CASE("fake cudnn: tensors that cannot be are refused") {
  const auto tensor = [](int type, const Dims& dims, const Dims& strides, Graphs::Kind kind = Graphs::kBound) {
    return Refusal([&](Graphs& g) { g.Tensor(1, type, dims, strides, kind); }).status;
  };
  CHECK(tensor(kFloat, {2, 2}, {2, 1}) == kSuccess);
  CHECK(tensor(kFloat, {1, 1, 1, 4}, {0, 0, 0, 1}) == kSuccess);
  CHECK(tensor(kFloat, {2, 2}, {2, 2, 1}) == kBadParam);
  CHECK(tensor(kFloat, {0, 2}, {2, 1}) == kBadParam);
  CHECK(tensor(kFloat, {2, 2}, {-2, 1}) == kBadParam);
  CHECK(tensor(77, {2, 2}, {2, 1}) == kBadParam);
  CHECK(tensor(kFloat, {1, 1}, {1, 1}, Graphs::kByValue) == kSuccess);
  const Said large = Refusal([](Graphs& g) { g.Tensor(1, kFloat, {1, 2}, {2, 1}, Graphs::kByValue); });
  CHECK(large.status == kBadParam);
  CHECK(large.text == "a tensor by value has one element; this one is (1,2)");
  const auto ragged = [](int type, int64_t count) {
    return Refusal([&](Graphs& g) {
             g.Tensor(1, kHalf, {2, 4, 8, 16}, {512, 16, 64, 1}, Graphs::kBound,
                      g.Tensor(2, type, {count, 1, 1, 1}, {1, 1, 1, 1}));
           })
        .status;
  };
  CHECK(ragged(kInt32, 3) == kSuccess);
  CHECK(ragged(kInt64, 3) == kSuccess);
  CHECK(ragged(kFloat, 3) == kBadParam);
  CHECK(ragged(kInt32, 2) == kShapeMismatch);
}

TEST_CASE("fake cudnn: operations whose shapes or types do not fit are refused") {
  const auto pointwise = [](int mode, const Dims& x, const Dims& b, const Dims& y, int out = kFloat) {
    return Refusal([&](Graphs& g) {
             g.Pointwise(mode, g.Tensor(1, kFloat, x), b.empty() ? nullptr : g.Tensor(2, kFloat, b),
                         g.Tensor(3, out, y));
           })
        .status;
  };
  CHECK(pointwise(kAdd, kP, {1, 4, 1, 1}, kP) == kSuccess);
  CHECK(pointwise(kAdd, {2, 1, 8, 1}, {1, 4, 1, 8}, kP) == kSuccess);
  CHECK(pointwise(kAdd, kP, {1, 3, 1, 1}, kP) == kShapeMismatch);
  CHECK(pointwise(kAdd, kP, {8}, kP) == kShapeMismatch);
  CHECK(pointwise(kAdd, {1, 1, 8, 1}, {1, 1, 1, 8}, kP) == kShapeMismatch);
  CHECK(pointwise(kAdd, kP, {}, kP) == kBadParam);
  CHECK(pointwise(kExponential, kP, kP, kP) == kBadParam);
  CHECK(pointwise(kLess, kP, kP, kP) == kBadParam);
  CHECK(pointwise(kLess, kP, kP, kP, kBoolean) == kSuccess);
  CHECK(pointwise(kSelect, kP, kP, kP) == kBadParam);
  CHECK(pointwise(999, kP, kP, kP) == kBadParam);
  const auto index = [](int64_t axis, int type) {
    return Refusal([&](Graphs& g) {
             g.Pointwise(kIndex, g.Tensor(1, kFloat, kP), nullptr, g.Tensor(3, type, kP), nullptr, axis);
           })
        .status;
  };
  CHECK(index(2, kInt32) == kSuccess);
  CHECK(index(-1, kInt32) == kBadParam);
  CHECK(index(4, kInt32) == kBadParam);
  CHECK(index(2, kFloat) == kBadParam);
  const auto matmul = [](const Dims& a, const Dims& b, const Dims& c) {
    return Refusal([&](Graphs& g) { g.Matmul(g.Tensor(1, kHalf, a), g.Tensor(2, kHalf, b), g.Tensor(3, kFloat, c)); })
        .status;
  };
  CHECK(matmul({2, 4, 8, 16}, {2, 4, 16, 8}, kP) == kSuccess);
  CHECK(matmul({2, 4, 8, 16}, {2, 2, 16, 8}, kP) == kSuccess);
  CHECK(matmul({2, 4, 8, 16}, {2, 3, 16, 8}, kP) == kShapeMismatch);
  CHECK(matmul({2, 4, 8, 16}, {2, 4, 15, 8}, kP) == kShapeMismatch);
  CHECK(matmul({2, 4, 7, 16}, {2, 4, 16, 8}, kP) == kShapeMismatch);
  CHECK(matmul({2, 2, 8, 16}, {2, 4, 16, 8}, kP) == kShapeMismatch);
  const auto rows = [](int type, int64_t count) {
    return Refusal([&](Graphs& g) {
             g.Matmul(g.Tensor(1, kHalf, {2, 4, 8, 16}), g.Tensor(2, kHalf, {2, 4, 16, 8}), g.Tensor(3, kFloat, kP),
                      g.Tensor(4, type, {count, 1, 1, 1}));
           })
        .status;
  };
  CHECK(rows(kInt32, 2) == kSuccess);
  CHECK(rows(kInt32, 3) == kShapeMismatch);
  CHECK(rows(kInt64, 2) == kBadParam);
  const auto reduce = [](const Dims& y) {
    return Refusal([&](Graphs& g) { g.Reduce(kReduceAdd, g.Tensor(1, kFloat, kP), g.Tensor(2, kFloat, y)); }).status;
  };
  CHECK(reduce({2, 4, 8, 1}) == kSuccess);
  CHECK(reduce({2, 4, 8, 2}) == kShapeMismatch);
  CHECK(reduce(kP) == kShapeMismatch);
  const auto paged = [](const Dims& container, int64_t columns, const Dims& y) {
    return Refusal([&](Graphs& g) {
             g.PagedLoad(g.Tensor(1, kHalf, container), g.Tensor(2, kInt32, {2, 1, columns, 1}),
                         g.Tensor(3, kInt32, {2, 1, 1, 1}), g.Virtual(kHalf, y));
           })
        .status;
  };
  CHECK(paged({6, 2, 16, 32}, 3, {2, 2, 48, 32}) == kSuccess);
  CHECK(paged({6, 2, 16, 32}, 3, {2, 2, 40, 32}) == kSuccess);
  CHECK(paged({6, 2, 16, 32}, 2, {2, 2, 48, 32}) == kShapeMismatch);
  CHECK(paged({6, 2, 12, 32}, 4, {2, 2, 48, 32}) == kBadParam);
  CHECK(paged({6, 3, 16, 32}, 3, {2, 2, 48, 32}) == kShapeMismatch);
  CHECK(paged({6, 2, 16, 64}, 3, {2, 2, 48, 32}) == kShapeMismatch);
}

TEST_CASE("fake cudnn: a graph whose operations do not follow from each other is refused") {
  const Said unmade = GraphRefusal(
      [](Graphs& g) { g.Pointwise(kExponential, g.Virtual(kFloat, kP), nullptr, g.Tensor(2, kFloat, kP)); });
  CHECK(unmade.status == kBadParam);
  CHECK_MESSAGE(unmade.text == "operation 0: the tensor of uid 1000 is virtual and no operation before has made it",
                unmade.text);
  CHECK(GraphRefusal([](Graphs& g) {
          const Descriptor y = g.Tensor(2, kFloat, kP);
          g.Pointwise(kExponential, g.Tensor(1, kFloat, kP), nullptr, y);
          g.Pointwise(kTanh, g.Tensor(1, kFloat, kP), nullptr, y);
        }).text == "operation 1: the tensor of uid 2 is made twice");
  CHECK(GraphRefusal([](Graphs& g) {
          const Descriptor x = g.Tensor(1, kFloat, kP);
          g.Pointwise(kExponential, x, nullptr, x);
        }).text == "operation 0: the tensor of uid 1 is made after it was read");
  const Said twice = GraphRefusal([](Graphs& g) {
    g.Pointwise(kAdd, g.Tensor(1, kFloat, kP), g.Tensor(1, kFloat, {1, 4, 1, 1}), g.Tensor(2, kFloat, kP));
  });
  CHECK(twice.status == kDuplicatedEntries);
  // The same tensor described twice is one.
  CHECK(GraphRefusal([](Graphs& g) {
          g.Pointwise(kAdd, g.Tensor(1, kFloat, kP), g.Tensor(1, kFloat, kP), g.Tensor(2, kFloat, kP));
        }).status == kSuccess);
  // Memory in the order of the operations is no virtual tensor's privilege.
  CHECK(GraphRefusal([](Graphs& g) {
          const Descriptor y = g.Tensor(2, kFloat, kP);
          g.Pointwise(kExponential, g.Tensor(1, kFloat, kP), nullptr, y);
          g.Pointwise(kTanh, y, nullptr, g.Tensor(3, kFloat, kP));
        }).status == kSuccess);
  const auto without_override = GraphRefusal([](Graphs& g) {
    const Descriptor begins = g.Tensor(9, kInt32, {3, 1, 1, 1});
    g.Matmul(g.Tensor(1, kHalf, {2, 4, 8, 16}, {512, 16, 64, 1}, Graphs::kBound, begins),
             g.Tensor(2, kHalf, {2, 4, 16, 8}), g.Tensor(3, kFloat, kP));
  });
  CHECK(without_override.status == kBadParam);
}

TEST_CASE("fake cudnn: younger operations are refused by older versions") {
  const auto make = [](size_t version) {
    const Library library = Begin();
    The().version = version;
    Descriptor op = nullptr;
    const int status = library.BackendCreateDescriptor(kOperationSdpaForward, &op);
    if (op != nullptr) CHECK(library.BackendDestroyDescriptor(op) == kSuccess);
    return status;
  };
  CHECK(make(91300) == kNoHostMemory);
  CHECK(make(91301) == kSuccess);
}

TEST_CASE("fake cudnn: the text of a graph has everything but the uids") {
  const auto text = [](int64_t shift) {
    Graphs g(Begin());
    const Descriptor begins = g.Tensor(shift + 9, kInt32, {3, 1, 1, 1}, {1, 1, 1, 1});
    const Descriptor lengths = g.Tensor(shift + 4, kInt32, {2, 1, 1, 1}, {1, 1, 1, 1});
    const Descriptor scores = g.Virtual(kFloat, kP), places = g.Virtual(kInt32, kP);
    g.Matmul(g.Tensor(shift + 1, kHalf, {2, 4, 8, 16}, {512, 16, 64, 1}, Graphs::kBound, begins),
             g.Tensor(shift + 2, kHalf, {2, 2, 16, 8}, {256, 128, 1, 16}), scores, lengths);
    g.Pointwise(kIndex, scores, nullptr, places, nullptr, 3);
    g.Pointwise(kMultiply, scores, g.Scalar(shift + 5, kFloat), g.Tensor(shift + 3, kFloat, kP));
    g.Reduce(kReduceMaximum, places, g.Tensor(shift + 6, kFloat, {2, 4, 8, 1}));
    const Descriptor graph = g.Graph();
    REQUIRE_MESSAGE(g.status() == kSuccess, g.text());
    CHECK(Describe(graph) == The().last_graph);
    CHECK(Describe(g.Plan(graph)) == The().last_graph);
    CHECK(Describe(lengths).empty());
    return The().last_graph;
  };
  const std::string expected =
      "#0 int32 (3,1,1,1) strides (1,1,1,1) align 8\n"
      "#1 f16 (2,4,8,16) strides (512,16,64,1) align 8 ragged by #0\n"
      "#2 f16 (2,2,16,8) strides (256,128,1,16) align 8\n"
      "#3 int32 (2,1,1,1) strides (1,1,1,1) align 8\n"
      "#4 f32 (2,4,8,8) strides (256,64,8,1) align 8 virtual\n"
      "matmul f32 a=#1 b=#2 rows=#3 c=#4\n"
      "#5 int32 (2,4,8,8) strides (256,64,8,1) align 8 virtual\n"
      "index[3] f32 x=#4 y=#5\n"
      "#6 f32 (1,1,1,1) strides (1,1,1,1) align 8 by value\n"
      "#7 f32 (2,4,8,8) strides (256,64,8,1) align 8\n"
      "multiply f32 x=#4 b=#6 y=#7\n"
      "#8 f32 (2,4,8,1) strides (32,8,1,1) align 8\n"
      "reduce_maximum f32 x=#5 y=#8\n";
  CHECK_MESSAGE(text(0) == expected, The().last_graph);
  CHECK(text(40) == expected);
}

}  // namespace sage::cudnn::fake
