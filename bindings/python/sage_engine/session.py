"""Sessions: inputs, runs and outputs of op graphs; ticks, decisions and state of the others."""

from __future__ import annotations

import ctypes
import json
from typing import Any, Dict, Iterable, Iterator, Mapping, Optional, Tuple, Union

import numpy as np

from . import constants as c
from ._ffi import whole
from ._handle import Closing, fetch, new_error, refuse
from ._library import library
from .engine import bytes_of, dense, index_of, parse
from .enums import Direction, Dtype
from .errors import ArrayError, BadDataError, NotFoundError, ShapeError
from .model import Model, TensorInfo
from .options import Lent, OptionsLike, finish_run, lend
from .tensor import ArrayLike, DtypeLike, Tensor, as_tensor, numpy_dtype, require_contiguous, require_output

Tick = Union[str, bytes, Mapping[str, Any]]
Index = Union[int, str]


class Session(Closing):
    """What one caller runs a model with: one call at a time, a second one is BusyError; cancel() from anywhere.

    Inputs and outputs are named by their index or their name. options: of the session, as in Options.
    """

    def __init__(self, model: Model, options: OptionsLike = None) -> None:
        self._lib = library()
        with model._handle as raw, lend(self._lib, options) as (chosen, lent):
            # A dict among what is kept: bound memory lives until the library has let go of the session.
            self._bound: Dict[Tuple[int, int], Tensor] = {}
            self._own(
                lambda out, error: self._lib.call.sage_session_create(raw, chosen, out, error),
                "sage_session_destroy",
                "session",
                [*model._handle.keep, *lent, self._bound],
            )
        self._lent = [item for item in self._handle.keep if isinstance(item, Lent)]
        self._inputs = {info.name: index for index, info in enumerate(model.inputs)}
        self._outputs = {info.name: index for index, info in enumerate(model.outputs)}

    # ---- inputs, runs, outputs ----

    def set_input(
        self, index: Index, data: ArrayLike, dtype: Optional[DtypeLike] = None, *, copy: bool = False
    ) -> None:
        """Copies an input in; it stays set. data: row-major, on the CPU."""
        view = dense(data, dtype, copy, f"input {index}")
        number = self._index(Direction.INPUT, index)
        shape, error = (ctypes.c_int64 * c.SAGE_MAX_RANK)(*view.shape), new_error()
        with self._handle as raw:
            status = self._lib.call.sage_session_set_input(
                raw, number, view.dtype, len(view.shape), shape, view.address or None, view.nbytes, ctypes.byref(error)
            )
            if status == c.SAGE_OK:
                self._bound.pop((Direction.INPUT, number), None)
        if status:
            refuse(status, error)

    def bind(
        self, direction: Direction, index: Index, data: Optional[ArrayLike], dtype: Optional[DtypeLike] = None
    ) -> None:
        """Lends memory, which is used in place until it is bound again (None: no more) or the session is closed; the
        session keeps the array alive. Any strides the plan accepts; never copied. An output's shape is an upper bound.
        A read-only array is refused for an output, and for an input that the model appends to.
        """
        direction, number = Direction(direction), self._index(direction, index)
        name = f"{direction.name.lower()} {index}"
        view = None if data is None else as_tensor(data, dtype, name=name)
        if view is not None and not view.address:
            raise ArrayError(f"{name} has a shape and no memory; None unbinds")
        error = new_error()
        with self._handle as raw:
            if view is not None and view.contiguous and view.on_cpu and view.writable and not view.constant:
                shape = (ctypes.c_int64 * c.SAGE_MAX_RANK)(*view.shape)
                status = self._lib.call.sage_session_bind_flat(
                    raw,
                    direction,
                    number,
                    view.dtype,
                    len(view.shape),
                    shape,
                    view.address,
                    view.nbytes,
                    ctypes.byref(error),
                )
            else:
                status = self._lib.call.sage_session_bind(
                    raw, direction, number, None if view is None else ctypes.byref(view.raw()), ctypes.byref(error)
                )
            if status == c.SAGE_OK:
                if view is None:
                    self._bound.pop((direction, number), None)
                else:
                    self._bound[direction, number] = view
        if status:
            refuse(status, error)

    def bind_input(self, index: Index, data: Optional[ArrayLike], dtype: Optional[DtypeLike] = None) -> None:
        self.bind(Direction.INPUT, index, data, dtype)

    def bind_output(self, index: Index, data: Optional[ArrayLike], dtype: Optional[DtypeLike] = None) -> None:
        self.bind(Direction.OUTPUT, index, data, dtype)

    def run(self, inputs: Optional[Mapping[Index, ArrayLike]] = None) -> None:
        """Sets the inputs given, then runs; returns when the outputs are ready."""
        for index, data in (inputs or {}).items():
            self.set_input(index, data)
        error = new_error()
        with self._handle as raw:
            status = self._lib.call.sage_session_run(raw, ctypes.byref(error))
        if status or self._lent:
            finish_run(status, error, self._lent)

    def output_info(self, index: Index) -> TensorInfo:
        """Type and shape of the last run's output."""
        number = self._index(Direction.OUTPUT, index)
        dtype, rank, count = ctypes.c_uint32(), ctypes.c_uint32(), ctypes.c_uint64()
        shape, error = (ctypes.c_int64 * c.SAGE_MAX_RANK)(), new_error()
        with self._handle as raw:
            status = self._lib.call.sage_session_output_info(
                raw, number, ctypes.byref(dtype), ctypes.byref(rank), shape, ctypes.byref(count), ctypes.byref(error)
            )
        if status:
            refuse(status, error)
        name = next((name for name, at in self._outputs.items() if at == number), "")
        return TensorInfo(name, Dtype(dtype.value), tuple(shape[: rank.value]))

    def output(self, index: Index, out: Optional[ArrayLike] = None, dtype: Optional[DtypeLike] = None) -> Any:
        """A copy of the last run's output, in out or a new array, which is returned; bf16 comes as uint16."""
        info = self.output_info(index)
        if out is None:
            out = np.empty(info.shape, numpy_dtype(info.dtype))
            dtype = info.dtype
        view = require_contiguous(require_output(as_tensor(out, dtype, name="out"), "out"), "out")
        if view.shape != info.shape:
            raise ShapeError(f"out has shape {view.shape}; output {index} has {info.shape}")
        if view.dtype != info.dtype:
            raise ArrayError(f"out is {view.dtype.name.lower()}; output {index} is {info.dtype.name.lower()}")
        error = new_error()
        with self._handle as raw:
            status = self._lib.call.sage_session_get_output(
                raw, self._index(Direction.OUTPUT, index), view.address, view.nbytes, ctypes.byref(error)
            )
        if status:
            refuse(status, error)
        return out

    def outputs(self) -> Dict[str, Any]:
        """Copies of all outputs by name."""
        return {name: self.output(index) for name, index in self._outputs.items()}

    def set_stream(self, device_type: int, device_id: int, stream: Optional[int]) -> None:
        """Lends a device's stream by its address; runs then return once enqueued. None takes it back."""
        device_type, device_id = (
            whole(name, value, ctypes.c_int32)
            for name, value in (("device_type", device_type), ("device_id", device_id))
        )
        if stream is not None:
            stream = whole("stream", stream, ctypes.c_uint64)
        error = new_error()
        with self._handle as raw:
            status = self._lib.call.sage_session_set_stream(raw, device_type, device_id, stream, ctypes.byref(error))
        if status:
            refuse(status, error)

    def cancel(self) -> None:
        """From any thread: stops the run or tick in progress with CancelledError. Later ones are not touched."""
        with self._handle as raw:
            self._lib.call.sage_session_cancel(raw)

    def explain(self) -> Dict[str, Any]:
        """Every backend's verdict on each node, without running."""
        return self._parsed("sage_session_explain")

    def trace(self) -> Dict[str, Any]:
        """Spans and counters of the last run, with the option trace; json.dump gives what Perfetto reads."""
        return self._parsed("sage_session_trace")

    def accuracy(self) -> Dict[str, Any]:
        """How far each attention of the last run or tick is from exact, with the option accuracy_report."""
        return self._parsed("sage_session_accuracy")

    # ---- ticks ----

    def tick(self, tick: Tick) -> Dict[str, Any]:
        """One tick in, its decision out. A mapping may have numpy numbers and arrays, and a MetabolicState.

        A bad tick is BadDataError, whose `decision` is the error record; the state is as before, the stream may go on.
        """
        try:
            return parse(self.tick_line(tick).encode())
        except BadDataError as error:
            error.decision = parse(self.decision_line().encode())
            raise

    def tick_line(self, tick: Tick) -> str:
        """The same, the decision as its line of JSON."""
        if isinstance(tick, str):
            data = tick.encode("utf-8", "surrogatepass")
        elif isinstance(tick, bytes):
            data = tick
        else:
            data = json.dumps(tick, default=_plain).encode()
        error = new_error()
        with self._handle as raw:
            status = self._lib.call.sage_session_tick(raw, data, len(data), ctypes.byref(error))
        if status or self._lent:
            finish_run(status, error, self._lent)
        return self.decision_line()

    def decision_line(self) -> str:
        """The last tick's record as one line of JSON; after a bad tick, its error record."""
        with self._handle as raw:
            return fetch(lambda *to: self._lib.call.sage_session_decision(raw, *to)).rstrip(b"\0").decode()

    def ticks(self, ticks: Iterable[Tick], strict: bool = True) -> Iterator[Dict[str, Any]]:
        """A decision for each tick, as it comes. strict=False: of a bad tick its error record, and on."""
        for tick in ticks:
            try:
                yield self.tick(tick)
            except BadDataError as error:
                if strict or error.decision is None:
                    raise
                yield error.decision

    def snapshot(self) -> bytes:
        """The state between ticks."""
        with self._handle as raw:
            return fetch(lambda *to: self._lib.call.sage_session_snapshot(raw, *to))

    def restore(self, state: Union[bytes, bytearray, memoryview]) -> None:
        """Takes a snapshot up; another model's or a damaged one is refused and changes nothing."""
        view, error = bytes_of(state), new_error()
        with self._handle as raw:
            status = self._lib.call.sage_session_restore(raw, view.address or None, view.nbytes, ctypes.byref(error))
        if status:
            refuse(status, error)

    # ---- within ----

    def _parsed(self, function: str) -> Dict[str, Any]:
        with self._handle as raw:
            return parse(fetch(lambda *to: getattr(self._lib.call, function)(raw, *to)))

    def _index(self, direction: int, index: Index) -> int:
        if not isinstance(index, str):
            return index_of(Direction(direction).name.lower(), index)
        names = self._inputs if direction == Direction.INPUT else self._outputs
        if index not in names:
            raise NotFoundError(
                f"the model has no {Direction(direction).name.lower()} {index!r}; it has "
                f"{', '.join(names) or 'none'}"
            )
        return names[index]


def _plain(value: Any) -> Any:
    """What json cannot write by itself."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(f"a tick cannot hold {type(value).__name__}")
