// attention_unit.h: one lowered graph in its session: buffers opened for a tick's sizes, rows stored, weights read.
//
// The tick's numbers go straight into the session's memory, so nothing is copied twice and nothing is allocated once
// the largest tick has been seen.
#ifndef SAGE_ENGINE_SAGE_ATTENTION_UNIT_H_
#define SAGE_ENGINE_SAGE_ATTENTION_UNIT_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine.h"
#include "run/session.h"
#include "sage/lowering.h"
#include "status.h"

namespace sage {

class AttentionUnit {
 public:
  // name: for explain ("content", "prior", "content_causal" ...).
  static Result<std::unique_ptr<AttentionUnit>> Create(std::string name, std::shared_ptr<Engine> engine,
                                                       LoweredAttention lowered, const SessionOptions& options);

  const std::string& name() const { return name_; }
  const LoweredAttention& lowered() const { return lowered_; }
  Session& session() { return *session_; }
  const Session& session() const { return *session_; }

  // Memory for these sizes. Without content, q and k are zeroed here; else every row is to be stored.
  // keys_too = false: k stays as SetKeys left it.
  Status Open(int64_t batch, int64_t queries, int64_t keys, bool keys_too = true);
  Status SetKeys(std::span<const int64_t> shape, const void* data, uint64_t bytes);

  void StoreQuery(int64_t batch, int64_t query, std::span<const double> row);
  void StoreKey(int64_t batch, int64_t key, std::span<const double> row);
  void StoreValue(int64_t batch, int64_t key, std::span<const double> row);
  // One line of the bias: all keys. head and query are 0 where the form has one line for all.
  void StoreBias(int64_t batch, int64_t head, int64_t query, std::span<const double> line);

  Status Run();

  // Of the last run. head < lowered().heads.
  double Weight(int64_t batch, int64_t head, int64_t query, int64_t key) const;
  // Of all keys: out[key] = Weight(batch, head, query, key).
  void Weights(int64_t batch, int64_t head, int64_t query, std::span<double> out) const;
  // Mean over the heads.
  double MeanWeight(int64_t batch, int64_t query, int64_t key) const;
  // out: the width of the fused vector.
  void Fused(int64_t batch, int64_t query, std::span<double> out) const;
  // The backend of the attention node in the last run.
  const char* Backend() const;

 private:
  AttentionUnit() = default;
  std::string name_;
  LoweredAttention lowered_;
  std::unique_ptr<Session> session_;
  uint32_t attention_node_ = 0;
  int64_t queries_ = 0, keys_ = 0;
  sage_tensor q_{}, k_{}, v_{}, bias_{}, weights_{}, fused_{};
};

}  // namespace sage

#endif  // SAGE_ENGINE_SAGE_ATTENTION_UNIT_H_
