// decision_diff.cc: see the header. What was chosen must be equal; what was computed on the way is a matter of degree.
#include "report/decision_diff.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "output.h"

namespace sage::tool {
namespace {

using Json = nlohmann::ordered_json;

// Numbers that name or count something; all others are measured.
bool IsDiscrete(std::string_view key) {
  for (const std::string_view name :
       {"ids", "from", "to", "hits", "misses", "k", "available", "active", "max_active", "tick"})
    if (key == name) return true;
  return false;
}

std::string Short(const Json& value) {
  std::string text = JsonText(value);
  if (text.size() > 60) text.resize(57), text += "...";
  return text;
}

}  // namespace

// True = the same choices. Names of items (targets, sensors) are keys, so that another order is another choice too.
bool DecisionDiff::Walk(const Json& got, const Json& exact, const std::string& at, std::string_view key,
                        Change* change) {
  const auto differ = [&] {
    *change = {line_, at, Short(got), Short(exact)};
    return false;
  };
  if (got.is_number() && exact.is_number()) return !IsDiscrete(key) || got == exact ? true : differ();
  if (got.type() != exact.type()) return differ();
  if (got.is_array()) {
    if (got.size() != exact.size()) return differ();
    for (size_t i = 0; i < got.size(); ++i)
      if (!Walk(got[i], exact[i], fmt::format("{}[{}]", at, i), key, change)) return false;
    return true;
  }
  if (!got.is_object()) return got == exact ? true : differ();
  if (got.size() != exact.size()) return differ();
  auto other = exact.begin();
  for (auto own = got.begin(); own != got.end(); ++own, ++other) {
    if (own.key() != other.key()) return differ();
    if (!Walk(own.value(), other.value(), at + "." + own.key(), own.key(), change)) return false;
  }
  return true;
}

void DecisionDiff::Sum(const Json& got, const Json& exact) {
  if (got.is_number()) {
    const double apart = std::fabs(got.get<double>() - exact.get<double>());
    apart_ += apart, absolute_ += std::fabs(exact.get<double>());
    if (apart > largest_) largest_ = apart, largest_line_ = line_;
    return;
  }
  if (!got.is_structured()) return;
  auto other = exact.begin();
  for (const Json& own : got) Sum(own, *other++);
}

void DecisionDiff::Keep(Change change) {
  ++changed_;
  if (changes_.size() < kListed) changes_.push_back(std::move(change));
}

void DecisionDiff::Add(uint64_t line, std::string_view record, bool bad, std::string_view exact_record,
                       bool exact_bad) {
  line_ = line;
  if (bad && exact_bad) {
    ++bad_;
    return;
  }
  const Json got = Json::parse(record, nullptr, false), exact = Json::parse(exact_record, nullptr, false);
  if (bad != exact_bad) return Keep({line, "", Short(got), Short(exact)});
  ++ticks_;
  for (const char* key : {"state", "transitions", "decisions", "budget"}) {
    Change change;
    if (!Walk(got.value(key, Json()), exact.value(key, Json()), key, key, &change)) return Keep(std::move(change));
  }
  Sum(got.value("decisions", Json()), exact.value("decisions", Json()));
}

double DecisionDiff::rel_l1() const {
  return apart_ == 0 ? 0 : absolute_ > 0 ? apart_ / absolute_ : static_cast<double>(INFINITY);
}

Json DecisionDiff::ToJson() const {
  Json json;
  json["ticks"] = ticks_;
  json["bad"] = bad_;
  json["changed"] = changed_;
  json["changes"] = Json::array();
  for (const Change& change : changes_)
    json["changes"].push_back({{"line", change.line}, {"at", change.at}, {"got", change.got}, {"exact", change.exact}});
  json["rel_l1"] = std::isfinite(rel_l1()) ? Json(rel_l1()) : Json();
  json["max_abs_difference"] = largest_;
  json["max_abs_difference_line"] = largest_line_ > 0 ? Json(largest_line_) : Json();
  return json;
}

}  // namespace sage::tool
