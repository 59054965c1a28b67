//! Options and callbacks: collected here, checked by the library where they are used.
use std::ffi::{c_void, CString};
use std::fmt;
use std::os::raw::c_char;
use std::ptr;
use std::sync::Arc;

use crate::error::{check, Error, Result};
use crate::host::{self, contained, Allocator, ParallelFor};
use crate::sys;

/// How important a line of the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum LogLevel {
    /// Something does not work.
    Error,
    /// Something works otherwise than it was asked for.
    Warning,
    /// What was found and chosen.
    Info,
    /// How.
    Debug,
}

impl LogLevel {
    fn from_code(code: i32) -> LogLevel {
        match code.max(1) as u32 {
            sys::SAGE_LOG_ERROR => LogLevel::Error,
            sys::SAGE_LOG_WARNING => LogLevel::Warning,
            sys::SAGE_LOG_INFO => LogLevel::Info,
            _ => LogLevel::Debug,
        }
    }
}

impl fmt::Display for LogLevel {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            LogLevel::Error => "error",
            LogLevel::Warning => "warning",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
        })
    }
}

type LogFn = Box<dyn Fn(LogLevel, &str) + Send + Sync>;
type CancelFn = Box<dyn Fn() -> bool + Send + Sync>;

/// What the library was lent pointers to. Every handle that may use them holds them.
#[derive(Clone, Default)]
pub(crate) struct Lent {
    log: Option<Arc<LogFn>>,
    cancel: Option<Arc<CancelFn>>,
    allocator: Option<Arc<Box<dyn Allocator>>>,
    parallel: Option<Arc<Box<dyn ParallelFor>>>,
}

/// A chain of what is lent: a session's own options, its engine's.
pub(crate) struct Keep {
    _lent: Lent,
    _parent: Option<Arc<Keep>>,
}

impl Keep {
    pub(crate) fn new(options: Option<&Options>, parent: Option<&Arc<Keep>>) -> Arc<Keep> {
        let lent = options.map_or_else(Lent::default, |options| options.lent.clone());
        Arc::new(Keep { _lent: lent, _parent: parent.cloned() })
    }
}

/// key = value, and callbacks: for an engine, a plan or a session. An unknown key or value is
/// refused where the options are used, with the nearest known one.
///
/// ```
/// # use sage_engine::{Engine, Options, Status};
/// let engine = Engine::with_options(&Options::new().set("threads", 2).log(|level, line| eprintln!("{level}: {line}")))?;
/// let error = Engine::with_options(&Options::new().set("thread", 2)).unwrap_err();
/// assert_eq!(error.status(), Status::InvalidArgument);
/// assert!(error.message().contains("threads"));
/// # Ok::<(), sage_engine::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Options {
    values: Vec<(String, String)>,
    lent: Lent,
}

impl Options {
    /// None at all.
    pub fn new() -> Options {
        Options::default()
    }
    /// Of two with one key the later one counts.
    #[must_use]
    pub fn set(mut self, key: impl Into<String>, value: impl ToString) -> Options {
        self.values.push((key.into(), value.to_string()));
        self
    }
    /// Every line at or above the option `log_level`, from any thread. A panic in it is caught and lost. It must not
    /// use the handle that logs.
    #[must_use]
    pub fn log(mut self, function: impl Fn(LogLevel, &str) + Send + Sync + 'static) -> Options {
        self.lent.log = Some(Arc::new(Box::new(function)));
        self
    }
    /// Asked now and then during a run, from any thread; true stops it with
    /// [`Status::Cancelled`](crate::Status::Cancelled), and so does a panic.
    #[must_use]
    pub fn cancel(mut self, function: impl Fn() -> bool + Send + Sync + 'static) -> Options {
        self.lent.cancel = Some(Arc::new(Box::new(function)));
        self
    }
    /// CPU memory from the program's own allocator. For an engine.
    #[must_use]
    pub fn allocator(mut self, allocator: impl Allocator + 'static) -> Options {
        self.lent.allocator = Some(Arc::new(Box::new(allocator)));
        self
    }
    /// CPU work on the program's own threads. For an engine.
    #[must_use]
    pub fn parallel_for(mut self, parallel: impl ParallelFor + 'static) -> Options {
        self.lent.parallel = Some(Arc::new(Box::new(parallel)));
        self
    }

    /// The library's own object; it copies what it needs, this one lives for one call.
    pub(crate) fn to_raw(&self) -> Result<RawOptions> {
        let mut raw = RawOptions(ptr::null_mut());
        check(|error| unsafe { sys::sage_options_create(&mut raw.0, error) })?;
        for (key, value) in &self.values {
            let (key, value) =
                (c_text("an option's key", key.as_bytes())?, c_text("an option's value", value.as_bytes())?);
            check(|error| unsafe { sys::sage_options_set(raw.0, key.as_ptr(), value.as_ptr(), error) })?;
        }
        let Lent { log, cancel, allocator, parallel } = &self.lent;
        if let Some(log) = log {
            check(|error| unsafe { sys::sage_options_set_log(raw.0, Some(call_log), user(log), error) })?;
        }
        if let Some(cancel) = cancel {
            check(|error| unsafe { sys::sage_options_set_cancel(raw.0, Some(call_cancel), user(cancel), error) })?;
        }
        if let Some(allocator) = allocator {
            let (alloc, free) = (Some(host::call_alloc as _), Some(host::call_free as _));
            check(|error| unsafe { sys::sage_options_set_allocator(raw.0, alloc, free, user(allocator), error) })?;
        }
        if let Some(parallel) = parallel {
            let (function, workers) = (Some(host::call_parallel_for as _), parallel.workers());
            check(|error| unsafe {
                sys::sage_options_set_parallel_for(raw.0, function, workers, user(parallel), error)
            })?;
        }
        Ok(raw)
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Options")
            .field("values", &self.values)
            .field("log", &self.lent.log.is_some())
            .field("cancel", &self.lent.cancel.is_some())
            .field("allocator", &self.lent.allocator.is_some())
            .field("parallel_for", &self.lent.parallel.is_some())
            .finish()
    }
}

/// Freed when the call it was made for is over.
pub(crate) struct RawOptions(*mut sys::sage_options);

impl RawOptions {
    pub(crate) fn of(options: Option<&Options>) -> Result<RawOptions> {
        options.map_or_else(|| Ok(RawOptions(ptr::null_mut())), Options::to_raw)
    }
    /// Null where there are none, which the library takes everywhere.
    pub(crate) fn as_ptr(&self) -> *const sys::sage_options {
        self.0
    }
}

impl Drop for RawOptions {
    fn drop(&mut self) {
        unsafe { sys::sage_options_destroy(self.0) }
    }
}

/// The address of what is in the Arc, which every handle made of the options holds.
fn user<T>(lent: &Arc<T>) -> *mut c_void {
    Arc::as_ptr(lent) as *mut c_void
}

pub(crate) fn c_text(what: &str, text: impl Into<Vec<u8>>) -> Result<CString> {
    CString::new(text).map_err(|_| Error::invalid(format!("{what} has a NUL in it")))
}

unsafe extern "C" fn call_log(user: *mut c_void, level: i32, text: *const c_char, length: u64) {
    let log = &*(user as *const LogFn);
    let line = if text.is_null() { &[] } else { std::slice::from_raw_parts(text as *const u8, length as usize) };
    let line = String::from_utf8_lossy(line);
    contained(|| log(LogLevel::from_code(level), &line));
}

unsafe extern "C" fn call_cancel(user: *mut c_void) -> i32 {
    let cancel = &*(user as *const CancelFn);
    contained(cancel).unwrap_or(true).into()
}
