// tick_stream.h: ticks in, decisions out, for a file, a pipe or the live view alike: one line each, the state kept in
// the session, snapshots written as asked, latencies measured out here since the engine reads no clock.
#ifndef SAGE_TOOLS_TICK_STREAM_H_
#define SAGE_TOOLS_TICK_STREAM_H_

#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>
#include <vector>

#include "api.h"

namespace sage::tool {

struct StreamFlags {
  std::string snapshot, restore;
  uint64_t snapshot_every = 0;
  bool restore_anyway = false;
  bool timing = false;  // adds duration_ms and late, which differ from run to run
  bool strict = false;  // the first bad tick ends the stream
};

class TickStream {
 public:
  // session: of a SAGE graph; outlives this. max_latency_ms: 0 = none (for `late`).
  TickStream(sage_session* session, const StreamFlags& flags, double max_latency_ms);

  void Restore();
  // One line, without newline. Returns the record (valid until the next call); bad() says whether it is an error
  // record.
  std::string_view Tick(std::string_view line);
  bool bad() const { return bad_; }
  const std::string& error() const { return error_; }
  void SnapshotIfDue();  // every n ticks
  void SnapshotAtEnd();

  uint64_t ticks() const { return latencies_seen_; }
  uint64_t bad_ticks() const { return bad_ticks_; }
  // Of the ticks so far (the last 65536 of them), in nanoseconds; 0 when there was none.
  double Percentile(double p) const;

 private:
  void WriteSnapshot();
  sage_session* session_;
  StreamFlags flags_;
  double max_latency_ms_;
  std::vector<char> buffer_;
  std::string record_, error_;
  bool bad_ = false;
  uint64_t bad_ticks_ = 0, latencies_seen_ = 0, since_snapshot_ = 0;
  std::vector<uint32_t> latencies_;  // ring, ns, saturated at 4 s
};

// Reads lines of at most 16 MiB from a file descriptor without copying more than once.
class LineReader {
 public:
  static constexpr size_t kMaxLine = 16u << 20;
  explicit LineReader(int descriptor) : descriptor_(descriptor) {}
  enum class Kind { kLine, kTooLong, kEnd, kFailed };
  // *line is valid until the next call. kTooLong: its first kMaxLine + 1 bytes; the rest was skipped. kEnd also on an
  // interrupt. kFailed: errno says why.
  Kind Next(std::string_view* line);
  uint64_t bytes() const { return bytes_; }  // read so far

 private:
  bool Fill();
  Kind SkipLine(std::string_view* line);
  int descriptor_;
  std::string data_, beginning_;  // beginning_: of a line that is too long
  size_t begin_ = 0;
  uint64_t bytes_ = 0;
  bool end_ = false, failed_ = false;
};

}  // namespace sage::tool

#endif  // SAGE_TOOLS_TICK_STREAM_H_
