"""Installs libsage, its cpu backend and the C# part into a folder of its own, and builds and runs an example against
what lies there, from another folder.

    installed.py CMAKE BUILD MONO MCS EXAMPLE
"""
import os
import pathlib
import subprocess
import sys
import tempfile

cmake, build, mono, mcs, example = sys.argv[1:]
with tempfile.TemporaryDirectory() as folder:
    prefix, work = pathlib.Path(folder) / "usr", pathlib.Path(folder) / "work"
    work.mkdir()
    for component in ("libsage0", "sage-plugin-cpu", "sage-csharp"):
        subprocess.run([cmake, "--install", build, "--prefix", prefix, "--component", component], check=True,
                       stdout=subprocess.DEVNULL)
    dll = next(prefix.rglob("Sage.dll"))
    subprocess.run([mcs, f"-r:{dll}", f"-out:{work}/Example.exe", example], check=True)
    run = subprocess.run([mono, work / "Example.exe"], cwd=work, env={**os.environ, "MONO_PATH": str(dll.parent)},
        text=True,
                         stdout=subprocess.PIPE, check=True)
    print(run.stdout, end="")
    if f"from {prefix}" not in run.stdout or "ran on cpu" not in run.stdout:
        sys.exit(f"not the library and backend installed in {prefix}")
