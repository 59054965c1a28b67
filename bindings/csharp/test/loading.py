"""Where Sage.dll finds its native library, and what is said without it.

    loading.py MONO FOLDER OTHER_ABI
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

mono, folder, other_abi = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3]
NOT_FOUND, ABI_MISMATCH = "5", "8"
faults = []


def run(name, place, code, *parts, library_path=None):
    environment = {key: value for key, value in os.environ.items() if key != "LD_LIBRARY_PATH"}
    if library_path:
        environment["LD_LIBRARY_PATH"] = str(library_path)
    result = subprocess.run([mono, place / "Loading.exe"], env=environment, cwd="/", text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)
    if result.returncode != code:
        faults.append(f"{name}: exit code {result.returncode}, not {code}:\n{result.stdout[:800]}")
    for part in parts:
        if part not in result.stdout:
            faults.append(f"{name}: no '{part}' in:\n{result.stdout[:800]}")


with tempfile.TemporaryDirectory() as made:
    temporary = pathlib.Path(made)
    run("beside Sage.dll", folder, 0, "library ", "cpu")

    alone = temporary / "alone"
    alone.mkdir()
    for name in ("Sage.dll", "Loading.exe"):
        shutil.copy(folder / name, alone)
    run("nowhere", alone, 3, f"{NOT_FOUND} ", "libsagecs.so does not exist", "beside Sage.dll", str(alone),
        "LD_LIBRARY_PATH",
        "Install", f"again {NOT_FOUND}")
    natives = temporary / "natives"
    natives.mkdir()
    shutil.copy(folder / "libsagecs.so", natives)
    run("by LD_LIBRARY_PATH", alone, 0, "library ", library_path=natives)

    shutil.copy(folder / "libsagecs.so", alone)
    shutil.copy(other_abi, natives / "libsage.so.0")
    (natives / "libsagecs.so").unlink()
    # LD_LIBRARY_PATH comes before the run path of libsagecs.so.
    run("another ABI", alone, 3, f"{ABI_MISMATCH} ", f"libsage 9.9.9 at {natives}/libsage.so.0 has ABI 2.0",
        "needs 1.0",
        f"again {ABI_MISMATCH}", library_path=natives)
    (natives / "libsage.so.0").write_text("not a library")
    run("a damaged libsage", alone, 3, f"{NOT_FOUND} ", "is there but could not be loaded", "libsage.so.0",
        library_path=natives)

print("\n".join(faults) or "beside Sage.dll, by LD_LIBRARY_PATH, and what is said otherwise")
sys.exit(1 if faults else 0)
