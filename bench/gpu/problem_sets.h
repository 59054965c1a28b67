// problem_sets.h: an attention problem's tensors on a device, several sets of them, so that calls that take turns over
// the sets find none of their operands in a cache.
//
// Data: every element of Q, K and V is one of a pool of numbers that whoever orders the measurement has drawn: element
// e of a tensor is pool[(start + e) % size], with a start of its own for each tensor of each set. So everybody has the
// same numbers, no large file is written, and whoever checks computes any row without the tensor. The pool's size is
// prime, so that no two rows of a head begin at the same element of it.
#ifndef SAGE_BENCH_GPU_PROBLEM_SETS_H_
#define SAGE_BENCH_GPU_PROBLEM_SETS_H_

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "device.h"
#include "plan/problem.h"

namespace sage::bench {

// The file's elements in a device's memory.
struct Pool {
  DeviceMemory memory;
  uint64_t bytes = 0;
};
Result<Pool> LoadPool(Device& device, const std::string& path);
// Fills `bytes` at `to` with the pool again and again, from its element `start`; enqueued.
Status FillFromPool(Device& device, const Pool& pool, uint64_t element_bytes, uint64_t start, void* to, uint64_t bytes);

class ProblemSets {
 public:
  // order: {"problem", "pool": file, "starts": {"q": [a set each], "k", "v"}, "page_step", "page_start"}: entry n of
  // all block tables together is (n * page_step + page_start) % pages. Lengths are the whole of K. Slots beyond Q, K,
  // V, O, lengths and block tables are refused.
  static Result<std::unique_ptr<ProblemSets>> Make(Device& device, const nlohmann::json& order);

  // With data null and the device's type: what a plan is asked about.
  const sage_op& op() const { return problem_->op; }
  size_t count() const { return sets_.size(); }
  uint64_t bytes() const { return set_bytes_; }  // of one set
  const std::vector<const sage_tensor*>& slots(size_t set) const { return sets_[set].slots; }

  // Every byte of a set's O becomes 0xFF, a NaN in every float.
  Status Poison(size_t set);
  // {"values": [[...] a row], "not_finite": of all of O}; rows are numbers of [B,Hq,Sq] in that order.
  Result<nlohmann::ordered_json> ReadRows(size_t set, const std::vector<int64_t>& rows);

 private:
  struct Set {
    DeviceMemory memory;
    std::vector<sage_tensor> tensors;
    std::vector<const sage_tensor*> slots;
  };
  explicit ProblemSets(Device& device) : device_(device) {}
  Status FillSet(Set& set, const Pool& pool, const nlohmann::json& order, size_t number);

  Device& device_;
  std::unique_ptr<Problem> problem_;
  std::vector<Set> sets_;
  uint64_t set_bytes_ = 0;
};

}  // namespace sage::bench

#endif  // SAGE_BENCH_GPU_PROBLEM_SETS_H_
