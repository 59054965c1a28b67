//! What a program may lend an engine instead of its own: memory and threads. Both are for hosts that have their own
//! already; nobody else needs them.
use std::ffi::c_void;
use std::marker::PhantomData;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr;

use crate::sys;

/// Where an engine's CPU memory comes from.
///
/// # Safety
/// `alloc` gives null, or memory of at least that size and alignment that nobody else uses until `free`.
pub unsafe trait Allocator: Send + Sync {
    /// `align` is a power of two. Null: there is no memory, the call that needed it fails with `OutOfMemory`.
    fn alloc(&self, bytes: usize, align: usize) -> *mut u8;
    /// # Safety
    /// `pointer` came from `alloc` with that size, and is not used again.
    unsafe fn free(&self, pointer: *mut u8, bytes: usize);
}

/// Who does an engine's CPU work.
///
/// # Safety
/// `run` covers `0..items` exactly once with the task, returns when all of it is done, and no two pieces run at once
/// with one worker number. It must not panic: work that was lost would be a wrong answer, so the process is aborted.
pub unsafe trait ParallelFor: Send + Sync {
    /// How many workers there are: 1 to 256, always the same.
    fn workers(&self) -> u32;
    /// In pieces of about `grain`. It may be called from several threads at once.
    fn run(&self, items: u64, grain: u64, task: Task<'_>);
}

/// Work that an engine wants done.
#[derive(Clone, Copy)]
pub struct Task<'a> {
    function: unsafe extern "C" fn(*mut c_void, u64, u64, u32),
    context: *mut c_void,
    call: PhantomData<&'a ()>,
}

// The engine hands it out to be run by several threads.
unsafe impl Send for Task<'_> {}
unsafe impl Sync for Task<'_> {}

impl Task<'_> {
    /// Does the items `begin..end` on `worker`, which is below [`ParallelFor::workers`].
    ///
    /// # Safety
    /// As [`ParallelFor`] says: each item once, no worker twice at once.
    pub unsafe fn run(&self, begin: u64, end: u64, worker: u32) {
        (self.function)(self.context, begin, end, worker)
    }
}

/// A call of the program's, which must not unwind through the library. None: it panicked.
pub(crate) fn contained<R>(call: impl FnOnce() -> R) -> Option<R> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => Some(result),
        Err(payload) => {
            // Dropping what the panic carries may panic again.
            if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
                std::mem::forget(second);
            }
            None
        }
    }
}

pub(crate) unsafe extern "C" fn call_alloc(user: *mut c_void, bytes: u64, align: u64) -> *mut c_void {
    let allocator = &*(user as *const Box<dyn Allocator>);
    let (bytes, align) = (bytes as usize, align as usize);
    contained(|| allocator.alloc(bytes, align)).map_or(ptr::null_mut(), |pointer| pointer.cast())
}

pub(crate) unsafe extern "C" fn call_free(user: *mut c_void, pointer: *mut c_void, bytes: u64) {
    let allocator = &*(user as *const Box<dyn Allocator>);
    contained(|| allocator.free(pointer.cast(), bytes as usize));
}

pub(crate) unsafe extern "C" fn call_parallel_for(
    user: *mut c_void,
    items: u64,
    grain: u64,
    task: sys::sage_task_fn,
    context: *mut c_void,
) {
    let parallel = &*(user as *const Box<dyn ParallelFor>);
    let task = match task {
        Some(function) => Task { function, context, call: PhantomData },
        None => return,
    };
    if contained(|| parallel.run(items, grain, task)).is_none() {
        eprintln!("sage-engine: a ParallelFor panicked: work is lost");
        std::process::abort();
    }
}
