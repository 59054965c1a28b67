// Salience records of real SAGE instances through all three graphs. The records are not part of this repository; the
// test says so and passes where they are absent.
//
// Each record is a salience; an instance's consecutive records within a minute are the targets, or the sensors, of one
// tick; experts are the instances, trusted by the reward they met last.
#include <doctest/doctest.h>

#include <cmath>
#include <ctime>
#include <fstream>
#include <map>
#include <numeric>
#include <sstream>

#include "engine/sage/program_fixture.h"

namespace {

using namespace sage;
using namespace sage::testing;

struct Record {
  std::string instance;
  double seconds = 0;
  double snarc[5] = {};
};

double Seconds(const std::string& iso) {
  std::tm time{};
  double fraction = 0;
  REQUIRE(std::sscanf(iso.c_str(), "%d-%d-%dT%d:%d:%d", &time.tm_year, &time.tm_mon, &time.tm_mday, &time.tm_hour,
                      &time.tm_min, &time.tm_sec) == 6);
  if (const size_t dot = iso.find('.'); dot != std::string::npos) fraction = std::stod("0" + iso.substr(dot));
  time.tm_year -= 1900, time.tm_mon -= 1;
  return static_cast<double>(timegm(&time)) + fraction;
}

std::vector<Record> Read() {
  std::ifstream file(SAGE_SOURCE_DIR "/../shared/data/snarc_real.csv");
  std::vector<Record> out;
  std::string line;
  std::getline(file, line);
  while (std::getline(file, line)) {
    std::vector<std::string> cells;
    std::istringstream cut(line);
    for (std::string cell; std::getline(cut, cell, ',');) cells.push_back(cell);
    REQUIRE(cells.size() == 11);
    Record record{cells[0], Seconds(cells[1]), {}};
    for (size_t i = 0; i < 5; ++i) record.snarc[i] = std::stod(cells[5 + i]);
    out.push_back(record);
  }
  return out;
}

TEST_CASE("G13 real salience records run through all three graphs, twice to the same bytes") {
  const std::vector<Record> records = Read();
  if (records.empty()) {
    MESSAGE("skipped: ../shared/data/snarc_real.csv is not there");
    return;
  }
  CHECK(records.size() == 1389);
  // Ticks: an instance's consecutive records, each within a minute of the one before.
  std::map<std::string, std::vector<std::vector<const Record*>>> by_instance;
  for (const Record& record : records) {
    auto& ticks = by_instance[record.instance];
    const bool joins =
        !ticks.empty() && ticks.back().size() < 64 && std::fabs(record.seconds - ticks.back().back()->seconds) <= 60;
    if (!joins) ticks.emplace_back();
    ticks.back().push_back(&record);
  }
  std::vector<std::string> instances;
  for (const auto& [instance, ticks] : by_instance) instances.push_back(instance);
  REQUIRE(instances.size() >= 2);

  MetabolicParams metabolic = SmallMetabolic(1);
  FusionParams fusion = SmallFusion(1);
  fusion.max_sensors = 64;
  ExpertParams expert = SmallExperts(static_cast<int64_t>(instances.size()), 1);
  std::string runs[2];
  int64_t ticks_run = 0;
  for (std::string& log : runs) {
    auto experts = Make(expert);
    std::map<std::string, double> reward;
    double ts = 0;
    for (const auto& [instance, ticks] : by_instance) {
      auto allocation = Make(metabolic), fused = Make(fusion);
      double clock = 0;
      for (const auto& tick : ticks) {
        clock = std::max(clock, tick.front()->seconds);
        JsonWriter targets, sensors, router, trust;
        targets.BeginArray(), sensors.BeginArray(), router.BeginArray(), trust.BeginArray();
        for (size_t i = 0; i < tick.size(); ++i) {
          const double* s = tick[i]->snarc;
          targets.BeginObject(), targets.Member("id", "r" + std::to_string(i));
          targets.Member("salience", (s[0] + s[1] + s[2] + s[3] + s[4]) / 5), targets.EndObject();
          sensors.BeginObject(), sensors.Member("id", "r" + std::to_string(i)), sensors.Key("snarc");
          sensors.BeginObject();
          const char* names[] = {"surprise", "novelty", "arousal", "reward", "conflict"};
          for (size_t j = 0; j < 5; ++j) sensors.Member(names[j], s[j]);
          sensors.EndObject(), sensors.Key("window"), sensors.BeginArray(), sensors.BeginArray();
          for (size_t j = 0; j < 8; ++j) sensors.Number(j < 5 ? s[j] : 0);
          sensors.EndArray(), sensors.EndArray(), sensors.EndObject();
          reward[instance] = s[3];
        }
        for (const std::string& name : instances) {
          router.Number(name == instance ? 1 : 0);
          trust.Number(reward.contains(name) ? reward[name] : 0.5);
        }
        targets.EndArray(), sensors.EndArray(), router.EndArray(), trust.EndArray();
        const std::string head = "{\"ts\":" + std::to_string(clock) + ",";
        const std::string atp = Run(*allocation, head + "\"targets\":" + std::string(targets.text()) + "}");
        const std::string weights =
            Run(*fused, head + "\"goal\":[1,1,1,1,1,0,0,0],\"sensors\":" + std::string(sensors.text()) + "}");
        const std::string chosen = Run(*experts, "{\"ts\":" + std::to_string(ts++) + ",\"context\":\"" + instance +
                                                     "\",\"router_logits\":" + std::string(router.text()) +
                                                     ",\"trust\":" + std::string(trust.text()) + "}");
        double sum = 0;
        for (const double value : List(atp, "decisions")) sum += value;
        CHECK(std::fabs(sum - 100) < 1e-4);
        const auto w = List(weights, "decisions.weights");
        CHECK(std::accumulate(w.begin(), w.end(), 0.0) == doctest::Approx(1).epsilon(1e-5));
        CHECK(List(chosen, "decisions.0.ids").size() == 2);
        log += atp + weights + chosen;
        ++ticks_run;
      }
    }
  }
  CHECK(runs[0] == runs[1]);
  MESSAGE("ticks a run: ", ticks_run / 2);
}

}  // namespace
