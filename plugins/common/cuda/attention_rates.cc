// attention_rates.cc: finding a rate in a table; reading a table's text and files.
#include "common/cuda/attention_rates.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <iterator>
#include <span>
#include <tuple>

#include "sage/support/refuse.h"

namespace sage::cuda {
namespace {

constexpr std::string_view kEngines[] = {"cudnn",         "cuda.plain", "cuda.small", "cuda.decode",
                                         "cuda.portable", "cuda.int8",  "cuda.hopper"};
constexpr std::string_view kQueries[] = {"prefill", "decode"};
constexpr std::string_view kMasks[] = {"none", "causal", "window"};
constexpr std::string_view kSources[] = {"estimate", "published", "measured"};

// A table of every engine, architecture and dimension is some hundred lines.
constexpr size_t kMostBytes = 64 << 10;
// A larger share is another unit. 8-bit products are twice the peak of 16 bits, and a device may clock higher than it
// says.
constexpr double kMostShare = 4;
constexpr int32_t kMostDim = 1 << 16, kMostLength = 1 << 28;

std::string Listed(std::span<const std::string_view> names) {
  std::string all;
  for (const std::string_view name : names) all += (all.empty() ? "" : ", ") + std::string(name);
  return all;
}

// Of a file that nobody has vouched for, in a sentence.
std::string Quoted(std::string_view text) {
  constexpr size_t kMost = 40;
  std::string out = "\"";
  for (const char c : text.substr(0, kMost)) out += c >= ' ' && c <= '~' ? c : '?';
  return out + (text.size() > kMost ? "...\"" : "\"");
}

constexpr std::string_view kSpaces = " \t\r";

std::string_view NextWord(std::string_view* line) {
  line->remove_prefix(std::min(line->find_first_not_of(kSpaces), line->size()));
  const std::string_view word = line->substr(0, line->find_first_of(kSpaces));
  line->remove_prefix(word.size());
  return word;
}

// -1: none of them.
int IndexOf(std::string_view word, std::span<const std::string_view> names) {
  const auto found = std::find(names.begin(), names.end(), word);
  return found == names.end() ? -1 : static_cast<int>(found - names.begin());
}

template <class Number>
bool ReadNumber(std::string_view word, Number* out) {
  const auto [end, wrong] = std::from_chars(word.data(), word.data() + word.size(), *out);
  return wrong == std::errc() && end == word.data() + word.size();
}

bool ReadWhole(std::string_view word, int32_t most, int32_t* out) {
  return ReadNumber(word, out) && *out >= 1 && *out <= most;
}

// "90", "103", "8x", "12x".
bool ReadArchitecture(std::string_view word, RateRow* row) {
  row->whole_major = !word.empty() && word.back() == 'x';
  if (row->whole_major) word.remove_suffix(1);
  int32_t number = 0;
  if (!ReadWhole(word, 999, &number) || word.front() == '0') return false;
  row->architecture = row->whole_major ? number * 10 : number;
  return row->architecture >= 10 && row->architecture <= 999;
}

std::string Unlike(const char* what, std::string_view given, const std::string& expected) {
  return std::string(what) + " is " + Quoted(given) + ", expected " + expected;
}

std::string ParseRow(std::string_view line, RateRow* row) {
  std::string_view words[8];
  for (std::string_view& word : words) {
    word = NextWord(&line);
    if (word.empty()) return "fields are missing, expected: " + std::string(kRatesFormat);
  }
  if (const std::string_view more = NextWord(&line); !more.empty())
    return Quoted(more) + " is one field too many, expected: " + std::string(kRatesFormat);
  if (IndexOf(words[0], kEngines) < 0) return Unlike("the engine", words[0], "one of: " + Listed(kEngines));
  row->engine = words[0];
  if (!ReadArchitecture(words[1], row))
    return Unlike("the architecture", words[1], "one as 90, or all of a major number as 8x");
  if (!ReadWhole(words[2], kMostDim, &row->dim))
    return Unlike("the dimension", words[2], "1 to " + std::to_string(kMostDim));
  const int queries = IndexOf(words[3], kQueries), mask = IndexOf(words[4], kMasks);
  if (queries < 0) return Unlike("the class of queries", words[3], "one of: " + Listed(kQueries));
  if (mask < 0) return Unlike("the mask", words[4], "one of: " + Listed(kMasks));
  row->queries = static_cast<QueryClass>(queries), row->mask = static_cast<MaskClass>(mask);
  if (row->queries == QueryClass::kDecode && row->mask == MaskClass::kCausal)
    return "decode has masks none and window: causal hides next to nothing from few queries, and is priced as none";
  if (!ReadWhole(words[5], kMostLength, &row->length))
    return Unlike("the length", words[5], "1 to " + std::to_string(kMostLength));
  double& share = row->rate.share;
  if (!ReadNumber(words[6], &share) || !std::isfinite(share) || share <= 0 || share > kMostShare)
    return Unlike("the share", words[6], "a share of the device's peak, above 0 and at most 4");
  const int source = IndexOf(words[7], kSources);
  if (source < 0) return Unlike("the source", words[7], "one of: " + Listed(kSources));
  row->rate.source = static_cast<RateSource>(source);
  return "";
}

auto CurveOf(const RateRow& row) {
  return std::tuple(std::string_view(row.engine), row.whole_major, row.architecture, row.queries, row.mask, row.dim);
}

bool Before(const RateRow& a, const RateRow& b) {
  return std::tuple_cat(CurveOf(a), std::tuple(a.length)) < std::tuple_cat(CurveOf(b), std::tuple(b.length));
}

// Rows are of one curve, by their lengths.
Rate At(std::span<const RateRow> curve, int32_t length) {
  if (length <= curve.front().length) return curve.front().rate;
  if (length >= curve.back().length) return curve.back().rate;
  const auto above = std::find_if(curve.begin(), curve.end(), [&](const RateRow& row) { return row.length >= length; });
  const RateRow &low = *(above - 1), &high = *above;
  if (high.length == length) return high.rate;
  const double part =
      std::log(static_cast<double>(length) / low.length) / std::log(static_cast<double>(high.length) / low.length);
  Rate rate = low.rate;
  rate.share += part * (high.rate.share - low.rate.share);
  rate.source = std::min(low.rate.source, high.rate.source);
  return rate;
}

// Of all rows, sorted, those of the smallest dimension that is enough. Empty: none.
std::span<const RateRow> CurveFor(std::span<const RateRow> rows, const RateRow& wanted) {
  const auto fits = [&](const RateRow& row) {
    return row.engine == wanted.engine && row.whole_major == wanted.whole_major &&
           row.architecture == wanted.architecture && row.queries == wanted.queries && row.mask == wanted.mask &&
           row.dim >= wanted.dim;
  };
  const auto first = std::find_if(rows.begin(), rows.end(), fits);
  if (first == rows.end()) return {};
  const auto end = std::find_if(first, rows.end(), [&](const RateRow& row) { return !row.SameCurve(*first); });
  return {first, end};
}

class File {
 public:
  // Not blocked by a pipe that nobody writes to.
  explicit File(const std::string& path) : descriptor_(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC)) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (descriptor_ >= 0) close(descriptor_);
  }
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

sage_status FailIo(sage_error* err, const std::string& path, int number) {
  char buffer[128];
  sage_error mine{};
  mine.struct_size = static_cast<uint32_t>(sizeof mine);
  mine.status = number == ENOENT ? SAGE_E_NOT_FOUND : SAGE_E_IO;
  mine.native_code = number;
  std::snprintf(mine.message, sizeof mine.message,
                "create: rates is \"%.200s\", which cannot be read (%s); expected a file of rates", path.c_str(),
                strerror_r(number, buffer, sizeof buffer));
  if (err != nullptr) sage_give_out(err, &mine, static_cast<uint32_t>(sizeof mine));
  return mine.status;
}

}  // namespace

QueryClass QueryClassOf(const AttentionArguments& a) {
  const int64_t sharing = a.heads_k > 0 ? std::max(a.heads_q / a.heads_k, 1) : 1;
  return a.seq_q * sharing <= kDecodeClassRows ? QueryClass::kDecode : QueryClass::kPrefill;
}

MaskClass MaskClassOf(const AttentionArguments& a) {
  // A window as wide as the keys hides nothing.
  const auto hides = [&](int64_t window) { return window >= 0 && window < int64_t{a.seq_kv} - 1; };
  if (hides(a.window_left) || (!a.causal && hides(a.window_right))) return MaskClass::kWindow;
  return a.causal ? MaskClass::kCausal : MaskClass::kNone;
}

bool RateRow::SameCurve(const RateRow& other) const { return CurveOf(*this) == CurveOf(other); }

std::string ParseRates(std::string_view text, std::vector<RateRow>* rows) {
  std::vector<std::pair<RateRow, int>> found;
  for (int number = 1; !text.empty(); ++number) {
    std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    line = line.substr(0, line.find('#'));
    if (line.find_first_not_of(kSpaces) == std::string_view::npos) continue;
    RateRow row;
    if (const std::string wrong = ParseRow(line, &row); !wrong.empty())
      return "line " + std::to_string(number) + ": " + wrong;
    found.emplace_back(std::move(row), number);
  }
  std::stable_sort(found.begin(), found.end(), [](const auto& a, const auto& b) { return Before(a.first, b.first); });
  for (size_t i = 1; i < found.size(); ++i)
    if (!Before(found[i - 1].first, found[i].first))
      return "line " + std::to_string(found[i].second) + ": line " + std::to_string(found[i - 1].second) +
             " has a rate of the same engine, architecture, dimension, classes and length; expected one of each";
  if (found.empty()) return "line 1: there is no row in it, expected: " + std::string(kRatesFormat);
  rows->clear();
  for (auto& [row, number] : found) rows->push_back(std::move(row));
  return "";
}

AttentionRates::AttentionRates() {
  // A test holds that it can be read; a build in which it cannot has estimates.
  (void)ParseRates(ShippedRates(), &rows_);
}

std::optional<Rate> AttentionRates::Find(std::string_view engine, const Properties& device,
                                         const AttentionArguments& arguments) const {
  if (arguments.type != AttentionType::kF16 && arguments.type != AttentionType::kBf16) return std::nullopt;
  RateRow wanted;
  wanted.engine = engine;
  wanted.dim = std::max(arguments.dim_qk, arguments.dim_v);
  wanted.queries = QueryClassOf(arguments);
  const bool decode = wanted.queries == QueryClass::kDecode;
  MaskClass mask = MaskClassOf(arguments);
  if (decode && mask == MaskClass::kCausal) mask = MaskClass::kNone;
  const MaskClass instead = mask != MaskClass::kWindow ? mask : decode ? MaskClass::kNone : MaskClass::kCausal;
  for (const MaskClass hidden : {mask, instead})
    for (const bool whole_major : {false, true}) {
      wanted.mask = hidden, wanted.whole_major = whole_major;
      wanted.architecture = device.major * 10 + (whole_major ? 0 : device.minor);
      if (const auto curve = CurveFor(rows_, wanted); !curve.empty()) return At(curve, arguments.seq_kv);
    }
  return std::nullopt;
}

const char* AttentionRates::SourceText(const std::optional<Rate>& rate) const {
  if (!rate.has_value()) return "an estimate";
  if (rate->of_file) return file_text_.c_str();
  constexpr const char* kTexts[] = {"an estimate", "a published rate", "a measured rate"};
  return kTexts[static_cast<size_t>(rate->source)];
}

sage_status LoadRates(const std::string& path, AttentionRates* out, sage_error* err) {
  if (path.empty()) return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "create: rates is empty, expected a file of rates");
  const File file(path);
  struct stat status {};
  if (file.get() < 0 || fstat(file.get(), &status) != 0) return FailIo(err, path, errno);
  if (!S_ISREG(status.st_mode))
    return sage_fail(err, SAGE_E_INVALID_ARGUMENT,
                     "create: rates is \"%.200s\", which is no regular file; expected a file of rates", path.c_str());
  std::string text(kMostBytes + 1, '\0');
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t got = read(file.get(), text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return FailIo(err, path, errno);
    if (got == 0) break;
    size += static_cast<size_t>(got);
  }
  if (size > kMostBytes)
    return sage_fail(
        err, SAGE_E_INVALID_ARGUMENT,
        "create: rates is \"%.200s\", which has more than %zu bytes; expected a file of rates, a row a line",
        path.c_str(), kMostBytes);
  text.resize(size);
  std::vector<RateRow> rows;
  if (const std::string wrong = ParseRates(text, &rows); !wrong.empty())
    return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "create: rates is \"%.120s\": %s", path.c_str(), wrong.c_str());
  AttentionRates made;
  std::erase_if(made.rows_, [&](const RateRow& shipped) {
    return std::any_of(rows.begin(), rows.end(), [&](const RateRow& row) { return row.SameCurve(shipped); });
  });
  for (RateRow& row : rows) {
    row.rate.of_file = true;
    made.rows_.push_back(std::move(row));
  }
  std::sort(made.rows_.begin(), made.rows_.end(), Before);
  // An answer's reason has 240 bytes; a path's end says more than its beginning.
  constexpr size_t kMostPath = 60;
  made.file_text_ = "rates of " + (path.size() <= kMostPath ? path : "..." + path.substr(path.size() - kMostPath));
  *out = std::move(made);
  return SAGE_OK;
}

}  // namespace sage::cuda
