"""Finds libsage.so.0, loads it once, and asks for its version before anything else.

Nothing is loaded on import, so that `python -m sage_engine` can say what is wrong. The search is short and every step
of it stands in the error, since "library not found" is the commonest fault of any binding.
"""

from __future__ import annotations

import ctypes
import os
import pathlib
import shutil
import subprocess
import sysconfig
import threading
from typing import Iterator, List, NamedTuple, Optional, Tuple

from . import constants as c
from ._ffi import FUNCTIONS
from .errors import AbiMismatchError, LibraryNotFoundError

NAME = "libsage.so.0"
VARIABLE = "SAGE_LIBRARY"


class Candidate(NamedTuple):
    path: str  # a file, or a bare name for the dynamic loader
    origin: str


def candidates() -> Iterator[Tuple[Optional[Candidate], str]]:
    """(where to try, or None; what was looked at) in order. SAGE_LIBRARY, once set, is the only one."""
    named = os.environ.get(VARIABLE)
    if named:
        path = os.path.join(named, NAME) if os.path.isdir(named) else named
        yield Candidate(path, f"the environment variable {VARIABLE}"), f"{VARIABLE}={named}"
        return
    package = pathlib.Path(__file__).resolve().parent
    yield _file(package / "_lib" / NAME, "this package", "inside this package")
    for beside in _of_this_prefix(package.parent):
        yield _file(beside, "the prefix of this package", "in this package's prefix")
    folder, said = _pkg_config()
    yield _file(pathlib.Path(folder, NAME), said, said) if folder else (None, said)
    yield Candidate(NAME, "the dynamic loader"), f"{NAME} by the dynamic loader (ldconfig, LD_LIBRARY_PATH)"


def _file(path: pathlib.Path, origin: str, place: str) -> Tuple[Optional[Candidate], str]:
    if path.exists():
        return Candidate(str(path), origin), f"{place}: {path}"
    return None, f"{place}: {path} does not exist"


def _of_this_prefix(packages: pathlib.Path) -> Iterator[pathlib.Path]:
    """PREFIX/lib[/MACHINE]/libsage.so.0 for a package in PREFIX/lib/python*/*-packages: a prefix may be moved."""
    if packages.name in ("dist-packages", "site-packages") and packages.parent.parent.name.startswith("lib"):
        machine = sysconfig.get_config_var("MULTIARCH")
        if machine:
            yield packages.parent.parent / machine / NAME
        yield packages.parent.parent / NAME


def _pkg_config() -> Tuple[Optional[str], str]:
    """(the library's folder, or None; who said so, or why not)."""
    program = shutil.which("pkg-config") or shutil.which("pkgconf")
    if program is None:
        return None, "pkg-config is not installed"
    try:
        asked = subprocess.run(
            [program, "--variable=libdir", "sage-engine"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            universal_newlines=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return None, f"pkg-config could not be asked: {error}"
    folder = asked.stdout.strip()
    if asked.returncode != 0 or not folder:
        where = os.environ.get("PKG_CONFIG_PATH")
        return None, "pkg-config knows no sage-engine" + (f" (PKG_CONFIG_PATH={where})" if where else "")
    return folder, "pkg-config sage-engine"


def require_abi(loaded: int, version: str, path: str) -> None:
    """loaded: sage_abi_version(), major << 16 | minor. A newer minor only adds, so it will do."""
    major, minor = loaded >> 16, loaded & 0xFFFF
    if major == c.SAGE_ABI_MAJOR and minor >= c.SAGE_ABI_MINOR:
        return
    raise AbiMismatchError(
        f"{path} is libsage {version} with ABI {major}.{minor}; this package needs ABI {c.SAGE_ABI_MAJOR}.x, at least "
        f"{c.SAGE_ABI_MAJOR}.{c.SAGE_ABI_MINOR}. Install the library that belongs to this package, or name one by "
        f"{VARIABLE}"
    )


class Library:
    """libsage, loaded. Functions are attributes of `call`, typed as in _ffi.FUNCTIONS. Every call drops the GIL."""

    def __init__(self, candidate: Candidate) -> None:
        self.origin = candidate.origin
        self.call = ctypes.CDLL(candidate.path)
        try:
            version, build = self.call.sage_abi_version, self.call.sage_version
        except AttributeError as error:
            raise OSError(f"it is no libsage: {error}") from None
        version.restype, version.argtypes = ctypes.c_uint32, []
        build.restype, build.argtypes = ctypes.c_char_p, []
        self.abi: int = version()
        require_abi(self.abi, build().decode(), candidate.path)
        for name, (result, arguments) in FUNCTIONS.items():
            function = getattr(self.call, name, None)
            if function is None:
                raise OSError(f"it has ABI {self.abi >> 16}.{self.abi & 0xFFFF} and yet no {name}")
            function.restype, function.argtypes = result, arguments
        self.version: str = self.call.sage_version().decode()
        self.build_info: str = self.call.sage_build_info().decode()


_loaded: Optional[Library] = None
_loading = threading.RLock()  # of a thread, not of a call: a signal's handler may come to need the library, too


def _after_fork() -> None:
    global _loading
    _loading = threading.RLock()


os.register_at_fork(after_in_child=_after_fork)


def library() -> Library:
    """The library, loaded on the first call. LibraryNotFoundError or AbiMismatchError where there is none to use."""
    global _loaded
    if _loaded is None:
        with _loading:
            if _loaded is None:
                _loaded = find()
    return _loaded


def find() -> Library:
    """Loads the first candidate there is. One that is there and cannot be used is an error, not passed over."""
    tried: List[str] = []
    for candidate, said in candidates():
        if candidate is None:
            tried.append(said)
            continue
        try:
            return Library(candidate)
        except OSError as error:
            tried.append(f"{said}: {error}")
            break
    raise LibraryNotFoundError(
        f"{NAME} was not found, or cannot be loaded. Looked at:\n"
        + "".join(f"  {line}\n" for line in tried)
        + f"Install the sage-engine wheel or the package libsage0, or set {VARIABLE} to the file's path."
    )
