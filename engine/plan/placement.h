// placement.h: which device each node of a graph runs on, so that node time plus copies is least for the whole graph.
//
// Dynamic programming in topological order. A state is where the tensors that are still needed lie at this point: in
// the home they were written to, and wherever a copy was made. Two histories that reach the same state differ only in
// cost, so the cheaper one is kept; a copy that two readers share is paid once. The result is optimal for every graph,
// reconvergent ones included, as long as no point has more than kMaxPlacementStates states: chains have two or three
// a device, a transformer layer some hundreds. Beyond it the cheapest states go on, and the result says so. A pure
// function of its argument: knows nothing of backends, strides or memory.
#ifndef SAGE_ENGINE_PLAN_PLACEMENT_H_
#define SAGE_ENGINE_PLAN_PLACEMENT_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sage {

inline constexpr size_t kMaxPlacementStates = 4096;
inline constexpr size_t kMaxDomains = 32;  // the CPU and 31 devices; a state has one bit each

// The CPU or a device. Domain 0 is the CPU.
struct PlacementDomain {
  bool shares_host = false;  // reads and writes CPU memory, and the CPU its: nothing is copied between the two
  double copy_latency_ns = 0, copy_bytes_per_ns = 1;  // of one copy to or from CPU memory
};

struct PlacementOption {
  uint32_t domain = 0;
  double cost_ns = 0;
};

// Tensors are named by their index in tensor_bytes; what no node writes lies in CPU memory from the start.
struct PlacementNode {
  std::vector<PlacementOption> options;  // at least one; among equal totals the earlier one is taken
  std::vector<int32_t> reads, writes;
  std::vector<int32_t> changes;  // written where they lie, in host memory: copies elsewhere are stale afterwards
};

struct PlacementProblem {
  std::vector<PlacementDomain> domains;
  std::vector<uint64_t> tensor_bytes;
  std::vector<PlacementNode> nodes;  // in an order in which they can run
  std::vector<int32_t> outputs;      // must lie in host memory at the end
};

struct Placement {
  std::vector<uint32_t> option;  // per node: index into its options
  double cost_ns = 0;            // nodes and copies
  double copy_ns = 0;            // the copies' part
  bool exact = true;             // false: there were more states than kMaxPlacementStates
};

// Where memory is: place 0 is host memory, the CPU's and that of every device which shares it; each other device is a
// place of its own. A tensor's whereabouts are a mask of places. Used by Place and by whoever carries its result out,
// so that both mean the same copies.
class Places {
 public:
  explicit Places(std::span<const PlacementDomain> domains);
  size_t count() const { return price_.size(); }
  uint32_t of(uint32_t domain) const { return place_of_[domain]; }
  uint32_t domain(uint32_t place) const { return domain_of_[place]; }  // of host memory: 0
  double CopyNs(uint32_t place, uint64_t bytes) const;                 // one copy between host memory and there
  // The place outside host memory from which `mask` (not empty, without bit 0) is brought there for least; the lower
  // one of two.
  uint32_t Source(uint32_t mask, uint64_t bytes) const;
  // What bringing a tensor of `bytes` to `place` costs, through host memory where that is needed; adds to *mask where
  // it lies afterwards. 0 when it is there.
  double Bring(uint32_t place, uint64_t bytes, uint32_t* mask) const;

 private:
  std::vector<uint32_t> place_of_, domain_of_;
  std::vector<PlacementDomain> price_;
};

Placement Place(const PlacementProblem& problem);

// What a given choice of options costs: the sum Place minimises. copy_ns: (optional) the copies' part.
double PlacementCost(const PlacementProblem& problem, std::span<const uint32_t> option, double* copy_ns);

}  // namespace sage

#endif  // SAGE_ENGINE_PLAN_PLACEMENT_H_
