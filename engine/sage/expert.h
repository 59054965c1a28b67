// expert.h: expert selection as pure functions: trust to bias, weights to scores, scores to a selection.
//
// One row (one context) a call; N experts, Hq query heads over Hkv groups of trust. Everything is in double. The
// attention between Bias and the scores runs elsewhere (expert_program.cc): nothing here knows of tensors or sessions.
// No function allocates once its scratch has met the largest N.
#ifndef SAGE_ENGINE_SAGE_EXPERT_H_
#define SAGE_ENGINE_SAGE_EXPERT_H_

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "model/sage_params.h"

namespace sage {

// One row's inputs as a tick gave them, checked: trust in [0,1], logits finite.
struct ExpertRow {
  std::span<const double> router;      // N
  std::span<const double> trust;       // groups * N, group-major
  int64_t groups = 1;                  // 1, or Hkv
  std::span<const uint8_t> available;  // N; empty = all
  std::span<const int64_t> evidence;   // N samples behind each trust; empty = 0 each

  bool Available(int64_t n) const { return available.empty() || available[static_cast<size_t>(n)] != 0; }
};

struct Substitution {
  int64_t from = 0, to = 0;
};

// Who stands ready. Empty `loaded` with given = false: no substitution, no hits, no misses.
struct LoadedExperts {
  bool given = false;
  std::span<const uint8_t> loaded;        // N flags
  std::span<const int64_t> clusters;      // N, -1 = none; empty = none at all
  std::span<const double> quality_delta;  // N; empty = 0 each
};

enum class ChosenBy : uint8_t { kBlend, kExplore, kTrust, kRouter };
const char* ChosenByName(ChosenBy chosen);  // "blend", "explore", "trust", "router"

// What one row came to; ids in the order of selection.
struct ExpertSelection {
  std::vector<int64_t> ids;
  std::vector<double> scores, gates;
  std::vector<Substitution> substitutions;
  int64_t hits = 0, misses = 0, available = 0;
  bool clamped = false;  // fewer were available than asked for
  ChosenBy chosen_by = ChosenBy::kBlend;

  void Reserve(int64_t k);
};

// The link of one trust value: t, ln max(t, 1e-6), or the logit of t within [1e-6, 1-1e-6].
double TrustLogit(TrustLink link, double trust);
// Which of the row's groups of trust head h has: all heads of one have the same bias.
int64_t TrustGroup(const ExpertParams& params, const ExpertRow& row, int64_t head);
// The bias of head h, written to out[N]: lambda * link(trust of h's group), -inf where unavailable. A row without any
// available expert gets 0 everywhere, so that its softmax stays defined; its weights mean nothing.
void ExpertBias(const ExpertParams& params, const ExpertRow& row, int64_t head, std::span<double> out);
// Mean of the groups' trust in expert n: what legacy, TRUST_FIRST and the returned trust use.
double MeanTrust(const ExpertRow& row, int64_t n);
// score_n = alpha*router + (1-alpha)*ln(N*max(a_n,1e-30)), -inf where unavailable. a: N, the heads' weighted mean.
void AttentionScores(const ExpertParams& params, const ExpertRow& row, std::span<const double> a,
                     std::span<double> scores);
// score_n = alpha*router + (1-alpha)*trust, -inf where unavailable.
void LegacyScores(const ExpertParams& params, const ExpertRow& row, std::span<double> scores);

// The k best by score, ties to the lower id, gates = softmax over them. order: scratch.
void SelectByScore(const ExpertRow& row, std::span<const double> scores, int64_t k, std::vector<int64_t>* order,
                   ExpertSelection* out);
// TRUST_FIRST: explores with probability epsilon, else by trust where at least two experts have earned it, else by the
// router. scores (N, written): the trust or the router logit, by the branch taken.
void SelectTrustFirst(const ExpertParams& params, const ExpertRow& row, int64_t k, uint64_t seed, uint64_t tick,
                      uint32_t row_index, std::vector<int64_t>* order, std::span<double> scores, ExpertSelection* out);

// Replaces selected experts that are not loaded by loaded ones of the same cluster with trust >= substitution_trust,
// best of 0.7*trust + 0.3*(0.5 + quality_delta), ids staying distinct; counts hits and misses; scores and gates become
// those of the experts really returned. taken: scratch, N.
void Substitute(const ExpertParams& params, const ExpertRow& row, const LoadedExperts& loaded,
                std::span<const double> scores, std::vector<uint8_t>* taken, ExpertSelection* selection);

}  // namespace sage

#endif  // SAGE_ENGINE_SAGE_EXPERT_H_
