"""What the tests share: attention in float64 by the book, models, a fresh Python, and a DLPack producer that counts.

SAGE_TEST_VECTORS names the folder of the conformance models (build/vectors), SAGE_TEST_PLUGIN a plugin of another ABI,
SAGE_TEST_TOOL the sage-engine program; CTest sets them.
"""

from __future__ import annotations

import ctypes
import os
import pathlib
import subprocess
import sys
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[3]


def needed(variable: str) -> str:
    value = os.environ.get(variable)
    if not value:
        raise RuntimeError(f"{variable} is not set; run these tests by ctest, or set it as tests/support.py says")
    return value


def run_python(
    *words: Any, environment: Optional[Dict[str, Optional[str]]] = None, warnings: str = "error"
) -> "subprocess.CompletedProcess[str]":
    """A fresh Python in another folder. environment: on top of this one's; None takes a variable away."""
    variables = {**os.environ, **(environment or {})}
    return subprocess.run(
        [sys.executable, "-W", warnings, *map(str, words)],
        env={key: value for key, value in variables.items() if value is not None},
        cwd="/",
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        universal_newlines=True,
        timeout=60,
    )


def model_file(name: str) -> str:
    return os.path.join(needed("SAGE_TEST_VECTORS"), name)


def normal(shape: Tuple[int, ...], seed: int, dtype: Any = np.float32) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def softmax_attention(q: Any, k: Any, v: Any, scale: Optional[float] = None, mask: Any = None, bias: Any = None) -> Any:
    """[..., H, S, D] in float64. mask: true = seen. A query that sees nothing gives 0."""
    q, k, v = (np.asarray(x, np.float64) for x in (q, k, v))
    if q.ndim >= 3 and k.shape[-3] != q.shape[-3]:
        k, v = (np.repeat(x, q.shape[-3] // x.shape[-3], axis=-3) for x in (k, v))
    scores = q @ np.swapaxes(k, -1, -2) * (1 / np.sqrt(q.shape[-1]) if scale is None else scale)
    if bias is not None:
        scores = scores + bias
    if mask is not None:
        scores = np.where(mask, scores, -np.inf)
    top = np.max(scores, axis=-1, keepdims=True, initial=-np.inf)
    p = np.exp(scores - np.where(np.isfinite(top), top, 0))
    total = p.sum(-1, keepdims=True)
    return p / np.where(total == 0, 1, total) @ v


def causal_mask(sq: int, skv: int, bottom_right: bool = False) -> Any:
    return np.arange(skv)[None, :] <= np.arange(sq)[:, None] + (skv - sq if bottom_right else 0)


def to_bf16(values: Any) -> Any:
    """The bits of bf16, rounded to nearest even."""
    bits = np.asarray(values, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)


def from_bf16(bits: Any) -> Any:
    return (bits.astype(np.uint32) << 16).view(np.float32)


class DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Managed(ctypes.Structure):
    _fields_ = [("tensor", DLTensor), ("context", ctypes.c_void_p), ("deleter", DELETER)]


class ManagedVersioned(ctypes.Structure):
    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", DELETER),
        ("flags", ctypes.c_uint64),
        ("tensor", DLTensor),
    ]


_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype = ctypes.py_object
_new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
_capsule_name = ctypes.pythonapi.PyCapsule_GetName
_capsule_name.restype, _capsule_name.argtypes = ctypes.c_char_p, [ctypes.py_object]
PLAIN, VERSIONED = b"dltensor", b"dltensor_versioned"


class Producer:
    """A library that lends an array by DLPack, and counts how often its deleter was called. Its capsules have no
    destructor of their own: what nobody consumes is never deleted."""

    def __init__(
        self,
        array: Any,
        code: int,
        bits: int,
        *,
        versioned: bool = False,
        flags: int = 0,
        offset: int = 0,
        strides: bool = True,
        device: Tuple[int, int] = (1, 0),
        major: int = 1,
        lanes: int = 1,
    ) -> None:
        self.array, self.deleted, self.capsules = array, 0, []  # type: Any, int, List[Any]
        self.versioned, self.device = versioned, device
        rank, size = array.ndim, max(1, array.itemsize)
        self.shape = (ctypes.c_int64 * rank)(*array.shape)
        self.steps = (ctypes.c_int64 * rank)(*(step // size for step in array.strides))
        self.deleter = DELETER(self._delete)
        managed = ManagedVersioned(major=major, flags=flags) if versioned else Managed()
        managed.deleter = self.deleter
        tensor = managed.tensor
        tensor.data, tensor.byte_offset = array.ctypes.data - offset, offset
        tensor.device_type, tensor.device_id = device
        tensor.ndim, tensor.code, tensor.bits, tensor.lanes = rank, code, bits, lanes
        tensor.shape = ctypes.cast(self.shape, ctypes.POINTER(ctypes.c_int64))
        tensor.strides = ctypes.cast(self.steps, ctypes.POINTER(ctypes.c_int64)) if strides else None
        self.managed = managed

    def _delete(self, _managed: int) -> None:
        self.deleted += 1

    def __dlpack__(self, **arguments: Any) -> Any:
        if arguments and not self.versioned:
            raise TypeError("__dlpack__() got an unexpected keyword argument")
        capsule = _new_capsule(ctypes.addressof(self.managed), VERSIONED if self.versioned else PLAIN, None)
        self.capsules.append(capsule)
        return capsule

    def __dlpack_device__(self) -> Tuple[int, int]:
        return self.device

    def capsule_name(self) -> bytes:
        name: bytes = _capsule_name(self.capsules[-1])
        return name
