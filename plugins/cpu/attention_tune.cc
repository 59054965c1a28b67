// attention_tune.cc: see attention_tune.h.
#include "attention_tune.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <ctime>

#include "backend.h"
#include "sage/support/check_op.h"

namespace sage::cpu {
namespace {

// What is less is noise, and the rule is as good.
constexpr double kLeastGain = 1.03;

double Now() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

int64_t RowGroup(const AttentionDesign& design) {
  return design.wide ? design.kernels_f64->row_group : design.kernels_f32->row_group;
}

uint64_t PowerOfTwo(int64_t length) { return std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(length, 1))); }

sage_status Refuse(std::string_view key, std::string_view value, const char* accepted, sage_error* err) {
  return sage_fail(err, SAGE_E_INVALID_ARGUMENT, "%.*s is \"%.*s\", expected %s", static_cast<int>(key.size()),
                   key.data(), static_cast<int>(std::min<size_t>(value.size(), 64)), value.data(), accepted);
}

}  // namespace

sage_status TuneOptions::Read(std::string_view key, std::string_view value, bool* known, sage_error* err) {
  *known = true;
  if (key == "tune") {
    if (value != "off" && value != "cached" && value != "measure")
      return Refuse(key, value, "off, cached or measure", err);
    mode = value == "off" ? Mode::kOff : value == "cached" ? Mode::kCached : Mode::kMeasure;
  } else if (key == "tune_ms") {
    const auto [stop, error] = std::from_chars(value.data(), value.data() + value.size(), budget_ms);
    if (error != std::errc() || stop != value.data() + value.size() || budget_ms < 0 || budget_ms > 60'000)
      return Refuse(key, value, "a whole number of milliseconds from 0 to 60000", err);
  } else if (key == "tune_keys") {
    if (value != "0" && value != "1") return Refuse(key, value, "0 or 1", err);
    keys = value == "1";
  } else if (key == "tune_file") {
    if (!value.empty() && (value[0] != '/' || value.back() == '/'))
      return Refuse(key, value, "an absolute path of a file, or nothing for none", err);
    file = value;
  } else {
    *known = false;
  }
  return SAGE_OK;
}

std::string MachineName(const CpuFeatures& features, Isa isa, uint32_t workers) {
  return TuneName(CpuModel() + ", L1 " + std::to_string(features.l1_data_bytes) + ", L2 " +
                  std::to_string(features.l2_bytes) + ", " + IsaName(isa) + ", " + std::to_string(workers) +
                  (workers == 1 ? " thread" : " threads") + ", cpu " + kVersion);
}

bool TimeCandidates(size_t count, double budget_ns, const std::function<double()>& clock,
                    const std::function<bool(size_t)>& run, std::vector<double>* least) {
  constexpr int kMostTurns = 60;
  std::vector<double> last(count, 0);
  least->assign(count, 0);
  const double begin = clock();
  for (int turn = -1; turn < kMostTurns; ++turn) {  // -1 warms up
    for (size_t step = 0; step < count; ++step) {
      const size_t i = turn % 2 == 0 ? step : count - 1 - step;
      const double start = clock();
      if (start - begin + last[i] > budget_ns || budget_ns <= 0) return turn >= kLeastTurns;
      if (!run(i)) return false;
      const double spent = clock() - start;
      last[i] = spent;
      if (turn == 0 || (turn > 0 && spent < (*least)[i])) (*least)[i] = spent;
    }
  }
  return true;
}

AttentionTuner::AttentionTuner(const sage_host* host, const TuneOptions& options, const std::string& machine)
    : host_(host), options_(options), machine_(machine) {
  if (options_.mode == TuneOptions::Mode::kOff || options_.file.empty()) return;
  std::string note;
  size_t others = 0;
  for (TunedTiles& choice : ReadTuneFile(options_.file, &note)) {
    if (choice.machine == machine_)
      known_.insert_or_assign(std::move(choice.problem), TileChoice{{choice.rows, choice.keys}, choice.gain});
    else
      ++others;
  }
  if (!note.empty()) Log(SAGE_LOG_WARNING, note);
  if (others > 0)
    Log(SAGE_LOG_INFO, "tuned tiles: " + options_.file + ": " + std::to_string(others) +
                           " choices are of other machines, threads or builds than \"" + machine_ +
                           "\" and are left alone");
}

void AttentionTuner::Log(int32_t level, const std::string& text) const {
  if (level <= host_->log_level(host_->self)) host_->log(host_->self, level, text.data(), text.size());
}

bool AttentionTuner::VariesKeys(const AttentionDesign& rule) const {
  return options_.keys && (rule.view->op.requirements & SAGE_REQUIRE_DETERMINISTIC) == 0;
}

std::string AttentionTuner::ProblemClass(const AttentionDesign& rule) const {
  const AttentionSizes& sizes = rule.bounds;
  const OpView& view = *rule.view;
  std::string name = std::string("attention ") + support::DtypeName(view.Slot(SAGE_ATTN_Q).dtype) + "/" +
                     support::DtypeName(view.Slot(SAGE_ATTN_K).dtype) + "/" +
                     support::DtypeName(view.Slot(SAGE_ATTN_V).dtype) + " by " + IsaName(rule.isa) + " " +
                     rule.arithmetic;
  const auto add = [&](const char* what, uint64_t value) { name += std::string(", ") + what + std::to_string(value); };
  add("d", static_cast<uint64_t>(sizes.dim_qk));
  add("dv", static_cast<uint64_t>(sizes.dim_v));
  add("group", static_cast<uint64_t>(sizes.group));
  add("q", PowerOfTwo(rule.longest_q));
  add("kv", PowerOfTwo(rule.longest_kv));
  const sage_attention_attributes& attributes = view.attributes.attention;
  if ((rule.features & SAGE_ATTN_F_CAUSAL) != 0) name += ", causal";
  if ((rule.features & SAGE_ATTN_F_WINDOW_LEFT) != 0) add("left", PowerOfTwo(attributes.window_left));
  if ((rule.features & SAGE_ATTN_F_WINDOW_RIGHT) != 0) add("right", PowerOfTwo(attributes.window_right));
  if ((rule.features & SAGE_ATTN_F_SOFTCAP) != 0) name += ", softcap";
  if (VariesKeys(rule)) name += ", keys vary";
  return TuneName(name);
}

std::vector<TileSize> AttentionTuner::Candidates(const AttentionDesign& rule) const {
  const sage_attention_attributes& attributes = rule.view->attributes.attention;
  if (rule.materialised || attributes.block_q != 0 || attributes.block_kv != 0) return {};
  // What a sparse mask leaves depends on the tiles, and no stand-in has that mask.
  if ((rule.features & (SAGE_ATTN_F_BLOCK_MASK | SAGE_ATTN_F_CSR_MASK)) != 0) return {};
  const double all_rows = static_cast<double>(rule.longest_q) * static_cast<double>(rule.bounds.group);
  const auto same = [&](const TileSize& a, const TileSize& b) {  // for this problem
    const auto rows = [&](const TileSize& size) { return std::min(static_cast<double>(size.rows), all_rows); };
    return rows(a) == rows(b) && a.keys == b.keys;
  };
  std::vector<TileSize> tiles = {{rule.tile_rows, rule.tile_keys}};
  const auto add = [&](int64_t rows, int64_t keys) {
    const TileSize size{rows / RowGroup(rule) * RowGroup(rule), std::min(keys, rule.longest_kv)};
    if (size.rows > 0 && size.keys > 0 &&
        std::none_of(tiles.begin(), tiles.end(), [&](const TileSize& other) { return same(size, other); }))
      tiles.push_back(size);
  };
  for (const int64_t rows : {48, 96, 144, 192, 288, 384}) {
    add(rows, rule.tile_keys);
    if (!VariesKeys(rule)) continue;
    for (const int64_t keys : {64, 128, 256, 512}) add(rows, keys);
  }
  if (tiles.size() < 2) return {};
  return tiles;
}

std::optional<TileChoice> AttentionTuner::Find(const AttentionDesign& rule) const {
  const std::string problem = ProblemClass(rule);
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto found = known_.find(problem);
  if (found == known_.end()) return std::nullopt;
  return found->second;
}

TileChoice AttentionTuner::Measured(const AttentionDesign& rule, const std::vector<TileSize>& candidates) const {
  const TileChoice none{candidates[0], 0};
  const double budget_ns = static_cast<double>(options_.budget_ms) * 1e6, begin = Now();
  std::string why = "the time allowed is too short";
  const std::unique_ptr<AttentionTrial> trial = AttentionTrial::Make(rule, candidates, budget_ns, kLeastTurns, &why);
  std::vector<double> least;
  if (trial == nullptr ||
      !TimeCandidates(
          candidates.size(), budget_ns - (Now() - begin), Now, [&](size_t i) { return trial->Run(i); }, &least)) {
    Log(SAGE_LOG_INFO, "tuned tiles: not measured, so by rule: " + why + ": " + ProblemClass(rule));
    return none;
  }
  const size_t best = static_cast<size_t>(std::min_element(least.begin(), least.end()) - least.begin());
  const double gain = least[0] / std::max(least[best], 1.0);
  if (gain < kLeastGain) return {candidates[0], 1};
  return {candidates[best], std::min(gain, 1000.0)};
}

void AttentionTuner::Measure(const AttentionDesign& rule) {
  const std::vector<TileSize> candidates = Candidates(rule);
  if (candidates.empty()) return;
  const std::lock_guard<std::mutex> one_at_a_time(measuring_);
  if (Find(rule)) return;
  const TileChoice choice = Measured(rule, candidates);
  const std::string problem = ProblemClass(rule);
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    known_.emplace(problem, choice);
  }
  if (choice.gain == 0) return;  // another process may have more time
  Log(SAGE_LOG_INFO, "tuned tiles: " + std::to_string(choice.tiles.rows) + " rows by " +
                         std::to_string(choice.tiles.keys) + " keys: " + problem);
  if (options_.file.empty()) return;
  std::string note;
  if (!StoreTuned(options_.file, {machine_, problem, choice.tiles.rows, choice.tiles.keys, choice.gain}, &note))
    Log(SAGE_LOG_WARNING, note);
}

}  // namespace sage::cpu
