// expert.cc: the formulas of expert selection. Order everywhere: score descending, then the lower id, so that equal
// inputs never depend on a sort's whims.
#include "sage/expert.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "sage/random.h"

namespace sage {
namespace {

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

size_t Index(int64_t n) { return static_cast<size_t>(n); }

int64_t Count(const ExpertRow& row) { return static_cast<int64_t>(row.router.size()); }

// Fills order with the available experts and returns how many there are.
int64_t ListAvailable(const ExpertRow& row, std::vector<int64_t>* order) {
  order->clear();
  for (int64_t n = 0; n < Count(row); ++n) {
    if (row.Available(n)) order->push_back(n);
  }
  return static_cast<int64_t>(order->size());
}

template <class Better>
void TakeBest(std::vector<int64_t>* order, int64_t k, Better better, ExpertSelection* out) {
  const auto take = std::min<int64_t>(k, static_cast<int64_t>(order->size()));
  std::partial_sort(order->begin(), order->begin() + take, order->end(), better);
  out->ids.assign(order->begin(), order->begin() + take);
}

void Begin(const ExpertRow& row, int64_t k, std::vector<int64_t>* order, ExpertSelection* out) {
  out->ids.clear();
  out->scores.clear();
  out->gates.clear();
  out->substitutions.clear();
  out->hits = out->misses = 0;
  out->available = ListAvailable(row, order);
  out->clamped = k > out->available;
}

void TakeScores(std::span<const double> scores, ExpertSelection* out) {
  out->scores.clear();
  for (const int64_t id : out->ids) out->scores.push_back(scores[Index(id)]);
}

void SoftmaxGates(ExpertSelection* out) {
  double top = kMinusInfinity, sum = 0;
  for (const double score : out->scores) top = std::max(top, score);
  out->gates.clear();
  for (const double score : out->scores) {
    out->gates.push_back(std::exp(score - top));
    sum += out->gates.back();
  }
  for (double& gate : out->gates) gate /= sum;
}

void ShareGates(ExpertSelection* out) {
  double sum = 0;
  for (const double score : out->scores) sum += score;
  out->gates.clear();
  for (const double score : out->scores) {
    out->gates.push_back(sum > 0 ? score / sum : 1.0 / static_cast<double>(out->scores.size()));
  }
}

void Regate(ExpertSelection* out) {
  switch (out->chosen_by) {
    case ChosenBy::kBlend:
    case ChosenBy::kRouter:
      return SoftmaxGates(out);
    case ChosenBy::kTrust:
      return ShareGates(out);
    case ChosenBy::kExplore:
      out->gates.assign(out->ids.size(), out->ids.empty() ? 0.0 : 1.0 / static_cast<double>(out->ids.size()));
  }
}

}  // namespace

const char* ChosenByName(ChosenBy chosen) {
  switch (chosen) {
    case ChosenBy::kBlend:
      return "blend";
    case ChosenBy::kExplore:
      return "explore";
    case ChosenBy::kTrust:
      return "trust";
    case ChosenBy::kRouter:
      return "router";
  }
  return "?";
}

void ExpertSelection::Reserve(int64_t k) {
  ids.reserve(Index(k));
  scores.reserve(Index(k));
  gates.reserve(Index(k));
  substitutions.reserve(Index(k));
}

double TrustLogit(TrustLink link, double trust) {
  switch (link) {
    case TrustLink::kLinear:
      return trust;
    case TrustLink::kLog:
      return std::log(std::max(trust, 1e-6));
    case TrustLink::kLogit: {
      const double t = std::clamp(trust, 1e-6, 1 - 1e-6);
      return std::log(t / (1 - t));
    }
  }
  return trust;
}

int64_t TrustGroup(const ExpertParams& params, const ExpertRow& row, int64_t head) {
  return row.groups == 1 ? 0 : head / (params.attention.query_heads / params.attention.kv_heads);
}

void ExpertBias(const ExpertParams& params, const ExpertRow& row, int64_t head, std::span<double> out) {
  const int64_t n_experts = Count(row);
  bool any = false;
  for (int64_t n = 0; n < n_experts; ++n) any = any || row.Available(n);
  const int64_t group = TrustGroup(params, row, head);
  for (int64_t n = 0; n < n_experts; ++n) {
    out[Index(n)] = !any ? 0
                    : row.Available(n)
                        ? params.lambda * TrustLogit(params.trust_link, row.trust[Index(group * n_experts + n)])
                        : kMinusInfinity;
  }
}

double MeanTrust(const ExpertRow& row, int64_t n) {
  if (row.groups == 1) return row.trust[Index(n)];
  double sum = 0;
  for (int64_t g = 0; g < row.groups; ++g) sum += row.trust[Index(g * Count(row) + n)];
  return sum / static_cast<double>(row.groups);
}

void AttentionScores(const ExpertParams& params, const ExpertRow& row, std::span<const double> a,
                     std::span<double> scores) {
  const auto count = static_cast<double>(Count(row));
  for (int64_t n = 0; n < Count(row); ++n) {
    scores[Index(n)] = row.Available(n) ? params.alpha * row.router[Index(n)] +
                                              (1 - params.alpha) * std::log(count * std::max(a[Index(n)], 1e-30))
                                        : kMinusInfinity;
  }
}

void LegacyScores(const ExpertParams& params, const ExpertRow& row, std::span<double> scores) {
  for (int64_t n = 0; n < Count(row); ++n) {
    scores[Index(n)] = row.Available(n) ? params.alpha * row.router[Index(n)] + (1 - params.alpha) * MeanTrust(row, n)
                                        : kMinusInfinity;
  }
}

void SelectByScore(const ExpertRow& row, std::span<const double> scores, int64_t k, std::vector<int64_t>* order,
                   ExpertSelection* out) {
  Begin(row, k, order, out);
  out->chosen_by = ChosenBy::kBlend;
  const auto better = [&](int64_t a, int64_t b) {
    return scores[Index(a)] != scores[Index(b)] ? scores[Index(a)] > scores[Index(b)] : a < b;
  };
  TakeBest(order, k, better, out);
  TakeScores(scores, out);
  SoftmaxGates(out);
}

void SelectTrustFirst(const ExpertParams& params, const ExpertRow& row, int64_t k, uint64_t seed, uint64_t tick,
                      uint32_t row_index, std::vector<int64_t>* order, std::span<double> scores, ExpertSelection* out) {
  Begin(row, k, order, out);
  const auto proven = [&](int64_t n) {
    return !row.evidence.empty() && row.evidence[Index(n)] >= static_cast<int64_t>(params.min_evidence);
  };
  for (int64_t n = 0; n < Count(row); ++n) scores[Index(n)] = row.router[Index(n)];
  if (Uniform(seed, tick, RandomStream::kExplore, row_index) < params.epsilon) {
    out->chosen_by = ChosenBy::kExplore;
    const auto left = order->size(), take = std::min<size_t>(left, Index(k));
    for (size_t i = 0; i < take; ++i) {  // the first `take` steps of a Fisher-Yates shuffle
      const double draw =
          Uniform(seed, tick, RandomStream::kExplorePick, row_index * 65536u + static_cast<uint32_t>(i));
      const size_t pick = i + std::min(static_cast<size_t>(draw * static_cast<double>(left - i)), left - i - 1);
      std::swap((*order)[i], (*order)[pick]);
    }
    out->ids.assign(order->begin(), order->begin() + static_cast<int64_t>(take));
  } else {
    int64_t trusted = 0;
    for (const int64_t n : *order) trusted += proven(n) && MeanTrust(row, n) > params.min_trust ? 1 : 0;
    const bool by_trust = trusted >= 2;
    out->chosen_by = by_trust ? ChosenBy::kTrust : ChosenBy::kRouter;
    if (by_trust) {
      for (int64_t n = 0; n < Count(row); ++n) scores[Index(n)] = proven(n) ? MeanTrust(row, n) : 0.5;
    }
    const auto better = [&](int64_t a, int64_t b) {
      if (by_trust && proven(a) != proven(b)) return proven(a);
      return scores[Index(a)] != scores[Index(b)] ? scores[Index(a)] > scores[Index(b)] : a < b;
    };
    TakeBest(order, k, better, out);
  }
  TakeScores(scores, out);
  Regate(out);
}

void Substitute(const ExpertParams& params, const ExpertRow& row, const LoadedExperts& loaded,
                std::span<const double> scores, std::vector<uint8_t>* taken, ExpertSelection* selection) {
  if (!loaded.given) return;
  taken->assign(Index(Count(row)), 0);
  // Every selected expert keeps its place in the set, so that a substitute is never one that was chosen anyway.
  for (const int64_t id : selection->ids) (*taken)[Index(id)] = 1;
  for (int64_t& id : selection->ids) {
    if (loaded.loaded[Index(id)] != 0) {
      ++selection->hits;
      continue;
    }
    const int64_t cluster = loaded.clusters.empty() ? -1 : loaded.clusters[Index(id)];
    int64_t best = -1;
    double best_value = kMinusInfinity;
    for (int64_t n = 0; cluster >= 0 && n < Count(row); ++n) {
      const double trust = MeanTrust(row, n);
      if (loaded.loaded[Index(n)] == 0 || (*taken)[Index(n)] != 0 || !row.Available(n) ||
          loaded.clusters[Index(n)] != cluster || trust < params.substitution_trust) {
        continue;
      }
      const double delta = loaded.quality_delta.empty() ? 0 : loaded.quality_delta[Index(n)];
      const double value = 0.7 * trust + 0.3 * (0.5 + delta);
      if (value > best_value) best = n, best_value = value;
    }
    if (best < 0) {
      ++selection->misses;
      continue;
    }
    selection->substitutions.push_back({id, best});
    (*taken)[Index(best)] = 1;
    id = best;
    ++selection->hits;
  }
  if (selection->substitutions.empty()) return;
  TakeScores(scores, selection);
  Regate(selection);
}

}  // namespace sage
