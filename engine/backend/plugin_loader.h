// plugin_loader.h: where libraries come from, and which are refused and why. Nothing here runs a kernel.
//
// Search order: explicit paths, SAGE_PLUGIN_PATH (secure_getenv), <folder of libsage.so>/sage/plugins, the compiled-in
// folder. Absolute, non-empty entries only; never the working directory, never a path from a model. After realpath:
// a regular file owned by root or the effective user, no group- or world-writable parent (sticky excepted), opened
// once, checked by fstat and loaded through that descriptor, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE. Never unloaded.
#ifndef SAGE_ENGINE_BACKEND_PLUGIN_LOADER_H_
#define SAGE_ENGINE_BACKEND_PLUGIN_LOADER_H_

#include <memory>
#include <string>
#include <vector>

#include "sage/plugin.h"
#include "status.h"

namespace sage {

// One library found, usable or not; describe and doctor print it.
struct PluginFile {
  std::string path;    // as resolved; "built-in" for linked-in plugins
  std::string origin;  // "option", "SAGE_PLUGIN_PATH", "beside libsage", "compiled-in folder", "built-in"
  std::shared_ptr<const sage_plugin> table;  // our own zero-extended copy; null when refused before negotiation
  uint32_t agreed_minor = 0;
  Status refused;           // ok = usable so far
  std::string shadowed_by;  // path of the copy with the same name that was found first; empty = none
  std::string warning;      // a foreign owner of an explicitly named file, and the like
};

// Privileges beyond the caller's (setuid, setgid, capabilities): the kernel's AT_SECURE. Whoever started the process
// then must not choose what it loads: only the compiled-in folder is trusted.
bool ProcessIsPrivileged();

// Where backends may keep what they measured: $XDG_CACHE_HOME/sage-engine or ~/.cache/sage-engine, by secure_getenv.
// Empty where neither is an absolute path of one line, and for a privileged process. Nothing is created.
std::string CacheFolder(bool privileged = ProcessIsPrivileged());

struct PluginSearch {
  std::vector<std::string> explicit_paths;  // --plugin, sage_engine_load_plugin
  bool use_environment = true;
  bool use_default_folders = true;
  bool privileged = ProcessIsPrivileged();
};

// A folder that was looked into (or not: the reason), for doctor.
struct PluginFolder {
  std::string path, origin, note;
  bool skipped = false;  // it is there, or somebody named it, and it was not searched: the note says why
};

// Everything found, in search order. Never fails: each file carries its own refusal.
std::vector<PluginFile> FindPlugins(const PluginSearch& search, std::vector<PluginFolder>* folders);
// One file by absolute path. privileged: one that was named explicitly is refused.
PluginFile LoadPluginFile(const std::string& path, const std::string& origin, bool explicitly_named,
                          bool privileged = ProcessIsPrivileged());
// The rules of version, sizes and null entries for a table however it was got. Copies what the agreed minor knows.
Status NegotiatePlugin(sage_plugin_query_fn query, const std::string& path, PluginFile* out);

// The file this code was loaded from: libsage.so, or the program it is linked into.
std::string LibraryPath();

}  // namespace sage

#endif  // SAGE_ENGINE_BACKEND_PLUGIN_LOADER_H_
