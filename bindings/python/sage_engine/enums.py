"""The constants as enumerations, made of constants.py, so that their values cannot drift from C's."""

from __future__ import annotations

from enum import Enum, IntEnum, IntFlag
from typing import Dict, Union

from . import constants as c
from .errors import ArrayError


class Status(IntEnum):
    """What a call answered; a SageError carries it."""

    OK = c.SAGE_OK
    INVALID_ARGUMENT = c.SAGE_E_INVALID_ARGUMENT
    UNSUPPORTED = c.SAGE_E_UNSUPPORTED
    UNKNOWN_FIELD = c.SAGE_E_UNKNOWN_FIELD
    OUT_OF_MEMORY = c.SAGE_E_OUT_OF_MEMORY
    NOT_FOUND = c.SAGE_E_NOT_FOUND
    IO = c.SAGE_E_IO
    BAD_DATA = c.SAGE_E_BAD_DATA
    ABI_MISMATCH = c.SAGE_E_ABI_MISMATCH
    DEVICE = c.SAGE_E_DEVICE
    CANCELLED = c.SAGE_E_CANCELLED
    BUSY = c.SAGE_E_BUSY
    FORKED = c.SAGE_E_FORKED
    BUFFER_TOO_SMALL = c.SAGE_E_BUFFER_TOO_SMALL
    INTERNAL = c.SAGE_E_INTERNAL


class Dtype(IntEnum):
    """Element types. The number is DLPack's: code | bits << 8 | lanes << 16."""

    I8 = c.SAGE_I8
    I16 = c.SAGE_I16
    I32 = c.SAGE_I32
    I64 = c.SAGE_I64
    U8 = c.SAGE_U8
    U64 = c.SAGE_U64
    F16 = c.SAGE_F16
    F32 = c.SAGE_F32
    F64 = c.SAGE_F64
    BF16 = c.SAGE_BF16
    BOOL = c.SAGE_BOOL
    F8_E4M3FN = c.SAGE_F8_E4M3FN
    F8_E5M2 = c.SAGE_F8_E5M2

    @property
    def itemsize(self) -> int:
        """Bytes of one element."""
        return (self >> 8 & 0xFF) // 8

    @classmethod
    def of(cls, name: Union[str, int, Dtype]) -> Dtype:
        """Of a Dtype, its number, or its name: "f32", "float32", "bf16", "bfloat16", "f8_e4m3fn" ..."""
        if isinstance(name, Dtype):
            return name
        try:
            return cls(name) if isinstance(name, int) else cls[_LONG_NAMES.get(name.lower(), name.upper())]
        except (ValueError, KeyError, AttributeError):
            known = ", ".join(kind.name.lower() for kind in cls)
            raise ArrayError(f"{name!r} is no element type of this library; known: {known}") from None


_LONG_NAMES: Dict[str, str] = {
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "uint8": "U8",
    "uint64": "U64",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3FN",
    "float8_e5m2": "F8_E5M2",
}


class Align(IntEnum):
    """Where the diagonal of what uses positions begins: TOP_LEFT, query i sees keys up to i; BOTTOM_RIGHT, the last
    query sees the last key."""

    TOP_LEFT = c.SAGE_ALIGN_TOP_LEFT
    BOTTOM_RIGHT = c.SAGE_ALIGN_BOTTOM_RIGHT


class Layout(IntEnum):
    """Of the plain attention call."""

    BHSD = 0  # [batch, heads, tokens, width]
    BSHD = 1  # [batch, tokens, heads, width]


class Accuracy(IntEnum):
    """The least exact class of kernels that is accepted."""

    AUTO = c.SAGE_ACCURACY_AUTO
    EXACT = c.SAGE_ACCURACY_EXACT
    NATIVE = c.SAGE_ACCURACY_NATIVE
    LOSSY = c.SAGE_ACCURACY_LOSSY


class Require(IntFlag):
    DETERMINISTIC = c.SAGE_REQUIRE_DETERMINISTIC
    STREAM_CAPTURE = c.SAGE_REQUIRE_STREAM_CAPTURE
    SCALAR = c.SAGE_REQUIRE_SCALAR


class Axis(IntFlag):
    """Axes that may be smaller at run than they were planned."""

    B = c.SAGE_AXIS_B
    SQ = c.SAGE_AXIS_SQ
    SKV = c.SAGE_AXIS_SKV
    M = c.SAGE_AXIS_M


class Algorithm(IntEnum):
    AUTO = c.SAGE_ALGORITHM_AUTO
    MATERIALISED = c.SAGE_ALGORITHM_MATERIALISED
    FLASH = c.SAGE_ALGORITHM_FLASH


class Granularity(IntEnum):
    """Of the scales of quantised tensors."""

    TENSOR = c.SAGE_PER_TENSOR
    HEAD = c.SAGE_PER_HEAD
    TOKEN = c.SAGE_PER_TOKEN
    CHANNEL = c.SAGE_PER_CHANNEL
    BLOCK = c.SAGE_PER_BLOCK


class Feature(IntFlag):
    """What an attention call asks for: SAGE_ATTN_F_*."""

    SCALE = c.SAGE_ATTN_F_SCALE
    GQA = c.SAGE_ATTN_F_GQA
    CAUSAL = c.SAGE_ATTN_F_CAUSAL
    BOTTOM_RIGHT = c.SAGE_ATTN_F_BOTTOM_RIGHT
    WINDOW_LEFT = c.SAGE_ATTN_F_WINDOW_LEFT
    WINDOW_RIGHT = c.SAGE_ATTN_F_WINDOW_RIGHT
    BIAS = c.SAGE_ATTN_F_BIAS
    BOOL_MASK = c.SAGE_ATTN_F_BOOL_MASK
    BIT_MASK = c.SAGE_ATTN_F_BIT_MASK
    BLOCK_MASK = c.SAGE_ATTN_F_BLOCK_MASK
    CSR_MASK = c.SAGE_ATTN_F_CSR_MASK
    ALIBI = c.SAGE_ATTN_F_ALIBI
    SOFTCAP = c.SAGE_ATTN_F_SOFTCAP
    SINKS = c.SAGE_ATTN_F_SINKS
    VARLEN = c.SAGE_ATTN_F_VARLEN
    Q_LENGTHS = c.SAGE_ATTN_F_Q_LENGTHS
    KV_LENGTHS = c.SAGE_ATTN_F_KV_LENGTHS
    PAGED_KV = c.SAGE_ATTN_F_PAGED_KV
    APPEND_KV = c.SAGE_ATTN_F_APPEND_KV
    LSE = c.SAGE_ATTN_F_LSE
    DROPOUT = c.SAGE_ATTN_F_DROPOUT
    QUANT_SCALES = c.SAGE_ATTN_F_QUANT_SCALES
    DV_DIFFERS = c.SAGE_ATTN_F_DV_DIFFERS
    HV_DIFFERS = c.SAGE_ATTN_F_HV_DIFFERS
    WEIGHTS_OUT = c.SAGE_ATTN_F_WEIGHTS_OUT
    SCORES_OUT = c.SAGE_ATTN_F_SCORES_OUT


class Slot(IntEnum):
    """The tensors an attention call may have: SAGE_ATTN_*; shapes and types stand in sage/attention.h."""

    Q = c.SAGE_ATTN_Q
    K = c.SAGE_ATTN_K
    V = c.SAGE_ATTN_V
    O = c.SAGE_ATTN_O
    LSE = c.SAGE_ATTN_LSE
    BIAS = c.SAGE_ATTN_BIAS
    MASK = c.SAGE_ATTN_MASK
    BIT_MASK = c.SAGE_ATTN_BIT_MASK
    BLOCK_MASK = c.SAGE_ATTN_BLOCK_MASK
    CSR_INDPTR = c.SAGE_ATTN_CSR_INDPTR
    CSR_INDICES = c.SAGE_ATTN_CSR_INDICES
    ALIBI = c.SAGE_ATTN_ALIBI
    SINKS = c.SAGE_ATTN_SINKS
    CU_SEQLENS_Q = c.SAGE_ATTN_CU_SEQLENS_Q
    CU_SEQLENS_K = c.SAGE_ATTN_CU_SEQLENS_K
    SEQUSED_Q = c.SAGE_ATTN_SEQUSED_Q
    SEQUSED_K = c.SAGE_ATTN_SEQUSED_K
    BLOCK_TABLE = c.SAGE_ATTN_BLOCK_TABLE
    K_NEW = c.SAGE_ATTN_K_NEW
    V_NEW = c.SAGE_ATTN_V_NEW
    SCALE_Q = c.SAGE_ATTN_SCALE_Q
    SCALE_K = c.SAGE_ATTN_SCALE_K
    SCALE_V = c.SAGE_ATTN_SCALE_V
    SCALE_P = c.SAGE_ATTN_SCALE_P
    SCALE_O = c.SAGE_ATTN_SCALE_O
    PHILOX = c.SAGE_ATTN_PHILOX
    WEIGHTS = c.SAGE_ATTN_WEIGHTS
    SCORES = c.SAGE_ATTN_SCORES


class ModelKind(IntEnum):
    OP_GRAPH = c.SAGE_MODEL_OP_GRAPH
    EXPERT = c.SAGE_MODEL_EXPERT
    METABOLIC = c.SAGE_MODEL_METABOLIC
    FUSION = c.SAGE_MODEL_FUSION


class Direction(IntEnum):
    INPUT = c.SAGE_INPUT
    OUTPUT = c.SAGE_OUTPUT


class Verdict(IntEnum):
    """Of the gate; the first that holds decides, from SKIPPED down to ALLOW."""

    ALLOW = c.SAGE_GATE_ALLOW
    REDUCE_SCOPE = c.SAGE_GATE_REDUCE_SCOPE
    FLUSH_KV = c.SAGE_GATE_FLUSH_KV
    QUARANTINE = c.SAGE_GATE_QUARANTINE
    STORM = c.SAGE_GATE_STORM
    FORCED = c.SAGE_GATE_FORCED
    QUIET = c.SAGE_GATE_QUIET
    SKIPPED = c.SAGE_GATE_SKIPPED


class GateFlag(IntFlag):
    SKIP = c.SAGE_GATE_SKIP
    FORCE_SAFE = c.SAGE_GATE_FORCE_SAFE
    SPIKE = c.SAGE_GATE_SPIKE


class LogLevel(IntEnum):
    """Of a log line; sage/plugin.h has the numbers."""

    ERROR = 1
    WARNING = 2
    INFO = 3
    DEBUG = 4


class MetabolicState(str, Enum):
    """States of a metabolic graph. A str as well: it may stand in a tick, and compares with a decision's state."""

    WAKE = "WAKE"
    FOCUS = "FOCUS"
    REST = "REST"
    DREAM = "DREAM"
    CRISIS = "CRISIS"

    __str__ = str.__str__
