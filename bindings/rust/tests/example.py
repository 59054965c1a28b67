"""Runs examples/rust as it stands in the tree, then as a user has it: copied elsewhere, with the crates as they are
installed.

    example.py CARGO CMAKE BUILD_FOLDER EXAMPLES FOLDER
"""
import pathlib
import shutil
import subprocess
import sys

cargo, cmake = sys.argv[1], sys.argv[2]
build, examples, folder = (pathlib.Path(argument) for argument in sys.argv[3:])


def run(*command):
    result = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, text=True)
    if result.returncode != 0:
        sys.exit(f"{command}\nended with {result.returncode}:\n{result.stdout}")
    return result.stdout


def check(manifest):
    model = folder / "metabolic.fbs"
    run(build / "bin" / "sage-engine", "convert", examples / "models" / "metabolic.json", model)
    said = run(cargo, "run", "--offline", "--locked", "--quiet", "--manifest-path", manifest, "--", model,
               examples / "ticks" / "metabolic.jsonl").splitlines()
    ticks = len((examples / "ticks" / "metabolic.jsonl").read_text().splitlines())
    if said[:1] != ["o[0] = 0.3"] or not said[1].startswith("ran on ") or len(said) != 2 + ticks:
        sys.exit(f"{manifest}: unexpected output:\n" + "\n".join(said))
    if not all(line.split()[0] in ("WAKE", "FOCUS", "REST", "DREAM", "CRISIS") for line in said[2:]):
        sys.exit(f"{manifest}: a tick without a state:\n" + "\n".join(said))


shutil.rmtree(folder, ignore_errors=True)
folder.mkdir(parents=True)
check(examples / "rust" / "Cargo.toml")

run(cmake, "--install", build, "--prefix", folder / "prefix", "--component", "sage-rust")
crates = next((folder / "prefix").rglob("sage-engine/Cargo.toml")).parent.parent
if list(crates.rglob("tests")):
    sys.exit("tests are installed, which need the source tree")
shutil.copytree(examples / "rust", folder / "mine", ignore=shutil.ignore_patterns("target"))
manifest = folder / "mine" / "Cargo.toml"
manifest.write_text(manifest.read_text().replace("../../bindings/rust", str(crates)))
check(manifest)
print("the example runs in the tree and against the installed crates")
