"""P16: python -m sage_engine says what is installed, where it was found, and what it can do here."""

from __future__ import annotations

import json
import os
import pathlib
import platform
import shutil
import tempfile
import unittest
from typing import Any, Dict, Optional
from unittest import mock

import numpy as np

import sage_engine as sage
from sage_engine import report
from support import needed, run_python


def run(*arguments: str, environment: Optional[Dict[str, Optional[str]]] = None) -> Any:
    return run_python("-m", "sage_engine", *arguments, environment=environment)


class Report(unittest.TestCase):
    def test_P16_as_text(self) -> None:
        done = run()
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        with sage.Engine() as engine:
            described = engine.describe()
        for words in (
            f"sage_engine {sage.__version__}",
            platform.python_version(),
            np.__version__,
            platform.machine(),
            described["library"],
            f"ABI {described['abi']}",
            sage.build_info(),
            "looked in",
            "self-test",
            "All is well.",
        ):
            self.assertIn(words, done.stdout)
        for plugin in described["plugins"]:
            # A plugin for a device that this machine lacks is refused.
            state = "usable" if plugin["usable"] else "refused"
            self.assertRegex(done.stdout, rf"(?m)^  {plugin['name']} +{state}")

    def test_P16_as_json(self) -> None:
        found = json.loads(run("--json").stdout)
        self.assertEqual(found["library"]["version"], sage.version())
        self.assertEqual(found["numpy"], np.__version__)
        self.assertEqual(found["abi_needed"], "1.0")
        tested = {name: well for name, well, _ in found["self_test"]}
        self.assertEqual(set(tested), set(sage.default_engine().backends()))
        self.assertTrue(all(tested.values()))

    def test_P16_a_refused_plugin_is_there_with_its_reason(self) -> None:
        folder = os.path.dirname(needed("SAGE_TEST_PLUGIN"))
        done = run(environment={"SAGE_PLUGIN_PATH": folder})
        self.assertEqual(done.returncode, 0)
        self.assertIn("refused", done.stdout)
        self.assertIn(needed("SAGE_TEST_PLUGIN"), done.stdout)
        self.assertIn(f"{folder} (SAGE_PLUGIN_PATH)", done.stdout)

    def test_P16_plugins_that_others_could_change_are_missed(self) -> None:
        """What umask 002 leaves: without a word, all would be computed by the slowest backend."""
        with sage.Engine() as engine:
            described = engine.describe()
        notes = {folder["origin"]: folder["note"] for folder in described["folders"]}
        if notes["compiled-in folder"] != "does not exist":
            self.skipTest("backends are installed where this library looks, too")
        with tempfile.TemporaryDirectory() as folder:
            plugins = pathlib.Path(folder, "sage", "plugins")
            plugins.mkdir(parents=True)
            plugins.chmod(0o775)
            shutil.copy(described["library"], os.path.join(folder, "libsage.so.0"))
            environment: Dict[str, Optional[str]] = {"SAGE_LIBRARY": folder}
            done = run(environment=environment)
            self.assertEqual((done.returncode, done.stderr), (1, ""))
            remedy = f"chmod go-w {os.path.realpath(plugins)}"
            for words in (remedy, "Only `reference` can be used", "Something is wrong."):
                self.assertIn(words, done.stdout)
            program = "import sage_engine\nsage_engine.Engine().backends()"
            warned = run_python("-c", program, environment=environment, warnings="default")
            self.assertEqual(warned.returncode, 0)
            self.assertRegex(warned.stderr, f"^<string>:2: RuntimeWarning: only `reference` .*{remedy}")

    def test_P16_without_a_library_it_says_what_was_tried(self) -> None:
        for arguments in ((), ("--json",)):
            done = run(*arguments, environment={"SAGE_LIBRARY": "/nowhere/libsage.so.0"})
            self.assertEqual((done.returncode, done.stderr), (1, ""))
            for words in ("SAGE_E_NOT_FOUND", "SAGE_LIBRARY=/nowhere/libsage.so.0", np.__version__):
                self.assertIn(words, done.stdout)

    def test_P16_a_wrong_answer_is_no_good_end(self) -> None:
        found = report.collect()
        self.assertTrue(report.is_well(found))
        with sage.Engine() as engine, mock.patch.object(sage.AttentionContext, "run", lambda *_: None):
            well = {name: well for name, well, _ in report.self_test(engine)}
        self.assertIs(well["reference"], False, "it wrote no answer at all")
        found["self_test"] = [("cpu", False, "largest difference 1.0")]
        self.assertFalse(report.is_well(found))
        self.assertIn("WRONG, largest difference 1.0", report.render(found))
        self.assertIn("Something is wrong.", report.render(found))


if __name__ == "__main__":
    unittest.main()
