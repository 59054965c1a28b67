// family.h: what backend.cc asks of a kernel family, and what it gives one.
//
// The border (common/entries.h) is passed when a family is called: it only says whether it can (Ask), prepares (Plan)
// and computes (Run, of the KernelPlan). A family is these functions in a table by kind, not a class: there is nothing
// to configure between them but the Context.
#ifndef SAGE_PLUGINS_CPU_FAMILY_H_
#define SAGE_PLUGINS_CPU_FAMILY_H_

#include <cstdint>
#include <memory>

#include "common/backend.h"
#include "cpu_features.h"
#include "sage/support/refuse.h"

namespace sage::cpu {

using plugins::KernelPlan;
using support::OpView;

class AttentionTuner;

// One per instance; constant after create, so free-threaded.
struct Context {
  const sage_host* host = nullptr;
  Isa isa = Isa::kScalar;  // the best allowed here: by the machine and by the option "isa"
  bool isa_named = false;  // by the option: kernels of that set even where those of a lower one would be faster
  uint32_t num_workers = 1;
  uint64_t l1_data_bytes = 0, l2_bytes = 0;
  AttentionTuner* tuner = nullptr;  // null where nothing was or will be measured; free-threaded itself
};

// The instruction set for one op: scalar where it requires that.
inline Isa FullIsaFor(const Context& context, const OpView& view) {
  return (view.op.requirements & SAGE_REQUIRE_SCALAR) != 0 ? Isa::kScalar : context.isa;
}
// The vectors of it.
inline Isa IsaFor(const Context& context, const OpView& view) { return VectorsOf(FullIsaFor(context, view)); }

// A price measured on AVX2 (Zen 4, 3.7 GHz), or what NEON is expected to need instead. Nobody has measured that: a
// Jetson's Cortex-A78AE has as many pipes, half as wide, at 2.2 GHz.
inline double VectorNs(Isa isa, double avx2_ns) { return isa == Isa::kNeon ? 3.4 * avx2_ns : avx2_ns; }

// Both get a view that passed TakeInOp and CheckOp. features: SAGE_ATTN_F_* of an attention op, 0 for other kinds.
// Ask is pure, ignores data pointers and always fills *answer: by sage_accept or by sage_refuse.
using AskFn = void (*)(const Context& context, const OpView& view, uint64_t features, sage_answer* answer);
// Called only after Ask said yes to the same view. context and view outlive the plan made. like (optional): a plan of
// the same kind and instance, whose packed constants are to be shared when they are the same. May throw std::bad_alloc.
using PlanFn = sage_status (*)(const Context& context, const OpView& view, uint64_t features, const KernelPlan* like,
                               std::unique_ptr<KernelPlan>* out, sage_error* err);

struct Family {
  uint32_t kind;  // SAGE_OP_*
  AskFn ask;
  PlanFn plan;
};

// CPU memory from the host, for packed constants; counted by it. Shared between a plan and its `like`.
class HostBlock {
 public:
  // align: a power of two. On failure *out stays empty and err says why.
  static sage_status Make(const sage_host* host, uint64_t bytes, uint64_t align, std::shared_ptr<HostBlock>* out,
                          sage_error* err) {
    std::shared_ptr<HostBlock> block(new HostBlock);
    const sage_status status = host->alloc(host->self, SAGE_CPU, 0, bytes, align, &block->data_, err);
    if (status != SAGE_OK) return status;
    block->host_ = host;
    block->bytes_ = bytes;
    *out = std::move(block);
    return SAGE_OK;
  }
  ~HostBlock() {
    if (host_ != nullptr) host_->free(host_->self, SAGE_CPU, 0, data_);
  }
  HostBlock(const HostBlock&) = delete;
  HostBlock& operator=(const HostBlock&) = delete;

  void* data() const { return data_; }
  uint64_t bytes() const { return bytes_; }

 private:
  HostBlock() = default;
  const sage_host* host_ = nullptr;
  void* data_ = nullptr;
  uint64_t bytes_ = 0;
};

// One pair per kind that the plugin serves; each is defined in that family's file and listed in backend.cc.
#define SAGE_CPU_FAMILY(Kind)                                                                                   \
  void Ask##Kind(const Context& context, const OpView& view, uint64_t features, sage_answer* answer);           \
  sage_status Plan##Kind(const Context& context, const OpView& view, uint64_t features, const KernelPlan* like, \
                         std::unique_ptr<KernelPlan>* out, sage_error* err);
SAGE_CPU_FAMILY(Attention)
SAGE_CPU_FAMILY(Linear)
SAGE_CPU_FAMILY(Matmul)
SAGE_CPU_FAMILY(Norm)
SAGE_CPU_FAMILY(Unary)
SAGE_CPU_FAMILY(Binary)
SAGE_CPU_FAMILY(Softmax)
SAGE_CPU_FAMILY(Reduce)
SAGE_CPU_FAMILY(Gather)
SAGE_CPU_FAMILY(Concat)
SAGE_CPU_FAMILY(Slice)
SAGE_CPU_FAMILY(Permute)
SAGE_CPU_FAMILY(Topk)
SAGE_CPU_FAMILY(Rope)
SAGE_CPU_FAMILY(Pool)
#undef SAGE_CPU_FAMILY

}  // namespace sage::cpu

#endif  // SAGE_PLUGINS_CPU_FAMILY_H_
