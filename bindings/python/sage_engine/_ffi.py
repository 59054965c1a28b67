"""The C headers in abi/sage as ctypes: structs and signatures. Tests hold them against the headers.

Sizes and numbers that do not fit their field are refused: ctypes alone would cut them without a word.
"""

from __future__ import annotations

import ctypes
import operator
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_char,
    c_char_p,
    c_double,
    c_int32,
    c_int64,
    c_uint32,
    c_uint64,
    c_void_p,
)
from typing import Any, Dict, List, Optional, Tuple

from . import constants as c
from .errors import InvalidArgumentError

LOG_FN = CFUNCTYPE(None, c_void_p, c_int32, c_void_p, c_uint64)
CANCEL_FN = CFUNCTYPE(c_int32, c_void_p)

_RANGES = {
    c_int32: (-(1 << 31), (1 << 31) - 1),
    c_uint32: (0, (1 << 32) - 1),
    c_int64: (-(1 << 63), (1 << 63) - 1),
    c_uint64: (0, (1 << 64) - 1),
}


def whole(name: str, value: Any, kind: Any = c_int64) -> int:
    """value as an int that fits the C type: numpy's integers too, floats never."""
    try:
        number = operator.index(value)
    except TypeError:
        raise InvalidArgumentError(f"{name} is {value!r}, a whole number is expected") from None
    low, high = _RANGES[kind]
    if not low <= number <= high:
        raise InvalidArgumentError(f"{name} is {number}, {low} to {high} is expected")
    return number


def real(name: str, value: Any) -> float:
    """value as a float: numpy's numbers too, text never."""
    try:
        if not isinstance(value, (str, bytes)):
            return float(value)
    except (TypeError, ValueError, OverflowError):
        pass
    raise InvalidArgumentError(f"{name} is {value!r}, a number is expected")


class CheckedStructure(Structure):
    """A struct whose struct_size is filled in and whose numbers must fit."""

    def __init__(self, **fields: Any) -> None:
        super().__init__()
        self.struct_size = ctypes.sizeof(self)
        for name, value in fields.items():
            setattr(self, name, value)

    def __setattr__(self, name: str, value: Any) -> None:
        kind = _kinds(type(self)).get(name)
        if kind is None:
            raise AttributeError(f"{type(self).__name__} has no field {name}")
        if kind in _RANGES:
            value = whole(name, value, kind)
        elif kind is c_double:
            value = real(name, value)
        super().__setattr__(name, value)


_KINDS: Dict[type, Dict[str, Any]] = {}


def _kinds(kind: Any) -> Dict[str, Any]:
    found = _KINDS.get(kind)
    if found is None:
        found = _KINDS[kind] = {field[0]: field[1] for field in kind._fields_}
    return found


class sage_error(Structure):
    _fields_ = [("struct_size", c_uint32), ("status", c_int32), ("native_code", c_int64), ("message", c_char * 496)]


class sage_tensor(Structure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("dtype", c_uint32),
        ("device_type", c_int32),
        ("device_id", c_int32),
        ("rank", c_uint32),
        ("flags", c_uint32),
        ("shape", c_int64 * c.SAGE_MAX_RANK),
        ("stride", c_int64 * c.SAGE_MAX_RANK),
        ("data", c_void_p),
    ]


Slots = POINTER(sage_tensor) * c.SAGE_ATTN_NUM_SLOTS


class sage_attention_attributes(CheckedStructure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("alignment", c_uint32),
        ("features", c_uint64),
        ("scale", c_double),
        ("softcap", c_double),
        ("dropout_p", c_double),
        ("window_left", c_int64),
        ("window_right", c_int64),
        ("max_seq_q", c_int64),
        ("max_seq_kv", c_int64),
        ("algorithm", c_uint32),
        ("block_q", c_uint32),
        ("block_kv", c_uint32),
        ("mask_block_q", c_uint32),
        ("mask_block_kv", c_uint32),
        ("scale_block", c_uint32),
        ("granularity_q", c_uint32),
        ("granularity_k", c_uint32),
        ("granularity_v", c_uint32),
        ("granularity_p", c_uint32),
        ("granularity_o", c_uint32),
        ("reserved", c_uint32),
    ]


class sage_op(CheckedStructure):
    _fields_ = [
        ("struct_size", c_uint32),
        ("kind", c_uint32),
        ("requirements", c_uint32),
        ("accuracy", c_uint32),
        ("dynamic_axes", c_uint32),
        ("num_slots", c_uint32),
        ("aliases", c_uint64),
        ("attributes", c_void_p),
        ("slots", POINTER(POINTER(sage_tensor))),
    ]


class sage_attention_memory(CheckedStructure):
    _fields_ = (
        [("struct_size", c_uint32), ("reserved", c_uint32)]
        + [
            (name, c_uint64)
            for name in (
                "q_bytes",
                "k_bytes",
                "v_bytes",
                "o_bytes",
                "other_bytes",
                "scratch_bytes",
                "working_set_bytes",
                "packed_kv_bytes",
                "partials_bytes",
                "prepack_bytes",
                "total_bytes",
                "scores_bytes",
                "scores_avoided_bytes",
                "total_with_scores_bytes",
            )
        ]
        + [(name, c_double) for name in ("scores_over_scratch", "totals_ratio", "keys_over_block_kv")]
    )


class sage_gate_packet(CheckedStructure):
    _fields_ = [
        (name, c_uint32)
        for name in (
            "struct_size",
            "flags",
            "lambda",
            "lambda_prev",
            "boundary_edges",
            "boundary_concentration_q15",
            "partition_count",
            "spike_fired",
            "spike_rate_q15",
            "reserved",
        )
    ]


class sage_gate_tier(Structure):
    _fields_ = [(name, c_uint32) for name in ("layers", "sequence", "window", "reserved")]


class sage_gate_policy(CheckedStructure):
    _fields_ = [
        (name, c_uint32)
        for name in (
            "struct_size",
            "lambda_min",
            "drop_ratio_q15_max",
            "boundary_edges_max",
            "boundary_concentration_q15_max",
            "partitions_max",
            "spike_rate_q15_max",
            "reserved",
        )
    ] + [(name, sage_gate_tier) for name in ("normal", "reduced", "safe")]


class sage_gate_decision(CheckedStructure):
    _fields_ = [
        (name, c_uint32)
        for name in ("struct_size", "verdict", "tier", "drop_ratio_q15", "layers", "sequence", "window", "reserved")
    ]


class sage_quantize_report(CheckedStructure):
    _fields_ = (
        [("struct_size", c_uint32), ("reserved", c_uint32)]
        + [(name, c_uint64) for name in ("elements", "saturated", "zero_groups", "code_bytes", "scale_bytes")]
        + [(name, c_double) for name in ("max_abs_error", "rms_error")]
    )


_status, _handle, _text, _bytes, _err = c_int32, c_void_p, c_char_p, c_void_p, POINTER(sage_error)
_out, _size, _i64, _u32 = POINTER(c_void_p), POINTER(c_uint64), c_int64, c_uint32
_fetch = [_handle, c_void_p, c_uint64, _size, _err]
_io = [_handle, _u32, _u32]
_shape = POINTER(c_int64)
_tensor = POINTER(sage_tensor)

# Name: result, arguments. Left out on purpose, see docs/python.md: sage_options_set_allocator, _set_parallel_for.
FUNCTIONS: Dict[str, Tuple[Optional[Any], List[Any]]] = {
    "sage_version": (_text, []),
    "sage_abi_version": (_u32, []),
    "sage_build_info": (_text, []),
    "sage_status_name": (_text, [_status]),
    "sage_options_create": (_status, [_out, _err]),
    "sage_options_destroy": (None, [_handle]),
    "sage_options_set": (_status, [_handle, _text, _text, _err]),
    "sage_options_set_log": (_status, [_handle, LOG_FN, c_void_p, _err]),
    "sage_options_set_cancel": (_status, [_handle, CANCEL_FN, c_void_p, _err]),
    "sage_engine_create": (_status, [_handle, _out, _err]),
    "sage_engine_destroy": (None, [_handle]),
    "sage_engine_load_plugin": (_status, [_handle, _text, _err]),
    "sage_engine_backend_count": (_u32, [_handle]),
    "sage_engine_backend_name": (_text, [_handle, _u32]),
    "sage_engine_describe": (_status, _fetch),
    "sage_attention": (_status, [_handle, _u32, _u32] + [_i64] * 7 + [c_void_p] * 4 + [_u32, c_double, _err]),
    "sage_attention_plan_create": (_status, [_handle, POINTER(sage_op), _handle, _out, _err]),
    "sage_attention_plan_destroy": (None, [_handle]),
    "sage_attention_plan_backend": (_text, [_handle]),
    "sage_attention_plan_explain": (_status, _fetch),
    "sage_attention_plan_memory": (_status, [_handle, POINTER(sage_attention_memory), _err]),
    "sage_attention_context_create": (_status, [_handle, _out, _err]),
    "sage_attention_context_destroy": (None, [_handle]),
    "sage_attention_run": (_status, [_handle, POINTER(POINTER(sage_tensor)), _u32, c_void_p, _err]),
    "sage_attention_cancel": (None, [_handle]),
    "sage_attention_features": (_status, [POINTER(sage_op), _size, _err]),
    "sage_model_load": (_status, [_handle, _text, _out, _err]),
    "sage_model_load_buffer": (_status, [_handle, _bytes, c_uint64, _text, _out, _err]),
    "sage_model_destroy": (None, [_handle]),
    "sage_model_check": (_status, [_handle, _text, c_void_p, c_uint64, _size, _err]),
    "sage_model_check_buffer": (_status, [_handle, _bytes, c_uint64, _text, c_void_p, c_uint64, _size, _err]),
    "sage_model_kind": (_u32, [_handle]),
    "sage_model_io_count": (_u32, [_handle, _u32]),
    "sage_model_io_info": (_status, _io + [POINTER(c_char_p), POINTER(_u32), POINTER(_u32), _shape, _err]),
    "sage_session_create": (_status, [_handle, _handle, _out, _err]),
    "sage_session_destroy": (None, [_handle]),
    "sage_session_set_input": (_status, [_handle, _u32, _u32, _u32, _shape, c_void_p, c_uint64, _err]),
    "sage_session_output_info": (_status, [_handle, _u32, POINTER(_u32), POINTER(_u32), _shape, _size, _err]),
    "sage_session_get_output": (_status, [_handle, _u32, c_void_p, c_uint64, _err]),
    "sage_session_bind": (_status, _io + [POINTER(sage_tensor), _err]),
    "sage_session_bind_flat": (_status, _io + [_u32, _u32, _shape, c_void_p, c_uint64, _err]),
    "sage_session_set_stream": (_status, [_handle, c_int32, c_int32, c_void_p, _err]),
    "sage_session_run": (_status, [_handle, _err]),
    "sage_session_cancel": (None, [_handle]),
    "sage_session_explain": (_status, _fetch),
    "sage_session_trace": (_status, _fetch),
    "sage_session_accuracy": (_status, _fetch),
    "sage_session_tick": (_status, [_handle, _text, c_uint64, _err]),
    "sage_session_decision": (_status, _fetch),
    "sage_session_snapshot": (_status, _fetch),
    "sage_session_restore": (_status, [_handle, _bytes, c_uint64, _err]),
    "sage_mincut_mask": (_status, [_i64, _i64, c_void_p, c_uint64, _size, _err]),
    "sage_mincut_csr": (_status, [_i64, _i64, _u32, _u32, c_void_p, c_uint64, c_void_p, c_uint64, _size, _err]),
    "sage_mincut_blocks": (_status, [_i64, _i64, _u32, _u32, c_void_p, c_uint64, _size, _err]),
    "sage_gate_decide": (
        _status,
        [POINTER(sage_gate_packet), POINTER(sage_gate_policy), POINTER(sage_gate_decision), _err],
    ),
    "sage_gate_apply": (_status, [POINTER(sage_gate_decision), POINTER(sage_attention_attributes), _err]),
    "sage_quantize": (_status, [_tensor, _u32, _u32, _u32] + [_tensor] * 4 + [POINTER(sage_quantize_report), _err]),
    "sage_dequantize": (_status, [_tensor, _u32, _u32] + [_tensor] * 4 + [_err]),
}
