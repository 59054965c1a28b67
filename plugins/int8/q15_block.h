// q15_block.h: some rows of queries of one K and V head, from codes to codes.
//
// Scores of all their keys are kept, 8 bytes each: the largest one is known before the first weight, so nothing is ever
// rescaled and a weight has the same bits wherever it is computed.
#ifndef SAGE_PLUGINS_INT8_Q15_BLOCK_H_
#define SAGE_PLUGINS_INT8_Q15_BLOCK_H_

#include <cstdint>

#include "cpu/attention.h"
#include "q15_kernels.h"
#include "q15_numbers.h"

namespace sage::int8 {

inline int64_t RoundUp(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

// Offsets, in bytes, of one worker's scratch.
struct Q15Scratch {
  uint64_t queries, tile, scores, sums, weight_sums, low, high, bytes;
};

// Fixed at plan time.
struct Q15Design {
  cpu::AttentionDesign attention;  // context, view, features, scale and bounds: what a call's slots are read by
  const Q15Kernels* kernels = nullptr;
  cpu::Isa isa = cpu::Isa::kScalar;
  int64_t rows = 0, keys = 0;  // of a block; of a tile of keys
  int64_t dim_padded = 0, dim_v_padded = 0, score_stride = 0;
  int64_t workers = 1;
  // In front of the scratch: the first block of every sequence, int64 [batch + 1]; by sequence and query head the
  // factors.
  uint64_t score_factors_at = 0, output_factors_at = 0, scratch_at = 0;
  Q15Scratch scratch{};
  double workspace_bytes = 0;
  double score_ns = 0, alone_ns = 0;  // one worker: of one score, all in; of the planned shapes
};

// One run's. Lives on the caller's stack while the workers are at it.
struct Q15Call {
  const Q15Design& design;
  cpu::AttentionCall attention;
  const int64_t* first_block = nullptr;
  ScoreFactor* score_factors = nullptr;    // [batch][heads_q]
  OutputFactor* output_factors = nullptr;  // as well

  Q15Call(const Q15Design& from, const sage_run_args& args) : design(from), attention(from.attention, args) {}
};

class Q15Block {
 public:
  // Rows [first, first + count) of sequence b and the group of heads `group`, counted head by head. scratch: the
  // worker's.
  Q15Block(Q15Call& call, int64_t b, int64_t group, int64_t first, int64_t count, char* scratch);

  // Writes their O. Stops early where the run was cancelled.
  void Run();

 private:
  struct Row {
    int64_t head, query;
  };
  Row At(int64_t r) const;
  // Keys [low, high) that the row sees.
  void See(int64_t r);
  void LoadQueries();
  void LoadKeys(int64_t first, int64_t count);
  void LoadValues(int64_t first, int64_t count);
  // Whether the row sees any of these keys.
  bool Sees(int64_t r, int64_t first, int64_t count) const {
    return low_[r] < high_[r] && low_[r] < first + count && high_[r] > first;
  }
  bool Scores();   // false: cancelled
  void Weigh();    // scores become weights
  bool Average();  // false: cancelled
  void Write(int64_t r) const;

  Q15Call& call_;
  const Q15Design& design_;
  const cpu::AttentionSequence sequence_;
  const int64_t b_, first_head_, first_, count_;
  int16_t *queries_, *tile_;
  int64_t *scores_, *sums_, *low_, *high_;
  uint64_t* weight_sums_;
  int64_t begin_ = 0, end_ = 0;  // keys that any row sees, from the beginning of a tile
};

}  // namespace sage::int8

#endif  // SAGE_PLUGINS_INT8_Q15_BLOCK_H_
