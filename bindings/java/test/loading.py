"""Where the Java binding finds its native library: the three places in their order, and what is said without them.

    loading.py JAVA JAR CLASSES TEST_CLASSES NATIVE OTHER_ABI
"""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

java, jar, classes, tests, native, other_abi = sys.argv[1:]
NOT_FOUND, IO, ABI_MISMATCH = "5", "6", "8"
faults = []


def command(arguments, class_path):
    # A system's own copy must not help: Debian's JDK looks into /usr/lib/jni.
    given = any("java.library.path" in argument for argument in arguments)
    return [java, *([] if given else ["-Djava.library.path=/nowhere"]), *arguments, "-cp", f"{class_path}:{tests}",
            "org.sage.Loading"]


def run(name, arguments, class_path, code, *parts, env=None, cwd="/"):
    environment = {key: value for key, value in os.environ.items() if key != "SAGE_NATIVE_DIR"}
    environment.update(env or {})
    result = subprocess.run(command(arguments, class_path), env=environment, cwd=cwd, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)
    if result.returncode != code:
        faults.append(f"{name}: exit code {result.returncode}, not {code}:\n{result.stdout[:800]}")
    for part in parts:
        if part not in result.stdout:
            faults.append(f"{name}: no '{part}' in:\n{result.stdout[:800]}")


with tempfile.TemporaryDirectory() as folder:
    temporary = pathlib.Path(folder)
    empty, room, half, other = (temporary / name for name in ("empty", "room", "half", "other"))
    for each in (empty, room, half, other):
        each.mkdir()
    places = ["sage.native.dir", "SAGE_NATIVE_DIR", "java.library.path", "inside the jar", "Install"]

    run("by property", [f"-Dsage.native.dir={native}"], classes, 0, f"found by -Dsage.native.dir={native}",
        f"library {native}",
        "cpu")
    run("by variable", [], classes, 0, f"found by SAGE_NATIVE_DIR={native}", env={"SAGE_NATIVE_DIR": native})
    run("property before variable", [f"-Dsage.native.dir={native}"], classes, 0, "found by -Dsage.native.dir",
        env={"SAGE_NATIVE_DIR": str(empty)})
    run("variable before path", [f"-Djava.library.path={native}"], classes, 3, "again " + NOT_FOUND,
        env={"SAGE_NATIVE_DIR": str(empty)})
    run("by library path", [f"-Djava.library.path={native}"], classes, 0, "found by java.library.path")
    run("library path before jar", [f"-Djava.library.path={native}"], jar, 0, "found by java.library.path",
        f"library {native}")
    run("out of the jar", [f"-Djava.io.tmpdir={room}"], jar, 0, f"found by the jar, by {room}/sage-engine-", "cpu")
    if any(room.iterdir()):
        faults.append(f"out of the jar: left behind {list(room.rglob('*'))}")

    run("nowhere", [], classes, 3, f" {NOT_FOUND} the native library of sage was not found", "again " + NOT_FOUND,
        *places)
    run("an empty folder", [f"-Dsage.native.dir={empty}"], jar, 3, f"no libsagejni.so in {empty}", *places)
    shutil.copy(f"{native}/libsagejni.so", half)
    run("without libsage", [f"-Dsage.native.dir={half}"], classes, 3, "libsage.so.0", "could not be loaded", *places)
    run("nothing to write into", [f"-Dsage.native.extract.dir={temporary}/missing"], jar, 3, f" {IO} ",
        "sage.native.extract.dir",
        *places)
    shutil.copy(f"{native}/libsagejni.so", other)
    shutil.copy(other_abi, other / "libsage.so.0")
    run("another ABI", [f"-Dsage.native.dir={other}"], classes, 3,
        f" {ABI_MISMATCH} libsage 9.9.9 at {other}/libsage.so.0 has ABI 2.0",
        "needs 1.0", "again " + ABI_MISMATCH)

    # What a killed JVM leaves behind goes with the next one; what lives stays.
    alive = subprocess.Popen([*command([f"-Dsage.native.extract.dir={room}"], jar), "wait"], text=True,
        stdout=subprocess.PIPE)
    killed = subprocess.Popen([*command([f"-Dsage.native.extract.dir={room}"], jar), "wait"], text=True,
        stdout=subprocess.PIPE)
    for process in (alive, killed):
        for line in process.stdout:
            if "backends" in line:
                break
        else:
            sys.exit("a JVM that should have waited ended with " + str(process.wait()))
    names = {each.name for each in room.rglob("*") if each.is_file()}
    if "libsage_cpu.so" not in names or any(not name.startswith("libsage_") for name in names):
        faults.append(f"once loaded, the libraries are removed and the backends stay: {names}")
    modes = {each.stat().st_mode & 0o777 for each in room.iterdir()}
    if modes != {0o700}:
        faults.append(f"a private folder is 0700: {[oct(mode) for mode in modes]}")
    killed.kill()
    killed.wait()
    # Of another namespace of process numbers, and of another user.
    namespace = "".join(filter(str.isdigit, os.readlink("/proc/self/ns/pid")))
    others = [room / f"sage-engine-1-{killed.pid}-1", room / f"sage-engine-{namespace}-{killed.pid}-1"]
    for each in others:
        each.mkdir()
    if os.getuid() == 0:
        os.chown(others[1], 65534, 65534)
    else:
        others.pop().rmdir()
    run("after a killed one", [f"-Dsage.native.extract.dir={room}"], jar, 0, "found by the jar")
    faults += [f"{each} was removed" for each in others if not each.is_dir()]
    for each in others:
        shutil.rmtree(each, ignore_errors=True)
    left = [each.name for each in room.iterdir()]
    if len(left) != 1 or f"-{alive.pid}-" not in left[0]:
        faults.append(f"of {left} only that of {alive.pid} should be there")
    alive.terminate()
    alive.wait()
    if any(room.iterdir()):
        faults.append("a JVM that was asked to end left its folder behind")

print("\n".join(faults) or "three places, in their order")
sys.exit(1 if faults else 0)
