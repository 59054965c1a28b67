//! The plugin ABI (sage/plugin.h, sage/ops.h, sage/attention.h) as far as a CPU backend for attention needs it, and
//! its rules: a struct is taken in and given out by its struct_size, an answer and an error are sentences, and no
//! panic crosses the border.
use std::mem::size_of;
use std::os::raw::{c_char, c_void};
use std::panic::{catch_unwind, AssertUnwindSafe};

use crate::{Instance, Plan};

pub const ABI_MAJOR: u32 = 1;
pub const ABI_MINOR: u32 = 0;
pub const OK: i32 = 0;
pub const E_INVALID_ARGUMENT: i32 = 1;
pub const E_UNSUPPORTED: i32 = 2;
pub const E_CANCELLED: i32 = 10;
pub const E_INTERNAL: i32 = 14;
pub const CPU: i32 = 1;
pub const F32: u32 = 0x0001_2002;
pub const OP_ATTENTION: u32 = 1;
pub const REQUIRE_DETERMINISTIC: u32 = 1;
pub const REQUIRE_SCALAR: u32 = 4;
pub const ACCURACY_EXACT: u32 = 1;
pub const ALGORITHM_FLASH: u32 = 2;
pub const F_SCALE: u64 = 1;
pub const F_GQA: u64 = 1 << 1;
pub const F_CAUSAL: u64 = 1 << 2;
pub const F_BOTTOM_RIGHT: u64 = 1 << 3;
pub const F_LSE: u64 = 1 << 19;
pub const F_DV_DIFFERS: u64 = 1 << 22;
pub const F_HV_DIFFERS: u64 = 1 << 23;

/// A struct of the ABI: its size comes first, and all zero bytes are one of its values.
///
/// # Safety
/// That is true of it, and it is #[repr(C)].
pub unsafe trait Struct: Copy {}

macro_rules! structs {
    ($($name:ident, $size:expr, { $($field:ident: $kind:ty,)* })*) => {$(
        #[repr(C)]
        #[derive(Clone, Copy)]
        pub struct $name { $(pub $field: $kind,)* }
        unsafe impl Struct for $name {}
        const _: () = assert!(size_of::<$name>() == $size, "the header has another size");
    )*};
}

structs! {
    Error, 512, { struct_size: u32, status: i32, native_code: i64, message: [u8; 496], }
    Tensor, 160, {
        struct_size: u32, dtype: u32, device_type: i32, device_id: i32, rank: u32, flags: u32, shape: [i64; 8],
        stride: [i64; 8], data: *mut u8,
    }
    Op, 48, {
        struct_size: u32, kind: u32, requirements: u32, accuracy: u32, dynamic_axes: u32, num_slots: u32, aliases: u64,
        attributes: *const Attributes, slots: *const *const Tensor,
    }
    Attributes, 120, {
        struct_size: u32, alignment: u32, features: u64, scale: f64, softcap: f64, dropout_p: f64, window: [i64; 2],
        max_seq: [i64; 2], algorithm: u32, block: [u32; 2], mask_block: [u32; 2], scale_block: u32, granularity: [u32; 5],
        reserved: u32,
    }
    Answer, 280, {
        struct_size: u32, verdict: u32, blocking: u64, cost_ns: f64, cost_source: u32, accuracy: u32,
        workspace_bytes: u64, reason: [u8; 240],
    }
    PlanInfo, 40, {
        struct_size: u32, reserved: u32, workspace_bytes: u64, prepack_bytes: u64, packed_kv_bytes: u64, partials_bytes: u64,
    }
    RunArgs, 48, {
        struct_size: u32, num_slots: u32, slots: *const *const Tensor, workspace: *mut c_void, workspace_bytes: u64,
        stream: *mut c_void, run: *mut c_void,
    }
}

pub type Task = unsafe extern "C" fn(context: *mut c_void, begin: u64, end: u64, worker: u32);

/// What the host lends. What this backend does not use is declared as an address.
#[repr(C)]
pub struct Host {
    pub struct_size: u32,
    pub abi_minor: u32,
    this: *mut c_void,
    pub num_workers: u32,
    reserved: u32,
    alloc: unsafe extern "C" fn(*mut c_void, i32, i32, u64, u64, *mut *mut c_void, *mut Error) -> i32,
    free: unsafe extern "C" fn(*mut c_void, i32, i32, *mut c_void),
    parallel_for: unsafe extern "C" fn(*mut c_void, u64, u64, Task, *mut c_void),
    log: *const c_void,
    log_level: *const c_void,
    span_begin: *const c_void,
    span_end: *const c_void,
    cancelled: unsafe extern "C" fn(*mut c_void, *mut c_void) -> i32,
    device: *const c_void,
    attention_features: unsafe extern "C" fn(*mut c_void, *const Op, *mut u64, *mut Error) -> i32,
    count: *const c_void,
    // cache_folder follows in a host that has it; the table is only read up to what is used.
}

impl Host {
    /// A value in the host's memory. Err: the status to return; `error` is filled.
    pub unsafe fn place<T>(&self, value: T, error: *mut Error) -> Result<*mut T, i32> {
        let mut memory = std::ptr::null_mut();
        match (self.alloc)(self.this, CPU, 0, size_of::<T>() as u64, 64, &mut memory, error) {
            OK => {
                (memory as *mut T).write(value);
                Ok(memory as *mut T)
            }
            status => Err(status),
        }
    }
    pub unsafe fn free<T>(&self, value: *mut T) {
        (self.free)(self.this, CPU, 0, value as *mut c_void)
    }
    pub unsafe fn parallel_for<T>(&self, items: u64, grain: u64, task: Task, context: &T) {
        (self.parallel_for)(self.this, items, grain, task, context as *const T as *mut c_void)
    }
    pub unsafe fn cancelled(&self, run: *mut c_void) -> bool {
        (self.cancelled)(self.this, run) != 0
    }
    pub unsafe fn attention_features(&self, op: *const Op) -> Option<u64> {
        let mut bits = 0;
        ((self.attention_features)(self.this, op, &mut bits, std::ptr::null_mut()) == OK).then_some(bits)
    }
}

/// The table a plugin is.
#[repr(C)]
pub struct Plugin {
    pub struct_size: u32,
    pub abi_major: u32,
    pub abi_minor: u32,
    pub abi_minor_min: u32,
    pub name: *const c_char,
    pub version: *const c_char,
    pub build: *const c_char,
    pub foreign_threads: *const c_char,
    pub kinds: u64,
    pub features: u64,
    pub device_type: i32,
    pub reserved: u32,
    pub probe: unsafe extern "C" fn(*const Host, i32, *mut u32, *mut Answer, *mut Error) -> i32,
    pub create: unsafe extern "C" fn(*const Host, i32, *const c_char, *mut *mut Instance, *mut Error) -> i32,
    pub destroy: unsafe extern "C" fn(*mut Instance),
    pub device: *const c_void,
    pub ask: unsafe extern "C" fn(*mut Instance, *const Op, *mut Answer, *mut Error) -> i32,
    pub plan:
        unsafe extern "C" fn(*mut Instance, *const Op, *const Plan, *mut *mut Plan, *mut PlanInfo, *mut Error) -> i32,
    pub plan_destroy: unsafe extern "C" fn(*mut Plan),
    pub run: unsafe extern "C" fn(*const Plan, *const RunArgs, *mut Error) -> i32,
}
const _: () = assert!(size_of::<Plugin>() == 136 && size_of::<Host>() == 112);

// Constant texts and functions.
unsafe impl Sync for Plugin {}

const STRUCT_MIN: usize = 8;
const STRUCT_MAX: usize = 4096;

/// All zero, and its own size.
pub fn zeroed<T: Struct>() -> T {
    let mut value: T = unsafe { std::mem::zeroed() };
    unsafe { (&mut value as *mut T as *mut u32).write(size_of::<T>() as u32) };
    value
}

/// A request of the caller's size as one of ours: a shorter one is extended by zeros, the tail of a longer one must
/// be zero.
pub unsafe fn take_in<T: Struct>(theirs: *const T) -> Option<T> {
    if theirs.is_null() {
        return None;
    }
    let size = (theirs as *const u32).read_unaligned() as usize;
    if !(STRUCT_MIN..=STRUCT_MAX).contains(&size) || (size < size_of::<T>() && size % 8 != 0) {
        return None;
    }
    let bytes = std::slice::from_raw_parts(theirs as *const u8, size);
    if bytes.iter().skip(size_of::<T>()).any(|&byte| byte != 0) {
        return None;
    }
    let mut mine = zeroed::<T>();
    let used = size.min(size_of::<T>());
    std::ptr::copy_nonoverlapping(bytes[4..].as_ptr(), (&mut mine as *mut T as *mut u8).add(4), used - 4);
    Some(mine)
}

/// The reverse: up to the caller's size, never past it.
pub unsafe fn give_out<T: Struct>(theirs: *mut T, mine: &T) {
    if theirs.is_null() {
        return;
    }
    let size = (theirs as *const u32).read_unaligned() as usize;
    if !(STRUCT_MIN..=STRUCT_MAX).contains(&size) {
        return;
    }
    let (to, used) = (theirs as *mut u8, size.min(size_of::<T>()));
    std::ptr::copy_nonoverlapping((mine as *const T as *const u8).add(4), to.add(4), used - 4);
    to.add(used).write_bytes(0, size - used);
}

/// A sentence in a field of fixed length: cut to fit between characters, NUL at the end.
pub fn sentence<const N: usize>(text: &str) -> [u8; N] {
    let mut length = text.len().min(N - 1);
    while !text.is_char_boundary(length) {
        length -= 1;
    }
    let mut field = [0; N];
    field[..length].copy_from_slice(&text.as_bytes()[..length]);
    field
}

/// Fills the caller's error slot; returns the status.
pub unsafe fn fail(error: *mut Error, status: i32, text: &str) -> i32 {
    give_out(error, &Error { status, message: sentence(text), ..zeroed() });
    status
}

/// Every entry runs inside: Ok clears the error slot, a panic becomes an error with what it said.
pub unsafe fn guard(error: *mut Error, entry: impl FnOnce() -> Result<(), i32>) -> i32 {
    match catch_unwind(AssertUnwindSafe(entry)) {
        Ok(Ok(())) => {
            give_out(error, &zeroed());
            OK
        }
        Ok(Err(status)) => status,
        Err(panic) => {
            let said =
                panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
            let status = fail(error, E_INTERNAL, said.unwrap_or("the backend panicked"));
            std::mem::forget(panic); // dropping it might panic again
            status
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_an_error_with_what_it_said() {
        std::panic::set_hook(Box::new(|_| {}));
        let mut error: Error = zeroed();
        assert_eq!(unsafe { guard(&mut error, || panic!("row {}", 7)) }, E_INTERNAL);
        assert_eq!((error.status, &error.message[..6]), (E_INTERNAL, &b"row 7\0"[..]));
        assert_eq!(unsafe { guard(&mut error, || Ok(())) }, OK);
        assert_eq!((error.status, error.message[0]), (OK, 0));
    }

    #[test]
    fn structs_of_other_sizes_are_taken_in_by_the_rule() {
        let take = |size: u32, tail: u8| -> Option<Op> {
            let mut bytes = [0u64; 16];
            let op = Op { struct_size: size, kind: 7, num_slots: 3, ..zeroed() };
            let start = bytes.as_mut_ptr() as *mut u8;
            unsafe {
                (start as *mut Op).write(op);
                start.add(size_of::<Op>() + 8).write(tail);
                take_in(start as *const Op)
            }
        };
        assert_eq!(take(48, 1).map(|op| (op.kind, op.struct_size)), Some((7, 48)));
        assert_eq!(take(64, 0).map(|op| op.num_slots), Some(3));
        assert!(take(64, 1).is_none() && take(4, 0).is_none() && take(5000, 0).is_none() && take(20, 0).is_none());
        assert_eq!(take(16, 0).map(|op| (op.kind, op.num_slots)), Some((7, 0)));
        assert!(unsafe { take_in::<Op>(std::ptr::null()) }.is_none());
    }

    #[test]
    fn sentences_are_cut_between_characters() {
        assert_eq!(sentence::<4>("abcdef"), *b"abc\0");
        assert_eq!(sentence::<4>("ab\u{e9}"), *b"ab\0\0");
    }
}
