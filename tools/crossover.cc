// crossover.cc: see the header. The shortest run of each arm counts: what disturbs a run only ever makes it longer.
#include "crossover.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "arms.h"
#include "report/progress.h"

namespace sage::tool {
namespace {

using Json = nlohmann::ordered_json;

// The longest measured length up to which whole rows win every time: what flash_threshold would be set to. 0: they
// never do; -1: they still do at the longest, so that the lengths do not show it.
int64_t Threshold(const std::vector<ArmPair>& rows) {
  int64_t threshold = 0;
  for (const ArmPair& row : rows) {
    if (row.standard.ns > row.flash.ns) return threshold;
    threshold = row.length;
  }
  return -1;
}

std::string Verdict(const std::vector<ArmPair>& rows) {
  const int64_t threshold = Threshold(rows);
  if (threshold < 0)
    return fmt::format("materialised is no slower up to {} keys, the longest measured", rows.back().length);
  if (threshold == 0) return fmt::format("flash is faster from {} keys on, the shortest measured", rows.front().length);
  return fmt::format("materialised is no slower up to {} keys, flash is faster at the next length: flash_threshold={}",
                     threshold, threshold);
}

}  // namespace

int Crossover(const EngineFlags& engine_flags, const SessionFlags& session, const std::string& line,
              const std::string& lengths, double seconds, const std::string& format) {
  if (line.empty()) throw Failure(kExitUsage, "--crossover compares the algorithms of a problem: name it by --attn");
  if (format == "html") throw Failure(kExitUsage, "--crossover has no html form: text, md, csv, json");
  const std::vector<int64_t> all = ParseLengths(lengths, "--crossover");
  CountedMemory counted;  // outlives the engine
  const EnginePtr engine = engine_flags.Create([&counted](sage_options* options) { counted.LendTo(options); });
  std::vector<ArmPair> rows;
  Progress progress("measuring", static_cast<double>(all.size()));
  for (const int64_t length : all) {
    if (Interrupted()) break;
    rows.push_back(MeasureArms(engine.get(), engine_flags, session, &counted, WithLength(line, length), seconds));
    progress.Show(static_cast<double>(rows.size()));
  }
  progress.Clear();
  if (rows.empty()) return kExitInterrupted;
  if (format == "json") {
    Json out = {{"rows", Json::array()}, {"flash_threshold", Threshold(rows)}, {"verdict", Verdict(rows)}};
    for (const ArmPair& row : rows)
      out["rows"].push_back({{"problem", row.problem},
                             {"n", row.length},
                             {"backend", row.flash.backend},
                             {"materialised_ns", row.standard.ns},
                             {"flash_ns", row.flash.ns},
                             {"materialised_over_flash", row.standard.ns / row.flash.ns},
                             {"materialised_scratch_bytes", row.standard.allocated},
                             {"flash_scratch_bytes", row.flash.allocated},
                             {"rel_err", row.rel_err}});
    fmt::print("{}\n", out.dump());
  } else if (format == "csv") {
    fmt::print("n,backend,materialised_ns,flash_ns,materialised_over_flash,rel_err\n");
    for (const ArmPair& row : rows)
      fmt::print("{},{},{:.0f},{:.0f},{:.4f},{:.3g}\n", row.length, row.flash.backend, row.standard.ns, row.flash.ns,
                 row.standard.ns / row.flash.ns, row.rel_err);
  } else {
    const bool md = format == "md";
    fmt::print("{}{}\n\n", rows.front().problem, rows.size() > 1 ? " and on" : "");
    if (md) fmt::print("| keys | materialised | flash | materialised/flash | backend |\n|---:|---:|---:|---:|---|\n");
    if (!md) fmt::print("{:>8} {:>13} {:>10} {:>19}  backend\n", "keys", "materialised", "flash", "materialised/flash");
    for (const ArmPair& row : rows)
      fmt::print(fmt::runtime(md ? "| {} | {} | {} | {:.3f} | {} |\n" : "{:>8} {:>13} {:>10} {:>19.3f}  {}\n"),
                 row.length, Duration(row.standard.ns), Duration(row.flash.ns), row.standard.ns / row.flash.ns,
                 row.flash.backend);
    fmt::print("\n{}\n", Verdict(rows));
  }
  return Interrupted() ? kExitInterrupted : kExitOk;
}

}  // namespace sage::tool
