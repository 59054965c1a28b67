"""flash_attn_func() and flash_attn_varlen_func(): the arguments and the meaning of the flash_attn package's.

They differ from attention() in layout and in where the causal diagonal lies; docs/migration.md has both side by side.
"""

from __future__ import annotations

from typing import Any, Iterable, List, Optional, Tuple

import numpy as np

from .attention import AttentionOp
from .engine import Engine, output_for
from .enums import Align, Dtype, Layout, Slot
from .errors import InvalidArgumentError, ShapeError
from .functional import default_engine, drop, philox_seed, same_kind
from .tensor import ArrayLike, DtypeLike, Tensor, as_tensor

Window = Tuple[int, int]


def flash_attn_func(
    q: ArrayLike,
    k: ArrayLike,
    v: ArrayLike,
    dropout_p: float = 0.0,
    softmax_scale: Optional[float] = None,
    causal: bool = False,
    window_size: Window = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: Optional[ArrayLike] = None,
    *,
    return_lse: bool = False,
    out: Optional[ArrayLike] = None,
    dtype: Optional[DtypeLike] = None,
    seed: Optional[int] = None,
    engine: Optional[Engine] = None,
    copy: bool = False,
) -> Any:
    """As flash_attn.flash_attn_func: tokens before heads, and the diagonal ends in the last key.

    q [B,Sq,Hq,D], k [B,Skv,Hkv,D], v [B,Skv,Hkv,Dv], any strides; Hq is a multiple of Hkv. The result is [B,Sq,Hq,Dv];
    with return_lse it is (result, lse), lse [B,Hq,Sq] the natural logarithm of each row's sum.
    causal: query i sees keys up to i + Skv - Sq (bottom-right). window_size: keys left and right of that; -1: all.
    alibi_slopes: [Hq], -slope * distance is added.    dtype: "bf16" for arrays of uint16.
    """
    tensors = _views(q, k, v, dtype, copy, 4, "[batch, tokens, heads, width]")
    engine = default_engine() if engine is None else engine
    result, o = output_for(out, tensors[0].shape[:3] + (tensors[2].shape[3],), tensors, dtype)
    plain = not (dropout_p or softcap or return_lse) and alibi_slopes is None and tuple(window_size) == (-1, -1)
    if plain and (softmax_scale is None or softmax_scale != 0) and same_kind((*tensors, o)):
        engine.attention(
            tensors[0],
            tensors[1],
            tensors[2],
            o,
            layout=Layout.BSHD,
            causal=Align.BOTTOM_RIGHT if causal else None,
            scale=softmax_scale,
        )
        return result
    op = _op(map(_heads_first, (*tensors, o)), causal, softmax_scale, window_size, softcap, alibi=alibi_slopes)
    drop(op, dropout_p, philox_seed(seed), 0)
    return _run(engine, op, result, tensors[0], return_lse)


def flash_attn_varlen_func(
    q: ArrayLike,
    k: ArrayLike,
    v: ArrayLike,
    cu_seqlens_q: ArrayLike,
    cu_seqlens_k: ArrayLike,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: Optional[float] = None,
    causal: bool = False,
    window_size: Window = (-1, -1),
    softcap: float = 0.0,
    alibi_slopes: Optional[ArrayLike] = None,
    *,
    return_lse: bool = False,
    out: Optional[ArrayLike] = None,
    dtype: Optional[DtypeLike] = None,
    engine: Optional[Engine] = None,
    copy: bool = False,
) -> Any:
    """As flash_attn.flash_attn_varlen_func: sequences packed one behind the other.

    q [Tq,Hq,D], k [Tk,Hkv,D], v [Tk,Hkv,Dv]; cu_seqlens_*: int32 [B+1], from 0 to T. The result is [Tq,Hq,Dv], lse
    [Hq,Tq]. Each sequence has a bottom-right diagonal of its own. dropout_p must be 0.
    """
    if dropout_p:
        raise InvalidArgumentError("dropout_p must be 0: there is no dropout over packed sequences")
    tensors = _views(q, k, v, dtype, copy, 3, "[tokens, heads, width]")
    engine = default_engine() if engine is None else engine
    result, o = output_for(out, tensors[0].shape[:2] + (tensors[2].shape[2],), tensors, dtype)
    starts = {"cu_seqlens_q": cu_seqlens_q, "cu_seqlens_k": cu_seqlens_k}
    op = _op((*tensors, o), causal, softmax_scale, window_size, softcap, alibi=alibi_slopes, **starts)
    op.attributes.max_seq_q, op.attributes.max_seq_kv = max_seqlen_q, max_seqlen_k
    return _run(engine, op, result, tensors[0], return_lse)


def _views(
    q: ArrayLike, k: ArrayLike, v: ArrayLike, dtype: Optional[DtypeLike], copy: bool, rank: int, axes: str
) -> List[Tensor]:
    tensors = []
    for name, data in (("q", q), ("k", k), ("v", v)):
        tensor = as_tensor(data, dtype, copy=copy, name=name)
        if len(tensor.shape) != rank:
            raise ShapeError(f"{name} has shape {tensor.shape}; {axes} is expected")
        tensors.append(tensor)
    return tensors


def _heads_first(tensor: Tensor) -> Tensor:
    """[B,S,H,D] as the [B,H,S,D] of the slots: strides say the same memory."""
    batch, tokens, heads, width = tensor.shape
    b, s, h, d = tensor.strides
    return tensor.with_shape((batch, heads, tokens, width), (b, h, s, d))


def _op(
    tensors: Iterable[Tensor],
    causal: bool,
    scale: Optional[float],
    window_size: Window,
    softcap: float,
    **slots: Any,
) -> AttentionOp:
    """tensors: query, key, value, output as the slots have them."""
    query, key, value, output = tensors
    left, right = window_size
    return AttentionOp(
        query,
        key,
        value,
        output,
        align=Align.BOTTOM_RIGHT,
        causal=Align.BOTTOM_RIGHT if causal else None,
        scale=scale,
        window=(left if left >= 0 else None, right if right >= 0 else None),
        softcap=softcap,
        **slots,
    )


def _run(engine: Engine, op: AttentionOp, result: Any, query: Tensor, return_lse: bool) -> Any:
    if not return_lse:
        engine.plans.run(engine, op)
        return result
    tokens, heads = query.shape[-3:-1]
    lse = np.empty((*query.shape[:-3], heads, tokens), np.float64 if query.dtype == Dtype.F64 else np.float32)
    op.slot(Slot.LSE, lse)
    engine.plans.run(engine, op)
    return result, lse
