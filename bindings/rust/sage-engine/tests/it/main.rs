//! The binding against the built library: one program, so that it is linked once.
mod attention;
mod bad_input;
mod hosts;
mod quantize;
mod sessions;
mod threads;
mod whole;

/// Numbers between -1 and 1 that are the same everywhere.
pub fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2654435761) | 1;
    (0..count)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state as f32 / u32::MAX as f32 * 2.0 - 1.0
        })
        .collect()
}

pub const METABOLIC: &[u8] = include_bytes!("../data/metabolic.fbs");
/// Two heads over one, then a sum: q [1,2,n,4], k and v [1,1,m,4] to y [1,2,n,4].
pub const OP_GRAPH: &[u8] = include_bytes!("../data/op_graph.fbs");
/// One query over a cache of 8 keys: q, k, v, the new key and value, how many keys are in use, to y.
pub const CACHE: &[u8] = include_bytes!("../data/cache.fbs");
/// x [n] to relu(x), x itself, and views [n,1] of x and of relu(x).
pub const VIEWS: &[u8] = include_bytes!("../data/views.fbs");
