// Files that are no models, models that need more than this build has, the defaults and ranges of the three SAGE
// graphs, constants written as numbers, and the binaries of every release.
#include <cmath>
#include <cstring>
#include <filesystem>
#include <random>

#include "model/constant_data.h"
#include "model_text.h"
#include "support/owned_tensor.h"
#include "weight_files.h"

using namespace sage;
using namespace sage::test;

namespace {

std::vector<uint8_t> Bytes(const std::string& text) { return {text.begin(), text.end()}; }

std::string Sage(const std::string& kind, const std::string& graph) {
  return "{\"graph_type\": \"" + kind + "\", \"graph\": {" + graph + "}}";
}

}  // namespace

TEST_CASE("reader: what is no model is told apart by its bytes, never by its name") {
  CHECK_CONTAINS(ErrorOf(Bytes("")), "the file is empty");
  CHECK_CONTAINS(ErrorOf(ReadBytes(SAGE_SOURCE_DIR "/schemas/model.fbs")), "this is a FlatBuffers schema, not a model");
  CHECK_CONTAINS(ErrorOf(Bytes("/* x */ table T { }")), "this is a FlatBuffers schema, not a model");
  CHECK_CONTAINS(ErrorOf(ReadBytes(SAGE_SOURCE_DIR "/examples/models/expert.json")),
                 "this is JSON, not a binary model");
  CHECK_CONTAINS(ErrorOf(Bytes("hello, world")), "this is text, not a model");
  CHECK_CONTAINS(ErrorOf(ReadBytes(SAGE_SOURCE_DIR "/examples/models/gqa_layer.safetensors")),
                 "this is a safetensors file");
  CHECK_CONTAINS(ErrorOf(std::vector<uint8_t>{1, 2, 3}), "too few for a model");
  std::vector<uint8_t> bytes = Compile(Sage("ExpertGraph", ""));
  CHECK(ErrorOf(bytes) == "");
  bytes[7] = '2';
  CHECK_CONTAINS(ErrorOf(bytes), "a model of format SAG2, this build reads SAG1");
  std::memcpy(bytes.data() + 4, "TFL3", 4);
  CHECK_CONTAINS(ErrorOf(bytes), "bytes 4 to 7 are \"TFL3\"");
  CHECK_CONTAINS(ErrorOf(std::vector<uint8_t>{0x18, 0, 0, 0, 'S', 'A', 'G', '1'}), "damaged or cut short");
  std::vector<uint8_t> large = Compile(Sage("ExpertGraph", ""));
  large.resize((size_t{64} << 20) + 1);
  CHECK_CONTAINS(ErrorOf(large), "at most 67108864");
}

TEST_CASE("reader: files are found, and folders and missing files are told") {
  TemporaryFolder folder;
  CHECK(Model::Load(folder.File("none.fbs"), {}).status().code() == SAGE_E_NOT_FOUND);
  CHECK_CONTAINS(Model::Load(folder.path(), {}).status().message(), "is a folder");
  CHECK(Model::Check(folder.File("none.fbs"), {}).status().code() == SAGE_E_NOT_FOUND);
  folder.Write("my.model.fbs", Compile(Sage("FusionGraph", "")));
  const auto model = Model::Load(folder.File("my.model.fbs"), {});
  REQUIRE(model.ok());
  CHECK((*model)->name() == "my.model");
  CHECK((*model)->sha256().size() == 64);
  CHECK((*model)->kind() == 4);
  folder.Write("cut.fbs", Bytes("\x10"));
  const auto errors = Model::Check(folder.File("cut.fbs"), {});
  REQUIRE(errors.ok());
  CHECK(errors->size() == 1);
  CHECK(Model::Load(folder.File("cut.fbs"), {}).status().code() == SAGE_E_BAD_DATA);
}

TEST_CASE("reader: a model that requires what this build has not is refused before it is judged") {
  const std::string json =
      "{\"requires\": [\"sparse_experts\"], \"policy\": {\"max_latency_ms\": -1}, \"graph_type\": \"ExpertGraph\", "
      "\"graph\": {}}";
  const std::string message = ErrorOf(json);
  CHECK_CONTAINS(message, "requires[0]: the model requires \"sparse_experts\", which this build does not have");
  CHECK_FALSE(Contains(message, "max_latency_ms"));
}

TEST_CASE("reader: the SAGE graphs' defaults are those of their page") {
  const auto expert = std::get<ExpertParams>(LoadText(Sage("ExpertGraph", ""))->content());
  CHECK(expert.attention.d_model == 768);
  CHECK(expert.attention.query_heads == 12);
  CHECK(expert.attention.kv_heads == 4);
  CHECK(expert.attention.head_dim == 64);
  CHECK(expert.attention.gamma == 1);
  CHECK(expert.attention.scale == 1);
  CHECK(expert.num_experts == 128);
  CHECK(expert.top_k == 8);
  CHECK(expert.alpha == 0.3);
  CHECK(expert.head_weights == std::vector<double>(12, 1.0 / 12));
  CHECK(expert.context == "general");
  const auto metabolic = std::get<MetabolicParams>(LoadText(Sage("MetabolicGraph", ""))->content());
  CHECK(metabolic.attention.d_model == 256);
  CHECK(metabolic.attention.kv_heads == 8);
  CHECK(metabolic.total_atp == 100);
  CHECK(metabolic.transitions.focus_max_seconds == 300);
  const auto fusion_model = LoadText(Sage("FusionGraph", ""));
  const auto fusion = std::get<FusionParams>(fusion_model->content());
  CHECK(fusion.max_sensors == 8);
  CHECK(fusion.max_active == 3);
  CHECK(fusion.snarc.novelty == 0.2);
  CHECK(fusion_model->policy().max_latency_ms == 10);
  CHECK(fusion_model->policy().deterministic == true);
}

TEST_CASE("G6 every key of SAGE's configuration has a field that arrives") {
  const auto expert = std::get<ExpertParams>(
      LoadText(Sage("ExpertGraph",
                    "\"attention\": {\"use_flash_attention\": false, \"query_heads\": 6, \"kv_heads\": 2, "
                    "\"d_model\": 96, \"gamma\": 0, \"weights\": \"SEEDED\"}, \"num_experts\": 16"))
          ->content());
  CHECK(expert.attention.mode == GraphMode::kLegacy);
  CHECK(expert.attention.query_heads == 6);
  CHECK(expert.attention.kv_heads == 2);
  CHECK(expert.attention.head_dim == 16);
  CHECK(expert.attention.gamma == 0);
  CHECK(expert.attention.scale == doctest::Approx(0.25));
  const auto both = std::get<ExpertParams>(
      LoadText(Sage("ExpertGraph", "\"attention\": {\"use_flash_attention\": false, \"mode\": \"COMPARE\"}"))
          ->content());
  CHECK(both.attention.mode == GraphMode::kCompare);
  const auto metabolic =
      std::get<MetabolicParams>(LoadText(Sage("MetabolicGraph", "\"enable_causal_focus\": false"))->content());
  CHECK_FALSE(metabolic.enable_causal_focus);
  const auto seeded =
      std::get<ExpertParams>(LoadText(Sage("ExpertGraph", "\"attention\": {\"weights\": \"SEEDED\"}"))->content());
  CHECK(seeded.attention.gamma == 0);
}

TEST_CASE("reader: parameters out of range are named") {
  const struct {
    const char* kind;
    const char* graph;
    const char* message;
  } cases[] = {
      {"ExpertGraph", "\"alpha\": 1.5", "graph.alpha: is 1.5; it must be in [0, 1]"},
      {"ExpertGraph", "\"alpha\": \"nan\"", "graph.alpha: is nan"},
      {"ExpertGraph", "\"lambda\": -1", "graph.lambda: is -1"},
      {"ExpertGraph", "\"top_k\": 0", "graph.top_k: is 0"},
      {"ExpertGraph", "\"num_experts\": 0", "graph.num_experts: is 0"},
      {"ExpertGraph", "\"head_weights\": [1]", "has 1 numbers, one a query head (12) is needed"},
      {"ExpertGraph", "\"attention\": {\"query_heads\": 1, \"kv_heads\": 1}, \"head_weights\": [0.9]", "sum to 0.9"},
      {"ExpertGraph", "\"attention\": {\"kv_heads\": 5}", "kv_heads: is 5, which does not divide the 12"},
      {"ExpertGraph", "\"attention\": {\"query_heads\": 7, \"kv_heads\": 7}", "head_dim: is absent, and 7 query heads"},
      {"ExpertGraph", "\"attention\": {\"head_dim\": 10}", "12 query heads x head_dim must be d_model 768"},
      {"ExpertGraph", "\"attention\": {\"gamma\": -1}", "attention.gamma: is -1"},
      {"ExpertGraph", "\"attention\": {\"dtype\": \"I8\"}", "attention.dtype: must be F64"},
      {"ExpertGraph", "\"attention\": {\"weights\": \"FILE\"}", "attention.q_proj: is missing: weights is FILE"},
      {"MetabolicGraph", "\"wake_spread\": 2", "graph.wake_spread: is 2"},
      {"MetabolicGraph", "\"focus_primary\": 0.9", "more than everything"},
      {"MetabolicGraph", "\"crisis_temperature\": 0", "crisis_temperature: is 0; it must be a finite number above 0"},
      {"MetabolicGraph", "\"transitions\": {\"dream_probability\": 7}", "transitions.dream_probability: is 7"},
      {"MetabolicGraph", "\"total_atp\": \"inf\"", "total_atp: is inf"},
      {"FusionGraph", "\"age_rate\": -0.1", "graph.age_rate: is -0.1"},
      {"FusionGraph", "\"max_rows\": 0", "graph.max_rows: is 0"},
      {"FusionGraph", "\"snarc\": {\"reward\": \"nan\"}", "snarc.reward: is nan"},
      {"FusionGraph", "\"attention\": {\"weights\": \"FILE\"}", "attention.o_proj: is missing"},
      // Minutes and 16 GiB of random numbers from a few bytes; and products that would overflow before they are judged.
      {"MetabolicGraph",
       "\"attention\": {\"weights\": \"SEEDED\", \"d_model\": 65536, \"query_heads\": 1024, \"kv_heads\": 1024, "
       "\"head_dim\": 64}",
       "is SEEDED, which makes at most 268435456 numbers a projection; this one has 65536 x 65536: use FILE"},
      {"ExpertGraph",
       "\"attention\": {\"weights\": \"SEEDED\", \"d_model\": 4294967295, \"query_heads\": 4294967295, \"kv_heads\": "
       "4294967295, \"head_dim\": 4294967295}",
       "attention.query_heads: is 4294967295; it must be 1 to 1024"},
      {"FusionGraph", "\"attention\": {\"query_heads\": 4294967295, \"kv_heads\": 1, \"head_dim\": 4294967295}",
       "attention.head_dim: is 4294967295; it must be 1 to 65536"},
  };
  for (const auto& [kind, graph, message] : cases) {
    CAPTURE(graph);
    CHECK_CONTAINS(ErrorOf(Sage(kind, graph)), message);
  }
}

TEST_CASE("reader: projections of a SAGE graph come from a file and must fit") {
  TemporaryFolder folder;
  const std::vector<uint8_t> file = GqaLayerWeights();
  folder.Write("w", file);
  const auto json = [&](const std::string& graph) {
    return "{\"weight_files\": [{\"path\": \"w\", \"size\": " + std::to_string(file.size()) +
           "}], \"graph_type\": \"ExpertGraph\", \"graph\": {\"attention\": {\"d_model\": 48, " + graph + "}}}";
  };
  const std::string q = "\"q_proj\": {\"weight\": {\"key\": \"attn.q_proj.weight\"}}";
  const std::string k = "\"k_proj\": {\"weight\": {\"key\": \"attn.k_proj.weight\"}}";
  const auto model = LoadText(json("\"weights\": \"FILE\", " + q + ", " + k), folder.path());
  const auto& params = std::get<ExpertParams>(model->content());
  CHECK(params.attention.q_proj->weight.bytes == 48 * 48 * 4);
  CHECK(params.attention.scale == doctest::Approx(0.5));
  CHECK_CONTAINS(ErrorOf(json("\"weights\": \"FILE\", " + q), folder.path()), "k_proj: is missing");
  CHECK_CONTAINS(ErrorOf(json(q), folder.path()), "q_proj: is given, but weights is not FILE");
  const std::string swapped = "\"q_proj\": {\"weight\": {\"key\": \"attn.k_proj.weight\"}}";
  CHECK_CONTAINS(ErrorOf(json("\"weights\": \"FILE\", " + swapped + ", " + k), folder.path()),
                 "must be [48, 48], \"attn.k_proj.weight\" in \"w\" is [16, 48]");
}

TEST_CASE("reader: small constants become the bytes of their type") {
  std::mt19937_64 random(7);
  std::uniform_real_distribution<double> exponent(-30, 20), mantissa(-2, 2);
  for (int i = 0; i < 20000; ++i) {
    const double value = i < 10 ? i * 0.5 : mantissa(random) * std::exp2(exponent(random));
    const struct {
      sage_dtype dtype;
      int exponent, mantissa;
    } formats[] = {{SAGE_F16, 5, 10}, {SAGE_BF16, 8, 7}, {SAGE_F8_E5M2, 5, 2}, {SAGE_F8_E4M3FN, 4, 3}};
    for (const auto& [dtype, exponent_bits, mantissa_bits] : formats) {
      const bool fn = dtype == SAGE_F8_E4M3FN;
      const uint32_t expected = EncodeSmallFloat(value, exponent_bits, mantissa_bits, fn);
      const bool fits = std::isfinite(DecodeSmallFloat(expected, exponent_bits, mantissa_bits, fn));
      std::vector<uint8_t> bytes;
      const char* fault = AppendValue(dtype, value, &bytes);
      CHECK_MESSAGE((fault == nullptr) == fits, value);
      if (fault != nullptr) continue;
      uint32_t got = 0;
      std::memcpy(&got, bytes.data(), bytes.size());
      CHECK_MESSAGE(got == expected, value);
    }
    std::vector<uint8_t> bytes;
    REQUIRE(AppendValue(SAGE_F32, value, &bytes) == nullptr);
    float got = 0;
    std::memcpy(&got, bytes.data(), sizeof got);
    CHECK(got == static_cast<float>(value));
  }
  const auto refused = [](sage_dtype dtype, double value) {
    std::vector<uint8_t> bytes;
    const bool fault = AppendValue(dtype, value, &bytes) != nullptr;
    CHECK(bytes.empty() == fault);
    return fault;
  };
  CHECK(refused(SAGE_I8, 128));
  CHECK_FALSE(refused(SAGE_I8, -128));
  CHECK(refused(SAGE_U8, -1));
  CHECK(refused(SAGE_I32, 0.5));
  CHECK(refused(SAGE_I64, 0x1p63));
  CHECK_FALSE(refused(SAGE_I64, -0x1p63));
  CHECK(refused(SAGE_U64, 0x1p64));
  CHECK(refused(SAGE_I32, std::nan("")));
  CHECK(refused(SAGE_BOOL, 2));
  CHECK(refused(SAGE_F32, 1e39));
  CHECK_FALSE(refused(SAGE_F32, -HUGE_VAL));
}

TEST_CASE("reader: absent parts are filled in as the schema says") {
  GraphText graph;
  graph.symbols = "{\"name\": \"s\", \"max\": 32}";
  graph.tensors = TensorText("x", "F32", {"1", "2", "s", "4"});
  graph.nodes = NodeText("r", "Rope", "\"x\": \"x\", \"out\": \"y\", \"style\": \"HALVES\"") + ", " +
                NodeText("t", "TopK", "\"x\": \"y\", \"values\": \"top\", \"k\": 2");
  graph.inputs = "\"x\"";
  graph.outputs = "\"top\"";
  const auto loaded = LoadGraph(graph.Json());
  const int32_t positions = loaded->nodes[0].slots[1];
  REQUIRE(positions != kNone);
  const GraphTensor& tensor = loaded->tensors[static_cast<size_t>(positions)];
  REQUIRE(tensor.constant->bytes == 32 * 4);
  int32_t last = 0;
  std::memcpy(&last, static_cast<const char*>(tensor.constant->data) + 31 * 4, sizeof last);
  CHECK(last == 31);
  CHECK(loaded->nodes[1].slots[2] != kNone);
}

TEST_CASE("reader: the binaries of every release load, with what was written into them") {
  size_t count = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(SAGE_SOURCE_DIR "/tests/golden")) {
    if (entry.path().extension() != ".fbs") continue;
    CAPTURE(entry.path().string());
    const auto model = Model::Load(entry.path().string(), {});
    REQUIRE_MESSAGE(model.ok(), model.status().message());
    ++count;
  }
  CHECK(count >= 5);
  const std::string folder = SAGE_SOURCE_DIR "/tests/golden/0.1.0/";
  const auto expert = *Model::Load(folder + "expert.fbs", {});
  CHECK(expert->name() == "expert-selection");
  CHECK(expert->policy().flash_threshold == 512);
  CHECK(expert->policy().accuracy == SAGE_ACCURACY_EXACT);
  const auto& params = std::get<ExpertParams>(expert->content());
  CHECK(params.attention.weights == WeightSource::kSeeded);
  CHECK(params.attention.weight_seed == 7);
  CHECK(params.attention.gamma == 0.25);
  CHECK(params.max_batch == 4);
  CHECK(params.return_weights);
  const auto metabolic = std::get<MetabolicParams>((*Model::Load(folder + "metabolic.fbs", {}))->content());
  CHECK(metabolic.seed == 42);
  CHECK(metabolic.dream_dropout == 0.5);
  const auto fusion = std::get<FusionParams>((*Model::Load(folder + "fusion.fbs", {}))->content());
  CHECK(fusion.age_rate == 0.05);
  CHECK(fusion.interrupt_hold_ticks == 10);
  CHECK(fusion.attention.kv_heads == 4);
  const auto all = std::get<std::shared_ptr<const Graph>>((*Model::Load(folder + "all_ops.fbs", {}))->content());
  CHECK(all->nodes.size() == 16);
  CHECK(all->policy.backend_order == std::vector<std::string>{"cpu", "reference"});
  CHECK(all->policy.max_memory == uint64_t{1} << 30);
  for (const Node& node : all->nodes) {
    if (node.name != "attention") continue;
    const auto& attention = std::get<AttentionNode>(node.attributes).attributes;
    CHECK(attention.scale == 0.125);
    CHECK(attention.window_left == 7);
    CHECK(attention.softcap == 30);
    CHECK(attention.alignment == SAGE_ALIGN_BOTTOM_RIGHT);
    CHECK(attention.features == (SAGE_ATTN_F_SCALE | SAGE_ATTN_F_CAUSAL | SAGE_ATTN_F_WINDOW_LEFT));
    CHECK(node.policy.algorithm == SAGE_ALGORITHM_MATERIALISED);
    CHECK(node.policy.backend == "reference");
  }
}
