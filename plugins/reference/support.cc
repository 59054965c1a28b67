// support.cc: every refusal of the reference with its reason; whatever is not refused here, it computes.
#include "support.h"

#include <algorithm>
#include <iterator>

#include "attention_geometry.h"
#include "common/entries.h"

namespace sage::reference {
namespace {

using support::OpView;

constexpr RunFn kKernels[] = {nullptr,    RunAttention, RunLinear, RunMatmul, RunNorm,   RunUnary,
                              RunBinary,  RunSoftmax,   RunReduce, RunGather, RunConcat, RunSlice,
                              RunPermute, RunTopk,      RunRope,   RunPool};
static_assert(std::size(kKernels) == SAGE_OP_POOL + 1);

double Elements(const sage_tensor& tensor) { return static_cast<double>(ElementCount(tensor)); }

// Scalar operations of one run, by the rule "what the loops do"; conversions and index arithmetic are in the factors.
double Operations(const OpView& view) {
  switch (view.op.kind) {
    case SAGE_OP_ATTENTION: {
      const AttentionGeometry geometry(view, view.pointers.data(), static_cast<uint32_t>(view.pointers.size()));
      return static_cast<double>(geometry.row_count()) * static_cast<double>(geometry.seq_kv) *
             static_cast<double>(2 * geometry.dim_qk + 2 * geometry.dim_v + 40);
    }
    case SAGE_OP_LINEAR:
      return 3.0 * Elements(view.Slot(3)) * static_cast<double>(view.Slot(1).shape[1]);
    case SAGE_OP_MATMUL: {
      const sage_tensor& a = view.Slot(0);
      return 3.0 * Elements(view.Slot(2)) * static_cast<double>(a.shape[a.rank - 1]);
    }
    case SAGE_OP_TOPK: {
      const sage_tensor& values = view.Slot(1);
      const auto k = static_cast<double>(values.shape[view.attributes.topk.axis]);
      return 10.0 * Elements(view.Slot(0)) * (k + 1.0);
    }
    case SAGE_OP_POOL: {
      const double window = view.attributes.pool.window != 0 ? static_cast<double>(view.attributes.pool.window)
                                                             : static_cast<double>(view.Slot(0).shape[1]);
      return 20.0 * Elements(view.Slot(2)) * window;
    }
    case SAGE_OP_CONCAT:
      return 20.0 * Elements(view.Slot(0));
    case SAGE_OP_GATHER:
      return 20.0 * Elements(view.Slot(2)) + 5.0 * Elements(view.Slot(1));
    case SAGE_OP_SLICE:
    case SAGE_OP_PERMUTE:
      return 20.0 * Elements(view.Slot(1));
    case SAGE_OP_NORM:
    case SAGE_OP_SOFTMAX:
      return 60.0 * Elements(view.Slot(0));
    default:
      return 30.0 * Elements(view.Slot(0));
  }
}

}  // namespace

RunFn KernelOf(uint32_t kind) { return kind < std::size(kKernels) ? kKernels[kind] : nullptr; }

uint64_t WorkspacePerWorker(const OpView& view) {
  uint64_t doubles = 0;
  if (view.op.kind == SAGE_OP_ATTENTION) {
    const AttentionGeometry geometry(view, view.pointers.data(), static_cast<uint32_t>(view.pointers.size()));
    doubles = static_cast<uint64_t>(geometry.dim_qk) +
              static_cast<uint64_t>(std::max(geometry.dim_qk, geometry.dim_v)) + static_cast<uint64_t>(geometry.dim_v) +
              static_cast<uint64_t>(geometry.seq_kv);
  } else if (view.op.kind == SAGE_OP_LINEAR) {
    doubles = 2 * static_cast<uint64_t>(view.Slot(1).shape[1]);
  } else if (view.op.kind == SAGE_OP_MATMUL) {
    const sage_tensor& a = view.Slot(0);
    doubles = 2 * static_cast<uint64_t>(a.shape[a.rank - 1]);
  }
  return (doubles + 7) / 8 * 64;
}

void Decide(const sage_host& host, const OpView& view, uint64_t features, sage_answer* answer) {
  if (KernelOf(view.op.kind) == nullptr)
    return sage_refuse(answer, 0, "kind %u is newer than this build of the reference", view.op.kind);
  if (plugins::RefuseOffCpu(view, answer)) return;
  const uint64_t per_worker = WorkspacePerWorker(view);
  if (per_worker > (1ull << 62) / host.num_workers)
    return sage_refuse(answer, 0, "the score rows of %u workers would need more than 2^62 bytes", host.num_workers);

  const char* reason = "float64 element by element: the oracle, exact and slow";
  if (view.op.kind == SAGE_OP_ATTENTION) {
    const sage_attention_attributes& attention = view.attributes.attention;
    const bool tiles = attention.algorithm == SAGE_ALGORITHM_FLASH || attention.block_q != 0 || attention.block_kv != 0;
    reason = "float64, whole score rows, softmax in two passes: the oracle, exact and slow";
    if (tiles)
      reason = "float64, whole score rows: the oracle has no tiles, so algorithm, block_q and block_kv change nothing";
    if ((features & SAGE_ATTN_F_QUANT_SCALES) != 0 && attention.granularity_p != 0)
      reason = "float64, whole score rows: the oracle never quantises weights, so SCALE_P changes nothing";
  }
  // About 1 GF/s; a second worker is not promised.
  sage_accept(answer, 200.0 + Operations(view), SAGE_COST_RULE, SAGE_ACCURACY_EXACT, per_worker * host.num_workers,
              "%s", reason);
}

}  // namespace sage::reference
