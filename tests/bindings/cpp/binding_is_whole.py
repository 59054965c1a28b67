"""Fails where a function that libsage exports does not appear in the C++ headers, or where a header needs another one
before it. Arguments: the source folder, a C++ compiler."""
import pathlib
import re
import subprocess
import sys

root, compiler = pathlib.Path(sys.argv[1]), sys.argv[2]
binding = root / "bindings" / "cpp"
headers = sorted(binding.rglob("*.hpp"))
text = "\n".join(header.read_text() for header in headers)
exported = set()
for header in ("sage.h", "sparse.h", "quantize.h"):
    declared = (root / "abi" / "sage" / header).read_text()
    exported |= set(re.findall(r"SAGE_API[^;(]*?\b(sage_\w+)\(", declared))
faults = [f"{name} has no place in bindings/cpp" for name in sorted(exported) if not re.search(rf"\b{name}\b", text)]
if len(exported) < 40:
    faults.append(f"only {len(exported)} exported functions were found: the headers are read wrongly")
for header in headers:
    for standard in ("c++20", "c++23"):
        check = subprocess.run(
            [compiler, f"-std={standard}", "-fsyntax-only", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-x", "c++",
             f"-I{binding}", f"-I{root / 'abi'}", "-"],
            input=f'#include "{header.relative_to(binding)}"\n', text=True, capture_output=True)
        if check.returncode != 0:
            faults.append(f"{header.relative_to(root)} does not stand alone in {standard}:\n{check.stderr}")
print("\n".join(faults) or f"{len(exported)} functions, {len(headers)} headers")
sys.exit(1 if faults else 0)
