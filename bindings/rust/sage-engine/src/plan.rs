//! Attention chosen and prepared once, and run many times.
use std::ffi::{c_void, CStr};
use std::fmt;
use std::os::raw::c_char;
use std::ptr;
use std::sync::Arc;

use crate::attention::{AttentionOp, Constant};
use crate::cancel::{CancelHandle, Cancellable};
use crate::engine::Engine;
use crate::error::{check, fetch_text, Result};
use crate::options::{Keep, Options, RawOptions};
use crate::sys;

/// What a plan needs at its planned shapes, in bytes, known before anything is allocated. `u64::MAX` where a count
/// does not fit; a ratio over nothing is 0.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct AttentionMemory {
    /// Q; axes that repeat by stride 0 count once, here and below.
    pub q_bytes: u64,
    /// K
    pub k_bytes: u64,
    /// V
    pub v_bytes: u64,
    /// O
    pub o_bytes: u64,
    /// Masks, bias, lengths, LSE and what else the op names.
    pub other_bytes: u64,
    /// What a context allocates, without guard bands.
    pub scratch_bytes: u64,
    /// Of the scratch: what does not grow with the keys.
    pub working_set_bytes: u64,
    /// Of the scratch: packed K and V.
    pub packed_kv_bytes: u64,
    /// Of the scratch: partial results of split keys.
    pub partials_bytes: u64,
    /// Constants packed by the plan; held once, not in the totals.
    pub prepack_bytes: u64,
    /// Tensors and scratch.
    pub total_bytes: u64,
    /// One score matrix.
    pub scores_bytes: u64,
    /// Of it, what the scratch does not hold.
    pub scores_avoided_bytes: u64,
    /// Tensors and scores: what is needed where the matrix is kept.
    pub total_with_scores_bytes: u64,
    /// The matrix against the scratch alone.
    pub scores_over_scratch: f64,
    /// `total_with_scores_bytes` over `total_bytes`.
    pub totals_ratio: f64,
    /// How many tiles a row of keys has; 0 = the backend's own.
    pub keys_over_block_kv: f64,
}

impl Engine {
    /// Asks every backend, chooses, prepares. The description is enough, memory is not looked at but for constants.
    ///
    /// ```
    /// # use sage_engine::*;
    /// let engine = Engine::new()?;
    /// let shape = [1, 8, 2048, 64];
    /// let view = TensorView::describe(Dtype::F32, &shape)?;
    /// let mut op = AttentionOp::new(view, view, view, TensorViewMut::describe(Dtype::F32, &shape)?);
    /// let plan = engine.plan(op.causal(Align::TopLeft))?;
    /// assert!(plan.explain()?.contains("chosen"));
    /// assert_eq!(plan.memory()?.q_bytes, 8 * 2048 * 64 * 4);
    /// assert!(plan.memory()?.scratch_bytes < plan.memory()?.scores_bytes);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn plan(&self, op: &AttentionOp<'_>) -> Result<AttentionPlan> {
        AttentionPlan::make(self, op, None)
    }
    /// With options of the plan's own: `backend`, `use_simd`, `max_memory`, a cancel callback.
    pub fn plan_with(&self, op: &AttentionOp<'_>, options: &Options) -> Result<AttentionPlan> {
        AttentionPlan::make(self, op, Some(options))
    }
}

/// What a context needs of its plan after the plan is dropped.
struct Held {
    _constants: Vec<Constant>,
    _keep: Arc<Keep>,
}

/// An attention chosen and prepared; shared by any number of threads, each with its own [`AttentionContext`].
pub struct AttentionPlan {
    raw: *mut sys::sage_attention_plan,
    held: Arc<Held>, // after the handle is gone
}

// sage.h: a plan is immutable and free-threaded.
unsafe impl Send for AttentionPlan {}
unsafe impl Sync for AttentionPlan {}

impl AttentionPlan {
    fn make(engine: &Engine, op: &AttentionOp<'_>, options: Option<&Options>) -> Result<AttentionPlan> {
        let lent = RawOptions::of(options)?;
        let mut raw = ptr::null_mut();
        check(|error| {
            op.with_raw(|op| unsafe {
                sys::sage_attention_plan_create(engine.as_raw(), op, lent.as_ptr(), &mut raw, error)
            })
        })?;
        let held = Held { _constants: op.constants().to_vec(), _keep: Keep::new(options, Some(engine.keep())) };
        Ok(AttentionPlan { raw, held: Arc::new(held) })
    }
    /// The workspace of one caller.
    pub fn context(&self) -> Result<AttentionContext> {
        let mut raw = ptr::null_mut();
        check(|error| unsafe { sys::sage_attention_context_create(self.raw, &mut raw, error) })?;
        Ok(AttentionContext { raw, cancel: Cancellable::context(raw), _held: self.held.clone() })
    }
    /// Who runs it.
    pub fn backend(&self) -> &str {
        // Valid as long as the handle.
        let name: *const c_char = unsafe { sys::sage_attention_plan_backend(self.raw) };
        unsafe { CStr::from_ptr(name) }.to_str().unwrap_or("")
    }
    /// JSON: every backend's verdict and price, and why this one was chosen.
    pub fn explain(&self) -> Result<String> {
        fetch_text(|buffer, capacity, needed, error| unsafe {
            sys::sage_attention_plan_explain(self.raw, buffer, capacity, needed, error)
        })
    }
    /// What it needs.
    pub fn memory(&self) -> Result<AttentionMemory> {
        let mut raw = sys::sage_attention_memory::default();
        check(|error| unsafe { sys::sage_attention_plan_memory(self.raw, &mut raw, error) })?;
        Ok(AttentionMemory {
            q_bytes: raw.q_bytes,
            k_bytes: raw.k_bytes,
            v_bytes: raw.v_bytes,
            o_bytes: raw.o_bytes,
            other_bytes: raw.other_bytes,
            scratch_bytes: raw.scratch_bytes,
            working_set_bytes: raw.working_set_bytes,
            packed_kv_bytes: raw.packed_kv_bytes,
            partials_bytes: raw.partials_bytes,
            prepack_bytes: raw.prepack_bytes,
            total_bytes: raw.total_bytes,
            scores_bytes: raw.scores_bytes,
            scores_avoided_bytes: raw.scores_avoided_bytes,
            total_with_scores_bytes: raw.total_with_scores_bytes,
            scores_over_scratch: raw.scores_over_scratch,
            totals_ratio: raw.totals_ratio,
            keys_over_block_kv: raw.keys_over_block_kv,
        })
    }
    /// For calls of [`sys`] that have no method here.
    pub fn as_raw(&self) -> *mut sys::sage_attention_plan {
        self.raw
    }
}

impl Drop for AttentionPlan {
    fn drop(&mut self) {
        unsafe { sys::sage_attention_plan_destroy(self.raw) }
    }
}

impl fmt::Debug for AttentionPlan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("AttentionPlan").field("backend", &self.backend()).finish()
    }
}

/// The workspace of one caller of a plan. It may go to another thread, and serves one at a time:
///
/// ```compile_fail,E0277
/// # use sage_engine::*;
/// fn shared(context: &AttentionContext) {
///     std::thread::scope(|threads| {
///         threads.spawn(|| context.cancel_handle()); // a context is not Sync
///     });
/// }
/// ```
///
/// What it writes to is borrowed until the op is gone:
///
/// ```compile_fail,E0502
/// # use sage_engine::*;
/// fn read_too_early(context: &mut AttentionContext, q: TensorView<'_>, o: &mut [f32]) -> Result<f32> {
///     let mut op = AttentionOp::new(q, q, q, TensorViewMut::new(o, &[1, 1, 4, 8])?);
///     context.run(&mut op)?;
///     let first = o[0]; // still lent to op ...
///     context.run(&mut op)?; // ... which is used here
///     Ok(first)
/// }
/// ```
pub struct AttentionContext {
    raw: *mut sys::sage_attention_context,
    cancel: Arc<Cancellable>,
    _held: Arc<Held>, // after the handle is gone
}

// sage.h: one call at a time, from any thread.
unsafe impl Send for AttentionContext {}

impl AttentionContext {
    /// Runs the op, which is one as planned, with memory; axes that were planned as dynamic may be shorter. Returns
    /// when O is ready, and allocates nothing.
    #[inline]
    pub fn run(&mut self, op: &mut AttentionOp<'_>) -> Result<()> {
        self.run_raw(op, ptr::null_mut())
    }
    /// The same on a stream of the plan's device. It returns once the work is enqueued.
    ///
    /// # Safety
    /// The stream is one of that device; the op's memory lives and is not touched until the stream was synchronised.
    pub unsafe fn run_on_stream(&mut self, op: &mut AttentionOp<'_>, stream: *mut c_void) -> Result<()> {
        self.run_raw(op, stream)
    }
    #[inline]
    fn run_raw(&mut self, op: &mut AttentionOp<'_>, stream: *mut c_void) -> Result<()> {
        let (slots, count) = op.slots();
        check(|error| unsafe { sys::sage_attention_run(self.raw, slots.as_ptr(), count, stream, error) })
    }
    /// Stops its runs from anywhere.
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle(self.cancel.clone())
    }
}

impl Drop for AttentionContext {
    fn drop(&mut self) {
        self.cancel.close();
        unsafe { sys::sage_attention_context_destroy(self.raw) }
    }
}

impl fmt::Debug for AttentionContext {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("AttentionContext").finish_non_exhaustive()
    }
}
