//! Stopping a run from another thread.
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::sys;

enum Target {
    Session(*mut sys::sage_session),
    Context(*mut sys::sage_attention_context),
}

/// The handle as long as it is open. Its owner never locks this to run.
pub(crate) struct Cancellable(Mutex<Option<Target>>);

// sage.h: cancel may come from any thread at any time.
unsafe impl Send for Cancellable {}
unsafe impl Sync for Cancellable {}

impl Cancellable {
    pub(crate) fn session(raw: *mut sys::sage_session) -> Arc<Cancellable> {
        Arc::new(Cancellable(Mutex::new(Some(Target::Session(raw)))))
    }
    pub(crate) fn context(raw: *mut sys::sage_attention_context) -> Arc<Cancellable> {
        Arc::new(Cancellable(Mutex::new(Some(Target::Context(raw)))))
    }
    fn lock(&self) -> MutexGuard<'_, Option<Target>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Before the handle is destroyed: nobody cancels it afterwards.
    pub(crate) fn close(&self) {
        *self.lock() = None;
    }
}

/// Stops what a [`Session`](crate::Session) or [`AttentionContext`](crate::AttentionContext) is running, from any
/// thread, by [`Status::Cancelled`](crate::Status::Cancelled). It does nothing between runs, and nothing when the
/// session or context is gone.
///
/// ```
/// # use sage_engine::*;
/// # let engine = Engine::new()?;
/// # let model = Model::from_bytes(&engine, include_bytes!("../tests/data/metabolic.fbs"), None)?;
/// let mut session = Session::new(&model)?;
/// let stop = session.cancel_handle();
/// let watchdog = std::thread::spawn(move || stop.cancel());
/// session.tick(r#"{"ts":1,"targets":[]}"#).ok(); // stopped, or done before
/// watchdog.join().unwrap();
/// # Ok::<(), sage_engine::Error>(())
/// ```
#[derive(Clone)]
pub struct CancelHandle(pub(crate) Arc<Cancellable>);

impl CancelHandle {
    /// Stops the run in progress; later ones are not touched.
    pub fn cancel(&self) {
        match *self.0.lock() {
            Some(Target::Session(session)) => unsafe { sys::sage_session_cancel(session) },
            Some(Target::Context(context)) => unsafe { sys::sage_attention_cancel(context) },
            None => {}
        }
    }
}

impl fmt::Debug for CancelHandle {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CancelHandle").field("open", &self.0.lock().is_some()).finish()
    }
}
