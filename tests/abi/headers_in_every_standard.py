"""Compiles every public C header alone, twice included, as C99 to C17 and C++11 to C++20, by gcc and by clang if it is there.
Argument: the folder of sage/*.h."""
import pathlib
import shutil
import subprocess
import sys

folder = pathlib.Path(sys.argv[1])
headers = ["sage/" + name for name in ("types.h", "attention.h", "ops.h", "plugin.h", "sage.h", "sparse.h", "quantize.h",
                                       "support/take_in.h", "support/refuse.h")]
compilers = [name for name in ("gcc", "clang") if shutil.which(name)]
if "gcc" not in compilers:
    sys.exit("gcc was not found")
faults = []
runs = 0
for compiler in compilers:
    for language, standards in (("c", ("c99", "c11", "c17")), ("c++", ("c++11", "c++17", "c++20"))):
        for standard in standards:
            for header in headers:
                done = subprocess.run([compiler, f"-std={standard}", "-x", language, "-fsyntax-only", "-Wall", "-Wextra",
                                       "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror", f"-I{folder}", "-"],
                                      input=f'#include "{header}"\n#include "{header}"\n', text=True, capture_output=True)
                runs += 1
                if done.returncode != 0:
                    faults.append(f"{header} by {compiler} -std={standard}:\n{done.stderr}")
print("\n".join(faults) or f"{len(headers)} headers by {' and '.join(compilers)}, {runs} compilations")
sys.exit(1 if faults else 0)
