// Placement: against every possible choice on small random graphs, and the cases a person can work out.
#include <doctest/doctest.h>

#include <algorithm>
#include <random>
#include <vector>

#include "plan/placement.h"

using namespace sage;

namespace {

// The least cost over all choices, by trying them; *first: the lexicographically first choice that reaches it.
double BruteForce(const PlacementProblem& problem, std::vector<uint32_t>* first) {
  std::vector<uint32_t> choice(problem.nodes.size(), 0);
  double best = -1;
  while (true) {
    const double cost = PlacementCost(problem, choice, nullptr);
    if (best < 0 || cost < best) best = cost, *first = choice;
    size_t node = choice.size();
    while (node > 0 && ++choice[node - 1] == problem.nodes[node - 1].options.size()) choice[--node] = 0;
    if (node == 0) return best;
  }
}

void CheckOptimal(const PlacementProblem& problem) {
  std::vector<uint32_t> first;
  const double least = BruteForce(problem, &first);
  const Placement placement = Place(problem);
  CHECK(placement.exact);
  CHECK(placement.cost_ns == doctest::Approx(least));
  double copies = 0;
  CHECK(PlacementCost(problem, placement.option, &copies) == doctest::Approx(placement.cost_ns));
  CHECK(copies == doctest::Approx(placement.copy_ns));
  CHECK(placement.option == first);  // prices are whole numbers: sums are exact, so ties really are
}

// CPU and `devices` others; whole-numbered prices.
std::vector<PlacementDomain> Domains(std::mt19937& random, int devices) {
  std::vector<PlacementDomain> domains(1);
  for (int i = 0; i < devices; ++i) {
    PlacementDomain domain;
    domain.copy_latency_ns = static_cast<double>(random() % 30);
    domain.copy_bytes_per_ns = static_cast<double>(1u << random() % 3);
    domain.shares_host = random() % 5 == 0;
    domains.push_back(domain);
  }
  return domains;
}

std::vector<PlacementOption> Options(std::mt19937& random, size_t domains) {
  std::vector<PlacementOption> options = {{0, static_cast<double>(random() % 120)}};
  for (uint32_t domain = 1; domain < domains; ++domain)
    if (random() % 4 != 0) options.push_back({domain, static_cast<double>(random() % 60)});
  if (random() % 5 == 0) options.push_back({0, static_cast<double>(random() % 120)});  // two backends on one device
  return options;
}

PlacementProblem Chain(std::mt19937& random, size_t nodes, int devices) {
  PlacementProblem problem;
  problem.domains = Domains(random, devices);
  for (size_t i = 0; i <= nodes; ++i) problem.tensor_bytes.push_back(random() % 20 * 4);
  for (size_t i = 0; i < nodes; ++i) {
    const auto at = static_cast<int32_t>(i);
    problem.nodes.push_back({Options(random, problem.domains.size()), {at}, {at + 1}, {}});
  }
  problem.outputs = {static_cast<int32_t>(nodes)};
  return problem;
}

// Any reads of what was there before: shared tensors, reconvergence, several outputs, unread results, in-place writes.
PlacementProblem Dag(std::mt19937& random, size_t nodes, int devices) {
  PlacementProblem problem;
  problem.domains = Domains(random, devices);
  const size_t inputs = 1 + random() % 3;
  for (size_t i = 0; i < inputs + nodes; ++i) problem.tensor_bytes.push_back(random() % 20 * 4);
  for (size_t i = 0; i < nodes; ++i) {
    PlacementNode node;
    node.options = Options(random, problem.domains.size());
    for (size_t k = 1 + random() % 3; k > 0; --k) {
      const auto tensor = static_cast<int32_t>(random() % (inputs + i));
      if (std::find(node.reads.begin(), node.reads.end(), tensor) == node.reads.end()) node.reads.push_back(tensor);
    }
    node.writes = {static_cast<int32_t>(inputs + i)};
    if (random() % 8 == 0) {
      node.options.resize(1);  // on the CPU
      node.changes = {static_cast<int32_t>(random() % inputs)};
      std::erase(node.reads, node.changes[0]);
    }
    problem.nodes.push_back(std::move(node));
  }
  for (size_t k = 1 + random() % 2; k > 0; --k) {
    problem.outputs.push_back(static_cast<int32_t>(random() % (inputs + nodes)));
  }
  return problem;
}

// relu chain of 3 on 100 bytes: the CPU at 50 a node, one device at 10 with copies of 20 + bytes.
PlacementProblem Three() {
  PlacementProblem problem;
  problem.domains = {{}, {false, 20, 1}};
  problem.tensor_bytes = {100, 100, 100, 100};
  for (int32_t i = 0; i < 3; ++i) problem.nodes.push_back({{{0, 50}, {1, 10}}, {i}, {i + 1}, {}});
  problem.outputs = {3};
  return problem;
}

}  // namespace

TEST_CASE("P12 placement: chains are exactly optimal, for any prices, with up to three devices") {
  std::mt19937 random(1);
  for (int i = 0; i < 300; ++i) CheckOptimal(Chain(random, 1 + random() % 7, static_cast<int>(random() % 4)));
}

TEST_CASE("P12 placement: graphs with shared tensors are exactly optimal too, a shared copy being paid once") {
  std::mt19937 random(2);
  for (int i = 0; i < 300; ++i) CheckOptimal(Dag(random, 1 + random() % 6, static_cast<int>(1 + random() % 2)));
  PlacementProblem shared;
  shared.domains = {{}, {false, 10, 1}};
  shared.tensor_bytes = {5, 5, 5};
  shared.nodes = {{{{1, 1}}, {0}, {1}, {}}, {{{1, 1}}, {0}, {2}, {}}};
  shared.outputs = {1, 2};
  const Placement placement = Place(shared);
  CHECK(placement.copy_ns == 15 + 2 * 15);  // there once, for both; two results back
  CHECK(placement.cost_ns == 2 + 45);
}

TEST_CASE("placement: copies decide, and flip the choice at their price") {
  PlacementProblem problem = Three();
  Placement placement = Place(problem);
  CHECK(placement.option == std::vector<uint32_t>{0, 0, 0});  // 150 against 30 + 2 * 120
  CHECK(placement.cost_ns == 150);
  CHECK(placement.copy_ns == 0);
  problem.domains[1] = {false, 20, 4};
  placement = Place(problem);
  CHECK(placement.option == std::vector<uint32_t>{1, 1, 1});  // 30 + 2 * 45
  CHECK(placement.cost_ns == 120);
  CHECK(placement.copy_ns == 90);
  problem.domains[1] = {false, 60, 1e9};
  CHECK(Place(problem).option == std::vector<uint32_t>{0, 0, 0});  // equal totals, 150: the first option stays
  problem.domains[1].shares_host = true;
  placement = Place(problem);
  CHECK(placement.option == std::vector<uint32_t>{1, 1, 1});
  CHECK(placement.copy_ns == 0);
}

TEST_CASE("placement: between two devices the way leads through the host, and what passed there may be read there") {
  PlacementProblem problem;
  problem.domains = {{}, {false, 10, 1}, {false, 7, 1}};
  problem.tensor_bytes = {0, 5, 5, 5};
  problem.nodes = {{{{1, 1}}, {0}, {1}, {}}, {{{2, 1}}, {1}, {2}, {}}, {{{0, 1}}, {1}, {3}, {}}};
  problem.outputs = {2, 3};
  double copies = 0;
  CHECK(PlacementCost(problem, std::vector<uint32_t>{0, 0, 0}, &copies) == 3 + 10 + (15 + 12) + 0 + 12);
  CHECK(copies == 49);
  CHECK(Place(problem).cost_ns == 52);
}

TEST_CASE("placement: the same answer every time, and a graph too wide to be exact says so and is still placed") {
  std::mt19937 random(3);
  PlacementProblem wide;
  wide.domains = {{}, {false, 20, 1}};
  constexpr int32_t kBranches = 16;
  wide.tensor_bytes.assign(2 * kBranches + 2, 40);
  for (int32_t i = 0; i < kBranches; ++i)
    wide.nodes.push_back({{{0, static_cast<double>(random() % 200)}, {1, 10}}, {i}, {kBranches + i}, {}});
  PlacementNode join{{{0, 10}, {1, 10}}, {}, {2 * kBranches}, {}};
  for (int32_t i = 0; i < kBranches; ++i) join.reads.push_back(kBranches + i);
  wide.nodes.push_back(join);
  wide.outputs = {2 * kBranches};
  const Placement placement = Place(wide);
  CHECK_FALSE(placement.exact);
  CHECK(Place(wide).option == placement.option);
  CHECK(PlacementCost(wide, placement.option, nullptr) == placement.cost_ns);
  std::vector<uint32_t> all_on_cpu(wide.nodes.size(), 0);
  CHECK(placement.cost_ns <= PlacementCost(wide, all_on_cpu, nullptr));
  CHECK(Place({}).cost_ns == 0);
}
