"""bench/run --gpu without a device, without torch and without numpy: its table of rows, its operations and bytes, its
plan of calls, who is measured when, its bars, and the page of a result made by hand for a device that does
not exist."""

import copy
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

from paths import ROOT

import gpu_grid
import gpu_page
import gpu_rates
import gpu_result
import gpu_table
import result

GPU_DEVICE = "test device (H200 in name only)"


def entry(name, milliseconds, check="ok", **more):
    return {
        "arm": name,
        "path": "some kernels",
        "samples_ns": [milliseconds * 1e6] * 3,
        "rounds": [1, 1, 1],
        "how": "one call",
        "check": check,
        "rel_err": 2e-3,
        "rows": 128,
        "first_ns": 1e6,
        **more,
    }


def row(problem, ours, peers, bars=None, **more):
    shape = gpu_grid.parse(problem)
    group = "small" if shape.skv <= 128 else "decode" if shape.sq == 1 else "prefill"
    return {
        "group": group,
        "problem": problem,
        "readme": True,
        "bars": bars or {},
        "dtype": shape.dtype,
        "d": shape.d,
        "causal": bool(shape.causal),
        "length": shape.skv,
        "page": shape.page,
        "flops": shape.flops,
        "bytes": shape.bytes,
        "kv_bytes": shape.kv_bytes,
        "sets": 2,
        "order": [],
        "ours": ours,
        "peers": peers,
        "seconds": 1,
        "load": 0.1,
        "smi": {"clocks.sm": "1980"},
        **more,
    }


def made(*rows, name=GPU_DEVICE, **more):
    """A copy of 4000 GB/s, a GEMM of 500 TFLOP/s by torch and a wrong one of ours."""
    return {
        "what": gpu_result.WHAT,
        "commit": "0123456789ab",
        "machine": {
            "processor": "a processor",
            "date": "2026-01-02",
            "load": [0.1, 0, 0],
            "load_after": [0.3, 0, 0],
            "smi": {"driver_version": "999.1"},
            "device": {
                "name": name,
                "capability": "9.0",
                "driver": "13.0",
                "l2_bytes": 60 << 20,
                "free_bytes": 100 << 30,
            },
        },
        "settings": {"seconds": 30, "left_out_for_want_of_time": ["b1.hq1.sq9.d8.bf16"]},
        "peers": {
            "ours": {"versions": {"sage-engine": "0.1.0"}, "settings": {}},
            "torch": {"versions": {"torch": "9.9", "cudnn": "99"}, "settings": {}},
        },
        "roofline": {
            "copy": {"bytes": 4000000, "samples_ns": [1000, 900, 1100]},
            "linear": [
                {"who": "ours", "flops": 1e9, "samples_ns": [1], "check": "relative error 0.9, at most 5e-03"},
                {"who": "torch", "flops": 1e12, "samples_ns": [2e6], "check": "ok"},
            ],
        },
        "rows": list(rows),
        "graph": {},
        **more,
    }


PREFILL = "b1.hq64.hkv8.sq8192.skv8192.d128.bf16"
# 4 * 64 * 8192^2 * 128 operations: 2.199e12. Ours takes 5 ms (440 TFLOP/s); torch's flash 10 and right, cudnn 1 and
# wrong, efficient refuses.
MIXED = row(
    PREFILL,
    [entry("auto", 5, price_ns=4e6), entry("portable", 8), {"arm": "hopper", "missing": "not on this device"}],
    [
        entry("flash", 10),
        entry("cudnn", 1, "relative error 0.3, at most 5e-03"),
        {"arm": "efficient", "missing": "it refuses: no kernel"},
    ],
    bars={"cuDNN 9.19": 691, "portable wanted": 200},
)
OURS_WRONG = row(
    PREFILL, [entry("auto", 5, "3 elements of the output are not finite, or were never written")], [entry("flash", 10)]
)


def decode(milliseconds, page=0, **more):
    problem = "b8.hq64.hkv8.sq1.skv65536.d128.bf16" + (f":page={page}" if page else "")
    return row(problem, [entry("auto", milliseconds)], [] if page else [entry("flash", 2 * milliseconds)], **more)


class Rates(unittest.TestCase):
    """The table that the plugins price by. tests/plugins/cuda/test_rates.cc reads the same example."""

    EXAMPLE = ROOT / "tests/bench/rates_example.txt"

    def result(self):
        def ours(name, milliseconds, **more):
            backend = {"backend": "cuda", "options": {} if name == "auto" else {"cuda.kernels": name}}
            return entry(name, milliseconds, **backend | more)

        cudnn = entry("cudnn backend", 3.2, backend="cudnn", options={})
        prefill = [ours("auto", 3), ours("hopper", 3.6), ours("portable", 7, check="off"), cudnn]
        long, wide = "b1.hq64.hkv8.sq8192.skv8192.d128.", "b8.hq64.hkv8.sq1.skv16384.d128.bf16"
        found = made(
            row(long + "f16", [ours("auto", 3), ours("hopper", 1)], []),  # bf16 goes before it
            row(long + "bf16", prefill, []),
            row(long + "bf16:causal=br", [ours("hopper", 2)], []),
            row(wide, [ours("decode", 0.14), {"arm": "hopper", "missing": "no"}], [entry("flash", 0.2)]),
            row(wide + ":page=16", [ours("decode", 0.01)], []),
            row("b1.hq12.hkv4.sq1.skv128.d64.bf16", [ours("small", 0.002)], []),
        )
        peaks = {"tensor_flops_per_ns": 1070530.0, "bytes_per_ns": 4916.7}
        found["machine"]["device"] |= {"capability": "9.0", "peaks": peaks}
        return found

    def test_what_was_measured_becomes_a_table_of_shares(self):
        self.assertEqual(gpu_rates.table(self.result()), self.EXAMPLE.read_text())
        found = gpu_rates.rates(self.result())
        self.assertEqual(
            set(found),
            {
                ("cuda.hopper", 128, "prefill", "none", 8192),
                ("cuda.hopper", 128, "prefill", "causal", 8192),
                ("cudnn", 128, "prefill", "none", 8192),
                ("cuda.decode", 128, "decode", "none", 16384),
            },
        )
        flops = 4 * 64 * 8192.0**2 * 128
        self.assertAlmostEqual(found["cuda.hopper", 128, "prefill", "none", 8192][0], flops / 3.6e6 / 1070530)
        self.assertAlmostEqual(found["cuda.hopper", 128, "prefill", "causal", 8192][0], flops / 2 / 2e6 / 1070530)
        read = 2 * 8 * 8 * 16384 * 128 * 2 + 2 * 8 * 64 * 128 * 2
        self.assertAlmostEqual(found["cuda.decode", 128, "decode", "none", 16384][0], read / 140e3 / 4916.7)

    def test_a_result_without_peaks_or_figures_makes_no_table(self):
        for change, words in (
            (lambda r: r["machine"]["device"].pop("peaks"), "no peaks of its device"),
            (lambda r: r["machine"]["device"].update(capability="9.x"), "compute capability is '9.x'"),
            (lambda r: r["rows"].clear(), "no arm of ours has a figure"),
        ):
            found = self.result()
            change(found)
            with self.assertRaises(gpu_rates.NoRates) as caught:
                gpu_rates.table(found)
            self.assertIn(words, str(caught.exception))

    def test_the_program_says_why_it_writes_nothing(self):
        with tempfile.TemporaryDirectory() as folder:
            given, out = pathlib.Path(folder, "r.json"), pathlib.Path(folder, "rates.txt")
            program = [sys.executable, ROOT / "bench/peers/gpu_rates.py", given, out]
            given.write_text(json.dumps(made()))
            done = subprocess.run(program, capture_output=True, text=True)
            self.assertEqual((done.returncode, out.exists()), (1, False))
            self.assertIn("no peaks of its device", done.stderr)
            given.write_text(json.dumps(self.result()))
            self.assertEqual(subprocess.run(program).returncode, 0)
            self.assertEqual(out.read_text(), self.EXAMPLE.read_text())


class Grid(unittest.TestCase):
    def setUp(self):
        self.rows = [(row, gpu_grid.parse(row["problem"])) for row in gpu_grid.grid()]

    def test_rows_that_were_promised(self):
        prefill = {(p.d, p.sq, bool(p.causal)) for row, p in self.rows if row["group"] == "prefill"}
        self.assertLessEqual({(128, n, causal) for n in (2048, 8192, 16384) for causal in (False, True)}, prefill)
        self.assertLessEqual({(d, 8192, causal) for d in (64, 256) for causal in (False, True)}, prefill)
        for row, p in self.rows:
            if row["group"] == "prefill":
                self.assertEqual((p.hq, p.hkv), (64, 8))
                self.assertIn(p.dtype, ("bf16", "f16"))
        decoding = [(p.skv, p.page) for row, p in self.rows if row["group"] == "decode"]
        self.assertEqual(set(decoding), {(n, page) for n in (4096, 16384, 65536) for page in (0, 16, 64)})
        self.assertTrue(all(p.b * p.hkv >= 64 and p.sq == 1 for row, p in self.rows if row["group"] == "decode"))
        self.assertTrue(any((p.sq, p.skv, p.hq, p.hkv, p.d) == (1, 128, 12, 4, 64) for _, p in self.rows))

    def test_no_row_twice_and_every_arm_known_and_auto_first(self):
        problems = [row["problem"] for row, _ in self.rows]
        self.assertEqual(len(problems), len(set(problems)))
        for row, _ in self.rows:
            self.assertEqual(row["ours"][0], "auto")
            self.assertLessEqual(set(row["ours"]), set(gpu_grid.OURS))
            self.assertLessEqual(set(row["peers"]), set(gpu_grid.PEERS))
        self.assertLessEqual({row["group"] for row, _ in self.rows}, {row["group"] for row in gpu_grid.quick()})
        self.assertLess(len(gpu_grid.quick()), len(self.rows))

    def test_operations_and_bytes(self):
        p = gpu_grid.parse("b2.hq8.hkv2.sq16.skv32.d64.bf16")
        self.assertEqual(p.flops, 4 * 2 * 8 * 16 * 32 * 64)
        self.assertEqual(gpu_grid.parse("b2.hq8.hkv2.sq16.skv32.d64.bf16:causal=br").flops, p.flops / 2)
        self.assertEqual(p.kv_bytes, 2 * 2 * 2 * 32 * 64 * 2)
        self.assertEqual(p.bytes, p.kv_bytes + 2 * 2 * 8 * 16 * 64 * 2)
        self.assertEqual(gpu_grid.parse("b2.hq8.hkv2.sq16.skv32.d64.bf16:page=16").bytes, p.bytes + 4 * 2 * 2)
        self.assertEqual(gpu_grid.parse("b1.hq8.sq16.d64.f32").bytes, 4 * 4 * 8 * 16 * 64)
        # One query that stands behind all keys sees them all: nothing is halved.
        self.assertEqual(gpu_grid.parse("b1.hq8.sq1.skv32.d64.bf16:causal=br").flops, 4 * 8 * 32 * 64)

    def test_what_is_not_measured_is_refused_by_name(self):
        for text, words in (
            ("b1.hq2.sq4.d8.i8", "i8"),
            ("b1.hq2.sq4.d8", "dtype"),
            ("b1.hq2.sq4.d8.bf16:window=3", "window"),
            ("b1.hq2.sq4.skv30.d8.bf16:page=16", "pages of 16"),
            ("b1.hq2.sq4.d8.bf16:causal=left", "causal=left"),
        ):
            with self.assertRaisesRegex(ValueError, words):
                gpu_grid.parse(text)

    def test_sets_go_past_the_last_cache_and_fit_the_memory(self):
        l2, room = 60 << 20, 100 << 30
        for row, p in self.rows:
            count = gpu_grid.sets(p, l2, room)
            if row["group"] == "small":
                self.assertEqual(count, 1)
                continue
            self.assertGreaterEqual(count * p.bytes, 2 * l2)
            self.assertGreaterEqual(count, 2)
            self.assertLessEqual(count * p.bytes, room // 2)
        self.assertEqual(gpu_grid.sets(gpu_grid.parse(PREFILL), l2, 1 << 20), 1)  # its memory refuses it, not the plan

    def test_short_calls_are_recorded_together_over_all_sets_and_long_ones_are_not(self):
        short = gpu_grid.plan(2500, 1)
        self.assertEqual(short["calls"], 80)
        self.assertGreaterEqual(short["samples"] * short["rounds"], 50)
        self.assertGreaterEqual(gpu_grid.plan(40e3, 24)["calls"], 24)
        self.assertLessEqual(gpu_grid.plan(1, 1)["calls"], gpu_grid.MOST_CALLS)
        long = gpu_grid.plan(15e6, 2)
        self.assertEqual(long["calls"], 1)
        self.assertGreaterEqual(long["samples"] * long["rounds"], 50)
        self.assertEqual(gpu_grid.plan(2e9, 2)["samples"], 3)  # a second each is all that it gets

    def test_P14_everybody_is_measured_every_round_and_nobody_always_first(self):
        entries = ["a", "b", "c", "d"]
        rounds = [gpu_grid.turns(entries, number) for number in range(4)]
        for one in rounds:
            self.assertEqual(sorted(one), entries)
        self.assertEqual([one[0] for one in rounds], entries)
        self.assertEqual(rounds[1], ["b", "c", "d", "a"])

    def test_math_that_would_keep_too_many_scores_is_left_out_with_the_reason(self):
        self.assertIn("16 GiB", gpu_grid.left_out(gpu_grid.parse(PREFILL), "math"))
        self.assertEqual(gpu_grid.left_out(gpu_grid.parse("b1.hq64.hkv8.sq2048.skv2048.d128.bf16"), "math"), "")
        self.assertEqual(gpu_grid.left_out(gpu_grid.parse(PREFILL), "flash"), "")


class Figures(unittest.TestCase):
    def test_a_wrong_or_missing_answer_has_no_ratio_on_either_side(self):
        flash, cudnn, efficient = MIXED["peers"]
        self.assertEqual(gpu_result.ratio(MIXED, flash), 2.0)
        self.assertIsNone(gpu_result.ratio(MIXED, cudnn))
        self.assertIsNone(gpu_result.ratio(MIXED, efficient))
        self.assertEqual(gpu_result.best_peer(MIXED)["arm"], "flash")
        self.assertIsNone(gpu_result.speed(MIXED, cudnn))
        self.assertIsNone(gpu_result.ratio(OURS_WRONG, OURS_WRONG["peers"][0]))
        unchecked = copy.deepcopy(MIXED)
        del unchecked["peers"][0]["check"]
        self.assertIsNone(gpu_result.ratio(unchecked, unchecked["peers"][0]))

    def test_speeds_and_their_shares_of_what_the_same_run_measured(self):
        whole = made(MIXED, decode(0.8))
        self.assertAlmostEqual(gpu_result.speed(MIXED, MIXED["ours"][0]), 4 * 64 * 8192**2 * 128 / 5e-3 / 1e12)
        self.assertEqual(gpu_result.copy_gbps(whole), 4000)
        self.assertEqual(gpu_result.gemms(whole), [("torch", 500.0)])  # ours was wrong
        self.assertAlmostEqual(gpu_result.share(whole, MIXED, MIXED["ours"][0]), 0.8796, 3)
        d = whole["rows"][1]
        self.assertAlmostEqual(gpu_result.share(whole, d, d["ours"][0]), d["bytes"] / 0.8e6 / 4000)
        self.assertEqual(gpu_result.unit(d), "GB/s")

    def test_a_bar_that_is_missed_is_said_and_one_that_is_met_is_not(self):
        found = gpu_result.misses(made(MIXED))
        self.assertEqual(len(found), 1)
        self.assertRegex(found[0], "auto: cuDNN 9.19, at least 691 TFLOP/s: 440")
        met = row(
            PREFILL,
            [entry("auto", 3), {"arm": "portable", "missing": "gone"}],
            [],
            bars={"cuDNN 9.19": 691, "portable wanted": 200},
        )
        self.assertRegex(gpu_result.misses(made(met))[0], "portable wanted.*no right answer")

    def test_bars_of_decoding_are_shares_and_hold_on_every_device(self):
        # 2.147 GB in 0.6 ms are 3580 GB/s, 0.895 of the copy; in 0.8 ms 0.67.
        self.assertEqual(gpu_result.misses(made(decode(0.6), name="another device")), [])
        self.assertRegex(
            gpu_result.misses(made(decode(0.8), name="another device"))[0],
            "share of the copy bandwidth, at least 0.85: 0.67",
        )
        slow = gpu_result.misses(made(decode(0.6), decode(0.62, 16), decode(0.65, 64)))
        self.assertTrue(
            any(re.search("page=64.*as fast as without pages, at least 0.95 of it: 0.923", miss) for miss in slow),
            slow,
        )
        self.assertFalse(any("page=16" in miss and "without pages" in miss for miss in slow), slow)

    def test_absolute_bars_hold_on_their_device_alone(self):
        self.assertEqual(gpu_result.misses(made(MIXED, name="another device")), [])

    def test_a_latency_bar_is_met_from_below(self):
        small = row("b1.hq12.hkv4.sq1.skv128.d64.bf16", [entry("auto", 0.0024)], [], bars={"kernel wanted": 2500})
        whole = made(small, graph={"check": "ok", "host_ns": [6000] * 9, "nodes": {}})
        self.assertEqual(gpu_result.misses(whole), [])
        small["ours"][0]["samples_ns"] = [2600]
        whole["graph"]["host_ns"] = [8000] * 9
        self.assertEqual(len(gpu_result.misses(whole)), 2)
        whole["graph"]["check"] = "experts [1], expected [2]"
        self.assertRegex(gpu_result.misses(whole)[1], "no right answer")


class Page(unittest.TestCase):
    def test_a_wrong_peer_has_neither_speed_nor_ratio_and_whoever_is_missing_has_a_reason(self):
        html = gpu_page.page(made(MIXED))
        lines = [
            re.findall(r"<td[^>]*>([^<]*)</td>", line) for line in html.splitlines() if line.startswith("<tr><td>")
        ]
        cells = {line[0]: line[1:] for line in lines}
        self.assertEqual(cells["torch flash"][2], "2.00")
        self.assertEqual(cells["torch cudnn"], ["wrong"] + ["–"] * 8)
        self.assertEqual(cells["auto"][2:4], ["–", "0.80"])  # nobody's ratio over ourselves; what it was priced at
        self.assertEqual(cells["torch efficient"][0], "missing")
        self.assertIn("<b>torch efficient</b>, 1 row: it refuses: no kernel", html)
        self.assertIn("<b>torch cudnn</b>, 1 row: relative error 0.3, at most 5e-03", html)
        self.assertIn("<b>GEMM of the roofline, ours</b>: relative error 0.9", html)
        self.assertIn("<b>b1.hq1.sq9.d8.bf16</b>: left out, the time was over", html)
        self.assertNotIn("2199 TFLOP/s", html)  # what cudnn's speed would be
        self.assertNotRegex(gpu_page.page(made(OURS_WRONG)), r"2\.00</td>")

    def test_every_section_is_there_with_the_bars_and_nothing_is_loaded_or_run(self):
        rows = []
        for n in (2048, 8192):
            problem = f"b1.hq64.hkv8.sq{n}.skv{n}.d128.bf16"
            rows.append(
                row(
                    problem,
                    [entry("auto", n / 1000), entry("hopper", n / 1000)],
                    [entry("flash", n / 900)],
                    bars={"cuDNN 9.19": 633},
                )
            )
        for n in (4096, 16384):
            rows.append(row(f"b8.hq64.hkv8.sq1.skv{n}.d128.bf16", [entry("auto", n / 1e5)], [entry("flash", n / 9e4)]))
        rows.append(
            row(
                "b1.hq12.hkv4.sq1.skv128.d64.bf16",
                [entry("auto", 0.003, round_trip_ns=[9000] * 9)],
                [],
                bars={"kernel wanted": 2500},
            )
        )
        graph = {
            "check": "ok",
            "host_ns": [9000] * 99 + [30000],
            "device_missing": "no stream",
            "nodes": {"query": "cuda", "best": "cpu"},
        }
        html = gpu_page.page(made(*rows, graph=graph))
        for title in ("Speed over sequence length", "Decoding", "Small shapes", "Round trips", "Every row"):
            self.assertIn(f"<h2>{title}</h2>", html)
        for words in (
            "cuDNN 9.19",
            "bf16 GEMM (torch)",
            "85 % of it",
            ">kernel wanted<",
            "1 on cpu, 1 on cuda",
            "p50 9 us",
            "not timed on the device: no stream",
            GPU_DEVICE,
            "1980 to 1980 MHz",
        ):
            self.assertIn(words, html)
        self.assertNotRegex(html, r"https?:|<script|<link|src=|@import|url\(")
        self.assertNotRegex(html, r"\bnan\b|\binf\b|None")

    def test_peers_that_are_missing_altogether_are_named(self):
        whole = made(
            row(
                PREFILL,
                [entry("auto", 5)],
                [{"arm": "flash", "missing": "ModuleNotFoundError: No module named 'torch'"}],
            )
        )
        whole["peers"]["torch"] = {"missing": "ModuleNotFoundError: No module named 'torch'"}
        whole["roofline"] = {}
        html = gpu_page.page(whole)
        self.assertIn("<b>torch</b>: ModuleNotFoundError", html.replace("&#x27;", "'"))
        self.assertIn("the copy bandwidth was not measured", html)

    def test_what_a_file_says_cannot_become_markup(self):
        bad = copy.deepcopy(MIXED)
        bad["peers"][2]["missing"] = bad["ours"][0]["path"] = bad["problem"] = "<script>alert(1)</script>"
        self.assertNotIn("<script", gpu_page.page(made(bad, name="<script>")))


class Readme(unittest.TestCase):
    def test_the_table_has_no_ratio_of_a_wrong_answer_and_says_what_was_measured_beside(self):
        text = "\n".join(gpu_table.gpu_table(made(MIXED, decode(0.8), OURS_WRONG), "f.json"))
        self.assertIn(f"| `{PREFILL}` | 440 TFLOP/s | flash | 220 | 2.00 | 88 % |", text)
        self.assertIn("a copy 4000 GB/s, a bf16 GEMM 500 TFLOP/s (torch)", text)
        self.assertRegex(text, r"never written \| flash \| 220 \| - \| - \|")
        self.assertIn("Bars missed: 2.", text)
        without = made(OURS_WRONG)
        without["peers"]["torch"], without["roofline"] = {"missing": "no such module"}, {}
        self.assertIn("torch (missing: no such module)", gpu_table.gpu_table(without, "f.json")[0])


class Command(unittest.TestCase):
    def report(self, text):
        with tempfile.TemporaryDirectory() as folder:
            source, target = pathlib.Path(folder, "r.json"), pathlib.Path(folder, "r.html")
            source.write_text(text)
            done = subprocess.run(
                [sys.executable, str(ROOT / "bench/report"), str(source), str(target)], capture_output=True, text=True
            )
            return done, target.read_text() if target.exists() else None

    def test_the_page_is_what_the_file_says(self):
        done, html = self.report(json.dumps(made(MIXED)))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(html, gpu_page.page(made(MIXED)))

    def test_a_file_that_is_no_result_is_refused_with_the_place(self):
        for text, words in (
            (json.dumps({"what": gpu_result.WHAT}), "commit"),
            (json.dumps(made({"group": "prefill"})), "row 0 has no 'problem'"),
        ):
            done, html = self.report(text)
            self.assertEqual(done.returncode, 1)
            self.assertIn(words, done.stderr)
            self.assertNotIn("Traceback", done.stderr)
            self.assertIsNone(html)
        with self.assertRaises(result.Malformed):
            gpu_result.load(pathlib.Path("/nonexistent"))


unittest.main()
