// Every single-bit flip and every truncation of each example model is answered: a model or an error with a sentence,
// never a crash, a hang or a read outside (run under ASan and UBSan as well). The safetensors header too.
#include <algorithm>
#include <filesystem>

#include "../engine/model/model_text.h"
#include "../engine/model/weight_files.h"
#include "model/safetensors.h"
#include "model/shapes.h"

using namespace sage;
using namespace sage::test;

namespace {

std::vector<std::filesystem::path> Models() {
  std::vector<std::filesystem::path> models;
  for (const auto& entry : std::filesystem::directory_iterator(SAGE_SOURCE_DIR "/examples/models")) {
    if (entry.path().extension() == ".json") models.push_back(entry.path());
  }
  models.emplace_back(SAGE_SOURCE_DIR "/tests/golden/0.1.0/all_ops.json");
  std::sort(models.begin(), models.end());
  return models;
}

// What a session would do first with a model that was accepted.
void UseModel(const Model& model) {
  const auto* graph = std::get_if<std::shared_ptr<const Graph>>(&model.content());
  if (graph == nullptr) return;
  std::vector<BoundTensor> shapes;
  std::vector<int64_t> sizes;
  for (const Symbol& symbol : (*graph)->symbols) sizes.push_back(symbol.max);
  REQUIRE(InferShapes(**graph, sizes, &shapes, nullptr));
  std::vector<sage_tensor> tensors(shapes.size());
  for (size_t i = 0; i < shapes.size(); ++i) {
    sage_tensor_init(&tensors[i], shapes[i].dtype, shapes[i].rank, shapes[i].shape, nullptr);
    FillRowMajor(&tensors[i]);
  }
  BuiltOp built;
  for (const Node& node : (*graph)->nodes) {
    if (node.kind == kKindReshape) continue;
    CHECK(BuildOp(node, tensors, 0, &built).ok());
    (void)FindDynamicAxes(**graph, node, shapes);
  }
  for (int64_t& size : sizes) size = 1;
  (void)InferShapes(**graph, sizes, &shapes, nullptr);
}

// True when it was accepted.
bool Answer(const std::vector<uint8_t>& bytes, const std::string& folder) {
  const auto model = Model::LoadBuffer(bytes, folder, {});
  if (model.ok()) {
    UseModel(**model);
    return true;
  }
  CHECK(model.status().code() == SAGE_E_BAD_DATA);
  CHECK(model.status().message().size() > 10);
  return false;
}

}  // namespace

TEST_CASE("fuzz: every single-bit flip of each example model is answered") {
  for (const auto& path : Models()) {
    CAPTURE(path.string());
    const std::vector<uint8_t> good = Compile(ReadText(path.string()));
    const std::string folder = path.parent_path().string();
    REQUIRE(Answer(good, folder));
    size_t accepted = 0;
    for (size_t bit = 0; bit < good.size() * 8; ++bit) {
      std::vector<uint8_t> flipped = good;
      flipped[bit / 8] = static_cast<uint8_t>(flipped[bit / 8] ^ (1u << (bit % 8)));
      accepted += Answer(flipped, folder) ? 1 : 0;
    }
    // Some flips only change a number or a letter of a description. But a checker that takes everything checks nothing.
    CHECK(accepted < good.size() * 6);
  }
}

TEST_CASE("fuzz: every truncation of each example model is answered, and none is accepted") {
  for (const auto& path : Models()) {
    CAPTURE(path.string());
    const std::vector<uint8_t> good = Compile(ReadText(path.string()));
    for (size_t size = 0; size < good.size(); ++size) {
      // The last bytes may be padding; what is lost with them is nothing.
      if (Answer({good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size)}, path.parent_path().string()))
        CHECK(good.size() - size < 8);
    }
  }
}

TEST_CASE("fuzz: a model damaged in several places is answered") {
  uint64_t state = 20251;
  const auto next = [&](size_t n) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return static_cast<size_t>((state >> 33) % n);
  };
  for (const auto& path : Models()) {
    const std::vector<uint8_t> good = Compile(ReadText(path.string()));
    for (int i = 0; i < 3000; ++i) {
      std::vector<uint8_t> bytes = good;
      for (size_t k = 1 + next(8); k > 0; --k) bytes[8 + next(bytes.size() - 8)] = static_cast<uint8_t>(next(256));
      if (next(4) == 0) bytes.resize(next(bytes.size()));
      (void)Answer(bytes, path.parent_path().string());
    }
  }
}

TEST_CASE("fuzz: the text of every damaged model is answered as well") {
  for (const auto& path : Models()) {
    CAPTURE(path.string());
    const std::vector<uint8_t> good = Compile(ReadText(path.string()));
    for (size_t bit = 0; bit < good.size() * 8; bit += 13) {  // each costs a parse of the schema
      std::vector<uint8_t> flipped = good;
      flipped[bit / 8] = static_cast<uint8_t>(flipped[bit / 8] ^ (1u << (bit % 8)));
      const auto text = ModelToJson(flipped, bit % 2 == 0);
      if (!text.ok()) CHECK(text.status().message().size() > 10);
    }
  }
}

TEST_CASE("fuzz: every flip and truncation of a safetensors header is answered") {
  const std::vector<uint8_t> good = ReadBytes(SAGE_SOURCE_DIR "/examples/models/gqa_layer.safetensors");
  size_t header = 0;
  for (size_t i = 0; i < 8; ++i) header |= size_t{good[i]} << (8 * i);
  REQUIRE(ParseSafetensors(good).ok());
  for (size_t bit = 0; bit < (8 + header) * 8; ++bit) {
    std::vector<uint8_t> flipped = good;
    flipped[bit / 8] = static_cast<uint8_t>(flipped[bit / 8] ^ (1u << (bit % 8)));
    const auto parsed = ParseSafetensors(flipped);
    if (!parsed.ok()) continue;
    for (const auto& [name, entry] : *parsed) CHECK(entry.offset + entry.bytes <= flipped.size());
  }
  for (size_t size = 0; size <= 8 + header; ++size) CHECK_FALSE(ParseSafetensors({good.data(), size}).ok());
}
