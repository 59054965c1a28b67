// dynamic_library.h: a library that is found and loaded when the plugin runs, as a struct of its functions.
//
// Never linked: half a gigabyte that most processes do without, and that a machine may lack. Never unloaded: such
// libraries register kernels with the driver, which outlive any owner.
#ifndef SAGE_PLUGINS_COMMON_CUDA_DYNAMIC_LIBRARY_H_
#define SAGE_PLUGINS_COMMON_CUDA_DYNAMIC_LIBRARY_H_

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace sage::cuda {

// A function of the library and where in the struct its pointer belongs.
struct FunctionAt {
  const char* name;
  size_t offset;
};

// Loads the file and fills every function of table. False: *why is a sentence, with the loader's own words, or *missing
// the first function that it does not have. Free-threaded.
bool OpenLibrary(const std::string& file, std::span<const FunctionAt> functions, void* table, const char** missing,
                 std::string* why);

// What was given as the library's place: a folder is one that holds `file`.
std::string FileIn(const std::string& path, const std::string& file);

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_COMMON_CUDA_DYNAMIC_LIBRARY_H_
