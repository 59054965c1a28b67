// What is wrong with an op graph, said with its path and, where a name is nearly right, the right one.
#include "model_text.h"

using namespace sage;
using namespace sage::test;

namespace {

// A small attention graph that is right; each case breaks one thing in it.
GraphText Good() {
  GraphText graph;
  graph.symbols = "{\"name\": \"batch\", \"max\": 4}, {\"name\": \"seq\", \"max\": 64}";
  graph.tensors = TensorText("q", "F32", {"batch", "12", "seq", "16"}) + ", " +
                  TensorText("k", "F32", {"batch", "4", "seq", "16"}) + ", " +
                  TensorText("v", "F32", {"batch", "4", "seq", "16"});
  graph.nodes = NodeText("attn0", "Attention", "\"q\": \"q\", \"k\": \"k\", \"v\": \"v\", \"out\": \"o\"") + ", " +
                NodeText("act", "Unary", "\"x\": \"o\", \"out\": \"y\", \"function\": \"RELU\"");
  graph.inputs = "\"q\", \"k\", \"v\"";
  graph.outputs = "\"y\"";
  return graph;
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  const size_t at = text.find(from);
  REQUIRE_MESSAGE(at != std::string::npos, from);
  return text.replace(at, from.size(), to);
}

struct Fault {
  const char* from;
  const char* to;
  const char* message;
};

void CheckFaults(const std::string& json, std::initializer_list<Fault> faults) {
  CHECK(ErrorOf(json) == "");
  for (const Fault& fault : faults) {
    CAPTURE(fault.to);
    CHECK_CONTAINS(ErrorOf(Replaced(json, fault.from, fault.to)), fault.message);
  }
}

}  // namespace

TEST_CASE("verify: a fault is named with its path, and a near name is offered") {
  CheckFaults(
      Good().Json(),
      {
          {"\"k\": \"k\"", "\"k\": \"kk\"", "nodes[0].attn0.k: tensor \"kk\" does not exist; did you mean \"k\"?"},
          {"\"x\": \"o\"", "\"x\": \"oo\"", "nodes[1].act.x: tensor \"oo\" does not exist; did you mean \"o\"?"},
          {"\"x\": \"o\"", "\"x\": \"y\"", "nodes[1].act.x: \"y\" is written by this node itself"},
          {"\"out\": \"y\"", "\"out\": \"o\"", "nodes[1].act.out: \"o\" is already written by nodes[0].attn0"},
          {"\"out\": \"y\"", "\"out\": \"q\"", "\"q\" is an input of the graph and cannot be written"},
          {"\"out\": \"o\"", "\"out\": \"o\", \"lse\": \"o\"", "nodes[0].attn0.lse: \"o\" is already written by out"},
          {"\"name\": \"act\"", "\"name\": \"attn0\"", "the name \"attn0\" is taken by number 0"},
          {"\"name\": \"act\"", "\"name\": \"\"", "the name is empty"},
          {"\"name\": \"k\"", "\"name\": \"q\"", "tensors[1].q: the name \"q\" is taken by number 0"},
          {"\"max\": 64", "\"max\": 0", "symbols[1].seq: max is 0"},
          {"\"max\": 64", "\"max\": 18446744073709551615", "no machine holds that many"},
          {"{\"symbol\": \"seq\"}", "{\"symbol\": \"sea\"}", "symbol \"sea\" does not exist; did you mean \"seq\"?"},
          {"{\"symbol\": \"seq\"}", "{\"symbol\": \"seq\", \"size\": 3}", "has both a size and a symbol"},
          {"{\"size\": 12}", "{\"size\": -1}", "dimension 1 is -1; sizes are >= 0"},
          {"\"inputs\": [\"q\", ", "\"inputs\": [\"q\", \"q\", ", "inputs[1]: \"q\" is listed twice"},
          {"\"inputs\": [\"q\", ", "\"inputs\": [\"qq\", ",
           "inputs[0]: tensor \"qq\" does not exist; did you mean \"q\"?"},
          {"\"inputs\": [\"q\", ", "\"inputs\": [", "nodes[0].attn0.q: \"q\" has no value"},
          {"\"outputs\": [\"y\"]", "\"outputs\": []", "outputs: there are none"},
          {"\"outputs\": [\"y\"]", "\"outputs\": [\"y\", \"y\"]", "outputs[1]: \"y\" is listed twice"},
          {"\"dtype\": \"F32\", ", "", "inputs[0]: \"q\" needs a dtype and a shape"},
      });
}

TEST_CASE("verify: attention's shapes and settings are judged, with the numbers in the sentence") {
  CheckFaults(
      Good().Json(),
      {
          {"{\"size\": 12}", "{\"size\": 10}", "nodes[0].attn0.k: has 4 heads, which do not divide the 10 of q"},
          {"{\"size\": 16}", "{\"size\": 8}", "nodes[0].attn0.k: has 16 elements a head, q has 8"},
          {"\"function\": \"RELU\"",
           "\"function\": \"RELU\"}}, {\"name\": \"z\", \"op_type\": \"MatMul\", \"op\": "
           "{\"a\": \"y\", \"b\": \"k\", \"out\": \"zz\"",
           "nodes[2].z.b"},
          {"\"out\": \"o\"", "\"out\": \"o\", \"causal\": true", "nodes[0].attn0.align: is missing"},
          {"\"out\": \"o\"", "\"out\": \"o\", \"window_left\": 3", "nodes[0].attn0.align: is missing"},
          {"\"out\": \"o\"", "\"out\": \"o\", \"dropout_p\": 0.1",
           "nodes[0].attn0.dropout_p: is 0.1: dropout belongs to training and must be 0 at inference"},
          {"\"out\": \"o\"", "\"out\": \"o\", \"dropout_p\": 1.5", "a probability below 1 is needed"},
          {"\"out\": \"o\"", "\"out\": \"o\", \"scale\": \"nan\"", "nodes[0].attn0.scale: is nan"},
          {"\"out\": \"o\"", "\"out\": \"o\", \"softcap\": \"inf\"", "nodes[0].attn0.softcap: is inf"},
          {"\"out\": \"o\"", "\"out\": \"o\", \"softcap\": -1", "nodes[0].attn0"},
          {"\"out\": \"o\"", "\"out\": \"o\", \"query_heads\": 12", "belong to layout BSE"},
          {"\"out\": \"o\"", "\"out\": \"o\", \"layout\": \"BSE\"", "query_heads: is missing: layout BSE needs it"},
          {"\"out\": \"o\"", "\"out\": \"o\", \"layout\": \"THD\"", "nodes[0].attn0.q: must have 3 dimensions"},
          {"\"out\": \"o\"", "\"out\": \"o\", \"cu_seqlens_q\": \"v\"", "is for packed sequences"},
          {"\"out\": \"o\"", "\"out\": \"o\", \"k_new\": \"k\"", "k_new and v_new go together"},
          {"\"out\": \"o\"", "\"out\": \"o\", \"block_mask\": \"v\"", "needs mask_block_q and mask_block_kv above 0"},
          {"\"out\": \"o\"", "\"out\": \"o\", \"bias\": \"v\"", "nodes[0].attn0.bias: must be broadcastable"},
      });
}

TEST_CASE("verify: policies name a backend, never a path, and hold possible numbers") {
  const std::string json = Replaced(Good().Json(), "\"op_type\": \"Unary\"", "\"policy\": {}, \"op_type\": \"Unary\"");
  CheckFaults(
      json,
      {
          {"\"policy\": {}", "\"policy\": {\"backend\": \"/tmp/x.so\"}", "nodes[1].act.policy.backend: must be a"},
          {"\"policy\": {}", "\"policy\": {\"backend\": \"\"}", "must be a backend's name"},
          {"\"policy\": {}", "\"policy\": {\"backend_order\": [\"cpu\", \"CPU\"]}", "policy.backend_order[1]"},
          {"\"policy\": {}", "\"policy\": {\"max_latency_ms\": -1}", "max_latency_ms: is -1"},
          {"\"policy\": {}", "\"policy\": {\"max_memory\": 5}", "belongs into the model's policy"},
          {"\"policy\": {}", "\"policy\": {\"block_q\": 70000}", "block_q: is 70000; at most 65536"},
      });
}

TEST_CASE("verify: the order of nodes is the order in which they run") {
  GraphText graph;
  graph.tensors = TensorText("x", "F32", {"3"});
  graph.nodes = NodeText("second", "Unary", "\"x\": \"a\", \"out\": \"b\"") + ", " +
                NodeText("first", "Unary", "\"x\": \"x\", \"out\": \"a\"");
  graph.inputs = "\"x\"";
  graph.outputs = "\"b\"";
  CHECK_CONTAINS(ErrorOf(graph.Json()), "nodes[0].second.x: \"a\" is only written further down, by nodes[1].first");
}

TEST_CASE("verify: a declared result is compared with what the node writes") {
  GraphText graph;
  graph.symbols = "{\"name\": \"n\", \"max\": 8}";
  graph.tensors = TensorText("x", "F32", {"n", "4"}) + ", " + TensorText("y", "F32", {"n", "5"});
  graph.nodes = NodeText("soft", "Softmax", "\"x\": \"x\", \"out\": \"y\"");
  graph.inputs = "\"x\"";
  graph.outputs = "\"y\"";
  CHECK_CONTAINS(ErrorOf(graph.Json()),
                 "nodes[0].soft.out: tensor \"y\" is declared [n = 8, 5], the node writes [8, 4]");
  graph.tensors = TensorText("x", "F32", {"n", "4"}) + ", " + TensorText("y", "F64", {"n", "4"});
  CHECK_CONTAINS(ErrorOf(graph.Json()), "is declared f64, the node writes f32");
  // A size that fits only at the symbol's maximum is found as well.
  graph.tensors = TensorText("x", "F32", {"n", "4"}) + ", " + TensorText("y", "F32", {"8", "4"});
  CHECK_CONTAINS(ErrorOf(graph.Json()), "at half of each symbol's max");
}

TEST_CASE("verify: every error of a file is found at once") {
  GraphText graph = Good();
  graph.nodes = NodeText("a", "Norm", "\"x\": \"q\", \"out\": \"n\"") + ", " +
                NodeText("b", "Rope", "\"x\": \"missing\", \"out\": \"r\"") + ", " +
                NodeText("c", "Unary", "\"x\": \"k\", \"out\": \"y\", \"alpha\": 2", "\"backend\": \"no path/\"");
  const std::string message = ErrorOf(graph.Json());
  CHECK_CONTAINS(message, "nodes[0].a.epsilon: is missing");
  CHECK_CONTAINS(message, "nodes[1].b.style: is missing");
  CHECK_CONTAINS(message, "nodes[1].b.x: tensor \"missing\" does not exist");
  CHECK_CONTAINS(message, "nodes[2].c.policy.backend");
}

TEST_CASE("verify: kinds are judged by the rules of their op") {
  const auto error = [](const std::string& kind, const std::string& op) {
    GraphText graph;
    graph.symbols = "{\"name\": \"n\", \"max\": 8}";
    graph.tensors = TensorText("x", "F32", {"n", "6", "4"}) + ", " + TensorText("w", "F32", {"5", "4"}, "") + ", " +
                    TensorText("i", "I32", {"3"}) + ", " + TensorText("d", "F64", {"n", "6", "4"});
    graph.nodes = NodeText("node", kind, op);
    graph.inputs = "\"x\", \"w\", \"i\", \"d\"";
    graph.outputs = "\"y\"";
    return ErrorOf(graph.Json());
  };
  CHECK(error("Linear", "\"x\": \"x\", \"weight\": \"w\", \"out\": \"y\"") == "");
  CHECK_CONTAINS(error("Linear", "\"x\": \"w\", \"weight\": \"i\", \"out\": \"y\""),
                 "nodes[0].node.weight: must have 2 dim");
  CHECK_CONTAINS(error("Linear", "\"x\": \"i\", \"weight\": \"w\", \"out\": \"y\""), "but x has 3 inputs");
  CHECK_CONTAINS(error("MatMul", "\"a\": \"x\", \"b\": \"w\", \"out\": \"y\""), "4 columns of a meet 5 rows of b");
  CHECK(error("MatMul", "\"a\": \"x\", \"b\": \"w\", \"out\": \"y\", \"transpose_b\": true") == "");
  CHECK_CONTAINS(error("Binary", "\"a\": \"x\", \"b\": \"w\", \"out\": \"y\""), "do not broadcast");
  CHECK_CONTAINS(error("Binary", "\"a\": \"x\", \"b\": \"d\", \"out\": \"y\""), "both must have one type");
  CHECK_CONTAINS(error("Softmax", "\"x\": \"x\", \"out\": \"y\", \"axis\": 3"),
                 "axis 3 does not exist in a tensor of 3");
  CHECK_CONTAINS(error("Reduce", "\"x\": \"x\", \"out\": \"y\", \"axes\": [0, -3]"), "axis -3 is listed twice");
  CHECK_CONTAINS(error("Reduce", "\"x\": \"x\", \"out\": \"y\", \"axes\": []"), "leave it out to reduce all axes");
  CHECK_CONTAINS(error("Permute", "\"x\": \"x\", \"out\": \"y\", \"permutation\": [0, 1]"),
                 "one number for each of the 3");
  CHECK_CONTAINS(error("Permute", "\"x\": \"x\", \"out\": \"y\", \"permutation\": [0, 1, 1]"),
                 "must have each of 0 to 2");
  CHECK_CONTAINS(error("Permute", "\"x\": \"x\", \"out\": \"y\", \"permutation\": [0, 1, 2, 3]"), "each of the 3");
  CHECK_CONTAINS(error("Slice", "\"x\": \"x\", \"out\": \"y\", \"step\": 0"), "step: is 0");
  CHECK_CONTAINS(error("TopK", "\"x\": \"x\", \"values\": \"y\", \"k\": 5"), "k is 5, axis 2 of x has 4 elements");
  CHECK_CONTAINS(error("TopK", "\"x\": \"x\", \"values\": \"y\""), "k: is 0; it must be above 0");
  CHECK_CONTAINS(error("Concat", "\"inputs\": [\"x\", \"d\"], \"out\": \"y\""), "inputs[1]: is f64, inputs[0] is f32");
  CHECK_CONTAINS(error("Concat", "\"inputs\": [], \"out\": \"y\""), "inputs[0]: is missing");
  CHECK_CONTAINS(error("Gather", "\"x\": \"x\", \"indices\": \"w\", \"out\": \"y\""), "nodes[0].node");
  CHECK_CONTAINS(error("Reshape", "\"x\": \"x\", \"out\": \"y\", \"shape\": [{\"size\": -1}, {\"size\": -1}]"),
                 "two sizes");
  CHECK_CONTAINS(error("Reshape", "\"x\": \"x\", \"out\": \"y\", \"shape\": [{\"size\": -1}, {\"size\": 7}]"),
                 "7 equal parts");
  CHECK_CONTAINS(error("Norm", "\"x\": \"x\", \"out\": \"y\", \"epsilon\": 1e-5, \"weight\": \"i\""),
                 "nodes[0].node.weight");
  CHECK_CONTAINS(error("Norm", "\"x\": \"x\", \"out\": \"y\", \"epsilon\": \"nan\""), "epsilon: is nan");
  CHECK_CONTAINS(error("Pool", "\"x\": \"w\", \"out\": \"y\""), "nodes[0].node.x: must have 3 dimensions");
  CHECK_CONTAINS(error("Rope", "\"x\": \"x\", \"out\": \"y\", \"style\": \"HALVES\", \"rotary_dim\": 3"),
                 "rotary_dim 3");
  CHECK(error("Rope", "\"x\": \"x\", \"out\": \"y\", \"style\": \"HALVES\"") == "");
}

TEST_CASE("verify: heads of 0 beside a Rope whose positions are found from the shapes") {
  GraphText graph;
  graph.tensors = TensorText("x", "F32", {"2", "3", "8"});
  graph.nodes =
      NodeText("a", "Attention", "\"q\": \"x\", \"k\": \"x\", \"v\": \"x\", \"out\": \"o\", \"layout\": \"BSE\"") +
      ", " + NodeText("r", "Rope", "\"x\": \"o\", \"out\": \"y\", \"style\": \"HALVES\"") + ", " +
      NodeText("s", "Rope", "\"x\": \"x\", \"out\": \"z\", \"style\": \"HALVES\"");
  graph.inputs = "\"x\"";
  graph.outputs = "\"y\"";
  CHECK_CONTAINS(ErrorOf(graph.Json()), "nodes[0].a.query_heads: is missing: layout BSE needs it");
}

TEST_CASE("verify: a graph made by hand cannot reach outside of itself") {
  Graph graph;
  graph.symbols = {{"n", 4}};
  graph.tensors.resize(2);
  graph.tensors[0] = {"x", SAGE_F32, std::vector<Dim>{{0, 0}, {3, kNone}}, std::nullopt};
  graph.tensors[1].name = "y";
  graph.nodes.push_back({"n", SAGE_OP_UNARY, {0, 1}, sage_unary_attributes{16, SAGE_FN_EXP, 0}, {}});
  graph.inputs = {0};
  graph.outputs = {1};
  const auto errors = [](const Graph& broken) {
    std::vector<ModelError> found;
    CheckGraph(broken, &found);
    return ErrorText(found, 10);
  };
  CHECK(errors(graph) == "");
  Graph broken = graph;
  broken.nodes[0].slots = {7, 1};
  CHECK_CONTAINS(errors(broken), "names tensor number 7");
  broken = graph;
  broken.nodes[0].slots = {0};
  CHECK_CONTAINS(errors(broken), "out: is missing");
  broken = graph;
  broken.nodes[0].slots = {0, 1, 1};
  CHECK_CONTAINS(errors(broken), "has 3 slots");
  broken = graph;
  broken.nodes[0].kind = SAGE_OP_BINARY;
  CHECK_CONTAINS(errors(broken), "another kind's");
  broken.nodes[0].kind = 0;
  CHECK_CONTAINS(errors(broken), "kind 0 is not known");
  broken.nodes[0].kind = 63;
  CHECK_CONTAINS(errors(broken), "kind 63 is not known");
  broken = graph;
  broken.inputs = {-1};
  CHECK_CONTAINS(errors(broken), "inputs[0]: names no tensor");
  broken = graph;
  broken.tensors[0].shape = std::vector<Dim>{{0, 1}};
  CHECK_CONTAINS(errors(broken), "symbol number 1");
  broken = graph;
  broken.tensors[0].shape = std::vector<Dim>(9, Dim{1, kNone});
  CHECK_CONTAINS(errors(broken), "has 9 dimensions");
  broken = graph;
  broken.tensors[0].dtype = 77;
  CHECK_CONTAINS(errors(broken), "dtype 0x0000004d is not known");
  broken = graph;
  broken.tensors[0].shape = std::vector<Dim>(8, Dim{int64_t{1} << 40, kNone});
  CHECK_CONTAINS(errors(broken), "not a size that any machine holds");
  broken = graph;
  static const uint8_t kBytes[8] = {};
  broken.tensors[0].shape = std::vector<Dim>{{3, kNone}};
  broken.tensors[0].constant = Constant{kBytes, sizeof kBytes, nullptr};
  broken.inputs = {};
  CHECK_CONTAINS(errors(broken), "has 8 bytes of data, its shape needs 3 elements of f32");
  broken = graph;
  broken.nodes.assign(3000, Node{"n", 0, {0, 1}, {}, {}});
  std::vector<ModelError> found;
  CheckGraph(broken, &found);
  CHECK(found.size() == 256);
}

TEST_CASE("verify: a graph of many faults is answered quickly and with a bounded list") {
  GraphText graph;
  graph.tensors = TensorText("x", "F32", {"3"});
  for (int i = 0; i < 3000; ++i) {
    graph.nodes += (i == 0 ? "" : ", ") + NodeText("node_with_a_long_name_" + std::to_string(i), "Unary",
                                                   "\"x\": \"missing_tensor_" + std::to_string(i) +
                                                       "\", \"out\": \"written_tensor_" + std::to_string(i) + "\"");
  }
  graph.inputs = "\"x\"";
  graph.outputs = "\"written_tensor_0\"";
  const std::string message = ErrorOf(graph.Json());
  CHECK_CONTAINS(message, "... and 248 more");
}
