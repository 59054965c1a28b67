//! What the steps of a case share, and which step is whose.
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use sage_engine::{AttentionPlan, Dtype, Engine, Error, GateDecision, Model, Options, Result, Session};

use crate::text::Transcript;

/// Bytes that lie `place` past a multiple of 64; every one 0xa5 at first.
pub struct Room {
    memory: Vec<u8>,
    start: usize,
    length: usize,
}

impl Room {
    pub fn new(length: usize, place: usize) -> Room {
        let memory = vec![0xa5; length + place + 64];
        let start = (64 - memory.as_ptr() as usize % 64) % 64 + place;
        Room { memory, start, length }
    }
    pub fn filled(content: &[u8], place: usize) -> Room {
        let mut room = Room::new(content.len(), place);
        room.bytes_mut().copy_from_slice(content);
        room
    }
    pub fn bytes(&self) -> &[u8] {
        &self.memory[self.start..self.start + self.length]
    }
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.start..self.start + self.length]
    }
}

pub struct Tensor {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub strides: Option<Vec<isize>>,
    pub room: Room,
    pub is_result: bool,
}

pub struct Case<'a> {
    name: String,
    pub folder: &'a Path,
    pub plugin: &'a str,
    pub place: usize,
    engine_options: Options,
    pub plan_options: Options,
    engine: Option<Engine>,
    engine_failed: bool,
    pub tensors: BTreeMap<u32, Tensor>,
    pub fields: Vec<(String, String)>,
    pub plan: Option<AttentionPlan>,
    pub model: Option<Model>,
    // Before what is bound to it: closed first.
    pub session: Option<Session>,
    pub bound_inputs: Vec<Room>,
    pub bound_outputs: BTreeMap<u32, Room>,
    pub snapshot: Option<Vec<u8>>,
    pub decision: Option<GateDecision>,
}

impl<'a> Case<'a> {
    pub fn new(name: &str, folder: &'a Path, plugin: &'a str) -> Case<'a> {
        Case {
            name: name.to_string(),
            folder,
            plugin,
            place: 0,
            engine_options: Options::new(),
            plan_options: Options::new(),
            engine: None,
            engine_failed: false,
            tensors: BTreeMap::new(),
            fields: Vec::new(),
            plan: None,
            model: None,
            session: None,
            bound_inputs: Vec::new(),
            bound_outputs: BTreeMap::new(),
            snapshot: None,
            decision: None,
        }
    }

    pub fn step(&mut self, step: &str, rest: &str, out: &mut Transcript) {
        let words: Vec<&str> = rest.split(' ').collect();
        let options = |options: &Options| options.clone().set(words[0], words[1]);
        match step {
            "option" => self.engine_options = options(&self.engine_options),
            "plan_option" => self.plan_options = options(&self.plan_options),
            "tick" => self.tick(rest, out),
            "scenario" => crate::scenarios::run(self, rest, out),
            "explain" if self.session.is_some() => self.explain_session(out),
            _ => {
                let known = self.attention_step(step, &words, out)
                    || self.model_step(step, &words, out)
                    || self.sparse_step(step, &words, out)
                    || self.quantize_step(step, &words, out);
                assert!(known, "a step that this runner does not know: {step}");
            }
        }
    }

    /// A line of the case.
    pub fn say(&self, out: &mut Transcript, text: &str) {
        out.line(&format!("{}: {}", self.name, text.replace(&*self.folder.to_string_lossy(), "FOLDER")));
    }
    pub fn skipped(&self, out: &mut Transcript) {
        self.say(out, "skipped");
    }
    /// What the library gave, or None when it refused, which is said.
    pub fn accepted<T>(&self, out: &mut Transcript, result: Result<T>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.say_error(out, &error);
                None
            }
        }
    }
    pub fn say_error(&self, out: &mut Transcript, error: &Error) {
        self.say(out, &format!("{} {}", error.status().name(), error.message().replace('\n', "|")));
    }
    /// Made when it is first needed. None: the step is over.
    pub fn need_engine(&mut self, out: &mut Transcript) -> bool {
        if self.engine.is_some() {
            return true;
        }
        if self.engine_failed {
            self.skipped(out);
            return false;
        }
        self.engine = self.accepted(out, Engine::with_options(&self.engine_options));
        self.engine_failed = self.engine.is_none();
        self.engine.is_some()
    }
    pub fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("need_engine was asked")
    }
    pub fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }
    pub fn read(&self, file: &str) -> Vec<u8> {
        let path = self.path(file);
        std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

/// Whether it is an object that has that part.
pub fn is_json_with(text: &str, part: &str) -> bool {
    text.starts_with('{') && text.ends_with('}') && text.contains(part)
}
