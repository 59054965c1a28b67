// library_steps.cc: see the header.
#include "common/cuda/products/library_steps.h"

#include <algorithm>

#include "common/cuda/cublaslt.h"
#include "sage/ops.h"

namespace sage::cuda {
namespace {

// Products of i8 reach 2^14; an i32 holds 2^17 of them.
constexpr int32_t kLongestInteger = (1 << 17) - 1;

bool TypesOf(const ProductArguments& a, bool tf32, LibraryCall* call, ProductType* sum) {
  if (a.x_type != a.w_type) return false;
  call->compute = lt::kCompute32F, call->scale_type = lt::kR32F, *sum = ProductType::kF32;
  switch (a.x_type) {
    case ProductType::kF64:
      call->compute = lt::kCompute64F, call->scale_type = call->type = lt::kR64F, *sum = ProductType::kF64;
      return true;
    case ProductType::kF32:
      call->type = lt::kR32F;
      if (tf32) call->compute = lt::kCompute32FFastTf32;
      return SumOf(a) == ProductSum::kF32;
    case ProductType::kF16:
    case ProductType::kBf16:
      call->type = a.x_type == ProductType::kF16 ? lt::kR16F : lt::kR16BF;
      return SumOf(a) == ProductSum::kF32;
    case ProductType::kI8:
      call->compute = lt::kCompute32I, call->scale_type = lt::kR32I, call->type = lt::kR8I, *sum = ProductType::kI32;
      return true;
    default:
      return false;
  }
}

int32_t TypeNumber(ProductType type) {
  switch (type) {
    case ProductType::kF64:
      return lt::kR64F;
    case ProductType::kF32:
      return lt::kR32F;
    case ProductType::kF16:
      return lt::kR16F;
    case ProductType::kBf16:
      return lt::kR16BF;
    default:
      return lt::kR32I;
  }
}

// A matrix of rows that are contiguous along one of its axes: that one first in the library's order. along: its length
// and stride; across: the other's.
bool IsMatrix(int64_t along, int64_t along_stride, int64_t across, int64_t across_stride, int64_t* ld) {
  if (along > 1 && along_stride != 1) return false;
  *ld = across_stride;
  if (across <= 1) *ld = std::max(across_stride, along);  // never walked
  return *ld >= std::max<int64_t>(along, 1);
}

// The largest power of two up to kLibraryAlign that divides it.
uint32_t AlignOf(int64_t bytes) {
  uint32_t align = kLibraryAlign;
  while (bytes % align != 0) align /= 2;
  return align;
}

// Is anything left to do behind a product of type sum in y?
bool IsPlain(const ProductArguments& a) {
  return a.bias == nullptr && a.scale_x == nullptr && a.scale_w == nullptr && a.activation == SAGE_FN_IDENTITY;
}

// Null: by cuBLASLt's own epilogue. Else what is not, in the words of LibrarySteps::rest. Its GELU is the one by tanh,
// with a tanh that is good for 16 bits.
const char* Unfused(const ProductArguments& a, uint32_t* epilogue) {
  if (a.scale_x != nullptr || a.scale_w != nullptr) return "scales";
  *epilogue = 0;
  if (a.bias != nullptr) {
    if (a.bias_type != a.y_type) return "a bias of another type than Y";
    if (a.n > 1 && a.bias_stride != 1) return "a bias that is not contiguous";
    *epilogue |= lt::kEpilogueBias;
  }
  if (a.activation == SAGE_FN_RELU) *epilogue |= lt::kEpilogueRelu;
  if (a.activation == SAGE_FN_GELU_TANH && IsHalf(a.y_type)) *epilogue |= lt::kEpilogueGeluTanh;
  if (*epilogue == 0 && a.activation == SAGE_FN_IDENTITY) *epilogue = lt::kEpilogueNone;
  const bool whole = a.activation == SAGE_FN_IDENTITY || (*epilogue & (lt::kEpilogueRelu | lt::kEpilogueGeluTanh)) != 0;
  if (whole) return nullptr;
  return a.activation == SAGE_FN_GELU_TANH ? "GELU_TANH of a Y that has not 16 bits"
                                           : "an activation other than RELU and GELU_TANH";
}

// Null: the library's own result can be Y. Else what of it is not, in the words of LibrarySteps::rest.
const char* Indirect(const ProductArguments& a, ProductType sum) {
  if (a.y_type != sum && !(IsHalf(a.x_type) && a.y_type == a.x_type)) return "a Y of neither X's type nor the sums'";
  int64_t ldd = 0;
  bool contiguous = IsMatrix(a.n, a.y_column, a.m, a.y_row, &ldd);
  for (int32_t axis = 0; axis < a.batch_axes; ++axis)
    contiguous = contiguous && (a.axes[axis].size == 1 || a.axes[axis].y >= 0);
  if (!contiguous) return "a Y that is not contiguous along its last axis";
  return sum == ProductType::kI32 && ldd % 4 != 0 ? "a Y whose rows are no multiple of 4 apart" : nullptr;
}

void MoveToScratch(LibrarySteps* steps, ProductType sum) {
  ProductArguments& product = steps->product;
  product.y = nullptr, product.y_type = sum;
  product.y_column = 1, product.y_row = product.n;
  int64_t stride = int64_t{product.m} * product.n;
  for (int32_t axis = product.batch_axes; axis-- > 0;) {
    product.axes[axis].y = stride;
    stride *= product.axes[axis].size;
  }
  steps->scratch_bytes = static_cast<uint64_t>(stride) * SizeOf(sum);
}

const char* DescribeBatch(LibrarySteps* steps) {
  const ProductArguments& p = steps->product;
  LibraryCall& call = steps->call;
  for (int32_t axis = 0; axis < p.batch_axes; ++axis) {
    if (p.axes[axis].size == 1 || p.axes[axis].x < 0 || p.axes[axis].w < 0 || p.axes[axis].y < 0) continue;
    if (steps->strided_axis < 0 || p.axes[axis].size > p.axes[steps->strided_axis].size) steps->strided_axis = axis;
  }
  for (int32_t axis = 0; axis < p.batch_axes; ++axis) {
    const ProductAxis& along = p.axes[axis];
    if (along.size == 1) continue;  // its strides are never walked
    call.align_a = std::min(call.align_a, AlignOf(along.w * SizeOf(p.w_type)));
    call.align_b = std::min(call.align_b, AlignOf(along.x * SizeOf(p.x_type)));
    call.align_d = std::min(call.align_d, AlignOf(along.y * SizeOf(p.y_type)));
    if (axis == steps->strided_axis)
      call.batch = along.size, call.batch_a = along.w, call.batch_b = along.x, call.batch_d = along.y;
    else
      steps->calls *= along.size;
  }
  return steps->calls > kLibraryMostCalls ? "its batch is no single stride and has too many parts" : nullptr;
}

}  // namespace

const char* DescribeSteps(const ProductArguments& a, bool fuse, bool tf32, LibrarySteps* out) {
  *out = {};
  LibraryCall& call = out->call;
  ProductType sum = ProductType::kF32;
  if (!TypesOf(a, tf32, &call, &sum)) return "X and W are not of one type that it multiplies";
  if (a.k == 0) return "K is 0";
  const bool integers = sum == ProductType::kI32;
  if (integers && a.k > kLongestInteger) return "K is too long for sums in 32 bits";

  out->product = out->finish = a;
  ProductArguments& product = out->product;
  const char* rest = Indirect(a, sum);
  const bool direct = rest == nullptr;
  uint32_t epilogue = lt::kEpilogueNone;
  if (direct && integers)
    rest = IsPlain(a) ? nullptr : "scales, bias or activation of integers";
  else if (direct)
    rest = Unfused(a, &epilogue);
  if (!fuse || rest != nullptr) {
    epilogue = lt::kEpilogueNone;
    out->finishes = !IsPlain(a) || !direct;
    if (out->finishes) out->rest = rest == nullptr ? "bias or activation" : rest;
    // What is finished afterwards has not been rounded before.
    if (out->finishes && !(direct && a.y_type == sum)) MoveToScratch(out, sum);
  }
  call.epilogue = epilogue;
  call.d_type = TypeNumber(product.y_type);
  call.n = a.n, call.m = a.m, call.k = a.k;
  if (!IsMatrix(a.n, product.y_column, a.m, product.y_row, &call.ldd)) return "Y has strides that it does not know";
  if (IsMatrix(a.k, a.w_column, a.n, a.w_row, &call.lda))
    call.trans_a = lt::kTransposed;
  else if (!IsMatrix(a.n, a.w_row, a.k, a.w_column, &call.lda))
    return "W is contiguous along neither of its axes";
  if (!IsMatrix(a.k, a.x_column, a.m, a.x_row, &call.ldb)) {
    if (!IsMatrix(a.m, a.x_row, a.k, a.x_column, &call.ldb)) return "X is contiguous along neither of its axes";
    call.trans_b = lt::kTransposed;
  }
  // Its integer kernels read W and X along K only, and four numbers at a time.
  if (integers && (call.trans_a != lt::kTransposed || call.trans_b != lt::kNormal || a.k % 4 != 0 || a.n % 4 != 0 ||
                   call.lda % 4 != 0 || call.ldb % 4 != 0 || call.ldd % 4 != 0))
    return "integers have to be contiguous along K, with N, K and rows at multiples of 4";
  if (const char* why = DescribeBatch(out); why != nullptr) return why;
  if (out->finishes) {
    ProductArguments& finish = out->finish;
    finish.x = product.y, finish.x_type = product.y_type;
    finish.x_row = product.y_row, finish.x_column = product.y_column;
    for (int32_t axis = 0; axis < a.batch_axes; ++axis) finish.axes[axis].x = product.axes[axis].y;
  }
  return nullptr;
}

LibraryOffsets OffsetsOfCall(const LibrarySteps& steps, int64_t n) {
  LibraryOffsets offsets;
  const ProductArguments& p = steps.product;
  for (int32_t axis = p.batch_axes; axis-- > 0;) {
    if (axis == steps.strided_axis) continue;
    const int64_t at = n % p.axes[axis].size;
    n /= p.axes[axis].size;
    offsets.a += at * p.axes[axis].w, offsets.b += at * p.axes[axis].x, offsets.d += at * p.axes[axis].y;
  }
  return offsets;
}

}  // namespace sage::cuda
