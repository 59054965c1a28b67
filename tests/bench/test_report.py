"""What is printed of a peers' result: above all that a wrong answer has no ratio, on either side, anywhere."""
import copy
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

from paths import ROOT

import page
import result
import table


def entry(who, times, check="ok", **more):
    key = "arm" if who in ("default", "flash", "materialised") else "peer"
    return {key: who, "samples_ns": times, "rounds": [len(times)], "check": check, "rel_err": 2e-7, "max_abs_err": 1e-6,
            "path": "some op", "layout": "[B,H,S,D]", **more}


def row(problem, ours, peers, group="prefill", **more):
    return {"group": group, "problem": problem, "threads": 1, "isa": "native", "readme": True, "dtype": "f32", "d": 64, "causal": False,
            "length": 512, "flops": 4e6, "kv_bytes": 2e6, "seconds": 1, "load": 0.1, "others": 0.07, "steal_ticks": 0, "ours": ours, "peers": peers,
            "roofline": {"fma_gflops": 118.0, "threads_fma_gflops": 236.0, "stream_gbps": 20.0, "footprint_gbps": 25.0}, **more}


def made(*rows):
    return {"what": "attention beside its peers", "commit": "0123456789ab",
            "machine": {"processor": "a processor", "processors": 2, "date": "2026-01-02", "load": [0.1, 0, 0], "load_after": [0.3, 0, 0]},
            "settings": {"seconds": 3, "steal_ticks": 7},
            "peers": {"torch": {"versions": {"torch": "9.9"}, "settings": {}}, "onnxruntime": {"versions": {"onnxruntime": "8.8"}, "settings": {}},
                      "openvino": {"missing": "cannot be installed: no such wheel"}, "jax": {"versions": {"jax": "7.7"}, "settings": {}}},
            "rows": list(rows)}


# Ours takes 1 ms. torch is 5 times as fast and wrong; onnxruntime takes 2.5 ms and is right; jax crashed.
MIXED = row("mixed", [entry("default", [1000000, 900000, 1100000]), entry("materialised", [1300000] * 3)],
            [entry("torch", [200000] * 3, check="relative error 0.3, at most 1e-04"), entry("onnxruntime", [2500000] * 3),
             {"peer": "openvino", "missing": "cannot be installed: no such wheel"}, {"peer": "jax", "missing": "ended by signal 11"}])
OURS_WRONG = row("ours-wrong", [entry("default", [1000], check="cpu: wrong answer, relative error 0.5")], [entry("torch", [4321])])
SLOWER = row("slower", [entry("default", [2000000] * 3)], [entry("torch", [1000000] * 3)])
OURS_MISSING = row("ours-missing", [{"arm": "default", "missing": "cpu: does not serve F16"}], [entry("torch", [1000000] * 3)])


def row_of(html, problem):
    """The cells of a problem's line in the table of every row."""
    line = next(line for line in html.splitlines() if line.startswith(f"<tr><td>{problem}</td>"))
    return re.findall(r"<td[^>]*>([^<]*)</td>", line)


class Ratios(unittest.TestCase):
    def test_a_wrong_peer_has_no_ratio_and_is_not_the_best(self):
        self.assertIsNone(result.ratio(MIXED, MIXED["peers"][0]))
        self.assertEqual(result.best_peer(MIXED)["peer"], "onnxruntime")
        self.assertEqual(result.ratio(MIXED, MIXED["peers"][1]), 2.5)
        cells = row_of(page.page(made(MIXED)), "mixed")
        self.assertEqual(cells[3:8], ["wrong", "2.50", "–", "–", "2.50 onnxruntime"])
        text = "\n".join(table.peers_table(made(MIXED), "f.json"))
        self.assertIn("| onnxruntime | 1.6 | 2.50 |", text)
        for shown in (text, page.page(made(MIXED))):
            self.assertNotRegex(shown, r"\b0\.20\b")  # what torch's ratio would be

    def test_where_ours_is_wrong_or_missing_nobody_has_a_ratio(self):
        for bad, word in ((OURS_WRONG, "wrong answer"), (OURS_MISSING, "does not serve")):
            self.assertIsNone(result.ratio(bad, bad["peers"][0]))
            html = page.page(made(bad))
            cells = row_of(html, bad["problem"])
            self.assertIn(word, cells[2])
            self.assertEqual(set(cells[3:8]), {"–"})
            line = next(line for line in table.peers_table(made(bad), "f.json") if bad["problem"] in line)
            self.assertIn(word, line)
            self.assertIn("| - |", line)

    def test_a_check_that_was_never_made_counts_as_failed(self):
        unchecked = copy.deepcopy(MIXED)
        del unchecked["peers"][1]["check"]
        self.assertIsNone(result.ratio(unchecked, unchecked["peers"][1]))
        self.assertIsNone(result.best_peer(unchecked))

    def test_a_ratio_below_1_is_printed_as_it_is(self):
        html = page.page(made(SLOWER))
        self.assertEqual(row_of(html, "slower")[3], "0.50")
        self.assertIn('<td class="low"', html)
        text = "\n".join(table.peers_table(made(SLOWER, MIXED), "f.json"))
        self.assertIn("| 0.50 |", text)
        self.assertIn("Of all 2 rows with a ratio 1 are below 1.", text)

    def test_a_peer_that_is_not_held_to_the_instruction_set_is_shown_and_not_the_best(self):
        held = row("held", [entry("default", [1000000])], [entry("torch", [3000000], held=True), entry("onnxruntime", [1500000], held=False)], isa="avx2")
        self.assertEqual(result.best_peer(held)["peer"], "torch")
        held["group"] = "avx2"
        self.assertIn("1.50 *", row_of(page.page(made(held)), "held"))

    def test_medians_come_from_the_samples(self):
        self.assertEqual(result.median(entry("torch", [5, 1, 9])), 5)
        self.assertEqual(result.fastest(entry("torch", [5, 1, 9])), 1)
        self.assertEqual(result.speed(MIXED, MIXED["ours"][0]), 4.0)
        self.assertEqual(result.speed(dict(MIXED, group="decode"), MIXED["ours"][0]), 2.0)


class Page(unittest.TestCase):
    def test_whoever_is_missing_is_named_with_the_reason(self):
        html = page.page(made(MIXED))
        self.assertIn("<b>openvino</b>, 1 row: cannot be installed: no such wheel", html)
        self.assertIn("<b>jax</b>, 1 row: ended by signal 11", html)
        self.assertIn("<b>torch</b>, 1 row: relative error 0.3, at most 1e-04", html)
        self.assertIn("openvino (missing: cannot be installed: no such wheel)", table.peers_table(made(MIXED), "f")[0])

    def test_every_chart_is_there_and_nothing_is_loaded_or_run(self):
        rows = [row(f"p{n}", [entry("default", [n * 1000]), entry("materialised", [n * 1300])], [entry("torch", [n * 2000])], length=n) for n in (512, 1024)]
        rows.append(dict(rows[0], threads=2))
        rows += [row(f"d{n}", [entry("default", [n * 10])], [entry("torch", [n * 20])], group="decode", length=n) for n in (4096, 8192)]
        rows.append(row("s", [entry("default", [5000])], [entry("torch", [25000])], group="small"))
        html = page.page(made(*rows))
        for title in ("Speed over sequence length", "Decoding", "Small shapes", "Scaling over threads", "Error against speed", "Every row"):
            self.assertIn(f"<h2>{title}</h2>", html)
        for words in ("fp32 multiply-adds", "plain read", "2 threads", "roofline 80 us"):
            self.assertTrue(words in html, words)
        self.assertNotRegex(html, r"https?:|<script|<link|src=|@import|url\(")
        self.assertNotRegex(html, r"\bnan\b|\binf\b|None")
        self.assertLess(len(html), 400_000)

    def test_the_share_of_other_processes_is_said(self):
        self.assertIn("other processes had 7 % of the measured cores", page.page(made(MIXED)))
        self.assertIn("Other processes had 7 %", "\n".join(table.peers_table(made(MIXED), "f")))

    def test_what_a_file_says_cannot_become_markup(self):
        bad = copy.deepcopy(MIXED)
        bad["peers"][3]["missing"] = "<script>alert(1)</script>"
        self.assertNotIn("<script", page.page(made(bad)))


class Command(unittest.TestCase):
    def report(self, text):
        with tempfile.TemporaryDirectory() as folder:
            source, target = pathlib.Path(folder, "r.json"), pathlib.Path(folder, "r.html")
            source.write_text(text)
            done = subprocess.run([sys.executable, str(ROOT / "bench/report"), str(source), str(target)], capture_output=True, text=True)
            return done, target.read_text() if target.exists() else None

    def test_the_page_is_what_the_file_says(self):
        done, html = self.report(json.dumps(made(MIXED, SLOWER)))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(html, page.page(made(MIXED, SLOWER)))

    def test_a_file_that_is_no_result_is_refused_with_the_place(self):
        whole = json.dumps(made(MIXED))
        for text, words in ((whole[:-20], "r.json"), ("{}", "commit"), (json.dumps(made({"group": "prefill"})), "row 0 has no 'problem'")):
            done, html = self.report(text)
            self.assertEqual(done.returncode, 1)
            self.assertIn(words, done.stderr)
            self.assertNotIn("Traceback", done.stderr)
            self.assertIsNone(html)


unittest.main()
