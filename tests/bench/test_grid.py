"""The grid as a table, and what a problem string says about work: nothing is run."""
import json
import pathlib
import re
import subprocess
import tempfile
import unittest
import unittest.mock

from paths import ROOT

import environment
import grid
import problem

LENGTHS = (128, 512, 1024, 2048, 4096, 8192, 16384)


class Grid(unittest.TestCase):
    def setUp(self):
        self.rows = grid.grid()
        self.problems = [(row, problem.parse(row["problem"])) for row in self.rows]

    def test_N12_every_length_from_128_to_16384_causal_and_not_with_both_algorithms(self):
        for causal in ("", "tl"):
            found = {p.sq: row for row, p in self.problems
                     if p.causal == causal and p.d == 64 and p.dtype == "f32" and p.hq == p.hkv and row["threads"] == 1 and row["isa"] == "native"}
            self.assertEqual(tuple(n for n in sorted(found) if n in LENGTHS), LENGTHS)
            for length in LENGTHS[:-1]:
                self.assertLessEqual({"flash", "materialised"}, set(found[length]["arms"]))

    def test_no_row_twice_and_every_arm_known(self):
        keys = [(row["problem"], row["threads"], row["isa"]) for row in self.rows]
        self.assertEqual(len(keys), len(set(keys)))
        for row in self.rows:
            self.assertLessEqual(set(row["arms"]), set(grid.ARMS))
            self.assertEqual(row["arms"][0], "default")
            length = problem.parse(row["problem"]).sq
            self.assertGreaterEqual(row["rounds"] * row["least"], 30 if length <= 4096 else 6)

    def test_more_threads_are_measured_on_problems_that_one_thread_has_too(self):
        alone = {row["problem"] for row in self.rows if row["threads"] == 1}
        self.assertTrue(any(row["threads"] == 2 for row in self.rows))
        for row in self.rows:
            self.assertIn(row["problem"], alone)

    def test_dimensions_heads_and_types_that_were_promised(self):
        self.assertLessEqual({32, 64, 128, 256}, {p.d for _, p in self.problems})
        self.assertLessEqual({(12, 4), (32, 8)}, {(p.hq, p.hkv) for _, p in self.problems})
        self.assertEqual({p.dtype for row, p in self.problems if row["group"] == "decode"}, {"f32", "bf16", "f16"})
        self.assertTrue(all(p.sq == 1 and 4096 <= p.skv <= 32768 for row, p in self.problems if row["group"] == "decode"))
        self.assertEqual(len(grid.quick()), 10)


class Problems(unittest.TestCase):
    def test_causal_counts_what_it_leaves(self):
        self.assertEqual(problem.parse("b1.hq2.sq4.d8.f32").flops, 4 * 2 * 16 * 8)
        self.assertEqual(problem.parse("b1.hq2.sq4.d8.f32:causal=tl").flops, 4 * 2 * 10 * 8)
        self.assertEqual(problem.parse("b1.hq2.sq2.skv5.d8.f32:causal=tl").pairs, 1 + 2)
        self.assertEqual(problem.parse("b1.hq2.sq2.skv5.d8.f32:causal=br").pairs, 4 + 5)
        self.assertEqual(problem.parse("b1.hq2.sq5.skv2.d8.f32:causal=br").pairs, 0 + 0 + 0 + 1 + 2)

    def test_bytes_of_a_cache(self):
        self.assertEqual(problem.parse("b1.hq32.hkv8.sq1.skv4096.d128.bf16").kv_bytes, 2 * 8 * 4096 * 128 * 2)

    def test_what_the_peers_are_not_given_is_refused_by_name(self):
        for text, word in (("b1.hq2.sq4.d8.f32:window=3", "window"), ("b1.hq2.sq4.d8.i8", "i8"), ("b1.hq2.sq4.d8", "dtype"),
                           ("b1.hq2.sq4.d8.f32:causal=left", "causal=left")):
            with self.assertRaisesRegex(ValueError, word):
                problem.parse(text)
        self.assertEqual(problem.parse("b1.hq2.sq4.d8.f32:algorithm=flash,causal=tl").causal, "tl")


class Pins(unittest.TestCase):
    def test_every_peer_is_pinned_to_one_version(self):
        pins = dict(re.findall(r"^([\w.-]+)==([\w.]+)$", (ROOT / "bench/peers/requirements.txt").read_text(), re.M))
        for packages in list(environment.PEERS.values()) + [environment.SHARED]:
            for package in packages:
                self.assertIn(package, pins)

    def test_a_peer_that_cannot_be_installed_is_kept_with_the_reason_and_tried_again_next_time(self):
        asked = []

        def run(command, **_):
            asked.append(command)
            refused = "torch" in command
            return subprocess.CompletedProcess(command, int(refused), "", "a warning\nERROR: No matching distribution found for torch\n" if refused else "")

        with tempfile.TemporaryDirectory() as folder, unittest.mock.patch.object(environment.subprocess, "run", run):
            for count in (2 + len(environment.PEERS), 1):  # the environment, what all share, each peer; then the one that is missing
                asked.clear()
                _, missing = environment.prepare(pathlib.Path(folder), say=lambda words: None)
                self.assertEqual(missing, {"torch": "cannot be installed: ERROR: No matching distribution found for torch"})
                self.assertEqual(len(asked), count)
            self.assertEqual(json.loads(pathlib.Path(folder, "peers.json").read_text())["missing"], missing)
            run_without = lambda command, **_: asked.append(command) or subprocess.CompletedProcess(command, 0, "", "")  # noqa: E731
            with unittest.mock.patch.object(environment.subprocess, "run", run_without):
                self.assertEqual(environment.prepare(pathlib.Path(folder), say=lambda words: None)[1], {})
                asked.clear()
                self.assertEqual(environment.prepare(pathlib.Path(folder), say=lambda words: None)[1], {})
                self.assertEqual(asked, [])  # it is there, and everybody in it


unittest.main()
