"""Any number of leading axes, as torch has them, made the [B,H,S,D] of the library: by strides, never by copies."""

from __future__ import annotations

import itertools
import math
from typing import Iterator, List, Optional, Sequence, Tuple

import numpy as np

from .errors import InvalidArgumentError, ShapeError
from .tensor import Tensor

Shape = Tuple[int, ...]


def result_shape(q: Tensor, k: Tensor, v: Tensor, gqa: bool) -> Shape:
    """Of query [..., Hq, L, E], key [..., H, S, E], value [..., H, S, Ev]."""
    axes = 3 if gqa else 2
    for name, tensor in (("query", q), ("key", k), ("value", v)):
        if len(tensor.shape) < axes:
            raise ShapeError(
                f"{name} has shape {tensor.shape}; at least {axes} axes are expected"
                + (", of which the third last has the heads" if gqa else "")
            )
    if q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise ShapeError(
            f"query {q.shape}, key {k.shape} and value {v.shape} do not belong together: the last axes of query "
            "and key must agree, and the second last of key and value"
        )
    try:
        lead = np.broadcast_shapes(q.shape[:-axes], k.shape[:-axes], v.shape[:-axes])
    except ValueError:
        hint = "" if gqa else "; enable_gqa=True lets several heads of query share one of key and value"
        raise ShapeError(
            f"the leading axes of query {q.shape}, key {k.shape} and value {v.shape} do not fit each other" + hint
        ) from None
    if gqa and (k.shape[-3] == 0 or q.shape[-3] % k.shape[-3] != 0):
        raise InvalidArgumentError(f"query has {q.shape[-3]} heads, key {k.shape[-3]}; a multiple is expected")
    heads = (q.shape[-3],) if gqa else ()
    return (*lead, *heads, q.shape[-2], v.shape[-1])


def four_axes(tensor: Tensor) -> Tensor:
    """[B,H,S,D] of row-major memory."""
    lead = tensor.shape[:-2]
    shape = (math.prod(lead[:-1]), lead[-1] if lead else 1, *tensor.shape[-2:])
    if shape == tensor.shape:
        return tensor
    width, rows = shape[3], shape[2] * shape[3]
    return tensor.with_shape(shape, (shape[1] * rows, rows, width, 1))


def batches(
    inputs: Sequence[Tensor], output: Tensor, mask: Optional[Tensor], gqa: bool
) -> Iterator[List[Optional[Tensor]]]:
    """[q, k, v, o, mask] of four axes each: once, where the leading axes are one axis for all of them, else once for
    every index of all but the last of them."""
    lead = output.shape[:-2] or (1,)
    batch, heads = lead[:-1] or (1,), lead[-1]
    spread: List[Optional[Tensor]] = []
    for place, tensor in enumerate((*inputs, output)):
        own = tensor.shape[-3] if len(tensor.shape) > 2 else 1
        # One head of key or value serves all queries as it is; a query is repeated.
        kept = own if place in (1, 2) and (gqa or own == 1) else heads
        spread.append(_expand(tensor, (*batch, kept, *tensor.shape[-2:])))
    if mask is not None:
        try:
            spread.append(_expand(mask, (*batch, heads, inputs[0].shape[-2], inputs[1].shape[-2])))
        except ShapeError as error:
            raise ShapeError(f"attn_mask: {error}") from None
    else:
        spread.append(None)
    axes = len(batch)
    if axes == 1:
        yield spread
        return
    if all(tensor is None or _is_one_axis(tensor, axes) for tensor in spread):
        yield [tensor and _merged(tensor, axes) for tensor in spread]
        return
    for index in itertools.product(*map(range, batch[:-1])):
        yield [
            tensor
            and tensor.with_shape(
                tensor.shape[axes - 1 :],
                tensor.strides[axes - 1 :],
                sum(i * step for i, step in zip(index, tensor.strides)),
            )
            for tensor in spread
        ]


def _expand(tensor: Tensor, shape: Shape) -> Tensor:
    """Broadcast: missing and single axes repeat by stride 0."""
    if tensor.shape == shape:
        return tensor
    missing = len(shape) - len(tensor.shape)
    lengths, strides = (1,) * missing + tensor.shape, (0,) * missing + tensor.strides
    if missing < 0 or any(own not in (1, length) for own, length in zip(lengths, shape)):
        raise ShapeError(f"shape {tensor.shape} does not broadcast to {shape}")
    return tensor.with_shape(
        shape, tuple(step if own == length else 0 for own, length, step in zip(lengths, shape, strides))
    )


def _is_one_axis(tensor: Tensor, axes: int) -> bool:
    """Whether one stride walks all of the first axes."""
    if 0 in tensor.shape[:axes]:
        return True
    walked = [(n, step) for n, step in zip(tensor.shape[:axes], tensor.strides) if n != 1]
    return all(outer == inner * n for (_, outer), (n, inner) in zip(walked, walked[1:]))


def _merged(tensor: Tensor, axes: int) -> Tensor:
    steps = [step for n, step in zip(tensor.shape[:axes], tensor.strides) if n != 1]
    return tensor.with_shape(
        (math.prod(tensor.shape[:axes]), *tensor.shape[axes:]), (steps[-1] if steps else 0, *tensor.strides[axes:])
    )
