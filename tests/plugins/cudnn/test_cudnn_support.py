"""Tests of bench/cudnn-support: what it writes of a table, and what it finds wrong with one."""
import importlib.machinery
import importlib.util
import json
import pathlib
import sys
import tempfile
import unittest

SCRIPT = sys.argv.pop(1)
sys.dont_write_bytecode = True
loader = importlib.machinery.SourceFileLoader("cudnn_support", SCRIPT)
support = importlib.util.module_from_spec(importlib.util.spec_from_loader("cudnn_support", loader))
loader.exec_module(support)

TAKEN = {"variant": "no mask", "phase": "decode", "dtype": "bf16", "d": [192, 128], "accepted": True,
         "refused_by": None, "reason": None, "engine": 1, "family": "composite, sm_8x", "kernel": "k", "compiled": True,
         "native_graph": True, "workspace_bytes": 532608, "build_ms": 400.0,
         "error_o": None, "error_lse": None, "same_bits": None,
         "replay_stream": None, "replay_native": None}
RUN = dict(TAKEN, error_o=0.25, error_lse=0.5, same_bits=True, replay_stream=True, replay_native=True)
REFUSED = dict(TAKEN, accepted=False, refused_by="rules", reason="cuDNN 9.19.0: no", engine=None, family=None,
               native_graph=None, workspace_bytes=None, build_ms=None)


def table(*rows, name="h200"):
    return {"commit": "c", "cudnn": "9.19.0", "by": "texts",
            "devices": [{"name": name, "full_name": f"NVIDIA {name}", "sm": 90, "rows": list(rows)}]}


class Cells(unittest.TestCase):
    def test_an_engine_its_workspace_and_errors(self):
        self.assertEqual(support.cell(TAKEN, support.Reasons()), "1, 520K")
        self.assertEqual(support.cell(dict(TAKEN, workspace_bytes=256), support.Reasons()), "1")
        self.assertEqual(support.cell(RUN, support.Reasons()), "1, 520K, O 0.25, LSE 0.50")
        self.assertIn("**replay differs**", support.cell(dict(RUN, replay_stream=False), support.Reasons()))

    def test_a_reason_is_numbered_once(self):
        reasons = support.Reasons()
        other = dict(REFUSED, refused_by="cuDNN")
        self.assertEqual([support.cell(row, reasons) for row in (REFUSED, other, REFUSED)], ["no 1", "no 2", "no 1"])
        self.assertEqual(reasons.lines(), ["1. our rules: cuDNN 9.19.0: no", "2. cuDNN: cuDNN 9.19.0: no"])

    def test_totals_and_engines_of_another_generation(self):
        device = table(TAKEN, REFUSED)["devices"][0]
        self.assertEqual(support.totals(device), "| NVIDIA h200 | 90 | 2 | 1 | 1 | 0 | 1 | 400 ms |")
        self.assertEqual(support.foreign(device), ["* NVIDIA h200, decode, by engines for sm_8x: everything."])
        self.assertEqual(support.foreign(dict(device, sm=89)), [])
        own = dict(TAKEN, variant="causal, top left", family="composite, sm_9x")
        self.assertEqual(support.foreign(table(TAKEN, own)["devices"][0]),
                         ["* NVIDIA h200, decode, by engines for sm_8x: no mask."])

    def test_a_variant_that_a_column_was_not_asked_for_is_empty(self):
        device = table(TAKEN, dict(REFUSED, variant="other", d=[64, 64]))["devices"][0]
        lines = support.tables(device, support.Reasons())
        self.assertIn("| asked for | bf16 192/128 | bf16 64 |", lines)
        self.assertIn("| no mask | 1, 520K |  |", lines)
        self.assertIn("| other |  | no 1 |", lines)


class Bars(unittest.TestCase):
    def judged(self, *rows):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(table(*rows), file)
            file.flush()
            return support.judge(file.name)

    def test_all_within_bars(self):
        self.assertEqual(self.judged(RUN, REFUSED, dict(RUN, replay_native=None, error_lse=None)), 0)

    def test_each_fault_is_found(self):
        for fault in ({"error_o": 1.01}, {"error_lse": 2.0}, {"same_bits": False}, {"replay_stream": False},
                      {"replay_native": False}, {"failure": "run: lost"}, {"error_o": None}):
            with self.subTest(fault=fault):
                self.assertEqual(self.judged(RUN, dict(RUN, **fault)), 1)

    def test_nothing_taken_is_a_fault(self):
        self.assertEqual(self.judged(REFUSED), 1)


class Join(unittest.TestCase):
    def test_devices_of_one_cudnn(self):
        with tempfile.TemporaryDirectory() as folder:
            paths = [pathlib.Path(folder) / name for name in ("a", "b", "out")]
            paths[0].write_text(json.dumps(table(TAKEN)))
            paths[1].write_text(json.dumps(table(REFUSED, name="a100")))
            support.join(paths[2], paths[:2])
            joined = json.loads(paths[2].read_text())
            self.assertEqual([device["name"] for device in joined["devices"]], ["h200", "a100"])
            self.assertEqual(joined["devices"][1]["rows"], [REFUSED])
            paths[1].write_text(json.dumps(dict(table(TAKEN), cudnn="9.20.0")))
            with self.assertRaises(SystemExit):
                support.join(paths[2], paths[:2])


if __name__ == "__main__":
    unittest.main()
