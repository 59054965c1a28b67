//! The structs, handles and callbacks of the C headers, field by field.
use std::marker::{PhantomData, PhantomPinned};
use std::mem::{size_of, zeroed};
use std::os::raw::{c_char, c_void};

use crate::{sage_dtype, sage_status, SAGE_CPU, SAGE_MAX_RANK};

macro_rules! handles {
    ($($(#[$about:meta])* $name:ident)*) => {$(
        $(#[$about])*
        #[repr(C)]
        pub struct $name {
            nothing: [u8; 0],
            // Neither Send, Sync nor Unpin: what is behind the pointer is the library's.
            marker: PhantomData<(*mut u8, PhantomPinned)>,
        }
    )*};
}

handles! {
    /// key = value
    sage_options
    /// Plugins, devices, threads.
    sage_engine
    /// Immutable, shared.
    sage_attention_plan
    /// The workspace of one caller of a plan.
    sage_attention_context
    /// A checked file and its weights; immutable.
    sage_model
    /// Plans, memory, inputs, outputs, graph state.
    sage_session
}

macro_rules! defaults {
    ($($name:ident)*) => {$(
        /// All zero, which is unset, but for `struct_size`.
        impl Default for $name {
            fn default() -> $name {
                // Numbers, arrays of them and pointers: zero bytes are a value.
                let mut value: $name = unsafe { zeroed() };
                value.struct_size = size_of::<$name>() as u32;
                value
            }
        }
    )*};
}

defaults! {
    sage_error sage_tensor sage_attention_attributes sage_op sage_attention_memory sage_gate_packet sage_gate_policy
    sage_gate_decision sage_quantize_report
}

/// The last argument of every call that can fail.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct sage_error {
    pub struct_size: u32,
    pub status: sage_status,
    pub native_code: i64,
    pub message: [c_char; 496],
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct sage_tensor {
    pub struct_size: u32,
    pub dtype: sage_dtype,
    pub device_type: i32,
    pub device_id: i32,
    pub rank: u32,
    pub flags: u32,
    pub shape: [i64; SAGE_MAX_RANK],
    /// In elements, always filled.
    pub stride: [i64; SAGE_MAX_RANK],
    pub data: *mut c_void,
}

impl sage_tensor {
    /// The header's `sage_tensor_init`: CPU memory, row-major.
    ///
    /// # Panics
    /// If the shape has more than `SAGE_MAX_RANK` axes.
    pub fn new(dtype: sage_dtype, shape: &[i64], data: *mut c_void) -> sage_tensor {
        assert!(shape.len() <= SAGE_MAX_RANK, "a tensor of {} axes; {} at most", shape.len(), SAGE_MAX_RANK);
        let mut tensor =
            sage_tensor { dtype, device_type: SAGE_CPU as i32, rank: shape.len() as u32, data, ..Default::default() };
        let mut step = 1i64;
        for (axis, &length) in shape.iter().enumerate().rev() {
            tensor.shape[axis] = length;
            tensor.stride[axis] = step;
            step = step.wrapping_mul(length);
        }
        tensor
    }
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct sage_attention_attributes {
    pub struct_size: u32,
    pub alignment: u32,
    pub features: u64,
    pub scale: f64,
    pub softcap: f64,
    pub dropout_p: f64,
    pub window_left: i64,
    pub window_right: i64,
    pub max_seq_q: i64,
    pub max_seq_kv: i64,
    pub algorithm: u32,
    pub block_q: u32,
    pub block_kv: u32,
    pub mask_block_q: u32,
    pub mask_block_kv: u32,
    pub scale_block: u32,
    pub granularity_q: u32,
    pub granularity_k: u32,
    pub granularity_v: u32,
    pub granularity_p: u32,
    pub granularity_o: u32,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct sage_op {
    pub struct_size: u32,
    pub kind: u32,
    pub requirements: u32,
    pub accuracy: u32,
    pub dynamic_axes: u32,
    pub num_slots: u32,
    pub aliases: u64,
    pub attributes: *const c_void,
    pub slots: *const *const sage_tensor,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct sage_attention_memory {
    pub struct_size: u32,
    pub reserved: u32,
    pub q_bytes: u64,
    pub k_bytes: u64,
    pub v_bytes: u64,
    pub o_bytes: u64,
    pub other_bytes: u64,
    pub scratch_bytes: u64,
    pub working_set_bytes: u64,
    pub packed_kv_bytes: u64,
    pub partials_bytes: u64,
    pub prepack_bytes: u64,
    pub total_bytes: u64,
    pub scores_bytes: u64,
    pub scores_avoided_bytes: u64,
    pub total_with_scores_bytes: u64,
    pub scores_over_scratch: f64,
    pub totals_ratio: f64,
    pub keys_over_block_kv: f64,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct sage_gate_packet {
    pub struct_size: u32,
    pub flags: u32,
    pub lambda: u32,
    pub lambda_prev: u32,
    pub boundary_edges: u32,
    pub boundary_concentration_q15: u32,
    pub partition_count: u32,
    pub spike_fired: u32,
    pub spike_rate_q15: u32,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
pub struct sage_gate_tier {
    pub layers: u32,
    pub sequence: u32,
    pub window: u32,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct sage_gate_policy {
    pub struct_size: u32,
    pub lambda_min: u32,
    pub drop_ratio_q15_max: u32,
    pub boundary_edges_max: u32,
    pub boundary_concentration_q15_max: u32,
    pub partitions_max: u32,
    pub spike_rate_q15_max: u32,
    pub reserved: u32,
    pub normal: sage_gate_tier,
    pub reduced: sage_gate_tier,
    pub safe: sage_gate_tier,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct sage_gate_decision {
    pub struct_size: u32,
    pub verdict: u32,
    pub tier: u32,
    pub drop_ratio_q15: u32,
    pub layers: u32,
    pub sequence: u32,
    pub window: u32,
    pub reserved: u32,
}

#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct sage_quantize_report {
    pub struct_size: u32,
    pub reserved: u32,
    pub elements: u64,
    pub saturated: u64,
    pub zero_groups: u64,
    pub code_bytes: u64,
    pub scale_bytes: u64,
    pub max_abs_error: f64,
    pub rms_error: f64,
}

/// Items `[begin, end)` on `worker`.
pub type sage_task_fn = Option<unsafe extern "C" fn(ctx: *mut c_void, begin: u64, end: u64, worker: u32)>;
/// Any thread.
pub type sage_log_fn = Option<unsafe extern "C" fn(user: *mut c_void, level: i32, utf8: *const c_char, length: u64)>;
/// Non-zero stops the run.
pub type sage_cancel_fn = Option<unsafe extern "C" fn(user: *mut c_void) -> i32>;
/// Null = out of memory.
pub type sage_alloc_fn = Option<unsafe extern "C" fn(user: *mut c_void, bytes: u64, align: u64) -> *mut c_void>;
pub type sage_free_fn = Option<unsafe extern "C" fn(user: *mut c_void, ptr: *mut c_void, bytes: u64)>;
/// Returns when all is done.
pub type sage_parallel_for_fn =
    Option<unsafe extern "C" fn(user: *mut c_void, n: u64, grain: u64, task: sage_task_fn, ctx: *mut c_void)>;
