//! The quantiser: codes, scales and means; what it refuses; and attention over what it wrote.
use crate::{numbers, OP_GRAPH};
use sage_engine::*;

const SHAPE: [usize; 4] = [1, 2, 8, 16];

#[test]
fn codes_come_back_within_half_a_step() {
    let x = numbers(256, 1);
    let (mut codes, mut scale, mut mean) = (vec![0i8; 256], vec![0f32; 16], vec![0f32; 32]);
    let by_token = Quantization::new(Granularity::Token);
    let report = by_token
        .quantize(
            TensorView::new(&x, &SHAPE).unwrap(),
            TensorViewMut::new(&mut codes, &SHAPE).unwrap(),
            TensorViewMut::new(&mut scale, &[1, 2, 8]).unwrap(),
            Some(TensorViewMut::new(&mut mean, &[1, 2, 16]).unwrap()),
        )
        .unwrap();
    assert_eq!((report.elements, report.code_bytes * 4, report.scale_bytes), (256, 256 * 4, 4 * (16 + 32)));
    assert_eq!((report.saturated, report.zero_groups), (0, 0));
    let mut back = vec![0f32; 256];
    by_token
        .dequantize(
            TensorView::new(&codes, &SHAPE).unwrap(),
            TensorView::new(&scale, &[1, 2, 8]).unwrap(),
            Some(TensorView::new(&mean, &[1, 2, 16]).unwrap()),
            TensorViewMut::new(&mut back, &SHAPE).unwrap(),
        )
        .unwrap();
    for (row, (back, x)) in back.chunks(16).zip(x.chunks(16)).enumerate() {
        for (back, x) in back.iter().zip(x) {
            assert!((back - x).abs() <= scale[row] * 0.5001, "{back} {x}");
        }
    }
}

#[test]
fn given_scales_saturate_and_blocks_have_a_scale_each() {
    let x = [0.5f32, 1.5, -2.5, 1000.0];
    let mut codes = [0i8; 4];
    let view = TensorView::new(&x, &[1, 1, 4, 1]).unwrap();
    let report = Quantization::new(Granularity::Tensor)
        .quantize_with(
            view,
            TensorViewMut::new(&mut codes, &[1, 1, 4, 1]).unwrap(),
            TensorView::new(&[1f32], &[1]).unwrap(),
            None,
        )
        .unwrap();
    assert_eq!((codes, report.saturated), ([0, 2, -2, 127], 1));
    let mut scale = [0f32; 2];
    Quantization::blocks(3)
        .quantize(
            view,
            TensorViewMut::new(&mut codes, &[1, 1, 4, 1]).unwrap(),
            TensorViewMut::new(&mut scale, &[1, 1, 2]).unwrap(),
            None,
        )
        .unwrap();
    assert_eq!(scale, [2.5 / 127.0, 1000.0 / 127.0]);
}

#[test]
fn what_does_not_fit_is_an_error_and_nothing_is_written() {
    let by_token = Quantization::new(Granularity::Token);
    let (mut codes, mut scale) = ([7i8; 4], [7f32; 2]);
    let mut refused = |x: [f32; 4], scale_shape: &[usize], words: &str| {
        let error = by_token
            .quantize(
                TensorView::new(&x, &[1, 1, 2, 2]).unwrap(),
                TensorViewMut::new(&mut codes, &[1, 1, 2, 2]).unwrap(),
                TensorViewMut::new(&mut scale, scale_shape).unwrap(),
                None,
            )
            .unwrap_err();
        assert_eq!(error.status(), Status::InvalidArgument);
        assert!(error.message().contains(words), "{error}");
    };
    refused([1.0, 2.0, f32::NAN, 3.0], &[1, 1, 2], "x[0,0,1,0] is nan");
    refused([1.0, 2.0, 3.0, f32::NEG_INFINITY], &[1, 1, 2], "x[0,0,1,1] is -inf");
    refused([1.0; 4], &[2], "scale has the shape [2], [1, 1, 2] is expected");
    assert_eq!((codes, scale), ([7; 4], [7.0; 2]));
    // Descriptions have no memory.
    let described = TensorView::describe(Dtype::F32, &[1, 1, 2, 2]).unwrap();
    let error = by_token
        .quantize(
            described,
            TensorViewMut::new(&mut codes, &[1, 1, 2, 2]).unwrap(),
            TensorViewMut::new(&mut scale, &[1, 1, 2]).unwrap(),
            None,
        )
        .unwrap_err();
    assert!(error.message().contains("x has no data"), "{error}");
}

#[test]
fn attention_takes_what_it_wrote() {
    let engine = Engine::new().unwrap();
    let floats = [numbers(256, 2), numbers(256, 3), numbers(256, 4)];
    let mut exact = vec![0f32; 256];
    let shape = AttentionShape { heads_q: 2, heads_kv: 2, seq_q: 8, seq_kv: 8, dim_qk: 16, ..Default::default() };
    engine.attention(&shape, &floats[0], &floats[1], &floats[2], &mut exact).unwrap();

    let by_token = Quantization::new(Granularity::Token);
    let quantized: Vec<(Vec<i8>, Vec<f32>)> = floats
        .iter()
        .map(|x| {
            let (mut codes, mut scale) = (vec![0i8; 256], vec![0f32; 16]);
            by_token
                .quantize(
                    TensorView::new(x, &SHAPE).unwrap(),
                    TensorViewMut::new(&mut codes, &SHAPE).unwrap(),
                    TensorViewMut::new(&mut scale, &[1, 2, 8]).unwrap(),
                    None,
                )
                .unwrap();
            (codes, scale)
        })
        .collect();
    let codes = |i: usize| TensorView::new(&quantized[i].0, &SHAPE).unwrap();
    let scale = |i: usize| TensorView::new(&quantized[i].1, &[1, 2, 8]).unwrap();
    let mut o = vec![0f32; 256];
    let mut op = AttentionOp::new(codes(0), codes(1), codes(2), TensorViewMut::new(&mut o, &SHAPE).unwrap());
    op.quantised(Granularity::Token, scale(0), scale(1), scale(2));
    let options = Options::new().set("backend", "reference");
    let plan = engine.plan_with(&op, &options).unwrap();
    plan.context().unwrap().run(&mut op).unwrap();
    assert_eq!(plan.memory().unwrap().k_bytes, 256);
    assert!(o.iter().zip(&exact).all(|(o, exact)| (o - exact).abs() < 0.02));
}

#[test]
fn how_exact_a_session_was() {
    let engine = Engine::new().unwrap();
    let model = Model::from_bytes(&engine, OP_GRAPH, None).unwrap();
    let mut session = Session::new(&model).unwrap();
    let error = session.accuracy().unwrap_err();
    assert!(error.message().contains("accuracy_report"), "{error}");
    session = Session::with_options(&model, &Options::new().set("accuracy_report", true)).unwrap();
    for (index, shape) in [[1usize, 2, 3, 4], [1, 1, 5, 4], [1, 1, 5, 4]].iter().enumerate() {
        session.set_input(index as u32, &numbers(shape.iter().product(), 5), shape).unwrap();
    }
    session.run().unwrap();
    assert!(session.accuracy().unwrap().contains("\"cosine\""));
}
