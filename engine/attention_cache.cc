// attention_cache.cc: the flat call: six sizes become an op, its plan is found or made, a context is borrowed.
#include "attention_plan.h"
#include "fmt/format.h"

namespace sage {
namespace {

// The four tensors of a flat call. False: a size overflows.
bool Describe(const AttentionCache::Key& key, std::array<sage_tensor, 4>* out) {
  const int64_t sizes[4][3] = {{key.heads_q, key.seq_q, key.dim_qk},
                               {key.heads_kv, key.seq_kv, key.dim_qk},
                               {key.heads_kv, key.seq_kv, key.dim_v},
                               {key.heads_q, key.seq_q, key.dim_v}};
  for (size_t slot = 0; slot < 4; ++slot) {
    const auto [heads, rows, width] = std::to_array(sizes[slot]);
    int64_t inner = 0, outer = 0, all = 0;
    if (__builtin_mul_overflow(key.layout == 0 ? rows : heads, width, &inner) ||
        __builtin_mul_overflow(inner, key.layout == 0 ? heads : rows, &outer) ||
        __builtin_mul_overflow(outer, key.batch, &all))
      return false;
    sage_tensor& tensor = (*out)[slot];
    tensor = {};
    tensor.struct_size = sizeof tensor;
    tensor.dtype = key.dtype;
    tensor.device_type = SAGE_CPU;
    tensor.rank = 4;
    tensor.shape[0] = key.batch, tensor.shape[1] = heads, tensor.shape[2] = rows, tensor.shape[3] = width;
    tensor.stride[0] = outer, tensor.stride[3] = 1;
    tensor.stride[1] = key.layout == 0 ? inner : width;
    tensor.stride[2] = key.layout == 0 ? width : inner;
  }
  return true;
}

Status CheckKey(const AttentionCache::Key& key) {
  const std::pair<int64_t, const char*> sizes[] = {
      {key.batch, "batch"},   {key.heads_q, "heads_q"}, {key.heads_kv, "heads_kv"}, {key.seq_q, "seq_q"},
      {key.seq_kv, "seq_kv"}, {key.dim_qk, "dim_qk"},   {key.dim_v, "dim_v"}};
  for (const auto& [size, name] : sizes)
    if (size < 0) return Status(SAGE_E_INVALID_ARGUMENT, fmt::format("{} is {}, 0 or more is expected", name, size));
  if (key.layout > 1)
    return Status(SAGE_E_INVALID_ARGUMENT,
                  fmt::format("layout is {}, 0 ([B,H,S,D]) or 1 ([B,S,H,D]) is expected", key.layout));
  if (key.causal > SAGE_ALIGN_BOTTOM_RIGHT)
    return Status(
        SAGE_E_INVALID_ARGUMENT,
        fmt::format("causal is {}, 0 (none), SAGE_ALIGN_TOP_LEFT or SAGE_ALIGN_BOTTOM_RIGHT is expected", key.causal));
  return {};
}

}  // namespace

Status AttentionCache::Run(const std::shared_ptr<Engine>& engine, const Key& key, const void* q, const void* k,
                           const void* v, void* o) {
  SAGE_RETURN_IF_ERROR(CheckKey(key));
  std::array<sage_tensor, 4> tensors;
  if (!Describe(key, &tensors))
    return Status(SAGE_E_INVALID_ARGUMENT, "the product of the sizes given is above 2^63 - 1 elements");
  Result<std::unique_ptr<AttentionContext>> context = Take(engine, key);
  if (!context.ok()) return context.status();
  // The inputs are only read; the ABI has one tensor type for both directions.
  tensors[SAGE_ATTN_Q].data = const_cast<void*>(q);
  tensors[SAGE_ATTN_K].data = const_cast<void*>(k);
  tensors[SAGE_ATTN_V].data = const_cast<void*>(v);
  tensors[SAGE_ATTN_O].data = o;
  const sage_tensor* slots[4] = {&tensors[0], &tensors[1], &tensors[2], &tensors[3]};
  Status ran = (*context)->Run(slots, 4, nullptr);
  GiveBack(key, std::move(*context));
  return ran;
}

Result<std::unique_ptr<AttentionContext>> AttentionCache::Take(const std::shared_ptr<Engine>& engine, const Key& key) {
  std::shared_ptr<const AttentionPlan> plan;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
      if (!(entry->key == key)) continue;
      entries_.splice(entries_.begin(), entries_, entry);
      if (!entry->idle.empty()) {
        std::unique_ptr<AttentionContext> context = std::move(entry->idle.back());
        entry->idle.pop_back();
        return context;
      }
      plan = entry->plan;
      break;
    }
  }
  if (plan == nullptr) {
    // Outside the lock, since planning may be slow. Two callers may both make it; the second one's is used once.
    std::array<sage_tensor, 4> tensors;
    (void)Describe(key, &tensors);
    const sage_tensor* slots[4] = {&tensors[0], &tensors[1], &tensors[2], &tensors[3]};
    sage_attention_attributes attributes{};
    attributes.struct_size = sizeof attributes;
    attributes.alignment = key.causal;
    attributes.scale = key.scale;
    if (key.causal != 0) attributes.features |= SAGE_ATTN_F_CAUSAL;
    if (key.scale != 0) attributes.features |= SAGE_ATTN_F_SCALE;
    sage_op op{};
    op.struct_size = sizeof op;
    op.kind = SAGE_OP_ATTENTION;
    op.num_slots = 4;
    op.attributes = &attributes;
    op.slots = slots;
    SAGE_ASSIGN_OR_RETURN(plan, AttentionPlan::Create(engine, &op, Options{}));
    Entry entry{key, plan, {}};
    entry.idle.reserve(kContextsPerPlan);
    std::list<Entry> dropped;  // destroyed after the lock is given back
    const std::lock_guard<std::mutex> lock(mutex_);
    bool there = false;
    for (const Entry& other : entries_) there = there || other.key == key;
    if (!there) entries_.push_front(std::move(entry));
    if (entries_.size() > kPlans) dropped.splice(dropped.begin(), entries_, std::prev(entries_.end()));
  }
  return AttentionContext::Create(std::move(plan));
}

void AttentionCache::GiveBack(const Key& key, std::unique_ptr<AttentionContext> context) {
  const std::lock_guard<std::mutex> lock(mutex_);
  for (Entry& entry : entries_)
    if (entry.key == key && entry.plan.get() == &context->plan() && entry.idle.size() < kContextsPerPlan) {
      entry.idle.push_back(std::move(context));
      return;
    }
}

size_t AttentionCache::size() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return entries_.size();
}

}  // namespace sage
