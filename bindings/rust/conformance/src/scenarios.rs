//! What a line of text cannot say: callbacks, threads, orders of closing.
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;
use std::time::Duration;

use sage_engine::{
    status_name, Align, AttentionContext, AttentionOp, AttentionPlan, AttentionShape, Element, ElementMut, Engine,
    Model, ModelKind, Options, Result, Session, TensorView, TensorViewMut,
};

use crate::case::{is_json_with, Case};
use crate::text::{hash_of, Transcript};

/// What a panic of this runner's callbacks says.
pub const ON_PURPOSE: &str = "on purpose";

pub fn run(case: &mut Case, name: &str, out: &mut Transcript) {
    let line = match name {
        "versions" => versions(),
        "status_names" => (0..16).map(status_name).collect::<Vec<_>>().join(" "),
        "backends" => backends(),
        "free_orders" => format!("free_orders {}", free_orders(case)),
        "closed" => closed(),
        "log" | "log_throws" => log(case, name == "log_throws"),
        "cancel_callback" => format!("{name} {}", cancel_callback(|| true)),
        "cancel_throws" => format!("{name} {}", cancel_callback(|| panic!("{ON_PURPOSE}"))),
        "cancel_thread" => format!("cancel_thread {}", cancel_thread()),
        "wrong_major" => {
            let loaded = engine(&Options::new()).load_plugin(case.plugin);
            refused(name, loaded, case.plugin)
        }
        "missing_model" => {
            let path = case.path("missing.fbs");
            refused(name, Model::load(&engine(&Options::new()), &path), &path.to_string_lossy())
        }
        "native" => return native(case, out),
        "zero_copy" => zero_copy(case),
        "denormals" => denormals(),
        _ => panic!("a scenario that this runner does not know: {name}"),
    };
    case.say(out, &line);
}

fn engine(options: &Options) -> Engine {
    Engine::with_options(options).expect("an engine")
}

fn status<T>(result: &Result<T>) -> &'static str {
    result.as_ref().map_or_else(|error| error.status().name(), |_| status_name(0))
}

fn versions() -> String {
    assert!(!sage_engine::build_info().is_empty());
    let (major, minor) = sage_engine::abi_version();
    format!("abi {major}.{minor} version {}", sage_engine::version())
}

fn backends() -> String {
    let engine = engine(&Options::new());
    let described = engine.describe().expect("a description");
    let names = engine.backends().into_iter().filter(|name| is_json_with(&described, name));
    std::iter::once("backends".to_string()).chain(names).collect::<Vec<_>>().join(" ")
}

/// f32 or f64 `[1,heads,sequence,dim]`, all zero, q, k and v one array.
fn op<'a, T: Element + ElementMut>(input: &'a [T], output: &'a mut [T], shape: [usize; 4]) -> AttentionOp<'a> {
    let view = TensorView::new(input, &shape).expect("a view");
    AttentionOp::new(view, view, view, TensorViewMut::new(output, &shape).expect("a view"))
}

const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

fn free_orders(case: &Case) -> usize {
    let good = |order: &[usize; 3]| -> usize {
        usize::from(model_in_order(case, order).is_ok()) + usize::from(plan_in_order(order).is_ok())
    };
    ORDERS.iter().map(good).sum()
}

/// Drops number `which` of three that are still there.
fn close<A, B, C>(which: usize, a: &mut Option<A>, b: &mut Option<B>, c: &mut Option<C>) {
    match which {
        0 => drop(a.take()),
        1 => drop(b.take()),
        _ => drop(c.take()),
    }
}

fn model_in_order(case: &Case, order: &[usize; 3]) -> Result<()> {
    let mut engine = Some(Engine::new()?);
    let mut model = Some(Model::load(engine.as_ref().expect("open"), case.path("metabolic.fbs"))?);
    let mut session = Some(Session::new(model.as_ref().expect("open"))?);
    for &which in order {
        assert!(engine.as_ref().map_or(true, |engine: &Engine| !engine.backends().is_empty()));
        assert!(model.as_ref().map_or(true, |model: &Model| model.kind() == ModelKind::Metabolic));
        if let Some(session) = &mut session {
            session.tick(r#"{"ts":1,"targets":[{"id":"door","salience":0.9}]}"#)?;
        }
        close(which, &mut engine, &mut model, &mut session);
    }
    Ok(())
}

fn plan_in_order(order: &[usize; 3]) -> Result<()> {
    let (input, mut output) = ([0f32; 32], [0f32; 32]);
    let mut op = op(&input, &mut output, [1, 1, 4, 8]);
    let mut engine = Some(Engine::new()?);
    let mut plan = Some(engine.as_ref().expect("open").plan(&op)?);
    let mut context: Option<AttentionContext> = Some(plan.as_ref().expect("open").context()?);
    for &which in order {
        assert!(engine.as_ref().map_or(true, |engine: &Engine| !engine.backends().is_empty()));
        assert!(plan.as_ref().map_or(true, |plan: &AttentionPlan| !plan.backend().is_empty()));
        if let Some(context) = &mut context {
            context.run(&mut op)?;
        }
        close(which, &mut engine, &mut plan, &mut context);
    }
    Ok(())
}

/// Closing twice and using what is closed do not compile in Rust: doc tests of the crate hold that. What is left for
/// run time is a cancel handle, which may outlive what it cancels.
fn closed() -> String {
    let (input, mut output) = ([0f32; 32], [0f32; 32]);
    let op = op(&input, &mut output, [1, 1, 4, 8]);
    let stop = engine(&Options::new()).plan(&op).and_then(|plan| plan.context()).expect("a context").cancel_handle();
    stop.cancel();
    "closed 5".to_string()
}

fn log(case: &Case, panics: bool) -> String {
    let lines = Arc::new(AtomicUsize::new(0));
    let counter = lines.clone();
    let options = Options::new().set("log_level", "debug").log(move |_, _| {
        counter.fetch_add(1, Ordering::Relaxed);
        if panics {
            panic!("{ON_PURPOSE}");
        }
    });
    let loaded = engine(&options).load_plugin(case.plugin);
    match panics {
        true => format!("log_throws {}", status(&loaded)),
        false if lines.load(Ordering::Relaxed) > 0 => "log called".to_string(),
        false => "log silent".to_string(),
    }
}

fn cancel_callback(answer: impl Fn() -> bool + Send + Sync + 'static) -> &'static str {
    let (input, mut output) = ([0f32; 512], [0f32; 512]);
    let mut op = op(&input, &mut output, [1, 1, 64, 8]);
    let plan = engine(&Options::new()).plan_with(&op, &Options::new().cancel(answer)).expect("a plan");
    let mut context = plan.context().expect("a context");
    status(&context.run(&mut op))
}

fn cancel_thread() -> &'static str {
    let (input, mut output) = (vec![0f64; 4 * 2048 * 64], vec![0f64; 4 * 2048 * 64]);
    let mut op = op(&input, &mut output, [1, 4, 2048, 64]);
    let options = Options::new().set("backend", "reference");
    let mut context =
        engine(&Options::new()).plan_with(&op, &options).and_then(|plan| plan.context()).expect("a context");
    let (stop, done) = (context.cancel_handle(), AtomicBool::new(false));
    std::thread::scope(|threads| {
        threads.spawn(|| {
            while !done.load(Ordering::Acquire) {
                stop.cancel();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let result = context.run(&mut op);
        done.store(true, Ordering::Release);
        status(&result)
    })
}

fn refused<T>(name: &str, result: Result<T>, path: &str) -> String {
    let named = result.as_ref().err().map_or(false, |error| error.message().contains(path));
    format!("{name} {} {}", status(&result), if named { "named" } else { "not named" })
}

fn native(case: &Case, out: &mut Transcript) {
    let values =
        |step: usize| -> Vec<f32> { (0..2 * 33 * 16).map(|n| ((n * step % 31) as i32 - 15) as f32 / 8.0).collect() };
    let (q, k, v) = (values(7), values(5), values(3));
    let shape = AttentionShape {
        heads_q: 2,
        heads_kv: 2,
        seq_q: 33,
        seq_kv: 33,
        dim_qk: 16,
        causal: Some(Align::TopLeft),
        ..Default::default()
    };
    let outputs = [1, 2].map(|threads| {
        let mut o = vec![0f32; q.len()];
        engine(&Options::new().set("threads", threads)).attention(&shape, &q, &k, &v, &mut o).expect("attention");
        o.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>()
    });
    case.say(out, &format!("native {}", hash_of(&outputs[0])));
    case.say(out, if outputs[0] == outputs[1] { "threads equal" } else { "threads differ" });
}

fn zero_copy(case: &Case) -> String {
    let model = Model::load(&engine(&Options::new()), case.path("op_graph.fbs")).expect("the model");
    let mut session = Session::with_options(&model, &Options::new().set("trace", true)).expect("a session");
    let shapes = [[1, 2, 3, 4], [1, 1, 5, 4], [1, 1, 5, 4]];
    for (index, shape) in shapes.iter().enumerate() {
        session.bind_input(index as u32, vec![0f32; shape.iter().product()], shape).expect("an input is bound");
    }
    session.bind_output(0, vec![0f32; 24], &shapes[0]).expect("an output is bound");
    for _ in 0..2 {
        session.run().expect("a run");
    }
    let trace = session.trace().expect("a trace");
    let counter = trace.split("\"bytes_copied\":").nth(1).expect("the trace has the counter");
    format!("zero_copy {}", counter.split(|c: char| !c.is_ascii_digit()).next().unwrap_or(""))
}

fn denormals() -> String {
    // Read through pointers, so that the product is computed when it runs.
    let (small, half) = (1e-39f32, 0.5f32);
    let product = unsafe { std::ptr::read_volatile(&small) * std::ptr::read_volatile(&half) };
    if product != 0.0 { "denormals kept" } else { "denormals lost" }.to_string()
}
