//! What a tensor is made of: the library's types by name, and the Rust types whose memory they are.
use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};
use crate::sys;

/// The type of a tensor's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[allow(missing_docs)] // the names say it
pub enum Dtype {
    I8,
    I16,
    I32,
    I64,
    U8,
    U64,
    F16,
    F32,
    F64,
    Bf16,
    /// One byte, 0 or 1.
    Bool,
    F8E4M3Fn,
    F8E5M2,
}

const DTYPES: [(Dtype, sys::sage_dtype, &str); 13] = [
    (Dtype::I8, sys::SAGE_I8, "i8"),
    (Dtype::I16, sys::SAGE_I16, "i16"),
    (Dtype::I32, sys::SAGE_I32, "i32"),
    (Dtype::I64, sys::SAGE_I64, "i64"),
    (Dtype::U8, sys::SAGE_U8, "u8"),
    (Dtype::U64, sys::SAGE_U64, "u64"),
    (Dtype::F16, sys::SAGE_F16, "f16"),
    (Dtype::F32, sys::SAGE_F32, "f32"),
    (Dtype::F64, sys::SAGE_F64, "f64"),
    (Dtype::Bf16, sys::SAGE_BF16, "bf16"),
    (Dtype::Bool, sys::SAGE_BOOL, "bool"),
    (Dtype::F8E4M3Fn, sys::SAGE_F8_E4M3FN, "f8_e4m3fn"),
    (Dtype::F8E5M2, sys::SAGE_F8_E5M2, "f8_e5m2"),
];

impl Dtype {
    /// The C API's number, `SAGE_F32` and the like.
    pub fn code(self) -> u32 {
        DTYPES[self as usize].1
    }
    /// From the C API's number; an error for one of a newer library.
    pub fn from_code(code: u32) -> Result<Dtype> {
        match DTYPES.iter().find(|known| known.1 == code) {
            Some(known) => Ok(known.0),
            None => Err(Error::invalid(format!("the data type {code:#010x} is not one this binding knows"))),
        }
    }
    /// `"f32"`
    pub fn name(self) -> &'static str {
        DTYPES[self as usize].2
    }
    /// Bytes of one element.
    pub fn size(self) -> usize {
        (self.code() >> 8 & 0xff) as usize / 8
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Dtype {
    type Err = Error;
    fn from_str(name: &str) -> Result<Dtype> {
        match DTYPES.iter().find(|known| known.2 == name) {
            Some(known) => Ok(known.0),
            None => Err(Error::invalid(format!("{name:?} is not a data type; f32, bf16, i8, bool and others are"))),
        }
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A Rust type that is, bit for bit, an element of a tensor.
///
/// # Safety
/// Sealed. Size and layout are those of `DTYPE`; there is no padding.
pub unsafe trait Element: sealed::Sealed + Copy + Send + Sync + 'static {
    /// What the library calls it.
    const DTYPE: Dtype;
}

/// An [`Element`] whose every bit pattern is a value: memory the library may write to.
///
/// # Safety
/// Sealed. Not `bool`, which has two patterns only: [`Bool8`] is.
pub unsafe trait ElementMut: Element {}

/// An [`ElementMut`] that attention computes in.
pub trait Float: ElementMut {}

/// A 16-bit IEEE float, by its bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct F16(pub u16);

/// A bfloat16, by its bits: the upper half of an `f32`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Bf16(pub u16);

/// An 8-bit float of 4 exponent and 3 mantissa bits, no infinities, by its bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct F8E4M3Fn(pub u8);

/// An 8-bit float of 5 exponent and 2 mantissa bits, by its bits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct F8E5M2(pub u8);

/// A truth value in a byte that the library may write: 0 is false.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Bool8(pub u8);

macro_rules! elements {
    ($($rust:ty => $dtype:ident),*) => {$(
        impl sealed::Sealed for $rust {}
        unsafe impl Element for $rust {
            const DTYPE: Dtype = Dtype::$dtype;
        }
    )*};
}
elements! {
    i8 => I8, i16 => I16, i32 => I32, i64 => I64, u8 => U8, u64 => U64, f32 => F32, f64 => F64, F16 => F16, Bf16 => Bf16,
    F8E4M3Fn => F8E4M3Fn, F8E5M2 => F8E5M2, bool => Bool, Bool8 => Bool
}

macro_rules! writable {
    ($($rust:ty),*) => {$(unsafe impl ElementMut for $rust {})*};
}
writable!(i8, i16, i32, i64, u8, u64, f32, f64, F16, Bf16, F8E4M3Fn, F8E5M2, Bool8);

impl Float for f32 {}
impl Float for f64 {}
impl Float for F16 {}
impl Float for Bf16 {}

impl From<bool> for Bool8 {
    fn from(value: bool) -> Bool8 {
        Bool8(value.into())
    }
}
impl From<Bool8> for bool {
    fn from(value: Bool8) -> bool {
        value.0 != 0
    }
}

impl Bf16 {
    /// Rounds to the nearest, ties to even.
    pub fn from_f32(value: f32) -> Bf16 {
        let bits = value.to_bits();
        if value.is_nan() {
            return Bf16((bits >> 16) as u16 | 0x40); // stays a NaN, quiet
        }
        Bf16(((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16)
    }
}
impl From<Bf16> for f32 {
    fn from(value: Bf16) -> f32 {
        f32::from_bits(u32::from(value.0) << 16)
    }
}

impl F16 {
    /// Rounds to the nearest, ties to even; what is too large becomes an infinity.
    pub fn from_f32(value: f32) -> F16 {
        let bits = value.to_bits();
        let sign = (bits >> 16 & 0x8000) as u16;
        let magnitude = bits & 0x7fff_ffff;
        if magnitude > 0x7f80_0000 {
            return F16(sign | 0x7e00 | (magnitude >> 13 & 0x3ff) as u16);
        }
        if magnitude >= 0x4780_0000 {
            return F16(sign | 0x7c00); // 2^16 and above; rounding carries the rest there
        }
        if magnitude < 0x3880_0000 {
            // Below 2^-14 steps are 2^-24; adding 0.5 to the magnitude in f32 leaves such steps in the lowest bits,
            // rounded.
            let steps = (f32::from_bits(magnitude) + 0.5).to_bits() - 0.5f32.to_bits();
            return F16(sign | steps as u16);
        }
        let rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
        F16(sign | ((rounded - 0x3800_0000) >> 13) as u16)
    }
}
impl From<F16> for f32 {
    fn from(value: F16) -> f32 {
        let sign = u32::from(value.0 & 0x8000) << 16;
        let magnitude = u32::from(value.0 & 0x7fff);
        let bits = match magnitude {
            0..=0x3ff => (magnitude as f32 / 16_777_216.0).to_bits(), // exact: at most 10 bits times 2^-24
            0x400..=0x7bff => (magnitude << 13) + 0x3800_0000,
            _ => 0x7f80_0000 | (magnitude & 0x3ff) << 13,
        };
        f32::from_bits(sign | bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dtypes_have_their_names_and_sizes() {
        for (index, (dtype, code, name)) in DTYPES.iter().enumerate() {
            assert_eq!(*dtype as usize, index);
            assert_eq!(Dtype::from_code(*code), Ok(*dtype));
            assert_eq!(name.parse(), Ok(*dtype));
        }
        assert_eq!((Dtype::Bf16.size(), Dtype::F64.size(), Dtype::Bool.size()), (2, 8, 1));
        assert!(Dtype::from_code(7).is_err() && "float".parse::<Dtype>().is_err());
    }

    #[test]
    fn halves_go_there_and_back() {
        for bits in 0..=u16::MAX {
            let (f16, bf16) = (F16(bits), Bf16(bits));
            if !f32::from(f16).is_nan() {
                assert_eq!(F16::from_f32(f16.into()), f16);
            }
            if !f32::from(bf16).is_nan() {
                assert_eq!(Bf16::from_f32(bf16.into()), bf16);
            }
        }
        assert!(f32::from(F16::from_f32(f32::NAN)).is_nan() && f32::from(Bf16::from_f32(f32::NAN)).is_nan());
    }

    #[test]
    fn rounding_is_to_the_nearest_and_ties_go_to_even() {
        for bits in 0..0x7bffu16 {
            let (low, high) = (f32::from(F16(bits)), f32::from(F16(bits + 1)));
            let middle = (low + high) / 2.0; // exact in f32
            let even = if bits & 1 == 0 { bits } else { bits + 1 };
            assert_eq!(F16::from_f32(middle), F16(even), "{middle:e}");
            assert_eq!(F16::from_f32(f32::from_bits(middle.to_bits() - 1)), F16(bits), "{middle:e}");
            assert_eq!(F16::from_f32(-f32::from_bits(middle.to_bits() + 1)), F16((bits + 1) | 0x8000), "{middle:e}");
        }
        assert_eq!(F16::from_f32(65520.0), F16(0x7c00));
        assert_eq!(F16::from_f32(65519.0), F16(0x7bff));
        assert_eq!(Bf16::from_f32(f32::from_bits(0x3f80_8000)), Bf16(0x3f80));
        assert_eq!(Bf16::from_f32(f32::from_bits(0x3f81_8000)), Bf16(0x3f82));
        assert_eq!(Bf16::from_f32(f32::MAX), Bf16(0x7f80));
    }
}
