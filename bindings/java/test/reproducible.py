"""The jar is the same bytes when it is made again of copies, in another folder, of files of other times.

    reproducible.py JAR CLASSES CONTENT -- COMMAND... (that makes a jar, without --file and what goes in)
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile

jar, classes, content, separator, *command = sys.argv[1:]
assert separator == "--"
if not any(argument.startswith("--date") for argument in command):
    print("SKIP: this jar tool cannot set the time of its entries")
    sys.exit(77)
with tempfile.TemporaryDirectory() as folder:
    again = pathlib.Path(folder) / "again.jar"
    for name, source in (("classes", classes), ("content", content)):
        shutil.copytree(source, pathlib.Path(folder) / name, copy_function=shutil.copyfile)
    subprocess.run([*command, "--file", again, "-C", f"{folder}/classes", ".", "-C", f"{folder}/content", "."],
        check=True)
    same = again.read_bytes() == pathlib.Path(jar).read_bytes()
print("the same bytes" if same else "other bytes")
sys.exit(0 if same else 1)
