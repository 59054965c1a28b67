// The expert graph end to end: router logits, trust and content in, selections out.
#include <doctest/doctest.h>

#include <cmath>
#include <numeric>
#include <random>

#include "engine/sage/program_fixture.h"

namespace {

using namespace sage;
using namespace sage::testing;

std::string Numbers(const std::vector<double>& values) {
  JsonWriter out;
  out.BeginArray();
  for (const double value : values) out.Number(value);
  out.EndArray();
  return std::string(out.text());
}

std::vector<double> Draw(std::mt19937& random, size_t n, double low, double high) {
  std::uniform_real_distribution<double> uniform(low, high);
  std::vector<double> out(n);
  for (double& value : out) value = uniform(random);
  return out;
}

std::vector<float> Table(std::mt19937& random, size_t n) {
  std::vector<float> out(n);
  for (float& value : out) value = static_cast<float>(Draw(random, 1, -1, 1)[0]);
  return out;
}

Status SetTable(Program& program, const std::vector<float>& table, std::vector<int64_t> shape) {
  return program.SetInput(0, SAGE_F32, shape, table.data(), table.size() * sizeof(float));
}

TEST_CASE("G3 the drop-in call: router logits and a context name only, ranked exactly as legacy") {
  std::mt19937 random(1);
  for (const double gamma : {0.0, 1.0}) {
    for (int trial = 0; trial < 12; ++trial) {
      ExpertParams params = SmallExperts(40, gamma);
      params.alpha = trial / 11.0;
      params.top_k = 8;
      params.attention.mode = GraphMode::kCompare;
      auto program = Make(params);
      const std::string record =
          Run(*program, "{\"ts\":0,\"context\":\"math\",\"router_logits\":" + Numbers(Draw(random, 40, -3, 3)) +
                            ",\"trust\":" + Numbers(Draw(random, 40, 0, 1)) + "}");
      CHECK(Num(record, "compare.max_abs_diff") < 1e-12);
      CHECK(Num(record, "compare.rank_overlap") == 1);
      CHECK(Flagged(record, "content_absent"));
      CHECK(Text(record, "decisions.0.context") == "math");
      CHECK(List(record, "decisions.0.ids").size() == 8);
    }
  }
}

TEST_CASE("G1 12 query heads over 4 groups, d 64, 128 experts, batch 4, top 8, with K cached by revision") {
  ExpertParams params;
  params.attention.d_model = 768, params.attention.query_heads = 12, params.attention.kv_heads = 4;
  params.attention.head_dim = 64, params.attention.scale = 0.125;
  params.attention.weights = WeightSource::kSeeded;
  params.attention.weight_seed = 7, params.attention.gamma = 0.25;
  params.max_batch = 4;
  params.return_weights = true;
  std::mt19937 random(2);
  auto program = Make(params);
  REQUIRE(SetTable(*program, Table(random, 128 * 768), {128, 768}).ok());
  const auto rows = [&](size_t count, size_t n, double low, double high) {
    std::string out = "[";
    for (size_t i = 0; i < count; ++i) out += (i > 0 ? "," : "") + Numbers(Draw(random, n, low, high));
    return out + "]";
  };
  const std::string tick = R"(,"router_logits":)" + rows(4, 128, -2, 2) + R"(,"context_embedding":)" +
                           rows(4, 768, -1, 1) + R"(,"trust":)" + rows(4, 128, 0, 1) +
                           R"(,"context":["a","b","c","d"])";
  const std::string first = Run(*program, "{\"ts\":0" + tick + "}");
  for (int row = 0; row < 4; ++row) {
    const std::string at = "decisions." + std::to_string(row) + ".";
    CHECK(List(first, at + "ids").size() == 8);
    const auto gates = List(first, at + "gates");
    CHECK(std::accumulate(gates.begin(), gates.end(), 0.0) == doctest::Approx(1));
    for (int head = 0; head < 12; ++head) {
      const auto weights = List(first, at + "weights." + std::to_string(head));
      REQUIRE(weights.size() == 128);
      CHECK(std::accumulate(weights.begin(), weights.end(), 0.0) == doctest::Approx(1).epsilon(1e-5));
    }
    CHECK(List(first, at + "weights.0") != List(first, at + "weights.11"));
  }
  CHECK(List(first, "budget.available") == std::vector<double>(4, 128.0));
  const auto builds = [&] {
    JsonWriter trace;
    REQUIRE(program->WriteTrace(trace).ok());
    return Num(std::string(trace.text()), "program.key_cache.builds");
  };
  CHECK(builds() == 1);
  Run(*program, "{\"ts\":1" + tick + "}");
  CHECK(builds() == 1);
  const std::string again = Run(*program, "{\"ts\":2,\"experts_revision\":1" + tick + "}");
  CHECK(builds() == 2);
  CHECK(Text(again, "decisions") == Text(first, "decisions"));
  REQUIRE(SetTable(*program, Table(random, 128 * 768), {128, 768}).ok());
  CHECK(Text(Run(*program, "{\"ts\":3,\"experts_revision\":1" + tick + "}"), "decisions") != Text(first, "decisions"));
  CHECK(builds() == 3);
}

TEST_CASE("G1 IDENTITY content against the formula, in f64") {
  ExpertParams params = SmallExperts(6, 0.8);
  params.attention.dtype = SAGE_F64;
  params.alpha = 0.4, params.lambda = 1.5, params.top_k = 6;
  params.head_weights = {.1, .2, .3, .4};
  std::mt19937 random(3);
  const auto experts = Draw(random, 48, -1, 1), context = Draw(random, 8, -1, 1), router = Draw(random, 6, -1, 1);
  const auto trust = Draw(random, 12, 0, 1);
  auto program = Make(params);
  const int64_t shape[] = {6, 8};
  REQUIRE(program->SetInput(0, SAGE_F64, shape, experts.data(), 384).ok());
  const std::string record =
      Run(*program, "{\"ts\":0,\"router_logits\":" + Numbers(router) + ",\"context_embedding\":" + Numbers(context) +
                        ",\"trust\":[" + Numbers({trust.begin(), trust.begin() + 6}) + "," +
                        Numbers({trust.begin() + 6, trust.end()}) + "]}");
  // Heads 0, 1 share the mean of slices 0, 1; heads 2, 3 that of 2, 3; each a unit vector.
  const auto slice = [](const double* x, int group) {
    const double a = (x[group * 4] + x[group * 4 + 2]) / 2, b = (x[group * 4 + 1] + x[group * 4 + 3]) / 2;
    return std::pair(a / std::hypot(a, b), b / std::hypot(a, b));
  };
  std::vector<double> a(6, 0.0);
  for (int head = 0; head < 4; ++head) {
    const int group = head / 2;
    const auto q = slice(context.data(), group);
    double sum = 0, p[6];
    for (int n = 0; n < 6; ++n) {
      const auto k = slice(&experts[static_cast<size_t>(n) * 8], group);
      p[n] =
          std::exp(0.8 * (q.first * k.first + q.second * k.second) + 1.5 * trust[static_cast<size_t>(group * 6 + n)]);
      sum += p[n];
    }
    for (int n = 0; n < 6; ++n) a[static_cast<size_t>(n)] += (head + 1) / 10.0 * p[n] / sum;
  }
  const auto ids = List(record, "decisions.0.ids"), scores = List(record, "decisions.0.scores");
  REQUIRE(ids.size() == 6);
  for (size_t i = 0; i < 6; ++i) {
    const auto n = static_cast<size_t>(ids[i]);
    CHECK(scores[i] == doctest::Approx(0.4 * router[n] + 0.6 * std::log(6 * a[n])).epsilon(1e-10));
    CHECK(List(record, "decisions.0.trust_scores")[i] == doctest::Approx((trust[n] + trust[6 + n]) / 2));
    if (i > 0) CHECK(scores[i] <= scores[i - 1]);
  }
}

TEST_CASE("G1 a table for every row gives each row what it would get alone") {
  for (const WeightSource source : {WeightSource::kIdentity, WeightSource::kSeeded}) {
    ExpertParams params = SmallExperts(5, 1);
    params.attention.weights = source;
    params.attention.dtype = SAGE_F64;
    std::mt19937 random(4);
    const auto table = Table(random, 2 * 40);
    const std::vector<double> r0 = Draw(random, 5, -1, 1), r1 = Draw(random, 5, -1, 1), c0 = Draw(random, 8, -1, 1),
                              c1 = Draw(random, 8, -1, 1);
    auto both = Make(params);
    REQUIRE(SetTable(*both, table, {2, 5, 8}).ok());
    const std::string record = Run(*both, "{\"ts\":0,\"router_logits\":[" + Numbers(r0) + "," + Numbers(r1) +
                                              "],\"context_embedding\":[" + Numbers(c0) + "," + Numbers(c1) + "]}");
    for (int row = 0; row < 2; ++row) {
      auto alone = Make(params);
      REQUIRE(SetTable(*alone, {table.begin() + row * 40, table.begin() + row * 40 + 40}, {5, 8}).ok());
      const std::string one = Run(*alone, "{\"ts\":0,\"router_logits\":" + Numbers(row == 0 ? r0 : r1) +
                                              ",\"context_embedding\":" + Numbers(row == 0 ? c0 : c1) + "}");
      CHECK(SameRecord(Text(one, "decisions.0"), Text(record, "decisions." + std::to_string(row))));
    }
    const std::string fault = Fault(*both, R"({"ts":1,"router_logits":[1,2,3,4,5]})");
    CHECK(Text(fault, "error.code") == "SAGE_E_DIMENSION");
  }
}

TEST_CASE("G2 availability, k clamp, nothing available, substitution, exit without error") {
  ExpertParams params = SmallExperts(4, 1);
  params.top_k = 3;
  auto program = Make(params);
  std::string record = Run(*program, R"({"ts":0,"router_logits":[9,1,2,3],"available":[false,true,true,false]})");
  CHECK(List(record, "decisions.0.ids") == std::vector<double>{2, 1});
  CHECK(Flagged(record, "k_clamped"));
  CHECK(Num(record, "budget.k") == 3);
  CHECK(Num(record, "budget.available") == 2);
  record = Run(*program, R"({"ts":1,"router_logits":[9,1,2,3],"available":[false,false,false,false]})");
  CHECK(Text(record, "decisions.0.ids") == "[]");
  CHECK(Flagged(record, "all_excluded"));
  CHECK(Text(record, "reason") == "no expert is available");
  record =
      Run(*program,
          R"({"ts":2,"k":1,"router_logits":[9,1,2,3],"trust":[0.9,0.9,0.7,0.1],"loaded":[1,2],"clusters":[5,4,5,5]})");
  CHECK(Text(record, "decisions.0.substitutions") == R"([{"from":0,"to":2}])");
  CHECK(List(record, "decisions.0.ids") == std::vector<double>{2});
  CHECK(List(record, "decisions.0.router_scores") == std::vector<double>{2});
  CHECK(Num(record, "decisions.0.hits") == 1);
  CHECK(Flagged(record, "substituted"));
  record = Run(*program, R"({"ts":3,"k":99,"router_logits":[9,1,2,3]})");
  CHECK(List(record, "decisions.0.ids").size() == 4);
}

TEST_CASE("G2 TRUST_FIRST through ticks: evidence decides, the draw is replayed") {
  ExpertParams params = SmallExperts(4, 1);
  params.selection = Selection::kTrustFirst;
  auto program = Make(params), again = Make(params);
  int explored = 0;
  for (int tick = 0; tick < 200; ++tick) {
    const std::string text = "{\"ts\":" + std::to_string(tick) +
                             R"(,"router_logits":[4,3,2,1],"trust":[0.1,0.2,0.8,0.9],"evidence":[9,9,9,9]})";
    const std::string record = Run(*program, text);
    CHECK(record == Run(*again, text));
    const std::string by = Text(record, "decisions.0.chosen_by");
    explored += by == "explore" ? 1 : 0;
    if (by != "explore") CHECK(List(record, "decisions.0.ids") == std::vector<double>{3, 2});
    CHECK(Text(record, "backend") == "none");
  }
  CHECK(explored > 15);
  CHECK(explored < 70);
}

TEST_CASE("G2 expert: what a tick or a table may not hold") {
  auto program = Make(SmallExperts(3, 1));
  const auto refuses = [&](const std::string& fields, const char* code, const char* at, const char* words) {
    Refuses(*program, "{\"ts\":0," + fields + "}", code, at, words);
  };
  const std::string router = R"("router_logits":[1,2,3])";
  refuses("\"x_a\":1", "SAGE_E_MISSING", "router_logits", "required");
  refuses(R"("router_logits":[1,2])", "SAGE_E_DIMENSION", "router_logits", "has 2 values; the model needs 3");
  refuses(R"("router_logits":[1,2,NaN])", "SAGE_E_SYNTAX", "byte 29", "NaN");
  refuses(router + R"(,"trust":[0.5,1.01,0])", "SAGE_E_RANGE", "trust[1]", "trust is 1.01; it must lie in [0, 1]");
  refuses(router + R"(,"trust":[0.5,null,0])", "SAGE_E_TYPE", "trust[1]", "null");
  refuses(router + R"(,"trust":[[0,0,0]])", "SAGE_E_DIMENSION", "trust", "2 key-value heads");
  refuses(router + R"(,"trust":[[0,0,0],[0,0,2]])", "SAGE_E_RANGE", "trust[1][2]", "[0, 1]");
  refuses(router + R"(,"loaded":[1,1])", "SAGE_E_DUPLICATE", "loaded[1]", "there twice");
  refuses(router + R"(,"loaded":[3])", "SAGE_E_RANGE", "loaded[0]", "[0, 2]");
  refuses(router + R"(,"k":0)", "SAGE_E_RANGE", "k", "at least 1");
  refuses(router + R"(,"available":[true,true])", "SAGE_E_DIMENSION", "available", "2 values");
  refuses(router + R"(,"context":5)", "SAGE_E_TYPE", "context", "a string");
  refuses(R"("router_logits":[[1,2,3],[1,2,3]],"trust":[[0,0,0]])", "SAGE_E_DIMENSION", "trust", "router_logits has 2");
  refuses(R"("router_logits":[[1,2,3],[1,2,3],[1,2,3],[1,2,3],[1,2,3]])", "SAGE_E_LIMIT", "router_logits",
          "max_batch is 4");
  refuses(router + R"(,"router_logit":1)", "SAGE_E_UNKNOWN_FIELD", "router_logit", "did you mean \"router_logits\"?");

  std::vector<float> table(24, 1.0f);
  CHECK(program->InputCount() == 1);
  CHECK(SetTable(*program, table, {3, 7}).code() == SAGE_E_INVALID_ARGUMENT);
  CHECK(SetTable(*program, table, {5, 3, 8}).code() == SAGE_E_INVALID_ARGUMENT);
  const int64_t shape[] = {3, 8};
  CHECK(program->SetInput(0, SAGE_F32, shape, table.data(), 95).code() == SAGE_E_INVALID_ARGUMENT);
  CHECK(program->SetInput(0, SAGE_I32, shape, table.data(), 96).code() == SAGE_E_INVALID_ARGUMENT);
  CHECK(program->SetInput(1, SAGE_F32, shape, table.data(), 96).code() == SAGE_E_NOT_FOUND);
  table[5] = std::nanf("");
  const Status status = SetTable(*program, table, {3, 8});
  CHECK(status.code() == SAGE_E_INVALID_ARGUMENT);
  CHECK(status.message().find("element 5") != std::string::npos);
}

}  // namespace
