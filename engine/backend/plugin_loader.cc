// plugin_loader.cc: the search, in order, and what becomes of each file. The only file that reads the environment.
#include "backend/plugin_loader.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <memory>
#include <set>

#include "backend/plugin_file.h"
#include "backend/shared_object.h"
#include "fmt/format.h"

#ifndef SAGE_PLUGIN_FOLDER
#error "SAGE_PLUGIN_FOLDER, the compiled-in folder of plugins, has to be set by the build"
#endif

namespace sage {
namespace {

constexpr std::string_view kSuffix = ".so";

std::string Resolved(const std::string& path) {
  const std::unique_ptr<char, void (*)(void*)> resolved(realpath(path.c_str(), nullptr), free);
  return resolved == nullptr ? std::string() : std::string(resolved.get());
}

// Symbol or refusal. A plugin of another major exports another name, which is worth a better sentence than "missing".
Result<sage_plugin_query_fn> FindQuery(void* library, const std::string& path) {
  if (void* symbol = dlsym(library, SAGE_PLUGIN_QUERY_SYMBOL)) {
    sage_plugin_query_fn query = nullptr;
    static_assert(sizeof query == sizeof symbol);
    memcpy(&query, &symbol, sizeof query);
    return query;
  }
  for (int major = 0; major <= 9; ++major) {
    const std::string other = fmt::format("sage_plugin_query_v{}", major);
    if (major != SAGE_ABI_MAJOR && dlsym(library, other.c_str()) != nullptr)
      return Status(
          SAGE_E_ABI_MISMATCH,
          fmt::format("{}: it is built for ABI major {} (it exports {}); libsage {} speaks ABI {}.{}; install {}", path,
                      major, other, LibraryPath(), SAGE_ABI_MAJOR, SAGE_ABI_MINOR,
                      major > SAGE_ABI_MAJOR ? "a newer libsage, or a build of the plugin for this one"
                                             : "a newer build of the plugin"));
  }
  return Status(SAGE_E_ABI_MISMATCH, fmt::format("{}: it exports no {}: a shared library, but no plugin of this engine",
                                                 path, SAGE_PLUGIN_QUERY_SYMBOL));
}

// The folder's libraries by name, so that the order does not depend on the file system.
void SearchFolder(const std::string& folder, const std::string& origin, std::vector<PluginFile>* files,
                  std::vector<PluginFolder>* folders, std::set<std::string>* seen) {
  PluginFolder entry{folder, origin, "", true};
  if (folder.empty()) {
    entry.note = "an empty entry, skipped: it would mean the working folder";
  } else if (folder[0] != '/') {
    entry.note = "not an absolute path, skipped: plugins are never looked for relative to the working folder";
  } else if (const std::string resolved = Resolved(folder); resolved.empty()) {
    char buffer[128];
    entry.skipped = errno != ENOENT;
    entry.note = entry.skipped ? strerror_r(errno, buffer, sizeof buffer) : "does not exist";
  } else if (!seen->insert(resolved).second) {
    entry.skipped = false;
    entry.note = "searched already";
  } else if (const std::string why = FolderRefusal(resolved); !why.empty()) {
    entry.note = "skipped: " + why;
  } else if (const std::unique_ptr<DIR, int (*)(DIR*)> stream(opendir(resolved.c_str()), closedir); stream == nullptr) {
    char buffer[128];
    entry.note = strerror_r(errno, buffer, sizeof buffer);
  } else {
    std::vector<std::string> names;
    while (const dirent* found = readdir(stream.get())) {
      const std::string_view name = found->d_name;
      if (name.size() > kSuffix.size() && name.front() != '.' && name.ends_with(kSuffix)) names.emplace_back(name);
    }
    std::sort(names.begin(), names.end());
    for (const std::string& name : names) files->push_back(LoadPluginFile(resolved + "/" + name, origin, false));
    entry.skipped = false;
    entry.note = fmt::format("{} {}", names.size(), names.size() == 1 ? "library" : "libraries");
  }
  if (folders != nullptr) folders->push_back(std::move(entry));
}

}  // namespace

bool ProcessIsPrivileged() { return getauxval(AT_SECURE) != 0; }

std::string CacheFolder(bool privileged) {
  if (privileged) return {};
  const auto usable = [](const char* path) {
    return path != nullptr && path[0] == '/' && strlen(path) < PATH_MAX && strchr(path, '\n') == nullptr;
  };
  if (const char* cache = secure_getenv("XDG_CACHE_HOME"); usable(cache)) return std::string(cache) + "/sage-engine";
  if (const char* home = secure_getenv("HOME"); usable(home)) return std::string(home) + "/.cache/sage-engine";
  return {};
}

std::string LibraryPath() {
  // From the kernel's table of mappings: the dynamic linker's name may be relative to a folder that is not the working
  // one any more, and then names a stranger's file.
  const auto here = reinterpret_cast<uintptr_t>(&SearchFolder);
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    uint64_t begin = 0, end = 0;
    const size_t path = line.find('/');
    if (path == std::string::npos || sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64, &begin, &end) != 2) continue;
    if (here >= begin && here < end) return line.substr(path);
  }
  return "(unknown)";
}

PluginFile LoadPluginFile(const std::string& path, const std::string& origin, bool explicitly_named, bool privileged) {
  PluginFile file;
  file.path = path;
  file.origin = origin;
  if (explicitly_named && privileged) {
    file.refused = Status(SAGE_E_IO, path +
                                         ": not loaded: this process has privileges beyond its caller's (setuid); "
                                         "only the compiled-in folder of plugins is trusted then");
    return file;
  }
  Result<CheckedFile> opened = OpenPluginFile(path, explicitly_named);
  if (!opened.ok()) {
    file.refused = opened.status();
    return file;
  }
  file.path = opened->path;
  file.warning = opened->warning;
  const int descriptor = opened->descriptor.get();
  file.refused = CheckSharedObject(descriptor).At(file.path);
  if (!file.refused.ok()) return file;
  const Result<void*> library = LoadDescriptor(descriptor, file.path);
  if (!library.ok()) {
    file.refused = library.status().At(file.path);
    return file;
  }
  const Result<sage_plugin_query_fn> query = FindQuery(*library, file.path);
  file.refused = query.ok() ? NegotiatePlugin(*query, file.path, &file) : query.status();
  return file;
}

std::vector<PluginFile> FindPlugins(const PluginSearch& search, std::vector<PluginFolder>* folders) {
  std::vector<PluginFile> files;
  std::set<std::string> seen;
  for (const std::string& path : search.explicit_paths)
    files.push_back(LoadPluginFile(path, "option", true, search.privileged));
  if (search.use_environment && search.privileged) {
    if (folders != nullptr) folders->push_back({"", "SAGE_PLUGIN_PATH", "not read: this process is setuid", true});
  } else if (search.use_environment) {
    // secure_getenv: the C library, too, has not a word from the environment for a privileged process.
    if (const char* entries = secure_getenv("SAGE_PLUGIN_PATH"); entries != nullptr && entries[0] != '\0') {
      const std::string_view list = entries;
      for (size_t begin = 0; begin <= list.size();) {
        const size_t end = std::min(list.find(':', begin), list.size());
        SearchFolder(std::string(list.substr(begin, end - begin)), "SAGE_PLUGIN_PATH", &files, folders, &seen);
        begin = end + 1;
      }
    }
  }
  if (search.use_default_folders) {
    const std::string library = LibraryPath();
    const size_t slash = library.rfind('/');
    const std::string beside = slash == std::string::npos ? "" : library.substr(0, slash) + "/sage/plugins";
    if (!search.privileged)
      SearchFolder(beside, "beside libsage", &files, folders, &seen);
    else if (folders != nullptr)
      folders->push_back({beside, "beside libsage", "skipped: this process is setuid", true});
    SearchFolder(SAGE_PLUGIN_FOLDER, "compiled-in folder", &files, folders, &seen);
  }
  // The first usable one of a name holds; the copies after it are told so.
  for (size_t i = 0; i < files.size(); ++i) {
    if (!files[i].refused.ok()) continue;
    for (size_t j = 0; j < i && files[i].shadowed_by.empty(); ++j)
      if (files[j].refused.ok() && files[j].shadowed_by.empty() && !strcmp(files[j].table->name, files[i].table->name))
        files[i].shadowed_by = files[j].path;
  }
  return files;
}

}  // namespace sage
