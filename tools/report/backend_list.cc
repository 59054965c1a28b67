// backend_list.cc: see backend_list.h. Keys that are absent are left out, not invented.
#include "report/backend_list.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

namespace sage::tool {
namespace {

using Json = nlohmann::ordered_json;

std::string Text(const Json& object, const char* key) {
  if (!object.contains(key) || object[key].is_null()) return {};
  return object[key].is_string() ? object[key].get<std::string>() : object[key].dump();
}

}  // namespace

void PrintBackends(std::FILE* out, const std::string& describe_json) {
  const Json describe = Json::parse(describe_json, nullptr, false);
  if (!describe.is_object()) return;
  for (const Json& plugin : describe.value("plugins", Json::array())) {
    const std::string refused = Text(plugin, "refused"), shadowed = Text(plugin, "shadowed_by");
    const std::string state = !refused.empty() ? "refused" : !shadowed.empty() ? "shadowed" : "usable";
    fmt::print(out, "  {:<12} {:<9} {:<8} {} ({})\n", Text(plugin, "name").empty() ? "?" : Text(plugin, "name"), state,
               Text(plugin, "version"), Text(plugin, "path"), Text(plugin, "origin"));
    if (!refused.empty()) fmt::print(out, "               {}\n", refused);
    if (!shadowed.empty()) fmt::print(out, "               the copy found first is used: {}\n", shadowed);
    if (const std::string warning = Text(plugin, "warning"); !warning.empty())
      fmt::print(out, "               warning: {}\n", warning);
    if (const std::string threads = Text(plugin, "foreign_threads"); !threads.empty())
      fmt::print(out, "               brings threads of its own: {}\n", threads);
  }
  for (const Json& folder : describe.value("folders", Json::array()))
    fmt::print(out, "  looked in    {} ({}){}\n", Text(folder, "path"), Text(folder, "origin"),
               Text(folder, "note").empty() ? "" : ": " + Text(folder, "note"));
}

}  // namespace sage::tool
