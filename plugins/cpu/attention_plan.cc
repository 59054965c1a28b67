// attention_plan.cc: attention asked, planned and run: tile sizes, scratch, price, and the tasks of a call.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "attention.h"
#include "attention_packed_keys.h"
#include "attention_tune.h"
#include "parallel.h"
#include "sage/support/check_op.h"
#include "workspace_layout.h"

namespace sage::cpu {
namespace {

// What the sizes of packed operands depend on.
struct KernelForm {
  int64_t width, row_group, few_rows, element, dim_step, row_tail, value_element, value_dim_step, value_step;
  int64_t other_group;  // of the table for what is unfit; 0: there is none
};

template <class T>
KernelForm FormOf(const AttentionKernels<T>& kernels) {
  return {kernels.width,         kernels.row_group,
          kernels.few_rows,      kernels.element,
          kernels.dim_step,      kernels.row_tail,
          kernels.value_element, kernels.value_dim_step,
          kernels.value_step,    kernels.otherwise == nullptr ? 0 : kernels.otherwise->row_group};
}

int64_t RoundUp(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

// The part of the score matrix that positions leave, where they are all known.
double VisibleShare(const AttentionDesign& design, double seq_q, double seq_kv) {
  if (seq_q <= 1 || seq_kv <= 1) return 1;
  const sage_attention_attributes& attributes = design.view->attributes.attention;
  double share = (design.features & SAGE_ATTN_F_CAUSAL) != 0 ? std::max(0.5, 1 - seq_q / seq_kv / 2) : 1;
  if ((design.features & SAGE_ATTN_F_WINDOW_LEFT) != 0) {
    const bool right = (design.features & SAGE_ATTN_F_WINDOW_RIGHT) != 0;
    const double ahead = right ? static_cast<double>(attributes.window_right) : 0;
    if (right || (design.features & SAGE_ATTN_F_CAUSAL) != 0)
      share = std::min(share, (static_cast<double>(attributes.window_left) + ahead + 1) / seq_kv);
  }
  return share;
}

// What one worker alone needs for `pairs` (query, key) pairs of each query head in `tasks` tiles.
double AloneNs(const AttentionDesign& design, double pairs, double share, double tasks) {
  const AttentionSizes& sizes = design.bounds;
  const AttentionRates& rates = design.rates;
  const double scores = pairs * share * static_cast<double>(sizes.heads_q);
  constexpr int64_t kExponential = 16;  // products that one costs
  const double products = scores * static_cast<double>(sizes.dim_qk + sizes.dim_v + kExponential);
  const double packed = scores / static_cast<double>(design.tile_rows) * static_cast<double>(sizes.dim_qk);
  return 200 + tasks * 200 + scores / static_cast<double>(design.tile_keys) * rates.row_ns + packed * rates.packed_ns +
         products / rates.products;
}

int64_t LongestQ(const AttentionDesign& design) {
  const int64_t bound = design.view->attributes.attention.max_seq_q;
  return design.bounds.varlen && bound > 0 ? std::min(bound, design.bounds.seq_q) : design.bounds.seq_q;
}

int64_t LongestKv(const AttentionDesign& design) {
  const int64_t bound = design.view->attributes.attention.max_seq_kv;
  return design.bounds.packed_kv() && bound > 0 ? std::min(bound, design.bounds.seq_kv) : design.bounds.seq_kv;
}

bool Strided(const OpView& view) {
  for (const uint32_t slot : {SAGE_ATTN_Q, SAGE_ATTN_K, SAGE_ATTN_V}) {
    const sage_tensor& tensor = view.Slot(slot);
    if (tensor.stride[tensor.rank - 1] != 1 && tensor.shape[tensor.rank - 1] > 1) return true;
  }
  return false;
}

// split_rows: of a query tile that is split.
void LayOut(AttentionDesign* design, const KernelForm& kernel, int64_t split_rows) {
  const AttentionSizes& sizes = design->bounds;
  const double number = design->wide ? 8 : 4, rows = static_cast<double>(design->tile_rows);
  const double keys = static_cast<double>(RoundUp(RoundUp(design->tile_keys, kernel.width), kernel.value_step));
  const double dim = static_cast<double>(design->dim_padded), dim_v = static_cast<double>(design->dim_v_padded);
  const double score_rows =
      design->materialised ? rows : static_cast<double>(std::max(kernel.row_group, kernel.few_rows));
  const double packed = static_cast<double>(kernel.element), packed_rows = rows + static_cast<double>(kernel.row_group);
  const double packed_value = static_cast<double>(kernel.value_element);
  AttentionScratch& at = design->scratch;
  WorkspaceLayout layout;
  at.q = layout.Take(packed_rows * dim, packed);
  at.panels = layout.Take(keys * dim, packed);
  at.scores = layout.Take(score_rows * static_cast<double>(design->score_stride), number);
  at.values = layout.Take(keys * dim_v, packed_value);
  at.out = layout.Take(rows * dim_v, number);
  at.maximum = layout.Take(rows, number);
  at.sum = layout.Take(rows, number);
  at.alpha = layout.Take(rows, number);
  at.total_out = layout.Take(rows * dim_v, number);
  at.total_maximum = layout.Take(rows, number);
  at.total_sum = layout.Take(rows, number);
  at.low = layout.Take(rows, 8);
  at.high = layout.Take(rows, 8);
  at.query = layout.Take(rows, 8);
  at.head = layout.Take(rows, 8);
  at.rows = layout.Take(std::max(rows, keys), sizeof(void*));
  at.ahead = layout.Take(2 * keys + static_cast<double>(AheadRows(0)), sizeof(void*));
  at.bias = layout.Take(keys, number);
  at.keep = layout.Take(keys / 64 + 2, 8);
  at.gathered = layout.Take(Strided(*design->view) ? std::max(rows, keys) * std::max(dim, dim_v) : 0, 8);
  at.converted = layout.Take(design->flavour != nullptr ? keys * std::max(dim, dim_v) : 0, number);
  at.factors = layout.Take(design->flavour != nullptr ? keys : 0, number);
  if (kernel.other_group != 0) {
    at.other_q = layout.Take(2 * static_cast<double>(kernel.other_group) * dim, number);
    at.other_panels = layout.Take(keys * dim, number);
    at.other_values = layout.Take(keys * dim_v, number);
    at.zeros = layout.Take(std::max(dim, dim_v), number);
    at.unfit_q = layout.Take(rows, 1);
    at.unfit_k = layout.Take(keys, 1);
    at.unfit_v = layout.Take(keys, 1);
  }
  at.bytes = static_cast<uint64_t>(std::min(layout.total(), kMaxWorkspace));

  WorkspaceLayout front;
  front.Take(2 * static_cast<double>(sizes.batch) + 1, 8);
  design->operands_at = front.Take(design->flavour == nullptr ? 0 : design->flavour->OperandBytes(*design), 1);
  const double tiles = static_cast<double>(design->split_tiles);
  design->counters_at = front.Take(tiles, 8);
  const double chunks = static_cast<double>(design->max_chunks);
  design->partials_at = front.Take(tiles * chunks * static_cast<double>(split_rows), (dim_v + 2) * number);
  design->scratch_at = front.Take(0, 1);
  design->workspace_bytes = front.total() + layout.total() * static_cast<double>(design->workers);
}

// Keys of a tile: a whole chunk, since each tile costs every row a maximum and a sum over lanes, and its output a
// rescaling. Of block masks a quarter: tiles are what is skipped.
constexpr int64_t kKeys = 512, kSparseKeys = 128, kLeastRows = 48;
constexpr double kTasksPerWorker = 4;  // below it the last ones leave workers idle

// Rows of a query tile. More share the packing of a tile of K; all of them must stay in L2 with their outputs, half of
// which is K's and V's.
int64_t RowsFor(const AttentionDesign& design, const KernelForm& kernel) {
  constexpr int64_t kMost = 192;
  if (design.materialised) {  // the scores of the rows are half of what L2 holds
    const int64_t line = design.score_stride * (design.wide ? 8 : 4);
    const int64_t rows = static_cast<int64_t>(design.context->l2_bytes / 2) / line;
    return std::clamp(rows / kernel.row_group, int64_t{2}, kMost / kernel.row_group) * kernel.row_group;
  }
  const int64_t row_bytes = design.dim_padded * kernel.element + 2 * design.dim_v_padded * (design.wide ? 8 : 4);
  const int64_t rows = static_cast<int64_t>(design.context->l2_bytes / 2) / row_bytes;
  // The faster the products, the more of them packing must be shared by.
  const int64_t most = std::max(kMost, 12 * kernel.row_group);
  return std::clamp(rows, kLeastRows, most) / kernel.row_group * kernel.row_group;
}

// Of a call with `rows` (query, head) rows in all: every worker must have some tiles.
int64_t SharedRows(const AttentionDesign& design, double rows) {
  if (design.workers <= 1 || design.tile_rows <= kLeastRows) return design.tile_rows;
  const double share = rows / (kTasksPerWorker * static_cast<double>(design.workers));
  if (share >= static_cast<double>(design.tile_rows)) return design.tile_rows;
  return std::max(static_cast<int64_t>(share) / kLeastRows * kLeastRows, kLeastRows);
}

// Sequences of unlike lengths: the longest first, so that no worker begins one when the others are done. What the tiles
// of one sequence do for themselves (QueryTile::Begin), for the batch.
void Order(const AttentionCall& call, int64_t* order) {
  std::iota(order, order + call.sizes.batch, int64_t{0});
  if (call.design.workers == 1 || (!call.sizes.varlen && !call.Has(SAGE_ATTN_SEQUSED_K))) return;
  const auto work = [&](int64_t b) {
    const AttentionSequence sequence = call.Sequence(b);
    return static_cast<double>(sequence.q_used) * static_cast<double>(sequence.k_used);
  };
  std::sort(order, order + call.sizes.batch, [&](int64_t a, int64_t b) {
    const double mine = work(a), other = work(b);
    return mine != other ? mine > other : a < b;
  });
}

class AttentionPlan final : public KernelPlan {
 public:
  explicit AttentionPlan(const AttentionDesign& design) : design_(design) {
    workspace_bytes = static_cast<uint64_t>(design.workspace_bytes);
    partials_bytes = design.scratch_at - design.partials_at;
    packed_kv_bytes = design.counters_at - design.operands_at;
  }
  sage_status Prepare(const AttentionPlan* like, sage_error* err) {
    if (design_.flavour != nullptr) return SAGE_OK;
    const std::shared_ptr<PackedKeys> theirs = like == nullptr ? nullptr : like->packed_keys_;
    const sage_status status = PackedKeys::Make(design_, theirs, &packed_keys_, err);
    if (packed_keys_ != nullptr && packed_keys_ != theirs) prepack_bytes = packed_keys_->bytes();
    return status;
  }
  sage_status Run(const sage_run_args& args, sage_error* err) const override {
    return design_.wide ? RunAs<double>(args, err) : RunAs<float>(args, err);
  }

 private:
  template <class T>
  sage_status RunAs(const sage_run_args& args, sage_error* err) const {
    const char* why = nullptr;
    const sage_status status = support::CheckAttentionIndices(design_.view->attributes.attention, design_.features,
                                                              args.slots, args.num_slots, &why);
    if (status != SAGE_OK) return sage_fail(err, status, "attention: %s", why == nullptr ? "bad indices" : why);
    AttentionCall call(design_, args);
    if (call.sizes.append) AppendKeys(call);
    call.operands = packed_keys_.get();

    auto* first_tile = static_cast<int64_t*>(args.workspace);
    char* const workspace = static_cast<char*>(args.workspace);
    char* const scratch = workspace + design_.scratch_at;
    if (design_.flavour != nullptr) {
      const sage_status prepared = design_.flavour->Prepare(call, workspace + design_.operands_at, &call.operands, err);
      if (prepared != SAGE_OK) return prepared;
    }
    double pairs = 0, all_rows = 0;
    int64_t longest_kv = 0;
    for (int64_t b = 0; b < call.sizes.batch; ++b) all_rows += static_cast<double>(call.QueryRows(b));
    call.tile_rows = SharedRows(design_, all_rows * static_cast<double>(call.sizes.heads_q));
    int64_t* order = first_tile + call.sizes.batch + 1;
    Order(call, order);
    call.order = order;
    first_tile[0] = 0;
    for (int64_t i = 0; i < call.sizes.batch; ++i) {
      const AttentionSequence sequence = call.Sequence(order[i]);
      const int64_t rows = sequence.q_rows * call.sizes.group;
      first_tile[i + 1] = first_tile[i] + (rows + call.tile_rows - 1) / call.tile_rows;
      pairs += static_cast<double>(sequence.q_used) * static_cast<double>(sequence.k_used);
      longest_kv = std::max(longest_kv, sequence.k_used);
    }
    call.first_tile = first_tile;
    int64_t tasks = first_tile[call.sizes.batch] * (call.sizes.heads_q / call.sizes.group);
    const double ns = design_.workers == 1 ? 0 : AloneNs(design_, pairs, share_, static_cast<double>(tasks));
    const int64_t chunks = (longest_kv + design_.chunk_keys - 1) / design_.chunk_keys;
    call.partial_bytes = static_cast<uint64_t>(
        RoundUp(call.tile_rows * (design_.dim_v_padded + 2) * static_cast<int64_t>(sizeof(T)), 64));
    const double partials = static_cast<double>(tasks * chunks) * static_cast<double>(call.partial_bytes);
    if (tasks <= design_.split_tiles && chunks > 1 && ns >= kInlineNs &&
        partials <= static_cast<double>(design_.scratch_at - design_.partials_at)) {
      call.chunks = chunks;
      call.chunks_done = reinterpret_cast<int64_t*>(workspace + design_.counters_at);
      call.partials = workspace + design_.partials_at;
      std::fill_n(call.chunks_done, tasks, int64_t{0});
      tasks *= chunks;
    }
    const AttentionKernels<T>& kernels = design_.kernels<T>();
    const auto run = design_.materialised ? RunMaterialised<T> : RunFlash<T>;
    ParallelFor(design_.context->host, ns, tasks, 1, [&](int64_t begin, int64_t end, uint32_t worker) {
      run(call, kernels, begin, end, scratch + worker * design_.scratch.bytes);
    });
    if (call.Cancelled()) return sage_fail(err, SAGE_E_CANCELLED, "the run was cancelled");
    return SAGE_OK;
  }

  AttentionDesign design_;
  std::shared_ptr<PackedKeys> packed_keys_;
  double share_ =
      VisibleShare(design_, static_cast<double>(design_.longest_q), static_cast<double>(design_.longest_kv));
};

// tuned (optional): tiles in place of the rule's.
AttentionDesign DesignWith(const Context& context, const OpView& view, uint64_t features, const TileSize* tuned,
                           const AttentionFlavour* flavour = nullptr) {
  const sage_attention_attributes& attributes = view.attributes.attention;
  AttentionDesign design;
  design.context = &context;
  design.flavour = flavour;
  design.view = &view;
  design.features = features;
  design.isa = FullIsaFor(context, view);
  design.wide = view.Slot(SAGE_ATTN_Q).dtype == SAGE_F64;
  design.materialised = attributes.algorithm == SAGE_ALGORITHM_MATERIALISED ||
                        (features & (SAGE_ATTN_F_WEIGHTS_OUT | SAGE_ATTN_F_SCORES_OUT)) != 0;
  design.bounds = ReadAttentionSizes(view.pointers.data(), view.op.num_slots);
  const AttentionSizes& sizes = design.bounds;
  design.scale =
      (features & SAGE_ATTN_F_SCALE) != 0 ? attributes.scale : 1.0 / std::sqrt(static_cast<double>(sizes.dim_qk));
  design.tile_keys = kKeys;
  if (flavour != nullptr)
    flavour->Select(&design);
  else
    SelectKernels(&design);
  if (design.isa_name == nullptr) design.isa_name = IsaName(design.isa);
  const KernelForm kernel = design.wide ? FormOf(*design.kernels_f64) : FormOf(*design.kernels_f32);
  design.dim_padded = RoundUp(sizes.dim_qk, kernel.dim_step) + kernel.row_tail;
  design.dim_v_padded = RoundUp(sizes.dim_v, kernel.value_dim_step);

  const int64_t longest_q = design.longest_q = LongestQ(design);
  const int64_t longest_kv = design.longest_kv = LongestKv(design);
  const double all_rows = static_cast<double>(longest_q) * static_cast<double>(sizes.group);
  const double queries = static_cast<double>(sizes.seq_q) * (sizes.varlen ? 1 : static_cast<double>(sizes.batch));
  const double groups = static_cast<double>(sizes.heads_q / sizes.group);
  // One tile that holds all keys has the bits of a longer one.
  const bool sparse = (features & (SAGE_ATTN_F_BLOCK_MASK | SAGE_ATTN_F_CSR_MASK)) != 0;
  const int64_t rule_keys = tuned != nullptr ? tuned->keys : sparse ? kSparseKeys : design.tile_keys;
  design.tile_keys = std::clamp<int64_t>(longest_kv, 1, attributes.block_kv != 0 ? attributes.block_kv : rule_keys);
  design.score_stride =
      design.materialised ? RoundUp(longest_kv, kernel.width) + kernel.width : RoundUp(design.tile_keys, kernel.width);
  const int64_t wanted_rows = attributes.block_q != 0 ? attributes.block_q
                              : tuned != nullptr
                                  ? std::max(tuned->rows / kernel.row_group * kernel.row_group, kernel.row_group)
                                  : RowsFor(design, kernel);
  design.tile_rows =
      std::max<int64_t>(1, all_rows < static_cast<double>(wanted_rows) ? static_cast<int64_t>(all_rows) : wanted_rows);
  if (design.tile_rows <= kernel.few_rows) design.rates.packed_ns /= 2;  // K is turned, but not stored
  design.chunk_keys = RoundUp(kChunkKeys, design.tile_keys);
  design.max_chunks = design.materialised ? 1 : (longest_kv + design.chunk_keys - 1) / design.chunk_keys;

  const double share = VisibleShare(design, static_cast<double>(longest_q), static_cast<double>(longest_kv));
  const auto tiles_of = [&](int64_t rows) {
    return std::ceil(queries * static_cast<double>(sizes.group) / static_cast<double>(rows)) * groups;
  };
  design.alone_ns = AloneNs(design, queries * static_cast<double>(longest_kv), share, tiles_of(design.tile_rows));
  if (flavour != nullptr) design.alone_ns += flavour->OperandNs(design);
  design.workers = design.alone_ns < kInlineNs ? 1 : context.num_workers;
  const int64_t rows = SharedRows(design, queries * static_cast<double>(sizes.heads_q));
  const double few = kTasksPerWorker * static_cast<double>(design.workers);
  const double tiles = tiles_of(rows) + static_cast<double>(sizes.batch) * groups;  // sequences end within tiles
  if (design.workers > 1 && design.max_chunks > 1 && tiles_of(rows) < few)
    design.split_tiles = static_cast<int64_t>(std::min(tiles, 2 * few));
  LayOut(&design, kernel, RoundUp(rows, 16));
  return design;
}

}  // namespace

AttentionDesign DesignAttention(const Context& context, const OpView& view, uint64_t features,
                                const AttentionFlavour* flavour) {
  AttentionDesign rule = DesignWith(context, view, features, nullptr, flavour);
  const AttentionTuner* tuner = context.tuner;
  if (tuner == nullptr || rule.workspace_bytes >= kMaxWorkspace || tuner->Candidates(rule).empty()) return rule;
  const std::optional<TileChoice> choice = tuner->Find(rule);
  if (!choice) {
    if (tuner->measures()) rule.tiles = AttentionDesign::Tiles::kToBeMeasured;
    return rule;
  }
  if (choice->gain == 0) return rule;
  const TileSize tiles{choice->tiles.rows, tuner->VariesKeys(rule) ? choice->tiles.keys : rule.tile_keys};
  AttentionDesign tuned = DesignWith(context, view, features, choice->gain > 1 ? &tiles : nullptr);
  if (tuned.workspace_bytes >= kMaxWorkspace) return rule;
  tuned.tiles = AttentionDesign::Tiles::kMeasured;
  tuned.tuned_gain = choice->gain;
  return tuned;
}

void AskAttention(const Context& context, const OpView& view, uint64_t features, sage_answer* answer) {
  if (!RefuseAttention(view, features, answer)) AskAttentionOf(context, view, features, nullptr, answer);
}

void AskAttentionOf(const Context& context, const OpView& view, uint64_t features, const AttentionFlavour* flavour,
                    sage_answer* answer) {
  const AttentionDesign design = DesignAttention(context, view, features, flavour);
  if (design.workspace_bytes >= kMaxWorkspace)
    return sage_refuse(answer, 0, "attention of this size needs %.3g bytes of workspace, more than the %.3g possible",
                       design.workspace_bytes, kMaxWorkspace);
  double workspace = design.workspace_bytes;
  if (design.tiles == AttentionDesign::Tiles::kToBeMeasured)  // the plan's will be one of these
    for (const TileSize& tiles : context.tuner->Candidates(design))
      workspace = std::max(workspace, DesignWith(context, view, features, &tiles).workspace_bytes);
  char how[96] = "";
  if (design.tiles == AttentionDesign::Tiles::kToBeMeasured)
    std::snprintf(how, sizeof how, " until the plan measures them");
  else if (design.tiles == AttentionDesign::Tiles::kMeasured && design.tuned_gain > 1)
    std::snprintf(how, sizeof how, " (%.0f %% over the rule's)", 100 * (design.tuned_gain - 1));
  else if (design.tiles == AttentionDesign::Tiles::kMeasured)
    std::snprintf(how, sizeof how, " (the rule's)");
  sage_accept(answer, ParallelNs(context, design.alone_ns), SAGE_COST_MODEL, design.accuracy,
              static_cast<uint64_t>(std::min(workspace, kMaxWorkspace)),
              "%s attention by %s kernels %s, %stiles of %lld rows by %lld keys%s",
              design.materialised ? "materialised" : "flash", design.isa_name, design.arithmetic,
              design.tiles == AttentionDesign::Tiles::kMeasured ? "tuned: " : "",
              static_cast<long long>(design.tile_rows), static_cast<long long>(design.tile_keys), how);
}

sage_status PlanAttention(const Context& context, const OpView& view, uint64_t features, const KernelPlan* like,
                          std::unique_ptr<KernelPlan>* out, sage_error* err) {
  return PlanAttentionOf(context, view, features, nullptr, like, out, err);
}

sage_status PlanAttentionOf(const Context& context, const OpView& view, uint64_t features,
                            const AttentionFlavour* flavour, const KernelPlan* like, std::unique_ptr<KernelPlan>* out,
                            sage_error* err) {
  AttentionDesign design = DesignAttention(context, view, features, flavour);
  if (design.tiles == AttentionDesign::Tiles::kToBeMeasured) {
    context.tuner->Measure(design);
    design = DesignAttention(context, view, features);
  }
  auto plan = std::make_unique<AttentionPlan>(design);
  const sage_status status = plan->Prepare(dynamic_cast<const AttentionPlan*>(like), err);
  if (status == SAGE_OK) *out = std::move(plan);
  return status;
}

}  // namespace sage::cpu
