//! Attention with everything it can do, described: tensors by slot, and how they are meant.
use std::any::Any;
use std::marker::PhantomData;
use std::mem::size_of;
use std::ops::BitOr;
use std::ptr;
use std::sync::Arc;

use crate::element::Element;
use crate::engine::Align;
use crate::error::{check, Error, Result};
use crate::sys;
use crate::tensor::{TensorView, TensorViewMut};

const SLOTS: usize = sys::SAGE_ATTN_NUM_SLOTS as usize;

macro_rules! slots {
    ($($(#[$about:meta])* $name:ident = $constant:ident,)*) => {
        /// What a tensor is to an attention. Shapes are in order batch B, heads H, sequence S, dim D; any axis order in memory is a
        /// matter of strides.
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
    fn bit(self) -> u32 {
        1 << self as u32
    }
    /// What every attention writes to.
    const fn outputs() -> u32 {
        1 << Slot::O as u32 | 1 << Slot::Lse as u32 | 1 << Slot::Weights as u32 | 1 << Slot::Scores as u32
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

/// An attention call: its tensors and what is meant by them. Descriptions are enough to plan it
/// ([`Engine::plan`](crate::Engine::plan)); to run it ([`AttentionContext::run`](crate::AttentionContext::run)) they need memory, which is borrowed as
/// long as this lives.
///
/// What the library writes must be given as a [`TensorViewMut`]: O, LSE, WEIGHTS, SCORES, and K and V where keys are appended. A run
/// refuses anything else.
///
/// ```
/// # use sage_engine::*;
/// # let engine = Engine::new()?;
/// let tokens = vec![1.0f32; 4 * 8];
/// let keep = [true, false, true, true]; // the same for every head and query
/// let (mut o, mut lse) = (vec![0.0f32; 4 * 8], vec![0.0f32; 4]);
/// let view = TensorView::new(&tokens, &[1, 1, 4, 8])?;
/// let mut op = AttentionOp::new(view, view, view, TensorViewMut::new(&mut o, &[1, 1, 4, 8])?);
/// op.mask(TensorView::strided(&keep, &[1, 1, 4, 4], &[0, 0, 0, 1], 0)?)
///     .lse(TensorViewMut::new(&mut lse, &[1, 1, 4])?)
///     .scale(0.0);
/// engine.plan(&op)?.context()?.run(&mut op)?;
/// assert_eq!(o, tokens);
/// assert!((lse[0] - 3f32.ln()).abs() < 1e-6); // three keys of score 0
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct AttentionOp<'a> {
    // On the heap: 4.5 kB would be moved about.
    tensors: Box<[sys::sage_tensor; SLOTS]>,
    /// By slot: it is there; it may be written.
    present: u32,
    writable: u32,
    attributes: sys::sage_attention_attributes,
    requirements: Requirements,
    accuracy: Accuracy,
    dynamic: Axes,
    aliases: u64,
    constants: Vec<Constant>,
    memory: PhantomData<&'a mut [u8]>,
}

/// Memory that a plan may have packed: unchanged and there as long as the plan.
pub(crate) type Constant = Arc<dyn Any + Send + Sync>;

// The raw pointers are those of views, which may go to other threads.
unsafe impl Send for AttentionOp<'_> {}
unsafe impl Sync for AttentionOp<'_> {}

impl<'a> AttentionOp<'a> {
    /// softmax(q k^T / sqrt(dim)) v
    pub fn new(q: TensorView<'a>, k: TensorView<'a>, v: TensorView<'a>, o: TensorViewMut<'a>) -> AttentionOp<'a> {
        let mut op = AttentionOp::empty();
        op.slot(Slot::Q, q).slot(Slot::K, k).slot(Slot::V, v).slot_mut(Slot::O, o);
        op
    }
    /// Without any tensor yet.
    pub fn empty() -> AttentionOp<'a> {
        AttentionOp {
            tensors: Box::new([sys::sage_tensor::new(0, &[], ptr::null_mut()); SLOTS]),
            present: 0,
            writable: 0,
            attributes: sys::sage_attention_attributes::default(),
            requirements: Requirements::default(),
            accuracy: Accuracy::Auto,
            dynamic: Axes::default(),
            aliases: 0,
            constants: Vec::new(),
            memory: PhantomData,
        }
    }

    /// A tensor that is read.
    pub fn slot(&mut self, slot: Slot, view: TensorView<'a>) -> &mut Self {
        self.put(slot, view.as_raw(), false)
    }
    /// A tensor that may be written.
    pub fn slot_mut(&mut self, slot: Slot, view: TensorViewMut<'a>) -> &mut Self {
        self.put(slot, view.as_raw(), true)
    }
    /// Contiguous elements that never change, weights of a cross attention: the plan may prepack them, and holds them.
    pub fn constant<T: Element>(&mut self, slot: Slot, data: Arc<[T]>, shape: &[usize]) -> Result<&mut Self> {
        let mut raw = *TensorView::new(&data, shape)?.as_raw();
        raw.flags |= sys::SAGE_TENSOR_CONSTANT;
        self.constants.push(Arc::new(data));
        Ok(self.put(slot, &raw, false))
    }
    fn put(&mut self, slot: Slot, raw: &sys::sage_tensor, writable: bool) -> &mut Self {
        self.tensors[slot as usize] = *raw;
        self.present |= slot.bit();
        self.writable = if writable { self.writable | slot.bit() } else { self.writable & !slot.bit() };
        self
    }

    /// 0 is meant; without it `1 / sqrt(dim)`.
    pub fn scale(&mut self, value: f64) -> &mut Self {
        self.attributes.features |= sys::SAGE_ATTN_F_SCALE;
        self.attributes.scale = value;
        self
    }
    /// A query sees keys up to its own position.
    pub fn causal(&mut self, align: Align) -> &mut Self {
        self.attributes.features |= sys::SAGE_ATTN_F_CAUSAL;
        self.align(align)
    }
    /// Where positions meet, of windows and ALiBi without a causal mask.
    pub fn align(&mut self, align: Align) -> &mut Self {
        self.attributes.alignment = align.code();
        self
    }
    /// Keys on either side besides a query's own position; None: all.
    pub fn window(&mut self, left: Option<i64>, right: Option<i64>) -> &mut Self {
        self.attributes.features &= !(sys::SAGE_ATTN_F_WINDOW_LEFT | sys::SAGE_ATTN_F_WINDOW_RIGHT);
        if left.is_some() {
            self.attributes.features |= sys::SAGE_ATTN_F_WINDOW_LEFT;
        }
        if right.is_some() {
            self.attributes.features |= sys::SAGE_ATTN_F_WINDOW_RIGHT;
        }
        self.attributes.window_left = left.unwrap_or(0);
        self.attributes.window_right = right.unwrap_or(0);
        self
    }
    /// `cap * tanh(score / cap)`
    pub fn softcap(&mut self, cap: f64) -> &mut Self {
        self.attributes.softcap = cap;
        self
    }
    /// Added to the scores: [`Slot::Bias`].
    pub fn bias(&mut self, view: TensorView<'a>) -> &mut Self {
        self.slot(Slot::Bias, view)
    }
    /// Which keys are seen: [`Slot::Mask`].
    pub fn mask(&mut self, view: TensorView<'a>) -> &mut Self {
        self.slot(Slot::Mask, view)
    }
    /// Which tiles of `tile` queries by keys are seen: [`Slot::BlockMask`].
    pub fn block_mask(&mut self, view: TensorView<'a>, tile: (u32, u32)) -> &mut Self {
        (self.attributes.mask_block_q, self.attributes.mask_block_kv) = tile;
        self.slot(Slot::BlockMask, view)
    }
    /// The same by compressed rows; tiles of (1, 1) are single keys.
    pub fn csr_mask(&mut self, indptr: TensorView<'a>, indices: TensorView<'a>, tile: (u32, u32)) -> &mut Self {
        (self.attributes.mask_block_q, self.attributes.mask_block_kv) = tile;
        self.slot(Slot::CsrIndptr, indptr).slot(Slot::CsrIndices, indices)
    }
    /// Slopes by distance; needs an alignment.
    pub fn alibi(&mut self, slopes: TensorView<'a>) -> &mut Self {
        self.slot(Slot::Alibi, slopes)
    }
    /// Logits of a key that has no value.
    pub fn sinks(&mut self, logits: TensorView<'a>) -> &mut Self {
        self.slot(Slot::Sinks, logits)
    }
    /// Sequences packed one behind the other. `cu_k`: None where K and V are paged.
    pub fn varlen(&mut self, cu_q: TensorView<'a>, cu_k: Option<TensorView<'a>>) -> &mut Self {
        if let Some(cu_k) = cu_k {
            self.slot(Slot::CuSeqlensK, cu_k);
        }
        self.slot(Slot::CuSeqlensQ, cu_q)
    }
    /// Keys in use of each sequence.
    pub fn kv_lengths(&mut self, lengths: TensorView<'a>) -> &mut Self {
        self.slot(Slot::SequsedK, lengths)
    }
    /// K and V in pages, and which of them each sequence has.
    pub fn paged(&mut self, block_table: TensorView<'a>, lengths: TensorView<'a>) -> &mut Self {
        self.slot(Slot::BlockTable, block_table).kv_lengths(lengths)
    }
    /// K and V are a cache: the new ones are written behind the keys in use ([`kv_lengths`](Self::kv_lengths)), then attended to.
    pub fn append(
        &mut self,
        k: TensorViewMut<'a>,
        v: TensorViewMut<'a>,
        k_new: TensorView<'a>,
        v_new: TensorView<'a>,
    ) -> &mut Self {
        self.aliases |= u64::from(Slot::K.bit() | Slot::V.bit());
        self.slot_mut(Slot::K, k).slot_mut(Slot::V, v).slot(Slot::KNew, k_new).slot(Slot::VNew, v_new)
    }
    /// Probability of dropping, and the seed and offset: [`Slot::Philox`].
    pub fn dropout(&mut self, probability: f64, philox: TensorView<'a>) -> &mut Self {
        self.attributes.dropout_p = probability;
        self.slot(Slot::Philox, philox)
    }
    /// Logarithms of the denominators out: [`Slot::Lse`].
    pub fn lse(&mut self, view: TensorViewMut<'a>) -> &mut Self {
        self.slot_mut(Slot::Lse, view)
    }
    /// Scales of quantised Q, K and V, which have one granularity.
    pub fn quantised(
        &mut self,
        granularity: Granularity,
        q: TensorView<'a>,
        k: TensorView<'a>,
        v: TensorView<'a>,
    ) -> &mut Self {
        let code = granularity as u32;
        self.attributes.granularity_q = code;
        self.attributes.granularity_k = code;
        self.attributes.granularity_v = code;
        self.slot(Slot::ScaleQ, q).slot(Slot::ScaleK, k).slot(Slot::ScaleV, v)
    }
    /// Insists on an algorithm.
    pub fn algorithm(&mut self, algorithm: Algorithm) -> &mut Self {
        self.attributes.algorithm = algorithm as u32;
        self
    }
    /// The least exact class accepted.
    pub fn accuracy(&mut self, least: Accuracy) -> &mut Self {
        self.accuracy = least;
        self
    }
    /// What must be promised besides.
    pub fn require(&mut self, requirements: Requirements) -> &mut Self {
        self.requirements = self.requirements | requirements;
        self
    }
    /// Axes that may be shorter at a run; strides stay as planned.
    pub fn dynamic(&mut self, axes: Axes) -> &mut Self {
        self.dynamic = self.dynamic | axes;
        self
    }
    /// Slots that are read and written in place, by bit; [`append`](Self::append) says it of K and V.
    pub fn aliases(&mut self, slots: u64) -> &mut Self {
        self.aliases = slots;
        self
    }
    /// What has no name of its own here.
    pub fn attributes_mut(&mut self) -> &mut sys::sage_attention_attributes {
        &mut self.attributes
    }
    /// What was set so far, in the C API's form.
    pub fn attributes(&self) -> &sys::sage_attention_attributes {
        &self.attributes
    }

    /// `SAGE_ATTN_F_*`: all that is asked for.
    pub fn features(&self) -> Result<u64> {
        let mut bits = 0;
        check(|error| self.with_raw(|op| unsafe { sys::sage_attention_features(op, &mut bits, error) }))?;
        Ok(bits)
    }

    /// The op in the C API's form, during the call. Nothing is allocated.
    pub(crate) fn with_raw<R>(&self, call: impl FnOnce(&sys::sage_op) -> R) -> R {
        let (slots, num_slots) = self.slots();
        let mut attributes = self.attributes;
        attributes.struct_size = size_of::<sys::sage_attention_attributes>() as u32; // whatever was made of it
        let op = sys::sage_op {
            struct_size: size_of::<sys::sage_op>() as u32,
            kind: sys::SAGE_OP_ATTENTION,
            requirements: self.requirements.0,
            accuracy: self.accuracy as u32,
            dynamic_axes: self.dynamic.0,
            num_slots,
            aliases: self.aliases,
            attributes: ptr::addr_of!(attributes).cast(),
            slots: slots.as_ptr(),
        };
        call(&op)
    }
    /// A pointer or null for each slot, and how many there are up to the last that is set.
    #[inline]
    pub(crate) fn slots(&self) -> ([*const sys::sage_tensor; SLOTS], u32) {
        let mut slots = [ptr::null(); SLOTS];
        let count = 32 - self.present.leading_zeros();
        for (index, slot) in slots.iter_mut().enumerate().take(count as usize) {
            if self.present >> index & 1 == 1 {
                *slot = &self.tensors[index];
            }
        }
        (slots, count)
    }
    /// The slots a plan of this op writes to.
    pub(crate) fn writes(&self) -> u32 {
        let appended =
            if self.present & (Slot::KNew.bit() | Slot::VNew.bit()) != 0 { Slot::K.bit() | Slot::V.bit() } else { 0 };
        Slot::outputs() | appended | self.aliases as u32
    }
    /// Memory that was only lent for reading is not written to, whatever slot it was put into.
    #[inline]
    pub(crate) fn require_writable(&self, writes: u32) -> Result<()> {
        let missing = self.present & writes & !self.writable;
        if missing == 0 {
            return Ok(());
        }
        Err(read_only(missing))
    }
    pub(crate) fn constants(&self) -> &[Constant] {
        &self.constants
    }
}

#[cold]
fn read_only(slots: u32) -> Error {
    let slot = ALL_SLOTS[slots.trailing_zeros() as usize];
    Error::invalid(format!("{slot:?} is written to and was given as a TensorView; give it as a TensorViewMut"))
}
