// attention.h: attention on this backend, in three stages: a design fixed at plan time, a call resolved at run time,
// and query tiles worked through by the workers.
//
// A task is one query tile of one sequence and one group of heads: rows that share their K and V head, packed from the
// group's query heads so that K and V are read once for all of them. Tiles of keys begin at multiples of the tile's
// length counted from the sequence's first key, whatever is visible, so padding and buckets never change bits.
//
// Chunks of kChunkKeys keys are computed each from nothing and merged in order, always, whoever computes them: so one
// query tile can be split over workers (decode: few queries, many keys; flash decoding as in Dao et al., 2023) and a
// decoded token still has the bits that prefill gives it.
#ifndef SAGE_PLUGINS_CPU_ATTENTION_H_
#define SAGE_PLUGINS_CPU_ATTENTION_H_

#include <atomic>
#include <cstdint>

#include "attention_kernels.h"
#include "attention_operands.h"
#include "family.h"
#include "sage/support/attention_dims.h"
#include "workspace_layout.h"

namespace sage::cpu {

constexpr uint64_t kAttentionFeatures =
    ((SAGE_ATTN_F_SCORES_OUT << 1) - 1) & ~(SAGE_ATTN_F_DROPOUT | SAGE_ATTN_F_QUANT_SCALES);

// Masks that are data.
constexpr uint64_t kDataMasks =
    SAGE_ATTN_F_BOOL_MASK | SAGE_ATTN_F_BIT_MASK | SAGE_ATTN_F_BLOCK_MASK | SAGE_ATTN_F_CSR_MASK;

// Rows of K and V ahead of the one that is read, which memory is asked for: enough that they arrive, few enough that
// they stay in L2 till then.
constexpr int64_t kAheadKeys = 256;
// Rows listed for a tile of `keys` keys; those of its last register may be read as well.
constexpr int64_t AheadRows(int64_t keys) { return 2 * keys + kAheadKeys + 64; }

// Keys of a chunk, at least: the first multiple of the key tile that is not below it.
constexpr int64_t kChunkKeys = 512;

// True where *answer has become NO: support.cc. view passed CheckOp. The second: for what is not of `served`, for
// dropout, and for whole rows by the flash algorithm.
bool RefuseAttention(const OpView& view, uint64_t features, sage_answer* answer);
bool RefuseFeatures(const OpView& view, uint64_t features, uint64_t served, sage_answer* answer);

// Sizes of a call or, with the planned slots, upper bounds of all calls.
struct AttentionSizes : support::AttentionDims {
  int64_t group = 0;  // consecutive query heads with one K head and one V head
};
AttentionSizes ReadAttentionSizes(const sage_tensor* const* slots, uint32_t num_slots);

// Offsets, in bytes, of one worker's scratch. T is float or double.
struct AttentionScratch {
  uint64_t q, panels, scores, values, out, maximum, sum, alpha, total_out, total_maximum, total_sum, low, high, query,
      head, rows, ahead, bias, keep, gathered, converted, factors, other_q, other_panels, other_values, zeros, unfit_q,
      unfit_k, unfit_v, bytes;
};

// Of one core, for prices.
struct AttentionRates {
  double products;   // multiply-adds a nanosecond, long sequences
  double packed_ns;  // one element of K or V on its way into registers
  double row_ns;     // one row's softmax of one key tile, beside its exponentials
};

struct AttentionCall;
struct AttentionDesign;

// Another backend's attention on the tiles of this one: kernels of its own, and operands that it prepares.
class AttentionFlavour {
 public:
  // In the place of SelectKernels. Sets tile_keys to the keys of a tile, at most, and isa to the cpu's nearest.
  virtual void Select(AttentionDesign* design) const = 0;
  // Of one call: what Prepare needs in its workspace, and how long it takes one worker.
  virtual double OperandBytes(const AttentionDesign& design) const = 0;
  virtual double OperandNs(const AttentionDesign& design) const = 0;
  // Before the tiles of a call, whose sequences are known and whose keys are appended. at: OperandBytes, aligned to 64,
  // the caller's until the call ends. *out lives there too.
  virtual sage_status Prepare(const AttentionCall& call, char* at, const AttentionOperands** out,
                              sage_error* err) const = 0;

 protected:
  ~AttentionFlavour() = default;
};

// Fixed at plan time, the same from the same question, but that tiles may have been measured in between.
struct AttentionDesign {
  const Context* context = nullptr;
  const AttentionFlavour* flavour = nullptr;  // null: this backend's own
  const OpView* view = nullptr;
  uint64_t features = 0;
  Isa isa = Isa::kScalar;
  const char* isa_name = nullptr;                        // of the kernels, as explain says it
  bool wide = false;                                     // T is double
  const AttentionKernels<float>* kernels_f32 = nullptr;  // one of the two, by `wide`
  const AttentionKernels<double>* kernels_f64 = nullptr;
  AttentionRates rates{};
  uint32_t accuracy = SAGE_ACCURACY_EXACT;
  const char* arithmetic = "";  // "in f32", as explain says it
  bool materialised = false;    // whole score rows
  AttentionSizes bounds;
  int64_t tile_rows = 0, tile_keys = 0;   // at most; a call may have shorter query tiles
  int64_t longest_q = 0, longest_kv = 0;  // of one sequence
  enum class Tiles { kByRule, kToBeMeasured, kMeasured } tiles = Tiles::kByRule;
  double tuned_gain = 0;  // where measured: the time with the rule's tiles over that with these
  int64_t chunk_keys = 0;
  int64_t dim_padded = 0, dim_v_padded = 0, score_stride = 0;
  int64_t workers = 1;  // those that have scratch
  int64_t max_chunks = 1;
  AttentionScratch scratch{};
  // In front of the scratch: the first tile of every sequence, int64 [batch + 1], and their order, int64 [batch]; the
  // flavour's operands; then, where query tiles may be split, the chunks done of each, int64, and the chunks' states.
  uint64_t operands_at = 0, counters_at = 0, partials_at = 0, scratch_at = 0;
  int64_t split_tiles = 0;  // 0: not planned for
  double workspace_bytes = 0;
  double scale = 0;
  double alone_ns = 0;  // one worker, planned shapes

  template <class T>
  const AttentionKernels<T>& kernels() const {
    if constexpr (sizeof(T) == sizeof(double))
      return *kernels_f64;
    else
      return *kernels_f32;
  }
};
// The kernels for what the design's op stores and accepts, their rates, class and name; sets isa to what they use.
void SelectKernels(AttentionDesign* design);

// workspace_bytes beyond kMaxWorkspace means that it cannot be: nothing else is meaningful then.
AttentionDesign DesignAttention(const Context& context, const OpView& view, uint64_t features,
                                const AttentionFlavour* flavour = nullptr);

// One sequence of a call. Rows from q_used on are padding and see no key.
struct AttentionSequence {
  int64_t q_begin, q_rows, q_used;  // q_begin: in packed rows; 0 otherwise
  int64_t k_begin, k_used;
  int64_t shift;
};

// One run. Lives on the caller's stack while the workers are at it.
struct AttentionCall {
  const AttentionDesign& design;
  const sage_run_args& args;
  AttentionSizes sizes;
  // The sequences, those with the most work first: [batch]; and the first tile of each in that order, of one head
  // group: [batch + 1].
  const int64_t* order = nullptr;
  const int64_t* first_tile = nullptr;
  const AttentionOperands* operands = nullptr;  // (optional) what is not packed as it is stored
  int64_t tile_rows = 0;
  int64_t chunks = 1;              // tasks that a query tile is split into
  int64_t* chunks_done = nullptr;  // by query tile, where split
  char* partials = nullptr;        // by query tile and chunk, where split
  uint64_t partial_bytes = 0;
  std::atomic<bool> cancelled{false};

  AttentionCall(const AttentionDesign& from, const sage_run_args& run)
      : design(from), args(run), sizes(ReadAttentionSizes(run.slots, run.num_slots)) {}

  bool Has(uint32_t slot) const { return slot < args.num_slots && args.slots[slot] != nullptr; }
  const sage_tensor& Slot(uint32_t slot) const { return *args.slots[slot]; }
  bool Is(uint64_t feature) const { return (design.features & feature) != 0; }
  AttentionSequence Sequence(int64_t b) const;
  int64_t QueryRows(int64_t b) const;
  // For the trace: what masks and positions saved, in tiles of keys, once a task.
  void CountTiles(int64_t computed, int64_t skipped) const;
  // Asks the host, and remembers.
  bool Cancelled();
  // Addresses of [0] of a row; i and j count within sequence b.
  char* QueryRow(uint32_t slot, const AttentionSequence& sequence, int64_t b, int64_t h, int64_t i) const;
  char* KeyRow(uint32_t slot, const AttentionSequence& sequence, int64_t b, int64_t head, int64_t j) const;
};

// What AskAttention and PlanAttention do behind the refusals, for a flavour that outlives the plan. like: of the same
// flavour.
void AskAttentionOf(const Context& context, const OpView& view, uint64_t features, const AttentionFlavour* flavour,
                    sage_answer* answer);
sage_status PlanAttentionOf(const Context& context, const OpView& view, uint64_t features,
                            const AttentionFlavour* flavour, const KernelPlan* like, std::unique_ptr<KernelPlan>* out,
                            sage_error* err);

// Bytes of an element, by DLPack's encoding.
inline int64_t ElementSize(sage_dtype dtype) { return dtype >> 11 & 0x1f; }

int32_t ReadIndex(const sage_tensor& tensor, int64_t i0, int64_t i1 = 0, int64_t i2 = 0);

// K_NEW and V_NEW behind the keys in use.
void AppendKeys(const AttentionCall& call);

// Tasks [begin,end) on one worker, which owns scratch.
template <class T>
void RunFlash(AttentionCall& call, const AttentionKernels<T>& kernels, int64_t begin, int64_t end, char* scratch);
template <class T>
void RunMaterialised(AttentionCall& call, const AttentionKernels<T>& kernels, int64_t begin, int64_t end,
                     char* scratch);

}  // namespace sage::cpu

#endif  // SAGE_PLUGINS_CPU_ATTENTION_H_
