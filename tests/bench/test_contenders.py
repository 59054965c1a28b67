"""How peers' processes are held: stopped while it is not their turn, and named with a reason when they die or hang. The peers
here are small scripts that fail in the way each test wants."""
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import unittest

import paths

import contenders
import machine

GOOD = """
import json, sys
print(json.dumps({"peer": "good", "versions": {"good": "1"}, "settings": {}}), flush=True)
for line in sys.stdin:
    order = json.loads(line)
    if order["do"] == "die": sys.exit("good: out of ideas")
    if order["do"] == "sleep":
        import time; time.sleep(60)
    print(json.dumps({"ok": True, "echo": order}), flush=True)
"""
SCRIPTS = {"good": GOOD, "absent": "import json; print(json.dumps({'missing': 'ImportError: no such library'}), flush=True)",
           "crash": "import os, signal; os.kill(os.getpid(), signal.SIGSEGV)"}


def state(pid):
    return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


class Contenders(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        for name, text in SCRIPTS.items():
            pathlib.Path(self.folder.name, f"{name}.py").write_text(text)
        self.before = contenders.HERE, contenders.DRIVERS, contenders.PATIENCE
        contenders.HERE = pathlib.Path(self.folder.name)
        contenders.DRIVERS = {name: f"{name}.py" for name in SCRIPTS}
        self.peers = []

    def tearDown(self):
        for peer in self.peers:
            peer.stop()
        contenders.HERE, contenders.DRIVERS, contenders.PATIENCE = self.before
        self.folder.cleanup()

    def peer(self, name):
        self.peers.append(contenders.Peer(name, sys.executable, 1, "native"))
        return self.peers[-1]

    def test_a_peer_answers_and_is_stopped_in_between(self):
        peer = self.peer("good")
        self.assertEqual(peer.order(do="anything", n=3)["echo"], {"do": "anything", "n": 3})
        end = time.monotonic() + 10
        while state(peer.process.pid) != "T" and time.monotonic() < end:
            time.sleep(0.01)
        self.assertEqual(state(peer.process.pid), "T")
        self.assertEqual(peer.order(do="again")["ok"], True)
        self.assertEqual(os.sched_getaffinity(peer.process.pid), set(contenders.cores(1)))

    def test_one_that_dies_is_named_with_its_last_words_and_started_again(self):
        peer = self.peer("good")
        with self.assertRaisesRegex(contenders.Gone, "ended with code 1: good: out of ideas"):
            peer.order(do="die")
        self.assertEqual(peer.order(do="again")["ok"], True)

    def test_one_that_hangs_is_ended(self):
        peer = self.peer("good")
        peer.order(do="first")
        contenders.PATIENCE = 0.2
        with self.assertRaisesRegex(contenders.Gone, "no answer within 0.2 s"):
            peer.order(do="sleep")
        self.assertIsNone(peer.process)

    def test_one_that_does_not_start_says_why(self):
        with self.assertRaisesRegex(contenders.Gone, "does not start: ImportError: no such library"):
            self.peer("absent").start()
        with self.assertRaisesRegex(contenders.Gone, "ended by signal 11"):
            self.peer("crash").start()

    def test_no_stopped_peer_outlives_whoever_measures(self):
        script = ("import sys; sys.path.insert(0, sys.argv[1]); import contenders, os, pathlib\n"
                  "contenders.HERE, contenders.DRIVERS = pathlib.Path(sys.argv[2]), {'good': 'good.py'}\n"
                  "p = contenders.Peer('good', sys.executable, 1, 'native'); p.start(); print(p.process.pid, flush=True); os.kill(os.getpid(), 9)")
        done = subprocess.run([sys.executable, "-c", script, str(paths.ROOT / "bench/peers"), self.folder.name], capture_output=True, text=True)
        pid, end = int(done.stdout), time.monotonic() + 10
        while pathlib.Path(f"/proc/{pid}").exists() and state(pid) != "Z" and time.monotonic() < end:
            time.sleep(0.01)
        self.assertTrue(not pathlib.Path(f"/proc/{pid}").exists() or state(pid) == "Z")

    def test_work_of_others_is_told_from_that_of_peers(self):
        peer = self.peer("good")
        peer.order(do="first")
        before = machine.worked([peer.process.pid])
        self.assertGreaterEqual(before, 0)
        subprocess.run([sys.executable, "-c", "import time; e = time.process_time() + 0.1\nwhile time.process_time() < e: pass"], check=True)
        self.assertGreater(machine.worked([peer.process.pid]) - before, 0.05)
        self.assertGreater(machine.busy(contenders.cores(1)), 0)
        self.assertGreaterEqual(machine.busy(os.sched_getaffinity(0)), machine.busy(contenders.cores(1)))

    def test_more_threads_than_processors_are_refused(self):
        with self.assertRaisesRegex(ValueError, "processors allowed"):
            contenders.cores(len(os.sched_getaffinity(0)) + 1)

    def test_an_arm_joins_the_options_of_a_problem(self):
        self.assertEqual(contenders.with_arm("b1.sq4:causal=tl", "algorithm=flash"), "b1.sq4:causal=tl,algorithm=flash")
        self.assertEqual(contenders.with_arm("b1.sq4", "algorithm=flash"), "b1.sq4:algorithm=flash")
        self.assertEqual(contenders.with_arm("b1.sq4", ""), "b1.sq4")

    def test_an_engine_that_is_not_there_is_a_reason_and_no_crash(self):
        row = {"problem": "b1.hq1.sq4.d8.f32", "threads": 1, "isa": "native", "seconds": 0.1, "least": 1, "most": 1, "warmup": 1}
        got = contenders.ours(pathlib.Path(self.folder.name, "sage-engine"), row, "", [], 1)
        self.assertIn("sage-engine cannot be started: No such file", got["why"])
        self.assertFalse(got["wrong"])


unittest.main()
