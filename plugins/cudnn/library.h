// library.h: cuDNN found, checked and loaded when the plugin runs.
#ifndef SAGE_PLUGINS_CUDNN_LIBRARY_H_
#define SAGE_PLUGINS_CUDNN_LIBRARY_H_

#include <string>
#include <string_view>
#include <vector>

#include "api.h"

namespace sage::cudnn {

// Where it is looked for, in order. path (optional): a file, or a folder that holds it, and then nowhere else.
std::vector<std::string> Candidates(const std::string& path);

// Opens the first candidate that is there, has every function and is a version that this build can use. False: *why is
// the sentence, with the loader's own words. Milliseconds: of the library's 490 MB it loads what it is asked to do,
// and this asks for its version alone. Free-threaded.
bool Load(const std::string& path, Library* out, std::string* why);

// Null: nothing is known against this version. Else why it is not used at all, in words that follow "cuDNN x.y.z ".
const char* VersionRefusal(size_t version);

// What the library says of the calling thread's last error, which it then forgets: its gist.
std::string LastError(const Library& library);
// The first reason of each engine instead of the list of functions that it went through; else the first line.
std::string GistOf(std::string_view said);

// "CUDNN_STATUS_NOT_SUPPORTED_SHAPE (3002): ...", with what the library has to say besides, of the calling thread's
// last error.
std::string StatusText(const Library& library, int status);

}  // namespace sage::cudnn

#endif  // SAGE_PLUGINS_CUDNN_LIBRARY_H_
