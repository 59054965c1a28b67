"""Installs libsage, its cpu backend and the Java part into a folder of its own, and builds and runs an example against
what lies there, from another folder: with the classes of the jar and the natives of the library path.

    installed.py CMAKE BUILD JAVA JAVAC EXAMPLE
"""
import pathlib
import subprocess
import sys
import tempfile

cmake, build, java, javac, example = sys.argv[1:]
with tempfile.TemporaryDirectory() as folder:
    prefix, work = pathlib.Path(folder) / "usr", pathlib.Path(folder) / "work"
    work.mkdir()
    for component in ("libsage0", "sage-plugin-cpu", "sage-java"):
        subprocess.run([cmake, "--install", build, "--prefix", prefix, "--component", component], check=True,
                       stdout=subprocess.DEVNULL)
    jar = next(prefix.rglob("sage-engine.jar"))
    jni = next(prefix.rglob("libsagejni.so")).parent
    subprocess.run([javac, "-cp", jar, "-d", work, example], check=True)
    run = subprocess.run([java, f"-Djava.library.path={jni}", "-cp", f"{jar}:{work}", pathlib.Path(example).stem],
        cwd=work,
                         text=True, stdout=subprocess.PIPE, check=True)
    print(run.stdout, end="")
    if f"from {prefix}" not in run.stdout or "ran on cpu" not in run.stdout:
        sys.exit(f"not the library and backend installed in {prefix}")
