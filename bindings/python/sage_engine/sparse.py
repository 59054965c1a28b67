"""Which keys a query need not see, decided before the call: masks of a partition, and the gate. Pure functions, any
thread; sage/sparse.h has the rules."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass, fields
from typing import Any, Callable, NamedTuple, Optional

import numpy as np

from ._ffi import sage_gate_decision, sage_gate_packet, sage_gate_policy, whole
from ._handle import new_error, refuse
from ._library import library
from .attention import AttentionOp
from .enums import Verdict


def _kept(call: Callable[..., int], *arguments: Any) -> int:
    kept, error = ctypes.c_uint64(), new_error()
    status = call(*arguments, ctypes.byref(kept), ctypes.byref(error))
    if status:
        refuse(status, error)
    return kept.value


def mincut_mask(seq: int, parts: int) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """bool [seq, seq], true = keep, for the slot mask."""
    seq, parts = whole("seq", seq), whole("parts", parts)
    call = library().call.sage_mincut_mask
    _kept(call, seq, parts, None, 0)
    mask = np.empty((seq, seq), np.bool_)
    _kept(call, seq, parts, mask.ctypes.data, mask.nbytes)
    return mask


class CsrMask(NamedTuple):
    """For the slots csr_indptr, as [1, 1, rows + 1], and csr_indices; tiles of 1 by 1 are positions."""

    indptr: np.ndarray[Any, np.dtype[np.int32]]
    indices: np.ndarray[Any, np.dtype[np.int32]]


def mincut_csr(seq: int, parts: int, tile_q: int = 1, tile_kv: int = 1) -> CsrMask:
    seq, parts = whole("seq", seq), whole("parts", parts)
    tiles = whole("tile_q", tile_q, ctypes.c_uint32), whole("tile_kv", tile_kv, ctypes.c_uint32)
    call = library().call.sage_mincut_csr
    kept = _kept(call, seq, parts, *tiles, None, 0, None, 0)
    mask = CsrMask(np.empty(-(-seq // tiles[0]) + 1, np.int32), np.empty(kept, np.int32))
    _kept(
        call, seq, parts, *tiles, mask.indptr.ctypes.data, mask.indptr.size, mask.indices.ctypes.data, mask.indices.size
    )
    return mask


def mincut_blocks(seq: int, parts: int, tile_q: int, tile_kv: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """u8 [ceil(seq/tile_q), ceil(seq/tile_kv)], 1 = keep, for the slot block_mask."""
    seq, parts = whole("seq", seq), whole("parts", parts)
    tiles = whole("tile_q", tile_q, ctypes.c_uint32), whole("tile_kv", tile_kv, ctypes.c_uint32)
    call = library().call.sage_mincut_blocks
    _kept(call, seq, parts, *tiles, None, 0)
    blocks = np.empty((-(-seq // tiles[0]), -(-seq // tiles[1])), np.uint8)
    _kept(call, seq, parts, *tiles, blocks.ctypes.data, blocks.nbytes)
    return blocks


@dataclass(frozen=True)
class GatePacket:
    """What was seen of the token graph. *_q15: 0 to 32767 stands for 0 to 1. lambda_: weight of the minimum cut."""

    lambda_: int = 0
    lambda_prev: int = 0
    boundary_edges: int = 0
    boundary_concentration_q15: int = 0
    partition_count: int = 0
    spike_fired: int = 0
    spike_rate_q15: int = 0
    flags: int = 0  # GateFlag


@dataclass(frozen=True)
class GateTier:
    """How much is run: layers, newest tokens, keys a query sees. 0: the default."""

    layers: int = 0
    sequence: int = 0
    window: int = 0


@dataclass(frozen=True)
class GatePolicy:
    """Limits and tiers. 0: the default, see sage/sparse.h."""

    lambda_min: int = 0
    drop_ratio_q15_max: int = 0
    boundary_edges_max: int = 0
    boundary_concentration_q15_max: int = 0
    partitions_max: int = 0
    spike_rate_q15_max: int = 0
    normal: GateTier = GateTier()
    reduced: GateTier = GateTier()
    safe: GateTier = GateTier()


@dataclass(frozen=True)
class GateDecision:
    """tier: 0 normal, 1 reduced, 2 safe, 3 nothing is run."""

    verdict: Verdict
    tier: int
    drop_ratio_q15: int
    layers: int
    sequence: int
    window: int


def gate_decide(packet: GatePacket, policy: Optional[GatePolicy] = None) -> GateDecision:
    """How much of a model is worth running."""
    seen, limits, error = sage_gate_packet(), None, new_error()
    for field in fields(packet):
        setattr(seen, field.name.rstrip("_"), getattr(packet, field.name))
    if policy is not None:
        limits = sage_gate_policy()
        for field in fields(policy):
            value = getattr(policy, field.name)
            if isinstance(value, GateTier):
                for part in fields(value):
                    number = whole(f"{field.name}.{part.name}", getattr(value, part.name), ctypes.c_uint32)
                    setattr(getattr(limits, field.name), part.name, number)
            else:
                setattr(limits, field.name, value)
    made = sage_gate_decision()
    status = library().call.sage_gate_decide(
        ctypes.byref(seen), None if limits is None else ctypes.byref(limits), ctypes.byref(made), ctypes.byref(error)
    )
    if status:
        refuse(status, error)
    return GateDecision(Verdict(made.verdict), made.tier, made.drop_ratio_q15, made.layers, made.sequence, made.window)


def gate_apply(decision: GateDecision, op: AttentionOp) -> None:
    """The decision's window written into the op, whose alignment must be set. In tier 3 there is nothing to run."""
    given = sage_gate_decision(**{field.name: getattr(decision, field.name) for field in fields(decision)})
    error = new_error()
    status = library().call.sage_gate_apply(ctypes.byref(given), ctypes.byref(op.attributes), ctypes.byref(error))
    if status:
        refuse(status, error)
