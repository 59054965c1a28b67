// summary.cc: see summary.h.
#include "report/summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "common.h"

namespace sage::tool {
namespace {

using Json = nlohmann::ordered_json;

std::string Bar(double share) {
  const auto cells = static_cast<size_t>(std::lround(std::clamp(share, 0.0, 1.0) * 30));
  return std::string(cells, '#');
}

void PrintExpert(std::FILE* out, const Json& record) {
  const Json& decisions = record["decisions"];
  const Json& row = decisions.is_array() && !decisions.empty() ? decisions[0] : decisions;
  fmt::print(out, "  experts selected in context \"{}\"\n", row.value("context", ""));
  fmt::print(out, "    {:>6} {:>10} {:>10} {:>10} {:>8}\n", "expert", "score", "router", "trust", "gate");
  for (size_t i = 0; i < row["ids"].size(); ++i)
    fmt::print(out, "    {:>6} {:>10.4f} {:>10.4f} {:>10.4f} {:>8.4f} {}\n", row["ids"][i].get<int64_t>(),
               row["scores"][i].get<double>(), row["router_scores"][i].get<double>(),
               row["trust_scores"][i].get<double>(), row["gates"][i].get<double>(), Bar(row["gates"][i].get<double>()));
}

void PrintMetabolic(std::FILE* out, const Json& record, const std::map<std::string, uint64_t>& states) {
  const double atp = record["budget"].value("atp", 0.0);
  fmt::print(out, "  ATP in state {}, of {:.6g}\n", record.value("state", "?"), atp);
  for (const auto& [target, share] : record["decisions"].items())
    fmt::print(out, "    {:<24} {:>9.4f} {}\n", target, share.get<double>(),
               Bar(atp > 0 ? share.get<double>() / atp : 0));
  fmt::print(out, "  ticks by state:");
  for (const auto& [state, count] : states) fmt::print(out, " {} {}", state, count);
  fmt::print(out, "\n");
}

void PrintFusion(std::FILE* out, const Json& record) {
  const Json& decisions = record["decisions"];
  fmt::print(out, "  sensor weights\n    {:<24} {:>8} {:>8}\n", "sensor", "score", "weight");
  for (const auto& [sensor, weight] : decisions["weights"].items()) {
    const double score = decisions.contains("scores") && decisions["scores"].contains(sensor)
                             ? decisions["scores"][sensor].get<double>()
                             : 0;
    fmt::print(out, "    {:<24} {:>8.4f} {:>8.4f} {}\n", sensor, score, weight.get<double>(),
               Bar(weight.get<double>()));
  }
  if (decisions.contains("interrupt") && decisions["interrupt"].is_string())
    fmt::print(out, "  interrupted by {}\n", decisions["interrupt"].get<std::string>());
}

}  // namespace

void PrintNodes(std::FILE* out, const std::string& explain_json) {
  const Json explain = Json::parse(explain_json, nullptr, false);
  if (!explain.is_object() || !explain.contains("nodes") || explain["nodes"].empty()) {
    fmt::print(out, "  no attention ran (LEGACY mode)\n");
    return;
  }
  fmt::print(out, "    {:<20} {:<10} {:>9}  {}\n", "node", "backend", "price", "why");
  for (const Json& node : explain["nodes"]) {
    const Json chosen = node.value("chosen", Json());
    const std::string backend = chosen.is_string() ? chosen.get<std::string>() : "none";
    double price = NAN;
    for (const Json& verdict : node.value("verdicts", Json::array()))
      if (verdict.value("backend", "") == backend) price = verdict.value("cost_ns", NAN);
    fmt::print(out, "    {:<20} {:<10} {:>9}  {}\n", node.value("name", "?"), backend,
               std::isnan(price) ? "-" : Duration(price), node.value("why", ""));
  }
}

void Summary::Add(std::string_view record) {
  last_.assign(record);
  if (kind_ != SAGE_MODEL_METABOLIC) return;
  const size_t key = record.find("\"state\":\"");
  if (key != std::string_view::npos) {
    const size_t begin = key + 9;
    ++states_[std::string(record.substr(begin, record.find('"', begin) - begin))];
  }
}

void Summary::Print(std::FILE* out, const std::string& explain_json, const TickStream& stream) const {
  const Json record = Json::parse(last_, nullptr, false);
  if (!record.is_object()) {
    fmt::print(out, "  no good tick was seen\n");
    return;
  }
  if (kind_ == SAGE_MODEL_EXPERT) PrintExpert(out, record);
  if (kind_ == SAGE_MODEL_METABOLIC) PrintMetabolic(out, record, states_);
  if (kind_ == SAGE_MODEL_FUSION) PrintFusion(out, record);
  fmt::print(out, "  who ran it\n");
  PrintNodes(out, explain_json);
  fmt::print(out, "  {} ticks, {} bad; latency p50 {}, p99 {} (tick in to decision out)\n", stream.ticks(),
             stream.bad_ticks(), Duration(stream.Percentile(50)), Duration(stream.Percentile(99)));
}

}  // namespace sage::tool
