"""Installs libsage, its cpu backend and the part of a language into a folder of its own, and builds and runs an example
against what lies there, from another folder; in Java with the classes of the jar and the natives of the library path.

    installed.py java CMAKE BUILD JAVAC JAVA EXAMPLE
    installed.py csharp CMAKE BUILD MCS MONO EXAMPLE
"""
import os
import pathlib
import subprocess
import sys
import tempfile

language, cmake, build, compiler, runtime, example = sys.argv[1:]
with tempfile.TemporaryDirectory() as folder:
    prefix, work = pathlib.Path(folder) / "usr", pathlib.Path(folder) / "work"
    work.mkdir()
    for component in ("libsage0", "sage-plugin-cpu", f"sage-{language}"):
        subprocess.run([cmake, "--install", build, "--prefix", prefix, "--component", component], check=True,
                       stdout=subprocess.DEVNULL)
    environment = dict(os.environ)
    if language == "java":
        jar, jni = next(prefix.rglob("sage-engine.jar")), next(prefix.rglob("libsagejni.so"))
        compile_it = [compiler, "-cp", jar, "-d", work, example]
        run_it = [runtime, f"-Djava.library.path={jni.parent}", "-cp", f"{jar}:{work}", pathlib.Path(example).stem]
    else:
        dll = next(prefix.rglob("Sage.dll"))
        compile_it = [compiler, f"-r:{dll}", f"-out:{work}/Example.exe", example]
        run_it = [runtime, work / "Example.exe"]
        environment["MONO_PATH"] = str(dll.parent)
    subprocess.run(compile_it, check=True)
    run = subprocess.run(run_it, cwd=work, env=environment, text=True, stdout=subprocess.PIPE, check=True)
    print(run.stdout, end="")
    if f"from {prefix}" not in run.stdout or "ran on cpu" not in run.stdout:
        sys.exit(f"not the library and backend installed in {prefix}")
