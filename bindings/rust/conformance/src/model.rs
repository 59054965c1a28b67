//! Models, sessions and ticks.
use sage_engine::{sys, Direction, Dtype, Model, Result, Session};

use crate::case::{is_json_with, Case, Room};
use crate::text::{bytes, digest_of, hash_of, number, shape, shape_text, Transcript};

impl Case<'_> {
    pub fn model_step(&mut self, step: &str, words: &[&str], out: &mut Transcript) -> bool {
        match step {
            "model" | "model_bytes" => self.load(words[0], step == "model_bytes", out),
            "check" | "check_bytes" => self.check(words[0], step == "check_bytes", out),
            "session" => self.open_session(out),
            "input" | "bind" | "run" | "trace" | "accuracy" | "snapshot" | "restore" | "restore_damaged" => {
                match self.session.take() {
                    None => self.skipped(out),
                    Some(mut session) => {
                        self.session_step(&mut session, step, words, out);
                        self.session = Some(session);
                    }
                }
            }
            _ => return false,
        }
        true
    }

    fn session_step(&mut self, session: &mut Session, step: &str, words: &[&str], out: &mut Transcript) {
        match step {
            "input" => {
                let room = Room::filled(&bytes(words[3]), self.place);
                let dtype = words[1].parse().expect("a data type");
                let set = session.set_input_bytes(number(words[0]), dtype, room.bytes(), &shape(words[2]));
                self.say_done(out, set);
            }
            "bind" => self.bind(session, words, out),
            "run" => self.run(session, out),
            "accuracy" => {
                if let Some(text) = self.accepted(out, session.accuracy()) {
                    let good = is_json_with(&text, "\"rel_l1\"");
                    self.say(out, if good { "accuracy json" } else { "accuracy is no JSON with rel_l1" });
                }
            }
            "trace" => {
                if let Some(text) = self.accepted(out, session.trace()) {
                    let good = is_json_with(&text, "\"traceEvents\"");
                    self.say(out, if good { "trace json" } else { "trace is no JSON with traceEvents" });
                }
            }
            "snapshot" => {
                if let Some(taken) = self.accepted(out, session.snapshot()) {
                    self.say(out, &format!("snapshot {} {}", taken.len(), hash_of(&taken)));
                    self.snapshot = Some(taken);
                }
            }
            _ => {
                let mut taken = match &self.snapshot {
                    Some(taken) => taken.clone(),
                    None => return self.skipped(out),
                };
                *taken.last_mut().expect("a snapshot is not empty") ^= u8::from(step == "restore_damaged");
                self.say_done(out, session.restore(&taken));
            }
        }
    }

    fn say_done(&self, out: &mut Transcript, result: Result<()>) {
        if self.accepted(out, result).is_some() {
            self.say(out, "SAGE_OK");
        }
    }

    fn load(&mut self, file: &str, as_bytes: bool, out: &mut Transcript) {
        if !self.need_engine(out) {
            return;
        }
        let loaded = match as_bytes {
            true => Model::from_bytes(self.engine(), &self.read(file), None),
            false => Model::load(self.engine(), self.path(file)),
        };
        self.model = self.accepted(out, loaded);
        let model = match &self.model {
            Some(model) => model,
            None => return,
        };
        self.say(out, &format!("model {}", model.kind().code()));
        for (side, infos) in [("input", model.inputs()), ("output", model.outputs())] {
            for (index, info) in self.accepted(out, infos).unwrap_or_default().iter().enumerate() {
                let shape: Vec<i64> =
                    info.shape.iter().map(|length| length.map_or(-1, |length| length as i64)).collect();
                self.say(out, &format!("{side} {index} {} {} {}", info.name, info.dtype, shape_text(&shape)));
            }
        }
    }

    fn check(&mut self, file: &str, as_bytes: bool, out: &mut Transcript) {
        if !self.need_engine(out) {
            return;
        }
        let found = match as_bytes {
            true => Model::check_bytes(self.engine(), &self.read(file), None),
            false => Model::check(self.engine(), self.path(file)),
        };
        if let Some(found) = self.accepted(out, found) {
            self.say(out, &format!("valid {}", found.is_valid()));
        }
    }

    fn open_session(&mut self, out: &mut Transcript) {
        let model = match &self.model {
            Some(model) => model,
            None => return self.skipped(out),
        };
        let made = Session::with_options(model, &self.plan_options);
        self.session = self.accepted(out, made);
        self.bound_outputs.clear();
        if self.session.is_some() {
            self.say(out, "SAGE_OK");
        }
    }

    /// Memory of the case at an odd place: only bind_raw takes it for longer than a run.
    fn bind(&mut self, session: &mut Session, words: &[&str], out: &mut Transcript) {
        let index = number(words[1]);
        let (dtype, shape): (Dtype, _) = (words[2].parse().expect("a data type"), shape(words[3]));
        let lengths: Vec<i64> = shape.iter().map(|&length| length as i64).collect();
        let mut room = match words[0] {
            "input" => Room::filled(&bytes(words[4]), self.place),
            _ => Room::new(shape.iter().product::<usize>() * dtype.size(), self.place),
        };
        let tensor = sys::sage_tensor::new(dtype.code(), &lengths, room.bytes_mut().as_mut_ptr().cast());
        let direction = if words[0] == "input" { Direction::Input } else { Direction::Output };
        // The room goes into the case, and is dropped after the session.
        let bound = unsafe { session.bind_raw(direction, index, Some(&tensor)) };
        if self.accepted(out, bound).is_none() {
            return;
        }
        match direction {
            Direction::Input => self.bound_inputs.push(room),
            Direction::Output => drop(self.bound_outputs.insert(index, room)),
        }
        self.say(out, "SAGE_OK");
    }

    fn run(&mut self, session: &mut Session, out: &mut Transcript) {
        if self.accepted(out, session.run()).is_none() {
            return;
        }
        self.say(out, "SAGE_OK");
        let outputs = self.model.as_ref().and_then(|model| model.outputs().ok()).map_or(0, |outputs| outputs.len());
        for index in 0..outputs as u32 {
            let info = match self.accepted(out, session.output_info(index)) {
                Some(info) => info,
                None => return,
            };
            let mut copy = vec![0; info.bytes];
            match self.bound_outputs.get(&index) {
                Some(room) => copy.copy_from_slice(&room.bytes()[..info.bytes]),
                None if self.accepted(out, session.output_bytes_into(index, &mut copy)).is_none() => return,
                None => {}
            }
            let text = format!("output {index} {} {} {}", info.dtype, shape_text(&info.shape), digest_of(&copy));
            self.say(out, &text);
        }
    }

    pub fn explain_session(&mut self, out: &mut Transcript) {
        let text = self.session.as_ref().expect("it was there a line ago").explain();
        self.say_explained(out, text);
    }

    pub fn tick(&mut self, json: &str, out: &mut Transcript) {
        let mut session = match self.session.take() {
            Some(session) => session,
            None => return self.skipped(out),
        };
        let result = session.tick(json).map(drop);
        self.say_done(out, result);
        if let Some(decision) = self.accepted(out, session.decision()) {
            self.say(out, decision.as_str());
        }
        self.session = Some(session);
    }
}
