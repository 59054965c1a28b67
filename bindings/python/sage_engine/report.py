"""What is installed and what it can do here: the text of `python -m sage_engine`, for a look and for a bug report."""

from __future__ import annotations

import platform
import sys
import warnings
from typing import Any, Dict, List, Tuple

import numpy as np

from . import __version__
from . import constants as c
from ._library import library
from .engine import Engine, unused
from .errors import SageError


def collect() -> Dict[str, Any]:
    """The same as data. "error" is there where the library cannot be used, "self_test" where it can."""
    found: Dict[str, Any] = {
        "sage_engine": __version__,
        "abi_needed": f"{c.SAGE_ABI_MAJOR}.{c.SAGE_ABI_MINOR}",
        "python": f"{platform.python_version()} ({sys.executable})",
        "numpy": np.__version__,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
    }
    try:
        lib = library()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # what is not used stands in the report
            made = Engine()
        with made as engine:
            found["engine"] = engine.describe()
            found["self_test"] = self_test(engine)
    except SageError as error:
        found["error"] = f"{error.status_name}: {error}"
        return found
    found["library"] = {
        "path": found["engine"]["library"],
        "found_by": lib.origin,
        "version": lib.version,
        "abi": f"{lib.abi >> 16}.{lib.abi & 0xFFFF}",
        "build": lib.build_info,
    }
    return found


def self_test(engine: Engine) -> List[Tuple[str, bool, str]]:
    """(backend, well?, words): causal attention of each backend against a softmax in float64."""
    from .attention import AttentionOp
    from .enums import Align
    from .errors import UnsupportedError

    q = (np.arange(4 * 9 * 8, dtype=np.float32).reshape(1, 4, 9, 8) * 7 % 31 - 15) / 8
    k = (np.arange(2 * 9 * 8, dtype=np.float32).reshape(1, 2, 9, 8) * 5 % 31 - 15) / 8
    v = (np.arange(2 * 9 * 8, dtype=np.float32).reshape(1, 2, 9, 8) * 3 % 31 - 15) / 8
    scores = np.einsum("bhid,bhjd->bhij", q, np.repeat(k, 2, 1).astype(np.float64)) / np.sqrt(8.0)
    scores[..., ~np.tri(9, dtype=bool)] = -np.inf
    p = np.exp(scores - scores.max(-1, keepdims=True))
    expected = np.einsum("bhij,bhjd->bhid", p / p.sum(-1, keepdims=True), np.repeat(v, 2, 1))
    results = []
    for backend in engine.backends():
        o = np.full_like(q, np.nan)
        op = AttentionOp(q, k, v, o, causal=Align.TOP_LEFT)
        try:
            with engine.plan(op, {"backend": backend}) as plan, plan.context() as context:
                context.run(op)
        except UnsupportedError as error:
            results.append((backend, True, str(error).splitlines()[-1]))
            continue
        except SageError as error:
            results.append((backend, False, f"{error.status_name}: {error}"))
            continue
        far = float(np.abs(o - expected).max())
        results.append((backend, far < 1e-5, f"largest difference {far:.1e}"))
    return results


def render(found: Dict[str, Any]) -> str:
    lines = [
        f"sage_engine {found['sage_engine']} (needs ABI {found['abi_needed']})",
        "",
        f"  python   {found['python']}",
        f"  numpy    {found['numpy']}",
        f"  system   {found['system']}",
    ]
    if "error" in found:
        return "\n".join([*lines, "", found["error"], ""])
    lib, engine = found["library"], found["engine"]
    lines += [
        f"  library  {lib['path']} (by {lib['found_by']})",
        f"           {lib['version']}, ABI {lib['abi']}; {lib['build']}",
        f"  threads  {engine['threads']}",
        "",
        "backends",
    ]
    for plugin in engine["plugins"]:
        state = "usable" if plugin["usable"] else "refused"
        name, version = plugin.get("name") or "?", plugin.get("version") or "?"  # of a refused one nobody may know
        lines.append(f"  {name:12} {state:8}  {version:8} {plugin['path']} ({plugin['origin']})")
        for key in ("refused", "shadowed_by", "warning", "foreign_threads"):
            if plugin.get(key):
                lines.append(f"               {key.replace('_', ' ')}: {plugin[key]}")
    for device in engine["devices"]:
        lines.append("  device       " + ", ".join(f"{key} {value}" for key, value in device.items()))
    for folder in engine["folders"]:
        lines.append(f"  looked in    {folder['path']} ({folder['origin']}): {folder['note']}")
    lines += ["", "self-test (causal attention, 4/2 heads, against float64)"]
    lines += [f"  {name:12} {'ok' if well else 'WRONG'}, {words}" for name, well, words in found["self_test"]]
    if unused(engine):
        lines += ["", "Only `reference` can be used, the slowest backend."]
    lines += ["", "All is well." if is_well(found) else "Something is wrong.", ""]
    return "\n".join(lines)


def is_well(found: Dict[str, Any]) -> bool:
    return "error" not in found and all(well for _, well, _ in found["self_test"]) and not unused(found["engine"])
