//! sage-engine from Rust: attention over your own arrays, models, and tick streams, by `libsage.so`.
//!
//! The engine is a C++ library that plans every call over its backends and says why; this crate links it and adds
//! what Rust has: [`Result`]s with the library's own sentences, borrowed memory with a shape, handles that close
//! themselves, and threads checked by the compiler. Nothing is copied on the way to a kernel.
//!
//! ```
//! use sage_engine::{Align, AttentionOp, AttentionShape, Engine, TensorView, TensorViewMut};
//!
//! let engine = Engine::new()?;
//!
//! // One call over contiguous arrays: 8 query heads over 2 of keys and values, 16 tokens, causal.
//! let shape = AttentionShape {
//!     heads_q: 8, heads_kv: 2, seq_q: 16, seq_kv: 16, dim_qk: 64, causal: Some(Align::TopLeft), ..Default::default()
//! };
//! let (q, k, v) = (vec![0.1f32; 8 * 16 * 64], vec![0.2f32; 2 * 16 * 64], vec![0.3f32; 2 * 16 * 64]);
//! let mut o = vec![0f32; q.len()];
//! engine.attention(&shape, &q, &k, &v, &mut o)?;
//!
//! // Everything else is described, planned once and run many times: here a window of 8 keys.
//! let mut op = AttentionOp::new(
//!     TensorView::new(&q, &[1, 8, 16, 64])?,
//!     TensorView::new(&k, &[1, 2, 16, 64])?,
//!     TensorView::new(&v, &[1, 2, 16, 64])?,
//!     TensorViewMut::new(&mut o, &[1, 8, 16, 64])?,
//! );
//! op.causal(Align::TopLeft).window(Some(7), None);
//! let plan = engine.plan(&op)?;
//! let mut context = plan.context()?;
//! context.run(&mut op)?;
//! println!("ran on {}", plan.backend());
//! # Ok::<(), sage_engine::Error>(())
//! ```
//!
//! # Threads
//! [`Engine`], [`Model`] and [`AttentionPlan`] are shared by any number of threads. A [`Session`] or
//! [`AttentionContext`] serves one at a time: it may move to another thread and is not `Sync`, and what runs takes it
//! by `&mut`. A [`CancelHandle`] stops a run from anywhere.
//!
//! # Lifetimes
//! Handles are closed by dropping them, in any order: a session holds its model, that its engine. Callbacks live as
//! long as what may call them. Memory is borrowed for a run ([`Session::run_with`], [`AttentionContext::run`]) or
//! moved into the session ([`Session::bind_output`]) and taken out again. What is closed cannot be used:
//!
//! ```compile_fail,E0382
//! # use sage_engine::*;
//! # fn example(mut session: Session) -> Result<()> {
//! drop(session);
//! session.run()
//! # }
//! ```
#![warn(missing_docs)]

pub use sage_engine_sys as sys;

mod attention;
mod bound;
mod cancel;
mod element;
mod engine;
mod error;
mod gate;
mod host;
mod json;
mod mincut;
mod model;
mod options;
mod plan;
mod quantize;
mod session;
mod slot;
mod tensor;
mod ticks;

pub use attention::AttentionOp;
pub use cancel::CancelHandle;
pub use element::{Bf16, Bool8, Dtype, Element, ElementMut, F8E4M3Fn, Float, F16, F8E5M2};
pub use engine::{Align, AttentionShape, Engine, Layout};
pub use error::{check, status_name, Error, Result, Status};
pub use gate::{gate_decide, GateDecision, GatePacket, GatePolicy, GateTier, GateVerdict};
pub use host::{Allocator, ParallelFor, Task};
pub use mincut::{mincut_blocks, mincut_csr, mincut_mask, BlockMask, BoolMask, CsrMask};
pub use model::{IoInfo, Model, ModelCheck, ModelKind};
pub use options::{LogLevel, Options};
pub use plan::{AttentionContext, AttentionMemory, AttentionPlan};
pub use quantize::{Quantization, QuantizeReport};
pub use session::{Direction, OutputInfo, Session};
pub use slot::{Accuracy, Algorithm, Axes, Granularity, Requirements, Slot};
pub use tensor::{TensorView, TensorViewMut};
pub use ticks::{Decision, MetabolicState, Ticks};

use std::ffi::CStr;

/// The version of the library that is loaded, `"0.3.1"`.
pub fn version() -> &'static str {
    text(unsafe { sys::sage_version() })
}

/// The version of its ABI: (major, minor).
pub fn abi_version() -> (u32, u32) {
    let word = unsafe { sys::sage_abi_version() };
    (word >> 16, word & 0xffff)
}

/// Its compiler, git id and baseline; free text.
pub fn build_info() -> &'static str {
    text(unsafe { sys::sage_build_info() })
}

/// A constant text of the library, never null.
fn text(constant: *const std::os::raw::c_char) -> &'static str {
    unsafe { CStr::from_ptr(constant) }.to_str().unwrap_or("")
}
