"""The backend of examples/plugin-template/rust: copied elsewhere, built, tested, checked by the tool's kit; then with a
fault put in, a panic in a task, which must come out as an error and not as a crash.

    plugin_template.py CARGO SAGE_ENGINE TEMPLATE FOLDER
"""
import os
import pathlib
import shutil
import subprocess
import sys

cargo, tool, template, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3]), pathlib.Path(sys.argv[4])
os.environ.pop("CARGO_TARGET_DIR", None)


def run(*command, **environment):
    result = subprocess.run([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True, env=dict(os.environ, **environment))
    return result.returncode, result.stdout


def expect(good, what, said):
    if not good:
        sys.exit(f"{what}:\n{said}")


def build():
    code, said = run(cargo, "build", "--release", "--offline", "--locked", "--quiet", "--manifest-path",
                     folder / "Cargo.toml")
    expect(code == 0, "it does not build", said)
    return folder / "target" / "release" / "libsage_simple_rust.so"


for name in ("src", "Cargo.toml", "Cargo.lock"):
    (shutil.rmtree if (folder / name).is_dir() else lambda path: path.unlink(missing_ok=True))(folder / name)
# Not with the times of the originals: cargo would take the program of the last run for theirs.
shutil.copytree(template, folder, ignore=shutil.ignore_patterns("target"), dirs_exist_ok=True,
                copy_function=shutil.copyfile)
backend = build()
code, said = run(tool, "plugin", "check", backend)
expect(code == 0 and " 0 failed" in said, "the kit finds faults", said)
code, said = run(tool, "plugin", "list", SAGE_PLUGIN_PATH=str(backend.parent))
expect(code == 0 and "simple_rust" in said, "it is not found", said)
code, said = run(cargo, "test", "--offline", "--locked", "--quiet", "--manifest-path", folder / "Cargo.toml")
expect(code == 0 and " 0 failed" in said, "its tests fail", said)

source = folder / "src" / "lib.rs"
start = "    unsafe fn attend(&self, n: i64, scores: &mut [f64]) {\n"
text = source.read_text()
expect(start in text, "attend is not where it was", text)
source.write_text(text.replace(start, start + '        assert!(n < 3, "on purpose");\n'))
code, said = run(tool, "plugin", "check", build())
expect(0 < code < 126 and "a task panicked" in said and "on purpose" not in said, f"a panic came out as {code}", said)
print("built, checked and listed; a panic is an error")
