// expert_table.h: the experts' embeddings as a caller set them, and K made from them once a revision.
//
// The projected table is the one thing that costs more than the rest of a tick together, so it is kept, and built anew
// only with the table or with its revision, a number the caller passes.
#ifndef SAGE_ENGINE_SAGE_EXPERT_TABLE_H_
#define SAGE_ENGINE_SAGE_EXPERT_TABLE_H_

#include <cstdint>
#include <span>
#include <vector>

#include "json.h"
#include "model/sage_params.h"
#include "sage/attention_unit.h"
#include "status.h"

namespace sage {

class ExpertTable {
 public:
  // params outlive this.
  explicit ExpertTable(const ExpertParams& params) : params_(params) {}

  // [N, D], or [B, N, D] with 1 <= B <= max_batch; f64, f32, f16 or bf16, every value finite in the model's dtype.
  Status Check(sage_dtype dtype, std::span<const int64_t> shape, const void* data, uint64_t bytes) const;
  // Copies what Check has passed; K is stale afterwards.
  void Set(sage_dtype dtype, std::span<const int64_t> shape, const void* data);

  bool empty() const { return numbers_.empty(); }
  bool by_row() const { return by_row_; }   // one table for each row of a tick
  int64_t batch() const { return batch_; }  // rows it is for; 1 when shared

  // Makes `unit` hold K of this table for `revision`. projection: the session of Wk, null under IDENTITY. Allocates
  // only when K is built.
  Status EnsureKeys(int64_t revision, AttentionUnit* unit, AttentionUnit* projection);
  // "key_cache":{"builds","revision"} into an open object.
  void WriteCache(JsonWriter& out) const;

 private:
  const ExpertParams& params_;
  std::vector<double> numbers_, row_;
  int64_t batch_ = 0;
  bool by_row_ = false;
  std::vector<char> keys_;
  bool fresh_ = false;
  int64_t revision_ = 0;
  uint64_t builds_ = 0;
};

}  // namespace sage

#endif  // SAGE_ENGINE_SAGE_EXPERT_TABLE_H_
