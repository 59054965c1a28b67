"""The contexts of an engine's last plans, so that a call that needs a plan does not make one each time. A context
serves one call at a time: it is taken out, run, and put back."""

from __future__ import annotations

import collections
import threading
from typing import TYPE_CHECKING, Any, Deque, List, Optional

from .errors import ClosedError

if TYPE_CHECKING:
    from .attention import AttentionContext, AttentionOp
    from .engine import Engine

PLANS, CONTEXTS = 32, 4  # plans kept, and idle contexts of each


class PlanCache:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: "collections.OrderedDict[Any, Deque[AttentionContext]]" = collections.OrderedDict()

    def run(self, engine: Engine, op: AttentionOp) -> None:
        """Plans the op on the engine, or finds its plan, and runs it."""
        if engine.closed:
            raise ClosedError("the engine was closed")
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
        with self._lock:
            idle, self._idle = self._idle, collections.OrderedDict()
        for contexts in idle.values():
            for context in contexts:
                context.close()

    def _take(self, key: Any) -> Optional[AttentionContext]:
        with self._lock:
            idle = self._idle.get(key)
            return idle.pop() if idle else None

    def _give(self, key: Any, context: AttentionContext) -> None:
        dropped: List[AttentionContext] = []
        with self._lock:
            idle = self._idle.setdefault(key, collections.deque())
            self._idle.move_to_end(key)
            idle.append(context)
            if len(idle) > CONTEXTS:
                dropped.append(idle.popleft())
            while len(self._idle) > PLANS:
                dropped.extend(self._idle.popitem(last=False)[1])
        for old in dropped:
            old.close()


def _key_of(op: AttentionOp) -> Any:
    """All that a plan depends on. Not for ops with constant tensors, whose bytes are the plan's."""
    tensors = op._tensors
    return (
        bytes(op.attributes),
        op.accuracy,
        op.requirements,
        op.dynamic_axes,
        op.aliases,
        tuple((slot, t.dtype, t.shape, t.strides, t.device) for slot, t in sorted(tensors.items())),
    )
