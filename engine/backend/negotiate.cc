// negotiate.cc: do host and plugin speak the same ABI? The rules of version, sizes and entries, for a table however it
// was got: from a library, from the list of built-in plugins, from a test.
#include <string.h>

#include <algorithm>
#include <array>
#include <cstddef>

#include "backend/plugin_loader.h"
#include "fmt/format.h"

namespace sage {
namespace {

// The first major's first minor: a table that does not reach its last entry was never one of ours.
constexpr uint32_t kSmallestTable = offsetof(sage_plugin, run) + sizeof(sage_plugin::run);
constexpr uint32_t kLargestTable = 1u << 16;  // a thousand times today's; above it the field is garbage
constexpr uint32_t kLargestMinor = 9999;      // likewise
constexpr size_t kLongestText = 4096;

Status Mismatch(const std::string& path, const std::string& what, const std::string& remedy) {
  return Status(SAGE_E_ABI_MISMATCH, fmt::format("{}: {}; libsage {} speaks ABI {}.{}; {}", path, what, LibraryPath(),
                                                 SAGE_ABI_MAJOR, SAGE_ABI_MINOR, remedy));
}

Status Broken(const std::string& path, const std::string& what) {
  return Status(SAGE_E_ABI_MISMATCH,
                fmt::format("{}: {}; this plugin is broken, its author has to mend it (sage-engine "
                            "plugin check {})",
                            path, what, path));
}

bool GoodName(const char* name) {
  const size_t length = strnlen(name, 33);
  return length >= 1 && length <= 32 && std::all_of(name, name + length, [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
         });
}

// Text for a message, whatever the bytes are.
std::string Printable(const char* text, size_t limit) {
  std::string shown;
  for (size_t i = 0; i < limit && text[i] != '\0'; ++i) shown += text[i] >= ' ' && text[i] < 127 ? text[i] : '?';
  return shown;
}

}  // namespace

Status NegotiatePlugin(sage_plugin_query_fn query, const std::string& path, PluginFile* out) {
  const sage_plugin* theirs = nullptr;
  try {
    theirs = query(SAGE_ABI_MAJOR, SAGE_ABI_MINOR);
  } catch (...) {
    return Broken(path, "its query threw an exception, which may not cross the C border");
  }
  if (theirs == nullptr)
    return Mismatch(path, fmt::format("it has no table for ABI major {}", SAGE_ABI_MAJOR),
                    "install the plugin's build for this major");

  uint32_t head[4] = {};  // struct_size, major, minor, oldest minor: the same place in every version
  memcpy(head, theirs, sizeof head);
  const auto [size, major, minor, oldest] = std::to_array(head);
  if (major == 0) return Broken(path, "its abi_major is 0, as if never set");
  if (major != SAGE_ABI_MAJOR)
    return Mismatch(path, fmt::format("it is built for ABI {}.{}", major, minor),
                    major > SAGE_ABI_MAJOR ? "install a newer libsage, or a build of the plugin for this one"
                                           : "install a newer build of the plugin");
  if (size < kSmallestTable || size > kLargestTable)
    return Broken(path, fmt::format("its table says it has {} bytes, {} to {} are expected", size, kSmallestTable,
                                    kLargestTable));
  if (minor > kLargestMinor || oldest > minor)
    return Broken(path, fmt::format("its abi_minor {} and abi_minor_min {} make no sense", minor, oldest));
  if (oldest > SAGE_ABI_MINOR)
    return Mismatch(path, fmt::format("it needs ABI {}.{} or newer", major, oldest),
                    "install a newer libsage, or an older build of the plugin");

  // Ours, so that a later write of the plugin to its "constant" changes nothing; what it does not have is zero.
  auto table = std::make_shared<sage_plugin>();
  memcpy(table.get(), theirs, std::min<size_t>(size, sizeof *table));
  table->struct_size = sizeof *table;
  if (table->device_type == 0) table->device_type = SAGE_CPU;

  if (table->name == nullptr) return Broken(path, "its name is null");
  if (!GoodName(table->name))
    return Broken(path, fmt::format("its name '{}' is not [a-z0-9_]{{1,32}}", Printable(table->name, 40)));
  for (const auto& [text, what] : {std::pair(table->version, "version"), std::pair(table->build, "build")}) {
    if (text == nullptr) return Broken(path, fmt::format("its {} is null", what));
    if (text[0] == '\0' || strnlen(text, kLongestText) == kLongestText)
      return Broken(path, fmt::format("its {} is empty or endless", what));
  }
  if (table->foreign_threads != nullptr && strnlen(table->foreign_threads, kLongestText) == kLongestText)
    return Broken(path, "its foreign_threads is endless");
  if (table->kinds == 0) return Broken(path, "its kinds are 0: it serves no op at all");
  if (table->device_type < 0) return Broken(path, fmt::format("its device_type is {}", table->device_type));
  const std::pair<bool, const char*> entries[] = {
      {table->probe != nullptr, "probe"},
      {table->create != nullptr, "create"},
      {table->destroy != nullptr, "destroy"},
      {table->device != nullptr || table->device_type == SAGE_CPU, "device"},
      {table->ask != nullptr, "ask"},
      {table->plan != nullptr, "plan"},
      {table->plan_destroy != nullptr, "plan_destroy"},
      {table->run != nullptr, "run"},
  };
  for (const auto& [set, what] : entries)
    if (!set) return Broken(path, fmt::format("its entry `{}` is null", what));

  out->agreed_minor = std::min<uint32_t>(minor, SAGE_ABI_MINOR);
  out->table = std::move(table);
  return {};
}

}  // namespace sage
