// tick_stream.cc: see tick_stream.h.
#include "tick_stream.h"

#include <fmt/format.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <iterator>
#include <nlohmann/json.hpp>

#include "common.h"
#include "output.h"

namespace sage::tool {
namespace {

constexpr size_t kRing = 65536;
constexpr uint64_t kMaxSnapshot = 64ull << 20;
constexpr size_t kMaxDepth = 32;  // of a snapshot, as the engine's reader has it

uint64_t Now() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000000000ull + static_cast<uint64_t>(t.tv_nsec);
}

}  // namespace

TickStream::TickStream(sage_session* session, const StreamFlags& flags, double max_latency_ms)
    : session_(session), flags_(flags), max_latency_ms_(max_latency_ms), buffer_(4096) {}

std::string_view TickStream::Tick(std::string_view line) {
  Error error;
  const uint64_t begin = Now();
  const sage_status status = sage_session_tick(session_, line.data(), line.size(), &error);
  const uint64_t duration = Now() - begin;
  if (status != SAGE_OK && status != SAGE_E_BAD_DATA) Require(status, error, "tick");
  bad_ = status == SAGE_E_BAD_DATA;
  if (bad_) error_ = error.message, ++bad_ticks_;

  Error read_error;
  uint64_t needed = 0;
  sage_status read = sage_session_decision(session_, buffer_.data(), buffer_.size(), &needed, &read_error);
  if (read == SAGE_E_BUFFER_TOO_SMALL) {
    buffer_.resize(needed + needed / 2);
    read = sage_session_decision(session_, buffer_.data(), buffer_.size(), &needed, &read_error);
  }
  Require(read, read_error, "decision");
  record_.assign(buffer_.data(), needed == 0 ? 0 : needed - 1);

  const auto clipped = static_cast<uint32_t>(std::min<uint64_t>(duration, UINT32_MAX));
  if (latencies_.size() < kRing)
    latencies_.push_back(clipped);
  else
    latencies_[latencies_seen_ % kRing] = clipped;
  ++latencies_seen_;
  if (flags_.timing && !bad_ && !record_.empty() && record_.back() == '}') {
    const double milliseconds = static_cast<double>(duration) / 1e6;
    record_.pop_back();
    fmt::format_to(std::back_inserter(record_), ",\"duration_ms\":{}", milliseconds);
    if (max_latency_ms_ > 0) record_ += milliseconds > max_latency_ms_ ? ",\"late\":true" : ",\"late\":false";
    record_ += '}';
  }
  return record_;
}

void TickStream::SnapshotIfDue() {
  if (flags_.snapshot.empty() || flags_.snapshot_every == 0) return;
  if (++since_snapshot_ >= flags_.snapshot_every) WriteSnapshot(), since_snapshot_ = 0;
}

void TickStream::SnapshotAtEnd() {
  if (!flags_.snapshot.empty()) WriteSnapshot();
}

void TickStream::WriteSnapshot() {
  Error error;
  uint64_t needed = 0;
  Require(sage_session_snapshot(session_, nullptr, 0, &needed, &error), error, "snapshot");
  std::string bytes(needed, '\0');
  Require(sage_session_snapshot(session_, bytes.data(), bytes.size(), &needed, &error), error, "snapshot");
  bytes.resize(needed);
  WriteFileAtomically(flags_.snapshot, bytes);
}

void TickStream::Restore() {
  if (flags_.restore.empty()) return;
  std::string bytes = ReadFile(flags_.restore, kMaxSnapshot);
  if (bytes.empty())
    throw Failure(kExitBadFile, fmt::format("--restore {}: an empty file, not a snapshot", flags_.restore));
  Error error;
  sage_status status = sage_session_restore(session_, bytes.data(), bytes.size(), &error);
  if (status != SAGE_OK && flags_.restore_anyway && !NestsDeeper(bytes, kMaxDepth)) {
    // Only the tie to the model is loosened; version, kind and every value are still checked.
    nlohmann::json snapshot = nlohmann::json::parse(bytes, nullptr, false);
    uint64_t needed = 0;
    Error own_error;
    Require(sage_session_snapshot(session_, nullptr, 0, &needed, &own_error), own_error, "snapshot");
    std::string own(needed, '\0');
    Require(sage_session_snapshot(session_, own.data(), own.size(), &needed, &own_error), own_error, "snapshot");
    const nlohmann::json mine = nlohmann::json::parse(own, nullptr, false);
    if (snapshot.is_object() && mine.is_object() && snapshot.contains("model_sha256") &&
        mine.contains("model_sha256") && snapshot["model_sha256"] != mine["model_sha256"]) {
      snapshot["model_sha256"] = mine["model_sha256"];
      bytes = JsonText(snapshot);
      status = sage_session_restore(session_, bytes.data(), bytes.size(), &error);
      if (status == SAGE_OK)
        fmt::print(stderr, "sage-engine: {}: of another model; its state was taken over as asked\n", flags_.restore);
    }
  }
  Require(status, error, "--restore " + flags_.restore);
}

double TickStream::Percentile(double p) const {
  if (latencies_.empty()) return 0;
  std::vector<uint32_t> sorted = latencies_;
  const auto rank = static_cast<size_t>(std::ceil(p / 100 * static_cast<double>(sorted.size())));
  const size_t index = std::min(sorted.size() - 1, rank == 0 ? 0 : rank - 1);
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(index), sorted.end());
  return static_cast<double>(sorted[index]);
}

bool LineReader::Fill() {
  if (end_) return false;
  if (begin_ > 0) data_.erase(0, begin_), begin_ = 0;
  char chunk[65536];
  while (true) {
    const ssize_t count = read(descriptor_, chunk, sizeof chunk);
    if (count > 0) {
      bytes_ += static_cast<uint64_t>(count);
      data_.append(chunk, static_cast<size_t>(count));
      return true;
    }
    if (count < 0 && errno == EINTR && !Interrupted()) continue;
    failed_ = count < 0 && errno != EINTR;
    end_ = true;
    return false;
  }
}

// What is buffered is the beginning of a line beyond the limit: it is kept, the rest is read and dropped.
LineReader::Kind LineReader::SkipLine(std::string_view* line) {
  beginning_.assign(data_, begin_, kMaxLine + 1);
  while (true) {
    const size_t newline = data_.find('\n', begin_);
    if (newline != std::string::npos) {
      begin_ = newline + 1;
      break;
    }
    begin_ = data_.size();
    if (Fill()) continue;
    if (failed_) return Kind::kFailed;
    if (Interrupted()) return Kind::kEnd;
    break;
  }
  *line = beginning_;
  return Kind::kTooLong;
}

LineReader::Kind LineReader::Next(std::string_view* line) {
  size_t searched = begin_;
  while (true) {
    const size_t newline = data_.find('\n', searched);
    if (std::min(newline, data_.size()) - begin_ > kMaxLine) return SkipLine(line);
    if (newline != std::string::npos) {
      *line = std::string_view(data_).substr(begin_, newline - begin_);
      begin_ = newline + 1;
      return Kind::kLine;
    }
    const size_t kept = data_.size() - begin_;
    if (!Fill()) {
      if (failed_) return Kind::kFailed;
      if (Interrupted() || kept == 0) return Kind::kEnd;
      *line = std::string_view(data_).substr(begin_);  // the last line needs no newline
      begin_ = data_.size();
      return Kind::kLine;
    }
    searched = begin_ + kept;
  }
}

}  // namespace sage::tool
