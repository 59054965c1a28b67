// product_choice.cc: every refusal of a product with its reason, and the cheapest of three for the rest.
#include "products/product_choice.h"

#include <algorithm>
#include <array>

#include "common/cuda/architecture.h"
#include "common/cuda/products/product_operands.h"
#include "products/product_plain.h"
#include "products/product_price.h"
#include "products/product_skinny_plan.h"
#include "sage/support/check_op.h"
#include "sage/support/refuse.h"

namespace sage::cuda {
namespace {

constexpr uint64_t kWorkspaceAlign = 256;
uint64_t Rounded(uint64_t bytes) { return (bytes + kWorkspaceAlign - 1) / kWorkspaceAlign * kWorkspaceAlign; }

bool IsHalf(sage_dtype dtype) { return dtype == SAGE_F16 || dtype == SAGE_BF16; }

// The least exact class that the op accepts.
uint32_t AccuracyOf(const support::OpView& view) {
  if (view.op.accuracy != SAGE_ACCURACY_AUTO) return view.op.accuracy;
  const sage_dtype x = view.Slot(kSlotX).dtype, w = view.Slot(kSlotW).dtype;
  if (support::IsQuantised(x) || support::IsQuantised(w)) return SAGE_ACCURACY_LOSSY;
  return IsHalf(x) || IsHalf(w) ? SAGE_ACCURACY_NATIVE : SAGE_ACCURACY_EXACT;
}

// What cuBLASLt delivers: f64 and f32 in their own, integers exactly; 16 bits by tensor cores, whose sums are shorter
// than those of f32.
uint32_t AccuracyOf(const LibrarySteps& steps) {
  if (steps.call.compute == lt::kCompute32FFastTf32) return SAGE_ACCURACY_LOSSY;
  return steps.call.type == lt::kR16F || steps.call.type == lt::kR16BF ? SAGE_ACCURACY_NATIVE : SAGE_ACCURACY_EXACT;
}

struct Asked {
  std::array<sage_tensor, kProductSlots> tensors;
  std::array<const sage_tensor*, kProductSlots> slots{};
};

// Addresses are not known yet and may not change the answer: all are the same good one, and only what is absent is
// null.
void Describe(const support::OpView& view, Asked* asked) {
  for (uint32_t slot = 0; slot < kProductSlots; ++slot) {
    if (!view.Has(slot)) continue;
    asked->tensors[slot] = view.Slot(slot);
    asked->tensors[slot].data = reinterpret_cast<void*>(uintptr_t{4096});
    asked->slots[slot] = &asked->tensors[slot];
  }
}

// Opens and asks the library for steps of a, fused where it can.
bool FindAlgorithm(const ProductArguments& a, bool tf32, ProductLibrary* library, bool* fused, LibrarySteps* steps,
                   LibraryAlgorithm* algorithm, std::string* why) {
  for (const bool fuse : {true, false}) {
    if (const char* const refusal = DescribeSteps(a, fuse, tf32, steps); refusal != nullptr)
      return *why = refusal, false;
    *fused = fuse;
    if (library->Find(steps->call, algorithm, why)) return true;
  }
  return false;
}

// Rows whose axes do not lie one behind the other in a shorter run become a batch: an algorithm for that, too.
void FindBatched(const support::OpView& view, const Asked& asked, ProductLibrary* library, ProductChoice* choice,
                 uint64_t* scratch) {
  if (view.op.dynamic_axes == 0 || view.Slot(kSlotX).rank < 3 || choice->planned_batch > 1) return;
  ProductArguments apart;
  LibrarySteps steps;
  std::string why;
  if (BindProduct(view.op.kind, view.attributes.linear.activation, asked.slots.data(), false, &apart) != nullptr ||
      DescribeSteps(apart, choice->fused, choice->tf32, &steps) != nullptr || steps.call.batch == 1 ||
      !library->Find(steps.call, &choice->batched, &why))
    return;
  choice->has_batched = true;
  choice->library_workspace = std::max(choice->library_workspace, Rounded(choice->batched.workspace_bytes));
  *scratch = std::max(*scratch, steps.scratch_bytes);
}

}  // namespace

bool DecideProduct(const support::OpView& view, const Device& device, const ProductKernels& kernels,
                   ProductLibrary* library, ProductChoice* choice, sage_answer* answer) {
  *choice = {};
  const Properties& properties = device.properties();
  const int sm = properties.major * 10 + properties.minor;
  if (CodeFor(kernels.architectures, properties.major, properties.minor) == Code::kNone)
    return sage_refuse(answer, 0, "%s is sm_%d; the kernels of products are built for %s", properties.name.c_str(), sm,
                       ListText(kernels.architectures).c_str()),
           false;
  Asked asked;
  Describe(view, &asked);
  ProductArguments a;
  const char* const kind = support::KindName(view.op.kind);
  if (const char* why = BindProduct(view.op.kind, view.attributes.linear.activation, asked.slots.data(), true, &a);
      why != nullptr)
    return sage_refuse(answer, 0, "%s is refused: %s", kind, why), false;
  if (PlainProductBlocks(a) > INT32_MAX)
    return sage_refuse(answer, 0, "%s is refused: its result has more tiles than a launch has blocks", kind), false;

  const uint32_t accuracy = AccuracyOf(view);
  choice->planned_rows = a.m, choice->planned_batch = a.batch;
  double cost = PlainPriceNs(a, properties);
  if (SkinnyOrderOf(a) != SkinnyOrder::kNone) {
    const double skinny = SkinnyPriceNs(a, properties);
    if (skinny <= cost) choice->engine = ProductEngine::kSkinny, cost = skinny;
  }
  uint32_t delivered = SAGE_ACCURACY_EXACT;
  std::string why;
  LibrarySteps steps;
  choice->tf32 = accuracy == SAGE_ACCURACY_LOSSY;
  if (const char* refusal = DescribeSteps(a, true, choice->tf32, &steps); refusal != nullptr) {
    why = std::string("; cuBLASLt: ") + refusal;
  } else if (AccuracyOf(steps) > accuracy) {
    why = "; cuBLASLt's sums are of class NATIVE";
  } else if (LibraryPriceNs(a, steps, properties) < cost) {
    LibraryAlgorithm algorithm;
    std::string said;
    if (library->Open(device, &said) &&
        FindAlgorithm(a, choice->tf32, library, &choice->fused, &steps, &algorithm, &said)) {
      choice->engine = ProductEngine::kLibrary, choice->algorithm = algorithm;
      cost = LibraryPriceNs(a, steps, properties), delivered = AccuracyOf(steps);
      choice->library_workspace = Rounded(algorithm.workspace_bytes);
      uint64_t scratch = steps.scratch_bytes;
      FindBatched(view, asked, library, choice, &scratch);
      choice->workspace_bytes = choice->library_workspace + scratch;
    } else {
      why = "; " + said;
    }
  }
  if (choice->workspace_bytes > properties.total_bytes)
    return sage_refuse(answer, 0, "a run needs %llu bytes of workspace; %s has %llu",
                       static_cast<unsigned long long>(choice->workspace_bytes), device.name().c_str(),
                       static_cast<unsigned long long>(properties.total_bytes)),
           false;
  if (choice->engine == ProductEngine::kLibrary)
    sage_accept(answer, cost, SAGE_COST_MODEL, delivered, choice->workspace_bytes, "cuBLASLt%s%s on %s",
                choice->tf32 && delivered == SAGE_ACCURACY_LOSSY ? " in tf32" : "",
                steps.finishes ? ", then a kernel for the rest," : "", properties.name.c_str());
  else
    sage_accept(answer, cost, SAGE_COST_MODEL, delivered, 0, "%s kernel of products for sm_%d%s",
                choice->engine == ProductEngine::kSkinny ? "skinny" : "plain", sm,
                choice->engine == ProductEngine::kPlain ? why.c_str() : "");
  return true;
}

}  // namespace sage::cuda
