"""Installs the build and uses it as a stranger would, from another folder and with a clean environment.

    package.py install BUILD FOLDER            cmake --install of everything into FOLDER/prefix
    package.py cmake FOLDER                    find_package(sage): C, C++, the static library
    package.py pkg-config FOLDER               pkg-config sage-engine, and nothing else
    package.py template FOLDER                 the backend of examples/plugin-template/c, checked by the installed tool
    package.py moved FOLDER                    all of it once more after the prefix was moved
    package.py archives BUILD FOLDER           DEB and TGZ: what is in them, and that the tool runs out of them
    package.py reproduced BUILD FOLDER         libsage.so built from a copy of the sources elsewhere: the same bytes
"""
import filecmp
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
# All that a user sets. No LD_LIBRARY_PATH: what is found is found by what was installed.
CLEAN = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/nonexistent", "LANG": "C.UTF-8"}


def run(*command, cwd=None, **environment):
    done = subprocess.run([str(part) for part in command], cwd=cwd, env={**CLEAN, **environment},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\nended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def expect(text, *parts):
    for part in parts:
        if part not in text:
            sys.exit(f"'{part}' is not in:\n{text}")


def fresh(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def library_folder(prefix):
    return next(prefix.rglob("libsage.so.0")).parent


def install(build, folder):
    fresh(folder)
    run("cmake", "--install", build, "--prefix", folder / "prefix")
    tool = folder / "prefix" / "bin" / "sage-engine"
    expect(run(tool, "doctor"), "cpu", str(folder / "prefix"))


def cmake_consumer(folder, prefix):
    work = fresh(folder / "cmake-consumer")
    shutil.copytree(ROOT / "tests" / "package" / "consumer", work / "source")
    run("cmake", "-S", "source", "-B", "build", f"-DCMAKE_PREFIX_PATH={prefix}", cwd=work)
    run("cmake", "--build", "build", cwd=work)
    for program in ("in_c", "in_cpp"):
        expect(run(work / "build" / program), "sage 0.", ": 1 2, backends reference cpu")
    # Beside a program that is one file there are no backends; the engine finds them where it is told.
    expect(run(work / "build" / "in_one_file", SAGE_PLUGIN_PATH=str(library_folder(prefix) / "sage" / "plugins")),
           ": 1 2, backends reference cpu")
    needed = run("readelf", "-d", work / "build" / "in_one_file")
    if "libsage" in needed:
        sys.exit(f"in_one_file still needs libsage:\n{needed}")


def pkg_config_consumer(folder, prefix):
    work = fresh(folder / "pkg-config-consumer")
    shutil.copytree(ROOT / "tests" / "package" / "consumer", work / "source")
    where = {"PKG_CONFIG_PATH": str(library_folder(prefix) / "pkgconfig")}
    flags = run("pkg-config", "--cflags", "--libs", "sage-engine", **where).split()
    rpath = "-Wl,-rpath," + run("pkg-config", "--variable=libdir", "sage-engine", **where).strip()
    run("gcc", "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "source/attend.c", *flags, rpath, "-o", "in_c", cwd=work)
    run("g++", "-std=c++20", "-Wall", "-Wextra", "source/attend.cc", *flags, rpath, "-o", "in_cpp", cwd=work)
    static = run("pkg-config", "--cflags", "--libs-only-other", "--libs-only-L", "sage-engine", **where).split()
    private = run("pkg-config", "--libs", "--static", "sage-engine", **where).split()
    run("gcc", "source/attend.c", *static, "-Wl,-Bstatic", "-lsage", "-Wl,-Bdynamic",
        *(flag for flag in private if flag.startswith("-l") and flag != "-lsage"), "-o", "in_one_file", cwd=work)
    for program in ("in_c", "in_cpp", "in_one_file"):
        expect(run(work / program), ": 1 2, backends reference")
    if run("pkg-config", "--modversion", "sage-engine", **where).strip() not in run(work / "in_c"):
        sys.exit("pkg-config names another version than the library")


def template(folder, prefix):
    work = fresh(folder / "template")
    shutil.copytree(ROOT / "examples" / "plugin-template" / "c", work / "source")
    run("cmake", "-S", "source", "-B", "build", f"-DCMAKE_PREFIX_PATH={prefix}", cwd=work)
    run("cmake", "--build", "build", cwd=work)
    backend, tool = work / "build" / "libsage_simple.so", prefix / "bin" / "sage-engine"
    expect(run(tool, "plugin", "check", backend), " 0 failed")
    expect(run(tool, "plugin", "list", SAGE_PLUGIN_PATH=str(backend.parent)), "simple")


def moved(folder):
    there = folder / "another name" / "prefix"
    shutil.rmtree(there.parent, ignore_errors=True)
    there.parent.mkdir()
    shutil.copytree(folder / "prefix", there, symlinks=True)
    hidden = folder / "prefix-away"
    os.rename(folder / "prefix", hidden)
    try:
        expect(run(there / "bin" / "sage-engine", "doctor"), str(there))
        cmake_consumer(folder / "moved", there)
    finally:
        os.rename(hidden, folder / "prefix")


def archives(build, folder):
    missing = [program for program in ("dpkg-deb", "dpkg-shlibdeps", "file") if not shutil.which(program)]
    if missing:
        print(f"skipped: {', '.join(missing)} not found; scripts/setup --bindings installs what packages take")
        sys.exit(77)
    work = fresh(folder / "archives")
    before = os.umask(0o002)  # many a builder's: the folders are not to have it
    run("cpack", "--config", build / "CPackConfig.cmake", "-G", "DEB;TGZ", "-B", work)
    os.umask(before)
    names = sorted(path.name.split("_")[0] for path in work.glob("*.deb"))
    components = ["libsage-dev", "libsage-reputation-dev", "libsage-reputation0", "libsage-static-dev", "libsage0",
                  "sage-engine", "sage-plugin-cpu", "sage-plugin-int8", "sage-plugin-openblas"]
    # Languages are in it where their tools are, and the plugin cuda where the toolkit is.
    if not set(components) <= set(names) <= {*components, "sage-plugin-cuda", "sage-plugin-cudnn", "sage-rust", "sage-go", "sage-java", "sage-csharp", "sage-python"}:
        sys.exit(f"packages {names}, expected {components}")
    for package in work.glob("*.deb"):
        run("dpkg-deb", "-x", package, work / "root")
        if wide := [line for line in run("dpkg-deb", "-c", package).splitlines() if re.match("[-d].{4}w|[-d].{7}w", line)]:
            sys.exit(f"{package.name}: others may write to {wide}")
        fields = run("dpkg-deb", "-f", package)
        expect(fields, "Maintainer:", "Description:")
        if package.name.startswith("libsage0"):
            # A minimal core: nothing but the language's run-time.
            depends = next(line for line in fields.splitlines() if line.startswith("Depends"))
            foreign = [name for name in depends[9:].split(", ") if not name.startswith(("libc6", "libgcc-s1", "libstdc++6"))]
            if foreign:
                sys.exit(f"libsage0 depends on {foreign}")
    expect(run(work / "root" / "usr" / "bin" / "sage-engine", "doctor"), "cpu", "openblas")
    archive = next(work.glob("*.tar.gz"))
    run("tar", "-xzf", archive, cwd=work)
    expect(run(work / archive.name.removesuffix(".tar.gz") / "bin" / "sage-engine", "doctor"), "cpu", "openblas")


def reproduced(build, folder):
    """The compiler cache is off: it would hand the same object over and prove nothing."""
    if not (ROOT / ".git").exists():
        print("skipped: not a clone, so nobody says which files are the sources")
        sys.exit(77)
    work = fresh(folder / "reproduced" / "under" / "another" / "name")
    listed = run("git", "-c", "safe.directory=*", "-C", ROOT, "ls-files", "-z").split("\0")
    for name in filter(None, listed):
        if not name.startswith(("tests/", "bench/results/")) and (ROOT / name).is_file():
            (work / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, work / name)
    there = folder / "reproduced" / "build"
    source_id = (build / "package" / "git_id").read_text().strip()
    run("cmake", "-S", work, "-B", there, "-G", "Ninja", "-DCMAKE_BUILD_TYPE=Release", f"-DSAGE_GIT_ID={source_id}",
        "-DSAGE_BUILD_TESTS=OFF", "-DSAGE_BUILD_TOOL=OFF", "-DSAGE_BUILD_BENCH=OFF")
    run("cmake", "--build", there, "--target", "sage", "sage_plugin_openblas", CCACHE_DISABLE="1")
    for name in ("lib/libsage.so.0", "lib/sage/plugins/libsage_openblas.so"):
        if not filecmp.cmp(build / name, there / name, shallow=False):
            sys.exit(f"{name} differs between two folders")


def main():
    part, paths = sys.argv[1], [pathlib.Path(path).resolve() for path in sys.argv[2:]]
    prefix = paths[-1] / "prefix"
    {"install": lambda: install(*paths),
     "cmake": lambda: cmake_consumer(paths[0], prefix),
     "pkg-config": lambda: pkg_config_consumer(paths[0], prefix),
     "template": lambda: template(paths[0], prefix),
     "moved": lambda: moved(paths[0]),
     "archives": lambda: archives(*paths),
     "reproduced": lambda: reproduced(*paths)}[part]()
    print(f"{part}: as it should be")


if __name__ == "__main__":
    main()
