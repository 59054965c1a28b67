// sage.i: what Java and C# wrap of the C API. java.i and csharp.i say first how each kind of argument crosses.
// They also give int64_t and its like their widths: SWIG's own stdint.i has a C long there, which both would cut to 32.
%{
#include "sage_flat.h"
%}
%rename("%(regex:/^sage_(?:flat_)?(.*)/\\1/)s", %$isfunction) "";

const char *sage_version(void);
uint32_t sage_abi_version(void);
const char *sage_build_info(void);
const char *sage_status_name(int32_t status);

void sage_options_destroy(sage_options *raw);
sage_status sage_options_set(sage_options *options, const char *key, const char *value, sage_error *err);

void sage_engine_destroy(sage_engine *raw);
sage_status sage_engine_load_plugin(sage_engine *engine, const char *absolute_path, sage_error *err);
uint32_t sage_engine_backend_count(const sage_engine *engine);

sage_status sage_attention(sage_engine *engine, sage_dtype dtype, uint32_t layout, int64_t batch, int64_t heads_q,
                           int64_t heads_kv, int64_t seq_q, int64_t seq_kv, int64_t dim_qk, int64_t dim_v,
                           const void *q, const void *k, const void *v, void *o, uint32_t causal, double scale,
                           sage_error *err);
void sage_attention_plan_destroy(sage_attention_plan *raw);
void sage_attention_context_destroy(sage_attention_context *raw);
void sage_attention_cancel(sage_attention_context *context);

void sage_model_destroy(sage_model *raw);
uint32_t sage_model_kind(const sage_model *model);
uint32_t sage_model_io_count(const sage_model *model, uint32_t direction);

void sage_session_destroy(sage_session *raw);
sage_status sage_session_set_input(sage_session *session, uint32_t index, sage_dtype dtype, uint32_t rank,
                                   const int64_t *shape, const void *data, uint64_t count, sage_error *err);
sage_status sage_session_get_output(const sage_session *session, uint32_t index, void *data, uint64_t count,
                                    sage_error *err);
sage_status sage_session_bind_flat(sage_session *session, uint32_t direction, uint32_t index, sage_dtype dtype,
                                   uint32_t rank, const int64_t *shape, void *data, uint64_t count, sage_error *err);
sage_status sage_session_run(sage_session *session, sage_error *err);
void sage_session_cancel(sage_session *session);
sage_status sage_session_tick(sage_session *session, const void *bytes, uint64_t size, sage_error *err);
sage_status sage_session_restore(sage_session *session, const void *bytes, uint64_t size, sage_error *err);

%include "sage_flat.h"
