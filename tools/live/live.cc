// live.cc: the loop of --live and its view. The clock is here and nowhere below.
#include "live/live.h"

#include <fmt/format.h>
#include <time.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "common.h"
#include "live/counters.h"
#include "live/live_ticks.h"

namespace sage::tool {
namespace {

double Now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) / 1e9;
}

// Sleeps until `when`, less if interrupted.
void SleepUntil(double when) {
  while (!Interrupted()) {
    const double left = when - Now();
    if (left <= 0) return;
    timespec t{};
    t.tv_sec = static_cast<time_t>(left);
    t.tv_nsec = static_cast<long>((left - std::floor(left)) * 1e9);
    nanosleep(&t, nullptr);
  }
}

// Redraws a block of lines in place; leaves the cursor below it and visible, whatever ends the loop.
class View {
 public:
  ~View() {
    if (lines_ > 0) fmt::print("\x1b[?25h");
    std::fflush(stdout);
  }
  void Draw(uint32_t kind, std::string_view record_text) {
    const auto record = nlohmann::ordered_json::parse(record_text, nullptr, false);
    if (!record.is_object() || record.contains("error")) return;
    std::string frame = lines_ > 0 ? fmt::format("\x1b[{}A", lines_) : "\x1b[?25l";
    lines_ = 0;
    const auto line = [&](const std::string& text) { frame += "\x1b[2K" + text + "\n", ++lines_; };
    const auto& decisions = record["decisions"];
    if (kind == SAGE_MODEL_METABOLIC) {
      const double atp = std::max(1e-9, record["budget"].value("atp", 100.0));
      line(fmt::format("t {:8.1f} s   state {:<7}  {} ATP", record.value("ts", 0.0),
                       record["state"].is_string() ? record["state"].get<std::string>() : "-", atp));
      for (const auto& [name, value] : decisions.items())
        line(Row(name, value.get<double>() / atp, value.get<double>()));
    } else if (kind == SAGE_MODEL_FUSION) {
      line(fmt::format("t {:8.1f} s   active {}", record.value("ts", 0.0), decisions["active"].dump()));
      for (const auto& [name, value] : decisions["weights"].items())
        line(Row(name, value.get<double>(), value.get<double>()));
    } else {
      const auto& row = decisions.is_array() ? decisions[0] : decisions;
      line(fmt::format("t {:8.1f} s   context {:<10}", record.value("ts", 0.0), row.value("context", "")));
      for (size_t i = 0; i < row["ids"].size(); ++i)
        line(Row(fmt::format("expert {}", row["ids"][i].get<int64_t>()), row["gates"][i].get<double>(),
                 row["gates"][i].get<double>()));
    }
    while (lines_ < most_) line("");  // REST has two rows only: what stood below is cleared
    most_ = lines_;
    std::fwrite(frame.data(), 1, frame.size(), stdout);
    std::fflush(stdout);
  }

 private:
  static std::string Row(const std::string& name, double share, double value) {
    const auto cells = static_cast<size_t>(std::lround(std::clamp(share, 0.0, 1.0) * 50));
    return fmt::format("  {:<22} {:>8.3f} {}", name, value, std::string(cells, '#'));
  }
  int lines_ = 0, most_ = 0;
};

}  // namespace

void LiveFlags::AddTo(CLI::App* verb) {
  verb->add_flag("--live", on, "feed the graph from this machine: load, memory, disk, network, pressure of /proc");
  verb->add_option("--rate", rate, "--live: ticks a second")->capture_default_str()->check(CLI::Range(0.01, 1000.0));
  verb->add_option("--count", count, "--live: stop after so many ticks; default: at Ctrl-C");
  verb->add_option("--record", record, "--live: keep the ticks in this file, for --ticks");
  verb->add_flag("--no-view", no_view, "--live: JSONL on a terminal as well");
}

int RunLive(const LiveFlags& flags, uint32_t kind, const std::vector<uint8_t>& model, TickStream* stream,
            Summary* summary) {
  LiveTicks ticks(kind, model);
  Counters counters;
  std::ofstream record;
  if (!flags.record.empty()) {
    record.open(flags.record, std::ios::trunc);
    if (!record) throw Failure(kExitBadFile, fmt::format("{}: cannot be written", flags.record));
  }
  const bool draw = IsTerminal(STDOUT_FILENO) && !flags.no_view;
  View view;
  const double begin = Now();
  double last = begin;
  counters.Read(0);
  for (uint64_t n = 0; flags.count == 0 || n < flags.count; ++n) {
    SleepUntil(begin + static_cast<double>(n + 1) / flags.rate);
    if (Interrupted()) break;
    const double now = Now();
    const std::string tick = ticks.Next(now - begin, counters.Read(now - last));
    last = now;
    if (record.is_open() && !(record << tick << '\n' << std::flush))
      throw Failure(kExitBadFile, fmt::format("{}: cannot be written", flags.record));
    const std::string_view decision = stream->Tick(tick);
    if (stream->bad())
      fmt::print(stderr, "sage-engine: {}\n", stream->error());
    else
      summary->Add(decision);
    if (draw) {
      view.Draw(kind, decision);
    } else if (std::fwrite(decision.data(), 1, decision.size(), stdout) != decision.size() ||
               std::fputc('\n', stdout) == EOF || std::fflush(stdout) != 0) {
      throw Failure(kExitBadFile, "stdout could not be written");
    }
    stream->SnapshotIfDue();
  }
  return kExitOk;  // Ctrl-C is how a live view ends
}

}  // namespace sage::tool
