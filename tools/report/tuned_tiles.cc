// tuned_tiles.cc: see tuned_tiles.h.
#include "report/tuned_tiles.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "output.h"

namespace sage::tool {
namespace {

using Json = nlohmann::ordered_json;
constexpr uintmax_t kMostBytes = 512u << 10;  // the backend believes no longer one

// As the backend writes it, or null.
Json Read(const std::string& path) {
  std::ifstream file(path);
  Json content = Json::parse(file, nullptr, false);
  if (!content.is_object() || !content["choices"].is_array()) return nullptr;
  for (const Json& choice : content["choices"])
    if (!choice.is_object() || !choice.contains("machine") || !choice["machine"].is_string() ||
        !choice.contains("problem") || !choice["problem"].is_string() || !choice.contains("rows") ||
        !choice["rows"].is_number_unsigned() || !choice.contains("keys") || !choice["keys"].is_number_unsigned() ||
        !choice.contains("gain") || !choice["gain"].is_number())
      return nullptr;
  return content["choices"];
}

}  // namespace

Json TunedTiles(const EngineFlags& flags, const Json& describe) {
  constexpr std::string_view kKey = "cpu.tune_file=";
  std::string path;
  if (describe.contains("cache_folder") && describe["cache_folder"].is_string())
    path = describe["cache_folder"].get<std::string>() + "/tune-cpu.json";
  for (const std::string& option : flags.options)
    if (option.starts_with(kKey)) path = option.substr(kKey.size());
  Json tuned;
  tuned["file"] = path.empty() ? Json(nullptr) : Json(path);
  tuned["choices"] = Json::array();
  std::error_code error;
  const auto status = std::filesystem::symlink_status(path, error);
  if (path.empty() || status.type() == std::filesystem::file_type::not_found) return tuned;
  const bool regular = std::filesystem::is_regular_file(status);
  if (regular && std::filesystem::file_size(path, error) <= kMostBytes)
    if (Json choices = Read(path); choices.is_array()) {
      tuned["choices"] = std::move(choices);
      return tuned;
    }
  tuned["note"] = regular ? "not readable as tuned tiles, ignored" : "not a regular file, ignored";
  return tuned;
}

void PrintTunedFile(const Json& tuned) {
  const size_t count = tuned["choices"].size();
  fmt::print("tuned tiles: {}: {}\n", tuned["file"].is_string() ? tuned["file"].get<std::string>() : "no file",
             tuned.contains("note") ? tuned["note"].get<std::string>()
             : count == 1           ? "1 choice"
                                    : fmt::format("{} choices", count));
}

void PrintTunedChoices(const Json& tuned) {
  PrintTunedFile(tuned);
  std::string machine;
  for (const Json& choice : tuned["choices"]) {
    if (choice["machine"].get<std::string>() != machine) fmt::print("  on {}\n", machine = choice["machine"]);
    const double gain = choice["gain"].get<double>();
    fmt::print("    {} rows by {} keys{}: {}\n", choice["rows"].get<uint64_t>(), choice["keys"].get<uint64_t>(),
               gain > 1 ? fmt::format(" ({:.0f} % over the rule's)", 100 * (gain - 1)) : " (the rule's)",
               choice["problem"].get<std::string>());
  }
}

}  // namespace sage::tool
