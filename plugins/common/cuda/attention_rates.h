// attention_rates.h: how fast each engine of attention is, as rows of a table: what decides between kernels whose
// limits by the roofline are the same.
//
// An engine is the plugin cudnn or a family of the plugin cuda. A table is text, a row a line (kRatesFormat):
//
//   cudnn 90 128 prefill causal 8192 0.602 published
//
// Rates are shares of what the device could do at most (RooflineOf), so that a row holds for every board of the
// architecture: of prefill the share of the peak of 16-bit products on tensor cores, whatever instructions the engine
// itself has, work counted as 2 (d_qk + d_v) for each pair of query and key that causal and windows leave; of decode
// the share of the memory's rate, Q, K, V and O counted once.
// Rows are of 16-bit operands. Of other types, and where no row fits, who asks has an estimate of its own.
//
// One table is shipped (attention_rates_shipped.cc), a file of the user's goes before it. What rows say is believed:
// nothing here measures. bench/run --gpu --rates writes such a file.
#ifndef SAGE_PLUGINS_COMMON_CUDA_ATTENTION_RATES_H_
#define SAGE_PLUGINS_COMMON_CUDA_ATTENTION_RATES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/cuda/attention_arguments.h"
#include "common/cuda/runtime.h"
#include "sage/types.h"

namespace sage::cuda {

inline constexpr char kRatesFormat[] =
    "ENGINE ARCHITECTURE D prefill|decode none|causal|window LENGTH SHARE estimate|published|measured";

// Of operands of 16 bits: up to this many rows of Q that share a row of K and of V, a call reads more than it computes.
inline constexpr int64_t kDecodeClassRows = 64;

enum class QueryClass : uint8_t { kPrefill, kDecode };
// What is hidden. A window hides more than causal does, whichever of both is asked for besides.
enum class MaskClass : uint8_t { kNone, kCausal, kWindow };
enum class RateSource : uint8_t { kEstimate, kPublished, kMeasured };  // the more it counts, the later

QueryClass QueryClassOf(const AttentionArguments& arguments);
MaskClass MaskClassOf(const AttentionArguments& arguments);

struct Rate {
  double share = 0;  // finite, > 0
  RateSource source = RateSource::kEstimate;
  bool of_file = false;
};

struct RateRow {
  std::string engine;
  int architecture = 0;      // 90; of a range, 8x, its first: 80
  bool whole_major = false;  // 8x
  int32_t dim = 0;           // for heads of up to so many dimensions, the larger of Q's and V's
  QueryClass queries = QueryClass::kPrefill;
  MaskClass mask = MaskClass::kNone;
  int32_t length = 0;  // of the keys, of the longest sequence
  Rate rate;

  // One curve over lengths: all but length and rate.
  bool SameCurve(const RateRow& other) const;
};

// Immutable once made, so free-threaded.
class AttentionRates {
 public:
  AttentionRates();  // what is shipped

  // The rate of an engine for a call on such a device; of the arguments no pointer but the cumulative lengths' being
  // null is looked at. Nothing where no row fits.
  //
  // Rows of the architecture itself go before those of its range (8x); among them those of the smallest dimension that
  // is not below the call's. Windows without rows of their own have those of causal, in decode those of none: there
  // causal hides next to nothing, and counts as none. Between two lengths the share is interpolated linearly over the
  // length's logarithm, and its source is the lesser of both rows'; below the first and above the last row it is
  // theirs.
  std::optional<Rate> Find(std::string_view engine, const Properties& device,
                           const AttentionArguments& arguments) const;

  // Where a price comes from, in words that follow "priced by ": "a published rate", "an estimate", "rates of FILE".
  // Valid as long as this table.
  const char* SourceText(const std::optional<Rate>& rate) const;

  const std::vector<RateRow>& rows() const { return rows_; }

 private:
  friend sage_status LoadRates(const std::string& path, AttentionRates* out, sage_error* err);

  std::vector<RateRow> rows_;  // by curves, each by its lengths
  std::string file_text_;      // "rates of rates.txt"
};

// Rows of a table's text. Empty: *rows holds them, sorted. Else what is wrong, beginning with the line's number. No
// text is trusted: every field is checked, two rows of one curve and length are an error.
std::string ParseRates(std::string_view text, std::vector<RateRow>* rows);

// The shipped table with a file's rows in place of its own: a curve that the file has any row of is the file's alone,
// since lengths measured on one board do not continue those of another. On failure *out is as it was and err says which
// line, what is wrong and what is expected. A path is opened as it is given; what is no regular file of at most 64 KiB
// is refused and not read.
sage_status LoadRates(const std::string& path, AttentionRates* out, sage_error* err);

// The table that is shipped, in the format of a file.
std::string_view ShippedRates();

}  // namespace sage::cuda

#endif  // SAGE_PLUGINS_COMMON_CUDA_ATTENTION_RATES_H_
