// attention.hpp: attention with everything it can do: described, planned once, run many times.
//
// Part of sage.hpp, which says how all of it is used.
#ifndef SAGE_CPP_ATTENTION_HPP_
#define SAGE_CPP_ATTENTION_HPP_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine.hpp"

namespace sage {
inline namespace cpp {

// An attention call described, for planning; with data in its tensors, also for running.
class AttentionOp {
 public:
  AttentionOp(const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& o) : slots_(SAGE_ATTN_NUM_SLOTS) {
    attributes_.struct_size = sizeof attributes_;
    slot(SAGE_ATTN_Q, q), slot(SAGE_ATTN_K, k), slot(SAGE_ATTN_V, v), slot(SAGE_ATTN_O, o);
  }
  // SAGE_ATTN_*: bias, masks, lengths, LSE, paged tables and the rest.
  AttentionOp& slot(uint32_t index, const Tensor& tensor) {
    if (index >= slots_.size())
      throw Error(SAGE_E_INVALID_ARGUMENT, 0, "attention has no slot " + std::to_string(index));
    slots_[index] = tensor;
    return *this;
  }
  // 0 is meant; without it 1/sqrt(dim).
  AttentionOp& scale(double value) {
    attributes_.features |= SAGE_ATTN_F_SCALE;
    attributes_.scale = value;
    return *this;
  }
  AttentionOp& causal(Causal alignment) {
    if (alignment == Causal::kNo) {
      attributes_.features &= ~SAGE_ATTN_F_CAUSAL;
      return *this;
    }
    attributes_.features |= SAGE_ATTN_F_CAUSAL;
    return align(alignment);
  }
  // Of what uses positions: causal, windows, ALiBi.
  AttentionOp& align(Causal alignment) {
    attributes_.alignment = static_cast<uint32_t>(alignment);
    return *this;
  }
  // Keys on either side besides a query's own position; nullopt: all.
  AttentionOp& window(std::optional<int64_t> left, std::optional<int64_t> right) {
    attributes_.features &= ~(SAGE_ATTN_F_WINDOW_LEFT | SAGE_ATTN_F_WINDOW_RIGHT);
    if (left) attributes_.features |= SAGE_ATTN_F_WINDOW_LEFT;
    if (right) attributes_.features |= SAGE_ATTN_F_WINDOW_RIGHT;
    attributes_.window_left = left.value_or(0), attributes_.window_right = right.value_or(0);
    return *this;
  }
  AttentionOp& softcap(double value) {
    attributes_.softcap = value;
    return *this;
  }
  // K_NEW and V_NEW are written behind the keys in use, then attended to.
  AttentionOp& append(const Tensor& k_new, const Tensor& v_new) {
    aliases_ |= uint64_t{1} << SAGE_ATTN_K | uint64_t{1} << SAGE_ATTN_V;
    return slot(SAGE_ATTN_K_NEW, k_new).slot(SAGE_ATTN_V_NEW, v_new);
  }
  AttentionOp& accuracy(uint32_t least_exact) {  // SAGE_ACCURACY_*
    accuracy_ = least_exact;
    return *this;
  }
  AttentionOp& require(uint32_t requirements) {  // SAGE_REQUIRE_*
    requirements_ |= requirements;
    return *this;
  }
  AttentionOp& dynamic(uint32_t axes) {  // SAGE_AXIS_* that may be smaller when it runs
    dynamic_axes_ |= axes;
    return *this;
  }
  // SAGE_ATTN_F_*: all that is asked for.
  uint64_t features() const {
    uint64_t bits = 0;
    detail::Check([&](sage_error* error) {
      return with_op([&](const sage_op& op) { return sage_attention_features(&op, &bits, error); });
    });
    return bits;
  }
  // What has no name of its own here.
  sage_attention_attributes& attributes() { return attributes_; }

  // use(const sage_op&) -> sage_status: valid during the call. No allocation.
  template <class Use>
  sage_status with_op(Use&& use) const {
    const sage_tensor* slots[SAGE_ATTN_NUM_SLOTS];
    for (size_t i = 0; i < slots_.size(); ++i) slots[i] = slots_[i] ? &slots_[i]->raw() : nullptr;
    sage_op op{};
    op.struct_size = sizeof op, op.kind = SAGE_OP_ATTENTION;
    op.requirements = requirements_, op.accuracy = accuracy_, op.dynamic_axes = dynamic_axes_;
    op.num_slots = SAGE_ATTN_NUM_SLOTS, op.aliases = aliases_, op.attributes = &attributes_, op.slots = slots;
    return use(static_cast<const sage_op&>(op));
  }

 private:
  sage_attention_attributes attributes_{};
  uint32_t requirements_ = 0, accuracy_ = SAGE_ACCURACY_AUTO, dynamic_axes_ = 0;
  uint64_t aliases_ = 0;
  std::vector<std::optional<Tensor>> slots_;
};

// Chosen and prepared once; shared by any number of contexts.
class AttentionPlan {
 public:
  AttentionPlan(const Engine& engine, const AttentionOp& op, const Options* options = nullptr)
      : keep_(detail::Join(engine.keep(), options == nullptr ? nullptr : options->keep())) {
    sage_attention_plan* raw = nullptr;
    detail::Check([&](sage_error* error) {
      return op.with_op([&](const sage_op& described) {
        return sage_attention_plan_create(engine.raw(), &described, options == nullptr ? nullptr : options->raw(), &raw,
                                          error);
      });
    });
    raw_.reset(raw);
  }
  std::string backend() const { return sage_attention_plan_backend(raw_.get()); }
  std::string explain() const {
    return detail::FetchText([&](char* buffer, uint64_t capacity, uint64_t* needed, sage_error* error) {
      return sage_attention_plan_explain(raw_.get(), buffer, capacity, needed, error);
    });
  }
  sage_attention_memory memory() const {
    sage_attention_memory memory{};
    memory.struct_size = sizeof memory;
    detail::Check([&](sage_error* error) { return sage_attention_plan_memory(raw_.get(), &memory, error); });
    return memory;
  }
  sage_attention_plan* raw() const noexcept { return raw_.get(); }
  const detail::Keep& keep() const noexcept { return keep_; }

 private:
  detail::Keep keep_;
  detail::Owned<sage_attention_plan, sage_attention_plan_destroy> raw_;
};

// The workspace of one caller.
class AttentionContext {
 public:
  explicit AttentionContext(const AttentionPlan& plan) : keep_(plan.keep()) {
    sage_attention_context* raw = nullptr;
    detail::Check([&](sage_error* error) { return sage_attention_context_create(plan.raw(), &raw, error); });
    raw_.reset(raw);
  }
  // op: as planned, with data. stream (optional): see sage_attention_run.
  void run(const AttentionOp& op, void* stream = nullptr) {
    detail::Check([&](sage_error* error) {
      return op.with_op([&](const sage_op& described) {
        return sage_attention_run(raw_.get(), described.slots, described.num_slots, stream, error);
      });
    });
  }
  void cancel() noexcept { sage_attention_cancel(raw_.get()); }

 private:
  detail::Keep keep_;
  detail::Owned<sage_attention_context, sage_attention_context_destroy> raw_;
};

}  // namespace cpp
}  // namespace sage

#endif  // SAGE_CPP_ATTENTION_HPP_
