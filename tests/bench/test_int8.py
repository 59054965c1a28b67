"""The int8 measurement without its peers and without numpy: its table of rows, its bars, its environment, and the page of a
recorded result."""
import copy
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

from paths import ROOT

import contenders
import environment
import int8_grid
import int8_page
import int8_result
import problem


def entry(name, milliseconds, off=2e-5, l1=0.009, **more):
    """off: 1 - cosine."""
    figures = {"cosine": 1 - off, "rel_l1": l1, "rmse": 1e-3, "max_abs": 2e-2, "rows": 256, "worst_head": {"cosine": 1 - 2 * off, "rel_l1": 1.1 * l1}}
    return {"name": name, "path": "some kernels", "layout": "[B,H,S,D]", "samples_ns": [int(milliseconds * 1e6)] * 3, "rounds": [1, 1, 1],
            "check": "ok", "accuracy": figures, **more}


def square(data="normal", d=64, length=1024, full=4.0, **more):
    """Our fp32 takes 10 ms; qk8_pv16 7, full as given."""
    entries = [entry("fp32", 10, 1e-13, 3e-7), entry("bf16", 6, 2e-6, 0.002), entry("per_tensor", 8, 5e-3, 0.08), entry("qk8_pv16", 7, 1e-6, 0.001),
               entry("full", full), {"name": "torchao", "missing": "this wheel has no CPU kernel"}]
    text = f"b1.hq4.hkv4.sq{length}.skv{length}.d{d}.f32" + (f":data={data}" if data != "normal" else "")
    return {"group": "square", "problem": text, "data": data, "threads": 1, "d": d, "length": length, "flops": 1e9, "kv_bytes": 1e6, "contenders": entries,
            "seconds": 5, "load": 0.1, "others": 0.02, "steal_ticks": 0, **more}


def decode(length=4096, kv_cache=2.5):
    entries = [entry("fp32", 10, 1e-13, 3e-7), entry("bf16", 5, 7e-6, 0.004), entry("kv_cache", kv_cache), entry("onnxruntime", 12), entry("openvino", 15)]
    return {"group": "decode", "problem": f"b1.hq32.hkv8.sq1.skv{length}.d128.f32", "data": "normal", "threads": 1, "d": 128, "length": length,
            "flops": 1e8, "kv_bytes": 3e7, "contenders": entries, "seconds": 9, "load": 0.1, "others": 0.0, "steal_ticks": 0}


def made(*rows):
    return {"what": int8_result.WHAT, "commit": "0123456789ab",
            "machine": {"processor": "a processor", "processors": 2, "date": "2026-01-02", "load": [0.1, 0, 0], "load_after": [0.3, 0, 0]},
            "settings": {"seconds": 30, "steal_ticks": 7}, "rows": list(rows),
            "peers": {"fp32": {"versions": {"sage-engine": "0.1.0"}, "settings": {}}, "onnxruntime": {"versions": {"onnxruntime": "8.8"}, "settings": {}},
                      "torchao": {"versions": {"torchao": "7.7"}, "settings": {}}, "openvino": {"missing": "cannot be installed: no such wheel"}}}


def change(row, name, **more):
    row = copy.deepcopy(row)
    found = int8_result.entry_of(row, name)
    found["accuracy"] = dict(found["accuracy"], **more)
    return row


class Grid(unittest.TestCase):
    def test_R21_five_distributions_by_three_dimensions_by_three_lengths(self):
        squares = [(row["data"], p.d, p.sq) for row in int8_grid.grid() if row["group"] == "square" for p in [problem.parse(row["problem"])]]
        self.assertEqual(len(squares), 45)
        self.assertEqual(set(squares), {(data, d, n) for data in ("normal", "kbias", "sink", "vspread", "all") for d in (32, 64, 128) for n in (128, 1024, 4096)})

    def test_R21_decoding_from_every_cache_over_its_lengths_and_every_distribution(self):
        rows = [row for row in int8_grid.grid() if row["group"] == "decode"]
        parsed = [problem.parse(row["problem"]) for row in rows]
        self.assertTrue(all((p.sq, p.hq, p.hkv, p.d) == (1, 32, 8, 128) for p in parsed))
        self.assertEqual({p.skv for p, row in zip(parsed, rows) if row["data"] == "normal"}, {4096, 8192, 16384, 32768})
        self.assertEqual({row["data"] for row in rows}, set(problem.DATA))
        self.assertTrue(all({"fp32", "bf16", "kv_cache", "onnxruntime", "openvino"} <= set(row["contenders"]) for row in rows))

    def test_every_contender_is_known_and_reads_its_problem(self):
        for row in int8_grid.grid():
            self.assertEqual(row["contenders"][0], "fp32")
            self.assertEqual(problem.parse(row["problem"]).data, row["data"])
            for name in row["contenders"]:
                script, _, addition = int8_grid.CONTENDERS[name]
                self.assertTrue((ROOT / "bench/peers" / script).exists())
                p = problem.parse(contenders.with_arm(row["problem"], addition))
                self.assertEqual(p.cache, {"onnxruntime": "i8", "openvino": "u8"}.get(name, ""))
        self.assertEqual({row["group"] for row in int8_grid.quick()}, {"square", "decode"})

    def test_what_is_no_distribution_and_no_cache_is_refused(self):
        for text in ("b1.hq2.sq4.d8.f32:data=wild", "b1.hq2.sq4.d8.f32:kv=i4"):
            with self.assertRaisesRegex(ValueError, text.split(":")[1]):
                problem.parse(text)


class Bars(unittest.TestCase):
    def test_R21_a_mode_below_its_bar_is_said_in_words(self):
        self.assertEqual(int8_result.accuracy_misses(made(square(), square(d=32))), [])
        for name, figures, words in (("qk8_pv16", {"cosine": 0.99989}, "cosine 0.999890, at least 0.9999"), ("qk8_pv16", {"rel_l1": 0.0121}, "at most 0.012"),
                                     ("full", {"cosine": 0.99979}, "at least 0.9998"), ("full", {"rel_l1": 0.0201}, "at most 0.02")):
            misses = int8_result.accuracy_misses(made(change(square(), name, **figures)))
            self.assertEqual(len(misses), 1, misses)
            self.assertRegex(misses[0], f"^{name} on b1.hq4.*{words}")
        self.assertEqual(int8_result.accuracy_misses(made(change(square(d=32), "full", rel_l1=0.0249))), [])
        self.assertEqual(len(int8_result.accuracy_misses(made(change(square(d=32), "full", rel_l1=0.0251)))), 1)
        self.assertEqual(int8_result.accuracy_misses(made(change(square(), "per_tensor", cosine=0.95))), [])  # promises nothing

    def test_a_promised_answer_that_is_missing_or_wrong_is_a_miss(self):
        row = square()
        row["contenders"][4] = {"name": "full", "missing": "does not serve it"}
        self.assertEqual(int8_result.accuracy_misses(made(row)), [f"full on {row['problem']}: does not serve it"])
        self.assertIn("no ratio", int8_result.speed_misses(made(row))[0])

    def test_R21_a_ratio_below_what_is_wanted_is_said_in_words(self):
        self.assertEqual(int8_result.speed_misses(made(square(), decode())), [])
        self.assertIn("1.90 times as fast as our fp32, at least 2.0", int8_result.speed_misses(made(square(full=10 / 1.9)))[0])
        self.assertEqual(int8_result.speed_misses(made(square(full=10 / 1.9, length=128))), [])  # too short to promise
        misses = int8_result.speed_misses(made(decode(kv_cache=2.9)))
        self.assertEqual(len(misses), 2)
        self.assertIn("3.45 times as fast as our fp32, at least 3.5", misses[0])
        self.assertIn("1.72 times as fast as our bf16, at least 1.8", misses[1])

    def test_an_answer_that_is_not_right_has_no_ratio_and_nobody_has_one_over_a_wrong_fp32(self):
        row = square()
        int8_result.entry_of(row, "full")["check"] = "cosine 0.2, at least 0.9"
        self.assertIsNone(int8_result.speed(row, "full"))
        self.assertIsNone(int8_result.accuracy(row, "full"))
        self.assertEqual(int8_result.speed(row, "qk8_pv16"), 10 / 7)
        int8_result.entry_of(row, "fp32")["check"] = "output is not finite"
        self.assertIsNone(int8_result.speed(row, "qk8_pv16"))
        self.assertNotIn("2.50", int8_page.table(made(row)))  # what the ratio of full would be


class Page(unittest.TestCase):
    def rows(self):
        rows = [square(data, d, n) for data in problem.DATA for d in (32, 64) for n in (128, 1024)]
        return rows + [decode(), decode(8192)]

    def test_every_chart_is_there_and_nothing_is_loaded_or_run(self):
        html = int8_page.page(made(*self.rows()))
        for words in ("iid N(0,1)", "K channel bias", "attention sink", "V channel spread", "all together", "most of qk8_pv16", "most of full", "our fp32",
                      "our bf16 (yardstick)", "wanted of full", "wanted of kv_cache", "Bars of accuracy, over 40 answers of qk8_pv16 and full: none is missed.",
                      "Bars of speed, over 14 ratios: none is missed."):
            self.assertTrue(words in html, words)
        self.assertEqual(html.count("<figure>"), 5 * 2 + 2 + 1)
        self.assertNotRegex(html, r"https?:|<script|<link|src=|@import|url\(")
        self.assertNotRegex(html, r"\bnan\b|\binf\b|None")

    def test_marks_lie_on_their_side_of_the_bar(self):
        """In the picture itself: the dashed line of a bar and the marks of its mode."""
        for l1, above in ((0.011, False), (0.013, True)):
            chart = int8_page.plane([change(square(), "qk8_pv16", rel_l1=l1)], "t", lambda a: a["rel_l1"], "relative L1", [("most of qk8_pv16", 0.012)])
            bar = float(re.search(r'<line x1="52" x2="418" y1="([\d.]+)" y2="[\d.]+" class="level"/>', chart)[1])
            mark = float(re.search(r'class="mark qk8">.*?<path d="M[\d.]+ ([\d.]+)L', chart)[1]) + 4.6  # its top is so far above its middle
            self.assertEqual(mark < bar, above)

    def test_misses_and_the_missing_are_named(self):
        html = int8_page.page(made(change(square(data="sink"), "full", cosine=0.99)))
        self.assertIn("1 missed", html)
        self.assertIn("full on b1.hq4.hkv4.sq1024.skv1024.d64.f32:data=sink: cosine 0.990000", html)
        self.assertIn("<b>torchao</b>, 1 row: this wheel has no CPU kernel", html)

    def test_what_a_file_says_cannot_become_markup(self):
        row = square()
        row["contenders"][5]["missing"] = "<script>alert(1)</script>"
        self.assertNotIn("<script", int8_page.page(made(row)))

    def test_the_command_makes_it_and_refuses_what_is_no_result(self):
        with tempfile.TemporaryDirectory() as folder:
            source, target = pathlib.Path(folder, "r.json"), pathlib.Path(folder, "r.html")

            def report(text):
                source.write_text(text)
                target.unlink(missing_ok=True)
                return subprocess.run([sys.executable, str(ROOT / "bench/report"), str(source), str(target)], capture_output=True, text=True)

            whole = made(*self.rows())
            self.assertEqual(report(json.dumps(whole)).returncode, 0)
            self.assertEqual(target.read_text(), int8_page.page(whole))
            for text, words in ((json.dumps(whole)[:-20], "r.json"), ("[1]", "r.json"), (json.dumps(dict(whole, rows=[{"group": "square"}])), "row 0 has no 'problem'"),
                                (json.dumps({"what": int8_result.WHAT}), "no 'commit'")):
                done = report(text)
                self.assertEqual(done.returncode, 1)
                self.assertIn(words, done.stderr)
                self.assertNotIn("Traceback", done.stderr)
                self.assertFalse(target.exists())


class Environment(unittest.TestCase):
    def test_its_own_peers_are_pinned_in_their_own_file(self):
        pins = dict(re.findall(r"^([\w.-]+)==([\w.]+)$", (ROOT / "bench/peers/requirements-int8.txt").read_text(), re.M))
        self.assertEqual(set(pins), {package for packages in environment.INT8_PEERS.values() for package in packages})

    def test_a_peer_that_cannot_be_installed_is_kept_with_the_reason_and_tried_again_next_time(self):
        asked = []

        def run(command, **_):
            asked.append(command)
            return subprocess.CompletedProcess(command, 1, "", "ERROR: No matching distribution found for torchao\n")

        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "peers.json").write_text('{"requirements": "of then", "missing": {}}')
            with unittest.mock.patch.object(environment.subprocess, "run", run):
                for _ in range(2):
                    asked.clear()
                    missing = environment.prepare_int8(pathlib.Path(folder), say=lambda words: None)
                    self.assertEqual(missing, {"torchao": "cannot be installed: ERROR: No matching distribution found for torchao"})
                    self.assertEqual(len(asked), 1)
                    self.assertEqual(sum(word.endswith(".txt") for word in asked[0]), 2)  # held to both files of versions
            installs = lambda command, **_: asked.append(command) or subprocess.CompletedProcess(command, 0, "", "")  # noqa: E731
            with unittest.mock.patch.object(environment.subprocess, "run", installs):
                for change_first, count in (("", 1), ("", 0), ('{"requirements": "of now", "missing": {}}', 1)):  # missing; there; made anew
                    if change_first:
                        pathlib.Path(folder, "peers.json").write_text(change_first)
                    asked.clear()
                    self.assertEqual(environment.prepare_int8(pathlib.Path(folder), say=lambda words: None), {})
                    self.assertEqual(len(asked), count)


class Processes(unittest.TestCase):
    def test_a_driver_is_told_its_arm_and_gets_its_environment(self):
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "arm.py").write_text("import json, os, sys\nprint(json.dumps({'arguments': sys.argv[1:], 'library': os.environ['SAGE_LIBRARY']}), flush=True)\n"
                                                      "sys.stdin.read()\n")
            with unittest.mock.patch.object(contenders, "HERE", pathlib.Path(folder)):
                peer = contenders.Peer("full", sys.executable, 1, "native", "arm.py", ("full",), {"SAGE_LIBRARY": "somewhere"})
                try:
                    peer.start()
                    self.assertEqual(peer.hello, {"arguments": ["full"], "library": "somewhere"})
                finally:
                    peer.stop()


unittest.main()
