//! attention: attention over your own arrays, and a tick stream, from Rust.
//!
//!     cargo run                                        attention
//!     cargo run -- metabolic.fbs metabolic.jsonl       and a SAGE graph: `sage-engine convert metabolic.json metabolic.fbs`
use sage_engine::{
    Align, AttentionOp, AttentionShape, Engine, Model, Session, Status, TensorView, TensorViewMut,
};
use std::error::Error;
use std::io::{BufRead, BufReader};

fn main() -> Result<(), Box<dyn Error>> {
    let engine = Engine::new()?;
    attention(&engine)?;
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [model, ticks] = &arguments[..] {
        run_ticks(&engine, model, ticks)?;
    }
    Ok(())
}

fn attention(engine: &Engine) -> Result<(), Box<dyn Error>> {
    // One call: 8 query heads over 2 of K and V, 512 tokens, causal; [batch, heads, tokens, 64].
    let shape = AttentionShape {
        heads_q: 8,
        heads_kv: 2,
        seq_q: 512,
        seq_kv: 512,
        dim_qk: 64,
        causal: Some(Align::TopLeft),
        ..Default::default()
    };
    let (q, k, v) = (
        vec![0.1f32; 8 * 512 * 64],
        vec![0.2f32; 2 * 512 * 64],
        vec![0.3f32; 2 * 512 * 64],
    );
    let mut o = vec![0f32; q.len()];
    engine.attention(&shape, &q, &k, &v, &mut o)?;
    println!("o[0] = {}", o[0]);

    // The same with a window of 128 keys, planned once and run as often as you like.
    let mut op = AttentionOp::new(
        TensorView::new(&q, &[1, 8, 512, 64])?,
        TensorView::new(&k, &[1, 2, 512, 64])?,
        TensorView::new(&v, &[1, 2, 512, 64])?,
        TensorViewMut::new(&mut o, &[1, 8, 512, 64])?,
    );
    op.causal(Align::TopLeft).window(Some(127), None);
    let plan = engine.plan(&op)?;
    let mut context = plan.context()?;
    for _ in 0..3 {
        context.run(&mut op)?;
    }
    println!("ran on {}", plan.backend());
    Ok(())
}

fn run_ticks(engine: &Engine, model: &str, ticks: &str) -> Result<(), Box<dyn Error>> {
    let mut session = Session::new(&Model::load(engine, model)?)?;
    let lines: Vec<String> = BufReader::new(std::fs::File::open(ticks)?)
        .lines()
        .collect::<Result<_, _>>()?;
    let mut ticks = session.ticks(&lines);
    while let Some(answer) = ticks.next() {
        match answer {
            Ok(decision) => match decision.state() {
                Some(state) => println!("{state:<6} {}", decision.get("decisions").unwrap_or("")),
                None => println!("{decision}"),
            },
            // A bad line is answered by its error record, and the stream goes on.
            Err(error) if error.status() == Status::BadData => println!("{}", ticks.decision()?),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
