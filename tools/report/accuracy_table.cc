// accuracy_table.cc: see the header.
#include "report/accuracy_table.h"

#include <fmt/format.h>

#include <cmath>

namespace sage::tool {
namespace {

using Json = nlohmann::ordered_json;

constexpr auto kColumns = "    {:<24} {:<10} {:<7} {:<8} {:>10} {:>11} {:>10} {:>10} {:>10}  {}";

// Missing or null: JSON's only way to say infinite.
double NumberOf(const Json& object, const char* key) {
  const auto found = object.find(key);
  return found != object.end() && found->is_number() ? found->get<double>() : INFINITY;
}

// A line in kColumns, without blanks at its end.
template <class... Cells>
void PrintColumns(std::FILE* out, const Cells&... cells) {
  std::string line = fmt::format(kColumns, cells...);
  line.resize(line.find_last_not_of(' ') + 1);
  fmt::print(out, "{}\n", line);
}

void PrintHead(std::FILE* out, const char* what, bool judged) {
  PrintColumns(out, what, "backend", "class", "output", "elements", "cosine", "rel. L1", "RMSE", "max error",
               judged ? "verdict" : "");
}

void PrintLine(std::FILE* out, const std::string& name, const std::string& backend, const std::string& accuracy,
               const std::string& which, const Json& output, const AccuracyBounds* bounds) {
  const auto number = [&](const char* key) {
    const double value = NumberOf(output, key);
    return std::isfinite(value) ? fmt::format("{:.3g}", value) : std::string("inf");
  };
  std::string last;
  if (bounds != nullptr) last = Beyond(output, *bounds).empty() ? "within" : "BEYOND";
  if (const int64_t apart = output.value("non_finite", int64_t{0}); apart > 0)
    last += fmt::format("{}{} not finite on one side", last.empty() ? "" : ", ", apart);
  PrintColumns(out, name, backend, accuracy, which, output.value("elements", int64_t{0}),
               fmt::format("{:.8f}", output.value("cosine", 0.0)), number("rel_l1"), number("rmse"),
               number("max_abs_error"), last);
}

}  // namespace

Json AccuracyBounds::ToJson() const {
  Json json = {{"min_cosine", min_cosine}, {"max_rel_l1", max_rel_l1}};
  if (max_rmse) json["max_rmse"] = *max_rmse;
  if (max_abs_error) json["max_abs_error"] = *max_abs_error;
  return json;
}

std::string PlaceOf(const Json& node) {
  const std::string name = node.value("name", "?"), session = node.value("session", "");
  return session.empty() || name.starts_with(session + ".") ? name : session + "/" + name;
}

Json DistanceJson(const Distance& distance) {
  Json json;
  json["elements"] = distance.elements;
  json["cosine"] = distance.cosine;
  json["rel_l1"] = std::isfinite(distance.rel_l1) ? Json(distance.rel_l1) : Json();
  json["rmse"] = distance.rmse;
  json["max_abs_error"] = distance.max_abs_error;
  json["max_abs_error_at"] = Json();
  if (distance.max_abs_error > 0)
    json["max_abs_error_at"] = std::vector<int64_t>(distance.worst, distance.worst + distance.rank);
  json["largest"] = distance.largest;
  json["largest_exact"] = distance.largest_exact;
  json["non_finite"] = distance.non_finite;
  return json;
}

std::vector<std::string> Beyond(const Json& output, const AccuracyBounds& bounds) {
  std::vector<std::string> beyond;
  const double cosine = output.value("cosine", 0.0), rel_l1 = NumberOf(output, "rel_l1");
  // Written so that NaN is beyond, too.
  if (!(cosine >= bounds.min_cosine))
    beyond.push_back(fmt::format("cosine {:.8g} is below {:.8g}", cosine, bounds.min_cosine));
  if (!(rel_l1 <= bounds.max_rel_l1))
    beyond.push_back(fmt::format("relative L1 {:.4g} is above {:.4g}", rel_l1, bounds.max_rel_l1));
  if (const double rmse = NumberOf(output, "rmse"); bounds.max_rmse && !(rmse <= *bounds.max_rmse))
    beyond.push_back(fmt::format("RMSE {:.4g} is above {:.4g}", rmse, *bounds.max_rmse));
  if (const double worst = NumberOf(output, "max_abs_error"); bounds.max_abs_error && !(worst <= *bounds.max_abs_error))
    beyond.push_back(fmt::format("the largest error {:.4g} is above {:.4g}", worst, *bounds.max_abs_error));
  if (const int64_t apart = output.value("non_finite", int64_t{0}); apart > 0)
    beyond.push_back(fmt::format("{} elements are NaN or infinite on one side only", apart));
  return beyond;
}

void PrintAccuracy(std::FILE* out, const Json& report, const AccuracyBounds* bounds) {
  const Json nodes = report.value("nodes", Json::array());
  if (nodes.empty()) {
    fmt::print(out, "  no attention to measure: {}\n", report.value("note", "none ran"));
    return;
  }
  PrintHead(out, "attention", bounds != nullptr);
  for (const Json& node : nodes) {
    const std::string name = PlaceOf(node), backend = node.value("backend", "?"),
                      accuracy = node.value("accuracy", "?");
    if (!node.value("measured", false))
      fmt::print(out, "    {:<24} {:<10} {:<7} not measured: {}\n", name, backend, accuracy, node.value("note", ""));
    for (const Json& output : node.value("outputs", Json::array()))
      PrintLine(out, name, backend, accuracy, output.value("output", "?"), output, bounds);
  }
}

void PrintOutputs(std::FILE* out, const Json& outputs, const AccuracyBounds& bounds) {
  PrintHead(out, "output of the model", true);
  for (const Json& output : outputs)
    PrintLine(out, output.value("name", "?"), "", "", output.value("dtype", "?"), output, &bounds);
}

}  // namespace sage::tool
