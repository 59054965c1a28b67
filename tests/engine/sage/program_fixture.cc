// program_fixture.cc: see the header.
#include "engine/sage/program_fixture.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "engine.h"

namespace sage::testing {
namespace {

SageAttention Small(double gamma, int64_t query_heads, int64_t kv_heads) {
  SageAttention attention;
  attention.d_model = 8;
  attention.query_heads = query_heads;
  attention.kv_heads = kv_heads;
  attention.head_dim = 8 / query_heads;
  attention.gamma = gamma;
  return attention;
}

const JsonNode* At(const JsonReader& json, const std::string& path) {
  const JsonNode* node = &json.root();
  for (size_t begin = 0; begin <= path.size() && node != nullptr && !path.empty();) {
    const size_t end = std::min(path.find('.', begin), path.size());
    const std::string step = path.substr(begin, end - begin);
    if (node->type == JsonType::kArray) {
      const auto index = static_cast<uint32_t>(std::stoul(step));
      if (index >= node->size) return nullptr;
      uint32_t at = json.IndexOf(*node) + 1;
      for (uint32_t i = 0; i < index; ++i) at = json.at(at).next;
      node = &json.at(at);
    } else {
      node = json.Find(*node, step);
    }
    begin = end + 1;
  }
  return node;
}

}  // namespace

ExpertParams SmallExperts(int64_t n, double gamma) {
  ExpertParams params;
  params.attention = Small(gamma, 4, 2);
  params.num_experts = n;
  params.top_k = 2;
  params.max_batch = 4;
  return params;
}

MetabolicParams SmallMetabolic(double gamma) {
  MetabolicParams params;
  params.attention = Small(gamma, 2, 2);
  return params;
}

FusionParams SmallFusion(double gamma) {
  FusionParams params;
  params.attention = Small(gamma, 4, 2);
  return params;
}

std::unique_ptr<Program> Make(const Model::Content& content, int threads) {
  static std::map<int, std::shared_ptr<Engine>> engines;
  std::shared_ptr<Engine>& engine = engines[threads];
  if (engine == nullptr) {
    Options options;
    options.values["threads"] = std::to_string(threads);
    auto made = Engine::Create(options);
    REQUIRE_MESSAGE(made.ok(), made.status().message());
    engine = *made;
  }
  auto program = Program::Create(engine, std::make_shared<const Model>(content), SessionOptions());
  REQUIRE_MESSAGE(program.ok(), program.status().message());
  return std::move(*program);
}

std::string Run(Program& program, const std::string& tick) {
  const Status status = program.Tick(tick);
  CHECK_MESSAGE(status.ok(), status.message());
  return std::string(program.Decision());
}

std::string Fault(Program& program, const std::string& tick) {
  const Status status = program.Tick(tick);
  CAPTURE(tick);
  CHECK(status.code() == SAGE_E_BAD_DATA);
  const std::string record(program.Decision());
  CHECK(Has(record, "error"));
  const std::string at = Text(record, "error.at"), message = Text(record, "error.message");
  CHECK(status.message() == (at.empty() ? message : at + ": " + message));
  return record;
}

void Refuses(Program& program, const std::string& tick, const char* code, const char* at, const char* words) {
  const std::string record = Fault(program, tick);
  CAPTURE(record);
  CHECK(Text(record, "error.code") == code);
  CHECK(Text(record, "error.at") == at);
  CHECK(Text(record, "error.message").find(words) != std::string::npos);
}

// The value at path, which must be there. json: where it is parsed to.
const JsonNode& Value(const std::string& record, const std::string& path, JsonReader* json) {
  CAPTURE(record);
  CAPTURE(path);
  REQUIRE(json->Parse(record).ok());
  const JsonNode* node = At(*json, path);
  REQUIRE(node != nullptr);
  return *node;
}

double Num(const std::string& record, const std::string& path) {
  JsonReader json;
  const JsonNode& node = Value(record, path, &json);
  REQUIRE(node.type == JsonType::kNumber);
  return node.number;
}

std::string Text(const std::string& record, const std::string& path) {
  JsonReader json;
  const JsonNode& node = Value(record, path, &json);
  return node.type == JsonType::kString ? std::string(json.Text(node))
                                        : record.substr(node.offset, node.end - node.offset);
}

std::vector<double> List(const std::string& record, const std::string& path) {
  JsonReader json;
  const JsonNode& node = Value(record, path, &json);
  std::vector<double> out;
  for (uint32_t i = json.IndexOf(node) + 1; i < node.next; i = json.at(i).next) {
    if (json.at(i).type == JsonType::kNumber) out.push_back(json.at(i).number);
  }
  return out;
}

bool Has(const std::string& record, const std::string& path) {
  JsonReader json;
  REQUIRE(json.Parse(record).ok());
  return At(json, path) != nullptr;
}

bool Flagged(const std::string& record, const std::string& flag) {
  return Text(record, "flags").find('"' + flag + '"') != std::string::npos;
}

bool SameRecord(const std::string& a, const std::string& b) {
  JsonReader x, y;
  if (!x.Parse(a).ok() || !y.Parse(b).ok() || x.root().next != y.root().next) return false;
  for (uint32_t i = 0; i < x.root().next; ++i) {
    const JsonNode &p = x.at(i), &q = y.at(i);
    if (p.type != q.type || p.size != q.size || p.next != q.next || p.boolean != q.boolean) return false;
    if (p.type == JsonType::kString && x.Text(p) != y.Text(q)) return false;
    if (std::fabs(p.number - q.number) > 1e-12 * std::max(1.0, std::fabs(p.number))) return false;
  }
  return true;
}

}  // namespace sage::testing
