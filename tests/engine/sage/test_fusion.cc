// The fusion graph end to end: windows and scores in, a fused vector and the sensors' weights out.
#include <doctest/doctest.h>

#include <cmath>
#include <numeric>

#include "engine/sage/program_fixture.h"

namespace {

using namespace sage;
using namespace sage::testing;

std::string Sensor(const std::string& id, const std::string& fields, const std::string& window) {
  return "{\"id\":\"" + id + "\"," + fields + ",\"window\":" + window + "}";
}

const std::string kX = "[1,0,0,0,0,0,0,0]", kY = "[0,1,0,0,0,0,0,0]", kZ = "[0,0,2,0,0,0,0,3]";
const std::string kVision = R"("goal_relevance":0.9,"salience":0.8,"trust":0.9)";
const std::string kImu = R"("salience":0.3,"trust":0.95)";
const std::string kAudio = R"("salience":0.1,"trust":0.85)";

std::string Tick(double ts, const std::string& sensors, const std::string& goal = "") {
  return "{\"ts\":" + std::to_string(ts) + "," + (goal.empty() ? "" : "\"goal\":" + goal + ",") + "\"sensors\":[" +
         sensors + "]}";
}

const std::string kThree = Sensor("vision", kVision, "[" + kX + "]") + "," + Sensor("imu", kImu, "[" + kY + "]") + "," +
                           Sensor("audio", kAudio, "[" + kZ + "]");

TEST_CASE("G5 the fusion golden at gamma 0, and without a goal at any gamma") {
  for (const double gamma : {0.0, 1.0}) {
    auto program = Make(SmallFusion(gamma));
    const std::string record = Run(*program, Tick(0, kThree));
    CHECK(Num(record, "decisions.scores.vision") == doctest::Approx(.79).epsilon(1e-12));
    CHECK(std::fabs(Num(record, "decisions.weights.vision") - 0.79 / 1.69) < 1e-12);
    CHECK(std::fabs(Num(record, "decisions.weights.imu") - 0.485 / 1.69) < 1e-12);
    CHECK(std::fabs(Num(record, "decisions.weights.audio") - 0.415 / 1.69) < 1e-12);
    const auto fused = List(record, "decisions.fused");
    REQUIRE(fused.size() == 8);
    CHECK(std::fabs(fused[0] - 0.79 / 1.69) < 1e-12);
    CHECK(std::fabs(fused[7] - 3 * 0.415 / 1.69) < 1e-12);
    CHECK(Flagged(record, "content_absent"));
  }
}

TEST_CASE("G12 fusion at gamma 0 equals LEGACY whatever the windows and ages") {
  FusionParams params = SmallFusion(0);
  params.age_rate = 0.3;
  params.attention.mode = GraphMode::kCompare;
  auto both = Make(params);
  params.attention.mode = GraphMode::kLegacy;
  auto legacy = Make(params);
  const std::string tick =
      Tick(0,
           Sensor("vision", kVision + R"(,"age":[7,3,0])", "[" + kX + "," + kY + "," + kZ + "]") + "," +
               Sensor("imu", kImu, "[" + kY + "," + kZ + "]") + "," + Sensor("audio", kAudio, "[" + kZ + "]"),
           kX);
  const std::string a = Run(*both, tick), b = Run(*legacy, tick);
  CHECK(Num(a, "compare.max_abs_diff") < 1e-12);
  CHECK(Num(a, "compare.rank_overlap") == 1);
  const auto x = List(a, "decisions.fused"), y = List(b, "decisions.fused");
  REQUIRE(x.size() == y.size());
  for (size_t i = 0; i < x.size(); ++i) CHECK(std::fabs(x[i] - y[i]) < 1e-12);
  CHECK(Text(b, "backend") == "none");
  CHECK(Text(a, "backend") != "none");
}

TEST_CASE("G5 with content: the likeness to the goal raises a sensor, in every dtype") {
  for (const sage_dtype dtype : {SAGE_F64, SAGE_F32, SAGE_F16, SAGE_BF16}) {
    FusionParams params = SmallFusion(1);
    params.attention.dtype = dtype;
    auto program = Make(params);
    const std::string same = R"("salience":0.5)";
    const std::string record = Run(*program, Tick(0,
                                                  Sensor("like", same, "[[1,1,1,1,1,1,1,1]]") + "," +
                                                      Sensor("unlike", same, "[[-1,-1,-1,-1,-1,-1,-1,-1]]"),
                                                  "[1,1,1,1,1,1,1,1]"));
    const double p = 1 / (1 + std::exp(-2.0)), tolerance = dtype == SAGE_F64 ? 1e-12 : dtype == SAGE_F32 ? 1e-6 : 1e-2;
    CHECK(std::fabs(Num(record, "decisions.weights.like") - p) < tolerance);
    for (const double value : List(record, "decisions.fused")) CHECK(std::fabs(value - (2 * p - 1)) < 2 * tolerance);
    CHECK_FALSE(Flagged(record, "content_absent"));
  }
}

TEST_CASE("G5 SEEDED fusion projects by Wv and Wo: as many numbers as d_model, the same bits again") {
  FusionParams params = SmallFusion(1);
  params.attention.weights = WeightSource::kSeeded;
  params.attention.scale = 0.7;
  auto one = Make(params), two = Make(params);
  const std::string tick = Tick(0, kThree, kX);
  const std::string record = Run(*one, tick);
  CHECK(record == Run(*two, tick));
  CHECK(List(record, "decisions.fused").size() == 8);
  const auto weights = List(record, "decisions.weights");
  CHECK(std::accumulate(weights.begin(), weights.end(), 0.0) == doctest::Approx(1));
  // No goal: the weights are the legacy ones, the projections of the values stay.
  const std::string absent = Run(*one, Tick(1, kThree));
  CHECK(std::fabs(Num(absent, "decisions.weights.imu") - 0.485 / 1.69) < 1e-12);
}

TEST_CASE("G5 exclusions and their reasons") {
  FusionParams params = SmallFusion(1);
  params.gate_hard = true;
  params.max_active = 1;
  auto program = Make(params);
  std::string record =
      Run(*program, Tick(0,
                         kThree + "," + Sensor("off", R"("inhibited":true,"salience":0.7)", "[" + kX + "]") + "," +
                             Sensor("mute", R"("salience":0.7)", "[]") + "," +
                             Sensor("late", R"("salience":0.6,"goal_relevance":0.1)", "[" + kX + "]"),
                         kX));
  CHECK(Text(record, "decisions.active") == "[\"vision\"]");
  CHECK(
      Text(record, "decisions.inhibited") ==
      R"([{"id":"imu","why":"gate"},{"id":"audio","why":"gate"},{"id":"off","why":"inhibited"},{"id":"mute","why":"empty"},{"id":"late","why":"rank"}])");
  CHECK(Num(record, "decisions.weights.vision") == doctest::Approx(1));
  CHECK(Num(record, "decisions.weights.off") == 0);
  CHECK(Num(record, "budget.active") == 1);
  record = Run(*program, Tick(1, Sensor("imu", kImu, "[" + kY + "]"), kX));
  CHECK(Flagged(record, "gate_ignored"));
  CHECK(Num(record, "decisions.weights.imu") == doctest::Approx(1));
}

TEST_CASE("G5 everything excluded, empty windows, no sensor: zeros with the reason") {
  for (const GraphMode mode : {GraphMode::kAttention, GraphMode::kLegacy, GraphMode::kCompare}) {
    FusionParams params = SmallFusion(1);
    params.attention.mode = mode;
    auto program = Make(params);
    for (const std::string& sensors :
         {std::string(), Sensor("a", R"("salience":0.99)", "[]"), Sensor("a", R"("inhibited":true)", "[" + kX + "]")}) {
      const std::string record = Run(*program, Tick(0, sensors, kX));
      CHECK(Flagged(record, "all_excluded"));
      CHECK(Has(record, "reason"));
      CHECK(List(record, "decisions.fused") == std::vector<double>(8, 0.0));
      for (const double weight : List(record, "decisions.weights")) CHECK(weight == 0);
      CHECK(Text(record, "decisions.interrupt") == "null");
    }
  }
}

TEST_CASE("G5 an interrupt takes all, is held, and survives a snapshot") {
  FusionParams params = SmallFusion(1);
  params.interrupt_hold_ticks = 2;
  auto program = Make(params), restored = Make(params);
  const std::string alarm = kThree + "," + Sensor("alarm", R"("salience":0.95,"trust":0)", "[" + kZ + "]");
  const std::string quiet = kThree + "," + Sensor("alarm", R"("salience":0.1,"trust":0)", "[" + kZ + "]");
  std::string record = Run(*program, Tick(0, alarm, kX));
  CHECK(Text(record, "decisions.interrupt") == "alarm");
  CHECK(Num(record, "decisions.weights.alarm") == doctest::Approx(1));
  CHECK(List(record, "decisions.fused")[7] == doctest::Approx(3));
  CHECK(Flagged(record, "interrupt"));
  CHECK(Text(record, "reason").find("0.95") != std::string::npos);
  std::string snapshot;
  REQUIRE(program->Snapshot(&snapshot).ok());
  REQUIRE(restored->Restore(snapshot).ok());
  for (int i = 1; i <= 3; ++i) {
    record = Run(*program, Tick(i, quiet, kX));
    CHECK(record == Run(*restored, Tick(i, quiet, kX)));
    CHECK((Text(record, "decisions.interrupt") == "alarm") == (i <= 2));
  }
}

TEST_CASE("G2 fusion: what a tick may not hold, its code and its place") {
  FusionParams params = SmallFusion(1);
  params.max_sensors = 2, params.max_rows = 3;
  auto program = Make(params);
  const auto refuses = [&](const std::string& tick, const char* code, const char* at, const char* words) {
    Refuses(*program, tick, code, at, words);
  };
  refuses(Tick(0, kThree), "SAGE_E_LIMIT", "sensors", "max_sensors is 2");
  refuses(Tick(0, Sensor("a", kImu, "[" + kX + "," + kX + "]") + "," + Sensor("b", kImu, "[" + kX + "," + kX + "]")),
          "SAGE_E_LIMIT", "sensors[1].window", "max_rows is 3");
  refuses(Tick(0, Sensor("a", R"("trust":1.5)", "[]")), "SAGE_E_RANGE", "sensors[0].trust", "trust of \"a\" is 1.5");
  refuses(Tick(0, Sensor("a", R"("age":[1,2])", "[" + kX + "]")), "SAGE_E_DIMENSION", "sensors[0].age", "2 values");
  refuses(Tick(0, Sensor("a", R"("age":[-1])", "[" + kX + "]")), "SAGE_E_RANGE", "sensors[0].age[0]", "at least 0");
  refuses(Tick(0, Sensor("a", kImu, "[[1,2]]")), "SAGE_E_DIMENSION", "sensors[0].window[0]", "2 values");
  refuses(Tick(0, Sensor("a", R"("salience":0.1,"snarc":{})", "[]")), "SAGE_E_CONFLICT", "sensors[0].snarc", "both");
  refuses(Tick(0, Sensor("a", R"("snarc":{"surprise":0.1})", "[]")), "SAGE_E_MISSING", "sensors[0].snarc.novelty",
          "required");
  refuses(Tick(0, Sensor("a", R"("inhibited":1)", "[]")), "SAGE_E_TYPE", "sensors[0].inhibited", "true or false");
  refuses(Tick(0, "", "[1]"), "SAGE_E_DIMENSION", "goal", "has 1 values");
  refuses(Tick(0, "5"), "SAGE_E_TYPE", "sensors[0]", "an object");
}

TEST_CASE("G5 embeddings that overflow the dtype are an error, not an answer") {
  FusionParams params = SmallFusion(1);
  params.attention.weights = WeightSource::kSeeded;
  params.attention.scale = 1;
  // Some choice of signs agrees with a row of the weights, whatever they are, and its projection is beyond f32.
  int refused = 0;
  for (int signs = 0; signs < 256; ++signs) {
    std::string huge = "[";
    for (int i = 0; i < 8; ++i) huge += std::string(i == 0 ? "" : ",") + ((signs >> i & 1) != 0 ? "-3e38" : "3e38");
    huge += "]";
    auto program = Make(params);
    const Status status =
        program->Tick(Tick(0, Sensor("a", kImu, "[" + huge + "]") + "," + Sensor("b", kImu, "[" + kX + "]"), huge));
    const std::string decision(program->Decision());
    if (status.ok()) {
      // How an element that is no number would be written.
      CHECK((decision.find("[null") == std::string::npos && decision.find(",null") == std::string::npos));
      continue;
    }
    ++refused;
    CHECK(status.code() == SAGE_E_BAD_DATA);
    CHECK(decision.find("overflow") != std::string::npos);
    CHECK(Num(Run(*program, Tick(0, kThree, kX)), "tick") == 0);
  }
  CHECK(refused > 0);
}

}  // namespace
