"""Finding the library, its version, and that what is written down here is what the C headers say."""

from __future__ import annotations

import ast
import ctypes
import os
import pathlib
import pickle
import re
import shutil
import tempfile
import typing
import unittest
from typing import Any, Dict, Optional
from unittest import mock

import sage_engine as sage
from sage_engine import _dlpack, _ffi, constants, enums, errors
from sage_engine._library import Candidate, Library
from support import ROOT, needed, run_python

PACKAGE = pathlib.Path(sage.__file__).parent


def import_with(environment: Dict[str, Optional[str]], program: str = "sage_engine.version()") -> Any:
    return run_python("-c", f"import sage_engine\n{program}", environment=environment)


class Finding(unittest.TestCase):
    maxDiff = None

    def test_without_any_the_error_lists_what_was_tried(self) -> None:
        with tempfile.TemporaryDirectory() as empty:
            run = import_with(
                {"SAGE_LIBRARY": None, "PKG_CONFIG_PATH": empty, "PKG_CONFIG_LIBDIR": empty, "LD_LIBRARY_PATH": None},
                """
try:
    sage_engine.version()
except ImportError as error:
    assert isinstance(error, sage_engine.LibraryNotFoundError) and isinstance(error, sage_engine.NotFoundError)
    print(error)
""",
            )
        if run.stdout == "" and run.returncode == 0:
            self.skipTest("libsage is installed where the dynamic loader finds it")
        self.assertEqual(run.stderr, "")
        for words in (
            "libsage.so.0 was not found",
            "_lib/libsage.so.0 does not exist",
            "pkg-config knows no sage-engine",
            "by the dynamic loader",
            "Install the sage-engine wheel",
            "SAGE_LIBRARY",
        ):
            self.assertIn(words, run.stdout)

    def test_a_library_named_by_the_environment_is_the_only_one(self) -> None:
        path = os.path.realpath(sage.Engine().describe()["library"])
        for named in (path, os.path.dirname(path)):
            run = import_with({"SAGE_LIBRARY": named, "PKG_CONFIG_PATH": None}, "print(sage_engine.version())")
            self.assertEqual((run.stdout, run.stderr), (sage.version() + "\n", ""))
        for named, words in (
            ("/nowhere/libsage.so.0", "/nowhere/libsage.so.0"),
            (os.path.realpath(__file__), "test_library.py"),
        ):
            run = import_with({"SAGE_LIBRARY": named})
            self.assertIn("LibraryNotFoundError", run.stderr)
            self.assertIn(f"SAGE_LIBRARY={named}", run.stderr)
            self.assertIn(words, run.stderr)

    def test_a_library_of_something_else_is_said_to_be_that(self) -> None:
        run = import_with({"SAGE_LIBRARY": needed("SAGE_TEST_PLUGIN")})
        self.assertIn("it is no libsage", run.stderr)

    def test_one_that_is_there_and_cannot_be_loaded_is_not_passed_over(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            shutil.copytree(PACKAGE, f"{folder}/sage_engine", ignore=shutil.ignore_patterns("__pycache__", "_lib"))
            damaged = pathlib.Path(folder, "sage_engine", "_lib", "libsage.so.0")
            damaged.parent.mkdir()
            damaged.write_bytes(b"no library")
            run = import_with({"SAGE_LIBRARY": None, "PYTHONPATH": folder})  # where PKG_CONFIG_PATH leads to a good one
        self.assertIn("LibraryNotFoundError", run.stderr)
        self.assertIn(f"inside this package: {os.path.realpath(damaged)}: ", run.stderr)

    def test_one_without_a_function_that_it_should_have(self) -> None:
        with mock.patch.dict(_ffi.FUNCTIONS, {"sage_abacus": (None, [])}):
            with self.assertRaisesRegex(OSError, r"it has ABI \d+\.\d+ and yet no sage_abacus"):
                Library(Candidate(sage.Engine().describe()["library"], "this test"))

    def test_the_prefix_of_the_package(self) -> None:
        """PREFIX/lib/python3/dist-packages/sage_engine finds PREFIX/lib/libsage.so.0, wherever PREFIX was moved to."""
        with tempfile.TemporaryDirectory() as prefix:
            packages = pathlib.Path(prefix, "lib", "python3", "dist-packages")
            shutil.copytree(PACKAGE, packages / "sage_engine", ignore=shutil.ignore_patterns("__pycache__", "_lib"))
            shutil.copy(
                os.path.realpath(sage.Engine().describe()["library"]), pathlib.Path(prefix, "lib", "libsage.so.0")
            )
            run = import_with(
                {"SAGE_LIBRARY": None, "PKG_CONFIG_PATH": None, "PYTHONPATH": str(packages)},
                "print(sage_engine.Engine().describe()['library'])",
            )
        self.assertEqual((run.stdout, run.stderr), (f"{os.path.realpath(prefix)}/lib/libsage.so.0\n", ""))

    def test_other_abis_are_refused_with_both_numbers(self) -> None:
        sage.require_abi(sage.abi_version(), sage.version(), "it")
        sage.require_abi(constants.SAGE_ABI_MAJOR << 16 | constants.SAGE_ABI_MINOR + 7, "9", "it")  # minors only add
        for major in (constants.SAGE_ABI_MAJOR + 1, constants.SAGE_ABI_MAJOR - 1):
            with self.assertRaises(ImportError) as caught:
                sage.require_abi(major << 16 | 3, "9.8.7", "/opt/libsage.so.0")
            self.assertIsInstance(caught.exception, sage.AbiMismatchError)
            for words in (
                "/opt/libsage.so.0",
                "9.8.7",
                f"ABI {major}.3",
                f"needs ABI {constants.SAGE_ABI_MAJOR}.x",
                "SAGE_LIBRARY",
            ):
                self.assertIn(words, str(caught.exception))

    def test_too_old_a_minor_is_refused(self) -> None:
        before = constants.SAGE_ABI_MINOR
        constants.SAGE_ABI_MINOR = 5
        try:
            with self.assertRaisesRegex(sage.AbiMismatchError, "at least 1.5"):
                sage.require_abi(constants.SAGE_ABI_MAJOR << 16 | 4, "0.1.0", "it")
        finally:
            constants.SAGE_ABI_MINOR = before

    def test_versions(self) -> None:
        self.assertEqual(sage.version(), sage.__version__)
        self.assertTrue(sage.build_info())
        self.assertEqual(sage.abi_version() >> 16, constants.SAGE_ABI_MAJOR)


class AsInTheHeaders(unittest.TestCase):
    def headers(self) -> str:
        names = ("sage.h", "sparse.h", "quantize.h")
        return "\n".join((ROOT / "abi" / "sage" / name).read_text(encoding="utf-8") for name in names)

    def test_every_function_is_bound(self) -> None:
        declared = set(re.findall(r"SAGE_API[^;(]*?\b(sage_\w+)\(", self.headers()))
        self.assertGreater(len(declared), 50)
        left_out = {"sage_options_set_allocator", "sage_options_set_parallel_for"}
        self.assertEqual(declared - left_out, set(_ffi.FUNCTIONS))
        page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
        for name in left_out:
            self.assertIn(name, page)
        code = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.glob("*.py") if path.name != "_ffi.py")
        for name in _ffi.FUNCTIONS:
            self.assertRegex(code, rf"\b{name}\b", f"{name} is declared and never called")

    def test_every_function_has_as_many_arguments(self) -> None:
        text = re.sub(r"/\*.*?\*/", "", self.headers(), flags=re.S)
        for result, name, arguments in re.findall(r"SAGE_API ([^;(]*?)\b(sage_\w+)\(([^)]*)\)", text):
            if name in _ffi.FUNCTIONS:
                kind, types = _ffi.FUNCTIONS[name]
                given = [] if arguments.strip() == "void" else arguments.split(",")
                self.assertEqual(len(types), len(given), name)
                self.assertEqual(kind is None, result.strip() == "void", name)
                for argument, bound in zip(given, types):
                    self.assertEqual(ctypes.sizeof(bound), size_of(argument), f"{name}: {argument.strip()}")

    def test_layouts(self) -> None:
        lock = (ROOT / "tests" / "abi" / "layout_lock.c").read_text(encoding="utf-8")
        checked = 0
        for name, size, _ in re.findall(r"^SIZE\((\w+), (\d+), (\d+)\)", lock, re.M):
            struct = getattr(_ffi, name, None)
            if struct is None:
                continue
            self.assertEqual(ctypes.sizeof(struct), int(size), name)
            fields = re.findall(rf"^AT\({name}, (\w+), (\d+), (\d+)\)", lock, re.M)
            self.assertEqual([field for field, _, _ in fields], [field[0] for field in struct._fields_])
            for field, offset, length in fields:
                at = getattr(struct, field)
                self.assertEqual((at.offset, at.size), (int(offset), int(length)), f"{name}.{field}")
            checked += 1
        self.assertEqual(checked, 10)
        self.assertEqual(_dlpack.SIZES, (48, 64, 80, 8))

    def test_enumerations_are_whole(self) -> None:
        def of(prefix: str, besides: str = "$^") -> Dict[str, int]:
            return {
                name[len(prefix) :]: value
                for name, value in vars(constants).items()
                if name.startswith(prefix) and not re.match(besides, name)
            }

        for enumeration, want in (
            (enums.Status, {"OK": 0, **of("SAGE_E_")}),
            (enums.Slot, of("SAGE_ATTN_", "SAGE_ATTN_(F_|NUM_SLOTS)")),
            (enums.Feature, of("SAGE_ATTN_F_")),
            (enums.Align, of("SAGE_ALIGN_")),
            (enums.Accuracy, of("SAGE_ACCURACY_")),
            (enums.Require, of("SAGE_REQUIRE_")),
            (enums.Axis, of("SAGE_AXIS_")),
            (enums.Algorithm, of("SAGE_ALGORITHM_")),
            (enums.Granularity, of("SAGE_PER_")),
            (enums.ModelKind, of("SAGE_MODEL_")),
            (enums.Dtype, of("SAGE_", r"SAGE_(?![IUF]\d|BF16|BOOL)")),
        ):
            self.assertEqual({member.name: member.value for member in enumeration}, want)
        gate = of("SAGE_GATE_")
        self.assertEqual(
            {**{m.name: m.value for m in enums.Verdict}, **{m.name: m.value for m in enums.GateFlag}}, gate
        )
        plugin = (ROOT / "abi" / "sage" / "plugin.h").read_text(encoding="utf-8")
        self.assertEqual(
            {m.name: m.value for m in enums.LogLevel},
            {name: int(value) for name, value in re.findall(r"#define SAGE_LOG_(\w+) (\d+)", plugin)},
        )
        schema = (ROOT / "schemas" / "model.fbs").read_text(encoding="utf-8")
        for state in enums.MetabolicState:
            self.assertIn(state.value, schema)
        for status in enums.Status:
            self.assertEqual(sage.status_name(status), "SAGE_OK" if status == 0 else f"SAGE_E_{status.name}")
        self.assertEqual(sage.status_name(99), "unknown")
        with self.assertRaisesRegex(sage.InvalidArgumentError, "status is 4294967296"):
            sage.status_name(1 << 32)

    def test_every_status_has_its_error(self) -> None:
        for status in list(enums.Status)[1:]:
            error = errors.error_of(status, 7, "words")
            self.assertIsNot(type(error), sage.SageError)
            self.assertEqual(
                (error.status, error.native_code, str(error), error.status_name),
                (status, 7, "words", f"SAGE_E_{status.name}"),
            )
            again = pickle.loads(pickle.dumps(error))
            self.assertEqual(
                (type(again), again.status, again.native_code, str(again)), (type(error), status, 7, "words")
            )
        self.assertEqual(errors.error_of(99, 0, "new").status_name, "unknown")
        refused = errors.error_of(enums.Status.IO, 13, "no")
        self.assertEqual((isinstance(refused, OSError), refused.errno), (True, 13))  # type: ignore[attr-defined]


def size_of(argument: str) -> int:
    words = argument.replace("const", "").split()
    if "*" in argument or words[0].endswith("_fn"):
        return 8
    return {"uint32_t": 4, "int32_t": 4, "sage_status": 4, "sage_dtype": 4, "uint64_t": 8, "int64_t": 8, "double": 8}[
        words[0]
    ]


class Typed(unittest.TestCase):
    def test_every_function_says_its_types(self) -> None:
        self.assertTrue((PACKAGE / "py.typed").exists())
        for path in sorted(PACKAGE.glob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            self.assertTrue(ast.get_docstring(tree), path.name)
            for node in ast.walk(tree):
                if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    plain = [
                        a
                        for a in (
                            *node.args.args,
                            *node.args.kwonlyargs,
                            *filter(None, (node.args.vararg, node.args.kwarg)),
                        )
                        if a.arg not in ("self", "cls") and a.annotation is None
                    ]
                    self.assertEqual([], [a.arg for a in plain], f"{path.name}: {node.name}")
                    self.assertIsNotNone(node.returns, f"{path.name}: {node.name} says not what it returns")

    def test_the_types_can_be_resolved(self) -> None:
        for name in sage.__all__:
            item = getattr(sage, name)
            if callable(item) and not isinstance(item, type):
                typing.get_type_hints(item)

    def test_what_is_public_is_documented(self) -> None:
        for name in sage.__all__:
            item = getattr(sage, name)
            if not isinstance(item, type(sage)) and name not in (
                "Require",
                "Algorithm",
                "ModelKind",
                "Direction",
                "GateFlag",
                "mincut_csr",
            ):
                self.assertTrue((item.__doc__ or "").strip(), name)

    def test_python_3_9_can_read_it(self) -> None:
        for path in [*PACKAGE.glob("*.py"), PACKAGE.parent / "make_wheel.py"]:
            ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))


if __name__ == "__main__":
    unittest.main()
