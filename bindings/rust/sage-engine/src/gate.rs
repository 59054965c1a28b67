//! The gate: how much of a model is worth running, from what was seen of the graph of tokens. A pure function, any
//! thread.
use std::mem::size_of;
use std::ptr;

use crate::attention::AttentionOp;
use crate::error::{check, Result};
use crate::sys;

/// What was seen. `*_q15`: 0 to 32767 stands for 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GatePacket {
    /// `sys::SAGE_GATE_SKIP`, `_FORCE_SAFE`, `_SPIKE` (the two fields of spikes are meant).
    pub flags: u32,
    /// Weight of the minimum cut.
    pub lambda: u32,
    /// The same before.
    pub lambda_prev: u32,
    /// Edges that cross it.
    pub boundary_edges: u32,
    /// How few tokens they hang on.
    pub boundary_concentration_q15: u32,
    /// Parts of the graph.
    pub partition_count: u32,
    /// 0: nothing happened since.
    pub spike_fired: u32,
    /// How often.
    pub spike_rate_q15: u32,
}

/// How much is run; 0 = the default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GateTier {
    /// Of the model, from the first.
    pub layers: u32,
    /// Newest tokens.
    pub sequence: u32,
    /// Keys a query sees, itself included.
    pub window: u32,
}

/// Limits; 0 = the default, which `sage/sparse.h` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GatePolicy {
    /// Below it: quarantine.
    pub lambda_min: u32,
    /// (lambda_prev - lambda) / lambda_prev above it: the cache is stale.
    pub drop_ratio_q15_max: u32,
    /// Above it: less is run.
    pub boundary_edges_max: u32,
    /// Above it: less is run.
    pub boundary_concentration_q15_max: u32,
    /// Above it: less is run.
    pub partitions_max: u32,
    /// Above it: a storm.
    pub spike_rate_q15_max: u32,
    /// Tier 0.
    pub normal: GateTier,
    /// Tier 1.
    pub reduced: GateTier,
    /// Tier 2.
    pub safe: GateTier,
}

/// Why a tier was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum GateVerdict {
    /// Nothing speaks against it: tier 0.
    Allow,
    /// Too many boundary edges or parts, or too concentrated: tier 1.
    ReduceScope,
    /// Lambda fell: tier 1, and the cache is stale.
    FlushKv,
    /// Lambda is too low: tier 2.
    Quarantine,
    /// Too many spikes: tier 2.
    Storm,
    /// The packet forced it: tier 2.
    Forced,
    /// No spike fired: tier 3.
    Quiet,
    /// The packet said so: tier 3.
    Skipped,
    /// One of a newer library.
    Other(u32),
}

impl GateVerdict {
    fn from_code(code: u32) -> GateVerdict {
        match code {
            sys::SAGE_GATE_ALLOW => GateVerdict::Allow,
            sys::SAGE_GATE_REDUCE_SCOPE => GateVerdict::ReduceScope,
            sys::SAGE_GATE_FLUSH_KV => GateVerdict::FlushKv,
            sys::SAGE_GATE_QUARANTINE => GateVerdict::Quarantine,
            sys::SAGE_GATE_STORM => GateVerdict::Storm,
            sys::SAGE_GATE_FORCED => GateVerdict::Forced,
            sys::SAGE_GATE_QUIET => GateVerdict::Quiet,
            sys::SAGE_GATE_SKIPPED => GateVerdict::Skipped,
            other => GateVerdict::Other(other),
        }
    }
    /// The C API's number.
    pub fn code(self) -> u32 {
        match self {
            GateVerdict::Allow => sys::SAGE_GATE_ALLOW,
            GateVerdict::ReduceScope => sys::SAGE_GATE_REDUCE_SCOPE,
            GateVerdict::FlushKv => sys::SAGE_GATE_FLUSH_KV,
            GateVerdict::Quarantine => sys::SAGE_GATE_QUARANTINE,
            GateVerdict::Storm => sys::SAGE_GATE_STORM,
            GateVerdict::Forced => sys::SAGE_GATE_FORCED,
            GateVerdict::Quiet => sys::SAGE_GATE_QUIET,
            GateVerdict::Skipped => sys::SAGE_GATE_SKIPPED,
            GateVerdict::Other(code) => code,
        }
    }
}

/// What is to be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct GateDecision {
    /// Why.
    pub verdict: GateVerdict,
    /// 0 normal, 1 reduced, 2 safe, 3 nothing is run.
    pub tier: u32,
    /// 0 where lambda rose.
    pub drop_ratio_q15: u32,
    /// Of the model, from the first; 0 in tier 3, as the next two.
    pub layers: u32,
    /// Newest tokens.
    pub sequence: u32,
    /// Keys a query sees, itself included.
    pub window: u32,
}

/// How much is worth running. A `policy` of None: all limits are the defaults. A flag that is
/// not known is an error.
///
/// ```
/// # use sage_engine::*;
/// let calm = GatePacket { lambda: 100, lambda_prev: 100, ..Default::default() };
/// assert_eq!(gate_decide(&calm, None)?.verdict, GateVerdict::Allow);
/// let torn = GatePacket { lambda: 10, ..calm };
/// assert_eq!(gate_decide(&torn, None)?.tier, 2);
/// let view = TensorView::describe(Dtype::F32, &[1, 1, 8, 16])?;
/// let mut op = AttentionOp::new(view, view, view, TensorViewMut::describe(Dtype::F32, &[1, 1, 8, 16])?);
/// gate_decide(&torn, None)?.apply(op.align(Align::BottomRight))?; // a causal window of 4 keys
/// assert_eq!(op.attributes().window_left, 3);
/// # Ok::<(), Error>(())
/// ```
pub fn gate_decide(packet: &GatePacket, policy: Option<&GatePolicy>) -> Result<GateDecision> {
    let packet = sys::sage_gate_packet {
        flags: packet.flags,
        lambda: packet.lambda,
        lambda_prev: packet.lambda_prev,
        boundary_edges: packet.boundary_edges,
        boundary_concentration_q15: packet.boundary_concentration_q15,
        partition_count: packet.partition_count,
        spike_fired: packet.spike_fired,
        spike_rate_q15: packet.spike_rate_q15,
        ..Default::default()
    };
    let policy = policy.map(raw_policy);
    let mut raw = sys::sage_gate_decision::default();
    check(|error| unsafe {
        let policy: *const sys::sage_gate_policy = policy.as_ref().map_or(ptr::null(), |policy| policy);
        sys::sage_gate_decide(&packet, policy, &mut raw, error)
    })?;
    Ok(GateDecision {
        verdict: GateVerdict::from_code(raw.verdict),
        tier: raw.tier,
        drop_ratio_q15: raw.drop_ratio_q15,
        layers: raw.layers,
        sequence: raw.sequence,
        window: raw.window,
    })
}

impl GateDecision {
    /// Makes the attention causal, with this window or the one it had if that is narrower. The op has an alignment.
    /// An error in tier 3, where there is nothing to run.
    pub fn apply(&self, op: &mut AttentionOp<'_>) -> Result<()> {
        let raw = sys::sage_gate_decision {
            verdict: self.verdict.code(),
            tier: self.tier,
            drop_ratio_q15: self.drop_ratio_q15,
            layers: self.layers,
            sequence: self.sequence,
            window: self.window,
            ..Default::default()
        };
        let attributes = op.attributes_mut();
        attributes.struct_size = size_of::<sys::sage_attention_attributes>() as u32;
        check(|error| unsafe { sys::sage_gate_apply(&raw, attributes, error) })
    }
}

fn raw_policy(policy: &GatePolicy) -> sys::sage_gate_policy {
    let tier = |tier: &GateTier| sys::sage_gate_tier {
        layers: tier.layers,
        sequence: tier.sequence,
        window: tier.window,
        reserved: 0,
    };
    sys::sage_gate_policy {
        lambda_min: policy.lambda_min,
        drop_ratio_q15_max: policy.drop_ratio_q15_max,
        boundary_edges_max: policy.boundary_edges_max,
        boundary_concentration_q15_max: policy.boundary_concentration_q15_max,
        partitions_max: policy.partitions_max,
        spike_rate_q15_max: policy.spike_rate_q15_max,
        normal: tier(&policy.normal),
        reduced: tier(&policy.reduced),
        safe: tier(&policy.safe),
        ..Default::default()
    }
}
