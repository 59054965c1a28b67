"""Handles of the library: one owner, closed once, never under a running call.

A call pins its handle, so a close in another thread takes effect when the last call has returned; without that, the
address could be freed between Python's reading it and C's using it. The lock is one for all handles and kept plans and
held for a few byte codes only; it is reentrant because the garbage collector may close something at any of them, and
new after a fork.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
import weakref
from typing import Any, Callable, List, NoReturn, Optional, Type, TypeVar

from . import constants as c
from ._ffi import sage_error
from ._library import Library
from .errors import ClosedError, error_of

_ERROR_SIZE = ctypes.sizeof(sage_error)
_PATIENCE = 5.0  # seconds
lock = threading.RLock()


def _renew_lock() -> None:
    global lock
    lock = threading.RLock()


os.register_at_fork(after_in_child=_renew_lock)


def new_error() -> sage_error:
    """One for each call: messages of two threads never meet."""
    return sage_error(_ERROR_SIZE)


def refuse(status: int, error: sage_error) -> NoReturn:
    """Raises what a status that is not SAGE_OK means."""
    raise error_of(status, error.native_code, error.message.decode("utf-8", "replace"))


def fetch(call: Callable[[Any, int, Any, Any], int]) -> bytes:
    """call(buffer, capacity, needed, error): asked for the size, then for the content, until it fits: it may grow."""
    needed, error = ctypes.c_uint64(), new_error()
    status = call(None, 0, ctypes.byref(needed), ctypes.byref(error))
    while status == c.SAGE_OK:
        capacity = needed.value
        buffer = ctypes.create_string_buffer(max(capacity, 1))
        status = call(buffer, capacity, ctypes.byref(needed), ctypes.byref(error))
        if status == c.SAGE_OK:
            return buffer.raw[: needed.value]
        if status == c.SAGE_E_BUFFER_TOO_SMALL and needed.value > capacity:
            status = c.SAGE_OK
    refuse(status, error)


class Handle:
    """`with handle as raw:` pins it for a call. keep: what C was lent and may still use, let go after destruction."""

    __slots__ = ("raw", "destroy", "name", "pins", "closed", "keep", "process", "__weakref__")

    def __init__(self, raw: int, destroy: Callable[[int], None], name: str, keep: List[Any]) -> None:
        self.raw, self.destroy, self.name, self.keep = raw, destroy, name, keep
        self.pins, self.closed, self.process = 0, False, os.getpid()

    def __enter__(self) -> int:
        with lock:
            if self.closed:
                raise ClosedError(f"the {self.name} was closed")
            self.pins += 1
        return self.raw

    def __exit__(self, *_: object) -> None:
        with lock:
            self.pins -= 1
            last = self.closed and self.pins == 0
        if last:
            self._destroy()

    def close(self) -> None:
        with lock:
            if self.closed:
                return
            self.closed = True
            idle = self.pins == 0
        if idle:
            self._destroy()

    def _destroy(self) -> None:
        self.destroy(self.raw)
        for lent in self.keep:
            if isinstance(lent, dict):  # a session's bound memory
                lent.clear()
        self.keep = []


def _finalize(handle: Handle) -> None:
    """The net under close(). Whoever calls holds the object, so a call still runs here only where the interpreter ends
    under a daemon thread. A callback that came after that end would kill its thread in the middle of C++, and with it
    the process: a call that may call back is stopped by SystemExit, and waited for as long as patience lasts."""
    from .options import Lent

    lent = [item for item in handle.keep if isinstance(item, Lent) and item.calls_back]
    handle.close()
    end = time.monotonic() + _PATIENCE
    while lent and handle.keep and handle.process == os.getpid() and time.monotonic() < end:
        for item in lent:
            item.raised = SystemExit()
        time.sleep(0.001)


Self = TypeVar("Self", bound="Closing")


class Closing:
    """What holds a handle. close() is the contract, `with` its usual form; a finalizer is the net under it."""

    _handle: Handle
    _lib: Library

    def _own(self, create: Callable[[Any, Any], int], destroy: str, name: str, keep: List[Any]) -> None:
        """create(out, error) -> status makes the handle."""
        out, error = ctypes.c_void_p(), new_error()
        status = create(ctypes.byref(out), ctypes.byref(error))
        if status:
            refuse(status, error)
        assert out.value is not None
        self._handle = Handle(out.value, getattr(self._lib.call, destroy), name, keep)
        weakref.finalize(self, _finalize, self._handle)

    def close(self) -> None:
        """Frees it. Any order is right, what was made of it lives on; again does nothing; while a call runs, it takes
        effect at the call's end."""
        self._handle.close()

    @property
    def closed(self) -> bool:
        return self._handle.closed

    def __enter__(self: Self) -> Self:
        if self._handle.closed:
            raise ClosedError(f"the {self._handle.name} was closed")
        return self

    def __exit__(self, kind: Optional[Type[BaseException]], *_: object) -> None:
        self.close()
