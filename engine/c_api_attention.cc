// c_api_attention.cc: sage.h's one-shot attention.
#include "handles.h"
#include "plan/problem.h"
#include "sage/support/op_view.h"

using sage::Border;
using sage::ExclusiveBorder;
using sage::NullArgument;
using sage::SharedBorder;
using sage::Status;

extern "C" {

sage_status sage_attention(sage_engine* engine, sage_dtype dtype, uint32_t layout, int64_t batch, int64_t heads_q,
                           int64_t heads_kv, int64_t seq_q, int64_t seq_kv, int64_t dim_qk, int64_t dim_v,
                           const void* q, const void* k, const void* v, void* o, uint32_t causal, double scale,
                           sage_error* err) {
  return SharedBorder(__func__, "engine", engine, err, [&]() -> Status {
    sage::AttentionCache::Key key;
    key.dtype = dtype, key.layout = layout, key.causal = causal;
    key.batch = batch, key.heads_q = heads_q, key.heads_kv = heads_kv, key.seq_q = seq_q, key.seq_kv = seq_kv;
    key.dim_qk = dim_qk, key.dim_v = dim_v, key.scale = scale;
    return engine->attention.Run(engine->engine, key, q, k, v, o);
  });
}

sage_status sage_attention_plan_create(sage_engine* engine, const sage_op* op, const sage_options* options,
                                       sage_attention_plan** out, sage_error* err) {
  if (out != nullptr) *out = nullptr;
  return SharedBorder(__func__, "engine", engine, err, [&]() -> Status {
    if (out == nullptr) return NullArgument("sage_attention_plan_create", "out");
    if (op == nullptr) return NullArgument("sage_attention_plan_create", "op");
    SAGE_ASSIGN_OR_RETURN(std::shared_ptr<const sage::AttentionPlan> plan,
                          sage::AttentionPlan::Create(engine->engine, op, sage::OptionsOf(options)));
    auto handle = std::make_unique<sage_attention_plan>();
    handle->plan = std::move(plan);
    *out = handle.release();
    return {};
  });
}

void sage_attention_plan_destroy(sage_attention_plan* plan) { sage::DestroyHandle(plan); }

const char* sage_attention_plan_backend(const sage_attention_plan* plan) {
  if (plan == nullptr) return nullptr;
  const sage::SharedCall<const sage_attention_plan> call(plan);
  return plan->plan->backend().name().c_str();
}

sage_status sage_attention_plan_explain(const sage_attention_plan* plan, char* buffer, uint64_t capacity,
                                        uint64_t* needed, sage_error* err) {
  return SharedBorder(__func__, "plan", plan, err, [&]() -> Status {
    sage::JsonWriter out;
    plan->plan->Explain(out);
    return sage::CopyText("sage_attention_plan_explain", out.text(), buffer, capacity, needed);
  });
}

sage_status sage_attention_plan_memory(const sage_attention_plan* plan, sage_attention_memory* out, sage_error* err) {
  return SharedBorder(__func__, "plan", plan, err, [&]() -> Status {
    if (out == nullptr) return NullArgument("sage_attention_plan_memory", "out");
    return sage::GiveOut("sage_attention_plan_memory", out, sage::PublicMemory(plan->plan->Memory()));
  });
}

sage_status sage_attention_context_create(sage_attention_plan* plan, sage_attention_context** out, sage_error* err) {
  if (out != nullptr) *out = nullptr;
  return SharedBorder(__func__, "plan", plan, err, [&]() -> Status {
    if (out == nullptr) return NullArgument("sage_attention_context_create", "out");
    SAGE_ASSIGN_OR_RETURN(std::unique_ptr<sage::AttentionContext> context, sage::AttentionContext::Create(plan->plan));
    auto handle = std::make_unique<sage_attention_context>();
    handle->context = std::move(context);
    *out = handle.release();
    return {};
  });
}

void sage_attention_context_destroy(sage_attention_context* context) { sage::DestroyHandle(context); }

sage_status sage_attention_run(sage_attention_context* context, const sage_tensor* const* slots, uint32_t num_slots,
                               void* stream, sage_error* err) {
  return ExclusiveBorder(__func__, "context", context, err,
                         [&]() -> Status { return context->context->Run(slots, num_slots, stream); });
}

void sage_attention_cancel(sage_attention_context* context) {
  if (context == nullptr || !context->owner().SameProcess()) return;
  const sage::SharedCall<sage_attention_context> call(context);
  context->context->Cancel();
}

sage_status sage_attention_features(const sage_op* op, uint64_t* out, sage_error* err) {
  return Border(__func__, err, [&]() -> Status {
    if (op == nullptr) return NullArgument("sage_attention_features", "op");
    if (out == nullptr) return NullArgument("sage_attention_features", "out");
    sage::support::OpView view;
    std::string why;
    if (const sage_status status = sage::support::TakeInOp(op, &view, &why); status != SAGE_OK)
      return Status(status, why);
    if (view.op.kind != SAGE_OP_ATTENTION)
      return Status(SAGE_E_INVALID_ARGUMENT, "sage_attention_features: op->kind is not SAGE_OP_ATTENTION");
    uint64_t features = 0;
    SAGE_RETURN_IF_ERROR(sage::AttentionFeatures(view.op, &features));
    *out = features;
    return {};
  });
}

}  // extern "C"
