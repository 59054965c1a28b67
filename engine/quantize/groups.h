// groups.h: the tensors of a quantisation checked, and walked row by row: which rows there are, where they lie, which
// scale each element has.
#ifndef SAGE_ENGINE_QUANTIZE_GROUPS_H_
#define SAGE_ENGINE_QUANTIZE_GROUPS_H_

#include <span>
#include <string>
#include <vector>

#include "quantize/quantize.h"
#include "status.h"

namespace sage {

class QuantizeGroups {
 public:
  // Everything about the call but the values: types, shapes, strides, memory that overlaps. `from` and `to`: which of x
  // and codes is read and which is written.
  static Result<QuantizeGroups> Create(const QuantizeCall& call, const sage_tensor& from, const sage_tensor& to);

  // A row: the channels of one token and head. None where there is nothing in them, however many the shape names.
  int64_t rows() const { return dim_ == 0 ? 0 : heads_ * tokens_ * batch_; }
  int64_t dim() const { return dim_; }
  // values: dim() of them; to be stored: within the range of the tensor's type.
  void LoadRow(const sage_tensor& tensor, int64_t row, std::span<double> values) const;
  void StoreRow(const sage_tensor& tensor, int64_t row, std::span<const double> values) const;
  // "[b,h,s,c]" of an element, in x's axes.
  std::string Place(int64_t row, int64_t channel) const;

  // Scales, counted from 0. A row's first one; its channels have the ones after it where each has its own.
  int64_t count() const { return count_; }
  int64_t ScaleOf(int64_t row) const;
  bool per_channel() const { return granularity_ == SAGE_PER_CHANNEL; }
  std::vector<float> LoadScales(const sage_tensor& scale) const;
  void StoreScales(const sage_tensor& scale, const std::vector<float>& scales) const;

  // Means, by sequence and head: [sequences, heads] rows of dim() channels. Packed: cu_seqlens was given.
  int64_t sequences() const { return packed_ ? static_cast<int64_t>(starts_.size()) - 1 : batch_; }
  int64_t heads() const { return heads_; }
  int64_t TokensOf(int64_t sequence) const {
    const auto at = static_cast<size_t>(sequence);
    return packed_ ? starts_[at + 1] - starts_[at] : tokens_;
  }
  int64_t MeanOf(int64_t row) const;
  std::vector<float> LoadMeans(const sage_tensor& mean) const;
  void StoreMeans(const sage_tensor& mean, const std::vector<float>& means) const;

 private:
  struct Position {
    int64_t b, h, token;
  };
  Position At(int64_t row) const;
  int64_t SequenceOf(const Position& at) const;
  char* Address(const sage_tensor& tensor, int64_t row) const;
  Status TakeSequences(const sage_tensor* cu_seqlens, bool wanted);
  Status TakeScaleShape(const QuantizeCall& call);

  uint32_t granularity_ = 0, scale_block_ = 0;
  bool packed_ = false;                                   // [T,H,D]
  int64_t batch_ = 1, heads_ = 0, tokens_ = 0, dim_ = 0;  // packed: batch 1, T tokens
  int64_t count_ = 0;
  bool shared_ = false;  // one set of scales for all sequences
  int64_t blocks_ = 0;
  std::vector<int64_t> starts_;  // of packed sequences, in tokens; empty where cu_seqlens is not given
};

}  // namespace sage

#endif  // SAGE_ENGINE_QUANTIZE_GROUPS_H_
