//! Attention with everything it can do, described: tensors by slot, and how they are meant.
use std::any::Any;
use std::marker::PhantomData;
use std::mem::size_of;
use std::ptr;
use std::sync::Arc;

use crate::element::Element;
use crate::engine::Align;
use crate::error::{check, Result};
use crate::slot::{Accuracy, Algorithm, Axes, Granularity, Requirements, Slot, SLOTS};
use crate::sys;
use crate::tensor::{TensorView, TensorViewMut};

/// An attention call: its tensors and what is meant by them. Descriptions are enough to plan it
/// ([`Engine::plan`](crate::Engine::plan)); to run it ([`AttentionContext::run`](crate::AttentionContext::run)) they
/// need memory, which is borrowed as long as this lives.
///
/// What the library writes must be given as a [`TensorViewMut`]: O, LSE, WEIGHTS, SCORES, and K and V where keys are
/// appended. Anything else is refused, by the plan and by a run.
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
    /// By slot: it is there.
    present: u32,
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
        self.put(slot, view.as_raw())
    }
    /// A tensor that may be written.
    pub fn slot_mut(&mut self, slot: Slot, view: TensorViewMut<'a>) -> &mut Self {
        self.put(slot, view.as_raw())
    }
    /// Contiguous elements that never change, weights of a cross attention: the plan may prepack them, and holds
    /// them.
    pub fn constant<T: Element>(&mut self, slot: Slot, data: Arc<[T]>, shape: &[usize]) -> Result<&mut Self> {
        let mut raw = *TensorView::new(&data, shape)?.as_raw();
        raw.flags |= sys::SAGE_TENSOR_CONSTANT;
        self.constants.push(Arc::new(data));
        Ok(self.put(slot, &raw))
    }
    fn put(&mut self, slot: Slot, raw: &sys::sage_tensor) -> &mut Self {
        self.tensors[slot as usize] = *raw;
        self.present |= slot.bit();
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
    /// K and V are a cache: the new ones are written behind the keys in use ([`kv_lengths`](Self::kv_lengths)), then
    /// attended to.
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
    pub(crate) fn constants(&self) -> &[Constant] {
        &self.constants
    }
}
