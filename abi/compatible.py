"""Is the ABI still the recorded one? The headers, as a library without code, against abi/libsage-0.abixml by abidiff.

    abi/compatible.py --source FILE             writes that library's source: every declared function, doing nothing
    abi/compatible.py --check IMAGE LIBRARY     abidiff IMAGE (that source, built with -g); and LIBRARY exports the same names
    abi/compatible.py --record IMAGE            records what is there now; say why in abi/CHANGELOG.md

An image and not libsage itself: in C++ the handles are whole classes, which nobody outside may rely on. Additions are
compatible and are recorded anew with the change that makes them. Exit code 77: abidw or abidiff is not installed.
"""
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
BASELINE = HERE / "libsage-0.abixml"


def declarations():
    for header in ("sage.h", "sparse.h", "quantize.h"):
        text = re.sub(r"/\*.*?\*/", "", (HERE / "sage" / header).read_text(), flags=re.S)
        yield from (" ".join(found.split()) for found in re.findall(r"SAGE_API ([^;{]+\))\s*;", text))


def structs():
    for header in sorted((HERE / "sage").glob("*.h")):
        yield from re.findall(r"^typedef struct (\w+) {", header.read_text(), flags=re.M)


def source():
    lines = ["/* Written by abi/compatible.py: the border without an engine behind it. */", '#include "sage/plugin.h"',
             '#include "sage/quantize.h"', '#include "sage/sparse.h"', ""]
    for declaration in declarations():
        body = "" if declaration.startswith("void ") else " return 0; "
        lines.append(f"SAGE_API {declaration} {{{body}}}")
    lines += ["/* What no function above names: attributes behind a void pointer, and the plugins' side. */",
              "SAGE_API void sage_image_structs(" + ", ".join(f"const {name} *{name}_" for name in structs()) + ") {}"]
    return "\n".join(lines) + "\n"


def describe(image, to):
    subprocess.run(["abidw", "--headers-dir", HERE / "sage", "--no-corpus-path", "--no-comp-dir-path", "--no-show-locs",
                    "--out-file", to, image], check=True)
    # Where it was built is not part of it.
    to.write_text(re.sub(r" path='[^']*'", " path='image.c'", to.read_text()))


def exported(library):
    listed = subprocess.run(["nm", "-D", "--defined-only", library], check=True, text=True, stdout=subprocess.PIPE).stdout
    return {line.split()[-1].split("@")[0] for line in listed.splitlines() if " T " in line}


def check(image, library):
    names = exported(image) - {"sage_image_structs"}
    if names != exported(library):
        sys.exit(f"the headers and {library.name} differ in {sorted(names ^ exported(library))}")
    now = image.with_suffix(".abixml")
    describe(image, now)
    diff = subprocess.run(["abidiff", BASELINE, now], text=True, stdout=subprocess.PIPE)
    if diff.returncode != 0:
        sys.exit(f"{diff.stdout}\nThe ABI is not the recorded one. If that is meant and compatible: abi/compatible.py --record "
                 f"{image}, and a line in abi/CHANGELOG.md. If it breaks old programs: SAGE_ABI_MAJOR and the SONAME rise.")
    print(f"{len(names)} functions, as recorded")


def main():
    what, paths = sys.argv[1], [pathlib.Path(path) for path in sys.argv[2:]]
    if what == "--source":
        paths[0].write_text(source())
        return
    if not shutil.which("abidw") or not shutil.which("abidiff"):
        print("skipped: abidw and abidiff are not installed (Debian: abigail-tools)")
        sys.exit(77)
    if what == "--record":
        describe(paths[0], BASELINE)
    else:
        check(*paths)


if __name__ == "__main__":
    main()
