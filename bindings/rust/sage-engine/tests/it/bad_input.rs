//! What is wrong is an `Err` with the library's words, or with this crate's where only it can see it.
use crate::{numbers, METABOLIC, OP_GRAPH};
use sage_engine::*;

/// The status and whether the message has those words.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T>, status: Status, words: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.status(), status, "{error}");
    assert!(error.message().contains(words), "{error}\nhas not: {words}");
}

#[test]
fn arrays_of_another_length_never_reach_the_library() {
    let engine = Engine::new().unwrap();
    let shape = AttentionShape { seq_q: 2, seq_kv: 3, dim_qk: 4, ..Default::default() };
    let (q, k, v) = ([0f32; 8], [0f32; 12], [0f32; 12]);
    let mut o = [0f32; 8];
    engine.attention(&shape, &q, &k, &v, &mut o).unwrap();
    refused(engine.attention(&shape, &q[..7], &k, &v, &mut o), Status::InvalidArgument, "q has 7 elements");
    refused(engine.attention(&shape, &q, &k[..8], &v, &mut o), Status::InvalidArgument, "k has 8 elements");
    refused(engine.attention(&shape, &q, &k, &[], &mut o), Status::InvalidArgument, "v has 0 elements");
    refused(engine.attention(&shape, &q, &k, &v, &mut o[..4]), Status::InvalidArgument, "o has 4 elements");
    let huge = AttentionShape { batch: usize::MAX / 2, heads_q: 4, ..shape };
    refused(engine.attention(&huge, &q, &k, &v, &mut o), Status::InvalidArgument, "q has 8 elements");
    let bytes = engine.attention_bytes(Dtype::F32, &shape, &[0; 33], &[0; 48], &[0; 48], &mut [0; 32]);
    refused(bytes, Status::InvalidArgument, "q has 33 bytes of f32; [batch, heads, sequence, dim] are [1, 1, 2, 4]");
    // An overflow that comes to the right number is one all the same.
    let wraps = AttentionShape { batch: 1 << 63, heads_q: 2, heads_kv: 2, seq_q: 1, seq_kv: 1, dim_qk: 1, ..shape };
    refused(engine.attention::<f32>(&wraps, &[], &[], &[], &mut []), Status::InvalidArgument, "q has 0 elements");
}

#[test]
fn the_library_s_own_refusals_come_through() {
    let engine = Engine::new().unwrap();
    let shape = AttentionShape { heads_q: 3, heads_kv: 2, ..Default::default() };
    let error = engine.attention(&shape, &[0f32; 3], &[0.0; 2], &[0.0; 2], &mut [0.0; 3]).unwrap_err();
    assert_eq!(error.status(), Status::InvalidArgument);
    assert!(!error.message().is_empty() && error.to_string().starts_with("SAGE_E_INVALID_ARGUMENT: "));
    refused(Engine::with_options(&Options::new().set("no_such_key", 1)), Status::InvalidArgument, "no_such_key");
    refused(Engine::with_options(&Options::new().set("threads", "many")), Status::InvalidArgument, "many");
    refused(Engine::with_options(&Options::new().set("thre\0ads", 1)), Status::InvalidArgument, "NUL");
    refused(engine.load_plugin("/nowhere/libsage_none.so"), Status::NotFound, "/nowhere/libsage_none.so");
    refused(Model::load(&engine, "/nowhere/at/all.fbs"), Status::NotFound, "/nowhere/at/all.fbs");
    refused(Model::load(&engine, "a\0b"), Status::InvalidArgument, "NUL");
    refused(Model::from_bytes(&engine, b"not a model", None), Status::BadData, "");
    refused(Model::from_bytes(&engine, &[], None), Status::BadData, "");
    refused(mincut_mask(3, 4), Status::InvalidArgument, "");
    refused(mincut_mask(usize::MAX, 4), Status::InvalidArgument, "");
    refused(mincut_csr(8, 2, 0, 1), Status::InvalidArgument, "");
    refused(gate_decide(&GatePacket { flags: 64, ..Default::default() }, None), Status::UnknownField, "");
}

#[test]
fn a_plan_refuses_what_contradicts_itself_or_nobody_serves() {
    let engine = Engine::new().unwrap();
    let shape = [1, 1, 4, 8];
    let f32s = TensorView::describe(Dtype::F32, &shape).unwrap();
    let out = || TensorViewMut::describe(Dtype::F32, &shape).unwrap();
    let other = TensorView::describe(Dtype::F32, &[1, 1, 4, 9]).unwrap();
    refused(engine.plan(&AttentionOp::new(f32s, other, f32s, out())), Status::InvalidArgument, "");
    let doubles = TensorView::describe(Dtype::F64, &shape).unwrap();
    assert!(engine.plan(&AttentionOp::new(f32s, doubles, doubles, out())).is_err());
    let mut unaligned = AttentionOp::new(f32s, f32s, f32s, out());
    refused(engine.plan(unaligned.window(Some(1), None)), Status::InvalidArgument, "align");
    refused(engine.plan(&AttentionOp::empty()), Status::InvalidArgument, "");
    let plain = AttentionOp::new(f32s, f32s, f32s, out());
    assert!(engine.plan_with(&plain, &Options::new().set("backend", "nobody")).is_err());
    refused(Slot::from_index(28), Status::InvalidArgument, "no slot 28");
    let mut odd = AttentionOp::new(f32s, f32s, f32s, out());
    odd.attributes_mut().struct_size = u32::MAX; // set right again before the library reads it
    engine.plan(&odd).unwrap();
}

#[test]
fn a_run_refuses_what_was_not_planned() {
    let engine = Engine::new().unwrap();
    let (data, mut o) = (numbers(32, 1), [0f32; 32]);
    let view = TensorView::new(&data, &[1, 1, 4, 8]).unwrap();
    let shape = [1, 1, 4, 8];
    let mut op = AttentionOp::new(view, view, view, TensorViewMut::new(&mut o, &shape).unwrap());
    let mut context = engine.plan(&op).unwrap().context().unwrap();
    context.run(&mut op).unwrap();
    // Another shape, strides, type; no memory; a slot too many.
    let shorter = TensorView::new(&data[..16], &[1, 1, 2, 8]).unwrap();
    refused(context.run(op.slot(Slot::K, shorter)), Status::InvalidArgument, "");
    let transposed = TensorView::strided(&data, &shape, &[32, 32, 1, 4], 0).unwrap();
    refused(context.run(op.slot(Slot::K, transposed)), Status::InvalidArgument, "stride");
    let words = [0i32; 32];
    refused(context.run(op.slot(Slot::K, TensorView::new(&words, &shape).unwrap())), Status::InvalidArgument, "i32");
    let described = TensorView::describe(Dtype::F32, &shape).unwrap();
    refused(context.run(op.slot(Slot::K, described)), Status::InvalidArgument, "no data");
    op.slot(Slot::K, view).bias(TensorView::describe(Dtype::F32, &[1, 1, 4, 4]).unwrap());
    refused(context.run(&mut op), Status::InvalidArgument, "");
}

#[test]
fn memory_that_was_lent_for_reading_is_not_written() {
    let engine = Engine::new().unwrap();
    let (data, used) = (numbers(32, 1), [2i32]);
    let view = TensorView::new(&data, &[1, 1, 4, 8]).unwrap();
    let one = TensorView::new(&data[..8], &[1, 1, 1, 8]).unwrap();
    let mut op = AttentionOp::empty();
    op.slot(Slot::Q, view).slot(Slot::K, view).slot(Slot::V, view).slot(Slot::O, view);
    refused(engine.plan(&op), Status::InvalidArgument, "O is written, and its memory is read-only");
    let mut o = [0f32; 32];
    op.slot_mut(Slot::O, TensorViewMut::new(&mut o, &[1, 1, 4, 8]).unwrap());
    let mut context = engine.plan(&op).unwrap().context().unwrap();
    refused(context.run(op.slot(Slot::O, view)), Status::InvalidArgument, "its memory is read-only: O");

    // Planned as a cache, run with one that may only be read: the plan knows what it writes.
    let (mut k, mut v, mut o) = (data.clone(), data.clone(), [0f32; 8]);
    let mut cache = AttentionOp::empty();
    let views = [&mut k, &mut v].map(|data| TensorViewMut::new(data, &[1, 1, 4, 8]).unwrap());
    let [cache_k, cache_v] = views;
    cache.slot(Slot::Q, one).slot_mut(Slot::O, TensorViewMut::new(&mut o, &[1, 1, 1, 8]).unwrap());
    cache.append(cache_k, cache_v, one, one).kv_lengths(TensorView::new(&used, &[1]).unwrap());
    let mut context = engine.plan(&cache).unwrap().context().unwrap();
    cache.slot(Slot::V, view).aliases(0);
    refused(context.run(&mut cache), Status::InvalidArgument, "its memory is read-only: V");
}

#[test]
fn sessions_refuse_wrong_types_shapes_and_places() {
    let engine = Engine::new().unwrap();
    let model = Model::from_bytes(&engine, OP_GRAPH, None).unwrap();
    let mut session = Session::new(&model).unwrap();
    assert!(session.run().is_err(), "no inputs yet");
    refused(session.set_input(0, &[0f64; 24], &[1, 2, 3, 4]), Status::InvalidArgument, "");
    refused(session.set_input(0, &[0f32; 24], &[1, 2, 4, 4]), Status::InvalidArgument, "");
    refused(session.set_input(0, &[0f32; 30], &[1, 2, 3, 5]), Status::InvalidArgument, "");
    refused(session.set_input(7, &[0f32; 24], &[1, 2, 3, 4]), Status::NotFound, "");
    refused(session.set_input(0, &[0f32; 24], &[1; 9]), Status::InvalidArgument, "9 axes");
    refused(session.bind_input(0, vec![0f32; 23], &[1, 2, 3, 4]), Status::InvalidArgument, "");
    refused(session.bind_output(5, vec![0f32; 24], &[1, 2, 3, 4]), Status::NotFound, "");
    refused(session.bound_input::<f32>(0), Status::InvalidArgument, "not bound");
    refused(session.unbind_output::<f32>(0), Status::InvalidArgument, "not bound");
    session.bind_input(0, vec![0f32; 24], &[1, 2, 3, 4]).unwrap();
    refused(session.bound_input::<f64>(0), Status::InvalidArgument, "elements of f32; f64 was asked for");
    refused(session.output::<f32>(3), Status::NotFound, "");
    refused(session.tick("{}"), Status::Unsupported, "sage_session_run");

    let ticking = Model::from_bytes(&engine, METABOLIC, None).unwrap();
    let mut ticking = Session::new(&ticking).unwrap();
    refused(ticking.run(), Status::Unsupported, "sage_session_tick");
    refused(ticking.restore(b"no snapshot"), Status::BadData, "");
    refused(ticking.tick("{\"ts\":"), Status::BadData, "");
    assert!(ticking.decision().unwrap().is_error());
    refused(Session::with_options(&model, &Options::new().set("thread", 1)), Status::InvalidArgument, "thread");
}

/// A run of 2 queries over a small K and V with these two slots of indices.
fn with_indices(kv: [usize; 4], first: (Slot, &[i32]), second: (Slot, &[i32]), varlen: bool) -> Result<()> {
    let (data, mut o) = (numbers(kv.iter().product(), 3), [0f32; 16]);
    let shape: &[usize] = if varlen { &[2, 1, 8] } else { &[2, 1, 1, 8] };
    let kv: &[usize] = if varlen { &kv[1..] } else { &kv };
    let query = TensorView::new(&data[..16], shape)?;
    let keys = TensorView::new(&data, kv)?;
    let mut op = AttentionOp::new(query, keys, keys, TensorViewMut::new(&mut o, shape)?);
    for (slot, indices) in [first, second] {
        let shape = if slot == Slot::BlockTable { vec![2, indices.len() / 2] } else { vec![indices.len()] };
        op.slot(slot, TensorView::new(indices, &shape)?);
    }
    Engine::new()?.plan(&op)?.context()?.run(&mut op)
}

/// What is in an index tensor is data, which this crate does not look at: the library must not read or write
/// elsewhere by it.
#[test]
fn indices_that_point_outside_are_refused_when_it_runs() {
    let paged = |table: &[i32], lengths: &[i32]| {
        with_indices([3, 1, 4, 8], (Slot::BlockTable, table), (Slot::SequsedK, lengths), false)
    };
    paged(&[0, 1, 2, 0], &[8, 3]).unwrap();
    for (table, lengths) in
        [(&[0, 99, 2, 0], &[8, 3]), (&[0, 1, -1, 0], &[8, 3]), (&[0, 1, 2, 0], &[9, 3]), (&[0, 1, 2, 0], &[8, -3])]
    {
        refused(paged(table, lengths), Status::InvalidArgument, "");
    }
    let packed = |q: &[i32], k: &[i32]| with_indices([1, 5, 1, 8], (Slot::CuSeqlensQ, q), (Slot::CuSeqlensK, k), true);
    packed(&[0, 1, 2], &[0, 2, 5]).unwrap();
    for (q, k) in [([0, 1, 3], [0, 2, 5]), ([0, 1, 2], [0, 2, 6]), ([0, 1, 2], [0, 6, 5]), ([-1, 1, 2], [0, 2, 5])] {
        refused(packed(&q, &k), Status::InvalidArgument, "");
    }
}

#[test]
fn an_output_whose_elements_are_one_is_refused() {
    let engine = Engine::new().unwrap();
    let (data, mut o) = (numbers(32, 1), [0f32; 8]);
    let view = TensorView::new(&data, &[1, 1, 4, 8]).unwrap();
    let repeated = TensorViewMut::strided(&mut o, &[1, 1, 4, 8], &[0, 0, 0, 1], 0).unwrap();
    refused(engine.plan(&AttentionOp::new(view, view, view, repeated)), Status::InvalidArgument, "");
}
