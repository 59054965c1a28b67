"""The peers' private Python environment under build/bench, made once and kept while requirements.txt stays as it is.

PyPI's torch for Linux is the CUDA build: it loads only with NVIDIA's libraries beside it (some 5 GB on disk), although
nothing of them is used here. Nothing is installed outside the folder. Standard library only: this runs before there is
an environment.
"""
import hashlib
import json
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
# What to ask pip for, by peer; versions come from requirements.txt as constraints.
PEERS = {
    "torch": ["torch"],
    "onnxruntime": ["onnxruntime", "onnx"],
    "openvino": ["openvino"],
    "jax": ["jax", "jaxlib"],
}
SHARED = ["numpy", "ml_dtypes"]
# Those of bench/run --int8 besides, at the versions of requirements-int8.txt.
INT8_PEERS = {"torchao": ["torchao"]}


def last_line(text):
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["no reason was given"])[-1][:300]


def install(python, packages, pins):
    command = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
    for file in pins:
        command += ["-c", str(file)]
    return subprocess.run(command + packages, capture_output=True, text=True)


def install_each(python, wanting, pins, say):
    """{peer: why it is missing} of {peer: its packages}."""
    missing = {}
    for peer, packages in wanting.items():
        say(f"peers: installing {' '.join(packages)}")
        result = install(python, packages, pins)
        if result.returncode != 0:
            missing[peer] = f"cannot be installed: {last_line(result.stderr)}"
            say(f"peers: {peer} {missing[peer]}")
    return missing


def prepare(folder, say=print):
    """Returns (path of its python, {peer: why it is missing}). Ends the program where there is no Python to speak of."""
    requirements = HERE / "requirements.txt"
    stamp = folder / "peers.json"
    wanted = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()
    python = folder / "bin" / "python"

    made = json.loads(stamp.read_text()) if stamp.exists() else {}
    if made.get("requirements") == wanted:
        wanting = {peer: PEERS[peer] for peer in made["missing"]}
    else:
        wanting = PEERS
        say(f"peers: making {folder} (torch brings NVIDIA's libraries: about 6 GB, some minutes)")
        venv = subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], capture_output=True, text=True)
        if venv.returncode != 0:
            sys.exit(f"peers: python's venv does not work: {last_line(venv.stderr + venv.stdout)}\n"
                     "On Debian: apt-get install python3-venv")
        shared = install(python, SHARED, [requirements])
        if shared.returncode != 0:
            sys.exit(f"peers: {', '.join(SHARED)} cannot be installed, so no answer could be checked: {last_line(shared.stderr)}")
    missing = install_each(python, wanting, [requirements], say)
    stamp.write_text(json.dumps({"requirements": wanted, "missing": missing}, indent=1) + "\n")
    return python, missing


def prepare_int8(folder, say=print):
    """The peers of --int8 into an environment that prepare() has made. Returns {peer: why it is missing}."""
    more = HERE / "requirements-int8.txt"
    stamp = folder / "peers-int8.json"
    # The environment's own versions are part of it: one that was made anew has none of these.
    wanted = hashlib.sha256(more.read_bytes() + (folder / "peers.json").read_bytes()).hexdigest()
    made = json.loads(stamp.read_text()) if stamp.exists() else {}
    same = made.get("requirements") == wanted
    wanting = {peer: INT8_PEERS[peer] for peer in made["missing"]} if same else INT8_PEERS
    missing = install_each(folder / "bin" / "python", wanting, [HERE / "requirements.txt", more], say)
    stamp.write_text(json.dumps({"requirements": wanted, "missing": missing}, indent=1) + "\n")
    return missing


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3) or sys.argv[2:] not in ([], ["--int8"]):
        sys.exit("environment.py FOLDER [--int8]: makes the peers' Python environment there")
    where = pathlib.Path(sys.argv[1]).resolve()
    prepare(where)
    if sys.argv[2:]:
        prepare_int8(where)
