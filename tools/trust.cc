// trust.cc: see trust.h.
#include "trust.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <vector>

#include "api.h"
#include "common.h"
#include "sage/reputation.h"

namespace sage::tool {
namespace {

constexpr size_t kMaxDepth = 32;  // of a tick, as the engine's reader has it

}  // namespace

struct TrustSource::Store {
  sage_reputation* handle = nullptr;
  ~Store() { sage_reputation_close(handle); }
};

void TrustFlags::AddTo(CLI::App* verb) {
  verb->add_option("--reputation", store, "expert graphs: trust of ticks that have none, from this store (SQLite)");
  verb->add_option("--component", component, "--reputation: whose experts")->capture_default_str();
  verb->add_option("--layer", layer, "--reputation: of which layer")->capture_default_str();
}

TrustSource::TrustSource(const TrustFlags& flags) : flags_(flags) {
  if (flags.store.empty()) return;
  store_ = std::make_unique<Store>();
  Error error;
  Require(sage_reputation_open(flags.store.c_str(), &store_->handle, &error), error, "--reputation");
}

TrustSource::~TrustSource() = default;

std::string_view TrustSource::Fill(std::string_view tick, std::string* storage) {
  using Json = nlohmann::ordered_json;
  // One row only: a batch names a context a row, and its caller has a trust row for each.
  if (NestsDeeper(tick, kMaxDepth)) return tick;  // the engine refuses it, with the place
  Json json = Json::parse(tick, nullptr, false);
  if (!json.is_object() || json.contains("trust") || !json.contains("router_logits")) return tick;
  const Json& logits = json["router_logits"];
  if (!logits.is_array() || logits.empty() || !logits[0].is_number()) return tick;
  std::string context = "general";
  if (json.contains("context")) {
    if (!json["context"].is_string()) return tick;
    context = json["context"].get<std::string>();
  }
  std::vector<double> trust(logits.size());
  Error error;
  Require(sage_reputation_row(store_->handle, flags_.component.c_str(), flags_.layer, context.c_str(), trust.size(),
                              trust.data(), nullptr, &error),
          error, "--reputation");
  json["trust"] = trust;
  *storage = json.dump();
  return *storage;
}

}  // namespace sage::tool
