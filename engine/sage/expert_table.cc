// expert_table.cc: checking, copying and projecting the experts' embeddings.
#include "sage/expert_table.h"

#include <cmath>
#include <string>
#include <utility>

#include "sage/lowering.h"
#include "sage/number.h"
#include "sage/support/check_op.h"
#include "sage/tick_reader.h"

namespace sage {
namespace {

std::string ShapeText(std::span<const int64_t> shape) {
  std::string out(1, '[');
  for (const int64_t size : shape) {
    if (out.size() > 1) out += ", ";
    out += std::to_string(size);
  }
  out += ']';
  return out;
}

}  // namespace

Status ExpertTable::Check(sage_dtype dtype, std::span<const int64_t> shape, const void* data, uint64_t bytes) const {
  const auto refuse = [](std::string why) { return Status(SAGE_E_INVALID_ARGUMENT, "experts: " + std::move(why)); };
  const SageAttention& attention = params_.attention;
  if (!(LargestFinite(dtype) > 0)) return refuse("must be f64, f32, f16 or bf16");
  const bool by_row = shape.size() == 3;
  const int64_t batch = by_row ? shape[0] : 1;
  if ((shape.size() != 2 && !by_row) || shape[shape.size() - 2] != params_.num_experts ||
      shape.back() != attention.d_model || batch < 1 || batch > params_.max_batch) {
    return refuse("has the shape " + ShapeText(shape) + "; the model needs [" + std::to_string(params_.num_experts) +
                  ", " + std::to_string(attention.d_model) + "], or one such table for each of 1 to " +
                  std::to_string(params_.max_batch) + " rows");
  }
  int64_t rows = 0, elements = 0, needed = 0;
  if (__builtin_mul_overflow(params_.num_experts, batch, &rows) ||
      __builtin_mul_overflow(rows, attention.d_model, &elements) ||
      __builtin_mul_overflow(elements, static_cast<int64_t>(support::DtypeSize(dtype)), &needed) ||
      static_cast<uint64_t>(needed) != bytes || data == nullptr) {
    return refuse("has " + std::to_string(bytes) + " bytes; " + ShapeText(shape) + " of " + support::DtypeName(dtype) +
                  " needs " + std::to_string(needed));
  }
  for (int64_t i = 0; i < elements; ++i) {
    const double value = LoadNumber(dtype, data, i);
    if (!(std::fabs(value) <= LargestFinite(attention.dtype))) {
      return refuse("element " + std::to_string(i) + " is " + NumberText(value) + "; it must be finite in " +
                    support::DtypeName(attention.dtype));
    }
  }
  return Status();
}

void ExpertTable::Set(sage_dtype dtype, std::span<const int64_t> shape, const void* data) {
  by_row_ = shape.size() == 3;
  batch_ = by_row_ ? shape[0] : 1;
  numbers_.resize(static_cast<size_t>(batch_ * params_.num_experts * params_.attention.d_model));
  for (size_t i = 0; i < numbers_.size(); ++i) numbers_[i] = LoadNumber(dtype, data, static_cast<int64_t>(i));
  fresh_ = false;
}

Status ExpertTable::EnsureKeys(int64_t revision, AttentionUnit* unit, AttentionUnit* projection) {
  if (fresh_ && revision_ == revision) return Status();
  fresh_ = false;
  const SageAttention& attention = params_.attention;
  const auto d = static_cast<size_t>(attention.d_model);
  const int64_t width = attention.kv_heads * attention.head_dim, rows = batch_ * params_.num_experts;
  const int64_t in = projection == nullptr ? width : projection->lowered().k_width;
  const uint64_t bytes = static_cast<uint64_t>(rows * width) * support::DtypeSize(attention.dtype);
  void* into = nullptr;
  if (projection == nullptr) {
    keys_.resize(bytes);
    into = keys_.data();
  } else {
    const int64_t shape[] = {batch_, params_.num_experts, in};
    auto x = projection->session().InputBuffer(0, shape);
    if (!x.ok()) return x.status();
    into = x->data;
  }
  row_.resize(static_cast<size_t>(in));
  for (int64_t row = 0; row < rows; ++row) {
    ProjectKey(attention, std::span<const double>(numbers_).subspan(static_cast<size_t>(row) * d, d), row_);
    StoreNumbers(attention.dtype, into, row * in, row_);
  }
  const void* keys = into;
  if (projection != nullptr) {
    SAGE_RETURN_IF_ERROR(projection->session().Run());
    auto k = projection->session().Output(0);
    if (!k.ok()) return k.status();
    keys = k->data;
  }
  const int64_t shape[] = {batch_, params_.num_experts, width};
  SAGE_RETURN_IF_ERROR(unit->SetKeys(shape, keys, bytes));
  fresh_ = true;
  revision_ = revision;
  ++builds_;
  return Status();
}

void ExpertTable::WriteCache(JsonWriter& out) const {
  out.Key("key_cache");
  out.BeginObject();
  out.Member("builds", builds_);
  out.Key("revision");
  fresh_ ? out.Integer(revision_) : out.Null();
  out.EndObject();
}

}  // namespace sage
