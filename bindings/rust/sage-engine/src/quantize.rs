//! Floats as signed integers with scales, value = scale * code, as `sage/quantize.h` defines them: pure functions, any
//! thread.
use std::ptr;

use crate::error::{check, Result};
use crate::slot::Granularity;
use crate::sys;
use crate::tensor::{TensorView, TensorViewMut};

/// Which scale is whose. x, codes, scales and means have the types and shapes that `sage/quantize.h` gives them; what
/// does not fit is refused by name.
///
/// ```
/// # use sage_engine::*;
/// let x = [0.5f32, -2.0, 0.25, 1.0]; // two tokens of two channels
/// let shape = [1, 1, 2, 2];
/// let (mut codes, mut scale) = ([0i8; 4], [0f32; 2]);
/// let by_token = Quantization::new(Granularity::Token);
/// let report = by_token.quantize(
///     TensorView::new(&x, &shape)?,
///     TensorViewMut::new(&mut codes, &shape)?,
///     TensorViewMut::new(&mut scale, &[1, 1, 2])?,
///     None,
/// )?;
/// assert_eq!(codes, [32, -127, 32, 127]);
/// assert_eq!(scale, [2.0 / 127.0, 1.0 / 127.0]);
/// assert_eq!(report.code_bytes * 4, 16);
///
/// let mut back = [0f32; 4];
/// let codes = TensorView::new(&codes, &shape)?;
/// by_token.dequantize(codes, TensorView::new(&scale, &[1, 1, 2])?, None, TensorViewMut::new(&mut back, &shape)?)?;
/// assert!(back.iter().zip(x).all(|(back, x)| (back - x).abs() <= 1.0 / 127.0));
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Quantization<'a> {
    granularity: Granularity,
    scale_block: u32,
    cu_seqlens: Option<TensorView<'a>>,
}

/// What [`Quantization::quantize`] did.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct QuantizeReport {
    /// Of x.
    pub elements: u64,
    /// Values beyond what given scales reach.
    pub saturated: u64,
    /// Groups of zeros: their codes are 0 and their scale is 1.
    pub zero_groups: u64,
    /// Of the codes alone.
    pub code_bytes: u64,
    /// Of scales and means.
    pub scale_bytes: u64,
    /// Of scale * code (+ mean) against x.
    pub max_abs_error: f64,
    /// The same, root of the mean square.
    pub rms_error: f64,
}

impl<'a> Quantization<'a> {
    /// Of a granularity other than blocks, without packed sequences.
    pub fn new(granularity: Granularity) -> Quantization<'a> {
        Quantization { granularity, scale_block: 0, cu_seqlens: None }
    }
    /// A scale for each so many tokens: [`Granularity::Block`].
    pub fn blocks(tokens: u32) -> Quantization<'a> {
        Quantization { granularity: Granularity::Block, scale_block: tokens, cu_seqlens: None }
    }
    /// i32 `[B+1]`: where packed sequences begin, and the last one ends. For means, and scales of each sequence.
    pub fn cu_seqlens(mut self, starts: TensorView<'a>) -> Quantization<'a> {
        self.cu_seqlens = Some(starts);
        self
    }

    /// Writes codes, their scales (absmax) and, where there is room for it, the mean of each sequence and channel, which
    /// is subtracted first. NaN and infinities are refused with their place; after an error nothing was written.
    pub fn quantize(
        &self,
        x: TensorView<'_>,
        codes: TensorViewMut<'_>,
        scale: TensorViewMut<'_>,
        mean: Option<TensorViewMut<'_>>,
    ) -> Result<QuantizeReport> {
        self.call(0, x, codes, scale.as_raw(), mean)
    }
    /// The same with scales that are given: what they do not reach saturates, and is counted.
    pub fn quantize_with(
        &self,
        x: TensorView<'_>,
        codes: TensorViewMut<'_>,
        scale: TensorView<'_>,
        mean: Option<TensorViewMut<'_>>,
    ) -> Result<QuantizeReport> {
        self.call(sys::SAGE_QUANTIZE_GIVEN_SCALES, x, codes, scale.as_raw(), mean)
    }
    fn call(
        &self,
        flags: u32,
        x: TensorView<'_>,
        codes: TensorViewMut<'_>,
        scale: &sys::sage_tensor,
        mean: Option<TensorViewMut<'_>>,
    ) -> Result<QuantizeReport> {
        let mean = mean.as_ref().map_or(ptr::null(), |mean| mean.as_raw());
        let mut raw = sys::sage_quantize_report::default();
        check(|error| unsafe {
            let (x, codes, starts) = (x.as_raw(), codes.as_raw(), self.starts());
            let granularity = self.granularity as u32;
            sys::sage_quantize(x, granularity, self.scale_block, flags, starts, codes, scale, mean, &mut raw, error)
        })?;
        Ok(QuantizeReport {
            elements: raw.elements,
            saturated: raw.saturated,
            zero_groups: raw.zero_groups,
            code_bytes: raw.code_bytes,
            scale_bytes: raw.scale_bytes,
            max_abs_error: raw.max_abs_error,
            rms_error: raw.rms_error,
        })
    }

    /// `x = scale * codes + mean`, rounded to x's type.
    pub fn dequantize(
        &self,
        codes: TensorView<'_>,
        scale: TensorView<'_>,
        mean: Option<TensorView<'_>>,
        x: TensorViewMut<'_>,
    ) -> Result<()> {
        let mean = mean.as_ref().map_or(ptr::null(), |mean| mean.as_raw());
        check(|error| unsafe {
            let (codes, scale, x, starts) = (codes.as_raw(), scale.as_raw(), x.as_raw(), self.starts());
            sys::sage_dequantize(codes, self.granularity as u32, self.scale_block, starts, scale, mean, x, error)
        })
    }

    fn starts(&self) -> *const sys::sage_tensor {
        self.cu_seqlens.as_ref().map_or(ptr::null(), |starts| starts.as_raw())
    }
}
