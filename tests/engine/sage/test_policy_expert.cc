// The expert policy alone: ranking, trust, substitution and exploration, over seeded random inputs.
#include <doctest/doctest.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <random>
#include <vector>

#include "engine/sage/policy_inputs.h"
#include "sage/expert.h"
#include "sage/random.h"

namespace {

using namespace sage;
using namespace sage::test;

TEST_CASE("G3 expert identities: gamma 0 ranks as legacy for every alpha, alpha 1 as the router") {
  std::mt19937 random(21);
  for (int trial = 0; trial < 300; ++trial) {
    ExpertParams params;
    params.attention.query_heads = params.attention.kv_heads = 1;
    params.alpha = trial % 11 / 10.0;
    const size_t n = 2 + random() % 127;
    const auto router = Draw(random, n, -3, 3), trust = Draw(random, n);
    std::vector<uint8_t> available(n, 1);
    for (size_t i = 0; i + 1 < n; ++i) available[i] = random() % 5 != 0;
    ExpertRow row;
    row.router = router, row.trust = trust, row.available = available;
    std::vector<double> bias(n), scores(n), legacy(n);
    ExpertBias(params, row, 0, bias);
    AttentionScores(params, row, Softmax(bias), scores);
    LegacyScores(params, row, legacy);
    std::vector<int64_t> order;
    ExpertSelection ours, theirs;
    SelectByScore(row, scores, 8, &order, &ours);
    SelectByScore(row, legacy, 8, &order, &theirs);
    CHECK(ours.ids == theirs.ids);
    for (size_t i = 0; i < ours.ids.size(); ++i) {
      CHECK(available[static_cast<size_t>(ours.ids[i])] == 1);
      CHECK(std::fabs(ours.gates[i] - theirs.gates[i]) < 1e-12);
      CHECK(std::fabs((ours.scores[i] - theirs.scores[i]) - (ours.scores[0] - theirs.scores[0])) < 1e-12);
    }
    if (params.alpha == 1) {
      SelectByScore(row, router, 8, &order, &theirs);
      CHECK(ours.ids == theirs.ids);
    }
    CHECK(std::accumulate(ours.gates.begin(), ours.gates.end(), 0.0) == doctest::Approx(1));
  }
}

TEST_CASE("G2 raising an expert's trust never lowers its weight, for every link and content") {
  std::mt19937 random(22);
  for (int trial = 0; trial < 300; ++trial) {
    ExpertParams params;
    params.attention.query_heads = params.attention.kv_heads = 1;
    params.trust_link = static_cast<TrustLink>(trial % 3);
    params.lambda = trial % 4;
    const size_t n = 2 + random() % 20, which = random() % n;
    const auto router = Draw(random, n), content = Draw(random, n, -2, 2);
    auto trust = Draw(random, n);
    ExpertRow row;
    row.router = router;
    const auto weight = [&] {
      row.trust = trust;
      std::vector<double> bias(n);
      ExpertBias(params, row, 0, bias);
      for (size_t i = 0; i < n; ++i) bias[i] += content[i];
      return Softmax(bias)[which];
    };
    const double before = weight();
    trust[which] += (1 - trust[which]) * Draw(random, 1)[0];
    CHECK(weight() >= before - 1e-15);
  }
}

TEST_CASE("G2 per-group trust reaches its own heads; legacy uses the mean") {
  ExpertParams params;
  params.attention.query_heads = 4, params.attention.kv_heads = 2;
  const std::vector<double> router(2, 0.0), trust = {.1, .2, .7, .8};
  ExpertRow row;
  row.router = router, row.trust = trust, row.groups = 2;
  std::vector<double> bias(2);
  for (int64_t head = 0; head < 4; ++head) {
    ExpertBias(params, row, head, bias);
    CHECK(bias[0] == (head < 2 ? .1 : .7));
    CHECK(bias[1] == (head < 2 ? .2 : .8));
  }
  CHECK(MeanTrust(row, 0) == doctest::Approx(.4));
}

TEST_CASE("G2 ties go to the lower id, k is clamped, nothing available gives nothing") {
  const std::vector<double> scores(5, 1.0), trust(5, .5);
  std::vector<uint8_t> available = {0, 1, 1, 0, 1};
  ExpertRow row;
  row.router = scores, row.trust = trust, row.available = available;
  std::vector<int64_t> order;
  ExpertSelection selection;
  SelectByScore(row, scores, 2, &order, &selection);
  CHECK(selection.ids == std::vector<int64_t>{1, 2});
  CHECK_FALSE(selection.clamped);
  SelectByScore(row, scores, 9, &order, &selection);
  CHECK(selection.ids == std::vector<int64_t>{1, 2, 4});
  CHECK(selection.clamped);
  available.assign(5, 0);
  SelectByScore(row, scores, 2, &order, &selection);
  CHECK(selection.ids.empty());
  CHECK(selection.gates.empty());
}

TEST_CASE("G2 substitution: loaded, same cluster, trusted, best value, distinct ids, scores of those returned") {
  ExpertParams params;
  const std::vector<double> scores = {6, 5, 4, 3, 2, 1}, trust = {.9, .9, .7, .9, .61, .59};
  const std::vector<uint8_t> loaded = {0, 0, 1, 1, 1, 1};
  const std::vector<int64_t> clusters = {1, 1, 1, 2, 1, 1};
  ExpertRow row;
  row.router = scores, row.trust = trust;
  LoadedExperts ready;
  ready.given = true, ready.loaded = loaded, ready.clusters = clusters;
  std::vector<int64_t> order;
  std::vector<uint8_t> taken;
  ExpertSelection selection;
  SelectByScore(row, scores, 3, &order, &selection);  // 0, 1, 2
  Substitute(params, row, ready, scores, &taken, &selection);
  CHECK(selection.ids == std::vector<int64_t>{4, 1, 2});  // 2 was chosen anyway, 5 is below 0.6: one substitute only
  CHECK(selection.scores == std::vector<double>{2, 5, 4});
  CHECK(selection.hits == 2);
  CHECK(selection.misses == 1);
  REQUIRE(selection.substitutions.size() == 1);
  CHECK(selection.substitutions[0].from == 0);
  CHECK(selection.substitutions[0].to == 4);
  const double sum = std::exp(2) + std::exp(5) + std::exp(4);
  CHECK(selection.gates[0] == doctest::Approx(std::exp(2) / sum));

  const std::vector<double> delta = {0, 0, 0, 0, 0, 2};
  const std::vector<double> better = {.9, .9, .7, .9, .61, .6};
  row.trust = better, ready.quality_delta = delta;
  SelectByScore(row, scores, 1, &order, &selection);
  Substitute(params, row, ready, scores, &taken, &selection);
  CHECK(selection.ids == std::vector<int64_t>{5});  // .7*.6 + .3*2.5 beats 2's .7*.7 + .3*.5
  const std::vector<int64_t> apart = {-1, -1, -1, -1, -1, -1};
  ready.clusters = apart;
  SelectByScore(row, scores, 2, &order, &selection);
  Substitute(params, row, ready, scores, &taken, &selection);
  CHECK(selection.misses == 2);
}

TEST_CASE("G2 TRUST_FIRST: explores at its rate, else by trust where it is earned, else by the router") {
  ExpertParams params;
  params.selection = Selection::kTrustFirst;
  const std::vector<double> router = {3, 2, 1, 0}, trust = {.2, .4, .9, .8};
  const std::vector<int64_t> evidence = {9, 3, 3, 2};
  ExpertRow row;
  row.router = router, row.trust = trust, row.evidence = evidence;
  std::vector<int64_t> order;
  std::vector<double> scores(4);
  ExpertSelection selection;
  int explored = 0, counts[4] = {};
  for (uint64_t tick = 0; tick < 4000; ++tick) {
    SelectTrustFirst(params, row, 2, 1, tick, 0, &order, scores, &selection);
    REQUIRE(selection.ids.size() == 2);
    CHECK(selection.ids[0] != selection.ids[1]);
    if (selection.chosen_by == ChosenBy::kExplore) {
      ++explored;
      for (const int64_t id : selection.ids) ++counts[id];
      CHECK(selection.gates == std::vector<double>{.5, .5});
    } else {
      CHECK(selection.chosen_by == ChosenBy::kTrust);
      CHECK(selection.ids == std::vector<int64_t>{2, 1});
      CHECK(selection.gates[0] == doctest::Approx(.9 / 1.3));
    }
  }
  CHECK(explored > 700);
  CHECK(explored < 900);
  for (const int count : counts) CHECK(count > explored / 2 - 120);
  params.epsilon = 0;
  SelectTrustFirst(params, row, 4, 1, 0, 0, &order, scores, &selection);
  CHECK(selection.ids == std::vector<int64_t>{2, 1, 0, 3});  // without evidence: 0.5, and after those with it
  const std::vector<int64_t> little = {9, 0, 3, 2};
  row.evidence = little;  // 0 is proven but not trusted: only one has earned it
  SelectTrustFirst(params, row, 2, 1, 0, 0, &order, scores, &selection);
  CHECK(selection.chosen_by == ChosenBy::kRouter);
  CHECK(selection.ids == std::vector<int64_t>{0, 1});
  CHECK(selection.gates[0] == doctest::Approx(1 / (1 + std::exp(-1))));
}

}  // namespace
