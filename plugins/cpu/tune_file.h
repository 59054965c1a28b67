// tune_file.h: measured choices of tiles, kept in a file from one process to the next.
//
// The file is JSON for whoever wants to look, one choice a line, but only the very text that this writes is read back:
// anything else is damage, and damage means starting anew. Nobody depends on the file: it is not there, not ours, not
// readable, not writable, and everything works as if nothing had been measured, with a sentence for the log.
#ifndef SAGE_PLUGINS_CPU_TUNE_FILE_H_
#define SAGE_PLUGINS_CPU_TUNE_FILE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace sage::cpu {

// One problem class on one machine. Both names are printable ASCII without quotes and backslashes: see TuneName.
struct TunedTiles {
  std::string machine, problem;
  int64_t rows = 0, keys = 0;  // 1 .. kMostTunedTile
  double gain = 1;             // time with the rule's tiles over the time with these, 1 .. 1000
};

constexpr int64_t kMostTunedTile = 1024;
constexpr size_t kMostTuned = 512;             // choices in a file; the oldest go first
constexpr size_t kMostTuneBytes = 512u << 10;  // of a file; kMostTuned of the longest names are fewer
constexpr size_t kMostTuneName = 240;          // bytes of a machine or problem

// text cut to kMostTuneName, with '?' for what the file cannot hold.
std::string TuneName(const std::string& text);

// The choices of all machines, oldest first. Empty, with *note saying why, where there is a file that is not to be
// believed; empty without a note where there is none. Never follows a link, never waits on a pipe.
std::vector<TunedTiles> ReadTuneFile(const std::string& path, std::string* note);

// Puts one choice in, in place of one of the same machine and problem, keeping the others that are there. Makes the
// folders that are missing (mode 0700). The file is replaced as a whole, so a reader sees the old or the new one; of
// two processes that write at once one may win. False, with *note, where it cannot be written: the old file is
// untouched.
bool StoreTuned(const std::string& path, const TunedTiles& choice, std::string* note);

}  // namespace sage::cpu

#endif  // SAGE_PLUGINS_CPU_TUNE_FILE_H_
