"""bench/run --gpu from end to end with the CPU in a device's place: our program, its orders, the checks, the file and
the page. And what it says where there is no device. Needs numpy and, for all but the numbers, a built gpu_contender:

  test_gpu_run.py [BUILD_FOLDER]
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import types
import unittest

from paths import ROOT

import numpy

import contenders
import gpu_data
import gpu_graph
import gpu_grid
import gpu_measure
import gpu_page
import gpu_rates
import gpu_result
from result import median

BUILT = pathlib.Path(sys.argv.pop()).resolve() if len(sys.argv) > 1 and pathlib.Path(sys.argv[-1]).is_dir() else None
ARMS = {"auto": ("cpu", {}), "portable": ("reference", {}), "hopper": ("cpu", {"cpu.isa": "none such"})}
SIZES = {"copy_bytes": 1 << 16, "gemm": 48, "columns": 16, "warmup": 1, "samples": 3}


class Numbers(unittest.TestCase):
    def test_bf16_is_rounded_to_nearest_even(self):
        raw, values = gpu_data.rounded(
            numpy.array([1.0, 1 + 2**-8, 1 + 3 * 2**-8, -1.5, 1 + 2**-8 + 2**-16], dtype=numpy.float32), "bf16"
        )
        self.assertEqual([hex(x) for x in raw], ["0x3f80", "0x3f80", "0x3f82", "0xbfc0", "0x3f81"])
        self.assertEqual(list(values), [1.0, 1.0, 1 + 2**-6, -1.5, 1 + 2**-7])

    def test_tensors_are_read_out_of_the_pool_round_its_end(self):
        pool = gpu_data.Pool("f32", 1, 101)
        flat = numpy.tile(pool.values, 4)
        numpy.testing.assert_array_equal(pool.part(90, 5, 120), flat[95:215])

    def test_starts_differ_between_tensors_and_sets(self):
        starts = gpu_data.starts(gpu_grid.MOST_SETS)
        every = [start for tensor in starts.values() for start in tensor]
        self.assertEqual(len(every), len(set(every)))

    def test_pages_are_each_read_once(self):
        for pages in (1, 2, 4096, 7919, 3 * 7919):
            step = gpu_data.page_step(pages)
            self.assertEqual(len({(n * step + gpu_data.PAGE_START) % pages for n in range(pages)}), pages)

    def test_the_answer_is_that_of_plain_attention_on_whole_tensors(self):
        pool = gpu_data.Pool("f32", 5, 10007)
        for text, shift in (
            ("b2.hq4.hkv2.sq7.skv13.d8.f32:causal=br", 6),
            ("b2.hq4.hkv2.sq7.skv13.d8.f32:causal=tl", 0),
            ("b2.hq4.hkv2.sq7.skv13.d8.f32", None),
        ):
            p = gpu_grid.parse(text)
            q, k, v = (
                pool.part(gpu_data.start_of(name, 1, 10007), 0, p.b * heads * rows * p.d).reshape(
                    p.b, heads, rows, p.d
                )
                for name, heads, rows in (("q", p.hq, p.sq), ("k", p.hkv, p.skv), ("v", p.hkv, p.skv))
            )
            rows = list(range(p.b * p.hq * p.sq))
            whole = []
            for b in range(p.b):
                for h in range(p.hq):
                    scores = q[b, h] @ k[b, h // 2].T / numpy.sqrt(p.d)
                    if shift is not None:
                        scores[numpy.arange(13)[None, :] > numpy.arange(7)[:, None] + shift] = -numpy.inf
                    weights = numpy.exp(scores)
                    whole.append(weights / weights.sum(axis=1, keepdims=True) @ v[b, h // 2])
            numpy.testing.assert_allclose(gpu_data.expected(pool, p, 1, rows), numpy.concatenate(whole), rtol=1e-12)

    def test_an_answer_that_is_wrong_unwritten_or_short_is_not_ok(self):
        wanted = numpy.ones((2, 4))
        good = {"values": [[1, 1, 1, 1]] * 2, "not_finite": 0}
        self.assertEqual(gpu_data.judge("bf16", good, wanted)["check"], "ok")
        self.assertIn(
            "relative error", gpu_data.judge("bf16", good | {"values": [[1, 1, 1, 1.05]] * 2}, wanted)["check"]
        )
        self.assertIn("not finite", gpu_data.judge("bf16", good | {"not_finite": 3}, wanted)["check"])
        self.assertIn("shape", gpu_data.judge("bf16", good | {"values": [[1, 1, 1, 1]]}, wanted)["check"])

    def test_rows_that_are_checked_are_of_the_first_and_the_last_head_and_position(self):
        p = gpu_grid.parse("b2.hq64.hkv8.sq8192.skv8192.d128.bf16")
        rows = gpu_data.rows_to_check(p)
        self.assertEqual((rows[0], rows[-1]), (0, 2 * 64 * 8192 - 1))
        self.assertEqual(len(rows), gpu_data.HEADS * gpu_data.POSITIONS)
        self.assertEqual(gpu_data.rows_to_check(gpu_grid.parse("b1.hq2.hkv2.sq1.skv9.d8.f32")), [0, 1])

    def test_the_graph_of_the_latency_is_judged(self):
        indices, values = [3, 1], numpy.array([0.5, 0.25])
        self.assertEqual(gpu_graph.judge({"indices": [3, 1], "values": [0.500001, 0.25]}, indices, values), "ok")
        self.assertIn("experts [1, 3]", gpu_graph.judge({"indices": [1, 3], "values": [0.5, 0.25]}, indices, values))
        self.assertIn("off by", gpu_graph.judge({"indices": [3, 1], "values": [0.51, 0.25]}, indices, values))


class Played:
    """A side's process that answers as told and keeps what it was asked."""

    def __init__(self, wrong=(), gone=()):
        self.orders, self.wrong, self.gone, self.stopped = [], wrong, list(gone), 0

    def order(self, **order):
        self.orders.append(order)
        if self.gone and self.gone[0] == (order["do"], order.get("arm")):
            self.gone.pop(0)
            raise contenders.Gone("ended by signal 11")
        if order["do"] == "arm":
            return {"ok": True, "path": "played", "first_ns": 1e6}
        if order["do"] == "rows":
            fixed = 9.0 if order["arm"] in self.wrong else 0.0
            return {"ok": True, "values": (self.expected + fixed).tolist(), "not_finite": 0}
        return {"ok": True, "samples_ns": [1e6] * order.get("samples", 1), "how": "one call"}

    def stop(self):
        self.stopped += 1


class Rounds(unittest.TestCase):
    def measured(self, ours, theirs):
        pool = gpu_data.Pool("bf16", 5, 10007)
        row = gpu_grid.row("decode", "b1.hq4.hkv2.sq1.skv32.d16.bf16", ("auto", "portable"), ("flash", "math"))
        shape = gpu_grid.parse(row["problem"])
        for peer in (ours, theirs):
            peer.expected = gpu_data.expected(pool, shape, 0, gpu_data.rows_to_check(shape))
        sides = {"ours": gpu_measure.Side("ours", ours), "torch": gpu_measure.Side("torch", theirs)}
        return gpu_measure.measure(sides, row, {"l2_bytes": 1 << 16, "free_bytes": 1 << 30}, pool, "pool", ARMS)

    def test_P14_ours_and_the_peers_take_turns_and_a_wrong_one_is_never_timed(self):
        ours, theirs = Played(), Played(wrong=("math",))
        row = self.measured(ours, theirs)
        self.assertEqual(
            row["order"],
            [
                ["ours auto", "ours portable", "torch flash", "torch math"],
                ["ours portable", "torch flash", "torch math", "ours auto"],
                ["torch flash", "torch math", "ours auto", "ours portable"],
            ],
        )
        self.assertEqual([o["arm"] for o in theirs.orders if o["do"] == "time"], ["flash"] * 3)
        first_time = min(i for i, o in enumerate(theirs.orders) if o["do"] == "time")
        self.assertTrue(all(o["do"] != "rows" for o in theirs.orders[first_time:]))  # correctness first
        self.assertIn("relative error", row["peers"][1]["check"])
        self.assertEqual(row["peers"][1]["samples_ns"], [])
        self.assertIsNone(gpu_result.ratio(row, row["peers"][1]))
        self.assertEqual(gpu_result.ratio(row, row["peers"][0]), 1.0)
        self.assertGreaterEqual(len(row["ours"][0]["samples_ns"]), gpu_grid.LEAST_SAMPLES)

    def test_one_that_dies_while_timed_loses_its_figure_and_the_other_arms_are_planned_anew(self):
        ours = Played(gone=[("time", "portable")])
        row = self.measured(ours, Played())
        self.assertEqual(row["ours"][1]["missing"], "ended by signal 11")
        self.assertEqual(len(row["ours"][0]["rounds"]), 3)
        after = [o["do"] for o in ours.orders[[o["do"] for o in ours.orders].index("time") + 2 :]]
        self.assertEqual(after[:3], ["prepare", "arm", "time"])

    def test_an_error_that_the_device_does_not_forget_ends_the_process(self):
        side = gpu_measure.Side(
            "ours",
            types.SimpleNamespace(
                order=lambda **_: {"ok": False, "why": "cuda:0: waiting: cudaErrorIllegalAddress (700): ..."},
                stop=lambda: None,
            ),
        )
        side.attempt(do="time")
        self.assertTrue(side.lost)
        side = gpu_measure.Side(
            "ours",
            types.SimpleNamespace(
                order=lambda **_: {
                    "ok": False,
                    "why": "allocating 9 bytes: cudaErrorMemoryAllocation (2): out of memory",
                },
                stop=lambda: None,
            ),
        )
        side.attempt(do="arm")
        self.assertFalse(side.lost)


@unittest.skipUnless(BUILT, "no build folder was given")
class Program(unittest.TestCase):
    def test_from_end_to_end_with_the_cpu_in_the_devices_place(self):
        rows = [
            gpu_grid.row(
                "prefill", "b1.hq4.hkv2.sq33.skv33.d32.bf16:causal=br", ("auto", "portable", "hopper"), ("flash",)
            ),
            gpu_grid.row("decode", "b2.hq8.hkv2.sq1.skv2048.d64.f16:page=16", ("auto",), ("flash",)),
            gpu_grid.row("small", "b1.hq12.hkv4.sq1.skv128.d64.f32", ("auto",), ()),
        ]
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder, "r.json")
            # /bin/false is a Python that has no torch, and nothing else.
            given = types.SimpleNamespace(
                built=BUILT, commit="0123456789ab", out=out, quick=True, seconds=60, python="/bin/false"
            )
            code = gpu_measure.run(
                given, rows, ARMS, plugin="libsage_cpu.so", device=("--device", "cpu"), sizes=SIZES, graph_options={}
            )
            self.assertEqual(code, 0)
            found = gpu_result.load(out)
        self.assertEqual(found["machine"]["device"]["name"], "the CPU, for tests")
        for row in found["rows"]:
            mine = gpu_result.arm(row)
            self.assertEqual(mine["check"], "ok", mine)
            self.assertGreater(mine["price_ns"], 0)
            self.assertGreaterEqual(len(mine["samples_ns"]), gpu_grid.LEAST_SAMPLES)
        self.assertEqual(found["rows"][0]["ours"][1]["check"], "ok")
        self.assertIn("none such", found["rows"][0]["ours"][2]["missing"])
        self.assertIn("ended with code 1", found["rows"][0]["peers"][0]["missing"])
        self.assertGreater(found["rows"][1]["sets"], 1)
        self.assertEqual(len(found["rows"][2]["ours"][0]["round_trip_ns"]), 3 * gpu_measure.ROUND_TRIPS)
        self.assertEqual([e.get("check") for e in found["roofline"]["linear"]], ["ok", None])
        self.assertEqual(len(found["roofline"]["copy"]["samples_ns"]), 2 * SIZES["samples"])
        self.assertEqual(found["graph"]["check"], "ok")
        self.assertEqual(len(found["graph"]["host_ns"]), gpu_measure.GRAPH_RUNS)
        self.assertEqual(set(found["graph"]["nodes"]), {"query", "heads", "attend", "mean", "best"})
        self.assertIn("cpu", found["graph"]["nodes"]["attend"])
        self.assert_rates(found)
        html = gpu_page.page(found)
        self.assertIn("ended with code 1", html)
        self.assertIn("the CPU, for tests", html)

    def assert_rates(self, found):
        """As if the CPU's two arms had been kernels of ours on a device."""
        with self.assertRaisesRegex(gpu_rates.NoRates, "no arm of ours has a figure"):
            gpu_rates.table(found)
        found["machine"]["device"]["capability"] = "9.0"
        for row in found["rows"]:
            for entry, name in zip(row["ours"], ("portable", "hopper")):
                entry |= {"backend": "cuda", "options": {"cuda.kernels": name}}
        found["rows"][1]["page"] = 0
        lines = [line.split() for line in gpu_rates.table(found).splitlines() if not line.startswith("#")]
        self.assertEqual(
            [line[:6] for line in lines],
            [
                ["cuda.hopper", "90", "32", "prefill", "causal", "33"],
                ["cuda.portable", "90", "32", "prefill", "causal", "33"],
                ["cuda.portable", "90", "64", "decode", "none", "2048"],
            ],
        )
        decoding = found["rows"][1]
        bytes_per_ns = decoding["bytes"] / median(gpu_result.arm(decoding))
        self.assertAlmostEqual(float(lines[2][6]), bytes_per_ns / 100, delta=1e-3 * bytes_per_ns)

    def test_a_wrong_answer_of_ours_is_found_in_any_set(self):
        # The pool that is checked is not the one that was computed on: every answer is wrong, none is timed.
        pool, other = gpu_data.Pool("f32", 1, 10007), gpu_data.Pool("f32", 2, 10007)
        row = gpu_grid.row("decode", "b1.hq4.hkv2.sq1.skv64.d32.f32", ("auto",), ())
        with tempfile.TemporaryDirectory() as folder:
            pool.write(pathlib.Path(folder, "pool"))
            peer = contenders.Program(
                "ours",
                BUILT / "bin/gpu_contender",
                1,
                ["--plugin", str(BUILT / "lib/sage/plugins/libsage_cpu.so"), "--device", "cpu"],
            )
            side = gpu_measure.Side("ours", peer)
            self.assertTrue(side.start(), side.missing)
            facts = {"l2_bytes": 1 << 10, "free_bytes": 1 << 30}
            right = gpu_measure.measure(
                {"ours": side, "torch": side}, row, facts, pool, pathlib.Path(folder, "pool"), ARMS
            )
            wrong = gpu_measure.measure(
                {"ours": side, "torch": side}, row, facts, other, pathlib.Path(folder, "pool"), ARMS
            )
            for order, words in (
                ({"do": "sing"}, "unknown order"),
                ({"do": "time", "arm": "auto", "calls": 1, "warmup": 0, "samples": 1}, "no arm"),
                ({"do": "prepare"}, "problem"),
                (gpu_data.order(gpu_grid.parse("b1.hq1.sq4.d8.f32"), 1, "/nonexistent"), "/nonexistent"),
                (
                    gpu_data.order(gpu_grid.parse("b1.hq1.sq4.d8.f32"), 1, pathlib.Path(folder, "pool")) | {
                        "problem": "b1.hq1.sq4.d8.f32:lse"
                    },
                    "slot 4",
                ),
            ):
                got = side.attempt(**order)
                self.assertFalse(got["ok"])
                self.assertIn(words, got["why"])
            side.stop()
        self.assertEqual(right["ours"][0]["check"], "ok")
        self.assertIn("relative error", wrong["ours"][0]["check"])
        self.assertEqual(wrong["ours"][0]["samples_ns"], [])

    def test_without_a_device_there_is_one_sentence_and_code_69(self):
        plugin = BUILT / "lib/sage/plugins/libsage_cuda.so"
        hello = json.loads(
            subprocess.run(
                [str(BUILT / "bin/gpu_contender"), "--plugin", str(plugin)], capture_output=True, text=True, input=""
            ).stdout
        )
        if "missing" not in hello:
            self.skipTest("there is a device here")
        with tempfile.TemporaryDirectory() as folder:
            out = pathlib.Path(folder, "r.json")
            done = subprocess.run(
                [
                    str(ROOT / "bench/run"),
                    "--gpu",
                    "--built",
                    str(BUILT),
                    "--python",
                    sys.executable,
                    "--out",
                    str(out),
                ],
                capture_output=True,
                text=True,
            )
            self.assertEqual(done.returncode, gpu_measure.NO_DEVICE, done.stderr)
            self.assertEqual(done.stderr.splitlines(), [f"gpu: {hello['missing']}"])
            self.assertFalse(out.exists())
        if plugin.exists():
            self.assertRegex(hello["missing"], "NVIDIA driver")


unittest.main()
