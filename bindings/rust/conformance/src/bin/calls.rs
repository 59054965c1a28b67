//! What a call costs: `calls ROUNDS ITERATIONS` prints `flat NS run NS` a round, nanoseconds of the flat attention
//! and of a context's run, both of one query over one key of 8 numbers on one thread: all of it is overhead.
use sage_engine::{AttentionOp, AttentionShape, Engine, Options, Result, TensorView, TensorViewMut};
use std::time::Instant;

fn main() -> Result<()> {
    let counts: Vec<u32> = std::env::args().skip(1).filter_map(|count| count.parse().ok()).collect();
    let (rounds, iterations) = match counts[..] {
        [rounds, iterations] if iterations > 0 => (rounds, iterations),
        _ => {
            eprintln!("usage: calls ROUNDS ITERATIONS");
            std::process::exit(2);
        }
    };
    let engine = Engine::with_options(&Options::new().set("threads", 1))?;
    let shape = AttentionShape { dim_qk: 8, ..Default::default() };
    let (q, k, v) = ([0.5f32; 8], [0.25f32; 8], [2.0f32; 8]);
    let (mut flat_o, mut run_o) = ([0f32; 8], [0f32; 8]);
    let lengths = [1, 1, 1, 8];
    let mut op = AttentionOp::new(
        TensorView::new(&q, &lengths)?,
        TensorView::new(&k, &lengths)?,
        TensorView::new(&v, &lengths)?,
        TensorViewMut::new(&mut run_o, &lengths)?,
    );
    let mut context = engine.plan(&op)?.context()?;
    let mut time = |count: u32| -> Result<(f64, f64)> {
        let begin = Instant::now();
        for _ in 0..count {
            engine.attention(&shape, &q, &k, &v, &mut flat_o)?;
        }
        let middle = Instant::now();
        for _ in 0..count {
            context.run(&mut op)?;
        }
        let nanoseconds = |from: Instant, to: Instant| (to - from).as_nanos() as f64 / f64::from(count);
        Ok((nanoseconds(begin, middle), nanoseconds(middle, Instant::now())))
    };
    time(iterations / 10 + 1)?; // warm
    for _ in 0..rounds {
        let (flat, run) = time(iterations)?;
        println!("flat {flat:.1} run {run:.1}");
    }
    assert_eq!((flat_o, run_o), (v, v), "one key: the value itself");
    Ok(())
}
