"""What the library refuses, as exceptions.

Every exception here is a SageError with the library's own sentence, its status and the driver's or system's code. Where
Python has a word for the case, the class is that as well: a bad argument is a ValueError, a missing model file a
FileNotFoundError, no memory a MemoryError.
"""

from __future__ import annotations

from typing import Dict, Optional, Type

from . import constants as c

_NAMES: Dict[int, str] = {
    value: name for name, value in vars(c).items() if name == "SAGE_OK" or name.startswith("SAGE_E_")
}


class SageError(RuntimeError):
    """Base of all. status: SAGE_E_*; native_code: errno, a driver's code, or 0; message: what was given, what was
    expected, what to do."""

    status: int = c.SAGE_E_INTERNAL

    def __init__(self, message: str, status: Optional[int] = None, native_code: int = 0) -> None:
        super().__init__(message)
        self.message = message
        self.status = type(self).status if status is None else status
        self.native_code = native_code

    @property
    def status_name(self) -> str:
        """ "SAGE_E_BUSY"; "unknown" for a status of a newer library."""
        return _NAMES.get(self.status, "unknown")

    def __str__(self) -> str:
        return self.message


class InvalidArgumentError(SageError, ValueError):
    """The call contradicts its own description."""

    status = c.SAGE_E_INVALID_ARGUMENT


class ShapeError(InvalidArgumentError):
    """An array has another shape than the call needs. Found by the binding, before any memory is touched."""


class ArrayError(InvalidArgumentError, TypeError):
    """No array, an element type that has no name here, a read-only output, or a memory layout that would need a copy
    which nobody allowed (copy=True)."""


class ClosedError(InvalidArgumentError):
    """The object was closed."""


class UnsupportedError(SageError, NotImplementedError):
    """A correct request that no acceptable backend serves; the message has the reasons."""

    status = c.SAGE_E_UNSUPPORTED


class UnknownFieldError(SageError, ValueError):
    """The request uses a field, slot or bit that the library or a backend does not know."""

    status = c.SAGE_E_UNKNOWN_FIELD


class OutOfMemoryError(SageError, MemoryError):
    """No memory, or more than the option max_memory: refused before anything was allocated."""

    status = c.SAGE_E_OUT_OF_MEMORY


class NotFoundError(SageError, LookupError):
    """No such file, name or index."""

    status = c.SAGE_E_NOT_FOUND


class ModelNotFoundError(NotFoundError, FileNotFoundError):
    """A model, or a file it names, is not there."""


class LibraryNotFoundError(NotFoundError, ImportError):
    """libsage.so.0 was not found, or cannot be loaded; the message lists every place."""


class FileAccessError(SageError, OSError):
    """The system refused a file. errno is the native code."""

    status = c.SAGE_E_IO


class BadDataError(SageError, ValueError):
    """A model, weight file, tick or snapshot is malformed. decision: of a tick, its error record, else None."""

    status = c.SAGE_E_BAD_DATA
    decision: Optional[Dict[str, object]] = None


class AbiMismatchError(SageError, ImportError):
    """A library or a plugin speaks another ABI; the message has both versions, the path and what to do."""

    status = c.SAGE_E_ABI_MISMATCH


class DeviceError(SageError):
    """A driver or the hardware failed; native_code is its code."""

    status = c.SAGE_E_DEVICE


class CancelledError(SageError):
    """The run was stopped by cancel() or a cancel callback."""

    status = c.SAGE_E_CANCELLED


class BusyError(SageError):
    """Another call is on this session or context."""

    status = c.SAGE_E_BUSY


class ForkedError(SageError):
    """The object was made before fork(); make a new one in the child."""

    status = c.SAGE_E_FORKED


class BufferTooSmallError(SageError):
    """A buffer was too small; nothing was written."""

    status = c.SAGE_E_BUFFER_TOO_SMALL


class InternalError(SageError):
    """A fault of the library or a backend. Worth a report."""

    status = c.SAGE_E_INTERNAL


_CLASSES: Dict[int, Type[SageError]] = {
    kind.status: kind
    for kind in (
        InvalidArgumentError,
        UnsupportedError,
        UnknownFieldError,
        OutOfMemoryError,
        NotFoundError,
        FileAccessError,
        BadDataError,
        AbiMismatchError,
        DeviceError,
        CancelledError,
        BusyError,
        ForkedError,
        BufferTooSmallError,
        InternalError,
    )
}


def error_of(status: int, native_code: int, message: str) -> SageError:
    """The exception of a status that is not SAGE_OK."""
    error = _CLASSES.get(status, SageError)(message, status, native_code)
    if isinstance(error, OSError) and native_code:
        error.errno = native_code
    return error
