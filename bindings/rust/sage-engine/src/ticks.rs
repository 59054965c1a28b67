//! Tick streams: what a tick decided, the states of a metabolic graph, and an iterator over both.
use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::json;
use crate::session::Session;

/// The record of one tick: a JSON object without a newline, as `docs/ticks.md` describes it.
///
/// ```
/// # use sage_engine::*;
/// # let engine = Engine::new()?;
/// # let model = Model::from_bytes(&engine, include_bytes!("../tests/data/metabolic.fbs"), None)?;
/// # let mut session = Session::new(&model)?;
/// let decision = session.tick(r#"{"ts":61.2,"state":"REST","targets":[]}"#)?;
/// assert_eq!(decision.state(), Some(MetabolicState::Rest));
/// assert_eq!(decision.get("tick"), Some("0"));
/// assert_eq!(decision.get("no such key"), None);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Decision(String);

impl Decision {
    pub(crate) fn new(text: String) -> Decision {
        Decision(text)
    }
    /// The whole record.
    pub fn as_str(&self) -> &str {
        &self.0
    }
    /// The JSON text of a member of the record: `"decisions"`, `"budget"`, `"flags"`.
    pub fn get(&self, key: &str) -> Option<&str> {
        json::member(&self.0, key)
    }
    /// After the tick; None for a graph without states.
    pub fn state(&self) -> Option<MetabolicState> {
        json::plain_string(self.get("state")?)?.parse().ok()
    }
    /// Whether it is the error record of a tick that was refused.
    pub fn is_error(&self) -> bool {
        self.get("error").is_some()
    }
}

impl fmt::Display for Decision {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
impl AsRef<str> for Decision {
    fn as_ref(&self) -> &str {
        &self.0
    }
}
impl From<Decision> for String {
    fn from(decision: Decision) -> String {
        decision.0
    }
}

/// The states of a metabolic graph. A tick's key `state` takes the name, or `AUTO` for the state machine.
///
/// ```
/// # use sage_engine::MetabolicState;
/// assert_eq!("dream".parse(), Ok(MetabolicState::Dream));
/// assert_eq!(MetabolicState::Crisis.to_string(), "CRISIS");
/// assert_eq!(MetabolicState::ALL.len(), 5);
/// assert!("AUTO".parse::<MetabolicState>().is_err());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MetabolicState {
    /// Attention spread over what is salient.
    Wake,
    /// Most of it on one target.
    Focus,
    /// Consolidation, and a minimum of monitoring.
    Rest,
    /// Recombination, with dropout.
    Dream,
    /// Everything on what is most urgent.
    Crisis,
}

impl MetabolicState {
    /// All of them.
    pub const ALL: [MetabolicState; 5] = [
        MetabolicState::Wake,
        MetabolicState::Focus,
        MetabolicState::Rest,
        MetabolicState::Dream,
        MetabolicState::Crisis,
    ];
    /// As it stands in records: `"WAKE"`.
    pub fn name(self) -> &'static str {
        match self {
            MetabolicState::Wake => "WAKE",
            MetabolicState::Focus => "FOCUS",
            MetabolicState::Rest => "REST",
            MetabolicState::Dream => "DREAM",
            MetabolicState::Crisis => "CRISIS",
        }
    }
}

impl fmt::Display for MetabolicState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.name())
    }
}

impl FromStr for MetabolicState {
    type Err = Error;
    /// In any case, as ticks take them.
    fn from_str(name: &str) -> Result<MetabolicState> {
        match MetabolicState::ALL.iter().find(|state| state.name().eq_ignore_ascii_case(name)) {
            Some(state) => Ok(*state),
            None => Err(Error::invalid(format!("{name:?} is not a state; WAKE, FOCUS, REST, DREAM and CRISIS are"))),
        }
    }
}

/// Decisions of a stream of ticks, made by [`Session::ticks`]. A bad tick is an `Err`, and the stream goes on behind
/// it.
///
/// ```
/// # use sage_engine::*;
/// # let engine = Engine::new()?;
/// # let model = Model::from_bytes(&engine, include_bytes!("../tests/data/metabolic.fbs"), None)?;
/// # let mut session = Session::new(&model)?;
/// let lines = ["{\"ts\":1,\"targets\":[]}", "{\"ts\":0}", "{\"ts\":2,\"targets\":[]}"];
/// let mut ticks = session.ticks(lines);
/// while let Some(answer) = ticks.next() {
///     match answer {
///         Ok(decision) => println!("{decision}"),
///         Err(error) if error.status() == Status::BadData => println!("{}", ticks.decision()?), // its error record
///         Err(error) => return Err(error),
///     }
/// }
/// # assert_eq!(session.decision()?.get("tick"), Some("1"));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct Ticks<'a, I> {
    session: &'a mut Session,
    lines: I,
}

impl<'a, I> Ticks<'a, I> {
    pub(crate) fn new(session: &'a mut Session, lines: I) -> Ticks<'a, I> {
        Ticks { session, lines }
    }
    /// The record of the last tick: after an error, the error record.
    pub fn decision(&self) -> Result<Decision> {
        self.session.decision()
    }
}

impl<I> Iterator for Ticks<'_, I>
where
    I: Iterator,
    I::Item: AsRef<str>,
{
    type Item = Result<Decision>;
    fn next(&mut self) -> Option<Result<Decision>> {
        let line = self.lines.next()?;
        Some(self.session.tick(line.as_ref()))
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        self.lines.size_hint()
    }
}
