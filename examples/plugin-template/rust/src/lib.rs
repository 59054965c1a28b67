//! simple_rust: a whole backend in Rust: attention in f32 with scale, causal masks, grouped heads, LSE and any
//! strides. Copy it, rename it, replace `attend`. What it does not serve it refuses with a sentence, which is the
//! better half of a backend.
//!
//! Everything the host calls is at the end of this file, wrapped by `guard`: no panic leaves it. The declarations of
//! the ABI are in abi.rs; the twin of this backend in C is in ../c.
mod abi;

use abi::*;
use std::os::raw::{c_char, c_void};
use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

const SERVED: u64 = F_SCALE | F_GQA | F_CAUSAL | F_BOTTOM_RIGHT | F_LSE | F_DV_DIFFERS | F_HV_DIFFERS;
const Q: usize = 0;
const K: usize = 1;

/// One per engine. The host's table lives as long.
pub struct Instance {
    host: &'static Host,
}

/// An op that is served, and all that a run needs of it.
pub struct Plan {
    host: &'static Host,
    features: u64,
    scale: f64,
    /// In use: Q, K, V, O and perhaps LSE.
    slots: usize,
    tensors: [Tensor; 5],
    workspace_bytes: u64,
}

/// Why not: the feature bits at fault, and a sentence.
struct No {
    blocking: u64,
    why: &'static str,
}
impl From<&'static str> for No {
    fn from(why: &'static str) -> No {
        No { blocking: 0, why }
    }
}

/// Every refusal, in the order of checking. Shapes, dtypes and slots of an op were checked by the host before it
/// asks; what is left is what this backend can do.
unsafe fn serve(host: &'static Host, theirs: *const Op) -> Result<Plan, No> {
    let op = take_in(theirs).ok_or("the op has a field newer than this backend")?;
    if op.kind != OP_ATTENTION {
        return Err("it serves attention only".into());
    }
    let attributes = match op.attributes.is_null() {
        true => zeroed(),
        false => take_in(op.attributes).ok_or("the attributes have a field newer than this backend")?,
    };
    let features = host.attention_features(theirs).ok_or("its features cannot be told")?;
    if features & !SERVED != 0 {
        return Err(No { blocking: features & !SERVED, why: "it serves scale, causal masks and grouped heads only" });
    }
    if op.requirements & !(REQUIRE_DETERMINISTIC | REQUIRE_SCALAR) != 0 {
        return Err("it has no stream".into());
    }
    if op.dynamic_axes != 0 || op.aliases != 0 {
        return Err("its shapes are fixed, and it writes nothing in place".into());
    }
    if attributes.algorithm == ALGORITHM_FLASH || attributes.block != [0, 0] {
        return Err("it keeps whole rows of scores and has no tiles".into());
    }
    let slots = if features & F_LSE != 0 { 5 } else { 4 };
    let mut tensors = [zeroed(); 5];
    for (slot, tensor) in tensors.iter_mut().enumerate().take(slots) {
        *tensor = slot_of(op.slots, op.num_slots, slot)
            .ok_or("a tensor is missing or has a field newer than this backend")?;
        if tensor.dtype != F32 || tensor.device_type > CPU {
            return Err("it serves f32 in CPU memory only".into());
        }
    }
    let keys = tensors[K].shape[2] as u64;
    let workspace_bytes =
        keys.checked_mul(8 * u64::from(host.num_workers)).ok_or("a row of its scores fits no memory")?;
    let scale = if features & F_SCALE != 0 { attributes.scale } else { 1.0 / (tensors[Q].shape[3] as f64).sqrt() };
    Ok(Plan { host, features, scale, slots, tensors, workspace_bytes })
}

unsafe fn slot_of(slots: *const *const Tensor, count: u32, slot: usize) -> Option<Tensor> {
    if slots.is_null() || slot >= count as usize {
        return None;
    }
    take_in(*slots.add(slot))
}

impl Tensor {
    /// Data may lie at any byte address, and strides may be 0 or negative.
    unsafe fn at(&self, index: [i64; 4]) -> *mut f32 {
        let elements: i64 = index.iter().zip(self.stride).map(|(index, stride)| index * stride).sum();
        self.data.offset(4 * elements as isize) as *mut f32
    }
    unsafe fn read(&self, index: [i64; 4]) -> f64 {
        self.at(index).read_unaligned().into()
    }
    unsafe fn write(&self, index: [i64; 4], value: f64) {
        self.at(index).write_unaligned(value as f32)
    }
    fn is_as(&self, planned: &Tensor) -> bool {
        let empty = planned.shape[..planned.rank as usize].contains(&0);
        (self.dtype, self.rank, self.shape, self.stride) == (planned.dtype, planned.rank, planned.shape, planned.stride)
            && (empty || !self.data.is_null())
    }
}

/// One run: what its tasks share.
struct Job<'a> {
    plan: &'a Plan,
    tensors: [Tensor; 5],
    workspace: *mut f64,
    run: *mut c_void,
    panicked: AtomicBool,
}

impl Job<'_> {
    /// Query row `n` of all batches and heads, with room for a row of scores.
    unsafe fn attend(&self, n: i64, scores: &mut [f64]) {
        let [q, k, v, o, lse] = &self.tensors;
        let (heads, rows, keys) = (q.shape[1], q.shape[2], k.shape[2]);
        let (batch, head, i) = (n / (heads * rows), n / rows % heads, n % rows);
        let (k_head, v_head) = (head / (heads / k.shape[1]), head / (heads / v.shape[1]));
        let shift = if self.plan.features & F_BOTTOM_RIGHT != 0 { keys - rows } else { 0 };
        let visible = if self.plan.features & F_CAUSAL != 0 { (i + shift + 1).clamp(0, keys) } else { keys };

        let scores = &mut scores[..visible as usize];
        for (key, score) in (0..).zip(scores.iter_mut()) {
            let dot: f64 = (0..q.shape[3]).map(|d| q.read([batch, head, i, d]) * k.read([batch, k_head, key, d])).sum();
            *score = dot * self.plan.scale;
        }
        // NaN wins, as in every softmax of the engine.
        let top = scores.iter().fold(f64::NEG_INFINITY, |top, &s| if s > top || s.is_nan() { s } else { top });
        for score in scores.iter_mut() {
            *score = if top == f64::NEG_INFINITY { 0.0 } else { (*score - top).exp() };
        }
        let sum: f64 = scores.iter().sum();
        for d in 0..v.shape[3] {
            let total: f64 = (0..).zip(scores.iter()).map(|(key, p)| p * v.read([batch, v_head, key, d])).sum();
            o.write([batch, head, i, d], if sum == 0.0 { 0.0 } else { total / sum });
        }
        if self.plan.features & F_LSE != 0 {
            lse.write([batch, head, i, 0], if sum == 0.0 { f64::NEG_INFINITY } else { top + sum.ln() });
        }
    }
}

/// Rows [begin,end); `worker` has a row of the workspace for itself. What it must say goes through the job.
unsafe extern "C" fn task(context: *mut c_void, begin: u64, end: u64, worker: u32) {
    let job = &*(context as *const Job);
    let done = guard(ptr::null_mut(), || {
        let keys = job.plan.tensors[K].shape[2] as usize;
        let scores = match keys {
            0 => &mut [],
            _ => std::slice::from_raw_parts_mut(job.workspace.add(worker as usize * keys), keys),
        };
        for row in begin..end {
            if job.plan.host.cancelled(job.run) {
                break;
            }
            job.attend(row as i64, scores);
        }
        Ok(())
    });
    if done != OK {
        job.panicked.store(true, Ordering::Relaxed);
    }
}

// ---- what the host calls ----

unsafe extern "C" fn probe(_: *const Host, _: i32, count: *mut u32, out: *mut Answer, error: *mut Error) -> i32 {
    guard(error, || {
        *count = 1;
        give_out(out, &yes(0.0, 0, "runs on any processor"));
        Ok(())
    })
}

unsafe extern "C" fn create(
    host: *const Host,
    _device: i32,
    options: *const c_char,
    out: *mut *mut Instance,
    error: *mut Error,
) -> i32 {
    guard(error, || {
        // A plugin prints nothing. This is the hook of the plugin's own copy of Rust, not of the program it is loaded
        // into.
        std::panic::set_hook(Box::new(|_| {}));
        *out = ptr::null_mut();
        if !options.is_null() && *options != 0 {
            return Err(fail(error, E_INVALID_ARGUMENT, "simple_rust has no options"));
        }
        let host: &'static Host = &*host;
        *out = host.place(Instance { host }, error)?;
        Ok(())
    })
}

unsafe extern "C" fn destroy(instance: *mut Instance) {
    (*instance).host.free(instance)
}

fn yes(cost_ns: f64, workspace_bytes: u64, reason: &str) -> Answer {
    let (cost_source, accuracy) = (1, ACCURACY_EXACT); // a rule of thumb; sums are in f64
    Answer { verdict: 1, cost_ns, cost_source, accuracy, workspace_bytes, reason: sentence(reason), ..zeroed() }
}

unsafe extern "C" fn ask(instance: *mut Instance, op: *const Op, out: *mut Answer, error: *mut Error) -> i32 {
    guard(error, || {
        let answer = match serve((*instance).host, op) {
            Err(no) => Answer { blocking: no.blocking, reason: sentence(no.why), ..zeroed() },
            Ok(plan) => {
                let [q, k, v, ..] = &plan.tensors;
                let pairs: f64 = q.shape[..3].iter().chain(&k.shape[2..3]).map(|&length| length as f64).product();
                let cost = 1000.0 + pairs * (q.shape[3] + v.shape[3] + 10) as f64;
                yes(cost, plan.workspace_bytes, "rows of scores in f64, one after the other")
            }
        };
        give_out(out, &answer);
        Ok(())
    })
}

unsafe extern "C" fn plan(
    instance: *mut Instance,
    op: *const Op,
    _like: *const Plan,
    out: *mut *mut Plan,
    info: *mut PlanInfo,
    error: *mut Error,
) -> i32 {
    guard(error, || {
        *out = ptr::null_mut();
        let host = (*instance).host;
        let plan = serve(host, op).map_err(|no| fail(error, E_UNSUPPORTED, &format!("simple_rust: {}", no.why)))?;
        give_out(info, &PlanInfo { workspace_bytes: plan.workspace_bytes, ..zeroed() });
        *out = host.place(plan, error)?;
        Ok(())
    })
}

unsafe extern "C" fn plan_destroy(plan: *mut Plan) {
    (*plan).host.free(plan)
}

unsafe extern "C" fn run(plan: *const Plan, args: *const RunArgs, error: *mut Error) -> i32 {
    guard(error, || {
        let (plan, invalid) = (&*plan, |text: &str| Err(fail(error, E_INVALID_ARGUMENT, text)));
        let args = match take_in(args) {
            Some(args) => args,
            None => return invalid("simple_rust: the run has a field newer than this backend"),
        };
        let mut tensors = [zeroed(); 5];
        for (slot, (tensor, planned)) in tensors.iter_mut().zip(&plan.tensors).enumerate().take(plan.slots) {
            match slot_of(args.slots, args.num_slots, slot) {
                Some(given) if given.is_as(planned) => *tensor = given,
                _ => return invalid(&format!("simple_rust: slot {slot} is not as planned")),
            }
        }
        if args.workspace_bytes < plan.workspace_bytes {
            return invalid("simple_rust: the workspace is too small");
        }
        let rows = tensors[Q].shape[..3].iter().product::<i64>() as u64;
        let (workspace, panicked) = (args.workspace as *mut f64, AtomicBool::new(false));
        let job = Job { plan, tensors, workspace, run: args.run, panicked };
        plan.host.parallel_for(rows, 4, task, &job);
        if job.panicked.load(Ordering::Relaxed) {
            return Err(fail(error, E_INTERNAL, "simple_rust: a task panicked"));
        }
        if plan.host.cancelled(args.run) {
            return Err(fail(error, E_CANCELLED, "simple_rust: cancelled"));
        }
        Ok(())
    })
}

static TABLE: Plugin = Plugin {
    struct_size: std::mem::size_of::<Plugin>() as u32,
    abi_major: ABI_MAJOR,
    abi_minor: ABI_MINOR,
    abi_minor_min: 0,
    name: b"simple_rust\0".as_ptr() as *const c_char,
    version: b"0.1.0\0".as_ptr() as *const c_char,
    build: b"an example\0".as_ptr() as *const c_char,
    foreign_threads: ptr::null(),
    kinds: 1 << OP_ATTENTION,
    features: SERVED,
    device_type: CPU,
    reserved: 0,
    probe,
    create,
    destroy,
    device: ptr::null(),
    ask,
    plan,
    plan_destroy,
    run,
};

/// The one symbol a plugin exports.
#[no_mangle]
pub extern "C" fn sage_plugin_query_v1(host_major: u32, _host_minor: u32) -> *const Plugin {
    if host_major == ABI_MAJOR {
        &TABLE
    } else {
        ptr::null()
    }
}
