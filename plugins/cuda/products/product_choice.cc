// product_choice.cc: every refusal of a product with its reason, and the cheapest of three for the rest.
#include "products/product_choice.h"

#include <string>

#include "common/cuda/architecture.h"
#include "common/cuda/products/library_price.h"
#include "products/product_plain.h"
#include "products/product_price.h"
#include "products/product_skinny_plan.h"
#include "sage/support/check_op.h"
#include "sage/support/refuse.h"

namespace sage::cuda {
bool DecideProduct(const support::OpView& view, const Device& device, const ProductKernels& kernels,
                   ProductLibrary* library, ProductChoice* choice, sage_answer* answer) {
  *choice = {};
  const Properties& properties = device.properties();
  const int sm = properties.major * 10 + properties.minor;
  if (CodeFor(kernels.architectures, properties.major, properties.minor) == Code::kNone)
    return sage_refuse(answer, 0, "%s is sm_%d; the kernels of products are built for %s", properties.name.c_str(), sm,
                       ListText(kernels.architectures).c_str()),
           false;
  ProductArguments a;
  const char* const kind = support::KindName(view.op.kind);
  if (const char* why = BindPlanned(view, true, &a); why != nullptr)
    return sage_refuse(answer, 0, "%s is refused: %s", kind, why), false;
  if (PlainProductBlocks(a) > INT32_MAX)
    return sage_refuse(answer, 0, "%s is refused: its result has more tiles than a launch has blocks", kind), false;

  const uint32_t accuracy = AcceptedAccuracy(view);
  double cost = PlainPriceNs(a, properties);
  if (SkinnyOrderOf(a) != SkinnyOrder::kNone) {
    const double skinny = SkinnyPriceNs(a, properties);
    if (skinny <= cost) choice->engine = ProductEngine::kSkinny, cost = skinny;
  }
  uint32_t delivered = SAGE_ACCURACY_EXACT;
  std::string why;
  LibrarySteps steps;
  LibraryProduct product;
  product.tf32 = accuracy == SAGE_ACCURACY_LOSSY;
  if (const char* refusal = DescribeSteps(a, true, product.tf32, &steps); refusal != nullptr) {
    why = std::string("; cuBLASLt: ") + refusal;
  } else if (DeliveredAccuracy(steps) > accuracy) {
    why = "; cuBLASLt's sums are of class NATIVE";
  } else if (LibraryPriceNs(a, steps, properties) < cost) {
    std::string said;
    if (FindLibraryProduct(view, a, device, Besides::kKernels, library, &product, &steps, &said)) {
      choice->engine = ProductEngine::kLibrary, choice->library = product;
      cost = LibraryPriceNs(a, steps, properties), delivered = DeliveredAccuracy(steps);
      choice->workspace_bytes = product.workspace_bytes;
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
                product.tf32 && delivered == SAGE_ACCURACY_LOSSY ? " in tf32" : "",
                steps.finishes ? ", then a kernel for the rest," : "", properties.name.c_str());
  else
    sage_accept(answer, cost, SAGE_COST_MODEL, delivered, 0, "%s kernel of products for sm_%d%s",
                choice->engine == ProductEngine::kSkinny ? "skinny" : "plain", sm,
                choice->engine == ProductEngine::kPlain ? why.c_str() : "");
  return true;
}

}  // namespace sage::cuda
