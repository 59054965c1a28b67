// placement.cc: the sweep over the nodes; see the header for what a state is.
#include "plan/placement.h"

#include <algorithm>
#include <map>
#include <numeric>

namespace sage {
namespace {

constexpr uint32_t kHost = 1;  // the mask of host memory alone

// One state after some node: where each live tensor lies, what it cost to come here, and from which state.
struct State {
  std::vector<uint32_t> masks;  // one a live tensor
  double cost = 0, copies = 0;
};

struct Step {
  uint32_t parent = 0, option = 0;
};

// The tensors that matter between two nodes: written, or read for the first time, and needed again.
class Frontier {
 public:
  explicit Frontier(const PlacementProblem& problem)
      : last_(problem.tensor_bytes.size(), -1), slot_(problem.tensor_bytes.size(), -1) {
    for (size_t i = 0; i < problem.nodes.size(); ++i) {
      for (const auto* tensors : {&problem.nodes[i].reads, &problem.nodes[i].changes})
        for (const int32_t tensor : *tensors) last_[static_cast<size_t>(tensor)] = static_cast<int64_t>(i);
    }
    for (const int32_t tensor : problem.outputs)
      last_[static_cast<size_t>(tensor)] = static_cast<int64_t>(problem.nodes.size());
  }
  int64_t last(int32_t tensor) const { return last_[static_cast<size_t>(tensor)]; }
  bool Has(int32_t tensor) const { return slot_[static_cast<size_t>(tensor)] >= 0; }
  size_t Slot(int32_t tensor) const { return static_cast<size_t>(slot_[static_cast<size_t>(tensor)]); }
  void Add(int32_t tensor) {
    slot_[static_cast<size_t>(tensor)] = static_cast<int32_t>(live_.size());
    live_.push_back(tensor);
  }
  // Forgets what no node after `node` needs; returns which slots stay.
  std::vector<size_t> Prune(int64_t node) {
    std::vector<size_t> kept;
    std::vector<int32_t> live;
    for (size_t slot = 0; slot < live_.size(); ++slot) {
      const auto tensor = static_cast<size_t>(live_[slot]);
      slot_[tensor] = -1;
      if (last_[tensor] <= node) continue;
      slot_[tensor] = static_cast<int32_t>(live.size());
      live.push_back(live_[slot]);
      kept.push_back(slot);
    }
    live_ = std::move(live);
    return kept;
  }

 private:
  std::vector<int64_t> last_;
  std::vector<int32_t> slot_;
  std::vector<int32_t> live_;
};

}  // namespace

Places::Places(std::span<const PlacementDomain> domains) : domain_of_{0}, price_{{}} {
  for (size_t i = 0; i < domains.size(); ++i) {
    if (i == 0 || domains[i].shares_host) {
      place_of_.push_back(0);
      continue;
    }
    place_of_.push_back(static_cast<uint32_t>(price_.size()));
    domain_of_.push_back(static_cast<uint32_t>(i));
    price_.push_back(domains[i]);
  }
}

double Places::CopyNs(uint32_t place, uint64_t bytes) const {
  return place == 0 ? 0 : price_[place].copy_latency_ns + static_cast<double>(bytes) / price_[place].copy_bytes_per_ns;
}

uint32_t Places::Source(uint32_t mask, uint64_t bytes) const {
  uint32_t best = 0;
  for (uint32_t place = 1; place < count(); ++place) {
    if ((mask >> place & 1) != 0 && (best == 0 || CopyNs(place, bytes) < CopyNs(best, bytes))) best = place;
  }
  return best;
}

double Places::Bring(uint32_t place, uint64_t bytes, uint32_t* mask) const {
  if ((*mask >> place & 1) != 0) return 0;
  double cost = 0;
  if ((*mask & kHost) == 0) cost += CopyNs(Source(*mask, bytes), bytes);
  *mask |= kHost | 1u << place;
  return cost + CopyNs(place, bytes);
}

Placement Place(const PlacementProblem& problem) {
  const Places places(problem.domains);
  const auto bytes = [&](int32_t tensor) { return problem.tensor_bytes[static_cast<size_t>(tensor)]; };
  Frontier frontier(problem);
  Placement placement;
  std::vector<State> states(1);
  std::vector<std::vector<Step>> history;

  for (size_t i = 0; i < problem.nodes.size(); ++i) {
    const PlacementNode& node = problem.nodes[i];
    for (const auto* tensors : {&node.reads, &node.changes}) {
      for (const int32_t tensor : *tensors) {
        if (frontier.Has(tensor)) continue;
        frontier.Add(tensor);
        for (State& state : states) state.masks.push_back(kHost);
      }
    }
    for (const int32_t tensor : node.writes) {
      if (frontier.Has(tensor)) continue;
      frontier.Add(tensor);
      for (State& state : states) state.masks.push_back(0);
    }
    std::vector<size_t> read, changed, written;
    for (const int32_t tensor : node.reads) read.push_back(frontier.Slot(tensor));
    for (const int32_t tensor : node.changes) changed.push_back(frontier.Slot(tensor));
    for (const int32_t tensor : node.writes) written.push_back(frontier.Slot(tensor));
    const std::vector<size_t> kept = frontier.Prune(static_cast<int64_t>(i));

    // States come in the order of their histories, options in the caller's: so do the new ones, and of two that cost
    // the same the first is the one whose earliest different choice comes first.
    struct Reached {
      State state;
      Step step;
    };
    std::map<std::vector<uint32_t>, size_t> known;
    std::vector<Reached> next;
    std::vector<uint32_t> masks, needed(kept.size());
    for (size_t from = 0; from < states.size(); ++from) {
      for (size_t choice = 0; choice < node.options.size(); ++choice) {
        const uint32_t place = places.of(node.options[choice].domain);
        masks = states[from].masks;
        double copies = 0;
        for (size_t k = 0; k < read.size(); ++k) copies += places.Bring(place, bytes(node.reads[k]), &masks[read[k]]);
        for (size_t k = 0; k < changed.size(); ++k) {
          copies += places.Bring(0, bytes(node.changes[k]), &masks[changed[k]]);
          masks[changed[k]] = kHost;
        }
        for (const size_t slot : written) masks[slot] = 1u << place;
        for (size_t k = 0; k < kept.size(); ++k) needed[k] = masks[kept[k]];
        Reached reached{
            {needed, states[from].cost + copies + node.options[choice].cost_ns, states[from].copies + copies},
            {static_cast<uint32_t>(from), static_cast<uint32_t>(choice)}};
        const auto [at, fresh] = known.try_emplace(needed, next.size());
        if (fresh)
          next.push_back(std::move(reached));
        else if (reached.state.cost < next[at->second].state.cost)
          next[at->second] = std::move(reached);
      }
    }
    if (next.size() > kMaxPlacementStates) {
      placement.exact = false;
      std::stable_sort(next.begin(), next.end(),
                       [](const Reached& a, const Reached& b) { return a.state.cost < b.state.cost; });
      next.resize(kMaxPlacementStates);
    }
    std::stable_sort(next.begin(), next.end(), [](const Reached& a, const Reached& b) {
      return a.step.parent != b.step.parent ? a.step.parent < b.step.parent : a.step.option < b.step.option;
    });
    states.clear();
    history.emplace_back();
    for (Reached& reached : next) {
      states.push_back(std::move(reached.state));
      history.back().push_back(reached.step);
    }
  }

  size_t best = 0;
  for (size_t i = 0; i < states.size(); ++i) {
    for (const int32_t tensor : problem.outputs) {
      if (!frontier.Has(tensor)) continue;  // no node touches it: it lies where the caller put it
      const double cost = places.Bring(0, bytes(tensor), &states[i].masks[frontier.Slot(tensor)]);
      states[i].cost += cost, states[i].copies += cost;
    }
    if (states[i].cost < states[best].cost) best = i;
  }
  placement.cost_ns = states[best].cost;
  placement.copy_ns = states[best].copies;
  placement.option.resize(problem.nodes.size());
  for (size_t i = problem.nodes.size(); i-- > 0;) {
    placement.option[i] = history[i][best].option;
    best = history[i][best].parent;
  }
  return placement;
}

double PlacementCost(const PlacementProblem& problem, std::span<const uint32_t> option, double* copy_ns) {
  const Places places(problem.domains);
  std::vector<uint32_t> masks(problem.tensor_bytes.size(), kHost);
  double cost = 0, copies = 0;
  const auto bring = [&](uint32_t place, int32_t tensor) {
    const auto at = static_cast<size_t>(tensor);
    const double price = places.Bring(place, problem.tensor_bytes[at], &masks[at]);
    cost += price, copies += price;
  };
  for (size_t i = 0; i < problem.nodes.size(); ++i) {
    const PlacementNode& node = problem.nodes[i];
    const uint32_t place = places.of(node.options[option[i]].domain);
    for (const int32_t tensor : node.reads) bring(place, tensor);
    for (const int32_t tensor : node.changes) {
      bring(0, tensor);
      masks[static_cast<size_t>(tensor)] = kHost;
    }
    for (const int32_t tensor : node.writes) masks[static_cast<size_t>(tensor)] = 1u << place;
    cost += node.options[option[i]].cost_ns;
  }
  for (const int32_t tensor : problem.outputs) bring(0, tensor);
  if (copy_ns != nullptr) *copy_ns = copies;
  return cost;
}

}  // namespace sage
