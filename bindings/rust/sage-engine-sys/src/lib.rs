//! Declarations of libsage: every struct, constant and function of `sage/types.h`, `sage/attention.h`, `sage/sage.h`,
//! `sage/sparse.h`, `sage/quantize.h`, and of `sage/ops.h` what an attention call needs. Nothing is added; the headers
//! say what it means, and the crate `sage-engine` is the safe way in.
//!
//! Enumerations of C are integers there too, so no value of a newer library is undefined behaviour here.
//! The layout of the structs is compared with `abi/layout.txt` by a test.
#![allow(non_camel_case_types)]

#[allow(clippy::unnecessary_cast)] // the table casts them all alike
mod constants;
mod functions;
mod types;

pub use constants::*;
pub use functions::*;
pub use types::*;

/// `SAGE_OK` or a `SAGE_E_*`.
pub type sage_status = i32;
/// DLPack's data type in one word: a `SAGE_F32` and the like.
pub type sage_dtype = u32;
