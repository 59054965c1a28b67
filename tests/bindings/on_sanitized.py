"""The native runners (Rust, Go, and Python's ctypes) over a libsage built with AddressSanitizer: nothing is read or written out
of bounds on either side of the border, and the transcript is still C's.

    on_sanitized.py BUILD SANITIZED     two build folders: one with the bindings, one with SAGE_SANITIZE=address,undefined

The sanitizer comes first into processes that were not built with it; leaks are not looked for, since the run-times keep memory
of their own. The JVM and mono, whose own handlers it would disturb, have -Xcheck:jni and their tests.
"""
import json
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent


def loaded(folder):
    """Every libsage.so that the runner's processes loaded, as the dynamic loader wrote it down there (LD_DEBUG=libs)."""
    found = re.compile(r"calling init: (\S*/libsage\.so\S*)")
    return {pathlib.Path(name).resolve() for file in folder.iterdir() for name in found.findall(file.read_text(errors="replace"))}


def main():
    build, sanitized = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
    folder = sanitized / "lib"
    sanitizer = subprocess.run(["gcc", "-print-file-name=libasan.so"], check=True, text=True, stdout=subprocess.PIPE).stdout.strip()
    commands = json.loads((build / "conformance.json").read_text())
    if b"__asan_" not in (folder / "libsage.so.0").read_bytes():
        sys.exit(f"{folder}/libsage.so.0 was not built with AddressSanitizer")
    failed = []
    for language in ("c", "rust", "go", "python"):
        if language not in commands:
            print(f"SKIP {language}: {build} was built without it")
            continue
        with tempfile.TemporaryDirectory() as loads:
            # The comparing script runs without the sanitizer; env sets it for the runner alone.
            environment = {"LD_PRELOAD": sanitizer, "LD_LIBRARY_PATH": folder, "SAGE_LIBRARY": folder,
                           "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0", "UBSAN_OPTIONS": "print_stacktrace=1",
                           "LD_DEBUG": "libs", "LD_DEBUG_OUTPUT": f"{loads}/process"}
            # Python's command clears the variable that names the library, so that it finds BUILD's.
            runner = ["env", *(f"{name}={value}" for name, value in environment.items()),
                      *(word for word in commands[language] if word != "--unset=SAGE_LIBRARY")]
            done = subprocess.run([sys.executable, HERE / "compare_transcripts.py", build / "vectors",
                                   build / "fixtures" / "hostile" / "wrong_major.so", language, *runner],
                                  text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            used = loaded(pathlib.Path(loads))
        print(f"{language}: {done.stdout.strip()[-3000:]}")
        if {library.parent for library in used} != {folder}:
            print(f"{language}: ran on {', '.join(map(str, used)) or 'no libsage'} instead of {folder}/libsage.so.0")
        elif done.returncode == 0:
            continue
        failed.append(language)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
