// linear.cc: see linear.h. A constant W is laid out once, at plan, and shared by the plans of one node; any other by
// each run, its columns by the task that multiplies by them. X is laid out before, a share of its rows by each worker.
#include "linear.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "cpu/lines.h"
#include "cpu/parallel.h"
#include "kernel_table.h"
#include "linear_epilogue.h"
#include "linear_operands.h"
#include "linear_slots.h"
#include "panels.h"

namespace sage::int8 {
namespace {

using cpu::Context;
using cpu::HostBlock;
using cpu::KernelPlan;

// Rows of X that are codes at once: as few as the workspace may hold, as many as make reading W again nothing.
constexpr int64_t kRowsAtOnce = 1024;
// Rows of a task: several tiles of every kernel, few enough that their sums stay near.
constexpr int64_t kTaskRows = 48;

int64_t RoundUp(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

// Multiply-adds per nanosecond of one core. Measured on a Zen 4 at 3.7 GHz: scalar, avx2, avx512vnni. The others:
// expected.
double ProductRate(Isa isa) {
  switch (isa) {
    case Isa::kAmx:
      return 1500;
    case Isa::kAvx512Vnni:
      return 220;
    case Isa::kAvx2:
      return 60;
    case Isa::kI8mm:
      return 60;
    case Isa::kDotprod:
      return 35;
    case Isa::kNeon:
      return 15;
    default:
      return 2;
  }
}

// How one op is multiplied: from types and sizes alone.
struct Design {
  Design(const Context& context, Isa best, const OpView& view)
      : isa((view.op.requirements & SAGE_REQUIRE_SCALAR) != 0 ? Isa::kScalar : best),
        kernels(KernelsOf(isa)),
        n(view.Slot(kLinearW).shape[0]),
        k(view.Slot(kLinearW).shape[1]),
        rows(LinearRows(view.Slot(kLinearY))),
        activation(view.attributes.linear.activation) {
    codes_x = view.Slot(kLinearX).dtype == SAGE_I8, codes_w = view.Slot(kLinearW).dtype == SAGE_I8;
    // A block of W that stays in half of the second cache while rows go past it.
    const int64_t half = std::max<int64_t>(static_cast<int64_t>(context.l2_bytes / 2), 1);
    columns = std::clamp(half / PanelBytes(kernels.form, k) * kPanel, kLinearColumns / 2, kLinearColumns);
    columns = columns / (kLinearColumns / 2) * (kLinearColumns / 2);
  }

  // Of one worker: a block of W, where each run lays it out; the sums of a task; what quantising takes.
  int64_t PanelsBytes() const { return RoundUp(columns / kPanel * PanelBytes(kernels.form, k), 64); }
  int64_t WorkerBytes(bool packed) const {
    return (packed ? 0 : PanelsBytes()) + kTaskRows * kLinearColumns * 4 + QuantiseScratchBytes(k);
  }
  int64_t CodesBytes() const { return RoundUp(std::min(rows, kRowsAtOnce) * RowBytes(kernels.form, k), 64); }
  uint64_t WorkspaceBytes(uint32_t workers, bool packed) const {
    return static_cast<uint64_t>(CodesBytes()) + static_cast<uint64_t>(WorkerBytes(packed)) * workers;
  }

  // What one worker needs for m rows, in nanoseconds, measured where ProductRate was.
  double RowsNs(int64_t m) const {
    constexpr double kQuantiseNs = 0.25, kCopyNs = 0.05;
    return static_cast<double>(m) * (static_cast<double>(k) * (codes_x ? kCopyNs : kQuantiseNs) + 20.0);
  }
  double ProductsNs(int64_t m, bool packed) const {
    constexpr double kPanelBytesPerNs = 80.0, kStoreNs = 0.15, kQuantiseNs = 1.1, kCopyNs = 0.8;
    const bool plain = activation == SAGE_FN_IDENTITY || activation == SAGE_FN_RELU;
    const cpu::Isa lines = FloatIsaOf(isa);
    const double function = plain                        ? 0.0
                            : lines == cpu::Isa::kScalar ? 10.0
                            : lines == cpu::Isa::kAvx512 ? 2.0
                                                         : cpu::VectorNs(lines, 4.0);
    const double numbers = static_cast<double>(n) * static_cast<double>(k),
                 results = static_cast<double>(m) * static_cast<double>(n);
    const double products = static_cast<double>(m) * numbers / ProductRate(isa);
    const double reading = numbers * kernels.form.unit / kPanelBytesPerNs;
    const auto passes = static_cast<double>((m + kRowsAtOnce - 1) / kRowsAtOnce);
    const double packing = packed ? 0.0 : passes * numbers * (codes_w ? kCopyNs : kQuantiseNs);
    return 200.0 + std::max(products, reading) + packing + results * (kStoreNs + function);
  }

  Isa isa;
  const Int8Kernels& kernels;
  int64_t n, k, rows;  // rows: the most there will be
  uint32_t activation;
  bool codes_x, codes_w;
  int64_t columns;  // of a task
};

bool WeightIsConstant(const OpView& view) { return (view.Slot(kLinearW).flags & SAGE_TENSOR_CONSTANT) != 0; }

class LinearPlan final : public KernelPlan {
 public:
  LinearPlan(const Context& context, Isa isa, const OpView& view)
      : host_(context.host), view_(view), design_(context, isa, view) {}

  sage_status Prepare(const LinearPlan* like, sage_error* err) {
    const sage_tensor& w = view_.Slot(kLinearW);
    if (WeightIsConstant(view_) && w.data != nullptr) {
      if (like != nullptr && like->packed_ != nullptr && Shares(*like)) {
        packed_ = like->packed_;
      } else {
        const sage_status status = Pack(w, err);
        if (status != SAGE_OK) return status;
      }
    }
    workspace_bytes = design_.WorkspaceBytes(host_->num_workers, packed_ != nullptr);
    return SAGE_OK;
  }

  sage_status Run(const sage_run_args& args, sage_error* err) const override {
    const Job job(*this, args);
    if (view_.Has(kLinearScaleX)) {
      const sage_status status = job.scales_x.Check("SCALE_X", err);
      if (status != SAGE_OK) return status;
    }
    if (view_.Has(kLinearScaleW)) {
      const sage_status status = job.scales_w.Check("SCALE_W", err);
      if (status != SAGE_OK) return status;
    }
    for (int64_t row = 0; row < job.rows && design_.n > 0 && !cpu::Cancelled(host_, args); row += kRowsAtOnce) {
      const int64_t count = std::min(kRowsAtOnce, job.rows - row);
      LayRows(job, row, count);
      Multiply(job, row, count);
    }
    return cpu::Finish(host_, args, err);
  }

 private:
  // One run. Y, X and W are the run's: with fewer rows than planned, perhaps.
  struct Job {
    Job(const LinearPlan& plan, const sage_run_args& a)
        : args(a),
          x(*a.slots[kLinearX]),
          w(*a.slots[kLinearW]),
          rows(LinearRows(*a.slots[kLinearY])),
          epilogue(cpu::LinesFor(FloatIsaOf(plan.design_.isa)),
                   plan.view_.Has(kLinearBias) ? a.slots[kLinearBias] : nullptr, plan.design_.activation,
                   *a.slots[kLinearY]),
          codes(static_cast<char*>(a.workspace)) {
      if (plan.view_.Has(kLinearScaleX)) scales_x = LinearScales(*a.slots[kLinearScaleX]);
      if (plan.view_.Has(kLinearScaleW)) scales_w = LinearScales(*a.slots[kLinearScaleW]);
    }
    const sage_run_args& args;
    CodeSource x, w;
    LinearScales scales_x, scales_w;
    int64_t rows;
    LinearEpilogue epilogue;
    char* codes;  // of kRowsAtOnce rows of X
  };

  // A worker's pieces of the workspace.
  struct Scratch {
    Scratch(const LinearPlan& plan, const Job& job, uint32_t worker) {
      const bool packed = plan.packed_ != nullptr;
      panels = job.codes + plan.design_.CodesBytes() + worker * plan.design_.WorkerBytes(packed);
      block = panels + (packed ? 0 : plan.design_.PanelsBytes());
      quantise = static_cast<char*>(block) + kTaskRows * kLinearColumns * 4;
    }
    char* panels;
    void* block;  // sums of a task
    char* quantise;
  };

  sage_status Pack(const sage_tensor& w, sage_error* err) {
    const int64_t needed = WeightBytes(design_.kernels.form, design_.n, design_.k);
    if (needed < 0)
      return sage_fail(err, SAGE_E_OUT_OF_MEMORY, "a weight of %lld x %lld cannot be packed: its size overflows",
                       static_cast<long long>(design_.n), static_cast<long long>(design_.k));
    const uint64_t bytes = std::max<uint64_t>(static_cast<uint64_t>(needed), 64);
    const sage_status status = HostBlock::Make(host_, bytes, 64, &packed_, err);
    if (status != SAGE_OK) return status;
    std::vector<float> scratch(static_cast<size_t>(QuantiseScratchBytes(design_.k)) / sizeof(float));
    LayWeights(design_.kernels, CodeSource(w), 0, design_.n, reinterpret_cast<char*>(scratch.data()),
               static_cast<char*>(packed_->data()));
    prepack_bytes = bytes;
    return SAGE_OK;
  }

  bool Shares(const LinearPlan& like) const {
    const sage_tensor &mine = view_.Slot(kLinearW), &theirs = like.view_.Slot(kLinearW);
    return &like.design_.kernels == &design_.kernels && mine.data == theirs.data && mine.dtype == theirs.dtype &&
           mine.shape[0] == theirs.shape[0] && mine.shape[1] == theirs.shape[1] && mine.stride[0] == theirs.stride[0] &&
           mine.stride[1] == theirs.stride[1];
  }

  void LayRows(const Job& job, int64_t row, int64_t count) const {
    const int64_t row_bytes = RowBytes(design_.kernels.form, design_.k);
    cpu::ParallelFor(host_, design_.RowsNs(count), count, 8, [&](int64_t begin, int64_t end, uint32_t worker) {
      const Scratch scratch(*this, job, worker);
      LayLinearRows(design_.kernels, job.x, job.scales_x, row + begin, end - begin, scratch.quantise,
                    job.codes + begin * row_bytes);
    });
  }

  // Rows [first, first + count) of Y, whose codes are laid out.
  void Multiply(const Job& job, int64_t first, int64_t count) const {
    const bool packed = packed_ != nullptr;
    // Who lays out a block of W multiplies all rows by it.
    const int64_t step = packed ? kTaskRows : count, row_tasks = (count + step - 1) / step;
    const int64_t column_tasks = (design_.n + design_.columns - 1) / design_.columns;
    // Rows are the inner index: neighbouring tasks share columns of W, which then stay in cache.
    const auto work = [&](int64_t begin, int64_t end, uint32_t worker) {
      const Scratch scratch(*this, job, worker);
      for (int64_t task = begin; task < end && !cpu::Cancelled(host_, job.args); ++task) {
        const int64_t row = task % row_tasks * step, column = task / row_tasks * design_.columns;
        Block(job, first, row, std::min(step, count - row), column, std::min(design_.columns, design_.n - column),
              scratch);
      }
    };
    cpu::ParallelFor(host_, design_.ProductsNs(count, packed), row_tasks * column_tasks, 1, work);
  }

  // first: of the rows laid out; row, column: of the block, from there and from 0.
  void Block(const Job& job, int64_t first, int64_t row, int64_t rows, int64_t column, int64_t columns,
             const Scratch& scratch) const {
    const CodeForm& form = design_.kernels.form;
    const int64_t row_bytes = RowBytes(form, design_.k), panel_bytes = PanelBytes(form, design_.k);
    const char* panels = scratch.panels;
    if (packed_ != nullptr)
      panels = static_cast<const char*>(packed_->data()) + column / kPanel * panel_bytes;
    else
      LayWeights(design_.kernels, job.w, column, columns, scratch.quantise, scratch.panels);
    LinearEpilogue::Columns shared;
    job.epilogue.Begin(column, columns, &shared);
    for (int64_t i = 0; i < columns; ++i)
      shared.scale[i] = design_.codes_w
                            ? job.scales_w.At(column + i)
                            : reinterpret_cast<const PanelHead*>(panels + i / kPanel * panel_bytes)->scale[i % kPanel];
    const int64_t panel_count = (columns + kPanel - 1) / kPanel, ld = panel_count * kPanel;
    const bool wide = job.epilogue.wide();
    auto* const floats = static_cast<float*>(scratch.block);
    auto* const sums = static_cast<int32_t*>(scratch.block);
    for (int64_t done = 0; done < rows && !cpu::Cancelled(host_, job.args); done += kTaskRows) {
      const int64_t here = std::min(kTaskRows, rows - done);
      const char* const left = job.codes + (row + done) * row_bytes;
      if (wide)
        design_.kernels.product(here, left, row_bytes, panels, panel_bytes, panel_count, design_.k, sums, ld);
      else
        ScaledProduct(here, left, row_bytes, panels, panel_bytes, panel_count, shared, floats);
      for (int64_t i = 0; i < here; ++i) {
        const int64_t to = first + row + done + i;
        const float scale = ScaleOfRow(form, left + i * row_bytes, design_.k);
        if (wide) {
          job.epilogue.StoreSums(to, sums + i * ld, scale, shared);
        } else if (job.epilogue.InFloats(scale)) {
          job.epilogue.StoreFloats(to, floats + i * ld, shared);
        } else {
          alignas(64) int32_t again[kLinearColumns];
          design_.kernels.product(1, left + i * row_bytes, row_bytes, panels, panel_bytes, panel_count, design_.k,
                                  again, ld);
          job.epilogue.StoreSums(to, again, scale, shared);
        }
      }
    }
  }

  // y: 16 floats a panel, row by row.
  void ScaledProduct(int64_t rows, const char* left, int64_t row_bytes, const char* panels, int64_t panel_bytes,
                     int64_t panel_count, const LinearEpilogue::Columns& shared, float* y) const {
    const Int8Kernels& kernels = design_.kernels;
    if (kernels.attention.begin_task != nullptr) kernels.attention.begin_task();
    kernels.scaled_product(rows, left, row_bytes, panels, panel_bytes, panel_count, design_.k, shared.scale,
                           shared.bias, y, panel_count * kPanel);
    if (kernels.attention.end_task != nullptr) kernels.attention.end_task();
  }

  const sage_host* host_;
  const OpView& view_;
  Design design_;
  std::shared_ptr<HostBlock> packed_;
};

}  // namespace

void AskLinear(const Context& context, Isa isa, const OpView& view, sage_answer* answer) {
  const Design design(context, isa, view);
  const bool packed = WeightIsConstant(view);
  const double ns = design.RowsNs(design.rows) + design.ProductsNs(design.rows, packed);
  // data may still be absent at plan, which Ask must not look at: then it is packed by each run all the same.
  const uint64_t workspace = design.WorkspaceBytes(context.num_workers, false);
  const char* const operands =
      design.codes_x   ? design.codes_w ? "codes of X and W as given" : "codes of X as given, W quantised per channel"
      : design.codes_w ? "X quantised per row, codes of W as given"
                       : "X quantised per row, W per channel";
  // Sums of given codes are exact; what is rounded here besides makes it LOSSY.
  const uint32_t accuracy = design.codes_x && design.codes_w ? SAGE_ACCURACY_EXACT : SAGE_ACCURACY_LOSSY;
  sage_accept(answer, cpu::ParallelNs(context, ns), SAGE_COST_MODEL, accuracy, workspace,
              "%s kernel in 8 bits, %s, W %s", IsaName(design.isa), operands,
              packed ? "packed once at plan" : "packed per run, as it is not constant");
}

sage_status PlanLinear(const Context& context, Isa isa, const OpView& view, const KernelPlan* like,
                       std::unique_ptr<KernelPlan>* out, sage_error* err) {
  auto plan = std::make_unique<LinearPlan>(context, isa, view);
  const sage_status status = plan->Prepare(dynamic_cast<const LinearPlan*>(like), err);
  if (status == SAGE_OK) *out = std::move(plan);
  return status;
}

}  // namespace sage::int8
