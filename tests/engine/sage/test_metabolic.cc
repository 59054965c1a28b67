// The metabolic graph end to end: ticks in, ATP out, through the session and whatever backend it chooses.
#include <doctest/doctest.h>

#include <cmath>
#include <numeric>
#include <random>

#include "engine/sage/program_fixture.h"

namespace {

using namespace sage;
using namespace sage::testing;

const std::string kTargets =
    R"("targets":[{"id":"a","salience":0.9},{"id":"b","salience":0.6},{"id":"c","salience":0.3}])";

std::string Tick(double ts, const std::string& state, const std::string& rest = kTargets) {
  return "{\"ts\":" + std::to_string(ts) + ",\"state\":\"" + state + "\"," + rest + "}";
}

std::string RandomTick(std::mt19937& random, double ts, const std::string& state, size_t n, bool embeddings) {
  std::uniform_real_distribution<double> uniform(-1, 1);
  const auto vector = [&] {
    std::string out = "[";
    for (int i = 0; i < 8; ++i) out += (i > 0 ? "," : "") + std::to_string(uniform(random));
    return out + "]";
  };
  std::string out = "{\"ts\":" + std::to_string(ts) + ",\"state\":\"" + state + "\",";
  if (embeddings) out += "\"state_embedding\":" + vector() + ",";
  out += "\"targets\":[";
  for (size_t i = 0; i < n; ++i) {
    out += (i > 0 ? "," : "");
    out += "{\"id\":\"t" + std::to_string(i) + "\",\"salience\":" + std::to_string(std::fabs(uniform(random)));
    if (embeddings) out += ",\"embedding\":" + vector();
    out += "}";
  }
  return out + "]}";
}

TEST_CASE("G4 goldens of every state through the session, gamma 0 and content absent alike") {
  for (const double gamma : {0.0, 1.0}) {
    MetabolicParams params = SmallMetabolic(gamma);
    params.enable_causal_focus = false;
    auto program = Make(params);
    const auto expect = [&](const std::string& state, std::vector<double> want) {
      const std::string record = Run(*program, Tick(1, state));
      const auto atp = List(record, "decisions");
      REQUIRE(atp.size() == want.size());
      for (size_t i = 0; i < atp.size(); ++i) CHECK(std::fabs(atp[i] - want[i]) < 1e-4);
      CHECK(Text(record, "state") == state);
      CHECK(Num(record, "budget.spent") == 100);
    };
    expect("WAKE", {41.6667, 33.3333, 25});
    expect("FOCUS", {80, 15, 5});
    expect("CRISIS", {100, 0, 0});
    expect("REST", {70, 30});
  }
}

TEST_CASE("G4 causal FOCUS goldens at gamma 0") {
  auto program = Make(SmallMetabolic(0));
  auto atp = List(Run(*program, Tick(1, "focus")), "decisions");
  REQUIRE(atp.size() == 3);
  CHECK(atp[0] == doctest::Approx(88.07017543859649).epsilon(1e-12));
  CHECK(atp[1] == doctest::Approx(10.263157894736842).epsilon(1e-12));
  CHECK(atp[2] == doctest::Approx(1.6666666666666667).epsilon(1e-12));
  atp = List(Run(*program, Tick(1, "FOCUS", R"("targets":[{"id":"b","salience":0.1},{"id":"a","salience":0.2}])")),
             "decisions");
  CHECK(std::fabs(atp[1] - 92.105263) < 1e-5);
  CHECK(std::fabs(atp[0] - 7.894737) < 1e-5);
}

TEST_CASE("G12 LEGACY: the old numbers, the numpy golden, what is unspent, no backend") {
  MetabolicParams params = SmallMetabolic(1);
  params.attention.mode = GraphMode::kLegacy;
  auto program = Make(params);
  std::string record = Run(*program, Tick(1, "DREAM"));
  const double dream[] = {38.2955, 36.8016, 24.9029};
  const auto atp = List(record, "decisions");
  REQUIRE(atp.size() == 3);
  for (size_t i = 0; i < 3; ++i) CHECK(std::fabs(atp[i] - dream[i]) < 1e-4);
  CHECK(Text(record, "backend") == "none");
  CHECK(Text(record, "flags") == "[]");
  record = Run(*program, Tick(2, "FOCUS", R"("targets":[{"id":"a","salience":0.5}])"));
  CHECK(Num(record, "decisions.a") == 80);
  CHECK(Num(record, "budget.spent") == 80);
  CHECK(Num(record, "budget.atp") == 100);
}

TEST_CASE("G12 COMPARE at gamma 0 finds no difference, and with content does") {
  MetabolicParams params = SmallMetabolic(0);
  params.attention.mode = GraphMode::kCompare;
  params.enable_causal_focus = false;
  std::mt19937 random(5);
  auto same = Make(params);
  for (int i = 0; i < 20; ++i) {
    const std::string state = i % 3 == 0 ? "WAKE" : i % 3 == 1 ? "FOCUS" : "CRISIS";
    const std::string record = Run(*same, RandomTick(random, i, state, 3 + random() % 9, true));
    CHECK(Num(record, "compare.max_abs_diff") < 1e-10);
    CHECK(Num(record, "compare.rank_overlap") == 1);
    CHECK(Num(record, "compare.total_variation") < 1e-12);
  }
  params.attention.gamma = 3;
  auto other = Make(params);
  const std::string record = Run(*other, RandomTick(random, 0, "WAKE", 7, true));
  CHECK(Num(record, "compare.max_abs_diff") > 0.01);
  CHECK(Num(record, "compare.total_variation") > 1e-4);
}

TEST_CASE("G4 with content: the sum is A, nothing is negative, the likeness to the state raises a target") {
  std::mt19937 random(6);
  for (const sage_dtype dtype : {SAGE_F64, SAGE_F32, SAGE_F16, SAGE_BF16}) {
    MetabolicParams params = SmallMetabolic(1);
    params.attention.dtype = dtype;
    auto program = Make(params);
    int ts = 0;
    for (const char* state : {"WAKE", "FOCUS", "DREAM", "CRISIS", "WAKE", "FOCUS", "DREAM"}) {
      const std::string record = Run(*program, RandomTick(random, ts++, state, 1 + random() % 17, true));
      const auto atp = List(record, "decisions");
      CHECK(std::fabs(std::accumulate(atp.begin(), atp.end(), 0.0) - 100) <= 1e-4);
      for (const double value : atp) CHECK(value >= 0);
      CHECK_FALSE(Flagged(record, "content_absent"));
    }
    const std::string record = Run(*program, R"({"ts":99,"state":"WAKE","state_embedding":[1,1,1,1,1,1,1,1],"targets":[
        {"id":"unlike","salience":0.5,"embedding":[-1,-1,-1,-1,-1,-1,-1,-1]},
        {"id":"like","salience":0.5,"embedding":[2,2,2,2,2,2,2,2]},{"id":"unknown","salience":0.5}]})");
    const double e = std::exp(1), sum = e + 1 + 1 / e, tolerance = dtype == SAGE_F64 ? 1e-9 : 0.5;
    CHECK(std::fabs(Num(record, "decisions.like") - 100 * e / sum) < tolerance);
    CHECK(std::fabs(Num(record, "decisions.unknown") - 100 / sum) < tolerance);
    CHECK(std::fabs(Num(record, "decisions.unlike") - 100 / e / sum) < tolerance);
    CHECK(Flagged(record, "content_absent"));
  }
}

TEST_CASE("G4 causal FOCUS with content against the formula") {
  MetabolicParams params = SmallMetabolic(1);
  params.attention.dtype = SAGE_F64;
  params.attention.query_heads = params.attention.kv_heads = 1, params.attention.head_dim = 8;
  auto program = Make(params);
  const std::string record = Run(*program, R"({"ts":0,"state":"FOCUS","state_embedding":[1,0,0,0,0,0,0,0],"targets":[
      {"id":"second","salience":0.5,"embedding":[0,1,0,0,0,0,0,0]},
      {"id":"first","salience":0.7,"embedding":[1,0,0,0,0,0,0,0]}]})");
  // Ranked: first, second. Row 0 sees first only; row 1: q = (1,1)/sqrt2, cosines 1/sqrt2 to both, priors .8 and .15.
  const double second = 0.5 * 0.15 / 0.95 * 100;
  CHECK(Num(record, "decisions.second") == doctest::Approx(second).epsilon(1e-9));
  CHECK(Num(record, "decisions.first") == doctest::Approx(100 - second).epsilon(1e-9));
}

TEST_CASE("G12 SEEDED weights: content moves the result at gamma 1, not at gamma 0; same seed, same bits") {
  std::mt19937 random(8);
  MetabolicParams params = SmallMetabolic(1);
  params.attention.weights = WeightSource::kSeeded;
  params.attention.scale = 0.5;
  params.attention.weight_seed = 3;
  const std::string tick = RandomTick(random, 0, "WAKE", 6, true);
  const std::string a = Run(*Make(params), tick), b = Run(*Make(params), tick);
  CHECK(a == b);
  params.attention.weight_seed = 4;
  CHECK(Run(*Make(params), tick) != a);
  params.attention.gamma = 0;
  const std::string none = Run(*Make(params), tick);
  params.attention.weight_seed = 3;
  CHECK(Run(*Make(params), tick) == none);
}

TEST_CASE("G12 FILE weights with biases: an absent embedding has no content, not the bias's") {
  MetabolicParams params = SmallMetabolic(1);
  params.attention.weights = WeightSource::kFile;
  params.attention.dtype = SAGE_F64;
  static std::vector<double> identity(64, 0.0), bias(8, 5.0);
  for (size_t i = 0; i < 8; ++i) identity[i * 9] = 1;
  ProjectionWeights weights;
  weights.weight = {identity.data(), 512, nullptr};
  weights.weight_dtype = SAGE_F64;
  params.attention.q_proj = weights;
  weights.bias = Constant{bias.data(), 64, nullptr};
  weights.bias_dtype = SAGE_F64;
  params.attention.k_proj = weights;
  auto program = Make(params);
  const std::string record = Run(*program, R"({"ts":0,"state":"WAKE","state_embedding":[1,0,0,0,1,0,0,0],"targets":[
      {"id":"x","salience":0.5,"embedding":[0,0,0,0,0,0,0,0]},{"id":"absent","salience":0.5}]})");
  // q.k = 5 in both heads for x, 0 for the absent one.
  CHECK(Num(record, "decisions.x") == doctest::Approx(100 / (1 + std::exp(-5.0))).epsilon(1e-9));
}

TEST_CASE("G4 permuting targets permutes the answer, DREAM included") {
  for (const char* state : {"WAKE", "FOCUS", "DREAM", "CRISIS"}) {
    auto program = Make(SmallMetabolic(1));
    const std::string a = R"({"id":"a","salience":0.31,"embedding":[1,0,2,0,1,0,0,1]})";
    const std::string b = R"({"id":"b","salience":0.52,"embedding":[0,1,0,3,1,1,0,0]})";
    const std::string c = R"({"id":"c","salience":0.13,"embedding":[1,1,0,0,0,1,2,0]})";
    const std::string d = R"({"id":"d","salience":0.94,"embedding":[0,0,1,1,0,0,1,2]})";
    const std::string head =
        std::string(R"({"ts":0,"tick":7,"state":")") + state + R"(","state_embedding":[1,2,3,4,5,6,7,8],"targets":[)";
    const std::string one = Run(*program, head + a + "," + b + "," + c + "," + d + "]}");
    program = Make(SmallMetabolic(1));
    const std::string two = Run(*program, head + d + "," + b + "," + a + "," + c + "]}");
    for (const char* id : {"a", "b", "c", "d"}) {
      const std::string path = std::string("decisions.") + id;
      CHECK(std::fabs(Num(one, path) - Num(two, path)) < 1e-4);
    }
  }
}

TEST_CASE("G4 DREAM drops by (seed, tick, id): other ticks other targets, never all") {
  MetabolicParams params = SmallMetabolic(0);
  auto program = Make(params), again = Make(params);
  int dropped = 0, all = 0;
  for (int tick = 0; tick < 200; ++tick) {
    const std::string text = Tick(tick, "DREAM");
    const std::string record = Run(*program, text);
    CHECK(Run(*again, text) == record);
    const auto atp = List(record, "decisions");
    CHECK(std::accumulate(atp.begin(), atp.end(), 0.0) == doctest::Approx(100));
    for (const double value : atp) dropped += value == 0 ? 1 : 0;
    all += Flagged(record, "all_dropped") ? 1 : 0;
  }
  CHECK(dropped > 200);  // half of 600, less those of the all-dropped ticks
  CHECK(dropped < 330);
  CHECK(all > 8);
  CHECK(all < 50);
}

TEST_CASE("G4 zero targets: empty, REST keeps its two entries") {
  auto program = Make(SmallMetabolic(1));
  const std::string empty = R"("targets":[])";
  for (const char* state : {"WAKE", "FOCUS", "DREAM", "CRISIS"}) {
    const std::string record = Run(*program, Tick(1, state, empty));
    CHECK(Text(record, "decisions") == "{}");
    CHECK(Text(record, "backend") == "none");
  }
  CHECK(List(Run(*program, Tick(1, "REST", empty)), "decisions") == std::vector<double>{70, 30});
}

TEST_CASE("G4 rest_split divides minimal_monitoring by the rule of WAKE") {
  MetabolicParams params = SmallMetabolic(0);
  params.rest_split = true;
  auto program = Make(params);
  const auto atp = List(Run(*program, Tick(1, "REST")), "decisions");
  REQUIRE(atp.size() == 4);
  CHECK(atp[0] == 70);
  CHECK(atp[1] == doctest::Approx(12.5));
  CHECK(atp[3] == doctest::Approx(7.5));
  CHECK(List(Run(*program, Tick(1, "REST", R"("targets":[])")), "decisions") == std::vector<double>{70, 30});
  const std::string fault = Fault(*program, R"({"ts":2,"targets":[{"id":"memory_consolidation","salience":0.1}]})");
  CHECK(Text(fault, "error.at") == "targets[0].id");
}

TEST_CASE("G4 AUTO moves first, then allocates, and writes what moved") {
  auto program = Make(SmallMetabolic(0));
  std::string record = Run(*program, Tick(0, "AUTO"));
  CHECK(Text(record, "state") == "FOCUS");
  CHECK(Text(record, "transitions.0.trigger") == "focus_enter_salience");
  CHECK(Num(record, "transitions.0.salience") == .9);
  record = Run(*program, Tick(1, "auto", R"("targets":[{"id":"x","salience":0.96}])"));
  CHECK(Text(record, "state") == "CRISIS");
  record = Run(*program, R"({"ts":2,"targets":[{"id":"x","salience":0.5}]})");
  CHECK(Text(record, "transitions.0.from") == "CRISIS");
  CHECK(Text(record, "state") == "FOCUS");
  record = Run(*program, Tick(3, "Rest"));
  CHECK(Text(record, "transitions.0.trigger") == "forced");
  record = Run(*program, Tick(4, "REST"));
  CHECK(Text(record, "transitions") == "[]");
  CHECK(Text(record, "state") == "REST");
}

TEST_CASE("G2 metabolic: what a tick may not hold, its code and its place") {
  auto program = Make(SmallMetabolic(1));
  const auto refuses = [&](const std::string& tick, const char* code, const char* at, const char* words) {
    Refuses(*program, tick, code, at, words);
  };
  refuses(R"({"ts":61.3,"targets":[{"id":"door","salience":0.5},{"id":"lamp","salience":1.4}]})", "SAGE_E_RANGE",
          "targets[1].salience", "salience of \"lamp\" is 1.4; it must lie in [0, 1]");
  refuses("{\"ts\":1,\"targets\":[", "SAGE_E_SYNTAX", "byte 19", "missing");
  refuses("[]", "SAGE_E_TYPE", "", "one JSON object");
  refuses(R"({"targets":[]})", "SAGE_E_MISSING", "ts", "required");
  refuses(R"({"ts":1})", "SAGE_E_MISSING", "targets", "required");
  refuses(R"({"ts":"1","targets":[]})", "SAGE_E_TYPE", "ts", "a number");
  refuses(R"({"ts":1,"target":[]})", "SAGE_E_UNKNOWN_FIELD", "target", "did you mean \"targets\"?");
  refuses(R"({"ts":1,"targets":[{"id":"a","salience":0.1,"saliense":1}]})", "SAGE_E_UNKNOWN_FIELD",
          "targets[0].saliense", "did you mean \"salience\"?");
  refuses(R"({"ts":1,"targets":[],"state":"FOCSU"})", "SAGE_E_RANGE", "state", "did you mean FOCUS?");
  refuses(R"({"ts":1,"targets":[],"atp":-1})", "SAGE_E_RANGE", "atp", "at least 0");
  refuses(R"({"ts":1,"targets":[],"seed":1.5})", "SAGE_E_TYPE", "seed", "integer");
  refuses(R"({"ts":1,"targets":[],"tick":-1})", "SAGE_E_RANGE", "tick", "at least 0");
  refuses(R"({"ts":1,"targets":[{"id":"a","salience":0},{"id":"a","salience":0}]})", "SAGE_E_DUPLICATE",
          "targets[1].id", "\"a\" is there twice");
  refuses(R"({"ts":1,"targets":[{"id":"a","salience":0,"embedding":[1,2]}]})", "SAGE_E_DIMENSION",
          "targets[0].embedding", "has 2 values; the model needs 8");
  refuses(R"({"ts":1,"targets":[{"id":"a","salience":0,"embedding":[1,2,3,4,5,6,7,1e39]}]})", "SAGE_E_RANGE",
          "targets[0].embedding[7]", "1e+39");
  refuses(R"({"ts":1,"targets":[],"state_embedding":{"f32":"AAAA"}})", "SAGE_E_DIMENSION", "state_embedding.f32",
          "3 bytes");
  refuses(R"({"ts":1,"targets":[],"state_embedding":{"f32":"A*AA"}})", "SAGE_E_SYNTAX", "state_embedding.f32",
          "base64");
  refuses(R"({"ts":1,"targets":[],"state_embedding":{"f32":"AADAfwAAwH8AAMB/AADAfwAAwH8AAMB/AADAfwAAwH8="}})",
          "SAGE_E_RANGE", "state_embedding[0]", "NaN");
  std::string many = R"({"ts":1,"targets":[)";
  for (int i = 0; i < 65; ++i) many += (i > 0 ? "," : "") + ("{\"id\":\"" + std::to_string(i) + "\",\"salience\":0}");
  refuses(many + "]}", "SAGE_E_LIMIT", "targets", "max_targets is 64");
  const std::string good = Run(*program, R"({"ts":1,"x_note":{"any":[1]},"targets":[]})");
  CHECK(Num(good, "tick") == 0);  // none of the above counted
  refuses(R"({"ts":0.5,"targets":[]})", "SAGE_E_TIME", "ts", "does not run backwards");
  refuses(R"({"ts":1,"tick":0,"targets":[]})", "SAGE_E_TIME", "tick", "must rise");
}

TEST_CASE("G4 base64 embeddings are the same as numbers") {
  auto program = Make(SmallMetabolic(1)), other = Make(SmallMetabolic(1));
  const std::string tail =
      R"(,"targets":[{"id":"a","salience":0.5,"embedding":[1,0,0,0,1,0,0,0]},{"id":"b","salience":0.5,"embedding":[0,1,0,0,0,0,0,1]}]})";
  // 1, 0.5, -2, 0, 0, 0, 0, 3
  const std::string base64 = R"({"f32":"AACAPwAAAD8AAADAAAAAAAAAAAAAAAAAAAAAAAAAQEA="})";
  const std::string head = R"({"ts":0,"state":"WAKE","state_embedding":)";
  CHECK(Run(*program, head + base64 + tail) == Run(*other, head + "[1,0.5,-2,0,0,0,0,3]" + tail));
}

}  // namespace
