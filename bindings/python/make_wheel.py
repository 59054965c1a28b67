#!/usr/bin/env python3
"""Writes the wheel of sage_engine, libsage.so.0 and its plugins inside, from a build folder or an installed prefix:

    make_wheel.py --library build/release --output dist [--plugin openblas --plugin cpu]
    make_wheel.py --output dist                                       the package alone: it finds an installed library

The same input gives the same bytes (SOURCE_DATE_EPOCH is heeded). The tag is linux_<machine>: what libsage needs of
libc and libstdc++ is this machine's, so no manylinux name would be honest. Also a PEP 517 backend, see pyproject.toml,
of the standard library only; the library may be named there by --config-settings library=FOLDER.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import pathlib
import re
import struct
import time
import zipfile
from typing import Dict, List, Optional, Tuple

HERE = pathlib.Path(__file__).resolve().parent
PACKAGE = HERE / "sage_engine"
LIBRARY = "libsage.so.0"
MACHINES = {62: "x86_64", 183: "aarch64", 243: "riscv64"}


def version() -> str:
    found = re.search(r'^__version__ = "([^"]+)"$', (PACKAGE / "__init__.py").read_text(encoding="utf-8"), re.M)
    assert found is not None
    return found[1]


def find_library(folder: pathlib.Path) -> pathlib.Path:
    """libsage.so.0 of a build folder, an installed prefix, or the folder it lies in."""
    places = [folder, folder / "lib", *sorted(folder.glob("lib/*-linux-gnu")), folder / "lib64"]
    for place in places:
        if (place / LIBRARY).exists():
            return place / LIBRARY
    raise SystemExit(f"make_wheel: no {LIBRARY} in {folder}; looked in " + ", ".join(map(str, places)))


def machine_of(library: pathlib.Path) -> str:
    """As the ELF header says: a wheel may be made for another machine than this one."""
    header = library.read_bytes()[:20]
    if header[:4] != b"\x7fELF":
        raise SystemExit(f"make_wheel: {library} is no ELF file")
    number = struct.unpack("<H", header[18:20])[0]
    if number not in MACHINES:
        raise SystemExit(f"make_wheel: {library} is for ELF machine {number}, which has no wheel tag here")
    return MACHINES[number]


def content(library: Optional[pathlib.Path], plugins: Optional[List[str]]) -> Dict[str, Tuple[bytes, int]]:
    """Name in the wheel: bytes, mode."""
    files = {
        f"sage_engine/{path.name}": (path.read_bytes(), 0o644)
        for path in PACKAGE.iterdir()
        if path.suffix == ".py" or path.name == "py.typed"
    }
    if library is None:
        return files
    files[f"sage_engine/_lib/{LIBRARY}"] = (library.read_bytes(), 0o755)
    folder = library.parent / "sage" / "plugins"
    found = {path.name[len("libsage_") : -len(".so")]: path for path in folder.glob("libsage_*.so")}
    missing = [name for name in plugins or [] if name not in found]
    if missing:
        raise SystemExit(
            f"make_wheel: no plugin {', '.join(missing)} in {folder}; there are {', '.join(sorted(found))}"
        )
    for name, path in found.items():
        if plugins is None or name in plugins:
            files[f"sage_engine/_lib/sage/plugins/{path.name}"] = (path.read_bytes(), 0o755)
    return files


def metadata() -> bytes:
    return (
        f"Metadata-Version: 2.1\nName: sage-engine\nVersion: {version()}\n"
        "Summary: Attention and SAGE graphs through the best backend of this machine\n"
        "Requires-Python: >=3.9\nRequires-Dist: numpy>=1.24\nLicense-File: LICENSE\n"
        "Classifier: Operating System :: POSIX :: Linux\nClassifier: Typing :: Typed\n"
    ).encode()


def write(output: pathlib.Path, files: Dict[str, Tuple[bytes, int]], tag: str) -> pathlib.Path:
    """The wheel, in the order of names, with one time for all."""
    info = f"sage_engine-{version()}.dist-info"
    files = dict(files)
    files[f"{info}/METADATA"] = metadata(), 0o644
    pure = str(tag.endswith("-any")).lower()
    files[f"{info}/WHEEL"] = (
        f"Wheel-Version: 1.0\nGenerator: sage-engine make_wheel\nRoot-Is-Purelib: {pure}\n" f"Tag: {tag}\n"
    ).encode(), 0o644
    license_file = HERE.parent.parent / "LICENSE"
    if license_file.exists():
        files[f"{info}/LICENSE"] = license_file.read_bytes(), 0o644
    record = "".join(f"{name},sha256={digest(data)},{len(data)}\n" for name, (data, _) in sorted(files.items()))
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode(), 0o644
    # Zip knows no time before 1980.
    when = time.gmtime(max(int(os.environ.get("SOURCE_DATE_EPOCH", "1577836800")), 315532800))[:6]
    output.mkdir(parents=True, exist_ok=True)
    path = output / f"sage_engine-{version()}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as wheel:
        for name, (data, mode) in sorted(files.items()):
            entry = zipfile.ZipInfo(name, when)
            entry.compress_type, entry.create_system = zipfile.ZIP_DEFLATED, 3
            entry.external_attr = (0o100000 | mode) << 16
            wheel.writestr(entry, data)
    return path


def digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def make(output: pathlib.Path, folder: Optional[pathlib.Path], plugins: Optional[List[str]] = None) -> pathlib.Path:
    if folder is None:
        return write(output, content(None, None), "py3-none-any")
    library = find_library(folder)
    return write(output, content(library, plugins), f"py3-none-linux_{machine_of(library)}")


# ---- the PEP 517 and 660 backend ----


def build_wheel(
    wheel_directory: str, config_settings: Optional[Dict[str, str]] = None, metadata_directory: Optional[str] = None
) -> str:
    folder = (config_settings or {}).get("library")
    return make(pathlib.Path(wheel_directory), pathlib.Path(folder) if folder else None).name


def build_editable(
    wheel_directory: str, config_settings: Optional[Dict[str, str]] = None, metadata_directory: Optional[str] = None
) -> str:
    files = {"sage_engine_source.pth": (f"{HERE}\n".encode(), 0o644)}
    return write(pathlib.Path(wheel_directory), files, "py3-none-any").name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", type=pathlib.Path, help="a build folder, an installed prefix, or libsage's folder")
    parser.add_argument("--plugin", action="append", help="only these of its plugins; without it all of them")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="the folder to write into")
    arguments = parser.parse_args()
    print(make(arguments.output, arguments.library, arguments.plugin))


if __name__ == "__main__":
    main()
