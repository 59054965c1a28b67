//! What a tensor is to an attention, and the choices an op may make, by name.
use std::ops::BitOr;

use crate::error::{Error, Result};
use crate::sys;

pub(crate) const SLOTS: usize = sys::SAGE_ATTN_NUM_SLOTS as usize;

macro_rules! slots {
    ($($(#[$about:meta])* $name:ident = $constant:ident,)*) => {
        /// What a tensor is to an attention. Shapes are in order batch B, heads H, sequence S, dim D; any axis order
        /// in memory is a matter of strides.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Slot { $($(#[$about])* $name = sys::$constant as isize,)* }
        const ALL_SLOTS: [Slot; SLOTS] = [$(Slot::$name,)*];
    };
}
slots! {
    /// `[B,Hq,Sq,D]`, packed `[T,Hq,D]`
    Q = SAGE_ATTN_Q,
    /// `[B,Hkv,Skv,D]`, packed `[T,Hkv,D]`, paged `[pages,Hkv,page,D]`; its type may differ from Q's
    K = SAGE_ATTN_K,
    /// As K, with its own heads and dim; K's type
    V = SAGE_ATTN_V,
    /// Written; as Q with V's dim
    O = SAGE_ATTN_O,
    /// Written: log of the softmax' denominator, `[B,Hq,Sq]`, packed `[Hq,T]`; f64 for f64, else f32
    Lse = SAGE_ATTN_LSE,
    /// Added to the scores, `[B,Hq,Sq,Skv]`; axes may repeat by stride 0
    Bias = SAGE_ATTN_BIAS,
    /// bool `[B,Hq,Sq,Skv]`, true = keep; axes may repeat by stride 0
    Mask = SAGE_ATTN_MASK,
    /// u8 `[B,Hq,Sq,ceil(Skv/8)]`, lowest bit first, 1 = keep
    BitMask = SAGE_ATTN_BIT_MASK,
    /// u8 `[B|1,Hq|1,ceil(Sq/tile),ceil(Skv/tile)]`, not 0 = keep the tile
    BlockMask = SAGE_ATTN_BLOCK_MASK,
    /// i32 `[B|1,Hq|1,ceil(Sq/tile)+1]`, offsets into the indices
    CsrIndptr = SAGE_ATTN_CSR_INDPTR,
    /// i32 `[n]`, kept tile columns, ascending within a row
    CsrIndices = SAGE_ATTN_CSR_INDICES,
    /// `[Hq]`, slopes
    Alibi = SAGE_ATTN_ALIBI,
    /// `[Hq]`, logits added to the denominator
    Sinks = SAGE_ATTN_SINKS,
    /// i32 `[B+1]`, from 0 to T
    CuSeqlensQ = SAGE_ATTN_CU_SEQLENS_Q,
    /// i32 `[B+1]`
    CuSeqlensK = SAGE_ATTN_CU_SEQLENS_K,
    /// i32 `[B]`, rows of Q in use
    SequsedQ = SAGE_ATTN_SEQUSED_Q,
    /// i32 `[B]`, keys in use; before what is appended
    SequsedK = SAGE_ATTN_SEQUSED_K,
    /// i32 `[B,max_pages]`
    BlockTable = SAGE_ATTN_BLOCK_TABLE,
    /// `[B,Hkv,Snew,D]`, written behind the keys in use
    KNew = SAGE_ATTN_K_NEW,
    /// As KNew
    VNew = SAGE_ATTN_V_NEW,
    /// f32, its shape by [`Granularity`]; value = scale * stored
    ScaleQ = SAGE_ATTN_SCALE_Q,
    /// As ScaleQ
    ScaleK = SAGE_ATTN_SCALE_K,
    /// As ScaleQ
    ScaleV = SAGE_ATTN_SCALE_V,
    /// As ScaleQ
    ScaleP = SAGE_ATTN_SCALE_P,
    /// As ScaleQ
    ScaleO = SAGE_ATTN_SCALE_O,
    /// u64 `[2]`: seed and offset of the dropout
    Philox = SAGE_ATTN_PHILOX,
    /// Written: `[B,Hq,Sq,Skv]`, probabilities before dropout, 0 where masked
    Weights = SAGE_ATTN_WEIGHTS,
    /// Written: `[B,Hq,Sq,Skv]`, scores before visibility
    Scores = SAGE_ATTN_SCORES,
}

impl Slot {
    /// The slot of a `SAGE_ATTN_*` number.
    pub fn from_index(index: u32) -> Result<Slot> {
        match ALL_SLOTS.get(index as usize) {
            Some(slot) => Ok(*slot),
            None => Err(Error::invalid(format!("attention has no slot {index}; they are 0 to {}", SLOTS - 1))),
        }
    }
    pub(crate) fn bit(self) -> u32 {
        1 << self as u32
    }
}

/// The least exact class of arithmetic that is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Accuracy {
    /// f64 and f32: exact; f16 and bf16: native; narrower: lossy.
    Auto = sys::SAGE_ACCURACY_AUTO,
    /// As good as the plain kernel in that type.
    Exact = sys::SAGE_ACCURACY_EXACT,
    /// The 16-bit type inside, sums and softmax in f32.
    Native = sys::SAGE_ACCURACY_NATIVE,
    /// Narrower inside.
    Lossy = sys::SAGE_ACCURACY_LOSSY,
}

/// How the scores are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Algorithm {
    /// The engine chooses.
    Auto = sys::SAGE_ALGORITHM_AUTO,
    /// Whole rows of scores in scratch memory.
    Materialised = sys::SAGE_ALGORITHM_MATERIALISED,
    /// Tile by tile.
    Flash = sys::SAGE_ALGORITHM_FLASH,
}

/// What one scale of a quantised tensor stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Granularity {
    /// `[1]`
    Tensor = sys::SAGE_PER_TENSOR,
    /// `[B|1,H]`
    Head = sys::SAGE_PER_HEAD,
    /// `[B|1,H,S]`
    Token = sys::SAGE_PER_TOKEN,
    /// `[B|1,H,D]`
    Channel = sys::SAGE_PER_CHANNEL,
    /// `[B|1,H,ceil(S/scale_block)]`
    Block = sys::SAGE_PER_BLOCK,
}

macro_rules! bit_sets {
    ($($(#[$about:meta])* $name:ident { $($(#[$note:meta])* $bit:ident = $constant:ident,)* })*) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub struct $name(pub u32);
        impl $name {
            $($(#[$note])* pub const $bit: $name = $name(sys::$constant);)*
        }
        impl BitOr for $name {
            type Output = $name;
            fn bitor(self, other: $name) -> $name {
                $name(self.0 | other.0)
            }
        }
    )*};
}
bit_sets! {
    /// Axes that may be shorter when a plan runs than when it was made: `Axes::QUERIES | Axes::KEYS`.
    Axes {
        /// B, of lengths and tables too
        BATCH = SAGE_AXIS_B,
        /// Rows of queries
        QUERIES = SAGE_AXIS_SQ,
        /// Keys
        KEYS = SAGE_AXIS_SKV,
    }
    /// What a backend must promise besides the result.
    Requirements {
        /// The same bits from run to run and for any number of threads.
        DETERMINISTIC = SAGE_REQUIRE_DETERMINISTIC,
        /// May run inside the capture of a CUDA graph.
        STREAM_CAPTURE = SAGE_REQUIRE_STREAM_CAPTURE,
        /// Portable scalar kernels only.
        SCALAR = SAGE_REQUIRE_SCALAR,
    }
}
