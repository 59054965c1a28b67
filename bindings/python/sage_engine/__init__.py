"""sage-engine from Python: attention and SAGE graphs on numpy arrays and on whatever speaks DLPack.

    import sage_engine
    o = sage_engine.attention(q, k, v, is_causal=True)        # F.scaled_dot_product_attention's arguments
    with sage_engine.Engine() as engine, engine.model("expert.fbs") as model, model.session() as session:
        decision = session.tick({"ts": 1, "router_logits": logits})

docs/python.md is the guide; `python -m sage_engine` says what is installed. The library, libsage.so.0, is loaded on
first use.
"""

from __future__ import annotations

import ctypes as _ctypes

from . import constants
from ._ffi import whole as _whole
from ._library import library as _library
from ._library import require_abi
from .attention import AttentionContext, AttentionMemory, AttentionOp, AttentionPlan
from .engine import Engine
from .enums import (
    Accuracy,
    Algorithm,
    Align,
    Axis,
    Direction,
    Dtype,
    Feature,
    GateFlag,
    Granularity,
    Layout,
    LogLevel,
    MetabolicState,
    ModelKind,
    Require,
    Slot,
    Status,
    Verdict,
)
from .errors import (
    AbiMismatchError,
    ArrayError,
    BadDataError,
    BufferTooSmallError,
    BusyError,
    CancelledError,
    ClosedError,
    DeviceError,
    FileAccessError,
    ForkedError,
    InternalError,
    InvalidArgumentError,
    LibraryNotFoundError,
    ModelNotFoundError,
    NotFoundError,
    OutOfMemoryError,
    SageError,
    ShapeError,
    UnknownFieldError,
    UnsupportedError,
)
from .flash import flash_attn_func, flash_attn_varlen_func
from .functional import attention, default_engine
from .model import Model, TensorInfo
from .options import Options
from .quantize import Quantized, QuantizeReport, dequantize, quantize
from .session import Session
from .sparse import (
    CsrMask,
    GateDecision,
    GatePacket,
    GatePolicy,
    GateTier,
    gate_apply,
    gate_decide,
    mincut_blocks,
    mincut_csr,
    mincut_mask,
)
from .tensor import Tensor

__version__ = "0.1.0"

__all__ = [
    "abi_version",
    "AbiMismatchError",
    "Accuracy",
    "Algorithm",
    "Align",
    "ArrayError",
    "AttentionContext",
    "AttentionMemory",
    "AttentionOp",
    "AttentionPlan",
    "Axis",
    "BadDataError",
    "BufferTooSmallError",
    "BusyError",
    "CancelledError",
    "ClosedError",
    "CsrMask",
    "DeviceError",
    "Direction",
    "Dtype",
    "Engine",
    "Feature",
    "FileAccessError",
    "ForkedError",
    "GateDecision",
    "GateFlag",
    "GatePacket",
    "GatePolicy",
    "GateTier",
    "Granularity",
    "InternalError",
    "InvalidArgumentError",
    "Layout",
    "LibraryNotFoundError",
    "LogLevel",
    "MetabolicState",
    "Model",
    "ModelKind",
    "ModelNotFoundError",
    "NotFoundError",
    "Options",
    "OutOfMemoryError",
    "Quantized",
    "QuantizeReport",
    "Require",
    "SageError",
    "Session",
    "ShapeError",
    "Slot",
    "Status",
    "Tensor",
    "TensorInfo",
    "UnknownFieldError",
    "UnsupportedError",
    "Verdict",
    "attention",
    "build_info",
    "constants",
    "default_engine",
    "dequantize",
    "flash_attn_func",
    "flash_attn_varlen_func",
    "gate_apply",
    "gate_decide",
    "mincut_blocks",
    "mincut_csr",
    "mincut_mask",
    "quantize",
    "require_abi",
    "status_name",
    "version",
]


def version() -> str:
    """Of the library that is loaded: "0.3.1"."""
    return _library().version


def abi_version() -> int:
    """Of the library that is loaded: major << 16 | minor."""
    return _library().abi


def build_info() -> str:
    """Compiler, git id, baseline; free text."""
    return _library().build_info


def status_name(status: int) -> str:
    """ "SAGE_E_BUSY"; "unknown" for what the library does not know."""
    name: bytes = _library().call.sage_status_name(_whole("status", status, _ctypes.c_int32))
    return name.decode()
