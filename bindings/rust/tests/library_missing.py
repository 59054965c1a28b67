"""What a user sees where libsage is missing, too old or not where it was said to be: what was looked for, where, what
to do.

    library_missing.py CARGO CRATE FOLDER
"""
import os
import pathlib
import shutil
import subprocess
import sys

cargo, crate, folder = sys.argv[1], pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3])
shutil.rmtree(folder / "pc", ignore_errors=True)
old, broken, empty = folder / "pc" / "old", folder / "pc" / "broken", folder / "pc" / "empty"
for made in (old, broken, empty):
    made.mkdir(parents=True)
HEAD = "Name: sage-engine\nDescription: x\nLibs: -lsage\n"
(old / "sage-engine.pc").write_text(f"libdir=/nowhere\n{HEAD}Version: 0.0.9\n")
(broken / "sage-engine.pc").write_text(f"{HEAD}Version: 0.1.0\n")

CASES = [
    ("no library", {}, ["libsage was not found", f"PKG_CONFIG_PATH={empty}", "Install the package libsage-dev"]),
    ("too old", {"PKG_CONFIG_PATH": old}, ["libsage 0.0.9 was found, 0.1 or newer is needed", str(old)]),
    ("no libdir", {"PKG_CONFIG_PATH": broken}, ["sage-engine.pc has no libdir", str(broken)]),
    ("no pkg-config", {"PKG_CONFIG": "/nowhere/pkg-config"},
     ["/nowhere/pkg-config could not be started", "install pkg-config"]),
    ("not in the folder", {"SAGE_LIB_DIR": empty}, [f"SAGE_LIB_DIR is {empty}", "no libsage.so in it"]),
]
faults = []
for name, settings, expected in CASES:
    environment = dict(os.environ, PKG_CONFIG_PATH=str(empty), PKG_CONFIG_LIBDIR=str(empty),
                       CARGO_TARGET_DIR=str(folder / "target"))
    environment.update({key: str(value) for key, value in settings.items()})
    run = subprocess.run([cargo, "build", "--offline", "--manifest-path", str(crate / "Cargo.toml")], env=environment,
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    said = [part for part in expected if part not in run.stdout]
    if run.returncode == 0 or said:
        faults.append(f"{name}: ended with {run.returncode}, and did not say {said}:\n{run.stdout}")
print("\n".join(faults) or f"{len(CASES)} cases")
sys.exit(1 if faults else 0)
