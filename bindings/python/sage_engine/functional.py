"""attention(): the arguments and the meaning of torch's F.scaled_dot_product_attention.

What the plain call of the engine can do goes there; everything else becomes a plan, and the engine keeps the last ones.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import threading
from typing import Any, Optional, Sequence

import numpy as np

from ._broadcast import batches, four_axes, result_shape
from ._ffi import whole
from .attention import AttentionOp
from .engine import Engine, output_for
from .enums import Align, Dtype, Slot
from .errors import InvalidArgumentError
from .tensor import ArrayLike, DtypeLike, Tensor, as_tensor

_default: Optional[Engine] = None
_lock = threading.RLock()


def default_engine() -> Engine:
    """The engine of calls that name none: made on first use, again where it was closed, and anew after a fork."""
    global _default
    with _lock:
        if _default is None or _default.closed:
            _default = Engine()
        return _default


def _after_fork() -> None:
    global _default, _lock
    _default, _lock = None, threading.RLock()


os.register_at_fork(after_in_child=_after_fork)


def attention(
    query: ArrayLike,
    key: ArrayLike,
    value: ArrayLike,
    attn_mask: Optional[ArrayLike] = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: Optional[float] = None,
    enable_gqa: bool = False,
    *,
    out: Optional[ArrayLike] = None,
    dtype: Optional[DtypeLike] = None,
    seed: Optional[int] = None,
    engine: Optional[Engine] = None,
    copy: bool = False,
) -> Any:
    """As torch.nn.functional.scaled_dot_product_attention, of numpy arrays, torch tensors and whatever speaks DLPack.

    query [..., Hq, L, E], key [..., H, S, E], value [..., H, S, Ev], in any number of leading axes, which are
    broadcast; any strides. The result is [..., Hq, L, Ev]: out, or a new numpy array (uint16 for the bits of bf16).

    attn_mask: broadcast to [..., Hq, L, S]; bool, true = may be seen; or numbers that are added to the scores.
    is_causal: query i sees keys 0 to i (top-left), not together with attn_mask.    scale: None is 1/sqrt(E).
    enable_gqa: Hq may be a multiple of H.    dropout_p: in every call, as there; seed: the same draws again.
    A query that sees no key gives 0.

    dtype: "bf16" for arrays of uint16.    copy: allows copies where memory cannot be used as it is.
    """
    q, k, v = (
        as_tensor(query, dtype, copy=copy, name="query"),
        as_tensor(key, dtype, copy=copy, name="key"),
        as_tensor(value, dtype, copy=copy, name="value"),
    )
    if attn_mask is not None and is_causal:
        raise InvalidArgumentError("attn_mask and is_causal were both given; put the diagonal into the mask")
    shape = result_shape(q, k, v, enable_gqa)
    engine = default_engine() if engine is None else engine
    result, o = output_for(out, shape, (q, k, v), dtype)
    plain = attn_mask is None and not dropout_p and (scale is None or scale != 0)
    if plain and same_kind((q, k, v, o)) and _alike(q, k, v, enable_gqa):
        engine.attention(
            four_axes(q),
            four_axes(k),
            four_axes(v),
            four_axes(o),
            scale=scale,
            causal=Align.TOP_LEFT if is_causal else None,
        )
        return result
    mask = None
    if attn_mask is not None:
        bits = dtype if isinstance(attn_mask, np.ndarray) and attn_mask.dtype.kind == "u" else None
        mask = as_tensor(attn_mask, bits, copy=copy, name="attn_mask")
    draws, first = philox_seed(seed), 0
    for q4, k4, v4, o4, mask4 in batches((q, k, v), o, mask, enable_gqa):
        op = AttentionOp(q4, k4, v4, o4, causal=Align.TOP_LEFT if is_causal else None, scale=scale)
        if mask4 is not None:
            op.slot(Slot.MASK if mask4.dtype == Dtype.BOOL else Slot.BIAS, mask4)
        first += drop(op, dropout_p, draws, first)
        engine.plans.run(engine, op)
    return result


def _alike(q: Tensor, k: Tensor, v: Tensor, gqa: bool) -> bool:
    """Nothing is to be broadcast."""
    axes = 3 if gqa else 2
    return q.shape[:-axes] == k.shape[:-axes] == v.shape[:-axes] and k.shape[:-2] == v.shape[:-2]


def same_kind(tensors: Sequence[Tensor]) -> bool:
    """Fit for the plain call: one type, row-major, memory of the CPU."""
    return all(t.dtype == tensors[0].dtype and t.contiguous and t.on_cpu for t in tensors)


def philox_seed(seed: Optional[int]) -> int:
    return secrets.randbits(64) if seed is None else whole("seed", seed, ctypes.c_uint64)


def drop(op: AttentionOp, dropout_p: float, seed: int, first: int) -> int:
    """Asks for dropout, drawn from the counter `first` on; returns how many counters the call uses, four draws each."""
    if not dropout_p:
        return 0
    op.attributes.dropout_p = dropout_p
    op.slot(Slot.PHILOX, np.array([seed, first], np.uint64))
    q, k = op.tensor(Slot.Q), op.tensor(Slot.K)
    assert q is not None and k is not None
    return -(-q.shape[0] * q.shape[1] * q.shape[2] * k.shape[2] // 4)
