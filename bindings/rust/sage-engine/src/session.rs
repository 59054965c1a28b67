//! Sessions: a model's inputs, runs, outputs and state.
use std::ffi::c_void;
use std::fmt;
use std::ptr;
use std::sync::Arc;

use crate::bound::Bound;
use crate::cancel::{CancelHandle, Cancellable};
use crate::element::{Dtype, Element, ElementMut};
use crate::error::{check, fetch_bytes, fetch_text, Error, Result, Status};
use crate::model::Model;
use crate::options::{Keep, Options, RawOptions};
use crate::sys;
use crate::tensor::{bytes_of, bytes_of_mut, count_of, lengths, zeros, TensorView, TensorViewMut};
use crate::ticks::{Decision, Ticks};

/// Which side of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// What goes in.
    Input,
    /// What comes out.
    Output,
}

impl Direction {
    pub(crate) fn code(self) -> u32 {
        match self {
            Direction::Input => sys::SAGE_INPUT,
            Direction::Output => sys::SAGE_OUTPUT,
        }
    }
    pub(crate) fn name(self) -> &'static str {
        match self {
            Direction::Input => "input",
            Direction::Output => "output",
        }
    }
}

/// An output of the last run; before the first, of the inputs that are set.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct OutputInfo {
    /// Of its elements.
    pub dtype: Dtype,
    /// As it came out.
    pub shape: Vec<usize>,
    /// Of all its elements.
    pub bytes: usize,
}

/// A model at work: plans, memory, inputs, outputs, state between ticks. One thread at a time; it may move to another
/// one.
///
/// A session of an op graph runs on copies ([`set_input`](Session::set_input), [`output`](Session::output)), on
/// memory borrowed for one run ([`run_with`](Session::run_with)), or on vectors that are moved into it
/// ([`bind_input`](Session::bind_input)). One of an expert, metabolic or fusion graph takes [`tick`](Session::tick)s.
///
/// ```
/// # use sage_engine::*;
/// # let engine = Engine::new()?;
/// # let model = Model::from_bytes(&engine, include_bytes!("../tests/data/metabolic.fbs"), None)?;
/// let mut session = Session::new(&model)?;
/// drop(engine); // the session keeps what it needs
/// let decision = session.tick(r#"{"ts":1,"targets":[{"id":"door","salience":0.9},{"id":"hum","salience":0.3}]}"#)?;
/// assert_eq!(decision.state(), Some(MetabolicState::Focus));
/// println!("{decision}"); // {"ts":1,"tick":0,"state":"FOCUS",...
///
/// let saved = session.snapshot()?;
/// let next = r#"{"ts":2,"targets":[{"id":"door","salience":0.2}]}"#;
/// let first = session.tick(next)?;
/// session.restore(&saved)?;
/// assert_eq!(session.tick(next)?, first);
/// # Ok::<(), Error>(())
/// ```
///
/// Two threads cannot use one session:
///
/// ```compile_fail,E0277
/// # use sage_engine::*;
/// fn shared(session: &Session) {
///     std::thread::scope(|threads| {
///         threads.spawn(|| session.trace()); // a session is not Sync
///     });
/// }
/// ```
///
/// nor is it run through a shared reference:
///
/// ```compile_fail,E0596
/// # use sage_engine::*;
/// fn run(session: &Session) -> Result<()> {
///     session.run()
/// }
/// ```
pub struct Session {
    raw: *mut sys::sage_session,
    cancel: Arc<Cancellable>,
    // After the handle is gone:
    inputs: Bound,
    outputs: Bound,
    // Memory that was lent for one run could not be taken back: nothing runs any more.
    tainted: bool,
    _keep: Arc<Keep>,
}

// sage.h: one call at a time, from any thread.
unsafe impl Send for Session {}

impl Session {
    /// With the engine's options.
    pub fn new(model: &Model) -> Result<Session> {
        Session::make(model, None)
    }
    /// With options of its own over the engine's: `backend`, `trace`, `max_memory`, a cancel callback.
    pub fn with_options(model: &Model, options: &Options) -> Result<Session> {
        Session::make(model, Some(options))
    }
    fn make(model: &Model, options: Option<&Options>) -> Result<Session> {
        let lent = RawOptions::of(options)?;
        let mut raw = ptr::null_mut();
        check(|error| unsafe { sys::sage_session_create(model.as_raw(), lent.as_ptr(), &mut raw, error) })?;
        Ok(Session {
            raw,
            cancel: Cancellable::session(raw),
            inputs: Bound::default(),
            outputs: Bound::default(),
            tainted: false,
            _keep: Keep::new(options, Some(model.keep())),
        })
    }

    /// Copied; stays set until it is set or bound again.
    pub fn set_input<T: Element>(&mut self, index: u32, data: &[T], shape: &[usize]) -> Result<()> {
        self.set_input_bytes(index, T::DTYPE, bytes_of(data), shape)
    }
    /// The same where the type is known at run time only.
    pub fn set_input_bytes(&mut self, index: u32, dtype: Dtype, data: &[u8], shape: &[usize]) -> Result<()> {
        let (lengths, rank) = (lengths(shape)?, shape.len() as u32);
        let (pointer, bytes) = (data.as_ptr() as *const c_void, data.len() as u64);
        check(|error| unsafe {
            sys::sage_session_set_input(self.raw, index, dtype.code(), rank, lengths.as_ptr(), pointer, bytes, error)
        })?;
        self.inputs.forget(index);
        Ok(())
    }
    /// Runs an op graph; returns when the outputs are ready. After an error they are undefined, and the session can
    /// go on.
    pub fn run(&mut self) -> Result<()> {
        if self.tainted {
            return Err(Error::new(
                Status::Internal,
                "an earlier run_with could not give its memory back; make a new session",
            ));
        }
        check(|error| unsafe { sys::sage_session_run(self.raw, error) })
    }
    /// What an output is.
    pub fn output_info(&self, index: u32) -> Result<OutputInfo> {
        let (mut dtype, mut rank, mut bytes) = (0, 0, 0);
        let mut shape = [0i64; sys::SAGE_MAX_RANK];
        check(|error| unsafe {
            let shape = shape.as_mut_ptr();
            sys::sage_session_output_info(self.raw, index, &mut dtype, &mut rank, shape, &mut bytes, error)
        })?;
        let shape = shape[..rank as usize].iter().map(|&length| length.max(0) as usize).collect();
        Ok(OutputInfo { dtype: Dtype::from_code(dtype)?, shape, bytes: bytes as usize })
    }
    /// A copy of an output of the last run. T must be its type.
    pub fn output<T: ElementMut + Default>(&self, index: u32) -> Result<Vec<T>> {
        let info = self.output_of::<T>(index)?;
        let mut data: Vec<T> = zeros(count_of(&info.shape)? as u64)?;
        self.output_bytes_into(index, bytes_of_mut(&mut data))?;
        Ok(data)
    }
    /// The same into memory of exactly its size.
    pub fn output_into<T: ElementMut>(&self, index: u32, data: &mut [T]) -> Result<()> {
        self.output_of::<T>(index)?;
        self.output_bytes_into(index, bytes_of_mut(data))
    }
    fn output_of<T: ElementMut>(&self, index: u32) -> Result<OutputInfo> {
        let info = self.output_info(index)?;
        if info.dtype == T::DTYPE {
            return Ok(info);
        }
        Err(Error::invalid(format!("output {index} is {}; {} was asked for", info.dtype, T::DTYPE)))
    }
    /// The same as bytes, whatever its type.
    pub fn output_bytes_into(&self, index: u32, data: &mut [u8]) -> Result<()> {
        let (pointer, bytes) = (data.as_mut_ptr() as *mut c_void, data.len() as u64);
        check(|error| unsafe { sys::sage_session_get_output(self.raw, index, pointer, bytes, error) })
    }

    /// A vector moved in and used in place, run after run, until it is [taken out](Session::unbind_input) or another
    /// one is bound; between runs it is read and written by [`bound_input_mut`](Session::bound_input_mut). After an
    /// error it is dropped, and what was bound before stays.
    ///
    /// ```
    /// # use sage_engine::*;
    /// # let engine = Engine::new()?;
    /// # let model = Model::from_bytes(&engine, include_bytes!("../tests/data/op_graph.fbs"), None)?;
    /// # let mut session = Session::new(&model)?;
    /// # session.set_input(1, &[0.5f32; 12], &[1, 1, 3, 4])?;
    /// # session.set_input(2, &[0.5f32; 12], &[1, 1, 3, 4])?;
    /// session.bind_input(0, vec![1.0f32; 24], &[1, 2, 3, 4])?;
    /// session.bind_output(0, vec![0.0f32; 24], &[1, 2, 3, 4])?;
    /// for step in 0..3 {
    ///     session.bound_input_mut::<f32>(0)?.fill(step as f32);
    ///     session.run()?;
    ///     println!("{:?}", &session.bound_output::<f32>(0)?[..4]);
    /// }
    /// let result: Vec<f32> = session.unbind_output(0)?;
    /// # assert_eq!(result, [1.0; 24]);
    /// # Ok::<(), Error>(())
    /// ```
    pub fn bind_input<T: Element>(&mut self, index: u32, mut data: Vec<T>, shape: &[usize]) -> Result<()> {
        self.bind(Direction::Input, index, &mut data, shape)?;
        self.inputs.put(index, data);
        Ok(())
    }
    /// The same of an output. Its shape is an upper bound; [`output_info`](Session::output_info) has what a run
    /// filled, row-major from the vector's begin.
    pub fn bind_output<T: ElementMut>(&mut self, index: u32, mut data: Vec<T>, shape: &[usize]) -> Result<()> {
        self.bind(Direction::Output, index, &mut data, shape)?;
        self.outputs.put(index, data);
        Ok(())
    }
    fn bind<T: Element>(&mut self, direction: Direction, index: u32, data: &mut [T], shape: &[usize]) -> Result<()> {
        let (lengths, rank) = (lengths(shape)?, shape.len() as u32);
        let (bytes, pointer) = (std::mem::size_of_val(data) as u64, data.as_mut_ptr().cast());
        check(|error| unsafe {
            let (direction, dtype, shape) = (direction.code(), T::DTYPE.code(), lengths.as_ptr());
            sys::sage_session_bind_flat(self.raw, direction, index, dtype, rank, shape, pointer, bytes, error)
        })
    }
    /// What was moved in.
    pub fn bound_input<T: Element>(&self, index: u32) -> Result<&[T]> {
        Ok(self.inputs.get(Direction::Input, index)?)
    }
    /// What was moved in, to be changed before the next run.
    pub fn bound_input_mut<T: Element>(&mut self, index: u32) -> Result<&mut [T]> {
        Ok(self.inputs.get_mut(Direction::Input, index)?)
    }
    /// What the last run wrote.
    pub fn bound_output<T: ElementMut>(&self, index: u32) -> Result<&[T]> {
        Ok(self.outputs.get(Direction::Output, index)?)
    }
    /// The vector back; the input is unset then.
    pub fn unbind_input<T: Element>(&mut self, index: u32) -> Result<Vec<T>> {
        self.inputs.get::<T>(Direction::Input, index)?;
        self.unbind(Direction::Input, index)?;
        self.inputs.take(Direction::Input, index)
    }
    /// The vector back; the session has memory of its own for this output again.
    pub fn unbind_output<T: ElementMut>(&mut self, index: u32) -> Result<Vec<T>> {
        self.outputs.get::<T>(Direction::Output, index)?;
        self.unbind(Direction::Output, index)?;
        self.outputs.take(Direction::Output, index)
    }
    fn unbind(&mut self, direction: Direction, index: u32) -> Result<()> {
        check(|error| unsafe { sys::sage_session_bind(self.raw, direction.code(), index, ptr::null(), error) })
    }

    /// One run on borrowed memory, in place: each tensor is bound, and unbound when the run is over. Strides may be
    /// anything the plan accepts; nothing is copied silently. Inputs and outputs that are not named are as they were.
    ///
    /// `InvalidArgument` for an input that the model appends to: a cache is written, and is moved in
    /// ([`bind_input`](Session::bind_input)) or copied. An output that is an input that was lent, or a view of one, has
    /// no contents once the run is over.
    pub fn run_with(
        &mut self,
        inputs: &[(u32, TensorView<'_>)],
        outputs: &mut [(u32, TensorViewMut<'_>)],
    ) -> Result<()> {
        let lent = inputs.iter().map(|(index, view)| (Direction::Input, *index, view.as_raw()));
        let lent = lent.chain(outputs.iter().map(|(index, view)| (Direction::Output, *index, view.as_raw())));
        let mut bound = Vec::with_capacity(inputs.len() + outputs.len());
        let mut result = Ok(());
        for (direction, index, tensor) in lent {
            result = unsafe { self.bind_raw(direction, index, Some(tensor)) };
            if result.is_err() {
                break;
            }
            bound.push((direction, index));
        }
        if result.is_ok() {
            result = self.run();
        }
        for (direction, index) in bound {
            if let Err(error) = self.unbind(direction, index) {
                self.tainted = true;
                result = result.and(Err(error));
            }
        }
        result
    }
    /// As the C API has it; None unbinds.
    ///
    /// # Safety
    /// The description is true. Its memory lives, and belongs to the session alone while something runs, until it is
    /// bound again, set, or the session is dropped.
    pub unsafe fn bind_raw(
        &mut self,
        direction: Direction,
        index: u32,
        tensor: Option<&sys::sage_tensor>,
    ) -> Result<()> {
        let raw: *const sys::sage_tensor = tensor.map_or(ptr::null(), |tensor| tensor);
        check(|error| sys::sage_session_bind(self.raw, direction.code(), index, raw, error))?;
        match direction {
            Direction::Input => self.inputs.forget(index),
            Direction::Output => self.outputs.forget(index),
        }
        Ok(())
    }
    /// Lends a stream, null takes it back; runs return then once they are enqueued.
    ///
    /// # Safety
    /// The stream is one of that device and lives until it is taken back; what is bound is not touched before it was
    /// synchronised.
    pub unsafe fn set_stream(&mut self, device_type: i32, device_id: i32, stream: *mut c_void) -> Result<()> {
        check(|error| sys::sage_session_set_stream(self.raw, device_type, device_id, stream, error))
    }
    /// Stops its runs and ticks from anywhere.
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle(self.cancel.clone())
    }

    /// One tick of an expert, metabolic or fusion graph: a JSON object in, the decision out. After a bad one
    /// (`BadData`) everything is as before, [`decision`](Session::decision) is its error record, and the stream may
    /// go on.
    pub fn tick(&mut self, json: &str) -> Result<Decision> {
        check(|error| unsafe { sys::sage_session_tick(self.raw, json.as_ptr().cast(), json.len() as u64, error) })?;
        self.decision()
    }
    /// A stream of ticks: lines in, decisions out, as they are asked for.
    pub fn ticks<I>(&mut self, lines: I) -> Ticks<'_, I::IntoIter>
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        Ticks::new(self, lines.into_iter())
    }
    /// The record of the last tick.
    pub fn decision(&self) -> Result<Decision> {
        let text = fetch_text(|buffer, capacity, needed, error| unsafe {
            sys::sage_session_decision(self.raw, buffer, capacity, needed, error)
        })?;
        Ok(Decision::new(text))
    }
    /// The state between ticks, as versioned bytes.
    pub fn snapshot(&self) -> Result<Vec<u8>> {
        fetch_bytes(|buffer, capacity, needed, error| unsafe {
            sys::sage_session_snapshot(self.raw, buffer.cast(), capacity, needed, error)
        })
    }
    /// A snapshot of another model or a damaged one is refused, and changes nothing.
    pub fn restore(&mut self, snapshot: &[u8]) -> Result<()> {
        let (bytes, size) = (snapshot.as_ptr() as *const c_void, snapshot.len() as u64);
        check(|error| unsafe { sys::sage_session_restore(self.raw, bytes, size, error) })
    }
    /// JSON: every backend's verdict for each node, without running.
    pub fn explain(&self) -> Result<String> {
        fetch_text(|buffer, capacity, needed, error| unsafe {
            sys::sage_session_explain(self.raw, buffer, capacity, needed, error)
        })
    }
    /// JSON, for Chrome's tracing and Perfetto: the last run's spans and counters. With the option `trace`.
    pub fn trace(&self) -> Result<String> {
        fetch_text(|buffer, capacity, needed, error| unsafe {
            sys::sage_session_trace(self.raw, buffer, capacity, needed, error)
        })
    }
    /// JSON: how far each attention of the last run or tick is from exact. With the option `accuracy_report`.
    pub fn accuracy(&self) -> Result<String> {
        fetch_text(|buffer, capacity, needed, error| unsafe {
            sys::sage_session_accuracy(self.raw, buffer, capacity, needed, error)
        })
    }
    /// For calls of [`sys`] that have no method here.
    pub fn as_raw(&self) -> *mut sys::sage_session {
        self.raw
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.cancel.close();
        unsafe { sys::sage_session_destroy(self.raw) }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Session").finish_non_exhaustive()
    }
}
