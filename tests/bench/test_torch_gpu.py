"""The driver of torch's backends, run by torch on the CPU with a CUDA that is played: its orders, its numbers out of
the pool, its answers against float64, its refusals. What it measures there is nothing. Needs numpy and torch."""

import contextlib
import pathlib
import tempfile
import time
import types
import unittest

import paths  # noqa: F401

import numpy
import torch

import gpu_data
import gpu_grid
import torch_gpu


class Event:
    def __init__(self, enable_timing):
        assert enable_timing

    def record(self):
        self.at = time.perf_counter()

    def elapsed_time(self, end):
        return 1e3 * (end.at - self.at)


class Graph:
    """Records by running; a replay is counted."""

    replays = 0

    def replay(self):
        Graph.replays += 1


class Play:
    """torch as the driver sees it: the real one, on the CPU, with cuda played."""

    def __init__(self):
        self.cuda = types.SimpleNamespace(
            is_available=lambda: True,
            synchronize=lambda: None,
            empty_cache=lambda: None,
            Event=Event,
            CUDAGraph=Graph,
            Stream=lambda: types.SimpleNamespace(synchronize=lambda: None),
            stream=lambda stream: contextlib.nullcontext(),
            graph=lambda graph, stream: contextlib.nullcontext(),
            get_device_properties=lambda device: types.SimpleNamespace(name="played"),
        )

    def __getattr__(self, name):
        return getattr(torch, name)

    def empty(self, *shape, dtype, device):
        assert device == "cuda"
        return torch.full(shape, float("nan"), dtype=dtype)

    def frombuffer(self, *given, **more):
        found = torch.frombuffer(*given, **more)
        return types.SimpleNamespace(cuda=lambda: found)


class TorchGpu(unittest.TestCase):
    def setUp(self):
        self.before = torch.cuda.is_available
        torch.cuda.is_available = lambda: True
        stream, torch.cuda.Stream = torch.cuda.Stream, lambda: None
        empty, torch.cuda.empty_cache = torch.cuda.empty_cache, lambda: None
        self.peer = torch_gpu.TorchGpu()
        torch.cuda.Stream, torch.cuda.empty_cache, torch.cuda.is_available = stream, empty, self.before
        self.peer.torch = Play()
        self.peer.stream = self.peer.torch.cuda.Stream()
        self.folder = tempfile.TemporaryDirectory()
        self.pool = gpu_data.Pool("bf16", 3, 10007)
        self.path = pathlib.Path(self.folder.name, "pool")
        self.pool.write(self.path)

    def tearDown(self):
        self.folder.cleanup()

    def prepared(self, text, count=3):
        shape = gpu_grid.parse(text)
        self.assertEqual(self.peer.answer(gpu_data.order(shape, count, self.path, 10007)), {"ok": True, "sets": count})
        return shape

    def judged(self, shape, arm, number):
        rows = gpu_data.rows_to_check(shape)
        got = self.peer.answer({"do": "rows", "arm": arm, "set": number, "rows": rows})
        return gpu_data.judge(shape.dtype, got, gpu_data.expected(self.pool, shape, number, rows))

    def test_every_set_has_the_numbers_of_the_pool_and_its_answer_is_right(self):
        for text in (
            "b2.hq6.hkv2.sq40.skv40.d32.bf16:causal=br",
            "b2.hq6.hkv2.sq1.skv300.d32.bf16",
            "b1.hq4.hkv4.sq9.skv50.d16.bf16",
        ):
            shape = self.prepared(text)
            ready = self.peer.answer({"do": "arm", "arm": "math"})
            self.assertTrue(ready["ok"], ready)
            self.assertIn("SDPBackend.MATH", ready["path"])
            for number in range(3):
                found = self.judged(shape, "math", number)
                self.assertEqual(found["check"], "ok", (text, found))
            # The answer of another set is wrong: sets do differ.
            rows = gpu_data.rows_to_check(shape)
            got = self.peer.answer({"do": "rows", "arm": "math", "set": 1, "rows": rows})
            self.assertNotEqual(
                gpu_data.judge(shape.dtype, got, gpu_data.expected(self.pool, shape, 2, rows))["check"], "ok"
            )

    def test_calls_one_by_one_recorded_together_and_round_trips(self):
        self.prepared("b1.hq4.hkv4.sq9.skv50.d16.bf16")
        self.peer.answer({"do": "arm", "arm": "math"})
        one = self.peer.answer({"do": "time", "arm": "math", "calls": 1, "warmup": 2, "samples": 4})
        self.assertEqual((len(one["samples_ns"]), one["how"]), (4, "one call"))
        self.assertTrue(all(sample > 0 for sample in one["samples_ns"]))
        Graph.replays = 0
        many = self.peer.answer({"do": "time", "arm": "math", "calls": 7, "warmup": 2, "samples": 4})
        self.assertEqual(
            (len(many["samples_ns"]), many["how"], Graph.replays), (4, "7 calls, recorded and launched as one", 6)
        )
        trips = self.peer.answer({"do": "round_trip", "arm": "math", "warmup": 2, "samples": 5})
        self.assertEqual(len(trips["samples_ns"]), 5)

    def test_a_recording_that_fails_is_said_and_calls_are_made_in_a_row(self):
        self.prepared("b1.hq4.hkv4.sq9.skv50.d16.bf16")
        self.peer.answer({"do": "arm", "arm": "math"})

        def refuse(graph, stream):
            raise RuntimeError("no such thing\nand more")

        self.peer.torch.cuda.graph = refuse
        many = self.peer.answer({"do": "time", "arm": "math", "calls": 3, "warmup": 0, "samples": 2})
        self.assertEqual(many["how"], "3 calls in a row, since they were not recorded: no such thing")

    def test_what_a_backend_does_not_do_is_a_reason(self):
        self.prepared("b1.hq6.hkv2.sq9.skv50.d16.bf16")
        got = self.peer.answer({"do": "arm", "arm": "cudnn"})  # on the CPU nobody has it
        self.assertFalse(got["ok"])
        self.assertIn("it refuses: ", got["why"])
        paged = gpu_grid.parse("b1.hq4.hkv4.sq1.skv32.d16.bf16:page=16")
        self.assertIn("reads no pages", self.peer.answer(gpu_data.order(paged, 1, self.path, 10007))["why"])
        corner = gpu_grid.parse("b1.hq4.hkv4.sq4.skv32.d16.bf16:causal=br")
        self.assertIn("top-left", self.peer.answer(gpu_data.order(corner, 1, self.path, 10007))["why"])

    def test_the_product_of_the_roofline(self):
        order = {
            "do": "roofline",
            "pool": str(self.path),
            "gemm": 96,
            "rows": [0, 47, 95],
            "columns": 16,
            "warmup": 1,
            "samples": 2,
            "starts": {name: gpu_data.start_of(name, 0, 10007) for name in ("x", "w")},
        }
        got = self.peer.answer(order)["linear"]
        expected = gpu_data.product(self.pool, order, 96)
        off = numpy.linalg.norm(numpy.array(got["values"]) - expected) / numpy.linalg.norm(expected)
        self.assertLess(off, 5e-3)

    def test_outputs_that_are_not_finite_are_counted(self):
        self.prepared("b1.hq4.hkv4.sq9.skv50.d16.bf16", 1)
        self.peer.answer({"do": "arm", "arm": "math"})
        with torch.inference_mode():
            self.peer.sets[0][2][0, 1, 0, 3] = float("nan")
        got = self.peer.answer({"do": "rows", "arm": "math", "set": 0, "rows": [0]})
        self.assertEqual(got["not_finite"], 9)


unittest.main()
