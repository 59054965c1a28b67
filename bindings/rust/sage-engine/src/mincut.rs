//! Masks of a partition of the sequence, as `sage/sparse.h` defines them: pure functions, any thread.
use std::ptr;

use crate::element::ElementMut;
use crate::error::{check, Result};
use crate::sys;
use crate::tensor::{bytes_of_mut, zeros, TensorView};

/// Which positions are seen.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BoolMask {
    /// `[seq,seq]`, row-major; true = keep.
    pub keep: Vec<bool>,
    /// Side of the mask.
    pub seq: usize,
    /// How many are true.
    pub kept: u64,
}

/// Which tiles are seen, by compressed rows; tiles of 1x1 are positions.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CsrMask {
    /// `[rows of tiles + 1]`
    pub indptr: Vec<i32>,
    /// Columns of tiles, ascending within a row.
    pub indices: Vec<i32>,
}

/// Which tiles are seen.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockMask {
    /// `[rows,columns]`, row-major; 1 = keep.
    pub keep: Vec<u8>,
    /// Of tiles of queries.
    pub rows: usize,
    /// Of tiles of keys.
    pub columns: usize,
    /// How many are 1.
    pub kept: u64,
}

impl BoolMask {
    /// For [`AttentionOp::mask`](crate::AttentionOp::mask), the same for every batch and head.
    pub fn view(&self, batch: usize, heads: usize) -> Result<TensorView<'_>> {
        let shape = [batch, heads, self.seq, self.seq];
        TensorView::strided(&self.keep, &shape, &[0, 0, self.seq as isize, 1], 0)
    }
}

impl CsrMask {
    /// For [`AttentionOp::csr_mask`](crate::AttentionOp::csr_mask): offsets and indices.
    pub fn views(&self) -> Result<(TensorView<'_>, TensorView<'_>)> {
        let indptr = TensorView::new(&self.indptr, &[1, 1, self.indptr.len()])?;
        Ok((indptr, TensorView::new(&self.indices, &[self.indices.len()])?))
    }
}

impl BlockMask {
    /// For [`AttentionOp::block_mask`](crate::AttentionOp::block_mask).
    pub fn view(&self) -> Result<TensorView<'_>> {
        TensorView::new(&self.keep, &[1, 1, self.rows, self.columns])
    }
}

/// `seq` tokens in `parts` chunks. A query sees the keys of its own chunk up to itself, and, if it is one of the
/// chunk's first four, the first token of every earlier chunk.
///
/// ```
/// # use sage_engine::*;
/// # let engine = Engine::new()?;
/// let mask = mincut_mask(64, 4)?;
/// let tokens = vec![0.5f32; 64 * 8];
/// let mut o = vec![0f32; 64 * 8];
/// let view = TensorView::new(&tokens, &[1, 1, 64, 8])?;
/// let mut op = AttentionOp::new(view, view, view, TensorViewMut::new(&mut o, &[1, 1, 64, 8])?);
/// op.mask(mask.view(1, 1)?);
/// engine.plan(&op)?.context()?.run(&mut op)?;
/// # Ok::<(), Error>(())
/// ```
pub fn mincut_mask(seq: usize, parts: usize) -> Result<BoolMask> {
    let (length, parts) = (signed(seq), signed(parts));
    let mut kept = 0;
    check(|error| unsafe { sys::sage_mincut_mask(length, parts, ptr::null_mut(), 0, &mut kept, error) })?;
    let mut mask: Vec<u8> = zeros(seq as u64 * seq as u64)?; // seq was accepted: at most 2^24
    let (data, bytes) = raw(&mut mask);
    check(|error| unsafe { sys::sage_mincut_mask(length, parts, data, bytes, &mut kept, error) })?;
    Ok(BoolMask { keep: mask.into_iter().map(|byte| byte != 0).collect(), seq, kept })
}

/// The same mask by compressed rows of `tile_q` x `tile_kv`.
pub fn mincut_csr(seq: usize, parts: usize, tile_q: u32, tile_kv: u32) -> Result<CsrMask> {
    let (length, parts) = (signed(seq), signed(parts));
    let mut kept = 0;
    check(|error| unsafe {
        let none = ptr::null_mut();
        sys::sage_mincut_csr(length, parts, tile_q, tile_kv, none, 0, none, 0, &mut kept, error)
    })?;
    let mut indptr: Vec<i32> = zeros(tiles(seq, tile_q) as u64 + 1)?;
    let mut indices: Vec<i32> = zeros(kept)?;
    check(|error| unsafe {
        let (rows, count) = (indptr.len() as u64, indices.len() as u64);
        let (indptr, indices) = (indptr.as_mut_ptr(), indices.as_mut_ptr());
        sys::sage_mincut_csr(length, parts, tile_q, tile_kv, indptr, rows, indices, count, &mut kept, error)
    })?;
    Ok(CsrMask { indptr, indices })
}

/// The same mask by tiles: those that have a position that is seen.
pub fn mincut_blocks(seq: usize, parts: usize, tile_q: u32, tile_kv: u32) -> Result<BlockMask> {
    let (length, parts) = (signed(seq), signed(parts));
    let mut kept = 0;
    check(|error| unsafe {
        sys::sage_mincut_blocks(length, parts, tile_q, tile_kv, ptr::null_mut(), 0, &mut kept, error)
    })?;
    let (rows, columns) = (tiles(seq, tile_q), tiles(seq, tile_kv));
    let mut keep: Vec<u8> = zeros(rows as u64 * columns as u64)?;
    let (data, bytes) = raw(&mut keep);
    check(|error| unsafe { sys::sage_mincut_blocks(length, parts, tile_q, tile_kv, data, bytes, &mut kept, error) })?;
    Ok(BlockMask { keep, rows, columns, kept })
}

/// What is too large for the library stays too large for it.
fn signed(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

/// How many tiles a sequence has; the library refused a tile of 0 before.
fn tiles(seq: usize, tile: u32) -> usize {
    let tile = tile as usize;
    (seq + tile - 1) / tile
}

fn raw<T: ElementMut>(data: &mut [T]) -> (*mut std::ffi::c_void, u64) {
    let bytes = bytes_of_mut(data);
    (bytes.as_mut_ptr().cast(), bytes.len() as u64)
}
