// attention_tile.h: one query tile on one worker: its rows, what each of them may see, and the steps that the two
// algorithms are made of.
#ifndef SAGE_PLUGINS_CPU_ATTENTION_TILE_H_
#define SAGE_PLUGINS_CPU_ATTENTION_TILE_H_

#include "attention.h"

namespace sage::cpu {

// Keys first..first+count of the sequence, count <= tile_keys.
struct KeyTile {
  int64_t first, count;
};

// What a group of rows computes of a key tile; lanes count from the tile's first key.
struct LaneRange {
  int64_t begin, end;  // whole registers
  int64_t low, high;   // of the rows together, what any of them may see
  bool uniform;        // every row sees all of [low, high)
};

// While it lives, the worker may call the kernels' products.
template <class T>
class KernelScope {
 public:
  explicit KernelScope(const AttentionKernels<T>& kernels) : kernels_(kernels) {
    if (kernels_.begin_task != nullptr) kernels_.begin_task();
  }
  ~KernelScope() {
    if (kernels_.end_task != nullptr) kernels_.end_task();
  }
  KernelScope(const KernelScope&) = delete;
  KernelScope& operator=(const KernelScope&) = delete;

 private:
  const AttentionKernels<T>& kernels_;
};

template <class T>
class QueryTile {
 public:
  QueryTile(AttentionCall& call, const AttentionKernels<T>& kernels, char* scratch);

  // Rows, intervals and Q of a task; O, sums and maxima cleared.
  void Begin(int64_t task);
  void Clear();  // what Begin clears, again
  int64_t rows() const { return rows_; }
  int64_t first_key() const { return first_key_; }  // all that any row may see lies in [first_key, last_key)
  int64_t last_key() const { return last_key_; }
  const AttentionSequence& sequence() const { return sequence_; }

  // False where block masks leave nothing of the tile to any of the rows [row, row+count).
  bool Kept(const KeyTile& keys, int64_t row, int64_t count) const;
  // next: the tile that will be loaded after this one, count 0 where there is none: its rows are asked for meanwhile.
  void LoadKeys(const KeyTile& keys, const KeyTile& next);
  void LoadValues(const KeyTile& keys);
  // Few rows: K and V are read where they lie, in the place of LoadKeys, Dots, LoadValues and Accumulate.
  bool FewRows() const { return in_place_ && rows_ <= kernels_.few_rows; }
  void DotsInPlace(const KeyTile& keys, const KeyTile& next, const LaneRange& lanes);
  void AccumulateFew(const KeyTile& keys, const LaneRange& lanes, T* weights);
  LaneRange GroupLanes(const KeyTile& keys, int64_t row, int64_t count) const;
  // Between two chunks of keys: what the rows have is put aside, and they begin anew.
  void EndChunk();
  // After the last chunk: the rows have all that their chunks had, merged in order.
  void MergeChunks();
  // The state of the rows as a chunk of its own, and its merge into what the rows have. partial: PartialBytes.
  void StorePartial(char* partial) const;
  void MergePartial(const char* partial);
  // Raw dots of rows [row, row+count), at most a row group, over lanes [begin,end) of the keys loaded last. all: those
  // that a row may not see must be right too.
  void Dots(int64_t row, int64_t count, int64_t begin, int64_t end, bool all, T* scores);
  // Dots of one row become scores, in place; the maximum. all: before visibility. *partly: a mask hides lanes.
  T Prepare(const KeyTile& keys, int64_t row, int64_t begin, int64_t end, bool all, T* scores, bool* partly);
  // Softmax of a group's dots over its lanes: weights in place, maxima, sums and alphas moved. *partly as above.
  void Online(const KeyTile& keys, int64_t row, int64_t count, const LaneRange& lanes, T* scores, bool* partly);
  // O rows = O rows * alpha + weights * V.
  void Accumulate(const KeyTile& keys, int64_t row, int64_t count, const LaneRange& lanes, const T* weights);
  // O / denominator and LSE, of all rows.
  void Store() const;
  double Denominator(int64_t row) const;  // 0 where the row saw nothing

  int64_t Head(int64_t row) const { return head_[row]; }
  int64_t Query(int64_t row) const { return query_[row]; }
  int64_t batch() const { return b_; }
  T* scores() const { return scores_; }
  T& maximum(int64_t row) { return maximum_[row]; }
  T& sum(int64_t row) { return sum_[row]; }
  T& alpha(int64_t row) { return alpha_[row]; }

 private:
  const T* BiasRow(const KeyTile& keys, int64_t row, int64_t begin, int64_t end);
  const uint64_t* KeepRow(const KeyTile& keys, int64_t row, int64_t low, int64_t high);
  void KeepBlocks(const KeyTile& keys, int64_t row, int64_t end);
  void KeepColumns(const KeyTile& keys, int64_t row, int64_t end);
  bool AnyBlock(const KeyTile& keys, int64_t head, int64_t tile_row) const;
  bool AnyColumn(const KeyTile& keys, int64_t head, int64_t tile_row) const;
  // rows_pointers_ filled for `padded` rows of the slot, the last one repeated; made contiguous where they are not.
  void PointAtKeys(uint32_t slot, int64_t head, const KeyTile& keys, int64_t padded);
  // Lists the rows in the order in which they will be read: K's of the tile, V's, those of the next tile's K. Whoever
  // reads the i-th asks for the one kAheadKeys later.
  void Foresee(const KeyTile& keys, const KeyTile& next);
  // The rows themselves, of those that are asked for ahead while they are read.
  static const void* const* Listed(const void* const* ahead) { return ahead - kAheadKeys; }
  void AddressKeys(uint32_t slot, int64_t head, const KeyTile& keys, const void** pointers) const;
  void Gather(const sage_tensor& tensor, int64_t count, int64_t padded, int64_t length);
  // How the kernels are to take what row_pointers_ point to, which is converted first where the operands say so.
  Stored Converted(uint32_t slot, int64_t head, const KeyTile& keys, int64_t padded);
  // Rows of scores or weights, for products with numbers that mean something else than what is stored.
  void MultiplyByFactors(uint32_t slot, int64_t head, const KeyTile& keys, const LaneRange& lanes, T* rows);
  // What the kernels' form cannot hold, by attention_unfit.cc. Of rows_pointers_: found, counted and zeroed.
  int64_t SetUnfitAside(uint32_t slot, int64_t count, int64_t length, uint8_t* unfit);
  // Whether a row may see a key that is marked in `unfit`; all: whether there is one.
  bool SeesUnfit(const KeyTile& keys, int64_t row, const uint8_t* unfit, bool all);
  void DotsOtherwise(int64_t row, int64_t count, int64_t begin, int64_t end, bool all, T* scores);
  void AccumulateOtherwise(const KeyTile& keys, int64_t row, int64_t count, const LaneRange& lanes, const T* weights);
  void LoadOtherQueries(int64_t row, int64_t count);
  void LoadOtherKeys();
  void LoadOtherValues(const KeyTile& keys);
  double SinkOf(int64_t row) const;
  Stored StoredAs(uint32_t slot) const;

  AttentionCall& call_;
  const AttentionDesign& design_;
  const AttentionKernels<T>& kernels_;
  char *q_, *panels_, *values_;  // packed
  T *scores_, *out_, *maximum_, *sum_, *alpha_, *bias_;
  uint64_t* keep_;
  T *total_out_, *total_maximum_, *total_sum_;  // of the chunks before
  int64_t *low_, *high_;                        // the keys that positions and lengths leave to each row
  int64_t *query_, *head_;                      // which row is it
  const void **row_pointers_, **ahead_pointers_;
  char* gathered_;
  float *converted_, *factors_;
  // Where the kernels have others for what is unfit.
  char *other_q_, *other_panels_, *other_values_, *zeros_;
  uint8_t *unfit_q_, *unfit_k_, *unfit_v_;

  int64_t b_ = 0, group_ = 0, first_head_ = 0, rows_ = 0, first_key_ = 0, last_key_ = 0;
  AttentionSequence sequence_{};
  int64_t keys_padded_ = 0;
  KeyTile loaded_{};  // by LoadKeys
  int64_t num_unfit_q_ = 0, num_unfit_k_ = 0, num_unfit_v_ = 0;
  bool other_keys_loaded_ = false, other_values_loaded_ = false;
  const char* k_ = nullptr;  // panels of the tile loaded last
  const void* v_ = nullptr;  // of the tile loaded last
  int64_t v_stride_ = 0;
  int v_finite_ = -1;  // unknown
  const void *const *k_ahead_ = nullptr, *const *v_ahead_ = nullptr;
  bool chunk_aside_ = false;
  bool plain_ = false;     // dots become scores by the factor alone
  bool in_place_ = false;  // few rows read K and V where they lie
  T factor_ = 0;           // the scale
};

}  // namespace sage::cpu

#endif  // SAGE_PLUGINS_CPU_ATTENTION_TILE_H_
