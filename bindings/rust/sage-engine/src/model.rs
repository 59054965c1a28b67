//! Models: files that were checked, with their weights.
use std::ffi::{c_void, CStr};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::Arc;

use crate::element::Dtype;
use crate::engine::Engine;
use crate::error::{check, fetch_text, Result};
use crate::json;
use crate::options::{c_text, Keep};
use crate::session::Direction;
use crate::sys;

/// What a model is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ModelKind {
    /// Ops on tensors: inputs, [`run`](crate::Session::run), outputs.
    OpGraph,
    /// Takes ticks: chooses experts by router, trust and context.
    Expert,
    /// Takes ticks: shares a budget among targets by salience and state.
    Metabolic,
    /// Takes ticks: weighs sensors.
    Fusion,
    /// One of a newer library.
    Other(u32),
}

impl ModelKind {
    fn from_code(code: u32) -> ModelKind {
        match code {
            sys::SAGE_MODEL_OP_GRAPH => ModelKind::OpGraph,
            sys::SAGE_MODEL_EXPERT => ModelKind::Expert,
            sys::SAGE_MODEL_METABOLIC => ModelKind::Metabolic,
            sys::SAGE_MODEL_FUSION => ModelKind::Fusion,
            other => ModelKind::Other(other),
        }
    }
    /// The C API's number.
    pub fn code(self) -> u32 {
        match self {
            ModelKind::OpGraph => sys::SAGE_MODEL_OP_GRAPH,
            ModelKind::Expert => sys::SAGE_MODEL_EXPERT,
            ModelKind::Metabolic => sys::SAGE_MODEL_METABOLIC,
            ModelKind::Fusion => sys::SAGE_MODEL_FUSION,
            ModelKind::Other(code) => code,
        }
    }
}

/// An input or output of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IoInfo {
    /// As in the model.
    pub name: String,
    /// Of its elements.
    pub dtype: Dtype,
    /// None: any length.
    pub shape: Vec<Option<usize>>,
}

/// What a check of a model found: JSON, each error with its path inside the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelCheck(String);

impl ModelCheck {
    /// No errors.
    pub fn is_valid(&self) -> bool {
        json::member(&self.0, "valid") == Some("true")
    }
    /// `{"valid":false,"errors":[{"path":...,"message":...}]}`
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ModelCheck {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// A checked model and its weights; immutable, shared by any number of threads and sessions.
///
/// ```
/// # use sage_engine::*;
/// # let bytes = include_bytes!("../tests/data/metabolic.fbs");
/// let engine = Engine::new()?;
/// let model = Model::from_bytes(&engine, bytes, None)?; // or Model::load(&engine, "metabolic.fbs")
/// assert_eq!(model.kind(), ModelKind::Metabolic);
/// assert!(Model::check_bytes(&engine, bytes, None)?.is_valid());
/// let found = Model::check_bytes(&engine, &bytes[..100], None)?;
/// assert!(!found.is_valid());
/// println!("{found}");
/// # Ok::<(), Error>(())
/// ```
pub struct Model {
    raw: *mut sys::sage_model,
    keep: Arc<Keep>, // after the handle is gone
}

// sage.h: a model is immutable and free-threaded.
unsafe impl Send for Model {}
unsafe impl Sync for Model {}

impl Model {
    /// A binary model file; `sage-engine convert` makes one of its text form. Weights lie beside it.
    pub fn load(engine: &Engine, path: impl AsRef<Path>) -> Result<Model> {
        let path = c_text("a model's path", path.as_ref().as_os_str().as_bytes())?;
        let mut raw = ptr::null_mut();
        check(|error| unsafe { sys::sage_model_load(engine.as_raw(), path.as_ptr(), &mut raw, error) })?;
        Ok(Model { raw, keep: engine.keep().clone() })
    }
    /// The bytes are copied. `weights_folder`: where relative paths of weights begin; None: a model without weight
    /// files.
    pub fn from_bytes(engine: &Engine, bytes: &[u8], weights_folder: Option<&Path>) -> Result<Model> {
        let folder = Folder::of(weights_folder)?;
        let (data, size) = (bytes.as_ptr() as *const c_void, bytes.len() as u64);
        let mut raw = ptr::null_mut();
        check(|error| unsafe {
            sys::sage_model_load_buffer(engine.as_raw(), data, size, folder.as_ptr(), &mut raw, error)
        })?;
        Ok(Model { raw, keep: engine.keep().clone() })
    }
    /// All errors of a file; an `Err` only where it could not be read at all.
    pub fn check(engine: &Engine, path: impl AsRef<Path>) -> Result<ModelCheck> {
        let path = c_text("a model's path", path.as_ref().as_os_str().as_bytes())?;
        let text = fetch_text(|buffer, capacity, needed, error| unsafe {
            sys::sage_model_check(engine.as_raw(), path.as_ptr(), buffer, capacity, needed, error)
        })?;
        Ok(ModelCheck(text))
    }
    /// The same of bytes, as [`from_bytes`](Model::from_bytes) takes them.
    pub fn check_bytes(engine: &Engine, bytes: &[u8], weights_folder: Option<&Path>) -> Result<ModelCheck> {
        let folder = Folder::of(weights_folder)?;
        let (data, size) = (bytes.as_ptr() as *const c_void, bytes.len() as u64);
        let text = fetch_text(|buffer, capacity, needed, error| unsafe {
            sys::sage_model_check_buffer(engine.as_raw(), data, size, folder.as_ptr(), buffer, capacity, needed, error)
        })?;
        Ok(ModelCheck(text))
    }

    /// What it is.
    pub fn kind(&self) -> ModelKind {
        ModelKind::from_code(unsafe { sys::sage_model_kind(self.raw) })
    }
    /// What goes in: the tensors of an op graph, or an expert graph's table.
    pub fn inputs(&self) -> Result<Vec<IoInfo>> {
        self.io(Direction::Input)
    }
    /// What comes out of an op graph.
    pub fn outputs(&self) -> Result<Vec<IoInfo>> {
        self.io(Direction::Output)
    }
    fn io(&self, direction: Direction) -> Result<Vec<IoInfo>> {
        let count = unsafe { sys::sage_model_io_count(self.raw, direction.code()) };
        (0..count)
            .map(|index| {
                let (mut name, mut dtype, mut rank) = (ptr::null(), 0, 0);
                let mut shape = [0i64; sys::SAGE_MAX_RANK];
                check(|error| unsafe {
                    let direction = direction.code();
                    let shape = shape.as_mut_ptr();
                    sys::sage_model_io_info(self.raw, direction, index, &mut name, &mut dtype, &mut rank, shape, error)
                })?;
                let name = match name.is_null() {
                    true => String::new(),
                    false => unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned(),
                };
                let shape = shape[..rank as usize].iter().map(|&length| usize::try_from(length).ok()).collect();
                Ok(IoInfo { name, dtype: Dtype::from_code(dtype)?, shape })
            })
            .collect()
    }
    /// For calls of [`sys`] that have no method here.
    pub fn as_raw(&self) -> *mut sys::sage_model {
        self.raw
    }
    pub(crate) fn keep(&self) -> &Arc<Keep> {
        &self.keep
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        unsafe { sys::sage_model_destroy(self.raw) }
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Model").field("kind", &self.kind()).finish()
    }
}

/// A path or null.
struct Folder(Option<std::ffi::CString>);

impl Folder {
    fn of(path: Option<&Path>) -> Result<Folder> {
        Ok(Folder(path.map(|path| c_text("the folder of weights", path.as_os_str().as_bytes())).transpose()?))
    }
    fn as_ptr(&self) -> *const std::os::raw::c_char {
        self.0.as_ref().map_or(ptr::null(), |path| path.as_ptr())
    }
}
