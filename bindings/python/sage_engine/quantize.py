"""Floats as signed integers with scales, value = scale * code, as the scale slots of an attention take them. Pure
functions, any thread; sage/quantize.h says what they compute."""

from __future__ import annotations

import ctypes
from typing import Any, Dict, List, NamedTuple, Optional, Tuple, Union

import numpy as np

from . import constants as c
from ._ffi import sage_quantize_report, whole
from ._handle import new_error, refuse
from ._library import library
from .enums import Dtype, Granularity
from .errors import ArrayError, InvalidArgumentError
from .tensor import ArrayLike, DtypeLike, Tensor, as_tensor, numpy_dtype


class QuantizeReport(NamedTuple):
    """What quantize() did. saturated: values beyond what given scales reach. zero_groups: their codes are 0 and their
    scale is 1. code_bytes: of the codes alone. The errors are of scale * code (+ mean) against x."""

    elements: int
    saturated: int
    zero_groups: int
    code_bytes: int
    scale_bytes: int
    max_abs_error: float
    rms_error: float


class Quantized(NamedTuple):
    """Codes, their scales, the means that were subtracted or None, and what was done."""

    codes: Any
    scale: Any
    mean: Any
    report: QuantizeReport


def quantize(
    x: ArrayLike,
    granularity: int,
    *,
    scale_block: int = 0,
    dtype: DtypeLike = Dtype.I8,
    scale: Optional[ArrayLike] = None,
    mean: Union[bool, ArrayLike] = False,
    cu_seqlens: Optional[ArrayLike] = None,
    codes: Optional[ArrayLike] = None,
    scale_out: Optional[ArrayLike] = None,
    x_dtype: Optional[DtypeLike] = None,
) -> Quantized:
    """x, f64, f32, f16 or bf16, [B,H,S,D] or packed [T,H,D], as i8 or i16 (dtype).

    granularity: what shares a scale, a Granularity; scale_block: tokens, with Granularity.BLOCK.
    scale: given ones; what they do not reach saturates, and the report counts it. None: the largest magnitude's.
    mean: True, or f32 [B,H,D] to write it to: of each sequence and channel, subtracted first. Packed: with cu_seqlens.
    cu_seqlens: i32 [B+1], where packed sequences begin, and the last one ends.
    codes, scale_out: memory to write to instead of new numpy arrays.    x_dtype: "bf16" for an array of uint16.
    NaN and infinities are refused with their place; after an error nothing was written.
    """
    source = as_tensor(x, x_dtype, name="x")
    kind = whole("granularity", granularity, ctypes.c_uint32)
    block = whole("scale_block", scale_block, ctypes.c_uint32)
    starts = None if cu_seqlens is None else as_tensor(cu_seqlens, name="cu_seqlens")
    if scale is not None and scale_out is not None:
        raise InvalidArgumentError("scale and scale_out were both given; scales are read or written")
    if codes is None:
        codes = _empty(source.shape, numpy_dtype(dtype))
    made_scale = scale if scale is not None else scale_out
    if made_scale is None:
        made_scale = _empty(_scale_shape(source.shape, kind, block), np.dtype(np.float32))
    made_mean = None if mean is False else mean
    if mean is True:
        made_mean = _empty(_mean_shape(source.shape, starts), np.dtype(np.float32))
    out, scales = as_tensor(codes, name="codes"), as_tensor(made_scale, name="scale")
    means = None if made_mean is None else as_tensor(made_mean, name="mean")
    report, error = sage_quantize_report(), new_error()
    status = library().call.sage_quantize(
        _raw(source),
        kind,
        block,
        0 if scale is None else c.SAGE_QUANTIZE_GIVEN_SCALES,
        _raw(starts),
        _raw(out),
        _raw(scales),
        _raw(means),
        ctypes.byref(report),
        ctypes.byref(error),
    )
    if status:
        refuse(status, error)
    told = QuantizeReport(*(getattr(report, name) for name in QuantizeReport._fields))
    return Quantized(codes, made_scale, made_mean, told)


def dequantize(
    codes: ArrayLike,
    scale: ArrayLike,
    granularity: int,
    *,
    scale_block: int = 0,
    mean: Optional[ArrayLike] = None,
    cu_seqlens: Optional[ArrayLike] = None,
    dtype: DtypeLike = Dtype.F32,
    out: Optional[ArrayLike] = None,
    out_dtype: Optional[DtypeLike] = None,
) -> Any:
    """scale * codes + mean, rounded to dtype: out, or a new numpy array (uint16 for the bits of bf16). The other
    arguments are those of quantize(). out_dtype: "bf16" for an out of uint16."""
    given, scales = as_tensor(codes, name="codes"), as_tensor(scale, name="scale")
    kind = whole("granularity", granularity, ctypes.c_uint32)
    block = whole("scale_block", scale_block, ctypes.c_uint32)
    means = None if mean is None else as_tensor(mean, name="mean")
    starts = None if cu_seqlens is None else as_tensor(cu_seqlens, name="cu_seqlens")
    if out is None:
        out_dtype = Dtype.of(dtype)
        out = _empty(given.shape, numpy_dtype(out_dtype))
    result, error = as_tensor(out, out_dtype, name="out"), new_error()
    status = library().call.sage_dequantize(
        _raw(given), kind, block, _raw(starts), _raw(scales), _raw(means), _raw(result), ctypes.byref(error)
    )
    if status:
        refuse(status, error)
    return out


def _raw(tensor: Optional[Tensor]) -> Any:
    """Good as long as the tensor is."""
    return None if tensor is None else ctypes.byref(tensor.raw())


def _empty(shape: Tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    try:
        return np.empty(shape, dtype)
    except ValueError as error:
        raise ArrayError(f"no array of the shape {shape} can be made: {error}") from None


def _scale_shape(x: Tuple[int, ...], granularity: int, block: int) -> Tuple[int, ...]:
    """One for each sequence of a padded batch, one for all of packed rows. What cannot be is left to the library."""
    packed = len(x) == 3
    if len(x) not in (3, 4) or granularity == Granularity.TENSOR:
        return (1,)
    front: List[int] = [1, x[1]] if packed else [x[0], x[1]]
    tokens = x[0] if packed else x[2]
    if granularity == Granularity.TOKEN and packed:
        return (x[1], tokens)
    last: Dict[int, List[int]] = {
        Granularity.TOKEN: [tokens],
        Granularity.CHANNEL: [x[-1]],
        Granularity.BLOCK: [-(-tokens // max(block, 1))],
    }
    return (*front, *last.get(granularity, []))


def _mean_shape(x: Tuple[int, ...], starts: Optional[Tensor]) -> Tuple[int, ...]:
    if len(x) == 3 and starts is not None and len(starts.shape) == 1:
        return (max(starts.shape[0] - 1, 0), x[1], x[2])
    return (x[0], x[1], x[-1]) if len(x) >= 2 else (1,)
