// q15.cc: Q15 attention asked, planned and run: blocks, scratch, price, and the factors of a call.
#include "q15.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "cpu/parallel.h"
#include "cpu/workspace_layout.h"
#include "q15_block.h"
#include "sage/support/check_op.h"
#include "scales.h"

namespace sage::int8 {
namespace {

// Rows that share a tile of keys once it is loaded, and keys of a tile: K's and V's stay in L1 up to dimension 128.
constexpr int64_t kRows = 8, kKeys = 64;

// Of one core, measured on a Zen 4 at 3.7 GHz; NEON: expected.
struct Q15Rates {
  double products;   // multiply-adds a nanosecond
  double weight_ns;  // of one key's weight
};
Q15Rates RatesOf(cpu::Isa isa) {
  return isa == cpu::Isa::kScalar ? Q15Rates{2, 4} : isa == cpu::Isa::kNeon ? Q15Rates{6, 6} : Q15Rates{18, 1.5};
}

// The instruction set that is used where `isa` may be.
cpu::Isa IsaUsed([[maybe_unused]] cpu::Isa isa) {
#if defined(__x86_64__)
  if (cpu::Runs(cpu::Isa::kAvx2, isa)) return cpu::Isa::kAvx2;
#elif defined(__aarch64__)
  if (isa == cpu::Isa::kNeon) return cpu::Isa::kNeon;
#endif
  return cpu::Isa::kScalar;
}

const Q15Kernels& KernelsOf([[maybe_unused]] cpu::Isa used) {
#if defined(__x86_64__)
  if (used == cpu::Isa::kAvx2) return kQ15Avx2;
#elif defined(__aarch64__)
  if (used == cpu::Isa::kNeon) return kQ15Neon;
#endif
  return kQ15Scalar;
}

void LayOut(Q15Design* design) {
  const cpu::AttentionSizes& sizes = design->attention.bounds;
  const double rows = static_cast<double>(design->rows);
  const double keys = static_cast<double>(RoundUp(design->keys, kQ15KeyStep));
  const double dim = static_cast<double>(design->dim_padded), dim_v = static_cast<double>(design->dim_v_padded);
  Q15Scratch& at = design->scratch;
  cpu::WorkspaceLayout scratch;
  at.queries = scratch.Take(rows * dim, sizeof(int16_t));
  at.tile = scratch.Take(keys * std::max(dim, dim_v), sizeof(int16_t));
  at.scores = scratch.Take(rows * static_cast<double>(design->score_stride), sizeof(int64_t));
  at.sums = scratch.Take(rows * dim_v, sizeof(int64_t));
  at.weight_sums = scratch.Take(rows, sizeof(uint64_t));
  at.low = scratch.Take(rows, sizeof(int64_t));
  at.high = scratch.Take(rows, sizeof(int64_t));
  at.bytes = static_cast<uint64_t>(std::min(scratch.total(), cpu::kMaxWorkspace));

  const double heads = static_cast<double>(sizes.batch) * static_cast<double>(sizes.heads_q);
  cpu::WorkspaceLayout front;
  front.Take(static_cast<double>(sizes.batch) + 1, sizeof(int64_t));
  design->score_factors_at = front.Take(heads, sizeof(ScoreFactor));
  design->output_factors_at = front.Take(heads, sizeof(OutputFactor));
  design->scratch_at = front.Take(0, 1);
  design->workspace_bytes = front.total() + scratch.total() * static_cast<double>(design->workers);
}

// The part of the score matrix that positions leave, about.
double VisibleShare(const Q15Design& design, int64_t longest) {
  const sage_attention_attributes& attributes = design.attention.view->attributes.attention;
  const uint64_t features = design.attention.features;
  const bool causal = (features & SAGE_ATTN_F_CAUSAL) != 0, right = (features & SAGE_ATTN_F_WINDOW_RIGHT) != 0;
  const double queries = static_cast<double>(design.attention.bounds.seq_q), keys = static_cast<double>(longest);
  if (queries <= 1 || keys <= 1) return 1;
  double share = causal ? std::max(0.5, 1 - queries / keys / 2) : 1;
  if ((features & SAGE_ATTN_F_WINDOW_LEFT) != 0 && (causal || right)) {
    const double ahead = causal ? 0 : static_cast<double>(attributes.window_right);
    // Tiles are computed whole, by as many rows as share one.
    share = std::min(share, (static_cast<double>(attributes.window_left) + ahead + kKeys) / keys);
  }
  return share;
}

Q15Design Design(const cpu::Context& context, const OpView& view, uint64_t features) {
  const sage_attention_attributes& attributes = view.attributes.attention;
  Q15Design design;
  design.attention.context = &context;
  design.attention.view = &view;
  design.attention.features = features;
  design.attention.bounds = cpu::ReadAttentionSizes(view.pointers.data(), view.op.num_slots);
  const cpu::AttentionSizes& sizes = design.attention.bounds;
  design.attention.scale =
      (features & SAGE_ATTN_F_SCALE) != 0 ? attributes.scale : 1.0 / std::sqrt(static_cast<double>(sizes.dim_qk));
  design.isa = IsaUsed(cpu::IsaFor(context, view));
  design.kernels = &KernelsOf(design.isa);

  const int64_t longest = Q15LongestKv(view);
  design.keys =
      std::clamp<int64_t>(attributes.block_kv != 0 ? attributes.block_kv : kKeys, 1, std::max<int64_t>(longest, 1));
  design.rows = attributes.block_q != 0 ? attributes.block_q : kRows;
  design.dim_padded = RoundUp(sizes.dim_qk, kQ15DimStep);
  design.dim_v_padded = RoundUp(sizes.dim_v, kQ15DimStep);
  design.score_stride = RoundUp(longest, design.keys) + kQ15ReadsOn;

  const Q15Rates rates = RatesOf(design.isa);
  design.score_ns = rates.weight_ns + static_cast<double>(design.dim_padded + design.dim_v_padded) / rates.products;
  const double queries = static_cast<double>(sizes.seq_q) * (sizes.varlen ? 1 : static_cast<double>(sizes.batch));
  const double rows = queries * static_cast<double>(sizes.heads_q);
  design.alone_ns = 500 + rows * static_cast<double>(longest) * VisibleShare(design, longest) * design.score_ns +
                    rows * static_cast<double>(design.dim_v_padded);
  if (rows < static_cast<double>(design.rows)) design.rows = std::max<int64_t>(static_cast<int64_t>(rows), 1);
  design.workers = design.alone_ns < cpu::kInlineNs ? 1 : context.num_workers;
  LayOut(&design);
  return design;
}

class Q15Plan final : public KernelPlan {
 public:
  explicit Q15Plan(const Q15Design& design) : design_(design) {
    workspace_bytes = static_cast<uint64_t>(design.workspace_bytes);
  }

  sage_status Run(const sage_run_args& args, sage_error* err) const override {
    const cpu::AttentionDesign& attention = design_.attention;
    const char* why = nullptr;
    const sage_status status = support::CheckAttentionIndices(attention.view->attributes.attention, attention.features,
                                                              args.slots, args.num_slots, &why);
    if (status != SAGE_OK) return sage_fail(err, status, "attention: %s", why == nullptr ? "bad indices" : why);
    Q15Call call(design_, args);
    char* const workspace = static_cast<char*>(args.workspace);
    call.score_factors = reinterpret_cast<ScoreFactor*>(workspace + design_.score_factors_at);
    call.output_factors = reinterpret_cast<OutputFactor*>(workspace + design_.output_factors_at);
    const sage_status factors = ReadScales(&call, err);
    if (factors != SAGE_OK) return factors;
    if (call.attention.sizes.append) cpu::AppendKeys(call.attention);

    const cpu::AttentionSizes& sizes = call.attention.sizes;
    auto* const first_block = reinterpret_cast<int64_t*>(workspace);
    double scores = 0;
    first_block[0] = 0;
    for (int64_t b = 0; b < sizes.batch; ++b) {
      const cpu::AttentionSequence sequence = call.attention.Sequence(b);
      const int64_t rows = sequence.q_rows * sizes.group;
      first_block[b + 1] = first_block[b] + (rows + design_.rows - 1) / design_.rows;
      scores += static_cast<double>(rows) * static_cast<double>(sequence.k_used);
    }
    call.first_block = first_block;
    const int64_t groups = sizes.heads_q / sizes.group;
    const double ns = design_.workers == 1 ? 0 : scores * static_cast<double>(groups) * share_ * design_.score_ns;
    char* const scratch = workspace + design_.scratch_at;
    cpu::ParallelFor(attention.context->host, ns, first_block[sizes.batch] * groups, 1,
                     [&](int64_t begin, int64_t end, uint32_t worker) {
                       for (int64_t task = begin; task < end && !call.attention.Cancelled(); ++task)
                         RunBlock(call, task / groups, task % groups, scratch + worker * design_.scratch.bytes);
                     });
    return cpu::Finish(attention.context->host, args, err);
  }

 private:
  void RunBlock(Q15Call& call, int64_t block, int64_t group, char* scratch) const {
    const int64_t* const after =
        std::upper_bound(call.first_block, call.first_block + call.attention.sizes.batch, block);
    const int64_t b = after - call.first_block - 1;
    const int64_t first = (block - call.first_block[b]) * design_.rows;
    const int64_t rows = call.attention.QueryRows(b) * call.attention.sizes.group;
    Q15Block(call, b, group, first, std::min(design_.rows, rows - first), scratch).Run();
  }

  // All the floating point there is, but for an O of floats.
  sage_status ReadScales(Q15Call* call, sage_error* err) const {
    const cpu::AttentionCall& attention = call->attention;
    const cpu::AttentionSizes& sizes = attention.sizes;
    const sage_attention_attributes& attributes = design_.attention.view->attributes.attention;
    const Scales of_q(attention, SAGE_ATTN_SCALE_Q, attributes.granularity_q);
    const Scales of_k(attention, SAGE_ATTN_SCALE_K, attributes.granularity_k);
    const Scales of_v(attention, SAGE_ATTN_SCALE_V, attributes.granularity_v);
    const Scales of_o(attention, SAGE_ATTN_SCALE_O, attributes.granularity_o);
    const auto read = [err](const Scales& scales, const char* name, int64_t b, int64_t head, double* to) {
      if (!scales.Good(kScalarKernels, b, head, 0, 1)) return scales.Refuse(name, b, head, 0, 1, err);
      float scale = 1;
      scales.OfTokens(b, head, 0, 0, 1, &scale);
      *to = static_cast<double>(scale);
      return sage_status{SAGE_OK};
    };
    for (int64_t b = 0; b < sizes.batch; ++b) {
      for (int64_t head = 0; head < sizes.heads_q; ++head) {
        double q = 0, k = 0, v = 0, o = 0;
        sage_status status = read(of_q, "SCALE_Q", b, head, &q);
        if (status == SAGE_OK) status = read(of_k, "SCALE_K", b, head / (sizes.heads_q / sizes.heads_k), &k);
        if (status == SAGE_OK) status = read(of_v, "SCALE_V", b, head / (sizes.heads_q / sizes.heads_v), &v);
        if (status == SAGE_OK) status = read(of_o, "SCALE_O", b, head, &o);
        if (status != SAGE_OK) return status;
        call->score_factors[b * sizes.heads_q + head] =
            ScoreFactorOf(design_.attention.scale * q * k * std::numbers::log2e, sizes.dim_qk);
        call->output_factors[b * sizes.heads_q + head] = OutputFactorOf(v / o);
      }
    }
    return SAGE_OK;
  }

  Q15Design design_;
  double share_ = VisibleShare(design_, Q15LongestKv(*design_.attention.view));
};

}  // namespace

void AskQ15(const cpu::Context& context, const OpView& view, uint64_t features, sage_answer* answer) {
  if (RefuseQ15(view, features, answer)) return;
  const Q15Design design = Design(context, view, features);
  if (design.workspace_bytes >= cpu::kMaxWorkspace)
    return sage_refuse(answer, 0, "attention of this size needs %.3g bytes of workspace, more than the %.3g possible",
                       design.workspace_bytes, cpu::kMaxWorkspace);
  sage_accept(answer, cpu::ParallelNs(context, design.alone_ns), SAGE_COST_MODEL, SAGE_ACCURACY_LOSSY,
              static_cast<uint64_t>(design.workspace_bytes),
              "Q15 attention by %s kernels in 16-bit fixed point, sums in 64 bits, blocks of %lld rows by %lld keys",
              cpu::IsaName(design.isa), static_cast<long long>(design.rows), static_cast<long long>(design.keys));
}

sage_status PlanQ15(const cpu::Context& context, const OpView& view, uint64_t features, const KernelPlan*,
                    std::unique_ptr<KernelPlan>* out, sage_error* err) {
  *out = std::make_unique<Q15Plan>(Design(context, view, features));
  return sage_succeed(err);
}

}  // namespace sage::int8
