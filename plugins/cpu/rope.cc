// rope.cc: ROPE, rotary positions: pairs of a head's elements turned by an angle that grows with the position.
//
// Angles, sines and the rotation are in double. The frequencies are computed at plan; the angles of one position are
// computed once for all its heads.
#include <algorithm>
#include <atomic>
#include <cmath>

#include "parallel.h"
#include "refusals.h"
#include "strided.h"

namespace sage::cpu {
namespace {

constexpr uint32_t kX = 0, kPositions = 1, kCos = 2, kSin = 3, kY = 4;

int64_t RotaryDim(const sage_rope_attributes& attributes, const sage_tensor& x) {
  return attributes.rotary_dim == 0 ? x.shape[x.rank - 1] : static_cast<int64_t>(attributes.rotary_dim);
}

// Per worker: sines and cosines of one position, and one head in double.
uint64_t BytesPerWorker(int64_t rotary, int64_t dim) {
  return (static_cast<uint64_t>(rotary / 2 + 8) * 2 + static_cast<uint64_t>(dim) + 8) * sizeof(double) / 64 * 64 + 64;
}

double OneWorkerNs(Isa isa, const sage_tensor& x, int64_t rotary, bool tables) {
  const double heads = static_cast<double>(std::max<int64_t>(1, x.shape[1]));
  const double elements = static_cast<double>(ElementCount(x));
  const double positions = elements / heads / static_cast<double>(std::max<int64_t>(1, x.shape[x.rank - 1]));
  return 100.0 + elements * (isa == Isa::kScalar ? 3.0 : VectorNs(isa, 1.0)) +
         positions * static_cast<double>(rotary) * (tables ? 1.0 : 12.0);
}

class RopePlan final : public KernelPlan {
 public:
  RopePlan(const Context& context, const OpView& view)
      : host_(context.host),
        isa_(IsaFor(context, view)),
        attributes_(view.attributes.rope),
        rotary_(RotaryDim(attributes_, view.Slot(kX))),
        tables_(view.Has(kCos)) {
    const sage_tensor& x = view.Slot(kX);
    bytes_per_worker_ = BytesPerWorker(rotary_, x.shape[x.rank - 1]);
    workspace_bytes = bytes_per_worker_ * context.num_workers;
  }

  sage_status Prepare(const RopePlan* like, sage_error* err) {
    if (tables_ || rotary_ == 0) return sage_succeed(err);
    if (like != nullptr && like->frequencies_ != nullptr && like->rotary_ == rotary_ &&
        like->attributes_.base == attributes_.base) {
      frequencies_ = like->frequencies_;
      return sage_succeed(err);
    }
    const uint64_t bytes = static_cast<uint64_t>(rotary_ / 2) * sizeof(double);
    const sage_status status = HostBlock::Make(host_, bytes, 64, &frequencies_, err);
    if (status != SAGE_OK) return status;
    prepack_bytes = bytes;
    double* const frequencies = static_cast<double*>(frequencies_->data());
    const double base = attributes_.base == 0.0 ? 10000.0 : attributes_.base;
    for (int64_t i = 0; i < rotary_ / 2; ++i)
      frequencies[i] = std::pow(base, -2.0 * static_cast<double>(i) / static_cast<double>(rotary_));
    return sage_succeed(err);
  }

  sage_status Run(const sage_run_args& args, sage_error* err) const override {
    const sage_tensor &x = *args.slots[kX], &positions = *args.slots[kPositions], &y = *args.slots[kY];
    if (ElementCount(y) == 0) return Finish(host_, args, err);
    // [B,H,S,D] or [T,H,D]: places are (b,s) or t, each with H heads.
    const bool batched = x.rank == 4;
    const int64_t seq = batched ? x.shape[2] : 1, places = x.shape[0] * seq;
    const int64_t rows = tables_ ? args.slots[kCos]->shape[0] : 0;
    const auto position_at = [&](int64_t place) {
      const int64_t first = place / seq, second = place % seq;
      const int64_t offset = first * positions.stride[0] + (batched ? second * positions.stride[1] : 0);
      return static_cast<int64_t>(ReadAs<int32_t>(BytesOf(positions) + offset * 4));
    };
    if (tables_) {
      for (int64_t place = 0; place < places; ++place) {
        const int64_t position = position_at(place);
        if (position < 0 || position >= rows)
          return sage_fail(
              err, SAGE_E_INVALID_ARGUMENT,
              "ROPE: position %lld (element %lld of POSITIONS) is outside COS and SIN, which have %lld rows",
              static_cast<long long>(position), static_cast<long long>(place), static_cast<long long>(rows));
      }
    }
    const double ns = OneWorkerNs(isa_, x, rotary_, tables_);
    ParallelFor(host_, ns, places, std::max<int64_t>(1, places / 256),
                [&](int64_t begin, int64_t end, uint32_t worker) {
                  double* const cosine =
                      reinterpret_cast<double*>(static_cast<char*>(args.workspace) + worker * bytes_per_worker_);
                  double* const sine = cosine + rotary_ / 2;
                  double* const head = sine + rotary_ / 2;
                  for (int64_t place = begin; place < end; ++place) {
                    if ((place & 15) == 0 && Cancelled(host_, args)) return;
                    Angles(args, position_at(place), cosine, sine);
                    const int64_t first = place / seq, second = place % seq;
                    for (int64_t h = 0; h < x.shape[1]; ++h) {
                      const int64_t from = first * x.stride[0] + h * x.stride[1] + (batched ? second * x.stride[2] : 0);
                      const int64_t to = first * y.stride[0] + h * y.stride[1] + (batched ? second * y.stride[2] : 0);
                      Head(x, from, y, to, cosine, sine, head);
                    }
                  }
                });
    return Finish(host_, args, err);
  }

 private:
  void Angles(const sage_run_args& args, int64_t position, double* cosine, double* sine) const {
    const int64_t half = rotary_ / 2;
    if (tables_) {
      const sage_tensor &cos_table = *args.slots[kCos], &sin_table = *args.slots[kSin];
      for (int64_t i = 0; i < half; ++i) {
        const int64_t c = position * cos_table.stride[0] + i * cos_table.stride[1];
        const int64_t s = position * sin_table.stride[0] + i * sin_table.stride[1];
        cosine[i] = static_cast<double>(ReadAs<float>(BytesOf(cos_table) + c * 4));
        sine[i] = static_cast<double>(ReadAs<float>(BytesOf(sin_table) + s * 4));
      }
      return;
    }
    const double* const frequencies = half == 0 ? nullptr : static_cast<const double*>(frequencies_->data());
    for (int64_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(position) * frequencies[i];
      cosine[i] = std::cos(angle);
      sine[i] = std::sin(angle);
    }
  }

  void Head(const sage_tensor& x, int64_t from, const sage_tensor& y, int64_t to, const double* cosine,
            const double* sine, double* head) const {
    const LineKernels& lines = LinesFor(isa_);
    const int64_t dim = x.shape[x.rank - 1], half = rotary_ / 2;
    LoadLine(lines, x.dtype, BytesOf(x) + from * SizeOf(x.dtype), x.stride[x.rank - 1], dim, head);
    const bool halves = attributes_.style == SAGE_ROPE_HALVES;
    for (int64_t i = 0; i < half; ++i) {
      double &a = head[halves ? i : 2 * i], &b = head[halves ? i + half : 2 * i + 1];
      const double p = a, q = b;
      a = p * cosine[i] - q * sine[i];
      b = p * sine[i] + q * cosine[i];
    }
    StoreLine(lines, y.dtype, head, dim, MutableBytesOf(y) + to * SizeOf(y.dtype), y.stride[y.rank - 1]);
  }

  const sage_host* host_;
  Isa isa_;
  sage_rope_attributes attributes_;
  int64_t rotary_;
  bool tables_;
  uint64_t bytes_per_worker_ = 0;
  std::shared_ptr<HostBlock> frequencies_;
};

}  // namespace

void AskRope(const Context& context, const OpView& view, uint64_t, sage_answer* answer) {
  if (RefuseNonFloats(view, 1u << kPositions, answer)) return;
  const sage_tensor& x = view.Slot(kX);
  const int64_t rotary = RotaryDim(view.attributes.rope, x);
  const double ns = OneWorkerNs(IsaFor(context, view), x, rotary, view.Has(kCos));
  sage_accept(answer, ParallelNs(context, ns), SAGE_COST_MODEL, kAccuracy,
              BytesPerWorker(rotary, x.shape[x.rank - 1]) * context.num_workers, "rotated in f64 by %s, rounded once",
              view.Has(kCos) ? "the given tables" : "angles computed in f64");
}

sage_status PlanRope(const Context& context, const OpView& view, uint64_t, const KernelPlan* like,
                     std::unique_ptr<KernelPlan>* out, sage_error* err) {
  auto plan = std::make_unique<RopePlan>(context, view);
  const sage_status status = plan->Prepare(dynamic_cast<const RopePlan*>(like), err);
  if (status == SAGE_OK) *out = std::move(plan);
  return status;
}

}  // namespace sage::cpu
