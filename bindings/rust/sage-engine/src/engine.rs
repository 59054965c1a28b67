//! The engine: its backends, and plain attention over arrays.
use std::ffi::{c_void, CStr};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::Arc;

use crate::element::{Dtype, Float};
use crate::error::{check, fetch_text, require_abi, Error, Result};
use crate::options::{c_text, Keep, Options, RawOptions};
use crate::sys;
use crate::tensor::{bytes_of, bytes_of_mut};

/// How four contiguous arrays of an [`AttentionShape`] are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Layout {
    /// `[batch, heads, sequence, dim]`
    #[default]
    Bhsd,
    /// `[batch, sequence, heads, dim]`
    Bshd,
}

/// Where positions of queries and keys meet, of a mask or a bias that uses them. There is no default: systems
/// disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Align {
    /// The first query stands at the first key.
    TopLeft,
    /// The last query stands at the last key: what decoding with a cache means.
    BottomRight,
}

impl Align {
    pub(crate) fn code(self) -> u32 {
        match self {
            Align::TopLeft => sys::SAGE_ALIGN_TOP_LEFT,
            Align::BottomRight => sys::SAGE_ALIGN_BOTTOM_RIGHT,
        }
    }
}

/// A plain attention call, in elements.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionShape {
    /// Independent attentions.
    pub batch: usize,
    /// Of queries and the result; a multiple of `heads_kv`.
    pub heads_q: usize,
    /// Of keys and values.
    pub heads_kv: usize,
    /// Queries of each head.
    pub seq_q: usize,
    /// Keys and values of each head.
    pub seq_kv: usize,
    /// Of a query and a key.
    pub dim_qk: usize,
    /// Of a value and a result; None: `dim_qk`.
    pub dim_v: Option<usize>,
    /// Of all four arrays.
    pub layout: Layout,
    /// None: every query sees every key.
    pub causal: Option<Align>,
    /// None: `1 / sqrt(dim_qk)`. A scale of 0 needs an [`AttentionOp`](crate::AttentionOp).
    pub scale: Option<f64>,
}

impl Default for AttentionShape {
    fn default() -> AttentionShape {
        AttentionShape {
            batch: 1,
            heads_q: 1,
            heads_kv: 1,
            seq_q: 1,
            seq_kv: 1,
            dim_qk: 1,
            dim_v: None,
            layout: Layout::Bhsd,
            causal: None,
            scale: None,
        }
    }
}

/// Plugins, devices and threads. Shared by any number of threads; what is made from it keeps what it needs, so it may
/// be dropped before.
///
/// ```
/// # use sage_engine::Engine;
/// let engine = Engine::new()?;
/// assert_eq!(engine.backends()[0], "reference");
/// # Ok::<(), sage_engine::Error>(())
/// ```
///
/// Engines, models and plans may be used by several threads at once:
///
/// ```
/// fn shared<T: Send + Sync>() {}
/// shared::<sage_engine::Engine>();
/// shared::<sage_engine::Model>();
/// shared::<sage_engine::AttentionPlan>();
/// ```
pub struct Engine {
    raw: *mut sys::sage_engine,
    keep: Arc<Keep>, // after the handle is gone
}

// sage.h: the engine is free-threaded.
unsafe impl Send for Engine {}
unsafe impl Sync for Engine {}

impl Engine {
    /// With the default options.
    pub fn new() -> Result<Engine> {
        Engine::make(None)
    }
    /// Fails with `AbiMismatch` where the library that was loaded is not one this crate was written for.
    pub fn with_options(options: &Options) -> Result<Engine> {
        Engine::make(Some(options))
    }
    fn make(options: Option<&Options>) -> Result<Engine> {
        require_abi(unsafe { sys::sage_abi_version() }, crate::version())?;
        let lent = RawOptions::of(options)?;
        let mut raw = ptr::null_mut();
        check(|error| unsafe { sys::sage_engine_create(lent.as_ptr(), &mut raw, error) })?;
        Ok(Engine { raw, keep: Keep::new(options, None) })
    }

    /// A backend beside those that were found; the path is absolute.
    ///
    /// A backend is native code: it is loaded into this process and runs there.
    pub fn load_plugin(&self, absolute_path: impl AsRef<Path>) -> Result<()> {
        let path = c_text("a plugin's path", absolute_path.as_ref().as_os_str().as_bytes())?;
        check(|error| unsafe { sys::sage_engine_load_plugin(self.raw, path.as_ptr(), error) })
    }
    /// The names of those that can be used; `reference` is always there.
    pub fn backends(&self) -> Vec<String> {
        let count = unsafe { sys::sage_engine_backend_count(self.raw) };
        (0..count)
            .filter_map(|index| {
                let name = unsafe { sys::sage_engine_backend_name(self.raw, index) };
                // Valid as long as the handle, which is borrowed here.
                (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned())
            })
            .collect()
    }
    /// JSON: every plugin that was found, with what it claims or why it was refused.
    pub fn describe(&self) -> Result<String> {
        fetch_text(|buffer, capacity, needed, error| unsafe {
            sys::sage_engine_describe(self.raw, buffer, capacity, needed, error)
        })
    }

    /// `softmax(scale q k^T) v` over contiguous arrays, in place: nothing is copied. Lengths are checked; plans are
    /// kept by shape.
    ///
    /// ```
    /// # use sage_engine::{Align, AttentionShape, Engine};
    /// let engine = Engine::new()?;
    /// let shape = AttentionShape {
    ///     heads_q: 8, heads_kv: 2, seq_q: 16, seq_kv: 16, dim_qk: 64, causal: Some(Align::TopLeft), ..Default::default()
    /// };
    /// let (q, k, v) = (vec![0.1f32; 8 * 16 * 64], vec![0.2; 2 * 16 * 64], vec![0.3; 2 * 16 * 64]);
    /// let mut o = vec![0.0; q.len()];
    /// engine.attention(&shape, &q, &k, &v, &mut o)?;
    /// assert!((o[0] - 0.3).abs() < 1e-6); // an average of equal values
    /// # Ok::<(), sage_engine::Error>(())
    /// ```
    #[inline]
    pub fn attention<T: Float>(&self, shape: &AttentionShape, q: &[T], k: &[T], v: &[T], o: &mut [T]) -> Result<()> {
        self.attention_bytes(T::DTYPE, shape, bytes_of(q), bytes_of(k), bytes_of(v), bytes_of_mut(o))
    }
    /// The same where the type is known at run time only; the bytes need no alignment.
    #[inline]
    pub fn attention_bytes(
        &self,
        dtype: Dtype,
        shape: &AttentionShape,
        q: &[u8],
        k: &[u8],
        v: &[u8],
        o: &mut [u8],
    ) -> Result<()> {
        let dim_v = shape.dim_v.unwrap_or(shape.dim_qk);
        let expect = |name: &str, bytes: usize, heads: usize, sequence: usize, dim: usize| -> Result<()> {
            let whole =
                shape.batch.checked_mul(heads).and_then(|n| n.checked_mul(sequence)).and_then(|n| n.checked_mul(dim));
            if whole.and_then(|count| count.checked_mul(dtype.size())) == Some(bytes) {
                return Ok(());
            }
            Err(wrong_length(name, dtype, bytes, [shape.batch, heads, sequence, dim]))
        };
        expect("q", q.len(), shape.heads_q, shape.seq_q, shape.dim_qk)?;
        expect("k", k.len(), shape.heads_kv, shape.seq_kv, shape.dim_qk)?;
        expect("v", v.len(), shape.heads_kv, shape.seq_kv, dim_v)?;
        expect("o", o.len(), shape.heads_q, shape.seq_q, dim_v)?;
        let pointer = |bytes: &[u8]| bytes.as_ptr() as *const c_void;
        check(|error| unsafe {
            sys::sage_attention(
                self.raw,
                dtype.code(),
                shape.layout as u32,
                shape.batch as i64,
                shape.heads_q as i64,
                shape.heads_kv as i64,
                shape.seq_q as i64,
                shape.seq_kv as i64,
                shape.dim_qk as i64,
                dim_v as i64,
                pointer(q),
                pointer(k),
                pointer(v),
                o.as_mut_ptr() as *mut c_void,
                shape.causal.map_or(0, Align::code),
                shape.scale.unwrap_or(0.0),
                error,
            )
        })
    }

    /// For calls of [`sys`] that have no method here.
    pub fn as_raw(&self) -> *mut sys::sage_engine {
        self.raw
    }
    pub(crate) fn keep(&self) -> &Arc<Keep> {
        &self.keep
    }
}

#[cold]
fn wrong_length(name: &str, dtype: Dtype, bytes: usize, shape: [usize; 4]) -> Error {
    let size = dtype.size();
    let given = if bytes % size == 0 { format!("{} elements", bytes / size) } else { format!("{bytes} bytes") };
    Error::invalid(format!("{name} has {given} of {dtype}; [batch, heads, sequence, dim] are {shape:?}"))
}

impl Drop for Engine {
    fn drop(&mut self) {
        unsafe { sys::sage_engine_destroy(self.raw) }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Engine").field("backends", &self.backends()).finish()
    }
}
