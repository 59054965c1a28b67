//! Masks of partitions, and the gate.
use sage_engine::{
    gate_decide, mincut_blocks, mincut_csr, mincut_mask, sys, Align, AttentionOp, GatePacket, GatePolicy, Result,
};

use crate::case::Case;
use crate::text::{hash_of, number, Transcript};

impl Case<'_> {
    pub fn sparse_step(&mut self, step: &str, words: &[&str], out: &mut Transcript) -> bool {
        match step {
            "mincut_mask" => {
                let made = mincut_mask(number(words[0]), number(words[1]));
                if let Some(mask) = self.accepted(out, made) {
                    let bytes: Vec<u8> = mask.keep.iter().map(|&keep| keep.into()).collect();
                    self.say(out, &format!("kept {} {}", mask.kept, hash_of(&bytes)));
                }
            }
            "mincut_csr" => {
                let made = mincut_csr(number(words[0]), number(words[1]), number(words[2]), number(words[3]));
                if let Some(mask) = self.accepted(out, made) {
                    let hash =
                        |words: &[i32]| hash_of(&words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<_>>());
                    let (indptr, indices) = (hash(&mask.indptr), hash(&mask.indices));
                    self.say(out, &format!("kept {} {indptr} {indices}", mask.indices.len()));
                }
            }
            "mincut_blocks" => {
                let made = mincut_blocks(number(words[0]), number(words[1]), number(words[2]), number(words[3]));
                if let Some(mask) = self.accepted(out, made) {
                    self.say(out, &format!("kept {} {}", mask.kept, hash_of(&mask.keep)));
                }
            }
            "gate" => self.gate(words, out),
            "gate_apply" => self.gate_apply(number(words[0]), out),
            _ => return false,
        }
        true
    }

    fn gate(&mut self, words: &[&str], out: &mut Transcript) {
        let (mut packet, mut policy, mut with_policy) = (GatePacket::default(), GatePolicy::default(), false);
        for word in words {
            let (name, value) = word.split_once('=').expect("FIELD=VALUE");
            with_policy |= name.starts_with("policy.");
            *gate_field(&mut packet, &mut policy, name) = number(value);
        }
        self.decision = self.accepted(out, gate_decide(&packet, with_policy.then_some(&policy)));
        if let Some(d) = self.decision {
            let numbers = [d.verdict.code(), d.tier, d.drop_ratio_q15, d.layers, d.sequence, d.window];
            self.say(out, &format!("gate {}", numbers.map(|number| number.to_string()).join(" ")));
        }
    }

    fn gate_apply(&mut self, alignment: u32, out: &mut Transcript) {
        let mut op = AttentionOp::empty();
        op.align(if alignment == sys::SAGE_ALIGN_TOP_LEFT { Align::TopLeft } else { Align::BottomRight });
        let applied = match &self.decision {
            Some(decision) => decision.apply(&mut op),
            None => self.apply_nothing(&mut op),
        };
        if self.accepted(out, applied).is_some() {
            let attributes = op.attributes();
            let line = format!("features {:016x} window_left {}", attributes.features, attributes.window_left);
            self.say(out, &line);
        }
    }

    /// A decision that was never made is all zero: nobody can have one in Rust, but C can.
    fn apply_nothing(&self, op: &mut AttentionOp<'_>) -> Result<()> {
        let decision = sys::sage_gate_decision::default();
        let attributes = op.attributes_mut();
        sage_engine::check(|error| unsafe { sys::sage_gate_apply(&decision, attributes, error) })
    }
}

fn gate_field<'a>(packet: &'a mut GatePacket, policy: &'a mut GatePolicy, name: &str) -> &'a mut u32 {
    if let Some((tier, field)) = name.strip_prefix("policy.").and_then(|rest| rest.split_once('.')) {
        let tier = match tier {
            "normal" => &mut policy.normal,
            "reduced" => &mut policy.reduced,
            "safe" => &mut policy.safe,
            _ => panic!("a tier that this runner does not know: {tier}"),
        };
        return match field {
            "layers" => &mut tier.layers,
            "sequence" => &mut tier.sequence,
            "window" => &mut tier.window,
            _ => panic!("a field that this runner does not know: {name}"),
        };
    }
    match name {
        "flags" => &mut packet.flags,
        "lambda" => &mut packet.lambda,
        "lambda_prev" => &mut packet.lambda_prev,
        "boundary_edges" => &mut packet.boundary_edges,
        "boundary_concentration_q15" => &mut packet.boundary_concentration_q15,
        "partition_count" => &mut packet.partition_count,
        "spike_fired" => &mut packet.spike_fired,
        "spike_rate_q15" => &mut packet.spike_rate_q15,
        "policy.lambda_min" => &mut policy.lambda_min,
        "policy.drop_ratio_q15_max" => &mut policy.drop_ratio_q15_max,
        "policy.boundary_edges_max" => &mut policy.boundary_edges_max,
        "policy.boundary_concentration_q15_max" => &mut policy.boundary_concentration_q15_max,
        "policy.partitions_max" => &mut policy.partitions_max,
        "policy.spike_rate_q15_max" => &mut policy.spike_rate_q15_max,
        _ => panic!("a field that this runner does not know: {name}"),
    }
}
