// metabolic.h: ATP allocation as pure functions: saliences to a prior, weights to shares, shares to ATP.
//
// N targets in the order given, saliences in [0,1], everything in double. The prior is the legacy answer as a
// distribution; attention over ln(prior) with no content gives it back, with content it modulates it. Functions write
// to the caller's spans and allocate nothing.
#ifndef SAGE_ENGINE_SAGE_METABOLIC_H_
#define SAGE_ENGINE_SAGE_METABOLIC_H_

#include <cstdint>
#include <limits>
#include <span>
#include <string_view>

#include "model/sage_params.h"

namespace sage {

// WAKE, any case, to its state. False when there is no such state.
bool ParseMetabolicState(std::string_view name, MetabolicState* out);

// Indices by salience descending, ties to the lower index.
void RankBySalience(std::span<const double> salience, std::span<uint32_t> order);

// Prior logits, ln(pi), of a state; -inf where pi is 0. FOCUS and the others alike are in the order of the targets.
// REST's are WAKE's (they divide minimal_monitoring under rest_split). order: scratch, N; for FOCUS it holds the rank
// order afterwards. N >= 1.
void PriorLogits(const MetabolicParams& params, MetabolicState state, std::span<const double> salience,
                 std::span<uint32_t> order, std::span<double> logits);

// FOCUS with causal focus: the mean of the columns of P over the queries (both in rank order: weights(q, key)), back in
// the targets' order. Queries that see no key with a prior are left out. shares: N.
template <class Weight>
void CausalShares(std::span<const double> ranked_logits, std::span<const uint32_t> order, Weight weight,
                  std::span<double> shares) {
  const size_t n = order.size();
  size_t first = 0;
  while (first + 1 < n && ranked_logits[first] == -std::numeric_limits<double>::infinity()) ++first;
  for (size_t key = 0; key < n; ++key) {
    double sum = 0;
    for (size_t query = key > first ? key : first; query < n; ++query) sum += weight(query, key);
    shares[order[key]] = sum / static_cast<double>(n - first);
  }
}

// DREAM: drops targets (0 share) by their draws, keeps all when nothing would be left. True when all were dropped.
bool DropShares(double dropout, std::span<const double> draws, std::span<double> shares);

// ATP_i = total * p_i, with p made to sum to 1 first; the largest item absorbs the rounding. Nothing is negative.
void AtpFromShares(double total, std::span<const double> shares, std::span<double> atp);

// The allocation before attention: sums below `total` where the old rules left a remainder unspent (FOCUS, N <= 2).
// seed and tick: of DREAM; tick 0 is numpy.random.seed(seed). REST is not among them: its two entries have no target.
void LegacyAtp(const MetabolicParams& params, MetabolicState state, double total, std::span<const double> salience,
               uint64_t seed, uint64_t tick, std::span<uint32_t> order, std::span<double> atp);

// Gini coefficient of a distribution: 0 = even, (N-1)/N = all to one. order: scratch, N.
double Gini(std::span<const double> shares, std::span<uint32_t> order);

}  // namespace sage

#endif  // SAGE_ENGINE_SAGE_METABOLIC_H_
