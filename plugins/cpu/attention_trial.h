// attention_trial.h: the kernels at work on scratch tensors, with the tiles that somebody wants to compare.
//
// The tensors stand for a problem, they are not it: one sequence and one group of heads, dense, with as many rows and
// keys as time and memory allow, seen from the middle of the sequence where positions matter. One worker does it all:
// how large a tile should be is a matter of one core and its caches.
#ifndef SAGE_PLUGINS_CPU_ATTENTION_TRIAL_H_
#define SAGE_PLUGINS_CPU_ATTENTION_TRIAL_H_

#include <memory>
#include <string>
#include <vector>

#include "attention.h"

namespace sage::cpu {

struct TileSize {
  int64_t rows, keys;
};

class AttentionTrial {
 public:
  static constexpr int64_t kMostBytes = 16 << 20;  // of the tensors together

  // like: the problem that is stood for. Each of tiles is to be run `turns` times within budget_ns, by the kernels' own
  // price. Null, with *why, where not even the smallest stand-in is that fast, or there is no memory.
  static std::unique_ptr<AttentionTrial> Make(const AttentionDesign& like, const std::vector<TileSize>& tiles,
                                              double budget_ns, int turns, std::string* why);
  // Once through with tiles[i]. False where the kernels fail, which they do not.
  bool Run(size_t i);

 private:
  // A plan refers to the view beside it.
  struct Candidate {
    OpView view;
    std::unique_ptr<KernelPlan> plan;
    int repeats = 1;  // so that a run is longer than what the clock and an interrupt cost
  };
  explicit AttentionTrial(const AttentionDesign& like);
  bool SetSize(const AttentionDesign& like, int64_t rows, int64_t keys, std::string* why);
  // The op that the current size and these tiles make, taken in; its features.
  bool TakeIn(const AttentionDesign& like, TileSize tiles, OpView* view, uint64_t* features, std::string* why);

  Context context_;  // one worker, no tuning
  sage_tensor tensors_[4]{};
  std::vector<std::shared_ptr<HostBlock>> blocks_;
  std::shared_ptr<HostBlock> workspace_;
  std::vector<std::unique_ptr<Candidate>> candidates_;
};

}  // namespace sage::cpu

#endif  // SAGE_PLUGINS_CPU_ATTENTION_TRIAL_H_
