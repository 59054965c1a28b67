"""The native runners (Rust, Go, and Python's ctypes) over a libsage built with AddressSanitizer: nothing is read or written out
of bounds on either side of the border, and the transcript is still C's.

    on_sanitized.py BUILD SANITIZED     two build folders: one with the bindings, one with SAGE_SANITIZE=address,undefined

The sanitizer comes first into processes that were not built with it; leaks are not looked for, since the run-times keep memory
of their own. The JVM and mono, whose own handlers it would disturb, have -Xcheck:jni and their tests.
"""
import json
import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def main():
    build, sanitized = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
    library = subprocess.run(["gcc", "-print-file-name=libasan.so"], check=True, text=True, stdout=subprocess.PIPE).stdout.strip()
    commands = json.loads((build / "conformance.json").read_text())
    if b"__asan_" not in (sanitized / "lib" / "libsage.so.0").read_bytes():
        sys.exit(f"{sanitized}/lib/libsage.so.0 was not built with AddressSanitizer")
    failed = []
    for language in ("c", "rust", "go", "python"):
        if language not in commands:
            print(f"SKIP {language}: {build} was built without it")
            continue
        environment = {**os.environ, "LD_PRELOAD": library, "LD_LIBRARY_PATH": str(sanitized / "lib"),
                       "SAGE_LIBRARY": str(sanitized / "lib"), "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0",
                       "UBSAN_OPTIONS": "print_stacktrace=1"}
        # The comparing script runs without the sanitizer; env sets it for the runner alone.
        runner = ["env", *(f"{name}={environment[name]}" for name in
                           ("LD_PRELOAD", "LD_LIBRARY_PATH", "SAGE_LIBRARY", "ASAN_OPTIONS", "UBSAN_OPTIONS")), *commands[language]]
        done = subprocess.run([sys.executable, HERE / "compare_transcripts.py", build / "vectors",
                               build / "fixtures" / "hostile" / "wrong_major.so", language, *runner],
                              text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        print(f"{language}: {done.stdout.strip()[-3000:]}")
        if done.returncode != 0:
            failed.append(language)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()
