"""Memory lent by another library through DLPack, read from the capsule itself: numpy cannot take bf16 or fp8 that way,
gives read-only views, and knows no device.

A capsule is consumed by renaming it; from then on the producer's deleter is ours to call, exactly once, when the last
view is gone.
"""

from __future__ import annotations

import ctypes
import weakref
from ctypes import (
    POINTER,
    Structure,
    c_int32,
    c_int64,
    c_size_t,
    c_uint8,
    c_uint16,
    c_uint32,
    c_uint64,
    c_void_p,
    py_object,
)
from typing import Any, Tuple

from . import constants as c
from .errors import ArrayError, ShapeError


class _Tensor(Structure):
    _fields_ = [
        ("data", c_void_p),
        ("device_type", c_int32),
        ("device_id", c_int32),
        ("ndim", c_int32),
        ("code", c_uint8),
        ("bits", c_uint8),
        ("lanes", c_uint16),
        ("shape", POINTER(c_int64)),
        ("strides", POINTER(c_int64)),
        ("byte_offset", c_uint64),
    ]


class _Managed(Structure):
    _fields_ = [("tensor", _Tensor), ("context", c_void_p), ("deleter", c_void_p)]


class _ManagedVersioned(Structure):
    _fields_ = [
        ("major", c_uint32),
        ("minor", c_uint32),
        ("context", c_void_p),
        ("deleter", c_void_p),
        ("flags", c_uint64),
        ("tensor", _Tensor),
    ]


_READ_ONLY, _COPIED = 1, 2
_DELETER = ctypes.PYFUNCTYPE(None, c_void_p)  # keeps the GIL: producers written in Python or C both want it

# The names live as long as the process: a capsule keeps the pointer, not the text.
_PLAIN, _USED_PLAIN = b"dltensor", b"used_dltensor"
_VERSIONED, _USED_VERSIONED = b"dltensor_versioned", b"used_dltensor_versioned"

_api = ctypes.pythonapi
_is_valid, _get_pointer, _set_name = _api.PyCapsule_IsValid, _api.PyCapsule_GetPointer, _api.PyCapsule_SetName
_is_valid.restype, _is_valid.argtypes = ctypes.c_int, [py_object, ctypes.c_char_p]
_get_pointer.restype, _get_pointer.argtypes = c_void_p, [py_object, ctypes.c_char_p]
_set_name.restype, _set_name.argtypes = ctypes.c_int, [py_object, ctypes.c_char_p]


class Lent:
    """A consumed capsule. The memory is the producer's, and valid while this lives."""

    __slots__ = ("dtype", "shape", "strides", "address", "device", "writable", "copied", "__weakref__")

    def __init__(self, capsule: Any, name: str) -> None:
        managed: Any
        if _is_valid(capsule, _VERSIONED):
            managed = ctypes.cast(_get_pointer(capsule, _VERSIONED), POINTER(_ManagedVersioned))[0]
            if managed.major != 1:
                raise ArrayError(f"{name}: its producer speaks DLPack {managed.major}.{managed.minor}, 1.x is expected")
            self.writable, self.copied = not managed.flags & _READ_ONLY, bool(managed.flags & _COPIED)
            used = _USED_VERSIONED
        elif _is_valid(capsule, _PLAIN):
            managed = ctypes.cast(_get_pointer(capsule, _PLAIN), POINTER(_Managed))[0]
            self.writable, self.copied = True, False
            used = _USED_PLAIN
        else:
            raise ArrayError(f"{name}: __dlpack__ gave no DLPack capsule, or one that was used before")
        if _set_name(capsule, used) != 0:
            raise ArrayError(f"{name}: its DLPack capsule cannot be taken over")
        if managed.deleter:
            weakref.finalize(self, _DELETER(managed.deleter), ctypes.addressof(managed)).atexit = False
        self._read(managed.tensor, name)

    def _read(self, tensor: _Tensor, name: str) -> None:
        rank = tensor.ndim
        if not 0 <= rank <= c.SAGE_MAX_RANK:
            raise ShapeError(f"{name} has {rank} axes, at most {c.SAGE_MAX_RANK} are possible")
        self.dtype = tensor.code | tensor.bits << 8 | tensor.lanes << 16
        self.shape: Tuple[int, ...] = tuple(tensor.shape[:rank])
        self.strides: Tuple[int, ...] = tuple(tensor.strides[:rank]) if tensor.strides else row_major(self.shape)
        self.address = (tensor.data or 0) + tensor.byte_offset
        self.device = (tensor.device_type, tensor.device_id)


def row_major(shape: Tuple[int, ...]) -> Tuple[int, ...]:
    """Strides in elements."""
    strides, step = [], 1
    for length in reversed(shape):
        strides.append(step)
        step *= length
    return tuple(reversed(strides))


def borrow(array: Any, name: str, copy: bool) -> Lent:
    """Takes the array's memory. What the producer had to copy is refused unless copy is true."""
    negated = getattr(array, "is_neg", None)  # torch lends the memory of such a view as if it were not negated
    if callable(negated) and negated() is True:
        raise ArrayError(f"{name}: its elements are negated lazily, which DLPack cannot say; pass .resolve_neg() of it")
    try:
        try:
            capsule = array.__dlpack__(max_version=(1, 0))
        except TypeError:  # a producer older than DLPack 1.0 does not know the argument
            capsule = array.__dlpack__()
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise ArrayError(f"{name}: {type(array).__name__} does not lend its memory: {error}") from error
    lent = Lent(capsule, name)
    if lent.copied and not copy:
        raise ArrayError(
            f"{name}: {type(array).__name__} lends only a copy of its memory; pass copy=True to allow that"
        )
    return lent


# For the size of the structs above, which a test holds against DLPack's.
SIZES = (ctypes.sizeof(_Tensor), ctypes.sizeof(_Managed), ctypes.sizeof(_ManagedVersioned), ctypes.sizeof(c_size_t))
