// plugin_file.h: may this file be loaded? Who owns it, and who could swap it. (What is in it: shared_object.h.)
//
// Everything is asked of one open descriptor, and the library is then loaded through that same descriptor, so that what
// was checked is what runs. This is no sandbox: a plugin that passes runs with all rights of the process.
#ifndef SAGE_ENGINE_BACKEND_PLUGIN_FILE_H_
#define SAGE_ENGINE_BACKEND_PLUGIN_FILE_H_

#include <sys/types.h>

#include <string>

#include "descriptor.h"
#include "status.h"

namespace sage {

struct CheckedFile {
  std::string path;  // resolved: absolute, no links
  Descriptor descriptor;
  std::string warning;  // an explicitly named file of another user; empty = none
};

// Opens `path` if it is absolute and, resolved, a regular file of root or the effective user that nobody else can
// write, in folders that nobody else can write (sticky ones excepted). A private group is nobody else.
// explicitly_named: a foreign owner is then a warning, the caller has said what they want.
Result<CheckedFile> OpenPluginFile(const std::string& path, bool explicitly_named);

// dlopen through the descriptor: RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE. The text of dlerror is kept in the status.
Result<void*> LoadDescriptor(int descriptor, const std::string& path);

// A user's own group: their first one, of their name, with no other member. Not root's, and false for whom the system
// does not know.
bool IsPrivateGroup(uid_t user, gid_t group);

// Of a folder that is about to be searched: empty, or why it is not ("group- or world-writable: /a/b").
std::string FolderRefusal(const std::string& resolved_folder);

}  // namespace sage

#endif  // SAGE_ENGINE_BACKEND_PLUGIN_FILE_H_
