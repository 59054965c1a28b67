"""Models: a checked file and its weights."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, List, NamedTuple, Optional, Tuple, Union

from . import constants as c
from ._handle import Closing, new_error, refuse
from ._library import library
from .engine import Engine, PathLike, bytes_of, encode_path
from .enums import Direction, Dtype, ModelKind
from .errors import ModelNotFoundError, NotFoundError
from .options import OptionsLike

if TYPE_CHECKING:
    from .session import Session


class TensorInfo(NamedTuple):
    """What goes in or comes out. A length of -1: any."""

    name: str
    dtype: Dtype
    shape: Tuple[int, ...]


class Model(Closing):
    """Immutable, for any number of sessions and threads. source: a path, or the file's bytes, which are copied.
    weights_folder: of bytes, where its relative paths begin; None: a model without weight files."""

    def __init__(
        self,
        engine: Engine,
        source: Union[PathLike, bytes, bytearray, memoryview],
        weights_folder: Optional[PathLike] = None,
    ) -> None:
        self._lib = library()
        call = self._lib.call
        try:
            with engine._handle as raw:
                keep = list(engine._handle.keep)
                if isinstance(source, (bytes, bytearray, memoryview)):
                    data = bytes_of(source)
                    folder = None if weights_folder is None else encode_path(weights_folder)
                    self._own(
                        lambda out, error: call.sage_model_load_buffer(
                            raw, data.address or None, data.nbytes, folder, out, error
                        ),
                        "sage_model_destroy",
                        "model",
                        keep,
                    )
                else:
                    path = encode_path(source)
                    self._own(
                        lambda out, error: call.sage_model_load(raw, path, out, error),
                        "sage_model_destroy",
                        "model",
                        keep,
                    )
        except NotFoundError as error:
            raise ModelNotFoundError(error.message, error.status, error.native_code) from None

    @property
    def kind(self) -> ModelKind:
        with self._handle as raw:
            return ModelKind(self._lib.call.sage_model_kind(raw))

    @property
    def inputs(self) -> List[TensorInfo]:
        return self._side(Direction.INPUT)

    @property
    def outputs(self) -> List[TensorInfo]:
        return self._side(Direction.OUTPUT)

    def _side(self, direction: Direction) -> List[TensorInfo]:
        found = []
        with self._handle as raw:
            for index in range(self._lib.call.sage_model_io_count(raw, direction)):
                name, dtype, rank = ctypes.c_char_p(), ctypes.c_uint32(), ctypes.c_uint32()
                shape, error = (ctypes.c_int64 * c.SAGE_MAX_RANK)(), new_error()
                status = self._lib.call.sage_model_io_info(
                    raw,
                    direction,
                    index,
                    ctypes.byref(name),
                    ctypes.byref(dtype),
                    ctypes.byref(rank),
                    shape,
                    ctypes.byref(error),
                )
                if status:
                    refuse(status, error)
                found.append(TensorInfo((name.value or b"").decode(), Dtype(dtype.value), tuple(shape[: rank.value])))
        return found

    def session(self, options: OptionsLike = None) -> Session:
        """Plans, memory and state of one caller."""
        from .session import Session

        return Session(self, options)
