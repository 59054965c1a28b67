// test_layer_node.cc: an attention layer written as one node of a file is the same as its five nodes written out.
#include <cstring>
#include <random>

#include "engine.h"
#include "model_text.h"
#include "run/session.h"

using namespace sage;
using namespace sage::test;

namespace {

const std::string kExamples = std::string(SAGE_SOURCE_DIR) + "/examples/models";

std::vector<float> Outputs(std::shared_ptr<const Graph> graph, std::vector<std::vector<int64_t>> shapes) {
  Options options;
  options.values = {{"threads", "1"}, {"plugin_environment", "false"}, {"plugin_folders", "false"}};
  auto engine = Engine::Create(options);
  REQUIRE(engine.ok());
  auto session = Session::Create(*engine, std::move(graph), {});
  REQUIRE_MESSAGE(session.ok(), session.status().message());
  std::mt19937 random(4);
  for (uint32_t i = 0; i < shapes.size(); ++i) {
    size_t elements = 1;
    for (const int64_t size : shapes[i]) elements *= static_cast<size_t>(size);
    std::vector<float> x(elements);
    for (float& value : x) value = std::uniform_real_distribution<float>(-1, 1)(random);
    REQUIRE((*session)->SetInput(i, SAGE_F32, shapes[i], x.data(), x.size() * sizeof(float)).ok());
  }
  const Status status = (*session)->Run();
  REQUIRE_MESSAGE(status.ok(), status.message());
  std::vector<float> all;
  for (uint32_t i = 0; i < (*session)->graph().outputs.size(); ++i) {
    const auto y = (*session)->Output(i);
    REQUIRE(y.ok());
    size_t elements = 1;
    for (uint32_t d = 0; d < y->rank; ++d) elements *= static_cast<size_t>(y->shape[d]);
    const auto* values = static_cast<const float*>(y->data);
    all.insert(all.end(), values, values + elements);
  }
  return all;
}

std::string Layer(const std::string& op, const std::string& before = "", const std::string& after = "",
                  const std::string& outputs = "\"y\"") {
  GraphText text;
  text.symbols = R"({"name": "b", "max": 4}, {"name": "s", "max": 16}, {"name": "k", "max": 16})";
  text.tensors = TensorText("x", "F32", {"b", "s", "8"}) + "," + TensorText("c", "F32", {"b", "k", "6"}) + "," +
                 TensorText("keep", "BOOL", {"b", "1", "s", "k"});
  const auto constant = [&](const std::string& name, size_t rows, size_t columns) {
    std::string values;
    const size_t count = rows * (columns == 0 ? 1 : columns);
    for (size_t i = 0; i < count; ++i)
      values += (i == 0 ? "" : ",") + std::to_string(static_cast<double>((i * 7 + rows) % 11) / 8 - .6);
    text.tensors +=
        "," + TensorText(name, "F32",
                         columns == 0 ? std::vector<std::string>{std::to_string(rows)}
                                      : std::vector<std::string>{std::to_string(rows), std::to_string(columns)},
                         ", \"values\": [" + values + "]");
  };
  constant("wq", 12, 8), constant("wk", 6, 6), constant("wv", 4, 6), constant("wo", 8, 8);
  constant("bq", 12, 0), constant("bk", 6, 0), constant("bv", 4, 0), constant("bo", 8, 0);
  text.nodes = before + NodeText("layer", "MultiHeadAttention", op) + after;
  text.inputs = R"("x", "c", "keep")";
  text.outputs = outputs;
  return text.Json();
}

// Four query heads over two of keys and values; D 3, Dv 2.
constexpr const char* kOp =
    R"("x": "x", "context": "c", "q_weight": "wq", "k_weight": "wk", "v_weight": "wv", "o_weight": "wo", "q_bias": "bq",
       "k_bias": "bk", "v_bias": "bv", "o_bias": "bo", "out": "y", "query_heads": 4, "kv_heads": 2)";

}  // namespace

TEST_CASE("P10 P11 a layer in one node gives the bits of the layer in five") {
  const auto one = LoadGraph(ReadText(kExamples + "/gqa_expert_attention.json"), kExamples);
  const auto five = LoadGraph(ReadText(kExamples + "/gqa_layer.json"), kExamples);
  REQUIRE(one->nodes.size() == five->nodes.size());
  const char* names[] = {"layer.q_proj", "layer.k_proj", "layer.v_proj", "layer.attention", "layer.o_proj"};
  for (size_t i = 0; i < one->nodes.size(); ++i) {
    CHECK(one->nodes[i].name == names[i]);
    CHECK(one->nodes[i].kind == five->nodes[i].kind);
  }
  for (const int64_t seq : {1, 7, 64}) {
    const std::vector<std::vector<int64_t>> shapes = {{2, seq, 48}};
    const auto a = Outputs(one, shapes), b = Outputs(five, shapes);
    REQUIRE(a.size() == static_cast<size_t>(2 * seq * 48));
    CHECK(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
  }
}

TEST_CASE(
    "P10 a layer in one node: context, biases, mask, window, scale, weights out, each as in the nodes it stands for") {
  const std::string op = std::string(kOp) +
                         R"(, "mask": "keep", "weights": "p", "scale": 0.7, "causal": true, "align": "BOTTOM_RIGHT",
                              "window_left": 3, "window_right": 5)";
  const auto one = LoadGraph(Layer(op, "", "", R"("y", "p")"));
  // The same, written out.
  std::string text = Layer(op, "", "", R"("y", "p")");
  const size_t begin = text.find("{\"name\": \"layer\""), end = text.find("], \"inputs\"");
  const auto linear = [](const char* name, const char* x, const char* w, const char* b, const char* y) {
    return NodeText(name, "Linear",
                    std::string("\"x\": \"") + x + "\", \"weight\": \"" + w + "\", \"bias\": \"" + b +
                        "\", \"out\": \"" + y + "\"");
  };
  text.replace(
      begin, end - begin,
      linear("a", "x", "wq", "bq", "q") + "," + linear("b", "c", "wk", "bk", "k2") + "," +
          linear("c", "c", "wv", "bv", "v") + "," +
          NodeText("d", "Attention",
                   R"("q": "q", "k": "k2", "v": "v", "out": "h", "layout": "BSE", "query_heads": 4, "kv_heads": 2,
                               "mask": "keep", "weights": "p", "scale": 0.7, "causal": true, "align": "BOTTOM_RIGHT",
                               "window_left": 3, "window_right": 5)") +
          "," + linear("e", "h", "wo", "bo", "y"));
  const auto five = LoadGraph(text);
  Options options;
  for (const auto& graph : {one, five}) REQUIRE(graph->nodes.size() == 5);
  // The mask comes as an input of its own type, so the two are run side by side here.
  options.values = {{"threads", "1"}, {"plugin_environment", "false"}, {"plugin_folders", "false"}};
  auto engine = Engine::Create(options);
  REQUIRE(engine.ok());
  std::vector<std::vector<float>> results;
  for (const auto& graph : {one, five}) {
    auto session = Session::Create(*engine, graph, {});
    REQUIRE_MESSAGE(session.ok(), session.status().message());
    std::mt19937 random(6);
    std::vector<float> x(2 * 5 * 8), c(2 * 7 * 6);
    std::vector<uint8_t> keep(2 * 5 * 7);
    for (auto* values : {&x, &c})
      for (float& value : *values) value = std::uniform_real_distribution<float>(-1, 1)(random);
    for (uint8_t& value : keep) value = random() % 4 != 0 ? 1 : 0;
    const int64_t x_shape[] = {2, 5, 8}, c_shape[] = {2, 7, 6}, keep_shape[] = {2, 1, 5, 7};
    REQUIRE((*session)->SetInput(0, SAGE_F32, x_shape, x.data(), x.size() * 4).ok());
    REQUIRE((*session)->SetInput(1, SAGE_F32, c_shape, c.data(), c.size() * 4).ok());
    REQUIRE((*session)->SetInput(2, SAGE_BOOL, keep_shape, keep.data(), keep.size()).ok());
    REQUIRE((*session)->Run().ok());
    std::vector<float> y(2 * 5 * 8), p(2 * 4 * 5 * 7);
    REQUIRE((*session)->GetOutput(0, y.data(), y.size() * 4).ok());
    REQUIRE((*session)->GetOutput(1, p.data(), p.size() * 4).ok());
    y.insert(y.end(), p.begin(), p.end());
    results.push_back(std::move(y));
  }
  CHECK(std::memcmp(results[0].data(), results[1].data(), results[0].size() * sizeof(float)) == 0);
}

TEST_CASE("a layer in one node: errors name the node by its number in the file, and the field") {
  const std::string relu = NodeText("r", "Unary", R"("x": "y", "function": "RELU", "out": "z")");
  CHECK(ErrorOf(Layer(kOp)).empty());
  std::string op = kOp;
  op.replace(op.find("\"wk\""), 4, "\"wkk\"");
  CHECK_CONTAINS(ErrorOf(Layer(op)),
                 "nodes[0].layer.k_proj.weight: tensor \"wkk\" does not exist; did you mean \"wk\"?");
  op = kOp;
  op.replace(op.find("\"query_heads\": 4"), 16, "\"query_heads\": 0");
  CHECK_CONTAINS(ErrorOf(Layer(op)), "nodes[0].layer.query_heads: is missing; it must be above 0");
  op = kOp;
  op.replace(op.find("\"query_heads\": 4"), 16, "\"query_heads\": 5");
  CHECK_CONTAINS(ErrorOf(Layer(op)), "nodes[0].layer.attention");
  CHECK_CONTAINS(ErrorOf(Layer(std::string(kOp) + R"(, "causal": true)")), "nodes[0].layer.attention");
  CHECK_CONTAINS(ErrorOf(Layer(std::string(kOp) + R"(, "align": "TOP_LEFT", "window_left": 18446744073709551615)")),
                 "nodes[0].layer.window_left: is 18446744073709551615; leave it out for no limit");
  // What stands behind the layer keeps the number it has in the file.
  const std::string wrong = NodeText("r", "Unary", R"("x": "yy", "function": "RELU", "out": "z")");
  CHECK_CONTAINS(ErrorOf(Layer(kOp, "", "," + wrong, R"("z")")), "nodes[1].r.x: tensor \"yy\" does not exist");
  CHECK(ErrorOf(Layer(kOp, "", "," + relu, R"("z")")).empty());
  // A tensor of a name that the layer gives one of its own is not confused with it.
  const std::string before = NodeText("r", "Unary", R"("x": "x", "function": "RELU", "out": "layer.q")") + ",";
  CHECK(ErrorOf(Layer(kOp, before, "", R"("y", "layer.q")")).empty());
}
