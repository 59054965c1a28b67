// topk.cc: TOPK, the k best of every line in order, ties to the lower index; a NaN is an error.
//
// A heap of k holds the best so far, the worst of them on top; a piece of the line whose best does not beat that one is
// skipped whole. So a line costs little more than finding its maximum when k is small.
#include <algorithm>
#include <atomic>

#include "parallel.h"
#include "refusals.h"
#include "strided.h"

namespace sage::cpu {
namespace {

struct Entry {
  double key;  // the value, negated where the smallest are wanted
  int64_t index;
};

bool Better(const Entry& a, const Entry& b) { return a.key > b.key || (a.key == b.key && a.index < b.index); }

// Restores the heap (no entry is better than its children) below `at`.
void Sink(Entry* heap, int64_t size, int64_t at) {
  const Entry entry = heap[at];
  for (int64_t child = 2 * at + 1; child < size; child = 2 * at + 1) {
    if (child + 1 < size && Better(heap[child], heap[child + 1])) ++child;
    if (!Better(entry, heap[child])) break;
    heap[at] = heap[child];
    at = child;
  }
  heap[at] = entry;
}

double LineNs(Isa isa, int64_t length, int64_t k) {
  const double n = static_cast<double>(length), kept = static_cast<double>(k);
  return 50.0 + n * (isa == Isa::kScalar ? 3.0 : VectorNs(isa, 1.0)) + std::min(n, 4.0 * kept) * 8.0;
}

uint64_t BytesPerWorker(int64_t k) { return (static_cast<uint64_t>(k) * sizeof(Entry) + 63) / 64 * 64; }

class TopkPlan final : public KernelPlan {
 public:
  TopkPlan(const Context& context, const OpView& view)
      : host_(context.host), isa_(IsaFor(context, view)), attributes_(view.attributes.topk) {
    workspace_bytes = BytesPerWorker(view.Slot(1).shape[attributes_.axis]) * context.num_workers;
  }

  sage_status Run(const sage_run_args& args, sage_error* err) const override {
    const sage_tensor &x = *args.slots[0], &values = *args.slots[1], &indices = *args.slots[2];
    const uint32_t axis = static_cast<uint32_t>(attributes_.axis);
    if (ElementCount(x) == 0) return Finish(host_, args, err);
    Walk<3> outer;
    for (uint32_t i = 0; i < x.rank; ++i)
      if (i != axis) outer.Append(x.shape[i], {x.stride[i], values.stride[i], indices.stride[i]});
    outer.shape[outer.rank++] = 1;
    const int64_t length = x.shape[axis], k = values.shape[axis], size = SizeOf(x.dtype), count = outer.Lines();
    const int64_t index_size = SizeOf(indices.dtype);
    const uint64_t bytes = BytesPerWorker(k);
    const double ns = LineNs(isa_, length, k);
    std::atomic<int64_t> bad{INT64_MAX};  // the first line with a NaN, whoever finds it
    ParallelFor(host_, ns * static_cast<double>(count), count, std::max<int64_t>(1, static_cast<int64_t>(1e4 / ns)),
                [&](int64_t begin, int64_t end, uint32_t worker) {
                  Entry* const heap = reinterpret_cast<Entry*>(static_cast<char*>(args.workspace) + worker * bytes);
                  for (int64_t line = begin; line < end; ++line) {
                    if ((line & 15) == 0 && Cancelled(host_, args)) return;
                    int64_t start[3];
                    outer.LineStart(line, start);
                    const char* const from = BytesOf(x) + start[0] * size;
                    if (!Select(x.dtype, from, x.stride[axis], length, k, heap)) {
                      int64_t first = bad.load(std::memory_order_relaxed);
                      while (line < first && !bad.compare_exchange_weak(first, line, std::memory_order_relaxed)) {
                      }
                      continue;
                    }
                    for (int64_t i = 0; i < k; ++i) {
                      // The element itself, not its key: the bits of the input, sign of zero included.
                      std::memcpy(MutableBytesOf(values) + (start[1] + i * values.stride[axis]) * size,
                                  from + heap[i].index * x.stride[axis] * size, static_cast<size_t>(size));
                      char* const to = MutableBytesOf(indices) + (start[2] + i * indices.stride[axis]) * index_size;
                      if (indices.dtype == SAGE_I64)
                        WriteAs(to, heap[i].index);
                      else
                        WriteAs(to, static_cast<int32_t>(heap[i].index));
                    }
                  }
                });
    if (bad.load() != INT64_MAX)
      return sage_fail(err, SAGE_E_INVALID_ARGUMENT,
                       "TOPK: line %lld along axis %u holds a NaN, which has no place in an order; remove it first",
                       static_cast<long long>(bad.load()), axis);
    return Finish(host_, args, err);
  }

 private:
  // heap[0..k) = the best, in order. False: there is a NaN.
  bool Select(sage_dtype dtype, const char* from, int64_t step, int64_t length, int64_t k, Entry* heap) const {
    const LineKernels& lines = LinesFor(isa_);
    const int64_t size = SizeOf(dtype);
    alignas(64) double piece[kPiece];
    int64_t held = 0;
    for (int64_t i = 0; i < length; i += kPiece) {
      const int64_t n = std::min(kPiece, length - i);
      LoadLine(lines, dtype, from + i * step * size, step, n, piece);
      if (attributes_.smallest != 0) lines.unary(SAGE_FN_NEG, 0.0, piece, n);
      const double best = lines.extreme(piece, n, 0);
      if (best != best) return false;
      if (k == 0 || (held == k && !(best > heap[0].key))) continue;
      for (int64_t j = 0; j < n; ++j) {
        if (held < k) {
          heap[held++] = {piece[j], i + j};
          if (held == k)
            for (int64_t at = k / 2; at-- > 0;) Sink(heap, k, at);
        } else if (piece[j] > heap[0].key) {
          heap[0] = {piece[j], i + j};
          Sink(heap, k, 0);
        }
      }
    }
    for (int64_t last = k - 1; last > 0; --last) {  // the worst goes to the end
      std::swap(heap[0], heap[last]);
      Sink(heap, last, 0);
    }
    return true;
  }

  const sage_host* host_;
  Isa isa_;
  sage_topk_attributes attributes_;
};

}  // namespace

void AskTopk(const Context& context, const OpView& view, uint64_t, sage_answer* answer) {
  if (RefuseNonFloats(view, 1u << 2, answer)) return;
  const sage_tensor &x = view.Slot(0), &values = view.Slot(1);
  const int64_t length = x.shape[view.attributes.topk.axis], k = values.shape[view.attributes.topk.axis];
  const double count = static_cast<double>(ElementCount(x)) / static_cast<double>(std::max<int64_t>(1, length));
  const double ns = 100.0 + count * LineNs(IsaFor(context, view), length, k);
  sage_accept(answer, ParallelNs(context, ns), SAGE_COST_MODEL, kAccuracy, BytesPerWorker(k) * context.num_workers,
              "a heap of %lld a line; values are the input's bits", static_cast<long long>(k));
}

sage_status PlanTopk(const Context& context, const OpView& view, uint64_t, const KernelPlan*,
                     std::unique_ptr<KernelPlan>* out, sage_error* err) {
  *out = std::make_unique<TopkPlan>(context, view);
  return sage_succeed(err);
}

}  // namespace sage::cpu
