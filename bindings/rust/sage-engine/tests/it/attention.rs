//! Attention: the flat call, plans, slots and masks, with numbers computed here.
use crate::numbers;
use sage_engine::*;
use std::sync::Arc;

const B: usize = 2;
const H: usize = 4;
const HKV: usize = 2;
const N: usize = 5;
const M: usize = 7;
const D: usize = 8;

/// Which keys a query sees, by (query, key).
type Sees<'a> = &'a dyn Fn(usize, usize) -> bool;

/// The definition, in f64.
fn naive(q: &[f32], k: &[f32], v: &[f32], scale: f64, sees: Sees) -> Vec<f32> {
    let mut o = vec![0f32; B * H * N * D];
    for (b, h, i) in (0..B).flat_map(|b| (0..H).flat_map(move |h| (0..N).map(move |i| (b, h, i)))) {
        let row =
            |data: &[f32], start: usize| -> Vec<f64> { data[start..start + D].iter().map(|&x| x.into()).collect() };
        let query = row(q, ((b * H + h) * N + i) * D);
        let key_at = |j: usize| ((b * HKV + h / (H / HKV)) * M + j) * D;
        let weights: Vec<f64> = (0..M)
            .map(|j| {
                let score: f64 = query.iter().zip(row(k, key_at(j))).map(|(a, b)| a * b).sum();
                if sees(i, j) {
                    (score * scale).exp()
                } else {
                    0.0
                }
            })
            .collect();
        let total: f64 = weights.iter().sum();
        for d in 0..D {
            let sum: f64 = (0..M).map(|j| weights[j] * f64::from(v[key_at(j) + d])).sum();
            o[((b * H + h) * N + i) * D + d] = if total > 0.0 { (sum / total) as f32 } else { 0.0 };
        }
    }
    o
}

fn close(got: &[f32], want: &[f32]) {
    for (index, (got, want)) in got.iter().zip(want).enumerate() {
        assert!((got - want).abs() < 1e-5, "element {index} is {got}, not {want}");
    }
}

struct Arrays {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
}

fn arrays() -> Arrays {
    Arrays { q: numbers(B * H * N * D, 1), k: numbers(B * HKV * M * D, 2), v: numbers(B * HKV * M * D, 3) }
}

impl Arrays {
    fn op<'a>(&'a self, o: &'a mut [f32]) -> AttentionOp<'a> {
        AttentionOp::new(
            TensorView::new(&self.q, &[B, H, N, D]).unwrap(),
            TensorView::new(&self.k, &[B, HKV, M, D]).unwrap(),
            TensorView::new(&self.v, &[B, HKV, M, D]).unwrap(),
            TensorViewMut::new(o, &[B, H, N, D]).unwrap(),
        )
    }
    fn run(&self, describe: impl Fn(&mut AttentionOp<'_>)) -> Vec<f32> {
        let engine = Engine::new().unwrap();
        let mut o = vec![9f32; self.q.len()];
        let mut op = self.op(&mut o);
        describe(&mut op);
        engine.plan(&op).unwrap().context().unwrap().run(&mut op).unwrap();
        o
    }
}

const SHAPE: AttentionShape = AttentionShape {
    batch: B,
    heads_q: H,
    heads_kv: HKV,
    seq_q: N,
    seq_kv: M,
    dim_qk: D,
    dim_v: None,
    layout: Layout::Bhsd,
    causal: None,
    scale: None,
};

#[test]
fn the_flat_call_is_the_definition_on_one_thread_and_on_two() {
    let a = arrays();
    let plain = 1.0 / (D as f64).sqrt();
    let cases: [(AttentionShape, f64, Sees); 4] = [
        (SHAPE, plain, &|_, _| true),
        (AttentionShape { scale: Some(0.25), ..SHAPE }, 0.25, &|_, _| true),
        (AttentionShape { causal: Some(Align::TopLeft), ..SHAPE }, plain, &|i, j| j <= i),
        (AttentionShape { causal: Some(Align::BottomRight), ..SHAPE }, plain, &|i, j| j <= i + M - N),
    ];
    for threads in [1, 2] {
        let engine = Engine::with_options(&Options::new().set("threads", threads)).unwrap();
        for (shape, scale, sees) in &cases {
            let mut o = vec![9f32; a.q.len()];
            engine.attention(shape, &a.q, &a.k, &a.v, &mut o).unwrap();
            close(&o, &naive(&a.q, &a.k, &a.v, *scale, sees));
        }
    }
}

#[test]
fn the_other_layout_is_a_transposition() {
    let a = arrays();
    let transposed = |data: &[f32], heads: usize, rows: usize| -> Vec<f32> {
        let index = |b, s, h, d| ((b * heads + h) * rows + s) * D + d;
        let all = (0..B).flat_map(|b| (0..rows).flat_map(move |s| (0..heads).map(move |h| (b, s, h))));
        all.flat_map(|(b, s, h)| (0..D).map(move |d| (b, s, h, d)))
            .map(|(b, s, h, d)| data[index(b, s, h, d)])
            .collect()
    };
    let engine = Engine::new().unwrap();
    let (mut plain, mut other) = (vec![0f32; a.q.len()], vec![0f32; a.q.len()]);
    engine.attention(&SHAPE, &a.q, &a.k, &a.v, &mut plain).unwrap();
    let shape = AttentionShape { layout: Layout::Bshd, ..SHAPE };
    let (q, k, v) = (transposed(&a.q, H, N), transposed(&a.k, HKV, M), transposed(&a.v, HKV, M));
    engine.attention(&shape, &q, &k, &v, &mut other).unwrap();
    assert_eq!(other, transposed(&plain, H, N));
}

#[test]
fn plans_windows_masks_and_strides_are_the_definition() {
    let a = arrays();
    let scale = 1.0 / (D as f64).sqrt();
    let windowed = a.run(|op| {
        op.align(Align::BottomRight).window(Some(1), Some(0));
    });
    close(&windowed, &naive(&a.q, &a.k, &a.v, scale, &|i, j| j + 1 >= i + M - N && j <= i + M - N));

    // The same as a mask that all batches and heads share.
    let keep: Vec<bool> = (0..N * M).map(|at| (at % M) + 1 >= at / M + 2 && at % M <= at / M + 2).collect();
    let engine = Engine::new().unwrap();
    let mut o = vec![0f32; a.q.len()];
    let mut op = a.op(&mut o);
    op.mask(TensorView::strided(&keep, &[B, H, N, M], &[0, 0, M as isize, 1], 0).unwrap());
    assert_eq!(op.features().unwrap() & sys::SAGE_ATTN_F_BOOL_MASK, sys::SAGE_ATTN_F_BOOL_MASK);
    engine.plan(&op).unwrap().context().unwrap().run(&mut op).unwrap();
    drop(op);
    assert_eq!(o, windowed);

    // Keys stored backwards: the first one is the last in memory.
    let strides = [(HKV * M * D) as isize, (M * D) as isize, -(D as isize), 1];
    let view = |data| TensorView::strided(data, &[B, HKV, M, D], &strides, (M - 1) * D).unwrap();
    let mut op = a.op(&mut o);
    op.slot(Slot::K, view(&a.k[..])).slot(Slot::V, view(&a.v[..])).causal(Align::TopLeft);
    engine.plan(&op).unwrap().context().unwrap().run(&mut op).unwrap();
    drop(op);
    close(&o, &naive(&a.q, &a.k, &a.v, scale, &|i, j| M - 1 - j <= i));

    // No scale at all, and a cap that is far away.
    let averages = a.run(|op| {
        op.scale(0.0);
    });
    close(&averages, &naive(&a.q, &a.k, &a.v, 0.0, &|_, _| true));
    let capped = a.run(|op| {
        op.softcap(1e6);
    });
    close(&capped, &naive(&a.q, &a.k, &a.v, scale, &|_, _| true));
}

#[test]
fn every_float_type_runs_and_bytes_need_no_alignment() {
    let engine = Engine::new().unwrap();
    let shape = AttentionShape { seq_kv: 3, dim_qk: 4, ..Default::default() };
    let (q, k) = (vec![0.5f32; 4], vec![0.25f32; 12]);
    let v: Vec<f32> = (0..12).map(|n| (n / 4) as f32).collect();
    fn run<T: Float>(engine: &Engine, shape: &AttentionShape, of: impl Fn(f32) -> T, data: [&[f32]; 3]) -> Vec<T> {
        let [q, k, v] = data.map(|data| data.iter().map(|&value| of(value)).collect::<Vec<T>>());
        let mut o = vec![of(9.0); 4];
        engine.attention(shape, &q, &k, &v, &mut o).unwrap();
        o
    }
    let data = [&q[..], &k, &v];
    assert_eq!(run(&engine, &shape, f64::from, data), [1.0; 4]);
    assert_eq!(run(&engine, &shape, F16::from_f32, data), [F16::from_f32(1.0); 4]);
    assert_eq!(run(&engine, &shape, Bf16::from_f32, data), [Bf16::from_f32(1.0); 4]);

    let bytes = |data: &[f32]| std::iter::once(0).chain(data.iter().flat_map(|x| x.to_ne_bytes())).collect::<Vec<u8>>();
    let (q, k, v, mut o) = (bytes(&q), bytes(&k), bytes(&v), vec![0u8; 17]);
    engine.attention_bytes(Dtype::F32, &shape, &q[1..], &k[1..], &v[1..], &mut o[1..]).unwrap();
    assert_eq!(&o[1..5], 1f32.to_ne_bytes());
}

#[test]
fn tensors_of_no_elements_give_zeros_or_nothing() {
    let engine = Engine::new().unwrap();
    let none: [f32; 0] = [];
    let (q, mut o) = ([1f32; 8], [9f32; 8]);
    let shape = AttentionShape { seq_q: 2, seq_kv: 0, dim_qk: 4, ..Default::default() };
    engine.attention(&shape, &q, &none, &none, &mut o).unwrap();
    assert_eq!(o, [0.0; 8]);
    let shape = AttentionShape { seq_q: 0, seq_kv: 2, dim_qk: 4, ..Default::default() };
    engine.attention(&shape, &none, &q, &q, &mut []).unwrap();
}

#[test]
fn a_cache_is_appended_to_in_place() {
    let engine = Engine::new().unwrap();
    let (token, used) = (numbers(8, 5), [2i32]);
    let (mut k, mut v, mut o) = (vec![0f32; 4 * 8], vec![0f32; 4 * 8], vec![0f32; 8]);
    let view = TensorView::new(&token, &[1, 1, 1, 8]).unwrap();
    let mut op = AttentionOp::empty();
    op.slot(Slot::Q, view).slot_mut(Slot::O, TensorViewMut::new(&mut o, &[1, 1, 1, 8]).unwrap());
    let (cache_k, cache_v) = (TensorViewMut::new(&mut k, &[1, 1, 4, 8]), TensorViewMut::new(&mut v, &[1, 1, 4, 8]));
    op.append(cache_k.unwrap(), cache_v.unwrap(), view, view).kv_lengths(TensorView::new(&used, &[1]).unwrap());
    engine.plan(&op).unwrap().context().unwrap().run(&mut op).unwrap();
    drop(op);
    assert_eq!(k[16..24], token[..]);
    assert!(k[24..].iter().chain(&k[..16]).all(|&x| x == 0.0) && o.iter().any(|&x| x != 0.0));
}

#[test]
fn a_plan_serves_shorter_runs_where_it_was_told_so() {
    let engine = Engine::new().unwrap();
    let q = numbers(8 * 4, 6);
    let mut o = [0f32; 8 * 4];
    let describe = TensorView::describe(Dtype::F32, &[1, 1, 8, 4]).unwrap();
    let mut planned =
        AttentionOp::new(describe, describe, describe, TensorViewMut::describe(Dtype::F32, &[1, 1, 8, 4]).unwrap());
    planned.dynamic(Axes::QUERIES | Axes::KEYS);
    let mut context = engine.plan(&planned).unwrap().context().unwrap();
    let strides = [32, 32, 4, 1];
    let rows = |n| TensorView::strided(&q, &[1, 1, n, 4], &strides, 0).unwrap();
    let three = TensorViewMut::strided(&mut o, &[1, 1, 3, 4], &strides, 0).unwrap();
    context.run(&mut AttentionOp::new(rows(3), rows(5), rows(5), three)).unwrap();
    assert!(o[..12].iter().all(|&x| x != 0.0) && o[12..].iter().all(|&x| x == 0.0));
}

#[test]
fn a_plan_holds_its_constants() {
    let engine = Engine::new().unwrap();
    let (q, mut o) = (numbers(8, 7), [0f32; 8]);
    let weights: Arc<[f32]> = numbers(4 * 8, 8).into();
    let alive = Arc::downgrade(&weights);
    let mut op = AttentionOp::empty();
    op.slot(Slot::Q, TensorView::new(&q, &[1, 1, 1, 8]).unwrap());
    op.slot_mut(Slot::O, TensorViewMut::new(&mut o, &[1, 1, 1, 8]).unwrap());
    op.constant(Slot::K, weights.clone(), &[1, 1, 4, 8]).unwrap().constant(Slot::V, weights, &[1, 1, 4, 8]).unwrap();
    let plan = engine.plan(&op).unwrap();
    let mut context = plan.context().unwrap();
    context.run(&mut op).unwrap();
    drop(op);
    drop(plan);
    assert!(alive.upgrade().is_some(), "the context may still read them");
    drop(context);
    assert!(alive.upgrade().is_none() && o.iter().any(|&x| x != 0.0));
}

#[test]
fn masks_of_a_partition_are_one_mask_in_three_forms() {
    let (seq, tokens) = (32, numbers(32 * 8, 9));
    fn run<'a>(tokens: &'a [f32], o: &'a mut [f32], describe: impl FnOnce(&mut AttentionOp<'a>)) {
        let shape = [1, 1, 32, 8];
        let view = TensorView::new(tokens, &shape).unwrap();
        let mut op = AttentionOp::new(view, view, view, TensorViewMut::new(o, &shape).unwrap());
        describe(&mut op);
        Engine::new().unwrap().plan(&op).unwrap().context().unwrap().run(&mut op).unwrap();
    }
    let bools = mincut_mask(seq, 4).unwrap();
    let csr = mincut_csr(seq, 4, 1, 1).unwrap();
    let blocks = mincut_blocks(seq, 4, 8, 8).unwrap();
    let (mut by_mask, mut by_csr, mut by_both) = (vec![0f32; 256], vec![0f32; 256], vec![0f32; 256]);
    run(&tokens, &mut by_mask, |op| {
        op.mask(bools.view(1, 1).unwrap());
    });
    run(&tokens, &mut by_csr, |op| {
        let (indptr, indices) = csr.views().unwrap();
        op.csr_mask(indptr, indices, (1, 1));
    });
    run(&tokens, &mut by_both, |op| {
        op.mask(bools.view(1, 1).unwrap()).block_mask(blocks.view().unwrap(), (8, 8));
    });
    close(&by_csr, &by_mask);
    close(&by_both, &by_mask);
    assert_eq!(bools.kept, csr.indices.len() as u64);
    assert_eq!(bools.kept, bools.keep.iter().filter(|&&keep| keep).count() as u64);
    assert_eq!((blocks.rows, blocks.columns, blocks.keep[0]), (4, 4, 1));
}

#[test]
fn the_gate_narrows_a_window() {
    let torn = GatePacket { lambda: 10, lambda_prev: 10, ..Default::default() };
    let policy = GatePolicy { safe: GateTier { window: 9, ..Default::default() }, ..Default::default() };
    let decision = gate_decide(&torn, Some(&policy)).unwrap();
    assert_eq!((decision.verdict, decision.tier, decision.window), (GateVerdict::Quarantine, 2, 9));
    let skip = GatePacket { flags: sys::SAGE_GATE_SKIP, ..torn };
    let nothing = gate_decide(&skip, None).unwrap();
    assert_eq!((nothing.verdict, nothing.tier), (GateVerdict::Skipped, 3));
    assert_eq!(
        nothing.apply(AttentionOp::empty().align(Align::TopLeft)).unwrap_err().status(),
        Status::InvalidArgument
    );
}
