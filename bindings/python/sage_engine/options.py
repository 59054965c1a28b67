"""Options: key = value, and the two callbacks. Plain Python until a call uses them; the library then copies them.

Callbacks are made for each use anew, so that an exception goes back to the run it came from.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from typing import Any, Callable, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple, Union

from ._ffi import CANCEL_FN, LOG_FN, sage_error
from ._handle import new_error, refuse
from ._library import Library
from .errors import InvalidArgumentError

LogFunction = Callable[[int, str], object]
CancelFunction = Callable[[], object]
OptionValue = Union[str, bool, int, float, Sequence[str]]


class Options(Mapping[str, str]):
    """Options(threads=2, trace=True) or Options({"cpu.isa": "scalar"}). Values become text; a key or value that nobody
    knows is refused where the options are used, with the nearest one that is known.

    log(level, text): lines of an engine, from any thread; level is a LogLevel. What it raises is dropped.
    cancel(): asked now and then during a run, from the threads that work on it; true stops it with CancelledError. What
    it raises stops the run too, and is raised again by the call that ran; of several runs that it serves, by one.
    `cancel=lambda: None` is enough for Ctrl-C to stop a run of the main thread.
    """

    def __init__(
        self,
        values: Optional[Mapping[str, OptionValue]] = None,
        *,
        log: Optional[LogFunction] = None,
        cancel: Optional[CancelFunction] = None,
        **more: OptionValue,
    ) -> None:
        self._values: Dict[str, str] = {}
        for key, value in {**(values or {}), **more}.items():
            self._values[key] = _text_of(key, value)
        inherited = values if isinstance(values, Options) else None
        self.log: Optional[LogFunction] = log if log is not None or inherited is None else inherited.log
        self.cancel: Optional[CancelFunction] = cancel if cancel is not None or inherited is None else inherited.cancel
        for name, function in (("log", self.log), ("cancel", self.cancel)):
            if function is not None and not callable(function):
                raise InvalidArgumentError(f"{name} is {function!r}, a function is expected")

    def __getitem__(self, key: str) -> str:
        return self._values[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Options({self._values!r})"


OptionsLike = Union[Options, Mapping[str, OptionValue], None]


def _text_of(key: str, value: OptionValue) -> str:
    if not isinstance(key, str) or "\0" in key:
        raise InvalidArgumentError(f"{key!r} is no name of an option")
    if value is None:
        raise InvalidArgumentError(f"the option {key!r} is None; one that is not set is left out")
    if isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, (list, tuple)):
        text = (":" if key == "plugins" else ",").join(str(item) for item in value)
    else:
        text = str(value)
    if "\0" in text:
        raise InvalidArgumentError(f"the option {key!r} has a NUL in its value")
    return text


class Lent:
    """The callbacks that one handle was lent, alive as long as that. raised: what they owe the caller of a run."""

    def __init__(self, options: Options) -> None:
        self.raised: Optional[BaseException] = None
        self.log_function, self.cancel_function = options.log, options.cancel
        self.log_fn = LOG_FN(self._log) if options.log is not None else LOG_FN(0)
        self.cancel_fn = CANCEL_FN(self._cancel) if options.cancel is not None else CANCEL_FN(0)
        self.calls_back = options.log is not None or options.cancel is not None
        if self.calls_back:
            _watch_entries()

    def _log(self, _user: Any, level: int, text: int, length: int) -> None:
        try:
            assert self.log_function is not None
            self.log_function(level, ctypes.string_at(text, length).decode("utf-8", "replace"))
        except Exception:  # nothing may unwind through C, and nobody waits for it
            pass
        except BaseException as error:  # Ctrl-C is not lost
            self.raised = error

    def _cancel(self, _user: Any) -> int:
        try:
            assert self.cancel_function is not None
            return 1 if self.raised is not None or self.cancel_function() else 0
        except BaseException as error:
            self.raised = error
            return 1


_watching = False


def _watch_entries() -> None:
    """A signal that comes while C computes is handled when Python next runs: on entering a callback, before its `try`.
    All that Python 3.11 and later offer for such an exception is sys.unraisablehook; it is wrapped when first needed,
    and only exceptions of this module's callbacks are kept from it."""
    global _watching
    if _watching:
        return
    _watching = True
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        # Which callback it was, its outermost frame says; the hook's own `object` does only before 3.13.
        outermost = getattr(unraisable.exc_traceback, "tb_frame", None)
        if outermost is not None and outermost.f_code in (Lent._log.__code__, Lent._cancel.__code__):
            outermost.f_locals["self"].raised = unraisable.exc_value
        else:
            before(unraisable)

    sys.unraisablehook = hook


@contextlib.contextmanager
def lend(lib: Library, given: OptionsLike) -> Iterator[Tuple[Optional[int], List[Lent]]]:
    """(handle for the call, what must live on). No options: (None, [])."""
    if given is None:
        yield None, []
        return
    options = given if isinstance(given, Options) else Options(given)
    call, raw, error, lent = lib.call, ctypes.c_void_p(), new_error(), Lent(options)
    reference = ctypes.byref(error)
    status = call.sage_options_create(ctypes.byref(raw), reference)
    try:
        for key, value in options.items():
            status = status or call.sage_options_set(raw, key.encode(), value.encode(), reference)
        status = status or call.sage_options_set_log(raw, lent.log_fn, None, reference)
        status = status or call.sage_options_set_cancel(raw, lent.cancel_fn, None, reference)
        if status:
            refuse(status, error)
        yield raw.value, [lent]
    finally:
        call.sage_options_destroy(raw)


def finish_run(status: int, error: sage_error, lent: Sequence[Any]) -> None:
    """Raises what a run came to: the exception of its cancel callback before the library's, which is its context."""
    raised: Optional[BaseException] = None
    for item in lent:
        if isinstance(item, Lent) and item.raised is not None:
            raised, item.raised = item.raised, None
    if raised is None:
        if status:
            refuse(status, error)
        return
    try:
        if status:
            refuse(status, error)
    finally:
        raise raised
