"""The engine: backends, options, and the plain attention call on arrays."""

from __future__ import annotations

import ctypes
import json
import os
import warnings
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np

from ._ffi import real, whole
from ._handle import Closing, fetch, new_error
from ._library import library
from ._plan_cache import PlanCache
from .enums import Align, Layout
from .errors import ArrayError, InvalidArgumentError, ShapeError
from .options import CancelFunction, LogFunction, Options, OptionsLike, OptionValue, finish_run, lend
from .tensor import (
    ArrayLike,
    DtypeLike,
    Tensor,
    as_tensor,
    numpy_dtype,
    require_apart,
    require_contiguous,
    require_output,
)

if TYPE_CHECKING:
    from .attention import AttentionOp, AttentionPlan
    from .model import Model

PathLike = Union[str, "os.PathLike[str]"]


class Engine(Closing):
    """Backends and threads. Engine(threads=2, log=print); many threads may use one.

    options: of the whole engine, as in Options; the keywords are more of them. Its cancel serves the plain call, and
    every plan and session of this engine that has none of its own. A RuntimeWarning says why, where backends are there
    and none but `reference` can be used.
    """

    def __init__(
        self,
        options: OptionsLike = None,
        *,
        log: Optional[LogFunction] = None,
        cancel: Optional[CancelFunction] = None,
        **more: OptionValue,
    ) -> None:
        self._lib = library()
        if log is not None or cancel is not None or more:
            options = Options(options, log=log, cancel=cancel, **more)
        with lend(self._lib, options) as (raw, lent):
            self._own(
                lambda out, error: self._lib.call.sage_engine_create(raw, out, error),
                "sage_engine_destroy",
                "engine",
                lent,
            )
            self._lent = lent
            finish_run(0, new_error(), lent)
        self.plans = PlanCache()
        why = unused(self.describe()) if len(self.backends()) == 1 else ""
        if why:
            warnings.warn(f"only `reference` can be used, the slowest backend: {why}", RuntimeWarning, stacklevel=2)

    def close(self) -> None:
        self.plans.clear()
        super().close()

    def load_plugin(self, path: PathLike) -> None:
        """One more backend, by its absolute path. AbiMismatchError where it was made for another ABI."""
        error = new_error()
        with self._handle as raw:
            status = self._lib.call.sage_engine_load_plugin(raw, encode_path(path), ctypes.byref(error))
        finish_run(status, error, self._lent)

    def backends(self) -> List[str]:
        """Names of those that can be used; `reference` is always there."""
        with self._handle as raw:
            count = self._lib.call.sage_engine_backend_count(raw)
            names = [self._lib.call.sage_engine_backend_name(raw, i) for i in range(count)]
        return [name.decode() for name in names if name is not None]

    def describe(self) -> Dict[str, Any]:
        """Every plugin found: path, version, devices, features, why it is refused; and the folders looked into."""
        with self._handle as raw:
            text = fetch(lambda *to: self._lib.call.sage_engine_describe(raw, *to))
        return parse(text)

    def attention(
        self,
        query: ArrayLike,
        key: ArrayLike,
        value: ArrayLike,
        out: Optional[ArrayLike] = None,
        *,
        layout: Union[Layout, int] = Layout.BHSD,
        causal: Union[Align, int, None] = None,
        scale: Optional[float] = None,
        dtype: Optional[DtypeLike] = None,
        copy: bool = False,
    ) -> Any:
        """softmax(scale q k^T) v of row-major arrays of one element type in the CPU's memory.

        query [B,Hq,S,D], key [B,Hkv,Skv,D], value [B,Hkv,Skv,Dv]; with Layout.BSHD heads and tokens change places. Hq
        is a multiple of Hkv. scale None is 1/sqrt(D). Written into out, [B,Hq,S,Dv], or a new array, which is returned.
        Plans are kept by shape in the engine. attention() in this package takes masks, strides and batches of any rank.
        """
        q, k = dense(query, dtype, copy, "query"), dense(key, dtype, copy, "key")
        v = dense(value, dtype, copy, "value")
        diagonal = 0 if causal is None else alignment(causal)
        try:
            (batch, q1, q2, width), (batch_k, k1, k2, width_k), (batch_v, v1, v2, width_v) = q.shape, k.shape, v.shape
        except ValueError:
            raise ShapeError(
                f"query {q.shape}, key {k.shape} and value {v.shape}: this call takes 4 axes each"
            ) from None
        if batch != batch_k or batch != batch_v or width != width_k or k1 != v1 or k2 != v2:
            raise ShapeError(
                f"query {q.shape}, key {k.shape} and value {v.shape} do not belong together: batches and widths "
                "of query and key must agree, and all but the last axis of key and value"
            )
        if q.dtype is not k.dtype or q.dtype is not v.dtype:
            raise ArrayError(
                f"query, key and value are {q.dtype.name.lower()}, {k.dtype.name.lower()} and "
                f"{v.dtype.name.lower()}; this call takes one element type"
            )
        shape = (batch, q1, q2, width_v)
        # Row-major arrays that overlap are the library's to refuse.
        result, o = output_for(out, shape, (q, k, v), dtype, check_apart=False)
        require_contiguous(o, "out")
        if scale is None:
            scale = 0.0
        else:
            scale = real("scale", scale)
            if scale == 0:
                raise InvalidArgumentError(
                    "a scale of 0 is not for this call, which reads it as unset; attention() takes it"
                )
        if type(layout) is not Layout:
            layout = whole("layout", layout, ctypes.c_uint32)
        if layout == Layout.BSHD:
            q1, q2, k1, k2 = q2, q1, k2, k1
        error = new_error()
        with self._handle as raw:
            status = self._lib.call.sage_attention(
                raw,
                q.dtype,
                layout,
                batch,
                q1,
                k1,
                q2,
                k2,
                width,
                width_v,
                q.address,
                k.address,
                v.address,
                o.address,
                diagonal,
                scale,
                ctypes.byref(error),
            )
        if status or self._lent:
            finish_run(status, error, self._lent)
        return result

    def plan(self, op: AttentionOp, options: OptionsLike = None) -> AttentionPlan:
        """Attention planned once, to be run many times."""
        from .attention import AttentionPlan

        return AttentionPlan(self, op, options)

    def model(
        self, source: Union[PathLike, bytes, bytearray, memoryview], weights_folder: Optional[PathLike] = None
    ) -> Model:
        """A model by its path, or of its bytes."""
        from .model import Model

        return Model(self, source, weights_folder)

    def check(
        self, source: Union[PathLike, bytes, bytearray, memoryview], weights_folder: Optional[PathLike] = None
    ) -> Dict[str, Any]:
        """All errors of a model file, each with its place in it; ["valid"] says whether there are none."""
        call = self._lib.call
        folder = None if weights_folder is None else encode_path(weights_folder)
        with self._handle as raw:
            if isinstance(source, (bytes, bytearray, memoryview)):
                data = bytes_of(source)
                return parse(
                    fetch(lambda *to: call.sage_model_check_buffer(raw, data.address or None, data.nbytes, folder, *to))
                )
            path = encode_path(source)
            return parse(fetch(lambda *to: call.sage_model_check(raw, path, *to)))


def dense(data: ArrayLike, dtype: Optional[DtypeLike], copy: bool, name: str) -> Tensor:
    """Row-major memory of this machine; copied where it is not and may be."""
    view = as_tensor(data, dtype, copy=copy, name=name)
    if copy and not view.contiguous and view.on_cpu:
        return Tensor(np.ascontiguousarray(array_of(view)), view.dtype, name=name)
    return require_contiguous(view, name)


def alignment(causal: Union[Align, int, None]) -> int:
    """0 is none. True is refused: systems disagree on what it means where query and key differ in length."""
    if isinstance(causal, bool):
        raise InvalidArgumentError(
            f"causal is {causal}; name where the diagonal begins: Align.TOP_LEFT, Align.BOTTOM_RIGHT, " "or None"
        )
    return 0 if causal is None else whole("causal", causal, ctypes.c_uint32)


def array_of(view: Tensor) -> np.ndarray[Any, Any]:
    """A numpy view of a tensor in the CPU's memory, as the type that holds its bits."""
    size, dtype = view.dtype.itemsize, numpy_dtype(view.dtype)
    if view.size == 0:
        return np.empty(view.shape, dtype)
    low, high = view.extent()
    memory = (ctypes.c_char * (high - low)).from_address(low)
    memory.__dict__["owner"] = view  # the array holds the buffer, that its owner
    strides = tuple(step * size for step in view.strides)
    array: np.ndarray[Any, Any]
    array = np.ndarray(view.shape, dtype, memory, view.address - low, strides)  # type: ignore[arg-type]
    array.flags.writeable = view.writable
    return array


def output_for(
    out: Optional[ArrayLike],
    shape: Tuple[int, ...],
    inputs: Sequence[Tensor],
    dtype: Optional[DtypeLike],
    check_apart: bool = True,
) -> Tuple[Any, Tensor]:
    """(what the caller gets back, the view of it): out, checked, or a new array of the first input's type."""
    like = inputs[0]
    if out is None:
        if not like.on_cpu:
            raise ArrayError("query lies on a device; results there need an out= of the library that owns it")
        kind = like.owner.dtype if isinstance(like.owner, np.ndarray) else numpy_dtype(like.dtype)
        array = np.empty(shape, kind)
        return array, Tensor(array, like.dtype, name="out")
    view = require_output(as_tensor(out, dtype, name="out"), "out")
    if view.shape != shape:
        raise ShapeError(f"out has shape {view.shape}, {shape} is expected")
    if view.dtype != like.dtype:
        raise ArrayError(f"out is {view.dtype.name.lower()}, {like.dtype.name.lower()} is expected")
    if check_apart:
        require_apart(view, inputs)
    return out, view


def encode_path(path: PathLike) -> bytes:
    data = os.fsencode(path)
    if b"\0" in data:
        raise InvalidArgumentError(f"{path!r} has a NUL in it")
    return data


def bytes_of(data: Union[bytes, bytearray, memoryview]) -> Tensor:
    """A view of bytes that need not be copied."""
    return require_contiguous(Tensor(np.frombuffer(data, np.uint8), name="bytes"), "bytes")


def parse(text: bytes) -> Dict[str, Any]:
    """JSON that ends in a NUL."""
    parsed: Dict[str, Any] = json.loads(text.rstrip(b"\0"))
    return parsed


def unused(described: Dict[str, Any]) -> str:
    """Of Engine.describe(): why the backends that are there are not used; "" where one is, or there are none."""
    plugins = described["plugins"]
    if sum(plugin["usable"] for plugin in plugins) > 1:
        return ""
    reasons = [plugin["refused"] for plugin in plugins if plugin["refused"]]
    return "; ".join(
        reasons + [folder["note"] for folder in described["folders"] if folder["note"].startswith("skipped")]
    )


def index_of(name: str, value: Any) -> int:
    return whole(name, value, ctypes.c_uint32)
