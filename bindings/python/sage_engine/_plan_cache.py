"""The contexts of an engine's last plans, so that a call that needs a plan does not make one each time. A context
serves one call at a time: it is taken out, run, and put back."""

from __future__ import annotations

import collections
from typing import TYPE_CHECKING, Any, Deque, List, Optional

from . import _handle
from .errors import ClosedError

if TYPE_CHECKING:
    from .attention import AttentionContext, AttentionOp
    from .engine import Engine

PLANS, CONTEXTS = 32, 4  # plans kept, and idle contexts of each


class PlanCache:
    def __init__(self) -> None:
        self._idle: "collections.OrderedDict[Any, Deque[AttentionContext]]" = collections.OrderedDict()

    def run(self, engine: Engine, op: AttentionOp) -> None:
        """Plans the op on the engine, or finds its plan, and runs it."""
        if engine.closed:
            raise ClosedError("the engine was closed")
        for slot, tensor in op._tensors.items():
            if tensor.constant:  # nobody could say for how long, since nobody sees when the plan goes
                op.slot(slot, tensor.with_shape(tensor.shape, tensor.strides))
        key = _key_of(op)
        context = self._take(key)
        if context is None:
            with engine.plan(op) as plan:
                context = plan.context()
        try:
            context.run(op)
        finally:
            self._give(key, context)
            if engine.closed:
                self.clear()

    def clear(self) -> None:
        with _handle.lock:
            idle, self._idle = self._idle, collections.OrderedDict()
        for contexts in idle.values():
            for context in contexts:
                context.close()

    def _take(self, key: Any) -> Optional[AttentionContext]:
        with _handle.lock:
            idle = self._idle.get(key)
            return idle.pop() if idle else None

    def _give(self, key: Any, context: AttentionContext) -> None:
        dropped: List[AttentionContext] = []
        with _handle.lock:
            idle = self._idle.pop(key, None) or collections.deque()
            idle.append(context)
            if len(idle) > CONTEXTS:
                dropped.append(idle.popleft())
            self._idle[key] = idle  # the last used one comes last
            while len(self._idle) > PLANS:
                dropped.extend(self._idle.popitem(last=False)[1])
        for old in dropped:
            old.close()


def _key_of(op: AttentionOp) -> Any:
    """All that a plan depends on, of an op without constant tensors."""
    tensors = op._tensors
    return (
        bytes(op.attributes),
        op.accuracy,
        op.requirements,
        op.dynamic_axes,
        op.aliases,
        tuple((slot, t.dtype, t.shape, t.strides, t.device) for slot, t in sorted(tensors.items())),
    )
