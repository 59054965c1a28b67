"""Writes the constants of the public C headers into every binding, and into tests/vectors/constants.txt, which the
conformance runners compare them with. One source, so that no value drifts.

    bindings/constants.py           writes the files
    bindings/constants.py --check   only says whether they are as they should be
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Of ops.h what an attention call may say, of plugin.h what a log callback hears; the rest of both is for backends.
HEADERS = {
    "types.h": r"SAGE_\w+",
    "ops.h": r"SAGE_(?:OP_ATTENTION|ACCURACY_\w+|REQUIRE_\w+|AXIS_\w+)",
    "attention.h": r"SAGE_\w+",
    "plugin.h": r"SAGE_LOG_\w+",
    "sage.h": r"SAGE_\w+",
    "sparse.h": r"SAGE_\w+",
    "quantize.h": r"SAGE_\w+",
}
VALUE = re.compile(r"^\(?(0x[0-9a-fA-F]+|\d+)(u|ull)?(?: << (\d+)\))?$")


def read_constants():
    """[(name, value, is 64 bits wide)] in the order of the headers."""
    found = []
    for header, names in HEADERS.items():
        for line in (ROOT / "abi" / "sage" / header).read_text().splitlines():
            define = re.match(rf"#define ({names})\s+(.+?)\s*(?:/\*.*)?$", line)
            if not define or define[1].endswith("_H_") or define[1] == "SAGE_API":
                continue
            value = VALUE.match(define[2])
            if not value:
                sys.exit(f"{header}: {define[1]} is '{define[2]}': not a number this script can read")
            found.append((define[1], int(value[1], 0) << int(value[3] or 0), value[2] == "ull"))
    return found


NOTE = "Written by bindings/constants.py from the headers in abi/sage; change those."


def rust(constants):
    def kind(name, wide):
        if name == "SAGE_OK" or name.startswith("SAGE_E_"):
            return "sage_status"
        return "u64" if wide else "usize" if name == "SAGE_MAX_RANK" else "u32"

    lines = [f"// {NOTE}", "use crate::sage_status;", ""]
    lines += [f"pub const {name}: {kind(name, wide)} = {value};" for name, value, wide in constants]
    lines += ["", "/// Every constant by its name in C.", f"pub const CONSTANTS: [(&str, u64); {len(constants)}] = ["]
    lines += [f'    ("{name}", {name} as u64),' for name, _, _ in constants]
    return lines + ["];"]


def go(constants):
    lines = [f"// {NOTE}", "", "package sage", "", '// #include "sage/plugin.h"', '// #include "sage/quantize.h"', '// #include "sage/sparse.h"',
             'import "C"', "",
             "// constants has every constant by its name in C: what the conformance runner compares.",
             "var constants = map[string]uint64{"]
    width = max(len(name) for name, _, _ in constants) + 3
    lines += [f'\t{(chr(34) + name + chr(34) + ":").ljust(width)} C.{name},' for name, _, _ in constants]
    return lines + ["}"]


def python(constants):
    return [f'"""{NOTE}"""', ""] + [f"{name} = {value}" for name, value, _ in constants]


def java(constants):
    lines = [f"// {NOTE}", "package org.sage;", "", "/** The constants of the C headers. */", "public final class Constants {"]
    lines += [f"  public static final {'long' if wide else 'int'} {name} = {value}{'L' if wide else ''};"
              for name, value, wide in constants]
    return lines + ["", "  private Constants() {}", "}"]


def csharp(constants):
    lines = [f"// {NOTE}", "namespace Sage", "{", "    /// <summary>The constants of the C headers.</summary>",
             "    public static class Constants", "    {"]
    lines += [f"        public const {'ulong' if wide else 'uint'} {name} = {value};" for name, value, wide in constants]
    return lines + ["    }", "}"]


def vectors(constants):
    return [f"constant {name} {value}" for name, value, _ in constants]


FILES = {
    "tests/vectors/constants.txt": vectors,
    "bindings/rust/sage-engine-sys/src/constants.rs": rust,
    "bindings/go/constants.go": go,
    "bindings/python/sage_engine/constants.py": python,
    "bindings/java/src/main/java/org/sage/Constants.java": java,
    "bindings/csharp/src/Constants.cs": csharp,
}


def main():
    constants = read_constants()
    stale = []
    for name, write in FILES.items():
        path, text = ROOT / name, "\n".join(write(constants)) + "\n"
        if path.exists() and path.read_text() == text:
            continue
        stale.append(name)
        if "--check" not in sys.argv:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    if "--check" in sys.argv and stale:
        sys.exit("not as the headers say; run bindings/constants.py:\n  " + "\n  ".join(stale))
    print(f"{len(constants)} constants, {len(FILES)} files, {len(stale)} changed")


if __name__ == "__main__":
    main()
