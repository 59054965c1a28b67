"""Runs a conformance runner (tests/vectors/README.md) and compares what it printed.

    compare_transcripts.py FOLDER PLUGIN LANGUAGE COMMAND...

Language `c`: with tests/vectors/expected.txt, but for the cases native_*, which depend on the machine; its transcript is
kept in FOLDER. The others: with that one, to the byte. `SAGE_WRITE_EXPECTED=1` with `c` writes expected.txt anew.
"""
import difflib
import os
import pathlib
import subprocess
import sys

EXPECTED = pathlib.Path(__file__).resolve().parent.parent / "vectors" / "expected.txt"


def portable(text):
    """Without what depends on the machine, and so without the digest, which counts it."""
    return [line for line in text.splitlines() if not line.startswith(("native_", "digest "))]


def fnv1a(data):
    value = 14695981039346656037
    for byte in data:
        value = (value ^ byte) * 1099511628211 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def main():
    folder, plugin, language = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    run = subprocess.run([*sys.argv[4:], str(folder), plugin], stdout=subprocess.PIPE)
    text = run.stdout.decode()
    if run.returncode != 0:
        sys.exit(f"{text}\nthe runner ended with {run.returncode}")
    kept = folder / "transcript-c.txt"
    if language == "c":
        kept.write_text(text)
        if os.environ.get("SAGE_WRITE_EXPECTED"):
            EXPECTED.write_text("\n".join(portable(text)) + "\n")
        want, got, source = EXPECTED.read_text().splitlines(), portable(text), EXPECTED.name
    else:
        want, got, source = kept.read_text().splitlines(), text.splitlines(), "C"
    faults = list(difflib.unified_diff(want, got, source, language, n=1, lineterm=""))
    body, _, last = text.rstrip("\n").rpartition("\n")
    if last != f"digest {fnv1a((body + chr(10)).encode())}":
        faults.append(f"'{last}' is not the digest of what was printed before it")
    if faults:
        sys.exit("\n".join(faults))
    print(f"{len(got)} lines as {source} has them, {last}")


if __name__ == "__main__":
    main()
