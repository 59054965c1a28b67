// attention_packed_keys.cc: see attention_packed_keys.h.
#include "attention_packed_keys.h"

#include <algorithm>
#include <cstring>
#include <vector>

namespace sage::cpu {
namespace {

int64_t RoundUp(int64_t value, int64_t to) { return (value + to - 1) / to * to; }

bool CanPackAhead(const AttentionDesign& design) {
  const AttentionSizes& sizes = design.bounds;
  const sage_tensor& k = design.view->Slot(SAGE_ATTN_K);
  const bool sets_aside = !design.wide && design.kernels_f32->find_unfit != nullptr;  // decided tile by tile
  return (k.flags & SAGE_TENSOR_CONSTANT) != 0 && k.data != nullptr && !sizes.varlen && !sizes.paged && !sizes.append &&
         !sets_aside && (k.stride[3] == 1 || k.shape[3] <= 1) && k.shape[0] > 0 && k.shape[1] > 0 && k.shape[2] > 0;
}

template <class T>
void Pack(const AttentionKernels<T>& kernels, const sage_tensor& k, int64_t first, int64_t count, int64_t b,
          int64_t head, std::vector<const void*>* rows, void* to) {
  const int64_t size = ElementSize(k.dtype);
  const int64_t padded = RoundUp(count, kernels.width);
  for (int64_t i = 0; i < padded; ++i) {
    const int64_t key = first + std::min(i, count - 1);
    (*rows)[static_cast<size_t>(i)] =
        static_cast<const char*>(k.data) + (b * k.stride[0] + head * k.stride[1] + key * k.stride[2]) * size;
  }
  const Stored stored = k.dtype == SAGE_BF16 ? Stored::kBf16 : k.dtype == SAGE_F16 ? Stored::kF16 : Stored::kNative;
  kernels.pack_keys(stored, rows->data(), padded, k.shape[3], to, nullptr);
}

}  // namespace

bool PackedKeys::Shares(const PackedKeys& other) const {
  return kernels_ == other.kernels_ && tile_keys_ == other.tile_keys_ && k_.data == other.k_.data &&
         k_.dtype == other.k_.dtype && std::equal(k_.shape, k_.shape + 4, other.k_.shape) &&
         std::equal(k_.stride, k_.stride + 4, other.k_.stride);
}

sage_status PackedKeys::Make(const AttentionDesign& design, const std::shared_ptr<PackedKeys>& like,
                             std::shared_ptr<PackedKeys>* out, sage_error* err) {
  if (!CanPackAhead(design)) return SAGE_OK;
  auto made = std::make_shared<PackedKeys>();
  const sage_tensor& k = made->k_ = design.view->Slot(SAGE_ATTN_K);
  made->kernels_ = design.wide ? static_cast<const void*>(design.kernels_f64) : design.kernels_f32;
  made->tile_keys_ = design.tile_keys;
  if (like != nullptr && made->Shares(*like)) {
    *out = like;
    return SAGE_OK;
  }
  const int64_t width = design.wide ? design.kernels_f64->width : design.kernels_f32->width;
  const int64_t element = design.wide ? design.kernels_f64->element : design.kernels_f32->element;
  const int64_t keys = RoundUp(design.tile_keys, width);
  made->tiles_ = (k.shape[2] + design.tile_keys - 1) / design.tile_keys;
  int64_t bytes = 0;
  if (__builtin_mul_overflow(keys * element, design.dim_padded, &made->tile_bytes_) ||
      __builtin_mul_overflow(made->tile_bytes_, made->tiles_, &bytes) ||
      __builtin_mul_overflow(bytes, k.shape[0], &bytes) || __builtin_mul_overflow(bytes, k.shape[1], &bytes))
    return SAGE_OK;  // no memory holds it; K is read where it lies
  const sage_status status =
      HostBlock::Make(design.context->host, static_cast<uint64_t>(bytes), 64, &made->block_, err);
  if (status != SAGE_OK) return status;
  std::vector<const void*> rows(static_cast<size_t>(keys));
  char* to = static_cast<char*>(made->block_->data());
  for (int64_t b = 0; b < k.shape[0]; ++b)
    for (int64_t head = 0; head < k.shape[1]; ++head)
      for (int64_t first = 0; first < k.shape[2]; first += design.tile_keys, to += made->tile_bytes_) {
        const int64_t count = std::min(design.tile_keys, k.shape[2] - first);
        if (design.wide)
          Pack(*design.kernels_f64, k, first, count, b, head, &rows, to);
        else
          Pack(*design.kernels_f32, k, first, count, b, head, &rows, to);
      }
  *out = std::move(made);
  return SAGE_OK;
}

const char* PackedKeys::Keys(int64_t b, int64_t head, int64_t first, int64_t* count) const {
  *count = std::min(tile_keys_, k_.shape[2] - first);
  const int64_t index = (b * k_.shape[1] + head) * tiles_ + first / tile_keys_;
  return static_cast<const char*>(block_->data()) + index * tile_bytes_;
}

}  // namespace sage::cpu
