#!/usr/bin/env python3
"""layout.py: writes down the binary shape of the ABI, so that a change of it is a change in a reviewed file.

    layout.py          regenerates abi/layout.txt and tests/abi/layout_lock.c from the headers (needs a C compiler)
    layout.py --check  fails when they differ from what the headers say now

layout.txt lists every struct with its fields' offsets and sizes, every constant, every function's prototype and every
type of a function pointer. layout_lock.c asserts the numbers at compile time, in C11 and in C++20.
It reads our own headers' style, not C in general: one typedef struct at a time, no nested ones.
"""
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
HEADERS = ["types.h", "attention.h", "ops.h", "plugin.h", "sage.h", "sparse.h", "quantize.h"]
LISTING = os.path.join(HERE, "layout.txt")
LOCK = os.path.join(HERE, "..", "tests", "abi", "layout_lock.c")


def read_headers():
    text = ""
    for name in HEADERS:
        with open(os.path.join(HERE, "sage", name), encoding="utf-8") as header:
            text += header.read() + "\n"
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    return re.sub(r"//[^\n]*", " ", text)


def split_top(text, separator):
    """Splits where no parenthesis is open."""
    parts, depth, current = [], 0, ""
    for c in text:
        depth += c == "("
        depth -= c == ")"
        if c == separator and depth == 0:
            parts.append(current)
            current = ""
        else:
            current += c
    return [part.strip() for part in parts + [current] if part.strip()]


def fields_of(body):
    """(name, declaration) of each field."""
    fields = []
    for declaration in split_top(body, ";"):
        text = re.sub(r"\s+", " ", declaration)
        pointer = re.search(r"\(\s*\*\s*(\w+)\s*\)", text)
        if pointer:
            fields.append((pointer.group(1), text))
            continue
        for part in split_top(text, ","):
            name = re.search(r"(\w+)\s*(\[[^\]]*\])?$", part).group(1)
            kind = text.split(",")[0]
            fields.append((name, kind if kind == part else re.match(r".*?(?=\s*\w+\s*(\[|$))", kind).group(0) + " " + part))
    return fields


def parse(text):
    structs = [(name, fields_of(body)) for body, name in
               re.findall(r"typedef struct \w+ \{(.*?)\}\s*(\w+)\s*;", text, flags=re.S)]
    constants, strings = [], []
    for name, value in re.findall(r"^[ \t]*#define[ \t]+(SAGE_\w+)[ \t]+(\S[^\n]*)$", text, flags=re.M):
        value = value.strip()
        if value.startswith('"'):
            strings.append((name, value))
        elif re.match(r"^[-(0-9]", value):
            constants.append(name)
    plain = re.sub(r"^[ \t]*#[^\n]*(\\\n[^\n]*)*", "", text, flags=re.M)
    plain = re.sub(r"typedef struct \w+ \{.*?\}\s*\w+\s*;", "", plain, flags=re.S)
    functions = [re.sub(r"\s+", " ", f).strip() for f in re.findall(r"SAGE_API\s+([^;]*);", plain)]
    types = [re.sub(r"\s+", " ", t).strip() for t in re.findall(r"typedef\s+([^;{}]*);", plain)]
    return structs, constants, strings, functions, types


def measure(structs, constants):
    """Compiles and runs a program that prints the numbers."""
    lines = ['#include <stdio.h>', '#include <stddef.h>', '#include "sage/plugin.h"', '#include "sage/quantize.h"', '#include "sage/sparse.h"',
             'int main(void) {']
    for name, fields in structs:
        lines.append(f'  printf("%zu %zu\\n", sizeof({name}), _Alignof({name}));')
        for field, _ in fields:
            lines.append(f'  printf("%zu %zu\\n", offsetof({name}, {field}), sizeof((({name} *)0)->{field}));')
    for name in constants:
        lines.append(f'  printf("%llu 0\\n", (unsigned long long)({name}));')
    lines += ["  return 0;", "}"]
    with tempfile.TemporaryDirectory() as folder:
        source, program = os.path.join(folder, "measure.c"), os.path.join(folder, "measure")
        with open(source, "w", encoding="utf-8") as out:
            out.write("\n".join(lines) + "\n")
        compiler = os.environ.get("CC", "cc")
        subprocess.run([compiler, "-std=c11", "-I", HERE, "-o", program, source], check=True)
        printed = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return iter([tuple(int(n) for n in line.split()) for line in printed.splitlines()])


def generate():
    structs, constants, strings, functions, types = parse(read_headers())
    numbers = measure(structs, constants)
    listing = ["# Written by abi/layout.py; a change here is a change of the ABI (abi/CHANGELOG.md). Offset, size, name.", ""]
    lock = ["/* layout_lock.c: written by abi/layout.py. No number here may change within a major; lists grow at their ends.",
            " * Compiled as C11 and as C++20. */", "/* clang-format off */", "#include <assert.h>", "#include <stddef.h>", "",
            '#include "sage/plugin.h"', '#include "sage/quantize.h"', '#include "sage/sparse.h"', "",
            "#define SIZE(type, bytes, alignment) \\",
            '  static_assert(sizeof(type) == (bytes) && ALIGNMENT(type) == (alignment), #type " has another size")',
            "#define AT(type, field, offset, bytes)                                                            \\",
            "  static_assert(offsetof(type, field) == (offset) && sizeof(((type*)0)->field) == (bytes), #type \".\" #field \\",
            '                " has moved")',
            '#define IS(name, value) static_assert((unsigned long long)(name) == (value), #name " has changed")',
            "#ifdef __cplusplus", "#define ALIGNMENT alignof", "#else", "#define ALIGNMENT _Alignof", "#endif", ""]
    for name, fields in structs:
        size, alignment = next(numbers)
        listing.append(f"struct {name}  {size} bytes, alignment {alignment}")
        lock.append(f"SIZE({name}, {size}, {alignment});")
        end = 0
        for field, declaration in fields:
            offset, bytes_ = next(numbers)
            if offset != end:
                sys.exit(f"{name}.{field}: {offset - end} bytes of hidden padding before it")
            end = offset + bytes_
            listing.append(f"  {offset:5} {bytes_:5}  {declaration}")
            lock.append(f"AT({name}, {field}, {offset}, {bytes_});")
        if end != size:
            sys.exit(f"{name}: {size - end} bytes of hidden padding at its end")
        listing.append("")
        lock.append("")
    for name in constants:
        value, _ = next(numbers)
        listing.append(f"{name} = {value if value < 4096 else hex(value)}")
        lock.append(f"IS({name}, {hex(value)}ull);")
    listing += [f"{name} = {value}" for name, value in strings]
    listing += [""] + types + [""] + functions
    return "\n".join(listing) + "\n", "\n".join(lock) + "\n"


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit(__doc__)
    for path, text in zip((LISTING, LOCK), generate()):
        if not check:
            with open(path, "w", encoding="utf-8") as out:
                out.write(text)
            continue
        with open(path, encoding="utf-8") as recorded:
            if recorded.read() != text:
                sys.exit(f"{os.path.normpath(path)} is not what the headers say: run abi/layout.py, review the difference, "
                         "and record it in abi/CHANGELOG.md")


if __name__ == "__main__":
    main()
