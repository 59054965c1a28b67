//! Every exported function of `sage/sage.h`, `sage/sparse.h` and `sage/quantize.h`, in the headers' order. Prototypes
//! are compared with `abi/layout.txt` by a test.
use std::os::raw::{c_char, c_void};

use crate::*;

extern "C" {
    pub fn sage_version() -> *const c_char;
    pub fn sage_abi_version() -> u32;
    pub fn sage_build_info() -> *const c_char;
    pub fn sage_status_name(status: sage_status) -> *const c_char;
    pub fn sage_options_create(out: *mut *mut sage_options, err: *mut sage_error) -> sage_status;
    pub fn sage_options_destroy(options: *mut sage_options);
    pub fn sage_options_set(
        options: *mut sage_options,
        key: *const c_char,
        value: *const c_char,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_options_set_log(
        options: *mut sage_options,
        function: sage_log_fn,
        user: *mut c_void,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_options_set_cancel(
        options: *mut sage_options,
        function: sage_cancel_fn,
        user: *mut c_void,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_options_set_allocator(
        options: *mut sage_options,
        alloc: sage_alloc_fn,
        free_fn: sage_free_fn,
        user: *mut c_void,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_options_set_parallel_for(
        options: *mut sage_options,
        function: sage_parallel_for_fn,
        num_workers: u32,
        user: *mut c_void,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_engine_create(
        options: *const sage_options,
        out: *mut *mut sage_engine,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_engine_destroy(engine: *mut sage_engine);
    pub fn sage_engine_load_plugin(
        engine: *mut sage_engine,
        absolute_path: *const c_char,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_engine_backend_count(engine: *const sage_engine) -> u32;
    pub fn sage_engine_backend_name(engine: *const sage_engine, index: u32) -> *const c_char;
    pub fn sage_engine_describe(
        engine: *const sage_engine,
        buffer: *mut c_char,
        capacity: u64,
        needed: *mut u64,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_attention(
        engine: *mut sage_engine,
        dtype: sage_dtype,
        layout: u32,
        batch: i64,
        heads_q: i64,
        heads_kv: i64,
        seq_q: i64,
        seq_kv: i64,
        dim_qk: i64,
        dim_v: i64,
        q: *const c_void,
        k: *const c_void,
        v: *const c_void,
        o: *mut c_void,
        causal: u32,
        scale: f64,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_attention_plan_create(
        engine: *mut sage_engine,
        op: *const sage_op,
        options: *const sage_options,
        out: *mut *mut sage_attention_plan,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_attention_plan_destroy(plan: *mut sage_attention_plan);
    pub fn sage_attention_plan_backend(plan: *const sage_attention_plan) -> *const c_char;
    pub fn sage_attention_plan_explain(
        plan: *const sage_attention_plan,
        buffer: *mut c_char,
        capacity: u64,
        needed: *mut u64,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_attention_plan_memory(
        plan: *const sage_attention_plan,
        out: *mut sage_attention_memory,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_attention_context_create(
        plan: *mut sage_attention_plan,
        out: *mut *mut sage_attention_context,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_attention_context_destroy(context: *mut sage_attention_context);
    pub fn sage_attention_run(
        context: *mut sage_attention_context,
        slots: *const *const sage_tensor,
        num_slots: u32,
        stream: *mut c_void,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_attention_cancel(context: *mut sage_attention_context);
    pub fn sage_attention_features(op: *const sage_op, out: *mut u64, err: *mut sage_error) -> sage_status;
    pub fn sage_model_load(
        engine: *mut sage_engine,
        path: *const c_char,
        out: *mut *mut sage_model,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_model_load_buffer(
        engine: *mut sage_engine,
        bytes: *const c_void,
        size: u64,
        weights_folder: *const c_char,
        out: *mut *mut sage_model,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_model_destroy(model: *mut sage_model);
    pub fn sage_model_check(
        engine: *mut sage_engine,
        path: *const c_char,
        buffer: *mut c_char,
        capacity: u64,
        needed: *mut u64,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_model_check_buffer(
        engine: *mut sage_engine,
        bytes: *const c_void,
        size: u64,
        weights_folder: *const c_char,
        buffer: *mut c_char,
        capacity: u64,
        needed: *mut u64,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_model_kind(model: *const sage_model) -> u32;
    pub fn sage_model_io_count(model: *const sage_model, direction: u32) -> u32;
    pub fn sage_model_io_info(
        model: *const sage_model,
        direction: u32,
        index: u32,
        name: *mut *const c_char,
        dtype: *mut sage_dtype,
        rank: *mut u32,
        shape: *mut i64,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_session_create(
        model: *mut sage_model,
        options: *const sage_options,
        out: *mut *mut sage_session,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_session_destroy(session: *mut sage_session);
    pub fn sage_session_set_input(
        session: *mut sage_session,
        index: u32,
        dtype: sage_dtype,
        rank: u32,
        shape: *const i64,
        data: *const c_void,
        bytes: u64,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_session_output_info(
        session: *const sage_session,
        index: u32,
        dtype: *mut sage_dtype,
        rank: *mut u32,
        shape: *mut i64,
        bytes: *mut u64,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_session_get_output(
        session: *const sage_session,
        index: u32,
        data: *mut c_void,
        bytes: u64,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_session_bind(
        session: *mut sage_session,
        direction: u32,
        index: u32,
        tensor: *const sage_tensor,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_session_bind_flat(
        session: *mut sage_session,
        direction: u32,
        index: u32,
        dtype: sage_dtype,
        rank: u32,
        shape: *const i64,
        data: *mut c_void,
        bytes: u64,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_session_set_stream(
        session: *mut sage_session,
        device_type: i32,
        device_id: i32,
        stream: *mut c_void,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_session_run(session: *mut sage_session, err: *mut sage_error) -> sage_status;
    pub fn sage_session_cancel(session: *mut sage_session);
    pub fn sage_session_explain(
        session: *mut sage_session,
        buffer: *mut c_char,
        capacity: u64,
        needed: *mut u64,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_session_trace(
        session: *mut sage_session,
        buffer: *mut c_char,
        capacity: u64,
        needed: *mut u64,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_session_accuracy(
        session: *mut sage_session,
        buffer: *mut c_char,
        capacity: u64,
        needed: *mut u64,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_session_tick(
        session: *mut sage_session,
        json: *const c_char,
        length: u64,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_session_decision(
        session: *mut sage_session,
        buffer: *mut c_char,
        capacity: u64,
        needed: *mut u64,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_session_snapshot(
        session: *mut sage_session,
        buffer: *mut c_void,
        capacity: u64,
        needed: *mut u64,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_session_restore(
        session: *mut sage_session,
        bytes: *const c_void,
        size: u64,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_mincut_mask(
        seq: i64,
        parts: i64,
        mask: *mut c_void,
        bytes: u64,
        kept: *mut u64,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_mincut_csr(
        seq: i64,
        parts: i64,
        tile_q: u32,
        tile_kv: u32,
        indptr: *mut i32,
        num_indptr: u64,
        indices: *mut i32,
        num_indices: u64,
        kept: *mut u64,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_mincut_blocks(
        seq: i64,
        parts: i64,
        tile_q: u32,
        tile_kv: u32,
        blocks: *mut c_void,
        bytes: u64,
        kept: *mut u64,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_gate_decide(
        packet: *const sage_gate_packet,
        policy: *const sage_gate_policy,
        out: *mut sage_gate_decision,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_gate_apply(
        decision: *const sage_gate_decision,
        attributes: *mut sage_attention_attributes,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_quantize(
        x: *const sage_tensor,
        granularity: u32,
        scale_block: u32,
        flags: u32,
        cu_seqlens: *const sage_tensor,
        codes: *const sage_tensor,
        scale: *const sage_tensor,
        mean: *const sage_tensor,
        report: *mut sage_quantize_report,
        err: *mut sage_error,
    ) -> sage_status;
    pub fn sage_dequantize(
        codes: *const sage_tensor,
        granularity: u32,
        scale_block: u32,
        cu_seqlens: *const sage_tensor,
        scale: *const sage_tensor,
        mean: *const sage_tensor,
        x: *const sage_tensor,
        err: *mut sage_error,
    ) -> sage_status;
}
