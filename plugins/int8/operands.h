// operands.h: Q, K and V of one call as codes and scales: laid out for the kernels before the first tile, but for Q,
// whose rows are laid out by the tile that has them.
#ifndef SAGE_PLUGINS_INT8_OPERANDS_H_
#define SAGE_PLUGINS_INT8_OPERANDS_H_

#include <cstdint>

#include "cpu/attention.h"
#include "kernels.h"
#include "mode.h"
#include "scales.h"

namespace sage::int8 {

// A dot of more codes need not be exact as a float: 1024 x 127 x 127 is below 2^24.
constexpr int64_t kLongestHead = 1024;
// Of V no sum runs over the channels; so many are refused only as sizes that nobody has.
constexpr int64_t kMostValueChannels = 1 << 20;

// Offsets in the workspace of a call, from sizes or their upper bounds.
struct OperandLayout {
  OperandLayout(Mode mode, const CodeForm& form, const cpu::AttentionDesign& design);

  int64_t key_tile_bytes, value_tile_bytes, scratch_bytes;
  uint64_t first_tiles_at, means_at, largest_at, keys_at, values_at, scratch_at;
  double bytes;  // of all; beyond 2^46 the offsets mean nothing
};

class Operands final : public cpu::AttentionOperands {
 public:
  Operands(Mode mode, const Int8Kernels& kernels, const cpu::AttentionCall& call, char* workspace);

  // Fails where a caller's scale is none.
  sage_status Prepare(sage_error* err);

  bool PacksQueries() const override { return mode_ != Mode::kKvCache; }
  void PackQueries(const Queries& queries, char* to) const override;
  bool PacksKeys() const override { return mode_ != Mode::kKvCache; }
  const char* Keys(int64_t b, int64_t head, int64_t first, int64_t* count) const override;
  bool PacksValues() const override { return mode_ == Mode::kFull; }
  const char* Values(int64_t b, int64_t head, int64_t first, int64_t* ld) const override;
  bool Converts(uint32_t slot) const override;
  void Convert(uint32_t slot, const cpu::AttentionSequence& sequence, int64_t b, int64_t head, int64_t first,
               int64_t count, const void* const* rows, int64_t length, float* to) const override;
  bool ReadInPlace() const override;
  void Factors(uint32_t slot, const cpu::AttentionSequence& sequence, int64_t b, int64_t head, int64_t first,
               int64_t count, float* to) const override;

 private:
  class Worker;
  // The largest magnitudes of Q, K and V, where each has one scale.
  void FindLargest();
  template <class Body>
  void ForHeads(const Body& body) const;
  int64_t PackedRow(uint32_t slot, const cpu::AttentionSequence& sequence) const;
  const Scales& ScalesOf(uint32_t slot) const;
  char* TileAt(uint64_t at, int64_t tile_bytes, int64_t heads, int64_t b, int64_t head, int64_t first) const;
  float* MeanOf(int64_t b, int64_t head) const;
  void LayKeys(int64_t b, int64_t head, const Worker& worker) const;
  void LayValueTiles(int64_t b, int64_t head, const Worker& worker) const;

  Mode mode_;
  const Int8Kernels& kernels_;
  const CodeForm& form_;
  const cpu::AttentionCall& call_;
  OperandLayout at_;
  char* workspace_;
  int64_t* first_tiles_;  // of each sequence
  Scales scales_q_, scales_k_, scales_v_;
  bool codes_q_, codes_k_, codes_v_;               // what is stored are codes
  bool smooth_;                                    // K is quantised less its mean
  float scale_q_ = 0, scale_k_ = 0, scale_v_ = 0;  // per tensor, of floats
};

}  // namespace sage::int8

#endif  // SAGE_PLUGINS_INT8_OPERANDS_H_
