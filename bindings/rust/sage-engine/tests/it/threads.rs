//! Who may be where: shared engines and plans, moved sessions, runs that are stopped from elsewhere.
use crate::{numbers, METABOLIC};
use sage_engine::*;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

fn shared<T: Send + Sync>() {}
fn moved<T: Send>() {}

#[test]
fn the_header_s_thread_rules_are_the_types() {
    shared::<Engine>();
    shared::<Model>();
    shared::<AttentionPlan>();
    shared::<Options>();
    shared::<CancelHandle>();
    shared::<Error>();
    shared::<TensorView<'static>>();
    moved::<Session>();
    moved::<AttentionContext>();
    moved::<AttentionOp<'static>>();
    fn clone<T: Clone>() {}
    clone::<CancelHandle>();
}

#[test]
fn one_engine_and_one_plan_serve_two_threads() {
    let engine = Engine::with_options(&Options::new().set("threads", 2)).unwrap();
    let view = TensorView::describe(Dtype::F32, &[1, 1, 16, 8]).unwrap();
    let op = AttentionOp::new(view, view, view, TensorViewMut::describe(Dtype::F32, &[1, 1, 16, 8]).unwrap());
    let plan = engine.plan(&op).unwrap();
    let data = numbers(128, 1);
    let answer = || -> Vec<f32> {
        let mut o = vec![0f32; 128];
        let mut context = plan.context().unwrap();
        let shape = AttentionShape { seq_q: 16, seq_kv: 16, dim_qk: 8, ..Default::default() };
        for _ in 0..50 {
            let view = TensorView::new(&data, &[1, 1, 16, 8]).unwrap();
            let out = TensorViewMut::new(&mut o, &[1, 1, 16, 8]).unwrap();
            context.run(&mut AttentionOp::new(view, view, view, out)).unwrap();
            let planned = o.clone();
            engine.attention(&shape, &data, &data, &data, &mut o).unwrap();
            assert_eq!(o, planned);
        }
        o
    };
    let (one, two) = std::thread::scope(|threads| {
        let other = threads.spawn(answer);
        (answer(), other.join().unwrap())
    });
    assert_eq!(one, two);
}

#[test]
fn a_session_moves_and_its_model_and_engine_may_be_gone() {
    let model = Model::from_bytes(&Engine::new().unwrap(), METABOLIC, None).unwrap();
    let mut session = Session::new(&model).unwrap();
    drop(model);
    let state = std::thread::spawn(move || {
        session.tick(r#"{"ts":1,"targets":[{"id":"door","salience":0.9}]}"#).unwrap().state()
    });
    assert_eq!(state.join().unwrap(), Some(MetabolicState::Focus));
}

#[test]
fn a_run_is_stopped_from_another_thread_and_the_next_one_is_not() {
    let engine = Engine::with_options(&Options::new().set("threads", 1)).unwrap();
    let shape = [1, 4, 2048, 64];
    let (input, mut output) = (vec![0f64; 4 * 2048 * 64], vec![0f64; 4 * 2048 * 64]);
    let view = TensorView::new(&input, &shape).unwrap();
    let mut op = AttentionOp::new(view, view, view, TensorViewMut::new(&mut output, &shape).unwrap());
    let plan = engine.plan_with(&op, &Options::new().set("backend", "reference")).unwrap();
    let mut context = plan.context().unwrap();
    let (stop, done) = (context.cancel_handle(), AtomicBool::new(false));
    let begin = Instant::now();
    let result = std::thread::scope(|threads| {
        threads.spawn(|| {
            while !done.load(SeqCst) {
                stop.clone().cancel();
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let result = context.run(&mut op);
        done.store(true, SeqCst);
        result
    });
    assert_eq!(result.unwrap_err().status(), Status::Cancelled);
    assert!(begin.elapsed() < Duration::from_secs(20));
    drop(context);
    stop.cancel(); // nobody is there: nothing happens
    assert!(format!("{stop:?}").contains("open: false"));

    let data = numbers(32, 1);
    let mut o = [0f32; 32];
    let view = TensorView::new(&data, &[1, 1, 4, 8]).unwrap();
    let mut small = AttentionOp::new(view, view, view, TensorViewMut::new(&mut o, &[1, 1, 4, 8]).unwrap());
    let mut context = engine.plan(&small).unwrap().context().unwrap();
    context.cancel_handle().cancel(); // between runs
    context.run(&mut small).unwrap();
}
