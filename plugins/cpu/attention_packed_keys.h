// attention_packed_keys.h: K in the kernels' form, made once at plan where K is a constant: a table of experts, a cross
// attention over a fixed context. Dense K only; shared between the plans of one node.
#ifndef SAGE_PLUGINS_CPU_ATTENTION_PACKED_KEYS_H_
#define SAGE_PLUGINS_CPU_ATTENTION_PACKED_KEYS_H_

#include <cstdint>
#include <memory>

#include "attention.h"
#include "attention_operands.h"

namespace sage::cpu {

class PackedKeys final : public AttentionOperands {
 public:
  // *out stays null where there is nothing to pack ahead. like (optional): what another plan of the node has, shared
  // where it is of the same K in the same form. May throw std::bad_alloc; fails where the host has no memory.
  static sage_status Make(const AttentionDesign& design, const std::shared_ptr<PackedKeys>& like,
                          std::shared_ptr<PackedKeys>* out, sage_error* err);

  bool PacksKeys() const override { return true; }
  const char* Keys(int64_t b, int64_t head, int64_t first, int64_t* count) const override;
  uint64_t bytes() const { return block_->bytes(); }

 private:
  bool Shares(const PackedKeys& other) const;

  std::shared_ptr<HostBlock> block_;
  sage_tensor k_{};
  const void* kernels_ = nullptr;  // whose form it is
  int64_t tile_keys_ = 0, tiles_ = 0, tile_bytes_ = 0;
};

}  // namespace sage::cpu

#endif  // SAGE_PLUGINS_CPU_ATTENTION_PACKED_KEYS_H_
