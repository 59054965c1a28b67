//! Views of memory that somebody else owns, with a shape and strides. They are checked to lie inside that memory when
//! they are made, so that nothing a safe program says makes the library read or write elsewhere.
use std::ffi::c_void;
use std::marker::PhantomData;
use std::ptr;

use crate::element::{Dtype, Element, ElementMut};
use crate::error::{Error, Result, Status};
use crate::sys;

/// Number of elements.
pub(crate) fn count_of(shape: &[usize]) -> Result<usize> {
    let mut count = 1usize;
    for &length in shape {
        // A length of 0 elsewhere does not make 2^63 a length.
        count = match count.checked_mul(length) {
            Some(count) if length <= i64::MAX as usize => count,
            _ => return Err(Error::invalid(format!("the shape {shape:?} has too many elements"))),
        };
    }
    Ok(count)
}

/// A shape as the library takes it.
pub(crate) fn lengths(shape: &[usize]) -> Result<[i64; sys::SAGE_MAX_RANK]> {
    if shape.len() > sys::SAGE_MAX_RANK {
        return Err(Error::invalid(format!("a tensor has {} axes; {} at most", shape.len(), sys::SAGE_MAX_RANK)));
    }
    let mut lengths = [0; sys::SAGE_MAX_RANK];
    for (to, &from) in lengths.iter_mut().zip(shape) {
        *to = i64::try_from(from).map_err(|_| Error::invalid(format!("the shape {shape:?} has too many elements")))?;
    }
    Ok(lengths)
}

/// The bytes of a slice of elements.
pub(crate) fn bytes_of<T: Element>(data: &[T]) -> &[u8] {
    // An Element has no padding.
    unsafe { std::slice::from_raw_parts(data.as_ptr().cast(), std::mem::size_of_val(data)) }
}

/// The bytes of a slice of elements, writable: every pattern of bits is a value.
pub(crate) fn bytes_of_mut<T: ElementMut>(data: &mut [T]) -> &mut [u8] {
    unsafe { std::slice::from_raw_parts_mut(data.as_mut_ptr().cast(), std::mem::size_of_val(data)) }
}

/// An error, and not the end of the process, where there is no room for as many as the library names.
pub(crate) fn zeros<T: Element + Default>(count: u64) -> Result<Vec<T>> {
    let mut data = Vec::new();
    let length = usize::try_from(count).unwrap_or(usize::MAX);
    data.try_reserve_exact(length).map_err(|_| {
        Error::new(Status::OutOfMemory, format!("{count} elements of {} do not fit into memory", T::DTYPE))
    })?;
    data.resize(length, T::default());
    Ok(data)
}

/// Row-major, and the memory has exactly the shape's size.
fn contiguous(dtype: Dtype, shape: &[usize], data: *mut c_void, bytes: usize) -> Result<sys::sage_tensor> {
    let lengths = lengths(shape)?;
    let count = count_of(shape)?;
    if count.checked_mul(dtype.size()) != Some(bytes) {
        return Err(Error::invalid(format!(
            "a shape of {count} elements of {dtype} was given with {bytes} bytes; {} are expected",
            count.saturating_mul(dtype.size())
        )));
    }
    Ok(sys::sage_tensor::new(dtype.code(), &lengths[..shape.len()], data))
}

/// Element [0,..,0] is `offset` elements into the memory; every element lies inside it.
fn strided(
    dtype: Dtype,
    shape: &[usize],
    strides: &[isize],
    offset: usize,
    data: *mut c_void,
    bytes: usize,
) -> Result<sys::sage_tensor> {
    if strides.len() != shape.len() {
        return Err(Error::invalid(format!("{} strides for {} axes; each needs one", strides.len(), shape.len())));
    }
    let lengths = lengths(shape)?;
    let (mut lowest, mut highest) = (offset as i128, offset as i128);
    for (&length, &stride) in shape.iter().zip(strides) {
        let reach = (length as i128 - 1).max(0) * stride as i128; // below 2^126
        lowest = lowest.saturating_add(reach.min(0));
        highest = highest.saturating_add(reach.max(0));
    }
    let (empty, held) = (shape.contains(&0), (bytes / dtype.size()) as i128);
    if (!empty && (lowest < 0 || highest >= held)) || offset as i128 > held {
        return Err(Error::invalid(format!(
            "shape {shape:?} with strides {strides:?} from element {offset} reaches from element {lowest} to {highest}; the \
             memory has {held}"
        )));
    }
    let start = data.cast::<u8>().wrapping_add(offset * dtype.size()).cast();
    let mut tensor = sys::sage_tensor::new(dtype.code(), &lengths[..shape.len()], start);
    for (to, &from) in tensor.stride.iter_mut().zip(strides) {
        *to = from as i64;
    }
    Ok(tensor)
}

/// Row-major, without memory.
fn described(dtype: Dtype, shape: &[usize]) -> Result<sys::sage_tensor> {
    let lengths = lengths(shape)?;
    count_of(shape)?;
    Ok(sys::sage_tensor::new(dtype.code(), &lengths[..shape.len()], ptr::null_mut()))
}

/// A tensor that is read: borrowed memory, or a description without any. Where it would be written, the library refuses
/// it.
///
/// ```
/// # use sage_engine::{Dtype, TensorView};
/// let data = [1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0];
/// let rows = TensorView::new(&data, &[2, 3])?;
/// let columns = TensorView::strided(&data, &[3, 2], &[1, 3], 0)?; // the same, transposed
/// let backwards = TensorView::strided(&data, &[6], &[-1], 5)?;
/// let repeated = TensorView::strided(&data[..3], &[4, 3], &[0, 1], 0)?;
/// assert!(TensorView::new(&data, &[2, 4]).is_err());
/// let planned_only = TensorView::describe(Dtype::Bf16, &[1, 8, 512, 64])?;
/// # Ok::<(), sage_engine::Error>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct TensorView<'a> {
    raw: sys::sage_tensor,
    memory: PhantomData<&'a [u8]>,
}

// What a shared slice of an Element is.
unsafe impl Send for TensorView<'_> {}
unsafe impl Sync for TensorView<'_> {}

impl<'a> TensorView<'a> {
    /// Contiguous, row-major; the slice has exactly the shape's number of elements.
    pub fn new<T: Element>(data: &'a [T], shape: &[usize]) -> Result<TensorView<'a>> {
        TensorView::from_bytes(T::DTYPE, bytes_of(data), shape)
    }
    /// The same of bytes, which need no alignment.
    pub fn from_bytes(dtype: Dtype, data: &'a [u8], shape: &[usize]) -> Result<TensorView<'a>> {
        Ok(TensorView::wrap(contiguous(dtype, shape, data.as_ptr() as *mut c_void, data.len())?))
    }
    /// With a stride for each axis, in elements: 0 repeats it, a negative one walks back. `offset`: where in the
    /// slice element [0,..,0] lies.
    pub fn strided<T: Element>(
        data: &'a [T],
        shape: &[usize],
        strides: &[isize],
        offset: usize,
    ) -> Result<TensorView<'a>> {
        TensorView::strided_bytes(T::DTYPE, bytes_of(data), shape, strides, offset)
    }
    /// The same of bytes, which need no alignment; strides and offset are in elements still.
    pub fn strided_bytes(
        dtype: Dtype,
        data: &'a [u8],
        shape: &[usize],
        strides: &[isize],
        offset: usize,
    ) -> Result<TensorView<'a>> {
        Ok(TensorView::wrap(strided(dtype, shape, strides, offset, data.as_ptr() as *mut c_void, data.len())?))
    }
    /// Without memory: enough for planning.
    pub fn describe(dtype: Dtype, shape: &[usize]) -> Result<TensorView<'static>> {
        Ok(TensorView::wrap(described(dtype, shape)?))
    }
    /// As the C API has it: memory of a device, flags, anything; `SAGE_TENSOR_READ_ONLY` is added.
    ///
    /// # Safety
    /// The description is true, its memory may be read as long as `'a` lasts, and nobody writes to it then. With
    /// `SAGE_TENSOR_CONSTANT` among the flags: as long as any plan made of it.
    pub unsafe fn from_raw(raw: sys::sage_tensor) -> TensorView<'a> {
        TensorView::wrap(raw)
    }
    // The flag is what keeps safe programs from having shared memory written: only the library knows what an op or a
    // model writes.
    fn wrap(mut raw: sys::sage_tensor) -> TensorView<'a> {
        raw.flags |= sys::SAGE_TENSOR_READ_ONLY;
        TensorView { raw, memory: PhantomData }
    }
    /// The description as the C API has it.
    pub fn as_raw(&self) -> &sys::sage_tensor {
        &self.raw
    }
}

/// A tensor that is written to, or read and written: memory borrowed alone.
#[derive(Debug)]
pub struct TensorViewMut<'a> {
    raw: sys::sage_tensor,
    memory: PhantomData<&'a mut [u8]>,
}

// What a unique slice of an Element is.
unsafe impl Send for TensorViewMut<'_> {}
unsafe impl Sync for TensorViewMut<'_> {}

impl<'a> TensorViewMut<'a> {
    /// Contiguous, row-major; the slice has exactly the shape's number of elements.
    pub fn new<T: ElementMut>(data: &'a mut [T], shape: &[usize]) -> Result<TensorViewMut<'a>> {
        TensorViewMut::from_bytes(T::DTYPE, bytes_of_mut(data), shape)
    }
    /// The same of bytes, which need no alignment.
    pub fn from_bytes(dtype: Dtype, data: &'a mut [u8], shape: &[usize]) -> Result<TensorViewMut<'a>> {
        Ok(TensorViewMut::wrap(contiguous(dtype, shape, data.as_mut_ptr().cast(), data.len())?))
    }
    /// With a stride for each axis, in elements. `offset`: where in the slice element [0,..,0] lies.
    pub fn strided<T: ElementMut>(
        data: &'a mut [T],
        shape: &[usize],
        strides: &[isize],
        offset: usize,
    ) -> Result<TensorViewMut<'a>> {
        TensorViewMut::strided_bytes(T::DTYPE, bytes_of_mut(data), shape, strides, offset)
    }
    /// The same of bytes, which need no alignment; strides and offset are in elements still.
    pub fn strided_bytes(
        dtype: Dtype,
        data: &'a mut [u8],
        shape: &[usize],
        strides: &[isize],
        offset: usize,
    ) -> Result<TensorViewMut<'a>> {
        Ok(TensorViewMut::wrap(strided(dtype, shape, strides, offset, data.as_mut_ptr().cast(), data.len())?))
    }
    /// Without memory: enough for planning.
    pub fn describe(dtype: Dtype, shape: &[usize]) -> Result<TensorViewMut<'static>> {
        Ok(TensorViewMut::wrap(described(dtype, shape)?))
    }
    /// As the C API has it.
    ///
    /// # Safety
    /// The description is true, and its memory belongs to the view alone as long as `'a` lasts.
    pub unsafe fn from_raw(raw: sys::sage_tensor) -> TensorViewMut<'a> {
        TensorViewMut::wrap(raw)
    }
    fn wrap(raw: sys::sage_tensor) -> TensorViewMut<'a> {
        TensorViewMut { raw, memory: PhantomData }
    }
    /// The description as the C API has it.
    pub fn as_raw(&self) -> &sys::sage_tensor {
        &self.raw
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_view_stays_inside_its_memory() {
        let data = [0f32; 12];
        let strided =
            |shape: &[usize], strides: &[isize], offset| TensorView::strided(&data, shape, strides, offset).is_ok();
        assert!(strided(&[3, 4], &[4, 1], 0) && strided(&[4, 3], &[1, 4], 0) && strided(&[12], &[-1], 11));
        assert!(strided(&[100, 12], &[0, 1], 0) && strided(&[0, 7], &[1000, 1000], 12) && strided(&[], &[], 11));
        assert!(!strided(&[3, 4], &[4, 1], 1) && !strided(&[12], &[-1], 10) && !strided(&[13], &[1], 0));
        assert!(!strided(&[], &[], 12) && !strided(&[0], &[1], 13) && !strided(&[2], &[1, 1], 0));
        assert!(!strided(&[2, 2], &[isize::MAX, isize::MAX], 0) && !strided(&[usize::MAX], &[isize::MAX], 0));
        assert!(!strided(&[2, 2], &[isize::MIN, isize::MIN], 0) && !strided(&[2], &[1], usize::MAX));
        let view = TensorView::strided(&data, &[2, 3], &[-3, 1], 6).unwrap();
        assert_eq!(view.as_raw().data as usize - data.as_ptr() as usize, 24);
        assert_eq!(view.as_raw().stride[..2], [-3, 1]);
    }

    #[test]
    fn lengths_are_checked_without_overflow() {
        let data = [0u8; 4];
        for shape in [&[5usize][..], &[usize::MAX, 2], &[1 << 63, 2], &[1 << 62, 4, 1], &[1 << 63, 0], &[3]] {
            assert!(TensorView::new(&data, shape).is_err(), "{shape:?}");
        }
        assert!(TensorView::new(&data, &[1; 9]).unwrap_err().message().contains("9 axes; 8 at most"));
        assert!(TensorView::new(&data, &[1, 4, 1, 1, 1, 1, 1, 1]).is_ok());
        let none: [f64; 0] = [];
        assert!(
            TensorView::new(&none, &[0, 5]).is_ok()
                && !TensorView::new(&none, &[0, 5]).unwrap().as_raw().data.is_null()
        );
        assert!(TensorView::new(&[1.0f64], &[]).is_ok());
        assert!(TensorView::describe(Dtype::F32, &[usize::MAX]).is_err());
    }
}
