// Shapes found from the symbols, and nodes as ABI ops whose strides reach exactly the elements that the layout means.
#include "model/shapes.h"

#include <random>

#include "model/slice_range.h"
#include "model_text.h"
#include "support/heap_count.h"

using namespace sage;
using namespace sage::test;

namespace {

constexpr int64_t kNoEnd = INT64_MAX;

int32_t Index(const Graph& graph, const std::string& name) {
  for (size_t i = 0; i < graph.tensors.size(); ++i) {
    if (graph.tensors[i].name == name) return static_cast<int32_t>(i);
  }
  FAIL("no tensor " << name);
  return -1;
}

// Every tensor of the graph as it lies row-major, for these symbol values.
struct Described {
  explicit Described(const Graph& graph, std::vector<int64_t> symbols) {
    std::vector<ModelError> errors;
    const bool good = InferShapes(graph, symbols, &shapes, &errors);
    REQUIRE_MESSAGE(good, ErrorText(errors, 5));
    tensors.resize(shapes.size());
    for (size_t i = 0; i < shapes.size(); ++i) {
      sage_tensor_init(&tensors[i], shapes[i].dtype, shapes[i].rank, shapes[i].shape, nullptr);
      FillRowMajor(&tensors[i]);
    }
  }
  std::vector<int64_t> Shape(const Graph& graph, const std::string& name) const {
    const BoundTensor& tensor = shapes[static_cast<size_t>(Index(graph, name))];
    return {tensor.shape, tensor.shape + tensor.rank};
  }
  std::vector<BoundTensor> shapes;
  std::vector<sage_tensor> tensors;
};

using Ints = std::vector<int64_t>;

Ints ShapeOf(const sage_tensor& tensor) { return {tensor.shape, tensor.shape + tensor.rank}; }
Ints StridesOf(const sage_tensor& tensor) { return {tensor.stride, tensor.stride + tensor.rank}; }

// The graph of one node whose result is declared; "" when the declaration is right.
std::string Declared(const std::string& inputs, const std::string& kind, const std::string& op,
                     const std::string& result) {
  GraphText graph;
  graph.symbols = "{\"name\": \"b\", \"max\": 2}, {\"name\": \"s\", \"max\": 6}";
  graph.tensors = inputs + ", " + result;
  graph.nodes = NodeText("n", kind, op);
  graph.inputs = "\"x\", \"w\"";
  graph.outputs = "\"y\"";
  return ErrorOf(graph.Json());
}

}  // namespace

TEST_CASE("shapes: slices are NumPy's") {
  const struct {
    int64_t n, start, end, step;
    Ints elements;
  } cases[] = {
      {1, 6, 4, 2, {}},
      {2, 7, 2, -5, {}},
      {6, -10, 6, 1, {0, 1, 2, 3, 4, 5}},
      {5, -4, 4, 2, {1, 3}},
      {1, 10, 2, -2, {}},
      {6, 3, -1, -5, {}},
      {1, -5, 7, 2, {0}},
      {6, 0, 10, 1, {0, 1, 2, 3, 4, 5}},
      {9, 12, -11, 2, {}},
      {6, -11, -4, 7, {0}},
      {0, -4, 2, -2, {}},
      {9, 0, 9, 7, {0, 7}},
      {5, 0, 10, 7, {0}},
      {6, 2, -9, 3, {}},
      {0, -11, -9, -1, {}},
      {1, -4, 8, -1, {}},
      {9, -3, 0, -2, {6, 4, 2}},
      {5, 6, -2, -2, {4}},
      {6, 1, 5, 2, {1, 3}},
      {2, 9, kNoEnd, 7, {}},
      {2, 7, 8, -5, {}},
      {1, 10, -3, -2, {0}},
      {6, 6, -10, -5, {5, 0}},
      {9, -6, 7, 7, {3}},
      {6, -4, -4, 1, {}},
      {0, 3, 7, -1, {}},
      {0, -1, 12, 1, {}},
      {5, -8, kNoEnd, 3, {0, 3}},
      {5, 12, 0, 7, {}},
      {0, -11, 6, -2, {}},
      {0, 0, 9, -2, {}},
      {2, 5, -5, -2, {1}},
      {1, -11, -4, 1, {}},
      {0, -9, 6, -2, {}},
      {0, -6, 0, 3, {}},
      {6, -4, -9, -5, {2}},
      {0, -2, -3, 3, {}},
      {1, 0, -1, -1, {}},
      {6, 0, 7, 7, {0}},
      {6, 9, 4, 1, {}},
      {6, 4, -5, -1, {4, 3, 2}},
      {9, 11, 9, 2, {}},
      {2, 1, -5, -2, {1}},
      {2, 5, -3, 1, {}},
      {5, 6, -3, 1, {}},
      {5, 7, 5, -5, {}},
      {1, -11, 7, -5, {}},
      {2, 2, -2, -5, {1}},
      {2, 7, 9, 3, {}},
      {9, 3, kNoEnd, -2, {3, 1}},
      {0, 9, kNoEnd, 3, {}},
      {2, 8, 1, 3, {}},
      {6, 7, -3, 2, {}},
      {2, -7, -3, 7, {}},
      {2, 7, -5, 3, {}},
      {5, -9, 11, 7, {0}},
      {0, 6, 8, -5, {}},
      {1, -3, 3, 2, {0}},
      {9, -4, -6, 3, {}},
      {1, 9, 0, -5, {}},
  };
  for (const auto& entry : cases) {
    const auto& [n, start, end, step, elements] = entry;
    CAPTURE(entry.n);
    CAPTURE(entry.start);
    CAPTURE(entry.end);
    CAPTURE(entry.step);
    SliceNode slice{0, start, std::nullopt, step};
    if (end != kNoEnd) slice.end = end;
    const SliceRange range = RangeOf(slice, n);
    Ints got;
    for (int64_t i = 0; i < range.count; ++i) got.push_back(range.begin + i * range.step);
    CHECK(got == elements);
  }
  // Numbers at the edge of int64 neither overflow nor leave the axis.
  for (const int64_t start : {INT64_MIN, INT64_MAX, int64_t{0}, int64_t{-1}}) {
    for (const int64_t end : {INT64_MIN, INT64_MAX, int64_t{0}, int64_t{-1}}) {
      for (const int64_t step : {INT64_MIN, INT64_MAX, int64_t{1}, int64_t{-1}}) {
        const SliceRange range = RangeOf({0, start, end, step}, 5);
        CHECK(range.count >= 0);
        if (range.count == 0) continue;
        CHECK(range.begin >= 0);
        CHECK(range.begin < 5);
        const int64_t last = range.begin + (range.count - 1) * range.step;
        CHECK(last >= 0);
        CHECK(last < 5);
      }
    }
  }
}

TEST_CASE("shapes: every kind's result") {
  const std::string xw = TensorText("x", "F32", {"b", "s", "4"}) + ", " + TensorText("w", "F32", {"3", "4"});
  const auto y = [](const std::vector<std::string>& shape, const std::string& dtype = "F32") {
    return TensorText("y", dtype, shape);
  };
  CHECK(Declared(xw, "Linear", "\"x\": \"x\", \"weight\": \"w\", \"out\": \"y\"", y({"b", "s", "3"})) == "");
  CHECK(Declared(xw, "MatMul", "\"a\": \"x\", \"b\": \"w\", \"out\": \"y\", \"transpose_b\": true",
                 y({"b", "s", "3"})) == "");
  CHECK(Declared(xw, "MatMul", "\"a\": \"x\", \"b\": \"x\", \"out\": \"y\", \"transpose_a\": true",
                 y({"b", "4", "4"})) == "");
  CHECK(Declared(xw, "Norm", "\"x\": \"x\", \"out\": \"y\", \"epsilon\": 0, \"axis\": 1", y({"b", "s", "4"})) == "");
  CHECK(Declared(xw, "Unary", "\"x\": \"x\", \"out\": \"y\"", y({"b", "s", "4"}, "F16")) == "");
  CHECK(Declared(xw, "Reduce", "\"x\": \"x\", \"out\": \"y\"", y({})) == "");
  CHECK(Declared(xw, "Reduce", "\"x\": \"x\", \"out\": \"y\", \"axes\": [-1, 0]", y({"s"})) == "");
  CHECK(Declared(xw, "Reduce", "\"x\": \"x\", \"out\": \"y\", \"axes\": [1], \"keep_dims\": true",
                 y({"b", "1", "4"})) == "");
  CHECK(Declared(xw, "Concat", "\"inputs\": [\"x\", \"x\", \"x\"], \"out\": \"y\"", y({"b", "s", "12"})) == "");
  CHECK(Declared(xw, "Slice", "\"x\": \"x\", \"out\": \"y\", \"axis\": 2, \"start\": -3, \"end\": -1",
                 y({"b", "s", "2"})) == "");
  CHECK(Declared(xw, "Permute", "\"x\": \"x\", \"out\": \"y\", \"permutation\": [-1, 0, 1]", y({"4", "b", "s"})) == "");
  CHECK(Declared(xw, "Reshape",
                 "\"x\": \"x\", \"out\": \"y\", \"shape\": [{\"symbol\": \"b\"}, {\"size\": -1}, {\"size\": 2}]",
                 y({"b", "12", "2"})) == "");
  CHECK(Declared(xw, "TopK", "\"x\": \"x\", \"values\": \"y\", \"k\": 2, \"axis\": 2", y({"b", "s", "2"})) == "");
  CHECK(Declared(xw, "Pool", "\"x\": \"x\", \"out\": \"y\"", y({"b", "4"})) == "");
  CHECK(Declared(xw, "Pool", "\"x\": \"x\", \"out\": \"y\", \"window\": 3, \"stride\": 2, \"pad_begin\": 1",
                 y({"b", "3", "4"})) == "");
  const std::string xi = TensorText("x", "F32", {"b", "s", "4"}) + ", " + TensorText("w", "I32", {"5", "3"});
  CHECK(Declared(xi, "Gather", "\"x\": \"x\", \"indices\": \"w\", \"out\": \"y\", \"axis\": 2",
                 y({"b", "s", "5", "3"})) == "");
}

TEST_CASE("shapes: reshape finds the open size, empty axes included") {
  GraphText text;
  text.symbols = "{\"name\": \"b\", \"max\": 4}";
  text.tensors = TensorText("x", "F32", {"b", "4", "6"});
  text.nodes =
      NodeText("n", "Reshape", "\"x\": \"x\", \"out\": \"y\", \"shape\": [{\"symbol\": \"b\"}, {\"size\": -1}]");
  text.inputs = "\"x\"";
  text.outputs = "\"y\"";
  const auto graph = LoadGraph(text.Json());
  CHECK(Described(*graph, {3}).Shape(*graph, "y") == Ints{3, 24});
  CHECK(Described(*graph, {0}).Shape(*graph, "y") == Ints{0, 24});
}

TEST_CASE("P1 every layout's strides reach the element that the formula means") {
  std::mt19937 random(11);
  const auto draw = [&](int low, int high) { return std::uniform_int_distribution<int64_t>(low, high)(random); };
  for (int i = 0; i < 200; ++i) {
    const int64_t B = draw(1, 4), Hkv = draw(1, 3), Hq = Hkv * draw(1, 4), Sq = draw(1, 7), Skv = draw(1, 7),
                  D = draw(1, 5), Dv = draw(1, 5);
    const auto n = [](int64_t value) { return std::to_string(value); };
    for (const std::string layout : {"BHSD", "BSHD", "BSE"}) {
      CAPTURE(layout);
      const auto operand = [&](const std::string& name, int64_t H, int64_t S, int64_t W) {
        if (layout == "BHSD") return TensorText(name, "F32", {n(B), n(H), n(S), n(W)});
        if (layout == "BSHD") return TensorText(name, "F32", {n(B), n(S), n(H), n(W)});
        return TensorText(name, "F32", {n(B), n(S), n(H * W)});
      };
      GraphText text;
      text.tensors = operand("q", Hq, Sq, D) + ", " + operand("k", Hkv, Skv, D) + ", " + operand("v", Hkv, Skv, Dv) +
                     ", " + TensorText("bias", "F32", {n(Hq), "1", n(Skv)});
      text.nodes = NodeText(
          "a", "Attention",
          "\"q\": \"q\", \"k\": \"k\", \"v\": \"v\", \"out\": \"o\", \"bias\": \"bias\", \"lse\": \"l\", "
          "\"weights\": \"w\", \"layout\": \"" +
              layout + "\"" + (layout == "BSE" ? ", \"query_heads\": " + n(Hq) + ", \"kv_heads\": " + n(Hkv) : ""));
      text.inputs = "\"q\", \"k\", \"v\", \"bias\"";
      text.outputs = "\"o\", \"l\", \"w\"";
      const auto graph = LoadGraph(text.Json());
      const Described described(*graph, {});
      BuiltOp built;
      REQUIRE(BuildOp(graph->nodes[0], described.tensors, 0, &built).ok());
      const auto check = [&](uint32_t slot, int64_t H, int64_t S, int64_t W) {
        const sage_tensor& tensor = *built.op.slots[slot];
        REQUIRE(ShapeOf(tensor) == Ints{B, H, S, W});
        for (int64_t b = 0; b < B; ++b)
          for (int64_t h = 0; h < H; ++h)
            for (int64_t s = 0; s < S; ++s)
              for (int64_t w = 0; w < W; ++w) {
                const int64_t expected =
                    layout == "BHSD" ? ((b * H + h) * S + s) * W + w : ((b * S + s) * H + h) * W + w;
                const int64_t got =
                    b * tensor.stride[0] + h * tensor.stride[1] + s * tensor.stride[2] + w * tensor.stride[3];
                if (expected != got) FAIL_CHECK("element at another place");
              }
      };
      check(SAGE_ATTN_Q, Hq, Sq, D);
      check(SAGE_ATTN_K, Hkv, Skv, D);
      check(SAGE_ATTN_V, Hkv, Skv, Dv);
      check(SAGE_ATTN_O, Hq, Sq, Dv);
      const sage_tensor& bias = *built.op.slots[SAGE_ATTN_BIAS];
      CHECK(ShapeOf(bias) == Ints{B, Hq, Sq, Skv});
      if (B > 1) CHECK(bias.stride[0] == 0);
      if (Sq > 1) CHECK(bias.stride[2] == 0);
      CHECK(bias.stride[1] == Skv);
      CHECK(described.Shape(*graph, "l") == Ints{B, Hq, Sq});
      CHECK(described.Shape(*graph, "w") == Ints{B, Hq, Sq, Skv});
    }
  }
}

TEST_CASE("shapes: packed, paged and masked attention") {
  GraphText text;
  text.symbols = "{\"name\": \"t\", \"max\": 32}, {\"name\": \"n\", \"max\": 5}";
  text.tensors = TensorText("q", "F16", {"t", "4", "8"}) + ", " + TensorText("k", "F16", {"t", "2", "8"}) + ", " +
                 TensorText("v", "F16", {"t", "2", "6"}) + ", " + TensorText("cu", "I32", {"n"});
  text.nodes = NodeText(
      "a", "Attention",
      "\"q\": \"q\", \"k\": \"k\", \"v\": \"v\", \"out\": \"o\", \"layout\": \"THD\", \"cu_seqlens_q\": \"cu\", "
      "\"cu_seqlens_k\": \"cu\", \"lse\": \"l\"");
  text.inputs = "\"q\", \"k\", \"v\", \"cu\"";
  text.outputs = "\"o\", \"l\"";
  auto graph = LoadGraph(text.Json());
  Described packed(*graph, {20, 3});
  CHECK(packed.Shape(*graph, "o") == Ints{20, 4, 6});
  CHECK(packed.Shape(*graph, "l") == Ints{4, 20});
  CHECK(packed.shapes[static_cast<size_t>(Index(*graph, "l"))].dtype == SAGE_F32);

  text.symbols = "{\"name\": \"b\", \"max\": 4}";
  text.tensors = TensorText("q", "F32", {"b", "1", "4", "8"}) + ", " + TensorText("k", "F32", {"10", "16", "2", "8"}) +
                 ", " + TensorText("v", "F32", {"10", "16", "2", "8"}) + ", " + TensorText("table", "I32", {"b", "3"}) +
                 ", " + TensorText("used", "I32", {"b"});
  text.nodes = NodeText(
      "a", "Attention",
      "\"q\": \"q\", \"k\": \"k\", \"v\": \"v\", \"out\": \"o\", \"layout\": \"BSHD\", \"block_table\": \"table\", "
      "\"seqused_k\": \"used\"");
  text.inputs = "\"q\", \"k\", \"v\", \"table\", \"used\"";
  text.outputs = "\"o\"";
  graph = LoadGraph(text.Json());
  const Described paged(*graph, {2});
  BuiltOp built;
  REQUIRE(BuildOp(graph->nodes[0], paged.tensors, 0, &built).ok());
  CHECK(ShapeOf(*built.op.slots[SAGE_ATTN_K]) == Ints{10, 2, 16, 8});
  CHECK(StridesOf(*built.op.slots[SAGE_ATTN_K]) == Ints{256, 8, 16, 1});
  CHECK(paged.Shape(*graph, "o") == Ints{2, 1, 4, 8});

  // Two symbols that must be equal, and are not in this call.
  text.symbols = "{\"name\": \"b\", \"max\": 4}, {\"name\": \"c\", \"max\": 4}";
  text.tensors.replace(text.tensors.rfind("\"b\""), 3, "\"c\"");
  graph = LoadGraph(text.Json());
  std::vector<BoundTensor> shapes;
  std::vector<ModelError> errors;
  CHECK(InferShapes(*graph, Ints{2, 2}, &shapes, &errors));
  CHECK_FALSE(InferShapes(*graph, Ints{2, 3}, &shapes, &errors));
  CHECK_CONTAINS(ErrorText(errors, 3), "nodes[0].a.seqused_k: must be [B] = [2], got [3]");
}

TEST_CASE("shapes: products transpose and broadcast by strides") {
  GraphText text;
  text.tensors = TensorText("a", "F64", {"7", "1", "3", "2"}) + ", " + TensorText("b", "F64", {"5", "4", "3"});
  text.nodes = NodeText("m", "MatMul",
                        "\"a\": \"a\", \"b\": \"b\", \"out\": \"c\", \"transpose_a\": true, \"transpose_b\": true");
  text.inputs = "\"a\", \"b\"";
  text.outputs = "\"c\"";
  const auto graph = LoadGraph(text.Json());
  const Described described(*graph, {});
  CHECK(described.Shape(*graph, "c") == Ints{7, 5, 2, 4});
  BuiltOp built;
  REQUIRE(BuildOp(graph->nodes[0], described.tensors, 0, &built).ok());
  CHECK(ShapeOf(*built.op.slots[0]) == Ints{7, 5, 2, 3});
  CHECK(StridesOf(*built.op.slots[0]) == Ints{6, 0, 1, 2});
  CHECK(ShapeOf(*built.op.slots[1]) == Ints{7, 5, 3, 4});
  CHECK(StridesOf(*built.op.slots[1]) == Ints{0, 12, 1, 3});
}

TEST_CASE("S16 shapes and ops of a graph already seen take no heap memory") {
  const auto graph = LoadGraph(ReadText(SAGE_SOURCE_DIR "/tests/golden/0.1.0/all_ops.json"));
  std::vector<BoundTensor> shapes;
  std::vector<int64_t> sizes = {4, 16};
  REQUIRE(InferShapes(*graph, sizes, &shapes, nullptr));
  std::vector<sage_tensor> tensors(shapes.size());
  std::vector<std::unique_ptr<BuiltOp>> ops;
  for (size_t i = 0; i < graph->nodes.size(); ++i) ops.push_back(std::make_unique<BuiltOp>());
  const auto pass = [&] {
    bool good = InferShapes(*graph, sizes, &shapes, nullptr);
    for (size_t i = 0; i < shapes.size(); ++i) {
      sage_tensor_init(&tensors[i], shapes[i].dtype, shapes[i].rank, shapes[i].shape, nullptr);
      FillRowMajor(&tensors[i]);
    }
    for (size_t n = 0; n < graph->nodes.size(); ++n) {
      if (graph->nodes[n].kind != kKindReshape) good &= BuildOp(graph->nodes[n], tensors, 0, ops[n].get()).ok();
    }
    return good;
  };
  CHECK(pass());
  sizes = {3, 5};
  const uint64_t before = HeapAllocations();
  const bool good = pass();
  const uint64_t taken = HeapAllocations() - before;
  CHECK(good);
  CHECK(taken == 0);
}

TEST_CASE("shapes: a symbol is open only where the ABI lets the axis shrink") {
  const auto find = [](const std::string& tensors, const std::string& kind, const std::string& op) {
    GraphText text;
    text.symbols = "{\"name\": \"b\", \"max\": 4}, {\"name\": \"s\", \"max\": 8}";
    text.tensors = tensors;
    text.nodes = NodeText("n", kind, op);
    text.inputs = "\"x\"";
    text.outputs = "\"y\"";
    const auto graph = LoadGraph(text.Json());
    const Described described(*graph, {4, 8});
    return FindDynamicAxes(*graph, graph->nodes[0], described.shapes);
  };
  const std::string x = TensorText("x", "F32", {"b", "s", "4"});
  const auto check = [](const DynamicAxes& got, uint32_t axes, uint64_t exact) {
    CHECK(got.axes == axes);
    CHECK(got.exact_symbols == exact);
  };
  constexpr uint32_t M = SAGE_AXIS_M;
  const std::string w = ", " + TensorText("w", "F32", {"2", "4"}, ", \"values\": [1, 2, 3, 4, 5, 6, 7, 8]");
  check(find(x + w, "Linear", "\"x\": \"x\", \"weight\": \"w\", \"out\": \"y\""), M, 0);
  check(find(x, "Unary", "\"x\": \"x\", \"out\": \"y\""), M, 0b10);
  check(find(x, "Softmax", "\"x\": \"x\", \"out\": \"y\", \"axis\": 0"), 0, 0b11);
  check(find(x, "Norm", "\"x\": \"x\", \"out\": \"y\", \"epsilon\": 0"), M, 0b10);
  check(find(x, "Reduce", "\"x\": \"x\", \"out\": \"y\", \"axes\": [2]"), M, 0b10);
  check(find(x, "Reduce", "\"x\": \"x\", \"out\": \"y\", \"axes\": [0]"), 0, 0b11);
  check(find(x, "Permute", "\"x\": \"x\", \"out\": \"y\", \"permutation\": [1, 0, 2]"), 0, 0b11);
  check(find(x, "MatMul", "\"a\": \"x\", \"b\": \"x\", \"out\": \"y\", \"transpose_b\": true"), SAGE_AXIS_B | M, 0b10);
  check(find(x, "Pool", "\"x\": \"x\", \"out\": \"y\""), M, 0b10);
  check(find(x, "Reshape",
             "\"x\": \"x\", \"out\": \"y\", \"shape\": [{\"symbol\": \"b\"}, {\"symbol\": \"s\"}, {\"size\": 2}, "
             "{\"size\": 2}]"),
        M, 0);
  check(find(x, "Reshape", "\"x\": \"x\", \"out\": \"y\", \"shape\": [{\"size\": -1}, {\"size\": 4}]"), 0, 0b11);
  const std::string q = TensorText("x", "F32", {"b", "s", "4"});
  check(find(q, "Attention",
             "\"q\": \"x\", \"k\": \"x\", \"v\": \"x\", \"out\": \"y\", \"layout\": \"BSE\", \"query_heads\": 2, "
             "\"kv_heads\": 2"),
        SAGE_AXIS_B | SAGE_AXIS_SQ | SAGE_AXIS_SKV, 0);
}

TEST_CASE("shapes: products are checked") {
  CHECK(*ElementCount(Ints{2, 3, 4}) == 24);
  CHECK(*ElementCount(Ints{}) == 1);
  CHECK(*ElementCount(Ints{int64_t{1} << 40, 0}) == 0);
  CHECK_FALSE(ElementCount(Ints{int64_t{1} << 40, 0, int64_t{1} << 40}).ok());
  CHECK_FALSE(ElementCount(Ints{-1}).ok());
  sage_tensor tensor{};
  tensor.rank = 3;
  tensor.shape[0] = 2;
  tensor.shape[1] = 0;
  tensor.shape[2] = 5;
  FillRowMajor(&tensor);
  CHECK(tensor.stride[0] == 5);
  CHECK(tensor.stride[2] == 1);
}
