"""Runs examples/rust as it stands in the tree, then as a user has it: copied elsewhere, with the crates and the library
as they are installed, and nothing set but PKG_CONFIG_PATH.

    example.py CARGO CMAKE BUILD_FOLDER EXAMPLES FOLDER
"""
import os
import pathlib
import shutil
import subprocess
import sys

cargo, cmake = sys.argv[1], sys.argv[2]
build, examples, folder = (pathlib.Path(argument) for argument in sys.argv[3:])


def run(*command, **environment):
    result = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True,
                            env=dict(os.environ, **environment))
    if result.returncode != 0:
        sys.exit(f"{command}\nended with {result.returncode}:\n{result.stdout}")
    return result.stdout


def check(manifest, **environment):
    model = folder / "metabolic.fbs"
    run(build / "bin" / "sage-engine", "convert", examples / "models" / "metabolic.json", model)
    said = run(cargo, "run", "--offline", "--locked", "--quiet", "--manifest-path", manifest, "--", model,
               examples / "ticks" / "metabolic.jsonl", **environment).splitlines()
    ticks = len((examples / "ticks" / "metabolic.jsonl").read_text().splitlines())
    if said[:1] != ["o[0] = 0.3"] or not said[1].startswith("ran on ") or len(said) != 2 + ticks:
        sys.exit(f"{manifest}: unexpected output:\n" + "\n".join(said))
    if not all(line.split()[0] in ("WAKE", "FOCUS", "REST", "DREAM", "CRISIS") for line in said[2:]):
        sys.exit(f"{manifest}: a tick without a state:\n" + "\n".join(said))


shutil.rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)
check(examples / "rust" / "Cargo.toml")

for component in ("libsage0", "libsage-dev", "sage-plugin-cpu", "sage-rust"):
    run(cmake, "--install", build, "--prefix", folder / "prefix", "--component", component)
crates = next((folder / "prefix").rglob("sage-engine/Cargo.toml")).parent.parent
if list(crates.rglob("tests")):
    sys.exit("tests are installed, which need the source tree")
shutil.copytree(examples / "rust", folder / "mine", ignore=shutil.ignore_patterns("target"))
manifest = folder / "mine" / "Cargo.toml"
manifest.write_text(manifest.read_text().replace("../../bindings/rust", str(crates)))
package = next((folder / "prefix").rglob("sage-engine.pc")).parent
check(manifest, PKG_CONFIG_PATH=str(package), CARGO_TARGET_DIR=str(folder / "target"))
needed = run("readelf", "-d", folder / "target" / "debug" / "attention")
if str(build) in needed.replace(str(folder), "") or str(folder / "prefix") not in needed:
    sys.exit(f"the program does not look for the installed library:\n{needed}")
print("the example runs in the tree and against the installed crates")
