"""The wheel, as a user gets it: built twice alike, installed in a fresh environment, run from another folder without
any variable. SAGE_TEST_BUILD names the build folder it is made from."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import unittest
import zipfile
from typing import Any, Dict

import numpy as np

from support import ROOT, needed

MAKE = ROOT / "bindings" / "python" / "make_wheel.py"
PROGRAM = """
import numpy as np, sage_engine as sage
q = np.arange(2 * 5 * 8, dtype=np.float32).reshape(1, 2, 5, 8) / 16
o = sage.attention(q, q, q, is_causal=True)
np.testing.assert_allclose(o[:, :, 0], q[:, :, 0], rtol=1e-6)
with sage.Engine() as engine:
    print(engine.describe()["library"], *engine.backends(), sep="\\n")
"""


def clean() -> Dict[str, str]:
    """Without what would lead to another library; and nothing is written beside the sources."""
    leading = ("PYTHON", "SAGE_", "PKG_CONFIG", "LD_LIBRARY_PATH", "PIP_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(leading)}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1"}


def run(*command: Any, cwd: str = "/") -> str:
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=clean(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        universal_newlines=True,
        timeout=120,
    )
    if done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def serving_pip() -> bool:
    """Whether this Python's pip can install into another environment: since 22.3."""
    try:
        version = importlib.metadata.version("pip").split(".")
    except importlib.metadata.PackageNotFoundError:
        return False
    return (int(version[0]), int(version[1])) >= (22, 3)


class Wheel(unittest.TestCase):
    folder: str

    @classmethod
    def setUpClass(cls) -> None:
        cls.folder = tempfile.mkdtemp()
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.wheel = pathlib.Path(
            run(
                sys.executable,
                MAKE,
                "--library",
                needed("SAGE_TEST_BUILD"),
                "--output",
                pathlib.Path(cls.folder, "one"),
            ).strip()
        )

    def environment(self) -> pathlib.Path:
        """A fresh virtual environment, one for all tests. With a pip of its own only where that of this Python cannot
        serve it, which is faster by far, and where Debian's ensurepip is installed."""
        where = pathlib.Path(self.folder, "fresh")
        if not where.exists():
            bare = serving_pip() or not importlib.util.find_spec("ensurepip")
            options = ["--without-pip"] if bare else []
            run(sys.executable, "-m", "venv", "--system-site-packages", *options, where)
            if sys.prefix != sys.base_prefix:  # the tests' own Python is such an environment: numpy is in that
                (packages,) = where.glob("lib/python*/site-packages")
                (packages / "numpy.pth").write_text(f"{pathlib.Path(np.__file__).parent.parent}\n", encoding="utf-8")
        return where

    def pip(self, where: pathlib.Path, *arguments: Any) -> bool:
        """False: there is no pip; neither python3-pip nor python3-venv is installed."""
        python = where / "bin" / "python"
        if serving_pip():
            pip = [sys.executable, "-m", "pip", "--python", python]
        elif list(where.glob("bin/pip")):
            pip = [python, "-m", "pip"]
        else:
            return False
        options = ("-q", "--no-index", "--no-deps", "--disable-pip-version-check", "--no-compile")
        run(*pip, "install", *options, *arguments)
        return True

    def test_the_same_input_gives_the_same_bytes(self) -> None:
        again = run(
            sys.executable,
            MAKE,
            "--library",
            os.path.join(needed("SAGE_TEST_BUILD"), "lib"),
            "--output",
            pathlib.Path(self.folder, "two"),
        ).strip()
        self.assertEqual(self.wheel.read_bytes(), pathlib.Path(again).read_bytes())

    def test_what_is_inside(self) -> None:
        self.assertEqual(self.wheel.name, f"sage_engine-0.1.0-py3-none-linux_{platform.machine()}.whl")
        with zipfile.ZipFile(self.wheel) as wheel:
            names = wheel.namelist()
            record = wheel.read("sage_engine-0.1.0.dist-info/RECORD").decode().splitlines()
            self.assertEqual(names, sorted(names))
            self.assertEqual(
                [line.split(",")[0] for line in record[:-1]], [name for name in names if not name.endswith("RECORD")]
            )
            self.assertIn("Requires-Dist: numpy>=1.24", wheel.read("sage_engine-0.1.0.dist-info/METADATA").decode())
            library = pathlib.Path(needed("SAGE_TEST_BUILD"), "lib", "libsage.so.0").read_bytes()
            self.assertEqual(
                hashlib.sha256(wheel.read("sage_engine/_lib/libsage.so.0")).digest(), hashlib.sha256(library).digest()
            )
        for name in (
            "sage_engine/py.typed",
            "sage_engine/_lib/sage/plugins/libsage_cpu.so",
            "sage_engine-0.1.0.dist-info/LICENSE",
        ):
            self.assertIn(name, names)
        self.assertFalse([name for name in names if "__pycache__" in name])

    def test_installed_it_needs_nothing_else(self) -> None:
        where = self.environment()
        if not self.pip(where, self.wheel):
            (packages,) = where.glob("lib/python*/site-packages")
            with zipfile.ZipFile(self.wheel) as wheel:
                wheel.extractall(packages)
        with tempfile.TemporaryDirectory() as elsewhere:
            library, *backends = run(where / "bin" / "python", "-W", "error", "-c", PROGRAM, cwd=elsewhere).split()
            self.assertTrue(os.path.realpath(library).startswith(os.path.realpath(where)), library)
            self.assertEqual(backends[:2], ["reference", "cpu"])
            self.assertIn(
                "All is well.", run(where / "bin" / "python", "-W", "error", "-m", "sage_engine", cwd=elsewhere)
            )

    def test_the_source_folder_can_be_installed(self) -> None:
        """By pip, offline: the package alone, which then finds an installed library, or says that there is none."""
        where, target = self.environment(), os.path.join(self.folder, "source")
        if not self.pip(where, "--target", target, ROOT / "bindings" / "python"):
            self.skipTest("neither python3-pip nor python3-venv is installed")
        program = (
            f"import sys\nsys.path.insert(0, {target!r})\nimport sage_engine as sage\ntry:\n    print(sage.version())\n"
            "except sage.LibraryNotFoundError as error:\n    print(str(error).splitlines()[0])\n"
        )
        self.assertRegex(run(where / "bin" / "python", "-c", program), r"^\d|libsage.so.0 was not found")
        self.assertEqual(os.listdir(os.path.join(target, "sage_engine")).count("_lib"), 0)
        self.assertFalse(
            [path for name in ("build", "*.egg-info") for path in MAKE.parent.glob(name)],
            "nothing is written beside the sources",
        )

    def test_faults_are_said(self) -> None:
        for arguments, words in (
            (["--library", self.folder], "no libsage.so.0 in"),
            (["--library", needed("SAGE_TEST_BUILD"), "--plugin", "abacus"], "no plugin abacus"),
        ):
            with self.assertRaisesRegex(AssertionError, words):
                run(sys.executable, MAKE, *arguments, "--output", os.path.join(self.folder, "three"))


if __name__ == "__main__":
    unittest.main()
