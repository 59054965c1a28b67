//! Models and sessions: copies, lent and moved memory, ticks, state, traces.
use crate::{CACHE, METABOLIC, OP_GRAPH, VIEWS};
use sage_engine::*;

const Q: [usize; 4] = [1, 2, 3, 4];
const KV: [usize; 4] = [1, 1, 5, 4];

fn op_graph(options: &Options) -> Session {
    let model = Model::from_bytes(&Engine::new().unwrap(), OP_GRAPH, None).unwrap();
    Session::with_options(&model, options).unwrap()
}

/// The counter of bytes copied at the border, of the last run.
fn copied(session: &Session) -> u64 {
    let trace = session.trace().unwrap();
    let digits = trace.split("\"bytes_copied\":").nth(1).expect("a counter");
    digits.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

#[test]
fn a_model_says_what_goes_in_and_out() {
    let engine = Engine::new().unwrap();
    let model = Model::from_bytes(&engine, OP_GRAPH, None).unwrap();
    assert_eq!(model.kind(), ModelKind::OpGraph);
    let inputs = model.inputs().unwrap();
    assert_eq!(inputs.iter().map(|input| &*input.name).collect::<Vec<_>>(), ["q", "k", "v"]);
    assert_eq!((inputs[0].dtype, &inputs[0].shape[..]), (Dtype::F32, &[Some(1), Some(2), None, Some(4)][..]));
    assert_eq!(model.outputs().unwrap()[0].name, "y");

    let path = std::env::temp_dir().join(format!("sage-rust-{}.fbs", std::process::id()));
    std::fs::write(&path, OP_GRAPH).unwrap();
    assert!(Model::check(&engine, &path).unwrap().is_valid());
    assert_eq!(Model::load(&engine, &path).unwrap().kind(), ModelKind::OpGraph);
    std::fs::write(&path, &OP_GRAPH[..300]).unwrap();
    let found = Model::check(&engine, &path).unwrap();
    assert!(!found.is_valid() && found.as_str().contains("errors"));
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn copies_lent_and_moved_memory_give_the_same_and_only_copies_copy() {
    let (q, kv) = (crate::numbers(24, 1), crate::numbers(20, 2));
    let mut by_copy = op_graph(&Options::new().set("trace", true));
    by_copy.set_input(0, &q, &Q).unwrap();
    by_copy.set_input(1, &kv, &KV).unwrap();
    by_copy.set_input(2, &kv, &KV).unwrap();
    by_copy.run().unwrap();
    let want: Vec<f32> = by_copy.output(0).unwrap();
    let info = by_copy.output_info(0).unwrap();
    assert_eq!((info.dtype, &info.shape[..], info.bytes), (Dtype::F32, &Q[..], 96));
    assert!(by_copy.output::<f64>(0).is_err() && by_copy.output_into(0, &mut [0f32; 23]).is_err());

    let mut in_place = op_graph(&Options::new().set("trace", true));
    in_place.bind_input(0, vec![0f32; 24], &Q).unwrap();
    in_place.bind_input(1, kv.clone(), &KV).unwrap();
    in_place.bind_input(2, kv.clone(), &KV).unwrap();
    in_place.bind_output(0, vec![9f32; 24], &Q).unwrap();
    in_place.run().unwrap();
    in_place.bound_input_mut::<f32>(0).unwrap().copy_from_slice(&q);
    in_place.run().unwrap();
    assert_eq!(in_place.bound_output::<f32>(0).unwrap(), want);
    assert_eq!(copied(&in_place), 0);
    assert_eq!(in_place.bound_input::<f32>(1).unwrap(), kv);
    let address = in_place.bound_output::<f32>(0).unwrap().as_ptr();
    let taken = in_place.unbind_output::<f32>(0).unwrap();
    assert_eq!((taken.as_ptr(), &taken), (address, &want));
    assert!(in_place.bound_output::<f32>(0).is_err());
    in_place.run().unwrap(); // into memory of its own again
    assert_eq!(in_place.output::<f32>(0).unwrap(), want);
    assert_eq!(in_place.unbind_input::<f32>(0).unwrap(), q);
    assert!(in_place.run().is_err(), "the input is gone");

    let mut lent = op_graph(&Options::new().set("trace", true));
    let mut o = vec![0f32; 24];
    let keys = TensorView::new(&kv, &KV).unwrap();
    let inputs = [(0, TensorView::new(&q, &Q).unwrap()), (1, keys), (2, keys)];
    lent.run_with(&inputs, &mut [(0, TensorViewMut::new(&mut o, &Q).unwrap())]).unwrap();
    assert_eq!((&o, copied(&lent)), (&want, 0));
    assert!(lent.run().is_err(), "what was lent for one run is given back");
    // Stored as [B,S,H,D], in and out.
    let swapped = |data: &[f32]| -> Vec<f32> { (0..24).map(|n| data[n / 4 % 2 * 12 + n / 8 * 4 + n % 4]).collect() };
    let (aside, strides) = (swapped(&q), [24, 4, 8, 1]);
    let rows = [(0, TensorView::strided(&aside, &Q, &strides, 0).unwrap()), inputs[1], inputs[2]];
    let mut aside = vec![0f32; 24];
    lent.run_with(&rows, &mut [(0, TensorViewMut::strided(&mut aside, &Q, &strides, 0).unwrap())]).unwrap();
    assert_eq!((aside, copied(&lent)), (swapped(&want), 0));
    // The second cannot be bound: the first is given back too, and nothing has run.
    let wrong = [(0, inputs[0].1), (9, keys)];
    assert_eq!(lent.run_with(&wrong, &mut []).unwrap_err().status(), Status::NotFound);
    lent.set_input(1, &kv, &KV).unwrap();
    lent.set_input(2, &kv, &KV).unwrap();
    assert!(lent.run().is_err());
    lent.run_with(&inputs[..1], &mut []).unwrap();
    assert_eq!(lent.output::<f32>(0).unwrap(), want);
}

#[test]
fn a_cache_is_written_where_it_was_moved_in_and_is_not_lent_for_reading() {
    let model = Model::from_bytes(&Engine::new().unwrap(), CACHE, None).unwrap();
    let mut session = Session::new(&model).unwrap();
    let (token, used, one, eight) = ([7f32; 4], [2i32], [1, 1, 1, 4], [1, 1, 8, 4]);
    let cache = vec![0f32; 32];
    for (index, name) in [(1, "k"), (2, "v")] {
        let refused = session.run_with(&[(index, TensorView::new(&cache, &eight).unwrap())], &mut []).unwrap_err();
        assert_eq!(refused.status(), Status::InvalidArgument);
        let want =
            format!(r#"input {index} "{name}": the memory given is read-only, and node "attention" appends to it"#);
        assert_eq!(refused.message(), want);
    }

    session.bind_input(1, cache.clone(), &eight).unwrap();
    session.bind_input(2, cache, &eight).unwrap();
    let new = TensorView::new(&token, &one).unwrap();
    let mut o = [0f32; 4];
    let lent = [(0, new), (3, new), (4, TensorView::new(&used, &[1]).unwrap())];
    session.run_with(&lent, &mut [(0, TensorViewMut::new(&mut o, &one).unwrap())]).unwrap();
    let keys = session.unbind_input::<f32>(1).unwrap();
    assert!(keys[8..12] == token && keys.iter().filter(|&&key| key != 0.0).count() == 4 && o[0] > 0.0);
}

#[test]
fn bound_memory_is_replaced_and_set_over() {
    let kv = crate::numbers(20, 2);
    let mut session = op_graph(&Options::new());
    session.bind_input(0, vec![0f32; 24], &Q).unwrap();
    session.bind_input(0, vec![1f32; 16], &[1, 2, 2, 4]).unwrap();
    session.bind_input(1, kv.clone(), &KV).unwrap();
    session.bind_input(2, kv.clone(), &KV).unwrap();
    session.run().unwrap();
    assert_eq!(session.output::<f32>(0).unwrap().len(), 16);
    session.set_input(0, &[1f32; 8], &[1, 2, 1, 4]).unwrap();
    assert!(session.bound_input::<f32>(0).is_err());
    session.run().unwrap();
    assert_eq!(session.output::<f32>(0).unwrap().len(), 8);
    // After a refusal what was bound stays.
    assert!(session.bind_input(1, vec![0f64; 20], &KV).is_err());
    assert_eq!(session.bound_input::<f32>(1).unwrap(), kv);
    session.run().unwrap();
    assert!(session.explain().unwrap().contains("reference"));
}

/// Which outputs can be read; the others say that they have no contents.
#[track_caller]
fn readable(session: &Session) -> Vec<u32> {
    let read = |&index: &u32| match session.output::<f32>(index) {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.status(), Status::InvalidArgument);
            assert!(error.message().contains("has no contents"), "{error}");
            false
        }
    };
    (0..4).filter(read).collect()
}

#[test]
fn results_in_memory_that_was_taken_back_are_not_read() {
    let model = Model::from_bytes(&Engine::new().unwrap(), VIEWS, None).unwrap();
    let five = vec![5f32; 100];
    let session = || Session::new(&model).unwrap();

    // A result's vector is dropped for another one: it, and the view of it that lies in it.
    let mut bound = session();
    bound.set_input(0, &five, &[100]).unwrap();
    bound.bind_output(0, vec![0f32; 100], &[100]).unwrap();
    bound.run().unwrap();
    assert_eq!(readable(&bound), [0, 1, 2, 3]);
    assert_eq!(bound.output::<f32>(3).unwrap(), five);
    bound.bind_output(0, vec![0f32; 100], &[100]).unwrap();
    assert_eq!(readable(&bound), [1, 2]);
    bound.run().unwrap();
    drop(bound.unbind_output::<f32>(0).unwrap());
    assert_eq!(readable(&bound), [1, 2]);

    // An input's vector goes back: x itself and the view of it lay there.
    let mut bound = session();
    bound.bind_input(0, five.clone(), &[100]).unwrap();
    bound.run().unwrap();
    assert_eq!(bound.output::<f32>(2).unwrap(), five);
    drop(bound.unbind_input::<f32>(0).unwrap());
    assert_eq!(readable(&bound), [0, 3]);
    bound.bind_input(0, five.clone(), &[100]).unwrap();
    bound.run().unwrap();
    bound.bind_input(0, vec![6f32; 50], &[50]).unwrap();
    assert_eq!(readable(&bound), [0, 3]);

    // Lent for one run.
    let mut lent = session();
    lent.run_with(&[(0, TensorView::new(&five.clone(), &[100]).unwrap())], &mut []).unwrap();
    assert_eq!(readable(&lent), [0, 3]);
    assert_eq!(lent.output::<f32>(0).unwrap(), five);
    let mut o = vec![0f32; 100];
    lent.set_input(0, &five, &[100]).unwrap();
    lent.run_with(&[], &mut [(0, TensorViewMut::new(&mut o, &[100]).unwrap())]).unwrap();
    drop(o);
    assert_eq!(readable(&lent), [1, 2]);

    // The session's own copy moves when it grows.
    let mut copied = session();
    copied.set_input(0, &five[..10], &[10]).unwrap();
    copied.run().unwrap();
    copied.set_input(0, &[6f32; 1000], &[1000]).unwrap();
    assert_eq!(readable(&copied), [0, 3]);
    copied.run().unwrap();
    assert_eq!(copied.output::<f32>(1).unwrap(), [6f32; 1000]);
}

fn tick(ts: u32, salience: f32) -> String {
    format!(r#"{{"ts":{ts},"targets":[{{"id":"door","salience":{salience}}},{{"id":"hum","salience":0.3}}]}}"#)
}

#[test]
fn ticks_are_an_iterator_that_goes_on_behind_a_bad_one() {
    let model = Model::from_bytes(&Engine::new().unwrap(), METABOLIC, None).unwrap();
    let mut session = Session::new(&model).unwrap();
    let lines = vec![tick(1, 0.9), "{\"ts\":".to_string(), tick(2, 0.2), tick(1, 0.2)];
    let answers: Vec<_> = session.ticks(&lines).collect();
    assert_eq!(answers[0].as_ref().unwrap().state(), Some(MetabolicState::Focus));
    assert_eq!(answers[1].as_ref().unwrap_err().status(), Status::BadData);
    assert_eq!(answers[2].as_ref().unwrap().get("tick"), Some("1"));
    assert_eq!(answers[3].as_ref().unwrap_err().status(), Status::BadData, "time runs backwards");
    let record = session.decision().unwrap();
    assert!(record.is_error() && record.state().is_none() && record.get("error").unwrap().contains("SAGE_E_TIME"));
    let mut ticks = session.ticks(std::iter::repeat("{}").take(2));
    assert_eq!(ticks.size_hint(), (2, Some(2)));
    assert!(ticks.next().unwrap().is_err() && ticks.decision().unwrap().is_error());
}

#[test]
fn every_state_can_be_forced_and_is_read_back() {
    let model = Model::from_bytes(&Engine::new().unwrap(), METABOLIC, None).unwrap();
    let mut session = Session::new(&model).unwrap();
    for (ts, state) in MetabolicState::ALL.into_iter().enumerate() {
        let line = format!(r#"{{"ts":{ts},"state":"{state}","targets":[{{"id":"door","salience":0.5}}]}}"#);
        assert_eq!(session.tick(&line).unwrap().state(), Some(state));
    }
}

#[test]
fn state_goes_out_and_in() {
    let model = Model::from_bytes(&Engine::new().unwrap(), METABOLIC, None).unwrap();
    let mut session = Session::new(&model).unwrap();
    session.tick(&tick(1, 0.9)).unwrap();
    let saved = session.snapshot().unwrap();
    let second = session.tick(&tick(2, 0.2)).unwrap();
    assert_eq!(session.decision().unwrap(), second);
    let mut other = Session::new(&model).unwrap();
    let mut damaged = saved.clone();
    damaged[saved.len() / 2] ^= 1;
    assert!(other.restore(&damaged).is_err());
    other.restore(&saved).unwrap();
    assert_eq!(other.tick(&tick(2, 0.2)).unwrap(), second);
}
