//! Errors: the library's status as an enum, its sentence and native code as they are.
use std::ffi::CStr;
use std::fmt;
use std::mem::{size_of, MaybeUninit};
use std::os::raw::c_char;
use std::ptr::addr_of_mut;

use crate::sys;
use crate::tensor::zeros;

/// What went wrong, by kind. A newer library may have kinds that are not listed here: [`Status::Other`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// The call contradicts its own description.
    InvalidArgument,
    /// A correct request that no acceptable backend serves; the message has the reasons.
    Unsupported,
    /// The request uses something newer than the library.
    UnknownField,
    /// Or above `max_memory`, refused before anything was allocated.
    OutOfMemory,
    /// A file, a name, an index.
    NotFound,
    /// The system refused a file; [`Error::native_code`] is errno.
    Io,
    /// A model, weight file, tick or snapshot is malformed.
    BadData,
    /// Library and program, or library and plugin, are of different versions of the ABI.
    AbiMismatch,
    /// A driver or hardware; [`Error::native_code`] is its code.
    Device,
    /// The run was stopped by a [`CancelHandle`](crate::CancelHandle) or by the options' callback.
    Cancelled,
    /// Another call is on this session or context.
    Busy,
    /// The handle was made before `fork`; make a new one in the child.
    Forked,
    /// Of the C API's buffers, which this crate sizes itself.
    BufferTooSmall,
    /// A bug of the library or of a backend.
    Internal,
    /// A `SAGE_E_*` of a newer library.
    Other(i32),
}

impl Status {
    pub(crate) fn from_code(code: sys::sage_status) -> Status {
        match code {
            sys::SAGE_E_INVALID_ARGUMENT => Status::InvalidArgument,
            sys::SAGE_E_UNSUPPORTED => Status::Unsupported,
            sys::SAGE_E_UNKNOWN_FIELD => Status::UnknownField,
            sys::SAGE_E_OUT_OF_MEMORY => Status::OutOfMemory,
            sys::SAGE_E_NOT_FOUND => Status::NotFound,
            sys::SAGE_E_IO => Status::Io,
            sys::SAGE_E_BAD_DATA => Status::BadData,
            sys::SAGE_E_ABI_MISMATCH => Status::AbiMismatch,
            sys::SAGE_E_DEVICE => Status::Device,
            sys::SAGE_E_CANCELLED => Status::Cancelled,
            sys::SAGE_E_BUSY => Status::Busy,
            sys::SAGE_E_FORKED => Status::Forked,
            sys::SAGE_E_BUFFER_TOO_SMALL => Status::BufferTooSmall,
            sys::SAGE_E_INTERNAL => Status::Internal,
            other => Status::Other(other),
        }
    }

    /// The number of the C API: `SAGE_E_INVALID_ARGUMENT` is 1.
    pub fn code(self) -> i32 {
        match self {
            Status::InvalidArgument => sys::SAGE_E_INVALID_ARGUMENT,
            Status::Unsupported => sys::SAGE_E_UNSUPPORTED,
            Status::UnknownField => sys::SAGE_E_UNKNOWN_FIELD,
            Status::OutOfMemory => sys::SAGE_E_OUT_OF_MEMORY,
            Status::NotFound => sys::SAGE_E_NOT_FOUND,
            Status::Io => sys::SAGE_E_IO,
            Status::BadData => sys::SAGE_E_BAD_DATA,
            Status::AbiMismatch => sys::SAGE_E_ABI_MISMATCH,
            Status::Device => sys::SAGE_E_DEVICE,
            Status::Cancelled => sys::SAGE_E_CANCELLED,
            Status::Busy => sys::SAGE_E_BUSY,
            Status::Forked => sys::SAGE_E_FORKED,
            Status::BufferTooSmall => sys::SAGE_E_BUFFER_TOO_SMALL,
            Status::Internal => sys::SAGE_E_INTERNAL,
            Status::Other(code) => code,
        }
    }

    /// The name of the C API, `"SAGE_E_BUSY"`; `"unknown"` for a number that the library does not know.
    pub fn name(self) -> &'static str {
        status_name(self.code())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The C API's name of a status, 0 (`"SAGE_OK"`) included.
pub fn status_name(code: i32) -> &'static str {
    crate::text(unsafe { sys::sage_status_name(code) })
}

/// What a call refused: the kind, the library's own sentence, and the number below it.
///
/// ```
/// # use sage_engine::{Engine, Model, Status};
/// let engine = Engine::new()?;
/// let error = Model::load(&engine, "/nowhere/at/all.fbs").unwrap_err();
/// assert_eq!(error.status(), Status::NotFound);
/// assert!(error.message().contains("/nowhere/at/all.fbs"));
/// println!("{error}"); // SAGE_E_NOT_FOUND: /nowhere/at/all.fbs: ...
/// # Ok::<(), sage_engine::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    status: Status,
    native_code: i64,
    message: String,
}

/// `std::result::Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(status: Status, message: impl Into<String>) -> Error {
        Error { status, native_code: 0, message: message.into() }
    }
    /// What the library cannot see, since it gets pointers: refused here.
    pub(crate) fn invalid(message: impl Into<String>) -> Error {
        Error::new(Status::InvalidArgument, message)
    }
    /// What kind of error it is.
    pub fn status(&self) -> Status {
        self.status
    }
    /// errno, a CUDA or cuDNN status, or 0.
    pub fn native_code(&self) -> i64 {
        self.native_code
    }
    /// What was given, what was expected, what to do.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.status.name(), self.message)
    }
}

impl std::error::Error for Error {}

/// One call of [`sys`] with its error slot, as all of this crate makes them: for what has no method here.
///
/// ```
/// # use sage_engine::{check, sys, Engine};
/// let engine = Engine::new()?;
/// let mut needed = 0;
/// check(|error| unsafe { sys::sage_engine_describe(engine.as_raw(), std::ptr::null_mut(), 0, &mut needed, error) })?;
/// assert!(needed > 0);
/// # Ok::<(), sage_engine::Error>(())
/// ```
#[inline]
pub fn check(call: impl FnOnce(*mut sys::sage_error) -> sys::sage_status) -> Result<()> {
    // 512 bytes: only what is read back is written before the call.
    let mut slot = MaybeUninit::<sys::sage_error>::uninit();
    let fields = slot.as_mut_ptr();
    unsafe {
        addr_of_mut!((*fields).struct_size).write(size_of::<sys::sage_error>() as u32);
        addr_of_mut!((*fields).native_code).write(0);
        addr_of_mut!((*fields).message).cast::<c_char>().write(0);
    }
    let status = call(fields);
    if status == sys::SAGE_OK {
        return Ok(());
    }
    Err(unsafe { refused(status, fields) })
}

/// # Safety
/// native_code and message are written, the message ends in a NUL.
#[cold]
unsafe fn refused(status: sys::sage_status, slot: *const sys::sage_error) -> Error {
    let message = CStr::from_ptr(std::ptr::addr_of!((*slot).message) as *const c_char);
    Error {
        status: Status::from_code(status),
        native_code: std::ptr::addr_of!((*slot).native_code).read(),
        message: message.to_string_lossy().into_owned(),
    }
}

/// `call(buffer, capacity, needed, error)`: asked for the size, then for the content until it fits, since it may grow
/// between two calls.
pub(crate) fn fetch_bytes(
    call: impl Fn(*mut u8, u64, *mut u64, *mut sys::sage_error) -> sys::sage_status,
) -> Result<Vec<u8>> {
    let mut needed = 0u64;
    check(|error| call(std::ptr::null_mut(), 0, &mut needed, error))?;
    loop {
        let capacity = needed.max(1); // of 0 bytes the pointer would be none, and that asks for the size
        let mut bytes: Vec<u8> = zeros(capacity)?;
        match check(|error| call(bytes.as_mut_ptr(), capacity, &mut needed, error)) {
            Err(error) if error.status() == Status::BufferTooSmall && needed > capacity => continue,
            other => other?,
        }
        bytes.truncate(needed as usize);
        return Ok(bytes);
    }
}

/// The same of a text, which ends in a NUL there and not here.
pub(crate) fn fetch_text(
    call: impl Fn(*mut c_char, u64, *mut u64, *mut sys::sage_error) -> sys::sage_status,
) -> Result<String> {
    let mut bytes =
        fetch_bytes(|buffer, capacity, needed, error| call(buffer as *mut c_char, capacity, needed, error))?;
    bytes.pop();
    String::from_utf8(bytes).map_err(|_| Error::new(Status::Internal, "the library returned a text that is not UTF-8"))
}

/// Whether a library of that `sage_abi_version()` is one this crate was written for: the major must agree, the minor
/// may be newer.
pub(crate) fn require_abi(loaded: u32, version: &str) -> Result<()> {
    let (major, minor) = (loaded >> 16, loaded & 0xffff);
    if major == sys::SAGE_ABI_MAJOR && minor + 1 > sys::SAGE_ABI_MINOR {
        return Ok(());
    }
    Err(Error::new(
        Status::AbiMismatch,
        format!(
            "libsage {version} has ABI {major}.{minor}, this program was compiled for {}.{}; install that library, or compile \
             again against this one",
            sys::SAGE_ABI_MAJOR,
            sys::SAGE_ABI_MINOR
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_library_of_another_abi_is_refused_and_a_newer_minor_is_not() {
        let own = sys::SAGE_ABI_MAJOR << 16 | sys::SAGE_ABI_MINOR;
        assert_eq!(require_abi(own, "0.1.0"), Ok(()));
        assert_eq!(require_abi(own + 1, "0.2.0"), Ok(()));
        let newer = require_abi((sys::SAGE_ABI_MAJOR + 1) << 16 | 3, "9.1.0").unwrap_err();
        assert_eq!(newer.status(), Status::AbiMismatch);
        assert!(newer.message().contains(&format!("libsage 9.1.0 has ABI {}.3", sys::SAGE_ABI_MAJOR + 1)), "{newer}");
        assert!(require_abi(0, "0.0.1").is_err());
    }

    #[test]
    fn a_text_that_grows_between_two_calls_is_asked_for_again() {
        let calls = Cell::new(0);
        let text = fetch_text(|buffer, capacity, needed, _| {
            calls.set(calls.get() + 1);
            let text: &[u8] = if calls.get() < 2 { b"short\0" } else { b"much longer than before\0" };
            unsafe { *needed = text.len() as u64 };
            if buffer.is_null() {
                return sys::SAGE_OK;
            }
            if capacity < text.len() as u64 {
                return sys::SAGE_E_BUFFER_TOO_SMALL;
            }
            unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), buffer as *mut u8, text.len()) };
            sys::SAGE_OK
        });
        assert_eq!(text.unwrap(), "much longer than before");
        assert_eq!(calls.get(), 3);
    }

    #[test]
    fn every_status_has_its_number_and_name() {
        for code in 1..=15 {
            let status = Status::from_code(code);
            assert_eq!(status.code(), code);
            assert_eq!(status.name() == "unknown", matches!(status, Status::Other(_)), "{code}");
        }
        assert_eq!(status_name(0), "SAGE_OK");
        assert_eq!(Status::Busy.to_string(), "SAGE_E_BUSY");
    }
}
