"""Tensor: a view of somebody's memory with a shape, strides and an element type, as the library takes it.

Every call makes one of each array it is given; whoever calls often with the same arrays makes them once. Nothing is
copied here unless copy=True allows it.
"""

from __future__ import annotations

import ctypes
import math
from typing import Any, Optional, Sequence, Tuple, Union

import numpy as np

from . import constants as c
from ._dlpack import borrow, row_major
from ._ffi import sage_tensor
from .enums import Dtype
from .errors import ArrayError, InvalidArgumentError, ShapeError

ArrayLike = Any  # a numpy array, a Tensor, what has __dlpack__ (torch, jax, cupy ...), or what has a buffer
DtypeLike = Union[Dtype, str, int]

_OF_NUMPY = {
    np.dtype(name): kind
    for name, kind in (
        ("int8", Dtype.I8),
        ("int16", Dtype.I16),
        ("int32", Dtype.I32),
        ("int64", Dtype.I64),
        ("uint8", Dtype.U8),
        ("uint64", Dtype.U64),
        ("float16", Dtype.F16),
        ("float32", Dtype.F32),
        ("float64", Dtype.F64),
        ("bool", Dtype.BOOL),
    )
}
# What a library of numpy extension types calls them; looked up by name, so that it need not be installed.
_OF_NAME = {"bfloat16": Dtype.BF16, "float8_e4m3fn": Dtype.F8_E4M3FN, "float8_e5m2": Dtype.F8_E5M2}
_TO_NUMPY = {kind: dtype for dtype, kind in _OF_NUMPY.items()}
_TO_NUMPY.update({Dtype.BF16: np.dtype("uint16"), Dtype.F8_E4M3FN: np.dtype("uint8"), Dtype.F8_E5M2: np.dtype("uint8")})
_HOST = (c.SAGE_CPU, 0)


def numpy_dtype(dtype: DtypeLike) -> np.dtype[Any]:
    """The numpy type that holds such elements: itself, or uint16 and uint8 for the bits of bf16 and fp8."""
    return _TO_NUMPY[Dtype.of(dtype)]


class Tensor:
    """A view. data: a numpy array, what has `__dlpack__` (a torch tensor), or what has a buffer (memoryview, array).

    dtype: needed where numpy has no name for the elements: "bf16" for an array of uint16, "f8_e5m2" for uint8.
    copy: allows a copy where there is no other way: lists, foreign byte order, strides between elements.
    constant: the bytes stay as they are until the plan is gone, which may then pack them once.
    The memory's owner is kept alive. Strides are counted in elements; 0 repeats, negative walks back.
    """

    __slots__ = (
        "dtype",
        "shape",
        "strides",
        "address",
        "device",
        "writable",
        "constant",
        "owner",
        "contiguous",
        "_raw",
        "_extent",
    )

    dtype: Dtype
    shape: Tuple[int, ...]
    strides: Tuple[int, ...]
    address: int
    device: Tuple[int, int]
    writable: bool
    constant: bool
    owner: Any
    contiguous: bool
    _raw: Optional[sage_tensor]
    _extent: Optional[Tuple[int, int]]

    def __init__(
        self,
        data: ArrayLike,
        dtype: Optional[DtypeLike] = None,
        *,
        copy: bool = False,
        constant: bool = False,
        name: str = "array",
    ) -> None:
        self.device, self.constant, self._raw, self._extent = _HOST, constant, None, None
        if isinstance(data, np.ndarray):
            self._take_numpy(data, dtype, copy, name)
        elif isinstance(data, Tensor):
            self._take_tensor(data, dtype, name)
        elif hasattr(data, "__dlpack__"):
            self._take_dlpack(data, dtype, copy, name)
        else:
            self._take_numpy(_from_buffer(data, copy, name), dtype, copy, name)
        if len(self.shape) > c.SAGE_MAX_RANK:
            raise ShapeError(f"{name} has {len(self.shape)} axes, at most {c.SAGE_MAX_RANK} are possible")

    def _take_numpy(self, array: np.ndarray[Any, Any], dtype: Optional[DtypeLike], copy: bool, name: str) -> None:
        known = _OF_NUMPY.get(array.dtype)
        if type(array) is not np.ndarray and isinstance(array, np.ma.MaskedArray):
            raise ArrayError(f"{name} is a masked array, whose mask would be lost; pass .filled(...) of it, and a mask")
        if dtype is not None or known is None:
            known = _named_dtype(array.dtype, dtype, name)
            if array.dtype.kind in "iuf" and not array.dtype.isnative:
                if not copy:
                    raise ArrayError(f"{name} has another byte order than this machine; pass copy=True to allow a copy")
                array = array.astype(array.dtype.newbyteorder("="))
        self.dtype, self.shape, self.owner = known, array.shape, array
        self.contiguous = array.flags.c_contiguous
        if self.contiguous:
            self.strides = row_major(array.shape)
        else:
            size = array.itemsize
            if any(step % size for step in array.strides):
                if not copy:
                    raise ArrayError(
                        f"{name} has strides of {array.strides} bytes, which are no multiples of its "
                        f"elements' {size}; pass copy=True to allow a copy"
                    )
                self._take_numpy(array.copy(), dtype, copy, name)
                return
            self.strides = tuple(step // size for step in array.strides)
        self.writable = array.flags.writeable
        self.address = array.ctypes.data

    def _take_tensor(self, other: Tensor, dtype: Optional[DtypeLike], name: str) -> None:
        if dtype is not None and Dtype.of(dtype) != other.dtype:
            raise ArrayError(f"{name} is a Tensor of {other.dtype.name.lower()}, not of {Dtype.of(dtype).name.lower()}")
        self.dtype, self.shape, self.strides, self.address = other.dtype, other.shape, other.strides, other.address
        self.device, self.writable, self.owner, self.contiguous = other.device, other.writable, other, other.contiguous
        self.constant = self.constant or other.constant

    def _take_dlpack(self, data: Any, dtype: Optional[DtypeLike], copy: bool, name: str) -> None:
        lent = borrow(data, name, copy)
        try:
            known = Dtype(lent.dtype)
        except ValueError:
            if dtype is None:
                raise ArrayError(
                    f"{name}: {type(data).__name__} of type {getattr(data, 'dtype', '?')}, which the "
                    "library has no name for"
                ) from None
            known = Dtype.of(dtype)
        if dtype is not None and Dtype.of(dtype) != known:
            known = Dtype.of(dtype)
        if lent.dtype >> 16 != 1 or (lent.dtype >> 8 & 0xFF) != known.itemsize * 8:
            raise ArrayError(
                f"{name}: its elements have {lent.dtype >> 8 & 0xFF} bits in {lent.dtype >> 16} lanes, "
                f"{known.name.lower()} has {known.itemsize * 8} in 1"
            )
        self.dtype, self.shape, self.strides, self.address = known, lent.shape, lent.strides, lent.address
        self.device, self.writable, self.owner = lent.device, lent.writable, lent
        self.contiguous = _is_row_major(lent.shape, lent.strides)

    @classmethod
    def describe(cls, shape: Sequence[int], dtype: DtypeLike) -> Tensor:
        """Of a shape only, row-major on the CPU, without memory: enough for planning."""
        lengths = tuple(int(length) for length in shape)
        if len(lengths) > c.SAGE_MAX_RANK or any(length < 0 for length in lengths):
            raise ShapeError(f"a shape has at most {c.SAGE_MAX_RANK} lengths of 0 or more, not {lengths}")
        return cls._view(Dtype.of(dtype), lengths, row_major(lengths), 0, _HOST, True, None)

    @classmethod
    def _view(
        cls,
        dtype: Dtype,
        shape: Tuple[int, ...],
        strides: Tuple[int, ...],
        address: int,
        device: Tuple[int, int],
        writable: bool,
        owner: Any,
    ) -> Tensor:
        made = cls.__new__(cls)
        made.dtype, made.shape, made.strides, made.address = dtype, shape, strides, address
        made.device, made.writable, made.owner, made.constant = device, writable, owner, False
        made._raw = made._extent = None
        made.contiguous = _is_row_major(shape, strides)
        return made

    def with_shape(self, shape: Tuple[int, ...], strides: Tuple[int, ...], offset: int = 0) -> Tensor:
        """The same memory under another shape; strides and offset in elements. For shapes derived from this one: what
        lies outside its memory is not checked."""
        address = self.address + offset * self.dtype.itemsize if self.address else 0
        return Tensor._view(self.dtype, shape, strides, address, self.device, self.writable, self)

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def extent(self) -> Tuple[int, int]:
        """Addresses of the first byte and of that behind the last; the same twice where there is no element."""
        if self._extent is None:
            low, high, size = self.address, self.address, self.dtype.itemsize
            if self.contiguous:
                high += math.prod(self.shape) * size
            elif 0 not in self.shape:
                steps = [step * (n - 1) * size for n, step in zip(self.shape, self.strides)]
                low += sum(step for step in steps if step < 0)
                high += sum(step for step in steps if step > 0) + size
            self._extent = low, high
        return self._extent

    @property
    def on_cpu(self) -> bool:
        return self.device[0] == c.SAGE_CPU

    def raw(self) -> sage_tensor:
        """The C struct, made once; it lives as long as this."""
        if self._raw is None:
            made = sage_tensor()
            made.struct_size, made.dtype, made.rank = ctypes.sizeof(made), self.dtype.value, len(self.shape)
            made.device_type, made.device_id = self.device
            made.flags = c.SAGE_TENSOR_CONSTANT if self.constant else 0
            if not self.writable:
                made.flags |= c.SAGE_TENSOR_READ_ONLY
            for axis, (length, step) in enumerate(zip(self.shape, self.strides)):
                made.shape[axis], made.stride[axis] = length, step
            made.data = self.address or None
            self._raw = made
        return self._raw

    def __repr__(self) -> str:
        return f"Tensor({self.dtype.name.lower()}, shape={self.shape}, strides={self.strides}, device={self.device})"


def _is_row_major(shape: Tuple[int, ...], strides: Tuple[int, ...]) -> bool:
    expected = row_major(shape)
    return 0 in shape or all(n == 1 or a == b for n, a, b in zip(shape, strides, expected))


def _named_dtype(given: np.dtype[Any], wanted: Optional[DtypeLike], name: str) -> Dtype:
    own = _OF_NUMPY.get(given.newbyteorder("=") if given.kind in "iuf" else given, _OF_NAME.get(given.name))
    if wanted is None:
        if own is None:
            hint = '; bits of bf16 are passed with dtype="bf16"' if given == np.uint16 else ""
            raise ArrayError(f"{name} is an array of {given}, which the library has no name for{hint}")
        return own
    dtype = Dtype.of(wanted)
    if own is not dtype and (given.hasobject or given.itemsize != dtype.itemsize or given.kind not in "uiV"):
        raise ArrayError(
            f"{name} is an array of {given}, which cannot hold {dtype.name.lower()}; " f"{numpy_dtype(dtype)} can"
        )
    return dtype


def _from_buffer(data: Any, copy: bool, name: str) -> np.ndarray[Any, Any]:
    try:
        return np.asarray(memoryview(data))
    except TypeError:
        pass
    if not copy or data is None:
        raise ArrayError(
            f"{name} is {type(data).__name__ if data is not None else 'None'}; a numpy array, or what has "
            "__dlpack__ or a buffer, is expected" + ("" if data is None else "; pass copy=True to allow a " "copy")
        )
    made = np.array(data)
    if made.dtype.hasobject:
        raise ArrayError(f"{name} cannot be made an array of numbers")
    return made


def as_tensor(data: ArrayLike, dtype: Optional[DtypeLike] = None, *, copy: bool = False, name: str = "array") -> Tensor:
    """data itself if it is a Tensor, else a view of it."""
    if type(data) is Tensor and dtype is None:
        return data
    return Tensor(data, dtype, copy=copy, name=name)


def require_output(tensor: Tensor, name: str) -> Tensor:
    """Nothing is written to memory that its owner lent for reading."""
    if not tensor.writable:
        raise ArrayError(f"{name} is read-only, results are written into it")
    return tensor


def require_apart(output: Tensor, inputs: Sequence[Tensor]) -> None:
    """A backend may read what it has written over. Views that interleave, no element in common, are refused too."""
    low, high = output.extent()
    for tensor in inputs:
        begin, end = tensor.extent()
        if begin < high and low < end and low and tensor.device == output.device:  # none lies at 0, a shape alone
            raise InvalidArgumentError("out shares memory with an input; results need memory of their own")


def require_contiguous(tensor: Tensor, name: str) -> Tensor:
    """For the calls that take an address and a shape: row-major memory of this machine."""
    if not tensor.on_cpu:
        raise ArrayError(f"{name} lies on a device; this call takes memory of the CPU")
    if not tensor.contiguous:
        raise ArrayError(
            f"{name} has strides {tensor.strides}, row-major {row_major(tensor.shape)} is expected; pass "
            "copy=True or numpy.ascontiguousarray(...)"
        )
    return tensor
