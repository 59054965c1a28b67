//! Tensors, the flat call, plans and their runs.
use std::ffi::c_void;

use sage_engine::{
    sys, Accuracy, Align, AttentionOp, AttentionShape, Axes, Dtype, Layout, Requirements, Result, Slot, TensorView,
    TensorViewMut,
};

use crate::case::{is_json_with, Case, Room, Tensor};
use crate::text::{bytes, digest_of, number, numbers, shape, Transcript};

impl Case<'_> {
    pub fn attention_step(&mut self, step: &str, words: &[&str], out: &mut Transcript) -> bool {
        match step {
            "place" => self.place = number(words[0]),
            "tensor" => {
                let room = Room::filled(&bytes(words[3]), self.place);
                self.put(words, room, false);
            }
            "result" => {
                let dtype: Dtype = words[1].parse().expect("a data type");
                let length = shape(words[2]).iter().product::<usize>() * dtype.size();
                let room = Room::new(length, self.place);
                self.put(words, room, true);
            }
            "strides" => {
                let tensor = self.tensors.get_mut(&number(words[0])).expect("strides of a tensor");
                tensor.strides = Some(numbers(words[1]));
            }
            "set" => self.fields.push((words[0].to_string(), words[1].to_string())),
            "flat" => self.flat(words, out),
            "features" => self.features(out),
            "plan" => self.make_plan(out),
            "memory" => self.memory(out),
            "explain" => self.explain_plan(out),
            "attend" => self.attend(out),
            _ => return false,
        }
        true
    }

    fn put(&mut self, words: &[&str], room: Room, is_result: bool) {
        let dtype = words[1].parse().expect("a data type");
        let tensor = Tensor { dtype, shape: shape(words[2]), strides: None, room, is_result };
        self.tensors.insert(number(words[0]), tensor);
    }

    fn flat(&mut self, words: &[&str], out: &mut Transcript) {
        if !self.need_engine(out) {
            return;
        }
        let (layout, causal, scale): (u32, u32, f64) = (number(words[0]), number(words[1]), number(words[2]));
        let (heads, rows) = if layout == 1 { (2, 1) } else { (1, 2) };
        let mut output = self.tensors.remove(&3).expect("flat: slot 3");
        let [q, k, v] = [0, 1, 2].map(|slot| self.tensors.get(&slot).expect("flat: slots 0 to 2"));
        let sizes = AttentionShape {
            batch: q.shape[0],
            heads_q: q.shape[heads],
            heads_kv: k.shape[heads],
            seq_q: q.shape[rows],
            seq_kv: k.shape[rows],
            dim_qk: q.shape[3],
            dim_v: Some(v.shape[3]),
            layout: if layout == 1 { Layout::Bshd } else { Layout::Bhsd },
            causal: [None, Some(Align::TopLeft), Some(Align::BottomRight)].get(causal as usize).copied().flatten(),
            scale: (scale != 0.0).then_some(scale),
        };
        let (q, k, v) = (q.room.bytes(), k.room.bytes(), v.room.bytes());
        let o = output.room.bytes_mut();
        let result = if layout < 2 && causal < 3 {
            self.engine().attention_bytes(output.dtype, &sizes, q, k, v, o)
        } else {
            // Values that the enums do not have reach the library by its C API.
            self.flat_raw(output.dtype, &sizes, [layout, causal], [q.as_ptr(), k.as_ptr(), v.as_ptr()], o)
        };
        if self.accepted(out, result).is_some() {
            self.say(out, "SAGE_OK");
            self.say(out, &format!("slot 3 {}", digest_of(output.room.bytes())));
        }
        self.tensors.insert(3, output);
    }

    fn flat_raw(
        &self,
        dtype: Dtype,
        shape: &AttentionShape,
        [layout, causal]: [u32; 2],
        [q, k, v]: [*const u8; 3],
        o: &mut [u8],
    ) -> Result<()> {
        let sizes = [shape.batch, shape.heads_q, shape.heads_kv, shape.seq_q, shape.seq_kv, shape.dim_qk];
        let [batch, heads_q, heads_kv, seq_q, seq_kv, dim_qk] = sizes.map(|size| size as i64);
        let dim_v = shape.dim_v.unwrap_or(shape.dim_qk) as i64;
        let pointer = |data: *const u8| data as *const c_void;
        sage_engine::check(|error| unsafe {
            let (q, k, v, o) = (pointer(q), pointer(k), pointer(v), o.as_mut_ptr() as *mut c_void);
            let (engine, dtype, scale) = (self.engine().as_raw(), dtype.code(), shape.scale.unwrap_or(0.0));
            sys::sage_attention(
                engine, dtype, layout, batch, heads_q, heads_kv, seq_q, seq_kv, dim_qk, dim_v, q, k, v, o, causal,
                scale, error,
            )
        })
    }

    /// The tensors and fields of the case as an op; results and aliased slots may be written.
    fn op<'t>(tensors: &'t mut [(u32, &mut Tensor)], fields: &[(String, String)]) -> AttentionOp<'t> {
        let mut op = AttentionOp::empty();
        for (name, value) in fields {
            set(&mut op, name, value);
        }
        let aliases = fields.iter().find(|field| field.0 == "aliases").map_or(0, |field| number::<u64>(&field.1));
        for (slot, tensor) in tensors {
            let (dtype, shape) = (tensor.dtype, &tensor.shape);
            let named = Slot::from_index(*slot).expect("a slot of attention");
            if tensor.is_result || aliases >> *slot & 1 == 1 {
                let view = TensorViewMut::from_bytes(dtype, tensor.room.bytes_mut(), shape);
                op.slot_mut(named, view.expect("memory of the shape's size"));
            } else {
                let view = match &tensor.strides {
                    Some(strides) => TensorView::strided_bytes(dtype, tensor.room.bytes(), shape, strides, 0),
                    None => TensorView::from_bytes(dtype, tensor.room.bytes(), shape),
                };
                op.slot(named, view.expect("memory that holds the shape"));
            }
        }
        op
    }

    /// The op of the case, while its tensors are lent to it.
    fn with_op<R>(&mut self, use_it: impl FnOnce(&Self, &mut AttentionOp<'_>) -> R) -> R {
        let mut owned = std::mem::take(&mut self.tensors);
        let fields = std::mem::take(&mut self.fields);
        let result = {
            let mut lent: Vec<(u32, &mut Tensor)> = owned.iter_mut().map(|(slot, tensor)| (*slot, tensor)).collect();
            use_it(self, &mut Case::op(&mut lent, &fields))
        };
        self.tensors = owned;
        self.fields = fields;
        result
    }

    fn features(&mut self, out: &mut Transcript) {
        let bits = self.with_op(|_, op| op.features());
        if let Some(bits) = self.accepted(out, bits) {
            self.say(out, &format!("features {bits:016x}"));
        }
    }

    fn make_plan(&mut self, out: &mut Transcript) {
        if !self.need_engine(out) {
            return;
        }
        let made = self.with_op(|case, op| case.engine().plan_with(op, &case.plan_options));
        self.plan = self.accepted(out, made);
        if let Some(plan) = &self.plan {
            self.say(out, &format!("plan {}", plan.backend()));
        }
    }

    fn memory(&mut self, out: &mut Transcript) {
        let plan = match &self.plan {
            Some(plan) => plan,
            None => return self.skipped(out),
        };
        if let Some(m) = self.accepted(out, plan.memory()) {
            let bytes =
                [m.q_bytes, m.k_bytes, m.v_bytes, m.o_bytes, m.other_bytes, m.scores_bytes, m.total_with_scores_bytes];
            self.say(out, &format!("memory {}", bytes.map(|count| count.to_string()).join(" ")));
        }
    }

    fn explain_plan(&mut self, out: &mut Transcript) {
        match &self.plan {
            Some(plan) => self.say_explained(out, plan.explain()),
            None => self.skipped(out),
        }
    }
    pub fn say_explained(&self, out: &mut Transcript, text: Result<String>) {
        if let Some(text) = self.accepted(out, text) {
            let good = is_json_with(&text, "reference");
            self.say(out, if good { "explain json" } else { "explain is no JSON that names reference" });
        }
    }

    fn attend(&mut self, out: &mut Transcript) {
        let mut context = match &self.plan {
            None => return self.skipped(out),
            Some(plan) => match self.accepted(out, plan.context()) {
                None => return,
                Some(context) => context,
            },
        };
        let result = self.with_op(|_, op| context.run(op));
        if self.accepted(out, result).is_none() {
            return;
        }
        self.say(out, "SAGE_OK");
        let aliases = self.fields.iter().find(|field| field.0 == "aliases").map_or(0, |field| number::<u64>(&field.1));
        for (slot, tensor) in &self.tensors {
            if tensor.is_result || aliases >> slot & 1 == 1 {
                self.say(out, &format!("slot {slot} {}", digest_of(tensor.room.bytes())));
            }
        }
    }
}

fn set(op: &mut AttentionOp<'_>, name: &str, value: &str) {
    let accuracies = [Accuracy::Auto, Accuracy::Exact, Accuracy::Native, Accuracy::Lossy];
    match name {
        "accuracy" => {
            op.accuracy(accuracies[number::<usize>(value)]);
        }
        "requirements" => {
            op.require(Requirements(number(value)));
        }
        "dynamic_axes" => {
            op.dynamic(Axes(number(value)));
        }
        "aliases" => {
            op.aliases(number(value));
        }
        _ => set_attribute(op.attributes_mut(), name, value),
    }
}

fn set_attribute(attributes: &mut sys::sage_attention_attributes, name: &str, value: &str) {
    let word = match name {
        "features" => return attributes.features = number(value),
        "scale" => return attributes.scale = number(value),
        "softcap" => return attributes.softcap = number(value),
        "dropout_p" => return attributes.dropout_p = number(value),
        "window_left" => return attributes.window_left = number(value),
        "window_right" => return attributes.window_right = number(value),
        "max_seq_q" => return attributes.max_seq_q = number(value),
        "max_seq_kv" => return attributes.max_seq_kv = number(value),
        "alignment" => &mut attributes.alignment,
        "algorithm" => &mut attributes.algorithm,
        "block_q" => &mut attributes.block_q,
        "block_kv" => &mut attributes.block_kv,
        "mask_block_q" => &mut attributes.mask_block_q,
        "mask_block_kv" => &mut attributes.mask_block_kv,
        "scale_block" => &mut attributes.scale_block,
        "granularity_q" => &mut attributes.granularity_q,
        "granularity_k" => &mut attributes.granularity_k,
        "granularity_v" => &mut attributes.granularity_v,
        "granularity_p" => &mut attributes.granularity_p,
        "granularity_o" => &mut attributes.granularity_o,
        _ => panic!("a field that this runner does not know: {name}"),
    };
    *word = number(value);
}
