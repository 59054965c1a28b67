// files.h: reading and writing whole files, with the errors a person can act on. No parsing, no formats.
#ifndef SAGE_TOOLS_FILES_H_
#define SAGE_TOOLS_FILES_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace sage::tool {

// A descriptor to read from; "-" = stdin, which is not to be closed. Failure(kExitBadFile) naming the file and the
// system's reason; a folder is refused here and not at the first read.
int OpenToRead(const std::string& path);
void CloseRead(int descriptor);  // leaves stdin open
// Bytes of a regular file, 0 of anything else.
uint64_t SizeOfFile(int descriptor);
// How messages call it: "stdin" for "-".
std::string Shown(const std::string& path);

// The engine takes absolute paths only; a person at a shell may write any. Failure(kExitBadFile) where nothing is
// there.
std::string AbsolutePath(const std::string& path);

// Whole file; "-" = stdin. Failure(kExitBadFile) naming the file, the system's reason, and the limit where it is above.
// Reading stops once the content cannot begin with `magic`: what is no such file is not read to its end.
std::string ReadFile(const std::string& path, uint64_t limit_bytes, std::string_view magic = {});

// Whether the brackets of a JSON text nest deeper than `limit`; those in strings do not count. nlohmann's writer
// recurses, so what comes from outside is asked this before it is parsed to be written again.
bool NestsDeeper(std::string_view json, size_t limit);

// Temporary file beside it, synced, renamed: the old content or the new, never half. Through a symbolic link to what it
// names. What is no regular file (a device, a pipe) is written into and never replaced.
void WriteFileAtomically(const std::string& path, const std::string& bytes);
// Whether WriteFileAtomically has a chance, asked before long work: Failure(kExitBadFile) if not.
void RequireWritable(const std::string& path);

}  // namespace sage::tool

#endif  // SAGE_TOOLS_FILES_H_
